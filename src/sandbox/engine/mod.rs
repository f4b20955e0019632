//! The engines: what plays PostgreSQL, `pg_lake` and S3. One file each; nothing else knows which one is running.

mod containers;
mod embedded;
mod local;
mod native;
mod pgduck;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::component::{BoxError, Component};
use super::container::Belongings;
use super::settings::Settings;
use super::{Attached, Engine, EngineKind, Error, Options, SandboxInfo, StateDir, chain};

/// An engine, as something that may or may not work on this machine.
pub trait Provider: Sync {
    fn kind(&self) -> EngineKind;

    /// Looks for what the engine needs, without a network and without starting anything; or says what is missing.
    /// `is_library`: the sandbox will run inside the current program.
    fn find(&self, options: &Options, is_library: bool) -> Result<Found, Missing>;
}

/// Why an engine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Half a sentence.
    pub reason: String,
    /// The command, or the place to read, that changes that.
    pub fix: Option<String>,
}

impl From<String> for Missing {
    fn from(reason: String) -> Missing {
        Missing { reason, fix: None }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.fix {
            Some(fix) => write!(f, "{}; to get it: {fix}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// icebox's own superuser: the lake engine asks it what has been committed.
pub const SUPERUSER: &str = "icebox_lake";

/// What makes the components of a sandbox; blocks, but only for files and short commands.
type MakePlan = Box<dyn FnOnce(&Context<'_>) -> Result<Plan, Error> + Send>;

/// An engine that works here.
pub struct Found {
    /// Half a sentence: what it was found on.
    pub reason: String,
    pub plan: MakePlan,
}

/// What an engine builds on.
pub struct Context<'a> {
    pub state: &'a StateDir,
    pub settings: &'a Settings,
    /// What it needs to know of another sandbox, if it is a server on the lake of that one.
    pub attached: Option<&'a Attached>,
    pub engine: EngineKind,
    pub reason: &'a str,
}

/// Completes what is told about a sandbox by asking its server.
pub type Ask = Arc<
    dyn Fn(SandboxInfo) -> Pin<Box<dyn Future<Output = Result<SandboxInfo, BoxError>> + Send>>
        + Send
        + Sync,
>;

/// A sandbox that only needs to be started.
pub struct Plan {
    /// In the order in which they are stopped; they start together.
    pub components: Vec<Component>,
    pub info: SandboxInfo,
    /// Asked once everything is up, where something of `info` cannot be known before.
    pub ask: Option<Ask>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// The engine that a sandbox will run on.
pub struct Chosen {
    pub kind: EngineKind,
    /// One line: why this one.
    pub reason: String,
    pub plan: MakePlan,
}

/// All engines, in the order in which `auto` tries them.
pub const PROVIDERS: [&dyn Provider; 3] = [
    &containers::Containers,
    &native::Native,
    &embedded::Embedded,
];

/// Takes the engine that was asked for, or the first that works.
pub fn choose(options: &Options, is_library: bool) -> Result<Chosen, Error> {
    let wanted = match options.engine {
        Engine::Auto => None,
        Engine::Containers => Some(EngineKind::Containers),
        Engine::Native => Some(EngineKind::Native),
        Engine::Embedded => Some(EngineKind::Embedded),
    };
    let mut passed_over = Vec::new();
    for provider in PROVIDERS {
        let kind = provider.kind();
        if wanted.is_some_and(|wanted| wanted != kind) {
            continue;
        }
        match provider.find(options, is_library) {
            Ok(Found { reason, plan }) => {
                let reason = match wanted {
                    Some(_) => format!("asked for; {reason}"),
                    None if passed_over.is_empty() => format!("auto took it: {reason}"),
                    None => format!("auto took it: {reason}; {}", passed_over.join("; ")),
                };
                return Ok(Chosen { kind, reason, plan });
            }
            Err(missing) if wanted.is_some() => {
                return Err(Error::EngineUnavailable {
                    engine: kind,
                    reason: missing.to_string(),
                });
            }
            Err(missing) => passed_over.push(format!("{kind}: {}", missing.reason)),
        }
    }
    Err(Error::NoEngine {
        reasons: passed_over.join("; "),
    })
}

/// Removes what a stopped sandbox, or one that was killed, still has outside its state directory and its processes. The
/// data stays. A failure is logged: there is nothing that a caller could do, and the next start tries again.
pub async fn remove_leftovers(state: &StateDir) {
    if let Err(error) = remove_belongings(state, false).await {
        tracing::warn!(
            error = chain(&error),
            "leftovers of the sandbox cannot be removed"
        );
    }
}

/// Removes the data that a stopped sandbox has outside its state directory.
pub async fn purge(state: &StateDir) -> Result<(), Error> {
    remove_belongings(state, true).await
}

async fn remove_belongings(state: &StateDir, data: bool) -> Result<(), Error> {
    match Belongings::recorded(state)? {
        Some(belongings) => Ok(belongings.remove(data).await?),
        None => Ok(()),
    }
}
