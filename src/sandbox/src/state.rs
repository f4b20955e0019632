//! The state directory, `.icebox/` by default: everything that a sandbox keeps on disk.
//!
//! ```text
//! .icebox/
//!   lock               locked by the supervisor while it lives; names its process
//!   history            the history of the SQL prompt (0600)
//!   settings.json      ports, bucket, keys and passwords: chosen at the first start, kept (0600)
//!   containers.json    the name and socket of the resources in the container engine; exists once
//!                      the engine `containers` has run
//!   sandbox.json       how to reach everything; exists while the sandbox is up (0600)
//!   storage.json       of a POSTGRES INSTANCE: the grant of its storage integration, see
//!                      `pglake::storage` (0600)
//!   storage.applied    of a POSTGRES INSTANCE: the grant that its `pgduck_server` uses, see
//!                      `pglake::task`
//!   components/        configuration of icebox's own components (0600)
//!   run/               <component>.json: process, endpoint, number of restarts
//!   log/               <component>.log, and icebox.log of the supervisor
//!   tls/               PostgreSQL's certificate and key
//!   s3/                the S3 server's buckets
//!   iam/               users, roles and policies of AWS (0600)
//!   audit/             the audit trail of AWS, one JSON object per line (0600)
//!   snowflake/         the Snowflake side: objects/, a file each (0600), principals.json (0600)
//!                      and clock.json
//!   instances/         <number>/: the state directory of a POSTGRES INSTANCE
//!   postgres/          data/: the database cluster
//!                      prefix/: the private prefix of the engine `embedded`
//!                      pgduck/ and pgduck.sql: the files of `pgduck_server` and its S3 secret
//!                      (engine `native`)
//!   sockets/           postgres/, pgduck/ and engine/: Unix sockets between the components
//! ```
//!
//! `sockets` is a link to a directory with a short name if the path would be too long for a socket,
//! or if PostgreSQL's account could not reach it. `postgres` is a link to a directory under
//! `/var/lib/icebox` if root keeps the state directory in a place that PostgreSQL's account cannot
//! reach (`/root`). Purging follows both links.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use super::process::ProcessId;
use icebox_base::private_file;
use icebox_postgres::Account;

/// The longest path of the sockets' directory, in bytes. `sockaddr_un` holds 108 bytes with the
/// final zero; names such as `/postgres/.s.PGSQL.65535` come on top.
const LONGEST_SOCKET_DIR: usize = 107 - "/postgres/.s.PGSQL.65535".len();

/// The folders that only icebox enters.
const FOLDERS: [&str; 9] = [
    "audit",
    "components",
    "iam",
    "instances",
    "log",
    "run",
    "s3",
    "snowflake",
    "tls",
];

/// The paths of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

/// The process that runs a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub process: ProcessId,
    /// Whether it is a program that uses icebox as a library. Only that program stops its sandbox.
    pub is_library: bool,
}

/// The lock of a state directory, held by whoever starts, runs or removes its sandbox. The system
/// releases it when that process ends.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateDir {
    /// Returns the state directory at `path`, which need not exist.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(path).map_err(Error::file("find", path))?;
        Ok(Self {
            root: root.canonicalize().unwrap_or(root),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    pub fn log(&self, component: &str) -> PathBuf {
        self.log_dir().join(format!("{component}.log"))
    }

    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn settings(&self) -> PathBuf {
        self.root.join("settings.json")
    }

    /// Returns the file with the grant of a POSTGRES INSTANCE's storage integration, see
    /// [`storage`](icebox_pglake::storage). Before the first start, the directory must be
    /// [created](Self::create).
    pub fn storage_grant(&self) -> PathBuf {
        self.root.join("storage.json")
    }

    pub fn containers(&self) -> PathBuf {
        self.root.join("containers.json")
    }

    pub fn component_config(&self, component: &str) -> PathBuf {
        self.root
            .join("components")
            .join(format!("{component}.json"))
    }

    pub fn tls_dir(&self) -> PathBuf {
        self.root.join("tls")
    }

    pub fn s3_dir(&self) -> PathBuf {
        self.root.join("s3")
    }

    /// Returns the directory in which IAM persists users, roles and policies.
    pub fn iam_dir(&self) -> PathBuf {
        self.root.join("iam")
    }

    /// Returns the directory of the audit trail.
    pub fn audit_dir(&self) -> PathBuf {
        self.root.join("audit")
    }

    pub fn snowflake_dir(&self) -> PathBuf {
        self.root.join("snowflake")
    }

    /// Returns the directory with the state directories of PostgreSQL servers beside the sandbox's
    /// own.
    pub fn instances_dir(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// Returns the state directories of those servers, each with the prefix of its components'
    /// names.
    pub fn instances(&self) -> Vec<(String, Self)> {
        let entries = std::fs::read_dir(self.instances_dir());
        let found = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((format!("instances/{name}/"), Self::new(&entry.path()).ok()?))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// Creates the directory and the folders that only icebox enters.
    pub fn create(&self) -> Result<(), Error> {
        // PostgreSQL's account passes through to its own folder. All other folders are closed to
        // it.
        let mode = if nix::unistd::geteuid().is_root() {
            0o711
        } else {
            0o700
        };
        let parent = self.root.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        // An existing directory keeps the mode that its owner gave it.
        if !self.root.exists() {
            make_dir(&self.root, mode)?;
        }
        for folder in FOLDERS {
            make_dir(&self.root.join(folder), 0o700)?;
        }
        Ok(())
    }

    /// Returns the folder for PostgreSQL's files, which `account` can reach. Creates it if needed.
    pub fn postgres_dir(&self, account: Option<&Account>) -> Result<PathBuf, Error> {
        let dir = self.root.join("postgres");
        if let Ok(target) = std::fs::read_link(&dir) {
            make_dir(&target, 0o755)?;
            return Ok(target);
        }
        if dir.exists() || account.is_none_or(|account| account.can_traverse(&self.root)) {
            make_dir(&dir, 0o755)?;
            return Ok(dir);
        }
        let base = Path::new("/var/lib/icebox");
        make_dir(base, 0o755)?;
        let target = base.join(self.short_name());
        make_dir(&target, 0o755)?;
        std::os::unix::fs::symlink(&target, &dir).map_err(Error::file("create the link", &dir))?;
        Ok(target)
    }

    /// Returns the folder for sockets, whose path is short enough and which `account` can reach.
    /// Creates it if needed. The account owns its folders `postgres` and `pgduck` and may enter its
    /// folder `engine`.
    pub fn socket_dir(&self, account: Option<&Account>) -> Result<PathBuf, Error> {
        let dir = self.root.join("sockets");
        let target = match std::fs::read_link(&dir) {
            Ok(target) => target,
            Err(_) if dir.exists() => dir,
            Err(_) => {
                let is_short = dir.as_os_str().len() <= LONGEST_SOCKET_DIR;
                if is_short && account.is_none_or(|account| account.can_traverse(&self.root)) {
                    dir
                } else {
                    let target = short_base().join(format!("icebox-{}", self.short_name()));
                    std::os::unix::fs::symlink(&target, &dir)
                        .map_err(Error::file("create the link", &dir))?;
                    target
                }
            }
        };
        make_dir_among_others(&target, 0o711)?;
        for name in ["postgres", "pgduck", "engine"] {
            make_dir(&target.join(name), 0o700)?;
        }
        if let Some(account) = account {
            account.chown(&target.join("postgres"))?;
            account.chown(&target.join("pgduck"))?;
            let engine = target.join("engine");
            std::os::unix::fs::chown(&engine, None, Some(account.gid))
                .map_err(Error::file("change the owner of", &engine))?;
            std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o710))
                .map_err(Error::file("set the mode of", &engine))?;
        }
        Ok(target)
    }

    /// Returns a short name that is unique to this directory, for resources that live elsewhere.
    pub fn short_name(&self) -> String {
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        digest
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Locks the directory for this process; `None` if another process holds it.
    pub fn lock(&self, is_library: bool) -> Result<Option<StateLock>, Error> {
        let path = self.root.join("lock");
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(Error::file("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(Error::File {
                        action: "lock",
                        path,
                        source,
                    });
                }
            }
            // A purge may have removed the file between open and lock. Then the lock guards
            // nothing.
            let is_current = match (file.metadata(), std::fs::metadata(&path)) {
                (Ok(ours), Ok(current)) => ours.ino() == current.ino(),
                _ => false,
            };
            if !is_current {
                self.create()?;
                continue;
            }
            let holder = Holder {
                process: ProcessId::current(),
                is_library,
            };
            let text = serde_json::to_vec(&holder).expect("a holder is plain data");
            file.set_len(0)
                .and_then(|()| file.write_all(&text))
                .map_err(Error::file("write", &path))?;
            return Ok(Some(StateLock { file }));
        }
    }

    /// Returns the process that runs this sandbox, if any does.
    pub fn holder(&self) -> Option<Holder> {
        let mut text = String::new();
        File::open(self.root.join("lock"))
            .ok()?
            .read_to_string(&mut text)
            .ok()?;
        let holder: Holder = serde_json::from_str(&text).ok()?;
        holder.process.is_alive().then_some(holder)
    }

    /// Reads a JSON file of the directory; `None` if it does not exist.
    pub fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        match std::fs::read(path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(Some(value)),
                Err(source) => Err(Error::BadFile {
                    path: path.to_path_buf(),
                    source,
                }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File {
                action: "read",
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    /// Writes a JSON file of the directory with mode 0600, either completely or not at all.
    pub fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(value).expect("what icebox keeps is plain data");
        private_file::replace(path, &text).map_err(Error::file("write", path))
    }

    /// Removes everything that a sandbox keeps, in the directory and behind its links, and the
    /// directory itself if it is then empty. The caller holds the lock.
    pub fn purge(&self, lock: StateLock) -> Result<(), Error> {
        for name in ["postgres", "sockets"] {
            let path = self.root.join(name);
            if let Ok(target) = std::fs::read_link(&path) {
                remove_tree(&target)?;
                std::fs::remove_file(&path).map_err(Error::file("remove", path))?;
            } else {
                remove_tree(&path)?;
            }
        }
        for folder in FOLDERS {
            remove_tree(&self.root.join(folder))?;
        }
        for file in [
            "containers.json",
            "history",
            "sandbox.json",
            "settings.json",
            "storage.applied",
            "storage.json",
            "lock",
        ] {
            let path = self.root.join(file);
            if path.exists() {
                std::fs::remove_file(&path).map_err(Error::file("remove", path))?;
            }
        }
        // Other files in the directory are not icebox's.
        let _ = std::fs::remove_dir(&self.root);
        drop(lock);
        Ok(())
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // A library's process may live on, so the file must no longer name it.
        let _ = self.file.set_len(0);
    }
}

/// Returns the parent of short paths: the user's runtime directory, which is private, or else
/// `/tmp`.
fn short_base() -> PathBuf {
    let is_root = nix::unistd::geteuid().is_root();
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        // Root's own runtime directory would be closed to PostgreSQL's account.
        Some(dir) if !is_root && dir.is_dir() && dir.as_os_str().len() < 60 => dir,
        _ => PathBuf::from("/tmp"),
    }
}

/// Creates a directory, or sets the mode of an existing one, regardless of the umask.
fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::File {
                action: "create",
                path: path.to_path_buf(),
                source: error,
            });
        }
        _ => {}
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}

/// Creates a directory as [`make_dir`] does, in a place where anyone may create directories.
/// Refuses an existing one of another user.
fn make_dir_among_others(path: &Path, mode: u32) -> Result<(), Error> {
    if let Ok(metadata) = std::fs::symlink_metadata(path)
        && (!metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw())
    {
        let source = std::io::Error::other("it exists and is not a directory of this user");
        return Err(Error::File {
            action: "use",
            path: path.to_path_buf(),
            source,
        });
    }
    make_dir(path, mode)
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::File {
            action: "remove",
            path: path.to_path_buf(),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(&dir.path().join("state")).unwrap();
        state.create().unwrap();
        assert_eq!(state.holder(), None);
        let lock = state.lock(true).unwrap().unwrap();
        assert!(state.holder().unwrap().is_library);
        assert!(state.lock(false).unwrap().is_none());
        drop(lock);
        assert_eq!(state.holder(), None);
        assert!(state.lock(false).unwrap().is_some());
    }

    #[test]
    fn a_long_path_gets_short_sockets_and_purge_removes_them() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(&dir.path().join("x".repeat(120))).unwrap();
        state.create().unwrap();
        let sockets = state.socket_dir(None).unwrap();
        assert!(sockets.as_os_str().len() <= LONGEST_SOCKET_DIR);
        assert_eq!(state.socket_dir(None).unwrap(), sockets);
        for file in [
            state.storage_grant(),
            state.audit_dir().join("audit-000001.jsonl"),
        ] {
            std::fs::write(file, "{}").unwrap();
        }
        let lock = state.lock(false).unwrap().unwrap();
        state.purge(lock).unwrap();
        assert!(!sockets.exists());
        assert!(!state.root().exists());
    }
}
