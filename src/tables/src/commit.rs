//! The next version of a table: turns a change into a snapshot, its manifests and the metadata
//! file.
//!
//! The iceberg crate's writers encode all manifests and metadata. This module only assembles them,
//! because the crate's own transactions can append, but cannot delete rows or rewrite files.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile, ManifestListWriter,
    NestedField, NestedFieldRef, Operation, Schema, Snapshot, SortOrder, Summary, TableMetadata,
    TableMetadataBuilder, TableMetadataRef, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result, TableIdent};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::manifests::Manifests;

/// A version of a table: its metadata file, and the manifests of its current snapshot.
#[derive(Clone, Debug)]
pub struct TableVersion {
    /// The location of the metadata file, which may not be written yet.
    pub location: String,
    pub metadata: TableMetadataRef,
    manifests: Arc<Vec<ManifestFile>>,
    /// Whether the metadata file exists. Until then, further changes go into the same file.
    is_written: bool,
}

/// A change of a table's rows, to be committed as one snapshot.
#[derive(Debug, Default)]
pub struct RowChange {
    /// Data files with new rows.
    pub added: Vec<DataFile>,
    /// The locations of removed data files. Delete files that refer to them are removed, too.
    pub removed: BTreeSet<String>,
    /// New position-delete files.
    pub deletes: Vec<DataFile>,
}

impl RowChange {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.deletes.is_empty()
    }

    /// The operation for the snapshot's summary, as the specification defines it.
    fn operation(&self) -> Operation {
        match (
            self.added.is_empty(),
            self.removed.is_empty() && self.deletes.is_empty(),
        ) {
            (_, true) => Operation::Append,
            (true, false) => Operation::Delete,
            (false, false) => Operation::Overwrite,
        }
    }
}

/// A change of a table's columns.
#[derive(Clone, Debug)]
pub enum SchemaChange {
    /// Adds an optional column. The field's id is replaced by a new one. Older rows have its
    /// initial default.
    Add(NestedField),
    Drop(String),
    Rename(String, String),
    /// Makes a column optional.
    Nullable(String),
}

impl TableVersion {
    /// Creates the metadata of a new table, without writing it: format version 2, unpartitioned, no
    /// snapshot.
    pub fn create(
        table_location: &str,
        schema: Schema,
        properties: HashMap<String, String>,
    ) -> Result<Self> {
        let metadata = TableMetadataBuilder::new(
            schema,
            UnboundPartitionSpec::default(),
            SortOrder::unsorted_order(),
            table_location.to_owned(),
            FormatVersion::V2,
            properties,
        )?
        .build()?
        .metadata;
        Ok(Self {
            location: metadata_location(table_location, 0),
            metadata: Arc::new(metadata),
            manifests: Arc::default(),
            is_written: false,
        })
    }

    /// Reads a version from its metadata file.
    pub async fn load(io: &FileIO, location: &str) -> Result<Self> {
        let metadata = Arc::new(TableMetadata::read_from(io, location).await?);
        let table = Table::builder()
            .file_io(io.clone())
            .metadata(metadata.clone())
            .metadata_location(location)
            .identifier(TableIdent::from_strs(["lake", "table"])?)
            .runtime(iceberg::Runtime::try_current()?)
            .build()?;
        let manifests = match metadata.current_snapshot() {
            Some(snapshot) => table
                .manifest_list_reader(snapshot)
                .load()
                .await?
                .consume_entries()
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        Ok(Self {
            location: location.to_owned(),
            metadata,
            manifests: Arc::new(manifests),
            is_written: true,
        })
    }

    /// Returns the live files of the current snapshot, data and deletes, each with its manifest.
    pub async fn files(&self, io: &FileIO) -> Result<Vec<(ManifestFile, DataFile)>> {
        let mut files = Vec::new();
        for manifest in self.manifests.iter() {
            let loaded = manifest.load_manifest(io).await?;
            let alive = loaded.entries().iter().filter(|entry| entry.is_alive());
            files.extend(alive.map(|entry| (manifest.clone(), entry.data_file().clone())));
        }
        Ok(files)
    }

    /// Whether the metadata file is written.
    pub fn is_written(&self) -> bool {
        self.is_written
    }

    /// Writes the metadata file of this version.
    pub async fn write_metadata(&mut self, io: &FileIO) -> Result<()> {
        let json = to_json(&self.metadata)?;
        self.write(io, json).await
    }

    async fn write(&mut self, io: &FileIO, json: Vec<u8>) -> Result<()> {
        io.new_output(&self.location)?.write(json.into()).await?;
        self.is_written = true;
        Ok(())
    }

    /// Returns the version that follows this one. Its metadata file is the next one,
    /// `<table>/metadata/NNNNN-<uuid>.metadata.json`, or still the same one if that is not yet
    /// written.
    fn next_version(
        &self,
        manifests: Arc<Vec<ManifestFile>>,
        change: impl FnOnce(TableMetadataBuilder) -> Result<TableMetadataBuilder>,
    ) -> Result<Self> {
        let previous = self.is_written.then(|| self.location.clone());
        let location = match &previous {
            None => self.location.clone(),
            Some(location) => {
                let name = location.rsplit('/').next().unwrap_or_default();
                let number = name
                    .split('-')
                    .next()
                    .and_then(|number| number.parse::<u32>().ok());
                metadata_location(
                    self.metadata.location(),
                    number.map_or(0, |number| number + 1),
                )
            }
        };
        let builder =
            TableMetadataBuilder::new_from_metadata(self.metadata.as_ref().clone(), previous);
        let metadata = Arc::new(change(builder)?.build()?.metadata);
        Ok(Self {
            location,
            metadata,
            manifests,
            is_written: false,
        })
    }

    /// Returns the version after this one, with a changed schema. Its metadata file is not yet
    /// written.
    pub fn with_schema(&self, changes: &[SchemaChange]) -> Result<Self> {
        let current = self.metadata.current_schema();
        let mut fields: Vec<NestedFieldRef> = current.as_struct().fields().to_vec();
        let mut last_id = self.metadata.last_column_id();
        for change in changes {
            let position = |name: &str| {
                fields
                    .iter()
                    .position(|field| field.name == name)
                    .ok_or_else(|| {
                        Error::new(
                            ErrorKind::DataInvalid,
                            format!("the Iceberg table has no column {name:?}"),
                        )
                    })
            };
            match change {
                SchemaChange::Add(field) => {
                    fields.push(Arc::new(assign_ids(field.clone(), &mut last_id)));
                }
                SchemaChange::Drop(name) => {
                    fields.remove(position(name)?);
                }
                SchemaChange::Rename(from, to) => {
                    let index = position(from)?;
                    let mut field = fields[index].as_ref().clone();
                    field.name.clone_from(to);
                    fields[index] = Arc::new(field);
                }
                SchemaChange::Nullable(name) => {
                    let index = position(name)?;
                    let mut field = fields[index].as_ref().clone();
                    field.required = false;
                    fields[index] = Arc::new(field);
                }
            }
        }
        let schema = Schema::builder()
            .with_schema_id(current.schema_id() + 1)
            .with_fields(fields)
            .build()?;
        self.next_version(self.manifests.clone(), |builder| {
            builder.add_current_schema(schema)
        })
    }

    /// Writes a snapshot with `change`: first its manifests, then concurrently the manifest list
    /// and the metadata file. Returns the version with this snapshot. It becomes visible only when
    /// a catalog records its metadata file.
    pub async fn with_rows(&self, io: &FileIO, change: RowChange) -> Result<Self> {
        let snapshot_id = new_snapshot_id(&self.metadata);
        let mut writer = Manifests {
            io,
            metadata: &self.metadata,
            snapshot_id,
            directory: format!("{}/metadata", self.metadata.location()),
            id: Uuid::new_v4(),
            written: 0,
        };
        let list = format!(
            "{}/snap-{snapshot_id}-1-{}.avro",
            writer.directory, writer.id
        );
        let mut version = self.with_snapshot(snapshot_id, change.operation(), &list)?;
        // The encoding of the metadata and of the carried-over manifests takes longer as the
        // table's history grows. So it runs on separate threads while the new manifests are
        // written.
        let metadata = Arc::clone(&version.metadata);
        let metadata = tokio::task::spawn_blocking(move || to_json(&metadata));

        let mut carried = Vec::with_capacity(self.manifests.len() + 2);
        for manifest in self.manifests.iter() {
            carried.extend(writer.carry_over(manifest, &change.removed).await?);
        }
        // The list writer fills in the sequence numbers of new manifests. The next commit needs
        // them, too.
        let sequence_number = version.metadata.last_sequence_number();
        let number = |manifest| with_sequence_number(manifest, sequence_number);
        let carried: Vec<_> = writer
            .merge(carried)
            .await?
            .into_iter()
            .map(number)
            .collect();
        let mut list = ManifestListWriter::v2(
            io.new_output(&list)?.writer().await?,
            snapshot_id,
            self.metadata.current_snapshot_id(),
            sequence_number,
        );
        let mut manifests = carried.clone();
        let list = tokio::task::spawn_blocking(move || {
            list.add_manifests(carried.into_iter())?;
            Ok::<_, Error>(list)
        });
        let first_new = manifests.len();
        for (content, files) in [
            (ManifestContentType::Data, change.added),
            (ManifestContentType::Deletes, change.deletes),
        ] {
            if !files.is_empty() {
                manifests.push(number(writer.write_added(content, files).await?));
            }
        }
        let mut list = join(list).await?;
        list.add_manifests(manifests[first_new..].iter().cloned())?;
        version.manifests = Arc::new(manifests);
        let metadata = join(metadata).await?;
        tokio::try_join!(list.close(), version.write(io, metadata))?;
        Ok(version)
    }

    /// Returns the version with a snapshot whose manifest list is at `list`. It does not have the
    /// manifests yet.
    fn with_snapshot(&self, snapshot_id: i64, operation: Operation, list: &str) -> Result<Self> {
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(self.metadata.current_snapshot_id())
            .with_sequence_number(self.metadata.last_sequence_number() + 1)
            .with_timestamp_ms(self.next_timestamp())
            .with_manifest_list(list)
            .with_summary(Summary {
                operation,
                additional_properties: HashMap::new(),
            })
            .with_schema_id(self.metadata.current_schema_id())
            .build();
        self.next_version(Arc::default(), |builder| {
            builder.set_branch_snapshot(snapshot, MAIN_BRANCH)
        })
    }

    /// Returns the current time, but always later than the last change. Readers refuse a log that
    /// goes back in time.
    fn next_timestamp(&self) -> i64 {
        chrono::Utc::now()
            .timestamp_millis()
            .max(self.metadata.last_updated_ms() + 1)
    }
}

/// Returns a new location for metadata file `number` of the table at `table_location`.
fn metadata_location(table_location: &str, number: u32) -> String {
    format!(
        "{table_location}/metadata/{number:05}-{}.metadata.json",
        Uuid::new_v4()
    )
}

fn to_json(metadata: &TableMetadata) -> Result<Vec<u8>> {
    serde_json::to_vec(metadata).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "cannot encode the table metadata").with_source(error)
    })
}

/// Waits for a thread and returns its result.
async fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.await.unwrap_or_else(|error| {
        let error =
            Error::new(ErrorKind::Unexpected, "cannot encode the new version").with_source(error);
        Err(error)
    })
}

fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let id = (Uuid::new_v4().as_u64_pair().0 >> 1) as i64;
        if id > 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

fn with_sequence_number(mut manifest: ManifestFile, sequence_number: i64) -> ManifestFile {
    const UNASSIGNED: i64 = -1;
    if manifest.sequence_number == UNASSIGNED {
        manifest.sequence_number = sequence_number;
    }
    if manifest.min_sequence_number == UNASSIGNED {
        manifest.min_sequence_number = sequence_number;
    }
    manifest
}

/// Assigns the next free ids to a new field and to the fields inside it.
fn assign_ids(mut field: NestedField, last_id: &mut i32) -> NestedField {
    *last_id += 1;
    field.id = *last_id;
    let inner = |field: &NestedFieldRef, last_id: &mut i32| {
        Arc::new(assign_ids(field.as_ref().clone(), last_id))
    };
    match field.field_type.as_mut() {
        Type::Primitive(_) => {}
        Type::List(list) => list.element_field = inner(&list.element_field, last_id),
        Type::Map(map) => {
            map.key_field = inner(&map.key_field, last_id);
            map.value_field = inner(&map.value_field, last_id);
        }
        Type::Struct(fields) => {
            let fields: Vec<_> = fields
                .fields()
                .iter()
                .map(|field| inner(field, last_id))
                .collect();
            field.field_type = Box::new(Type::Struct(iceberg::spec::StructType::new(fields)));
        }
    }
    field
}
