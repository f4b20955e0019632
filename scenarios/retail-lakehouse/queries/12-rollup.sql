-- title: Revenue by state and city with subtotals (ROLLUP)
SELECT s.state, s.city, grouping(s.state) AS all_states, grouping(s.city) AS all_cities,
       count(*) AS transactions, sum(t.total_amount) AS revenue
FROM {{transactions}} t
JOIN {{stores}} s ON s.store_id = t.store_id
GROUP BY ROLLUP (s.state, s.city)
ORDER BY s.state NULLS LAST, s.city NULLS LAST
