-- title: Products that nobody bought by the three, for cash, in a basket below 100, in Bellevue (NOT EXISTS)
SELECT p.product_id, p.product_name
FROM {{products}} p
WHERE NOT EXISTS (
    SELECT 1
    FROM {{transaction_items}} i
    JOIN {{transactions}} t ON t.txn_id = i.txn_id
    JOIN {{stores}} s ON s.store_id = t.store_id
    WHERE i.product_id = p.product_id AND s.city = 'Bellevue' AND t.payment_method = 'CASH' AND i.quantity = 3
      AND t.total_amount < 100
)
ORDER BY p.product_id
