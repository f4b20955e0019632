//! Processes: starting them so that they end with this one, identifying them later, and ending
//! them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Error;

/// The identity of a process. Process ids are used again, but not with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// The start time, in clock ticks since the machine's start (proc(5), `/proc/pid/stat`, field
    /// 22).
    pub start_time: u64,
}

/// The fields of `/proc/pid/stat` that are used here.
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

impl ProcessId {
    pub fn current() -> Self {
        let pid = std::process::id().cast_signed();
        Self {
            pid,
            start_time: stat(pid).map_or(0, |stat| stat.start_time),
        }
    }

    /// Returns the identity of the process that has this id now.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            pid,
            start_time: stat.start_time,
        })
    }

    /// Returns whether the process still runs. A process that has ended and waits for its parent
    /// does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && stat.state != 'Z')
    }

    /// Sends a signal if the process still runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = nix::sys::signal::kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Ends the process. Sends each signal and waits up to its time, then sends SIGKILL.
    pub async fn stop(&self, signals: &[(Signal, Duration)]) -> Result<(), Error> {
        for &(signal, patience) in signals
            .iter()
            .chain(&[(Signal::SIGKILL, Duration::from_secs(5))])
        {
            self.signal(signal);
            let begun = Instant::now();
            while begun.elapsed() < patience {
                if !self.is_alive() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Err(Error::DoesNotStop { pid: self.pid })
    }

    /// Returns the memory of the process and of its descendants, in bytes. Memory that several of
    /// them share counts once (proportional set size). `None` if the system does not tell.
    pub fn memory_bytes(&self) -> Option<u64> {
        let mut total = memory(self.pid)?;
        let mut parents = vec![self.pid];
        let all: Vec<(i32, i32)> = processes()
            .filter_map(|pid| Some((pid, stat(pid)?.parent)))
            .collect();
        while let Some(parent) = parents.pop() {
            for &(child, _) in all.iter().filter(|(_, of)| *of == parent) {
                total += memory(child).unwrap_or(0);
                parents.push(child);
            }
        }
        Some(total)
    }
}

/// Starts `command` with its output appended to `log`. The process gets `signal` when the calling
/// *thread* ends, so that thread must live as long as the sandbox.
pub fn spawn(
    mut command: Command,
    log: &Path,
    signal: Signal,
) -> Result<tokio::process::Child, Error> {
    let output = File::options()
        .append(true)
        .create(true)
        .open(log)
        .map_err(Error::file("open", log))?;
    let errors = output.try_clone().map_err(Error::file("open", log))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    end_with_this_thread(&mut command, signal);
    let program = command.get_program().to_os_string();
    tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::file("run", program))
}

/// Makes the process of `command` get `signal` when the thread that starts it ends.
pub fn end_with_this_thread(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid. They
    // run after the change of user, which would clear the death signal.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            if std::os::unix::process::parent_id() != parent {
                return Err(std::io::Error::other("the sandbox has ended"));
            }
            Ok(())
        });
    }
}

/// Returns the last lines of a log, as far as they are in its last 16 KiB.
pub fn tail(log: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let kept: Vec<&str> = text.lines().rev().take(lines).collect();
    kept.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

fn memory(pid: i32) -> Option<u64> {
    let field = |file: &str, name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
            .map(|kilobytes| kilobytes * 1024)
    };
    field("smaps_rollup", "Pss:").or_else(|| field("status", "VmRSS:"))
}
