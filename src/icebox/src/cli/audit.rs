//! `icebox audit`

use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;

use super::{Command, runtime};
use icebox_aws::audit::{Entry, Reader};
use icebox_sandbox::StateDir;

/// Show who did what on S3, IAM and STS, and why that was allowed or refused.
#[derive(clap::Args)]
pub struct Args {
    /// Keep showing new entries until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// How many of the last entries to show.
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        runtime::single_threaded()?.block_on(run(&self, state))
    }
}

async fn run(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let dir = state.audit_dir();
    anyhow::ensure!(
        dir.is_dir(),
        "there is no audit trail in {}; was a sandbox ever started?",
        dir.display()
    );
    let mut reader = Reader::open(&dir);
    let last = last(&mut reader, args.lines)?;
    if last.is_empty() && !args.follow && args.lines > 0 {
        eprintln!("the audit trail in {} is empty", dir.display());
    }
    for entry in &last {
        show(entry, args.json)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        show(&reader.next().await?, args.json)?;
    }
}

/// Returns the last `count` entries, the oldest first.
fn last(reader: &mut Reader, count: usize) -> anyhow::Result<VecDeque<Entry>> {
    let mut last = VecDeque::new();
    while let Some(entry) = reader.read()? {
        last.push_back(entry);
        if last.len() > count {
            last.pop_front();
        }
    }
    Ok(last)
}

/// Prints one entry. Standard output is flushed after each line, so that a reader of a pipe sees
/// each entry at once.
fn show(entry: &Entry, as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{}", serde_json::to_string(entry)?)?;
    } else {
        writeln!(out, "{entry}")?;
    }
    Ok(())
}
