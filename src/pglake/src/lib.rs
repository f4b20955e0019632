//! The stand-in for `pg_lake`: an SQL-only extension and the lake engine behind it.

mod arrays;
pub mod columns;
mod datetime;
pub mod duckdb_secret;
pub mod engine;
pub mod extension;
pub mod prefix;

pub mod secret_sync;
pub mod storage;
pub mod values;

use std::fmt;
use std::path::PathBuf;

use icebox_postgres::client::conninfo_value;

/// A unix socket where PostgreSQL finds the lake engine or `pgduck_server`.
///
/// Its text form is a value for the real extension's setting `pg_lake_engine.host`.
#[derive(Clone, Debug)]
pub struct EngineSocket {
    pub dir: PathBuf,
    /// The port in the name of the socket file, which libpq requires.
    pub port: u16,
}

impl EngineSocket {
    /// The default port of `pgduck_server`, which the lake engine uses too.
    pub const PORT: u16 = 5332;

    /// Returns the socket in `dir` with the default port.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: Self::PORT,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl fmt::Display for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.to_string_lossy();
        write!(f, "host={} port={}", conninfo_value(&dir), self.port)
    }
}
