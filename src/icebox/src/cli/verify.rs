//! `icebox verify`: runs the same queries on heap tables, on Iceberg tables through PostgreSQL, and
//! on the reader of the Snowflake side.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use icebox_parity::{PostgresSource, Query, Source, verify};
use icebox_postgres::connect;
use icebox_sandbox::SandboxInfo;
use icebox_scenario::snowflake_side;

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

pub async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let mut queries = Query::load_dir(&args.queries)?;
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
