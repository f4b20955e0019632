-- title: Top products
SELECT p.product_name, p.category, SUM(i.quantity) AS units_sold, SUM(i.line_total) AS revenue
FROM {{transaction_items}} i JOIN {{products}} p ON i.product_id = p.product_id
GROUP BY p.product_name, p.category
ORDER BY revenue DESC, p.product_name
LIMIT 10
