//! The parts of icebox that engines run as components, one file each.

mod lake_engine;
mod minio_proxy;
mod s3;
mod secret_sync;

pub use lake_engine::LakeEngine;
pub use minio_proxy::MinioProxy;
pub use s3::S3;
pub use secret_sync::{PgDuckAddress, SecretSync};
