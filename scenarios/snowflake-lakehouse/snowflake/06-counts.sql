SELECT (SELECT COUNT(*) FROM iceberg_transactions) AS transactions, (SELECT COUNT(*) FROM iceberg_transaction_items) AS items;
