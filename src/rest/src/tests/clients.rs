//! Tests with real drivers.
//!
//! The drivers are in `$ICEBOX_CLIENTS` (`~/.cache/icebox/clients`), which `just clients` fills. A
//! test whose driver is not installed says so and passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::account::{PASSWORD, USER};
use super::*;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/it/clients");

/// Returns the path of an installed client, if it is there.
fn installed(name: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os("ICEBOX_CLIENTS") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/icebox/clients"),
    };
    let path = dir.join(name);
    if !path.exists() {
        println!(
            "SKIPPED: there is no {}. Run `just clients` to install the clients that tests use.",
            path.display()
        );
        return None;
    }
    Some(path)
}

/// Starts a server that waits three seconds for a statement before it gives an address to ask again
/// at, and prepares a command that connects to it.
async fn server_for(program: &Path, home: &Path) -> (Running, Command) {
    let config = Config {
        patience: Duration::from_secs(3),
        ..Config::default()
    };
    let server = start(config).await;
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("SNOWFLAKE_HOST", server.address.ip().to_string())
        .env("SNOWFLAKE_PORT", server.address.port().to_string())
        .env("SNOWFLAKE_USER", USER)
        .env("SNOWFLAKE_PASSWORD", PASSWORD)
        .env("TYPES_SQL", "SELECT * FROM every_type")
        .env("MISSING_SQL", "SELECT * FROM missing")
        .env(
            "LARGE_SQL",
            "SELECT value, value::varchar AS s FROM generate_series(1, 200000)",
        )
        // The server is on loopback, so a configured proxy must be bypassed.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .current_dir(home);
    (server, command)
}

/// Returns what a program printed, which must be JSON.
async fn seen(mut command: Command, server: &Running) -> Value {
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = text.replace(&server.address.to_string(), "HOST:PORT");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn python_driver(name: &str) {
    let Some(python) = installed(&format!("{name}/bin/python")) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (server, mut command) = server_for(&python, home.path()).await;
    command
        .args(["-W", "ignore"])
        .arg(Path::new(SCRIPTS).join("snowflake_driver.py"));
    let mut seen = seen(command, &server).await;
    let all = seen.as_object_mut().unwrap();
    println!("{name}: {} in {} seconds", all["version"], all["seconds"]);
    for changing in ["version", "seconds"] {
        all.remove(changing);
    }
    snapshot(name, &seen);
}

fn snapshot(name: &str, seen: &Value) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, serde_json::to_string_pretty(seen).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_connector_4() {
    python_driver("snowflake4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_connector_5() {
    python_driver("snowflake5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_driver() {
    let Some(modules) = installed("snowflake_node/node_modules") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (server, mut command) = server_for(Path::new("node"), home.path()).await;
    command
        .env("NODE_PATH", modules)
        .arg(Path::new(SCRIPTS).join("snowflake_node/driver.js"));
    snapshot("snowflake_node", &seen(command, &server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snow_command() {
    let Some(snow) = installed("snowflake_cli/bin/snow") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (server, mut command) = server_for(&snow, home.path()).await;
    let sql =
        "USE WAREHOUSE w; SELECT N, TZ, B, $$a;b$$ AS X FROM every_type; SELECT * FROM missing;";
    let port = server.address.port().to_string();
    command
        .args([
            "sql",
            "--temporary-connection",
            "--account",
            "icebox",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
        ])
        .args([
            "--user",
            USER,
            "--protocol",
            "http",
            "--database",
            "retail",
            "--format",
            "json",
        ])
        .args(["--query", sql])
        .env("SNOWFLAKE_HOME", home.path());
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("002003 (42S02)") && told.contains("Object 'MISSING' does not exist"),
        "{told}"
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    for part in [
        "Statement executed successfully.",
        "-12.30",
        "2024-03-15T13:04:56.123456+05:30",
        "a;b",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
}
