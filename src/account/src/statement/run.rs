//! Execution of a statement: its pipe, its entry in the query history, cancellation and timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;
use tokio_util::sync::CancellationToken;

use super::{Context, Described, Verb, query, verb};
use crate::answer::{Answer, Request, StatementKind, canceled, new_query_id};
use crate::history::Query;
use crate::kind::catalog_sync;
use crate::parameters;
use crate::session::Session;
use icebox_scripting::{Bindings, Value};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::{self, Cursor};
use icebox_sql::types::DataType;

/// The greatest depth of blocks and procedures that call each other.
const MOST_DEPTH: usize = 16;

/// A statement to run in a session.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's id in the query history, for cancelling it and for fetching its result.
    pub query_id: String,
    /// One statement, with or without its semicolon, or several that are joined by `->>`.
    pub sql: String,
    /// The values of `?`, `:1` and `:name`. There is more than one set for an INSERT that runs once
    /// for each.
    pub bindings: Vec<Bindings>,
    /// Whether only the columns are wanted. Then the statement has no effect, and the answer has no
    /// rows.
    pub describe_only: bool,
    /// Session parameters for this statement alone, such as `QUERY_TAG`. Unknown ones are ignored.
    pub parameters: BTreeMap<String, String>,
}

impl Statement {
    /// Returns a statement without bindings, with a new id.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            query_id: new_query_id(),
            sql: sql.into(),
            bindings: Vec::new(),
            describe_only: false,
            parameters: BTreeMap::new(),
        }
    }
}

impl From<Request> for Statement {
    fn from(request: Request) -> Self {
        let types = request.bindings.types();
        let row = |row| {
            let values = types.iter().enumerate();
            let values = values.map(|(at, ty)| Value::new(*ty, request.bindings.value(row, at)));
            Bindings::positional(values.collect())
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Self {
            bindings: (0..request.bindings.len()).map(row).collect(),
            query_id: request.query_id,
            sql: request.sql,
            describe_only: request.describe_only,
            parameters: request
                .parameters
                .into_iter()
                .map(|(name, value)| (name.to_uppercase(), text(value)))
                .collect(),
        }
    }
}

/// Runs a statement in a session. All front ends use this function. The statement is in the
/// account's query history from its beginning.
/// [`History::cancel`](crate::history::History::cancel) ends it at a point where no work
/// is left half done.
///
/// # Errors
/// The statement's error, or [`canceled`].
pub fn run<'a>(session: &'a Session, statement: &'a Statement) -> BoxFuture<'a, SqlResult<Answer>> {
    async move {
        if let Some(database) = session.current().database {
            catalog_sync::sync_own(session.account(), &database).await;
        }
        let (none, never) = (Bindings::default(), CancellationToken::new());
        let context = Context {
            session,
            bindings: statement.bindings.first().unwrap_or(&none),
            repeats: &statement.bindings,
            earlier: &[],
            depth: 0,
            cancel: &never,
            parameters: &statement.parameters,
        };
        let id = &statement.query_id;
        recorded(context, id, &statement.sql, statement.describe_only).await
    }
    .boxed()
}

/// Evaluates an expression, without an entry in the query history.
///
/// # Errors
/// If the expression cannot be evaluated.
pub fn value<'a>(
    session: &'a Session,
    expression: &'a str,
) -> BoxFuture<'a, SqlResult<ScalarValue>> {
    async move {
        let (none, never, parameters) = Default::default();
        let context = Context {
            session,
            bindings: &none,
            repeats: &[],
            earlier: &[],
            depth: 0,
            cancel: &never,
            parameters: &parameters,
        };
        let rows = query::run(context, &format!("SELECT {expression}")).await?;
        Ok(rows.value(0, 0))
    }
    .boxed()
}

/// Runs a statement of a script, with its own id in the query history.
pub fn nested<'a>(
    context: Context<'a>,
    sql: &'a str,
    bindings: &'a Bindings,
) -> BoxFuture<'a, SqlResult<Answer>> {
    async move {
        let context = inner(context, bindings)?;
        recorded(context, &new_query_id(), sql, false).await
    }
    .boxed()
}

/// Evaluates an expression of a script, without an entry in the query history.
pub fn evaluated<'a>(
    context: Context<'a>,
    sql: &'a str,
    bindings: &'a Bindings,
) -> BoxFuture<'a, SqlResult<Rows>> {
    async move { query::run(inner(context, bindings)?, sql).await }.boxed()
}

fn inner<'a>(context: Context<'a>, bindings: &'a Bindings) -> SqlResult<Context<'a>> {
    let depth = context.depth + 1;
    if depth > MOST_DEPTH {
        let text = "Stored procedure execution error: recursion is too deep.";
        return Err(SqlError::new(code::NESTING_TOO_DEEP, text));
    }
    Ok(Context {
        bindings,
        repeats: &[],
        earlier: &[],
        depth,
        ..context
    })
}

/// The history entry of a running statement. Dropping it records the statement as ended, also if
/// its future was dropped.
struct HistoryEntry<'a> {
    session: &'a Session,
    query_id: &'a str,
    is_done: bool,
}

impl HistoryEntry<'_> {
    fn end(&mut self, result: Result<&Rows, &SqlError>) {
        self.is_done = true;
        let account = self.session.account();
        account.history.end(self.query_id, account.now(), result);
        self.session.remember(self.query_id);
    }
}

impl Drop for HistoryEntry<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.end(Err(&canceled()));
        }
    }
}

async fn recorded(
    context: Context<'_>,
    query_id: &str,
    sql: &str,
    describe_only: bool,
) -> SqlResult<Answer> {
    let session = context.session;
    let account = session.account();
    let current = session.current();
    let parts = pipe(sql);
    let kind = parts.as_ref().ok().and_then(|parts| parts.last()?.verb);
    let tag = context.parameters.get("QUERY_TAG").cloned();
    let tag = tag.unwrap_or_else(|| parameters::value(&current.settings, "QUERY_TAG").to_owned());
    let begun = Query {
        id: query_id.to_owned(),
        text: sql.to_owned(),
        kind: kind.map_or("UNKNOWN", |verb| verb.words),
        session_id: session.id(),
        user: session.user().clone(),
        role: current.role,
        warehouse: current.warehouse,
        database: current.database,
        schema: current.schema,
        tag,
        started: account.now(),
        ended: None,
        error: None,
        rows: 0,
    };
    let cancel = account.history.begin(begun, Some(context.cancel));
    let mut record = HistoryEntry {
        session,
        query_id,
        is_done: false,
    };
    let context = Context {
        cancel: &cancel,
        ..context
    };
    let result = match parts {
        Ok(parts) => in_time(context, piped(context, parts, describe_only)).await,
        Err(error) => Err(error),
    };
    let result = result.map_err(|error| {
        if cancel.is_cancelled() && error.code != code::STATEMENT_TIMEOUT.number {
            canceled()
        } else {
            error
        }
    });
    record.end(result.as_ref().map(|answer| &answer.rows));
    result
}

/// Cancels a statement that takes longer than `STATEMENT_TIMEOUT_IN_SECONDS`, in real time.
async fn in_time(
    context: Context<'_>,
    work: impl Future<Output = SqlResult<Answer>>,
) -> SqlResult<Answer> {
    const NAME: &str = "STATEMENT_TIMEOUT_IN_SECONDS";
    let current = context.session.current();
    let given = context.parameters.get(NAME).map(String::as_str);
    let seconds = given.unwrap_or_else(|| parameters::value(&current.settings, NAME));
    let seconds: u64 = seconds.parse().unwrap_or(0);
    if seconds == 0 {
        return work.await;
    }
    tokio::pin!(work);
    if let Ok(result) = tokio::time::timeout(Duration::from_secs(seconds), &mut work).await {
        result
    } else {
        context.cancel.cancel();
        // The statement ends at the next point where it can be cancelled.
        work.await.map_err(|_| {
            let text = format!(
                "Statement reached its statement or warehouse timeout of {seconds} second(s) and was canceled."
            );
            SqlError::new(code::STATEMENT_TIMEOUT, text)
        })
    }
}

/// One statement of a pipe.
struct Part<'a> {
    /// The cursor after the statement's first words.
    cursor: Cursor<'a>,
    verb: Option<&'static Verb>,
}

async fn piped(
    context: Context<'_>,
    parts: Vec<Part<'_>>,
    describe_only: bool,
) -> SqlResult<Answer> {
    let mut earlier: Vec<Rows> = Vec::new();
    let last = parts.len() - 1;
    for (index, Part { cursor, verb }) in parts.into_iter().enumerate() {
        let verb = verb.ok_or_else(|| cursor.unexpected())?;
        let context = Context {
            earlier: &earlier,
            ..context
        };
        if context.repeats.len() > 1 && verb.describe != Described::RowCount {
            let text = "several rows of bind values for a statement other than INSERT";
            return Err(SqlError::unsupported(text));
        }
        if describe_only && index < last && verb.describe != Described::Run {
            let text = "describing a pipe whose first statements change something";
            return Err(SqlError::unsupported(text));
        }
        let answer = if describe_only && index == last {
            described(context, verb, cursor).await?
        } else {
            (verb.run)(context, cursor).await?
        };
        if index == last {
            return Ok(answer);
        }
        earlier.insert(0, answer.rows);
    }
    unreachable!("a text has a part")
}

/// Returns the columns of a statement's result.
async fn described(context: Context<'_>, verb: &Verb, cursor: Cursor<'_>) -> SqlResult<Answer> {
    let columns = |name: &str, ty: DataType, kind| {
        let rows = Rows::from_values(&[(name, ty)], Vec::<Vec<ScalarValue>>::new())?;
        Ok(Answer { rows, kind })
    };
    match verb.describe {
        Described::Planned => {
            let nulls = nulls(context, &cursor);
            let context = Context {
                bindings: nulls.as_ref().unwrap_or(context.bindings),
                ..context
            };
            Ok(Answer {
                rows: query::columns(context, cursor.text()).await?,
                kind: StatementKind::Select,
            })
        }
        Described::Run => {
            let Answer { rows, kind } = (verb.run)(context, cursor).await?;
            let none = RecordBatch::new_empty(std::sync::Arc::clone(&rows.schema));
            let rows = Rows::new(rows.schema, vec![none]);
            Ok(Answer { rows, kind })
        }
        Described::RowCount => columns(
            "number of rows inserted",
            DataType::INTEGER,
            StatementKind::Insert,
        ),
        Described::Value => columns("anonymous block", DataType::TEXT, StatementKind::Select),
        Described::Status => columns("status", DataType::TEXT, StatementKind::Ddl),
    }
}

/// Returns NULLs for the `?` of a query that is only described and has no values for them.
fn nulls(context: Context<'_>, cursor: &Cursor<'_>) -> Option<Bindings> {
    if !context.bindings.is_empty() {
        return None;
    }
    let mut cursor = Cursor::new(cursor.text()).ok()?;
    let mut nulls = Vec::new();
    while let Some(token) = cursor.bump() {
        if matches!(token, Token::Placeholder(text) if text == "?") {
            nulls.push(Value::null(DataType::TEXT));
        }
    }
    (!nulls.is_empty()).then(|| Bindings::positional(nulls))
}

/// Splits a pipe, `a ->> b ->> c`, into its statements.
fn pipe(sql: &str) -> SqlResult<Vec<Part<'_>>> {
    let statements = syntax::split(sql)?;
    let sql = match statements.as_slice() {
        [] => return Err(SqlError::new(code::EMPTY_STATEMENT, "Empty SQL statement.")),
        [one] => one.sql,
        more => {
            let text = format!(
                "Actual statement count {} did not match the desired statement count 1.",
                more.len()
            );
            return Err(SqlError::new(code::STATEMENT_COUNT, text));
        }
    };
    let mut cursor = Cursor::new(sql)?;
    let (mut parts, mut start) = (Vec::new(), 0);
    while let Some(token) = cursor.peek() {
        if *token == Token::LongArrow {
            parts.push(part(sql[start..cursor.offset()].trim_end())?);
            cursor.bump();
            start = cursor.offset();
            continue;
        }
        cursor.bump();
    }
    parts.push(part(&sql[start..])?);
    Ok(parts)
}

fn part(sql: &str) -> SqlResult<Part<'_>> {
    let mut cursor = Cursor::new(sql)?;
    let verb = verb(&mut cursor);
    Ok(Part { cursor, verb })
}
