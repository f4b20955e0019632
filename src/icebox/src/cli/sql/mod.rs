//! `icebox sql`

mod prompt;
mod render;
mod session;
mod variables;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{Command, runtime};
use icebox_sandbox::{SandboxInfo, Side, StateDir};

pub use render::Format;
use session::Session;
use variables::Variable;

/// Run SQL on PostgreSQL or on the Snowflake side: statements, a file, or a prompt.
#[derive(clap::Args)]
pub struct Args {
    /// Statements to run; by default those on standard input, or a prompt on a terminal.
    #[arg(conflicts_with_all = ["command", "file"])]
    sql: Option<String>,
    /// Statements to run, as with psql.
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    command: Option<String>,
    /// A file of statements to run; `-` is standard input.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Where to run the statements.
    #[arg(long, value_enum, default_value_t)]
    on: Side,
    /// How to print answers.
    #[arg(
        short = 'o',
        long = "output",
        alias = "format",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    format: Format,
    /// The value for <NAME> in the statements, as in --var YOUR_BUCKET=icebox-lake; case does not
    /// matter and `-` equals `_`.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<Variable>,
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        let info = SandboxInfo::load(state.root())?;
        runtime::run_client(run(self, &info))
    }
}

async fn run(args: Args, info: &SandboxInfo) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(args.on, info).await?;
    let (source, text) = match (args.sql.or(args.command), args.file) {
        (Some(sql), _) => (None, sql),
        (None, Some(path)) if path.as_os_str() != "-" => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            (Some(path.display().to_string()), text)
        }
        (None, None) if std::io::stdin().is_terminal() => {
            return prompt::run(session, args.format, &args.variables, info).await;
        }
        (None, _) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            (Some("standard input".to_owned()), text)
        }
    };
    let text = variables::replace(&text, &args.variables);
    let place = |line| {
        source
            .as_ref()
            .map(|source| format!(" ({source}, line {line})"))
    };
    let statements = session.split(&text).map_err(|(error, line)| {
        let place = place(line).unwrap_or_default();
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
            if let Some(name) = variables::first_placeholder(&statement.sql) {
                eprintln!("<{name}> is a placeholder; give its value with --var '{name}=…'");
            }
            session.close().await;
            return Ok(ExitCode::FAILURE);
        }
    }
    session.close().await;
    Ok(ExitCode::SUCCESS)
}
