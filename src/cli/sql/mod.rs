//! `icebox sql`

mod prompt;
mod render;
mod session;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use icebox::postgres::statements;
use icebox::sandbox::SandboxInfo;

pub use render::Format;
use session::Session;

#[derive(clap::Args)]
pub struct Args {
    /// Statements to run; without them, what comes on standard input, or a prompt on a terminal.
    #[arg(conflicts_with_all = ["command", "file"])]
    sql: Option<String>,
    /// Statements to run, as with psql.
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    command: Option<String>,
    /// A file of statements to run; `-` is standard input.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Where the statements run; the Snowflake side only reads.
    #[arg(long, value_enum, default_value_t)]
    on: Side,
    /// How answers are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The two ends of the lakehouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    #[default]
    Postgres,
    Snowflake,
}

pub async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(args.on, info).await?;
    let (source, text) = match (args.sql.or(args.command), args.file) {
        (Some(sql), _) => (None, sql),
        (None, Some(path)) if path.as_os_str() != "-" => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            (Some(path.display().to_string()), text)
        }
        (None, None) if std::io::stdin().is_terminal() => {
            return prompt::run(&mut session, args.format, info).await;
        }
        (None, _) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            (Some("standard input".to_owned()), text)
        }
    };
    let place = |line| {
        source
            .as_ref()
            .map(|source| format!(" ({source}, line {line})"))
    };
    let statements = statements::split(&text).map_err(|error| {
        let place = place(error.line).unwrap_or_default();
        anyhow::anyhow!("{error}{place}")
    })?;
    for statement in statements {
        let mut out = std::io::stdout();
        let result = session
            .run(&statement.sql, |answer| {
                render::print(&mut out, args.format, &answer)
            })
            .await;
        if let Err(error) = result {
            eprintln!("{error}");
            if let Some(place) = place(statement.line) {
                eprintln!("{}", place.trim_start());
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
