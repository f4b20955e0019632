//! The simulator and its sync on a real PostgreSQL, with plain tables in place of Iceberg tables.

use tokio_postgres::Client;

use super::retail_lakehouse;
use crate::support::postgres::TestPostgres;
use icebox_postgres::{Endpoint, connect};
use icebox_retail::{Progress, RetailError, Simulator, Synced, Tables, sync};

const ICEBERG: &str = "CREATE TABLE lake_transactions AS SELECT * FROM transactions WITH NO DATA;
    CREATE TABLE lake_items AS SELECT * FROM transaction_items WITH NO DATA";

fn tables() -> Tables {
    Tables {
        iceberg_transactions: "lake_transactions".into(),
        iceberg_items: "public.lake_items".into(),
        ..Tables::default()
    }
}

async fn seeded(endpoint: &Endpoint) -> Client {
    let client = connect(endpoint).await.unwrap();
    for file in ["postgres/02-heap-tables.sql", "postgres/03-seed.sql"] {
        client
            .batch_execute(&std::fs::read_to_string(retail_lakehouse(file)).unwrap())
            .await
            .unwrap();
    }
    client.batch_execute(ICEBERG).await.unwrap();
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Returns a hash of every generated value of both tables.
async fn fingerprint(client: &Client) -> String {
    let sql = "SELECT md5(string_agg(t::text, '\n' ORDER BY t.txn_id)) || (
        SELECT md5(string_agg(i::text, '\n' ORDER BY i.item_id)) FROM transaction_items i) FROM transactions t";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_seed_gives_the_same_rows_whatever_the_batches() {
    let server = TestPostgres::shared().await;
    let simulator = Simulator {
        transactions: 700,
        seed: Some(9),
        sync: false,
        ..Simulator::default()
    };
    let mut prints = Vec::new();
    for (name, simulator) in [
        ("one", simulator.clone()),
        (
            "two",
            Simulator {
                batch_size: 130,
                ..simulator.clone()
            },
        ),
        (
            "three",
            Simulator {
                seed: Some(10),
                ..simulator
            },
        ),
    ] {
        let mut client = seeded(&server.database(name).await).await;
        let summary = simulator.run(&mut client, |_| {}).await.unwrap();
        assert_eq!(summary.transactions, 700);
        assert_eq!(
            number(&client, "SELECT count(*) FROM transaction_items").await,
            summary.items as i64
        );
        prints.push(fingerprint(&client).await);
    }
    assert_eq!(prints[0], prints[1]);
    assert_ne!(prints[0], prints[2]);
}

#[tokio::test]
async fn syncs_fall_where_they_should_and_move_everything_once() {
    let server = TestPostgres::shared().await;
    let mut client = seeded(&server.database("syncs").await).await;
    let simulator = Simulator {
        transactions: 1000,
        batch_size: 300,
        sync_every: 400,
        seed: Some(1),
        tables: tables(),
        ..Simulator::default()
    };
    let mut events = Vec::new();
    let summary = simulator
        .run(&mut client, |progress| {
            events.push(match progress {
                Progress::Inserted { done, .. } => format!("{done}"),
                Progress::Synced { rows, .. } => format!("sync {}", rows.transactions),
            });
        })
        .await
        .unwrap();
    assert_eq!(
        events,
        [
            "300", "600", "sync 600", "900", "sync 300", "1000", "sync 100"
        ]
    );
    assert_eq!(
        summary.synced,
        Synced {
            transactions: 1000,
            items: summary.items
        }
    );
    let different =
        "SELECT (SELECT count(*) FROM (TABLE transactions EXCEPT ALL TABLE lake_transactions) a)
        + (SELECT count(*) FROM (TABLE transaction_items EXCEPT ALL TABLE lake_items) b)
        + (SELECT count(*) FROM transactions WHERE synced_at IS NULL)";
    assert_eq!(number(&client, different).await, 0);
    assert_eq!(
        sync(&mut client, &tables()).await.unwrap(),
        Synced::default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_syncs_move_each_row_once() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("concurrent").await;
    let mut client = seeded(&endpoint).await;
    let simulator = Simulator {
        transactions: 3000,
        batch_size: 50,
        sync_every: 100,
        tables: tables(),
        ..Simulator::default()
    };
    // pg_cron would run the guide's statement, which takes no lock of its own.
    let scheduled = tokio::spawn(async move {
        let client = connect(&endpoint).await.unwrap();
        let sql = include_str!("../../../src/retail/src/sql/sync_transactions.sql")
            .replace("{source}", "transactions")
            .replace("{target}", "lake_transactions");
        let mut moved = 0;
        loop {
            moved += client.execute(&sql, &[]).await.unwrap();
            if number(&client, "SELECT count(*) FROM transactions").await == 3000 {
                return moved;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    let summary = simulator.run(&mut client, |_| {}).await.unwrap();
    let moved = scheduled.await.unwrap();
    assert!(
        moved > 0 && summary.synced.transactions > 0,
        "{moved} {summary:?}"
    );
    sync(&mut client, &tables()).await.unwrap();
    assert_eq!(
        number(&client, "SELECT count(*) FROM lake_transactions").await,
        3000
    );
    assert_eq!(
        number(
            &client,
            "SELECT count(DISTINCT txn_id) FROM lake_transactions"
        )
        .await,
        3000
    );
}

#[tokio::test]
async fn without_a_seed_the_database_tells_the_time_and_a_rate_holds() {
    let server = TestPostgres::shared().await;
    let mut client = seeded(&server.database("rate").await).await;
    let simulator = Simulator {
        transactions: 30,
        rate: Some(40.0),
        sync: false,
        ..Simulator::default()
    };
    let summary = simulator.run(&mut client, |_| {}).await.unwrap();
    assert!(summary.seconds >= 0.75, "{summary:?}");
    let recent =
        "SELECT count(*) FROM transactions WHERE txn_timestamp > now() - interval '1 minute'";
    assert_eq!(number(&client, recent).await, 30);

    client
        .batch_execute("TRUNCATE products CASCADE")
        .await
        .unwrap();
    let error = simulator.run(&mut client, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RetailError::NothingToSell { table } if table == "products"),
        "{error}"
    );
    let error = Simulator {
        batch_size: 0,
        ..simulator
    }
    .run(&mut client, |_| {})
    .await
    .unwrap_err();
    assert!(matches!(error, RetailError::Options(_)), "{error}");
}

#[tokio::test]
async fn a_failed_sync_marks_nothing() {
    let server = TestPostgres::shared().await;
    let mut client = seeded(&server.database("failure").await).await;
    client
        .batch_execute("ALTER TABLE lake_items ADD CHECK (quantity < 3)")
        .await
        .unwrap();
    let simulator = Simulator {
        transactions: 50,
        seed: Some(1),
        tables: tables(),
        ..Simulator::default()
    };
    let error = simulator.run(&mut client, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, RetailError::Postgres { done: 50, .. }),
        "{error:?}"
    );
    assert_eq!(
        number(
            &client,
            "SELECT count(*) FROM transactions WHERE synced_at IS NULL"
        )
        .await,
        50
    );
    assert_eq!(
        number(&client, "SELECT count(*) FROM lake_transactions").await,
        0
    );
}
