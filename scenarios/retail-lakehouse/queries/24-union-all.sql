-- title: Rows of every table (UNION ALL)
SELECT 'customers' AS table_name, count(*) AS row_count FROM {{customers}}
UNION ALL SELECT 'products', count(*) FROM {{products}}
UNION ALL SELECT 'stores', count(*) FROM {{stores}}
UNION ALL SELECT 'transaction_items', count(*) FROM {{transaction_items}}
UNION ALL SELECT 'transactions', count(*) FROM {{transactions}}
ORDER BY table_name
