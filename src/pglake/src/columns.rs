//! PostgreSQL columns as Iceberg fields: which types are supported, and how a value of each is
//! stored.

use std::sync::Arc;

use iceberg::spec::{ListType, Literal, NestedField, PrimitiveType, StructType, Type};
use serde::Deserialize;

use super::datetime::{date, interval, time, time_tz, timestamp};
use super::values::{
    ValueError, array, bytes, decimal as decimal_value, float, float4, integer, malformed, uuid,
};

/// A column as the extension's `lake_engine.columns_of` describes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Column {
    pub name: String,
    /// The type as `format_type` prints it, with its modifier.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The name in `pg_type` of the type, or of the base type if the type is a domain.
    base: String,
    /// `typtype` of `pg_type`: `b` base, `e` enum, `c` composite, `r` range, ….
    category: String,
    /// The name in `pg_type` of the element type, if the type is an array.
    element: Option<String>,
    precision: Option<u32>,
    scale: Option<i32>,
    pub required: bool,
    /// The text of a constant default, for a column that is being added.
    #[serde(default)]
    pub default: Option<String>,
}

/// How the values of a column are read from and written to PostgreSQL's text format.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    Boolean,
    /// `smallint` and `integer`.
    Int,
    /// `bigint` and `oid`.
    Long,
    Float,
    Double,
    /// Precision and scale of the Iceberg decimal.
    Decimal(u32, u32),
    /// `text` and `varchar`. Their values are compared byte by byte.
    Text,
    /// A type whose values are stored as their text: json, inet, char(n), enums, ranges, ….
    AsText,
    Binary,
    Date,
    Time,
    /// Time of day in UTC.
    TimeTz,
    Timestamp,
    TimestampTz,
    Uuid,
    /// Stored as a struct of months, days and microseconds.
    Interval,
    List(Box<Self>),
}

/// An error: Iceberg tables cannot have a column of this type.
#[derive(Debug, thiserror::Error)]
#[error(
    "column \"{column}\" has type {type_name}, which Iceberg tables of the embedded stand-in do not support"
)]
pub struct UnsupportedType {
    column: String,
    type_name: String,
}

impl Column {
    /// The kind of this column's values.
    ///
    /// # Errors
    /// [`UnsupportedType`] for a composite type.
    pub fn kind(&self) -> Result<ColumnKind, UnsupportedType> {
        let unsupported = || UnsupportedType {
            column: self.name.clone(),
            type_name: self.type_name.clone(),
        };
        if let Some(element) = &self.element {
            // A numeric[] has the modifier of its elements, which `columns_of` does not report. Its
            // elements are stored as double.
            return match scalar_kind(element, None) {
                Some(kind) => Ok(ColumnKind::List(Box::new(kind))),
                None => Ok(ColumnKind::List(Box::new(ColumnKind::AsText))),
            };
        }
        match self.category.as_str() {
            "c" => Err(unsupported()),
            "b" => Ok(scalar_kind(&self.base, self.precision.zip(self.scale))
                .unwrap_or(ColumnKind::AsText)),
            _ => Ok(ColumnKind::AsText),
        }
    }

    /// Returns the Iceberg field for this column. `next_id` assigns field ids depth first, as
    /// `pg_lake` does.
    pub fn field(&self, next_id: &mut impl FnMut() -> i32) -> Result<NestedField, FieldError> {
        let kind = self.kind()?;
        let id = next_id();
        let field_type = kind.iceberg_type(next_id);
        let mut field = NestedField::new(id, &self.name, field_type, self.required);
        if let Some(default) = &self.default {
            let default: Literal = literal(&kind, default)?;
            field.initial_default = Some(default.clone());
            field.write_default = Some(default);
        }
        Ok(field)
    }
}

/// An error: the column cannot become an Iceberg field.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    #[error(transparent)]
    Type(#[from] UnsupportedType),
    #[error(transparent)]
    Default(#[from] ValueError),
}

fn scalar_kind(base: &str, numeric: Option<(u32, i32)>) -> Option<ColumnKind> {
    Some(match base {
        "bool" => ColumnKind::Boolean,
        "int2" | "int4" => ColumnKind::Int,
        "int8" | "oid" => ColumnKind::Long,
        "float4" => ColumnKind::Float,
        "float8" => ColumnKind::Double,
        "numeric" => match numeric {
            // A negative scale needs more digits before the point. A scale beyond the precision
            // needs more digits after it.
            Some((precision, scale)) if scale < 0 => decimal(precision + scale.unsigned_abs(), 0),
            Some((precision, scale)) => {
                decimal(precision.max(scale.unsigned_abs()), scale.unsigned_abs())
            }
            None => ColumnKind::Double,
        },
        "text" | "varchar" => ColumnKind::Text,
        "bytea" => ColumnKind::Binary,
        "date" => ColumnKind::Date,
        "time" => ColumnKind::Time,
        "timetz" => ColumnKind::TimeTz,
        "timestamp" => ColumnKind::Timestamp,
        "timestamptz" => ColumnKind::TimestampTz,
        "uuid" => ColumnKind::Uuid,
        "interval" => ColumnKind::Interval,
        _ => return None,
    })
}

fn decimal(precision: u32, scale: u32) -> ColumnKind {
    if precision <= 38 {
        ColumnKind::Decimal(precision, scale)
    } else {
        ColumnKind::Double
    }
}

impl ColumnKind {
    /// The Iceberg type that stores this kind. `next_id` assigns the ids of nested fields.
    pub fn iceberg_type(&self, next_id: &mut impl FnMut() -> i32) -> Type {
        let primitive = match self {
            Self::Boolean => PrimitiveType::Boolean,
            Self::Int => PrimitiveType::Int,
            Self::Long => PrimitiveType::Long,
            Self::Float => PrimitiveType::Float,
            Self::Double => PrimitiveType::Double,
            Self::Decimal(precision, scale) => PrimitiveType::Decimal {
                precision: *precision,
                scale: *scale,
            },
            Self::Text | Self::AsText => PrimitiveType::String,
            Self::Binary => PrimitiveType::Binary,
            Self::Date => PrimitiveType::Date,
            Self::Time | Self::TimeTz => PrimitiveType::Time,
            Self::Timestamp => PrimitiveType::Timestamp,
            Self::TimestampTz => PrimitiveType::Timestamptz,
            Self::Uuid => PrimitiveType::Uuid,
            Self::Interval => {
                let fields = ["months", "days", "microseconds"].map(|name| {
                    Arc::new(NestedField::optional(
                        next_id(),
                        name,
                        Type::Primitive(PrimitiveType::Long),
                    ))
                });
                return Type::Struct(StructType::new(fields.to_vec()));
            }
            Self::List(element) => {
                let id = next_id();
                let element = NestedField::list_element(id, element.iceberg_type(next_id), false);
                return Type::List(ListType::new(Arc::new(element)));
            }
        };
        Type::Primitive(primitive)
    }
}

/// Parses a value into an Iceberg literal, for a column's default.
fn literal(kind: &ColumnKind, text: &str) -> Result<Literal, ValueError> {
    let bytes_of = text.as_bytes();
    Ok(match kind {
        ColumnKind::Boolean => Literal::bool(matches!(text, "t" | "true")),
        ColumnKind::Int => Literal::int(integer(bytes_of)? as i32),
        ColumnKind::Long => Literal::long(integer(bytes_of)?),
        ColumnKind::Float => Literal::float(float4(bytes_of)?),
        ColumnKind::Double => Literal::double(float(bytes_of)?),
        ColumnKind::Decimal(precision, scale) => {
            Literal::decimal(decimal_value(bytes_of, *precision, *scale)?)
        }
        ColumnKind::Text | ColumnKind::AsText => Literal::string(text),
        ColumnKind::Binary => Literal::binary(bytes(bytes_of)?),
        ColumnKind::Date => Literal::date(date(bytes_of)?),
        ColumnKind::Time => Literal::time(time(bytes_of)?),
        ColumnKind::TimeTz => Literal::time(time_tz(bytes_of)?),
        ColumnKind::Timestamp => Literal::timestamp(timestamp(bytes_of, false)?),
        ColumnKind::TimestampTz => Literal::timestamptz(timestamp(bytes_of, true)?),
        ColumnKind::Uuid => Literal::uuid(uuid(bytes_of)?),
        ColumnKind::Interval => Literal::Struct(iceberg::spec::Struct::from_iter(
            interval(bytes_of)?.map(|part| Some(Literal::long(part))),
        )),
        ColumnKind::List(element) => Literal::List(
            array(bytes_of)?
                .into_iter()
                .map(|value| {
                    value
                        .map(|value| {
                            let value = String::from_utf8(value)
                                .map_err(|_| malformed("array", bytes_of))?;
                            literal(element, &value)
                        })
                        .transpose()
                })
                .collect::<Result<_, _>>()?,
        ),
    })
}
