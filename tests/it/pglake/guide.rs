//! The guide "Build a Lakehouse with Snowflake Postgres and `pg_lake`", run without changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::readers;
use crate::support::clients::{psql, python_with};
use crate::support::sandbox::{TestSandbox, reader};
use crate::support::{text, until};

/// Returns the folder of the guide's statements, which is beside the checkout and not part of the
/// product.
pub fn guide() -> Option<PathBuf> {
    let guide = Path::new(crate::support::ROOT).join("../shared/guide");
    if guide.join("04-postgres-enable-pg_lake.sql").exists() {
        return Some(guide);
    }
    println!(
        "SKIPPED: the guide's statements are not beside the checkout ({})",
        guide.display()
    );
    None
}

/// Runs one of the guide's files with psql, with the bucket's name filled in.
fn run(test: &TestSandbox, guide: &Path, file: &str) -> String {
    let sql = std::fs::read_to_string(guide.join(file))
        .unwrap()
        .replace("<YOUR-BUCKET>", &test.info().bucket);
    let typed = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(typed.path(), sql).unwrap();
    let output = psql(test.info(), &["-f", typed.path().to_str().unwrap()]);
    assert!(output.status.success(), "{file}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a moment that is not near a full minute. The guide's jobs run at every full minute,
/// and with the guide's SQL two syncs at the same time duplicate rows.
pub async fn wait_until_jobs_are_idle() {
    let second = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            % 60
    };
    let is_good = || (5..30).contains(&second());
    until("a minute passes", Duration::from_mins(1), async || {
        is_good()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_postgres_statement_and_the_simulator() {
    let Some(guide) = guide() else { return };
    let Some(python) = python_with("psycopg2") else {
        return;
    };
    let test = TestSandbox::bare().await;
    let mut files: Vec<String> = std::fs::read_dir(&guide)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-postgres-") && name.ends_with(".sql"))
        .filter(|name| !name.starts_with("02-"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in &files {
        if file.contains("pg_cron") && !test.info().has_pg_cron {
            println!("SKIPPED: {file}, as pg_cron is not installed (icebox doctor)");
            continue;
        }
        if file.starts_with("20-") {
            wait_until_jobs_are_idle().await;
            let info = test.info();
            let mut command = Command::new(&python);
            command.arg(guide.join("simulate_transactions.py"));
            command.args([
                "--host",
                &info.postgres.host,
                "--port",
                &info.postgres.port.to_string(),
            ]);
            command.args(["--password", &info.postgres.password]);
            command.args([
                "--transactions",
                "5000",
                "--batch-size",
                "500",
                "--sync-every",
                "500",
            ]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            assert!(
                text(&output).contains("Done! 5000 transactions"),
                "{}",
                text(&output)
            );
        }
        let answer = run(&test, &guide, file);
        match &file[..2] {
            "09" => {
                let bucket = &test.info().bucket;
                assert_eq!(
                    answer
                        .matches(&format!(
                            "s3://{bucket}/frompg/tables/postgres/public/iceberg_"
                        ))
                        .count(),
                    5,
                    "{answer}"
                );
            }
            "20" => {
                let lines: Vec<&str> = answer.lines().collect();
                assert_eq!(
                    lines[..3],
                    ["heap_transactions|5000", "iceberg_transactions|5000", "0"],
                    "{answer}"
                );
                assert_eq!(
                    lines[3].strip_prefix("heap|"),
                    lines[4].strip_prefix("iceberg|"),
                    "{answer}"
                );
            }
            _ => {}
        }
    }
    let db = test.db().await;
    db.assert_rows(
        "SELECT count(*) - (SELECT count(*) FROM iceberg_transaction_items) FROM transaction_items",
        &["0"],
    )
    .await;
    for (heap, lake) in [
        ("stores", "iceberg_stores"),
        ("products", "iceberg_products"),
        ("customers", "iceberg_customers"),
        ("transactions", "iceberg_transactions"),
        ("transaction_items", "iceberg_transaction_items"),
    ] {
        // synced_at is set separately on each side but in one transaction, so now() gives the same
        // value.
        db.assert_rows(
            &format!(
                "SELECT count(*) FROM (SELECT * FROM {heap} EXCEPT ALL SELECT * FROM {lake}) d"
            ),
            &["0"],
        )
        .await;
        db.assert_rows(
            &format!(
                "SELECT count(*) FROM (SELECT * FROM {lake} EXCEPT ALL SELECT * FROM {heap}) d"
            ),
            &["0"],
        )
        .await;
    }
    // A sync without new rows writes nothing.
    let before = db.metadata_location("iceberg_transactions").await;
    db.run(
        "WITH synced AS (INSERT INTO iceberg_transactions SELECT txn_id, store_id, customer_id, txn_timestamp, total_amount,
           payment_method, now() FROM transactions WHERE synced_at IS NULL RETURNING txn_id)
         UPDATE transactions SET synced_at = now() WHERE txn_id IN (SELECT txn_id FROM synced)",
    )
    .await;
    assert_eq!(db.metadata_location("iceberg_transactions").await, before);
    readers::agree(test.info(), &db).await;

    // Without the heap tables, PostgreSQL, icebox's reader and the other readers still give the
    // same answers.
    if test.info().has_pg_cron {
        db.run("SELECT cron.unschedule(jobid) FROM cron.job").await;
    }
    let total = db.one("SELECT sum(total_amount) FROM transactions").await;
    db.run("DROP TABLE transaction_items, transactions, customers, products, stores")
        .await;
    let reader = reader(test.info(), &db).await;
    let sum = "SELECT sum(total_amount) FROM iceberg_transactions";
    assert_eq!(db.one(sum).await, total);
    assert_eq!(readers::single(&reader, sum).await, total);
    readers::agree(test.info(), &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduled_jobs_sync_by_themselves() {
    let Some(guide) = guide() else { return };
    let test = TestSandbox::bare().await;
    if !test.info().has_pg_cron {
        println!("SKIPPED: pg_cron is not installed (icebox doctor)");
        return;
    }
    for file in [
        "04-postgres-enable-pg_lake.sql",
        "05-postgres-heap-tables.sql",
        "06-postgres-seed.sql",
        "07-postgres-iceberg-tables.sql",
        "08-postgres-pg_cron-sync.sql",
    ] {
        run(&test, &guide, file);
    }
    let db = test.db().await;
    db.run(
        "INSERT INTO transactions (store_id, customer_id, total_amount) SELECT 1 + i % 5, NULL, i FROM generate_series(1, 50) i;
         INSERT INTO transaction_items (txn_id, product_id, unit_price, line_total) SELECT i, 1, 1, i FROM generate_series(1, 50) i",
    )
    .await;
    let unsynced = "SELECT (SELECT count(*) FROM transactions WHERE synced_at IS NULL)
                         + (SELECT count(*) FROM transaction_items WHERE synced_at IS NULL)";
    until("the jobs sync", Duration::from_secs(90), async || {
        db.one(unsynced).await == "0"
    })
    .await;
    db.assert_rows(
        "SELECT count(*), sum(total_amount) FROM iceberg_transactions",
        &["50|1275.00"],
    )
    .await;
    db.assert_rows(
        "SELECT count(*), sum(line_total) FROM iceberg_transaction_items",
        &["50|1275.00"],
    )
    .await;
    db.assert_rows(
        "SELECT DISTINCT status FROM cron.job_run_details WHERE status <> 'running'",
        &["succeeded"],
    )
    .await;
}
