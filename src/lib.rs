//! icebox runs the "Snowflake Postgres + pg_lake + Iceberg" lakehouse on one machine, offline.
//!
//! Each module is a part of the architecture picture in the README; arrows point down:
//! `cli` → `bench`, `scenario` → `sandbox` → `snowflake`, `parity`, `retail` → `pglake`, `postgres` → `tables` → `objectstore` → `aws`.
//! Nothing knows what is above it.

pub mod aws;
pub mod bench;
pub mod connections;
pub mod objectstore;
pub mod parity;
pub mod pglake;
pub mod postgres;
mod private_file;
pub mod retail;
pub mod sandbox;
pub mod scenario;
pub mod snowflake;
pub mod tables;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// An error and its causes on one line, outermost first, without repeating what is already said.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
