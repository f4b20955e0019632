//! Rows as the protocol writes them: every value is a text or null, in a form that depends on its
//! column's type.

use std::fmt;
use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    Float64Array, Int64Array, StringArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, Offset, TimeZone, Utc};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::rows::Rows;
use icebox_sql::types::{DataType, MAX_LAKE_TEXT, MAX_TEXT};

/// The description of a column that is sent to a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ColumnType {
    name: String,
    database: &'static str,
    schema: &'static str,
    table: &'static str,
    nullable: bool,
    #[serde(rename = "type")]
    ty: &'static str,
    length: Option<u32>,
    byte_length: Option<u32>,
    precision: Option<u8>,
    scale: Option<u8>,
    collation: Option<&'static str>,
}

impl ColumnType {
    fn of(field: &Field) -> Self {
        let mut column = Self {
            name: field.name().clone(),
            database: "",
            schema: "",
            table: "",
            nullable: field.is_nullable(),
            ty: "text",
            length: None,
            byte_length: None,
            precision: None,
            scale: None,
            collation: None,
        };
        // Times and timestamps have a precision, which is always 0.
        let mut moment = |ty, scale| {
            column.ty = ty;
            (column.precision, column.scale) = (Some(0), Some(scale));
        };
        match DataType::of_field(field) {
            DataType::Time { scale } => moment("time", scale),
            DataType::TimestampNtz { scale } => moment("timestamp_ntz", scale),
            DataType::TimestampLtz { scale } => moment("timestamp_ltz", scale),
            DataType::TimestampTz { scale } => moment("timestamp_tz", scale),
            DataType::Number { precision, scale } => {
                column.ty = "fixed";
                (column.precision, column.scale) = (Some(precision), Some(scale));
            }
            DataType::Text { length } => {
                let most = if length > MAX_TEXT {
                    MAX_LAKE_TEXT
                } else {
                    MAX_TEXT
                };
                column.length = Some(length);
                column.byte_length = Some(length.saturating_mul(4).min(most));
            }
            // Drivers do not know the type. Its text has 36 characters.
            DataType::Uuid => (column.length, column.byte_length) = (Some(36), Some(36)),
            DataType::Binary { length } => {
                column.ty = "binary";
                (column.length, column.byte_length) = (Some(length), Some(length));
            }
            DataType::Float => column.ty = "real",
            DataType::Boolean => column.ty = "boolean",
            DataType::Date => column.ty = "date",
            DataType::Variant => column.ty = "variant",
            DataType::Object => column.ty = "object",
            DataType::Array => column.ty = "array",
        }
        column
    }
}

/// The differences between the two protocols in writing values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The texts for false and true.
    booleans: [&'static str; 2],
    /// The number of digits after the point in the seconds of a time or timestamp; `None` is the
    /// scale of its type.
    digits: Option<u8>,
    null: Option<&'static str>,
}

impl Form {
    pub const DRIVERS: Self = Self {
        booleans: ["0", "1"],
        digits: None,
        null: None,
    };

    /// Returns the form of the SQL API's `jsonv2`.
    pub fn api(has_nulls: bool) -> Self {
        Self {
            booleans: ["false", "true"],
            digits: Some(9),
            null: (!has_nulls).then_some("null"),
        }
    }
}

/// Rows that are ready to be written. They serialize as an array of arrays.
pub(super) struct RowSet {
    form: Form,
    columns: Vec<ColumnType>,
    batches: Vec<(usize, Vec<Cells>)>,
}

impl RowSet {
    /// Converts rows to the form of a protocol.
    ///
    /// # Errors
    /// If a column's values are not of its type.
    pub fn new(rows: &Rows, form: Form) -> SqlResult<Self> {
        let fields = rows.schema.fields();
        let batches = rows.batches.iter().map(|batch| {
            let cells = fields.iter().zip(batch.columns());
            let cells = cells.map(|(field, array)| {
                Cells::new(DataType::of_field(field), array).map_err(|error| {
                    let text = format!("cannot send the column {}: {error}", field.name());
                    SqlError::new(code::INTERNAL, text)
                })
            });
            Ok((batch.num_rows(), cells.collect::<SqlResult<_>>()?))
        });
        Ok(Self {
            form,
            columns: fields.iter().map(|field| ColumnType::of(field)).collect(),
            batches: batches.collect::<SqlResult<_>>()?,
        })
    }

    pub fn columns(&self) -> Vec<ColumnType> {
        self.columns.clone()
    }
}

impl Serialize for RowSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.batches.iter().map(|(rows, _)| rows).sum();
        let mut all = serializer.serialize_seq(Some(rows))?;
        for (rows, columns) in &self.batches {
            for row in 0..*rows {
                let form = &self.form;
                all.serialize_element(&Row { columns, row, form })?;
            }
        }
        all.end()
    }
}

struct Row<'a> {
    columns: &'a [Cells],
    row: usize,
    form: &'a Form,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = serializer.serialize_seq(Some(self.columns.len()))?;
        for column in self.columns {
            cells.serialize_element(&Cell {
                column,
                row: self.row,
                form: self.form,
            })?;
        }
        cells.end()
    }
}

struct Cell<'a> {
    column: &'a Cells,
    row: usize,
    form: &'a Form,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.column.array().is_null(self.row), self.column) {
            (true, _) => self.form.null.serialize(serializer),
            (false, Cells::Text(texts)) => serializer.serialize_str(texts.value(self.row)),
            (false, _) => serializer.collect_str(self),
        }
    }
}

/// A column's values in the one Arrow type from which they are written.
enum Cells {
    Text(StringArray),
    Number {
        values: Decimal128Array,
        scale: u8,
    },
    Float(Float64Array),
    Boolean(BooleanArray),
    /// In days since 1970.
    Date(Int64Array),
    /// In units of `unit` since 1970 or midnight.
    Moment {
        values: Int64Array,
        unit: TimeUnit,
        scale: u8,
        zone: Option<Tz>,
    },
    Binary(BinaryArray),
    Uuid(FixedSizeBinaryArray),
}

impl Cells {
    fn new(ty: DataType, array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match ty {
            DataType::Number { scale, .. } => {
                let fits = matches!(array.data_type(), ArrowType::Decimal128(_, has) if *has == scale as i8);
                let to = if fits {
                    array.data_type().clone()
                } else {
                    ArrowType::Decimal128(38, scale as i8)
                };
                Self::Number {
                    values: cast(array, &to)?,
                    scale,
                }
            }
            DataType::Float => Self::Float(cast(array, &ArrowType::Float64)?),
            DataType::Boolean => Self::Boolean(cast(array, &ArrowType::Boolean)?),
            DataType::Date => {
                let days: ArrayRef = cast_array(array, &ArrowType::Date32)?;
                let days: ArrayRef = cast_array(&days, &ArrowType::Int32)?;
                Self::Date(cast(&days, &ArrowType::Int64)?)
            }
            DataType::Time { scale } => {
                let unit = TimeUnit::Nanosecond;
                let times = cast_array(array, &ArrowType::Time64(unit))?;
                Self::Moment {
                    values: cast(&times, &ArrowType::Int64)?,
                    unit,
                    scale,
                    zone: None,
                }
            }
            DataType::TimestampNtz { scale } | DataType::TimestampLtz { scale } => {
                Self::moment(array, scale, false)?
            }
            DataType::TimestampTz { scale } => Self::moment(array, scale, true)?,
            DataType::Binary { .. } => Self::Binary(cast(array, &ArrowType::Binary)?),
            DataType::Uuid if array.data_type() == &ArrowType::FixedSizeBinary(16) => {
                Self::Uuid(cast(array, &ArrowType::FixedSizeBinary(16))?)
            }
            DataType::Text { .. }
            | DataType::Variant
            | DataType::Object
            | DataType::Array
            | DataType::Uuid => Self::Text(cast(array, &ArrowType::Utf8)?),
        })
    }

    fn moment(array: &ArrayRef, scale: u8, has_zone: bool) -> Result<Self, ArrowError> {
        let (unit, zone) = match array.data_type() {
            ArrowType::Timestamp(unit, zone) => (*unit, zone.clone()),
            _ => (TimeUnit::Nanosecond, None),
        };
        let zone = match (has_zone, zone.as_deref()) {
            (false, _) => None,
            (true, None | Some("UTC" | "Z")) => Some(Tz::from_str("+00:00")?),
            (true, Some(zone)) => Some(Tz::from_str(zone)?),
        };
        let moments = match array.data_type() {
            ArrowType::Timestamp(..) => array.clone(),
            _ => cast_array(array, &ArrowType::Timestamp(unit, None))?,
        };
        Ok(Self::Moment {
            values: cast(&moments, &ArrowType::Int64)?,
            unit,
            scale,
            zone,
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(values) => values,
            Self::Number { values, .. } => values,
            Self::Float(values) => values,
            Self::Boolean(values) => values,
            Self::Date(values) | Self::Moment { values, .. } => values,
            Self::Binary(values) => values,
            Self::Uuid(values) => values,
        }
    }
}

/// Casts an array. A value that does not fit is an error; by default Arrow would make it NULL.
fn cast_array(array: &ArrayRef, to: &ArrowType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    if array.data_type() == to {
        Ok(array.clone())
    } else {
        cast_with_options(array, to, &options)
    }
}

fn cast<T: Array + Clone + 'static>(array: &ArrayRef, to: &ArrowType) -> Result<T, ArrowError> {
    let array = cast_array(array, to)?;
    let typed = array.as_any().downcast_ref::<T>().cloned();
    typed.ok_or_else(|| ArrowError::CastError(format!("{} is not {to}", array.data_type())))
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row;
        match self.column {
            Cells::Text(values) => f.write_str(values.value(row)),
            Cells::Number { values, scale } => decimal(f, values.value(row), *scale),
            Cells::Float(values) => float(f, values.value(row)),
            Cells::Boolean(values) => {
                f.write_str(self.form.booleans[usize::from(values.value(row))])
            }
            Cells::Date(values) => write!(f, "{}", values.value(row)),
            Cells::Moment {
                values,
                unit,
                scale,
                zone,
            } => {
                let value = values.value(row);
                let per_second = per_second(*unit);
                let nanos = i128::from(value) * (1_000_000_000 / i128::from(per_second));
                // Digits beyond the scale are cut off, rounding towards the past.
                let cut = 10_i128.pow(9 - u32::from((*scale).min(9)));
                let digits = self.form.digits.unwrap_or(*scale).min(9);
                let value_at = nanos.div_euclid(cut) * cut / 10_i128.pow(9 - u32::from(digits));
                decimal(f, value_at, digits)?;
                match zone {
                    Some(zone) => write!(f, " {}", minutes(*zone, value.div_euclid(per_second))),
                    None => Ok(()),
                }
            }
            Cells::Binary(values) => values
                .value(row)
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02X}")),
            Cells::Uuid(values) => match uuid::Uuid::from_slice(values.value(row)) {
                Ok(uuid) => write!(f, "{uuid}"),
                Err(_) => Err(fmt::Error),
            },
        }
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Returns an offset from UTC as the protocol writes it: in minutes, plus the minutes of a day so
/// that it is never negative.
fn minutes(zone: Tz, seconds: i64) -> i32 {
    let moment = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
    let offset = zone.offset_from_utc_datetime(&moment.naive_utc());
    offset.fix().local_minus_utc() / 60 + 1440
}

/// Writes a number with `scale` digits after the point.
fn decimal(f: &mut fmt::Formatter<'_>, value: i128, scale: u8) -> fmt::Result {
    if scale == 0 {
        return write!(f, "{value}");
    }
    let sign = if value < 0 { "-" } else { "" };
    let power = 10_u128.pow(u32::from(scale.min(38)));
    let (whole, part) = (value.unsigned_abs() / power, value.unsigned_abs() % power);
    write!(
        f,
        "{sign}{whole}.{part:0width$}",
        width = usize::from(scale)
    )
}

/// Writes a floating-point number, with an exponent if it is very large or very small.
fn float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let size = value.abs();
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() || size == 0.0 || (1e-5..1e15).contains(&size) {
        return write!(f, "{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            write!(f, "{digits}e+{exponent}")
        }
        _ => f.write_str(&text),
    }
}
