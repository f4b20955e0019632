//! Conversion of columns between PostgreSQL's text format and Arrow arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder,
    Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int32Builder,
    Int64Builder, LargeBinaryBuilder, ListArray, NullBufferBuilder, StringBuilder, StructArray,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};

use super::columns::ColumnKind;
use super::datetime;
use super::values::{self, ValueError};

/// Builder of one column's array from the text of its values.
pub(super) struct TextBuilder {
    kind: ColumnKind,
    array: Builder,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    LargeBinary(LargeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Interval {
        fields: arrow::datatypes::Fields,
        parts: Box<[Int64Builder; 3]>,
        valid: NullBufferBuilder,
    },
    List {
        field: FieldRef,
        element: Box<TextBuilder>,
        offsets: Vec<i32>,
        valid: NullBufferBuilder,
    },
}

impl TextBuilder {
    /// Creates a builder for values of `kind`. `data_type` is the Arrow type that the Iceberg
    /// schema has for them.
    pub(super) fn new(kind: &ColumnKind, data_type: &DataType) -> Self {
        let array = match (kind, data_type) {
            (ColumnKind::Boolean, _) => Builder::Boolean(BooleanBuilder::new()),
            (ColumnKind::Int, _) => Builder::Int(Int32Builder::new()),
            (ColumnKind::Long, _) => Builder::Long(Int64Builder::new()),
            (ColumnKind::Float, _) => Builder::Float(Float32Builder::new()),
            (ColumnKind::Double, _) => Builder::Double(Float64Builder::new()),
            (ColumnKind::Decimal(..), data_type) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            (ColumnKind::Text | ColumnKind::AsText, _) => Builder::Text(StringBuilder::new()),
            (ColumnKind::Binary, DataType::LargeBinary) => {
                Builder::LargeBinary(LargeBinaryBuilder::new())
            }
            (ColumnKind::Binary, _) => Builder::Binary(BinaryBuilder::new()),
            (ColumnKind::Date, _) => Builder::Date(Date32Builder::new()),
            (ColumnKind::Time | ColumnKind::TimeTz, _) => {
                Builder::Time(Time64MicrosecondBuilder::new())
            }
            (ColumnKind::Timestamp | ColumnKind::TimestampTz, data_type) => Builder::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
            ),
            (ColumnKind::Uuid, _) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            (ColumnKind::Interval, DataType::Struct(fields)) => Builder::Interval {
                fields: fields.clone(),
                parts: Box::default(),
                valid: NullBufferBuilder::new(0),
            },
            (ColumnKind::List(element), DataType::List(field)) => Builder::List {
                field: field.clone(),
                element: Box::new(Self::new(element, field.data_type())),
                offsets: vec![0],
                valid: NullBufferBuilder::new(0),
            },
            (kind, data_type) => unreachable!("{kind:?} is never stored as {data_type}"),
        };
        Self {
            kind: kind.clone(),
            array,
        }
    }

    /// Appends a value; `None` is NULL. After an error nothing has been appended.
    pub(super) fn append(&mut self, text: Option<&[u8]>) -> Result<(), ValueError> {
        /// Appends the parsed value, or NULL.
        macro_rules! push {
            ($builder:expr, $parse:expr) => {
                match text {
                    Some(text) => {
                        let value = $parse(text)?;
                        $builder.append_value(value)
                    }
                    None => $builder.append_null(),
                }
            };
        }
        match &mut self.array {
            Builder::Boolean(builder) => {
                push!(builder, |text: &[u8]| Ok::<_, ValueError>(text == b"t"));
            }
            Builder::Int(builder) => push!(builder, |text| values::integer(text)
                .map(|value| value as i32)),
            Builder::Long(builder) => push!(builder, values::integer),
            Builder::Float(builder) => push!(builder, values::float4),
            Builder::Double(builder) => push!(builder, values::float),
            Builder::Decimal(builder) => {
                let ColumnKind::Decimal(precision, scale) = self.kind else {
                    unreachable!("built for a decimal")
                };
                push!(builder, |text| values::decimal(text, precision, scale));
            }
            Builder::Text(builder) => push!(builder, utf8),
            Builder::Binary(builder) => push!(builder, values::bytes),
            Builder::LargeBinary(builder) => push!(builder, values::bytes),
            Builder::Date(builder) => push!(builder, datetime::date),
            Builder::Time(builder) if self.kind == ColumnKind::TimeTz => {
                push!(builder, datetime::time_tz);
            }
            Builder::Time(builder) => push!(builder, datetime::time),
            Builder::Timestamp(builder) => {
                let zoned = self.kind == ColumnKind::TimestampTz;
                push!(builder, |text| datetime::timestamp(text, zoned));
            }
            Builder::Uuid(builder) => match text {
                Some(text) => {
                    let value = values::uuid(text)?;
                    builder
                        .append_value(value.as_bytes())
                        .expect("a UUID has 16 bytes");
                }
                None => builder.append_null(),
            },
            Builder::Interval { parts, valid, .. } => {
                let value = text.map(datetime::interval).transpose()?;
                for (index, part) in parts.iter_mut().enumerate() {
                    part.append_option(value.map(|value| value[index]));
                }
                valid.append(value.is_some());
            }
            Builder::List {
                element,
                offsets,
                valid,
                ..
            } => {
                let mut count = *offsets.last().expect("starts with 0");
                if let Some(text) = text {
                    // Checks all elements before any is appended, so that an error leaves none
                    // behind. Lists are rare enough to be parsed twice.
                    let items = values::array(text)?;
                    for item in &items {
                        element.validate(item.as_deref())?;
                    }
                    for item in &items {
                        element.append(item.as_deref())?;
                        count += 1;
                    }
                }
                offsets.push(count);
                valid.append(text.is_some());
            }
        }
        Ok(())
    }

    /// Parses the value as `append` would, and returns its error.
    fn validate(&self, text: Option<&[u8]>) -> Result<(), ValueError> {
        let data_type = match &self.array {
            Builder::List { field, .. } => DataType::List(field.clone()),
            Builder::Interval { fields, .. } => DataType::Struct(fields.clone()),
            Builder::Decimal(_) => match self.kind {
                ColumnKind::Decimal(precision, scale) => {
                    DataType::Decimal128(precision as u8, scale as i8)
                }
                _ => unreachable!("built for a decimal"),
            },
            Builder::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => DataType::Null,
        };
        Self::new(&self.kind, &data_type).append(text)
    }

    /// The number of values appended so far.
    pub(super) fn len(&self) -> usize {
        match &self.array {
            Builder::Boolean(builder) => builder.len(),
            Builder::Int(builder) => builder.len(),
            Builder::Long(builder) => builder.len(),
            Builder::Float(builder) => builder.len(),
            Builder::Double(builder) => builder.len(),
            Builder::Decimal(builder) => builder.len(),
            Builder::Text(builder) => builder.len(),
            Builder::Binary(builder) => builder.len(),
            Builder::LargeBinary(builder) => builder.len(),
            Builder::Date(builder) => builder.len(),
            Builder::Time(builder) => builder.len(),
            Builder::Timestamp(builder) => builder.len(),
            Builder::Uuid(builder) => builder.len(),
            Builder::Interval { valid, .. } | Builder::List { valid, .. } => valid.len(),
        }
    }

    /// Returns the array of the values so far. The builder is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.array {
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Int(builder) => Arc::new(builder.finish()),
            Builder::Long(builder) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
            Builder::Double(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Binary(builder) => Arc::new(builder.finish()),
            Builder::LargeBinary(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => Arc::new(builder.finish()),
            Builder::Uuid(builder) => Arc::new(builder.finish()),
            Builder::Interval {
                fields,
                parts,
                valid,
            } => {
                let parts = parts
                    .iter_mut()
                    .map(|part| Arc::new(part.finish()) as ArrayRef)
                    .collect();
                Arc::new(StructArray::new(fields.clone(), parts, valid.finish()))
            }
            Builder::List {
                field,
                element,
                offsets,
                valid,
            } => {
                let offsets = std::mem::replace(offsets, vec![0]);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::new(
                    field.clone(),
                    offsets,
                    element.finish(),
                    valid.finish(),
                ))
            }
        }
    }
}

fn utf8(text: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(text).map_err(|_| ValueError::Malformed {
        kind: "text",
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

/// Appends the text of a value and returns true. Returns false, and appends nothing, when it is
/// NULL.
///
/// The Arrow type decides the text. `kind` is needed where several PostgreSQL types share one Arrow
/// type.
pub(super) fn write_text(
    out: &mut String,
    array: &dyn Array,
    row: usize,
    kind: Option<&ColumnKind>,
) -> bool {
    use std::fmt::Write as _;
    if array.is_null(row) {
        return false;
    }
    match array.data_type() {
        DataType::Null => return false,
        DataType::Boolean => out.push(if array.as_boolean().value(row) {
            't'
        } else {
            'f'
        }),
        DataType::Int8 => _ = write!(out, "{}", array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => _ = write!(out, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => _ = write!(out, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => _ = write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => _ = write!(out, "{}", array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            values::write_float(out, f64::from(value), value);
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            values::write_float(out, value, value);
        }
        DataType::Decimal128(_, scale) => {
            values::write_decimal(
                out,
                array.as_primitive::<Decimal128Type>().value(row),
                *scale as u32,
            );
        }
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => write_bytes(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_bytes(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_bytes(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(16) => {
            let bytes = array.as_fixed_size_binary().value(row);
            _ = write!(out, "{}", uuid::Uuid::from_slice(bytes).expect("16 bytes"));
        }
        DataType::Date32 => datetime::write_day(
            out,
            i64::from(array.as_primitive::<Date32Type>().value(row)),
        ),
        DataType::Time64(TimeUnit::Microsecond) => {
            datetime::write_time(
                out,
                array.as_primitive::<Time64MicrosecondType>().value(row),
            );
            if kind == Some(&ColumnKind::TimeTz) {
                out.push_str("+00");
            }
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            datetime::write_timestamp(out, micros, zone.is_some());
        }
        DataType::Struct(_) => {
            // An interval. Every part has its unit, so that PostgreSQL can read it with any
            // `intervalstyle`.
            let parts = array.as_struct();
            for (index, unit) in ["mons", "days", "microseconds"].into_iter().enumerate() {
                let value = parts.column(index).as_primitive::<Int64Type>().value(row);
                _ = write!(out, "{}{value} {unit}", if index == 0 { "" } else { " " });
            }
        }
        DataType::List(_) => {
            let element_kind = match kind {
                Some(ColumnKind::List(element)) => Some(element.as_ref()),
                _ => None,
            };
            write_array(
                out,
                array.as_list::<i32>().value(row).as_ref(),
                element_kind,
            );
        }
        other => unreachable!("no Iceberg column is read as {other}"),
    }
    true
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write as _;
    out.push_str("\\x");
    for byte in bytes {
        _ = write!(out, "{byte:02x}");
    }
}

/// Appends an array literal. Every element is quoted, which PostgreSQL always accepts.
fn write_array(out: &mut String, elements: &dyn Array, kind: Option<&ColumnKind>) {
    out.push('{');
    let mut text = String::new();
    for row in 0..elements.len() {
        if row > 0 {
            out.push(',');
        }
        text.clear();
        if write_text(&mut text, elements, row, kind) {
            out.push('"');
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    out.push('\\');
                }
                out.push(character);
            }
            out.push('"');
        } else {
            out.push_str("NULL");
        }
    }
    out.push('}');
}
