-- title: Distinct values of every kind of column
SELECT count(DISTINCT store_id) AS stores,
       count(DISTINCT customer_id) AS customers,
       count(DISTINCT payment_method) AS payment_methods,
       count(DISTINCT total_amount) AS amounts,
       count(DISTINCT CAST(txn_timestamp AS date)) AS days
FROM {{transactions}}
