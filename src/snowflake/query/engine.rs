//! From a query's text to its rows.

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

use super::coerce::SnowflakeTypes;
use super::parse::parse;
use super::planner::Context;
use super::rewrite::{self, DUPLICATE, Needs, Source};
use super::value::exact_cast;
use super::{Argument, Catalog, Moment, Parameters, TimeTravel, failure};
use crate::snowflake::error::{Position, SqlError, SqlResult};
use crate::snowflake::recursion::{is_recursive, without_recursion_bugs};
use crate::snowflake::rows::Rows;
use crate::snowflake::syntax;
use crate::snowflake::types::{DataType, TYPE_KEY};

/// DataFusion as Snowflake's query engine. Made once: a query takes a copy of its state, which holds no functions.
#[derive(Debug)]
pub struct Engine {
    state: SessionState,
    /// For plans with a recursive query.
    recursive: SessionState,
}

/// DataFusion's rules without the one that loses limits: once `LimitPushdown` has put a limit into rows in memory,
/// `ProjectionPushdown` makes them anew in another order of columns, without it. It has run before, too.
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
    /// An engine that reads with `runtime`, and optimizes with these rules.
    pub fn new(
        runtime: Arc<RuntimeEnv>,
        optimizer_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    ) -> Engine {
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
        Engine {
            recursive: without_recursion_bugs(&state),
            state,
        }
    }

    /// Runs a query to its end.
    ///
    /// # Errors
    /// With Snowflake's codes; see [`failure`].
    pub async fn run(
        &self,
        sql: &str,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<Rows> {
        self.plan(sql, catalog, parameters).await?.rows().await
    }

    /// Plans a query, whose columns are known then.
    ///
    /// # Errors
    /// Everything that Snowflake finds when it compiles.
    pub async fn plan(
        &self,
        sql: &str,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<Plan> {
        let mut parsed = parse(sql)?;
        let state = self.state_for(parameters);
        let mut suffix_plain = false;
        loop {
            let mut query = parsed.query.clone();
            let needs = rewrite::rewrite(&mut query, &parsed.item_names, parameters, suffix_plain)?;
            let tables = self
                .provide(needs, &mut query, &state, catalog, parameters)
                .await?;
            let planned = self.analyzed(*query, &tables, &state);
            match planned {
                // A column beside `*` that is also in it.
                Err(error) if !suffix_plain && is_repeated_name(&error) => suffix_plain = true,
                Err(error) => {
                    // An alias may be used in the list that it stands in, and in WHERE.
                    let is_alias = failure::unknown_name(&error)
                        .is_some_and(|name| rewrite::use_alias(&mut parsed.query, name));
                    if !is_alias {
                        return Err(failure::of(&error, &parsed.places));
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
        let recursive = is_recursive(&logical).map_err(|error| failure::of(&error, &places))?;
        let state = match recursive {
            true => with_zone(&self.recursive, state.config_options()),
            false => state,
        };
        let fields = logical.schema().fields().iter().map(|field| {
            let name = field.name().split(DUPLICATE).next().unwrap_or_default();
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
        let mut state = self.state.clone();
        let zone = parameters.zone.name().to_owned();
        state.config_mut().options_mut().execution.time_zone = Some(zone);
        let options = Arc::clone(state.config().options());
        state.execution_props_mut().mark_start_execution(options);
        state
    }

    /// The plan of a rewritten query, with its types settled.
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

    /// Asks the session for all that a query needs, and puts the values of calls into it.
    async fn provide(
        &self,
        needs: Needs,
        query: &mut Query,
        state: &SessionState,
        catalog: &dyn Catalog,
        parameters: &Parameters,
    ) -> SqlResult<HashMap<String, Arc<dyn TableProvider>>> {
        let mut answers: Vec<AstExpr> = Vec::new();
        for call in needs.calls {
            let mut arguments = Vec::new();
            for mut argument in call.arguments {
                rewrite::answer(&mut argument, &answers);
                let value = self.constant(argument, state);
                // The session's functions have constants; what is called on a column is no function at all.
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
            rewrite::answer(query, &answers);
        }
        let mut tables = HashMap::new();
        for request in needs.requests {
            let value = |mut expr: AstExpr| {
                rewrite::answer(&mut expr, &answers);
                self.constant(expr, state)
            };
            let provider = match request.source {
                Source::Table { name, at } => {
                    let at = at.map(|at| time_travel(at.before, &at.kind, value(at.value)?));
                    catalog.table(&name, at.transpose()?.as_ref()).await?
                }
                Source::Named(name) => {
                    let (name, _) = value(name)?;
                    let name = syntax::name(name.try_as_str().flatten().unwrap_or_default())?;
                    catalog.table(&name, None).await?
                }
                Source::Function { name, arguments } => {
                    let arguments = arguments.into_iter().map(|(name, expr)| {
                        let (value, ty) = value(expr)?;
                        Ok(Argument { name, value, ty })
                    });
                    let arguments = arguments.collect::<SqlResult<Vec<_>>>()?;
                    let rows = catalog.table_function(&name, &arguments).await?;
                    in_memory(rows)?
                }
                Source::Directory(stage) => in_memory(catalog.directory(&stage).await?)?,
                Source::Earlier(number) => {
                    let rows = number
                        .checked_sub(1)
                        .and_then(|at| parameters.earlier.get(at));
                    let rows =
                        rows.ok_or_else(|| SqlError::no_object(format_args!("${number}")))?;
                    in_memory(rows.clone())?
                }
            };
            let provider = match request.columns.is_empty() {
                true => provider,
                false => renamed(provider, &request.columns)?,
            };
            tables.insert(request.name, provider);
        }
        Ok(tables)
    }

    /// The value of an expression that reads no table.
    fn constant(&self, expr: AstExpr, state: &SessionState) -> SqlResult<(ScalarValue, DataType)> {
        let failed = |error: DataFusionError| failure::of(&error, &HashMap::new());
        let query = rewrite::select_one(expr);
        let plan = self
            .analyzed(query, &HashMap::new(), state)
            .map_err(failed)?;
        let LogicalPlan::Projection(projection) = &plan else {
            return Err(SqlError::unsupported("an argument that is no constant"));
        };
        let (Some(expr), Some(field)) = (projection.expr.first(), plan.schema().fields().first())
        else {
            return Err(SqlError::unsupported("an argument without a value"));
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
    /// The columns, each with its Snowflake type.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Starts the query; batches have the plan's schema.
    ///
    /// # Errors
    /// If it cannot be started. Errors of single rows come with the batches.
    pub async fn stream(self) -> SqlResult<impl Stream<Item = SqlResult<RecordBatch>> + Send> {
        let Plan {
            logical,
            state,
            schema,
            places,
        } = self;
        let stream = start(logical, &state).await;
        let stream = stream.map_err(|error| failure::of(&error, &places))?;
        Ok(stream.map(move |batch| {
            let batch = batch.map_err(|error| failure::of(&error, &places))?;
            as_declared(&batch, &schema)
        }))
    }

    /// Runs the query to its end.
    ///
    /// # Errors
    /// Also those of single rows, such as a division by zero.
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

/// The batch under the declared names and types; an optimisation may have changed a text's encoding.
fn as_declared(batch: &RecordBatch, schema: &SchemaRef) -> SqlResult<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(
            |(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => exact_cast(column, field.data_type()),
            },
        );
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| SqlError::internal(&error))
}

/// Rows as a table.
fn in_memory(rows: Rows) -> SqlResult<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(rows.schema, vec![rows.batches]);
    let table = table.map_err(|error| failure::of(&error, &HashMap::new()))?;
    Ok(Arc::new(table))
}

/// A table with other names for its columns.
fn renamed(
    provider: Arc<dyn TableProvider>,
    names: &[String],
) -> SqlResult<Arc<dyn TableProvider>> {
    let failed = |error: DataFusionError| failure::of(&error, &HashMap::new());
    let scan = LogicalPlanBuilder::scan("#", provider_as_source(provider), None);
    let scan = scan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
    let own = scan.schema().fields().len();
    if own != names.len() {
        let given = names.len();
        let text = format!(
            "number of columns in alias list ({given}) does not match that of the table ({own})"
        );
        return Err(SqlError::compilation(2020, "21S01", text));
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
