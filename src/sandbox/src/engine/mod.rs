//! The engines: implementations of PostgreSQL, `pg_lake` and S3, one file each.

mod containers;
mod embedded;
mod local;
mod native;
mod pgduck;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::component::{BoxError, Component};
use super::container::Resources;
use super::settings::Settings;
use super::{Engine, EngineKind, Error, Options, SandboxInfo, SharedLake, StateDir};
use icebox_base::chain;

/// An engine that may or may not work on this machine.
pub trait Provider: Sync {
    fn kind(&self) -> EngineKind;

    /// Looks for what the engine needs, or says what is missing. Does not use the network and
    /// starts no server. With `is_library`, the sandbox will run inside the current program.
    fn find(&self, options: &Options, is_library: bool) -> Result<Available, Unavailable>;
}

/// The reason why an engine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The reason, as half a sentence.
    pub reason: String,
    /// The command, or the place to read, that fixes it.
    pub fix: Option<String>,
}

impl From<String> for Unavailable {
    fn from(reason: String) -> Self {
        Self { reason, fix: None }
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.fix {
            Some(fix) => write!(f, "{}; to get it: {fix}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The name of icebox's own superuser, as whom the lake engine asks what has been committed.
pub const SUPERUSER: &str = "icebox_lake";

/// A function that makes the plan of a sandbox. It blocks, but only for files and short commands.
type MakePlan = Box<dyn FnOnce(&Context<'_>) -> Result<Plan, Error> + Send>;

/// An engine that works here.
pub struct Available {
    /// The thing that was found, as half a sentence.
    pub reason: String,
    pub plan: MakePlan,
}

/// The input from which an engine makes its plan.
pub struct Context<'a> {
    pub state: &'a StateDir,
    pub settings: &'a Settings,
    /// The lake of another sandbox, if this is a server on it.
    pub shared_lake: Option<&'a SharedLake>,
    pub engine: EngineKind,
    pub reason: &'a str,
}

/// A function that completes a `SandboxInfo` by asking the running server.
pub type Complete = Arc<
    dyn Fn(SandboxInfo) -> Pin<Box<dyn Future<Output = Result<SandboxInfo, BoxError>> + Send>>
        + Send
        + Sync,
>;

/// A sandbox that is ready to be started.
pub struct Plan {
    /// The components in the order in which they are stopped. They start together.
    pub components: Vec<Component>,
    pub info: SandboxInfo,
    /// Called once everything is up, if part of `info` cannot be known before.
    pub ask: Option<Complete>,
    /// Messages for the user.
    pub notices: Vec<String>,
}

/// The engine that a sandbox will run on.
pub struct Chosen {
    pub kind: EngineKind,
    /// The reason why this engine was chosen, in one line.
    pub reason: String,
    pub plan: MakePlan,
}

/// All engines, in the order in which `auto` tries them.
pub const PROVIDERS: [&dyn Provider; 3] = [
    &containers::Containers,
    &native::Native,
    &embedded::Embedded,
];

/// Chooses the engine that was asked for, or the first that works.
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
            Ok(Available { reason, plan }) => {
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

/// Removes the containers and the network that a stopped or killed sandbox still has outside its
/// state directory and its processes. The data stays. A failure is only logged: a caller could not
/// fix it, and the next start tries again.
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
    match Resources::recorded(state)? {
        Some(resources) => Ok(resources.remove(data).await?),
        None => Ok(()),
    }
}
