//! Constants in the form in which `postgres_fdw` writes them.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use sqlparser::ast::{self, UnaryOperator, Value};

use super::{TypedExpr, unnested};
use crate::columns::ColumnKind;
use crate::{datetime, values};

pub(super) fn number_or_boolean(value: &Value) -> Option<TypedExpr> {
    match value {
        Value::Boolean(value) => Some(TypedExpr {
            expr: lit(*value),
            kind: ColumnKind::Boolean,
        }),
        Value::Number(text, _) => number(text),
        _ => None,
    }
}

fn number(text: &str) -> Option<TypedExpr> {
    if let Ok(value) = text.parse::<i32>() {
        return Some(TypedExpr {
            expr: lit(value),
            kind: ColumnKind::Int,
        });
    }
    numeric(text)
}

fn numeric(text: &str) -> Option<TypedExpr> {
    let digits = text.trim_start_matches('-');
    let scale = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len()) as u32;
    let precision = (digits.len() as u32).clamp(scale + 1, 38);
    let value = values::decimal(text.as_bytes(), precision, scale).ok()?;
    let value = ScalarValue::Decimal128(Some(value), precision as u8, scale as i8);
    Some(TypedExpr {
        expr: lit(value),
        kind: ColumnKind::Decimal(precision, scale),
    })
}

pub(super) fn negative(typed: &TypedExpr) -> Option<TypedExpr> {
    let value = match &typed.expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => ScalarValue::Int32(Some(-value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => ScalarValue::Int64(Some(-value)),
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), _) => {
            ScalarValue::Decimal128(Some(-value), *precision, *scale)
        }
        _ => return None,
    };
    Some(TypedExpr {
        expr: lit(value),
        kind: typed.kind.clone(),
    })
}

/// Returns the text of a constant: `'…'`, or a number that may have a sign.
fn constant_text(expr: &ast::Expr) -> Option<String> {
    match unnested(expr) {
        ast::Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::EscapedStringLiteral(text) => Some(text.clone()),
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        ast::Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(format!("-{}", constant_text(expr)?)),
        _ => None,
    }
}

/// Returns the text of a string constant without a type.
pub(super) fn untyped(expr: &ast::Expr) -> Option<&str> {
    match unnested(expr) {
        ast::Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Translates `'…'::type`.
pub(super) fn literal(expr: &ast::Expr, type_name: &str) -> Option<TypedExpr> {
    let text = constant_text(expr)?;
    let kind = match type_name.to_ascii_lowercase().as_str() {
        "smallint" | "integer" | "int" => ColumnKind::Int,
        "bigint" => ColumnKind::Long,
        name if name == "numeric" || name.starts_with("numeric(") => return numeric(&text),
        "text" | "character varying" => ColumnKind::Text,
        "boolean" => ColumnKind::Boolean,
        "date" => ColumnKind::Date,
        "timestamp without time zone" => ColumnKind::Timestamp,
        "timestamp with time zone" => ColumnKind::TimestampTz,
        "time without time zone" => ColumnKind::Time,
        "uuid" => ColumnKind::Uuid,
        _ => return None,
    };
    constant(&kind, &text)
}

/// Parses a text as a constant of a kind.
pub(super) fn constant(kind: &ColumnKind, text: &str) -> Option<TypedExpr> {
    let bytes = text.as_bytes();
    let value = match kind {
        ColumnKind::Int => ScalarValue::Int32(Some(values::integer(bytes).ok()?.try_into().ok()?)),
        ColumnKind::Long => ScalarValue::Int64(Some(values::integer(bytes).ok()?)),
        ColumnKind::Decimal(..) => return numeric(text),
        ColumnKind::Text => ScalarValue::Utf8(Some(text.to_owned())),
        ColumnKind::Boolean => ScalarValue::Boolean(Some(matches!(text, "t" | "true"))),
        ColumnKind::Date => ScalarValue::Date32(Some(datetime::date(bytes).ok()?)),
        ColumnKind::Timestamp => {
            ScalarValue::TimestampMicrosecond(Some(datetime::timestamp(bytes, false).ok()?), None)
        }
        ColumnKind::TimestampTz => ScalarValue::TimestampMicrosecond(
            Some(datetime::timestamp(bytes, true).ok()?),
            Some("+00:00".into()),
        ),
        ColumnKind::Time => ScalarValue::Time64Microsecond(Some(datetime::time(bytes).ok()?)),
        ColumnKind::Uuid => {
            ScalarValue::FixedSizeBinary(16, Some(values::uuid(bytes).ok()?.as_bytes().to_vec()))
        }
        _ => return None,
    };
    Some(TypedExpr {
        expr: lit(value),
        kind: kind.clone(),
    })
}

/// Translates the elements of `'{…}'::type[]`, which must not contain NULL.
pub(super) fn array_literal(expr: &ast::Expr) -> Option<(Vec<Expr>, ColumnKind)> {
    let ast::Expr::Cast {
        expr, data_type, ..
    } = unnested(expr)
    else {
        return None;
    };
    let element_type = data_type.to_string();
    let element_type = element_type.strip_suffix("[]")?;
    let mut kind = None;
    let mut elements = Vec::new();
    for element in values::array(constant_text(expr)?.as_bytes()).ok()? {
        let text = String::from_utf8(element?).ok()?;
        let quoted = ast::Expr::Value(Value::SingleQuotedString(text).into());
        let typed = literal(&quoted, element_type)?;
        kind = Some(typed.kind);
        elements.push(typed.expr);
    }
    Some((elements, kind?))
}
