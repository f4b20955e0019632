//! `icebox doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use super::Command;
use icebox_sandbox::doctor::{Prerequisite, examine};
use icebox_sandbox::{Options, StateDir};

/// Look for everything that a sandbox needs, and say how to get what is missing; exits with 1
/// if none can start.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Look for PostgreSQL's server programs in this directory.
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
}

impl Command for Args {
    /// Exits with 1 if something is missing without which no sandbox can start.
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let report = examine(
            state,
            &Options {
                pg_bin: self.pg_bin.clone(),
                ..Options::default()
            },
        );
        let can_start = report.can_start();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("Engines, the best one first:");
            for found in &report.engines {
                let mark = if found.is_found { "ok" } else { "missing" };
                println!(
                    "{mark:<8}  {:<19} {}",
                    found.engine.to_string(),
                    found.detail
                );
                show_fix(found.fix.as_deref());
            }
            println!("\nParts:");
            report.prerequisites.iter().for_each(show);
            println!(
                "{}",
                if can_start {
                    "\nA sandbox can start."
                } else {
                    "\nA sandbox cannot start."
                }
            );
        }
        Ok(if can_start {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn show(check: &Prerequisite) {
    let mark = match (check.is_found, check.is_required) {
        (true, _) => "ok      ",
        (false, true) => "MISSING ",
        (false, false) => "optional",
    };
    println!("{mark}  {:<19} {}", check.name, check.detail);
    if !check.is_found {
        println!("          {:<19} for {}", "", check.needed_for);
    }
    show_fix(check.fix.as_deref());
}

fn show_fix(fix: Option<&str>) {
    if let Some(fix) = fix {
        println!("          {:<19} to get it: {fix}", "");
    }
}
