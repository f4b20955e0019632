-- title: Revenue by store
SELECT s.store_name, s.city, COUNT(DISTINCT t.txn_id) AS transactions, SUM(t.total_amount) AS revenue
FROM {{transactions}} t JOIN {{stores}} s ON t.store_id = s.store_id
GROUP BY s.store_name, s.city
ORDER BY revenue DESC, s.store_name
