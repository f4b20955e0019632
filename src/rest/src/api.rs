//! The [SQL API](https://docs.snowflake.com/en/developer-guide/sql-api/reference): statements over
//! plain HTTP.
//!
//! A bearer token opens a new session for each statement, as in Snowflake. A session token of the
//! drivers' protocol is accepted too; its statements run in that session.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bindings::{self, Bind};
use super::call::{Call, bad_request};
use super::encode::{Form, RowSet};
use super::endpoint::Endpoint;
use super::query::{cancel as cancel_statement, millis, statement_count, written};
use super::reply::{Failure, Reply};
use super::statements::{Outcome, Statement, StatementRequest};
use super::{Credentials, Login, Session, SessionNames};
use icebox_sql::error::SqlError;

const DONE: &str = "090001";
const RUNNING: &str = "333334";
const RUNNING_TEXT: &str = "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.";

#[derive(Deserialize)]
struct Body {
    statement: Option<String>,
    timeout: Option<u64>,
    database: Option<String>,
    schema: Option<String>,
    warehouse: Option<String>,
    role: Option<String>,
    bindings: Option<BTreeMap<String, Bind>>,
    parameters: Option<Map<String, Value>>,
}

pub(super) async fn submit(endpoint: &Endpoint, call: &Call) -> Result<Reply, Failure> {
    let body: Body = call.json()?;
    let names = super::session::names([
        body.database.as_deref(),
        body.schema.as_deref(),
        body.warehouse.as_deref(),
        body.role.as_deref(),
    ]);
    let session = session(endpoint, call, names).await?;
    let parameters = body.parameters.unwrap_or_default();
    let asked = StatementRequest {
        request_id: call.request_id().map(str::to_owned),
        sql: body.statement.unwrap_or_default(),
        bindings: bindings::rows(&body.bindings.unwrap_or_default())?,
        describe_only: false,
        statement_count: statement_count(&parameters),
        parameters,
    };
    let statement = endpoint.statements.start(session, asked);
    // 0 means the longest time that is allowed.
    if let Some(seconds) = body.timeout.filter(|seconds| *seconds > 0) {
        let statement = Arc::clone(&statement);
        tokio::spawn(async move {
            let limit = Duration::from_secs(seconds);
            if statement.outcome(limit).await.is_none() {
                statement.cancel();
            }
        });
    }
    match call.query.get("async").map(String::as_str) {
        Some("true") => Ok(running(&statement)),
        _ => wait(endpoint, call, statement).await,
    }
}

pub(super) async fn result(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Reply, Failure> {
    let statement = statement(endpoint, call, id).await?;
    match call.query.get("partition").map(String::as_str) {
        None | Some("0") => wait(endpoint, call, statement).await,
        Some(other) => Err(bad_request(format_args!(
            "there is no partition {other}: a result is one partition, 0"
        ))),
    }
}

pub(super) async fn cancel(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Reply, Failure> {
    let statement = statement(endpoint, call, id).await?;
    cancel_statement(Some(Arc::clone(&statement)))
        .map_err(|error| Failure::of_query(error, &statement.query_id))?;
    Ok(Reply::json(&json!({
        "code": "000604",
        "sqlState": "57014",
        "message": "SQL execution canceled",
        "statementHandle": statement.query_id,
        "statementStatusUrl": url(&statement),
    })))
}

async fn session(
    endpoint: &Endpoint,
    call: &Call,
    names: SessionNames,
) -> Result<Arc<dyn Session>, Failure> {
    let Some(token) = call.bearer() else {
        let session = endpoint.sessions.get(call.token());
        let session =
            session.map_err(|why| Failure::from(why).with_status(StatusCode::UNAUTHORIZED))?;
        return if names == SessionNames::default() {
            Ok(session)
        } else {
            Err(bad_request(
                "database, schema, warehouse and role cannot be given with a session token; run USE in the session instead",
            ))
        };
    };
    let login = Login {
        credentials: Credentials::Token(token.to_owned()),
        names,
        client: "SQL API".to_owned(),
        parameters: Map::new(),
    };
    let session = endpoint.account.login(login).await;
    session.map_err(|error| {
        let status = match error.code {
            390_000..=390_999 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Failure::from(error).with_status(status)
    })
}

async fn statement(endpoint: &Endpoint, call: &Call, id: &str) -> Result<Arc<Statement>, Failure> {
    let session = session(endpoint, call, SessionNames::default()).await?;
    let found = endpoint.statements.get(id, &session.user());
    found.map_err(|error| Failure::from(error).with_status(StatusCode::NOT_FOUND))
}

async fn wait(
    endpoint: &Endpoint,
    call: &Call,
    statement: Arc<Statement>,
) -> Result<Reply, Failure> {
    let Some(outcome) = statement.outcome(endpoint.config.patience).await else {
        return Ok(running(&statement));
    };
    let has_nulls = call.query.get("nullable").map(String::as_str) != Some("false");
    let rows = outcome.rows();
    written(rows, move || {
        finished(&statement, &outcome, Form::api(has_nulls))
    })
    .await
}

fn url(statement: &Statement) -> String {
    format!("/api/v2/statements/{}", statement.query_id)
}

fn running(statement: &Statement) -> Reply {
    let body = json!({
        "code": RUNNING,
        "message": RUNNING_TEXT,
        "statementHandle": statement.query_id,
        "statementStatusUrl": url(statement),
        "createdOn": millis(statement.started),
    });
    Reply::json(&body).status(StatusCode::ACCEPTED)
}

fn finished(statement: &Statement, outcome: &Outcome, form: Form) -> Result<Reply, Failure> {
    let failed = |error: SqlError| Failure::of_query(error, &statement.query_id);
    let answer = outcome
        .result
        .as_ref()
        .map_err(|error| failed(error.clone()))?;
    let rows = RowSet::new(&answer.rows, form).map_err(failed)?;
    let mut size = Size(0);
    serde_json::to_writer(&mut size, &rows).map_err(|error| failed(SqlError::internal(&error)))?;
    Ok(Reply::json(&ResultSet {
        result_set_meta_data: json!({
            "numRows": answer.rows.len(),
            "format": "jsonv2",
            "rowType": rows.columns(),
            "partitionInfo": [{"rowCount": answer.rows.len(), "uncompressedSize": size.0}],
        }),
        data: rows,
        code: DONE,
        sql_state: "00000",
        statement_handle: &statement.query_id,
        statement_handles: outcome
            .parts
            .iter()
            .map(|part| part.query_id.as_str())
            .collect(),
        statement_status_url: url(statement),
        message: "Statement executed successfully.",
        created_on: millis(statement.started),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultSet<'a> {
    result_set_meta_data: Value,
    data: RowSet,
    code: &'a str,
    sql_state: &'a str,
    statement_handle: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statement_handles: Vec<&'a str>,
    statement_status_url: String,
    message: &'a str,
    created_on: u64,
}

/// A writer that only counts bytes.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
