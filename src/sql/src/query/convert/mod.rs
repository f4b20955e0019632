//! Conversions between types (documentation, "Data type conversion").

pub mod variant;

use std::borrow::Cow;

use chrono::NaiveTime;
use chrono_tz::Tz;

use super::clock::{self, SECOND, Timestamp, Zone};
use super::format::date::{self, DateFormat, DateTimeParts};
use super::number::Number;
use super::value::Value;
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// Converts a value to another type.
///
/// # Errors
/// If the value cannot be represented in that type, with Snowflake's code for it.
pub fn convert(value: Value<'_>, to: DataType, time_zone: Tz) -> SqlResult<Value<'_>> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Value::Json(text) = value {
        return variant::convert(&text, to, time_zone);
    }
    Ok(match to {
        DataType::Number { scale, .. } => Value::Number(number(&value)?.with_scale(scale)?),
        DataType::Float => Value::Float(float(&value)?),
        DataType::Text { length } => {
            let text = text(value, time_zone)?;
            match text.char_indices().nth(length as usize) {
                // A cast truncates a text; storing it in a table is an error instead, see `store`.
                Some((end, _)) => Value::text(&text[..end]),
                None => Value::Text(text),
            }
        }
        DataType::Boolean => Value::Boolean(boolean(&value)?),
        DataType::Date => Value::Date(date(&value, time_zone)?),
        DataType::Time { scale } => Value::Time(time(&value, scale, time_zone)?),
        DataType::TimestampNtz { scale } => {
            Value::Timestamp(timestamp(&value, Zone::None, scale, time_zone)?)
        }
        DataType::TimestampLtz { scale } => {
            Value::Timestamp(timestamp(&value, Zone::Session, scale, time_zone)?)
        }
        DataType::TimestampTz { scale } => Value::Timestamp(with_zone(&value, scale, time_zone)?),
        DataType::Binary { .. } => binary(value)?,
        DataType::Variant => Value::json(variant::json_text(&value, time_zone)?),
        DataType::Object | DataType::Array => return Err(failed(&value, to)),
        DataType::Uuid => match value {
            Value::Text(text) => {
                let uuid = uuid::Uuid::parse_str(&text);
                let uuid = uuid.map_err(|_| failed(&Value::text(text.as_ref()), to))?;
                Value::text(uuid.to_string())
            }
            other => return Err(failed(&other, to)),
        },
    })
}

/// Creates the error of a conversion that Snowflake does not have.
fn failed(value: &Value<'_>, to: DataType) -> SqlError {
    let shown = text(value.clone(), Tz::UTC).unwrap_or_default();
    SqlError::new(
        code::FAILED_CAST,
        format!("Failed to cast value {shown} to {to}"),
    )
}

pub fn number(value: &Value<'_>) -> SqlResult<Number> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Float(float) => Number::of_float(*float).ok_or_else(|| not_numeric(float)),
        Value::Text(text) => Number::parse(text).ok_or_else(|| not_numeric(text)),
        Value::Boolean(boolean) => Ok(Number::integer(i128::from(*boolean))),
        other => Err(failed(other, DataType::INTEGER)),
    }
}

pub fn float(value: &Value<'_>) -> SqlResult<f64> {
    match value {
        Value::Float(float) => Ok(*float),
        Value::Text(text) => {
            let text = text.trim();
            // Rust also reads `infinity` and `nan`, as Snowflake does.
            text.parse().map_err(|_| not_numeric(text))
        }
        other => Ok(number(other)?.to_f64()),
    }
}

pub fn not_numeric(text: impl std::fmt::Display) -> SqlError {
    SqlError::new(
        code::NUMBER_NOT_RECOGNIZED,
        format!("Numeric value '{text}' is not recognized"),
    )
}

fn boolean(value: &Value<'_>) -> SqlResult<bool> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Number(number) => Ok(number.digits != 0),
        Value::Float(float) => Ok(*float != 0.0),
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err(SqlError::new(
                code::BOOLEAN_NOT_RECOGNIZED,
                format!("Boolean value '{text}' is not recognized"),
            )),
        },
        other => Err(failed(other, DataType::Boolean)),
    }
}

/// Formats a value in Snowflake's default output format.
pub fn text(value: Value<'_>, time_zone: Tz) -> SqlResult<Cow<'_, str>> {
    Ok(match value {
        Value::Text(text) | Value::Json(text) => text,
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Float(float) => Cow::Owned(float_text(float)),
        Value::Boolean(boolean) => Cow::Borrowed(if boolean { "true" } else { "false" }),
        Value::Binary(bytes) => Cow::Owned(hex::encode_upper(bytes)),
        Value::Null => Cow::Borrowed(""),
        Value::Date(_) => {
            Cow::Owned(DateFormat::new("YYYY-MM-DD")?.format(parts(&value, time_zone)?))
        }
        Value::Time(_) => {
            Cow::Owned(DateFormat::new("HH24:MI:SS")?.format(parts(&value, time_zone)?))
        }
        Value::Timestamp(timestamp) => {
            let format = match timestamp.zone {
                Zone::None => "YYYY-MM-DD HH24:MI:SS.FF3",
                _ => "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
            };
            Cow::Owned(DateFormat::new(format)?.format(parts(&value, time_zone)?))
        }
    })
}

/// Formats a float as the shortest text that is read back as the same float. Non-zero magnitudes
/// below 1e-5 and from 1e15 on have an exponent of at least two digits, such as `1e+20`.
pub fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    } else {
        float.to_string()
    }
}

fn binary(value: Value<'_>) -> SqlResult<Value<'_>> {
    match value {
        Value::Binary(bytes) => Ok(Value::Binary(bytes)),
        Value::Text(text) => {
            let bytes = hex::decode(text.as_bytes()).map_err(|_| {
                SqlError::new(
                    code::INVALID_HEX,
                    format!("The following string is not a legal hex-encoded value: '{text}'"),
                )
            });
            Ok(Value::Binary(Cow::Owned(bytes?)))
        }
        other => Err(failed(&other, DataType::Binary { length: 1 })),
    }
}

/// Returns the date, time of day and offset of a date, a time or a timestamp.
pub fn parts(value: &Value<'_>, time_zone: Tz) -> SqlResult<DateTimeParts> {
    Ok(match value {
        Value::Date(days) => DateTimeParts {
            date: clock::date_of_days(*days)?,
            time: NaiveTime::MIN,
            offset: None,
        },
        Value::Time(nanos) => DateTimeParts {
            date: clock::date_of_days(0)?,
            time: clock::time_of_nanos(*nanos)?,
            offset: None,
        },
        Value::Timestamp(timestamp) => {
            let wall = clock::wall_clock(*timestamp, time_zone)?;
            DateTimeParts {
                date: wall.date(),
                time: wall.time(),
                offset: match timestamp.zone {
                    Zone::None => None,
                    _ => Some(clock::offset(*timestamp, time_zone)?),
                },
            }
        }
        other => return Err(failed(other, DataType::TimestampNtz { scale: 9 })),
    })
}

fn date(value: &Value<'_>, time_zone: Tz) -> SqlResult<i32> {
    match value {
        Value::Date(days) => Ok(*days),
        Value::Timestamp(_) => Ok(clock::days_of_date(parts(value, time_zone)?.date)),
        Value::Text(text) => match (date::detect(text), epoch_seconds(text)) {
            (Some(parts), _) => Ok(clock::days_of_date(parts.date)),
            (None, Some(nanos)) => Ok(clock::days_of_date(clock::datetime_of_nanos(nanos)?.date())),
            (None, None) => Err(not_recognized("Date", text)),
        },
        other => Err(failed(other, DataType::Date)),
    }
}

pub fn not_recognized(kind: &str, text: &str) -> SqlError {
    SqlError::new(
        code::TIMESTAMP_NOT_RECOGNIZED,
        format!("{kind} '{text}' is not recognized"),
    )
}

fn time(value: &Value<'_>, scale: u8, time_zone: Tz) -> SqlResult<i64> {
    let nanos = match value {
        Value::Time(nanos) => *nanos,
        Value::Timestamp(_) => clock::nanos_of_day(parts(value, time_zone)?.time),
        Value::Text(text) => {
            let time = date::detect_time(text.trim());
            clock::nanos_of_day(time.ok_or_else(|| not_recognized("Time", text))?)
        }
        other => return Err(failed(other, DataType::Time { scale: 9 })),
    };
    Ok(truncated(i128::from(nanos), scale) as i64)
}

fn truncated(nanos: i128, scale: u8) -> i128 {
    let unit = 10_i128.pow(u32::from(9 - scale.min(9)));
    nanos.div_euclid(unit) * unit
}

/// Reads a text that is a whole number as a count since 1970, and returns nanoseconds. The count is
/// in seconds, or in milliseconds, microseconds or nanoseconds if it is too large for the coarser
/// unit (documentation of `TO_TIMESTAMP`).
fn epoch_seconds(text: &str) -> Option<i128> {
    let count: i128 = text.trim().parse().ok()?;
    let unit = match count.unsigned_abs() {
        0..31_536_000_000 => SECOND,
        31_536_000_000..31_536_000_000_000 => 1_000_000,
        31_536_000_000_000..31_536_000_000_000_000 => 1_000,
        _ => 1,
    };
    Some(count * unit)
}

/// Converts a value to a timestamp without a zone or in the session's time zone.
fn timestamp(value: &Value<'_>, zone: Zone, scale: u8, time_zone: Tz) -> SqlResult<Timestamp> {
    let found = match value {
        Value::Timestamp(timestamp) => clock::convert(*timestamp, zone, time_zone)?,
        Value::Date(_) => {
            let reading = parts(value, time_zone)?.date.and_time(NaiveTime::MIN);
            clock::timestamp(reading, zone, time_zone)?
        }
        Value::Number(number) => {
            let nanos = number.with_scale(9)?.digits;
            Timestamp { nanos, zone }
        }
        Value::Text(text) => match (date::detect(text), epoch_seconds(text)) {
            (Some(parts), _) => of_parts(parts, zone, time_zone)?,
            (None, Some(nanos)) => Timestamp { nanos, zone },
            (None, None) => return Err(not_recognized("Timestamp", text)),
        },
        other => return Err(failed(other, DataType::TimestampNtz { scale })),
    };
    Ok(Timestamp {
        nanos: truncated(found.nanos, scale),
        zone,
    })
}

/// Converts a value to a `TIMESTAMP_TZ`. The offset is the text's own, or else the session's at
/// that moment.
fn with_zone(value: &Value<'_>, scale: u8, time_zone: Tz) -> SqlResult<Timestamp> {
    if let Value::Timestamp(
        timestamp @ Timestamp {
            zone: Zone::Fixed(_),
            ..
        },
    ) = value
    {
        return Ok(*timestamp);
    }
    let own = match value {
        Value::Text(text) => date::detect(text).and_then(|parts| parts.offset),
        _ => None,
    };
    let moment = timestamp(value, Zone::Session, scale, time_zone)?;
    let minutes = match own {
        Some(minutes) => minutes,
        None => clock::offset(moment, time_zone)?,
    };
    Ok(Timestamp {
        nanos: moment.nanos,
        zone: Zone::Fixed(minutes),
    })
}

/// Builds a timestamp from the components that were read from a text. An offset in the text is
/// dropped for `TIMESTAMP_NTZ` and applied otherwise.
pub fn of_parts(parts: DateTimeParts, zone: Zone, time_zone: Tz) -> SqlResult<Timestamp> {
    let reading = parts.date.and_time(parts.time);
    match (zone, parts.offset) {
        (Zone::None, _) | (_, None) => clock::timestamp(reading, zone, time_zone),
        (_, Some(minutes)) => {
            let moment = clock::timestamp(reading, Zone::Fixed(minutes), time_zone)?;
            Ok(Timestamp {
                nanos: moment.nanos,
                zone,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(value: Value<'static>, ty: &str) -> String {
        let time_zone = chrono_tz::America::Los_Angeles;
        match convert(value, DataType::parse(ty).unwrap(), time_zone) {
            Ok(value) => text(value, time_zone).unwrap().into_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn numbers_round_half_away_from_zero() {
        for (number, int) in [("1.5", "2"), ("2.5", "3"), ("-1.5", "-2"), ("1.49", "1")] {
            let number = Value::Number(Number::parse(number).unwrap());
            assert_eq!(cast(number, "INT"), int);
        }
        assert_eq!(cast(Value::text(" 12.345 "), "NUMBER(10,2)"), "12.35");
        assert_eq!(
            cast(Value::text("one"), "INT"),
            "100038 (22018): Numeric value 'one' is not recognized"
        );
        assert_eq!(cast(Value::Float(2.5), "INT"), "3");
        assert_eq!(cast(Value::Float(1e20), "VARCHAR"), "1e+20");
        assert_eq!(cast(Value::text("abcdef"), "VARCHAR(3)"), "abc");
    }

    #[test]
    fn timestamps_keep_the_clock_or_the_moment() {
        let text = Value::text("2024-07-01 10:00:00 +0200");
        assert_eq!(
            cast(text.clone(), "TIMESTAMP_NTZ"),
            "2024-07-01 10:00:00.000"
        );
        assert_eq!(
            cast(text.clone(), "TIMESTAMP_LTZ"),
            "2024-07-01 01:00:00.000 -0700"
        );
        assert_eq!(
            cast(text.clone(), "TIMESTAMP_TZ"),
            "2024-07-01 10:00:00.000 +0200"
        );
        assert_eq!(cast(text, "DATE"), "2024-07-01");
        assert_eq!(
            cast(Value::Date(0), "TIMESTAMP_LTZ"),
            "1970-01-01 00:00:00.000 -0800"
        );
        assert_eq!(
            cast(Value::text("0"), "TIMESTAMP"),
            "1970-01-01 00:00:00.000"
        );
        assert_eq!(
            cast(Value::text("soon"), "DATE"),
            "100035 (22007): Date 'soon' is not recognized"
        );
        assert_eq!(cast(Value::text("YES"), "BOOLEAN"), "true");
    }
}
