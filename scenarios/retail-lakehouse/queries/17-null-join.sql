-- title: Pairs of neighbouring transactions with the same customer, where no customer counts as the same
SELECT a.customer_id, count(*) AS pairs
FROM {{transactions}} a
JOIN {{transactions}} b ON b.txn_id = a.txn_id + 1 AND b.customer_id IS NOT DISTINCT FROM a.customer_id
GROUP BY a.customer_id
ORDER BY a.customer_id NULLS FIRST
