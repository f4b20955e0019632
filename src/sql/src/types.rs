//! Snowflake's data types, as columns and results declare them.

use std::fmt;

use arrow::datatypes::{DataType as ArrowType, Field, TimeUnit};

/// The metadata key of an Arrow field for its Snowflake type as SQL text, such as
/// `TIMESTAMP_TZ(9)`. It distinguishes types that have the same Arrow type.
pub const TYPE_KEY: &str = "snowflake:type";

/// The maximum length of a VARCHAR, in characters.
pub const MAX_TEXT: u32 = 16_777_216;
/// The maximum length of a VARCHAR in a column of an Iceberg string, in characters.
pub const MAX_LAKE_TEXT: u32 = 134_217_728;
/// The maximum length of a BINARY, in bytes.
pub const MAX_BINARY: u32 = 8_388_608;

/// A data type (Snowflake documentation, "Summary of data types").
///
/// Values are Arrow arrays:
///
/// | type | Arrow |
/// | --- | --- |
/// | NUMBER(p,s) | Decimal128(p, s); also the integer types, for scale 0 |
/// | FLOAT | Float64, Float32 |
/// | VARCHAR | Utf8, Utf8View, LargeUtf8 |
/// | BOOLEAN | Boolean |
/// | DATE | Date32 |
/// | TIME(s) | Time64 |
/// | TIMESTAMP_NTZ(s) | Timestamp without a zone |
/// | TIMESTAMP_LTZ(s) | Timestamp in UTC, shown in the session's zone |
/// | TIMESTAMP_TZ(s) | Timestamp with a fixed offset (`+02:00`) as its zone |
/// | BINARY | Binary |
/// | VARIANT, OBJECT, ARRAY | Utf8: JSON; List, Struct and Map in data files |
/// | UUID | Utf8; FixedSizeBinary(16) in data files |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    Number { precision: u8, scale: u8 },
    Float,
    Text { length: u32 },
    Boolean,
    Date,
    Time { scale: u8 },
    TimestampNtz { scale: u8 },
    TimestampLtz { scale: u8 },
    TimestampTz { scale: u8 },
    Binary { length: u32 },
    Variant,
    Object,
    Array,
    Uuid,
}

impl DataType {
    /// NUMBER without arguments.
    pub const INTEGER: Self = Self::Number {
        precision: 38,
        scale: 0,
    };
    /// VARCHAR without a length.
    pub const TEXT: Self = Self::Text { length: MAX_TEXT };

    /// Returns the type of an Arrow field: the one in its metadata, or else that of its Arrow type.
    /// Metadata that no longer fits the Arrow type, as after a cast, is ignored.
    pub fn of_field(field: &Field) -> Self {
        let arrow = Self::of_arrow(field.data_type());
        let declared = field.metadata().get(TYPE_KEY);
        declared
            .and_then(|text| Self::parse(text))
            .filter(|declared| declared.fits(arrow, field.data_type()))
            .unwrap_or(arrow)
    }

    /// Returns whether an array of type `arrow` can hold values of this type. `plain` is the type
    /// of `arrow` without metadata.
    fn fits(self, plain: Self, arrow: &ArrowType) -> bool {
        match self {
            Self::Number { scale, .. } => match arrow {
                ArrowType::Decimal128(..) => self == plain,
                _ => scale == 0 && matches!(plain, Self::Number { .. }),
            },
            Self::Text { .. } => matches!(plain, Self::Text { .. }),
            Self::Binary { .. } => matches!(plain, Self::Binary { .. }),
            Self::Variant | Self::Object | Self::Array => {
                arrow.is_nested() || matches!(plain, Self::Text { .. })
            }
            Self::Uuid => matches!(plain, Self::Text { .. } | Self::Uuid),
            Self::Time { .. } => matches!(plain, Self::Time { .. }),
            Self::TimestampNtz { .. } => matches!(plain, Self::TimestampNtz { .. }),
            Self::TimestampLtz { .. } | Self::TimestampTz { .. } => {
                matches!(plain, Self::TimestampLtz { .. } | Self::TimestampTz { .. })
            }
            Self::Float | Self::Boolean | Self::Date => self == plain,
        }
    }

    /// Returns the type of values of an Arrow type.
    pub fn of_arrow(arrow: &ArrowType) -> Self {
        let number = |precision| Self::Number {
            precision,
            scale: 0,
        };
        match arrow {
            ArrowType::Boolean => Self::Boolean,
            ArrowType::Int8 | ArrowType::UInt8 => number(3),
            ArrowType::Int16 | ArrowType::UInt16 => number(5),
            ArrowType::Int32 | ArrowType::UInt32 => number(10),
            ArrowType::Int64 => number(19),
            ArrowType::UInt64 => number(20),
            ArrowType::Decimal128(precision, scale) => Self::Number {
                precision: *precision,
                scale: u8::try_from(*scale).unwrap_or(0),
            },
            ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64 => Self::Float,
            ArrowType::Date32 | ArrowType::Date64 => Self::Date,
            ArrowType::Time32(unit) | ArrowType::Time64(unit) => Self::Time {
                scale: digits(*unit),
            },
            ArrowType::Timestamp(unit, zone) => {
                let scale = digits(*unit);
                match zone.as_deref() {
                    None => Self::TimestampNtz { scale },
                    Some(zone) if zone.starts_with(['+', '-']) && zone != "+00:00" => {
                        Self::TimestampTz { scale }
                    }
                    Some(_) => Self::TimestampLtz { scale },
                }
            }
            ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView => {
                Self::Binary { length: MAX_BINARY }
            }
            ArrowType::FixedSizeBinary(16) => Self::Uuid,
            ArrowType::FixedSizeBinary(length) => Self::Binary {
                length: *length as u32,
            },
            ArrowType::List(_) | ArrowType::LargeList(_) => Self::Array,
            ArrowType::Struct(_) | ArrowType::Map(..) => Self::Object,
            _ => Self::TEXT,
        }
    }

    /// Parses a type such as `NUMBER(12,2)` or `VARCHAR`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => (name, rest.trim_end().strip_suffix(')')?),
            None => (text, ""),
        };
        let arguments: Option<Vec<u32>> = arguments
            .split(',')
            .filter(|argument| !argument.trim().is_empty())
            .map(|argument| argument.trim().parse().ok())
            .collect();
        Self::named(&name.trim().to_uppercase(), &arguments?)
    }

    /// Returns the type of a name in upper case with its arguments. The synonyms are those of the
    /// documentation.
    pub fn named(name: &str, arguments: &[u32]) -> Option<Self> {
        let scale = || match arguments {
            [] => Some(9),
            [scale @ 0..=9] => Some(*scale as u8),
            _ => None,
        };
        let length = |most: u32| match arguments {
            [] => Some(most),
            [length] if (1..=MAX_LAKE_TEXT).contains(length) => Some(*length),
            _ => None,
        };
        let bare = |found: Self| arguments.is_empty().then_some(found);
        match name {
            "NUMBER" | "DECIMAL" | "DEC" | "NUMERIC" => match arguments {
                [] => Some(Self::INTEGER),
                [precision @ 1..=38] => Some(Self::Number {
                    precision: *precision as u8,
                    scale: 0,
                }),
                [precision @ 1..=38, scale] if scale <= precision && *scale <= 37 => {
                    Some(Self::Number {
                        precision: *precision as u8,
                        scale: *scale as u8,
                    })
                }
                _ => None,
            },
            "INT" | "INTEGER" | "BIGINT" | "SMALLINT" | "TINYINT" | "BYTEINT" => {
                bare(Self::INTEGER)
            }
            "FLOAT" | "FLOAT4" | "FLOAT8" | "DOUBLE" | "DOUBLE PRECISION" | "REAL" => {
                bare(Self::Float)
            }
            "VARCHAR" | "STRING" | "TEXT" | "NVARCHAR" | "NVARCHAR2" | "CHAR VARYING"
            | "NCHAR VARYING" => Some(Self::Text {
                length: length(MAX_TEXT)?,
            }),
            "CHAR" | "CHARACTER" | "NCHAR" => Some(Self::Text { length: length(1)? }),
            "BOOLEAN" => bare(Self::Boolean),
            "DATE" => bare(Self::Date),
            "TIME" => Some(Self::Time { scale: scale()? }),
            "DATETIME"
            | "TIMESTAMP"
            | "TIMESTAMP_NTZ"
            | "TIMESTAMPNTZ"
            | "TIMESTAMP WITHOUT TIME ZONE" => Some(Self::TimestampNtz { scale: scale()? }),
            "TIMESTAMP_LTZ" | "TIMESTAMPLTZ" | "TIMESTAMP WITH LOCAL TIME ZONE" => {
                Some(Self::TimestampLtz { scale: scale()? })
            }
            "TIMESTAMP_TZ" | "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => {
                Some(Self::TimestampTz { scale: scale()? })
            }
            "BINARY" | "VARBINARY" => Some(Self::Binary {
                length: length(MAX_BINARY)?,
            }),
            "VARIANT" => bare(Self::Variant),
            "OBJECT" => bare(Self::Object),
            "ARRAY" => bare(Self::Array),
            "UUID" => bare(Self::Uuid),
            _ => None,
        }
    }

    /// Returns the Arrow type in which icebox creates values of this type. A `TIMESTAMP_TZ` has the
    /// offset of UTC.
    pub fn to_arrow(self) -> ArrowType {
        match self {
            Self::Number { precision, scale } => ArrowType::Decimal128(precision, scale as i8),
            Self::Float => ArrowType::Float64,
            Self::Boolean => ArrowType::Boolean,
            Self::Date => ArrowType::Date32,
            Self::Time { .. } => ArrowType::Time64(TimeUnit::Nanosecond),
            Self::TimestampNtz { .. } => ArrowType::Timestamp(TimeUnit::Nanosecond, None),
            Self::TimestampLtz { .. } | Self::TimestampTz { .. } => {
                ArrowType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
            }
            Self::Binary { .. } => ArrowType::Binary,
            Self::Text { .. } | Self::Variant | Self::Object | Self::Array | Self::Uuid => {
                ArrowType::Utf8
            }
        }
    }

    /// Creates a field of this type, which [`DataType::of_field`] recognizes.
    pub fn to_field(self, name: &str, nullable: bool) -> Field {
        let metadata = [(TYPE_KEY.to_owned(), self.to_string())];
        Field::new(name, self.to_arrow(), nullable).with_metadata(metadata.into())
    }
}

/// Returns the number of fractional digits of seconds in a unit.
fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { precision, scale } => write!(f, "NUMBER({precision},{scale})"),
            Self::Float => f.write_str("FLOAT"),
            Self::Text { length } => write!(f, "VARCHAR({length})"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Date => f.write_str("DATE"),
            Self::Time { scale } => write!(f, "TIME({scale})"),
            Self::TimestampNtz { scale } => write!(f, "TIMESTAMP_NTZ({scale})"),
            Self::TimestampLtz { scale } => write!(f, "TIMESTAMP_LTZ({scale})"),
            Self::TimestampTz { scale } => write!(f, "TIMESTAMP_TZ({scale})"),
            Self::Binary { length } => write!(f, "BINARY({length})"),
            Self::Variant => f.write_str("VARIANT"),
            Self::Object => f.write_str("OBJECT"),
            Self::Array => f.write_str("ARRAY"),
            Self::Uuid => f.write_str("UUID"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_from_its_text() {
        for text in [
            "NUMBER(12,2)",
            "FLOAT",
            "VARCHAR(134217728)",
            "BOOLEAN",
            "DATE",
            "TIME(6)",
            "TIMESTAMP_NTZ(6)",
            "TIMESTAMP_LTZ(9)",
            "TIMESTAMP_TZ(3)",
            "BINARY(67108864)",
            "VARIANT",
            "OBJECT",
            "ARRAY",
            "UUID",
        ] {
            assert_eq!(DataType::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DataType::parse("int"), Some(DataType::INTEGER));
        for bad in [
            "NUMBER(39,0)",
            "NUMBER(2,3)",
            "VARCHAR(0)",
            "INT(4)",
            "GEOGRAPHY2",
            "TIME(10)",
        ] {
            assert_eq!(DataType::parse(bad), None, "{bad}");
        }
    }
}
