-- title: Customers without a gift card transaction above 850 (NOT IN)
SELECT c.customer_id, c.first_name
FROM {{customers}} c
WHERE c.customer_id NOT IN (
    SELECT t.customer_id
    FROM {{transactions}} t
    WHERE t.customer_id IS NOT NULL AND t.payment_method = 'GIFT_CARD' AND t.total_amount > 850
)
ORDER BY c.customer_id
