//! The command `icebox`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("icebox: {}", icebox_base::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
