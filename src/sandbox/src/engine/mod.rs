//! The engines: implementations of PostgreSQL, `pg_lake` and S3, one file each.
//!
//! A new engine is a file with a [`Provider`] and a line in `engines!`. What differs between
//! engines is data in the [`Plan`] that an engine makes.

mod containers;
mod embedded;
mod local;
mod native;
mod pgduck;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::component::{BoxError, Component};
use crate::settings::Settings;
use crate::{Error, Options, SandboxInfo, SharedLake, StateDir};
use icebox_base::chain;
use icebox_postgres::configuration::AllowedClients;
use icebox_s3_client::S3Config;

/// Declares the engines in the order in which `auto` tries them.
macro_rules! engines {
    ($($(#[doc = $doc:literal])+ $engine:ident => $provider:expr,)+) => {
        /// The engine that a user asks for: an implementation of PostgreSQL, `pg_lake` and S3.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum,
        )]
        #[serde(rename_all = "lowercase")]
        pub enum Engine {
            /// The first of the other engines that works here.
            #[default]
            Auto,
            $($(#[doc = $doc])+ $engine,)+
        }

        /// The engine that a sandbox runs on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
        #[serde(rename_all = "lowercase")]
        pub enum EngineKind {
            $($(#[doc = $doc])+ $engine,)+
        }

        impl Engine {
            /// Returns the engine that was asked for by name.
            fn named(self) -> Option<EngineKind> {
                match self {
                    Self::Auto => None,
                    $(Self::$engine => Some(EngineKind::$engine),)+
                }
            }
        }

        impl From<EngineKind> for Engine {
            fn from(kind: EngineKind) -> Self {
                match kind {
                    $(EngineKind::$engine => Self::$engine,)+
                }
            }
        }

        impl EngineKind {
            /// All engines, in the order in which `auto` tries them.
            pub const ALL: &[Self] = &[$(Self::$engine,)+];

            pub fn provider(self) -> &'static dyn Provider {
                match self {
                    $(Self::$engine => &$provider,)+
                }
            }
        }
    };
}

engines! {
    /// PostgreSQL with the real `pg_lake`, and MinIO, in containers.
    Containers => containers::ContainerEngine,
    /// A PostgreSQL on this machine that has the real `pg_lake`.
    Native => native::Native,
    /// A plain PostgreSQL on this machine with icebox's stand-in for `pg_lake`.
    Embedded => embedded::Embedded,
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self).expect("every engine has a name");
        f.write_str(value.get_name())
    }
}

/// An engine that may or may not work on this machine.
#[async_trait]
pub trait Provider: Sync {
    /// Looks for what the engine needs, or says what is missing. Does not use the network and
    /// starts no server. With `is_library`, the sandbox will run inside the current program.
    fn find(&self, options: &Options, is_library: bool) -> Result<Available, Unavailable>;

    /// Removes what a stopped or killed sandbox on this engine still has outside its state
    /// directory and its processes, and with `data` also its data there.
    async fn remove_resources(&self, _state: &StateDir, _data: bool) -> Result<(), Error> {
        Ok(())
    }
}

/// The reason why an engine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The reason, as half a sentence.
    pub reason: String,
    /// The command, or the place to read, that fixes it.
    pub fix: Option<String>,
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
    pub complete: Option<Complete>,
    /// Messages for the user.
    pub notices: Vec<String>,
    /// The S3 service, with keys that own the bucket of Snowflake's native tables.
    pub snowflake_s3: S3Config,
    pub changes: ServerChanges,
}

/// The way in which a running PostgreSQL server takes changes.
#[derive(Clone, Copy)]
pub struct ServerChanges {
    /// Returns the text of its access rules: which of these clients may connect beside this
    /// superuser.
    pub access_rules: fn(&str, &AllowedClients) -> String,
    /// Whether a storage grant applies only after its secret sync. Otherwise it applies at once.
    pub has_secret_sync: bool,
}

/// The engine that a sandbox will run on.
pub struct Chosen {
    pub kind: EngineKind,
    /// The reason why this engine was chosen, in one line.
    pub reason: String,
    pub plan: MakePlan,
}

/// Chooses the engine that was asked for, or the first that works.
pub fn choose(options: &Options, is_library: bool) -> Result<Chosen, Error> {
    if let Some(kind) = options.engine.named() {
        return match kind.provider().find(options, is_library) {
            Ok(Available { reason, plan }) => Ok(Chosen {
                kind,
                reason: format!("asked for; {reason}"),
                plan,
            }),
            Err(unavailable) => Err(Error::EngineUnavailable {
                engine: kind,
                reason: unavailable.to_string(),
            }),
        };
    }
    let mut passed_over = String::new();
    for &kind in EngineKind::ALL {
        match kind.provider().find(options, is_library) {
            Ok(Available { reason, plan }) => {
                let reason = format!("auto took it: {reason}{passed_over}");
                return Ok(Chosen { kind, reason, plan });
            }
            Err(unavailable) => {
                passed_over.push_str(&format!("; {kind}: {}", unavailable.reason));
            }
        }
    }
    Err(Error::NoEngine {
        reasons: passed_over.trim_start_matches("; ").to_owned(),
    })
}

/// Removes what a stopped or killed sandbox still has outside its state directory and its
/// processes. The data stays. A failure is only logged: a caller could not fix it, and the next
/// start tries again.
pub async fn remove_leftovers(state: &StateDir) {
    if let Err(error) = remove_resources(state, false).await {
        tracing::warn!(
            error = chain(&error),
            "leftovers of the sandbox cannot be removed"
        );
    }
}

/// Removes the data that a stopped sandbox has outside its state directory.
pub async fn purge(state: &StateDir) -> Result<(), Error> {
    remove_resources(state, true).await
}

/// Asks every engine, because the sandbox may have run on another one before.
async fn remove_resources(state: &StateDir, data: bool) -> Result<(), Error> {
    for kind in EngineKind::ALL {
        kind.provider().remove_resources(state, data).await?;
    }
    Ok(())
}
