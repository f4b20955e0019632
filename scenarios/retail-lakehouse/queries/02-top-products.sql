-- title: Top ten products by revenue
SELECT p.product_name, p.category, sum(i.quantity) AS units_sold, sum(i.line_total) AS revenue
FROM {{transaction_items}} i
JOIN {{products}} p ON p.product_id = i.product_id
GROUP BY p.product_name, p.category
ORDER BY revenue DESC, p.product_name
LIMIT 10
