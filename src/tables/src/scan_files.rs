//! The data files of a scan, each with its deleted rows.

use std::collections::{HashMap, HashSet};

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner};
use futures::{StreamExt, TryStreamExt, stream};
use roaring::RoaringTreemap;

use super::error::{Error, Result};
use super::io::LakeIo;
use super::table::PlannedFile;
use super::uncommitted::{AddedFile, UncommittedChanges};

/// The number of small files that are read concurrently while a scan is planned.
pub(super) const CONCURRENT_READS: usize = 16;
/// The number of bytes from which a scan's files are split among the cores.
const SPLIT_BYTES: usize = 1 << 20;

/// A data file and the positions of its deleted rows.
#[derive(Clone, Debug)]
pub(super) struct ScanFile {
    pub(super) file: PlannedFile,
    pub(super) deleted: RoaringTreemap,
}

impl ScanFile {
    pub(super) fn live_rows(&self) -> u64 {
        self.file.record_count - self.deleted.len()
    }
}

/// Returns the files that have rows: the planned ones and those of the uncommitted changes.
pub(super) async fn live_files(
    io: &LakeIo,
    planned: &[PlannedFile],
    uncommitted: &UncommittedChanges,
) -> Result<Vec<ScanFile>> {
    let added = stream::iter(uncommitted.added_files.clone())
        .map(|file| with_size(io, file))
        .buffered(CONCURRENT_READS)
        .try_collect::<Vec<_>>()
        .await?;
    // Each delete file is read once, although several data files may refer to it.
    let delete_files: HashSet<String> = planned
        .iter()
        .flat_map(|file| file.position_deletes.iter().cloned())
        .collect();
    let deletes = stream::iter(delete_files)
        .map(|location| async move {
            let deletes = io.position_deletes(&location).await?;
            Ok::<_, Error>((location, deletes))
        })
        .buffer_unordered(CONCURRENT_READS)
        .try_collect::<HashMap<_, _>>()
        .await?;
    let files = planned.iter().cloned().chain(added).map(|file| {
        let mut deleted = RoaringTreemap::new();
        let named = file.position_deletes.iter();
        let of_snapshot = named.filter_map(|name| deletes.get(name)?.get(&file.location));
        for positions in of_snapshot.chain(uncommitted.deleted.get(&file.location)) {
            deleted |= positions;
        }
        deleted.remove_range(file.record_count..);
        ScanFile { file, deleted }
    });
    Ok(files.filter(|file| file.live_rows() > 0).collect())
}

async fn with_size(io: &LakeIo, file: AddedFile) -> Result<PlannedFile> {
    let size = match file.size {
        Some(size) => size,
        None => io.size(&file.location).await?,
    };
    Ok(PlannedFile {
        location: file.location,
        size,
        record_count: file.record_count,
        position_deletes: Vec::new(),
    })
}

/// Divides the files into as many groups of similar size as there are cores. Large files are split.
pub(super) fn file_groups(mut files: Vec<PartitionedFile>, partitions: usize) -> Vec<FileGroup> {
    let split = FileGroupPartitioner::new()
        .with_target_partitions(partitions)
        .with_repartition_file_min_size(SPLIT_BYTES)
        .repartition_file_groups(&[FileGroup::new(files.clone())]);
    if let Some(groups) = split {
        return groups;
    }
    // Too little data to split. Most of the time is spent opening files, so they are spread evenly.
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    let mut groups = vec![FileGroup::default(); partitions.clamp(1, files.len().max(1))];
    let count = groups.len();
    for (index, file) in files.into_iter().enumerate() {
        groups[index % count].push(file);
    }
    groups
}
