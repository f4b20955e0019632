//! `icebox verify`: runs the same queries on heap tables, on Iceberg tables through PostgreSQL, and
//! on the reader of the Snowflake side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Command, runtime};
use icebox_parity::{PostgresSource, Query, QueryError, Source, verify};
use icebox_postgres::connect;
use icebox_sandbox::{SandboxInfo, StateDir};
use icebox_scenario::snowflake_side;

/// Compare the answers of heap tables, Iceberg tables and the Snowflake side; exits with 1 if
/// they differ.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with the query files.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "scenarios/retail-lakehouse/queries"
    )]
    queries: PathBuf,
    /// Only the query with this name, with or without its number.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The prefix of a logical table name in the name of its Iceberg table.
    #[arg(long, value_name = "PREFIX", default_value = "iceberg_")]
    iceberg_prefix: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let info = SandboxInfo::load(state.root())?;
        runtime::run_client(run(self, &info))
    }
}

async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let mut queries = load_queries(&args.queries)?;
    if let Some(name) = &args.only {
        queries = Query::only(queries, name)?;
    }
    let client = Arc::new(connect(&info.postgres).await?);
    let sources: Vec<Box<dyn Source>> = vec![
        Box::new(PostgresSource::new("heap", "", client.clone())),
        Box::new(PostgresSource::new(
            "pg_lake",
            args.iceberg_prefix.as_str(),
            client,
        )),
        snowflake_side(info, &args.iceberg_prefix).await?,
    ];
    let report = verify(&queries, &sources, |_| {}).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}\n{}", report.table(), report.details());
        println!("{}.", report.summary());
    }
    Ok(if report.is_same() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn load_queries(folder: &Path) -> anyhow::Result<Vec<Query>> {
    Query::load_dir(folder).map_err(|error| match error {
        QueryError::Read { .. } | QueryError::Empty { .. } => {
            let reason = icebox_base::chain(&error);
            anyhow::anyhow!("{reason}; give the folder that holds the queries with --queries")
        }
        error => error.into(),
    })
}
