//! The files of a commit: which data files are appended, rewritten or removed, and which rows are
//! deleted by position.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use futures::StreamExt;
use roaring::RoaringTreemap;

use super::changes::Changes;
use super::error::Result;
use super::view::Loaded;
use icebox_tables::commit::RowChange;
use icebox_tables::write::{
    DataFileWriter, data_file_location, rewrite_location, write_position_deletes,
};
use icebox_tables::{AddedFile, LakeIo, LakeTableProvider, PlannedFile, UncommittedChanges};

/// The percentage of deleted rows from which a file is rewritten without them (`pg_lake`'s
/// `pg_lake_table.copy_on_write_threshold`).
const COPY_ON_WRITE_PERCENT: u64 = 20;

/// A version whose files are all written.
pub(super) struct Written {
    pub loaded: Loaded,
    pub is_created: bool,
}

/// Writes the files of the next version of a table.
pub(super) async fn write(
    io: &LakeIo,
    context: &SessionContext,
    changes: Changes,
) -> Result<Written> {
    let file_io = io.file_io();
    let mut version = changes.version.clone();
    if changes.is_created {
        // A new table gets a metadata file of its own, even if the same transaction also inserts
        // rows.
        version.write_metadata(&file_io).await?;
    }
    let change = row_change(io, context, &changes).await?;
    if !change.is_empty() {
        version = version.with_rows(&file_io, change).await?;
    }
    if !version.is_written() {
        version.write_metadata(&file_io).await?;
    }
    let loaded = Loaded::new(io, version, changes.columns.clone()).await?;
    Ok(Written {
        loaded,
        is_created: changes.is_created,
    })
}

async fn row_change(io: &LakeIo, context: &SessionContext, changes: &Changes) -> Result<RowChange> {
    let file_io = io.file_io();
    let location = changes.version.metadata.location();
    let mut change = RowChange::default();
    if changes.is_truncated {
        let base = changes.table.scan(None, &[]).await?;
        change.removed = base
            .iter()
            .map(|file| file.location.clone())
            .collect::<BTreeSet<_>>();
    }
    let files = match changes.deleted_in_files().next() {
        Some(_) => changes.files().await?,
        None => Vec::new(),
    };
    for (data_file, new) in changes.deleted_in_files() {
        let Some(file) = files.iter().find(|file| file.location == *data_file) else {
            continue;
        };
        let mut deleted = existing_deletes(io, file).await?;
        let before = deleted.len();
        deleted |= new;
        if deleted.len() == before {
            continue;
        }
        if deleted.len() >= file.record_count {
            change.removed.insert(data_file.clone());
        } else if deleted.len() * 100 >= file.record_count * COPY_ON_WRITE_PERCENT {
            change.removed.insert(data_file.clone());
            change
                .added
                .extend(rewrite(context, changes, file, deleted).await?);
        } else {
            let delete_file = rewrite_location(location);
            change
                .deletes
                .push(write_position_deletes(&file_io, &delete_file, data_file, new).await?);
        }
    }
    // No snapshot has the data files of this transaction yet. So one whose rows are gone is left
    // out, rather than removed.
    let spilled = changes
        .spilled()
        .iter()
        .filter(|file| !change.removed.contains(file.file_path()));
    change.added.extend(spilled.cloned().collect::<Vec<_>>());
    change.removed.retain(|location| {
        !changes
            .spilled()
            .iter()
            .any(|file| file.file_path() == location)
    });
    if changes.live_rows() > 0 {
        let schema = changes.version.metadata.current_schema().clone();
        let mut writer =
            DataFileWriter::create(&file_io, &data_file_location(location), schema).await?;
        for batch in changes.live_batches()? {
            writer.write(&batch).await?;
        }
        change.added.extend(writer.finish().await?);
    }
    Ok(change)
}

async fn existing_deletes(io: &LakeIo, file: &PlannedFile) -> Result<RoaringTreemap> {
    let mut deleted = RoaringTreemap::new();
    for location in &file.position_deletes {
        if let Some(rows) = io.position_deletes(location).await?.get(&file.location) {
            deleted |= rows;
        }
    }
    deleted.remove_range(file.record_count..);
    Ok(deleted)
}

/// Writes a copy of a data file without the deleted rows, with the current columns of the table.
/// Returns `None` if no row is left.
async fn rewrite(
    context: &SessionContext,
    changes: &Changes,
    file: &PlannedFile,
    deleted: RoaringTreemap,
) -> Result<Option<iceberg::spec::DataFile>> {
    let uncommitted = UncommittedChanges {
        added_files: vec![AddedFile {
            location: file.location.clone(),
            record_count: file.record_count,
            size: Some(file.size),
        }],
        deleted: [(file.location.clone(), deleted)].into(),
        ..UncommittedChanges::default()
    };
    let provider =
        LakeTableProvider::new(changes.without_rows().await?).with_uncommitted(uncommitted)?;
    let mut rows = context
        .read_table(Arc::new(provider))?
        .execute_stream()
        .await?;
    let metadata = &changes.version.metadata;
    let location = rewrite_location(metadata.location());
    let file_io = changes.table.io().file_io();
    let mut writer =
        DataFileWriter::create(&file_io, &location, metadata.current_schema().clone()).await?;
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).await?;
    }
    Ok(writer.finish().await?)
}
