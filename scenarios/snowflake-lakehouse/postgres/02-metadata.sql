-- The paths of the tables' metadata files, relative to the external volume's base URL.
WITH tables AS (
    SELECT table_name, replace(metadata_location, 's3://${bucket}/${lake}/', '') AS path FROM iceberg_tables
)
SELECT
    max(path) FILTER (WHERE table_name = 'iceberg_stores') AS stores,
    max(path) FILTER (WHERE table_name = 'iceberg_products') AS products,
    max(path) FILTER (WHERE table_name = 'iceberg_customers') AS customers,
    max(path) FILTER (WHERE table_name = 'iceberg_transactions') AS transactions,
    max(path) FILTER (WHERE table_name = 'iceberg_transaction_items') AS items,
    max(regexp_replace(path, '[^/]*$', '')) FILTER (WHERE table_name = 'iceberg_transactions') AS transactions_folder,
    max(regexp_replace(path, '[^/]*$', '')) FILTER (WHERE table_name = 'iceberg_transaction_items') AS items_folder
FROM tables;
