-- title: Every day from first to last, also those without a transaction (recursive CTE)
WITH RECURSIVE bounds AS (
    SELECT date_trunc('day', min(txn_timestamp)) AS first_day, date_trunc('day', max(txn_timestamp)) AS last_day
    FROM {{transactions}}
), days AS (
    SELECT first_day AS day FROM bounds
    UNION ALL
    SELECT d.day + INTERVAL '1 day' FROM days d CROSS JOIN bounds b WHERE d.day < b.last_day
)
SELECT d.day, extract(dow FROM d.day) AS weekday, count(t.txn_id) AS large_transactions
FROM days d
LEFT JOIN {{transactions}} t ON date_trunc('day', t.txn_timestamp) = d.day AND t.total_amount > 700
GROUP BY d.day
ORDER BY d.day
