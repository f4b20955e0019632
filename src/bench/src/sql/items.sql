CREATE TABLE ${table} (
    item_id    INT,
    txn_id     INT,
    product_id INT,
    quantity   INT,
    unit_price NUMERIC(10,2),
    line_total NUMERIC(12,2),
    synced_at  TIMESTAMP
) USING ${method};
