//! A sandbox inside the current program.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::aws::AccountState;
use crate::snowflake;
use crate::thread::{Report, SandboxThread, Start};
use crate::{Engine, Error, Event, Options, SandboxInfo, StateDir};
use icebox_schedule::TimeScale;

/// A running sandbox that belongs to this program. PostgreSQL runs beside it, everything else
/// inside it. Dropping the value stops everything that it started, and waits until all of it has
/// ended.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use icebox_sandbox::{Engine, Sandbox};
///
/// let sandbox = Sandbox::builder().engine(Engine::Auto).start().await?;
/// let client = icebox_postgres::connect(&sandbox.info().postgres).await?;
/// client.batch_execute("CREATE TABLE t (id int)").await?;
/// # Ok(())
/// # }
/// ```
pub struct Sandbox {
    thread: SandboxThread,
    /// The temporary directory if no state directory was named; removed with the sandbox.
    _temporary: Option<tempfile::TempDir>,
}

/// The configuration of a sandbox to start. Every setting has a default.
#[derive(Clone)]
pub struct SandboxBuilder {
    options: Options,
    state_dir: Option<PathBuf>,
    report: Report,
}

impl Sandbox {
    /// Returns the builder of a sandbox with the best engine that works here, in a temporary
    /// directory, on free ports.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            options: Options::default(),
            state_dir: None,
            report: Arc::new(|_| {}),
        }
    }

    /// Returns how to reach the sandbox's servers.
    pub fn info(&self) -> &SandboxInfo {
        self.thread.info()
    }

    /// Stops the sandbox without blocking the runtime. Dropping it blocks the thread instead.
    pub async fn stop(self) {
        self.thread.stop().await;
    }
}

impl SandboxBuilder {
    /// Sets the engine.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.options.engine = engine;
        self
    }

    /// Keeps the data in `dir`, where a later start finds it. By default, the data is removed with
    /// the sandbox.
    pub fn state_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.state_dir = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Sets the directory of PostgreSQL's server programs.
    pub fn pg_bin(mut self, dir: impl AsRef<Path>) -> Self {
        self.options.pg_bin = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Sets what the AWS account holds at first: a bucket and a role, or nothing.
    pub fn account(mut self, account: AccountState) -> Self {
        self.options.account = Some(account);
        self
    }

    /// Sets how many times faster than real time schedules run.
    pub fn time_scale(mut self, scale: TimeScale) -> Self {
        self.options.time_scale = Some(scale);
        self
    }

    /// Sets PostgreSQL's port on 127.0.0.1.
    pub fn pg_port(mut self, port: u16) -> Self {
        self.options.pg_port = Some(port);
        self
    }

    /// Sets the S3 server's port on 127.0.0.1.
    pub fn s3_port(mut self, port: u16) -> Self {
        self.options.s3_port = Some(port);
        self
    }

    /// Sets the name of the bucket to create.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.options.bucket = Some(name.into());
        self
    }

    /// Calls `report` for every event of the start, on the sandbox's own thread.
    pub fn on_event(mut self, report: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// Starts the sandbox, and returns when every component answers.
    pub async fn start(self) -> Result<Sandbox, Error> {
        let (state_dir, temporary) = if let Some(dir) = self.state_dir {
            (dir, None)
        } else {
            let temporary = temporary_dir()?;
            (temporary.path().join("state"), Some(temporary))
        };
        let start = Start {
            state: StateDir::new(&state_dir)?,
            options: self.options,
            isolation: None,
            extend: snowflake::add,
            report: self.report,
            is_temporary: temporary.is_some(),
        };
        Ok(Sandbox {
            thread: start.run().await?,
            _temporary: temporary,
        })
    }
}

/// Creates a temporary directory, which PostgreSQL's account can pass through to its files.
fn temporary_dir() -> Result<tempfile::TempDir, Error> {
    let parent = std::env::temp_dir();
    let temporary = tempfile::Builder::new()
        .prefix("icebox-")
        .tempdir_in(&parent)
        .map_err(Error::file("create a directory in", parent))?;
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(temporary.path(), mode)
        .map_err(Error::file("set the mode of", temporary.path()))?;
    Ok(temporary)
}
