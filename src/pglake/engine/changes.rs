//! What a transaction does to one table: rows in memory and deleted positions, until the commit writes files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use super::error::{Error, Result};
use super::view::{BoundColumn, Loaded, TableView};
use crate::pglake::arrays::TextBuilder;
use crate::tables::commit::{SchemaChange, TableVersion};
use crate::tables::write::{DataFileWriter, data_file_location};
use crate::tables::{
    BATCHES_LOCATION, ExtraFile, LakeIo, LakeTable, LakeTableProvider, Overlay, PlannedFile,
};

/// Rows of a table that a transaction keeps in memory at most.
const SPILL_ROWS: u64 = 2_000_000;

/// The changes of one table. Cloning is cheap: that is how savepoints keep an earlier state.
#[derive(Clone)]
pub(super) struct Changes {
    /// The version that the changes are based on, with the transaction's own columns.
    pub version: TableVersion,
    pub table: Arc<LakeTable>,
    pub columns: Arc<Vec<BoundColumn>>,
    pub is_created: bool,
    /// Whether the rows of the base version are gone.
    pub is_truncated: bool,
    batches: Vec<RecordBatch>,
    rows: u64,
    /// Rows that were too many for the memory: data files that no snapshot has yet.
    spilled: Vec<DataFile>,
    /// Deleted rows by file location, those of `batches` under [`BATCHES_LOCATION`].
    deleted: HashMap<String, RoaringTreemap>,
}

impl Changes {
    /// No changes yet of a committed version.
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            version: loaded.version.clone(),
            table: loaded.table.clone(),
            columns: loaded.columns.clone(),
            is_created: false,
            is_truncated: false,
            batches: Vec::new(),
            rows: 0,
            spilled: Vec::new(),
            deleted: HashMap::new(),
        }
    }

    /// A table that this transaction creates.
    pub(super) async fn created(
        io: &LakeIo,
        version: TableVersion,
        columns: Arc<Vec<BoundColumn>>,
    ) -> Result<Self> {
        let loaded = Loaded::new(io, version, columns).await?;
        Ok(Self {
            is_created: true,
            ..Self::of(&loaded)
        })
    }

    pub(super) fn arrow_schema(&self) -> &SchemaRef {
        self.table.arrow_schema()
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

    /// The places of columns by name.
    pub(super) fn columns_of(&self, names: &[String]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// Whether a commit has anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.version.is_written() && !self.has_row_changes()
    }

    fn has_row_changes(&self) -> bool {
        self.is_truncated
            || self.live_rows() > 0
            || !self.spilled.is_empty()
            || self.deleted_in_files().next().is_some()
    }

    /// Rows of the transaction that are not deleted again.
    pub(super) fn live_rows(&self) -> u64 {
        self.rows
            - self
                .deleted
                .get(BATCHES_LOCATION)
                .map_or(0, RoaringTreemap::len)
    }

    /// The batches without what was deleted of them.
    pub(super) fn live_batches(&self) -> Result<Vec<RecordBatch>> {
        let Some(deleted) = self.deleted.get(BATCHES_LOCATION) else {
            return Ok(self.batches.clone());
        };
        let mut first = 0;
        let mut live = Vec::new();
        for batch in &self.batches {
            let end = first + batch.num_rows() as u64;
            let mask: arrow::array::BooleanArray = (first..end)
                .map(|position| Some(!deleted.contains(position)))
                .collect();
            live.push(arrow::compute::filter_record_batch(batch, &mask)?);
            first = end;
        }
        Ok(live)
    }

    /// Deleted rows of data files, by location.
    pub(super) fn deleted_in_files(&self) -> impl Iterator<Item = (&String, &RoaringTreemap)> {
        self.deleted
            .iter()
            .filter(|(location, rows)| *location != BATCHES_LOCATION && !rows.is_empty())
    }

    /// The rows in memory, also those that are deleted again.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// How many rows `batches` has.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.batches.push(batch);
    }

    /// Whether the rows in memory have become too many; rows that were deleted, or that a cursor may name, stay.
    pub(super) fn should_spill(&self) -> bool {
        self.rows >= SPILL_ROWS && !self.deleted.contains_key(BATCHES_LOCATION)
    }

    /// Writes the rows in memory to a data file.
    pub(super) async fn spill(&mut self) -> Result<()> {
        let location = data_file_location(self.version.metadata.location());
        let schema = self.version.metadata.current_schema().clone();
        let mut writer =
            DataFileWriter::create(&self.table.io().file_io(), &location, schema).await?;
        for batch in std::mem::take(&mut self.batches) {
            writer.write(&batch).await?;
        }
        self.rows = 0;
        self.spilled.extend(writer.finish().await?);
        Ok(())
    }

    /// The files that rows were spilled to.
    pub(super) fn spilled(&self) -> &[DataFile] {
        &self.spilled
    }

    /// The data files that a row may be in: those of the base version, and those of this transaction.
    pub(super) async fn files(&self) -> Result<Vec<PlannedFile>> {
        let mut files: Vec<PlannedFile> = match self.is_truncated {
            true => Vec::new(),
            false => self.table.scan(None, &[]).await?.iter().cloned().collect(),
        };
        files.extend(self.spilled.iter().map(|file| PlannedFile {
            location: file.file_path().to_owned(),
            size: file.file_size_in_bytes(),
            record_count: file.record_count(),
            position_deletes: Vec::new(),
        }));
        Ok(files)
    }

    /// Deletes a row; false when it is deleted already.
    pub(super) fn delete(&mut self, location: &str, position: u64) -> bool {
        match self.deleted.get_mut(location) {
            Some(rows) => rows.insert(position),
            None => self
                .deleted
                .entry(location.to_owned())
                .or_default()
                .insert(position),
        }
    }

    /// Deletes every row; how many there were in the base is for the caller to know.
    pub(super) fn truncate(&mut self) {
        self.is_truncated = true;
        self.deleted.clear();
        self.spilled.clear();
        // Positions stay those of the log, as cursors may still name them.
        if self.rows > 0 {
            let mut all = RoaringTreemap::new();
            all.insert_range(0..self.rows);
            self.deleted.insert(BATCHES_LOCATION.to_owned(), all);
        }
    }

    /// The table with these changes, for a scan.
    pub(super) async fn view(&self) -> Result<TableView> {
        let table = match self.is_truncated {
            false => self.table.clone(),
            true => self.without_rows().await?,
        };
        let overlay = Overlay {
            extra_batches: self.batches.clone(),
            extra_files: self
                .spilled
                .iter()
                .map(|file| ExtraFile {
                    location: file.file_path().to_owned(),
                    record_count: file.record_count(),
                    size: Some(file.file_size_in_bytes()),
                })
                .collect(),
            deleted: self.deleted.clone(),
        };
        let provider = LakeTableProvider::new(table).with_overlay(overlay)?;
        Ok(TableView {
            provider,
            columns: self.columns.clone(),
        })
    }

    /// The same table, with the same field ids, without a snapshot.
    pub(super) async fn without_rows(&self) -> Result<Arc<LakeTable>> {
        let metadata = self.version.metadata.as_ref().clone();
        let snapshots: Vec<i64> = metadata
            .snapshots()
            .map(|snapshot| snapshot.snapshot_id())
            .collect();
        let metadata = metadata
            .into_builder(None)
            .remove_ref("main")
            .remove_snapshots(&snapshots)
            .build()?
            .metadata;
        Ok(Arc::new(
            LakeTable::from_metadata(self.table.io(), &self.version.location, Arc::new(metadata))
                .await?,
        ))
    }

    /// Applies a change of columns, also to the rows in memory.
    pub(super) async fn alter(
        &mut self,
        changes: &[SchemaChange],
        columns: Arc<Vec<BoundColumn>>,
    ) -> Result<()> {
        self.version = self.version.with_schema(changes)?;
        let metadata = self.version.metadata.clone();
        let io = self.table.io().clone();
        self.table =
            Arc::new(LakeTable::from_metadata(&io, &self.version.location, metadata).await?);
        self.columns = columns;
        let schema = self.table.arrow_schema().clone();
        let defaults =
            crate::tables::initial_defaults(self.version.metadata.current_schema(), &schema);
        self.batches = self
            .batches
            .iter()
            .map(|batch| {
                let arrays = schema.fields().iter().map(|field| {
                    let id = crate::tables::field_id(field);
                    match (column_of(batch, id), id.and_then(|id| defaults.get(&id))) {
                        (Some(array), _) => Ok(array),
                        (None, Some(default)) => Ok(default.to_array_of_size(batch.num_rows())?),
                        (None, None) => Ok(new_null_array(field.data_type(), batch.num_rows())),
                    }
                });
                Ok::<_, Error>(RecordBatch::try_new(
                    schema.clone(),
                    arrays.collect::<Result<_>>()?,
                )?)
            })
            .collect::<Result<_>>()?;
        Ok(())
    }
}

/// The column of a batch with a field id.
fn column_of(batch: &RecordBatch, id: Option<i32>) -> Option<ArrayRef> {
    let schema = batch.schema();
    let index = schema
        .fields()
        .iter()
        .position(|field| id.is_some() && crate::tables::field_id(field) == id)?;
    Some(batch.column(index).clone())
}

/// Rows that arrive value by value, until they are a batch.
pub(super) struct RowBuffer {
    schema: SchemaRef,
    builders: Vec<TextBuilder>,
    required: Vec<bool>,
    /// Values that postgres_fdw sends per row, as indexes of the table's columns.
    pub order: Vec<usize>,
}

impl RowBuffer {
    /// A buffer for rows whose values come in the order of these columns; the others are NULL.
    pub(super) fn new(changes: &Changes, order: Vec<usize>) -> Self {
        let schema = changes.arrow_schema();
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

    /// Adds rows of values. After an error the buffer holds part of them: the statement, and so its (sub)transaction,
    /// has failed, and the buffer is dropped.
    pub(super) fn append<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<()> {
        let width = self.builders.len();
        for (index, value) in values.enumerate() {
            let column = index % width;
            // NOT NULL is the engine's to enforce: PostgreSQL leaves it to the other side of a foreign table.
            if value.is_none() && self.required[column] {
                let column = self.schema.field(self.order[column]).name().clone();
                return Err(Error::null(index / width, column));
            }
            self.builders[column].append(value)?;
        }
        Ok(())
    }

    /// The rows as a batch of the whole table; `rows` counts when there is no column at all.
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

    /// The arrays of the values alone, in the order in which they came.
    pub(super) fn finish_values(&mut self) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(TextBuilder::finish).collect()
    }
}
