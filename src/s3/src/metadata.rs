//! The metadata of objects: what is stored besides their bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use md5::{Digest, Md5};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xattr::FileExt;

/// The extended attribute that holds an [`ObjectMetadata`] as JSON.
const ATTRIBUTE: &str = "user.icebox";

/// The headers that a client stores with an object and gets back unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Headers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// The expiry as an HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect_location: Option<String>,
    /// The user metadata: the `x-amz-meta-*` headers without that prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

impl Headers {
    /// Returns the size that S3 limits to 2 kB: the bytes of the user metadata's names and values.
    pub fn user_size(&self) -> usize {
        self.user.iter().map(|(k, v)| k.len() + v.len()).sum()
    }
}

/// An object's ETag, stored headers and checksum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectMetadata {
    /// The ETag without quotes: the hexadecimal MD5 of the bytes, or
    /// `<md5 of the parts' md5s>-<number of parts>`.
    pub etag: String,
    #[serde(flatten)]
    pub headers: Headers,
    /// The name of the algorithm (`CRC32`, …) and the base64 value that the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<(String, String)>,
    /// The size in bytes and modification time (ns since 1970) of the file when the record was
    /// written. If they differ, the file was edited by hand, and its ETag and checksum are no
    /// longer valid.
    #[serde(default)]
    written: (u64, i64),
}

impl ObjectMetadata {
    pub fn new(etag: String, headers: Headers, checksum: Option<(String, String)>) -> Self {
        Self {
            etag,
            headers,
            checksum,
            written: (0, 0),
        }
    }
}

/// Reads and writes [`ObjectMetadata`], and remembers what the file system cannot store.
#[derive(Debug, Default)]
pub(super) struct MetadataStore {
    /// The ETags of files without a valid attribute, and whole records if the file system has no
    /// extended attributes. A changed file has another identity, and so another entry.
    derived: Mutex<HashMap<FileIdentity, ObjectMetadata>>,
}

/// The identity of a file's content: device, inode, size and modification time in ns. It changes
/// whenever the file is replaced or edited.
type FileIdentity = (u64, u64, u64, i64);

fn identity(stat: &Metadata) -> FileIdentity {
    (stat.dev(), stat.ino(), stat.size(), modified_ns(stat))
}

fn modified_ns(stat: &Metadata) -> i64 {
    stat.mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.mtime_nsec())
}

/// The maximum number of remembered records. Beyond it they are all dropped, since they are only a
/// cache.
const MAX_DERIVED: usize = 200_000;

impl MetadataStore {
    /// Stores `record` with a file whose bytes are complete.
    ///
    /// On a file system without extended attributes the record is kept only as long as the server
    /// runs. Afterwards the ETag is computed from the bytes, and the headers are lost.
    pub fn write(&self, file: &File, mut record: ObjectMetadata) -> io::Result<ObjectMetadata> {
        let stat = file.metadata()?;
        record.written = (stat.size(), modified_ns(&stat));
        match file.set_xattr(ATTRIBUTE, &serde_json::to_vec(&record)?) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                self.remember(&stat, record.clone());
            }
            other => other?,
        }
        Ok(record)
    }

    /// Returns the record of an open file. Its bytes are hashed if there is no valid record.
    pub fn read(&self, file: &File, stat: &Metadata) -> io::Result<ObjectMetadata> {
        let stored = parse(supported(file.get_xattr(ATTRIBUTE))?);
        self.complete(stored, stat, || file.try_clone())
    }

    /// Returns the record of the file at a path, for listings. The file is opened only if it has to
    /// be hashed.
    pub fn read_path(&self, path: &Path, stat: &Metadata) -> io::Result<ObjectMetadata> {
        let stored = parse(supported(xattr::get(path, ATTRIBUTE))?);
        self.complete(stored, stat, || File::open(path))
    }

    fn complete(
        &self,
        stored: Option<ObjectMetadata>,
        stat: &Metadata,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<ObjectMetadata> {
        let headers = match stored {
            Some(record) if record.written == (stat.size(), modified_ns(stat)) => {
                return Ok(record);
            }
            Some(stale) => stale.headers,
            None => Headers::default(),
        };
        if let Some(known) = self.lock().get(&identity(stat)) {
            return Ok(known.clone());
        }
        let record = ObjectMetadata::new(hash(&open()?)?, headers, None);
        self.remember(stat, record.clone());
        Ok(record)
    }

    fn remember(&self, stat: &Metadata, record: ObjectMetadata) {
        let mut derived = self.lock();
        if derived.len() >= MAX_DERIVED {
            derived.clear();
        }
        derived.insert(identity(stat), record);
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<FileIdentity, ObjectMetadata>> {
        self.derived.lock()
    }
}

fn supported(value: io::Result<Option<Vec<u8>>>) -> io::Result<Option<Vec<u8>>> {
    match value {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
        other => other,
    }
}

/// Parses a stored record. An attribute that cannot be parsed, for example another program's,
/// counts as none.
fn parse(value: Option<Vec<u8>>) -> Option<ObjectMetadata> {
    serde_json::from_slice(&value?).ok()
}

/// Returns the hexadecimal MD5 of a file. It reads at explicit offsets, so that the position that
/// the caller shares with a cloned file does not move.
pub(super) fn hash(file: &File) -> io::Result<String> {
    use std::os::unix::fs::FileExt as _;
    let mut md5 = Md5::new();
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset)? {
            0 => return Ok(hex::encode(md5.finalize())),
            n => {
                md5.update(&buffer[..n]);
                offset += n as u64;
            }
        }
    }
}
