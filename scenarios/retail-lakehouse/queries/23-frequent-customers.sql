-- title: Customers above the average number of transactions (HAVING with a subquery)
WITH per_customer AS (
    SELECT customer_id, count(*) AS transactions
    FROM {{transactions}}
    WHERE customer_id IS NOT NULL
    GROUP BY customer_id
)
SELECT c.first_name, c.last_name, count(*) AS transactions, sum(t.total_amount) AS revenue
FROM {{transactions}} t
JOIN {{customers}} c ON c.customer_id = t.customer_id
GROUP BY c.customer_id, c.first_name, c.last_name
HAVING count(*) > (SELECT avg(transactions * 1.00) FROM per_customer)
ORDER BY transactions DESC, c.last_name, c.first_name
