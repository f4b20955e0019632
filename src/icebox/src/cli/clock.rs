//! `icebox clock`: the clock of the Snowflake side's schedules.

use std::process::ExitCode;

use anyhow::Context;

use super::{Command, runtime};
use icebox_sandbox::{SandboxInfo, StateDir};
use icebox_schedule::TimeScale;

/// Show the clock of Snowflake's tasks, move it forward, or let it run faster.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(clap::Subcommand)]
enum Change {
    /// Move the clock forward, task by task: icebox clock advance 2 minutes
    Advance {
        amount: u32,
        /// The unit: seconds, minutes, hours or days.
        unit: String,
    },
    /// Run the clock this many times faster than real time; 0 stops it.
    Scale { factor: TimeScale },
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let info = SandboxInfo::load(state.root())?;
        runtime::multi_threaded()?.block_on(run(self, &info))
    }
}

async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let snowflake = info
        .snowflake
        .as_ref()
        .context("this sandbox has no Snowflake side")?;
    let mut client = snowflake.connect(None).await?;
    let arguments = match args.change {
        None => String::new(),
        Some(Change::Advance { amount, unit }) => {
            format!("'ADVANCE', '{amount} {}'", unit.replace('\'', "''"))
        }
        Some(Change::Scale { factor }) => format!("'SCALE', '{factor}'"),
    };
    let answer = client
        .run(&format!("SELECT SYSTEM$ICEBOX_CLOCK({arguments})"))
        .await?;
    client.close().await;
    let text = answer.rows.into_iter().flatten().flatten().next();
    let clock: serde_json::Value = serde_json::from_str(&text.unwrap_or_default())?;
    println!(
        "{} (runs {} times as fast as real time)",
        clock["now"].as_str().unwrap_or_default(),
        clock["scale"]
    );
    Ok(ExitCode::SUCCESS)
}
