//! Casts, and the TO_… functions with their formats. A function whose name begins with TRY_ returns
//! NULL where its counterpart fails.

use super::arithmetic::recast;
use super::{Function, Kind, Scalar, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult, code};
use crate::query::clock;
use crate::query::clock::{Timestamp, Zone};
use crate::query::convert::{self, convert};
use crate::query::format::date::{DateFormat, detect};
use crate::query::format::number::NumberFormat;
use crate::query::value::Value;
use crate::types::DataType;

pub const FUNCTIONS: &[Function] = &[
    Function::new(
        "$cast",
        (2, 2),
        Kind::Scalar(Scalar::new(named_type, cast).batched(recast)),
    ),
    Function::scalar("$try_cast", (2, 2), named_type, |call, values| {
        null_on_error(cast(call, values))
    }),
    Function::scalar("$declare", (2, 2), named_type, |_, values| {
        Ok(match &values[0] {
            Value::Text(json) | Value::Json(json) => Value::Json(json.clone()),
            other => other.clone(),
        })
    }),
    Function::scalar("$widen", (1, 1), widest, cast),
    Function::scalar("TO_CHAR", (1, 2), result_type::text, to_text),
    Function::scalar("TO_VARCHAR", (1, 2), result_type::text, to_text),
    Function::scalar("TO_DATE", (1, 2), result_type::date, to_type),
    Function::scalar("DATE", (1, 2), result_type::date, to_type),
    Function::scalar("TRY_TO_DATE", (1, 2), result_type::date, try_to_type),
    Function::scalar("TO_TIME", (1, 2), time, to_type),
    Function::scalar("TIME", (1, 2), time, to_type),
    Function::scalar("TRY_TO_TIME", (1, 2), time, try_to_type),
    Function::scalar("TO_TIMESTAMP", (1, 2), ntz, to_type),
    Function::scalar("TO_TIMESTAMP_NTZ", (1, 2), ntz, to_type).with_synonyms(&["TO_TIMESTAMPNTZ"]),
    Function::scalar("TO_TIMESTAMP_LTZ", (1, 2), ltz, to_type).with_synonyms(&["TO_TIMESTAMPLTZ"]),
    Function::scalar("TO_TIMESTAMP_TZ", (1, 2), tz, to_type).with_synonyms(&["TO_TIMESTAMPTZ"]),
    Function::scalar("TRY_TO_TIMESTAMP", (1, 2), ntz, try_to_type),
    Function::scalar("TRY_TO_TIMESTAMP_NTZ", (1, 2), ntz, try_to_type),
    Function::scalar("TRY_TO_TIMESTAMP_LTZ", (1, 2), ltz, try_to_type),
    Function::scalar("TRY_TO_TIMESTAMP_TZ", (1, 2), tz, try_to_type),
    Function::scalar("TO_NUMBER", (1, 4), number, to_number),
    Function::scalar("TO_DECIMAL", (1, 4), number, to_number),
    Function::scalar("TO_NUMERIC", (1, 4), number, to_number),
    Function::scalar("TRY_TO_NUMBER", (1, 4), number, |c, v| {
        null_on_error(to_number(c, v))
    }),
    Function::scalar("TRY_TO_DECIMAL", (1, 4), number, |c, v| {
        null_on_error(to_number(c, v))
    }),
    Function::scalar("TRY_TO_NUMERIC", (1, 4), number, |c, v| {
        null_on_error(to_number(c, v))
    }),
    Function::scalar("TO_DOUBLE", (1, 2), result_type::float, to_number),
    Function::scalar("TRY_TO_DOUBLE", (1, 2), result_type::float, |c, v| {
        null_on_error(to_number(c, v))
    }),
    Function::scalar("TO_BOOLEAN", (1, 1), result_type::boolean, to_type),
    Function::scalar("TRY_TO_BOOLEAN", (1, 1), result_type::boolean, try_to_type),
    Function::scalar("TO_BINARY", (1, 2), result_type::binary, to_binary),
    Function::scalar("TRY_TO_BINARY", (1, 2), result_type::binary, |c, v| {
        null_on_error(to_binary(c, v))
    }),
];

fn cast<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    convert(values[0].clone(), call.result, call.time_zone)
}

/// Replaces a conversion error (code 100000 or higher) by NULL. The error that icebox does not
/// support something remains.
fn null_on_error(result: SqlResult<Value<'_>>) -> SqlResult<Value<'_>> {
    match result {
        Err(error) if error.code >= 100_000 => Ok(Value::Null),
        other => other,
    }
}

/// Returns the type that the second argument names.
fn named_type(call: &ScalarCall) -> SqlResult<DataType> {
    let name = call.text(1).unwrap_or_default();
    let ty = DataType::parse(name)
        .ok_or_else(|| SqlError::unsupported(format_args!("data type {name}")))?;
    check_offset(call, ty)?;
    Ok(ty)
}

/// Returns the widest type of the argument's kind, so that the later rows of a recursive query fit
/// in the type of the first rows.
fn widest(call: &ScalarCall) -> SqlResult<DataType> {
    Ok(match call.ty(0) {
        DataType::Number { scale, .. } => DataType::Number {
            precision: 38,
            scale,
        },
        DataType::Text { .. } => DataType::TEXT,
        other => other,
    })
}

fn time(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Time { scale: 9 })
}

fn ntz(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::TimestampNtz { scale: 9 })
}

fn ltz(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::TimestampLtz { scale: 9 })
}

fn tz(call: &ScalarCall) -> SqlResult<DataType> {
    let ty = DataType::TimestampTz { scale: 9 };
    check_offset(call, ty)?;
    Ok(ty)
}

/// Refuses a `TIMESTAMP_TZ` whose offset is not known before there are rows. An Arrow column has
/// one offset, so it cannot hold values with different ones.
fn check_offset(call: &ScalarCall, ty: DataType) -> SqlResult<()> {
    let is_null = call.arguments.first().is_some_and(|one| one.ty.is_none());
    match ty {
        DataType::TimestampTz { .. } if !is_null && constant_offset(call, ty).is_none() => {
            Err(SqlError::unsupported(
                "TIMESTAMP_TZ without a constant offset; use TIMESTAMP_LTZ or TIMESTAMP_NTZ",
            ))
        }
        _ => Ok(()),
    }
}

/// Returns the offset of all values of a call that returns a `TIMESTAMP_TZ`; None if it is not
/// known before there are rows.
pub fn constant_offset(call: &ScalarCall, ty: DataType) -> Option<i32> {
    if !matches!(ty, DataType::TimestampTz { .. }) {
        return None;
    }
    // The timestamp is the last argument of DATEADD and the first of a cast; no other argument has
    // an offset.
    let mut offsets = call.arguments.iter().filter_map(|argument| argument.offset);
    let literal = |index| call.text(index).and_then(detect)?.offset;
    match call.text(1).map(DateFormat::new) {
        Some(Ok(format)) if call.name.contains("TO_TIMESTAMP_TZ") => {
            format.parse(call.text(0)?)?.offset
        }
        _ => offsets.next_back().or_else(|| literal(0)),
    }
}

fn to_text<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let Some(format) = values.get(1) else {
        return argument::text(call, values, 0).map(Value::Text);
    };
    let format = convert::text(format.clone(), call.time_zone)?;
    match &values[0] {
        Value::Number(_) | Value::Float(_) => {
            let compiled = call.compiled(&format, NumberFormat::new)?;
            Ok(Value::text(compiled.format(convert::number(&values[0])?)?))
        }
        value @ (Value::Date(_) | Value::Time(_) | Value::Timestamp(_)) => {
            let compiled = call.compiled(&format, DateFormat::new)?;
            Ok(Value::text(
                compiled.format(convert::parts(value, call.time_zone)?),
            ))
        }
        Value::Binary(bytes) => match format.to_uppercase().as_str() {
            "HEX" => Ok(Value::text(hex::encode_upper(bytes))),
            "UTF-8" | "UTF8" => Ok(Value::text(String::from_utf8_lossy(bytes))),
            _ => Err(SqlError::unsupported(format_args!(
                "binary format {format}"
            ))),
        },
        _ => Err(call.wrong_types()),
    }
}

fn to_type<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let value = match (&values[0], values.get(1)) {
        (value, None) => value.clone(),
        (Value::Text(text), Some(format)) => {
            let format = convert::text(format.clone(), call.time_zone)?;
            if format.eq_ignore_ascii_case("AUTO") {
                return convert(values[0].clone(), call.result, call.time_zone);
            }
            let compiled = call.compiled(&format, DateFormat::new)?;
            let parts = compiled.parse(text).ok_or_else(|| {
                SqlError::new(
                    code::DATE_FORMAT,
                    format!(
                        "Can't parse '{text}' as {} with format '{format}'",
                        kind(call.result)
                    ),
                )
            })?;
            match call.result {
                DataType::Date => return Ok(Value::Date(clock::days_of_date(parts.date))),
                DataType::Time { .. } => return Ok(Value::Time(clock::nanos_of_day(parts.time))),
                DataType::TimestampTz { .. } => {
                    let zone = Zone::Fixed(parts.offset.unwrap_or(0));
                    Value::Timestamp(convert::of_parts(parts, zone, call.time_zone)?)
                }
                DataType::TimestampLtz { .. } => {
                    Value::Timestamp(convert::of_parts(parts, Zone::Session, call.time_zone)?)
                }
                _ => Value::Timestamp(convert::of_parts(parts, Zone::None, call.time_zone)?),
            }
        }
        // A number is a count of units of 10^-scale seconds.
        (Value::Number(number), Some(Value::Number(scale))) => {
            let scale = u8::try_from(scale.rounded())
                .ok()
                .filter(|scale| *scale <= 9);
            let scale = scale.ok_or_else(|| call.wrong_types())?;
            let nanos = number
                .rounded()
                .checked_mul(10_i128.pow(u32::from(9 - scale)));
            let nanos = nanos.ok_or_else(|| clock::out_of_range(number))?;
            let zone = match call.result {
                DataType::TimestampNtz { .. } => Zone::None,
                _ => Zone::Session,
            };
            Value::Timestamp(Timestamp { nanos, zone })
        }
        // A format applies to texts only; other values are converted without it.
        (value, Some(_)) => value.clone(),
    };
    convert(value, call.result, call.time_zone)
}

fn kind(ty: DataType) -> &'static str {
    match ty {
        DataType::Date => "date",
        DataType::Time { .. } => "time",
        _ => "timestamp",
    }
}

fn try_to_type<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    null_on_error(to_type(call, values))
}

/// Returns the type of `TO_NUMBER(x [, format] [, precision [, scale]])`.
fn number(call: &ScalarCall) -> SqlResult<DataType> {
    let first = 1 + usize::from(has_format(call));
    let argument = |index: usize| match call.arguments.get(index) {
        None => Ok(None),
        Some(_) => call
            .integer(index)
            .map(Some)
            .ok_or_else(|| call.wrong_types()),
    };
    let precision = argument(first)?.unwrap_or(38);
    let scale = argument(first + 1)?.unwrap_or(0);
    let text = format!("NUMBER({precision},{scale})");
    DataType::parse(&text).ok_or_else(|| SqlError::unsupported(text))
}

fn has_format(call: &ScalarCall) -> bool {
    call.arguments.len() > 1 && matches!(call.ty(1), DataType::Text { .. })
}

fn to_number<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let value = match (&values[0], has_format(call)) {
        (Value::Text(text), true) => {
            let format = convert::text(values[1].clone(), call.time_zone)?;
            let compiled = call.compiled(&format, NumberFormat::new)?;
            let number = compiled
                .parse(text)
                .ok_or_else(|| convert::not_numeric(text))?;
            Value::Number(number)
        }
        (value, _) => value.clone(),
    };
    convert(value, call.result, call.time_zone)
}

fn to_binary<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let format = match values.get(1) {
        Some(format) => convert::text(format.clone(), call.time_zone)?.to_uppercase(),
        None => "HEX".to_owned(),
    };
    match (&values[0], format.as_str()) {
        (value, "HEX") => convert(value.clone(), call.result, call.time_zone),
        (Value::Text(text), "UTF-8" | "UTF8") => {
            Ok(Value::Binary(text.clone().into_owned().into_bytes().into()))
        }
        (Value::Text(text), "BASE64") => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
            let bytes = bytes.map_err(|_| convert::not_recognized("Base64 value", text))?;
            Ok(Value::Binary(bytes.into()))
        }
        _ => Err(call.wrong_types()),
    }
}
