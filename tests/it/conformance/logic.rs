//! The sqllogictest files of `conformance/logic`. They test what follows from the real extension's
//! documentation and its transcripts, but is not in a transcript.

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::SimpleQueryMessage;

use super::in_database;
use crate::support::db::{Db, NULL};
use crate::support::sandbox::TestSandbox;
use icebox_postgres::Endpoint;

/// The connection of a test file.
struct Connection(Db);

impl Connection {
    async fn open(endpoint: &Endpoint) -> Result<Self, icebox_postgres::ConnectError> {
        Ok(Self(Db::try_connect(endpoint).await?))
    }
}

/// An error as `SQLSTATE: message`, which the patterns of the files match.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Refused {
    text: String,
}

impl From<icebox_postgres::ConnectError> for Refused {
    fn from(error: icebox_postgres::ConnectError) -> Self {
        Self {
            text: error.to_string(),
        }
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let messages = self
            .0
            .client
            .simple_query(sql)
            .await
            .map_err(|error| Refused {
                text: match error.as_db_error() {
                    Some(error) => format!("{}: {}", error.code().code(), error.message()),
                    None => error.to_string(),
                },
            })?;
        let (mut columns, mut rows, mut count) = (None, Vec::new(), 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => {
                    columns = Some(description.len());
                }
                SimpleQueryMessage::Row(row) => {
                    let value = |i| match row.get(i) {
                        Some("") => "(empty)".to_owned(),
                        value => value.unwrap_or(NULL).to_owned(),
                    };
                    rows.push((0..row.len()).map(value).collect());
                }
                SimpleQueryMessage::CommandComplete(number) => count = number,
                _ => {}
            }
        }
        Ok(match columns {
            // All values come as text. A test of types queries them with pg_typeof.
            Some(columns) => DBOutput::Rows {
                types: vec![DefaultColumnType::Any; columns],
                rows,
            },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "pg_lake"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logic_files() {
    let folder = std::path::Path::new(crate::support::ROOT).join("tests/it/conformance/logic");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    let test = TestSandbox::with_bucket("logic").await;
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        test.database(&name).await;
        let endpoint = in_database(test.info(), &name);
        let mut runner = Runner::new(|| {
            let endpoint = endpoint.clone();
            async move { Ok::<_, Refused>(Connection::open(&endpoint).await?) }
        });
        println!("{}", file.display());
        if let Err(error) = runner.run_file_async(&file).await {
            panic!("{}", error.display(false));
        }
    }
}
