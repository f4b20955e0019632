//! Values on their way into a table: as a cast converts them, but nothing is cut off (documentation, "String & binary data
//! types": a text that is too long is an error).

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use chrono_tz::Tz;

use super::convert::{self, Session};
use super::number::{self, Number};
use super::value::{self, Column, Value, Zone};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::types::DataType;

/// A value that a column cannot take.
#[derive(Debug)]
pub struct Misfit {
    /// In the array, from 0.
    pub row: usize,
    pub error: SqlError,
}

/// An array of `from` as one of `to`, with `zone` for what depends on the session's time zone.
///
/// # Errors
/// The first value that has no counterpart.
pub fn store(array: &ArrayRef, from: &Field, to: &Field, zone: Tz) -> Result<ArrayRef, Misfit> {
    let whole = |error| Misfit { row: 0, error };
    let ty = DataType::of_field(to);
    let column = Column::new(array, from).map_err(whole)?;
    let session = Session { zone };
    let mut row = 0;
    let values = (0..array.len()).map(|index| {
        row = index;
        fitting(column.get(index), ty, session)
    });
    // Building asks for one value after another, and ends at the first that it cannot take.
    value::build(to, values).map_err(|error| Misfit { row, error })
}

fn fitting<'a>(value: Value<'a>, ty: DataType, session: Session) -> SqlResult<Value<'a>> {
    if let (Value::Text(text), DataType::Text { length }) = (&value, ty)
        && text.chars().nth(length as usize).is_some()
    {
        let text = format!("String '{text}' is too long and would be truncated");
        return Err(SqlError::new(100_078, "22000", text));
    }
    if let (DataType::Number { precision, scale }, false) = (ty, value.is_null()) {
        // The error shows the value as it was given.
        let given = convert::number(&value)?;
        let digits = number::fit(given, precision, scale)?;
        return Ok(Value::Number(Number { digits, scale }));
    }
    let stored = convert::convert(value, ty, session)?;
    if let (DataType::TimestampTz { .. }, Value::Timestamp(timestamp)) = (ty, &stored)
        && timestamp.zone != Zone::Fixed(0)
    {
        let feature = "a TIMESTAMP_TZ of another offset than +0000 in a table";
        return Err(SqlError::unsupported(feature));
    }
    Ok(stored)
}
