//! The arguments of one row of a scalar function, read as the type that the function needs.

use std::borrow::Cow;

use super::ScalarCall;
use crate::error::{SqlError, SqlResult, code};
use crate::query::convert::{self, variant};
use crate::query::value::Value;
use crate::types::DataType;

/// Returns an argument as text, converted if it has another type.
pub fn text<'a>(call: &ScalarCall, values: &[Value<'a>], index: usize) -> SqlResult<Cow<'a, str>> {
    let value = values.get(index).cloned().unwrap_or(Value::Null);
    match value {
        Value::Json(json) => {
            let text = variant::convert(&json, DataType::TEXT, call.time_zone)?;
            convert::text(text, call.time_zone)
        }
        value => convert::text(value, call.time_zone),
    }
}

pub fn integer(call: &ScalarCall, values: &[Value<'_>], index: usize) -> SqlResult<i64> {
    let value = values.get(index).ok_or_else(|| call.wrong_types())?;
    let number = convert::number(value).map_err(|_| call.wrong_types())?;
    i64::try_from(number.rounded()).map_err(|_| {
        SqlError::new(
            code::NUMBER_OUT_OF_RANGE,
            format!("Numeric value '{number}' is out of range"),
        )
    })
}

pub fn float(call: &ScalarCall, values: &[Value<'_>], index: usize) -> SqlResult<f64> {
    let value = values.get(index).ok_or_else(|| call.wrong_types())?;
    convert::float(value)
}
