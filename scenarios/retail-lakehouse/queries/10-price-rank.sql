-- title: Products ranked by price within their category
SELECT category, product_name, unit_price,
       rank() OVER (PARTITION BY category ORDER BY unit_price DESC) AS price_rank,
       dense_rank() OVER (ORDER BY category) AS category_number,
       first_value(product_name) OVER (PARTITION BY category ORDER BY unit_price DESC, product_name) AS dearest
FROM {{products}}
ORDER BY category, price_rank, product_name
