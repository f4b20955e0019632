//! Implements iceberg-rust's storage traits on object stores.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage,
    StorageConfig, StorageFactory,
};
use iceberg::spec::TableMetadataRef;
use iceberg::{Error, ErrorKind, Result};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::AsyncWriteExt;

use super::error;
use super::io::LakeIo;
use crate::manifest_repair::ManifestRepair;

impl LakeIo {
    /// Returns iceberg-rust's file access for these stores. It returns the files unchanged.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(Arc::new(LakeStorageFactory::new(self.clone(), None))).build()
    }

    /// Returns iceberg-rust's file access for reading one table. Manifests that lack required keys
    /// are completed for iceberg-rust (manifest repair, module `manifest_repair`).
    pub fn file_io_of_table(&self, metadata: TableMetadataRef) -> FileIO {
        let repair = Arc::new(ManifestRepair::new(metadata));
        FileIOBuilder::new(Arc::new(LakeStorageFactory::new(
            self.clone(),
            Some(repair),
        )))
        .build()
    }
}

/// The factory of a [`LakeIo`]'s [`Storage`]. If it is for reading one table, it includes the
/// manifest repair of that table.
#[derive(Clone, Debug)]
pub(super) struct LakeStorageFactory {
    storage: LakeStorage,
}

impl LakeStorageFactory {
    pub(super) fn new(io: LakeIo, repair: Option<Arc<ManifestRepair>>) -> Self {
        Self {
            storage: LakeStorage { io, repair },
        }
    }
}

#[typetag::serde]
impl StorageFactory for LakeStorageFactory {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.storage.clone()))
    }
}

#[derive(Clone, Debug)]
struct LakeStorage {
    io: LakeIo,
    repair: Option<Arc<ManifestRepair>>,
}

impl LakeStorage {
    fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        self.io.resolve(location).map_err(iceberg_error)
    }
}

fn iceberg_error(error: error::Error) -> Error {
    Error::new(ErrorKind::Unexpected, error.to_string()).with_source(error)
}

fn store_error(
    doing: &'static str,
    location: &str,
) -> impl FnOnce(object_store::Error) -> Error + use<> {
    let location = location.to_owned();
    move |source| {
        iceberg_error(error::Error::Storage {
            doing,
            location,
            source,
        })
    }
}

#[async_trait]
#[typetag::serde]
impl Storage for LakeStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let (store, key) = self.resolve(path)?;
        match store.head(&key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(store_error("look up", path)(error)),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let size = self.io.size(path).await.map_err(iceberg_error)?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let bytes = self.io.read(path).await.map_err(iceberg_error)?;
        match &self.repair {
            Some(repair) => repair.apply(path, bytes).map_err(iceberg_error),
            None => Ok(bytes),
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (store, key) = self.resolve(path)?;
        Ok(Box::new(ObjectReader {
            store,
            key,
            location: path.to_owned(),
        }))
    }

    async fn write(&self, path: &str, bs: Bytes) -> Result<()> {
        let (store, key) = self.resolve(path)?;
        let written = store.put(&key, bs.into()).await;
        written.map_err(store_error("write", path)).map(drop)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let (store, key) = self.resolve(path)?;
        Ok(Box::new(ObjectWriter {
            writer: BufWriter::new(store, key),
            location: path.to_owned(),
        }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let (store, key) = self.resolve(path)?;
        match store.delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error("delete", path)(error)),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let (store, key) = self.resolve(path)?;
        let keys = store.list(Some(&key)).map_ok(|meta| meta.location).boxed();
        let deleted = store.delete_stream(keys).try_collect::<Vec<_>>().await;
        deleted.map_err(store_error("delete", path)).map(drop)
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: String,
}

#[async_trait]
impl FileRead for ObjectReader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.store.get_range(&self.key, range).await;
        bytes.map_err(store_error("read", &self.location))
    }
}

struct ObjectWriter {
    writer: BufWriter,
    location: String,
}

#[async_trait]
impl FileWrite for ObjectWriter {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let written = self.writer.put(bs).await;
        written.map_err(store_error("write", &self.location))
    }

    async fn close(&mut self) -> Result<()> {
        let closed = self.writer.shutdown().await;
        closed.map_err(|source| {
            Error::new(
                ErrorKind::Unexpected,
                format!("cannot write `{}`", self.location),
            )
            .with_source(source)
        })
    }
}

// iceberg-rust's traits require serialization, but open stores and credentials cannot be
// serialized.
const NOT_PORTABLE: &str = "the storage of a lake cannot be serialized";

impl Serialize for LakeStorageFactory {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(NOT_PORTABLE))
    }
}

impl<'de> Deserialize<'de> for LakeStorageFactory {
    fn deserialize<D: Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        Err(serde::de::Error::custom(NOT_PORTABLE))
    }
}

impl Serialize for LakeStorage {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(NOT_PORTABLE))
    }
}

impl<'de> Deserialize<'de> for LakeStorage {
    fn deserialize<D: Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        Err(serde::de::Error::custom(NOT_PORTABLE))
    }
}
