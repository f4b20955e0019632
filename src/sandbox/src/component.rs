//! The components of a running sandbox, as data: how each is started, how its readiness is checked,
//! and how it is stopped.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::container::{Container, PgDuckInContainer};
use super::supervisor::Isolation;
use super::{aws, snowflake};
use icebox_aws::{Account, Iam, MinioProxy, audit};
use icebox_base::connections::Listeners;
use icebox_pglake::storage::GrantedCredentials;
use icebox_pglake::{EngineSocket, engine, secret_sync};
use icebox_postgres as postgres;
use icebox_postgres::Endpoint;
use icebox_s3 as server;
use icebox_s3_client::S3Config;
use icebox_tables::LakeIo;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Blocking work that is done before each start of a component.
pub type Prepare = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// Work that is done while a sandbox starts.
pub type Action =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

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
    Icebox(IceboxComponent),
}

/// One step of a component's start.
#[derive(Clone)]
pub enum Step {
    /// A check that is repeated every few milliseconds until it succeeds.
    Probe(Probe),
    /// Work that is done once. If it fails, the start fails.
    Do(Action),
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

/// A part of icebox that runs on its own, with everything that it needs to know. For a process of
/// its own, this is written to a file of mode 0600.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "component")]
pub enum IceboxComponent {
    /// The S3 server.
    S3 {
        root: PathBuf,
        listen: SocketAddr,
        public: Option<IpAddr>,
        region: String,
        /// The AWS accounts; the first is the user's.
        accounts: Vec<Account>,
        /// The directory in which users, roles and policies are persisted.
        iam: PathBuf,
        /// The directory of the audit trail.
        audit: PathBuf,
    },
    /// IAM and STS in front of an S3 server that is not icebox's.
    Aws {
        listen: SocketAddr,
        public: Option<IpAddr>,
        /// The S3 server, with its root user's keys.
        s3: Box<S3Config>,
        /// The AWS accounts, as in [`IceboxComponent::S3`].
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
        /// The file with the grant of its storage integration, see
        /// [`pglake::storage`](icebox_pglake::storage). `None`: it uses the keys of `s3`.
        grant: Option<PathBuf>,
    },
    /// The secret sync, which keeps the S3 secret of a `pgduck_server` up to date with a grant.
    LakeAccess {
        server: PgDuckAddress,
        /// The S3 service as that server reaches it, without keys.
        s3: Box<S3Config>,
        sts_endpoint: String,
        /// The file with the grant, as in [`IceboxComponent::LakeEngine`].
        grant: PathBuf,
        /// The file with the roles' policies, see [`secret_sync::Config`].
        policies: PathBuf,
    },
    /// The Snowflake side.
    Snowflake(Box<snowflake::Config>),
    /// A process that watches a container.
    Container(Box<Container>),
}

/// The way to reach a `pgduck_server`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgDuckAddress {
    Socket { dir: PathBuf },
    Container(Box<PgDuckInContainer>),
}

impl IceboxComponent {
    /// Returns the component's name on the command line of its process.
    pub fn name(&self) -> &'static str {
        match self {
            Self::S3 { .. } => "s3",
            Self::Aws { .. } => "aws",
            Self::LakeEngine { .. } => "lake-engine",
            Self::LakeAccess { .. } => "lake-access",
            Self::Snowflake(_) => "snowflake",
            Self::Container(_) => "container",
        }
    }

    /// Returns the environment variable that its process needs, if any.
    pub fn environment(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Container(container) => Some(("DOCKER_HOST", container.daemon_address())),
            Self::S3 { .. }
            | Self::Aws { .. }
            | Self::LakeEngine { .. }
            | Self::LakeAccess { .. }
            | Self::Snowflake(_) => None,
        }
    }

    /// Runs the component until `shutdown` completes. Components that it starts itself get the same
    /// isolation.
    pub async fn run(
        self,
        isolation: Isolation,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        match self {
            Self::S3 {
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
            Self::Aws {
                listen,
                public,
                s3,
                accounts,
                iam,
                audit,
            } => {
                let iam = Iam::with_minio(aws::client(&s3), &iam, accounts)?;
                let audit = audit::Audit::open(audit::Settings::new(audit))?;
                let listeners = Listeners::bind(listen, public).await?;
                MinioProxy::new(iam, Some(audit), &s3.endpoint)?
                    .serve(listeners, shutdown)
                    .await;
            }
            Self::LakeEngine {
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
                        LakeIo::s3_with_credentials(*s3, Arc::new(granted))
                    }
                };
                let mut postgres = tokio_postgres::Config::new();
                postgres
                    .host_path(postgres_socket_dir)
                    .port(postgres_port)
                    .user(postgres_user)
                    .password(postgres_password);
                let config = engine::EngineConfig {
                    options: engine::options::Options {
                        unix_socket_directory: socket_dir,
                        // PostgreSQL may run as another user; the directory keeps everyone else
                        // out.
                        unix_socket_permissions: 0o777,
                        ..Default::default()
                    },
                    lakes: engine::LakeAccess::Fixed(io),
                    postgres,
                };
                engine::serve(config, shutdown).await?;
            }
            Self::LakeAccess {
                server,
                s3,
                sts_endpoint,
                grant,
                policies,
            } => {
                let config = secret_sync::Config {
                    server: match server {
                        PgDuckAddress::Socket { dir } => Box::new(EngineSocket::in_dir(dir)),
                        PgDuckAddress::Container(inside) => inside,
                    },
                    s3: *s3,
                    sts_endpoint,
                    grant,
                    policies,
                };
                secret_sync::run(config, shutdown).await?;
            }
            Self::Snowflake(config) => config.run(isolation, shutdown).await?,
            Self::Container(container) => {
                container.run(shutdown).await.map_err(super::Error::from)?;
            }
        }
        Ok(())
    }
}
