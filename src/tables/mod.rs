//! Iceberg tables in an object store: loading a metadata file, scanning it with DataFusion, writing
//! the next one.
//!
//! Reading goes [`LakeIo`] (files by URL) → [`LakeTable`] (one metadata file, planned by
//! iceberg-rust) → [`LakeTableProvider`] (a DataFusion table, scanned by DataFusion's own Parquet
//! source).

mod cache;
pub mod commit;
mod cure;
mod deletes;
mod error;
mod evolve;
mod footer;
mod io;
mod manifests;
mod overlay;
mod provider;
mod prune;
mod rows;
mod schema;
mod storage;
mod table;
pub mod write;

pub use error::{Error, Result};
pub use io::{LakeIo, Location, Service};
pub(crate) use overlay::with_schema;
pub use overlay::{BATCHES_LOCATION, ExtraFile, Overlay};
pub use provider::{FILE_COLUMN, LakeTableProvider, POSITION_COLUMN};
pub(crate) use schema::{field_id, initial_defaults};
pub use table::{LakeTable, PlannedFile};
