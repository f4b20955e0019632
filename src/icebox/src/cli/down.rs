//! `icebox down`

use std::process::ExitCode;

use super::{Command, runtime};
use icebox_sandbox::StateDir;
use icebox_sandbox::control::{self, Down};

/// Stop the sandbox; its data stays unless --purge is given.
#[derive(clap::Args)]
pub struct Args {
    /// Also remove everything that the sandbox keeps: databases, buckets, passwords, logs.
    #[arg(long)]
    purge: bool,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        runtime::single_threaded()?.block_on(run(self, state))
    }
}

async fn run(args: Args, state: &StateDir) -> anyhow::Result<ExitCode> {
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
