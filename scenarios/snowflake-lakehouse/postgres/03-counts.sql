SELECT (SELECT count(*) FROM transactions) AS transactions, (SELECT count(*) FROM transaction_items) AS items;
