//! Conversion of values for storage in a table. It converts as a cast does, but truncates nothing
//! (documentation, "String & binary data types": a text that is too long is an error).

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use chrono_tz::Tz;

use super::array::{self, ValueArray};
use super::clock::Zone;
use super::convert;
use super::number::{self, Number};
use super::value::Value;
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// A value that a column cannot store.
#[derive(Debug)]
pub struct StoreError {
    /// The row in the array, from 0.
    pub row: usize,
    pub error: SqlError,
}

/// Converts an array of the field `from` to one of the field `to`. `time_zone` is the session's, on
/// which some conversions depend.
///
/// # Errors
/// The first value that cannot be converted.
pub fn store(
    array: &ArrayRef,
    from: &Field,
    to: &Field,
    time_zone: Tz,
) -> Result<ArrayRef, StoreError> {
    let whole = |error| StoreError { row: 0, error };
    let ty = DataType::of_field(to);
    let column = ValueArray::new(array, from).map_err(whole)?;

    let mut row = 0;
    let values = (0..array.len()).map(|index| {
        row = index;
        convert_for_column(column.get(index), ty, time_zone)
    });
    // `build` takes one value after another and stops at the first error, so `row` is that value's
    // row.
    array::build(to, values).map_err(|error| StoreError { row, error })
}

fn convert_for_column(value: Value<'_>, ty: DataType, time_zone: Tz) -> SqlResult<Value<'_>> {
    if let (Value::Text(text), DataType::Text { length }) = (&value, ty)
        && text.chars().nth(length as usize).is_some()
    {
        let text = format!("String '{text}' is too long and would be truncated");
        return Err(SqlError::new(code::STRING_TOO_LONG, text));
    }
    if let (DataType::Number { precision, scale }, false) = (ty, value.is_null()) {
        // The error shows the value as it was given.
        let given = convert::number(&value)?;
        let digits = number::fit(given, precision, scale)?;
        return Ok(Value::Number(Number { digits, scale }));
    }
    let stored = convert::convert(value, ty, time_zone)?;
    if let (DataType::TimestampTz { .. }, Value::Timestamp(timestamp)) = (ty, &stored)
        && timestamp.zone != Zone::Fixed(0)
    {
        let feature = "storing a TIMESTAMP_TZ with an offset other than +0000; use TIMESTAMP_LTZ";
        return Err(SqlError::unsupported(feature));
    }
    Ok(stored)
}
