//! Uncommitted changes of a transaction to one table: rows in memory and deleted positions. The
//! commit writes them as files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use super::error::{Error, Result};
use super::view::{BoundColumn, Loaded, TableView};
use crate::arrays::TextBuilder;
use icebox_tables::commit::{SchemaChange, TableVersion};
use icebox_tables::write::{DataFileWriter, data_file_location};
use icebox_tables::{
    AddedFile, BATCHES_LOCATION, LakeIo, LakeTable, LakeTableProvider, PlannedFile,
    UncommittedChanges,
};

/// The number of a table's rows in memory from which a transaction writes them to a data file.
const SPILL_ROWS: u64 = 2_000_000;

/// Uncommitted changes of one table. Cloning is cheap, so savepoints keep clones.
#[derive(Clone)]
pub(super) struct Changes {
    /// The version that the changes are based on, with the transaction's own schema changes.
    pub version: TableVersion,
    pub table: Arc<LakeTable>,
    pub columns: Arc<Vec<BoundColumn>>,
    pub is_created: bool,
    /// Whether all rows of the base version are deleted.
    pub is_truncated: bool,
    batches: Vec<RecordBatch>,
    rows: u64,
    /// Data files with rows that were too many for memory. No snapshot has them yet.
    spilled: Vec<DataFile>,
    /// Deleted rows by file location. Those of `batches` are under [`BATCHES_LOCATION`].
    deleted: HashMap<String, RoaringTreemap>,
}

impl Changes {
    /// Creates empty changes of a committed version.
    pub(super) fn new(loaded: &Loaded) -> Self {
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

    /// Returns the indexes of the columns with these names.
    pub(super) fn column_indexes(&self, names: &[String]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// Whether a commit has nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.version.is_written() && !self.has_row_changes()
    }

    fn has_row_changes(&self) -> bool {
        self.is_truncated
            || self.live_rows() > 0
            || !self.spilled.is_empty()
            || self.deleted_in_files().next().is_some()
    }

    /// The number of rows in memory that are not deleted.
    pub(super) fn live_rows(&self) -> u64 {
        self.rows
            - self
                .deleted
                .get(BATCHES_LOCATION)
                .map_or(0, RoaringTreemap::len)
    }

    /// The rows in memory without the deleted ones.
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

    /// The deleted rows of data files, by location.
    pub(super) fn deleted_in_files(&self) -> impl Iterator<Item = (&String, &RoaringTreemap)> {
        self.deleted
            .iter()
            .filter(|(location, rows)| *location != BATCHES_LOCATION && !rows.is_empty())
    }

    /// The rows in memory, including deleted ones.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The number of rows in `batches`.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.batches.push(batch);
    }

    /// Whether the rows in memory should be written to a file. Rows with deletions stay in memory,
    /// because deletions refer to positions in `batches`.
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

    /// The data files that rows in memory were written to.
    pub(super) fn spilled(&self) -> &[DataFile] {
        &self.spilled
    }

    /// The data files that may hold a row of the table: those of the base version, and those of
    /// this transaction.
    pub(super) async fn files(&self) -> Result<Vec<PlannedFile>> {
        let mut files: Vec<PlannedFile> = if self.is_truncated {
            Vec::new()
        } else {
            self.table.scan(None, &[]).await?.iter().cloned().collect()
        };
        files.extend(self.spilled.iter().map(|file| PlannedFile {
            location: file.file_path().to_owned(),
            size: file.file_size_in_bytes(),
            record_count: file.record_count(),
            position_deletes: Vec::new(),
        }));
        Ok(files)
    }

    /// Deletes a row. Returns false when it is already deleted.
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

    /// Deletes all rows.
    pub(super) fn truncate(&mut self) {
        self.is_truncated = true;
        self.deleted.clear();
        self.spilled.clear();
        // The batches stay, because cursors may still refer to positions in them.
        if self.rows > 0 {
            let mut all = RoaringTreemap::new();
            all.insert_range(0..self.rows);
            self.deleted.insert(BATCHES_LOCATION.to_owned(), all);
        }
    }

    /// Returns the table with these changes, for a scan.
    pub(super) async fn view(&self) -> Result<TableView> {
        let table = if !self.is_truncated {
            self.table.clone()
        } else {
            self.without_rows().await?
        };
        let uncommitted = UncommittedChanges {
            added_batches: self.batches.clone(),
            added_files: self
                .spilled
                .iter()
                .map(|file| AddedFile {
                    location: file.file_path().to_owned(),
                    record_count: file.record_count(),
                    size: Some(file.file_size_in_bytes()),
                })
                .collect(),
            deleted: self.deleted.clone(),
        };
        let provider = LakeTableProvider::new(table).with_uncommitted(uncommitted)?;
        Ok(TableView {
            provider,
            columns: self.columns.clone(),
        })
    }

    /// Returns the table without its snapshots, with the same schema and field ids.
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

    /// Applies schema changes, also to the rows in memory.
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
            icebox_tables::initial_defaults(self.version.metadata.current_schema(), &schema);
        self.batches = self
            .batches
            .iter()
            .map(|batch| {
                let arrays = schema.fields().iter().map(|field| {
                    let id = icebox_tables::field_id(field);
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

/// Returns the column of a batch that has this field id.
fn column_of(batch: &RecordBatch, id: Option<i32>) -> Option<ArrayRef> {
    let schema = batch.schema();
    let index = schema
        .fields()
        .iter()
        .position(|field| id.is_some() && icebox_tables::field_id(field) == id)?;
    Some(batch.column(index).clone())
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
