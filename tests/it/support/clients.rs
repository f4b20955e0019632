//! Clients that were not written for icebox: psql, and the Python modules of `just clients`.

use std::path::PathBuf;
use std::process::{Command, Output};

use icebox_postgres::Endpoint;
use icebox_sandbox::SandboxInfo;

/// Runs psql on the sandbox as a user does: with TLS and a password, stopping at the first error.
pub fn psql(info: &SandboxInfo, arguments: &[&str]) -> Output {
    psql_at(&info.postgres, arguments)
}

/// Runs psql on any server: with TLS and a password, stopping at the first error.
pub fn psql_at(endpoint: &Endpoint, arguments: &[&str]) -> Output {
    let Endpoint {
        host, port, user, ..
    } = endpoint;
    let target = format!("host={host} port={port} dbname=postgres user={user} sslmode=require");
    Command::new("psql")
        .args([&target, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
        .args(arguments)
        .env("PGPASSWORD", &endpoint.password)
        .output()
        .expect("psql is installed with PostgreSQL")
}

/// Returns the Python of the clients' environment if it has this module; otherwise prints the
/// reason.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os("ICEBOX_CLIENTS") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/icebox/clients"),
    };
    let python = dir.join("bin/python");
    let import = format!("import {module}");
    match Command::new(&python).args(["-c", &import]).output() {
        Ok(output) if output.status.success() => Some(python),
        _ => {
            println!(
                "SKIPPED: {} has no module {module}. Run `just clients` to install the clients that tests use.",
                python.display()
            );
            None
        }
    }
}
