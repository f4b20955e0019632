-- title: Transactions and revenue of each day
SELECT CAST(txn_timestamp AS date) AS day, count(*) AS transactions, sum(total_amount) AS revenue
FROM {{transactions}}
GROUP BY CAST(txn_timestamp AS date)
ORDER BY day
