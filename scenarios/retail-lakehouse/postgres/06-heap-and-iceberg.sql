-- No row is waiting for the sync.
SELECT (SELECT count(*) FROM transactions WHERE synced_at IS NULL)
     + (SELECT count(*) FROM transaction_items WHERE synced_at IS NULL) AS unsynced;

-- Heap and Iceberg hold the same number of rows and the same revenue.
SELECT (SELECT count(*) FROM transactions) = (SELECT count(*) FROM iceberg_transactions) AS same_transactions,
       (SELECT count(*) FROM transaction_items) = (SELECT count(*) FROM iceberg_transaction_items) AS same_items,
       (SELECT sum(total_amount) FROM transactions) = (SELECT sum(total_amount) FROM iceberg_transactions) AS same_revenue;

SELECT 'heap' AS source, count(*) AS transactions, sum(total_amount) AS total_revenue FROM transactions
UNION ALL
SELECT 'iceberg', count(*), sum(total_amount) FROM iceberg_transactions;
