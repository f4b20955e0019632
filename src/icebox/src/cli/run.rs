//! `icebox run`: runs a scenario step by step.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Command, runtime};
use icebox_retail::Progress;
use icebox_sandbox::{SandboxInfo, Side, StateDir};
use icebox_scenario::{Event, SandboxBackend, Scenario, run as run_scenario, variables};

/// The number of rows of an answer that are shown.
const SHOWN_ROWS: usize = 20;

/// Run a scenario: SQL steps with the results that are expected.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that contains scenario.toml.
    scenario: PathBuf,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let info = SandboxInfo::load(state.root())?;
        runtime::run_client(run(self, &info))
    }
}

async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(&args.scenario, &variables(info))?;
    println!("{}", scenario.title);
    let mut backend = SandboxBackend::open(info).await?;
    let summary = run_scenario(&scenario, &mut backend, &mut show).await?;
    println!(
        "\nDone in {:.1} s: {} steps, {} skipped.",
        summary.took.as_secs_f64(),
        summary.done,
        summary.skipped
    );
    Ok(ExitCode::SUCCESS)
}

fn show(event: Event<'_>) {
    match event {
        Event::Step { number, of, title } => println!("\n[{number}/{of}] {title}"),
        Event::Skipped { because } => println!("      skipped: {because}"),
        Event::Answer { side, answer } => {
            let side = match side {
                Side::Postgres => "postgres",
                Side::Snowflake => "snowflake",
            };
            // A status message needs no column heading.
            let is_status = answer.columns.len() == 1 && answer.columns[0].name == "status";
            let table = answer.to_table(SHOWN_ROWS);
            let lines = table.lines().skip(usize::from(is_status));
            for (line, text) in lines.enumerate() {
                println!("{:>11} {text}", if line == 0 { side } else { "" });
            }
        }
        Event::Simulating(Progress::Inserted { done, of }) => {
            println!("      {done}/{of} transactions");
        }
        Event::Simulating(Progress::Synced { rows, took }) => println!(
            "      synced {} transactions and {} items in {:.2} s",
            rows.transactions,
            rows.items,
            took.as_secs_f64()
        ),
        Event::Simulated(_) | Event::Verifying(_) => {}
        Event::Verified(report) => {
            report
                .table()
                .lines()
                .for_each(|line| println!("      {line}"));
            println!("      {}", report.summary());
        }
        Event::Done { took } => println!("      done in {:.2} s", took.as_secs_f64()),
    }
}
