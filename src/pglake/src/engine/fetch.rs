//! Rows by their ids: the old values that an UPDATE keeps, and those that a DELETE returns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use super::changes::Changes;
use super::cursor::row_id;
use super::error::{Error, Result};
use super::rowid::{FileNumbers, RowId};
use icebox_tables::{
    AddedFile, BATCHES_LOCATION, LakeTableProvider, UncommittedChanges, with_schema,
};

/// Rows of one file.
pub(super) struct RowsOfFile {
    pub location: String,
    pub batch: RecordBatch,
    pub positions: Vec<u64>,
    /// For every row, its index in the list of requested rows.
    pub request_indexes: Vec<usize>,
}

/// Returns the current values of rows, file by file. `files` has the numbers that the rows' ids were
/// made with.
pub(super) async fn rows(
    context: &SessionContext,
    changes: &Changes,
    files: &Mutex<FileNumbers>,
    rows: &[RowId],
) -> Result<Vec<RowsOfFile>> {
    let mut by_file: BTreeMap<u32, BTreeMap<u64, usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_file
            .entry(row.file)
            .or_default()
            .entry(row.position)
            .or_insert(index);
    }
    let mut found = Vec::new();
    for (file, request_indexes) in by_file {
        let location = location(files, file)?;
        let schema = changes.arrow_schema().clone();
        let provider = only_rows(changes, &location, request_indexes.keys().copied())
            .await?
            .with_positions();
        let mut batches = context
            .read_table(Arc::new(provider))?
            .execute_stream()
            .await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let width = batch.num_columns() - 2;
            let mut numbers = FileNumbers::default();
            let mut positions = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                let id = row_id(
                    batch.column(width),
                    batch.column(width + 1),
                    row,
                    &mut numbers,
                )?;
                positions.push(id.position);
            }
            let request_indexes = positions
                .iter()
                .map(|position| request_indexes[position])
                .collect();
            // Drops the two position columns.
            let batch = with_schema(&batch, &schema)?;
            found.push(RowsOfFile {
                location: location.clone(),
                batch,
                positions,
                request_indexes,
            });
        }
    }
    Ok(found)
}

/// Returns the location of the file that has this number in row ids.
pub(super) fn location(files: &Mutex<FileNumbers>, file: u32) -> Result<String> {
    let files = files.lock();
    let location = files.location(file).map(str::to_owned);
    location.ok_or_else(|| Error::internal("the row's file is unknown in this transaction"))
}

/// Returns a table that consists of some rows of one file.
async fn only_rows(
    changes: &Changes,
    location: &str,
    positions: impl Iterator<Item = u64>,
) -> Result<LakeTableProvider> {
    let mut uncommitted = UncommittedChanges::default();
    let rows = if location == BATCHES_LOCATION {
        uncommitted.added_batches = changes.batches().to_vec();
        changes.rows()
    } else {
        let files = changes.files().await?;
        let file = files
            .iter()
            .find(|file| file.location == location)
            .ok_or_else(|| Error::internal(format!("{location} is not a file of the table")))?;
        uncommitted.added_files = vec![AddedFile {
            location: location.to_owned(),
            record_count: file.record_count,
            size: Some(file.size),
        }];
        file.record_count
    };
    let mut others = RoaringTreemap::new();
    others.insert_range(0..rows);
    positions.for_each(|position| _ = others.remove(position));
    uncommitted.deleted.insert(location.to_owned(), others);
    Ok(LakeTableProvider::new(changes.without_rows().await?).with_uncommitted(uncommitted)?)
}
