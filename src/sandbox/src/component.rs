//! The components of a running sandbox, as data: how each is started, how its readiness is checked,
//! and how it is stopped.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use icebox_pglake::secret_sync;
use icebox_postgres as postgres;
use icebox_postgres::Endpoint;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Blocking work that is done before each start of a component.
pub type Prepare = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// Work that is done while a sandbox starts.
pub type Action =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

/// What completes when a component is asked to end.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The signals that stop one of icebox's own components.
pub const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(5))];

/// One component of a sandbox.
#[derive(Clone)]
pub struct Component {
    /// The name of the component, of its log and of its run file.
    pub name: &'static str,
    /// The address at which it is reached, as text for people.
    pub endpoint: String,
    pub launch: Launch,
    pub prepare: Option<Prepare>,
    /// The steps that must succeed, in this order, before the component counts as up.
    pub ready: Vec<Step>,
    /// The signals that end it, each with the time to wait before the next one. SIGKILL follows the
    /// last.
    pub stop: &'static [(Signal, Duration)],
}

/// The way in which a component is started.
#[derive(Clone)]
pub enum Launch {
    /// A program that runs in the foreground. Its command is built anew for each start.
    Program(Arc<dyn Fn() -> std::process::Command + Send + Sync>),
    /// A part of icebox, in a process of its own or inside this one.
    Icebox(Arc<dyn IceboxComponent>),
}

/// The place where icebox's own components run.
#[derive(Clone)]
pub enum Isolation {
    /// Each in a process of its own, which can be killed and measured.
    Processes,
    /// On a runtime inside this process.
    Here(tokio::runtime::Handle),
}

/// A part of icebox that runs on its own, with everything that it needs to know. For a process of
/// its own, this is written to a file of mode 0600. Its typetag name is its name on the command
/// line of that process.
#[async_trait]
#[typetag::serde(tag = "component")]
pub trait IceboxComponent: Send + Sync {
    /// Returns the environment variable that its process needs, if any.
    fn environment(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Runs the component until `shutdown` completes. Components that it starts itself get the same
    /// isolation.
    async fn run(&self, isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError>;
}

/// One step of a component's start.
#[derive(Clone)]
pub enum Step {
    /// A check that is repeated every few milliseconds until it succeeds.
    Probe(Probe),
    /// Work that is done once. If it fails, the start fails.
    Do(Action),
}

impl Step {
    /// Returns a step that runs `work` on a copy of `input`.
    pub fn action<I, F>(input: I, work: impl Fn(I) -> F + Send + Sync + 'static) -> Self
    where
        I: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self::Do(Arc::new(move || Box::pin(work(input.clone()))))
    }
}

/// A check whether a component answers.
#[derive(Clone)]
pub enum Probe {
    /// A statement succeeds over the connection that clients use.
    Postgres(Endpoint),
    /// The address gives any HTTP answer.
    Http(SocketAddr),
    /// The socket accepts a connection.
    UnixSocket(PathBuf),
    /// The server uses the grant in this file, see [`secret_sync`].
    Grant(PathBuf),
}

impl Probe {
    pub async fn check(&self) -> Result<(), BoxError> {
        match self {
            Self::Postgres(endpoint) => {
                postgres::connect(endpoint)
                    .await?
                    .batch_execute("SELECT 1")
                    .await?;
            }
            Self::Http(address) => {
                let mut stream = tokio::net::TcpStream::connect(address).await?;
                let request =
                    format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await?;
                let mut start = [0; 5];
                stream.read_exact(&mut start).await?;
                if &start != b"HTTP/" {
                    return Err("the answer is not HTTP".into());
                }
            }
            Self::UnixSocket(path) => {
                tokio::net::UnixStream::connect(path).await?;
            }
            Self::Grant(path) => {
                if !secret_sync::is_applied(path) {
                    return Err("the S3 secret is not set".into());
                }
            }
        }
        Ok(())
    }
}
