//! The queries that the guide runs in Snowflake, on tables like the guide's.

use super::*;

async fn lake() -> TestCatalog {
    let stores = "SELECT column1::int AS store_id, column2 AS store_name, column3 AS city FROM VALUES (1, 'North', 'Oslo'), (2, 'South', 'Rome')";
    let transactions = "SELECT column1::int AS txn_id, column2::int AS store_id, column3::number(12,2) AS total_amount \
                        FROM VALUES (1, 1, 10.50), (2, 1, 0.25), (3, 2, 99.99)";
    let items = "SELECT column1::int AS product_id, column2::int AS quantity, column3::number(12,2) AS line_total \
                 FROM VALUES (7, 1, 10.50), (7, 2, 0.25), (8, 1, 99.99)";
    let products = "SELECT column1::int AS product_id, column2 AS product_name, column3 AS category FROM VALUES (7, 'Tea', 'Food'), (8, 'Pan', 'Home')";
    TestCatalog::default()
        .with("ICEBERG_STORES", stores)
        .await
        .with("ICEBERG_TRANSACTIONS", transactions)
        .await
        .with("ICEBERG_TRANSACTION_ITEMS", items)
        .await
        .with("ICEBERG_PRODUCTS", products)
        .await
        .with("ICEBERG_CUSTOMERS", "SELECT 1 AS customer_id")
        .await
}

#[tokio::test]
async fn row_counts() {
    let sql = "SELECT 'transactions' AS table_name, COUNT(*) AS row_count FROM iceberg_transactions UNION ALL SELECT 'items', COUNT(*) FROM iceberg_transaction_items UNION ALL SELECT 'stores', COUNT(*) FROM iceberg_stores UNION ALL SELECT 'products', COUNT(*) FROM iceberg_products UNION ALL SELECT 'customers', COUNT(*) FROM iceberg_customers";
    let rows = run(sql, &lake().await).await.unwrap();
    assert_eq!(
        columns_of(&rows),
        "TABLE_NAME VARCHAR(16777216), ROW_COUNT NUMBER(18,0)"
    );
    let mut found = rows_of(&rows);
    found.sort();
    assert_eq!(
        found,
        [
            "customers | 1",
            "items | 3",
            "products | 2",
            "stores | 2",
            "transactions | 3"
        ]
    );
}

#[tokio::test]
async fn revenue_by_store() {
    let sql = "SELECT s.store_name, s.city, COUNT(DISTINCT t.txn_id) AS total_transactions, SUM(t.total_amount) AS total_revenue FROM iceberg_transactions t JOIN iceberg_stores s ON t.store_id = s.store_id GROUP BY s.store_name, s.city ORDER BY total_revenue DESC;";
    let rows = run(sql, &lake().await).await.unwrap();
    assert_eq!(
        columns_of(&rows),
        "STORE_NAME VARCHAR(16777216), CITY VARCHAR(16777216), TOTAL_TRANSACTIONS NUMBER(18,0), TOTAL_REVENUE NUMBER(24,2)"
    );
    assert_eq!(
        rows_of(&rows),
        ["South | Rome | 1 | 99.99", "North | Oslo | 2 | 10.75"]
    );
}

#[tokio::test]
async fn top_products() {
    let sql = "SELECT p.product_name, p.category, SUM(i.quantity) AS units_sold, SUM(i.line_total) AS revenue FROM iceberg_transaction_items i JOIN iceberg_products p ON i.product_id = p.product_id GROUP BY p.product_name, p.category ORDER BY revenue DESC LIMIT 10;";
    assert_eq!(
        ask_of(&lake().await, sql).await,
        "Pan | Home | 1 | 99.99; Tea | Food | 3 | 10.75"
    );
}

#[tokio::test]
async fn copy_history() {
    let session = lake().await;
    let sql = "SELECT * FROM TABLE(INFORMATION_SCHEMA.COPY_HISTORY( TABLE_NAME => 'ICEBERG_TRANSACTIONS', START_TIME => DATEADD(hours, -24, CURRENT_TIMESTAMP()) ));";
    let rows = run(sql, &session).await.unwrap();
    assert_eq!(rows.len(), 0);
    assert_eq!(
        session.asked.lock().unwrap().as_slice(),
        [
            "INFORMATION_SCHEMA.COPY_HISTORY TABLE_NAME => ICEBERG_TRANSACTIONS VARCHAR(16777216)",
            "INFORMATION_SCHEMA.COPY_HISTORY START_TIME => 2024-07-14 19:30:00.123 +0000 TIMESTAMP_LTZ(9)",
        ]
    );
}

/// The SELECT of the guide's procedures, without its INTO.
#[tokio::test]
async fn newest_metadata_file() {
    let session = TestCatalog::default();
    let sql = "SELECT RELATIVE_PATH FROM DIRECTORY(@stg_meta_transactions) WHERE RELATIVE_PATH LIKE '%.metadata.json' ORDER BY LAST_MODIFIED DESC LIMIT 1";
    assert_eq!(ask_of(&session, sql).await, "00002-b.metadata.json");
    assert_eq!(
        session.asked.lock().unwrap().pop().as_deref(),
        Some("DIRECTORY STG_META_TRANSACTIONS")
    );
    let sql = "SELECT MAX(last_modified) FROM DIRECTORY(@db.lakehouse.\"s\")";
    assert_eq!(ask_of(&session, sql).await, "1969-12-31 16:00:03.000 -0800");
    assert_eq!(
        session.asked.lock().unwrap().pop().as_deref(),
        Some("DIRECTORY DB.LAKEHOUSE.\"s\"")
    );
}
