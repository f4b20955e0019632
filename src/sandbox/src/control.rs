//! Starts and stops a sandbox that runs in the background.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::supervisor::{self, Running};
use crate::{Error, Event, Isolation, Options, SandboxInfo, StateDir, snowflake};

/// The time a supervisor has to stop everything in order.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The outcome of [`up`].
pub enum Up {
    Started(SandboxInfo),
    AlreadyRunning(SandboxInfo),
}

/// The outcome of [`down`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    Stopped,
    WasNotRunning,
}

/// Starts the sandbox in a process of its own, and returns when it is ready. If a sandbox is
/// already running, or another `up` is starting one, it returns that one.
pub fn up(state: &StateDir, options: &Options, report: &dyn Fn(Event)) -> Result<Up, Error> {
    loop {
        // If the other `up` fails, only its user learns why. This call then tries to start the
        // sandbox.
        if let Some(info) = wait_for_other(state)? {
            return Ok(Up::AlreadyRunning(info));
        }
        match start(state, options, report) {
            Err(Error::Busy { .. }) => {
                // Another `up` was faster by a moment, or a `down` is still running.
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result.map(Up::Started),
        }
    }
}

fn start(
    state: &StateDir,
    options: &Options,
    report: &dyn Fn(Event),
) -> Result<SandboxInfo, Error> {
    state.create()?;
    let log = state.log("icebox");
    let log_file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(&log)
        .map_err(Error::file("open", &log))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("icebox")
        .arg("--state-dir")
        .arg(state.root())
        .args(["up", "--foreground", "--events"])
        .args(arguments(options))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file);
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?));
    }
    let mut child = command
        .spawn()
        .map_err(Error::file("run", "/proc/self/exe"))?;
    let events = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    for line in events.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Event::Ready) => return SandboxInfo::load(state.root()),
            Ok(Event::Failed(reason)) => {
                let _ = child.wait();
                return Err(Error::StartFailed(reason));
            }
            Ok(event) => report(event),
            Err(error) => tracing::debug!(%error, line, "not an event"),
        }
    }
    match child.wait() {
        Ok(status) if status.code() == Some(BUSY) => Err(Error::Busy {
            state_dir: state.root().to_path_buf(),
        }),
        _ => Err(Error::SupervisorGone { log }),
    }
}

/// Starts the sandbox on this thread, with a process for each component. The components end with
/// this thread.
pub async fn supervise(
    state: &StateDir,
    options: &Options,
    report: &(dyn Fn(Event) + Sync),
    interrupted: impl Future<Output = ()>,
) -> Result<Running, Error> {
    let (isolation, extend) = (Isolation::Processes, snowflake::add);
    supervisor::start(state, options, isolation, extend, report, interrupted).await
}

/// The exit code of a supervisor that found another one running (`EX_TEMPFAIL` of sysexits.h).
pub const BUSY: i32 = 75;

/// Returns the command-line arguments that set `options`.
fn arguments(options: &Options) -> Vec<std::ffi::OsString> {
    use clap::ValueEnum;
    let engine = options
        .engine
        .to_possible_value()
        .expect("every engine has a name");
    let mut arguments = vec!["--engine".into(), engine.get_name().into()];
    let mut add = |option: &str, value: Option<std::ffi::OsString>| {
        if let Some(value) = value {
            arguments.extend([option.into(), value]);
        }
    };
    add(
        "--pg-bin",
        options
            .pg_bin
            .as_ref()
            .map(|dir| dir.clone().into_os_string()),
    );
    add(
        "--pg-port",
        options.pg_port.map(|port| port.to_string().into()),
    );
    add(
        "--s3-port",
        options.s3_port.map(|port| port.to_string().into()),
    );
    add(
        "--snowflake-port",
        options.snowflake_port.map(|port| port.to_string().into()),
    );
    add(
        "--listen",
        options.listen.map(|address| address.to_string().into()),
    );
    let account = options
        .account
        .and_then(|account| account.to_possible_value());
    add(
        "--account",
        account.map(|account| account.get_name().to_owned().into()),
    );
    add(
        "--time-scale",
        options.time_scale.map(|scale| scale.to_string().into()),
    );
    add("--bucket", options.bucket.as_ref().map(Into::into));
    arguments
}

/// Waits until a sandbox that another process runs is ready. `None`: no process runs it, or none
/// does any longer.
fn wait_for_other(state: &StateDir) -> Result<Option<SandboxInfo>, Error> {
    while state.holder().is_some() {
        match SandboxInfo::load(state.root()) {
            Ok(info) => return Ok(Some(info)),
            Err(Error::NotReady { .. }) => std::thread::sleep(Duration::from_millis(10)),
            Err(Error::NotRunning { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Stops the sandbox, whatever state it is in. With `purge`, also removes everything that it kept.
pub async fn down(state: &StateDir, purge: bool) -> Result<Down, Error> {
    // A directory without a lock file is not a sandbox's.
    if !state.root().join("lock").exists() {
        return Ok(Down::WasNotRunning);
    }
    let mut found = Down::WasNotRunning;
    if let Some(holder) = state.holder() {
        let (process, state_dir) = (holder.process, state.root().to_path_buf());
        if holder.is_library {
            return Err(Error::NotOurs {
                state_dir,
                pid: process.pid,
            });
        }
        found = Down::Stopped;
        process.stop(&[(Signal::SIGTERM, STOP_TIMEOUT)]).await?;
    }
    let begun = Instant::now();
    let lock = loop {
        match state.lock(false)? {
            Some(lock) => break lock,
            None if begun.elapsed() > STOP_TIMEOUT => {
                return Err(Error::Busy {
                    state_dir: state.root().to_path_buf(),
                });
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    supervisor::stop_leftovers(state).await?;
    if purge {
        supervisor::purge(state, lock).await?;
    }
    Ok(found)
}
