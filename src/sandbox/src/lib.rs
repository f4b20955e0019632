//! One sandbox: its state directory, its processes, and how to reach them.
//!
//! From Rust, [`Sandbox::builder`] starts a sandbox inside the current process, with PostgreSQL
//! beside it. The command `icebox up` runs the same code in a background process, the supervisor,
//! and gives every component a process of its own.

pub mod aws;
mod builder;
mod component;
mod container;
pub mod control;
pub mod doctor;
mod engine;
mod network;
pub mod process;
pub mod services;
mod settings;
mod snowflake;
mod state;
pub mod status;
mod supervisor;
mod thread;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use aws::AccountState;
use icebox_postgres::Endpoint;
use icebox_postgres::configuration::AllowedClients;
use icebox_rest::client::{Client, ClientError};
use icebox_s3_client::S3Config;
use icebox_schedule::TimeScale;

pub use builder::{Sandbox, SandboxBuilder};
pub use component::{IceboxComponent, Isolation};
pub use engine::{Engine, EngineKind};
pub use state::StateDir;

/// The two sides of the lakehouse, on which statements run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    #[default]
    Postgres,
    Snowflake,
}

/// The options of a sandbox's start. What they leave open is chosen at the first start and kept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub engine: Engine,
    /// The directory of PostgreSQL's server programs.
    pub pg_bin: Option<PathBuf>,
    /// PostgreSQL's port on 127.0.0.1; by default the last one, at first 5432 if it is free.
    pub pg_port: Option<u16>,
    /// The S3 server's port on 127.0.0.1.
    pub s3_port: Option<u16>,
    /// The port on 127.0.0.1 of the endpoint that Snowflake's drivers connect to.
    pub snowflake_port: Option<u16>,
    /// An address of this machine at which the servers listen for other machines, besides
    /// 127.0.0.1; 0.0.0.0 means all addresses.
    pub listen: Option<Ipv4Addr>,
    /// The bucket to create.
    pub bucket: Option<String>,
    /// The initial content of the AWS account; by default as before.
    pub account: Option<AccountState>,
    /// The factor by which the schedules of the Snowflake side run faster than real time; by
    /// default as before.
    pub time_scale: Option<TimeScale>,
    /// The lake of another sandbox, if this is a PostgreSQL server on it.
    pub shared_lake: Option<SharedLake>,
}

/// The lake of another sandbox, as a PostgreSQL server on it needs to know it.
#[derive(Clone, Debug)]
pub struct SharedLake {
    /// The state directory of the sandbox that owns the lake.
    pub lake: PathBuf,
    /// The S3 service, without keys.
    pub s3: S3Config,
    pub bucket: String,
    /// The clients that may connect.
    pub clients: AllowedClients,
    /// The file with the grant of the server's storage integration, see
    /// [`pglake::storage`](icebox_pglake::storage). This grant is the server's only access to the
    /// lake.
    pub grant: PathBuf,
}

/// The endpoints and passwords of a running sandbox; kept in the state directory with mode 0600.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxInfo {
    pub engine: EngineKind,
    /// The reason why this engine was chosen, in one line.
    pub engine_reason: String,
    /// The endpoint of the administrator, `snowflake_admin`.
    pub postgres: Endpoint,
    /// The password of the role `application`.
    pub application_password: String,
    /// The password of icebox's own superuser.
    pub superuser_password: String,
    /// The version of PostgreSQL, for example `15.18`.
    pub postgres_version: String,
    /// Whether `CREATE EXTENSION pg_cron` works.
    pub has_pg_cron: bool,
    pub s3: S3Config,
    /// The bucket created for the sandbox.
    pub bucket: String,
    /// The role through which the Snowflake side and PostgreSQL instances reach the bucket; `None`
    /// if the account was empty at first.
    pub role_arn: Option<String>,
    /// The endpoint of the Snowflake side; `None` for a server on the lake of another sandbox.
    pub snowflake: Option<SnowflakeInfo>,
    pub state_dir: PathBuf,
}

/// The endpoint and the login of Snowflake's drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnowflakeInfo {
    pub address: SocketAddr,
    pub account: String,
    pub user: String,
    pub password: String,
    /// The database with the tables of the sandbox's own server. It exists if the account was ready
    /// at first.
    pub database: String,
}

impl SnowflakeInfo {
    /// Logs in. The session uses `database` if it is given.
    pub async fn connect(&self, database: Option<&str>) -> Result<Client, ClientError> {
        let (account, user) = (&self.account, &self.user);
        Client::connect(self.address, account, user, &self.password, database).await
    }
}

impl SandboxInfo {
    /// Returns the path of its file in the state directory.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("sandbox.json")
    }

    /// Reads how to reach the sandbox in `state_dir`. It is an error if that sandbox is not up and
    /// ready.
    pub fn load(state_dir: &Path) -> Result<Self, Error> {
        let state = StateDir::new(state_dir)?;
        if state.holder().is_none() {
            return Err(Error::NotRunning {
                state_dir: state.root().to_path_buf(),
            });
        }
        match state.read_json(&Self::path(state.root()))? {
            Some(info) => Ok(info),
            None => Err(Error::NotReady {
                state_dir: state.root().to_path_buf(),
            }),
        }
    }

    /// Returns the S3 server's port; 0 if its endpoint names none.
    pub fn s3_port(&self) -> u16 {
        let port = self.s3.endpoint.rsplit(':').next();
        port.and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Returns the endpoint of icebox's own superuser.
    pub(crate) fn superuser(&self) -> Endpoint {
        Endpoint {
            user: engine::SUPERUSER.to_owned(),
            password: self.superuser_password.clone(),
            ..self.postgres.clone()
        }
    }

    /// Returns the endpoint of the role `application`, an ordinary user.
    pub fn application(&self) -> Endpoint {
        Endpoint {
            user: "application".to_owned(),
            password: self.application_password.clone(),
            ..self.postgres.clone()
        }
    }
}

/// An event of a sandbox's start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The engine was chosen, for this reason.
    Engine { engine: EngineKind, reason: String },
    /// A message for the user that is not a failure.
    Notice(String),
    /// A component is being started.
    Starting { component: String },
    /// A component answers, this many milliseconds after the wait for it began.
    Up {
        component: String,
        endpoint: String,
        milliseconds: u64,
    },
    /// Every component answers.
    Ready,
    /// The start has failed; everything that was started has been stopped.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no sandbox is running in {state_dir}; start one with `icebox up`")]
    NotRunning { state_dir: PathBuf },
    #[error("the sandbox in {state_dir} is still starting; see `icebox status`")]
    NotReady { state_dir: PathBuf },
    #[error("another process is using {state_dir}; wait for it, or see `icebox status`")]
    Busy { state_dir: PathBuf },
    #[error("the sandbox in {state_dir} belongs to process {pid}, which stops it when it ends")]
    NotOurs { state_dir: PathBuf, pid: i32 },
    #[error("process {pid} did not end after SIGKILL")]
    DoesNotStop { pid: i32 },
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has unexpected content; `icebox down --purge` starts over (its data is lost)")]
    BadFile {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "the engine `{engine}` cannot be used: {reason}; `--engine auto` takes the best one that can"
    )]
    EngineUnavailable { engine: EngineKind, reason: String },
    #[error("no engine can be used here ({reasons}); `icebox doctor` shows what is missing")]
    NoEngine { reasons: String },
    #[error(
        "port {port} on 127.0.0.1 is in use; choose another with {option}, or leave the option out to get a free one"
    )]
    PortInUse { port: u16, option: &'static str },
    #[error(
        "`{name}` is not a bucket name: it needs 3 to 63 characters of a-z, 0-9, `.` and `-`, and a letter \
         or digit at both ends"
    )]
    BucketName { name: String },
    #[error("cannot get a free port on {address}")]
    NoPort {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{component} did not start: {reason}; its log ({log}) ends with:\n{tail}")]
    ComponentFailed {
        component: &'static str,
        reason: String,
        log: PathBuf,
        tail: String,
    },
    #[error("{component} is not ready")]
    NotUp {
        component: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "the sandbox did not answer within {patience:?}; what it waited for is in the logs in {log_dir}"
    )]
    StartTimeout {
        patience: std::time::Duration,
        log_dir: PathBuf,
    },
    #[error("the start was interrupted")]
    Interrupted,
    #[error("the sandbox ended unexpectedly; see {log}")]
    SupervisorGone { log: PathBuf },
    /// The reason that the supervisor reported.
    #[error("{0}")]
    StartFailed(String),
    #[error("cannot set up PostgreSQL")]
    Postgres(#[from] icebox_postgres::Error),
    #[error(
        "the data of {state_dir} is in volumes of the container engine at {recorded_socket}, created \
         for the directory {recorded_dir}; use that directory and engine again, or start over with \
         `icebox down --purge`"
    )]
    DataElsewhere {
        state_dir: PathBuf,
        recorded_dir: PathBuf,
        recorded_socket: PathBuf,
    },
    #[error("{}", .0.with_fix())]
    Container(#[from] container::Error),
    #[error("cannot start the sandbox's thread")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// Returns a function for `map_err` on a file operation. `action` completes the sentence
    /// "cannot … <path>".
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
