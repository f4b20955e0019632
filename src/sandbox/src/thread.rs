//! A sandbox on a thread of its own inside the current program.
//!
//! The system ends a component together with the thread that started it, so the sandbox needs a
//! thread that lives as long as it does.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::component::Isolation;
use crate::engine::ServerChanges;
use crate::supervisor::{self, Extend};
use crate::{Error, Event, Options, SandboxInfo, StateDir};
use icebox_base::chain;

/// The number of worker threads for icebox's own components when they run inside the program.
const WORKERS: usize = 2;

/// A function that is called for every event of a sandbox's start.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// A sandbox to start.
pub struct Start {
    pub state: StateDir,
    pub options: Options,
    /// The place where the sandbox's components run; by default, a runtime made for them.
    pub isolation: Option<Isolation>,
    pub extend: Extend,
    pub report: Report,
    /// Whether its data outside the state directory is removed once it has stopped.
    pub is_temporary: bool,
}

/// A running sandbox. Dropping the value stops everything that was started, and waits until all of
/// it has ended.
pub struct SandboxThread {
    info: SandboxInfo,
    changes: ServerChanges,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Start {
    /// Starts the sandbox, and returns when every component answers.
    pub async fn run(self) -> Result<SandboxThread, Error> {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("icebox-sandbox".to_owned())
            .spawn(move || self.supervise(started, stopped))
            .map_err(Error::Thread)?;
        let (info, changes) = start.await.unwrap_or(Err(Error::Interrupted))?;
        Ok(SandboxThread {
            info,
            changes,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Starts the sandbox on this thread, reports the outcome through `started`, and stops it when
    /// `stopped` completes.
    fn supervise(
        self,
        started: oneshot::Sender<Result<(SandboxInfo, ServerChanges), Error>>,
        stopped: oneshot::Receiver<()>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // Components that already have a place to run need no runtime of their own.
        let place = match self.isolation {
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
            let report = |event| (self.report)(event);
            let running = supervisor::start(
                &self.state,
                &self.options,
                isolation,
                self.extend,
                &report,
                interrupted,
            );
            match running.await {
                Ok(running) => {
                    // The caller may have gone away during the start.
                    let outcome = Ok((running.info.clone(), running.changes));
                    if started.send(outcome).is_ok() {
                        let _ = stopped.await;
                    }
                    running.stop().await;
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
            if self.is_temporary
                && let Err(error) = supervisor::purge_outside(&self.state).await
            {
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
}

impl SandboxThread {
    pub fn info(&self) -> &SandboxInfo {
        &self.info
    }

    /// Returns how the sandbox's server takes changes.
    pub fn changes(&self) -> ServerChanges {
        self.changes
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

impl Drop for SandboxThread {
    fn drop(&mut self) {
        self.end();
    }
}
