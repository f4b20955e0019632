//! The parts of a running sandbox, as data: how each is started, how one knows that it answers, how it is ended.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::container::{Container, PgDuckInside};
use super::supervisor::Isolation;
use super::{aws, snowflake};
use crate::aws::{Account, Front, Iam, audit};
use crate::connections::Listeners;
use crate::objectstore::{S3Config, server};
use crate::pglake::storage::GrantedCredentials;
use crate::pglake::{EngineSocket, engine, keeper};
use crate::postgres::{self, Endpoint};
use crate::tables::LakeIo;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Work that blocks, done before each start of a component.
pub type Prepare = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// Work done while a sandbox comes up.
pub type Action =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

/// One part of a sandbox.
#[derive(Clone)]
pub struct Component {
    /// Names its log, its run file, and it to people.
    pub name: &'static str,
    /// Where it is reached, for people.
    pub endpoint: String,
    pub launch: Launch,
    pub prepare: Option<Prepare>,
    /// What must succeed, in this order, before it counts as up.
    pub ready: Vec<Step>,
    /// The signals that end it, each with the time it is given before the next, and SIGKILL after the last.
    pub stop: &'static [(Signal, Duration)],
}

/// How a component is started.
#[derive(Clone)]
pub enum Launch {
    /// A program, in the foreground; made anew for each start.
    Program(Arc<dyn Fn() -> std::process::Command + Send + Sync>),
    /// A part of icebox: in a process of its own, or inside this one.
    Icebox(IceboxComponent),
}

/// A step on the way to being up.
#[derive(Clone)]
pub enum Step {
    /// Tried again every few milliseconds until it succeeds.
    Probe(Probe),
    /// Done once; its failure is the start's failure.
    Do(Action),
}

/// How one sees that a component answers.
#[derive(Clone)]
pub enum Probe {
    /// A statement over the connection that clients use.
    Postgres(Endpoint),
    /// Any HTTP answer.
    Http(SocketAddr),
    /// The socket takes a connection.
    UnixSocket(PathBuf),
    /// The grant in this file holds, see [`keeper`].
    Grant(PathBuf),
}

impl Probe {
    pub async fn check(&self) -> Result<(), BoxError> {
        match self {
            Probe::Postgres(endpoint) => {
                postgres::connect(endpoint)
                    .await?
                    .batch_execute("SELECT 1")
                    .await?;
            }
            Probe::Http(address) => {
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
            Probe::UnixSocket(path) => {
                tokio::net::UnixStream::connect(path).await?;
            }
            Probe::Grant(path) => {
                if !keeper::is_done(path) {
                    return Err("the S3 secret is not set".into());
                }
            }
        }
        Ok(())
    }
}

/// A part of icebox that runs on its own, with everything that it needs to know. Kept in a file of mode 0600 for a
/// process that runs it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "component")]
pub enum IceboxComponent {
    /// The S3 server.
    S3 {
        root: PathBuf,
        listen: SocketAddr,
        public: Option<IpAddr>,
        region: String,
        /// The first is the user's.
        accounts: Vec<Account>,
        /// Where users, roles and policies are kept.
        iam: PathBuf,
        /// Where decisions are written down.
        audit: PathBuf,
    },
    /// IAM and STS before an S3 server that is not icebox's.
    Aws {
        listen: SocketAddr,
        public: Option<IpAddr>,
        /// That server, with its root user's keys.
        s3: Box<S3Config>,
        /// As those of [`IceboxComponent::S3`].
        accounts: Vec<Account>,
        iam: PathBuf,
        audit: PathBuf,
    },
    /// The lake engine of the engine `embedded`.
    LakeEngine {
        socket_dir: PathBuf,
        s3: Box<S3Config>,
        postgres_socket_dir: PathBuf,
        postgres_port: u16,
        postgres_user: String,
        postgres_password: String,
        /// Where the grant of its storage integration is, see [`pglake::storage`](crate::pglake::storage); `None`: it uses the keys of `s3`.
        grant: Option<PathBuf>,
    },
    /// What keeps the S3 secret of a `pgduck_server` true to a grant.
    LakeAccess {
        server: PgDuckAt,
        /// As that server reaches it, without keys.
        s3: Box<S3Config>,
        sts_endpoint: String,
        /// As that of [`IceboxComponent::LakeEngine`].
        grant: PathBuf,
        /// Where the roles' policies are, see [`keeper::Config`].
        policies: PathBuf,
    },
    /// The Snowflake side.
    Snowflake(Box<snowflake::Config>),
    /// One that watches a container.
    Container(Box<Container>),
}

/// Where a `pgduck_server` is reached.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgDuckAt {
    Socket { dir: PathBuf },
    Container(Box<PgDuckInside>),
}

impl IceboxComponent {
    /// The name of its process and its files.
    pub fn name(&self) -> &'static str {
        match self {
            IceboxComponent::S3 { .. } => "s3",
            IceboxComponent::Aws { .. } => "aws",
            IceboxComponent::LakeEngine { .. } => "lake-engine",
            IceboxComponent::LakeAccess { .. } => "lake-access",
            IceboxComponent::Snowflake(_) => "snowflake",
            IceboxComponent::Container(_) => "container",
        }
    }

    /// What its process needs in the environment.
    pub fn environment(&self) -> Option<(&'static str, String)> {
        match self {
            IceboxComponent::Container(container) => {
                Some(("DOCKER_HOST", container.daemon_address()))
            }
            IceboxComponent::S3 { .. }
            | IceboxComponent::Aws { .. }
            | IceboxComponent::LakeEngine { .. }
            | IceboxComponent::LakeAccess { .. }
            | IceboxComponent::Snowflake(_) => None,
        }
    }

    /// Runs it until `shutdown` completes; what it starts runs as it does.
    pub async fn run(
        self,
        isolation: Isolation,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        match self {
            IceboxComponent::S3 {
                root,
                listen,
                public,
                region,
                accounts,
                iam,
                audit,
            } => {
                let config = server::ServerConfig {
                    root,
                    listen,
                    public,
                    region,
                    accounts,
                    iam,
                    audit: Some(audit::Settings::new(audit)),
                };
                server::Server::bind(config).await?.run(shutdown).await?;
            }
            IceboxComponent::Aws {
                listen,
                public,
                s3,
                accounts,
                iam,
                audit,
            } => {
                let iam = Iam::before(aws::client(&s3), &iam, accounts)?;
                let audit = audit::Audit::open(audit::Settings::new(audit))?;
                let listeners = Listeners::bind(listen, public).await?;
                Front::new(iam, Some(audit), &s3.endpoint)?
                    .serve(listeners, shutdown)
                    .await;
            }
            IceboxComponent::LakeEngine {
                socket_dir,
                s3,
                postgres_socket_dir,
                postgres_port,
                postgres_user,
                postgres_password,
                grant,
            } => {
                let io = match grant {
                    None => LakeIo::s3(*s3),
                    Some(path) => {
                        let (endpoint, region) = (s3.endpoint.clone(), s3.region.clone());
                        let granted = GrantedCredentials::new(endpoint, region, path);
                        LakeIo::s3_as(*s3, Arc::new(granted))
                    }
                };
                let mut postgres = tokio_postgres::Config::new();
                postgres
                    .host_path(postgres_socket_dir)
                    .port(postgres_port)
                    .user(postgres_user)
                    .password(postgres_password);
                let config = engine::EngineConfig {
                    socket: EngineSocket::in_dir(socket_dir),
                    // PostgreSQL may run as another user; the directory keeps everyone else out.
                    socket_mode: 0o777,
                    lakes: engine::Lakes::Fixed(io),
                    postgres,
                };
                engine::serve(config, shutdown).await?;
            }
            IceboxComponent::LakeAccess {
                server,
                s3,
                sts_endpoint,
                grant,
                policies,
            } => {
                let config = keeper::Config {
                    server: match server {
                        PgDuckAt::Socket { dir } => Box::new(EngineSocket::in_dir(dir)),
                        PgDuckAt::Container(inside) => inside,
                    },
                    s3: *s3,
                    sts_endpoint,
                    grant,
                    policies,
                };
                keeper::run(config, shutdown).await?;
            }
            IceboxComponent::Snowflake(config) => config.run(isolation, shutdown).await?,
            IceboxComponent::Container(container) => {
                container.run(shutdown).await.map_err(super::Error::from)?;
            }
        }
        Ok(())
    }
}
