//! icebox runs the "Snowflake Postgres + `pg_lake` + Iceberg" lakehouse on one machine, offline.
//!
//! A program starts a [`Sandbox`] and reaches its servers as [`SandboxInfo`] says: PostgreSQL by
//! [`connect`], and the Iceberg tables by a [`Reader`] that [`follow`]s PostgreSQL's catalog and
//! reads the files through a [`LakeIo`].
//!
//! ```no_run
//! use icebox::{Engine, LakeIo, Reader, Sandbox, connect, follow};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::builder().engine(Engine::Auto).start().await?;
//! let info = sandbox.info();
//!
//! let client = connect(&info.postgres).await?;
//! client.batch_execute("CREATE EXTENSION pg_lake CASCADE").await?;
//! client.batch_execute("CREATE TABLE t (id int) USING iceberg").await?;
//! client.batch_execute("INSERT INTO t VALUES (1), (2)").await?;
//!
//! let reader = Reader::new(LakeIo::s3(info.s3.clone()))?;
//! follow(&reader, &client).await?;
//! let (_, rows) = reader.query("SELECT count(*) FROM t").await?;
//!
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

pub use icebox_postgres::connect;
pub use icebox_reader::{Reader, follow};
pub use icebox_sandbox::{Engine, Sandbox, SandboxBuilder, SandboxInfo};
pub use icebox_tables::LakeIo;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
