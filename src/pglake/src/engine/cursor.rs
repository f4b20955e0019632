//! Result sets, as rows of text that `postgres_fdw` fetches in portions.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::stream::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::error::{Error, Result};
use super::numeric;
use super::rowid::{FileNumbers, RowId};
use super::translate::OutputColumn;
use crate::arrays::write_text;

/// A receiver of rows of text: one call per value (`None` is NULL), and one call at the end of each
/// row.
pub(super) trait RowSink {
    fn value(&mut self, text: Option<&str>);
    fn end_row(&mut self);
}

/// The rows of a query, in order.
pub(super) enum Rows {
    Translated {
        batches: datafusion::execution::SendableRecordBatchStream,
        outputs: Vec<OutputColumn>,
        files: Arc<Mutex<FileNumbers>>,
        /// The batch that is being read, and the index of its next row.
        current: Option<(RecordBatch, usize)>,
    },
    /// Rows that are already in memory.
    Fixed(std::vec::IntoIter<Vec<Option<String>>>),
    /// Rows of a query that PostgreSQL evaluates. `_session` keeps its connection and the scanned
    /// tables alive until the end.
    Postgres {
        rows: Pin<Box<dyn Stream<Item = Result<SimpleQueryRow>> + Send>>,
        _session: Box<dyn Send>,
    },
}

impl Rows {
    pub(super) fn translated(
        batches: datafusion::execution::SendableRecordBatchStream,
        outputs: Vec<OutputColumn>,
        files: Arc<Mutex<FileNumbers>>,
    ) -> Self {
        Self::Translated {
            batches,
            outputs,
            files,
            current: None,
        }
    }

    pub(super) fn postgres(
        rows: impl Stream<Item = Result<SimpleQueryMessage, tokio_postgres::Error>> + Send + 'static,
        session: impl Send + 'static,
    ) -> Self {
        let rows = rows.filter_map(async |message| match message {
            Ok(SimpleQueryMessage::Row(row)) => Some(Ok(row)),
            Ok(_) => None,
            Err(error) => Some(Err(Error::from(error))),
        });
        Self::Postgres {
            rows: Box::pin(rows),
            _session: Box::new(session),
        }
    }

    /// Writes up to `limit` rows and returns their number. Fewer than `limit` means that the end is
    /// reached.
    pub(super) async fn fetch(&mut self, limit: usize, sink: &mut impl RowSink) -> Result<usize> {
        let mut fetched = 0;
        match self {
            Self::Translated {
                batches,
                outputs,
                files,
                current,
            } => {
                let mut text = String::new();
                while fetched < limit {
                    let Some((batch, row)) = current else {
                        match batches.next().await {
                            Some(batch) => *current = Some((batch?, 0)),
                            None => break,
                        }
                        continue;
                    };
                    if *row == batch.num_rows() {
                        *current = None;
                        continue;
                    }
                    let end = batch.num_rows().min(*row + limit - fetched);
                    let mut files = files.lock();
                    for index in *row..end {
                        for output in outputs.iter() {
                            text.clear();
                            let is_value =
                                write_output(&mut text, batch, index, output, &mut files)?;
                            sink.value(is_value.then_some(text.as_str()));
                        }
                        sink.end_row();
                    }
                    fetched += end - *row;
                    *row = end;
                }
            }
            Self::Fixed(rows) => {
                for row in rows.take(limit) {
                    row.iter().for_each(|value| sink.value(value.as_deref()));
                    sink.end_row();
                    fetched += 1;
                }
            }
            Self::Postgres { rows, .. } => {
                while fetched < limit {
                    let Some(row) = rows.next().await else { break };
                    let row = row?;
                    for column in 0..row.len() {
                        sink.value(row.get(column));
                    }
                    sink.end_row();
                    fetched += 1;
                }
            }
        }
        Ok(fetched)
    }

    /// Writes all remaining rows and returns their number.
    pub(super) async fn drain(&mut self, sink: &mut impl RowSink) -> Result<usize> {
        self.fetch(usize::MAX, sink).await
    }
}

fn write_output(
    text: &mut String,
    batch: &RecordBatch,
    row: usize,
    output: &OutputColumn,
    files: &mut FileNumbers,
) -> Result<bool> {
    Ok(match output {
        OutputColumn::Column { index, kind } => {
            write_text(text, batch.column(*index).as_ref(), row, kind.as_ref())
        }
        OutputColumn::Null => false,
        OutputColumn::Ctid { file, position } => {
            let id = row_id(
                batch.column(*file).as_ref(),
                batch.column(*position).as_ref(),
                row,
                files,
            )?;
            id.write(text);
            true
        }
        OutputColumn::Average { sum, count } => {
            let count = batch.column(*count).as_primitive::<Int64Type>().value(row);
            let sum = batch.column(*sum);
            if sum.is_null(row) || count == 0 {
                return Ok(false);
            }
            let mut total = String::new();
            write_text(&mut total, sum.as_ref(), row, None);
            text.push_str(&numeric::divide(&total, count)?);
            true
        }
    })
}

/// Returns the id of a row, from the two columns that a scan with positions adds.
///
/// # Errors
/// SQLSTATE 54000 if a `ctid` cannot hold the id.
pub(super) fn row_id(
    file: &dyn Array,
    position: &dyn Array,
    row: usize,
    files: &mut FileNumbers,
) -> Result<RowId> {
    let file = file.as_dictionary::<Int32Type>();
    let location = file
        .values()
        .as_string::<i32>()
        .value(file.keys().value(row) as usize);
    let position = position.as_primitive::<Int64Type>().value(row) as u64;
    let id = RowId {
        file: files.number(location),
        position,
    };
    if id.fits() {
        Ok(id)
    } else {
        Err(Error::new(
            "54000",
            "too many data files, or too many rows in one, to change rows one by one",
        ))
    }
}
