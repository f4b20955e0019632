//! Evaluation of queries: by DataFusion where `translate` finds an equivalent plan, otherwise by
//! PostgreSQL itself.
//!
//! For the latter the engine opens its own session in the same database. It creates a temporary
//! view for every table of the query, under the name that the query uses (`pg_temp."<oid>"`). Each
//! view reads the table's rows back from the engine through dblink, as the calling transaction sees
//! them. So every function, operator and type behaves as in PostgreSQL. The cost is one more
//! transfer of the rows.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use sqlparser::ast::{
    self, Ident, ObjectName, Query, Value, visit_expressions, visit_expressions_mut,
    visit_relations,
};
use tokio_postgres::Client;
use uuid::Uuid;

use super::catalog::Catalog;
use super::cursor::Rows;
use super::error::{Error, Result};
use super::rowid::FileNumbers;
use super::statement::table_oid;
use super::translate::{OutputColumn, prefilter, translate};
use super::view::TableView;
use crate::EngineSocket;
use icebox_tables::{FILE_COLUMN, POSITION_COLUMN};

/// A table that PostgreSQL reads back from the engine, with the columns to read and the numbers of
/// its files.
#[derive(Clone)]
pub(super) struct Scan {
    view: TableView,
    columns: Vec<String>,
    /// A condition that limits the rows to those that the query may need, and the alias of the
    /// table in it.
    filter: Option<(String, Expr)>,
    files: Arc<Mutex<FileNumbers>>,
}

/// The scans that PostgreSQL may run, by token.
#[derive(Default)]
pub(super) struct Scans(Mutex<HashMap<String, Scan>>);

impl Scans {
    fn offer(&self, scan: Scan) -> String {
        let token = Uuid::new_v4().simple().to_string();
        self.0.lock().insert(token.clone(), scan);
        token
    }

    pub(super) fn get(&self, token: &str) -> Result<Scan> {
        let scans = self.0.lock();
        scans
            .get(token)
            .cloned()
            .ok_or_else(|| Error::internal("there is no scan with this token"))
    }

    fn withdraw(&self, tokens: &[String]) {
        let mut scans = self.0.lock();
        tokens.iter().for_each(|token| _ = scans.remove(token));
    }
}

/// The parts of the engine that queries run with.
pub(super) struct Evaluator {
    pub context: SessionContext,
    pub scans: Scans,
    /// The socket on which PostgreSQL reaches the engine.
    pub socket: EngineSocket,
}

/// A query with the tables that it reads. It can be run any number of times with the same result.
pub(super) struct Prepared {
    query: Query,
    views: HashMap<u32, TableView>,
    files: Arc<Mutex<FileNumbers>>,
    catalog: Arc<Catalog>,
    evaluator: Arc<Evaluator>,
}

/// Returns the OIDs of the tables that a query reads.
pub(super) fn tables(query: &Query) -> HashSet<u32> {
    let mut tables = HashSet::new();
    let _ = visit_relations(query, |name: &ObjectName| {
        tables.extend(table_oid(name));
        ControlFlow::<()>::Continue(())
    });
    tables
}

/// Replaces parameters by their values as string literals. Their type is known, because
/// `postgres_fdw` always casts a parameter.
///
/// # Errors
/// A parameter without a value.
pub(super) fn substitute<N: ast::VisitMut>(
    node: &mut N,
    parameters: &[Option<bytes::Bytes>],
) -> Result<()> {
    let result = visit_expressions_mut(node, |expr| {
        let ast::Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let Value::Placeholder(name) = &value.value else {
            return ControlFlow::Continue(());
        };
        let index = name
            .strip_prefix('$')
            .and_then(|index| index.parse::<usize>().ok());
        match index.and_then(|index| parameters.get(index.checked_sub(1)?)) {
            Some(Some(text)) => {
                value.value = Value::SingleQuotedString(String::from_utf8_lossy(text).into_owned());
                ControlFlow::Continue(())
            }
            Some(None) => {
                value.value = Value::Null;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(name.clone()),
        }
    });
    match result {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(Error::internal(format!("there is no parameter {name}"))),
    }
}

impl Prepared {
    pub(super) fn new(
        mut query: Query,
        views: HashMap<u32, TableView>,
        files: Arc<Mutex<FileNumbers>>,
        catalog: Arc<Catalog>,
        evaluator: Arc<Evaluator>,
    ) -> Self {
        // FOR UPDATE needs no lock here: the statement trigger has made this transaction the only
        // writer of the table.
        query.locks.clear();
        Self {
            query,
            views,
            files,
            catalog,
            evaluator,
        }
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Runs the query and returns its rows.
    pub(super) async fn run(&self) -> Result<Rows> {
        match self.run_translated().await {
            Ok(Some(rows)) => Ok(rows),
            Ok(None) => self.run_in_postgres().await,
            // PostgreSQL can evaluate what DataFusion cannot plan, but it reads the same lake. So
            // an error of the lake is final.
            Err(error) if icebox_tables::Error::is_cause_of(&error) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, query = %self.query, "DataFusion failed on a translated query; PostgreSQL evaluates it");
                self.run_in_postgres().await
            }
        }
    }

    async fn run_translated(&self) -> datafusion::error::Result<Option<Rows>> {
        let Some(translated) = translate(&self.query, &self.views, &self.evaluator.context)? else {
            return Ok(None);
        };
        let batches = translated.plan.execute_stream().await?;
        Ok(Some(Rows::translated(
            batches,
            translated.outputs,
            self.files.clone(),
        )))
    }

    async fn run_in_postgres(&self) -> Result<Rows> {
        tracing::debug!(query = %self.query, "PostgreSQL evaluates a query");
        let client = self.catalog.take_connection().await?;
        let names = identifiers(&self.query);
        let dblink: String = client
            .query_one(
                "SELECT quote_ident(n.nspname) || '.dblink' FROM pg_extension e
                 JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'dblink'",
                &[],
            )
            .await?
            .get(0);
        let filter = prefilter(&self.query, &self.views, &self.evaluator.context);
        let mut tokens = Vec::new();
        let mut setup = String::new();
        for (oid, view) in &self.views {
            let mut definition = String::new();
            let mut columns = Vec::new();
            if names.contains("ctid") {
                definition.push_str("ctid tid");
                columns.push("ctid".to_owned());
            }
            for column in view
                .columns
                .iter()
                .filter(|column| names.contains(&column.name))
            {
                let separator = if columns.is_empty() { "" } else { ", " };
                let name = Ident::with_quote('"', column.name.replace('"', "\"\""));
                _ = write!(definition, "{separator}{name} {}", column.type_name);
                columns.push(column.name.clone());
            }
            if columns.is_empty() {
                definition.push_str("none text");
            }
            let scan = Scan {
                view: view.clone(),
                columns,
                filter: filter.clone(),
                files: self.files.clone(),
            };
            let token = self.evaluator.scans.offer(scan);
            let connection = format!("{} user=lake dbname=lake", self.evaluator.socket);
            _ = write!(
                setup,
                "CREATE TEMP VIEW \"{oid}\" AS SELECT * FROM {dblink}({}, 'SCAN {token}') AS t({definition});",
                quoted(&connection)
            );
            tokens.push(token);
        }
        let client = Arc::new(client);
        let session = HelperSession {
            evaluator: self.evaluator.clone(),
            catalog: self.catalog.clone(),
            client: Some(client.clone()),
            tokens,
        };
        client.batch_execute(&setup).await?;
        let rows = client.simple_query_raw(&self.query.to_string()).await?;
        drop(client);
        Ok(Rows::postgres(rows, session))
    }
}

/// A PostgreSQL session that evaluates one query. At its end it removes its scans and returns its
/// connection.
struct HelperSession {
    evaluator: Arc<Evaluator>,
    catalog: Arc<Catalog>,
    client: Option<Arc<Client>>,
    tokens: Vec<String>,
}

impl Drop for HelperSession {
    fn drop(&mut self) {
        self.evaluator.scans.withdraw(&self.tokens);
        let client = self.client.take().and_then(Arc::into_inner);
        if let (Some(client), Ok(runtime)) = (client, tokio::runtime::Handle::try_current()) {
            let catalog = self.catalog.clone();
            runtime.spawn(async move { catalog.give_back(client).await });
        }
    }
}

impl Scan {
    /// Runs the scan and returns the columns that PostgreSQL asked for.
    pub(super) async fn run(&self, context: &SessionContext) -> Result<Rows> {
        let needs_row_ids = self.columns.iter().any(|name| name == "ctid");
        let provider = self.view.provider.clone();
        let provider = if needs_row_ids {
            provider.with_positions()
        } else {
            provider
        };
        let mut plan = context.read_table(Arc::new(provider))?;
        if let Some((alias, filter)) = &self.filter {
            plan = plan.alias(alias)?.filter(filter.clone())?;
        }
        let column = |name: &str| Expr::Column(datafusion::common::Column::new_unqualified(name));
        let mut projection = Vec::new();
        let mut outputs = Vec::new();
        for name in &self.columns {
            if name == "ctid" {
                outputs.push(OutputColumn::Ctid {
                    file: projection.len(),
                    position: projection.len() + 1,
                });
                projection.extend([column(FILE_COLUMN), column(POSITION_COLUMN)]);
            } else {
                let kind = self
                    .view
                    .columns
                    .iter()
                    .find(|column| column.name == *name)
                    .map(|column| column.kind.clone());
                outputs.push(OutputColumn::Column {
                    index: projection.len(),
                    kind,
                });
                projection.push(column(name));
            }
        }
        if projection.is_empty() {
            outputs.push(OutputColumn::Null);
            projection.push(datafusion::logical_expr::lit(true));
        }
        let batches = plan.select(projection)?.execute_stream().await?;
        Ok(Rows::translated(batches, outputs, self.files.clone()))
    }

    /// The number of values in a row.
    pub(super) fn column_count(&self) -> usize {
        self.columns.len().max(1)
    }
}

/// Returns every name in the expressions of a query. The columns that the query needs are among
/// them.
fn identifiers(query: &Query) -> HashSet<String> {
    let mut names = HashSet::new();
    let _ = visit_expressions(query, |expr: &ast::Expr| {
        match expr {
            ast::Expr::Identifier(ident) => _ = names.insert(ident.value.clone()),
            ast::Expr::CompoundIdentifier(idents) => {
                names.extend(idents.last().map(|ident| ident.value.clone()));
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
