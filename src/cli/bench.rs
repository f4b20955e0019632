//! `icebox bench`: PLACEHOLDER, replaced at merge.

use std::process::ExitCode;

use icebox::sandbox::SandboxInfo;

#[derive(clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, _info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`icebox bench` is not part of this build")
}
