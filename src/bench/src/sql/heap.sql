-- ${rows} items in a third as many transactions, with the guide's columns and no indexes, so that
-- only the rows themselves are read and written. The generator has a seed, so the data is
-- repeatable.
SELECT setseed(0.42);

CREATE TABLE heap_stores AS SELECT * FROM stores;
CREATE TABLE heap_products AS SELECT * FROM products;

CREATE TABLE heap_transactions (
    txn_id         INT,
    store_id       INT,
    customer_id    INT,
    txn_timestamp  TIMESTAMP,
    total_amount   NUMERIC(12,2),
    payment_method TEXT,
    synced_at      TIMESTAMP
);
INSERT INTO heap_transactions
SELECT i,
       1 + floor(random() * 5),
       CASE WHEN random() < 0.8 THEN 1 + floor(random() * 10) END,
       timestamp '2025-01-01' + i * interval '7.25 seconds',
       round((1 + random() * 400)::numeric, 2),
       (ARRAY['CARD', 'CASH', 'MOBILE', 'GIFT_CARD'])[1 + floor(random() * 4)::int],
       timestamp '2026-01-01'
FROM generate_series(1, greatest(${rows} / 3, 1)) AS i;

CREATE TABLE heap_transaction_items (
    item_id    INT,
    txn_id     INT,
    product_id INT,
    quantity   INT,
    unit_price NUMERIC(10,2),
    line_total NUMERIC(12,2),
    synced_at  TIMESTAMP
);
INSERT INTO heap_transaction_items
SELECT i, txn_id, product_id, quantity, unit_price, quantity * unit_price, timestamp '2026-01-01'
FROM (
    SELECT i,
           1 + (i - 1) % greatest(${rows} / 3, 1) AS txn_id,
           1 + floor(random() * 15)::int AS product_id,
           1 + floor(random() * 5)::int AS quantity
    FROM generate_series(1, ${rows}) AS i
    OFFSET 0
) AS item
JOIN products USING (product_id);
