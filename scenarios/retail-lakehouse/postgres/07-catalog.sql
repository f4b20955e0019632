-- The location of each table's current metadata file, which Snowflake is given.
SELECT table_name, metadata_location FROM iceberg_tables
WHERE table_name IN ('iceberg_transactions', 'iceberg_transaction_items', 'iceberg_stores', 'iceberg_products', 'iceberg_customers')
ORDER BY table_name;
