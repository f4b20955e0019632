WITH synced AS (
    INSERT INTO {target}
    SELECT item_id, txn_id, product_id, quantity, unit_price, line_total, now()
    FROM {source} WHERE synced_at IS NULL
    RETURNING item_id
)
UPDATE {source} SET synced_at = now() WHERE item_id IN (SELECT item_id FROM synced)
