CREATE OR REPLACE EXTERNAL VOLUME shop_volume STORAGE_LOCATIONS = ((
  NAME = 'shop' STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = 's3://${bucket}/${lake}/' STORAGE_AWS_ROLE_ARN = '${role_arn}'));
CREATE OR REPLACE CATALOG INTEGRATION shop_files CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE;

CREATE ICEBERG TABLE iceberg_stores EXTERNAL_VOLUME = 'shop_volume' CATALOG = 'shop_files' METADATA_FILE_PATH = '${stores}';
CREATE ICEBERG TABLE iceberg_products EXTERNAL_VOLUME = 'shop_volume' CATALOG = 'shop_files' METADATA_FILE_PATH = '${products}';
CREATE ICEBERG TABLE iceberg_customers EXTERNAL_VOLUME = 'shop_volume' CATALOG = 'shop_files' METADATA_FILE_PATH = '${customers}';
CREATE ICEBERG TABLE iceberg_transactions EXTERNAL_VOLUME = 'shop_volume' CATALOG = 'shop_files' METADATA_FILE_PATH = '${transactions}';
CREATE ICEBERG TABLE iceberg_transaction_items EXTERNAL_VOLUME = 'shop_volume' CATALOG = 'shop_files' METADATA_FILE_PATH = '${items}';
