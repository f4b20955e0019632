//! Semi-structured values. VARIANT, OBJECT and ARRAY are JSON texts with sorted keys and without
//! white space.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType as ArrowType, Field};
use base64::Engine as _;
use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::convert::{self, Session};
use super::value::{Column, Value};
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// Parses a JSON text.
///
/// # Errors
/// If the text is not JSON, or has a number with more digits than icebox keeps.
pub fn parse(text: &str) -> SqlResult<Json> {
    if has_long_number(text) {
        return Err(SqlError::unsupported(
            "JSON numbers of more than 15 digits in a VARIANT",
        ));
    }
    serde_json::from_str(text)
        .map_err(|error| SqlError::new(code::INVALID_JSON, format!("Error parsing JSON: {error}")))
}

/// Returns whether a JSON text has a number of more than 15 digits, which a float cannot keep.
fn has_long_number(text: &str) -> bool {
    let (mut quoted, mut escaped, mut digits, mut in_number) = (false, false, 0, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => (quoted, in_number) = (!quoted, false),
            _ if quoted => {}
            '0'..='9' => {
                digits = if in_number { digits + 1 } else { 1 };
                in_number = true;
                if digits > 15 {
                    return true;
                }
            }
            '.' if in_number => {}
            _ => in_number = false,
        }
    }
    false
}

/// Formats a JSON value, with the keys of objects sorted.
pub fn text(json: &Json) -> String {
    sorted(json).to_string()
}

fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<(&String, &Json)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries = entries
                .into_iter()
                .map(|(key, json)| (key.clone(), sorted(json)));
            Json::Object(entries.collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        // 1.0 is a whole number and shown as 1.
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => {
                Json::Number((float as i64).into())
            }
            _ => json.clone(),
        },
        _ => json.clone(),
    }
}

/// Converts a value of another type to the JSON text of a VARIANT.
pub fn of_value(value: &Value<'_>, session: Session) -> SqlResult<String> {
    Ok(text(&to_json(value, session)?))
}

pub fn to_json(value: &Value<'_>, session: Session) -> SqlResult<Json> {
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
            if has_long_number(&text) {
                return Err(SqlError::unsupported(
                    "numbers of more than 15 digits in a VARIANT",
                ));
            }
            number(text)?
        }
        Value::Float(float) => JsonNumber::from_f64(*float)
            .map(Json::Number)
            .ok_or_else(|| SqlError::unsupported("NaN and infinity in a VARIANT"))?,
        Value::Json(text) => parse(text)?,
        Value::Binary(bytes) => Json::String(convert::hex(bytes)),
        other => Json::String(convert::text(other.clone(), session)?.into_owned()),
    })
}

/// Converts a VARIANT to another type. A null of JSON becomes NULL, except in a VARIANT.
pub fn convert<'a>(json: &str, to: DataType, session: Session) -> SqlResult<Value<'a>> {
    let failed = || {
        SqlError::new(
            code::FAILED_CAST,
            format!("Failed to cast variant value {json} to {to}"),
        )
    };
    let parsed = parse(json)?;
    match (to, &parsed) {
        (DataType::Variant, _) => Ok(Value::json(json)),
        (_, Json::Null) => Ok(Value::Null),
        (DataType::Object, Json::Object(_)) | (DataType::Array, Json::Array(_)) => {
            Ok(Value::json(json))
        }
        (DataType::Array, _) => Ok(Value::json(text(&Json::Array(vec![parsed])))),
        (DataType::Object, _) => Err(failed()),
        (DataType::Text { .. }, Json::Object(_) | Json::Array(_)) => {
            convert::convert(Value::text(json), to, session)
        }
        (_, Json::Object(_) | Json::Array(_)) => Err(failed()),
        _ => {
            let plain = scalar(&parsed).ok_or_else(failed)?;
            convert::convert(plain, to, session).map_err(|_| failed())
        }
    }
}

/// Returns the value of JSON that is neither an object nor an array; None for these two.
fn scalar(json: &Json) -> Option<Value<'static>> {
    match json {
        Json::String(text) => Some(Value::text(text.as_str())),
        Json::Bool(boolean) => Some(Value::Boolean(*boolean)),
        Json::Number(number) => {
            let exact = super::number::Number::parse(&number.to_string());
            exact.map(Value::Number)
        }
        Json::Null => Some(Value::Null),
        _ => None,
    }
}

/// One step of a path such as `a.b[0]["c d"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Parses a path.
///
/// # Errors
/// If the text is not a path.
pub fn path(text: &str) -> SqlResult<Vec<Step>> {
    let bad = || {
        SqlError::new(
            code::INVALID_PATH,
            format!("Invalid extraction path '{text}'"),
        )
    };
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').ok_or_else(bad)?;
            rest = after;
            let quoted = inside.trim().trim_matches(['\'', '"']);
            steps.push(match inside.trim().parse() {
                Ok(index) => Step::Index(index),
                Err(_) if quoted.len() + 2 == inside.trim().len() => Step::Key(quoted.to_owned()),
                Err(_) => return Err(bad()),
            });
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (key, after) = quoted.split_once('"').ok_or_else(bad)?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end == 0 {
            return Err(bad());
        }
        steps.push(Step::Key(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    Ok(steps)
}

/// Returns the value at a path; None if there is none.
pub fn get<'a>(json: &'a Json, steps: &[Step]) -> Option<&'a Json> {
    steps.iter().try_fold(json, |json, step| match step {
        Step::Key(key) => json.get(key),
        Step::Index(index) => json.get(index),
    })
}

/// Returns the name that TYPEOF gives to the type of a JSON value.
pub fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "NULL_VALUE",
        Json::Bool(_) => "BOOLEAN",
        Json::Number(number) if number.is_f64() && !text(json).contains(['e', 'E', '.']) => {
            "INTEGER"
        }
        Json::Number(number) if number.is_f64() => "DECIMAL",
        Json::Number(_) => "INTEGER",
        Json::String(_) => "VARCHAR",
        Json::Array(_) => "ARRAY",
        Json::Object(_) => "OBJECT",
    }
}

/// Converts Arrow's lists, structs and maps, as data files have them, to JSON.
pub fn of_nested(array: &ArrayRef, field: &Field) -> SqlResult<StringArray> {
    let rows = (0..array.len()).map(|row| {
        if array.is_null(row) {
            Ok(None)
        } else {
            nested(array, field, row).map(|json| Some(text(&json)))
        }
    });
    Ok(rows.collect::<SqlResult<Vec<Option<String>>>>()?.into())
}

fn nested(array: &ArrayRef, field: &Field, row: usize) -> SqlResult<Json> {
    use arrow::array::{LargeListArray, ListArray, MapArray, StructArray};
    if array.is_null(row) {
        return Ok(Json::Null);
    }
    let items = |items: ArrayRef, field: &Field| {
        let all = (0..items.len()).map(|row| nested(&items, field, row));
        all.collect::<SqlResult<Vec<Json>>>().map(Json::Array)
    };
    let any = array.as_any();
    match array.data_type() {
        ArrowType::List(item) => match any.downcast_ref::<ListArray>() {
            Some(list) => items(list.value(row), item),
            None => Ok(Json::Null),
        },
        ArrowType::LargeList(item) => match any.downcast_ref::<LargeListArray>() {
            Some(list) => items(list.value(row), item),
            None => Ok(Json::Null),
        },
        ArrowType::Struct(fields) => {
            let mut map = Map::new();
            if let Some(array) = any.downcast_ref::<StructArray>() {
                for (field, column) in fields.iter().zip(array.columns()) {
                    // Snowflake leaves out the key of a NULL.
                    if !column.is_null(row) {
                        map.insert(field.name().clone(), nested(column, field, row)?);
                    }
                }
            }
            Ok(Json::Object(map))
        }
        ArrowType::Map(..) => {
            let mut map = Map::new();
            if let Some(array) = any.downcast_ref::<MapArray>() {
                let entries = array.value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                for row in 0..entries.len() {
                    let key = match nested(keys, &entries.fields()[0], row)? {
                        Json::String(key) => key,
                        other => other.to_string(),
                    };
                    map.insert(key, nested(values, &entries.fields()[1], row)?);
                }
            }
            Ok(Json::Object(map))
        }
        ArrowType::Binary => {
            let column = Column::new(array, field)?;
            let Value::Binary(bytes) = column.get(row) else {
                return Ok(Json::Null);
            };
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            Ok(Json::String(text))
        }
        _ => {
            let one = array.slice(row, 1);
            let column = Column::new(&(Arc::clone(&one) as ArrayRef), field)?;
            // Dates and times of day do not depend on the session. Moments are shown in UTC.
            let session = Session {
                zone: chrono_tz::UTC,
            };
            to_json(&column.get(0), session)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_walked() {
        let json = parse(r#"{"a": {"b c": [10, {"d": null}]}, "A": 1}"#).unwrap();
        let at = |text: &str| get(&json, &path(text).unwrap()).map(super::text);
        assert_eq!(at("a.\"b c\"[0]").as_deref(), Some("10"));
        assert_eq!(at("a['b c'][1].d").as_deref(), Some("null"));
        assert_eq!(at("A").as_deref(), Some("1"));
        assert_eq!(at("a.x"), None);
        assert!(path("a..b").is_err());
        assert_eq!(text(&json), r#"{"A":1,"a":{"b c":[10,{"d":null}]}}"#);
    }

    #[test]
    fn a_number_that_would_lose_digits_is_refused() {
        assert!(parse("[1234567890123456]").is_err());
        assert!(parse("[123456789012.345, \"12345678901234567890\"]").is_ok());
        assert_eq!(text(&parse("[1.0, 2.50]").unwrap()), "[1,2.5]");
    }
}
