//! The query engine: from a query's text to its rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::SqlParserOptions;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::{AnalyzerRule, OptimizerRule};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as AstExpr, Query, Statement};
use futures::{Stream, StreamExt, TryStreamExt};

use super::array::exact_cast;
use super::coerce::SnowflakeTypes;
use super::generated_name::DUPLICATE_SUFFIX;
use super::parse::parse;
use super::planner::Context;
use super::rewrite::{self, Dependencies, Source};
use super::{Catalog, Moment, Parameters, TableFunctionArgument, TimeTravel, translate_error};
use icebox_base::opaque::Opaque;

use crate::error::{Position, SqlError, SqlResult, code};
use crate::recursive_query::{is_recursive, without_recursion_bugs};
use crate::rows::Rows;
use crate::syntax;
use crate::types::{DataType, TYPE_KEY};

/// DataFusion as Snowflake's query engine. It is built once; each query clones its session state,
/// which is cheap because no functions are registered in it.
#[derive(Debug)]
pub struct Engine {
    state: Opaque<SessionState>,
    /// The session state for plans with a recursive query.
    recursive: Opaque<SessionState>,
}

/// Returns DataFusion's physical optimizer rules without the `ProjectionPushdown` that runs after
/// `LimitPushdown`. `LimitPushdown` moves a limit into an in-memory scan; a later
/// `ProjectionPushdown` rebuilds the scan with its columns in another order and loses the limit. An
/// earlier run of `ProjectionPushdown` remains.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut is_limited = false;
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| {
        is_limited |= rule.name() == "LimitPushdown";
        !(is_limited && rule.name() == "ProjectionPushdown")
    });
    rules
}

/// A query that is ready to run.
pub struct Plan {
    logical: LogicalPlan,
    state: SessionState,
    schema: SchemaRef,
    places: HashMap<String, Position>,
}

impl Engine {
    /// Creates an engine that reads with `runtime` and optimizes with these logical rules.
    pub fn new(
        runtime: Arc<RuntimeEnv>,
        optimizer_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    ) -> Self {
        let mut config = SessionConfig::new().with_create_default_catalog_and_schema(false);
        let options = config.options_mut();
        options.sql_parser = SqlParserOptions {
            parse_float_as_decimal: true,
            enable_ident_normalization: false,
            map_string_types_to_utf8view: false,
            default_null_ordering: "nulls_max".to_owned(),
            ..options.sql_parser.clone()
        };
        let mut analyzer: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(SnowflakeTypes)];
        analyzer.extend(Analyzer::new().rules);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_analyzer_rules(analyzer)
            .with_optimizer_rules(optimizer_rules)
            .with_physical_optimizer_rules(physical_rules())
            .build();
        Self {
            recursive: Opaque::new(without_recursion_bugs(&state)),
            state: Opaque::new(state),
        }
    }

    /// Runs a query to its end.
    ///
    /// # Errors
    /// The query's error with Snowflake's code; see [`translate_error`].
    pub async fn run(
        &self,
        sql: &str,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<Rows> {
        self.plan(sql, catalog, parameters).await?.rows().await
    }

    /// Plans a query. Its columns are known before it runs.
    ///
    /// # Errors
    /// Everything that Snowflake reports when it compiles a query.
    pub async fn plan(
        &self,
        sql: &str,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<Plan> {
        let mut parsed = parse(sql)?;
        let state = self.state_for(parameters);
        let mut suffix_repeated_names = false;
        loop {
            let mut query = parsed.query.clone();
            let dependencies = rewrite::rewrite(
                &mut query,
                &parsed.item_names,
                parameters,
                suffix_repeated_names,
            )?;
            let tables = self
                .provide(dependencies, &mut query, &state, catalog, parameters)
                .await?;
            let planned = self.analyzed(*query, &tables, &state);
            match planned {
                // `SELECT *, a`: a column beside `*` that `*` also contains gets a suffix.
                Err(error) if !suffix_repeated_names && is_repeated_name(&error) => {
                    suffix_repeated_names = true;
                }
                Err(error) => {
                    // Snowflake lets an alias be used in its own SELECT list, in WHERE and in later
                    // clauses.
                    let is_alias = translate_error::unknown_name(&error)
                        .is_some_and(|name| rewrite::use_alias(&mut parsed.query, name));
                    if !is_alias {
                        return Err(translate_error::from_datafusion(&error, &parsed.places));
                    }
                }
                Ok(logical) => return self.finished(logical, state, parsed.places),
            }
        }
    }

    fn finished(
        &self,
        logical: LogicalPlan,
        state: SessionState,
        places: HashMap<String, Position>,
    ) -> SqlResult<Plan> {
        let recursive = is_recursive(&logical)
            .map_err(|error| translate_error::from_datafusion(&error, &places))?;
        let state = if recursive {
            with_zone(&self.recursive, state.config_options())
        } else {
            state
        };
        let fields = logical.schema().fields().iter().map(|field| {
            let name = field
                .name()
                .split(DUPLICATE_SUFFIX)
                .next()
                .unwrap_or_default();
            let ty = DataType::of_field(field);
            let metadata = [(TYPE_KEY.to_owned(), ty.to_string())];
            Field::new(name, field.data_type().clone(), field.is_nullable())
                .with_metadata(metadata.into())
        });
        Ok(Plan {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            logical,
            state,
            places,
        })
    }

    fn state_for(&self, parameters: &Parameters) -> SessionState {
        let mut state = SessionState::clone(&self.state);
        let zone = parameters.zone.name().to_owned();
        state.config_mut().options_mut().execution.time_zone = Some(zone);
        let options = Arc::clone(state.config().options());
        state.execution_props_mut().mark_start_execution(options);
        state
    }

    /// Plans a rewritten query and resolves the types of its expressions.
    fn analyzed(
        &self,
        query: Query,
        tables: &HashMap<String, Arc<dyn TableProvider>>,
        state: &SessionState,
    ) -> Result<LogicalPlan, DataFusionError> {
        let options = state.config_options();
        let context = Context { tables, options };
        let parser_options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_enable_ident_normalization(false)
            .with_map_string_types_to_utf8view(false)
            .with_default_null_ordering(NullOrdering::NullsMax);
        let planner = SqlToRel::new_with_options(&context, parser_options);
        let plan = planner.sql_statement_to_plan(Statement::Query(Box::new(query)))?;
        state.analyzer().execute_and_check(plan, options, |_, _| {})
    }

    /// Gets everything that a query needs from the session: replaces session functions in the query
    /// by their values, and returns the tables by their generated names.
    async fn provide(
        &self,
        dependencies: Dependencies,
        query: &mut Query,
        state: &SessionState,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<HashMap<String, Arc<dyn TableProvider>>> {
        let mut answers: Vec<AstExpr> = Vec::new();
        for call in dependencies.calls {
            let mut arguments = Vec::new();
            for mut argument in call.arguments {
                rewrite::substitute_results(&mut argument, &answers);
                let value = self.constant(argument, state);
                // A session function takes constants only. With a column as an argument (error 904,
                // invalid identifier) the call is not one, and its name is unknown.
                let value = value.map_err(|error| match error.code {
                    904 => rewrite::unknown(&call.name),
                    _ => error,
                });
                arguments.push(value?.0);
            }
            let answer = catalog.session_function(&call.name, &arguments).await?;
            let (value, ty) = answer.ok_or_else(|| rewrite::unknown(&call.name))?;
            answers.push(rewrite::constant(&value, ty)?);
        }
        if !answers.is_empty() {
            rewrite::substitute_results(query, &answers);
        }
        let mut tables = HashMap::new();
        for request in dependencies.requests {
            let value = |mut expr: AstExpr| {
                rewrite::substitute_results(&mut expr, &answers);
                self.constant(expr, state)
            };
            let provider = match request.source {
                Source::Table { name, at } => {
                    let at = at.map(|at| time_travel(at.before, &at.kind, value(at.value)?));
                    catalog.table(&name, at.transpose()?.as_ref()).await?
                }
                Source::Identifier(name) => {
                    let (name, _) = value(name)?;
                    let name = syntax::name(name.try_as_str().flatten().unwrap_or_default())?;
                    catalog.table(&name, None).await?
                }
                Source::Function { name, arguments } => {
                    let arguments = arguments.into_iter().map(|(name, expr)| {
                        let (value, ty) = value(expr)?;
                        Ok(TableFunctionArgument { name, value, ty })
                    });
                    let arguments = arguments.collect::<SqlResult<Vec<_>>>()?;
                    let rows = catalog.table_function(&name, &arguments).await?;
                    in_memory(rows)?
                }
                Source::Directory(stage) => in_memory(catalog.directory(&stage).await?)?,
                Source::PipeResult(number) => {
                    let rows = number
                        .checked_sub(1)
                        .and_then(|at| parameters.earlier.get(at));
                    let rows =
                        rows.ok_or_else(|| SqlError::no_object(format_args!("${number}")))?;
                    in_memory(rows.clone())?
                }
            };
            let provider = if request.columns.is_empty() {
                provider
            } else {
                renamed(provider, &request.columns)?
            };
            tables.insert(request.name, provider);
        }
        Ok(tables)
    }

    /// Evaluates an expression that reads no table.
    fn constant(&self, expr: AstExpr, state: &SessionState) -> SqlResult<(ScalarValue, DataType)> {
        let failed =
            |error: DataFusionError| translate_error::from_datafusion(&error, &HashMap::new());
        let query = rewrite::select_one(expr);
        let plan = self
            .analyzed(query, &HashMap::new(), state)
            .map_err(failed)?;
        let LogicalPlan::Projection(projection) = &plan else {
            return Err(SqlError::unsupported(
                "an argument of a table or session function that is not a constant",
            ));
        };
        let (Some(expr), Some(field)) = (projection.expr.first(), plan.schema().fields().first())
        else {
            return Err(SqlError::unsupported("an argument that returns no value"));
        };
        let empty = DFSchema::empty();
        let physical =
            create_physical_expr(expr, &empty, state.execution_props()).map_err(failed)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let row =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        let row = row.map_err(|error| SqlError::internal(&error))?;
        let value = match physical.evaluate(&row).map_err(failed)? {
            ColumnarValue::Scalar(value) => value,
            ColumnarValue::Array(array) => {
                ScalarValue::try_from_array(&array, 0).map_err(failed)?
            }
        };
        Ok((value, DataType::of_field(field)))
    }
}

impl Plan {
    /// Returns the columns, each with its Snowflake type.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Starts the query. The batches have the plan's schema.
    ///
    /// # Errors
    /// If the query cannot be started. Errors of single rows come with the batches.
    pub async fn stream(self) -> SqlResult<impl Stream<Item = SqlResult<RecordBatch>> + Send> {
        let Self {
            logical,
            state,
            schema,
            places,
        } = self;
        let stream = start(logical, &state).await;
        let stream = stream.map_err(|error| translate_error::from_datafusion(&error, &places))?;
        Ok(stream.map(move |batch| {
            let batch = batch.map_err(|error| translate_error::from_datafusion(&error, &places))?;
            as_declared(&batch, &schema)
        }))
    }

    /// Runs the query to its end.
    ///
    /// # Errors
    /// Errors of the start, and of single rows, such as a division by zero.
    pub async fn rows(self) -> SqlResult<Rows> {
        let schema = Arc::clone(&self.schema);
        let batches = self.stream().await?.try_collect().await?;
        Ok(Rows::new(schema, batches))
    }
}

async fn start(
    logical: LogicalPlan,
    state: &SessionState,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let optimized = state.optimizer().optimize(logical, state, |_, _| {})?;
    let physical = state
        .query_planner()
        .create_physical_plan(&optimized, state)
        .await?;
    execute_stream(physical, state.task_ctx())
}

/// Returns the batch with the declared names and types; the optimizer may have changed the encoding
/// of a text column.
fn as_declared(batch: &RecordBatch, schema: &SchemaRef) -> SqlResult<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                exact_cast(column, field.data_type())
            }
        });
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| SqlError::internal(&error))
}

/// Makes rows a table.
fn in_memory(rows: Rows) -> SqlResult<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(rows.schema, vec![rows.batches]);
    let table = table.map_err(|error| translate_error::from_datafusion(&error, &HashMap::new()))?;
    Ok(Arc::new(table))
}

/// Gives the columns of a table other names.
fn renamed(
    provider: Arc<dyn TableProvider>,
    names: &[String],
) -> SqlResult<Arc<dyn TableProvider>> {
    let failed = |error: DataFusionError| translate_error::from_datafusion(&error, &HashMap::new());
    let scan = LogicalPlanBuilder::scan("#", provider_as_source(provider), None);
    let scan = scan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
    let own = scan.schema().fields().len();
    if own != names.len() {
        let given = names.len();
        let text = format!(
            "number of columns in alias list ({given}) does not match that of the table ({own})"
        );
        return Err(SqlError::compilation(code::COLUMN_COUNT, text));
    }
    let columns = scan.schema().columns().into_iter().zip(names);
    let columns: Vec<_> = columns
        .map(|(column, name)| Expr::Column(column).alias(name))
        .collect();
    let plan = LogicalPlanBuilder::from(scan).project(columns);
    let plan = plan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn time_travel(
    before: bool,
    kind: &str,
    (value, ty): (ScalarValue, DataType),
) -> SqlResult<TimeTravel> {
    let moment = match kind {
        "TIMESTAMP" => Moment::Timestamp(value, ty),
        "OFFSET" => Moment::Offset(value),
        "STATEMENT" => Moment::Statement(value.to_string()),
        "STREAM" => Moment::Stream(value.to_string()),
        "VERSION" => Moment::Version(value),
        other => return Err(SqlError::unsupported(format_args!("AT({other} => …)"))),
    };
    Ok(TimeTravel { before, moment })
}

fn is_repeated_name(error: &DataFusionError) -> bool {
    error
        .to_string()
        .contains("require unique expression names")
}

fn with_zone(state: &SessionState, options: &ConfigOptions) -> SessionState {
    let mut state = state.clone();
    let zone = options.execution.time_zone.clone();
    state.config_mut().options_mut().execution.time_zone = zone;
    let options = Arc::clone(state.config().options());
    state.execution_props_mut().mark_start_execution(options);
    state
}
