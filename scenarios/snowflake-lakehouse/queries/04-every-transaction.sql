-- title: Every transaction
SELECT txn_id, store_id, customer_id, txn_timestamp, total_amount, payment_method
FROM {{transactions}}
ORDER BY txn_id
