//! The commit of one table's changes as the next version of the table.

use super::changes::Changes;
use super::error::Result;
use super::view::Loaded;
use icebox_tables::{LakeIo, RewriteThreshold};

/// A version whose files are all written.
pub(super) struct Written {
    pub loaded: Loaded,
    pub is_created: bool,
}

/// Writes the files of the next version of a table.
pub(super) async fn write(
    io: &LakeIo,
    threshold: RewriteThreshold,
    changes: Changes,
) -> Result<Written> {
    let file_io = io.file_io();
    let mut version = changes.table.version().clone();
    if changes.is_created {
        // A new table gets a metadata file of its own, even if the same transaction also inserts
        // rows.
        version.write_metadata(&file_io).await?;
    }
    let change = changes.table.row_change(threshold).await?;
    if !change.is_empty() {
        version = version.with_rows(&file_io, change).await?;
    }
    if !version.is_written() {
        version.write_metadata(&file_io).await?;
    }
    let loaded = Loaded::new(io, version, changes.columns).await?;
    Ok(Written {
        loaded,
        is_created: changes.is_created,
    })
}
