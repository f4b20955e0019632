INSERT INTO {items} (txn_id, product_id, quantity, unit_price, line_total)
SELECT txn_id, product_id, quantity, unit_cents / 100.0, line_cents / 100.0
FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS generated (txn_id, product_id, quantity, unit_cents, line_cents, position)
ORDER BY position
