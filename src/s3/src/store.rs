//! Buckets and objects as directories and files.
//!
//! ```text
//! <root>/
//!   .icebox/             not a bucket: bucket names start with a letter or a digit
//!     lock               held by the running server
//!     owners.json        the buckets of all accounts but the first (see `owners`)
//!     iam/               users, roles and policies, unless configured elsewhere (see `aws`)
//!     tmp/               objects that are being written; emptied at start
//!     multipart/<id>/    one directory for each unfinished multipart upload (see `multipart`)
//!   <bucket>/<key path>  one file for each object (see `keys`); its metadata is in an extended
//!                        attribute (see `metadata`)
//! ```
//!
//! An object is written to `tmp` and then renamed, so that it is there whole or not at all,
//! whatever happens to the server. When a client has its answer, the kernel has the bytes: they
//! survive `kill -9` of the server. Nothing is synced to disk, so a power cut may lose the last
//! seconds.
//!
//! All of these functions block; async code calls them through [`blocking`].

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use s3s::dto::ETagCondition;
use s3s::{S3Error, S3Result};

use super::error;
use super::keys::{self, Location};
use super::metadata::{MetadataStore, ObjectMetadata};

/// The server's files.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    tmp: PathBuf,
    multipart: PathBuf,
    next_tmp: AtomicU64,
    pub metadata: MetadataStore,
    /// Locked for writing while names in buckets change, which takes microseconds. This makes a
    /// condition and the rename that it guards one step, and keeps directories from being pruned
    /// while an object is moved into them. Locked for reading while a directory is listed. Opening
    /// an object needs no lock.
    names: RwLock<()>,
}

/// A condition on the current object, checked before a new one replaces it.
#[derive(Debug, Clone, Default)]
pub(super) enum Precondition {
    #[default]
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`
    Matches(ETagCondition),
}

/// An object that is open for reading.
#[derive(Debug)]
pub(super) struct OpenObject {
    pub file: File,
    pub size: u64,
    pub modified: SystemTime,
    pub metadata: ObjectMetadata,
}

/// A file in `tmp` that becomes an object or a part. It is removed when dropped before it is moved.
#[derive(Debug)]
pub(super) struct Staged {
    pub file: File,
    path: PathBuf,
    moved: bool,
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Staged {
    /// Moves the file to a path outside of every bucket.
    pub fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.moved {
            // An error is ignored, because the next start empties the directory.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || work(&store))
        .await
        .unwrap_or_else(|e| Err(S3Error::internal_error(e)))
}

impl Store {
    /// Opens the directories under `root`, and creates those that do not exist. Empties `tmp`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let own = root.join(".icebox");
        let (tmp, multipart) = (own.join("tmp"), own.join("multipart"));
        match fs::remove_dir_all(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::create_dir_all(&tmp)?;
        fs::create_dir_all(&multipart)?;
        Ok(Self {
            root: root.to_owned(),
            tmp,
            multipart,
            next_tmp: AtomicU64::new(0),
            metadata: MetadataStore::default(),
            names: RwLock::new(()),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn multipart_dir(&self) -> &Path {
        &self.multipart
    }

    /// Locks names against changes: while the guard lives, no object appears, disappears or moves.
    pub fn names_fixed(&self) -> RwLockReadGuard<'_, ()> {
        self.names.read()
    }

    /// Locks names for a change.
    pub fn change_names(&self) -> RwLockWriteGuard<'_, ()> {
        self.names.write()
    }

    /// The directory of an existing bucket.
    pub fn bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let dir = self.root.join(bucket);
        match fs::symlink_metadata(&dir) {
            Ok(stat) if stat.is_dir() => Ok(dir),
            Ok(_) => Err(error::no_such_bucket()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(error::no_such_bucket()),
            Err(e) => Err(error::io(format!("look for bucket {bucket}"))(e)),
        }
    }

    /// Opens an object.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`.
    pub fn open_object(&self, bucket: &str, key: &str) -> S3Result<OpenObject> {
        let failed = || error::io(format!("read s3://{bucket}/{key}"));
        let plain = self.plain_path(&self.root.join(bucket), &Location::of_key(key));
        // An object moves from its plain path to the one beside a directory, never back. This order
        // cannot miss it.
        let found = match open_file(&plain).map_err(failed())? {
            Some(found) => Some(found),
            None => open_file(&path_beside_directory(&plain)).map_err(failed())?,
        };
        let Some((file, stat)) = found else {
            self.bucket(bucket)?;
            return Err(error::no_such_key());
        };
        Ok(OpenObject {
            size: stat.len(),
            modified: stat.modified().map_err(failed())?,
            metadata: self.metadata.read(&file, &stat).map_err(failed())?,
            file,
        })
    }

    /// Creates a new, empty file outside of every bucket.
    pub fn stage(&self) -> S3Result<Staged> {
        let number = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp.join(number.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(error::io("make a temporary file"))?;
        Ok(Staged {
            file,
            path,
            moved: false,
        })
    }

    /// Stores a complete file with its record as an object, if `precondition` holds. Returns the
    /// file's modification time.
    ///
    /// # Errors
    /// `NoSuchBucket`; `PreconditionFailed`; `NoSuchKey` for If-Match without an object;
    /// `MetadataTooLarge`.
    pub fn commit(
        &self,
        mut staged: Staged,
        bucket: &str,
        key: &str,
        record: ObjectMetadata,
        precondition: &Precondition,
    ) -> S3Result<SystemTime> {
        let failed = || error::io(format!("write s3://{bucket}/{key}"));
        self.metadata.write(&staged.file, record).map_err(|e| match e.raw_os_error() {
            Some(nix::libc::E2BIG | nix::libc::ENOSPC | nix::libc::ERANGE) => error::s3(
                s3s::S3ErrorCode::MetadataTooLarge,
                "Your metadata headers exceed what the file system of this server can store with a file.",
            ),
            _ => failed()(e),
        })?;
        let modified = staged
            .file
            .metadata()
            .and_then(|m| m.modified())
            .map_err(failed())?;
        let bucket_dir = self.root.join(bucket);
        let location = Location::of_key(key);
        if let Precondition::Matches(_) = precondition {
            // If the current object has to be hashed, do so now, not under the lock.
            let _ = self.open_object(bucket, key);
        }

        let _guard = self.change_names();
        match precondition {
            Precondition::None => {}
            Precondition::Absent => match self.open_object(bucket, key) {
                Ok(_) => return Err(error::precondition_failed()),
                Err(e) if *e.code() == s3s::S3ErrorCode::NoSuchKey => {}
                Err(e) => return Err(e),
            },
            Precondition::Matches(wanted) => {
                let current = self.open_object(bucket, key)?;
                if !strongly_matches(wanted, &current.metadata.etag) {
                    return Err(error::precondition_failed());
                }
            }
        }
        let target = self.target(&bucket_dir, &location).map_err(failed())?;
        match fs::rename(&staged.path, &target) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                self.bucket(bucket)?;
                make_directories(&bucket_dir, &location.dirs).map_err(failed())?;
                fs::rename(&staged.path, &target).map_err(failed())?;
            }
            other => other.map_err(failed())?,
        }
        staged.moved = true;
        Ok(modified)
    }

    /// Deletes an object, and the directories that become empty. An object that does not exist is
    /// not an error.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        let bucket_dir = self.bucket(bucket)?;
        let location = Location::of_key(key);
        let plain = self.plain_path(&bucket_dir, &location);
        let _guard = self.change_names();
        for path in [path_beside_directory(&plain), plain] {
            match fs::symlink_metadata(&path) {
                Ok(stat) if stat.is_file() => {
                    fs::remove_file(&path)
                        .map_err(error::io(format!("delete s3://{bucket}/{key}")))?;
                }
                _ => {}
            }
        }
        let mut dir = bucket_dir.clone();
        let mut parents: Vec<PathBuf> = Vec::with_capacity(location.dirs.len());
        for name in &location.dirs {
            dir.push(name);
            parents.push(dir.clone());
        }
        for parent in parents.iter().rev() {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn plain_path(&self, bucket_dir: &Path, location: &Location) -> PathBuf {
        let mut path = bucket_dir.to_owned();
        path.extend(&location.dirs);
        path.push(&location.name);
        path
    }

    /// Returns the path that a new object's file is renamed to. The caller holds the lock.
    fn target(&self, bucket_dir: &Path, location: &Location) -> io::Result<PathBuf> {
        let plain = self.plain_path(bucket_dir, location);
        let taken = match fs::symlink_metadata(&plain) {
            Ok(stat) if stat.is_file() => return Ok(plain),
            Ok(_) => true,
            Err(e) if is_absent(&e) => false,
            Err(e) => return Err(e),
        };
        let path_beside_directory = path_beside_directory(&plain);
        Ok(
            if taken || fs::symlink_metadata(&path_beside_directory).is_ok() {
                path_beside_directory
            } else {
                plain
            },
        )
    }
}

/// Returns whether an If-Match condition holds for an existing object with this ETag (without
/// quotes).
pub(super) fn strongly_matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.as_strong() == Some(etag),
    }
}

fn path_beside_directory(plain: &Path) -> PathBuf {
    let name = plain
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    plain.with_file_name(keys::beside_directory(name))
}

fn is_absent(e: &io::Error) -> bool {
    // NotADirectory: a part of the path is an object.
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a regular file; `None` if there is none. Symbolic links, and whatever else a person may
/// have put there, are not objects.
fn open_file(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    use std::os::unix::fs::OpenOptionsExt;
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if is_absent(&e) || e.raw_os_error() == Some(nix::libc::ELOOP) => return Ok(None),
        Err(e) => return Err(e),
    };
    let stat = file.metadata()?;
    Ok(stat.is_file().then_some((file, stat)))
}

/// Creates the directories that lead to an object. An object with the name of such a directory is
/// moved to the path beside it. The caller holds the lock.
fn make_directories(bucket_dir: &Path, names: &[String]) -> io::Result<()> {
    let mut dir = bucket_dir.to_owned();
    for name in names {
        dir.push(name);
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::symlink_metadata(&dir)?.is_file() {
                    fs::rename(&dir, path_beside_directory(&dir))?;
                    fs::create_dir(&dir)?;
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
