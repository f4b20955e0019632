-- title: The ten pairs of products most often bought together (self join)
SELECT a.product_id AS first_product, b.product_id AS second_product, count(*) AS transactions
FROM {{transaction_items}} a
JOIN {{transaction_items}} b ON b.txn_id = a.txn_id AND b.product_id > a.product_id
GROUP BY a.product_id, b.product_id
ORDER BY transactions DESC, first_product, second_product
LIMIT 10
