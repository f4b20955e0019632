-- Copies and marks the rows that are not in the lake yet, all or nothing. The locks keep a
-- scheduled sync from running at the same time, which would copy the same rows twice.
LOCK TABLE transactions, transaction_items IN SHARE ROW EXCLUSIVE MODE;

WITH synced AS (
    INSERT INTO iceberg_transactions
    SELECT txn_id, store_id, customer_id, txn_timestamp, total_amount, payment_method, now()
    FROM transactions WHERE synced_at IS NULL
    RETURNING txn_id
)
UPDATE transactions SET synced_at = now() WHERE txn_id IN (SELECT txn_id FROM synced);

WITH synced AS (
    INSERT INTO iceberg_transaction_items
    SELECT item_id, txn_id, product_id, quantity, unit_price, line_total, now()
    FROM transaction_items WHERE synced_at IS NULL
    RETURNING item_id
)
UPDATE transaction_items SET synced_at = now() WHERE item_id IN (SELECT item_id FROM synced);
