-- title: What aggregates and comparisons make of NULL
SELECT count(*) AS every_row,
       count(customer_id) AS with_customer,
       count(*) - count(customer_id) AS anonymous,
       sum(CASE WHEN customer_id IS NOT DISTINCT FROM NULL THEN 1 ELSE 0 END) AS not_distinct_from_null,
       sum(CASE WHEN customer_id = 1 THEN 1 WHEN NOT (customer_id = 1) THEN 0 END) AS of_customer_1,
       count(nullif(payment_method, 'CASH')) AS not_cash,
       sum(coalesce(customer_id, 0)) AS customer_ids,
       max(CASE WHEN customer_id IS NULL THEN customer_id END) AS always_null
FROM {{transactions}}
