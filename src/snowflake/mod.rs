//! The Snowflake side: an account with its objects, SQL on its tables by DataFusion, Snowflake
//! Scripting, the schedules of tasks, and the endpoint for drivers.

mod access;
pub mod account;
mod bounded;
mod catalog;
pub mod client;
mod distinct;
pub mod drivers;
pub mod error;
mod follow;
mod functions;
pub mod history;
mod lake;
pub mod names;
pub mod notices;
pub mod object;
pub mod parameters;
mod polling;
mod postgres_catalog;
pub mod query;
pub mod reader;
mod recursion;
pub mod rest;
pub mod rows;
pub mod schedule;
pub mod script;
pub mod session;
pub mod statement;
pub mod syntax;
pub mod tasks;
pub mod types;
pub mod world;

pub use follow::{FollowError, follow};
pub use reader::Reader;
