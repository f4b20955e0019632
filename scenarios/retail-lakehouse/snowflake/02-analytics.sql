-- Revenue by store.
SELECT s.store_name, s.city, count(DISTINCT t.txn_id) AS total_transactions, sum(t.total_amount) AS total_revenue
FROM iceberg_transactions t
JOIN iceberg_stores s ON t.store_id = s.store_id
GROUP BY s.store_name, s.city
ORDER BY total_revenue DESC;

-- Top products by revenue.
SELECT p.product_name, p.category, sum(i.quantity) AS units_sold, sum(i.line_total) AS revenue
FROM iceberg_transaction_items i
JOIN iceberg_products p ON i.product_id = p.product_id
GROUP BY p.product_name, p.category
ORDER BY revenue DESC
LIMIT 10;
