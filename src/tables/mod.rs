//! Iceberg tables in an object store: loading a metadata file, scanning it with DataFusion, writing the next one.

pub mod commit;
pub mod write;
