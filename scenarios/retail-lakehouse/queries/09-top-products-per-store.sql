-- title: The three best-selling products of each store
WITH sold AS (
    SELECT t.store_id, i.product_id, sum(i.line_total) AS revenue
    FROM {{transactions}} t
    JOIN {{transaction_items}} i ON i.txn_id = t.txn_id
    GROUP BY t.store_id, i.product_id
), ranked AS (
    SELECT store_id, product_id, revenue,
           row_number() OVER (PARTITION BY store_id ORDER BY revenue DESC, product_id) AS place
    FROM sold
)
SELECT s.store_name, r.place, p.product_name, r.revenue
FROM ranked r
JOIN {{stores}} s ON s.store_id = r.store_id
JOIN {{products}} p ON p.product_id = r.product_id
WHERE r.place <= 3
ORDER BY s.store_name, r.place
