-- title: Revenue by store
SELECT s.store_name, s.city, count(DISTINCT t.txn_id) AS transactions, sum(t.total_amount) AS revenue
FROM {{transactions}} t
JOIN {{stores}} s ON s.store_id = t.store_id
GROUP BY s.store_name, s.city
ORDER BY revenue DESC, s.store_name
