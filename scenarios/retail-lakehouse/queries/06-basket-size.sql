-- title: How many transactions have how many products and units
WITH baskets AS (
    SELECT txn_id, count(*) AS products, sum(quantity) AS units
    FROM {{transaction_items}}
    GROUP BY txn_id
)
SELECT products, count(*) AS transactions, min(units) AS fewest_units, max(units) AS most_units,
       round(avg(units * 1.00), 2) AS average_units
FROM baskets
GROUP BY products
ORDER BY products
