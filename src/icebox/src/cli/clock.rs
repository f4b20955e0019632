//! `icebox clock`: the clock of the Snowflake side's schedules.

use std::process::ExitCode;

use anyhow::Context;

use icebox_sandbox::SandboxInfo;
use icebox_schedule::TimeScale;

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

pub async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let there = info.snowflake.as_ref();
    let there = there.context("this sandbox has no Snowflake side")?;
    let mut client = there.connect(None).await?;
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
    let told = answer.rows.into_iter().flatten().flatten().next();
    let told: serde_json::Value = serde_json::from_str(&told.unwrap_or_default())?;
    println!(
        "{} (runs {} times as fast as real time)",
        told["now"].as_str().unwrap_or_default(),
        told["scale"]
    );
    Ok(ExitCode::SUCCESS)
}
