//! The data of the retail story: the transaction simulator of the guide "Build a Lakehouse with
//! Snowflake Postgres and `pg_lake`", and its sync of heap tables to Iceberg tables.
//!
//! The schema and the seed data are SQL files of the scenario (`scenarios/retail-lakehouse/`). The
//! simulator reads stores, products and customers from the tables, whatever they hold.

mod generate;
mod simulator;
mod sync;

pub use generate::{Catalog, Generator, Item, Product, Transaction};
pub use simulator::{Progress, RetailError, Simulator, Summary};
pub use sync::{Synced, Tables, sync};
