-- The passwords are shown only once, here.
CREATE POSTGRES INSTANCE shop COMPUTE_FAMILY = 'STANDARD_M' STORAGE_SIZE_GB = 10 AUTHENTICATION_AUTHORITY = POSTGRES;
DESCRIBE POSTGRES INSTANCE shop ->> SELECT "value" AS "certificate" FROM $1 WHERE "property" = 'certificate';
