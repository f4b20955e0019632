-- title: Count and sum of all items
SELECT count(*) AS items, sum(line_total) AS revenue FROM {{transaction_items}}
