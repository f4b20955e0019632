-- title: Days with a sale above 700 in Washington but none in Oregon (EXCEPT, INTERSECT)
SELECT CAST(t.txn_timestamp AS date) AS day
FROM {{transactions}} t JOIN {{stores}} s ON s.store_id = t.store_id
WHERE s.state = 'WA' AND t.total_amount > 700
INTERSECT
SELECT CAST(t.txn_timestamp AS date) AS day FROM {{transactions}} t WHERE t.payment_method = 'CARD'
EXCEPT
SELECT CAST(t.txn_timestamp AS date) AS day
FROM {{transactions}} t JOIN {{stores}} s ON s.store_id = t.store_id
WHERE s.state = 'OR' AND t.total_amount > 700
ORDER BY day
