//! `icebox doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use icebox::sandbox::doctor::{Check, examine};
use icebox::sandbox::{Options, StateDir};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Look for PostgreSQL's server programs here.
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
}

/// Exits with 1 when something is missing without which no sandbox starts.
pub fn run(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let checks = examine(
        state,
        &Options {
            pg_bin: args.pg_bin.clone(),
            ..Options::default()
        },
    );
    let is_well = checks
        .iter()
        .all(|check| check.is_found || !check.is_required);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        checks.iter().for_each(show);
        println!(
            "{}",
            if is_well {
                "\nA sandbox can start."
            } else {
                "\nA sandbox cannot start."
            }
        );
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(check: &Check) {
    let mark = match (check.is_found, check.is_required) {
        (true, _) => "ok      ",
        (false, true) => "MISSING ",
        (false, false) => "optional",
    };
    println!("{mark}  {:<19} {}", check.name, check.detail);
    if !check.is_found {
        println!("          {:<19} for {}", "", check.needed_for);
    }
    if let Some(fix) = &check.fix {
        println!("          {:<19} to get it: {fix}", "");
    }
}
