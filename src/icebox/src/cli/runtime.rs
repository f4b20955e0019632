//! The runtimes of commands, and the signal that ends them.

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// The number of worker threads of commands that talk to the sandbox or compute.
const WORKERS: usize = 2;

/// The time that a command waits for its connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub fn single_threaded() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

pub fn multi_threaded() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
}

/// Runs a command that talks to PostgreSQL, then waits for its connections to close. Otherwise the
/// server logs each of them as lost.
pub fn run_client(
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    multi_threaded()?.block_on(async {
        let result = command.await;
        let closed = icebox_postgres::connections_ended();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
        result
    })
}

/// Completes when the process is asked to end.
pub async fn termination_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the signals end the process, as they should.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
