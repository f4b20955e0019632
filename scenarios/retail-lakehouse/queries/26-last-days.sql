-- title: The seven days before the last transaction, against the seven before those (date arithmetic)
WITH newest AS (
    SELECT max(txn_timestamp) AS last_at FROM {{transactions}}
)
SELECT CASE WHEN t.txn_timestamp > n.last_at - INTERVAL '7 days' THEN 'last week' ELSE 'week before' END AS period,
       count(*) AS transactions, sum(t.total_amount) AS revenue,
       min(t.txn_timestamp) AS first_at, max(t.txn_timestamp) AS last_at,
       max(t.txn_timestamp) + INTERVAL '1 month' AS a_month_later
FROM {{transactions}} t
CROSS JOIN newest n
WHERE t.txn_timestamp > n.last_at - INTERVAL '14 days'
GROUP BY 1
ORDER BY period
