//! The arithmetic operators, and the conversions that aggregates need.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array};
use arrow::datatypes::DataType as ArrowType;
use chrono::NaiveDate;

use super::{Function, Kind, Scalar, ScalarCall, result_type};
use crate::error::{SqlError, SqlResult};
use crate::query::array::ValueArray;
use crate::query::number::{Arithmetic, MAX_PRECISION, Number, Precision, fit, rescale};
use crate::query::value::Value;
use crate::query::{clock, convert};
use crate::types::DataType;

pub const FUNCTIONS: &[Function] = &[
    binary("+"),
    binary("-"),
    binary("*"),
    binary("/"),
    binary("%"),
    Function::scalar("MOD", (2, 2), result, row),
    Function::scalar("$negate", (1, 1), same_number, negate),
    Function::scalar("DIV0", (2, 2), quotient, divide_or_zero),
    Function::new(
        "DIV0NULL",
        (2, 2),
        Kind::Scalar(Scalar::new(quotient, divide_or_zero).called_on_null()),
    ),
    Function::scalar("$average", (2, 2), average_type, average),
    Function::new(
        "$summand",
        (1, 1),
        Kind::Scalar(Scalar::new(summand_type, to_result).batched(recast)),
    ),
    Function::scalar("$median", (1, 1), median_type, to_result),
    Function::scalar("$float", (1, 1), result_type::float, to_result),
];

const fn binary(name: &'static str) -> Function {
    let scalar = Scalar::new(result, row).batched(batch);
    Function::new(name, (2, 2), Kind::Scalar(scalar))
}

fn operation(name: &str) -> Arithmetic {
    match name {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "%" | "MOD" => Arithmetic::Modulo,
        _ => Arithmetic::Divide,
    }
}

fn number(Precision { precision, scale }: Precision) -> DataType {
    DataType::Number { precision, scale }
}

fn result(call: &ScalarCall) -> SqlResult<DataType> {
    let op = operation(call.name);
    match (call.ty(0), op, call.ty(1)) {
        (DataType::Date, Arithmetic::Subtract, DataType::Date) => Ok(number(Precision {
            precision: 9,
            scale: 0,
        })),
        (DataType::Date, Arithmetic::Add | Arithmetic::Subtract, DataType::Number { .. })
        | (DataType::Number { .. }, Arithmetic::Add, DataType::Date) => Ok(DataType::Date),
        _ => match (call.precision(0)?, call.precision(1)?) {
            (Some(left), Some(right)) => Ok(number(op.result(left, right))),
            _ => Ok(DataType::Float),
        },
    }
}

fn row<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let op = operation(call.name);
    let shifted = |days: &i32, by: &Number, sign: i64| {
        let date = clock::date_of_days(*days)?;
        let by = i64::try_from(by.rounded()).unwrap_or(i64::MAX) * sign;
        let moved = chrono::Duration::try_days(by).and_then(|by| date.checked_add_signed(by));
        moved
            .filter(|date| *date <= NaiveDate::MAX)
            .map(|date| Value::Date(clock::days_of_date(date)))
            .ok_or_else(|| clock::out_of_range(format_args!("{date} + {by}")))
    };
    let (Some(left), Some(right)) = (values.first(), values.get(1)) else {
        return Err(call.wrong_types());
    };
    match (left, right) {
        (Value::Date(left), Value::Date(right)) => {
            Ok(Value::integer(i128::from(*left) - i128::from(*right)))
        }
        (Value::Date(days), Value::Number(by)) => {
            shifted(days, by, if op == Arithmetic::Add { 1 } else { -1 })
        }
        (Value::Number(by), Value::Date(days)) => shifted(days, by, 1),
        _ => {
            if let DataType::Number { scale, .. } = call.result {
                let digits = op.apply(convert::number(left)?, convert::number(right)?, scale)?;
                Ok(Value::Number(Number { digits, scale }))
            } else {
                let float = |value: &Value<'_>| match value {
                    Value::Json(_) => {
                        convert::convert(value.clone(), DataType::Float, call.time_zone)
                            .and_then(|value| convert::float(&value))
                    }
                    value => convert::float(value),
                };
                floats(op, float(left)?, float(right)?)
            }
        }
    }
}

fn floats<'a>(op: Arithmetic, left: f64, right: f64) -> SqlResult<Value<'a>> {
    Ok(Value::Float(match op {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide | Arithmetic::Modulo if right == 0.0 => {
            return Err(crate::query::number::division_by_zero());
        }
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
    }))
}

/// Computes whole columns of numbers, without a [`Value`] for each row.
fn batch(call: &ScalarCall, columns: &[ValueArray], rows: usize) -> SqlResult<Option<ArrayRef>> {
    let [
        ValueArray::Number(left, left_scale),
        ValueArray::Number(right, right_scale),
    ] = columns
    else {
        return Ok(None);
    };
    let DataType::Number { precision, scale } = call.result else {
        return Ok(None);
    };
    let op = operation(call.name);
    let steps = [left, right].map(|array| usize::from(array.len() == rows));
    let limit = 10_u128.pow(u32::from(precision));
    // Most operations add numbers of one scale, or multiply where the result keeps all digits.
    // These need no rescaling.
    let exact = match op {
        Arithmetic::Add | Arithmetic::Subtract => left_scale == right_scale && *left_scale == scale,
        Arithmetic::Multiply => left_scale + right_scale == scale,
        _ => false,
    };
    let mut digits = Vec::with_capacity(rows);
    let mut nulls = arrow::array::NullBufferBuilder::new(rows);
    for row in 0..rows {
        let (at, bt) = (row * steps[0], row * steps[1]);
        if left.is_null(at) || right.is_null(bt) {
            digits.push(0);
            nulls.append_null();
            continue;
        }
        let (a, b) = (left.value(at), right.value(bt));
        let quick = match (exact, op) {
            (true, Arithmetic::Add) => a.checked_add(b),
            (true, Arithmetic::Subtract) => a.checked_sub(b),
            (true, Arithmetic::Multiply) => a.checked_mul(b),
            _ => None,
        };
        digits.push(
            if let Some(digits) = quick.filter(|digits| digits.unsigned_abs() < limit) {
                digits
            } else {
                let number = |digits, scale: &u8| Number {
                    digits,
                    scale: *scale,
                };
                op.apply(number(a, left_scale), number(b, right_scale), scale)?
            },
        );
        nulls.append_non_null();
    }
    let array = Decimal128Array::new(digits.into(), nulls.finish())
        .with_precision_and_scale(precision, scale as i8);
    let array = array.map_err(|error| SqlError::internal(&error))?;
    Ok(Some(Arc::new(array)))
}

/// Converts a column of numbers to the result's precision and scale.
pub fn recast(
    call: &ScalarCall,
    columns: &[ValueArray],
    rows: usize,
) -> SqlResult<Option<ArrayRef>> {
    let (Some(ValueArray::Number(array, own)), DataType::Number { precision, scale }) =
        (columns.first(), call.result)
    else {
        return Ok(None);
    };
    if array.len() != rows {
        return Ok(None);
    }
    let grows = match array.data_type() {
        ArrowType::Decimal128(known, _) => own == &scale && *known <= precision,
        _ => false,
    };
    let array = if grows {
        array.clone()
    } else {
        let one = |digits| {
            fit(
                Number {
                    digits,
                    scale: *own,
                },
                precision,
                scale,
            )
        };
        let digits = array.iter().map(|digits| digits.map(one).transpose());
        digits.collect::<SqlResult<Decimal128Array>>()?
    };
    let array = array.with_precision_and_scale(precision, scale as i8);
    let array = array.map_err(|error| SqlError::internal(&error))?;
    Ok(Some(Arc::new(array)))
}

fn same_number(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(call.precision(0)?.map_or(DataType::Float, number))
}

fn negate<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    Ok(match to_result(call, values)? {
        Value::Number(number) => Value::Number(Number {
            digits: -number.digits,
            scale: number.scale,
        }),
        Value::Float(float) => Value::Float(-float),
        other => other,
    })
}

/// Converts the argument to the result's type.
fn to_result<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let value = values.first().cloned().unwrap_or(Value::Null);
    convert::convert(value, call.result, call.time_zone)
}

fn quotient(call: &ScalarCall) -> SqlResult<DataType> {
    match (call.precision(0)?, call.precision(1)?) {
        (Some(left), Some(right)) => Ok(number(Arithmetic::Divide.result(left, right))),
        _ => Ok(DataType::Float),
    }
}

/// Divides, with 0 for a divisor of 0 (DIV0), and for a divisor of NULL too (DIV0NULL).
fn divide_or_zero<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let (left, right) = (&values[0], &values[1]);
    if left.is_null() {
        return Ok(Value::Null);
    }
    let is_zero = right.is_null() || convert::float(right)? == 0.0;
    match (is_zero, call.result) {
        (true, DataType::Float) => Ok(Value::Float(0.0)),
        (true, _) => Ok(Value::integer(0)),
        (false, DataType::Number { scale, .. }) => {
            let (left, right) = (convert::number(left)?, convert::number(right)?);
            let digits = Arithmetic::Divide.apply(left, right, scale)?;
            Ok(Value::Number(Number { digits, scale }))
        }
        (false, _) => floats(
            Arithmetic::Divide,
            convert::float(left)?,
            convert::float(right)?,
        ),
    }
}

/// Returns the type of SUM's argument: two digits more than it has. DataFusion's SUM adds ten
/// digits of precision, and Snowflake's twelve.
fn summand_type(call: &ScalarCall) -> SqlResult<DataType> {
    if call.ty(0) == DataType::Boolean {
        return Err(call.wrong_types());
    }
    Ok(call.precision(0)?.map_or(DataType::Float, |found| {
        number(Precision {
            precision: (found.precision + 2).min(MAX_PRECISION),
            scale: found.scale,
        })
    }))
}

/// Returns the type of MEDIAN's argument: three digits more than it has, as in Snowflake's result.
/// The mean of two numbers needs one of them.
fn median_type(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(call.precision(0)?.map_or(DataType::Float, |found| {
        number(Precision {
            precision: (found.precision + 3).min(MAX_PRECISION),
            scale: (found.scale + 3).min(37),
        })
    }))
}

/// Returns the type of AVG, computed from a sum and a count: six more digits after the point than
/// the numbers have.
fn average_type(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(call.precision(0)?.map_or(DataType::Float, |sum| {
        number(Precision {
            precision: MAX_PRECISION,
            scale: (sum.scale + 6).min(37),
        })
    }))
}

fn average<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let count = convert::number(&values[1])?;
    if count.digits == 0 {
        return Ok(Value::Null);
    }
    if let DataType::Number { scale, .. } = call.result {
        let sum = convert::number(&values[0])?;
        let digits = Arithmetic::Divide.apply(sum, count, scale)?;
        Ok(Value::Number(Number { digits, scale }))
    } else {
        let count = rescale(count.digits, count.scale, 0).unwrap_or(1);
        Ok(Value::Float(convert::float(&values[0])? / count as f64))
    }
}
