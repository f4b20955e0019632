//! One type for two or more operands. Where the types differ, an operand is cast as Snowflake casts
//! it, before DataFusion applies its own rules (which turn a number that is compared with a text
//! into a text).

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};

use super::functions::{SCALARS, external};
use super::number::{MAX_PRECISION, Number};
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// Returns the type of an expression; None for a NULL without a type.
pub fn type_of(expr: &Expr, schema: &DFSchema) -> Result<Option<DataType>> {
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

/// Returns the number of digits of a literal that is a whole number.
fn whole_number(expr: &Expr) -> Option<u8> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => {
            Some(Number::integer((*value).into()).precision())
        }
        _ => None,
    }
}

/// Returns the text of a literal.
pub fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str()?,
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

pub fn cast(expr: Expr, ty: DataType) -> Expr {
    let function = Arc::clone(&SCALARS["$cast"]);
    let arguments = vec![expr, lit(ty.to_string())];
    Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
}

/// Returns the number type as which a text is read: a literal's own, otherwise one with room on
/// both sides of the point.
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

pub fn is_semi_structured(ty: DataType) -> bool {
    matches!(ty, DataType::Variant | DataType::Object | DataType::Array)
}

/// Returns both sides of a comparison, one of them cast if their types cannot be compared.
pub fn cast_for_comparison(
    op: &str,
    left: Expr,
    left_schema: &DFSchema,
    right: Expr,
    right_schema: &DFSchema,
) -> Result<(Expr, Expr)> {
    let (Some(a), Some(b)) = (type_of(&left, left_schema)?, type_of(&right, right_schema)?) else {
        return Ok((left, right));
    };
    match (implicit_cast(a, &left, b), implicit_cast(b, &right, a)) {
        (ImplicitCast::Same, _) | (_, ImplicitCast::Same) => Ok((left, right)),
        (ImplicitCast::Cast(ty), _) => Ok((cast(left, ty.map_err(external)?), right)),
        (_, ImplicitCast::Cast(ty)) => Ok((left, cast(right, ty.map_err(external)?))),
        (ImplicitCast::None, ImplicitCast::None) => {
            let text = format!(
                "error line 0 at position -1\nInvalid argument types for function '{op}': ({a}, {b})"
            );
            Err(external(SqlError::compilation(
                code::INVALID_ARGUMENT_TYPES,
                text,
            )))
        }
    }
}

enum ImplicitCast {
    /// The two types can be compared.
    Same,
    /// The operand is cast to that type.
    Cast(SqlResult<DataType>),
    None,
}

/// Returns what an operand of type `own` is cast to beside one of type `other`.
fn implicit_cast(own: DataType, expr: &Expr, other: DataType) -> ImplicitCast {
    use DataType as T;
    match (own, other) {
        (T::Number { .. } | T::Float, T::Number { .. } | T::Float) => ImplicitCast::Same,
        (T::Text { .. }, T::Text { .. }) | (T::Uuid, T::Uuid) => ImplicitCast::Same,
        // UUIDs in data files are 16 bytes.
        (T::Uuid, T::Text { .. }) => ImplicitCast::Cast(Ok(T::TEXT)),
        (T::Binary { .. }, T::Binary { .. }) | (T::Time { .. }, T::Time { .. }) => {
            ImplicitCast::Same
        }
        (T::TimestampNtz { .. }, T::TimestampNtz { .. }) => ImplicitCast::Same,
        _ if own == other => ImplicitCast::Same,
        (T::Text { .. } | T::Variant, T::Number { .. }) => ImplicitCast::Cast(number_of_text(expr)),
        (T::Variant, _) if is_semi_structured(other) => ImplicitCast::Same,
        (T::Variant | T::Text { .. }, T::TimestampNtz { .. } | T::TimestampLtz { .. }) => {
            ImplicitCast::Cast(Ok(other))
        }
        (T::Variant | T::Text { .. }, T::TimestampTz { scale }) => {
            ImplicitCast::Cast(Ok(T::TimestampLtz { scale }))
        }
        (T::Variant, _) => ImplicitCast::Cast(Ok(other)),
        (T::Text { .. }, T::Float | T::Boolean | T::Date | T::Time { .. } | T::Binary { .. }) => {
            ImplicitCast::Cast(Ok(other))
        }
        (T::Number { .. } | T::Float, T::Boolean) => ImplicitCast::Cast(Ok(T::Boolean)),
        // A date is compared as its midnight, and a TIMESTAMP_NTZ in the session's time zone.
        (T::Date, other) if is_timestamp(other) => ImplicitCast::Cast(Ok(match other {
            T::TimestampTz { scale } => T::TimestampLtz { scale },
            other => other,
        })),
        (T::TimestampNtz { scale }, T::TimestampLtz { .. } | T::TimestampTz { .. }) => {
            ImplicitCast::Cast(Ok(T::TimestampLtz { scale }))
        }
        (
            T::TimestampLtz { .. } | T::TimestampTz { .. },
            T::TimestampLtz { .. } | T::TimestampTz { .. },
        ) => ImplicitCast::Same,
        _ => ImplicitCast::None,
    }
}

/// Returns the type of a CASE, a COALESCE or a union of operands of these types. A literal has its
/// text beside its type. None if no operand has a type.
pub fn common_type(types: &[(Option<DataType>, Option<&str>)]) -> SqlResult<Option<DataType>> {
    let mut found: Option<DataType> = None;
    for (ty, text) in types {
        let Some(ty) = ty else { continue };
        found = Some(match found {
            None => *ty,
            Some(found) => wider(found, *ty, *text)?,
        });
    }
    // Callers put literals last: a literal before the first number would count as text.
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
        // A literal becomes a constant of the other type if it can be read as one.
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

/// Casts expressions to one common type. None if there is nothing to cast.
pub fn cast_to_common_type(mut exprs: Vec<Expr>, schema: &DFSchema) -> Result<Option<Vec<Expr>>> {
    let mut types = Vec::with_capacity(exprs.len());
    for expr in &exprs {
        types.push((type_of(expr, schema)?, literal(expr)));
    }
    // Literals come last, so that they take the type of the others.
    let mut order: Vec<_> = types.clone();
    order.sort_by_key(|(_, text)| text.is_some());
    let Some(ty) = common_type(&order).map_err(external)? else {
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
