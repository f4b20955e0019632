//! Functions of numbers.

use datafusion::sql::sqlparser::ast::{Expr, Value as Literal};

use super::{Function, Kind, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult, code};
use crate::query::convert;
use crate::query::number::{MAX_PRECISION, Number, Precision};
use crate::query::syntax_tree::call;
use crate::query::value::Value;
use crate::types::DataType;

pub const FUNCTIONS: &[Function] = &[
    Function::scalar("ABS", (1, 1), argument_type, |call, values| {
        on_number(
            call,
            values,
            |n| {
                Ok(Number {
                    digits: n.digits.abs(),
                    ..n
                })
            },
            f64::abs,
        )
    }),
    Function::scalar("CEIL", (1, 2), rounded_type, |call, values| {
        round(call, values, Rounding::Up)
    })
    .with_synonyms(&["CEILING"]),
    Function::scalar("FLOOR", (1, 2), rounded_type, |call, values| {
        round(call, values, Rounding::Down)
    }),
    Function::scalar("ROUND", (1, 2), rounded_type, |call, values| {
        round(call, values, Rounding::Half)
    }),
    Function::scalar("TRUNCATE", (1, 2), rounded_type, |call, values| {
        round(call, values, Rounding::Zero)
    }),
    Function::new("TRUNC", (1, 2), Kind::Expression(truncate)).with_date_part(1),
    Function::scalar(
        "SIGN",
        (1, 1),
        |_| {
            Ok(DataType::Number {
                precision: 1,
                scale: 0,
            })
        },
        |_, values| {
            let float = convert::float(&values[0])?;
            Ok(Value::integer(
                i128::from(float > 0.0) - i128::from(float < 0.0),
            ))
        },
    ),
    float("SQRT"),
    float("EXP"),
    float("LN"),
    float("SQUARE"),
    float("CBRT"),
    float("SIN"),
    float("COS"),
    float("TAN"),
    float("ASIN"),
    float("ACOS"),
    float("ATAN"),
    float("RADIANS"),
    float("DEGREES"),
    Function::scalar("POWER", (2, 2), result_type::float, |call, values| {
        Ok(Value::Float(
            argument::float(call, values, 0)?.powf(argument::float(call, values, 1)?),
        ))
    })
    .with_synonyms(&["POW"]),
    Function::scalar("ATAN2", (2, 2), result_type::float, |call, values| {
        Ok(Value::Float(
            argument::float(call, values, 0)?.atan2(argument::float(call, values, 1)?),
        ))
    }),
    Function::scalar("LOG", (2, 2), result_type::float, |call, values| {
        let (base, value) = (
            argument::float(call, values, 0)?,
            argument::float(call, values, 1)?,
        );
        if base <= 0.0 || base == 1.0 || value <= 0.0 {
            return Err(invalid_float("log"));
        }
        Ok(Value::Float(value.ln() / base.ln()))
    }),
    Function::scalar("PI", (0, 0), result_type::float, |_, _| {
        Ok(Value::Float(std::f64::consts::PI))
    }),
    Function::scalar("WIDTH_BUCKET", (4, 4), result_type::integer, width_bucket),
];

const fn float(name: &'static str) -> Function {
    Function::scalar(name, (1, 1), result_type::float, |call, values| {
        let x = argument::float(call, values, 0)?;
        let y = match call.name {
            "SQRT" => x.sqrt(),
            "EXP" => x.exp(),
            "LN" if x <= 0.0 => f64::NAN,
            "LN" => x.ln(),
            "SQUARE" => x * x,
            "CBRT" => x.cbrt(),
            "SIN" => x.sin(),
            "COS" => x.cos(),
            "TAN" => x.tan(),
            "ASIN" => x.asin(),
            "ACOS" => x.acos(),
            "ATAN" => x.atan(),
            "RADIANS" => x.to_radians(),
            _ => x.to_degrees(),
        };
        if y.is_nan() && !x.is_nan() {
            Err(invalid_float(&call.name.to_lowercase()))
        } else {
            Ok(Value::Float(y))
        }
    })
}

fn invalid_float(function: &str) -> SqlError {
    SqlError::new(
        code::INVALID_FLOAT_OPERATION,
        format!("Invalid floating point operation: {function}(x)"),
    )
}

fn argument_type(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(match call.precision(0)? {
        Some(Precision { precision, scale }) => DataType::Number { precision, scale },
        None => DataType::Float,
    })
}

fn on_number<'a>(
    call: &ScalarCall,
    values: &[Value<'a>],
    number: impl Fn(Number) -> SqlResult<Number>,
    float: impl Fn(f64) -> f64,
) -> SqlResult<Value<'a>> {
    match call.result {
        DataType::Float => Ok(Value::Float(float(convert::float(&values[0])?))),
        _ => Ok(Value::Number(number(convert::number(&values[0])?)?)),
    }
}

/// Builds TRUNC, which truncates numbers, and dates if the second argument is a date part.
fn truncate(arguments: &[Expr]) -> Expr {
    match arguments {
        [date, Expr::Value(part)] if matches!(part.value, Literal::SingleQuotedString(_)) => {
            let part = Expr::Value(part.clone());
            call("DATE_TRUNC", vec![part, date.clone()])
        }
        _ => call("TRUNCATE", arguments.to_vec()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Half,
    Up,
    Down,
    Zero,
}

/// Returns how many digits a rounding keeps: 0 without a second argument, None if that argument is
/// not a constant.
fn kept_digits(call: &ScalarCall) -> Option<i64> {
    match call.arguments.len() {
        1 => Some(0),
        _ => call.integer(1).or_else(|| call.text(1)?.parse().ok()),
    }
}

fn rounded_type(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(match (call.precision(0)?, kept_digits(call)) {
        (Some(found), Some(digits)) => {
            let scale = found.scale.min(digits.clamp(0, 37) as u8);
            // Rounding up 9.9 needs one more digit before the point.
            let precision = found.precision - found.scale + scale + 1;
            DataType::Number {
                precision: precision.min(MAX_PRECISION),
                scale,
            }
        }
        (Some(found), None) => DataType::Number {
            precision: (found.precision + 1).min(MAX_PRECISION),
            scale: found.scale,
        },
        (None, _) => DataType::Float,
    })
}

fn round<'a>(call: &ScalarCall, values: &[Value<'a>], rounding: Rounding) -> SqlResult<Value<'a>> {
    let digits = match values.len() {
        1 => 0,
        _ => argument::integer(call, values, 1)?,
    };
    if call.result == DataType::Float {
        let factor = 10_f64.powi(digits.clamp(-308, 308) as i32);
        let x = convert::float(&values[0])? * factor;
        let rounded = match rounding {
            Rounding::Half => x.round(),
            Rounding::Up => x.ceil(),
            Rounding::Down => x.floor(),
            Rounding::Zero => x.trunc(),
        };
        return Ok(Value::Float(rounded / factor));
    }
    let number = convert::number(&values[0])?;
    let dropped = i64::from(number.scale) - digits;
    let Some(power) = u32::try_from(dropped).ok().filter(|dropped| *dropped > 0) else {
        return Ok(Value::Number(number));
    };
    let Some(power) = 10_i128.checked_pow(power) else {
        return Ok(Value::integer(0));
    };
    let (quotient, rest) = (
        number.digits.div_euclid(power),
        number.digits.rem_euclid(power),
    );
    let up = match rounding {
        Rounding::Half if number.digits < 0 => rest > power / 2,
        Rounding::Half => rest >= power - rest,
        Rounding::Up => rest > 0,
        Rounding::Down => false,
        Rounding::Zero => number.digits < 0 && rest > 0,
    };
    Ok(Value::Number(Number {
        digits: (quotient + i128::from(up)) * power,
        scale: number.scale,
    }))
}

fn width_bucket<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let (x, low) = (
        argument::float(call, values, 0)?,
        argument::float(call, values, 1)?,
    );
    let high = argument::float(call, values, 2)?;
    let count = argument::integer(call, values, 3)?;
    if count <= 0 || low >= high {
        return Err(invalid_float("width_bucket"));
    }
    let bucket = ((x - low) / (high - low) * count as f64).floor() as i64 + 1;
    Ok(Value::integer(bucket.clamp(0, count + 1)))
}
