//! The interactive prompt.

use std::process::ExitCode;

use icebox::postgres::statements;
use icebox::sandbox::SandboxInfo;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::render::{self, Format};
use super::session::Session;

/// Reads statements until the end of input; an error of one does not end the session.
pub async fn run(
    session: &mut Session,
    format: Format,
    info: &SandboxInfo,
) -> anyhow::Result<ExitCode> {
    println!("Statements end with a semicolon; \\q or Ctrl-D leaves, Ctrl-C drops what was typed.");
    let mut editor = DefaultEditor::new()?;
    let history = info.state_dir.join("history");
    // There is none the first time.
    let _ = editor.load_history(&history);
    let mut typed = String::new();
    loop {
        let prompt = if typed.is_empty() {
            format!("{}=> ", session.name())
        } else {
            format!("{}-> ", session.name())
        };
        match editor.readline(&prompt) {
            Ok(line) if typed.is_empty() && ["\\q", "exit", "quit"].contains(&line.trim()) => break,
            Ok(line) => {
                typed.push_str(&line);
                typed.push('\n');
                if !statements::is_complete(&typed) {
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
            // Kept at once: the prompt may not live to say goodbye.
            let _ = editor.save_history(&history);
        }
        // What is complete has nothing open.
        for statement in statements::split(&input)? {
            let mut out = std::io::stdout();
            if let Err(error) = session
                .run(&statement.sql, |answer| {
                    render::print(&mut out, format, &answer)
                })
                .await
            {
                eprintln!("{error}");
                break;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
