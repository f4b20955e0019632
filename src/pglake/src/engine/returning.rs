//! The rows that RETURNING gives.

use arrow::array::RecordBatch;

use super::changes::Changes;
use super::cursor::RowSink;
use super::error::{Error, Result};
use super::view::BoundColumn;
use crate::arrays::write_text;

/// The source of a value that RETURNING asks for.
pub(super) enum Returned {
    /// A column of the changed row, by index.
    Column(usize),
    /// A value of the query's row, by index.
    Item(usize),
}

/// Writes a row of RETURNING. `new` is the changed row: its batch, its index and the columns.
pub(super) fn write_returned(
    returned: &[Returned],
    found: &[Option<String>],
    new: Option<(&RecordBatch, usize, &[BoundColumn])>,
    sink: &mut impl RowSink,
) -> Result<()> {
    if returned.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for item in returned {
        match (item, new) {
            (Returned::Item(index), _) => sink.value(found[*index].as_deref()),
            (Returned::Column(index), Some((batch, row, columns))) => {
                text.clear();
                let is_value = write_text(
                    &mut text,
                    batch.column(*index),
                    row,
                    Some(&columns[*index].kind),
                );
                sink.value(is_value.then_some(text.as_str()));
            }
            (Returned::Column(_), None) => return Err(Error::internal("no changed row to return")),
        }
    }
    sink.end_row();
    Ok(())
}

/// Writes the named columns of a row of the table; an empty name is NULL.
pub(super) fn write_columns(
    changes: &Changes,
    batch: &RecordBatch,
    row: usize,
    names: &[String],
    sink: &mut impl RowSink,
) -> Result<()> {
    let mut text = String::new();
    for name in names {
        // An empty name means RETURNING NULL.
        if name.is_empty() {
            sink.value(None);
            continue;
        }
        let index = changes.column(name)?;
        text.clear();
        let is_value = write_text(
            &mut text,
            batch.column(index),
            row,
            Some(&changes.columns[index].kind),
        );
        sink.value(is_value.then_some(text.as_str()));
    }
    sink.end_row();
    Ok(())
}
