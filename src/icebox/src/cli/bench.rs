//! `icebox bench`: measures this machine's sandbox.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Command, runtime};
use icebox_bench::{Bench, Experiment};
use icebox_sandbox::Engine;
use icebox_sandbox::StateDir;

/// Measure throw-away sandboxes on this machine, and compare them with peers.
#[derive(clap::Args)]
pub struct Args {
    /// Run only this experiment; may be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Experiment>,
    /// The number of rows of the large tables.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows: u64,
    /// The implementation of PostgreSQL, `pg_lake` and S3.
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// The directory of PostgreSQL's server programs; by default the newest version found.
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// The folder of the scenario to run as a whole.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "scenarios/snowflake-lakehouse"
    )]
    scenario: PathBuf,
    /// The virtual environment with DuckDB, which `just clients` creates.
    #[arg(long, value_name = "DIR", env = "ICEBOX_CLIENTS")]
    clients: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Command for Args {
    fn run(self, _state: &StateDir) -> anyhow::Result<ExitCode> {
        // The reader is compared with peers that use all cores.
        tokio::runtime::Runtime::new()?.block_on(run(self))
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let default_clients =
        || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/icebox/clients"));
    let bench = Bench {
        only: args.only,
        rows: args.rows,
        engine: args.engine,
        pg_bin: args.pg_bin,
        program: "/proc/self/exe".into(),
        scenario: args.scenario,
        clients: args.clients.or_else(default_clients),
    };
    let report = bench
        .run(
            &|doing| eprintln!("{doing} ..."),
            runtime::termination_signal(),
        )
        .await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}
