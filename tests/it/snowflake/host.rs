//! An account on the guide's lake, and helpers that run statements in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::reader::lake::Lake;
use icebox_account::account::Account;
use icebox_account::host::{Access, Grant, Host, NewPostgres, Postgres, Role};
use icebox_account::session::Session;
use icebox_account::statement::{self, Statement};
use icebox_schedule::{Clock, TimeScale};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::split;
use icebox_tables::LakeIo;

/// A host with a lake, a clock that moves only when a test advances it, and PostgreSQL servers that
/// are only recorded.
pub struct TestHost {
    pub io: LakeIo,
    pub clock: Clock,
    pub servers: Mutex<BTreeMap<u64, Access>>,
}

#[async_trait]
impl Host for TestHost {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lake(&self) -> &LakeIo {
        &self.io
    }

    async fn lake_through(&self, _: &Role) -> Result<LakeIo, String> {
        Ok(self.io.clone())
    }

    async fn add_iam_user(&self, _: &str) -> SqlResult<()> {
        Ok(())
    }

    async fn grant_postgres(&self, _: u64, _: Option<&Grant>) -> SqlResult<()> {
        Ok(())
    }

    fn audit(&self) -> Option<icebox_aws::audit::Reader> {
        None
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

    async fn reset_postgres(&self, _: u64, role: &str) -> SqlResult<String> {
        Ok(format!("another secret of {role}"))
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
pub struct Fixture {
    pub lake: Lake,
    pub host: Arc<TestHost>,
    pub account: Arc<Account>,
    pub directory: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        let lake = Lake::retail().await;
        // A later metadata file must have a later time, as in the captured bucket.
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
        let host = Arc::new(TestHost {
            io: lake.io.clone(),
            clock: Clock::starting_at(now.to_utc(), TimeScale::STOPPED),
            servers: Mutex::default(),
        });
        let directory = tempfile::tempdir().unwrap();
        let account = Account::open(directory.path(), host.clone()).unwrap();
        Self {
            lake,
            host,
            account: Arc::new(account),
            directory,
        }
    }

    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.account), Ident::unquoted("ATTENDEE"))
    }
}

pub async fn run(session: &Session, sql: &str) -> Result<Rows, SqlError> {
    let answer = statement::run(session, &Statement::new(sql)).await;
    answer.map(|answer| answer.rows)
}

pub async fn ok(session: &Session, sql: &str) -> Rows {
    run(session, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// Renders rows as text, as a client shows them.
pub fn shown(rows: &Rows) -> Vec<Vec<String>> {
    let types = rows.types();
    let zone = chrono_tz::UTC;
    (0..rows.len())
        .map(|row| {
            let values = types.iter().enumerate();
            let values = values.map(|(column, ty)| {
                let value = rows.value(row, column);
                icebox_sql::query::render(&value, *ty, zone)
                    .unwrap()
                    .unwrap_or_else(|| "NULL".to_owned())
            });
            values.collect()
        })
        .collect()
}

/// Runs a statement that returns one value, and returns its text.
pub async fn value(session: &Session, sql: &str) -> String {
    shown(&ok(session, sql).await)[0][0].clone()
}

/// Runs statements that must succeed, and returns the rows of the last one.
pub async fn script(session: &Session, text: &str) -> Vec<Vec<String>> {
    let mut last = Vec::new();
    for statement in split(text).unwrap() {
        last = shown(&ok(session, statement.sql).await);
    }
    last
}

/// Returns the table, OID and metadata file of each table in the captured catalog view.
pub fn locations() -> Vec<(String, String, String)> {
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
