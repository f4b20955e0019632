//! Scenarios: stories as data. A folder contains a manifest, `scenario.toml`, and the SQL files
//! that its steps run.
//!
//! ```toml
//! title = "…"
//!
//! [[step]]                                  # in order; each has a title and one action
//! title = "Create the tables"
//! # Statements for PostgreSQL, in one session for the whole scenario:
//! postgres = "postgres/tables.sql"
//! atomic = true                             # all of the file's statements in one transaction
//! # The first query on PostgreSQL that returns true skips the step:
//! skip_if = [{ sql = "SELECT …", because = "…" }]
//! [[step.expect]]
//! statement = 2                             # of the file, from 1; by default the last one
//! row_count = 3
//! # Compared by value; numbers with a point go in quotes:
//! rows = [["a", 1, "2.50", { null = true }]]
//!
//! [[step]]
//! title = "…"
//! # Worksheets, in one session that begins in the sandbox's linked database:
//! snowflake = "snowflake/counts.sql"
//! within_seconds = 30                       # retried this long; then its last error is shown
//! # Values of a statement's only row, for later steps: a column, or a key in its JSON:
//! [[step.save]]
//! columns = { host = "host", password = "access_roles.snowflake_admin" }
//!
//! [[step]]
//! title = "…"
//! # From here on, PostgreSQL is another server:
//! [step.connect]
//! host = "${host}"
//! user = "…"
//! password = "${password}"
//! certificate = "${certificate}"
//!
//! [[step]]
//! title = "…"
//! # The fields of `Simulator`:
//! simulate = { transactions = 5000, batch_size = 500, sync_every = 500, seed = 42 }
//!
//! [[step]]
//! title = "…"
//! # `session` reads the tables of the session instead of the newest metadata:
//! verify = { queries = "queries", iceberg_prefix = "iceberg_", snowflake = "session" }
//! ```
//!
//! `${name}` in SQL files, `skip_if`, `connect` and expected texts is a variable: one of the
//! sandbox (see [`variables`]), or one that an earlier step has saved.

mod backend;
mod expect;
mod manifest;
mod runner;
mod snowflake_side;

use std::path::PathBuf;

pub use backend::{
    Backend, OpenError, OpenSource, SandboxBackend, SimulateError, StatementFailure, VerifyError,
};
pub use expect::{Expectation, Expected};
pub use icebox_postgres::statements::{Statement, split};
pub use manifest::{
    Action, Save, Scenario, Server, SkipIf, SnowflakeTables, SqlFile, Step, Variables, variables,
};
pub use runner::{Event, RunSummary, run};
pub use snowflake_side::{SnowflakeSession, snowflake_side};

/// The error that ends a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a scenario manifest: {reason}")]
    Manifest { path: PathBuf, reason: String },
    #[error("{path}, line {line}: {reason}")]
    Text {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    #[error(transparent)]
    Queries(#[from] icebox_parity::QueryError),
    #[error("step \"{step}\" failed at {file}:{line}\n{message}\nThe statement:\n{sql}")]
    Statement {
        step: String,
        file: PathBuf,
        line: usize,
        message: String,
        sql: String,
    },
    #[error(
        "step \"{step}\": the statement at {file}:{line} did not give what is expected: {reason}\nThe statement:\n{sql}"
    )]
    Expectation {
        step: String,
        file: PathBuf,
        line: usize,
        reason: String,
        sql: String,
    },
    #[error("step \"{step}\": cannot tell whether to skip it: {message}\nThe condition:\n{sql}")]
    SkipIf {
        step: String,
        message: String,
        sql: String,
    },
    #[error("step \"{step}\" failed")]
    Simulate {
        step: String,
        #[source]
        source: SimulateError,
    },
    #[error("step \"{step}\": answers differ\n{details}")]
    Different { step: String, details: String },
    #[error("step \"{step}\": the answers cannot be compared")]
    Verify {
        step: String,
        #[source]
        source: VerifyError,
    },
    #[error("step \"{step}\" failed: {message}")]
    Engine { step: String, message: String },
}
