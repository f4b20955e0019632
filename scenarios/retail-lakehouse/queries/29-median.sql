-- title: The exact median amount of each store
WITH ordered AS (
    SELECT store_id, total_amount,
           row_number() OVER (PARTITION BY store_id ORDER BY total_amount, txn_id) AS place,
           count(*) OVER (PARTITION BY store_id) AS places
    FROM {{transactions}}
)
SELECT store_id, round(avg(total_amount), 3) AS median_amount, min(places) AS transactions
FROM ordered
WHERE 2 * place BETWEEN places AND places + 2
GROUP BY store_id
ORDER BY store_id
