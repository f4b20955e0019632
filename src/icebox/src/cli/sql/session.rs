//! One connection to one side of the lakehouse, and its answers as text.

use std::fmt::Write;

use anyhow::Context;
use futures::TryStreamExt;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{Client, SimpleQueryMessage};

use icebox_base::chain;
use icebox_postgres::statements::{self, Statement};
use icebox_postgres::{ConnectError, connect_with_notices};
use icebox_rest::client as snowflake;
use icebox_sandbox::{SandboxInfo, Side};
use icebox_sql::error::Position;
use icebox_sql::syntax;

/// The result of one statement.
pub enum Answer {
    /// Rows as text.
    Rows {
        columns: Vec<String>,
        rows: Vec<TextRow>,
    },
    /// No rows; the statement changed this many.
    Done { affected: u64 },
}

/// A row's values; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// A session on one side of the lakehouse.
pub enum Session {
    Postgres {
        client: Client,
        info: Box<SandboxInfo>,
    },
    Snowflake {
        client: Box<snowflake::Client>,
        user: String,
    },
}

impl Session {
    pub async fn open(side: Side, info: &SandboxInfo) -> anyhow::Result<Self> {
        Ok(match side {
            Side::Postgres => Self::Postgres {
                client: open_postgres(info).await?,
                info: Box::new(info.clone()),
            },
            Side::Snowflake => {
                let snowflake = info
                    .snowflake
                    .as_ref()
                    .context("this sandbox has no Snowflake side")?;
                Self::Snowflake {
                    client: Box::new(snowflake.connect(Some(&snowflake.database)).await?),
                    user: snowflake.user.clone(),
                }
            }
        })
    }

    /// Returns the text of the prompt: the session's database, or its user, warehouse, database
    /// and schema.
    pub fn prompt_text(&self) -> String {
        match self {
            Self::Postgres { info, .. } => info.postgres.dbname.clone(),
            Self::Snowflake { client, user } => {
                let place = client.current();
                let mut text = user.clone();
                for (mark, name) in [
                    ("#", &place.warehouse),
                    ("@", &place.database),
                    (".", &place.schema),
                ] {
                    if let Some(name) = name {
                        text.push_str(mark);
                        text.push_str(name);
                    }
                }
                text
            }
        }
    }

    /// Splits a text into statements. The error says what is wrong, and in which line.
    pub fn split(&self, text: &str) -> Result<Vec<Statement>, (String, usize)> {
        match self {
            Self::Postgres { .. } => {
                statements::split(text).map_err(|error| (error.to_string(), error.line))
            }
            Self::Snowflake { .. } => {
                let line = |position: Option<Position>| position.map_or(1, |at| at.line as usize);
                let statements = syntax::split(text)
                    .map_err(|error| (error.to_string(), line(error.position)))?;
                let owned = |one: &syntax::Statement<'_>| Statement {
                    sql: one.sql.to_owned(),
                    line: line(Some(one.position)),
                };
                Ok(statements.iter().map(owned).collect())
            }
        }
    }

    /// Returns whether the typed text is complete, so that it can be run.
    pub fn is_complete(&self, text: &str) -> bool {
        match self {
            Self::Postgres { .. } => statements::is_complete(text),
            Self::Snowflake { .. } => syntax::is_complete(text),
        }
    }

    /// Runs one statement and passes its answers to `show` as they come. An error is ready to be
    /// printed.
    pub async fn run(
        &mut self,
        statement: &str,
        mut show: impl FnMut(Answer) -> std::io::Result<()>,
    ) -> Result<(), String> {
        match self {
            Self::Postgres { client, info } => {
                let result = run_on_postgres(client, statement, show).await;
                if client.is_closed() || matches!(result, Err(Failure::Protocol(_))) {
                    // The connection is no longer usable. The next statement gets a new one.
                    if let Ok(new) = open_postgres(info).await {
                        *client = new;
                    }
                }
                result.map_err(|failure| failure.text(statement))
            }
            Self::Snowflake { client, .. } => {
                let answer = client.run(statement).await.map_err(|error| chain(&error))?;
                for notice in &answer.notices {
                    eprintln!("NOTICE: {notice}");
                }
                let columns = answer.columns.into_iter().map(|column| column.name);
                let columns = columns.collect();
                let rows = answer.rows;
                show(Answer::Rows { columns, rows }).map_err(|error| error.to_string())
            }
        }
    }

    pub async fn close(self) {
        if let Self::Snowflake { client, .. } = self {
            client.close().await;
        }
    }
}

async fn open_postgres(info: &SandboxInfo) -> Result<Client, ConnectError> {
    connect_with_notices(&info.postgres, |notice| eprintln!("{}", message(&notice))).await
}

enum Failure {
    /// An error that the server reported.
    Server(Box<DbError>),
    /// Any other failure of the connection or the protocol.
    Protocol(tokio_postgres::Error),
    Output(std::io::Error),
}

/// Runs a statement with the simple query protocol, which takes every kind of statement and answers
/// in text.
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
            Self::Server(error) => {
                let mut text = message(error);
                if let Some(ErrorPosition::Original(position)) = error.position() {
                    text.push_str(&excerpt(statement, *position));
                }
                text
            }
            Self::Protocol(error) => {
                let copy = "COPY FROM STDIN and COPY TO STDOUT need psql";
                format!("ERROR: {}", chain(error)).replace("unexpected message from server", copy)
            }
            Self::Output(error) => error.to_string(),
        }
    }
}

/// Formats an error or a notice with its SQLSTATE. Only errors get their context, as in psql.
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

/// Returns the line that contains the character at `position` (from 1), with a mark below it.
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
