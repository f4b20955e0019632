//! `icebox down`

use std::process::ExitCode;

use icebox_sandbox::StateDir;
use icebox_sandbox::control::{self, Down};

#[derive(clap::Args)]
pub struct Args {
    /// Also remove everything that the sandbox keeps: databases, buckets, passwords, logs.
    #[arg(long)]
    purge: bool,
}

pub async fn run(args: Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let found = control::down(state, args.purge).await?;
    let what = match found {
        Down::Stopped => "stopped",
        Down::WasNotRunning => "was not running",
    };
    let data = if args.purge {
        "; its data is removed"
    } else {
        ""
    };
    println!("the sandbox in {} {what}{data}", state.root().display());
    Ok(ExitCode::SUCCESS)
}
