//! Access to the files of lakes by URL, in any bucket.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use url::Url;

use super::cache::Caches;
use super::error::{Error, Result};
use icebox_s3_client as client;
use icebox_s3_client::CredentialSource;
use icebox_s3_client::S3Config;

/// The capacity of the cache for data files, where it is enabled.
const RANGE_CACHE_BYTES: usize = 64 << 20;

/// The location of a file: the root of its object store, and its key there.
///
/// The key is the text after the bucket, **verbatim**. `pg_lake` percent-encodes names in locations
/// (`Mixed%20Case`), and the object's key contains exactly these characters, including the percent
/// sign.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// `s3://bucket`, `memory://name` or `file://`.
    root: String,
    key: Path,
}

impl Location {
    /// The root of the object store: scheme and bucket.
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
            // Hadoop writers use three schemes for the same service.
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

/// Access to lake files by URL (`s3://bucket/key`, `file:///path`, `memory://name/key`). Cheap to
/// clone: clones share the open stores and the caches of immutable files.
#[derive(Clone)]
pub struct LakeIo {
    inner: Arc<Inner>,
}

/// An S3 service, and the buckets that it is used for.
#[derive(Clone, Debug)]
pub struct Service {
    /// The one bucket that the service is for. `None` is for all buckets without a service of their
    /// own.
    pub bucket: Option<String>,
    pub s3: S3Config,
    /// The credentials to use instead of those in `s3`.
    pub credentials: Option<CredentialSource>,
}

/// The S3 services and the open object stores.
#[derive(Clone)]
struct Stores {
    s3: Vec<Service>,
    /// The open stores by root. S3 buckets are added on first use.
    stores: HashMap<String, Arc<dyn ObjectStore>>,
}

struct Inner {
    stores: RwLock<Stores>,
    caches: Caches,
}

impl LakeIo {
    /// Accesses any bucket of an S3 service. A bucket is opened when it is first named. `file://`
    /// is accessible too.
    pub fn s3(config: S3Config) -> Self {
        Self::s3_services([Service {
            bucket: None,
            s3: config,
            credentials: None,
        }])
    }

    /// Accesses each bucket in the first of the services that is for this bucket, or else in the
    /// first that is for all.
    pub fn s3_services(services: impl IntoIterator<Item = Service>) -> Self {
        Self::build(services.into_iter().collect(), HashMap::new(), 0)
    }

    /// Accesses any bucket of an S3 service, as [`s3`](Self::s3) does, with credentials that may
    /// change.
    pub fn s3_with_credentials(config: S3Config, credentials: CredentialSource) -> Self {
        Self::s3_services([Service {
            bucket: None,
            s3: config,
            credentials: Some(credentials),
        }])
    }

    /// Replaces the S3 services, for this access and all its clones. Requests that have already
    /// started end with the old ones.
    pub fn set_services(&self, services: Vec<Service>) {
        let mut stores = self.write_stores();
        stores.s3 = services;
        stores.stores.retain(|root, _| !root.starts_with("s3://"));
    }

    /// Accesses the given stores, by root (`s3://bucket`, `memory://name`). `file://` is accessible
    /// without being given.
    pub fn with_stores(
        stores: impl IntoIterator<Item = (impl Into<String>, Arc<dyn ObjectStore>)>,
    ) -> Self {
        let stores = stores
            .into_iter()
            .map(|(root, store)| (root.into(), store))
            .collect();
        Self::build(Vec::new(), stores, 0)
    }

    fn build(
        s3: Vec<Service>,
        stores: HashMap<String, Arc<dyn ObjectStore>>,
        range_cache_bytes: usize,
    ) -> Self {
        let inner = Inner {
            stores: RwLock::new(Stores { s3, stores }),
            caches: Caches::new(range_cache_bytes),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// An identity, which clones share. It is unique for as long as a clone exists, and so
    /// distinguishes accesses to the same locations with different credentials.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// Returns an access to the same stores with caches of its own. These also keep up to 64 MiB of
    /// data files, which pays off for many queries of the same tables.
    pub fn caching_data(&self) -> Self {
        let Stores { s3, stores } = self.stores().clone();
        Self::build(s3, stores, RANGE_CACHE_BYTES)
    }

    fn stores(&self) -> RwLockReadGuard<'_, Stores> {
        self.inner.stores.read()
    }

    fn write_stores(&self) -> RwLockWriteGuard<'_, Stores> {
        self.inner.stores.write()
    }

    /// Returns the object store of a location, and opens it on first use.
    ///
    /// # Errors
    /// [`Error::UnknownStore`] or [`Error::OpenStore`].
    pub fn store(&self, location: &Location) -> Result<Arc<dyn ObjectStore>> {
        let root = location.root();
        if let Some(store) = self.stores().stores.get(root) {
            return Ok(Arc::clone(store));
        }
        let mut stores = self.write_stores();
        if let Some(store) = stores.stores.get(root) {
            return Ok(Arc::clone(store));
        }
        let bucket = root.strip_prefix("s3://");
        let service = bucket.and_then(|bucket| {
            let of = |wanted| stores.s3.iter().find(|s3| s3.bucket.as_deref() == wanted);
            of(Some(bucket)).or_else(|| of(None))
        });
        let store: Arc<dyn ObjectStore> = match (service, bucket) {
            (_, None) if root == "file://" => Arc::new(LocalFileSystem::new()),
            (Some(service), Some(bucket)) => {
                client::object_store(&service.s3, bucket, service.credentials.clone()).map_err(
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
        stores.stores.insert(root.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    /// Returns the store and the key of a location.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let location: Location = location.parse()?;
        Ok((self.store(&location)?, location.key))
    }

    /// Reads a whole file.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let (store, key) = self.resolve(location)?;
        let read = async { store.get(&key).await?.bytes().await };
        read.await.map_err(|source| Error::Storage {
            doing: "read",
            location: location.to_owned(),
            source,
        })
    }

    /// Whether there is no object below a location.
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

    /// Returns a file's size in bytes.
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

    /// Returns the stores for a DataFusion runtime. Any bucket named in a plan is opened on first
    /// use.
    pub fn registry(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::new(LakeRegistry(self.clone()))
    }

    pub(super) fn caches(&self) -> &Caches {
        &self.inner.caches
    }
}

impl fmt::Debug for LakeIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores = self.stores();
        let endpoints = stores.s3.iter().map(|service| &service.s3.endpoint);
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
        let mut stores = self.0.write_stores();
        stores.stores.insert(location.root, store)
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
