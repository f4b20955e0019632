//! Requests of the extension: what postgres_fdw has no words for, inside of the caller's transaction.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use iceberg::spec::Schema;
use serde::Deserialize;
use sqlparser::ast::{self, Query, SetExpr, Value, visit_expressions};

use super::changes::Changes;
use super::error::{Error, Result};
use super::session::Session;
use super::statement::drop_statements;
use super::view::BoundColumn;
use crate::pglake::columns::{Column, FieldError};
use crate::tables::commit::{SchemaChange, TableVersion};

/// A request of the extension, as JSON in the text of an `rpc` scan.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    CreateTable {
        table: u32,
        location: String,
        owner: String,
        columns: Vec<Column>,
    },
    AlterTable {
        table: u32,
        changes: Vec<ColumnChange>,
        columns: Vec<Column>,
    },
    DropStatements {
        sql: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnChange {
    Add(Column),
    Drop(String),
    Rename(String, String),
    Nullable(String),
}

impl Session {
    /// Answers a request.
    pub(super) async fn call(&mut self, request: &str) -> Result<String> {
        let request: Request = serde_json::from_str(request).map_err(|error| {
            Error::internal(format!("a request of the extension is malformed: {error}"))
        })?;
        match request {
            Request::DropStatements { sql } => serde_json::to_string(&drop_statements(&sql)?)
                .map_err(|error| Error::internal(format!("encoding an answer: {error}"))),
            Request::CreateTable {
                table,
                location,
                owner,
                columns,
            } => {
                let io = self.engine.io.clone();
                if !io.is_empty(&location).await? {
                    return Err(Error::new(
                        "58P02",
                        format!("location \"{location}\" is not empty"),
                    )
                    .hint("Please use an empty location."));
                }
                let mut last_id = 0;
                let mut next_id = || {
                    last_id += 1;
                    last_id
                };
                let fields = columns
                    .iter()
                    .map(|column| column.field(&mut next_id).map(Arc::new))
                    .collect::<Result<Vec<_>, FieldError>>()?;
                let schema = Schema::builder().with_fields(fields).build()?;
                let properties = HashMap::from([("owner".to_owned(), owner)]);
                let version = TableVersion::create(&location, schema, properties)?;
                let changes = Changes::created(&io, version, BoundColumn::bind(&columns)?).await?;
                self.open()?.transaction.create(table, changes);
                Ok("{}".to_owned())
            }
            Request::AlterTable {
                table,
                changes,
                columns,
            } => {
                let changes = changes
                    .into_iter()
                    .map(schema_change)
                    .collect::<Result<Vec<_>>>()?;
                let columns = BoundColumn::bind(&columns)?;
                self.open()?
                    .transaction
                    .changes(table)
                    .await?
                    .alter(&changes, columns)
                    .await?;
                Ok("{}".to_owned())
            }
        }
    }
}

fn schema_change(change: ColumnChange) -> Result<SchemaChange> {
    Ok(match change {
        ColumnChange::Add(column) => SchemaChange::Add(column.field(&mut || 0)?),
        ColumnChange::Drop(name) => SchemaChange::Drop(name),
        ColumnChange::Rename(from, to) => SchemaChange::Rename(from, to),
        ColumnChange::Nullable(name) => SchemaChange::Nullable(name),
    })
}

/// The text of a request: the constant that a scan of `rpc` compares its column with.
pub(super) fn request(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    if !from.relation.to_string().ends_with(".rpc") {
        return None;
    }
    let mut request = None;
    let _ = visit_expressions(&select.selection, |expr| {
        if let ast::Expr::Value(value) = expr
            && let Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) =
                &value.value
        {
            request = Some(text.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    request
}
