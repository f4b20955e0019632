//! Arrow arrays as values, and values as Arrow arrays.

mod nested;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Date32Array,
    Date32Builder, Decimal128Array, Decimal128Builder, Float64Array, Float64Builder, Int64Array,
    StringArray, StringBuilder, Time64NanosecondArray, Time64NanosecondBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field, TimeUnit};

use super::clock::{self, SECOND, Timestamp, Zone};
use super::number::{self, Number};
use super::value::Value;
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// An Arrow array in one of the few forms that all others are cast to.
pub enum ValueArray {
    Null,
    Number(Decimal128Array, u8),
    Float(Float64Array),
    Text(StringArray),
    Json(StringArray),
    Boolean(BooleanArray),
    Date(Date32Array),
    Time(Time64NanosecondArray),
    /// Counts of a unit, the unit's nanoseconds, and the zone.
    Timestamp(Int64Array, i128, Zone),
    Binary(BinaryArray),
}

impl ValueArray {
    /// Reads an array of a field.
    ///
    /// # Errors
    /// If Snowflake's types cannot represent values of its Arrow type.
    pub fn new(array: &ArrayRef, field: &Field) -> SqlResult<Self> {
        let to = |ty: &ArrowType| exact_cast(array, ty);
        if array.data_type() == &ArrowType::Null {
            return Ok(Self::Null);
        }
        Ok(match DataType::of_field(field) {
            DataType::Number { precision, scale } => {
                let array = to(&ArrowType::Decimal128(precision, scale as i8))?;
                Self::Number(downcast(&array)?, scale)
            }
            DataType::Float => Self::Float(downcast(&to(&ArrowType::Float64)?)?),
            DataType::Boolean => Self::Boolean(downcast(array)?),
            DataType::Date => Self::Date(downcast(&to(&ArrowType::Date32)?)?),
            DataType::Time { .. } => {
                Self::Time(downcast(&to(&ArrowType::Time64(TimeUnit::Nanosecond))?)?)
            }
            ty @ (DataType::TimestampNtz { .. }
            | DataType::TimestampLtz { .. }
            | DataType::TimestampTz { .. }) => {
                let ArrowType::Timestamp(unit, zone) = array.data_type() else {
                    return Err(SqlError::unsupported(format_args!(
                        "{ty} as {}",
                        array.data_type()
                    )));
                };
                let zone = match ty {
                    DataType::TimestampNtz { .. } => Zone::None,
                    DataType::TimestampLtz { .. } => Zone::Session,
                    _ => Zone::Fixed(clock::offset_minutes(zone.as_deref().unwrap_or_default())),
                };
                Self::Timestamp(
                    downcast(&to(&ArrowType::Int64)?)?,
                    nanos_per_unit(*unit),
                    zone,
                )
            }
            DataType::Binary { .. } => Self::Binary(downcast(&to(&ArrowType::Binary)?)?),
            DataType::Text { .. } => Self::Text(downcast(&to(&ArrowType::Utf8)?)?),
            DataType::Uuid => match array.data_type() {
                ArrowType::FixedSizeBinary(_) => Self::Text(uuids(array)?),
                _ => Self::Text(downcast(&to(&ArrowType::Utf8)?)?),
            },
            DataType::Variant | DataType::Object | DataType::Array => match array.data_type() {
                ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
                    Self::Json(downcast(&to(&ArrowType::Utf8)?)?)
                }
                _ => Self::Json(nested::json_texts(array, field)?),
            },
        })
    }

    pub fn get(&self, row: usize) -> Value<'_> {
        let array: &dyn Array = match self {
            Self::Null => return Value::Null,
            Self::Number(array, _) => array,
            Self::Float(array) => array,
            Self::Text(array) | Self::Json(array) => array,
            Self::Boolean(array) => array,
            Self::Date(array) => array,
            Self::Time(array) => array,
            Self::Timestamp(array, ..) => array,
            Self::Binary(array) => array,
        };
        if array.is_null(row) {
            return Value::Null;
        }
        match self {
            Self::Null => Value::Null,
            Self::Number(array, scale) => Value::Number(Number {
                digits: array.value(row),
                scale: *scale,
            }),
            Self::Float(array) => Value::Float(array.value(row)),
            Self::Text(array) => Value::Text(Cow::Borrowed(array.value(row))),
            Self::Json(array) => Value::Json(Cow::Borrowed(array.value(row))),
            Self::Boolean(array) => Value::Boolean(array.value(row)),
            Self::Date(array) => Value::Date(array.value(row)),
            Self::Time(array) => Value::Time(array.value(row)),
            Self::Timestamp(array, unit, zone) => Value::Timestamp(Timestamp {
                nanos: i128::from(array.value(row)) * unit,
                zone: *zone,
            }),
            Self::Binary(array) => Value::Binary(Cow::Borrowed(array.value(row))),
        }
    }
}

/// Casts an array. A value that does not fit is an error, where Arrow's default would be NULL.
pub fn exact_cast(array: &ArrayRef, ty: &ArrowType) -> SqlResult<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, ty, &options).map_err(|error| SqlError::internal(&error))
}

fn downcast<T: Array + Clone + 'static>(array: &ArrayRef) -> SqlResult<T> {
    let array = array.as_any().downcast_ref::<T>().cloned();
    array.ok_or_else(|| SqlError::new(code::INTERNAL, "an array is of another type than its field"))
}

fn uuids(array: &ArrayRef) -> SqlResult<StringArray> {
    let array: arrow::array::FixedSizeBinaryArray = downcast(array)?;
    let text = |bytes: &[u8]| uuid::Uuid::from_slice(bytes).map(|uuid| uuid.to_string());
    Ok(array
        .iter()
        .map(|bytes| bytes.and_then(|bytes| text(bytes).ok()))
        .collect())
}

/// Returns the nanoseconds of a unit.
pub fn nanos_per_unit(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Builds an array of a field from values.
///
/// # Errors
/// If a value does not fit, such as a number with too many digits or a timestamp outside the range
/// of 64 bits.
pub fn build<'a>(
    field: &Field,
    values: impl ExactSizeIterator<Item = SqlResult<Value<'a>>>,
) -> SqlResult<ArrayRef> {
    macro_rules! collect {
        ($builder:expr, $convert:expr) => {{
            let mut builder = $builder;
            for value in values {
                match value? {
                    Value::Null => builder.append_null(),
                    value => builder.append_value($convert(value)?),
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let ty = DataType::of_field(field);
    let wrong = |value: Value<'_>| {
        SqlError::new(
            code::INTERNAL,
            format!("a value {value:?} is not of type {ty}"),
        )
    };
    Ok(match ty {
        DataType::Number { precision, scale } => {
            let number = |value| match value {
                Value::Number(number) => number::fit(number, precision, scale),
                other => Err(wrong(other)),
            };
            let builder = Decimal128Builder::with_capacity(values.len())
                .with_data_type(ArrowType::Decimal128(precision, scale as i8));
            collect!(builder, number)
        }
        DataType::Float => collect!(Float64Builder::with_capacity(values.len()), |value| {
            match value {
                Value::Float(float) => Ok(float),
                Value::Number(number) => Ok(number.to_f64()),
                other => Err(wrong(other)),
            }
        }),
        DataType::Boolean => collect!(BooleanBuilder::with_capacity(values.len()), |value| {
            match value {
                Value::Boolean(boolean) => Ok(boolean),
                other => Err(wrong(other)),
            }
        }),
        DataType::Date => collect!(Date32Builder::with_capacity(values.len()), |value| {
            match value {
                Value::Date(date) => Ok(date),
                other => Err(wrong(other)),
            }
        }),
        DataType::Time { .. } => {
            collect!(
                Time64NanosecondBuilder::with_capacity(values.len()),
                |value| match value {
                    Value::Time(time) => Ok(time),
                    other => Err(wrong(other)),
                }
            )
        }
        DataType::TimestampNtz { .. }
        | DataType::TimestampLtz { .. }
        | DataType::TimestampTz { .. } => {
            let unit = match field.data_type() {
                ArrowType::Timestamp(unit, _) => nanos_per_unit(*unit),
                _ => 1,
            };
            let counts = values.map(|value| match value? {
                Value::Null => Ok(None),
                Value::Timestamp(timestamp) => {
                    let count = i64::try_from(timestamp.nanos.div_euclid(unit));
                    count.map(Some).map_err(|_| far_away())
                }
                other => Err(wrong(other)),
            });
            let counts: Int64Array = counts.collect::<SqlResult<Vec<_>>>()?.into();
            exact_cast(&(Arc::new(counts) as ArrayRef), field.data_type())?
        }
        DataType::Binary { .. } => collect!(BinaryBuilder::new(), |value| match value {
            Value::Binary(bytes) => Ok(bytes),
            other => Err(wrong(other)),
        }),
        DataType::Text { .. }
        | DataType::Uuid
        | DataType::Variant
        | DataType::Object
        | DataType::Array => {
            let builder = StringBuilder::with_capacity(values.len(), values.len() * 16);
            collect!(builder, |value| match value {
                Value::Text(text) | Value::Json(text) => Ok(text),
                other => Err(wrong(other)),
            })
        }
    })
}

fn far_away() -> SqlError {
    SqlError::unsupported(
        "timestamps with nanoseconds before 1677-09-21 or after 2262-04-11; use DATE or TIMESTAMP_NTZ(6)",
    )
}
