//! `icebox component`: runs one of icebox's own components as a process. Its configuration comes in
//! a file, so that no password is ever on a command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{Command, runtime};
use icebox_sandbox::{IceboxComponent, Isolation, StateDir};

/// Run one component in the foreground, for the sandbox itself.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The component's name, for readers of the list of processes.
    name: String,
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Command for Args {
    fn run(self, _state: &StateDir) -> anyhow::Result<ExitCode> {
        runtime::multi_threaded()?.block_on(run(&self))
    }

    fn is_service(&self) -> bool {
        true
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.display();
    let text = std::fs::read(&args.config).with_context(|| format!("cannot read {path}"))?;
    let component: Box<dyn IceboxComponent> = serde_json::from_slice(&text)
        .with_context(|| format!("{path} does not describe a component"))?;
    anyhow::ensure!(
        component.typetag_name() == args.name,
        "{path} describes {}, not {}",
        component.typetag_name(),
        args.name
    );
    tracing::info!(component = args.name, "starting");
    let shutdown = Box::pin(runtime::termination_signal());
    tokio::select! {
        ended = component.run(Isolation::Processes, shutdown) => ended.map_err(anyhow::Error::from_boxed)?,
        never = super::memory::trim_after_work() => match never {},
    }
    Ok(ExitCode::SUCCESS)
}
