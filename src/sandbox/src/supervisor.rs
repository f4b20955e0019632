//! The supervisor, which starts the components of a sandbox, keeps them up, and stops them.
//!
//! Everything here runs on one thread that lives as long as the sandbox. The system ends a
//! component together with the thread that started it, so nothing is left when a sandbox is killed.
//! If something is left all the same, the next start finds it through the run files.

use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::component::{BoxError, Component, IceboxComponent, Isolation, Launch, Step};
use crate::engine::{self, Context, Plan, ServerChanges};
use crate::process::{self, ProcessId};
use crate::settings::{Ports, Settings};
use crate::state::StateLock;
use crate::{Error, Event, Options, SandboxInfo, StateDir};
use icebox_base::chain;

/// The time between two checks of something that is starting.
const POLL: Duration = Duration::from_millis(4);
/// The time limit of the start of all components. A first start on a slow disk takes seconds.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// The shortest and the longest wait before a component that ended is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A component that ran this long is started again after the shortest wait.
const STEADY: Duration = Duration::from_secs(10);

/// The content of a run file: what is known about one component, for other processes to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunFile {
    /// The component's process, or the supervisor's if the component runs inside it.
    pub process: ProcessId,
    pub endpoint: String,
    /// The number of times that the component was started again since the start of the sandbox.
    pub restarts: u32,
    /// Whether the process is the component's own.
    pub is_separate: bool,
}

/// A function that adds components to the plan of an engine.
pub type Extend = fn(&mut Plan, &Context<'_>, &Options);

/// A sandbox that is up.
pub struct Running {
    pub info: SandboxInfo,
    pub(crate) changes: ServerChanges,
    state: StateDir,
    components: Vec<Supervision>,
    _ports: Ports,
    /// The lock, which is released last.
    _lock: StateLock,
}

/// A component and the task that keeps it up.
struct Supervision {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// The message that a component has ended or could not be started.
struct Ended {
    component: &'static str,
    reason: String,
}

/// Starts a sandbox. Returns when every component answers; after an error, everything has been
/// stopped again. Must run on the thread that will live as long as the sandbox, on a runtime of
/// that thread.
pub async fn start(
    state: &StateDir,
    options: &Options,
    isolation: Isolation,
    extend: Extend,
    report: &(dyn Fn(Event) + Sync),
    interrupted: impl Future<Output = ()>,
) -> Result<Running, Error> {
    state.create()?;
    let is_library = matches!(isolation, Isolation::Here(_));
    let busy = || Error::Busy {
        state_dir: state.root().to_path_buf(),
    };
    let lock = state.lock(is_library)?.ok_or_else(busy)?;
    stop_leftovers(state).await?;

    let chosen = engine::choose(options, is_library)?;
    report(Event::Engine {
        engine: chosen.kind,
        reason: chosen.reason.clone(),
    });
    let (settings, ports) = Settings::load(state, options)?;
    let context = Context {
        state,
        settings: &settings,
        shared_lake: options.shared_lake.as_ref(),
        engine: chosen.kind,
        reason: &chosen.reason,
    };
    let mut plan = (chosen.plan)(&context)?;
    extend(&mut plan, &context, options);
    plan.notices
        .into_iter()
        .for_each(|notice| report(Event::Notice(notice)));

    let (ended_sender, mut ended) = mpsc::unbounded_channel();
    let mut components = Vec::new();
    for component in &plan.components {
        report(Event::Starting {
            component: component.name.to_owned(),
        });
        let stop = CancellationToken::new();
        let supervised = ComponentTask {
            component: component.clone(),
            state: state.clone(),
            isolation: isolation.clone(),
            restarts: 0,
        };
        let task = tokio::spawn(supervised.run(stop.clone(), ended_sender.clone()));
        components.push(Supervision { stop, task });
    }
    let mut running = Running {
        info: plan.info,
        changes: plan.changes,
        state: state.clone(),
        components,
        _ports: ports,
        _lock: lock,
    };
    let all_up = try_join_all(
        plan.components
            .iter()
            .map(|component| wait_until_up(component, report)),
    );
    let complete = plan.complete;
    let completed = async {
        all_up.await?;
        match complete {
            Some(complete) => complete(running.info.clone())
                .await
                .map_err(|source| Error::NotUp {
                    component: "postgres",
                    source,
                }),
            None => Ok(running.info.clone()),
        }
    };
    let result = tokio::select! {
        result = completed => result,
        Some(Ended { component, reason }) = ended.recv() => {
            let log = state.log(component);
            let tail = process::tail(&log, 20);
            Err(Error::ComponentFailed { component, reason, log, tail })
        }
        () = tokio::time::sleep(START_TIMEOUT) => Err(Error::StartTimeout {
            patience: START_TIMEOUT,
            log_dir: state.log_dir(),
        }),
        () = interrupted => Err(Error::Interrupted),
    };
    let result = result.and_then(|info| {
        state
            .write_json(&SandboxInfo::path(state.root()), &info)
            .map(|()| info)
    });
    match result {
        Ok(info) => {
            running.info = info;
            // From now on a component that ends is restarted, and no one waits for this message.
            drop(ended);
            report(Event::Ready);
            Ok(running)
        }
        Err(error) => {
            running.stop().await;
            Err(error)
        }
    }
}

/// Ends what an earlier supervisor of this directory left behind. The caller holds the lock.
pub async fn stop_leftovers(state: &StateDir) -> Result<(), Error> {
    let _ = std::fs::remove_file(SandboxInfo::path(state.root()));
    for entry in std::fs::read_dir(state.run_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        // An unreadable run file was being written when the power failed. No process belongs to it.
        if let Ok(Some(run)) = state.read_json::<RunFile>(&entry.path())
            && run.is_separate
            && run.process.is_alive()
        {
            tracing::warn!(pid = run.process.pid, file = ?entry.path(), "stopping what an earlier sandbox left behind");
            let patience = Duration::from_secs(5);
            run.process
                .stop(&[(Signal::SIGINT, patience), (Signal::SIGTERM, patience)])
                .await?;
        }
        let _ = std::fs::remove_file(entry.path());
    }
    for (_, instance) in state.instances() {
        Box::pin(stop_leftovers(&instance)).await?;
    }
    engine::remove_leftovers(state).await;
    Ok(())
}

/// Removes everything of a sandbox that no process runs.
pub async fn remove(state: &StateDir) -> Result<(), Error> {
    if !state.root().exists() {
        return Ok(());
    }
    let busy = || Error::Busy {
        state_dir: state.root().to_path_buf(),
    };
    let lock = state.lock(false)?.ok_or_else(busy)?;
    stop_leftovers(state).await?;
    purge(state, lock).await
}

/// Removes everything of a sandbox that has no leftovers. The caller holds the lock.
pub async fn purge(state: &StateDir, lock: StateLock) -> Result<(), Error> {
    purge_outside(state).await?;
    state.purge(lock)
}

/// Removes what a stopped sandbox and its PostgreSQL instances have outside the state directory.
/// Continues after an error, and returns the first one.
pub async fn purge_outside(state: &StateDir) -> Result<(), Error> {
    let mut result = Ok(());
    for (_, instance) in state.instances() {
        result = result.and(Box::pin(remove(&instance)).await);
    }
    result.and(engine::purge(state).await)
}

impl Running {
    /// Stops all components, in order.
    pub async fn stop(self) {
        let _ = std::fs::remove_file(SandboxInfo::path(self.state.root()));
        for component in self.components {
            component.stop.cancel();
            if let Err(error) = component.task.await {
                tracing::error!(%error, "the task that supervises a component failed");
            }
        }
        engine::remove_leftovers(&self.state).await;
    }
}

async fn wait_until_up(
    component: &Component,
    report: &(dyn Fn(Event) + Sync),
) -> Result<(), Error> {
    let begun = Instant::now();
    for step in &component.ready {
        match step {
            Step::Probe(probe) => {
                while let Err(error) = probe.check().await {
                    tracing::trace!(component = component.name, %error, "not up yet");
                    tokio::time::sleep(POLL).await;
                }
            }
            Step::Do(action) => {
                let failed = |source| Error::NotUp {
                    component: component.name,
                    source,
                };
                action().await.map_err(failed)?;
            }
        }
    }
    let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    report(Event::Up {
        component: component.name.to_owned(),
        endpoint: component.endpoint.clone(),
        milliseconds,
    });
    Ok(())
}

/// The task that keeps one component up.
struct ComponentTask {
    component: Component,
    state: StateDir,
    isolation: Isolation,
    restarts: u32,
}

/// A running component.
enum RunningComponent {
    Process(tokio::process::Child),
    Here {
        stop: CancellationToken,
        task: tokio::task::JoinHandle<Result<(), BoxError>>,
    },
}

impl ComponentTask {
    async fn run(mut self, stop: CancellationToken, ended: mpsc::UnboundedSender<Ended>) {
        let name = self.component.name;
        let mut backoff = BACKOFF.0;
        loop {
            let started = Instant::now();
            let reason = match self.launch().await {
                Ok(mut running) => {
                    tokio::select! {
                        reason = running.wait() => reason,
                        () = stop.cancelled() => {
                            running.stop(self.component.stop).await;
                            let _ = std::fs::remove_file(self.run_file());
                            return;
                        }
                    }
                }
                Err(error) => chain(&error),
            };
            tracing::warn!(component = name, %reason, "ended, starting it again");
            let _ = ended.send(Ended {
                component: name,
                reason,
            });
            backoff = if started.elapsed() > STEADY {
                BACKOFF.0
            } else {
                (backoff * 2).min(BACKOFF.1)
            };
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = stop.cancelled() => return,
            }
            self.restarts += 1;
        }
    }

    async fn launch(&self) -> Result<RunningComponent, Error> {
        let component = &self.component;
        if let Some(prepare) = component.prepare.clone() {
            let done = tokio::task::spawn_blocking(move || prepare()).await;
            let result = done.unwrap_or_else(|error| Err(error.into()));
            result.map_err(|source| Error::NotUp {
                component: component.name,
                source,
            })?;
        }
        let log = self.state.log(component.name);
        let death_signal = component.stop[0].0;
        let running = match (&component.launch, &self.isolation) {
            (Launch::Program(command), _) => {
                RunningComponent::Process(process::spawn(command(), &log, death_signal)?)
            }
            (Launch::Icebox(component), Isolation::Processes) => {
                let config = self.state.component_config(self.component.name);
                self.state.write_json(&config, &&**component)?;
                // The path of the running program, which is valid even if its file was replaced by
                // a newer build.
                let mut command = std::process::Command::new("/proc/self/exe");
                command
                    .arg0("icebox")
                    .args(["component", component.typetag_name(), "--config"])
                    .arg(config)
                    .envs(component.environment());
                RunningComponent::Process(process::spawn(command, &log, death_signal)?)
            }
            (Launch::Icebox(component), Isolation::Here(runtime)) => {
                RunningComponent::here(component.clone(), runtime)
            }
        };
        let process = match &running {
            // A process that has already ended is noticed by `wait`.
            RunningComponent::Process(child) => {
                child.id().and_then(|pid| ProcessId::of(pid.cast_signed()))
            }
            RunningComponent::Here { .. } => Some(ProcessId::current()),
        };
        if let Some(process) = process {
            let is_separate = matches!(running, RunningComponent::Process(_));
            let endpoint = component.endpoint.clone();
            let run = RunFile {
                process,
                endpoint,
                restarts: self.restarts,
                is_separate,
            };
            self.state.write_json(&self.run_file(), &run)?;
        }
        Ok(running)
    }

    fn run_file(&self) -> std::path::PathBuf {
        self.state
            .run_dir()
            .join(format!("{}.json", self.component.name))
    }
}

impl RunningComponent {
    fn here(component: Arc<dyn IceboxComponent>, runtime: &tokio::runtime::Handle) -> Self {
        let stop = CancellationToken::new();
        let isolation = Isolation::Here(runtime.clone());
        let shutdown = Box::pin(stop.clone().cancelled_owned());
        let task = runtime.spawn(async move { component.run(isolation, shutdown).await });
        Self::Here { stop, task }
    }

    /// Waits until the component ends by itself, and returns the reason.
    async fn wait(&mut self) -> String {
        match self {
            Self::Process(child) => match child.wait().await {
                Ok(status) => format!("it ended with {status}"),
                Err(error) => error.to_string(),
            },
            Self::Here { task, .. } => match task.await {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => chain(error.as_ref()),
                Err(error) => error.to_string(),
            },
        }
    }

    async fn stop(self, signals: &[(Signal, Duration)]) {
        match self {
            Self::Process(mut child) => {
                for &(signal, patience) in signals {
                    if let Some(process) =
                        child.id().and_then(|pid| ProcessId::of(pid.cast_signed()))
                    {
                        process.signal(signal);
                    }
                    if tokio::time::timeout(patience, child.wait()).await.is_ok() {
                        return;
                    }
                }
                let _ = child.kill().await;
            }
            Self::Here { stop, task } => {
                stop.cancel();
                let abort = task.abort_handle();
                let patience = signals.first().map_or(STEADY, |(_, patience)| *patience);
                if tokio::time::timeout(patience, task).await.is_err() {
                    abort.abort();
                }
            }
        }
    }
}
