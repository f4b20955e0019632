//! DuckDB as a peer: a Python client in the virtual environment that `just clients` creates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use icebox_s3_client::S3Config;

const CLIENT: &str = include_str!("../../../tests/it/clients/bench_duckdb.py");

/// The queries that DuckDB is to time. The client describes the format.
#[derive(Serialize)]
pub(super) struct Job {
    pub s3: S3Config,
    /// The directory in which the S3 server keeps buckets, if it keeps objects as plain files.
    pub object_dir: PathBuf,
    pub warmups: usize,
    pub runs: usize,
    /// Metadata locations by logical table name.
    pub tables: BTreeMap<String, String>,
    /// SQL on logical table names, by the query's name.
    pub queries: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    /// The reasons for skipped sources, by source.
    pub skipped: BTreeMap<String, String>,
    pub times: Vec<Times>,
}

#[derive(Deserialize)]
pub(super) struct Times {
    pub query: String,
    /// `s3` or `local`.
    pub source: String,
    pub seconds: Vec<f64>,
    /// The answer, with values as text.
    pub rows: Vec<Vec<String>>,
}

/// Runs the job, or returns why that is not possible. Files that the client makes are put in
/// `directory`.
pub(super) async fn run(
    clients: Option<&Path>,
    job: &Job,
    directory: &Path,
) -> Result<Found, String> {
    let python = clients
        .ok_or("there is no home directory to look for its virtual environment in")?
        .join("bin/python");
    let there = Command::new(&python)
        .args(["-c", "import duckdb, duckdb_extensions"])
        .output()
        .await;
    match there {
        Ok(output) if output.status.success() => {}
        Ok(_) => {
            return Err(format!(
                "{} has no DuckDB with its extensions; `just clients` installs it",
                python.display()
            ));
        }
        Err(error) => {
            return Err(format!(
                "{} cannot be run ({error}); `just clients` makes it",
                python.display()
            ));
        }
    }
    let mut child = Command::new(&python)
        .args(["-c", CLIENT])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{} cannot be run ({error})", python.display()))?;
    // The keys go through the pipe, so that no list of processes shows them.
    let job = serde_json::to_vec(job).map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // A client that has already ended reports the reason on standard error.
    let _ = stdin.write_all(&job).await;
    drop(stdin);
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| format!("cannot wait for its client ({error})"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.trim().lines().last().unwrap_or_default().to_owned();
        return Err(format!("its client failed: {last}"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("its client's output cannot be read ({error})"))
}
