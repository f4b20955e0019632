//! Scenarios: stories as data. A folder holds a manifest, `scenario.toml`, and the SQL files that its steps run.
//!
//! ```toml
//! title = "…"
//!
//! [[step]]                                  # in order; each has a title and one action
//! title = "Create the tables"
//! postgres = "postgres/tables.sql"          # statements for PostgreSQL, in one session for the whole scenario
//! atomic = true                             # all of the file's statements in one transaction
//! skip_if = [{ sql = "SELECT …", because = "…" }]  # the first query on PostgreSQL that gives true skips the step
//! [[step.expect]]
//! statement = 2                             # of the file, from 1; the last one where absent
//! row_count = 3
//! rows = [["a", 1, "2.50", { null = true }]]  # compared by value; numbers with a point go in quotes
//!
//! [[step]]
//! title = "…"
//! snowflake = "snowflake/counts.sql"        # worksheets, in one session that begins in the sandbox's linked database
//! within_seconds = 30                       # tried again until it succeeds; its last error where it does not
//! [[step.save]]                             # values of a statement's only row, for later steps: a column, or a key in its JSON
//! columns = { host = "host", password = "access_roles.snowflake_admin" }
//!
//! [[step]]
//! title = "…"                               # PostgreSQL is another server from here on
//! connect = { host = "${host}", user = "…", password = "${password}", certificate = "${certificate}" }
//!
//! [[step]]
//! title = "…"
//! simulate = { transactions = 5000, batch_size = 500, sync_every = 500, seed = 42 }  # the fields of `Simulator`
//!
//! [[step]]
//! title = "…"
//! verify = { queries = "queries", iceberg_prefix = "iceberg_", snowflake = "session" }  # its tables, not the newest metadata's
//! ```
//!
//! `${name}` in SQL files, `skip_if`, `connect` and expected texts is a variable of the sandbox (see [`variables`]), or one that an
//! earlier step has saved.

mod backend;
mod expect;
mod manifest;
mod runner;

use std::path::PathBuf;

pub use crate::postgres::statements::{Statement, split};
pub use backend::{
    Backend, OpenError, OpenSource, SandboxBackend, Side, SimulateError, StatementFailure,
    VerifyError,
};
pub use expect::{Expectation, Expected};
pub use manifest::{
    Action, Reading, Save, Scenario, Server, SkipIf, SqlFile, Step, Variables, variables,
};
pub use runner::{Event, RunSummary, run};

/// What stops a scenario.
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
    Queries(#[from] crate::parity::QueryError),
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
