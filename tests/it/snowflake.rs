//! The Snowflake side's SQL, on the lake that the real `pg_lake` wrote for the guide.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use icebox::snowflake::account::Account;
use icebox::snowflake::error::{SqlError, SqlResult};
use icebox::snowflake::names::Ident;
use icebox::snowflake::object::network_policy::Access;
use icebox::snowflake::rows::Rows;
use icebox::snowflake::schedule::{Clock, TimeScale};
use icebox::snowflake::script::Bindings;
use icebox::snowflake::session::Session;
use icebox::snowflake::statement::execute;
use icebox::snowflake::syntax::split;
use icebox::snowflake::tasks;
use icebox::snowflake::world::{NewPostgres, Postgres, World};
use icebox::tables::LakeIo;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::reader::lake::{Lake, text};

/// A world with a lake, a clock that only moves when it is told to, and servers that are only remembered.
struct TestWorld {
    io: LakeIo,
    clock: Clock,
    servers: Mutex<BTreeMap<u64, Access>>,
}

#[async_trait]
impl World for TestWorld {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lake(&self) -> &LakeIo {
        &self.io
    }

    fn storage(&self) -> String {
        "s3://retail-lake/snowflake/".to_owned()
    }

    fn account_locator(&self) -> String {
        "ICEBOX".to_owned()
    }

    fn iam_user(&self, is_postgres: bool) -> String {
        let user = if is_postgres {
            "snowflake-postgres-integration-management"
        } else {
            "icebox"
        };
        format!("arn:aws:iam::000000000000:user/{user}")
    }

    async fn create_postgres(&self, request: &NewPostgres) -> SqlResult<Postgres> {
        self.resume_postgres(request.id).await
    }

    async fn suspend_postgres(&self, _: u64) -> SqlResult<()> {
        Ok(())
    }

    async fn resume_postgres(&self, id: u64) -> SqlResult<Postgres> {
        self.servers.lock().unwrap().insert(id, Access::default());
        Ok(Postgres {
            host: format!("127.0.0.{id}"),
            port: 5432,
            passwords: vec![("snowflake_admin".to_owned(), "secret".to_owned())],
            version: "15.18".to_owned(),
            certificate: String::new(),
        })
    }

    async fn drop_postgres(&self, id: u64) -> SqlResult<()> {
        self.servers.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn allow_postgres(&self, id: u64, access: &Access) -> SqlResult<()> {
        self.servers.lock().unwrap().insert(id, access.clone());
        Ok(())
    }
}

/// An account on the guide's lake.
struct Fixture {
    lake: Lake,
    world: Arc<TestWorld>,
    account: Arc<Account>,
    directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let lake = Lake::retail().await;
        // As in the bucket that was captured: a later metadata file is a younger one.
        let listed = lake.store.list(None);
        let mut keys: Vec<_> = listed
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .unwrap();
        keys.retain(|key| key.as_ref().ends_with(".metadata.json"));
        keys.sort();
        for key in keys {
            let bytes = lake.store.get(&key).await.unwrap().bytes().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            lake.store.put(&key, bytes.into()).await.unwrap();
        }
        let now = chrono::DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap();
        let world = Arc::new(TestWorld {
            io: lake.io.clone(),
            clock: Clock::starting_at(now.to_utc(), TimeScale::STOPPED),
            servers: Mutex::default(),
        });
        let directory = tempfile::tempdir().unwrap();
        let account = Account::open(directory.path(), world.clone()).unwrap();
        Self {
            lake,
            world,
            account: Arc::new(account),
            directory,
        }
    }

    fn session(&self) -> Session {
        Session::new(Arc::clone(&self.account), Ident::unquoted("ATTENDEE"))
    }
}

async fn run(session: &Session, sql: &str) -> Result<Rows, SqlError> {
    let answer = execute(session, sql, &Bindings::default(), 0).await;
    answer.map(|answer| answer.rows)
}

async fn ok(session: &Session, sql: &str) -> Rows {
    run(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// Rows as text, as a client shows them.
fn shown(rows: &Rows) -> Vec<Vec<String>> {
    let types = rows.types();
    let zone = chrono_tz::UTC;
    (0..rows.len())
        .map(|row| {
            let values = types.iter().enumerate();
            let values = values.map(|(column, ty)| {
                let value = rows.value(row, column);
                icebox::snowflake::query::render(&value, *ty, zone)
                    .unwrap()
                    .unwrap_or_else(|| "NULL".to_owned())
            });
            values.collect()
        })
        .collect()
}

/// A file of the guide, with what a person replaces in it; None where the guide is not beside the checkout.
fn guide(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/guide")
        .join(name);
    let mut text = std::fs::read_to_string(path).ok()?;
    text = text.replace("<YOUR-BUCKET>", "retail-lake");
    // The capture has no catalog in the object store, and so not its prefix.
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

/// Table, OID and metadata file, as the catalog view tells them.
fn locations() -> Vec<(String, String, String)> {
    let csv = crate::reader::lake::text("retail/iceberg_tables.csv");
    let found = csv.lines().filter_map(|line| {
        let location = line.split(',').find(|cell| cell.starts_with("s3://"))?;
        let mut parts = location.rsplit('/');
        let file = parts.next()?.to_owned();
        parts.next()?;
        let oid = parts.next()?.to_owned();
        Some((parts.next()?.to_owned(), oid, file))
    });
    found.collect()
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

/// Runs files of the guide; false where they are not there.
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
    // The policy lets everybody in.
    let servers = fixture.world.servers.lock().unwrap().clone();
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

    // All of it is there after a restart.
    let account = Account::open(fixture.directory.path(), fixture.world.clone()).unwrap();
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
    // Back to the oldest file that the lake has of the table.
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
    // Nothing new: the children are skipped.
    fixture.world.clock.advance(Duration::from_secs(130)).await;
    assert_eq!(shown(&ok(&session, count).await), before);
    // Postgres writes the newest file again under a later name.
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
    fixture.world.clock.advance(Duration::from_secs(130)).await;
    let mut rounds = 0;
    while shown(&ok(&session, count).await) != [["5000"]] {
        rounds += 1;
        assert!(rounds < 100, "{:?}", fixture.account.history.runs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let history = shown(&ok(&session, "SELECT NAME, STATE FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(TASK_NAME => 'TASK_REFRESH_ICEBERG_TRANSACTIONS')) ORDER BY SCHEDULED_TIME").await);
    assert_eq!(history[0][1], "SKIPPED", "{history:?}");
    assert_eq!(history[1][1], "SUCCEEDED", "{history:?}");
    runner.abort();
}
