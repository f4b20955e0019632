//! Aggregate queries.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::Column as ColumnRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, SortExpr, cast, lit};
use datafusion::prelude::DataFrame;
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SelectItem, Value,
    visit_expressions,
};

use super::expression::is_groupable;
use super::{
    OutputColumn, Translator, TypedExpr, is_null, sorted_and_named, try_or_error, unnested,
};
use crate::columns::ColumnKind;

impl Translator<'_> {
    pub(super) fn aggregate(
        &mut self,
        plan: DataFrame,
        query: &Query,
        select: &Select,
        groups: &[ast::Expr],
    ) -> Option<datafusion::error::Result<(DataFrame, Vec<OutputColumn>)>> {
        let items: Vec<&ast::Expr> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => Some(expr),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut group_exprs = Vec::new();
        for group in groups {
            // GROUP BY 1 refers to an item of the select list.
            let item = match group {
                ast::Expr::Value(value) => match &value.value {
                    Value::Number(position, _) => {
                        items.get(position.parse::<usize>().ok()?.checked_sub(1)?)?
                    }
                    _ => return None,
                },
                other => other,
            };
            let typed = self.expr(item)?;
            if !is_groupable(&typed.kind) {
                return None;
            }
            group_exprs.push(typed.expr);
        }
        let groups = Groups(group_exprs);
        let mut outputs = Vec::new();
        let mut projection: Vec<Expr> = Vec::new();
        let index_of = |projection: &mut Vec<Expr>, expr: Expr| {
            projection.push(expr);
            projection.len() - 1
        };
        for item in items {
            if is_null(item) {
                outputs.push(OutputColumn::Null);
            } else if let Some((sum, count)) = self.average(item) {
                let sum = index_of(&mut projection, sum);
                outputs.push(OutputColumn::Average {
                    sum,
                    count: index_of(&mut projection, count),
                });
            } else {
                let typed = self.grouped(item, &groups)?;
                outputs.push(OutputColumn::Column {
                    index: index_of(&mut projection, typed.expr),
                    kind: Some(typed.kind),
                });
            }
        }
        let having = match &select.having {
            Some(having) => Some(groups.replace_groups(self.condition(having)?)?),
            None => None,
        };
        let order = self.order(query)?.into_iter().map(|sort| {
            let SortExpr {
                expr,
                asc,
                nulls_first,
            } = sort;
            Some(groups.replace_groups(expr)?.sort(asc, nulls_first))
        });
        let order = order.collect::<Option<Vec<_>>>()?;
        let aggregates: Vec<Expr> = self
            .aggregates
            .iter()
            .enumerate()
            .map(|(index, (_, expr, _))| expr.clone().alias(format!("a{index}")))
            .collect();
        let mut plan = try_or_error!(plan.aggregate(groups.named(), aggregates));
        if let Some(having) = having {
            plan = try_or_error!(plan.filter(having));
        }
        let plan = try_or_error!(sorted_and_named(plan, order, projection));
        Some(Ok((plan, outputs)))
    }

    /// Translates an item of an aggregate query: an aggregate, a grouping expression or a constant.
    fn grouped(&mut self, item: &ast::Expr, groups: &Groups) -> Option<TypedExpr> {
        let typed = self.expr(item)?;
        let is_aggregate = matches!(unnested(item), ast::Expr::Function(_));
        let is_constant = matches!(typed.expr, Expr::Literal(..));
        let is_group = groups.0.contains(&typed.expr);
        let expr = groups.replace_groups(typed.expr)?;
        (is_aggregate || is_constant || is_group).then_some(TypedExpr {
            expr,
            kind: typed.kind,
        })
    }

    pub(super) fn aggregate_call(&mut self, function: &ast::Function) -> Option<TypedExpr> {
        let name = function.name.to_string().to_ascii_lowercase();
        let (argument, distinct) = aggregate_argument(function)?;
        let argument = match argument {
            Some(argument) => Some(self.expr(argument)?),
            None => None,
        };
        let (expr, kind) = match (name.as_str(), argument) {
            ("count", None) => (count(lit(1i64)), ColumnKind::Long),
            ("count", Some(argument)) if distinct => {
                if !is_groupable(&argument.kind) {
                    return None;
                }
                (count_distinct(argument.expr), ColumnKind::Long)
            }
            (_, _) if distinct => return None,
            ("count", Some(argument)) => (count(argument.expr), ColumnKind::Long),
            ("sum", Some(argument)) => exact_sum(argument)?,
            ("min", Some(argument)) if is_groupable(&argument.kind) => {
                (min(argument.expr), argument.kind)
            }
            ("max", Some(argument)) if is_groupable(&argument.kind) => {
                (max(argument.expr), argument.kind)
            }
            _ => return None,
        };
        let expr = match &function.filter {
            Some(condition) => expr.filter(self.condition(condition)?).build().ok()?,
            None => expr,
        };
        Some(self.aggregate_column(function.to_string(), expr, kind))
    }

    /// Returns the column that an aggregate becomes. Aggregates with the same text share a column.
    fn aggregate_column(&mut self, text: String, expr: Expr, kind: ColumnKind) -> TypedExpr {
        let index = self
            .aggregates
            .iter()
            .position(|(other, ..)| *other == text)
            .unwrap_or_else(|| {
                self.aggregates.push((text, expr, kind.clone()));
                self.aggregates.len() - 1
            });
        TypedExpr {
            expr: Expr::Column(ColumnRef::new_unqualified(format!("a{index}"))),
            kind,
        }
    }

    /// Translates `avg(x)` of integers or numerics into the sum and the count.
    fn average(&mut self, item: &ast::Expr) -> Option<(Expr, Expr)> {
        let ast::Expr::Function(function) = unnested(item) else {
            return None;
        };
        if !function.name.to_string().eq_ignore_ascii_case("avg") || function.filter.is_some() {
            return None;
        }
        let (Some(argument), false) = aggregate_argument(function)? else {
            return None;
        };
        let text = argument.to_string();
        let argument = self.expr(argument)?;
        let number = count(argument.expr.clone());
        let (total, kind) = exact_sum(argument)?;
        let sum = self.aggregate_column(format!("avg sum {text}"), total, kind);
        let count = self.aggregate_column(format!("avg count {text}"), number, ColumnKind::Long);
        Some((sum.expr, count.expr))
    }
}

/// The grouping expressions of a query. After the aggregation they are the columns `g0`, `g1`, ….
struct Groups(Vec<Expr>);

impl Groups {
    fn named(&self) -> Vec<Expr> {
        self.0
            .iter()
            .enumerate()
            .map(|(index, expr)| expr.clone().alias(format!("g{index}")))
            .collect()
    }

    /// Replaces grouping expressions by the columns that hold them after the aggregation.
    fn replace_groups(&self, expr: Expr) -> Option<Expr> {
        let replaced = expr.transform_down(|node| {
            Ok(match self.0.iter().position(|group| *group == node) {
                Some(index) => {
                    let column = Expr::Column(ColumnRef::new_unqualified(format!("g{index}")));
                    Transformed::new(column, true, TreeNodeRecursion::Jump)
                }
                None => Transformed::no(node),
            })
        });
        replaced.ok().map(|replaced| replaced.data)
    }
}

/// Whether the select list contains a function. Aggregates are the only functions that are
/// translated.
pub(super) fn has_aggregate(select: &Select) -> bool {
    let found = visit_expressions(&select.projection, |expr| match expr {
        ast::Expr::Function(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Returns a sum that cannot overflow, and the kind of its value.
fn exact_sum(argument: TypedExpr) -> Option<(Expr, ColumnKind)> {
    match argument.kind {
        // The largest absolute value, 2^31, times the most rows that a table can have stays below
        // 2^63.
        ColumnKind::Int => Some((sum(argument.expr), ColumnKind::Long)),
        ColumnKind::Long => Some((
            sum(cast(argument.expr, DataType::Decimal128(19, 0))),
            ColumnKind::Decimal(38, 0),
        )),
        // DataFusion's sum has ten digits more than its argument.
        ColumnKind::Decimal(precision, scale) if precision <= 28 => Some((
            sum(argument.expr),
            ColumnKind::Decimal(precision + 10, scale),
        )),
        _ => None,
    }
}

/// Returns the argument of an aggregate (`None` for `*`), and whether it has DISTINCT. Returns
/// `None` if the aggregate has any other clause.
fn aggregate_argument(function: &ast::Function) -> Option<(Option<&ast::Expr>, bool)> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    if function.over.is_some() || !list.clauses.is_empty() || !function.within_group.is_empty() {
        return None;
    }
    let distinct = matches!(
        list.duplicate_treatment,
        Some(ast::DuplicateTreatment::Distinct)
    );
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Some((None, distinct)),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some((Some(expr), distinct)),
        _ => None,
    }
}
