//! The manifests of a new snapshot: carried over, rewritten without removed files, added, or
//! merged.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, ManifestContentType, ManifestFile, ManifestStatus, ManifestWriter,
    ManifestWriterBuilder, TableMetadata,
};
use uuid::Uuid;

/// The number of older manifests of one content type from which they are merged into one, as in
/// `pg_lake`.
const MERGE_AT_MANIFESTS: usize = 100;
/// The number of manifests that are read concurrently for a merge.
const CONCURRENT_READS: usize = 16;

/// The writer of one snapshot's manifests.
pub(super) struct Manifests<'a> {
    pub(super) io: &'a FileIO,
    /// The metadata of the version that the snapshot follows.
    pub(super) metadata: &'a TableMetadata,
    pub(super) snapshot_id: i64,
    /// The directory of the manifests, without a slash at the end.
    pub(super) directory: String,
    /// A unique part of the names of the manifests and of their list.
    pub(super) id: Uuid,
    /// The number of manifests written so far.
    pub(super) written: usize,
}

impl Manifests<'_> {
    fn builder(&mut self) -> Result<ManifestWriterBuilder> {
        let location = format!("{}/{}-m{}.avro", self.directory, self.id, self.written);
        self.written += 1;
        Ok(ManifestWriterBuilder::new(
            self.io.new_output(location)?,
            Some(self.snapshot_id),
            self.metadata.current_schema().clone(),
            self.metadata.default_partition_spec().as_ref().clone(),
        ))
    }

    fn writer(&mut self, content: ManifestContentType) -> Result<ManifestWriter> {
        let builder = self.builder()?;
        Ok(match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        })
    }

    /// Writes a manifest of new files.
    pub(super) async fn write_added(
        &mut self,
        content: ManifestContentType,
        files: Vec<DataFile>,
    ) -> Result<ManifestFile> {
        let mut writer = self.writer(content)?;
        for file in files {
            // -1: the sequence number is inherited from the snapshot.
            writer.add_file(file, -1)?;
        }
        writer.write_manifest_file().await
    }

    /// Returns the manifest for the new snapshot: unchanged, or rewritten if some of its files are
    /// removed.
    pub(super) async fn carry_over(
        &mut self,
        manifest: &ManifestFile,
        removed: &BTreeSet<String>,
    ) -> Result<Option<ManifestFile>> {
        if removed.is_empty() {
            return Ok(Some(manifest.clone()));
        }
        let loaded = manifest.load_manifest(self.io).await?;
        let is_removed = |file: &DataFile| match file.content_type() {
            DataContentType::Data => removed.contains(file.file_path()),
            _ => referenced(file).is_some_and(|location| removed.contains(&location)),
        };
        let alive = || loaded.entries().iter().filter(|entry| entry.is_alive());
        if !alive().any(|entry| is_removed(entry.data_file())) {
            return Ok(Some(manifest.clone()));
        }
        let mut writer = self.writer(manifest.content)?;
        for entry in alive() {
            let sequence = entry.sequence_number().unwrap_or(manifest.sequence_number);
            let file_sequence = entry
                .file_sequence_number
                .or(Some(manifest.sequence_number));
            if is_removed(entry.data_file()) {
                writer.add_delete_file(entry.data_file().clone(), sequence, file_sequence)?;
            } else {
                let added_by = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                writer.add_existing_file(
                    entry.data_file().clone(),
                    added_by,
                    sequence,
                    file_sequence,
                )?;
            }
        }
        writer.write_manifest_file().await.map(Some)
    }

    /// Merges the older manifests of a content type once there are many. Entries that earlier
    /// snapshots deleted are left out.
    pub(super) async fn merge(
        &mut self,
        manifests: Vec<ManifestFile>,
    ) -> Result<Vec<ManifestFile>> {
        let mut by_content: BTreeMap<bool, Vec<ManifestFile>> = BTreeMap::new();
        for manifest in manifests {
            by_content
                .entry(manifest.content == ManifestContentType::Deletes)
                .or_default()
                .push(manifest);
        }
        let mut merged = Vec::new();
        for (is_deletes, group) in by_content {
            let (own, older): (Vec<_>, Vec<_>) = group
                .into_iter()
                .partition(|manifest| manifest.added_snapshot_id == self.snapshot_id);
            if older.len() < MERGE_AT_MANIFESTS {
                merged.extend(older);
                merged.extend(own);
                continue;
            }
            let content = if is_deletes {
                ManifestContentType::Deletes
            } else {
                ManifestContentType::Data
            };
            let mut writer = self.writer(content)?;
            let mut files = 0;
            let io = self.io;
            let loaded: Vec<_> = stream::iter(older.clone())
                .map(|manifest| async move { manifest.load_manifest(io).await })
                .buffered(CONCURRENT_READS)
                .try_collect()
                .await?;
            for (manifest, loaded) in older.iter().zip(loaded) {
                for entry in loaded.entries() {
                    if entry.status() == ManifestStatus::Deleted {
                        continue;
                    }
                    let sequence = entry.sequence_number().unwrap_or(manifest.sequence_number);
                    let file_sequence = entry
                        .file_sequence_number
                        .or(Some(manifest.sequence_number));
                    let added_by = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                    writer.add_existing_file(
                        entry.data_file().clone(),
                        added_by,
                        sequence,
                        file_sequence,
                    )?;
                    files += 1;
                }
            }
            if files > 0 {
                merged.push(writer.write_manifest_file().await?);
            }
            merged.extend(own);
        }
        Ok(merged)
    }
}

/// Returns the data file that a position-delete file refers to, if it names exactly one.
fn referenced(delete: &DataFile) -> Option<String> {
    if let Some(location) = delete.referenced_data_file() {
        return Some(location);
    }
    const FILE_PATH_ID: i32 = 2_147_483_546;
    let (lower, upper) = (
        delete.lower_bounds().get(&FILE_PATH_ID)?,
        delete.upper_bounds().get(&FILE_PATH_ID)?,
    );
    match (lower == upper).then_some(lower)?.literal() {
        iceberg::spec::PrimitiveLiteral::String(location) => Some(location.clone()),
        _ => None,
    }
}
