//! Throw-away sandboxes to measure.
//!
//! ```text
//! <temporary directory>/icebox-bench-<random>/
//!   <name>/               a sandbox's state directory
//!   cache-<name>/icebox/  what sandboxes share, instead of the user's cache
//! ```
//!
//! They are started by the command, on free ports, so the user's own sandbox and its cache are
//! never touched. When they are dropped, they are stopped and removed. Only a killed bench leaves
//! one behind; `icebox --state-dir … down --purge` removes it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Bench, Error};
use icebox_sandbox::{SandboxInfo, StateDir};

/// All sandboxes of one bench. A clone is a handle to the same sandboxes.
#[derive(Clone)]
pub(super) struct ThrowAwaySandboxes {
    shared: Arc<Shared>,
}

struct Shared {
    directory: tempfile::TempDir,
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    /// The names of sandboxes that may be running.
    running: Mutex<Vec<String>>,
}

impl ThrowAwaySandboxes {
    pub(super) fn new(bench: &Bench) -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        let directory = tempfile::Builder::new()
            .prefix("icebox-bench-")
            .tempdir_in(&parent)
            .map_err(Error::file("create a directory in", parent))?;
        // PostgreSQL's account must be able to pass through to its files.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711))
            .map_err(Error::file("set the mode of", directory.path()))?;
        let engine = clap::ValueEnum::to_possible_value(&bench.engine);
        let engine = engine.expect("every engine has a name");
        let mut arguments = vec!["--engine".into(), engine.get_name().into()];
        if let Some(dir) = &bench.pg_bin {
            arguments.extend(["--pg-bin".into(), dir.clone().into_os_string()]);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                program: bench.program.clone(),
                arguments,
                running: Mutex::default(),
            }),
        })
    }

    /// Returns a folder for files that are removed with the sandboxes.
    pub(super) fn directory(&self) -> &Path {
        self.shared.directory.path()
    }

    /// Runs `icebox up` for the sandbox `name`, new or stopped, and returns how long that took.
    /// Sandboxes with the same `cache` share a cache directory. A start that has begun continues
    /// even if the caller no longer waits.
    pub(super) async fn up(
        &self,
        name: &str,
        cache: &str,
        options: &[&'static str],
    ) -> Result<Duration, Error> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        let cache = self.directory().join(format!("cache-{cache}"));
        let options = options.to_vec();
        run_blocking(move || shared.up(&name, &cache, &options)).await
    }

    /// Stops the sandbox `name` and keeps its data.
    pub(super) async fn down(&self, name: &str) {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        run_blocking(move || shared.down(&name, false)).await;
    }

    /// Stops the sandbox `name` and removes it.
    pub(super) async fn purge(&self, name: &str) {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        run_blocking(move || shared.down(&name, true)).await;
    }

    pub(super) fn info(&self, name: &str) -> Result<SandboxInfo, Error> {
        Ok(SandboxInfo::load(&self.directory().join(name))?)
    }

    pub(super) fn state(&self, name: &str) -> Result<StateDir, Error> {
        Ok(StateDir::new(&self.directory().join(name))?)
    }

    /// Stops and removes all sandboxes.
    pub(super) async fn remove(self) {
        run_blocking(move || self.shared.stop_all()).await;
    }
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Shared {
    fn up(&self, name: &str, cache: &Path, options: &[&str]) -> Result<Duration, Error> {
        let mut command = self.command(name);
        command
            .arg("up")
            .args(&self.arguments)
            .args(options)
            .env("XDG_CACHE_HOME", cache);
        // An existing sandbox keeps its port.
        if !self.directory.path().join(name).exists() {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .map_err(Error::file("get a free port for", name))?;
            command.arg("--pg-port").arg(free.port().to_string());
        }
        // Locked until the start is over, so that whoever stops everything waits for it.
        let mut running = self.running();
        running.push(name.to_owned());
        let begun = Instant::now();
        let output = command
            .output()
            .map_err(Error::file("run", &self.program))?;
        let took = begun.elapsed();
        if output.status.success() {
            Ok(took)
        } else {
            Err(Error::Up {
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            })
        }
    }

    fn down(&self, name: &str, purge: bool) {
        let mut running = self.running();
        self.stop(name, purge);
        running.retain(|other| other != name);
    }

    fn stop_all(&self) {
        for name in self.running().drain(..) {
            self.stop(&name, true);
        }
    }

    /// Stops a sandbox. A failure is only logged, because stopping is not what is measured.
    fn stop(&self, name: &str, purge: bool) {
        let mut command = self.command(name);
        command.arg("down").args(purge.then_some("--purge"));
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                tracing::warn!(name, reason, "a throw-away sandbox was not stopped");
            }
            Err(error) => tracing::warn!(name, %error, "a throw-away sandbox was not stopped"),
        }
    }

    /// Returns the command for one sandbox, in a process group of its own. An interrupt at the
    /// terminal then reaches only the bench, which stops the sandboxes.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
            .arg("--state-dir")
            .arg(self.directory.path().join(name))
            .stdin(Stdio::null());
        command
    }

    fn running(&self) -> parking_lot::MutexGuard<'_, Vec<String>> {
        self.running.lock()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop_all();
    }
}
