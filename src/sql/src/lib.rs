//! Snowflake's SQL: syntax, types, names, functions, errors, and queries with Snowflake's meaning
//! on DataFusion.
//!
//! Nothing here knows an account or a session: what a query reads comes through [`query::Catalog`].

pub mod error;
pub mod names;
pub mod query;
pub mod recursive_query;
pub mod rows;
pub mod syntax;
pub mod types;
