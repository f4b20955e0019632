//! The embedded engine: Iceberg tables written and read through PostgreSQL.
//!
//! The expected answers come from PostgreSQL itself, which runs the same statements on heap tables,
//! and from the real `pg_lake`, whose transcripts the conformance suite replays.

#[path = "pglake/ddl.rs"]
mod ddl;
#[path = "pglake/differential.rs"]
mod differential;
#[path = "pglake/faults.rs"]
mod faults;
#[path = "pglake/guide.rs"]
pub mod guide;
#[path = "pglake/layout.rs"]
mod layout;
#[path = "pglake/readers.rs"]
mod readers;
#[path = "pglake/storage.rs"]
mod storage;
#[path = "pglake/transactions.rs"]
mod transactions;
#[path = "pglake/types.rs"]
mod types;

use crate::support::sandbox;
