//! Snowflake's read side: tables registered by metadata location, queried with DataFusion.

mod catalog;
mod distinct;
pub mod error;
mod follow;
pub mod names;
pub mod reader;
pub mod rest;
pub mod rows;
pub mod syntax;
pub mod types;

pub use follow::{FollowError, follow};
pub use reader::Reader;
