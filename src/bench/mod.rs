//! `icebox bench`: what the sandbox costs on this machine, beside peers that are measured in the same run.
//!
//! Every experiment works in throw-away sandboxes of its own (see [`sandbox`](self::sandbox)), started by the command
//! `icebox up` as a user would. A measurement is the median of several runs after a warm-up. It stands beside
//!
//! - **peers**: the same work done by something else in this very run (a heap table, DuckDB on the same files), which is the only
//!   comparison that means something on another machine;
//! - the **yardstick**: what the real `pg_lake` took, on another machine (2 cores, an S3 server on loopback);
//! - the **goal** that icebox sets itself.

mod duckdb;
mod lab;
mod measure;
mod memory;
mod query;
mod report;
mod sandbox;
mod scenario;
mod snowflake;
mod start;
mod write;

use std::path::PathBuf;

use crate::parity::{QueryError, SourceError};
use crate::postgres::ConnectError;
use crate::retail::RetailError;
use crate::sandbox::Engine;
use crate::scenario::{OpenError, ScenarioError};

pub use measure::{Goal, Measurement, Peer, Samples, Unit, Yardstick};
pub use report::{Report, Skipped};

use lab::Lab;
use sandbox::ThrowAway;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Experiment {
    /// From `icebox up` to ready: first ever, a fresh sandbox, an existing one.
    Start,
    /// The guide's sync of 500 transactions and their items.
    Sync,
    /// 200 single rows, a transaction each.
    Insert,
    /// INSERT … SELECT of many rows from a heap table.
    Bulk,
    /// DELETE of every other one of them.
    Delete,
    /// The guide's queries and a count and sum, wherever the rows can be read.
    Query,
    /// A statement on the Snowflake side, and the refresh of a table with a long history.
    Snowflake,
    /// A scenario from `icebox up` to verified.
    Scenario,
    /// What icebox's own processes keep in memory when there is nothing to do.
    Memory,
}

/// What to measure, and on what.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The experiments, in any order; empty means all.
    pub only: Vec<Experiment>,
    /// Rows of the bulk write, the deletion and the queries.
    pub rows: u64,
    pub engine: Engine,
    /// The directory of PostgreSQL's server programs; otherwise the newest that is found.
    pub pg_bin: Option<PathBuf>,
    /// The command `icebox`.
    pub program: PathBuf,
    /// The folder of the scenario that is run as a whole.
    pub scenario: PathBuf,
    /// The virtual environment with DuckDB (`just clients`); without it that peer is skipped.
    pub clients: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there must be at least 1 row to measure with")]
    NoRows,
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`icebox up` failed in a throw-away sandbox: {output}")]
    Up { output: String },
    #[error("cannot look at the throw-away sandbox")]
    Sandbox(#[from] crate::sandbox::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{doing}: {message}")]
    Statement {
        doing: String,
        /// The server's words.
        message: String,
    },
    #[error(transparent)]
    Retail(#[from] RetailError),
    #[error("cannot open the reader")]
    Reader(#[from] crate::snowflake::reader::Error),
    #[error("{source_name} does not answer the query {query}")]
    Query {
        query: String,
        source_name: String,
        #[source]
        source: SourceError,
    },
    #[error(transparent)]
    Queries(#[from] QueryError),
    #[error("the query {query} has different answers, so their times mean nothing:\n{difference}")]
    Different { query: String, difference: String },
    #[error("the Snowflake side does not answer")]
    Snowflake(#[from] crate::snowflake::client::ClientError),
    #[error("the lake cannot be used")]
    Lake(#[from] crate::tables::Error),
    #[error("a throw-away sandbox cannot run the scenario")]
    OpenScenario(#[from] OpenError),
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("the system does not tell the memory of process {pid}")]
    NoMemory { pid: i32 },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File {
            action,
            path,
            source,
        }
    }

    fn statement(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Statement {
            doing,
            message: crate::parity::postgres_message(&source),
        }
    }
}

impl Bench {
    /// Measures everything that is asked for. `progress` hears what is being done. When `interrupted` completes, or with an error, the sandboxes
    /// are stopped and removed just as at the end.
    pub async fn run(
        &self,
        progress: &(dyn Fn(&str) + Sync),
        interrupted: impl Future<Output = ()>,
    ) -> Result<Report, Error> {
        if self.rows == 0 {
            return Err(Error::NoRows);
        }
        let sandboxes = ThrowAway::new(self)?;
        let result = tokio::select! {
            result = self.measure(&sandboxes, progress) => result,
            () = interrupted => Err(Error::Interrupted),
        };
        progress("stopping the throw-away sandboxes");
        sandboxes.remove().await;
        result
    }

    async fn measure(
        &self,
        sandboxes: &ThrowAway,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Report, Error> {
        let wants = |experiment| self.only.is_empty() || self.only.contains(&experiment);
        let mut report = Report::new(self.rows);
        if wants(Experiment::Start) {
            start::measure(sandboxes, &mut report, progress).await?;
        }
        if wants(Experiment::Scenario) {
            scenario::measure(self, sandboxes, &mut report, progress).await?;
        }
        let alone = [Experiment::Start, Experiment::Scenario];
        if !self.only.is_empty() && self.only.iter().all(|one| alone.contains(one)) {
            return Ok(report);
        }
        let mut lab = Lab::open(sandboxes, self.rows, progress).await?;
        report.sandbox(lab.info());
        // Before anything else has been asked of the sandbox.
        if wants(Experiment::Memory) {
            memory::measure("memory.started", "after its start", &lab, &mut report).await?;
        }
        if wants(Experiment::Sync) {
            write::sync(&mut lab, &mut report).await?;
        }
        if wants(Experiment::Insert) {
            write::insert(&mut lab, &mut report).await?;
        }
        if wants(Experiment::Bulk) {
            write::bulk(&mut lab, &mut report).await?;
        }
        if wants(Experiment::Delete) {
            write::delete(&mut lab, &mut report).await?;
        }
        if wants(Experiment::Query) {
            query::measure(&mut lab, self.clients.as_deref(), &mut report).await?;
        }
        if wants(Experiment::Snowflake) {
            snowflake::measure(&lab, &mut report).await?;
        }
        if wants(Experiment::Memory) && self.only != [Experiment::Memory] {
            memory::measure("memory.worked", "after all this work", &lab, &mut report).await?;
        }
        Ok(report)
    }
}
