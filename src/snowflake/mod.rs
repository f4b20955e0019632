//! The Snowflake side: tables registered by metadata location and queried with DataFusion, the language of procedures,
//! and the schedules of tasks.

mod catalog;
mod distinct;
pub mod error;
mod follow;
pub mod names;
pub mod reader;
pub mod rest;
pub mod rows;
pub mod schedule;
pub mod script;
pub mod syntax;
pub mod types;

pub use follow::{FollowError, follow};
pub use reader::Reader;
