//! Snowflake's read side: tables registered by metadata location, queried with DataFusion.

mod catalog;
pub mod reader;

pub use reader::Reader;
