//! SQL on Iceberg tables that are registered by their metadata files.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, visit_expressions_mut};
use futures::TryStreamExt;

use super::catalog::{Catalogs, DEFAULT_CATALOG, DEFAULT_SCHEMA, Entry, Key, Tables};
use icebox_sql::recursive_query::{is_recursive, without_recursion_bugs};
use icebox_tables as tables;
use icebox_tables::distinct_aggregate::optimizer_rules;
use icebox_tables::{LakeIo, LakeTable, LakeTableProvider};

/// An error of the reader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the table {name} at `{metadata_location}`")]
    Open {
        name: String,
        metadata_location: String,
        #[source]
        source: Box<tables::Error>,
    },

    #[error("the table {name} is not registered; register it with its metadata location")]
    UnknownTable { name: String },

    #[error("cannot start a query engine")]
    Engine(#[source] DataFusionError),

    #[error("cannot run the query {sql:?}")]
    Query {
        sql: String,
        #[source]
        source: DataFusionError,
    },
}

/// The result of the reader.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A registered table, as [`Reader::tables`] lists it.
#[derive(Clone, Debug)]
pub struct RegisteredTable {
    /// The name that the table was registered under.
    pub name: TableReference,
    /// The metadata file that the table reads now.
    pub metadata_location: String,
    /// The columns.
    pub schema: SchemaRef,
}

/// Runs SQL on Iceberg tables. Each table is pinned to a metadata file until it is refreshed, as in
/// Snowflake for tables of an object-store catalog integration.
///
/// Names ignore case, quoted or not. For columns this holds unless two columns in the query differ
/// in case only. A table may be registered as `table`, `schema.table` or `database.schema.table`.
/// Queries are in PostgreSQL's dialect and read-only. A reader is cheap to clone; clones share the
/// tables.
#[derive(Clone)]
pub struct Reader {
    io: LakeIo,
    tables: Tables,
    context: SessionContext,
    /// The context for recursive queries; see [`without_recursion_bugs`].
    recursive: SessionContext,
}

impl Reader {
    /// Returns a reader without tables. It uses all cores and has its own caches.
    ///
    /// # Errors
    /// If the query engine refuses its settings.
    pub fn new(io: LakeIo) -> Result<Self> {
        let io = io.caching_data();
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DEFAULT_CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        // A literal such as 100.0 is an exact number in PostgreSQL and in Snowflake.
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(io.registry())
            .build_arc()
            .map_err(Error::Engine)?;
        let tables = Tables::default();
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(optimizer_rules())
            .with_catalog_list(Arc::new(Catalogs(tables.clone())))
            .build();
        Ok(Self {
            io,
            tables,
            recursive: SessionContext::new_with_state(without_recursion_bugs(&state)),
            context: SessionContext::new_with_state(state),
        })
    }

    /// Registers the table at a metadata file (an absolute URL) under `name`, in place of a table
    /// of that name.
    ///
    /// # Errors
    /// If the metadata file cannot be read; then nothing changes.
    pub async fn register(
        &self,
        name: impl Into<TableReference>,
        metadata_location: &str,
    ) -> Result<()> {
        let name = name.into();
        let provider = self.open(&name, metadata_location).await?;
        let entry = Entry {
            name: name.clone(),
            provider,
        };
        self.tables.insert(Key::new(name), entry);
        Ok(())
    }

    /// Moves a table to another metadata file, newer or older. Queries that are already planned
    /// keep reading the old one.
    ///
    /// # Errors
    /// If there is no such table, or the file cannot be read; then the table stays as it is.
    pub async fn refresh(
        &self,
        name: impl Into<TableReference>,
        metadata_location: &str,
    ) -> Result<()> {
        let name = name.into();
        let key = Key::new(name.clone());
        let Some(entry) = self.tables.get(&key) else {
            return Err(unknown(&name));
        };
        if entry.provider.table().metadata_location() == metadata_location {
            return Ok(());
        }
        let provider = self.open(&name, metadata_location).await?;
        if self.tables.replace(&key, provider) {
            Ok(())
        } else {
            Err(unknown(&name))
        }
    }

    /// Deregisters a table. Returns false if there is no table of that name.
    pub fn deregister(&self, name: impl Into<TableReference>) -> bool {
        self.tables.remove(&Key::new(name)).is_some()
    }

    /// Returns the registered tables, ordered by name.
    pub fn tables(&self) -> Vec<RegisteredTable> {
        let registered = |entry: Entry| RegisteredTable {
            metadata_location: entry.provider.table().metadata_location().to_owned(),
            schema: entry.provider.schema(),
            name: entry.name,
        };
        self.tables.all().into_iter().map(registered).collect()
    }

    /// Returns the provider that a registered table has now.
    pub fn table(&self, name: impl Into<TableReference>) -> Option<Arc<LakeTableProvider>> {
        let entry = self.tables.get(&Key::new(name))?;
        Some(entry.provider)
    }

    async fn open(
        &self,
        name: &TableReference,
        metadata_location: &str,
    ) -> Result<Arc<LakeTableProvider>> {
        let table = LakeTable::load(&self.io, metadata_location).await;
        let table = table.map_err(|source| Error::Open {
            name: name.to_string(),
            metadata_location: metadata_location.to_owned(),
            source: Box::new(source),
        })?;
        let table = Arc::new(table);
        // The plan of a full scan is cached with the table, and gives the table's size. If planning
        // fails, the query that reads the table returns the error.
        let _ = table.scan(None, &[]).await;
        Ok(Arc::new(LakeTableProvider::new(table)))
    }

    /// Runs one query, and returns all rows at once.
    pub async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let stream = self.query_stream(sql).await?;
        let schema = stream.schema();
        let batches = stream.try_collect().await;
        Ok((schema, batches.map_err(|source| failed(sql, source))?))
    }

    /// Runs one query, and returns rows as they come. The query reads the tables as they are now,
    /// even if they are refreshed while it runs.
    pub async fn query_stream(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        let stream = self.start(sql).await;
        stream.map_err(|source| failed(sql, source))
    }

    async fn start(&self, sql: &str) -> Result<SendableRecordBatchStream, DataFusionError> {
        let state = self.context.state();
        let mut statement =
            state.sql_to_statement(sql, &state.config_options().sql_parser.dialect)?;
        let tables = state.resolve_table_references(&statement)?;
        self.match_case(&mut statement, &tables);
        let plan = state.statement_to_plan(statement).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        let context = if is_recursive(&plan)? {
            &self.recursive
        } else {
            &self.context
        };
        let frame = context.execute_logical_plan(plan).await?;
        frame.execute_stream().await
    }

    /// Replaces column names in the statement by their spelling in the tables.
    fn match_case(&self, statement: &mut Statement, tables: &[TableReference]) {
        let statement = match statement {
            Statement::Statement(statement) => statement.as_mut(),
            Statement::Explain(explain) => {
                return self.match_case(&mut explain.statement, tables);
            }
            _ => return,
        };
        // `None` where two columns differ in case only. Then the spelling decides, as in
        // PostgreSQL.
        let mut spellings: HashMap<String, Option<String>> = HashMap::new();
        for entry in tables
            .iter()
            .filter_map(|name| self.tables.get(&Key::new(name.clone())))
        {
            for field in entry.provider.schema().fields() {
                spellings
                    .entry(field.name().to_lowercase())
                    .and_modify(|known| {
                        if known.as_ref() != Some(field.name()) {
                            *known = None;
                        }
                    })
                    .or_insert_with(|| Some(field.name().clone()));
            }
        }
        let respell = |identifier: &mut Ident| {
            if let Some(Some(spelling)) = spellings.get(&identifier.value.to_lowercase()) {
                *identifier = Ident::with_quote('"', spelling);
            }
        };
        let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
            match expression {
                Expr::Identifier(identifier) => respell(identifier),
                Expr::CompoundIdentifier(path) => {
                    if let Some(identifier) = path.last_mut() {
                        respell(identifier);
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
    }
}

fn unknown(name: &TableReference) -> Error {
    Error::UnknownTable {
        name: name.to_string(),
    }
}

fn failed(sql: &str, source: DataFusionError) -> Error {
    Error::Query {
        sql: sql.to_owned(),
        source,
    }
}
