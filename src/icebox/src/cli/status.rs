//! `icebox status`

use std::process::ExitCode;

use icebox_sandbox::StateDir;
use icebox_sandbox::status::{State, Status};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exits with 0 if the sandbox and all of its components are up, or else with 1.
pub fn run(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let status = Status::of(state)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        show(&status);
    }
    let all_are_up =
        status.state == State::Up && status.components.iter().all(|component| component.is_up);
    Ok(if all_are_up {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(status: &Status) {
    let state_dir = status.state_dir.display();
    match (status.state, status.supervisor_pid) {
        (State::Down, _) => return println!("down; nothing runs in {state_dir}"),
        (State::Starting, pid) => println!(
            "starting or stopping in {state_dir} (process {})",
            text(pid)
        ),
        (State::Up, pid) => println!("up in {state_dir} (process {})", text(pid)),
    }
    if let (Some(engine), Some(reason)) = (status.engine, &status.engine_reason) {
        println!("engine {engine}, {reason}");
    }
    println!(
        "{:<24} {:<5} {:>8} {:>8} {:>10}  endpoint",
        "component", "state", "pid", "restarts", "memory"
    );
    for component in &status.components {
        println!(
            "{:<24} {:<5} {:>8} {:>8} {:>10}  {}",
            component.name,
            if component.is_up { "up" } else { "down" },
            text(component.pid),
            component.restarts,
            component
                .memory_bytes
                .map_or("-".to_owned(), |bytes| format!(
                    "{:.1} MB",
                    bytes as f64 / 1e6
                )),
            component.endpoint.as_deref().unwrap_or("-"),
        );
    }
}

fn text(pid: Option<i32>) -> String {
    pid.map_or("-".to_owned(), |pid| pid.to_string())
}
