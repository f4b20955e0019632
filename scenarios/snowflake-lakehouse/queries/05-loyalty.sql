-- title: Loyalty tiers, anonymous customers among them
SELECT c.loyalty_tier, COUNT(*) AS transactions, MIN(t.total_amount) AS least, MAX(t.total_amount) AS most
FROM {{transactions}} t LEFT JOIN {{customers}} c ON c.customer_id = t.customer_id
GROUP BY c.loyalty_tier
