-- title: The longest time without a transaction in each store
WITH gaps AS (
    SELECT store_id, txn_timestamp - lag(txn_timestamp) OVER (PARTITION BY store_id ORDER BY txn_timestamp, txn_id) AS gap
    FROM {{transactions}}
)
SELECT store_id, max(gap) AS longest_gap
FROM gaps
GROUP BY store_id
ORDER BY store_id
