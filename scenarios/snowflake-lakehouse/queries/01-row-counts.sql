-- title: Row counts
SELECT 'transactions' AS table_name, COUNT(*) AS row_count FROM {{transactions}}
UNION ALL SELECT 'items', COUNT(*) FROM {{transaction_items}}
UNION ALL SELECT 'stores', COUNT(*) FROM {{stores}}
UNION ALL SELECT 'products', COUNT(*) FROM {{products}}
UNION ALL SELECT 'customers', COUNT(*) FROM {{customers}}
