CREATE EXTENSION pg_lake CASCADE;
ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://${bucket}/${lake}/';
SET pg_lake_iceberg.default_location_prefix TO 's3://${bucket}/${lake}/';
SHOW pg_lake_iceberg.default_location_prefix;
