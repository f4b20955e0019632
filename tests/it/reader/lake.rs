//! The captured lakes of the real `pg_lake`, loaded into memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use icebox_tables::LakeIo;

/// The facts that the real extension reported about a captured table.
#[derive(Deserialize)]
pub struct Truth {
    pub metadata_location: String,
    pub rows: u64,
    pub columns: Vec<TruthColumn>,
    /// The files by content: content, number of files, number of rows.
    pub files: Vec<(String, u64, u64)>,
    pub snapshots: usize,
}

#[derive(Deserialize)]
pub struct TruthColumn {
    pub name: String,
    /// PostgreSQL's name of the type.
    #[serde(rename = "type")]
    pub data_type: String,
}

pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(crate::support::ROOT)
        .join("fixtures/pg_lake")
        .join(path)
}

pub fn text(path: &str) -> String {
    let path = fixture(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the facts of each captured table, by `schema.table`.
pub fn truth() -> BTreeMap<String, Truth> {
    serde_json::from_str(&text("truth.json")).unwrap()
}

/// A bucket with the files of a captured lake, and the access to it.
pub struct Lake {
    pub io: LakeIo,
    pub store: Arc<dyn ObjectStore>,
    bucket: String,
}

impl Lake {
    /// Loads the 14 tables of the capture.
    pub async fn capture() -> Self {
        Self::unpack("lake.tar.gz", "pg-lake-capture").await
    }

    /// Loads the five tables of the guide.
    pub async fn retail() -> Self {
        Self::unpack("retail/lake.tar.gz", "retail-lake").await
    }

    async fn unpack(archive: &str, bucket: &str) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let file = std::fs::File::open(fixture(archive)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let key = path.strip_prefix(&format!("{bucket}/")).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let key = Path::parse(key).unwrap();
            store.put(&key, bytes.into()).await.unwrap();
        }
        Self {
            io: Self::access(bucket, &store),
            store,
            bucket: bucket.to_owned(),
        }
    }

    fn access(bucket: &str, store: &Arc<dyn ObjectStore>) -> LakeIo {
        LakeIo::with_stores([(format!("s3://{bucket}"), Arc::clone(store))])
    }

    /// Returns access to the same files with empty caches.
    pub fn fresh_io(&self) -> LakeIo {
        Self::access(&self.bucket, &self.store)
    }

    pub async fn put(&self, location: &str, bytes: Vec<u8>) {
        let (store, key) = self.io.resolve(location).unwrap();
        store.put(&key, bytes.into()).await.unwrap();
    }
}
