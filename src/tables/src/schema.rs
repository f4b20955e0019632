//! Iceberg schemas as Arrow schemas.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{Literal, NestedFieldRef, PrimitiveLiteral, Schema};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// Returns the Arrow schema of a table's scans. Every field, including nested ones, has its field
/// id as metadata (`PARQUET:field_id`).
///
/// It is iceberg-rust's schema, except that `binary` is `Binary` and `timestamptz` has the zone
/// `UTC`. Those are the Arrow types of the Parquet columns themselves, so columns of the same type
/// need no conversion.
pub(super) fn to_arrow(schema: &Schema) -> iceberg::Result<ArrowSchema> {
    let arrow = schema_to_arrow_schema(schema)?;
    Ok(ArrowSchema::new_with_metadata(
        as_in_parquet_fields(arrow.fields()),
        arrow.metadata,
    ))
}

fn as_in_parquet_fields(fields: &Fields) -> Fields {
    fields
        .iter()
        .map(|field| as_in_parquet_field(field))
        .collect()
}

fn as_in_parquet_field(field: &Field) -> Field {
    field
        .clone()
        .with_data_type(as_in_parquet(field.data_type()))
}

fn as_in_parquet(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeBinary => DataType::Binary,
        DataType::Timestamp(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond), Some(_)) => {
            DataType::Timestamp(*unit, Some("UTC".into()))
        }
        DataType::List(element) => DataType::List(Arc::new(as_in_parquet_field(element))),
        DataType::Map(entries, sorted) => {
            DataType::Map(Arc::new(as_in_parquet_field(entries)), *sorted)
        }
        DataType::Struct(fields) => DataType::Struct(as_in_parquet_fields(fields)),
        other => other.clone(),
    }
}

/// Replaces the type of top-level text columns by views, because DataFusion reads Parquet text
/// fastest as views.
pub(super) fn with_views(schema: &ArrowSchema) -> ArrowSchema {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    let fields: Fields = schema.fields().iter().map(view).collect();
    ArrowSchema::new_with_metadata(fields, schema.metadata().clone())
}

/// The field id in a field's metadata.
pub(super) fn field_id(field: &Field) -> Option<i32> {
    field
        .metadata()
        .get(PARQUET_FIELD_ID_META_KEY)?
        .parse()
        .ok()
}

/// Returns the initial defaults of a schema's fields by field id, including nested fields. They are
/// the values of a column in files that were written before it was added ([Default
/// values](https://iceberg.apache.org/spec/#default-values)).
pub(super) fn initial_defaults(schema: &Schema, arrow: &ArrowSchema) -> HashMap<i32, ScalarValue> {
    let mut types = HashMap::new();
    collect_types(arrow.fields(), &mut types);
    let default_of = |field: &NestedFieldRef| {
        let default = field.initial_default.as_ref()?;
        Some((field.id, scalar(default, types.get(&field.id)?)?))
    };
    schema
        .field_id_to_fields()
        .values()
        .filter_map(default_of)
        .collect()
}

fn collect_types(fields: &Fields, types: &mut HashMap<i32, DataType>) {
    for field in fields {
        if let Some(id) = field_id(field) {
            types.insert(id, field.data_type().clone());
        }
        match field.data_type() {
            DataType::Struct(fields) => collect_types(fields, types),
            DataType::List(field) | DataType::Map(field, _) => {
                collect_types(&Fields::from(vec![Arc::clone(field)]), types);
            }
            _ => {}
        }
    }
}

/// Converts a primitive Iceberg value to an Arrow value of the given type.
fn scalar(literal: &Literal, data_type: &DataType) -> Option<ScalarValue> {
    let Literal::Primitive(literal) = literal else {
        return None;
    };
    Some(match (literal, data_type) {
        (PrimitiveLiteral::Boolean(v), DataType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int32) => ScalarValue::Int32(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int64) => ScalarValue::Int64(Some((*v).into())),
        (PrimitiveLiteral::Int(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Int64) => ScalarValue::Int64(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Time64(TimeUnit::Microsecond)) => {
            ScalarValue::Time64Microsecond(Some(*v))
        }
        (PrimitiveLiteral::Long(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (PrimitiveLiteral::Long(v), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            ScalarValue::TimestampNanosecond(Some(*v), zone.clone())
        }
        (PrimitiveLiteral::Float(v), DataType::Float32) => ScalarValue::Float32(Some(v.0)),
        (PrimitiveLiteral::Float(v), DataType::Float64) => ScalarValue::Float64(Some(v.0.into())),
        (PrimitiveLiteral::Double(v), DataType::Float64) => ScalarValue::Float64(Some(v.0)),
        (PrimitiveLiteral::String(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.clone())),
        (PrimitiveLiteral::String(v), DataType::Utf8View) => ScalarValue::Utf8View(Some(v.clone())),
        (PrimitiveLiteral::Binary(v), DataType::Binary) => ScalarValue::Binary(Some(v.clone())),
        (PrimitiveLiteral::Binary(v), DataType::FixedSizeBinary(width)) => {
            ScalarValue::FixedSizeBinary(*width, Some(v.clone()))
        }
        (PrimitiveLiteral::UInt128(v), DataType::FixedSizeBinary(16)) => {
            ScalarValue::FixedSizeBinary(16, Some(v.to_be_bytes().to_vec()))
        }
        (PrimitiveLiteral::Int128(v), DataType::Decimal128(precision, scale)) => {
            ScalarValue::Decimal128(Some(*v), *precision, *scale)
        }
        _ => return None,
    })
}
