//! A real PostgreSQL server: finds, initialises, configures and starts it, and connects to it.
//!
//! This module knows how *one* server is made and what its data directory contains. The sandbox
//! keeps it running.

pub mod account;
pub mod client;
pub mod configuration;
pub mod installation;
pub mod server;
pub mod statements;
pub mod template;
pub mod tls;

use std::path::PathBuf;

pub use account::Account;
pub use client::{ConnectError, Endpoint, connect, connect_with_notices, connections_ended};
pub use installation::Installation;
pub use server::{Server, ServerConfig};

/// An error in finding, initialising or starting a PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no usable PostgreSQL: {reason}; to install one: {fix}")]
    NotFound { reason: String, fix: &'static str },
    #[error(
        "PostgreSQL does not run as root, and neither of the users `postgres` and `nobody` exists; \
         start icebox as an ordinary user"
    )]
    NoAccount,
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot run {program}")]
    Run {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} failed: {output}")]
    Failed { program: PathBuf, output: String },
    #[error("cannot make the server's certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot set up roles in the new database cluster")]
    Bootstrap(#[source] tokio_postgres::Error),
    #[error("the new server did not apply its final access rules within 10 seconds")]
    AccessRules,
    #[error(
        "processes {pids:?} of an earlier server still use {data_dir} and do not stop; \
         end them and start the sandbox again"
    )]
    StillInUse { data_dir: PathBuf, pids: Vec<i32> },
}

impl Error {
    /// Converts the error of a file operation, for `map_err`. `action` completes the sentence
    /// "cannot … <path>".
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
