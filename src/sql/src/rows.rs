//! The result set of a statement.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;

use super::error::{SqlError, SqlResult};
use super::types::DataType;

/// Rows with their schema. Every field has its Snowflake type, see [`DataType::of_field`].
#[derive(Clone, Debug)]
pub struct Rows {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
}

impl Rows {
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }

    /// Creates the one row that most statements return: a text in the column `status`.
    pub fn status(text: impl Into<String>) -> Self {
        Self::texts(&["status"], [[Some(text.into())]])
    }

    /// Creates the result of most statements that change something.
    pub fn succeeded() -> Self {
        Self::status("Statement executed successfully.")
    }

    /// Creates rows of text columns; `None` is NULL.
    pub fn texts<const N: usize>(
        names: &[&str; N],
        rows: impl IntoIterator<Item = [Option<String>; N]>,
    ) -> Self {
        let columns = names.map(|name| (name, DataType::TEXT));
        let rows = rows
            .into_iter()
            .map(|row| row.map(ScalarValue::Utf8).to_vec());
        // A cast of text to a text column cannot fail.
        Self::from_values(&columns, rows)
            .unwrap_or_else(|_| Self::new(Arc::new(Schema::empty()), Vec::new()))
    }

    /// Creates rows from values.
    ///
    /// # Errors
    /// If a value cannot be cast to its column's type.
    pub fn from_values(
        columns: &[(&str, DataType)],
        rows: impl IntoIterator<Item = Vec<ScalarValue>>,
    ) -> SqlResult<Self> {
        let fields = columns.iter().map(|(name, ty)| ty.to_field(name, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let mut values: Vec<Vec<ScalarValue>> = vec![Vec::new(); columns.len()];
        for row in rows {
            for (column, value) in values.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let failed = |error: datafusion::error::DataFusionError| SqlError::internal(&error);
        let arrays = values
            .into_iter()
            .zip(schema.fields())
            .map(|(column, field)| {
                if column.is_empty() {
                    return Ok(new_null_array(field.data_type(), 0));
                }
                let cast = column
                    .into_iter()
                    .map(|value| value.cast_to(field.data_type()));
                ScalarValue::iter_to_array(cast.collect::<Result<Vec<_>, _>>().map_err(failed)?)
                    .map_err(failed)
            });
        let arrays = arrays.collect::<SqlResult<Vec<ArrayRef>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays);
        let batch = batch.map_err(|error| SqlError::internal(&error))?;
        Ok(Self::new(schema, vec![batch]))
    }

    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the Snowflake types of the columns.
    pub fn types(&self) -> Vec<DataType> {
        let fields = self.schema.fields().iter();
        fields.map(|field| DataType::of_field(field)).collect()
    }

    /// Returns the value in a row and a column, both from 0; NULL outside the rows and columns.
    pub fn value(&self, row: usize, column: usize) -> ScalarValue {
        let mut row = row;
        for batch in &self.batches {
            if row < batch.num_rows() {
                let value = batch.columns().get(column);
                let value = value.and_then(|array| ScalarValue::try_from_array(array, row).ok());
                return value.unwrap_or(ScalarValue::Null);
            }
            row -= batch.num_rows();
        }
        ScalarValue::Null
    }

    /// Returns the text in a row and the column of that name, for code that looks something up in a
    /// result. None for NULL, or if there is no such column.
    pub fn text(&self, row: usize, name: &str) -> Option<String> {
        let column = self.schema.index_of(name).ok()?;
        match self
            .value(row, column)
            .cast_to(&arrow::datatypes::DataType::Utf8)
        {
            Ok(ScalarValue::Utf8(text)) => text,
            _ => None,
        }
    }
}
