-- title: Daily revenue of each store with a running total and the change from the day before
WITH daily AS (
    SELECT store_id, date_trunc('day', txn_timestamp) AS day, sum(total_amount) AS revenue
    FROM {{transactions}}
    GROUP BY store_id, date_trunc('day', txn_timestamp)
)
SELECT store_id, day, revenue,
       sum(revenue) OVER (PARTITION BY store_id ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS revenue_to_date,
       revenue - lag(revenue) OVER (PARTITION BY store_id ORDER BY day) AS change
FROM daily
ORDER BY store_id, day
