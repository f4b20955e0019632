-- title: Revenue by weekday, by hour, and in total (GROUPING SETS)
WITH timed AS (
    SELECT extract(dow FROM txn_timestamp) AS weekday, extract(hour FROM txn_timestamp) AS hour_of_day, total_amount
    FROM {{transactions}}
)
SELECT weekday, hour_of_day, sum(total_amount) AS revenue
FROM timed
GROUP BY GROUPING SETS ((weekday), (hour_of_day), ())
