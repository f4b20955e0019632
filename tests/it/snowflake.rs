//! The Snowflake side's SQL, on the guide's lake, which the real `pg_lake` wrote.

mod catalog;
mod copy;
mod host;
mod lists;
mod load;
mod mistakes;
mod notices;
mod statements;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;

use self::host::{Fixture, locations, ok, run, shown};
use crate::reader::lake::text;
use icebox_account::account::Account;
use icebox_account::session::Session;
use icebox_account::tasks;
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::split;

/// Returns a file of the guide with its placeholders replaced, or None if the guide is not beside
/// the checkout.
fn guide(name: &str) -> Option<String> {
    let path = PathBuf::from(crate::support::ROOT)
        .join("../shared/guide")
        .join(name);
    let mut text = std::fs::read_to_string(path).ok()?;
    text = text.replace("<YOUR-BUCKET>", "retail-lake");
    // The captured lake has no catalog in the object store, and so its locations lack that prefix.
    text = text.replace("frompg/tables/", "");
    text = text.replace("<YOUR-IAM-ROLE-ARN>", "arn:aws:iam::000000000000:role/lake");
    for (table, oid, file) in locations() {
        text = text.replace(
            &format!("{table}/<OID>/metadata/<METADATA-FILE>.metadata.json"),
            &format!("{table}/{oid}/metadata/{file}"),
        );
        text = text.replace(&format!("{table}/<OID>/"), &format!("{table}/{oid}/"));
    }
    assert!(
        !text.contains("<OID>") && !text.contains("<METADATA-FILE>"),
        "{text}"
    );
    Some(text)
}

const BEFORE_TASKS: [&str; 12] = [
    "02-snowflake-create-postgres-instance.sql",
    "03-snowflake-storage-integration.sql",
    "03b-snowflake-attach-integration.sql",
    "10-snowflake-external-volume-and-catalog.sql",
    "11-snowflake-iceberg-tables.sql",
    "12-snowflake-describe-principals.sql",
    "13-snowflake-stage-integration.sql",
    "14-snowflake-stages.sql",
    "15-snowflake-streams.sql",
    "16-snowflake-procedures.sql",
    "17-snowflake-tasks.sql",
    "18-snowflake-resume-tasks.sql",
];

/// Runs files of the guide, and returns the statements with their rows, or None if a file is
/// missing.
async fn run_guide(session: &Session, files: &[&str]) -> Option<Vec<(String, Rows)>> {
    let mut answers = Vec::new();
    for file in files {
        let Some(text) = guide(file) else {
            eprintln!("SKIPPED: {file} is not beside the checkout");
            return None;
        };
        for statement in split(&text).unwrap() {
            let rows = run(session, statement.sql).await;
            let rows = rows.unwrap_or_else(|error| panic!("{file}: {}\n{error}", statement.sql));
            answers.push((statement.sql.to_owned(), rows));
        }
    }
    Some(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snowflake_statement_of_the_guide() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    if run_guide(&session, &BEFORE_TASKS).await.is_none() {
        return;
    }
    // The network policy allows every address.
    let servers = fixture.host.servers.lock().unwrap().clone();
    let allowed: Vec<String> = servers
        .values()
        .flat_map(|access| access.allowed.iter().map(ToString::to_string))
        .collect();
    assert_eq!(allowed, ["0.0.0.0/0"]);

    let answers = run_guide(&session, &["21-snowflake-verify.sql"])
        .await
        .unwrap();
    let by_start = |start: &str| {
        let found = answers.iter().find(|(sql, _)| sql.starts_with(start));
        shown(&found.unwrap_or_else(|| panic!("{start}")).1)
    };
    let csv = |name: &str| -> Vec<Vec<String>> {
        let text = text(name);
        let rows = text.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    };
    let mut counts = by_start("SELECT 'transactions'");
    let mut truth = csv("retail/row_counts.csv");
    counts.sort();
    truth.sort();
    assert_eq!(counts, truth);
    assert_eq!(
        by_start("SELECT s.store_name"),
        csv("retail/revenue_by_store.csv")
    );
    assert_eq!(
        by_start("SELECT p.product_name"),
        csv("retail/top_products.csv")
    );
    assert!(by_start("SELECT * FROM TABLE(INFORMATION_SCHEMA.COPY_HISTORY").is_empty());
    run_guide(&session, &["22-snowflake-cleanup.sql"])
        .await
        .unwrap();

    // All objects are there after a restart.
    let account = Account::open(fixture.directory.path(), fixture.host.clone()).unwrap();
    let session = Session::new(Arc::new(account), Ident::unquoted("ATTENDEE"));
    ok(&session, "USE SCHEMA RETAIL_ANALYTICS.LAKEHOUSE").await;
    assert_eq!(ok(&session, "SHOW TASKS").await.len(), 10);
    assert_eq!(
        shown(&ok(&session, "SELECT COUNT(*) FROM iceberg_stores").await),
        [["5"]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_refresh_a_table_when_a_stage_has_a_newer_file() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    if run_guide(&session, &BEFORE_TASKS).await.is_none() {
        return;
    }
    // The table goes back to its oldest metadata file in the lake.
    let (table, oid, newest) = locations()
        .into_iter()
        .find(|(table, ..)| table == "iceberg_transactions")
        .unwrap();
    let listed = shown(&ok(&session, "SELECT RELATIVE_PATH FROM DIRECTORY(@stg_meta_transactions) WHERE RELATIVE_PATH LIKE '%.metadata.json' ORDER BY 1").await);
    let oldest = &listed[0][0];
    assert_ne!(*oldest, newest);
    let directory = format!("postgres/public/{table}/{oid}/metadata");
    ok(
        &session,
        &format!("ALTER ICEBERG TABLE iceberg_transactions REFRESH '{directory}/{oldest}'"),
    )
    .await;
    let count = "SELECT COUNT(*) FROM iceberg_transactions";
    let before = shown(&ok(&session, count).await);
    assert_ne!(before, [["5000"]]);

    let runner = tokio::spawn(tasks::run(Arc::clone(&fixture.account)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    // There is no new file, so the child tasks are skipped.
    fixture.host.clock.advance(Duration::from_secs(130)).await;
    assert_eq!(shown(&ok(&session, count).await), before);
    // A new metadata file appears, with the content of the newest one.
    let path = |file: &str| object_store::path::Path::parse(format!("{directory}/{file}")).unwrap();
    let bytes = fixture
        .lake
        .store
        .get(&path(&newest))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let later = "99999-ffffffff-ffff-ffff-ffff-ffffffffffff.metadata.json";
    fixture
        .lake
        .store
        .put(&path(later), bytes.into())
        .await
        .unwrap();
    fixture.host.clock.advance(Duration::from_secs(130)).await;
    let mut rounds = 0;
    while shown(&ok(&session, count).await) != [["5000"]] {
        rounds += 1;
        assert!(rounds < 100, "{:?}", fixture.account.history.runs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The guide's streams are never consumed. icebox gives one notice for each.
    fixture.host.clock.advance(Duration::from_secs(130)).await;
    let notices = fixture.account.notices.drain();
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}");
    };
    assert!(
        notice.text.contains("STREAM_META_TRANSACTIONS"),
        "{notice:?}"
    );
    let history = shown(&ok(&session, "SELECT NAME, STATE FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(TASK_NAME => 'TASK_REFRESH_ICEBERG_TRANSACTIONS')) ORDER BY SCHEDULED_TIME").await);
    assert_eq!(history[0][1], "SKIPPED", "{history:?}");
    assert_eq!(history[1][1], "SUCCEEDED", "{history:?}");
    runner.abort();
}
