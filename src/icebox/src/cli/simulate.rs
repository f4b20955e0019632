//! `icebox simulate`: generates the guide's retail transactions.

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Command, runtime};
use icebox_postgres::connect;
use icebox_retail::{Progress, Simulator};
use icebox_sandbox::{SandboxInfo, StateDir};

/// Generate transactions into the tables of the retail scenario, and sync them to the lake.
#[derive(clap::Args)]
pub struct Args {
    /// Transactions to generate.
    #[arg(long, default_value_t = 5000)]
    transactions: u64,
    /// Transactions per database transaction.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: u64,
    /// Transactions between two syncs to Iceberg; 0 syncs only at the end.
    #[arg(long, default_value_t = 500)]
    sync_every: u64,
    /// Transactions per second; by default as many as possible.
    #[arg(long, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Make the transactions repeatable, including their timestamps.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave the sync to something else, such as `pg_cron`.
    #[arg(long)]
    no_sync: bool,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let info = SandboxInfo::load(state.root())?;
        runtime::run_client(run(self, &info))
    }
}

async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let simulator = Simulator {
        transactions: args.transactions,
        batch_size: args.batch_size,
        sync_every: args.sync_every,
        rate: args.rate,
        seed: args.seed,
        sync: !args.no_sync,
        ..Simulator::default()
    };
    let mut client = connect(&info.postgres).await?;
    let summary = if std::io::stderr().is_terminal() {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} transactions, {per_sec} {msg}")?;
        let bar = ProgressBar::new(args.transactions).with_style(style);
        let summary = simulator
            .run(&mut client, |progress| match progress {
                Progress::Inserted { done, .. } => bar.set_position(done),
                Progress::Synced { took, .. } => {
                    bar.set_message(format!("(last sync {:.2} s)", took.as_secs_f64()));
                }
            })
            .await;
        bar.finish();
        summary?
    } else {
        simulator.run(&mut client, print).await?
    };
    println!(
        "{} transactions with {} items in {:.1} s ({:.0} a second); {} transactions and {} items synced to Iceberg.",
        summary.transactions,
        summary.items,
        summary.seconds,
        summary.transactions as f64 / summary.seconds,
        summary.synced.transactions,
        summary.synced.items
    );
    Ok(ExitCode::SUCCESS)
}

fn print(progress: Progress) {
    match progress {
        Progress::Inserted { done, of } => println!("{done}/{of} transactions"),
        Progress::Synced { rows, took } => println!(
            "synced {} transactions and {} items in {:.2} s",
            rows.transactions,
            rows.items,
            took.as_secs_f64()
        ),
    }
}
