//! An account on an in-memory DataFusion, with as much behaviour as the tests of the protocol need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, TimestampNanosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::{Value, json};
use sqlparser::tokenizer::Token;
use tokio::sync::Notify;

use super::super::{Account, Credentials, Login, Session, SessionNames, incorrect_login};
use icebox_account::answer::{Answer, Request, StatementKind, canceled};
use icebox_sql::error::{Position, SqlError, SqlResult, code};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::{DataType, TYPE_KEY};

pub(super) const USER: &str = "ANNA";
pub(super) const PASSWORD: &str = "right \"password\"";

#[derive(Default)]
pub(super) struct TestAccount {
    next: AtomicU64,
    context: SessionContext,
    results: Arc<Mutex<HashMap<String, Rows>>>,
    /// The number of statements that were run, without retries.
    pub executed: Arc<AtomicU64>,
}

impl TestAccount {
    pub fn new() -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let account = Self {
            context: SessionContext::new_with_config(config),
            ..Self::default()
        };
        let rows = every_type();
        let table = MemTable::try_new(rows.schema.clone(), vec![rows.batches.clone()]).unwrap();
        account
            .context
            .register_table("every_type", Arc::new(table))
            .unwrap();
        account
    }
}

#[async_trait]
impl Account for TestAccount {
    async fn login(&self, login: Login) -> SqlResult<Arc<dyn Session>> {
        match &login.credentials {
            Credentials::Password { user, password }
                if user.eq_ignore_ascii_case(USER) && password == PASSWORD => {}
            Credentials::Token(token) if token == PASSWORD => {}
            _ => return Err(incorrect_login()),
        }
        if login
            .names
            .database
            .as_ref()
            .is_some_and(|name| name.as_str() == "NOWHERE")
        {
            return Err(SqlError::no_such("Database", "NOWHERE"));
        }
        Ok(Arc::new(TestSession {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            names: Mutex::new(login.names),
            context: self.context.clone(),
            results: Arc::clone(&self.results),
            executed: Arc::clone(&self.executed),
            waiting: Mutex::default(),
        }))
    }
}

struct TestSession {
    id: u64,
    names: Mutex<SessionNames>,
    context: SessionContext,
    results: Arc<Mutex<HashMap<String, Rows>>>,
    executed: Arc<AtomicU64>,
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

#[async_trait]
impl Session for TestSession {
    async fn execute(&self, request: Request) -> SqlResult<Answer> {
        self.executed.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::new(Notify::new());
        let query_id = request.query_id.clone();
        self.waiting
            .lock()
            .unwrap()
            .insert(query_id.clone(), Arc::clone(&stop));
        let answer = tokio::select! {
            answer = self.run(request) => answer,
            () = stop.notified() => Err(canceled()),
        };
        self.waiting.lock().unwrap().remove(&query_id);
        if let Ok(answer) = &answer {
            let mut results = self.results.lock().unwrap();
            if results.len() > 100 {
                results.clear();
            }
            results.insert(query_id, answer.rows.clone());
        }
        answer
    }

    fn user(&self) -> Ident {
        Ident::unquoted(USER)
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn names(&self) -> SessionNames {
        self.names.lock().unwrap().clone()
    }

    fn parameters(&self) -> Vec<(String, Value)> {
        let parameters = [
            ("AUTOCOMMIT", json!(true)),
            ("TIMEZONE", json!("America/Los_Angeles")),
            (
                "TIMESTAMP_OUTPUT_FORMAT",
                json!("YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"),
            ),
            (
                "TIMESTAMP_NTZ_OUTPUT_FORMAT",
                json!("YYYY-MM-DD HH24:MI:SS.FF3"),
            ),
            ("TIMESTAMP_LTZ_OUTPUT_FORMAT", json!("")),
            ("TIMESTAMP_TZ_OUTPUT_FORMAT", json!("")),
            ("DATE_OUTPUT_FORMAT", json!("YYYY-MM-DD")),
            ("TIME_OUTPUT_FORMAT", json!("HH24:MI:SS")),
            ("BINARY_OUTPUT_FORMAT", json!("HEX")),
            ("CLIENT_SESSION_KEEP_ALIVE", json!(false)),
        ];
        parameters
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    fn cancel(&self, query_id: &str) {
        if let Some(stop) = self.waiting.lock().unwrap().get(query_id) {
            stop.notify_one();
        }
    }
}

impl TestSession {
    async fn run(&self, request: Request) -> SqlResult<Answer> {
        let mut cursor = Cursor::new(&request.sql)?;
        if cursor.accept("USE") {
            for kind in ["WAREHOUSE", "SCHEMA", "DATABASE", "ROLE"] {
                if cursor.accept(kind) {
                    let name = Some(cursor.ident()?);
                    let mut names = self.names.lock().unwrap();
                    match kind {
                        "WAREHOUSE" => names.warehouse = name,
                        "SCHEMA" => names.schema = name,
                        "DATABASE" => names.database = name,
                        _ => names.role = name,
                    }
                }
            }
            return Ok(done(StatementKind::Use));
        }
        if cursor.is_next("ALTER SESSION") {
            return Ok(done(StatementKind::AlterSession));
        }
        assert!(!cursor.is_next("PANIC"), "as it was asked to");
        if cursor.accept("SELECT SYSTEM$WAIT") || cursor.accept("CALL SYSTEM$WAIT") {
            let seconds = cursor.list(Cursor::integer)?[0];
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let text = format!("waited {seconds} seconds");
            return Ok(Answer {
                rows: Rows::texts(&["SYSTEM$WAIT"], [[Some(text)]]),
                kind: StatementKind::Select,
            });
        }
        if let Some((_, rest)) = request.sql.to_lowercase().split_once("result_scan('") {
            let id = rest.split('\'').next().unwrap_or_default();
            let found = self.results.lock().unwrap().get(id).cloned();
            let rows = found.ok_or_else(|| {
                SqlError::new(
                    code::STATEMENT_NOT_FOUND,
                    format!("Statement {id} not found"),
                )
            })?;
            return Ok(Answer {
                rows,
                kind: StatementKind::Select,
            });
        }
        let is_insert = cursor.is_next("INSERT");
        let is_ddl = cursor.is_next("CREATE") || cursor.is_next("DROP");
        let runs = request.bindings.len().max(1);
        let mut inserted = 0;
        for row in 0..runs {
            let sql = with_values(&request, row)?;
            let frame = self.context.sql(&sql).await.map_err(failed)?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            if request.describe_only {
                return Ok(Answer {
                    rows: Rows::new(schema, Vec::new()),
                    kind: if is_insert {
                        StatementKind::Insert
                    } else {
                        StatementKind::Select
                    },
                });
            }
            let batches = frame.collect().await.map_err(failed)?;
            if is_ddl {
                return Ok(done(StatementKind::Ddl));
            }
            if !is_insert {
                return Ok(Answer {
                    rows: Rows::new(schema, batches),
                    kind: StatementKind::Select,
                });
            }
            let count = Rows::new(schema, batches).text(0, "count").unwrap();
            inserted += count.parse::<i64>().unwrap();
        }
        let columns = [("number of rows inserted", DataType::INTEGER)];
        Ok(Answer {
            rows: Rows::from_values(&columns, [vec![ScalarValue::from(inserted)]])?,
            kind: StatementKind::Insert,
        })
    }
}

fn done(kind: StatementKind) -> Answer {
    Answer {
        rows: Rows::succeeded(),
        kind,
    }
}

fn failed(error: datafusion::error::DataFusionError) -> SqlError {
    let text = error.to_string();
    let place = Position {
        line: 1,
        column: 14,
    };
    if text.contains("not found") {
        SqlError::no_object("MISSING").at(place)
    } else {
        SqlError::compilation(code::SYNTAX, text)
    }
}

/// Returns the statement with the bound values of a row in place of each `?`.
fn with_values(request: &Request, row: usize) -> SqlResult<String> {
    let sql = &request.sql;
    let mut cursor = Cursor::new(sql)?;
    let (mut text, mut end, mut column) = (String::new(), 0, 0);
    while let Some(token) = cursor.bump() {
        if matches!(&token, Token::Placeholder(mark) if mark == "?") {
            text.push_str(&sql[end..cursor.last_end() - 1]);
            text.push_str(&literal(&request.bindings.value(row, column)));
            end = cursor.last_end();
            column += 1;
        }
    }
    text.push_str(&sql[end..]);
    Ok(text)
}

fn literal(value: &ScalarValue) -> String {
    let text = value.cast_to(&arrow::datatypes::DataType::Utf8).unwrap();
    let ScalarValue::Utf8(Some(text)) = text else {
        return "NULL".to_owned();
    };
    match value {
        ScalarValue::Decimal128(..) | ScalarValue::Float64(_) | ScalarValue::Boolean(_) => text,
        _ => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Returns rows of every type: typical values, least values or values before 1970, and NULLs.
pub(super) fn every_type() -> Rows {
    let number = |precision, scale| DataType::Number { precision, scale };
    let text = |text: &str| ScalarValue::from(text);
    let nanos = |nanos: i64| ScalarValue::TimestampNanosecond(Some(nanos), None);
    let columns = [
        ("I", number(10, 0)),
        ("N", number(12, 2)),
        ("BIG", number(38, 0)),
        ("F", DataType::Float),
        ("S", DataType::TEXT),
        ("B", DataType::Boolean),
        ("D", DataType::Date),
        ("T", DataType::Time { scale: 9 }),
        ("NTZ", DataType::TimestampNtz { scale: 9 }),
        ("NTZ0", DataType::TimestampNtz { scale: 0 }),
        ("LTZ", DataType::TimestampLtz { scale: 3 }),
        ("BIN", DataType::Binary { length: 8 }),
        ("V", DataType::Variant),
        ("O", DataType::Object),
        ("A", DataType::Array),
    ];
    let some = vec![
        ScalarValue::from(42),
        text("-12.30"),
        text("99999999999999999999999999999999999999"),
        ScalarValue::from(1.5e300),
        text("grün \"q\"\n\u{1F427}"),
        ScalarValue::from(true),
        ScalarValue::Date32(Some(19_797)),
        ScalarValue::Time64Nanosecond(Some(45_296_123_456_789)),
        nanos(1_710_488_096_123_456_789),
        nanos(1_710_488_096_123_456_789),
        nanos(1_710_488_096_123_456_789),
        ScalarValue::Binary(Some(vec![0, 0xAB, 0xFF])),
        text("{\n  \"a\": [1, null]\n}"),
        text("{\"k\":\"v\"}"),
        text("[1,2]"),
    ];
    let least = vec![
        ScalarValue::from(-1),
        text("0.05"),
        text("-1"),
        ScalarValue::from(-0.25),
        text(""),
        ScalarValue::from(false),
        ScalarValue::Date32(Some(-719_162)),
        ScalarValue::Time64Nanosecond(Some(0)),
        nanos(-1_500_000_000),
        nanos(-1_500_000_000),
        nanos(-1_500_000_000),
        ScalarValue::Binary(Some(Vec::new())),
        text("null"),
        text("{}"),
        text("[]"),
    ];
    let none = vec![ScalarValue::Null; columns.len()];
    let rows = Rows::from_values(&columns, [some, least, none]).unwrap();
    with_offset(rows, "+05:30")
}

/// Adds a column TZ of timestamps at this offset.
fn with_offset(rows: Rows, offset: &str) -> Rows {
    let moments = vec![Some(1_710_488_096_123_456_789), Some(-1_500_000_000), None];
    let moments: ArrayRef = Arc::new(TimestampNanosecondArray::from(moments).with_timezone(offset));
    let metadata = [(TYPE_KEY.to_owned(), "TIMESTAMP_TZ(9)".to_owned())];
    let field = Field::new("TZ", moments.data_type().clone(), true).with_metadata(metadata.into());
    let mut fields: Vec<_> = rows.schema.fields().iter().cloned().collect();
    fields.push(Arc::new(field));
    let mut arrays = rows.batches[0].columns().to_vec();
    arrays.push(moments);
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    Rows::new(schema, vec![batch])
}
