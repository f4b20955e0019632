//! Iceberg tables in an object store: loading a metadata file, scanning it with DataFusion, writing
//! the next one.
//!
//! Reading goes [`LakeIo`] (files by URL) → [`LakeTable`] (one metadata file, planned by
//! iceberg-rust) → [`LakeTableProvider`] (a DataFusion table, scanned by DataFusion's own Parquet
//! source).

mod cache;
mod column_projection;
pub mod commit;
mod deletes;
pub mod distinct_aggregate;
mod error;
mod footer;
mod io;
mod manifest_repair;
mod manifests;
mod position_scan;
mod provider;
mod prune;
mod scan_files;
mod schema;
mod storage;
mod table;
mod uncommitted;
pub mod write;

pub use error::{Error, Result};
pub use io::{LakeIo, Location, Service};
pub use position_scan::{FILE_COLUMN, POSITION_COLUMN};
pub use provider::LakeTableProvider;
pub use schema::{field_id, initial_defaults};
pub use table::{LakeTable, PlannedFile};
pub use uncommitted::with_schema;
pub use uncommitted::{AddedFile, BATCHES_LOCATION, UncommittedChanges};
