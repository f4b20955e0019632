//! A real PostgreSQL server: found, initialised, configured and supervised; and the client that talks to it.

pub mod client;

pub use client::{Endpoint, connect};
