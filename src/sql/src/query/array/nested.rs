//! Nested Arrow arrays as JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType as ArrowType, Field};
use base64::Engine as _;
use serde_json::{Map, Value as Json};

use super::ValueArray;
use crate::error::SqlResult;
use crate::query::convert::variant;
use crate::query::json;
use crate::query::value::Value;

/// Converts Arrow's lists, structs and maps, as data files have them, to JSON.
pub fn json_texts(array: &ArrayRef, field: &Field) -> SqlResult<StringArray> {
    let rows = (0..array.len()).map(|row| {
        if array.is_null(row) {
            Ok(None)
        } else {
            nested(array, field, row).map(|json| Some(json::text(&json)))
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
            let column = ValueArray::new(array, field)?;
            let Value::Binary(bytes) = column.get(row) else {
                return Ok(Json::Null);
            };
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            Ok(Json::String(text))
        }
        _ => {
            let one = array.slice(row, 1);
            let column = ValueArray::new(&(Arc::clone(&one) as ArrayRef), field)?;
            // Dates and times of day do not depend on the time_zone. Moments are shown in UTC.
            variant::to_json(&column.get(0), chrono_tz::UTC)
        }
    }
}
