//! One connection to one side of the lakehouse, and what it answers, as text.

use std::fmt::Write;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use icebox::chain;
use icebox::postgres::{ConnectError, connect_with_notices};
use icebox::sandbox::SandboxInfo;
use icebox::snowflake::{Reader, follow};
use icebox::tables::LakeIo;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Side;

/// What one statement gave.
pub enum Answer {
    /// Rows as text.
    Rows {
        columns: Vec<String>,
        rows: Vec<TextRow>,
    },
    /// No rows, but so many of them changed.
    Done { affected: u64 },
}

/// A row's values; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// Somewhere to run statements.
pub enum Session {
    Postgres {
        client: Client,
        info: Box<SandboxInfo>,
    },
    /// The catalog tells before every statement where the tables are.
    Snowflake {
        catalog: Client,
        reader: Box<Reader>,
    },
}

impl Session {
    pub async fn open(side: Side, info: &SandboxInfo) -> anyhow::Result<Session> {
        let info = Box::new(info.clone());
        Ok(match side {
            Side::Postgres => Session::Postgres {
                client: open_postgres(&info).await?,
                info,
            },
            Side::Snowflake => Session::Snowflake {
                catalog: icebox::postgres::connect(&info.postgres).await?,
                reader: Box::new(Reader::new(LakeIo::s3(info.s3.clone()))?),
            },
        })
    }

    /// The side's name, for the prompt.
    pub fn name(&self) -> &'static str {
        match self {
            Session::Postgres { .. } => "postgres",
            Session::Snowflake { .. } => "snowflake",
        }
    }

    /// Runs one statement and hands its answers to `show` as they come; an error is ready to be printed.
    pub async fn run(
        &mut self,
        statement: &str,
        mut show: impl FnMut(Answer) -> std::io::Result<()>,
    ) -> Result<(), String> {
        match self {
            Session::Postgres { client, info } => {
                let result = run_on_postgres(client, statement, show).await;
                if client.is_closed() || matches!(result, Err(Failure::Protocol(_))) {
                    // The connection is of no more use; the next statement gets a new one.
                    if let Ok(new) = open_postgres(info).await {
                        *client = new;
                    }
                }
                result.map_err(|failure| failure.text(statement))
            }
            Session::Snowflake { catalog, reader } => {
                follow(reader, catalog)
                    .await
                    .map_err(|error| chain(&error))?;
                let (schema, batches) = reader
                    .query(statement)
                    .await
                    .map_err(|error| chain(&error))?;
                let rows = text_rows(&batches).map_err(|error| chain(&error))?;
                let columns = schema.fields().iter().map(|field| field.name().clone());
                let columns = columns.collect();
                show(Answer::Rows { columns, rows }).map_err(|error| error.to_string())
            }
        }
    }
}

/// The values as Arrow prints them.
fn text_rows(batches: &[RecordBatch]) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default().with_types_info(false);
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let values = columns.iter().zip(batch.columns());
            let values = values.map(|(format, column)| match column.is_null(row) {
                true => Ok(None),
                false => format.value(row).try_to_string().map(Some),
            });
            rows.push(values.collect::<Result<_, _>>()?);
        }
    }
    Ok(rows)
}

async fn open_postgres(info: &SandboxInfo) -> Result<Client, ConnectError> {
    connect_with_notices(&info.postgres, |notice| eprintln!("{}", message(&notice))).await
}

enum Failure {
    /// The server's own.
    Server(Box<DbError>),
    /// Something else about the connection.
    Protocol(tokio_postgres::Error),
    Output(std::io::Error),
}

/// The simple query protocol takes every kind of statement and answers in text.
async fn run_on_postgres(
    client: &Client,
    statement: &str,
    mut show: impl FnMut(Answer) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let failed = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(db) => Failure::Server(Box::new(db.clone())),
        None => Failure::Protocol(error),
    };
    let messages = client.simple_query_raw(statement).await.map_err(failed)?;
    let mut messages = std::pin::pin!(messages);
    let mut result: Option<(Vec<String>, Vec<TextRow>)> = None;
    while let Some(message) = messages.try_next().await.map_err(failed)? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                result = Some((
                    columns
                        .iter()
                        .map(|column| column.name().to_owned())
                        .collect(),
                    Vec::new(),
                ));
            }
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len())
                    .map(|index| row.get(index).map(str::to_owned))
                    .collect();
                if let Some((_, rows)) = &mut result {
                    rows.push(values);
                }
            }
            SimpleQueryMessage::CommandComplete(affected) => {
                let answer = match result.take() {
                    Some((columns, rows)) => Answer::Rows { columns, rows },
                    None => Answer::Done { affected },
                };
                show(answer).map_err(Failure::Output)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Failure {
    fn text(&self, statement: &str) -> String {
        match self {
            Failure::Server(error) => {
                let mut text = message(error);
                if let Some(ErrorPosition::Original(position)) = error.position() {
                    text.push_str(&excerpt(statement, *position));
                }
                text
            }
            Failure::Protocol(error) => {
                let copy = "COPY FROM STDIN and COPY TO STDOUT need psql";
                format!("ERROR: {}", chain(error)).replace("unexpected message from server", copy)
            }
            Failure::Output(error) => error.to_string(),
        }
    }
}

/// An error or a notice, with its SQLSTATE; the context is for errors only, as in psql.
fn message(error: &DbError) -> String {
    let mut text = format!(
        "{}: {}: {}",
        error.severity(),
        error.code().code(),
        error.message()
    );
    let is_error = ["ERROR", "FATAL", "PANIC"].contains(&error.severity());
    let context = error.where_().filter(|_| is_error);
    for (label, part) in [
        ("DETAIL", error.detail()),
        ("HINT", error.hint()),
        ("CONTEXT", context),
    ] {
        if let Some(part) = part {
            let _ = write!(text, "\n{label}: {part}");
        }
    }
    text
}

/// The line that holds the character at `position` (from 1), with a mark below it.
fn excerpt(statement: &str, position: u32) -> String {
    let before: String = statement
        .chars()
        .take(position.saturating_sub(1) as usize)
        .collect();
    let line = before.matches('\n').count();
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    let label = format!("LINE {}: ", line + 1);
    let source = statement
        .lines()
        .nth(line)
        .unwrap_or_default()
        .replace('\t', " ");
    format!("\n{label}{source}\n{}^", " ".repeat(label.len() + column))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_mark_is_under_the_character() {
        assert_eq!(
            super::excerpt("SELECT 1,\n  x", 13),
            "\nLINE 2:   x\n          ^"
        );
    }
}
