//! An Iceberg table as one metadata file describes it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use datafusion::logical_expr::Expr;
use futures::TryStreamExt;
use iceberg::expr::Predicate;
use iceberg::scan::FileScanTask;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, DataContentType, NameMapping, SchemaRef, SnapshotRef,
    TableMetadata, TableMetadataRef,
};
use iceberg::table::Table;
use iceberg::{Runtime, TableIdent};
use parking_lot::Mutex;

use super::error::{Error, Result};
use super::io::LakeIo;
use super::{prune, schema};
use icebox_base::opaque::Opaque;

/// An Iceberg table as one metadata file describes it. It never changes, because a newer state has
/// another metadata file.
///
/// The table may come from any writer: format versions 1 to 3, gzip-compressed metadata, or without
/// a snapshot (also if written as `current-snapshot-id: -1`). Data files must be Parquet, and rows
/// must be deleted by position.
pub struct LakeTable {
    io: LakeIo,
    metadata_location: String,
    table: Opaque<Table>,
    arrow_schema: ArrowSchemaRef,
    /// The plans without a filter, by snapshot. Every query without a WHERE needs the same one.
    plans: Mutex<HashMap<i64, Arc<Vec<PlannedFile>>>>,
}

/// A data file of a scan.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// The location as in the manifest.
    pub location: String,
    /// The size in bytes.
    pub size: u64,
    /// The number of rows, including those deleted by position.
    pub record_count: u64,
    /// The locations of the position-delete files that may refer to this file.
    pub position_deletes: Vec<String>,
}

impl LakeTable {
    /// Reads a metadata file at an absolute URL. No other file is read yet.
    ///
    /// It needs a tokio runtime, on which later scans of the table are planned.
    ///
    /// # Errors
    /// [`Error::Metadata`], which names the file.
    pub async fn load(io: &LakeIo, metadata_location: &str) -> Result<Self> {
        let failed = |source: iceberg::Error| Error::Metadata {
            location: metadata_location.to_owned(),
            source: Box::new(source),
        };
        let metadata = TableMetadata::read_from(&io.file_io(), metadata_location)
            .await
            .map_err(failed)?;
        Self::from_metadata(io, metadata_location, Arc::new(metadata)).await
    }

    /// Creates a table from metadata in memory. `metadata_location` is only its name, and need not
    /// exist yet.
    pub async fn from_metadata(
        io: &LakeIo,
        metadata_location: &str,
        metadata: TableMetadataRef,
    ) -> Result<Self> {
        let failed = |source: iceberg::Error| Error::Metadata {
            location: metadata_location.to_owned(),
            source: Box::new(source),
        };
        let table = open(io, metadata).map_err(failed)?;
        let arrow_schema = schema::to_arrow(table.metadata().current_schema()).map_err(failed)?;
        Ok(Self {
            io: io.clone(),
            metadata_location: metadata_location.to_owned(),
            table: Opaque::new(table),
            arrow_schema: Arc::new(arrow_schema),
            plans: Mutex::default(),
        })
    }

    /// The access that the table was loaded through.
    pub fn io(&self) -> &LakeIo {
        &self.io
    }

    /// The URL of the metadata file.
    pub fn metadata_location(&self) -> &str {
        &self.metadata_location
    }

    /// The contents of the metadata file.
    pub fn metadata(&self) -> &TableMetadata {
        self.table.metadata()
    }

    /// The current schema.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata().current_schema()
    }

    /// The current schema as scans return it. Each field has its field id as the metadata
    /// `PARQUET:field_id`.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow_schema
    }

    /// The snapshots that the metadata file contains, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotRef> {
        let mut snapshots: Vec<_> = self.metadata().snapshots().cloned().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        snapshots
    }

    /// The schema for reading a snapshot: the current schema if `None`, otherwise the schema of
    /// that snapshot.
    pub fn schema_at(&self, snapshot_id: Option<i64>) -> Result<SchemaRef> {
        match snapshot_id {
            None => Ok(Arc::clone(self.schema())),
            Some(id) => self
                .snapshot(id)?
                .schema(self.metadata())
                .map_err(|source| Error::Metadata {
                    location: self.metadata_location.clone(),
                    source: Box::new(source),
                }),
        }
    }

    fn snapshot(&self, snapshot_id: i64) -> Result<&SnapshotRef> {
        self.metadata()
            .snapshot_by_id(snapshot_id)
            .ok_or_else(|| Error::NoSuchSnapshot {
                location: self.metadata_location.clone(),
                snapshot_id,
            })
    }

    pub(super) fn name_mapping(&self) -> Option<Arc<NameMapping>> {
        let mapping = self
            .metadata()
            .properties()
            .get(DEFAULT_SCHEMA_NAME_MAPPING)?;
        serde_json::from_str(mapping).ok().map(Arc::new)
    }

    /// The number of rows of the current snapshot, including those deleted by position. It is known
    /// after a scan without a filter has been planned.
    pub(super) fn known_rows(&self) -> Option<u64> {
        let snapshot = self.metadata().current_snapshot()?;
        let plans = self.plans();
        let files = plans.get(&snapshot.snapshot_id())?;
        Some(files.iter().map(|file| file.record_count).sum())
    }

    /// Returns the data files of a snapshot (`None` is the current one) that may hold rows that
    /// pass all of `filters`. The filters use the column names of [`Self::schema_at`]. Files are
    /// skipped by partition and by column bounds.
    pub async fn scan(
        &self,
        snapshot_id: Option<i64>,
        filters: &[Expr],
    ) -> Result<Arc<Vec<PlannedFile>>> {
        let snapshot = match snapshot_id {
            Some(id) => self.snapshot(id)?,
            None => match self.metadata().current_snapshot() {
                Some(snapshot) => snapshot,
                None => return Ok(Arc::default()),
            },
        };
        let id = snapshot.snapshot_id();
        let stored_schema = snapshot
            .schema(self.metadata())
            .map_err(|source| self.plan_error(source))?;
        let read_schema = self.schema_at(snapshot_id)?;
        let predicate = prune::predicate(filters, &read_schema, &stored_schema);
        if predicate.is_some() {
            return Ok(Arc::new(self.plan(id, predicate).await?));
        }
        if let Some(plan) = self.plans().get(&id) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(self.plan(id, None).await?);
        self.plans().insert(id, Arc::clone(&plan));
        Ok(plan)
    }

    fn plans(&self) -> parking_lot::MutexGuard<'_, HashMap<i64, Arc<Vec<PlannedFile>>>> {
        self.plans.lock()
    }

    fn plan_error(&self, source: iceberg::Error) -> Error {
        Error::Plan {
            location: self.metadata_location.clone(),
            source: Box::new(source),
        }
    }

    async fn plan(
        &self,
        snapshot_id: i64,
        predicate: Option<Predicate>,
    ) -> Result<Vec<PlannedFile>> {
        let mut scan = self.table.scan().snapshot_id(snapshot_id);
        if let Some(predicate) = predicate {
            scan = scan.with_filter(predicate);
        }
        let tasks = async {
            scan.build()?
                .plan_files()
                .await?
                .try_collect::<Vec<_>>()
                .await
        };
        let tasks = tasks.await.map_err(|source| self.plan_error(source))?;
        let mut files = tasks
            .into_iter()
            .map(planned_file)
            .collect::<Result<Vec<_>>>()?;
        // Manifests are read concurrently. Sorting makes plans and the order of rows repeatable.
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }
}

fn open(io: &LakeIo, metadata: TableMetadataRef) -> iceberg::Result<Table> {
    // iceberg-rust's cache of manifest lists panics on a snapshot without a schema id, which the
    // specification allows.
    let cacheable = metadata
        .snapshots()
        .all(|snapshot| snapshot.schema_id().is_some());
    let mut builder = Table::builder()
        // A placeholder: a metadata file does not contain its table's name, and nothing here uses
        // it.
        .identifier(TableIdent::from_strs(["lake", "table"])?)
        .file_io(io.file_io_of_table(Arc::clone(&metadata)))
        .metadata(metadata)
        .runtime(Runtime::try_current()?)
        .readonly(true);
    if !cacheable {
        builder = builder.disable_cache();
    }
    builder.build()
}

impl std::fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeTable")
            .field("metadata_location", &self.metadata_location)
            .finish_non_exhaustive()
    }
}

fn planned_file(task: FileScanTask) -> Result<PlannedFile> {
    let unsupported = |location: &str, feature| {
        Err(Error::Unsupported {
            location: location.to_owned(),
            feature,
        })
    };
    if task.data_file_format != iceberg::spec::DataFileFormat::Parquet {
        return unsupported(&task.data_file_path, "data files other than Parquet");
    }
    let mut position_deletes = Vec::with_capacity(task.deletes.len());
    for delete in task.deletes {
        match delete.file_type {
            DataContentType::PositionDeletes if delete.file_path.ends_with(".puffin") => {
                return unsupported(&delete.file_path, "deletion vectors");
            }
            DataContentType::PositionDeletes => position_deletes.push(delete.file_path),
            _ => return unsupported(&delete.file_path, "equality deletes"),
        }
    }
    let record_count = task.record_count.ok_or_else(|| Error::Schema {
        location: task.data_file_path.clone(),
        reason: "its manifest entry has no record count".to_owned(),
    })?;
    Ok(PlannedFile {
        location: task.data_file_path,
        size: task.file_size_in_bytes,
        record_count,
        position_deletes,
    })
}
