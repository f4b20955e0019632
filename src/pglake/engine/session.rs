//! The statements of one connection.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use iceberg::spec::Schema;
use serde::Deserialize;
use sqlparser::ast::{self, Ident, Query, SelectItem, SetExpr, Value, visit_expressions};

use super::changes::Changes;
use super::cursor::{RowSink, Rows};
use super::error::{Error, Result};
use super::evaluate::{Prepared, substitute, tables};
use super::rowid::RowId;
use super::statement::{Modify, Statement, drop_statements};
use super::transaction::Transaction;
use super::view::BoundColumn;
use super::{Database, Engine};
use crate::pglake::arrays::write_text;
use crate::pglake::columns::{Column, FieldError};
use crate::tables::commit::{SchemaChange, TableVersion};

/// Rows of an UPDATE or DELETE that are changed before the next ones are looked at.
const MODIFY_ROWS: usize = 50_000;

/// A parameter of a statement in text form; `None` is NULL.
pub(super) type Parameter = Option<Bytes>;

pub(super) struct Session {
    engine: Arc<Engine>,
    database: Arc<Database>,
    backend: Option<i32>,
    transaction: Option<Open>,
}

/// A transaction and its cursors. After an error only its end, or a return to a savepoint, is left.
struct Open {
    transaction: Transaction,
    cursors: HashMap<String, Cursor>,
    has_failed: bool,
}

struct Cursor {
    source: CursorSource,
    rows: Option<Rows>,
}

enum CursorSource {
    Query(Box<Prepared>),
    Answer(String),
}

/// A request of the extension, as JSON in the text of an `rpc` scan.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    CreateTable { table: u32, location: String, owner: String, columns: Vec<Column> },
    AlterTable { table: u32, changes: Vec<ColumnChange>, columns: Vec<Column> },
    DropStatements { sql: String },
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
    /// `application_name` is `fdw <pid>` on connections of postgres_fdw.
    pub(super) fn new(engine: Arc<Engine>, database: Arc<Database>, application_name: &str) -> Self {
        let backend = application_name.strip_prefix("fdw ").and_then(|pid| pid.parse().ok());
        Self { engine, database, backend, transaction: None }
    }

    /// The state that the protocol shows: idle, in a transaction, or in a failed one.
    pub(super) fn status(&self) -> u8 {
        match &self.transaction {
            None => b'I',
            Some(open) if open.has_failed => b'E',
            Some(_) => b'T',
        }
    }

    /// Takes note that a statement has failed.
    pub(super) fn fail(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.has_failed = true;
        }
    }

    /// How many values the rows of the statement's answer have; `None` without rows.
    pub(super) fn width(&self, statement: &Statement) -> Result<Option<usize>> {
        Ok(match statement {
            Statement::Fetch { cursor, .. } => {
                let open = self.transaction.as_ref().and_then(|open| open.cursors.get(cursor));
                Some(match &open.ok_or_else(|| no_cursor(cursor))?.source {
                    CursorSource::Query(prepared) => prepared.width(),
                    CursorSource::Answer(_) => 1,
                })
            }
            Statement::Select(query) => Some(width(query)),
            Statement::RelationSize { .. } => Some(1),
            Statement::Insert { returning, .. }
            | Statement::UpdateRow { returning, .. }
            | Statement::DeleteRow { returning, .. }
                if !returning.is_empty() =>
            {
                Some(returning.len())
            }
            Statement::Modify(modify) if !modify.returning.is_empty() => Some(modify.returning.len()),
            Statement::Scan { token } => Some(self.engine.evaluator.scans.get(token)?.width()),
            _ => None,
        })
    }

    /// Runs a statement, and gives the tag of its completion.
    pub(super) async fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[Parameter],
        sink: &mut impl RowSink,
    ) -> Result<String> {
        match statement {
            Statement::Set => return Ok("SET".to_owned()),
            Statement::Abort => {
                self.transaction = None;
                return Ok("ROLLBACK".to_owned());
            }
            Statement::RollbackTo(name) => {
                let open = self.open()?;
                open.transaction.rollback_to(name)?;
                open.cursors.clear();
                open.has_failed = false;
                return Ok("ROLLBACK".to_owned());
            }
            Statement::Commit => {
                return match self.transaction.take() {
                    Some(open) if open.has_failed => Ok("ROLLBACK".to_owned()),
                    Some(open) => open.transaction.commit().await.map(|()| "COMMIT".to_owned()),
                    None => Ok("COMMIT".to_owned()),
                };
            }
            Statement::Scan { token } => {
                let scan = self.engine.evaluator.scans.get(token)?;
                let rows = scan.run(&self.engine.evaluator.context).await?.drain(sink).await?;
                return Ok(format!("SELECT {rows}"));
            }
            Statement::Deallocate { .. } => return Ok("DEALLOCATE".to_owned()),
            _ => {}
        }
        if self.transaction.as_ref().is_some_and(|open| open.has_failed) {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        if self.transaction.is_none() {
            let io = self.engine.io.clone();
            let context = self.engine.evaluator.context.clone();
            let transaction = Transaction::begin(self.database.clone(), io, context, self.backend);
            self.transaction = Some(Open { transaction, cursors: HashMap::new(), has_failed: false });
        }
        match statement {
            Statement::Begin { is_serializable } => {
                self.open()?.transaction.is_serializable = *is_serializable;
                Ok("BEGIN".to_owned())
            }
            Statement::Savepoint(name) => {
                self.open()?.transaction.savepoint(name).await?;
                Ok("SAVEPOINT".to_owned())
            }
            Statement::Release(name) => {
                self.open()?.transaction.release(name).await?;
                Ok("RELEASE".to_owned())
            }
            Statement::Declare { cursor, query } => {
                let mut query = query.as_ref().clone();
                substitute(&mut query, parameters)?;
                let source = match request(&query) {
                    Some(request) => CursorSource::Answer(self.call(&request).await?),
                    None => CursorSource::Query(Box::new(self.prepare(query).await?)),
                };
                self.open()?.cursors.insert(cursor.clone(), Cursor { source, rows: None });
                Ok("DECLARE CURSOR".to_owned())
            }
            Statement::Fetch { cursor, rows } => {
                let fetched = self.cursor(cursor)?.fetch(*rows, sink).await?;
                Ok(format!("FETCH {fetched}"))
            }
            Statement::Rewind { cursor } => {
                self.cursor(cursor)?.rows = None;
                Ok("MOVE 0".to_owned())
            }
            Statement::Close { cursor } => {
                self.open()?.cursors.remove(cursor);
                Ok("CLOSE CURSOR".to_owned())
            }
            Statement::Select(query) => {
                let mut query = query.as_ref().clone();
                substitute(&mut query, parameters)?;
                let rows = self.prepare(query).await?.run().await?.drain(sink).await?;
                Ok(format!("SELECT {rows}"))
            }
            Statement::Insert { table, columns, rows, returning } => {
                let values = parameters.iter().map(Option::as_deref);
                if let Err(error) = self.open()?.transaction.insert(*table, columns, *rows, values).await {
                    return Err(self.failing_row(error, *table, columns.len(), parameters).await);
                }
                for row in (0..*rows).take_while(|_| !returning.is_empty()) {
                    for name in returning {
                        let column = columns.iter().position(|column| column == name);
                        let value = column.and_then(|column| parameters[row * columns.len() + column].as_deref());
                        sink.value(text(value)?);
                    }
                    sink.end_row();
                }
                Ok(format!("INSERT 0 {rows}"))
            }
            Statement::UpdateRow { table, columns, returning } => {
                let row = row_parameter(parameters)?;
                let values = parameters.iter().skip(1).map(Option::as_deref);
                let transaction = &mut self.open()?.transaction;
                transaction.update(*table, columns, row, values).await?;
                if !returning.is_empty() {
                    let Some(updated) = transaction.flush(*table).await?.filter(|updated| !updated.updates.is_empty()) else {
                        return Ok("UPDATE 0".to_owned());
                    };
                    let changes = transaction.changes(*table).await?;
                    let last = updated.batch.num_rows() - 1;
                    write_columns(changes, &updated.batch, last, returning, sink)?;
                }
                Ok("UPDATE 1".to_owned())
            }
            Statement::DeleteRow { table, returning } => {
                let row = row_parameter(parameters)?;
                let transaction = &mut self.open()?.transaction;
                if !transaction.delete(*table, row).await? {
                    return Ok("DELETE 0".to_owned());
                }
                if !returning.is_empty() {
                    let old = transaction.row(*table, row).await?;
                    write_columns(transaction.changes(*table).await?, &old, 0, returning, sink)?;
                }
                Ok("DELETE 1".to_owned())
            }
            Statement::Modify(modify) => self.modify(modify, parameters, sink).await,
            Statement::Truncate { tables } => {
                for table in tables {
                    self.open()?.transaction.changes(*table).await?.truncate();
                }
                Ok("TRUNCATE TABLE".to_owned())
            }
            Statement::RelationSize { table } => {
                let views = self.open()?.transaction.views([*table]).await?;
                let mut bytes = 0;
                for view in views.values() {
                    bytes += view.provider.table().scan(None, &[]).await?.iter().map(|file| file.size).sum::<u64>();
                }
                // ANALYZE counts in PostgreSQL's blocks.
                sink.value(Some(&bytes.div_ceil(8192).to_string()));
                sink.end_row();
                Ok("SELECT 1".to_owned())
            }
            Statement::Set
            | Statement::Abort
            | Statement::RollbackTo(_)
            | Statement::Commit
            | Statement::Scan { .. }
            | Statement::Deallocate { .. } => Err(Error::internal("already handled")),
        }
    }

    fn open(&mut self) -> Result<&mut Open> {
        self.transaction.as_mut().ok_or_else(|| Error::new("25P01", "there is no transaction in progress"))
    }

    fn cursor(&mut self, name: &str) -> Result<&mut Cursor> {
        self.open()?.cursors.get_mut(name).ok_or_else(|| no_cursor(name))
    }

    /// Completes the error of a NULL that is not allowed to PostgreSQL's words.
    async fn failing_row(&self, mut error: Error, table: u32, width: usize, parameters: &[Parameter]) -> Error {
        let Some((row, column)) = &error.null_in else { return error };
        let Ok(name) = self.database.catalog.relation_name(table).await else { return error };
        error.message = format!("null value in column \"{column}\" of relation \"{name}\" violates not-null constraint");
        let values: Vec<_> = parameters[row * width..(row + 1) * width]
            .iter()
            .map(|value| value.as_ref().map_or("null".into(), |value| String::from_utf8_lossy(value)))
            .collect();
        error.detail = Some(format!("Failing row contains ({}).", values.join(", ")));
        error
    }

    async fn prepare(&mut self, query: Query) -> Result<Prepared> {
        let database = self.database.clone();
        let evaluator = self.engine.evaluator.clone();
        let transaction = &mut self.open()?.transaction;
        let views = transaction.views(tables(&query)).await?;
        Ok(Prepared::new(query, views, transaction.files.clone(), database.catalog.clone(), evaluator))
    }

    /// An UPDATE or DELETE by condition: the rows, and their new values, are asked for as a query.
    async fn modify(
        &mut self,
        modify: &Modify,
        parameters: &[Parameter],
        sink: &mut impl RowSink,
    ) -> Result<String> {
        let tag = if modify.assignments.is_empty() { "DELETE" } else { "UPDATE" };
        let transaction = &mut self.open()?.transaction;
        let columns = transaction.changes(modify.table).await?.columns.clone();
        let target = |name: &str| match &modify.alias {
            Some(alias) => ast::Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', name)]),
            None => ast::Expr::Identifier(Ident::with_quote('"', name)),
        };
        let mut items = vec![target("ctid")];
        for (name, value) in &modify.assignments {
            let column = columns.iter().find(|column| column.name == *name);
            let type_name = &column.ok_or_else(|| Error::internal(format!("no column {name}")))?.type_name;
            items.push(assigned(value, type_name)?);
        }
        // RETURNING shows a column as the change has left it, and anything else as the query has found it.
        let mut returned = Vec::new();
        for expr in &modify.returning {
            let own = own_column(expr, modify.alias.as_ref())
                .and_then(|name| columns.iter().position(|column| column.name == name));
            returned.push(match own {
                Some(index) if tag == "UPDATE" => Returned::Column(index),
                _ => {
                    items.push(expr.clone());
                    Returned::Item(items.len() - 1)
                }
            });
        }
        let mut query = select(items, modify);
        substitute(&mut query, parameters)?;
        let prepared = self.prepare(query).await?;
        let mut rows = prepared.run().await?;
        let names: Vec<String> = modify.assignments.iter().map(|(name, _)| name.clone()).collect();
        let mut affected = 0;
        loop {
            let mut found = Collected::default();
            let fetched = rows.fetch(MODIFY_ROWS, &mut found).await?;
            let transaction = &mut self.open()?.transaction;
            for row in &found.rows {
                let id = row[0].as_ref().and_then(|text| RowId::parse(text.as_bytes()));
                let id = id.ok_or_else(|| Error::internal("a row without ctid"))?;
                if tag == "DELETE" {
                    if transaction.delete(modify.table, id).await? {
                        affected += 1;
                        write_returned(&returned, row, None, sink)?;
                    }
                    continue;
                }
                let values = row[1..=names.len()].iter().map(|value| value.as_deref().map(str::as_bytes));
                transaction.update(modify.table, &names, id, values).await?;
            }
            if let Some(updated) = transaction.flush(modify.table).await?.filter(|_| tag == "UPDATE") {
                affected += updated.updates.len();
                for (index, source) in updated.updates.iter().enumerate().take_while(|_| !returned.is_empty()) {
                    let new = Some((&updated.batch, index, columns.as_slice()));
                    write_returned(&returned, &found.rows[*source], new, sink)?;
                }
            }
            if fetched < MODIFY_ROWS {
                return Ok(format!("{tag} {affected}"));
            }
        }
    }

    async fn call(&mut self, request: &str) -> Result<String> {
        let request: Request = serde_json::from_str(request)
            .map_err(|error| Error::internal(format!("a request of the extension is malformed: {error}")))?;
        match request {
            Request::DropStatements { sql } => serde_json::to_string(&drop_statements(&sql)?)
                .map_err(|error| Error::internal(format!("encoding an answer: {error}"))),
            Request::CreateTable { table, location, owner, columns } => {
                let io = self.engine.io.clone();
                if !io.is_empty(&location).await? {
                    return Err(Error::new("58P02", format!("location \"{location}\" is not empty"))
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
            Request::AlterTable { table, changes, columns } => {
                let changes = changes.into_iter().map(schema_change).collect::<Result<Vec<_>>>()?;
                let columns = BoundColumn::bind(&columns)?;
                self.open()?.transaction.changes(table).await?.alter(&changes, columns).await?;
                Ok("{}".to_owned())
            }
        }
    }
}

impl Cursor {
    async fn fetch(&mut self, limit: usize, sink: &mut impl RowSink) -> Result<usize> {
        if self.rows.is_none() {
            self.rows = Some(match &self.source {
                CursorSource::Query(prepared) => prepared.run().await?,
                CursorSource::Answer(answer) => Rows::Fixed(vec![vec![Some(answer.clone())]].into_iter()),
            });
        }
        match &mut self.rows {
            Some(rows) => rows.fetch(limit, sink).await,
            None => Ok(0),
        }
    }
}

impl Prepared {
    fn width(&self) -> usize {
        width(self.query())
    }
}

fn no_cursor(name: &str) -> Error {
    Error::new("34000", format!("cursor \"{name}\" does not exist"))
}

fn width(query: &Query) -> usize {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.len(),
        _ => 0,
    }
}

fn text(value: Option<&[u8]>) -> Result<Option<&str>> {
    value
        .map(std::str::from_utf8)
        .transpose()
        .map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))
}

fn row_parameter(parameters: &[Parameter]) -> Result<RowId> {
    let text = parameters.first().and_then(Option::as_deref);
    text.and_then(RowId::parse).ok_or_else(|| Error::internal("the first parameter is not a ctid"))
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
fn request(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    if !from.relation.to_string().ends_with(".rpc") {
        return None;
    }
    let mut request = None;
    let _ = visit_expressions(&select.selection, |expr| {
        if let ast::Expr::Value(value) = expr
            && let Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) = &value.value
        {
            request = Some(text.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    request
}

/// A new value as the column will have it: postgres_fdw leaves the assignment cast to the other side.
fn assigned(value: &ast::Expr, type_name: &str) -> Result<ast::Expr> {
    let sql = format!("SELECT CAST({value} AS {type_name})");
    match super::statement::parse(&sql)?.pop() {
        Some(Statement::Select(query)) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => Ok(expr.clone()),
                _ => Err(Error::unsupported(&sql)),
            },
            _ => Err(Error::unsupported(&sql)),
        },
        _ => Err(Error::unsupported(&sql)),
    }
}

fn own_column<'a>(expr: &'a ast::Expr, alias: Option<&Ident>) -> Option<&'a str> {
    match expr {
        ast::Expr::Identifier(ident) => Some(&ident.value),
        ast::Expr::CompoundIdentifier(idents) => match idents.as_slice() {
            [table, name] if Some(&table.value) == alias.map(|alias| &alias.value) => Some(&name.value),
            _ => None,
        },
        _ => None,
    }
}

/// `SELECT items FROM …` with the tables and the condition of a modification.
fn select(items: Vec<ast::Expr>, modify: &Modify) -> Query {
    let tables: Vec<String> = modify.from.iter().map(ToString::to_string).collect();
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    let condition = modify.selection.as_ref().map(|selection| format!(" WHERE {selection}")).unwrap_or_default();
    let sql = format!("SELECT {} FROM {}{condition}", items.join(", "), tables.join(", "));
    match super::statement::parse(&sql).ok().and_then(|mut statements| statements.pop()) {
        Some(Statement::Select(query)) => *query,
        _ => unreachable!("parts of a parsed statement parse again: {sql}"),
    }
}

enum Returned {
    /// A column of the changed row.
    Column(usize),
    /// A value that the query gave.
    Item(usize),
}

fn write_returned(
    returned: &[Returned],
    found: &[Option<String>],
    new: Option<(&arrow::array::RecordBatch, usize, &[BoundColumn])>,
    sink: &mut impl RowSink,
) -> Result<()> {
    if returned.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for item in returned {
        match (item, new) {
            (Returned::Item(index), _) => sink.value(found[*index].as_deref()),
            (Returned::Column(index), Some((batch, row, columns))) => {
                text.clear();
                let is_value = write_text(&mut text, batch.column(*index), row, Some(&columns[*index].kind));
                sink.value(is_value.then_some(text.as_str()));
            }
            (Returned::Column(_), None) => return Err(Error::internal("no changed row to return")),
        }
    }
    sink.end_row();
    Ok(())
}

fn write_columns(
    changes: &Changes,
    batch: &arrow::array::RecordBatch,
    row: usize,
    names: &[String],
    sink: &mut impl RowSink,
) -> Result<()> {
    let mut text = String::new();
    for name in names {
        // An empty name stands for RETURNING NULL.
        if name.is_empty() {
            sink.value(None);
            continue;
        }
        let index = changes.column(name)?;
        text.clear();
        let is_value = write_text(&mut text, batch.column(index), row, Some(&changes.columns[index].kind));
        sink.value(is_value.then_some(text.as_str()));
    }
    sink.end_row();
    Ok(())
}

/// Rows kept in memory.
#[derive(Default)]
struct Collected {
    rows: Vec<Vec<Option<String>>>,
    current: Vec<Option<String>>,
}

impl RowSink for Collected {
    fn value(&mut self, text: Option<&str>) {
        self.current.push(text.map(str::to_owned));
    }

    fn end_row(&mut self) {
        self.rows.push(std::mem::take(&mut self.current));
    }
}
