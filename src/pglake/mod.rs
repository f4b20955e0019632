//! The embedded stand-in for `pg_lake`: an SQL-only extension and the lake engine behind it.

mod arrays;
pub mod columns;
mod datetime;
pub mod engine;
pub mod prefix;
pub mod values;

/// The port in the name of the lake engine's socket, as libpq wants one.
pub const ENGINE_PORT: u16 = 5332;
