//! icebox runs the "Snowflake Postgres + pg_lake + Iceberg" lakehouse on one machine, offline.
//!
//! Each module is a part of the architecture picture in the README. Dependencies point down, and no
//! module knows what is above it: `cli` → `bench`, `scenario` → `sandbox` → `snowflake`, `parity`,
//! `retail` → `pglake`, `postgres` → `tables` → `objectstore` → `aws`.

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

/// The README, whose example runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Returns an error and its causes on one line, outermost first. A cause whose text is already
/// quoted is not repeated.
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
