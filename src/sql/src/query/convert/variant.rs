//! Conversions from and to VARIANT, OBJECT and ARRAY.

use chrono_tz::Tz;
use serde_json::{Number as JsonNumber, Value as Json};

use crate::error::{SqlError, SqlResult, code};
use crate::query::json;
use crate::query::number::Number;
use crate::query::value::Value;
use crate::types::DataType;

/// Converts a value of another type to the JSON text of a VARIANT.
pub fn json_text(value: &Value<'_>, time_zone: Tz) -> SqlResult<String> {
    Ok(json::text(&to_json(value, time_zone)?))
}

pub fn to_json(value: &Value<'_>, time_zone: Tz) -> SqlResult<Json> {
    let number = |text: String| {
        let number: Result<JsonNumber, _> = serde_json::from_str(&text);
        number
            .map(Json::Number)
            .map_err(|error| SqlError::internal(&error))
    };
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::Number(exact) => {
            // Trailing zeros after the point do not count as digits.
            let mut exact = *exact;
            while exact.scale > 0 && exact.digits % 10 == 0 {
                exact.digits /= 10;
                exact.scale -= 1;
            }
            let text = exact.to_string();
            if json::has_long_number(&text) {
                return Err(SqlError::unsupported(
                    "numbers of more than 15 digits in a VARIANT",
                ));
            }
            number(text)?
        }
        Value::Float(float) => JsonNumber::from_f64(*float)
            .map(Json::Number)
            .ok_or_else(|| SqlError::unsupported("NaN and infinity in a VARIANT"))?,
        Value::Json(text) => json::parse(text)?,
        Value::Binary(bytes) => Json::String(hex::encode_upper(bytes)),
        other => Json::String(super::text(other.clone(), time_zone)?.into_owned()),
    })
}

/// Converts a VARIANT to another type. A null of JSON becomes NULL, except in a VARIANT.
pub fn convert<'a>(json_text: &str, to: DataType, time_zone: Tz) -> SqlResult<Value<'a>> {
    let failed = || {
        SqlError::new(
            code::FAILED_CAST,
            format!("Failed to cast variant value {json_text} to {to}"),
        )
    };
    let parsed = json::parse(json_text)?;
    match (to, &parsed) {
        (DataType::Variant, _) => Ok(Value::json(json_text)),
        (_, Json::Null) => Ok(Value::Null),
        (DataType::Object, Json::Object(_)) | (DataType::Array, Json::Array(_)) => {
            Ok(Value::json(json_text))
        }
        (DataType::Array, _) => Ok(Value::json(json::text(&Json::Array(vec![parsed])))),
        (DataType::Object, _) => Err(failed()),
        (DataType::Text { .. }, Json::Object(_) | Json::Array(_)) => {
            super::convert(Value::text(json_text), to, time_zone)
        }
        (_, Json::Object(_) | Json::Array(_)) => Err(failed()),
        _ => {
            let plain = scalar(&parsed).ok_or_else(failed)?;
            super::convert(plain, to, time_zone).map_err(|_| failed())
        }
    }
}

/// Returns the value of JSON that is neither an object nor an array; None for these two.
fn scalar(json: &Json) -> Option<Value<'static>> {
    match json {
        Json::String(text) => Some(Value::text(text.as_str())),
        Json::Bool(boolean) => Some(Value::Boolean(*boolean)),
        Json::Number(number) => {
            let exact = Number::parse(&number.to_string());
            exact.map(Value::Number)
        }
        Json::Null => Some(Value::Null),
        _ => None,
    }
}
