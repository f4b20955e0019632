//! Answers of engines that return Arrow: the reader of the Snowflake side, and any other engine on
//! DataFusion.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    self as types, ArrowPrimitiveType, DataType, IntervalUnit, SchemaRef, TimeUnit,
};
use async_trait::async_trait;

use super::{Answer, Column, Decimal, DecodeError, Source, SourceError, Value, ValueKind};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// An SQL engine whose results are Arrow record batches.
#[async_trait]
pub trait ArrowEngine: Send + Sync {
    /// Runs one query. The schema is the result's even if there is no batch.
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError>;
}

#[async_trait]
impl<E: ArrowEngine + ?Sized> ArrowEngine for Arc<E> {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        (**self).query(sql).await
    }
}

/// A source of tables in an Arrow engine. Their names are the logical names after a prefix.
pub struct ArrowSource<E> {
    name: String,
    prefix: String,
    engine: E,
}

impl<E: ArrowEngine> ArrowSource<E> {
    /// Returns a source called `name` in reports, whose table `transactions` is
    /// `<prefix>transactions`.
    pub fn new(name: impl Into<String>, prefix: impl Into<String>, engine: E) -> Self {
        Self {
            name: name.into(),
            prefix: prefix.into(),
            engine,
        }
    }
}

#[async_trait]
impl<E: ArrowEngine> Source for ArrowSource<E> {
    fn name(&self) -> &str {
        &self.name
    }

    fn table_name(&self, logical: &str) -> String {
        format!("{}{logical}", self.prefix)
    }

    async fn answer(&self, sql: &str) -> Result<Answer, SourceError> {
        let (schema, batches) = self.engine.query(sql).await?;
        Ok(decode(&schema, &batches)?)
    }
}

/// Turns record batches of one schema into an answer.
pub fn decode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Answer, DecodeError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            Ok(Column {
                name: field.name().clone(),
                kind: kind(field.name(), field.data_type())?,
            })
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .zip(&columns)
                .map(|(array, column)| {
                    value(array, row).map_err(|reason| DecodeError::BadValue {
                        column: column.name.clone(),
                        reason,
                    })
                })
                .collect::<Result<_, _>>()?;
            rows.push(values);
        }
    }
    Ok(Answer { columns, rows })
}

fn kind(column: &str, data_type: &DataType) -> Result<ValueKind, DecodeError> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Decimal32, Decimal64, Decimal128, Decimal256,
        Dictionary, Duration, FixedSizeBinary, FixedSizeList, Float32, Float64, Int8, Int16, Int32,
        Int64, Interval, LargeBinary, LargeList, LargeUtf8, List, Null, Time32, Time64, Timestamp,
        UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    Ok(match data_type {
        Null => ValueKind::Null,
        Boolean => ValueKind::Bool,
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => ValueKind::Int,
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => ValueKind::Decimal,
        Float32 | Float64 => ValueKind::Float,
        Utf8 | LargeUtf8 | Utf8View => ValueKind::Text,
        // This is Iceberg's uuid; pg_lake writes no `fixed` column.
        FixedSizeBinary(16) => ValueKind::Uuid,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => ValueKind::Bytes,
        Date32 => ValueKind::Date,
        Time32(_) | Time64(_) => ValueKind::Time,
        Timestamp(_, None) => ValueKind::Timestamp,
        Timestamp(_, Some(_)) => ValueKind::TimestampTz,
        Interval(_) | Duration(_) => ValueKind::Interval,
        List(element) | LargeList(element) | FixedSizeList(element, _) => {
            kind(column, element.data_type())?;
            ValueKind::List
        }
        Dictionary(_, values) => kind(column, values)?,
        _ => {
            return Err(DecodeError::UnsupportedType {
                column: column.to_owned(),
                data_type: data_type.to_string(),
            });
        }
    })
}

/// Returns the value at `row`, or why it cannot be compared exactly.
fn value(array: &ArrayRef, row: usize) -> Result<Value, String> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Decimal32, Decimal64, Decimal128, Decimal256,
        Dictionary, Duration, FixedSizeBinary, FixedSizeList, Float32, Float64, Int8, Int16, Int32,
        Int64, Interval, LargeBinary, LargeList, LargeUtf8, List, Null, Time32, Time64, Timestamp,
        UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        Null => Value::Null,
        Boolean => Value::Bool(array.as_boolean().value(row)),
        Int8 => Value::Int(native::<types::Int8Type>(array, row).into()),
        Int16 => Value::Int(native::<types::Int16Type>(array, row).into()),
        Int32 => Value::Int(native::<types::Int32Type>(array, row).into()),
        Int64 => Value::Int(native::<types::Int64Type>(array, row).into()),
        UInt8 => Value::Int(native::<types::UInt8Type>(array, row).into()),
        UInt16 => Value::Int(native::<types::UInt16Type>(array, row).into()),
        UInt32 => Value::Int(native::<types::UInt32Type>(array, row).into()),
        UInt64 => Value::Int(native::<types::UInt64Type>(array, row).into()),
        Decimal32(_, scale) => decimal(native::<types::Decimal32Type>(array, row), *scale),
        Decimal64(_, scale) => decimal(native::<types::Decimal64Type>(array, row), *scale),
        Decimal128(_, scale) => decimal(native::<types::Decimal128Type>(array, row), *scale),
        Decimal256(_, scale) => decimal(native::<types::Decimal256Type>(array, row), *scale),
        Float32 => Value::Float(native::<types::Float32Type>(array, row).into()),
        Float64 => Value::Float(native::<types::Float64Type>(array, row)),
        Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        LargeUtf8 => Value::Text(array.as_string::<i64>().value(row).to_owned()),
        Utf8View => Value::Text(array.as_string_view().value(row).to_owned()),
        FixedSizeBinary(16) => Value::Uuid(
            uuid::Uuid::from_slice(array.as_fixed_size_binary().value(row))
                .map_err(|error| error.to_string())?,
        ),
        FixedSizeBinary(_) => Value::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
        Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        BinaryView => Value::Bytes(array.as_binary_view().value(row).to_vec()),
        Date32 => Value::Date(native::<types::Date32Type>(array, row)),
        Time32(TimeUnit::Second) => {
            Value::Time(i64::from(native::<types::Time32SecondType>(array, row)) * 1_000_000)
        }
        Time32(_) => {
            Value::Time(i64::from(native::<types::Time32MillisecondType>(array, row)) * 1000)
        }
        Time64(TimeUnit::Microsecond) => {
            Value::Time(native::<types::Time64MicrosecondType>(array, row))
        }
        Time64(_) => Value::Time(micros(
            native::<types::Time64NanosecondType>(array, row),
            TimeUnit::Nanosecond,
        )?),
        Timestamp(unit, zone) => {
            let count = match unit {
                TimeUnit::Second => native::<types::TimestampSecondType>(array, row),
                TimeUnit::Millisecond => native::<types::TimestampMillisecondType>(array, row),
                TimeUnit::Microsecond => native::<types::TimestampMicrosecondType>(array, row),
                TimeUnit::Nanosecond => native::<types::TimestampNanosecondType>(array, row),
            };
            let micros = micros(count, *unit)?;
            if zone.is_some() {
                Value::TimestampTz(micros)
            } else {
                Value::Timestamp(micros)
            }
        }
        Interval(IntervalUnit::YearMonth) => {
            let months = native::<types::IntervalYearMonthType>(array, row);
            Value::Interval {
                months,
                days: 0,
                micros: 0,
            }
        }
        Interval(IntervalUnit::DayTime) => {
            let interval = native::<types::IntervalDayTimeType>(array, row);
            Value::Interval {
                months: 0,
                days: interval.days,
                micros: i64::from(interval.milliseconds) * 1000,
            }
        }
        Interval(IntervalUnit::MonthDayNano) => {
            let interval = native::<types::IntervalMonthDayNanoType>(array, row);
            let micros = micros(interval.nanoseconds, TimeUnit::Nanosecond)?;
            Value::Interval {
                months: interval.months,
                days: interval.days,
                micros,
            }
        }
        // The difference of two timestamps, which PostgreSQL returns as days and the rest of a day.
        Duration(unit) => {
            let count = match unit {
                TimeUnit::Second => native::<types::DurationSecondType>(array, row),
                TimeUnit::Millisecond => native::<types::DurationMillisecondType>(array, row),
                TimeUnit::Microsecond => native::<types::DurationMicrosecondType>(array, row),
                TimeUnit::Nanosecond => native::<types::DurationNanosecondType>(array, row),
            };
            let micros = micros(count, *unit)?;
            let days = i32::try_from(micros / MICROS_PER_DAY)
                .map_err(|_| format!("{micros} µs are too many days"))?;
            Value::Interval {
                months: 0,
                days,
                micros: micros % MICROS_PER_DAY,
            }
        }
        List(_) => list(&array.as_list::<i32>().value(row))?,
        LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        Dictionary(_, values) => {
            let plain = arrow::compute::cast(&array.slice(row, 1), values)
                .map_err(|error| error.to_string())?;
            value(&plain, 0)?
        }
        other => return Err(format!("a value of type {other} cannot be compared")),
    })
}

fn native<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn decimal(unscaled: impl std::fmt::Display, scale: i8) -> Value {
    Value::Decimal(Decimal::from_unscaled(&unscaled.to_string(), scale.into()))
}

/// Converts `count` units to microseconds. A finer value is an error, so that no rounded value is
/// compared.
fn micros(count: i64, unit: TimeUnit) -> Result<i64, String> {
    let scaled = |factor| {
        count
            .checked_mul(factor)
            .ok_or_else(|| format!("{count} {unit:?}s are out of range"))
    };
    match unit {
        TimeUnit::Second => scaled(1_000_000),
        TimeUnit::Millisecond => scaled(1000),
        TimeUnit::Microsecond => Ok(count),
        TimeUnit::Nanosecond if count % 1000 == 0 => Ok(count / 1000),
        TimeUnit::Nanosecond => Err(format!("{count} nanoseconds are not whole microseconds")),
    }
}

fn list(elements: &ArrayRef) -> Result<Value, String> {
    (0..elements.len())
        .map(|index| value(elements, index))
        .collect::<Result<_, _>>()
        .map(Value::List)
}
