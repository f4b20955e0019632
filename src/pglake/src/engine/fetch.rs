//! Rows by their ids: the old values that an UPDATE keeps, and those that a DELETE returns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parking_lot::Mutex;

use super::cursor::row_id;
use super::error::{Error, Result};
use super::rowid::{FileNumbers, RowId};
use icebox_tables::{TableChanges, with_schema};

/// Rows of one file.
pub(super) struct RowsOfFile {
    pub location: String,
    pub batch: RecordBatch,
    pub positions: Vec<u64>,
    /// For every row, its index in the list of requested rows.
    pub request_indexes: Vec<usize>,
}

/// Returns the current values of rows, file by file. `files` has the numbers that the rows' ids
/// were made with.
pub(super) async fn rows(
    context: &SessionContext,
    changes: &TableChanges,
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
        let provider = changes
            .rows_of_file(&location, request_indexes.keys().copied())
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
