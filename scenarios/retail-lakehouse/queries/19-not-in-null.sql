-- title: NOT IN a list that holds a NULL finds nothing
SELECT c.customer_id
FROM {{customers}} c
WHERE c.customer_id + 1000 NOT IN (SELECT t.customer_id FROM {{transactions}} t)
