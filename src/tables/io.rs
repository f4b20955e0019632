//! Access to lake files by URL, whichever bucket they are in.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::StreamExt;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::TableMetadataRef;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::cache::Cache;
use super::cure::Cure;
use super::deletes::PositionDeletes;
use super::error::{Error, Result};
use super::footer::Footer;
use super::storage::LakeStorageFactory;
use crate::objectstore::S3Config;
use crate::objectstore::client::{self, CredentialSource};

const FOOTER_CACHE_BYTES: usize = 64 << 20;
const DELETE_CACHE_BYTES: usize = 32 << 20;
/// What is kept of data files, where that is asked for.
const RANGE_CACHE_BYTES: usize = 64 << 20;

/// Where a lake file is: the root of its object store, and its key there.
///
/// The key is what follows the bucket, **verbatim**: `pg_lake` percent-encodes the names that it puts in
/// locations (`Mixed%20Case`), and the object's key holds the very same characters, percent sign included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// `s3://bucket`, `memory://name` or `file://`.
    root: String,
    key: Path,
}

impl Location {
    /// The object store's root: scheme and bucket.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The object's key in that store.
    pub fn key(&self) -> &Path {
        &self.key
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(location: &str) -> Result<Self> {
        let bad = |reason: String| Error::Location {
            location: location.to_owned(),
            reason,
        };
        let (scheme, rest) = location
            .split_once("://")
            .ok_or_else(|| bad("it has no scheme".to_owned()))?;
        let (bucket, key) = rest
            .split_once('/')
            .ok_or_else(|| bad("it has no path".to_owned()))?;
        let root = match scheme {
            // Hadoop writers name the same service in three ways.
            "s3" | "s3a" | "s3n" if !bucket.is_empty() => format!("s3://{bucket}"),
            "memory" => format!("memory://{bucket}"),
            "file" => "file://".to_owned(),
            "s3" | "s3a" | "s3n" => return Err(bad("it has no bucket".to_owned())),
            other => return Err(bad(format!("the scheme `{other}` is unknown"))),
        };
        let key = Path::parse(key).map_err(|error| bad(error.to_string()))?;
        Ok(Self { root, key })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root, self.key)
    }
}

/// Opens lake files by URL (`s3://bucket/key`, `file:///path`, `memory://name/key`). Cheap to clone; clones share
/// the open stores and the caches of what immutable files hold.
#[derive(Clone)]
pub struct LakeIo {
    inner: Arc<Inner>,
}

struct Inner {
    /// With the bucket that each is for; `None` is for all others.
    s3: Vec<(Option<String>, S3Config)>,
    /// In place of those in `s3`.
    credentials: Option<CredentialSource>,
    /// By root. S3 buckets are added on first use.
    stores: RwLock<HashMap<String, Arc<dyn ObjectStore>>>,
    footers: Cache<Footer>,
    deletes: Cache<PositionDeletes>,
    /// Parts of data files, by location and range.
    ranges: Cache<Bytes>,
}

impl LakeIo {
    /// Lakes in any bucket of an S3 service; a bucket is opened when it is first named. `file://` works too.
    pub fn s3(config: S3Config) -> Self {
        Self::s3_by_bucket([(None, config)])
    }

    /// As [`s3`](Self::s3), with a service for each bucket that is named, and the one without a name for all others.
    pub fn s3_by_bucket(configs: impl IntoIterator<Item = (Option<String>, S3Config)>) -> Self {
        Self::build(configs.into_iter().collect(), None, HashMap::new(), 0)
    }

    /// As [`s3`](Self::s3), with credentials that may change.
    pub fn s3_as(config: S3Config, credentials: CredentialSource) -> Self {
        let s3 = vec![(None, config)];
        Self::build(s3, Some(credentials), HashMap::new(), 0)
    }

    /// Lakes in given stores, by root (`s3://bucket`, `memory://name`). `file://` works without being given.
    pub fn with_stores(
        stores: impl IntoIterator<Item = (impl Into<String>, Arc<dyn ObjectStore>)>,
    ) -> Self {
        let stores = stores
            .into_iter()
            .map(|(root, store)| (root.into(), store))
            .collect();
        Self::build(Vec::new(), None, stores, 0)
    }

    fn build(
        s3: Vec<(Option<String>, S3Config)>,
        credentials: Option<CredentialSource>,
        stores: HashMap<String, Arc<dyn ObjectStore>>,
        range_cache_bytes: usize,
    ) -> Self {
        let inner = Inner {
            s3,
            credentials,
            stores: RwLock::new(stores),
            footers: Cache::new(FOOTER_CACHE_BYTES),
            deletes: Cache::new(DELETE_CACHE_BYTES),
            ranges: Cache::new(range_cache_bytes),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Tells this from others with the same locations but other credentials, for as long as it or a clone is there.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// The same lakes with caches of their own, which keep up to 64 MiB of what is read from data files as well: for many
    /// queries of the same tables.
    pub fn caching_data(&self) -> Self {
        let stores = self.inner.stores.read();
        let stores = stores.unwrap_or_else(PoisonError::into_inner).clone();
        let Inner {
            s3, credentials, ..
        } = &*self.inner;
        Self::build(s3.clone(), credentials.clone(), stores, RANGE_CACHE_BYTES)
    }

    /// The object store that a location is in.
    pub fn store(&self, location: &Location) -> Result<Arc<dyn ObjectStore>> {
        let root = location.root();
        let stores = self
            .inner
            .stores
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(root) {
            return Ok(Arc::clone(store));
        }
        drop(stores);
        let bucket = root.strip_prefix("s3://");
        let config = bucket.and_then(|bucket| {
            let of = |wanted| self.inner.s3.iter().find(|(of, _)| of.as_deref() == wanted);
            of(Some(bucket)).or_else(|| of(None))
        });
        let store: Arc<dyn ObjectStore> = match (config, bucket) {
            (_, None) if root == "file://" => Arc::new(LocalFileSystem::new()),
            (Some((_, config)), Some(bucket)) => {
                client::object_store(config, bucket, self.inner.credentials.clone()).map_err(
                    |source| Error::OpenStore {
                        root: root.to_owned(),
                        source: Box::new(source),
                    },
                )?
            }
            _ => {
                return Err(Error::UnknownStore {
                    root: root.to_owned(),
                    location: location.to_string(),
                });
            }
        };
        let mut stores = self
            .inner
            .stores
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(stores.entry(root.to_owned()).or_insert(store)))
    }

    /// The store and the key of a location given as text.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let location: Location = location.parse()?;
        Ok((self.store(&location)?, location.key))
    }

    /// A whole file.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let (store, key) = self.resolve(location)?;
        let read = async { store.get(&key).await?.bytes().await };
        read.await.map_err(|source| Error::Storage {
            doing: "read",
            location: location.to_owned(),
            source,
        })
    }

    /// Whether there is nothing below a location.
    pub async fn is_empty(&self, location: &str) -> Result<bool> {
        let (store, path) = self.resolve(location)?;
        let first = store.list(Some(&path)).next().await;
        let first = first.transpose().map_err(|source| Error::Storage {
            doing: "list",
            location: location.to_owned(),
            source,
        })?;
        Ok(first.is_none())
    }

    /// A file's size in bytes.
    pub async fn size(&self, location: &str) -> Result<u64> {
        let (store, key) = self.resolve(location)?;
        match store.head(&key).await {
            Ok(meta) => Ok(meta.size),
            Err(source) => Err(Error::Storage {
                doing: "look up",
                location: location.to_owned(),
                source,
            }),
        }
    }

    /// Iceberg's file access on these stores, as the files are.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(Arc::new(LakeStorageFactory::new(self.clone(), None))).build()
    }

    /// Iceberg's file access for reading one table: its manifests come out as iceberg-rust expects them
    /// even where the writer left things out (see the module `cure`).
    pub fn file_io_of_table(&self, metadata: TableMetadataRef) -> FileIO {
        let cure = Arc::new(Cure::new(metadata));
        FileIOBuilder::new(Arc::new(LakeStorageFactory::new(self.clone(), Some(cure)))).build()
    }

    /// These stores for a DataFusion runtime: any bucket named in a plan is opened on first use.
    pub fn registry(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::new(LakeRegistry(self.clone()))
    }

    pub(super) fn footers(&self) -> &Cache<Footer> {
        &self.inner.footers
    }

    pub(super) fn ranges(&self) -> &Cache<Bytes> {
        &self.inner.ranges
    }

    pub(super) fn deletes(&self) -> &Cache<PositionDeletes> {
        &self.inner.deletes
    }
}

impl fmt::Debug for LakeIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.inner.s3.iter().map(|(_, config)| &config.endpoint);
        f.debug_struct("LakeIo")
            .field("s3", &endpoints.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct LakeRegistry(LakeIo);

impl ObjectStoreRegistry for LakeRegistry {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let location: Location = format!("{url}/").parse().ok()?;
        let mut stores = self
            .0
            .inner
            .stores
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        stores.insert(location.root, store)
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        let root = format!("{}://{}/", url.scheme(), url.authority());
        Ok(self.0.store(&root.parse()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_verbatim() {
        let location: Location = "s3://b/public/Mixed%20Case/k=a%2Fb/x.parquet"
            .parse()
            .unwrap();
        assert_eq!(location.root(), "s3://b");
        assert_eq!(
            location.key().as_ref(),
            "public/Mixed%20Case/k=a%2Fb/x.parquet"
        );
    }

    #[test]
    fn the_three_names_of_s3_are_one() {
        for location in ["s3://b/k", "s3a://b/k", "s3n://b/k"] {
            assert_eq!(
                location.parse::<Location>().unwrap().to_string(),
                "s3://b/k"
            );
        }
    }

    #[test]
    fn what_is_not_a_location_is_refused() {
        for bad in ["", "k", "s3://b", "s3:///k", "ftp://b/k", "s3://b/../k"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
