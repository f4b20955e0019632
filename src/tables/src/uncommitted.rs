//! Uncommitted changes of a table, which no snapshot has yet.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use super::table::PlannedFile;

/// The location that stands for the rows of [`UncommittedChanges::added_batches`].
pub const BATCHES_LOCATION: &str = "memory://uncommitted/batches";

/// Uncommitted changes of a transaction to a table. Scans see them in addition to the pinned
/// snapshot.
#[derive(Clone, Debug, Default)]
pub struct UncommittedChanges {
    /// Rows in memory, with the columns in the order of the table schema. The position of a row is
    /// its index over all batches, and its file is [`BATCHES_LOCATION`].
    pub added_batches: Vec<RecordBatch>,
    /// Parquet data files that are written but not committed.
    pub added_files: Vec<AddedFile>,
    /// Deleted rows, as positions from 0. The key is the location of a file as in
    /// [`PlannedFile`](super::PlannedFile), of an extra file, or [`BATCHES_LOCATION`]. They add to
    /// the deletes of the snapshot.
    pub deleted: HashMap<String, RoaringTreemap>,
}

/// A data file that is written but not committed.
#[derive(Clone, Debug)]
pub struct AddedFile {
    pub location: String,
    /// The number of rows.
    pub record_count: u64,
    /// The size in bytes. If it is not known, every scan requests it from the object store.
    pub size: Option<u64>,
}

impl From<&DataFile> for AddedFile {
    fn from(file: &DataFile) -> Self {
        Self {
            location: file.file_path().to_owned(),
            record_count: file.record_count(),
            size: Some(file.file_size_in_bytes()),
        }
    }
}

impl From<&PlannedFile> for AddedFile {
    fn from(file: &PlannedFile) -> Self {
        Self {
            location: file.location.clone(),
            record_count: file.record_count,
            size: Some(file.size),
        }
    }
}

/// The rows of one in-memory batch that are not deleted.
#[derive(Clone, Debug)]
pub(super) struct LiveBatch {
    pub(super) batch: RecordBatch,
    /// The position of each row.
    pub(super) positions: Vec<i64>,
}

impl UncommittedChanges {
    /// Returns the in-memory rows that are not deleted, with the exact types of `schema`.
    pub(super) fn live_batches(&self, schema: &SchemaRef) -> Result<Vec<LiveBatch>> {
        let deleted = self.deleted.get(BATCHES_LOCATION);
        let mut first = 0u64;
        let mut live = Vec::with_capacity(self.added_batches.len());
        for batch in &self.added_batches {
            let end = first + batch.num_rows() as u64;
            let alive = |position: &u64| deleted.is_none_or(|deleted| !deleted.contains(*position));
            let positions: Vec<i64> = (first..end)
                .filter(alive)
                .map(|position| position as i64)
                .collect();
            let typed = with_schema(batch, schema)?;
            let batch = if positions.len() == batch.num_rows() {
                typed
            } else {
                let mask: BooleanArray = (first..end)
                    .map(|position| Some(alive(&position)))
                    .collect();
                filter_record_batch(&typed, &mask)?
            };
            if batch.num_rows() > 0 {
                live.push(LiveBatch { batch, positions });
            }
            first = end;
        }
        Ok(live)
    }
}

/// Casts a batch to the exact types of `schema`. For example, a scan returns text as views, and a
/// file has plain strings.
pub fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
