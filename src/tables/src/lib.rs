//! Iceberg tables in an object store: loading a metadata file, scanning it with DataFusion, writing
//! the next one.
//!
//! Reading goes [`LakeIo`] (files by URL) → [`LakeTable`] (one metadata file, planned by
//! iceberg-rust) → [`LakeTableProvider`] (a DataFusion table, scanned by DataFusion's own Parquet
//! source).
//!
//! Writing goes [`TableChanges`] (which rows go and which rows come) → [`commit::RowChange`] (the
//! files that express it) → [`commit::TableVersion`] (the next metadata file).

mod cache;
mod changes;
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
mod row_change;
mod scan_files;
mod schema;
mod storage;
mod table;
mod uncommitted;
mod write;

pub use changes::{ChangeError, TableChanges};
pub use error::{Error, Result};
pub use io::{LakeIo, Location, Service};
pub use position_scan::{FILE_COLUMN, POSITION_COLUMN};
pub use provider::LakeTableProvider;
pub use row_change::RewriteThreshold;
pub use table::{LakeTable, PlannedFile};
pub use uncommitted::with_schema;
pub use uncommitted::{AddedFile, BATCHES_LOCATION, UncommittedChanges};
