//! Column projection: reads a file's columns as the table's columns, matched by field id.
//!
//! By [column projection](https://iceberg.apache.org/spec/#column-projection) a column of the table
//! is the file's column with the same field id, whatever its name. A column that the file lacks has
//! its initial default, or else NULL. In files without field ids, the ids come from the table's
//! name mapping, or else from the column names. Types may be narrower in the file ([schema
//! evolution](https://iceberg.apache.org/spec/#schema-evolution): int to long, float to double, a
//! decimal's precision).

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use iceberg::spec::{MappedField, NameMapping};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::schema::field_id;

/// Options of casts to a wider type. A value that does not fit is an error, never NULL.
const STRICT_CAST: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// The rules that find a table's columns in any of its files.
#[derive(Clone, Debug, Default)]
pub(super) struct ColumnProjection {
    defaults: Arc<HashMap<i32, ScalarValue>>,
    name_mapping: Option<Arc<NameMapping>>,
}

impl ColumnProjection {
    /// Creates the rules. `defaults` are the initial defaults of the table's fields, by field id.
    pub(super) fn new(
        defaults: HashMap<i32, ScalarValue>,
        name_mapping: Option<Arc<NameMapping>>,
    ) -> Self {
        Self {
            defaults: Arc::new(defaults),
            name_mapping,
        }
    }

    /// Returns the source of each column of `table` in a file with the schema `file`.
    pub(super) fn resolve(&self, table: &Schema, file: &Schema) -> Vec<ColumnSource> {
        let file_fields = self.with_ids(table, file);
        table
            .fields()
            .iter()
            .map(|field| self.source(field, &file_fields))
            .collect()
    }

    fn source(&self, field: &FieldRef, file_fields: &Fields) -> ColumnSource {
        match position(field, file_fields) {
            Some(index) => ColumnSource::Column {
                index,
                file_field: Arc::clone(&file_fields[index]),
            },
            None => ColumnSource::Constant(self.default(field)),
        }
    }

    fn default(&self, field: &Field) -> Option<ScalarValue> {
        self.defaults.get(&field_id(field)?).cloned()
    }

    /// Returns the file's fields, each with its field id as metadata if the id is known.
    fn with_ids(&self, table: &Schema, file: &Schema) -> Fields {
        let has_ids = file.fields().iter().any(|field| field_id(field).is_some());
        match &self.name_mapping {
            _ if has_ids => file.fields().clone(),
            Some(mapping) => {
                let mapped: Vec<&MappedField> = mapping.fields().iter().collect();
                ids_from_mapping(file.fields(), &mapped)
            }
            None => ids_from_names(file.fields(), table.fields()),
        }
    }

    /// Converts `array` from a file's field to the table's field: matches children by field id, and
    /// widens primitive types.
    pub(super) fn convert(&self, array: &ArrayRef, from: &Field, to: &Field) -> Result<ArrayRef> {
        if array.data_type() == to.data_type() {
            return Ok(Arc::clone(array));
        }
        match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) => self
                .convert_struct(array.as_struct(), from, to)
                .map(|converted| Arc::new(converted) as ArrayRef),
            (DataType::List(from), DataType::List(to)) => {
                let list = array.as_list::<i32>();
                let values = self.convert(list.values(), from, to)?;
                let converted = ListArray::try_new(
                    Arc::clone(to),
                    list.offsets().clone(),
                    values,
                    list.nulls().cloned(),
                )?;
                Ok(Arc::new(converted))
            }
            (DataType::Map(from, _), DataType::Map(to, sorted)) => {
                let map = array.as_map();
                let (DataType::Struct(from), DataType::Struct(to_fields)) =
                    (from.data_type(), to.data_type())
                else {
                    return Err(mismatch(from, to));
                };
                let entries = self.convert_struct(map.entries(), from, to_fields)?;
                let converted = MapArray::try_new(
                    Arc::clone(to),
                    map.offsets().clone(),
                    entries,
                    map.nulls().cloned(),
                    *sorted,
                )?;
                Ok(Arc::new(converted))
            }
            (_, to) => Ok(cast_with_options(array, to, &STRICT_CAST)?),
        }
    }

    fn convert_struct(
        &self,
        array: &StructArray,
        from: &Fields,
        to: &Fields,
    ) -> Result<StructArray> {
        let children = to
            .iter()
            .map(|field| match position(field, from) {
                Some(index) => self.convert(array.column(index), &from[index], field),
                None => constant(self.default(field), field)?.to_array_of_size(array.len()),
            })
            .collect::<Result<Vec<_>>>()?;
        // A struct array without children needs an explicit length.
        if children.is_empty() {
            return Ok(StructArray::new_empty_fields(
                array.len(),
                array.nulls().cloned(),
            ));
        }
        Ok(StructArray::try_new(
            to.clone(),
            children,
            array.nulls().cloned(),
        )?)
    }
}

/// The source of a table's column in a file.
#[derive(Clone, Debug)]
pub(super) enum ColumnSource {
    Column {
        index: usize,
        file_field: FieldRef,
    },
    /// The file lacks the column: its initial default, or NULL.
    Constant(Option<ScalarValue>),
}

/// Returns the value of a column that a file lacks.
///
/// # Errors
/// The column is required and has no initial default.
pub(super) fn constant(default: Option<ScalarValue>, field: &Field) -> Result<ScalarValue> {
    match default {
        Some(value) => Ok(value),
        None if field.is_nullable() => ScalarValue::try_from(field.data_type()),
        None => Err(DataFusionError::Execution(format!(
            "the required column \"{}\" is missing in a data file and has no initial default",
            field.name()
        ))),
    }
}

fn mismatch(from: &Field, to: &Field) -> DataFusionError {
    DataFusionError::Execution(format!(
        "column \"{}\" has type {} in a data file and {} in the table",
        to.name(),
        from.data_type(),
        to.data_type()
    ))
}

fn position(field: &Field, file_fields: &Fields) -> Option<usize> {
    let id = field_id(field)?;
    file_fields
        .iter()
        .position(|file_field| field_id(file_field) == Some(id))
}

fn with_id(field: &Field, id: Option<i32>, data_type: DataType) -> FieldRef {
    let mut metadata = field.metadata().clone();
    if let Some(id) = id {
        metadata.insert(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
    }
    let field = field.clone().with_data_type(data_type);
    Arc::new(field.with_metadata(metadata))
}

/// Assigns field ids by [name
/// mapping](https://iceberg.apache.org/spec/#name-mapping-serialization). Name mapping has fixed
/// names for the children of lists and maps: `element`, `key`, `value`.
fn ids_from_mapping(fields: &Fields, mapped: &[&MappedField]) -> Fields {
    let named = |field: &Field, name: &str| {
        let found = mapped
            .iter()
            .find(|mapped| mapped.names().iter().any(|known| known == name));
        let children: Vec<&MappedField> = found
            .map(|found| found.fields().iter().map(AsRef::as_ref).collect())
            .unwrap_or_default();
        let child = |child: &Field, name: &str| {
            let renamed = Fields::from(vec![child.clone().with_name(name)]);
            let resolved = ids_from_mapping(&renamed, &children);
            resolved[0].as_ref().clone().with_name(child.name())
        };
        let data_type = match field.data_type() {
            DataType::Struct(fields) => DataType::Struct(ids_from_mapping(fields, &children)),
            DataType::List(element) => DataType::List(Arc::new(child(element, "element"))),
            DataType::Map(entries, sorted) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => {
                    let pair = vec![child(&pair[0], "key"), child(&pair[1], "value")];
                    let entries = entries
                        .as_ref()
                        .clone()
                        .with_data_type(DataType::Struct(pair.into()));
                    DataType::Map(Arc::new(entries), *sorted)
                }
                _ => field.data_type().clone(),
            },
            other => other.clone(),
        };
        with_id(field, found.and_then(|found| found.field_id()), data_type)
    };
    fields
        .iter()
        .map(|field| named(field, field.name()))
        .collect()
}

/// Assigns the ids of the table's fields of the same names. Children of lists and maps are matched
/// by position.
fn ids_from_names(fields: &Fields, table: &Fields) -> Fields {
    let id_like = |field: &Field, table: Option<&FieldRef>| {
        let data_type = match (field.data_type(), table.map(|table| table.data_type())) {
            (DataType::Struct(fields), Some(DataType::Struct(table))) => {
                DataType::Struct(ids_from_names(fields, table))
            }
            (DataType::List(element), Some(DataType::List(table))) => {
                DataType::List(ids_like_child(element, table))
            }
            (DataType::Map(entries, sorted), Some(DataType::Map(table, _))) => {
                match (entries.data_type(), table.data_type()) {
                    (DataType::Struct(pair), DataType::Struct(table)) => {
                        let pair = pair.iter().zip(table);
                        let pair = pair.map(|(field, table)| ids_like_child(field, table));
                        let entries = entries
                            .as_ref()
                            .clone()
                            .with_data_type(DataType::Struct(pair.collect()));
                        DataType::Map(Arc::new(entries), *sorted)
                    }
                    _ => field.data_type().clone(),
                }
            }
            (other, _) => other.clone(),
        };
        with_id(field, table.and_then(|table| field_id(table)), data_type)
    };
    fields
        .iter()
        .map(|field| {
            let same_name = table.iter().find(|table| table.name() == field.name());
            id_like(field, same_name)
        })
        .collect()
}

fn ids_like_child(child: &FieldRef, table: &FieldRef) -> FieldRef {
    let child_as_table = child.as_ref().clone().with_name(table.name());
    let resolved = ids_from_names(
        &Fields::from(vec![child_as_table]),
        &Fields::from(vec![Arc::clone(table)]),
    );
    Arc::new(resolved[0].as_ref().clone().with_name(child.name()))
}

impl PhysicalExprAdapterFactory for ColumnProjection {
    fn create(
        &self,
        logical_file_schema: SchemaRef,
        physical_file_schema: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let sources = self.resolve(&logical_file_schema, &physical_file_schema);
        Ok(Arc::new(FileExprAdapter {
            ids: self.clone(),
            table: logical_file_schema,
            file: physical_file_schema,
            sources,
        }))
    }
}

/// Rewrites expressions on the table's columns into expressions on one file's columns.
#[derive(Debug)]
struct FileExprAdapter {
    ids: ColumnProjection,
    table: SchemaRef,
    file: SchemaRef,
    sources: Vec<ColumnSource>,
}

impl FileExprAdapter {
    fn in_file(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let at = self.table.index_of(column.name())?;
        let to = &self.table.fields()[at];
        let (index, file_field) = match &self.sources[at] {
            ColumnSource::Constant(default) => {
                let value = constant(default.clone(), to)?;
                return Ok(Arc::new(Literal::new(value)));
            }
            ColumnSource::Column { index, file_field } => (*index, file_field),
        };
        let column: Arc<dyn PhysicalExpr> =
            Arc::new(Column::new(self.file.field(index).name(), index));
        if self.file.field(index).data_type() == to.data_type() {
            return Ok(column);
        }
        Ok(if to.data_type().is_nested() {
            Arc::new(ConvertExpr {
                ids: self.ids.clone(),
                column,
                from: Arc::clone(file_field),
                to: Arc::clone(to),
            })
        } else {
            // DataFusion's pruning and simplifier understand its own cast expression.
            let to = to.data_type().clone();
            Arc::new(CastExpr::new(column, to, None))
        })
    }
}

impl PhysicalExprAdapter for FileExprAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform(|expr| match expr.as_any().downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(self.in_file(column)?)),
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

/// An expression that converts a nested column of a file to the table's type.
#[derive(Debug)]
struct ConvertExpr {
    ids: ColumnProjection,
    column: Arc<dyn PhysicalExpr>,
    from: FieldRef,
    to: FieldRef,
}

impl PartialEq for ConvertExpr {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.from == other.from && self.to == other.to
    }
}

impl Eq for ConvertExpr {}

impl Hash for ConvertExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.from.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for ConvertExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BY_FIELD_ID({})", self.column)
    }
}

impl PhysicalExpr for ConvertExpr {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn return_field(&self, _input_schema: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        let converted = self.ids.convert(&array, &self.from, &self.to)?;
        Ok(ColumnarValue::Array(converted))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let column = children
            .pop()
            .ok_or_else(|| DataFusionError::Internal("ConvertExpr takes one child".to_owned()))?;
        Ok(Arc::new(Self {
            ids: self.ids.clone(),
            column,
            from: Arc::clone(&self.from),
            to: Arc::clone(&self.to),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column.fmt_sql(f)
    }
}
