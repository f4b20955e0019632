-- The Iceberg copies of the tables: Parquet files and Iceberg metadata in the bucket.
CREATE TABLE iceberg_transactions (
    txn_id         INT,
    store_id       INT,
    customer_id    INT,
    txn_timestamp  TIMESTAMP,
    total_amount   NUMERIC(12,2),
    payment_method TEXT,
    synced_at      TIMESTAMP
) USING iceberg;

CREATE TABLE iceberg_transaction_items (
    item_id    INT,
    txn_id     INT,
    product_id INT,
    quantity   INT,
    unit_price NUMERIC(10,2),
    line_total NUMERIC(12,2),
    synced_at  TIMESTAMP
) USING iceberg;

CREATE TABLE iceberg_stores (
    store_id   INT,
    store_name TEXT,
    city       TEXT,
    state      TEXT,
    opened_at  TIMESTAMP
) USING iceberg;

CREATE TABLE iceberg_products (
    product_id   INT,
    product_name TEXT,
    category     TEXT,
    unit_price   NUMERIC(10,2),
    created_at   TIMESTAMP
) USING iceberg;

CREATE TABLE iceberg_customers (
    customer_id  INT,
    first_name   TEXT,
    last_name    TEXT,
    email        TEXT,
    loyalty_tier TEXT,
    created_at   TIMESTAMP
) USING iceberg;

-- The small tables are copied as a whole. The transactions follow with the sync.
INSERT INTO iceberg_stores SELECT * FROM stores;
INSERT INTO iceberg_products SELECT * FROM products;
INSERT INTO iceberg_customers SELECT * FROM customers;
