//! Snowflake's read side: tables registered by metadata location, queried with DataFusion.

mod catalog;
mod distinct;
mod follow;
pub mod reader;

pub use follow::{FollowError, follow};
pub use reader::Reader;
