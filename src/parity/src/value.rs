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
    List(Vec<Self>),
}

/// The kind of value that a column's declared type holds. Two answers must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
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

impl ValueKind {
    /// Returns whether values of the two kinds can be equal.
    pub fn agrees_with(self, other: Self) -> bool {
        let number = |kind| matches!(kind, Self::Int | Self::Decimal);
        self == other
            || self == Self::Null
            || other == Self::Null
            || (number(self) && number(other))
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::List => "list",
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
        use Value::{
            Bool, Bytes, Date, Decimal, Float, Int, Interval, List, Null, Text, Time, Timestamp,
            TimestampTz, Uuid,
        };
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
        if let Self::Int(value) = self {
            return Self::Decimal(Decimal::from(*value)).hash(state);
        }
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null | Self::Int(_) => {}
            Self::Bool(value) => value.hash(state),
            Self::Decimal(value) => value.hash(state),
            Self::Float(value) => float_identity(*value).hash(state),
            Self::Text(value) => value.hash(state),
            Self::Bytes(value) => value.hash(state),
            Self::Date(value) => value.hash(state),
            Self::Time(value) | Self::Timestamp(value) | Self::TimestampTz(value) => {
                value.hash(state);
            }
            Self::Interval {
                months,
                days,
                micros,
            } => (months, days, micros).hash(state),
            Self::Uuid(value) => value.hash(state),
            Self::List(values) => values.hash(state),
        }
    }
}

impl fmt::Display for Value {
    /// Writes the form that psql shows, with decimals free of trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
            Self::Bytes(value) => {
                f.write_str("\\x")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Date(i32::MAX) | Self::Timestamp(i64::MAX) | Self::TimestampTz(i64::MAX) => {
                f.write_str("infinity")
            }
            Self::Date(i32::MIN) | Self::Timestamp(i64::MIN) | Self::TimestampTz(i64::MIN) => {
                f.write_str("-infinity")
            }
            Self::Date(days) => {
                match NaiveDate::default().checked_add_signed(Duration::days((*days).into())) {
                    Some(date) => write!(f, "{date}"),
                    None => write!(f, "1970-01-01 {days:+} days"),
                }
            }
            Self::Time(micros) => {
                write!(f, "{}", NaiveTime::MIN + Duration::microseconds(*micros))
            }
            Self::Timestamp(micros) => fmt_timestamp(f, *micros, ""),
            Self::TimestampTz(micros) => fmt_timestamp(f, *micros, "+00"),
            Self::Interval {
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
            Self::Uuid(value) => write!(f, "{value}"),
            Self::List(values) => {
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
