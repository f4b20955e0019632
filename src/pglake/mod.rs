//! The embedded stand-in for `pg_lake`: an SQL-only extension and the lake engine behind it.

pub mod engine;
pub mod prefix;
