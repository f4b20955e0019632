//! Types of operands: where two differ, one is cast as Snowflake casts it, before DataFusion would by its own rules (which turn
//! a number that is compared with a text into a text).

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Between, Case, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Union,
    WindowFunctionDefinition, binary_expr, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::aggregates;
use super::functions::{FUNCTIONS, external};
use super::number::{MAX_PRECISION, Number};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::types::DataType;

/// The type of an expression; None for a NULL without one.
fn type_of(expr: &Expr, schema: &DFSchema) -> Result<Option<DataType>> {
    if let Some(precision) = whole_number(expr) {
        return Ok(Some(DataType::Number {
            precision,
            scale: 0,
        }));
    }
    let (_, field) = expr.to_field(schema)?;
    Ok(match field.data_type() {
        arrow::datatypes::DataType::Null => None,
        _ => Some(DataType::of_field(&field)),
    })
}

/// The digits of a literal that is a whole number.
fn whole_number(expr: &Expr) -> Option<u8> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => {
            Some(Number::integer((*value).into()).precision())
        }
        _ => None,
    }
}

/// The text of a literal.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str()?,
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

fn cast(expr: Expr, ty: DataType) -> Expr {
    let function = Arc::clone(&FUNCTIONS["$cast"]);
    let arguments = vec![expr, lit(ty.to_string())];
    Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
}

/// The number type that a text is read as: a literal's own, otherwise one with room on both sides of the point.
fn number_of_text(expr: &Expr) -> SqlResult<DataType> {
    match literal(expr) {
        Some(text) => {
            let number = Number::parse(text).ok_or_else(|| super::convert::not_numeric(text))?;
            Ok(DataType::Number {
                precision: number.precision(),
                scale: number.scale,
            })
        }
        None => Ok(DataType::Number {
            precision: MAX_PRECISION,
            scale: 12,
        }),
    }
}

fn is_timestamp(ty: DataType) -> bool {
    matches!(
        ty,
        DataType::TimestampNtz { .. }
            | DataType::TimestampLtz { .. }
            | DataType::TimestampTz { .. }
    )
}

fn is_semi(ty: DataType) -> bool {
    matches!(ty, DataType::Variant | DataType::Object | DataType::Array)
}

/// Both sides of a comparison, with a cast where their types cannot be compared as they are.
pub fn compared(
    op: &str,
    left: Expr,
    left_schema: &DFSchema,
    right: Expr,
    right_schema: &DFSchema,
) -> Result<(Expr, Expr)> {
    let (Some(a), Some(b)) = (type_of(&left, left_schema)?, type_of(&right, right_schema)?) else {
        return Ok((left, right));
    };
    match (towards(a, &left, b), towards(b, &right, a)) {
        (Toward::Same, _) | (_, Toward::Same) => Ok((left, right)),
        (Toward::Cast(ty), _) => Ok((cast(left, ty.map_err(external)?), right)),
        (_, Toward::Cast(ty)) => Ok((left, cast(right, ty.map_err(external)?))),
        (Toward::None, Toward::None) => {
            let text = format!(
                "error line 0 at position -1\nInvalid argument types for function '{op}': ({a}, {b})"
            );
            Err(external(SqlError::compilation(1044, "42P13", text)))
        }
    }
}

enum Toward {
    /// The two can be compared.
    Same,
    /// This one becomes a value of that type.
    Cast(SqlResult<DataType>),
    None,
}

/// What a side of type `own` becomes beside one of type `other`.
fn towards(own: DataType, expr: &Expr, other: DataType) -> Toward {
    use DataType as T;
    match (own, other) {
        (T::Number { .. } | T::Float, T::Number { .. } | T::Float) => Toward::Same,
        (T::Text { .. } | T::Uuid, T::Text { .. } | T::Uuid) => Toward::Same,
        (T::Binary { .. }, T::Binary { .. }) | (T::Time { .. }, T::Time { .. }) => Toward::Same,
        (T::TimestampNtz { .. }, T::TimestampNtz { .. }) => Toward::Same,
        _ if own == other => Toward::Same,
        (T::Text { .. } | T::Variant, T::Number { .. }) => Toward::Cast(number_of_text(expr)),
        (T::Variant, _) if is_semi(other) => Toward::Same,
        (T::Variant | T::Text { .. }, T::TimestampNtz { .. } | T::TimestampLtz { .. }) => {
            Toward::Cast(Ok(other))
        }
        (T::Variant | T::Text { .. }, T::TimestampTz { scale }) => {
            Toward::Cast(Ok(T::TimestampLtz { scale }))
        }
        (T::Variant, _) => Toward::Cast(Ok(other)),
        (T::Text { .. }, T::Float | T::Boolean | T::Date | T::Time { .. } | T::Binary { .. }) => {
            Toward::Cast(Ok(other))
        }
        (T::Number { .. } | T::Float, T::Boolean) => Toward::Cast(Ok(T::Boolean)),
        // A date is its midnight; a clock without a zone is the session's.
        (T::Date, other) if is_timestamp(other) => Toward::Cast(Ok(match other {
            T::TimestampTz { scale } => T::TimestampLtz { scale },
            other => other,
        })),
        (T::TimestampNtz { scale }, T::TimestampLtz { .. } | T::TimestampTz { .. }) => {
            Toward::Cast(Ok(T::TimestampLtz { scale }))
        }
        (
            T::TimestampLtz { .. } | T::TimestampTz { .. },
            T::TimestampLtz { .. } | T::TimestampTz { .. },
        ) => Toward::Same,
        _ => Toward::None,
    }
}

/// The type of a CASE, a COALESCE or a union of these.
fn common(types: &[(Option<DataType>, Option<&str>)]) -> SqlResult<Option<DataType>> {
    let mut found: Option<DataType> = None;
    for (ty, text) in types {
        let Some(ty) = ty else { continue };
        found = Some(match found {
            None => *ty,
            Some(found) => wider(found, *ty, *text)?,
        });
    }
    // A literal that came before the first number has been taken for text.
    Ok(found)
}

fn wider(a: DataType, b: DataType, b_text: Option<&str>) -> SqlResult<DataType> {
    use DataType as T;
    let bad = || {
        SqlError::unsupported(format_args!(
            "the implicit conversion between {a} and {b}; cast one to the other's type"
        ))
    };
    Ok(match (a, b) {
        _ if a == b => a,
        (
            T::Number {
                precision: p1,
                scale: s1,
            },
            T::Number {
                precision: p2,
                scale: s2,
            },
        ) => {
            let scale = s1.max(s2);
            let leading = (p1 - s1).max(p2 - s2);
            T::Number {
                precision: (leading + scale).min(MAX_PRECISION),
                scale,
            }
        }
        (T::Number { .. }, T::Float) | (T::Float, T::Number { .. }) => T::Float,
        (T::Text { length: l1 }, T::Text { length: l2 }) => T::Text { length: l1.max(l2) },
        (T::Uuid, text @ T::Text { .. }) | (text @ T::Text { .. }, T::Uuid) => text,
        (T::Binary { length: l1 }, T::Binary { length: l2 }) => T::Binary { length: l1.max(l2) },
        (T::Time { scale: s1 }, T::Time { scale: s2 }) => T::Time { scale: s1.max(s2) },
        (T::TimestampNtz { scale: s1 }, T::TimestampNtz { scale: s2 }) => {
            T::TimestampNtz { scale: s1.max(s2) }
        }
        (
            T::TimestampLtz { scale: s1 },
            T::TimestampNtz { scale: s2 } | T::TimestampLtz { scale: s2 },
        )
        | (T::TimestampNtz { scale: s1 }, T::TimestampLtz { scale: s2 }) => {
            T::TimestampLtz { scale: s1.max(s2) }
        }
        (T::Date, T::TimestampNtz { .. } | T::TimestampLtz { .. }) => b,
        (T::TimestampNtz { .. } | T::TimestampLtz { .. }, T::Date) => a,
        (T::Variant, _) | (_, T::Variant) => T::Variant,
        // A literal is a constant of the other type, if it can be.
        (T::Number { .. }, T::Text { .. }) => match b_text.map(Number::parse) {
            Some(Some(number)) => {
                let own = T::Number {
                    precision: number.precision(),
                    scale: number.scale,
                };
                wider(a, own, None)?
            }
            Some(None) => return Err(super::convert::not_numeric(b_text.unwrap_or_default())),
            None => return Err(bad()),
        },
        (
            T::Float | T::Date | T::Boolean | T::TimestampNtz { .. } | T::TimestampLtz { .. },
            T::Text { .. },
        ) if b_text.is_some() => a,
        _ => return Err(bad()),
    })
}

/// These expressions with the casts that give them one type.
fn unified(mut exprs: Vec<Expr>, schema: &DFSchema) -> Result<Option<Vec<Expr>>> {
    let mut types = Vec::with_capacity(exprs.len());
    for expr in &exprs {
        types.push((type_of(expr, schema)?, literal(expr)));
    }
    // Literals last, so that they become what the others are.
    let mut order: Vec<_> = types.clone();
    order.sort_by_key(|(_, text)| text.is_some());
    let Some(ty) = common(&order).map_err(external)? else {
        return Ok(None);
    };
    let is_so =
        |expr: &Expr, own: Option<DataType>| own == Some(ty) && whole_number(expr).is_none();
    if exprs
        .iter()
        .zip(&types)
        .all(|(expr, (own, _))| is_so(expr, *own))
    {
        return Ok(None);
    }
    let owns: Vec<Option<DataType>> = types.into_iter().map(|(own, _)| own).collect();
    for (expr, own) in exprs.iter_mut().zip(owns) {
        if !is_so(expr, own) {
            let taken = std::mem::replace(expr, Expr::Literal(ScalarValue::Null, None));
            *expr = cast(taken, ty);
        }
    }
    Ok(Some(exprs))
}

/// The analyzer's rule.
#[derive(Debug)]
pub struct SnowflakeTypes;

impl AnalyzerRule for SnowflakeTypes {
    fn name(&self) -> &str {
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
                let rewritten = expr.transform_up(|expr| expression(expr, &schema))?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            plan.map_data(|plan| node(plan)?.recompute_schema())
        })?;
        Ok(plan.data)
    }
}

fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
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
            let (left, right) = compared(&op.to_string(), *left, schema, *right, schema)?;
            yes(binary_expr(left, op, right))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let (a, low) = compared(">=", (*expr).clone(), schema, *low, schema)?;
            let (b, high) = compared("<=", *expr, schema, *high, schema)?;
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
                pairs.push(compared("=", (*expr).clone(), schema, item, schema)?);
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
        Expr::Case(case) => case_of(case, schema),
        Expr::ScalarSubquery(subquery) => yes(Expr::ScalarSubquery(aggregates::checked(subquery)?)),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "coalesce" => {
            let args = unified(args.clone(), schema)?.unwrap_or(args);
            let semi = |arg: &Expr| Ok(type_of(arg, schema)?.filter(|ty| is_semi(*ty)));
            let semi: Result<Vec<Option<DataType>>> = args.iter().map(semi).collect();
            let semi = semi?.into_iter().flatten().next();
            let coalesced = Expr::ScalarFunction(ScalarFunction::new_udf(func, args));
            yes(declared(coalesced, semi))
        }
        Expr::AggregateFunction(function) => {
            refuse_semi(function.func.name(), &function.params.args, schema)?;
            match function.func.name() == "sum" && is_wide(&function.params.args, schema)? {
                true => {
                    let func = aggregates::wide_sum();
                    yes(Expr::AggregateFunction(AggregateFunction {
                        func,
                        ..function
                    }))
                }
                false => Ok(Transformed::no(Expr::AggregateFunction(function))),
            }
        }
        Expr::WindowFunction(mut function) => {
            refuse_semi(function.fun.name(), &function.params.args, schema)?;
            if function.fun.name() == "sum" && is_wide(&function.params.args, schema)? {
                function.fun = WindowFunctionDefinition::AggregateUDF(aggregates::wide_sum());
            }
            // The default of LAG and LEAD.
            if function.params.args.len() == 3
                && let Some(ty) = type_of(&function.params.args[0], schema)?
                && type_of(&function.params.args[2], schema)? != Some(ty)
                && !matches!(&function.params.args[2], Expr::Literal(value, _) if value.is_null())
            {
                let default = function.params.args.remove(2);
                function.params.args.push(cast(default, ty));
            }
            Ok(Transformed::no(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A cast to a type that Arrow's types do not show.
fn declared(expr: Expr, ty: Option<DataType>) -> Expr {
    match ty {
        Some(ty) => {
            // The text is JSON already: to be declared, not to be turned into a JSON string.
            let function = Arc::clone(&FUNCTIONS["$declare"]);
            let arguments = vec![expr, lit(ty.to_string())];
            Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
        }
        None => expr,
    }
}

/// DataFusion's aggregates and window functions would forget that a text is JSON.
fn refuse_semi(name: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    for arg in args {
        if name != "count"
            && let Some(ty) = type_of(arg, schema)?
            && is_semi(ty)
        {
            let text = format!("{} of a {ty}; cast it first", name.to_uppercase());
            return Err(external(SqlError::unsupported(text)));
        }
    }
    Ok(())
}

/// Whether a sum of these could pass 128 bits, which DataFusion's would not notice.
fn is_wide(args: &[Expr], schema: &DFSchema) -> Result<bool> {
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
                let (left, right) = compared("=", (**operand).clone(), schema, *when, schema)?;
                left.eq(right)
            }
            None => *when,
        };
        conditions.push(condition);
        results.push(*then);
    }
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|expr| *expr));
    let mut results = unified(results.clone(), schema)?.unwrap_or(results);
    let mut semi = None;
    for result in &results {
        semi = semi.or(type_of(result, schema)?.filter(|ty| is_semi(*ty)));
    }
    let otherwise = match has_else {
        true => results.pop().map(Box::new),
        false => None,
    };
    let branches = conditions.into_iter().zip(results);
    let branches = branches
        .map(|(when, then)| (Box::new(when), Box::new(then)))
        .collect();
    let case = Expr::Case(Case::new(None, branches, otherwise));
    Ok(Transformed::yes(declared(case, semi)))
}

/// What a node needs besides its expressions.
fn node(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let width = union
                .inputs
                .first()
                .map_or(0, |input| input.schema().fields().len());
            let mut inputs: Vec<Vec<Expr>> = Vec::new();
            for input in &union.inputs {
                if input.schema().fields().len() != width {
                    let text = "invalid number of result columns for set operator input branches, \
                                expected the same in all";
                    return Err(external(SqlError::compilation(1789, "42601", text)));
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
                let Some(ty) = common(&order).map_err(external)? else {
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
                on.push(compared("=", a, left.schema(), b, right.schema())?);
            }
            join.on = on;
            Ok(LogicalPlan::Join(join))
        }
        LogicalPlan::RecursiveQuery(mut query) => {
            // The recursion's rows become what the first ones are.
            let wanted = Arc::clone(query.static_term.schema());
            let term = Arc::clone(&query.recursive_term);
            let mut columns = Vec::new();
            for (place, (qualifier, field)) in term.schema().iter().enumerate() {
                let column = Expr::Column(Column::from((qualifier, field)));
                let ty = DataType::of_field(wanted.field(place));
                columns.push(match DataType::of_field(field) == ty {
                    true => column,
                    false => cast(column, ty).alias(field.name()),
                });
            }
            let projection = Projection::try_new(columns, term)?;
            query.recursive_term = Arc::new(LogicalPlan::Projection(projection));
            Ok(LogicalPlan::RecursiveQuery(query))
        }
        other => Ok(other),
    }
}

/// The text of a column that is a literal in a projection.
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
