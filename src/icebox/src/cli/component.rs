//! `icebox component`: runs one of icebox's own components as a process. Its configuration comes in
//! a file, so that no password is ever on a command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use icebox_sandbox::IceboxComponent;
use icebox_sandbox::supervisor::Isolation;

#[derive(clap::Args)]
pub struct Args {
    /// The component's name, for readers of the list of processes.
    name: String,
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.display();
    let text = std::fs::read(&args.config).with_context(|| format!("cannot read {path}"))?;
    let component: IceboxComponent = serde_json::from_slice(&text)
        .with_context(|| format!("{path} does not describe a component"))?;
    anyhow::ensure!(
        component.name() == args.name,
        "{path} describes {}, not {}",
        component.name(),
        args.name
    );
    tracing::info!(component = args.name, "starting");
    tokio::select! {
        ended = component.run(Isolation::Processes, super::termination_signal()) => ended.map_err(anyhow::Error::from_boxed)?,
        never = super::memory::trim_after_work() => match never {},
    }
    Ok(ExitCode::SUCCESS)
}
