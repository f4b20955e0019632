-- title: Minimum, maximum, sum and average on numeric columns
SELECT min(total_amount) AS smallest, max(total_amount) AS largest, sum(total_amount) AS total,
       round(avg(total_amount), 2) AS average, round(avg(total_amount), 0) AS average_dollars,
       max(total_amount) - min(total_amount) AS span,
       min(txn_timestamp) AS first_at, max(txn_timestamp) AS last_at
FROM {{transactions}}
