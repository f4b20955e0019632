-- title: Transactions by hour of the day
SELECT extract(hour FROM txn_timestamp) AS hour_of_day,
       count(*) AS transactions,
       round(avg(total_amount), 2) AS average_amount
FROM {{transactions}}
GROUP BY extract(hour FROM txn_timestamp)
ORDER BY hour_of_day
