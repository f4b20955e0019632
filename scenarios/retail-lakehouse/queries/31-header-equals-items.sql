-- title: Transactions whose total is not the sum of their items: there must be none
SELECT t.txn_id, t.total_amount, sum(i.line_total) AS of_items, sum(i.quantity * i.unit_price) AS of_prices
FROM {{transactions}} t
LEFT JOIN {{transaction_items}} i ON i.txn_id = t.txn_id
GROUP BY t.txn_id, t.total_amount
HAVING (t.total_amount IS DISTINCT FROM sum(i.line_total))
    OR (t.total_amount IS DISTINCT FROM sum(i.quantity * i.unit_price))
