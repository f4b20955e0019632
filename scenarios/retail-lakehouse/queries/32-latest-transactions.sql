-- title: The newest transactions in full, to the microsecond
SELECT t.txn_id, t.txn_timestamp, s.store_name, c.email, t.payment_method, t.total_amount
FROM {{transactions}} t
JOIN {{stores}} s ON s.store_id = t.store_id
LEFT JOIN {{customers}} c ON c.customer_id = t.customer_id
ORDER BY t.txn_timestamp DESC, t.txn_id DESC
LIMIT 20
