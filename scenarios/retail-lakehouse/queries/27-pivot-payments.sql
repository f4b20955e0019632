-- title: Revenue of each store by payment method, side by side (FILTER)
SELECT store_id,
       sum(total_amount) FILTER (WHERE payment_method = 'CARD') AS card,
       sum(total_amount) FILTER (WHERE payment_method = 'CASH') AS cash,
       sum(total_amount) FILTER (WHERE payment_method IN ('DIGITAL_WALLET', 'GIFT_CARD')) AS wallet_or_gift_card,
       count(*) FILTER (WHERE customer_id IS NULL) AS anonymous,
       max(total_amount) FILTER (WHERE total_amount < 0) AS refunds
FROM {{transactions}}
GROUP BY store_id
ORDER BY store_id
