-- The Snowflake side reads the same files: the number of rows of each table.
SELECT 'transactions' AS table_name, count(*) AS row_count FROM iceberg_transactions
UNION ALL SELECT 'items', count(*) FROM iceberg_transaction_items
UNION ALL SELECT 'stores', count(*) FROM iceberg_stores
UNION ALL SELECT 'products', count(*) FROM iceberg_products
UNION ALL SELECT 'customers', count(*) FROM iceberg_customers;
