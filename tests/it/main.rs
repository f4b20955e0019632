//! The integration tests, one binary with a module per capability.

mod architecture;
mod aws;
mod bench;
mod conformance;
mod containers;
mod guide;
mod native;
mod parity;
mod pglake;
mod reader;
mod s3;
mod sandbox;
mod snowflake;
mod support;
