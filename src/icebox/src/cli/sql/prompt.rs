//! The interactive SQL prompt.

use std::process::ExitCode;
use std::time::Instant;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::render::{self, Format};
use super::session::Session;
use super::variables::{self, Variable};
use icebox_sandbox::SandboxInfo;

/// Reads and runs statements until the end of input. A statement that fails does not end the
/// session.
pub async fn run(
    mut session: Session,
    format: Format,
    variables: &[Variable],
    info: &SandboxInfo,
) -> anyhow::Result<ExitCode> {
    println!(
        "Statements end with a semicolon; \\q or Ctrl-D leaves, Ctrl-C discards the typed text."
    );
    let mut editor = DefaultEditor::new()?;
    let history = info.state_dir.join("history");
    // There is no history the first time.
    let _ = editor.load_history(&history);
    let mut typed = String::new();
    loop {
        let prompt = if typed.is_empty() {
            format!("{}=> ", session.prompt_text())
        } else {
            format!("{}-> ", session.prompt_text())
        };
        match editor.readline(&prompt) {
            Ok(line) if typed.is_empty() && ["\\q", "exit", "quit"].contains(&line.trim()) => break,
            Ok(line) => {
                typed.push_str(&line);
                typed.push('\n');
                if !session.is_complete(&typed) {
                    continue;
                }
            }
            Err(ReadlineError::Interrupted) => {
                typed.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
        let input = std::mem::take(&mut typed);
        if !input.trim().is_empty() {
            editor.add_history_entry(input.trim())?;
            // Saved at once, because the prompt may be killed.
            let _ = editor.save_history(&history);
        }
        let input = variables::replace(&input, variables);
        // The typed text is complete, so it can be split.
        for statement in session.split(&input).unwrap_or_default() {
            let mut out = std::io::stdout();
            let begun = Instant::now();
            let result = session.run(&statement.sql, |answer| {
                render::print(&mut out, format, &answer)
            });
            if let Err(error) = result.await {
                eprintln!("{error}");
                break;
            }
            if format == Format::Table {
                println!("Time: {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    session.close().await;
    Ok(ExitCode::SUCCESS)
}
