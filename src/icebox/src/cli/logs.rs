//! `icebox logs`

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::Command;
use icebox_sandbox::StateDir;
use icebox_sandbox::process::tail;

/// Show the logs.
#[derive(clap::Args)]
pub struct Args {
    /// The component, or `icebox` for the supervisor; by default all of them.
    component: Option<String>,
    /// Keep showing new lines until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines to show.
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

/// A log file, and how many of its bytes have been shown.
struct Log {
    name: String,
    path: PathBuf,
    shown: u64,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        run(&self, state)
    }
}

fn run(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let mut logs = find(state)?;
    if let Some(component) = &args.component {
        let known: Vec<&str> = logs.iter().map(|log| log.name.as_str()).collect();
        let known = format!(
            "there is no log of `{component}`; there are: {}",
            known.join(", ")
        );
        logs.retain(|log| &log.name == component);
        anyhow::ensure!(!logs.is_empty(), known);
    }
    let with_names = logs.len() > 1;
    for log in &mut logs {
        log.shown = log.path.metadata().map_or(0, |metadata| metadata.len());
        let text = tail(&log.path, args.lines);
        show(&log.name, with_names, &text)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(Duration::from_millis(100));
        for log in &mut logs {
            let text = log.more()?;
            if !text.is_empty() {
                show(&log.name, with_names, text.trim_end_matches('\n'))?;
            }
        }
    }
}

fn find(state: &StateDir) -> anyhow::Result<Vec<Log>> {
    let dir = state.log_dir();
    let entries = std::fs::read_dir(&dir).with_context(|| {
        format!(
            "there are no logs in {}; was a sandbox ever started?",
            dir.display()
        )
    })?;
    let mut logs = in_dir(entries, "");
    for (prefix, instance) in state.instances() {
        if let Ok(entries) = std::fs::read_dir(instance.log_dir()) {
            logs.extend(in_dir(entries, &prefix));
        }
    }
    Ok(logs)
}

fn in_dir(entries: std::fs::ReadDir, prefix: &str) -> Vec<Log> {
    let found = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_str()?.strip_suffix(".log")?.to_owned();
        Some(Log {
            name: format!("{prefix}{name}"),
            path: entry.path(),
            shown: 0,
        })
    });
    let mut logs: Vec<Log> = found.collect();
    logs.sort_by(|a, b| a.name.cmp(&b.name));
    logs
}

impl Log {
    /// Returns what was added since the last call.
    fn more(&mut self) -> anyhow::Result<String> {
        let mut file = File::open(&self.path)
            .with_context(|| format!("cannot open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.shown))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.shown += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn show(name: &str, with_name: bool, text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        if with_name {
            write!(out, "{name}: ")?;
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}
