//! icebox runs the "Snowflake Postgres + `pg_lake` + Iceberg" lakehouse on one machine, offline.

pub use icebox_postgres::connect;
pub use icebox_reader::{FollowError, Reader, follow};
pub use icebox_sandbox::{Engine, Sandbox, SandboxBuilder, SandboxInfo};
pub use icebox_tables::LakeIo;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
