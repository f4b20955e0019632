//! SELECT, and what queries ask of the session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::Context;
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::names::ObjectName;
use crate::snowflake::object::{Kind, stage, stream};
use crate::snowflake::query::{Argument, Catalog, Parameters, TimeTravel};
use crate::snowflake::rest::{Answer, StatementKind};
use crate::snowflake::rows::Rows;
use crate::snowflake::script::Bindings;
use crate::snowflake::session::Session;
use crate::snowflake::syntax::Cursor;
use crate::snowflake::types::DataType;
use crate::snowflake::{functions, lake};

/// SELECT, WITH, VALUES.
pub async fn select(context: Context<'_>, cursor: Cursor<'_>) -> SqlResult<Answer> {
    Ok(Answer {
        rows: run(context, cursor.text()).await?,
        kind: StatementKind::Select,
    })
}

/// Runs a query.
pub async fn run(context: Context<'_>, sql: &str) -> SqlResult<Rows> {
    let tables = Tables::new(context.session);
    let parameters = parameters(context);
    let engine = context.session.account().engine();
    engine.run(sql, &tables, &parameters).await
}

/// What a writing statement has read.
pub struct Read {
    pub rows: Rows,
    /// Streams, each with the number of the change up to which it was read.
    streams: Vec<(ObjectName, u64)>,
}

impl Read {
    /// Moves the streams on, for what was read of them is written now.
    pub fn consume(&self, session: &Session) -> SqlResult<()> {
        let mut streams = self.streams.iter();
        streams.try_for_each(|(name, offset)| stream::consume(session, name, *offset))
    }
}

/// Runs a query for a statement that writes.
pub fn read<'a>(session: &'a Session, sql: &'a str) -> BoxFuture<'a, SqlResult<Read>> {
    async move {
        let bindings = Bindings::default();
        let context = Context {
            session,
            bindings: &bindings,
            earlier: &[],
            depth: 0,
        };
        read_in(context, sql).await
    }
    .boxed()
}

/// The same with bindings.
pub async fn read_in(context: Context<'_>, sql: &str) -> SqlResult<Read> {
    let tables = Tables::new(context.session);
    let parameters = parameters(context);
    let engine = context.session.account().engine();
    let rows = engine.run(sql, &tables, &parameters).await?;
    let streams = tables.streams.into_inner();
    Ok(Read {
        rows,
        streams: streams.unwrap_or_else(PoisonError::into_inner),
    })
}

fn parameters(context: Context<'_>) -> Parameters {
    let current = context.session.current();
    let mut parameters = Parameters::at(context.session.account().now());
    if let Some(zone) = current.time_zone.and_then(|zone| zone.parse().ok()) {
        parameters.zone = zone;
    }
    parameters.bindings = bindings(context.bindings);
    let variables = current.variables.into_iter();
    parameters.variables = variables
        .map(|(name, value)| (name.as_str().to_owned(), value))
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
        if functions::is_information_schema(name) {
            let rows = functions::information_schema(self.session, name)?;
            return as_table(rows);
        }
        let full = self.session.full_name(Kind::Table, name)?;
        let account = self.session.account();
        if let Some(table) = account.get(Kind::Table, &full) {
            return Ok(lake::provider(self.session, &table, at).await?);
        }
        if let Some(found) = account.get(Kind::Stream, &full) {
            if at.is_some() {
                return Err(SqlError::unsupported("AT and BEFORE on a stream"));
            }
            let (rows, offset) = stream::rows(self.session, &found)?;
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.push((full, offset));
            return as_table(rows);
        }
        Err(SqlError::no_object(&full))
    }

    async fn table_function(&self, name: &ObjectName, arguments: &[Argument]) -> SqlResult<Rows> {
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
