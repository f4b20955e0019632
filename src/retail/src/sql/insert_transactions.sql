INSERT INTO {transactions} (store_id, customer_id, total_amount, payment_method)
SELECT store_id, customer_id, cents / 100.0, payment_method
FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[])
    WITH ORDINALITY AS generated (store_id, customer_id, cents, payment_method, position)
ORDER BY position
RETURNING txn_id
