//! A PostgreSQL client whose statements and answers are text.

use std::sync::{Arc, Mutex};

use tokio_postgres::{Client, SimpleQueryMessage};

use icebox_postgres::{Endpoint, connect_with_notices};

/// The text for NULL in an answer.
pub const NULL: &str = "∅";

/// A connection that uses the simple query protocol, in which all values are text.
pub struct Db {
    pub client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

/// The answer to a message of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All rows of all statements, with `|` between values.
    pub rows: Vec<String>,
    /// The row count of the last statement.
    pub count: u64,
}

/// An error from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error as `SQLSTATE: message`, as in the transcripts.
    pub text: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Db {
    pub async fn connect(endpoint: &Endpoint) -> Self {
        Self::try_connect(endpoint)
            .await
            .expect("PostgreSQL answers")
    }

    pub async fn try_connect(endpoint: &Endpoint) -> Result<Self, icebox_postgres::ConnectError> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        let client = connect_with_notices(endpoint, move |notice| {
            let text = format!("{}: {}", notice.severity(), notice.message());
            sink.lock().unwrap().push(text);
        })
        .await?;
        Ok(Self { client, notices })
    }

    /// Returns the server's notices since the last call.
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    pub async fn try_run(&self, sql: &str) -> Result<Answer, Failure> {
        let messages = self.client.simple_query(sql).await.map_err(failure)?;
        let mut answer = Answer {
            rows: Vec::new(),
            count: 0,
        };
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<&str> =
                        (0..row.len()).map(|i| row.get(i).unwrap_or(NULL)).collect();
                    answer.rows.push(values.join("|"));
                }
                SimpleQueryMessage::CommandComplete(count) => answer.count = count,
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Runs SQL that must succeed.
    pub async fn run(&self, sql: &str) -> Answer {
        match self.try_run(sql).await {
            Ok(answer) => answer,
            Err(failure) => panic!("{sql}\n{failure:?}"),
        }
    }

    /// Returns the rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.run(sql).await.rows
    }

    /// Returns the only row of a query.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// Checks that `sql` gives these rows, in this order.
    #[track_caller]
    pub fn assert_rows(&self, sql: &str, rows: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.rows(sql).await, rows, "{sql} ({caller})") }
    }

    /// Checks that `sql` fails with `SQLSTATE: message`.
    #[track_caller]
    pub fn assert_error(&self, sql: &str, error: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            match self.try_run(sql).await {
                Ok(answer) => panic!("{sql} ({caller}) should fail with {error}, gave {answer:?}"),
                Err(failure) => assert_eq!(failure.text, error, "{sql} ({caller})"),
            }
        }
    }

    /// Returns the location of a table's current metadata file.
    pub async fn metadata_location(&self, table: &str) -> String {
        self.one(&format!(
            "SELECT metadata_location FROM iceberg_tables WHERE table_name = '{table}'"
        ))
        .await
    }
}

fn failure(error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => Failure {
            text: format!("{}: {}", error.code().code(), error.message()),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        },
        None => Failure {
            text: format!("connection: {error}"),
            detail: None,
            hint: None,
        },
    }
}
