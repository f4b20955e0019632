//! Helpers that several test modules share.

use std::path::PathBuf;
use std::process::Output;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use icebox_sandbox::process::ProcessId;

pub mod clients;
pub mod db;
pub mod network;
pub mod postgres;
pub mod sandbox;

/// The checkout.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The program under test: what `cargo build` has left beside the directory of this one.
///
/// # Panics
/// If it is not there.
pub fn icebox() -> &'static PathBuf {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(|deps| deps.parent()).unwrap();
        let program = built.join("icebox");
        assert!(
            program.exists(),
            "{} is not there: `cargo build` makes it, `just test` does that first",
            program.display()
        );
        program
    });
    &PROGRAM
}

/// Returns both output streams of a finished program.
pub fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends SIGKILL to a process, and waits until it has ended.
pub fn kill(process: ProcessId) {
    process.signal(nix::sys::signal::Signal::SIGKILL);
    while process.is_alive() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the running process with this id.
pub fn kill_9(pid: i32) {
    kill(ProcessId::of(pid).expect("it runs"));
}
