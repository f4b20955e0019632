//! The bind variables of a client, as typed columns.
//!
//! Each value has a type and a text. Numbers and texts are as written, dates are in milliseconds
//! and timestamps in nanoseconds since 1970, times are in nanoseconds since midnight, and binary
//! values are in hexadecimal.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, RecordBatch,
    StringArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    new_null_array,
};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{Date32Type, Field, Schema, Time64NanosecondType, TimestampNanosecondType};
use serde::Deserialize;
use serde_json::Value;

use icebox_sql::error::{ErrorCode, SqlError, SqlResult, code};
use icebox_sql::rows::Rows;
use icebox_sql::types::{DataType, MAX_BINARY, TYPE_KEY};

/// The value of one bind variable, or its values if a statement runs for many rows.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bind {
    #[serde(rename = "type")]
    ty: Option<String>,
    #[serde(default)]
    value: Value,
}

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Returns the columns `1`, `2`, … with a row for each value.
///
/// # Errors
/// If a value is not of its type, the variables are not numbered from 1, or they have different
/// numbers of values.
pub(super) fn rows(bindings: &BTreeMap<String, Bind>) -> SqlResult<Rows> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for number in 1..=bindings.len() {
        let bind = bindings.get(&number.to_string()).ok_or_else(|| {
            let names: Vec<&str> = bindings.keys().map(String::as_str).collect();
            invalid(format_args!(
                "Bind variables are numbered from 1 on; these were sent: {}.",
                names.join(", ")
            ))
        })?;
        let (ty, array) = bind.column()?;
        if let Some(first) = arrays.first().filter(|first| first.len() != array.len()) {
            return Err(invalid(format_args!(
                "Bind variable 1 has {} values, bind variable {number} has {}.",
                first.len(),
                array.len()
            )));
        }
        let metadata = [(TYPE_KEY.to_owned(), ty.to_string())];
        let field = Field::new(number.to_string(), array.data_type().clone(), true);
        fields.push(field.with_metadata(metadata.into()));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    if arrays.is_empty() {
        return Ok(Rows::new(schema, Vec::new()));
    }
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays);
    let batch = batch.map_err(|error| SqlError::internal(&error))?;
    Ok(Rows::new(schema, vec![batch]))
}

fn invalid(text: impl std::fmt::Display) -> SqlError {
    SqlError::compilation(code::BIND_NOT_SET, text)
}

/// Returns the error for a text that is not a value of its type, with the code and the name that
/// the conversion functions use.
fn not_recognized(code: ErrorCode, kind: &str, text: &str) -> SqlError {
    SqlError::new(code, format!("{kind} '{text}' is not recognized"))
}

impl Bind {
    fn column(&self) -> SqlResult<(DataType, ArrayRef)> {
        let values: Vec<Option<String>> = match &self.value {
            Value::Array(values) => values.iter().map(text).collect::<SqlResult<_>>()?,
            value => vec![text(value)?],
        };
        let values = values.as_slice();
        let ty = self.ty.as_deref().unwrap_or("TEXT").to_uppercase();
        match ty.as_str() {
            "FIXED" | "DECFLOAT" => numbers(values),
            "REAL" => Ok((
                DataType::Float,
                each(values, |text| text.parse().ok(), numeric)?.map_into::<Float64Array>(),
            )),
            "BOOLEAN" => {
                let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
                    "true" | "1" => Some(true),
                    "false" | "0" => Some(false),
                    _ => None,
                };
                let fail = |text: &str| {
                    not_recognized(code::BOOLEAN_NOT_RECOGNIZED, "Boolean value", text)
                };
                let values = each(values, parse, fail)?;
                Ok((DataType::Boolean, values.map_into::<BooleanArray>()))
            }
            "DATE" => {
                let parse = |text: &str| match text.parse::<i64>() {
                    Ok(millis) => i32::try_from(millis.div_euclid(MILLIS_PER_DAY)).ok(),
                    Err(_) => Date32Type::parse(text),
                };
                let fail = |text: &str| not_recognized(code::DATE_NOT_RECOGNIZED, "Date", text);
                let values = each(values, parse, fail)?;
                Ok((DataType::Date, values.map_into::<Date32Array>()))
            }
            "TIME" => {
                let parse = |text: &str| match text.parse() {
                    Ok(nanos) => Some(nanos),
                    Err(_) => Time64NanosecondType::parse(text),
                };
                let is_in_day = |nanos: &i64| (0..MILLIS_PER_DAY * 1_000_000).contains(nanos);
                let fail = |text: &str| not_recognized(code::TIME_NOT_RECOGNIZED, "Time", text);
                let values = each(values, |text| parse(text).filter(is_in_day), fail)?;
                let ty = DataType::Time { scale: 9 };
                Ok((ty, values.map_into::<Time64NanosecondArray>()))
            }
            "TIMESTAMP" | "TIMESTAMP_NTZ" => moments(DataType::TimestampNtz { scale: 9 }, values),
            "TIMESTAMP_LTZ" => moments(DataType::TimestampLtz { scale: 9 }, values),
            "TIMESTAMP_TZ" => moments(DataType::TimestampTz { scale: 9 }, values),
            "BINARY" => {
                let fail = |text: &str| {
                    let text =
                        format!("The following string is not a legal hex-encoded value: '{text}'");
                    SqlError::new(code::INVALID_HEX, text)
                };
                let values = each(values, bytes, fail)?;
                let values: Vec<Option<&[u8]>> = values.0.iter().map(Option::as_deref).collect();
                let ty = DataType::Binary { length: MAX_BINARY };
                Ok((ty, Arc::new(BinaryArray::from(values))))
            }
            "VARIANT" => Ok((DataType::Variant, texts(values))),
            "OBJECT" => Ok((DataType::Object, texts(values))),
            "ARRAY" => Ok((DataType::Array, texts(values))),
            // ANY is the drivers' name for the type of None.
            "TEXT" | "ANY" | "VARCHAR" | "STRING" => Ok((DataType::TEXT, texts(values))),
            other => Err(invalid(format_args!(
                "Bind variables of type '{other}' are not supported."
            ))),
        }
    }
}

/// Returns a value's text. Clients other than drivers send numbers and booleans too.
fn text(value: &Value) -> SqlResult<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(invalid(
            "A bind variable's value is a text, or an array of texts.",
        )),
    }
}

/// The values of a column; `None` is NULL.
struct Values<T>(Vec<Option<T>>);

impl<T> Values<T> {
    fn map_into<A: From<Vec<Option<T>>> + arrow::array::Array + 'static>(self) -> ArrayRef {
        Arc::new(A::from(self.0))
    }
}

fn each<T>(
    values: &[Option<String>],
    parse: impl Fn(&str) -> Option<T>,
    fail: impl Fn(&str) -> SqlError,
) -> SqlResult<Values<T>> {
    let one = |value: &Option<String>| match value {
        Some(text) => parse(text).map(Some).ok_or_else(|| fail(text)),
        None => Ok(None),
    };
    Ok(Values(values.iter().map(one).collect::<SqlResult<_>>()?))
}

fn texts(values: &[Option<String>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn numeric(text: &str) -> SqlError {
    not_recognized(code::NUMBER_NOT_RECOGNIZED, "Numeric value", text)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    digits.map(byte).collect()
}

/// Returns numbers in the smallest type that holds all of them.
fn numbers(values: &[Option<String>]) -> SqlResult<(DataType, ArrayRef)> {
    let parsed = each(values, Decimal::parse, numeric)?.0;
    let known = || parsed.iter().flatten();
    let scale = known().map(|number| number.scale).max().unwrap_or(0);
    let whole = known().map(Decimal::whole_digits).max().unwrap_or(1);
    let precision = (whole + scale).max(1);
    let too_wide = || {
        let widest = values.iter().flatten().max_by_key(|text| text.len());
        numeric(widest.map_or("", String::as_str))
    };
    if precision > 38 || scale > 37 {
        return Err(too_wide());
    }
    let scaled = parsed.iter().map(|number| match number {
        Some(number) => number.at_scale(scale).map(Some).ok_or_else(too_wide),
        None => Ok(None),
    });
    let scaled: Vec<Option<i128>> = scaled.collect::<SqlResult<_>>()?;
    let array = Decimal128Array::from(scaled)
        .with_precision_and_scale(precision as u8, scale as i8)
        .map_err(|error| SqlError::internal(&error))?;
    let ty = DataType::Number {
        precision: precision as u8,
        scale: scale as u8,
    };
    Ok((ty, Arc::new(array)))
}

/// A decimal number: its digits, and how many of them follow the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    digits: i128,
    scale: u32,
}

impl Decimal {
    /// Parses `-12.50`, `1E+3`, `.5`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let is_number = unsigned
            .bytes()
            .chain(part.bytes())
            .all(|digit| digit.is_ascii_digit());
        if !is_number || unsigned.len() + part.len() == 0 {
            return None;
        }
        let digits: i128 = format!("{whole}{part}").parse().ok()?;
        let scale = i32::try_from(part.len()).ok()?.checked_sub(exponent)?;
        if let Ok(scale) = u32::try_from(scale) {
            Some(Self { digits, scale })
        } else {
            let power = 10_i128.checked_pow(scale.unsigned_abs())?;
            let digits = digits.checked_mul(power)?;
            Some(Self { digits, scale: 0 })
        }
    }

    fn whole_digits(&self) -> u32 {
        let digits = self
            .digits
            .unsigned_abs()
            .checked_ilog10()
            .map_or(0, |log| log + 1);
        digits.saturating_sub(self.scale)
    }

    fn at_scale(&self, scale: u32) -> Option<i128> {
        let power = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.digits.checked_mul(power)
    }
}

/// Returns timestamps in nanoseconds, or in microseconds if one is too far from 1970. A column has
/// one offset from UTC: values with different offsets get the offset 0.
fn moments(ty: DataType, values: &[Option<String>]) -> SqlResult<(DataType, ArrayRef)> {
    let fail = |text: &str| not_recognized(code::TIMESTAMP_NOT_RECOGNIZED, "Timestamp", text);
    let parsed = each(values, moment, fail)?.0;
    let offsets = || parsed.iter().flatten().map(|(_, offset)| *offset);
    let first = offsets().next().flatten();
    let offset = first.filter(|first| offsets().all(|offset| offset == Some(*first)));
    let zone = match ty {
        DataType::TimestampNtz { .. } => None,
        DataType::TimestampTz { .. } => Some(zone(offset.unwrap_or(0))),
        _ => Some("UTC".to_owned()),
    };
    let fitting: Option<Vec<Option<i64>>> = parsed
        .iter()
        .map(|value| {
            value
                .map(|(nanos, _)| i64::try_from(nanos).ok())
                .map_or(Some(None), |fits| fits.map(Some))
        })
        .collect();
    let array: ArrayRef = if let Some(nanos) = fitting {
        Arc::new(TimestampNanosecondArray::from(nanos).with_timezone_opt(zone))
    } else {
        let micros = parsed.iter().zip(values).map(|(value, text)| match value {
            Some((nanos, _)) => i64::try_from(nanos.div_euclid(1000))
                .map(Some)
                .map_err(|_| fail(text.as_deref().unwrap_or_default())),
            None => Ok(None),
        });
        let micros = micros.collect::<SqlResult<Vec<_>>>()?;
        Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone))
    };
    if array.is_empty() {
        Ok((ty, new_null_array(&ty.to_arrow(), 0)))
    } else {
        Ok((ty, array))
    }
}

/// Parses nanoseconds since 1970 with an optional offset, `1700000000000000000 1560`, or a date and
/// time. The result is in nanoseconds since 1970, with the offset from UTC in minutes if there is
/// one.
fn moment(text: &str) -> Option<(i128, Option<i32>)> {
    let (number, offset) = match text.split_once(' ') {
        Some((number, offset)) => (number, Some(offset)),
        None => (text, None),
    };
    if let Ok(nanos) = number.parse() {
        let offset = match offset {
            Some(offset) => Some(offset.parse::<i32>().ok()?.checked_sub(1440)?),
            None => None,
        };
        let is_offset = offset.is_none_or(|offset| (-1439..=1439).contains(&offset));
        return is_offset.then_some((nanos, offset));
    }
    let nanos = TimestampNanosecondType::parse(text)?;
    Some((nanos.into(), None))
}

/// Writes an offset in minutes, such as `+02:00` for 120.
fn zone(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
