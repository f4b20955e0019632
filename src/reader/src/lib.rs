//! SQL on Iceberg tables that are registered by metadata location, and a reader that follows a
//! PostgreSQL catalog.

mod catalog;
mod follow;
pub mod reader;

pub use follow::{FollowError, follow};
pub use reader::Reader;
