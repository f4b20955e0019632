//! A Snowflake account: its objects, the statements that change them, sessions, streams and tasks.
//!
//! What lies outside of an account (PostgreSQL servers, network, roles of AWS, the clock) comes through the trait
//! [`host::Host`]. Nothing here knows by which protocol a statement came in.

mod access;
pub mod account;
pub mod answer;
mod functions;
pub mod history;
pub mod host;
mod lake;
pub mod notices;
pub mod object;
pub mod parameters;
pub mod polling;
mod postgres_catalog;
mod recent;
pub mod session;
pub mod statement;
pub mod tasks;
