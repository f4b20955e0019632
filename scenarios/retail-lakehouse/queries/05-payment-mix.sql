-- title: Payment methods with their share of transactions and revenue
SELECT payment_method,
       count(*) AS transactions,
       round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS percent_of_transactions,
       round(100.0 * sum(total_amount) / sum(sum(total_amount)) OVER (), 2) AS percent_of_revenue
FROM {{transactions}}
GROUP BY payment_method
ORDER BY payment_method
