//! The drivers' queries: submitting a statement, waiting for it, asking for its status and
//! cancelling it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlparser::tokenizer::Token;

use super::bindings::{self, Bind};
use super::call::Call;
use super::encode::{ColumnType, Form, RowSet};
use super::endpoint::Endpoint;
use super::reply::{Failure, Reply, six_digits};
use super::statements::{Outcome, Statement, StatementRequest};
use icebox_account::answer::{Answer, StatementKind};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::syntax::Cursor;

/// The codes of a statement that is still running, which make drivers ask again.
const IN_PROGRESS: &str = "333333";
const IN_PROGRESS_ASYNC: &str = "333334";
const IN_PROGRESS_TEXT: &str = "Query execution in progress.";
/// The number of rows from which an answer is written on a separate thread, because it takes too
/// long for the threads that serve requests.
const MANY_ROWS: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    sql_text: Option<String>,
    async_exec: Option<bool>,
    describe_only: Option<bool>,
    parameters: Option<Map<String, Value>>,
    bindings: Option<BTreeMap<String, Bind>>,
    bind_stage: Option<String>,
}

pub(super) async fn submit(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    let session = endpoint.sessions.get(call.token())?;
    let body: Body = call.json()?;
    if body.bind_stage.is_some() {
        return Err(SqlError::unsupported("array binding through a stage").into());
    }
    let parameters = body.parameters.unwrap_or_default();
    let asked = StatementRequest {
        request_id: call.request_id().map(str::to_owned),
        sql: body.sql_text.unwrap_or_default(),
        bindings: bindings::rows(&body.bindings.unwrap_or_default())?,
        describe_only: body.describe_only.unwrap_or_default(),
        statement_count: statement_count(&parameters),
        parameters,
    };
    let statement = endpoint.statements.start(session, asked);
    match body.async_exec {
        Some(true) => Ok(in_progress(&statement, IN_PROGRESS_ASYNC)),
        _ => wait(endpoint, statement).await,
    }
}

pub(super) async fn result(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Reply, Failure> {
    let session = endpoint.sessions.get(call.token())?;
    let statement = endpoint.statements.get(id, &session.user())?;
    wait(endpoint, statement).await
}

pub(super) fn status(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Reply, Failure> {
    let session = endpoint.sessions.get(call.token())?;
    let found = endpoint.statements.get(id, &session.user());
    let queries: Vec<Value> = found.iter().map(|one| monitored(one)).collect();
    Ok(Reply::success(json!({"queries": queries})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortBody {
    request_id: Option<String>,
}

pub(super) fn abort(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    let session = endpoint.sessions.get(call.token())?;
    let body: AbortBody = call.json()?;
    let request_id = body.request_id.unwrap_or_default();
    let statement = endpoint.statements.running(&request_id, &session.user());
    cancel(statement)?;
    Ok(Reply::success(Value::Null))
}

pub(super) fn abort_one(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Reply, Failure> {
    let session = endpoint.sessions.get(call.token())?;
    let statement = endpoint.statements.get(id, &session.user()).ok();
    cancel(statement)?;
    Ok(Reply::success(Value::Null))
}

/// Cancels a running statement.
pub(super) fn cancel(statement: Option<Arc<Statement>>) -> SqlResult<()> {
    if statement.is_some_and(|statement| statement.cancel()) {
        Ok(())
    } else {
        Err(SqlError::new(
            code::NOT_EXECUTING,
            "Identified SQL statement is not currently executing.",
        ))
    }
}

/// Returns how many statements a text may hold.
pub(super) fn statement_count(parameters: &Map<String, Value>) -> usize {
    let count = match parameters.get("MULTI_STATEMENT_COUNT") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64().and_then(|count| usize::try_from(count).ok()),
        None => None,
    };
    count.unwrap_or(1)
}

async fn wait(endpoint: &Endpoint, statement: Arc<Statement>) -> Result<Reply, Failure> {
    let Some(outcome) = statement.outcome(endpoint.config.patience).await else {
        return Ok(in_progress(&statement, IN_PROGRESS));
    };
    let rows = outcome.rows();
    written(rows, move || finished(&statement, &outcome)).await
}

/// Writes an answer, on a separate thread if it has many rows.
pub(super) async fn written(
    rows: usize,
    write: impl FnOnce() -> Result<Reply, Failure> + Send + 'static,
) -> Result<Reply, Failure> {
    if rows < MANY_ROWS {
        return write();
    }
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|error| Err(SqlError::internal(&error).into()))
}

fn in_progress(statement: &Statement, code: &str) -> Reply {
    let data = json!({
        "getResultUrl": format!("/queries/{}/result", statement.query_id),
        "queryId": statement.query_id,
        "queryAbortsAfterSecs": 300,
        "progressDesc": null,
    });
    Reply::with_code(Some(code), Some(IN_PROGRESS_TEXT), data)
}

fn finished(statement: &Statement, outcome: &Outcome) -> Result<Reply, Failure> {
    let failed = |error: SqlError| Failure::of_query(error, &statement.query_id);
    let answer = outcome
        .result
        .as_ref()
        .map_err(|error| failed(error.clone()))?;
    let rows = RowSet::new(&answer.rows, Form::DRIVERS).map_err(failed)?;
    let total = total(answer);
    let name = |name: &Option<_>| json!(name);
    let parts = &outcome.parts;
    Ok(Reply::success(Data {
        parameters: &outcome.parameters,
        rowtype: rows.columns(),
        total,
        returned: answer.rows.len() as u64,
        rowset: rows,
        query_id: &statement.query_id,
        database_provider: None,
        final_database_name: name(&outcome.names.database),
        final_schema_name: name(&outcome.names.schema),
        final_warehouse_name: name(&outcome.names.warehouse),
        final_role_name: name(&outcome.names.role),
        number_of_binds: if statement.describe_only {
            placeholders(&statement.sql)
        } else {
            0
        },
        array_bind_supported: answer.kind == StatementKind::Insert,
        statement_type_id: answer.kind as u32,
        version: 1,
        sql_state: "00000",
        query_result_format: "json",
        stats: stats(answer),
        result_ids: several(parts, |part| part.query_id.clone()),
        result_types: several(parts, |part| kind_of(part).to_string()),
        notices: &outcome.notices,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    parameters: &'a [Value],
    rowtype: Vec<ColumnType>,
    rowset: RowSet,
    total: u64,
    returned: u64,
    query_id: &'a str,
    database_provider: Option<&'a str>,
    final_database_name: Value,
    final_schema_name: Value,
    final_warehouse_name: Value,
    final_role_name: Value,
    number_of_binds: usize,
    array_bind_supported: bool,
    statement_type_id: u32,
    version: u32,
    sql_state: &'a str,
    query_result_format: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_ids: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_types: Option<String>,
    /// The account's notices. They are not part of Snowflake's protocol, and are sent only to
    /// clients that [show them](super::Session::notices).
    #[serde(rename = "iceboxNotices", skip_serializing_if = "<[_]>::is_empty")]
    notices: &'a [String],
}

fn several(parts: &[Arc<Statement>], part: impl Fn(&Statement) -> String) -> Option<String> {
    let texts: Vec<String> = parts.iter().map(|one| part(one)).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn kind_of(statement: &Statement) -> u32 {
    let outcome = statement.ended();
    let answer = outcome
        .as_ref()
        .and_then(|outcome| outcome.result.as_ref().ok());
    answer.map_or(0, |answer| answer.kind as u32)
}

/// The columns of the result of DML, which is one row of counts, and the names of the counts in the
/// protocol.
const COUNTS: [(&str, &str); 4] = [
    ("number of rows inserted", "numRowsInserted"),
    ("number of rows updated", "numRowsUpdated"),
    ("number of rows deleted", "numRowsDeleted"),
    ("number of multi-joined rows updated", "numDmlDuplicates"),
];

fn counts(answer: &Answer) -> Option<[u64; 4]> {
    let is_dml = answer.kind as u32 & 0xF000 == 0x3000 && answer.kind != StatementKind::Copy;
    let is_row = answer.rows.len() == 1;
    (is_dml && is_row).then(|| {
        COUNTS.map(|(column, _)| {
            let count = answer.rows.text(0, column);
            count.and_then(|text| text.parse().ok()).unwrap_or(0)
        })
    })
}

fn stats(answer: &Answer) -> Option<Value> {
    let counts = counts(answer)?;
    let named = COUNTS.iter().zip(counts);
    let stats: Map<String, Value> = named
        .map(|((_, name), count)| ((*name).to_owned(), json!(count)))
        .collect();
    Some(Value::Object(stats))
}

/// Returns the number of rows of a query, or of rows that DML changed.
fn total(answer: &Answer) -> u64 {
    match counts(answer) {
        Some([inserted, updated, deleted, _]) => inserted + updated + deleted,
        None => answer.rows.len() as u64,
    }
}

/// Returns the number of `?` placeholders in a statement.
fn placeholders(sql: &str) -> usize {
    let Ok(mut cursor) = Cursor::new(sql) else {
        return 0;
    };
    let mut count = 0;
    while let Some(token) = cursor.bump() {
        count += usize::from(matches!(token, Token::Placeholder(text) if text == "?"));
    }
    count
}

fn monitored(statement: &Statement) -> Value {
    let outcome = statement.ended();
    let error = outcome.as_ref().and_then(|one| one.result.as_ref().err());
    let status = match (&outcome, error) {
        (None, _) => "RUNNING",
        (Some(_), None) => "SUCCESS",
        (Some(_), Some(_)) => "FAILED_WITH_ERROR",
    };
    let ended = outcome
        .as_ref()
        .map_or_else(SystemTime::now, |one| one.ended);
    json!({
        "id": statement.query_id,
        "sqlText": statement.sql,
        "status": status,
        "state": status,
        "startTime": millis(statement.started),
        "endTime": outcome.as_ref().map_or(0, |one| millis(one.ended)),
        "totalDuration": millis(ended).saturating_sub(millis(statement.started)),
        "sessionId": statement.session_id,
        "errorCode": error.map(|error| six_digits(error.code)),
        "errorMessage": error.map(|error| error.message.clone()),
    })
}

/// Returns a time in milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
