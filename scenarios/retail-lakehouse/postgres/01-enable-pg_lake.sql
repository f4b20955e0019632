-- Creates the extension, and sets the prefix of its Iceberg tables for this and all later sessions.
CREATE EXTENSION IF NOT EXISTS pg_lake CASCADE;

ALTER DATABASE ${database} SET pg_lake_iceberg.default_location_prefix = 's3://${bucket}/';
SET pg_lake_iceberg.default_location_prefix TO 's3://${bucket}/';

SHOW pg_lake_iceberg.default_location_prefix;
