-- title: Transactions by size (CASE)
SELECT CASE WHEN total_amount < 50 THEN 'under 50'
            WHEN total_amount < 200 THEN '50 to 200'
            WHEN total_amount < 500 THEN '200 to 500'
            ELSE '500 and more' END AS size,
       count(*) AS transactions, min(total_amount) AS smallest, sum(total_amount) AS revenue
FROM {{transactions}}
GROUP BY 1
ORDER BY smallest, size
