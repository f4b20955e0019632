INSERT INTO {transactions} (store_id, customer_id, total_amount, payment_method, txn_timestamp)
SELECT store_id, customer_id, cents / 100.0, payment_method, txn_timestamp
FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[], $5::timestamp[])
    WITH ORDINALITY AS generated (store_id, customer_id, cents, payment_method, txn_timestamp, position)
ORDER BY position
RETURNING txn_id
