//! Uncommitted changes of a transaction to one table, with the table's columns as PostgreSQL has
//! them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use super::error::{Error, Result};
use super::view::{BoundColumn, Loaded, TableView};
use crate::arrays::TextBuilder;
use icebox_tables::commit::{SchemaChange, TableVersion};
use icebox_tables::{LakeIo, TableChanges};

/// Uncommitted changes of one table. Cloning is cheap, so savepoints keep clones.
#[derive(Clone)]
pub(super) struct Changes {
    pub table: TableChanges,
    pub columns: Arc<Vec<BoundColumn>>,
    pub is_created: bool,
}

impl Changes {
    /// Creates empty changes of a committed version.
    pub(super) fn new(loaded: &Loaded) -> Self {
        Self {
            table: TableChanges::new(loaded.table.clone(), loaded.version.clone()),
            columns: loaded.columns.clone(),
            is_created: false,
        }
    }

    /// Creates the changes for a table that this transaction creates.
    pub(super) async fn created(
        io: &LakeIo,
        version: TableVersion,
        columns: Arc<Vec<BoundColumn>>,
    ) -> Result<Self> {
        let loaded = Loaded::new(io, version, columns).await?;
        Ok(Self {
            is_created: true,
            ..Self::new(&loaded)
        })
    }

    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| {
                Error::new(
                    "42703",
                    format!("the Iceberg table has no column \"{name}\""),
                )
            })
    }

    /// Returns the indexes of the columns with these names.
    pub(super) fn column_indexes(&self, names: &[String]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// Returns the table with these changes, for a scan.
    pub(super) async fn view(&self) -> Result<TableView> {
        Ok(TableView {
            provider: self.table.provider().await?,
            columns: self.columns.clone(),
        })
    }

    /// Applies schema changes. `columns` are the columns after them.
    pub(super) async fn alter(
        &mut self,
        changes: &[SchemaChange],
        columns: Arc<Vec<BoundColumn>>,
    ) -> Result<()> {
        self.table.alter(changes).await?;
        self.columns = columns;
        Ok(())
    }
}

/// A buffer that collects values in text form until they become a batch.
pub(super) struct RowBuffer {
    schema: SchemaRef,
    builders: Vec<TextBuilder>,
    required: Vec<bool>,
    /// The indexes of the table's columns, in the order in which each row's values arrive.
    pub order: Vec<usize>,
}

impl RowBuffer {
    /// Creates a buffer for rows whose values arrive in the order of the columns `order`. The other
    /// columns are NULL.
    pub(super) fn new(changes: &Changes, order: Vec<usize>) -> Self {
        let schema = changes.table.arrow_schema();
        let builder = |index: usize| {
            TextBuilder::new(
                &changes.columns[index].kind,
                schema.field(index).data_type(),
            )
        };
        let builders = order.iter().map(|index| builder(*index)).collect();
        let required = order
            .iter()
            .map(|index| !schema.field(*index).is_nullable())
            .collect();
        Self {
            schema: schema.clone(),
            builders,
            required,
            order,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.builders.first().map_or(0, TextBuilder::len)
    }

    /// Appends the values of rows. After an error the buffer holds part of them. That is harmless:
    /// the statement's (sub)transaction has failed, and the buffer is dropped with it.
    pub(super) fn append<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<()> {
        let width = self.builders.len();
        for (index, value) in values.enumerate() {
            let column = index % width;
            // PostgreSQL leaves NOT NULL of a foreign table to the remote server, so the engine
            // enforces it.
            if value.is_none() && self.required[column] {
                let column = self.schema.field(self.order[column]).name().clone();
                return Err(Error::not_null(index / width, column));
            }
            self.builders[column].append(value)?;
        }
        Ok(())
    }

    /// Returns the rows as a batch with all columns of the table. `rows` is the number of rows,
    /// which the arrays do not give when there is no column.
    pub(super) fn finish(&mut self, rows: usize) -> Result<RecordBatch> {
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        for (builder, index) in self.builders.iter_mut().zip(&self.order) {
            arrays[*index] = Some(builder.finish());
        }
        let arrays = arrays
            .into_iter()
            .zip(self.schema.fields())
            .map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), rows)))
            .collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            arrays,
            &options,
        )?)
    }

    /// Returns the arrays of the values only, in the order of `order`.
    pub(super) fn finish_values(&mut self) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(TextBuilder::finish).collect()
    }
}
