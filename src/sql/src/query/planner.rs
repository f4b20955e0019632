//! The names that DataFusion's planner looks up: the tables of one query, and the functions that a
//! rewritten query may call.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::functions_window::all_default_window_functions;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, PlannerResult, RawBinaryExpr,
};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, TableSource, WindowUDF};

use super::functions::SCALARS;
use super::unify;

/// DataFusion's aggregates, by name and by alias.
static AGGREGATES: LazyLock<HashMap<String, Arc<AggregateUDF>>> = LazyLock::new(|| {
    let all = all_default_aggregate_functions().into_iter();
    all.flat_map(|function| {
        let names = std::iter::once(function.name().to_owned());
        let names: Vec<_> = names.chain(function.aliases().to_vec()).collect();
        names
            .into_iter()
            .map(move |name| (name, Arc::clone(&function)))
    })
    .collect()
});

/// DataFusion's window functions, by name.
static WINDOWS: LazyLock<HashMap<String, Arc<WindowUDF>>> = LazyLock::new(|| {
    let all = all_default_window_functions().into_iter();
    all.map(|function| (function.name().to_owned(), function))
        .collect()
});

static EXPR_PLANNERS: LazyLock<Vec<Arc<dyn ExprPlanner>>> =
    LazyLock::new(|| vec![Arc::new(Comparisons)]);

/// The planner's context: the tables of one query by the names that the rewriter gave them.
pub struct Context<'a> {
    pub tables: &'a HashMap<String, Arc<dyn TableProvider>>,
    pub options: &'a ConfigOptions,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.tables.get(name.table()) {
            Some(provider) => Ok(provider_as_source(Arc::clone(provider))),
            None => Err(DataFusionError::Plan(format!("no table {name}"))),
        }
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(
            name, schema,
        ))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &EXPR_PLANNERS
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        match name {
            // DataFusion's `coalesce` stops at the first argument that is not NULL. A function of
            // icebox cannot, because its arguments are evaluated first.
            "coalesce" => Some(datafusion::functions::core::coalesce()),
            _ => SCALARS.get(name).cloned(),
        }
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        AGGREGATES.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        WINDOWS.get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<ArrowType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        SCALARS.keys().map(|&name| name.to_owned()).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        AGGREGATES.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        WINDOWS.keys().cloned().collect()
    }
}

/// The expression planner that gives both sides of a comparison one type before DataFusion applies
/// its own rules.
#[derive(Debug)]
struct Comparisons;

impl ExprPlanner for Comparisons {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use datafusion::sql::sqlparser::ast::BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        if matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            let op = expr.op.to_string();
            (expr.left, expr.right) =
                unify::cast_for_comparison(&op, expr.left, schema, expr.right, schema)?;
        }
        Ok(PlannerResult::Original(expr))
    }
}
