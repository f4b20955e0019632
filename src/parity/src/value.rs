//! Typed values, by which two answers are compared.

use std::fmt;
use std::hash::{Hash, Hasher};

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};

use super::Decimal;

/// One value of an answer, with its type.
///
/// Equality is the comparison of `verify`: exact, by type. An integer equals a decimal of the same
/// value, whatever its scale, because `sum` has different types on the two sides. A float equals
/// only a float with the same bits (any NaN equals any other), so it never equals a decimal. NULL
/// equals NULL.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Decimal(Decimal),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01; `i32::MAX` and `i32::MIN` are `infinity` and `-infinity` of
    /// PostgreSQL.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00:00, without a time zone; the ends of `i64` are
    /// `infinity` and `-infinity`.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00:00 UTC; the ends of `i64` are `infinity` and
    /// `-infinity`.
    TimestampTz(i64),
    Interval {
        months: i32,
        days: i32,
        micros: i64,
    },
    Uuid(uuid::Uuid),
    List(Vec<Value>),
}

/// The kind of value that a column's declared type holds. Two answers must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The kind of a column of NULLs without a type of its own; agrees with every kind.
    Null,
    Bool,
    Int,
    Decimal,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    List,
}

impl Kind {
    /// Returns whether values of the two kinds can be equal.
    pub fn agrees_with(self, other: Kind) -> bool {
        let number = |kind| matches!(kind, Kind::Int | Kind::Decimal);
        self == other
            || self == Kind::Null
            || other == Kind::Null
            || (number(self) && number(other))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Int => "integer",
            Kind::Decimal => "decimal",
            Kind::Float => "float",
            Kind::Text => "text",
            Kind::Bytes => "bytes",
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Timestamp => "timestamp",
            Kind::TimestampTz => "timestamp with time zone",
            Kind::Interval => "interval",
            Kind::Uuid => "uuid",
            Kind::List => "list",
        })
    }
}

/// Returns the bits that decide whether two floats are the same value.
fn float_identity(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        use Value::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Decimal(a), Decimal(b)) => a == b,
            (Int(a), Decimal(b)) | (Decimal(b), Int(a)) => super::Decimal::from(*a) == *b,
            (Float(a), Float(b)) => float_identity(*a) == float_identity(*b),
            (Text(a), Text(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (Date(a), Date(b)) => a == b,
            (Time(a), Time(b))
            | (Timestamp(a), Timestamp(b))
            | (TimestampTz(a), TimestampTz(b)) => a == b,
            (
                Interval {
                    months,
                    days,
                    micros,
                },
                Interval {
                    months: other_months,
                    days: other_days,
                    micros: other_micros,
                },
            ) => (months, days, micros) == (other_months, other_days, other_micros),
            (Uuid(a), Uuid(b)) => a == b,
            (List(a), List(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Integers hash like the decimals that they equal.
        if let Value::Int(value) = self {
            return Value::Decimal(Decimal::from(*value)).hash(state);
        }
        std::mem::discriminant(self).hash(state);
        match self {
            Value::Null | Value::Int(_) => {}
            Value::Bool(value) => value.hash(state),
            Value::Decimal(value) => value.hash(state),
            Value::Float(value) => float_identity(*value).hash(state),
            Value::Text(value) => value.hash(state),
            Value::Bytes(value) => value.hash(state),
            Value::Date(value) => value.hash(state),
            Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value) => {
                value.hash(state)
            }
            Value::Interval {
                months,
                days,
                micros,
            } => (months, days, micros).hash(state),
            Value::Uuid(value) => value.hash(state),
            Value::List(values) => values.hash(state),
        }
    }
}

impl fmt::Display for Value {
    /// Writes the form that psql shows, with decimals free of trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Decimal(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Text(value) => f.write_str(value),
            Value::Bytes(value) => {
                f.write_str("\\x")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) | Value::TimestampTz(i64::MAX) => {
                f.write_str("infinity")
            }
            Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) | Value::TimestampTz(i64::MIN) => {
                f.write_str("-infinity")
            }
            Value::Date(days) => {
                match NaiveDate::default().checked_add_signed(Duration::days((*days).into())) {
                    Some(date) => write!(f, "{date}"),
                    None => write!(f, "1970-01-01 {days:+} days"),
                }
            }
            Value::Time(micros) => {
                write!(f, "{}", NaiveTime::MIN + Duration::microseconds(*micros))
            }
            Value::Timestamp(micros) => fmt_timestamp(f, *micros, ""),
            Value::TimestampTz(micros) => fmt_timestamp(f, *micros, "+00"),
            Value::Interval {
                months,
                days,
                micros,
            } => {
                let (sign, micros) = (if *micros < 0 { "-" } else { "" }, micros.unsigned_abs());
                let seconds = micros / 1_000_000;
                let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                write!(
                    f,
                    "{months} mons {days} days {sign}{hours:02}:{minutes:02}:{seconds:02}.{:06}",
                    micros % 1_000_000
                )
            }
            Value::Uuid(value) => write!(f, "{value}"),
            Value::List(values) => {
                f.write_str("{")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn fmt_timestamp(f: &mut fmt::Formatter<'_>, micros: i64, zone: &str) -> fmt::Result {
    match NaiveDateTime::default().checked_add_signed(Duration::microseconds(micros)) {
        Some(timestamp) => write!(f, "{}{zone}", timestamp.format("%Y-%m-%d %H:%M:%S%.f")),
        None => write!(f, "1970-01-01 {micros:+} microseconds{zone}"),
    }
}
