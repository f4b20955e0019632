//! Answers of PostgreSQL: the binary results of the extended protocol, decoded by type.
//!
//! The binary formats are those of the types' send functions (PostgreSQL source,
//! `src/backend/utils/adt/`: `numeric_send`, `date_send`, `timestamp_send`, `interval_send`,
//! `array_send`).

use async_trait::async_trait;
use tokio_postgres::types::{FromSql, Kind as TypeKind, Type};

use super::{Answer, Column, Decimal, DecodeError, Source, SourceError, Value, ValueKind};

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A source of tables on one PostgreSQL connection. Their names are the logical names after a
/// prefix.
pub struct PostgresSource {
    name: String,
    prefix: String,
    client: std::sync::Arc<tokio_postgres::Client>,
}

impl PostgresSource {
    /// Returns a source called `name` in reports, whose table `transactions` is
    /// `<prefix>transactions`.
    pub fn new(
        name: impl Into<String>,
        prefix: impl Into<String>,
        client: std::sync::Arc<tokio_postgres::Client>,
    ) -> Self {
        Self {
            name: name.into(),
            prefix: prefix.into(),
            client,
        }
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn table_name(&self, logical: &str) -> String {
        format!("{}{logical}", self.prefix)
    }

    async fn answer(&self, sql: &str) -> Result<Answer, SourceError> {
        let statement = self
            .client
            .prepare(sql)
            .await
            .map_err(SourceError::postgres)?;
        let rows = self
            .client
            .query(&statement, &[])
            .await
            .map_err(SourceError::postgres)?;
        Ok(decode(statement.columns(), &rows)?)
    }
}

/// Turns PostgreSQL's rows into an answer. `columns` describes them even if there are none.
pub fn decode(
    columns: &[tokio_postgres::Column],
    rows: &[tokio_postgres::Row],
) -> Result<Answer, DecodeError> {
    let described = columns
        .iter()
        .map(|column| {
            Ok(Column {
                name: column.name().to_owned(),
                kind: kind(column.name(), column.type_())?,
            })
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let rows = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    let bad = |reason| DecodeError::BadValue {
                        column: column.name().to_owned(),
                        reason,
                    };
                    match row
                        .try_get::<_, Option<Raw<'_>>>(index)
                        .map_err(|error| bad(error.to_string()))?
                    {
                        Some(Raw(bytes)) => value(column.type_(), bytes).ok_or_else(|| {
                            bad(format!("not a binary {}: {bytes:02x?}", column.type_()))
                        }),
                        None => Ok(Value::Null),
                    }
                })
                .collect()
        })
        .collect::<Result<_, _>>()?;
    Ok(Answer {
        columns: described,
        rows,
    })
}

/// A value's bytes as the server sent them, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn kind(column: &str, data_type: &Type) -> Result<ValueKind, DecodeError> {
    Ok(match *data_type {
        Type::BOOL => ValueKind::Bool,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => ValueKind::Int,
        Type::NUMERIC => ValueKind::Decimal,
        Type::FLOAT4 | Type::FLOAT8 => ValueKind::Float,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::JSON
        | Type::JSONB => ValueKind::Text,
        Type::BYTEA => ValueKind::Bytes,
        Type::DATE => ValueKind::Date,
        Type::TIME => ValueKind::Time,
        Type::TIMESTAMP => ValueKind::Timestamp,
        Type::TIMESTAMPTZ => ValueKind::TimestampTz,
        Type::INTERVAL => ValueKind::Interval,
        Type::UUID => ValueKind::Uuid,
        // The return type of a function without a result, such as pg_sleep.
        Type::VOID => ValueKind::Null,
        _ => match data_type.kind() {
            TypeKind::Array(element) => {
                kind(column, element)?;
                ValueKind::List
            }
            TypeKind::Domain(base) => kind(column, base)?,
            TypeKind::Enum(_) => ValueKind::Text,
            _ => {
                return Err(DecodeError::UnsupportedType {
                    column: column.to_owned(),
                    data_type: data_type.to_string(),
                });
            }
        },
    })
}

/// Returns the value of `bytes`, or `None` if they are not a value of the type.
fn value(data_type: &Type, bytes: &[u8]) -> Option<Value> {
    let text = |bytes: &[u8]| Some(Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
    Some(match *data_type {
        Type::BOOL => Value::Bool(bytes.first()? != &0),
        Type::INT2 => Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT4 => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT8 => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::OID => Value::Int(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::NUMERIC => Value::Decimal(numeric(bytes)?),
        Type::FLOAT4 => Value::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::FLOAT8 => Value::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            text(bytes)?
        }
        // A version number, 1, precedes the text.
        Type::JSONB => text(bytes.strip_prefix(&[1])?)?,
        Type::BYTEA => Value::Bytes(bytes.to_vec()),
        Type::DATE => Value::Date(match i32::from_be_bytes(bytes.try_into().ok()?) {
            infinite @ (i32::MIN | i32::MAX) => infinite,
            days => days.checked_add(EPOCH_DAYS)?,
        }),
        Type::TIME => Value::Time(i64::from_be_bytes(bytes.try_into().ok()?)),
        Type::TIMESTAMP => Value::Timestamp(timestamp(bytes)?),
        Type::TIMESTAMPTZ => Value::TimestampTz(timestamp(bytes)?),
        Type::INTERVAL => Value::Interval {
            micros: i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?),
            days: i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?),
            months: i32::from_be_bytes(bytes.get(12..)?.try_into().ok()?),
        },
        Type::UUID => Value::Uuid(uuid::Uuid::from_slice(bytes).ok()?),
        Type::VOID => Value::Null,
        _ => match data_type.kind() {
            TypeKind::Array(element) => Value::List(array(element, bytes)?),
            TypeKind::Domain(base) => value(base, bytes)?,
            TypeKind::Enum(_) => text(bytes)?,
            _ => return None,
        },
    })
}

fn timestamp(bytes: &[u8]) -> Option<i64> {
    match i64::from_be_bytes(bytes.try_into().ok()?) {
        infinite @ (i64::MIN | i64::MAX) => Some(infinite),
        micros => micros.checked_add(EPOCH_MICROS),
    }
}

/// Reads a `numeric`: base-10,000 digits after a header of four 16-bit fields. These are the number
/// of digits, the weight of the first, the sign, and the display scale, which does not affect the
/// value.
fn numeric(bytes: &[u8]) -> Option<Decimal> {
    let mut fields = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, _scale) = (
        fields.next()?,
        fields.next()? as i16,
        fields.next()?,
        fields.next()?,
    );
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Some(Decimal::NaN),
        0xD000 => return Some(Decimal::Infinity),
        0xF000 => return Some(Decimal::NegativeInfinity),
        _ => return None,
    };
    let digits: Vec<u8> = fields
        .flat_map(|group| {
            [group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|d| d as u8)
        })
        .collect();
    (digits.len() == usize::from(count) * 4)
        .then(|| Decimal::from_digits(negative, &digits, (i32::from(weight) + 1) * 4))
}

/// Reads an array's elements. Those of a multidimensional array are nested lists.
fn array(element: &Type, bytes: &[u8]) -> Option<Vec<Value>> {
    let mut rest = bytes;
    let mut take = || -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = take()?;
    let (_has_nulls, _element_oid) = (take()?, take()?);
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(take()?).ok()?);
        let _lower_bound = take()?;
    }
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        if let Ok(length) = usize::try_from(i32::from_be_bytes(*head)) {
            values.push(value(element, tail.get(..length)?)?);
            rest = &tail[length..];
        } else {
            values.push(Value::Null);
            rest = tail;
        }
    }
    for length in lengths.iter().skip(1).rev() {
        values = values
            .chunks(*length)
            .map(|chunk| Value::List(chunk.to_vec()))
            .collect();
    }
    Some(values)
}
