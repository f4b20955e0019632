//! Values by type, from Arrow and from PostgreSQL's text, which can be compared without rendering
//! either.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    /// An unscaled value without trailing zeros, and its scale.
    Decimal(i128, i8),
    /// The bits of a float, so that NaN equals NaN and -0 differs from 0.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01, without a time zone.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 UTC.
    Instant(i64),
    Interval {
        months: i64,
        days: i64,
        microseconds: i64,
    },
    List(Vec<Self>),
}

pub fn decimal(mut unscaled: i128, mut scale: i8) -> Value {
    while unscaled % 10 == 0 && scale > 0 {
        unscaled /= 10;
        scale -= 1;
    }
    Value::Decimal(unscaled, scale)
}

fn float(value: f64) -> Value {
    Value::Float(if value.is_nan() { f64::NAN } else { value }.to_bits())
}

/// Returns the rows of a query result in a canonical order.
pub fn rows(batches: &[RecordBatch]) -> Vec<Vec<Value>> {
    let mut rows: Vec<Vec<Value>> = batches
        .iter()
        .flat_map(|batch| {
            (0..batch.num_rows()).map(|row| {
                let columns = batch.columns().iter();
                columns.map(|column| from_arrow(column, row)).collect()
            })
        })
        .collect();
    rows.sort();
    rows
}

pub fn from_arrow(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8View => Value::Text(array.as_string_view().value(row).to_owned()),
        DataType::Dictionary(_, _) => {
            let plain = arrow::compute::cast(array, &DataType::Utf8).unwrap();
            from_arrow(&plain, row)
        }
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => {
            Value::Bytes(array.as_fixed_size_binary().value(row).to_vec())
        }
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match zone {
                None => Value::Timestamp(value),
                Some(_) => Value::Instant(value),
            }
        }
        DataType::List(_) => {
            let values = array.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|i| from_arrow(&values, i)).collect())
        }
        DataType::Struct(fields) => {
            let value = array.as_struct();
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names, ["months", "days", "microseconds"]);
            let part = |column: usize| match from_arrow(value.column(column), row) {
                Value::Integer(part) => part,
                other => panic!("{other:?} in an interval"),
            };
            Value::Interval {
                months: part(0),
                days: part(1),
                microseconds: part(2),
            }
        }
        other => panic!("no test value for {other}"),
    }
}

/// Parses a CSV file that COPY wrote with NULL as `\N`, and returns its header and its rows in a
/// canonical order. `types` are PostgreSQL's, each with whether it is an array of integers.
pub fn from_csv(csv: &str, types: &[(&str, bool)]) -> (Vec<String>, Vec<Vec<Value>>) {
    let mut records = split(csv).into_iter();
    let header = records.next().unwrap().into_iter().flatten().collect();
    let mut rows: Vec<Vec<Value>> = records
        .map(|record| {
            assert_eq!(record.len(), types.len());
            let fields = record.iter().zip(types);
            fields
                .map(|(field, (r#type, int_list))| match field {
                    None => Value::Null,
                    Some(text) => from_text(text, r#type, *int_list),
                })
                .collect()
        })
        .collect();
    rows.sort();
    (header, rows)
}

/// Splits CSV into records of fields. An unquoted `\N` is None.
fn split(csv: &str) -> Vec<Vec<Option<String>>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut chars = csv.chars().peekable();
    while chars.peek().is_some() {
        let mut field = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.peek() {
                Some('"') if quoted => {
                    chars.next();
                    if chars.next_if_eq(&'"').is_none() {
                        break;
                    }
                    field.push('"');
                }
                None => break,
                Some(',' | '\n') if !quoted => break,
                Some(&other) => {
                    field.push(other);
                    chars.next();
                }
            }
        }
        record.push((quoted || field != "\\N").then_some(field));
        if chars.next() != Some(',') {
            records.push(std::mem::take(&mut record));
        }
    }
    records
}

pub fn from_text(text: &str, r#type: &str, int_list: bool) -> Value {
    match r#type {
        "smallint" | "integer" | "bigint" => Value::Integer(text.parse().unwrap()),
        "boolean" => Value::Boolean(text == "t"),
        "real" => float(text.parse::<f32>().unwrap().into()),
        "double precision" => float(text.parse().unwrap()),
        "numeric" => {
            let scale = text.split_once('.').map_or(0, |(_, digits)| digits.len());
            let digits: String = text.chars().filter(|c| *c != '.').collect();
            decimal(digits.parse().unwrap(), scale as i8)
        }
        "text" | "character" | "character varying" | "jsonb" => Value::Text(text.to_owned()),
        "bytea" => Value::Bytes(hex(text.strip_prefix("\\x").unwrap())),
        "uuid" => Value::Bytes(hex(&text.replace('-', ""))),
        "date" => {
            let date: NaiveDate = text.parse().unwrap();
            Value::Date((date - NaiveDate::default()).num_days() as i32)
        }
        "time without time zone" => Value::Time(microseconds_of_day(text)),
        "timestamp without time zone" => {
            let format = "%Y-%m-%d %H:%M:%S%.f";
            let value = NaiveDateTime::parse_from_str(text, format).unwrap();
            Value::Timestamp(value.and_utc().timestamp_micros())
        }
        "timestamp with time zone" => {
            let value = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").unwrap();
            Value::Instant(value.timestamp_micros())
        }
        "interval" => interval(text),
        "ARRAY" => Value::List(list(text, if int_list { "integer" } else { "text" })),
        other => panic!("no test value for {other}"),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn microseconds_of_day(text: &str) -> i64 {
    let time: NaiveTime = text.parse().unwrap();
    i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000)
}

/// Parses an interval such as `1 mon 2 days 03:04:05.6`.
fn interval(text: &str) -> Value {
    let (mut months, mut days, mut microseconds) = (0, 0, 0);
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            microseconds = microseconds_of_day(word);
            continue;
        }
        let count: i64 = word.parse().unwrap();
        match words.next() {
            Some("year" | "years") => months += 12 * count,
            Some("mon" | "mons") => months += count,
            Some("day" | "days") => days += count,
            other => panic!("{other:?} in an interval"),
        }
    }
    Value::Interval {
        months,
        days,
        microseconds,
    }
}

/// Parses an array such as `{a,"b,c",NULL}`.
fn list(text: &str, element: &str) -> Vec<Value> {
    let inner = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    let records = split(inner);
    let Some(fields) = records.first() else {
        return Vec::new();
    };
    fields
        .iter()
        .map(|field| match field.as_deref() {
            Some("NULL") | None => Value::Null,
            Some(field) => from_text(field, element, false),
        })
        .collect()
}
