//! Changes of a table's rows that are not committed: which rows of which file go, and which rows
//! come.
//!
//! A statement that changes rows only says which rows, with [`TableChanges::insert`],
//! [`TableChanges::delete`] and [`TableChanges::truncate`]. An UPDATE deletes the old row and
//! inserts the new one. [`TableChanges::row_change`] then decides how files express it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use super::commit::{SchemaChange, TableVersion};
use super::error::Error;
use super::provider::LakeTableProvider;
use super::schema::{field_id, initial_defaults};
use super::table::{LakeTable, PlannedFile};
use super::uncommitted::{AddedFile, BATCHES_LOCATION, UncommittedChanges};
use super::write::{DataFileWriter, data_file_location};

/// An error in reading or writing changed rows.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Lake(#[from] Error),
    #[error(transparent)]
    Iceberg(#[from] iceberg::Error),
    #[error(transparent)]
    Query(#[from] DataFusionError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error("{location} is not a file of the table")]
    NoSuchFile { location: String },
}

pub(super) type Result<T, E = ChangeError> = std::result::Result<T, E>;

/// Changes of one table that are not committed. Cloning is cheap, so savepoints keep clones.
#[derive(Clone)]
pub struct TableChanges {
    version: TableVersion,
    table: Arc<LakeTable>,
    is_truncated: bool,
    batches: Vec<RecordBatch>,
    rows: u64,
    spilled: Vec<DataFile>,
    /// Deleted rows by file location. Those of `batches` are under [`BATCHES_LOCATION`].
    deleted: HashMap<String, RoaringTreemap>,
}

impl TableChanges {
    /// Creates empty changes of a version; `table` is the table at this version.
    pub fn new(table: Arc<LakeTable>, version: TableVersion) -> Self {
        Self {
            version,
            table,
            is_truncated: false,
            batches: Vec::new(),
            rows: 0,
            spilled: Vec::new(),
            deleted: HashMap::new(),
        }
    }

    /// The version that the changes are based on, with the schema changes that belong to them.
    pub fn version(&self) -> &TableVersion {
        &self.version
    }

    /// The table at [`version`](Self::version), without the changes of rows.
    pub fn table(&self) -> &Arc<LakeTable> {
        &self.table
    }

    /// The schema of inserted rows.
    pub fn arrow_schema(&self) -> &SchemaRef {
        self.table.arrow_schema()
    }

    /// Whether a commit has nothing to write.
    pub fn is_empty(&self) -> bool {
        self.version.is_written() && !self.has_row_changes()
    }

    fn has_row_changes(&self) -> bool {
        self.is_truncated
            || self.live_rows() > 0
            || !self.spilled.is_empty()
            || self.deleted_in_files().next().is_some()
    }

    /// Whether all rows of the base version are deleted.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The number of rows in memory that are not deleted.
    pub(super) fn live_rows(&self) -> u64 {
        let deleted = self.deleted.get(BATCHES_LOCATION);
        self.rows - deleted.map_or(0, RoaringTreemap::len)
    }

    /// Returns the rows in memory without the deleted ones.
    pub(super) fn live_batches(&self) -> Result<Vec<RecordBatch>> {
        let Some(deleted) = self.deleted.get(BATCHES_LOCATION) else {
            return Ok(self.batches.clone());
        };
        let mut first = 0;
        let mut live = Vec::new();
        for batch in &self.batches {
            let end = first + batch.num_rows() as u64;
            let mask: BooleanArray = (first..end)
                .map(|position| Some(!deleted.contains(position)))
                .collect();
            live.push(filter_record_batch(batch, &mask)?);
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

    /// The data files that rows in memory were written to. No snapshot has them yet.
    pub(super) fn spilled(&self) -> &[DataFile] {
        &self.spilled
    }

    /// Inserts rows, which have the columns of [`arrow_schema`](Self::arrow_schema) in order.
    pub fn insert(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.batches.push(batch);
    }

    /// Deletes the row at a position (from 0) of a file. Returns false when it is already deleted.
    /// The file of inserted rows in memory is [`BATCHES_LOCATION`].
    pub fn delete(&mut self, location: &str, position: u64) -> bool {
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
    pub fn truncate(&mut self) {
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

    /// Whether there are at least `rows` rows in memory that [`spill`](Self::spill) can write. Rows
    /// with deletions stay in memory, because deletions refer to their positions there.
    pub fn can_spill(&self, rows: u64) -> bool {
        self.rows >= rows && !self.deleted.contains_key(BATCHES_LOCATION)
    }

    /// Writes the rows in memory to a data file.
    pub async fn spill(&mut self) -> Result<()> {
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

    /// Returns the data files that may hold a row of the table: those of the base version, and the
    /// spilled ones.
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

    /// Returns the table with these changes, for a scan.
    pub async fn provider(&self) -> Result<LakeTableProvider> {
        let table = if self.is_truncated {
            self.without_rows().await?
        } else {
            self.table.clone()
        };
        let uncommitted = UncommittedChanges {
            added_batches: self.batches.clone(),
            added_files: self.spilled.iter().map(AddedFile::from).collect(),
            deleted: self.deleted.clone(),
        };
        Ok(LakeTableProvider::new(table).with_uncommitted(uncommitted)?)
    }

    /// Returns a table that consists of the rows at some positions of one file, deleted or not.
    ///
    /// # Errors
    /// The table has no such file.
    pub async fn rows_of_file(
        &self,
        location: &str,
        positions: impl Iterator<Item = u64>,
    ) -> Result<LakeTableProvider> {
        let mut uncommitted = UncommittedChanges::default();
        let rows = if location == BATCHES_LOCATION {
            uncommitted.added_batches = self.batches.clone();
            self.rows
        } else {
            let files = self.files().await?;
            let file = files
                .iter()
                .find(|file| file.location == location)
                .ok_or_else(|| ChangeError::NoSuchFile {
                    location: location.to_owned(),
                })?;
            uncommitted.added_files = vec![AddedFile::from(file)];
            file.record_count
        };
        let mut others = RoaringTreemap::new();
        others.insert_range(0..rows);
        positions.for_each(|position| _ = others.remove(position));
        uncommitted.deleted.insert(location.to_owned(), others);
        Ok(LakeTableProvider::new(self.without_rows().await?).with_uncommitted(uncommitted)?)
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
    pub async fn alter(&mut self, changes: &[SchemaChange]) -> Result<()> {
        self.version = self.version.with_schema(changes)?;
        let metadata = self.version.metadata.clone();
        let io = self.table.io().clone();
        self.table =
            Arc::new(LakeTable::from_metadata(&io, &self.version.location, metadata).await?);
        let schema = self.table.arrow_schema();
        let defaults = initial_defaults(self.version.metadata.current_schema(), schema);
        self.batches = self
            .batches
            .iter()
            .map(|batch| {
                let arrays = schema.fields().iter().map(|field| {
                    let id = field_id(field);
                    match (column_of(batch, id), id.and_then(|id| defaults.get(&id))) {
                        (Some(array), _) => Ok(array),
                        (None, Some(default)) => Ok(default.to_array_of_size(batch.num_rows())?),
                        (None, None) => Ok(new_null_array(field.data_type(), batch.num_rows())),
                    }
                });
                Ok::<_, ChangeError>(RecordBatch::try_new(
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
        .position(|field| id.is_some() && field_id(field) == id)?;
    Some(batch.column(index).clone())
}
