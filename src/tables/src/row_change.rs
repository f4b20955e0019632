//! How files express changed rows: which data files are added, rewritten or removed, and which rows
//! are deleted by position.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use datafusion::prelude::SessionContext;
use futures::StreamExt;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use super::changes::{Result, TableChanges};
use super::commit::RowChange;
use super::io::LakeIo;
use super::provider::LakeTableProvider;
use super::table::PlannedFile;
use super::uncommitted::{AddedFile, UncommittedChanges};
use super::write::{DataFileWriter, data_file_location, rewrite_location, write_position_deletes};

/// The context in which files are scanned that are rewritten.
static SCANS: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

/// The percentage of deleted rows from which a data file is rewritten without them. Below it the
/// rows are deleted by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteThreshold(u64);

impl RewriteThreshold {
    fn is_reached(self, deleted: u64, rows: u64) -> bool {
        deleted * 100 >= rows * self.0
    }
}

/// The threshold of `pg_lake` (its setting `pg_lake_table.copy_on_write_threshold`).
impl Default for RewriteThreshold {
    fn default() -> Self {
        Self(20)
    }
}

impl FromStr for RewriteThreshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(percent) if percent <= 100 => Ok(Self(percent)),
            _ => Err("it is not a percentage between 0 and 100".to_owned()),
        }
    }
}

impl TableChanges {
    /// Writes the data files and delete files of these changes, and returns them for
    /// [`TableVersion::with_rows`](super::commit::TableVersion::with_rows).
    pub async fn row_change(&self, threshold: RewriteThreshold) -> Result<RowChange> {
        let mut change = RowChange::default();
        if self.is_truncated() {
            let base = self.table().scan(None, &[]).await?;
            change.removed = base.iter().map(|file| file.location.clone()).collect();
        }
        self.delete_rows(&mut change, threshold).await?;
        // No snapshot has the spilled files yet. So one whose rows are gone is left out, rather
        // than removed.
        for file in self.spilled() {
            if !change.removed.remove(file.file_path()) {
                change.added.push(file.clone());
            }
        }
        change.added.extend(self.write_inserted().await?);
        Ok(change)
    }

    async fn delete_rows(&self, change: &mut RowChange, threshold: RewriteThreshold) -> Result<()> {
        let files = match self.deleted_in_files().next() {
            Some(_) => self.files().await?,
            None => Vec::new(),
        };
        for (location, new) in self.deleted_in_files() {
            let Some(file) = files.iter().find(|file| file.location == *location) else {
                continue;
            };
            let mut deleted = existing_deletes(self.table().io(), file).await?;
            let before = deleted.len();
            deleted |= new;
            if deleted.len() == before {
                continue;
            }
            if deleted.len() >= file.record_count {
                change.removed.insert(location.clone());
            } else if threshold.is_reached(deleted.len(), file.record_count) {
                change.removed.insert(location.clone());
                let rewritten = self.rewrite(file, deleted).await?;
                change.added.extend(rewritten);
            } else {
                let delete_file = rewrite_location(self.version().metadata.location());
                let io = self.table().io().file_io();
                change
                    .deletes
                    .push(write_position_deletes(&io, &delete_file, location, new).await?);
            }
        }
        Ok(())
    }

    /// Writes a data file with the rows in memory. Returns `None` if there is none.
    async fn write_inserted(&self) -> Result<Option<DataFile>> {
        if self.live_rows() == 0 {
            return Ok(None);
        }
        let location = data_file_location(self.version().metadata.location());
        let mut writer = self.data_file_writer(&location).await?;
        for batch in self.live_batches()? {
            writer.write(&batch).await?;
        }
        Ok(writer.finish().await?)
    }

    /// Writes a copy of a data file without the deleted rows, with the current columns of the
    /// table. Returns `None` if no row is left.
    async fn rewrite(
        &self,
        file: &PlannedFile,
        deleted: RoaringTreemap,
    ) -> Result<Option<DataFile>> {
        let uncommitted = UncommittedChanges {
            added_files: vec![AddedFile::from(file)],
            deleted: [(file.location.clone(), deleted)].into(),
            ..UncommittedChanges::default()
        };
        let provider =
            LakeTableProvider::new(self.without_rows().await?).with_uncommitted(uncommitted)?;
        let mut rows = SCANS
            .read_table(Arc::new(provider))?
            .execute_stream()
            .await?;
        let location = rewrite_location(self.version().metadata.location());
        let mut writer = self.data_file_writer(&location).await?;
        while let Some(batch) = rows.next().await {
            writer.write(&batch?).await?;
        }
        Ok(writer.finish().await?)
    }

    async fn data_file_writer(&self, location: &str) -> Result<DataFileWriter> {
        let schema = self.version().metadata.current_schema().clone();
        let io = self.table().io().file_io();
        Ok(DataFileWriter::create(&io, location, schema).await?)
    }
}

/// Returns the rows of a file that the base version has deleted.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_rewritten_from_the_threshold_on() {
        let threshold = RewriteThreshold::default();
        assert!(!threshold.is_reached(19, 100));
        assert!(threshold.is_reached(20, 100));
        assert!(threshold.is_reached(1, 5));
        assert_eq!("20".parse(), Ok(threshold));
        assert!("101".parse::<RewriteThreshold>().is_err());
    }
}
