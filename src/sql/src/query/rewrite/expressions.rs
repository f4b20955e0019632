//! Expressions. Those that DataFusion reads as Snowflake does stay as they are, others become
//! function calls, and the rest is refused.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, Ident, Interval,
    JsonPath, Subscript, TrimWhereField, TypedString, UnaryOperator, Value,
};

use super::calls::{self, Rewritten};
use super::{Rewriter, constant};
use crate::error::{SqlError, SqlResult, code};
use crate::query::convert;
use crate::query::format::date;
use crate::query::generated_name::GENERATED_PREFIX;
use crate::query::number::Number;
use crate::query::syntax_tree::{any, call, cast, integer, negated, string};
use crate::types::DataType;

impl Rewriter<'_> {
    /// Rewrites the addition or subtraction of an INTERVAL. Called before the operands are visited.
    pub(super) fn pre_expression(&mut self, expr: &mut Expr) -> SqlResult<()> {
        if let Expr::BinaryOp { left, op, right } = expr {
            let sign = match op {
                BinaryOperator::Plus => 1,
                BinaryOperator::Minus => -1,
                _ => return Ok(()),
            };
            let (moment, interval) = match (left.as_mut(), right.as_mut()) {
                (moment, Expr::Interval(interval)) => (moment, interval),
                (Expr::Interval(interval), moment) if sign == 1 => (moment, interval),
                _ => return Ok(()),
            };
            let arguments = vec![moment.clone(), interval_text(interval)?, integer(sign)];
            *expr = call("$interval", arguments);
        }
        Ok(())
    }

    /// Rewrites an expression whose operands have been visited.
    pub(super) fn post_expression(&mut self, expr: &mut Expr) -> SqlResult<()> {
        let taken = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = self.rewritten(taken)?;
        Ok(())
    }

    fn rewritten(&mut self, expr: Expr) -> SqlResult<Expr> {
        Ok(match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) if digits.contains(['e', 'E']) => exponential(digits),
                Value::Number(..)
                | Value::SingleQuotedString(_)
                | Value::Boolean(_)
                | Value::Null => Expr::Value(value),
                Value::Placeholder(name) if name.starts_with('@') => Expr::Value(value),
                Value::Placeholder(name) => self.parameter(name)?,
                Value::HexStringLiteral(hex) => cast(string(hex.clone()), "BINARY"),
                other => return Err(SqlError::unsupported(format_args!("the literal {other}"))),
            },
            Expr::CompoundIdentifier(mut idents) => {
                // DataFusion finds a column by its table's last name, so database and schema are
                // dropped.
                let extra = idents.len().saturating_sub(2);
                idents.drain(..extra);
                Expr::CompoundIdentifier(idents)
            }
            plain @ (Expr::Identifier(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::Nested(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::Tuple(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)) => plain,
            Expr::BinaryOp { left, op, right } => binary(*left, op, *right)?,
            Expr::UnaryOp { op, expr } => match op {
                UnaryOperator::Not => Expr::UnaryOp { op, expr },
                UnaryOperator::Plus => *expr,
                UnaryOperator::Minus if matches!(*expr, Expr::Value(_)) => {
                    Expr::UnaryOp { op, expr }
                }
                UnaryOperator::Minus => call("$negate", vec![*expr]),
                other => return Err(SqlError::unsupported(format_args!("the operator {other}"))),
            },
            Expr::Cast {
                kind,
                expr,
                data_type,
                array,
                format,
            } => {
                if array || format.is_some() {
                    return Err(SqlError::unsupported("CAST … FORMAT"));
                }
                let function = match kind {
                    CastKind::Cast | CastKind::DoubleColon => "$cast",
                    CastKind::TryCast | CastKind::SafeCast => "$try_cast",
                };
                self.cast(function, *expr, &data_type.to_string())?
            }
            Expr::TypedString(TypedString {
                data_type,
                value,
                uses_odbc_syntax: _,
            }) => self.cast("$cast", Expr::Value(value), &data_type.to_string())?,
            Expr::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => like("$like", negated, any, *expr, *pattern, escape_char)?,
            Expr::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => like("$ilike", negated, any, *expr, *pattern, escape_char)?,
            Expr::RLike {
                negated: is_negated,
                expr,
                pattern,
                regexp: _,
            } => negated(call("REGEXP_LIKE", vec![*expr, *pattern]), is_negated),
            Expr::Extract {
                field,
                syntax: _,
                expr,
            } => call("DATE_PART", vec![string(field.to_string()), *expr]),
            Expr::Ceil { expr, field } => rounded("CEIL", *expr, field)?,
            Expr::Floor { expr, field } => rounded("FLOOR", *expr, field)?,
            Expr::Position { expr, r#in } => call("POSITION", vec![*expr, *r#in]),
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                special: _,
                shorthand: _,
            } => {
                let start = substring_from.map_or_else(|| integer(1), |start| *start);
                let mut arguments = vec![*expr, start];
                arguments.extend(substring_for.map(|length| *length));
                call("SUBSTR", arguments)
            }
            Expr::Trim {
                expr,
                trim_where,
                trim_what,
                trim_characters,
            } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                    Some(TrimWhereField::Both) | None => "TRIM",
                };
                let mut arguments = vec![*expr];
                arguments.extend(trim_what.map(|what| *what));
                arguments.extend(trim_characters.unwrap_or_default());
                call(name, arguments)
            }
            Expr::Function(function) => self.function(function)?,
            Expr::JsonAccess { value, path } => json_path(*value, &path)?,
            Expr::CompoundFieldAccess { root, access_chain } => {
                let step = |root: Expr, access: AccessExpr| match access {
                    AccessExpr::Subscript(Subscript::Index { index }) => {
                        Ok(call("GET", vec![root, index]))
                    }
                    AccessExpr::Dot(Expr::Identifier(key)) => {
                        Ok(call("GET", vec![root, string(key.value)]))
                    }
                    other => Err(SqlError::unsupported(format_args!("the access {other}"))),
                };
                access_chain.into_iter().try_fold(*root, step)?
            }
            // The argument of AT or BEFORE on a table.
            Expr::Named { expr, name } if name.value.starts_with(GENERATED_PREFIX) => {
                Expr::Named { expr, name }
            }
            Expr::Array(array) => call("ARRAY_CONSTRUCT", array.elem),
            Expr::Dictionary(fields) => {
                let pairs = fields
                    .into_iter()
                    .flat_map(|field| [string(field.key.value), *field.value]);
                call("OBJECT_CONSTRUCT", pairs.collect())
            }
            other => return Err(SqlError::unsupported(other)),
        })
    }

    fn cast(&self, function: &str, expr: Expr, ty: &str) -> SqlResult<Expr> {
        let text = match &expr {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        };
        // The offset of a TIMESTAMP_TZ must be part of the literal. A literal without one has the
        // session's offset, which is added here.
        if let (Some(DataType::TimestampTz { .. }), Some(text)) = (DataType::parse(ty), text)
            && date::detect(text).is_some_and(|parts| parts.offset.is_none())
        {
            let time_zone = self.parameters.zone;
            let value = convert::convert(
                convert_text(text),
                DataType::TimestampTz { scale: 9 },
                time_zone,
            )?;
            let parts = convert::parts(&value, time_zone)?;
            let full = date::DateFormat::new("YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM")?.format(parts);
            return Ok(call(function, vec![string(full), string(ty)]));
        }
        Ok(call(function, vec![expr, string(ty)]))
    }

    /// Replaces `:name`, `?` and `$name` by the variable's value, and `$1` by the column of that
    /// number.
    fn parameter(&mut self, name: &str) -> SqlResult<Expr> {
        let key = name.trim_start_matches('$');
        if name.starts_with('$') && !key.is_empty() && key.bytes().all(|c| c.is_ascii_digit()) {
            // `$1` is the first column of the table that is read.
            return Ok(Expr::Identifier(Ident::with_quote('"', name)));
        }
        let (value, ty) = self.value_of(name)?;
        constant(value, *ty)
    }

    /// Returns the value of a bind variable or a session variable.
    pub(super) fn value_of(&mut self, name: &str) -> SqlResult<&(ScalarValue, DataType)> {
        let parameters = self.parameters;
        let key = name[1..].to_uppercase();
        let (found, missing) = match name.chars().next() {
            Some('$') => (
                parameters.variables.get(&key),
                SqlError::compilation(
                    code::SESSION_VARIABLE_NOT_FOUND,
                    format_args!("Session variable '${key}' does not exist"),
                ),
            ),
            first => {
                let key = match first {
                    Some('?') => {
                        self.positions += 1;
                        self.positions.to_string()
                    }
                    _ => key,
                };
                let text = format!("Bind variable {name} not set.");
                let missing = SqlError::compilation(code::BIND_NOT_SET, text);
                (parameters.bindings.get(&key), missing)
            }
        };
        found.ok_or(missing)
    }

    fn function(&mut self, function: sqlparser::ast::Function) -> SqlResult<Expr> {
        let part = function.name.0.first().and_then(|part| part.as_ident());
        // The rewriter's own calls have no place in the text (line 0) and are not rewritten again.
        if part.is_some_and(|ident| ident.span.start.line == 0) {
            return Ok(Expr::Function(function));
        }
        match calls::rewrite(function, self.parameters.now)? {
            Rewritten::Expr(expr) => Ok(expr),
            Rewritten::Unknown(call) => Ok(self.defer_to_session(call.name, call.arguments)),
        }
    }
}

/// Converts a number with an exponent, to which DataFusion would give a negative scale.
fn exponential(digits: &str) -> Expr {
    match Number::parse(digits) {
        Some(number) => Expr::value(Value::Number(number.to_string(), false)),
        None => cast(string(digits), "FLOAT"),
    }
}

fn convert_text(text: &str) -> crate::query::value::Value<'_> {
    crate::query::value::Value::Text(text.into())
}

pub fn unknown(name: &str) -> SqlError {
    SqlError::compilation(
        code::UNKNOWN_FUNCTION,
        format_args!("Unknown function {name}."),
    )
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> SqlResult<Expr> {
    Ok(match op {
        BinaryOperator::Plus
        | BinaryOperator::Minus
        | BinaryOperator::Multiply
        | BinaryOperator::Divide
        | BinaryOperator::Modulo => call(&op.to_string(), vec![left, right]),
        BinaryOperator::StringConcat => call("||", vec![left, right]),
        BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::Lt
        | BinaryOperator::LtEq
        | BinaryOperator::Gt
        | BinaryOperator::GtEq
        | BinaryOperator::And
        | BinaryOperator::Or => Expr::BinaryOp {
            left: Box::new(left),
            op,
            right: Box::new(right),
        },
        // The tokens that `parse` puts in place of IS [NOT] DISTINCT FROM.
        BinaryOperator::Spaceship => Expr::IsNotDistinctFrom(Box::new(left), Box::new(right)),
        BinaryOperator::PGLikeMatch => Expr::IsDistinctFrom(Box::new(left), Box::new(right)),
        other => return Err(SqlError::unsupported(format_args!("the operator {other}"))),
    })
}

/// Rewrites `x LIKE p` and `x LIKE ANY (p, q)`.
fn like(
    function: &str,
    is_negated: bool,
    is_any: bool,
    expr: Expr,
    pattern: Expr,
    escape: Option<Value>,
) -> SqlResult<Expr> {
    let escape = match escape {
        None => String::new(),
        Some(Value::SingleQuotedString(text)) if text.chars().count() <= 1 => text,
        Some(other) => return Err(SqlError::unsupported(format_args!("ESCAPE {other}"))),
    };
    let one = |pattern: Expr| {
        call(
            function,
            vec![expr.clone(), pattern, string(escape.clone())],
        )
    };
    let patterns = match (is_any, pattern) {
        (true, Expr::Tuple(patterns)) => patterns,
        (true, Expr::Nested(pattern)) => vec![*pattern],
        (true, other) => return Err(SqlError::unsupported(format_args!("LIKE ANY {other}"))),
        (false, pattern) => vec![pattern],
    };
    let matched = any(patterns.into_iter().map(one).collect());
    Ok(negated(matched, is_negated))
}

fn rounded(name: &str, expr: Expr, field: CeilFloorKind) -> SqlResult<Expr> {
    let mut arguments = vec![expr];
    match field {
        CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => {}
        CeilFloorKind::Scale(scale) => arguments.push(Expr::value(scale)),
        CeilFloorKind::DateTimeField(_) => {
            return Err(SqlError::unsupported(format_args!("{name} to a date part")));
        }
    }
    Ok(call(name, arguments))
}

fn json_path(value: Expr, path: &JsonPath) -> SqlResult<Expr> {
    let text = path.to_string();
    let text = text.strip_prefix(':').unwrap_or(&text);
    // Reports an invalid path when the query is planned.
    crate::query::json::path(text)?;
    Ok(call("GET_PATH", vec![value, string(text)]))
}

fn interval_text(interval: &Interval) -> SqlResult<Expr> {
    let Interval {
        value,
        leading_field,
        leading_precision,
        last_field,
        fractional_seconds_precision,
    } = interval;
    let text = match value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    };
    let plain = leading_precision.is_none()
        && last_field.is_none()
        && fractional_seconds_precision.is_none();
    match (text, leading_field, plain) {
        (Some(text), None, true) => Ok(string(text)),
        (Some(text), Some(field), true) => Ok(string(format!("{text} {field}"))),
        _ => Err(SqlError::unsupported(interval)),
    }
}
