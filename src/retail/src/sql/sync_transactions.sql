WITH synced AS (
    INSERT INTO {target}
    SELECT txn_id, store_id, customer_id, txn_timestamp, total_amount, payment_method, now()
    FROM {source} WHERE synced_at IS NULL
    RETURNING txn_id
)
UPDATE {source} SET synced_at = now() WHERE txn_id IN (SELECT txn_id FROM synced)
