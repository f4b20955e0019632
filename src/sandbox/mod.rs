//! One sandbox: its state directory, its processes, and how to reach them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::objectstore::S3Config;
use crate::postgres::Endpoint;

/// Which implementation of PostgreSQL, `pg_lake` and S3 a sandbox runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// PostgreSQL with the real `pg_lake`, and MinIO, in containers.
    Containers,
    /// A PostgreSQL on this machine that has the real `pg_lake`.
    Native,
    /// A plain PostgreSQL on this machine with icebox's stand-in for `pg_lake`.
    Embedded,
}

/// What a running sandbox tells its users; kept in the state directory with mode 0600.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxInfo {
    pub engine: EngineKind,
    /// One line: why this engine was taken.
    pub engine_reason: String,
    /// The administrator, `snowflake_admin`.
    pub postgres: Endpoint,
    /// The password of the role `application`.
    pub application_password: String,
    pub s3: S3Config,
    /// The bucket made for the sandbox.
    pub bucket: String,
    pub state_dir: PathBuf,
}

impl SandboxInfo {
    /// The file in the state directory that holds it.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("sandbox.json")
    }
}
