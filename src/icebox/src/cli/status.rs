//! `icebox status`

use std::process::ExitCode;

use super::Command;
use icebox_parity::table;
use icebox_sandbox::StateDir;
use icebox_sandbox::status::{ComponentStatus, State, Status};

/// Show what is running, where, and how much memory it uses; exits with 1 unless everything is
/// up.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Command for Args {
    /// Exits with 0 if the sandbox and all of its components are up, or else with 1.
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let status = Status::of(state)?;
        if self.json {
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
    let header = [
        "component",
        "state",
        "pid",
        "restarts",
        "memory",
        "endpoint",
    ];
    let lines = std::iter::once(header.map(str::to_owned).to_vec())
        .chain(status.components.iter().map(line));
    print!("{}", table::spaced(lines, &[2, 3, 4]));
}

fn line(component: &ComponentStatus) -> Vec<String> {
    let state = if component.is_up { "up" } else { "down" };
    let memory = component.memory_bytes;
    vec![
        component.name.clone(),
        state.to_owned(),
        text(component.pid),
        component.restarts.to_string(),
        memory.map_or("-".to_owned(), |bytes| {
            format!("{:.1} MB", bytes as f64 / 1e6)
        }),
        component.endpoint.clone().unwrap_or("-".to_owned()),
    ]
}

fn text(pid: Option<i32>) -> String {
    pid.map_or("-".to_owned(), |pid| pid.to_string())
}
