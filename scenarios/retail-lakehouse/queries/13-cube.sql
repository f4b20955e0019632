-- title: Transactions by store and payment method with every subtotal (CUBE)
SELECT store_id, payment_method, count(*) AS transactions, sum(total_amount) AS revenue
FROM {{transactions}}
GROUP BY CUBE (store_id, payment_method)
ORDER BY store_id NULLS FIRST, payment_method NULLS FIRST
