//! `icebox bench`: measures the sandbox on this machine, beside peers that are measured in the same
//! run.
//!
//! The experiments use throw-away sandboxes (see [`sandbox`]), which are started by
//! the command `icebox up`, as a user would start them. A measurement is the median of several runs
//! after a warm-up. It is compared with
//!
//! - **peers**: the same work done by something else in the same run (a heap table, DuckDB on the
//!   same files), which is the only comparison that means something on another machine;
//! - the **yardstick**: what the real `pg_lake` took on another machine (2 cores, an S3 server on
//!   loopback);
//! - the **goal** that icebox sets itself.

mod duckdb;
mod measure;
mod memory;
mod query;
mod report;
mod sandbox;
mod scenario;
mod shared_sandbox;
mod snowflake;
mod start;
mod write;

use std::path::PathBuf;

use icebox_parity::{QueryError, SourceError};
use icebox_postgres::ConnectError;
use icebox_retail::RetailError;
use icebox_sandbox::Engine;
use icebox_scenario::{OpenError, ScenarioError};

pub use measure::{Goal, Measurement, Peer, Samples, Unit, Yardstick};
pub use report::{Report, Skipped};

use sandbox::ThrowAwaySandboxes;
use shared_sandbox::SharedSandbox;

/// An experiment that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Experiment {
    /// The time from `icebox up` to ready: first start ever, fresh sandbox, existing sandbox.
    Start,
    /// The guide's sync of 500 transactions and their items.
    Sync,
    /// 200 single rows, each in a transaction of its own.
    Insert,
    /// INSERT … SELECT of many rows from a heap table.
    Bulk,
    /// DELETE of every other row.
    Delete,
    /// The guide's queries, and a count and sum, wherever the rows can be read.
    Query,
    /// A statement on the Snowflake side, and the refresh of a table with a long history.
    Snowflake,
    /// A whole scenario, from `icebox up` to its last comparison.
    Scenario,
    /// The memory of icebox's own processes when there is nothing to do.
    Memory,
}

/// The configuration of a bench: what to measure, and on what.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The experiments, in any order; empty means all.
    pub only: Vec<Experiment>,
    /// The number of rows of the bulk write, the deletion and the queries.
    pub rows: u64,
    pub engine: Engine,
    /// The directory of PostgreSQL's server programs; by default the newest version found.
    pub pg_bin: Option<PathBuf>,
    /// The path of the command `icebox`.
    pub program: PathBuf,
    /// The folder of the scenario to run as a whole.
    pub scenario: PathBuf,
    /// The virtual environment with DuckDB (`just clients`). Without it, that peer is skipped.
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
    Sandbox(#[from] icebox_sandbox::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{doing}: {message}")]
    Statement {
        doing: String,
        /// The server's message.
        message: String,
    },
    #[error(transparent)]
    Retail(#[from] RetailError),
    #[error("cannot open the reader")]
    Reader(#[from] icebox_reader::reader::Error),
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
    Snowflake(#[from] icebox_rest::client::ClientError),
    #[error("the lake cannot be used")]
    Lake(#[from] icebox_tables::Error),
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
    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    fn statement(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Statement {
            doing,
            message: icebox_parity::postgres_message(&source),
        }
    }
}

impl Bench {
    /// Runs the experiments. `progress` is called with what is being done. The sandboxes are
    /// stopped and removed at the end, also after an error or when `interrupted` completes.
    pub async fn run(
        &self,
        progress: &(dyn Fn(&str) + Sync),
        interrupted: impl Future<Output = ()>,
    ) -> Result<Report, Error> {
        if self.rows == 0 {
            return Err(Error::NoRows);
        }
        let sandboxes = ThrowAwaySandboxes::new(self)?;
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
        sandboxes: &ThrowAwaySandboxes,
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
        let mut shared = SharedSandbox::open(sandboxes, self.rows, progress).await?;
        report.sandbox(shared.info());
        // This is measured before anything else is done with the sandbox.
        if wants(Experiment::Memory) {
            memory::measure("memory.started", "after its start", &shared, &mut report).await?;
        }
        if wants(Experiment::Sync) {
            write::sync(&mut shared, &mut report).await?;
        }
        if wants(Experiment::Insert) {
            write::insert(&mut shared, &mut report).await?;
        }
        if wants(Experiment::Bulk) {
            write::bulk(&mut shared, &mut report).await?;
        }
        if wants(Experiment::Delete) {
            write::delete(&mut shared, &mut report).await?;
        }
        if wants(Experiment::Query) {
            query::measure(&mut shared, self.clients.as_deref(), &mut report).await?;
        }
        if wants(Experiment::Snowflake) {
            snowflake::measure(&shared, &mut report).await?;
        }
        if wants(Experiment::Memory) && self.only != [Experiment::Memory] {
            memory::measure("memory.worked", "after all this work", &shared, &mut report).await?;
        }
        Ok(report)
    }
}
