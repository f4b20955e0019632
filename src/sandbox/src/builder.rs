//! A sandbox inside the current program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::aws::AccountState;
use super::supervisor::{self, Isolation};
use super::{Engine, Error, Event, Options, SandboxInfo, StateDir};
use icebox_base::chain;
use icebox_schedule::TimeScale;

/// The number of worker threads for icebox's own components when they run inside the program.
const WORKERS: usize = 2;

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
    info: SandboxInfo,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The temporary directory if no state directory was named; removed with the sandbox.
    _temporary: Option<tempfile::TempDir>,
}

/// The configuration of a sandbox to start. Every setting has a default.
#[derive(Clone)]
pub struct SandboxBuilder {
    options: Options,
    state_dir: Option<PathBuf>,
    report: Arc<dyn Fn(Event) + Send + Sync>,
    /// The place where the sandbox's components run; inside this program by default.
    isolation: Option<Isolation>,
}

impl Sandbox {
    /// Returns the builder of a sandbox with the best engine that works here, in a temporary
    /// directory, on free ports.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            options: Options::default(),
            state_dir: None,
            report: supervisor::silent(),
            isolation: None,
        }
    }

    /// Returns how to reach the sandbox's servers.
    pub fn info(&self) -> &SandboxInfo {
        &self.info
    }

    /// Stops the sandbox without blocking the runtime. Dropping it blocks the thread instead.
    pub async fn stop(mut self) {
        let _ = tokio::task::spawn_blocking(move || self.end()).await;
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl SandboxBuilder {
    /// Returns the builder of a server on the lake of another sandbox.
    pub(super) fn on_shared_lake(
        state_dir: PathBuf,
        options: Options,
        isolation: Isolation,
    ) -> Self {
        Self {
            options,
            state_dir: Some(state_dir),
            report: supervisor::silent(),
            isolation: Some(isolation),
        }
    }

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

    pub fn pg_port(mut self, port: u16) -> Self {
        self.options.pg_port = Some(port);
        self
    }

    pub fn s3_port(mut self, port: u16) -> Self {
        self.options.s3_port = Some(port);
        self
    }

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
        let Self {
            options,
            state_dir,
            report,
            isolation,
        } = self;
        let (state_dir, temporary) = if let Some(dir) = state_dir {
            (dir, None)
        } else {
            let parent = std::env::temp_dir();
            let make = tempfile::Builder::new()
                .prefix("icebox-")
                .tempdir_in(&parent);
            let temporary = make.map_err(Error::file("create a directory in", parent))?;
            (temporary.path().join("state"), Some(temporary))
        };
        if let Some(temporary) = &temporary {
            // PostgreSQL's account must be able to pass through to its files.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
            std::fs::set_permissions(temporary.path(), mode)
                .map_err(Error::file("set the mode of", temporary.path()))?;
        }
        let state = StateDir::new(&state_dir)?;
        let is_temporary = temporary.is_some();
        let (stop, stopped) = oneshot::channel();
        let (started, start) = oneshot::channel();
        // The system ends a component together with the thread that started it, so the sandbox has
        // a thread of its own.
        let thread = std::thread::Builder::new()
            .name("icebox-sandbox".to_owned())
            .spawn(move || {
                run(
                    &state,
                    &options,
                    isolation,
                    is_temporary,
                    &*report,
                    started,
                    stopped,
                );
            })
            .map_err(Error::Thread)?;
        match start.await {
            Ok(Ok(info)) => Ok(Sandbox {
                info,
                stop: Some(stop),
                thread: Some(thread),
                _temporary: temporary,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Interrupted),
        }
    }
}

/// Runs the sandbox on its own thread: starts it, reports the outcome through `started`, and stops
/// it when `stopped` completes.
fn run(
    state: &StateDir,
    options: &Options,
    isolation: Option<Isolation>,
    is_temporary: bool,
    report: &(dyn Fn(Event) + Send + Sync),
    started: oneshot::Sender<Result<SandboxInfo, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Components that already have a place to run need no runtime of their own.
    let place = match isolation {
        Some(isolation) => Ok((isolation, None)),
        None => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("icebox-component")
            .enable_all()
            .build()
            .map(|own| (Isolation::Here(own.handle().clone()), Some(own))),
    };
    let (runtime, (isolation, components)) = match (runtime, place) {
        (Ok(runtime), Ok(place)) => (runtime, place),
        (Err(error), _) | (_, Err(error)) => {
            let _ = started.send(Err(Error::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        let stopped = futures::FutureExt::shared(stopped);
        let interrupted = futures::FutureExt::map(stopped.clone(), drop);
        match supervisor::start(
            state,
            options,
            isolation,
            &|event| report(event),
            interrupted,
        )
        .await
        {
            Ok(running) => {
                // The caller may have gone away during the start.
                if started.send(Ok(running.info.clone())).is_ok() {
                    let _ = stopped.await;
                }
                running.stop().await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
        // Data outside the temporary directory would outlive it.
        if is_temporary && let Err(error) = supervisor::purge_outside(state).await {
            tracing::warn!(
                error = chain(&error),
                "data of the sandbox outside its directory cannot be removed"
            );
        }
    });
    if let Some(components) = components {
        components.shutdown_background();
    }
}
