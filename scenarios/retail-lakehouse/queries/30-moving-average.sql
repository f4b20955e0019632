-- title: Revenue of each day and its average over seven days
WITH daily AS (
    SELECT date_trunc('day', txn_timestamp) AS day, sum(total_amount) AS revenue
    FROM {{transactions}}
    GROUP BY date_trunc('day', txn_timestamp)
)
SELECT day, revenue,
       round(avg(revenue) OVER (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW), 2) AS seven_day_average,
       max(revenue) OVER (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS seven_day_best,
       lead(revenue) OVER (ORDER BY day) AS day_after
FROM daily
ORDER BY day
