//! The analyzer rule that gives operands Snowflake's types, in expressions and in the plan nodes
//! that combine columns.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, Operator, Projection, Union, WindowFunctionDefinition,
    binary_expr, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::functions::{SCALARS, external};
use super::unify::{
    cast, cast_for_comparison, cast_to_common_type, common_type, is_semi_structured, literal,
    type_of,
};
use super::{aggregates, translate_error};
use crate::error::SqlError;
use crate::types::DataType;

/// DataFusion's analyzer rule that applies Snowflake's implicit casts.
#[derive(Debug)]
pub struct SnowflakeTypes;

impl AnalyzerRule for SnowflakeTypes {
    fn name(&self) -> &'static str {
        "snowflake_types"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| coerce_expression(expr, &schema))?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            plan.map_data(|plan| coerce_node(plan)?.recompute_schema())
        })?;
        Ok(plan.data)
    }
}

fn coerce_expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let yes = |expr| Ok(Transformed::yes(expr));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(
                op,
                Operator::Eq
                    | Operator::NotEq
                    | Operator::Lt
                    | Operator::LtEq
                    | Operator::Gt
                    | Operator::GtEq
                    | Operator::IsDistinctFrom
                    | Operator::IsNotDistinctFrom
            ) =>
        {
            let (left, right) =
                cast_for_comparison(&op.to_string(), *left, schema, *right, schema)?;
            yes(binary_expr(left, op, right))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let (a, low) = cast_for_comparison(">=", (*expr).clone(), schema, *low, schema)?;
            let (b, high) = cast_for_comparison("<=", *expr, schema, *high, schema)?;
            let inside =
                binary_expr(a, Operator::GtEq, low).and(binary_expr(b, Operator::LtEq, high));
            yes(if negated {
                Expr::Not(Box::new(inside))
            } else {
                inside
            })
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            let mut pairs = Vec::with_capacity(list.len());
            for item in list {
                pairs.push(cast_for_comparison(
                    "=",
                    (*expr).clone(),
                    schema,
                    item,
                    schema,
                )?);
            }
            if pairs.iter().all(|(left, _)| *left == *expr) {
                let list = pairs.into_iter().map(|(_, item)| item).collect();
                return yes(Expr::InList(InList::new(expr, list, negated)));
            }
            let any = pairs
                .into_iter()
                .map(|(left, item)| left.eq(item))
                .reduce(Expr::or)
                .unwrap_or_else(|| lit(false));
            yes(if negated {
                Expr::Not(Box::new(any))
            } else {
                any
            })
        }
        Expr::InSubquery(mut query) => {
            let inner = query.subquery.subquery.schema();
            if let Some(first) = inner.columns().into_iter().next() {
                let column = Expr::Column(first);
                let left = (*query.expr).clone();
                let (left, right) = cast_for_comparison("IN", left, schema, column.clone(), inner)?;
                if right != column {
                    return Err(external(SqlError::unsupported(
                        "IN with a subquery whose column has another type; cast the column in the subquery",
                    )));
                }
                *query.expr = left;
            }
            yes(Expr::InSubquery(query))
        }
        Expr::Case(case) => case_of(case, schema),
        Expr::ScalarSubquery(subquery) => yes(Expr::ScalarSubquery(
            aggregates::with_single_row_check(subquery)?,
        )),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "coalesce" => {
            let args = cast_to_common_type(args.clone(), schema)?.unwrap_or(args);
            let semi = |arg: &Expr| Ok(type_of(arg, schema)?.filter(|ty| is_semi_structured(*ty)));
            let semi: Result<Vec<Option<DataType>>> = args.iter().map(semi).collect();
            let semi = semi?.into_iter().flatten().next();
            let coalesced = Expr::ScalarFunction(ScalarFunction::new_udf(func, args));
            yes(declared(coalesced, semi))
        }
        Expr::AggregateFunction(function) => {
            refuse_semi_structured(function.func.name(), &function.params.args, schema)?;
            if function.func.name() == "sum" && may_overflow(&function.params.args, schema)? {
                let func = aggregates::wide_sum();
                yes(Expr::AggregateFunction(AggregateFunction {
                    func,
                    ..function
                }))
            } else {
                Ok(Transformed::no(Expr::AggregateFunction(function)))
            }
        }
        Expr::WindowFunction(mut function) => {
            refuse_semi_structured(function.fun.name(), &function.params.args, schema)?;
            if function.fun.name() == "sum" && may_overflow(&function.params.args, schema)? {
                function.fun = WindowFunctionDefinition::AggregateUDF(aggregates::wide_sum());
            }
            // The default of LAG and LEAD may have more digits than the values.
            if let [value, _, default] = function.params.args.as_mut_slice()
                && let Some(both) =
                    cast_to_common_type(vec![value.clone(), default.clone()], schema)?
                && let Ok([wider, wider_default]) = <[Expr; 2]>::try_from(both)
            {
                (*value, *default) = (wider, wider_default);
                return yes(Expr::WindowFunction(function));
            }
            Ok(Transformed::no(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Declares an expression as a type that its Arrow type does not show.
fn declared(expr: Expr, ty: Option<DataType>) -> Expr {
    match ty {
        Some(ty) => {
            // The text is JSON already. `$cast` would turn it into a JSON string.
            let function = Arc::clone(&SCALARS["$declare"]);
            let arguments = vec![expr, lit(ty.to_string())];
            Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
        }
        None => expr,
    }
}

/// Refuses a semi-structured argument of any aggregate or window function but COUNT: DataFusion
/// would not keep the information that the text is JSON.
fn refuse_semi_structured(name: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    for arg in args {
        if name != "count"
            && let Some(ty) = type_of(arg, schema)?
            && is_semi_structured(ty)
        {
            let text = format!(
                "{} of a {ty}; cast the argument to a scalar type, such as VARCHAR",
                name.to_uppercase()
            );
            return Err(external(SqlError::unsupported(text)));
        }
    }
    Ok(())
}

/// Returns whether a sum of these arguments could exceed 128 bits, which DataFusion's SUM would not
/// notice.
fn may_overflow(args: &[Expr], schema: &DFSchema) -> Result<bool> {
    const SAFE: u8 = 28;
    let ty = args
        .first()
        .map(|arg| type_of(arg, schema))
        .transpose()?
        .flatten();
    Ok(matches!(ty, Some(DataType::Number { precision, .. }) if precision > SAFE))
}

fn case_of(case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Case {
        expr,
        when_then_expr,
        else_expr,
    } = case;
    let mut conditions = Vec::new();
    let mut results = Vec::new();
    for (when, then) in when_then_expr {
        let condition = match &expr {
            Some(operand) => {
                let (left, right) =
                    cast_for_comparison("=", (**operand).clone(), schema, *when, schema)?;
                left.eq(right)
            }
            None => *when,
        };
        conditions.push(condition);
        results.push(*then);
    }
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|expr| *expr));
    let mut results = cast_to_common_type(results.clone(), schema)?.unwrap_or(results);
    let mut semi = None;
    for result in &results {
        semi = semi.or(type_of(result, schema)?.filter(|ty| is_semi_structured(*ty)));
    }
    let otherwise = if has_else {
        results.pop().map(Box::new)
    } else {
        None
    };
    let branches = conditions.into_iter().zip(results);
    let branches = branches
        .map(|(when, then)| (Box::new(when), Box::new(then)))
        .collect();
    let case = Expr::Case(Case::new(None, branches, otherwise));
    Ok(Transformed::yes(declared(case, semi)))
}

/// Casts the columns that a plan node combines: the inputs of a union, the keys of a join, and the
/// recursive term of a recursive query.
fn coerce_node(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let width = union
                .inputs
                .first()
                .map_or(0, |input| input.schema().fields().len());
            let mut inputs: Vec<Vec<Expr>> = Vec::new();
            for input in &union.inputs {
                if input.schema().fields().len() != width {
                    return Err(external(translate_error::set_operation_columns()));
                }
                let columns = input.schema().iter().map(Column::from).map(Expr::Column);
                inputs.push(columns.collect());
            }
            let mut changed = false;
            for place in 0..width {
                let mut types = Vec::with_capacity(inputs.len());
                for (input, columns) in union.inputs.iter().zip(&inputs) {
                    let text = constant_text(input, place);
                    types.push((type_of(&columns[place], input.schema())?, text));
                }
                let mut order: Vec<_> = types
                    .iter()
                    .map(|(ty, text)| (*ty, text.as_deref()))
                    .collect();
                order.sort_by_key(|(_, text)| text.is_some());
                let Some(ty) = common_type(&order).map_err(external)? else {
                    continue;
                };
                for ((own, _), columns) in types.iter().zip(&mut inputs) {
                    if *own != Some(ty) {
                        changed = true;
                        let column = columns[place].clone();
                        let name = column.schema_name().to_string();
                        let name = match &column {
                            Expr::Column(column) => column.name.clone(),
                            _ => name,
                        };
                        columns[place] = cast(column, ty).alias(name);
                    }
                }
            }
            if !changed {
                return Ok(LogicalPlan::Union(union));
            }
            let projected = union
                .inputs
                .into_iter()
                .zip(inputs)
                .map(|(input, columns)| {
                    let projection = Projection::try_new(columns, input)?;
                    Ok(Arc::new(LogicalPlan::Projection(projection)))
                });
            let inputs = projected.collect::<Result<Vec<_>>>()?;
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
        }
        LogicalPlan::Join(mut join) => {
            let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
            let mut on = Vec::with_capacity(join.on.len());
            for (a, b) in join.on {
                on.push(cast_for_comparison(
                    "=",
                    a,
                    left.schema(),
                    b,
                    right.schema(),
                )?);
            }
            join.on = on;
            Ok(LogicalPlan::Join(join))
        }
        LogicalPlan::RecursiveQuery(mut query) => {
            // The recursive term gets the types of the first rows.
            let wanted = Arc::clone(query.static_term.schema());
            let term = Arc::clone(&query.recursive_term);
            let mut columns = Vec::new();
            for (place, (qualifier, field)) in term.schema().iter().enumerate() {
                let column = Expr::Column(Column::from((qualifier, field)));
                let ty = DataType::of_field(wanted.field(place));
                columns.push(if DataType::of_field(field) == ty {
                    column
                } else {
                    cast(column, ty).alias(field.name())
                });
            }
            let projection = Projection::try_new(columns, term)?;
            query.recursive_term = Arc::new(LogicalPlan::Projection(projection));
            Ok(LogicalPlan::RecursiveQuery(query))
        }
        other => Ok(other),
    }
}

/// Returns the text of a projection's column if it is a literal.
fn constant_text(plan: &LogicalPlan, place: usize) -> Option<String> {
    match plan {
        LogicalPlan::Projection(projection) => projection
            .expr
            .get(place)
            .and_then(literal)
            .map(str::to_owned),
        _ => None,
    }
}
