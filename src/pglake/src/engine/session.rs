//! The session of one connection: executes its statements.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sqlparser::ast::{Query, SetExpr};

use super::access;
use super::cursor::{RowSink, Rows};
use super::error::{Error, Result};
use super::evaluate::{Prepared, substitute, tables};
use super::returning::write_columns;
use super::rowid::RowId;
use super::rpc;
use super::statement::Statement;
use super::transaction::Transaction;
use super::{Database, Engine};

/// A statement's parameter in text form; `None` is NULL.
pub(super) type Parameter = Option<Bytes>;

pub(super) struct LakeSession {
    pub(super) engine: Arc<Engine>,
    database: Arc<Database>,
    backend: Option<i32>,
    transaction: Option<OpenTransaction>,
}

/// A transaction and its cursors. After an error it can only end, or return to a savepoint.
pub(super) struct OpenTransaction {
    pub(super) transaction: Transaction,
    cursors: HashMap<String, Cursor>,
    has_failed: bool,
}

struct Cursor {
    source: CursorSource,
    rows: Option<Rows>,
}

enum CursorSource {
    Query(Box<Prepared>),
    Response(String),
}

impl LakeSession {
    /// Creates a session. `application_name` is `fdw <pid>` on connections of `postgres_fdw`, where
    /// the pid is the backend's.
    pub(super) fn new(
        engine: Arc<Engine>,
        database: Arc<Database>,
        application_name: &str,
    ) -> Self {
        let backend = application_name
            .strip_prefix("fdw ")
            .and_then(|pid| pid.parse().ok());
        Self {
            engine,
            database,
            backend,
            transaction: None,
        }
    }

    /// The transaction status of the protocol: `I` idle, `T` in a transaction, `E` in a failed
    /// transaction.
    pub(super) fn status(&self) -> u8 {
        match &self.transaction {
            None => b'I',
            Some(open) if open.has_failed => b'E',
            Some(_) => b'T',
        }
    }

    /// Marks the transaction as failed.
    pub(super) fn fail(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.has_failed = true;
        }
    }

    /// Returns the number of values in the statement's rows; `None` if it returns no rows.
    pub(super) fn column_count(&self, statement: &Statement) -> Result<Option<usize>> {
        Ok(match statement {
            Statement::Fetch { cursor, .. } => {
                let open = self
                    .transaction
                    .as_ref()
                    .and_then(|open| open.cursors.get(cursor));
                Some(match &open.ok_or_else(|| no_cursor(cursor))?.source {
                    CursorSource::Query(prepared) => prepared.column_count(),
                    CursorSource::Response(_) => 1,
                })
            }
            Statement::Select(query) => Some(column_count(query)),
            Statement::RelationSize { .. } => Some(1),
            Statement::RelationRows => Some(2),
            Statement::Insert { returning, .. }
            | Statement::UpdateRow { returning, .. }
            | Statement::DeleteRow { returning, .. }
                if !returning.is_empty() =>
            {
                Some(returning.len())
            }
            Statement::Modify(modify) if !modify.returning.is_empty() => {
                Some(modify.returning.len())
            }
            Statement::Scan { token } => {
                Some(self.engine.evaluator.scans.get(token)?.column_count())
            }
            _ => None,
        })
    }

    /// Executes a statement and returns its command tag.
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
                    Some(open) => open
                        .transaction
                        .commit()
                        .await
                        .map(|()| "COMMIT".to_owned()),
                    None => Ok("COMMIT".to_owned()),
                };
            }
            Statement::Scan { token } => {
                let scan = self.engine.evaluator.scans.get(token)?;
                let rows = scan
                    .run(&self.engine.evaluator.context)
                    .await?
                    .drain(sink)
                    .await?;
                return Ok(format!("SELECT {rows}"));
            }
            Statement::Deallocate { .. } => return Ok("DEALLOCATE".to_owned()),
            _ => {}
        }
        if self
            .transaction
            .as_ref()
            .is_some_and(|open| open.has_failed)
        {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        if self.transaction.is_none() {
            let io = self.engine.io.clone();
            let context = self.engine.evaluator.context.clone();
            let transaction = Transaction::begin(
                self.database.clone(),
                io,
                context,
                self.engine.options.clone(),
                self.backend,
            );
            self.transaction = Some(OpenTransaction {
                transaction,
                cursors: HashMap::new(),
                has_failed: false,
            });
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
                let source = if let Some(request) = rpc::request(&query) {
                    let io = self.engine.io.clone();
                    let transaction = &mut self.open()?.transaction;
                    CursorSource::Response(rpc::execute(&request, &io, transaction).await?)
                } else {
                    self.check_access(&query).await?;
                    CursorSource::Query(Box::new(self.prepare(query).await?))
                };
                self.open()?
                    .cursors
                    .insert(cursor.clone(), Cursor { source, rows: None });
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
                self.check_access(&query).await?;
                let rows = self.prepare(query).await?.run().await?.drain(sink).await?;
                Ok(format!("SELECT {rows}"))
            }
            Statement::Insert {
                table,
                columns,
                rows,
                returning,
            } => {
                let values = parameters.iter().map(Option::as_deref);
                if let Err(error) = self
                    .open()?
                    .transaction
                    .insert(*table, columns, *rows, values)
                    .await
                {
                    return Err(self
                        .failing_row(error, *table, columns.len(), parameters)
                        .await);
                }
                for row in (0..*rows).take_while(|_| !returning.is_empty()) {
                    for name in returning {
                        let column = columns.iter().position(|column| column == name);
                        let value = column
                            .and_then(|column| parameters[row * columns.len() + column].as_deref());
                        sink.value(utf8(value)?);
                    }
                    sink.end_row();
                }
                Ok(format!("INSERT 0 {rows}"))
            }
            Statement::UpdateRow {
                table,
                columns,
                returning,
            } => {
                let row = row_parameter(parameters)?;
                let values = parameters.iter().skip(1).map(Option::as_deref);
                let transaction = &mut self.open()?.transaction;
                if let Err(error) = transaction.update(*table, columns, row, values).await {
                    return Err(self.null_in_relation(error, *table).await);
                }
                let transaction = &mut self.open()?.transaction;
                if !returning.is_empty() {
                    let Some(updated) = transaction
                        .flush(*table)
                        .await?
                        .filter(|updated| !updated.updates.is_empty())
                    else {
                        return Ok("UPDATE 0".to_owned());
                    };
                    let changes = transaction.flushed_changes(*table).await?;
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
                    write_columns(
                        transaction.flushed_changes(*table).await?,
                        &old,
                        0,
                        returning,
                        sink,
                    )?;
                }
                Ok("DELETE 1".to_owned())
            }
            Statement::Modify(modify) => self.modify(modify, parameters, sink).await,
            Statement::Truncate { tables } => {
                for table in tables {
                    self.open()?
                        .transaction
                        .flushed_changes(*table)
                        .await?
                        .table
                        .truncate();
                }
                Ok("TRUNCATE TABLE".to_owned())
            }
            Statement::RelationSize { table } => {
                let views = self.open()?.transaction.views([*table]).await?;
                let mut bytes = 0;
                for view in views.values() {
                    bytes += view
                        .provider
                        .table()
                        .scan(None, &[])
                        .await?
                        .iter()
                        .map(|file| file.size)
                        .sum::<u64>();
                }
                // postgres_fdw expects the number of PostgreSQL's blocks of 8 KiB.
                sink.value(Some(&bytes.div_ceil(8192).to_string()));
                sink.end_row();
                Ok("SELECT 1".to_owned())
            }
            Statement::RelationRows => {
                // -1 means that there are no statistics. postgres_fdw then reads all rows, as
                // version 15 does.
                sink.value(Some("-1"));
                sink.value(Some("f"));
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

    pub(super) fn open(&mut self) -> Result<&mut OpenTransaction> {
        self.transaction
            .as_mut()
            .ok_or_else(|| Error::new("25P01", "there is no transaction in progress"))
    }

    fn cursor(&mut self, name: &str) -> Result<&mut Cursor> {
        self.open()?
            .cursors
            .get_mut(name)
            .ok_or_else(|| no_cursor(name))
    }

    /// Adds the table's name to the error of a NULL that is not allowed, as PostgreSQL does.
    pub(super) async fn null_in_relation(&self, mut error: Error, table: u32) -> Error {
        if let Some((_, column)) = error.not_null_violation.as_deref()
            && let Ok(name) = self.database.catalog.relation_name(table).await
        {
            error.message = format!(
                "null value in column \"{column}\" of relation \"{name}\" violates not-null constraint"
            );
        }
        error
    }

    /// Completes the error of an INSERT: adds the table's name and the failing row, as PostgreSQL
    /// does.
    async fn failing_row(
        &self,
        error: Error,
        table: u32,
        width: usize,
        parameters: &[Parameter],
    ) -> Error {
        let mut error = self.null_in_relation(error, table).await;
        let Some((row, _)) = error.not_null_violation.as_deref() else {
            return error;
        };
        let values: Vec<_> = parameters[row * width..(row + 1) * width]
            .iter()
            .map(|value| {
                value
                    .as_ref()
                    .map_or("null".into(), |value| String::from_utf8_lossy(value))
            })
            .collect();
        error.detail = Some(format!("Failing row contains ({}).", values.join(", ")));
        error
    }

    /// Returns an error if a user's query uses a feature that the lake does not support.
    async fn check_access(&self, query: &Query) -> Result<()> {
        let Some(unsupported) = access::unsupported(query) else {
            return Ok(());
        };
        let tables: Vec<u32> = tables(query).into_iter().collect();
        let name = match tables.as_slice() {
            [only] => self.database.catalog.relation_name(*only).await.ok(),
            _ => None,
        };
        Err(unsupported.error(name.as_deref()))
    }

    pub(super) async fn prepare(&mut self, query: Query) -> Result<Prepared> {
        let database = self.database.clone();
        let evaluator = self.engine.evaluator.clone();
        let transaction = &mut self.open()?.transaction;
        let views = transaction.views(tables(&query)).await?;
        Ok(Prepared::new(
            query,
            views,
            transaction.files.clone(),
            database.catalog.clone(),
            evaluator,
        ))
    }
}

impl Cursor {
    async fn fetch(&mut self, limit: usize, sink: &mut impl RowSink) -> Result<usize> {
        if self.rows.is_none() {
            self.rows = Some(match &self.source {
                CursorSource::Query(prepared) => prepared.run().await?,
                CursorSource::Response(answer) => {
                    Rows::Fixed(vec![vec![Some(answer.clone())]].into_iter())
                }
            });
        }
        match &mut self.rows {
            Some(rows) => rows.fetch(limit, sink).await,
            None => Ok(0),
        }
    }
}

impl Prepared {
    fn column_count(&self) -> usize {
        column_count(self.query())
    }
}

fn no_cursor(name: &str) -> Error {
    Error::new("34000", format!("cursor \"{name}\" does not exist"))
}

fn column_count(query: &Query) -> usize {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.len(),
        _ => 0,
    }
}

fn utf8(value: Option<&[u8]>) -> Result<Option<&str>> {
    value
        .map(std::str::from_utf8)
        .transpose()
        .map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))
}

fn row_parameter(parameters: &[Parameter]) -> Result<RowId> {
    let text = parameters.first().and_then(Option::as_deref);
    text.and_then(RowId::parse)
        .ok_or_else(|| Error::internal("the first parameter is not a ctid"))
}
