//! The embedded engine: Iceberg tables written and read through PostgreSQL.
//!
//! The expected answers come from PostgreSQL itself, which runs the same statements on heap tables,
//! and from the real `pg_lake`, whose transcripts the conformance suite replays.

mod concurrency;
mod ddl;
mod differential;
mod faults;
pub mod guide;
mod layout;
mod readers;
mod storage;
mod transactions;
mod types;
