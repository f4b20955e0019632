-- title: Revenue by loyalty tier, anonymous customers included
SELECT coalesce(c.loyalty_tier, 'ANONYMOUS') AS tier,
       count(*) AS transactions,
       count(DISTINCT t.customer_id) AS customers,
       sum(t.total_amount) AS revenue,
       round(avg(t.total_amount), 2) AS average_amount
FROM {{transactions}} t
LEFT JOIN {{customers}} c ON c.customer_id = t.customer_id
GROUP BY coalesce(c.loyalty_tier, 'ANONYMOUS')
ORDER BY revenue DESC, tier
