//! Tests of scripts on a host that uses DataFusion.

mod errors;
mod procedures;
mod statements;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;

use super::{Bindings, Host, Returned, Script, Value, convert};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// A host that runs queries with DataFusion, records other statements, and runs procedures by their
/// bodies.
struct TestHost {
    context: SessionContext,
    procedures: HashMap<String, String>,
    /// The statements that were run, expressions excepted, with their values filled in.
    log: Vec<String>,
    /// How many more times `is_cancelled` returns false; `None` means always.
    patience: Option<AtomicUsize>,
}

impl TestHost {
    async fn new(setup: &[&str]) -> Self {
        let mut host = Self {
            context: SessionContext::new(),
            procedures: HashMap::new(),
            log: Vec::new(),
            patience: None,
        };
        for sql in setup {
            host.execute(sql, &Bindings::default()).await.unwrap();
        }
        host.log.clear();
        host
    }

    async fn query(&self, sql: &str) -> SqlResult<Rows> {
        let mut sql = sql.replace("TIMESTAMP_NTZ(9)", "TIMESTAMP");
        // A table takes the place of a stage's directory table.
        while let Some((before, (stage, after))) = sql
            .split_once("DIRECTORY(@")
            .and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
        {
            sql = format!("{before}{stage}{after}");
        }
        let failed = |error: datafusion::error::DataFusionError| {
            let text = error.strip_backtrace();
            if text.contains("Divide by zero") {
                return SqlError::new(code::DIVISION_BY_ZERO, "Division by zero");
            }
            let missing = text
                .split("table '")
                .nth(1)
                .and_then(|it| it.split('\'').next());
            match missing {
                Some(name) => SqlError::no_object(name.rsplit('.').next().unwrap().to_uppercase()),
                None => SqlError::compilation(code::STATEMENT_FAILED, text),
            }
        };
        let frame = self.context.sql(&sql).await.map_err(failed)?;
        let fields = frame.schema().fields().iter().map(|field| {
            let name = match (field.name().as_str(), sql.starts_with("INSERT")) {
                ("count", true) => "number of rows inserted".to_owned(),
                (name, _) => name.to_uppercase(),
            };
            Field::new(name, field.data_type().clone(), true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batches = frame.collect().await.map_err(failed)?;
        let batches = batches.into_iter().map(|batch| {
            RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap()
        });
        Ok(Rows::new(Arc::clone(&schema), batches.collect()))
    }

    async fn call(&mut self, name: &str) -> SqlResult<Rows> {
        let body = self.procedures.get(name).cloned();
        let body = body.ok_or_else(|| SqlError::no_such("Procedure", name))?;
        match Script::parse(&body)?.run(Vec::new(), self).await? {
            Returned::Table(rows) => Ok(rows),
            Returned::Value(value) => Rows::from_values(&[(name, value.ty)], [vec![value.value]]),
        }
    }
}

/// Writes a value as a SQL literal.
fn literal(value: &Value) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    match (value.ty, convert::plain_text(value)) {
        (DataType::Text { .. }, Some(text)) => format!("'{}'", text.replace('\'', "''")),
        (DataType::Number { scale: 1.., .. }, Some(text)) => {
            let fraction = text.split('.').nth(1).unwrap_or_default();
            format!("CAST('{text}' AS DECIMAL(38,{}))", fraction.len())
        }
        (_, Some(text)) => text,
        (DataType::Float, None) => format!("CAST({} AS DOUBLE)", value.value),
        (ty, None) => format!("CAST('{}' AS {ty})", value.value),
    }
}

#[async_trait]
impl Host for TestHost {
    async fn execute(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        let sql = bindings.substitute(sql, literal)?;
        self.log.push(sql.clone());
        let word = sql.split([' ', '\n', '(', ';']).next().unwrap_or_default();
        match word.to_uppercase().as_str() {
            "SELECT" | "WITH" | "INSERT" | "CREATE" => self.query(&sql).await,
            "CALL" => {
                let name = sql[4..].trim().split('(').next().unwrap_or_default();
                self.call(name).await
            }
            "BEGIN" | "DECLARE" => {
                self.procedures.insert("block".to_owned(), sql);
                self.call("block").await
            }
            "DROP" => Err(SqlError::no_object("GONE")),
            _ => Ok(Rows::succeeded()),
        }
    }

    async fn evaluate(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        let sql = bindings.substitute(sql, literal)?;
        self.query(&sql).await
    }

    fn is_cancelled(&self) -> bool {
        self.patience.as_ref().is_some_and(|patience| {
            let left = patience.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
            left.is_err()
        })
    }
}

/// Returns the text of a value as a result shows it.
fn shown(value: &Value) -> String {
    match convert::plain_text(value) {
        Some(text) => text,
        None if value.is_null() => "NULL".to_owned(),
        None => value.value.to_string(),
    }
}

/// Runs a script, and returns its result or its error.
async fn run_on(host: &mut TestHost, body: &str) -> String {
    let script = match Script::parse(body) {
        Ok(script) => script,
        Err(error) => return error.to_string(),
    };
    match script.run(Vec::new(), host).await {
        Ok(Returned::Value(value)) => shown(&value),
        Ok(Returned::Table(rows)) => {
            let columns = 0..rows.schema.fields().len();
            let lines = (0..rows.len()).map(|row| {
                let cells = columns
                    .clone()
                    .map(|column| shown(&Value::from_scalar(rows.value(row, column))));
                cells.collect::<Vec<_>>().join(",")
            });
            lines.collect::<Vec<_>>().join(";")
        }
        Err(error) => error.to_string(),
    }
}

async fn run(body: &str) -> String {
    run_on(&mut TestHost::new(&[]).await, body).await
}

/// Returns an argument of a procedure.
fn argument(name: &str, ty: &str, value: ScalarValue) -> (Ident, DataType, ScalarValue) {
    (Ident::unquoted(name), DataType::parse(ty).unwrap(), value)
}
