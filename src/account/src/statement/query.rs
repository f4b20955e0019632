//! SELECT, and the tables and values that queries get from the session.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use parking_lot::Mutex;

use super::Context;
use crate::answer::{Answer, StatementKind};
use crate::kind::{stage, stream};
use crate::session::Session;
use crate::{Kind, functions, lake};
use icebox_scripting::Bindings;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::ObjectName;
use icebox_sql::query::{Catalog, Parameters, TableFunctionArgument, TimeTravel};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

/// Runs SELECT, WITH and VALUES.
pub async fn select(context: Context<'_>, cursor: Cursor<'_>) -> SqlResult<Answer> {
    Ok(Answer {
        rows: run(context, cursor.text()).await?,
        kind: StatementKind::Select,
    })
}

/// Runs a query.
pub async fn run(context: Context<'_>, sql: &str) -> SqlResult<Rows> {
    Ok(read(context, sql).await?.rows)
}

/// Returns the columns of a query, without rows.
pub async fn columns(context: Context<'_>, sql: &str) -> SqlResult<Rows> {
    let tables = Tables::new(context.session);
    let parameters = parameters(context);
    let engine = context.session.account().engine();
    let plan = engine.plan(sql, &tables, &parameters).await?;
    let none = RecordBatch::new_empty(Arc::clone(plan.schema()));
    Ok(Rows::new(Arc::clone(plan.schema()), vec![none]))
}

/// The result of a query, with the streams that it read.
pub struct Read {
    pub rows: Rows,
    /// The streams, each with the number of the last change that was read.
    streams: Vec<(ObjectName, u64)>,
}

impl Read {
    /// Consumes the streams, after a DML statement has written what was read from them.
    pub fn consume(&self, session: &Session) -> SqlResult<()> {
        let mut streams = self.streams.iter();
        streams.try_for_each(|(name, offset)| stream::consume(session, name, *offset))
    }
}

/// Runs a query for a statement that may write the result.
pub async fn read(context: Context<'_>, sql: &str) -> SqlResult<Read> {
    let tables = Tables::new(context.session);
    let parameters = parameters(context);
    let engine = context.session.account().engine();
    let rows = engine.run(sql, &tables, &parameters);
    let rows = context.unless_cancelled(rows).await?;
    Ok(Read {
        rows,
        streams: tables.streams.into_inner(),
    })
}

fn parameters(context: Context<'_>) -> Parameters {
    let current = context.session.current();
    let mut parameters = Parameters::at(context.session.account().now());
    let own = context.parameters.get("TIMEZONE");
    let own = own.and_then(|zone| zone.parse().ok());
    parameters.zone = own.unwrap_or_else(|| current.zone());
    parameters.bindings = bindings(context.bindings);
    let variables = current.variables.into_iter();
    parameters.variables = variables
        .map(|(name, one)| (name.as_str().to_owned(), (one.value, one.ty)))
        .collect();
    parameters.earlier = context.earlier.to_vec();
    parameters
}

fn bindings(bindings: &Bindings) -> HashMap<String, (ScalarValue, DataType)> {
    let named = bindings.iter().map(|(name, value)| {
        let value = (value.value.clone(), value.ty);
        (name.as_str().to_owned(), value)
    });
    let positional = (1..).map_while(|number| {
        let value = bindings.nth(number)?;
        Some((number.to_string(), (value.value.clone(), value.ty)))
    });
    named.chain(positional).collect()
}

/// The tables of a session's account.
struct Tables<'a> {
    session: &'a Session,
    streams: Mutex<Vec<(ObjectName, u64)>>,
}

impl<'a> Tables<'a> {
    fn new(session: &'a Session) -> Self {
        Tables {
            session,
            streams: Mutex::default(),
        }
    }
}

#[async_trait]
impl Catalog for Tables<'_> {
    async fn table(
        &self,
        name: &ObjectName,
        at: Option<&TimeTravel>,
    ) -> SqlResult<Arc<dyn TableProvider>> {
        let full = self.session.full_name(Kind::Table, name)?;
        if functions::is_view(&full) {
            return as_table(functions::view(self.session, &full).await?);
        }
        let account = self.session.account();
        if let Some(table) = account.get(Kind::Table, &full) {
            return Ok(lake::provider(self.session, &table, at).await?);
        }
        if let Some(found) = account.get(Kind::Stream, &full) {
            if at.is_some() {
                return Err(SqlError::unsupported("AT and BEFORE on a stream"));
            }
            let (rows, offset) = stream::rows(self.session, &found)?;
            let mut streams = self.streams.lock();
            streams.push((full, offset));
            return as_table(rows);
        }
        Err(SqlError::no_object(&full))
    }

    async fn table_function(
        &self,
        name: &ObjectName,
        arguments: &[TableFunctionArgument],
    ) -> SqlResult<Rows> {
        functions::table_function(self.session, name, arguments)
    }

    async fn directory(&self, name: &ObjectName) -> SqlResult<Rows> {
        stage::directory(self.session, name)
    }

    async fn session_function(
        &self,
        name: &str,
        arguments: &[ScalarValue],
    ) -> SqlResult<Option<(ScalarValue, DataType)>> {
        functions::session_function(self.session, name, arguments).await
    }
}

fn as_table(rows: Rows) -> SqlResult<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(rows.schema, vec![rows.batches]);
    let table = table.map_err(|error| SqlError::internal(&error))?;
    Ok(Arc::new(table))
}
