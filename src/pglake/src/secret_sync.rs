//! Secret sync: keeps the S3 secret of a `pgduck_server` in line with a grant (see
//! [`storage`](super::storage)).
//!
//! A `pgduck_server` cannot assume a role itself. This module stores the credentials of the granted
//! role in its secret, and renews them before they expire. Without usable credentials it stores a
//! secret without rights.
//!
//! After each change it writes the version of the applied grant to a file beside the grant. The
//! code that changes the grant can wait for that file.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::EngineSocket;
use super::duckdb_secret::{self, Secret};
use super::storage::{GrantedCredentials, Refusal};
use icebox_aws::client::Credentials;
use icebox_base::chain;
use icebox_base::private_file::{self, Version};
use icebox_s3_client::S3Config;

/// The name of the secret in `pgduck_server`.
pub const SECRET_NAME: &str = "icebox";

/// The polling interval for a server that is reached through a local socket.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The interval at which a refused role is requested again at first. Every attempt adds a line to
/// the audit trail.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The interval after [`RETRY_LATER_AFTER`].
const RETRY_LATER: Duration = Duration::from_secs(5);
const RETRY_LATER_AFTER: Duration = Duration::from_mins(1);
/// The time limit for one statement. A statement about a secret needs only the server itself, so it
/// is fast.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running or stopped `pgduck_server`.
#[async_trait]
pub trait Server: Send + Sync {
    /// Returns a value that is different for every start of the server, or `None` while it does not
    /// run.
    ///
    /// # Errors
    /// The reason why the state of the server is unknown.
    async fn started(&self) -> Result<Option<String>, String>;

    /// Runs one statement.
    ///
    /// # Errors
    /// The message of the server or of the connection. It must not contain the statement, which
    /// holds keys.
    async fn run(&self, statement: &str) -> Result<(), String>;

    /// The polling interval for the server and its grant.
    fn poll_interval(&self) -> Duration;
}

/// The inputs of the secret sync.
pub struct Config {
    pub server: Box<dyn Server>,
    /// The S3 service as the server reaches it. Its keys are not used.
    pub s3: S3Config,
    /// The STS endpoint as this process reaches it.
    pub sts_endpoint: String,
    /// The path of the grant's file.
    pub grant: PathBuf,
    /// The file with the policies of the roles. When it changes, the role is assumed again, whether
    /// it was refused or granted before.
    pub policies: PathBuf,
}

/// Returns a secret without rights for a server whose role has not been assumed yet.
pub fn pending_secret(s3: &S3Config) -> Secret {
    let why = Refusal {
        message: "the access of this Postgres instance to object storage is being set up"
            .to_owned(),
        hint: "Try again in a moment.".to_owned(),
    };
    Secret::without_rights(s3, &why)
}

/// Whether the server's secret reflects the current grant.
pub fn is_applied(grant: &Path) -> bool {
    let Ok(record) = std::fs::read(applied_path(grant)) else {
        return false;
    };
    let applied: Option<Option<Version>> = serde_json::from_slice(&record).ok();
    applied.is_some() && applied == Version::of_file(grant).ok()
}

/// Deletes the record of the applied grant. To be called before a server starts, which has no
/// secret then.
pub fn remove_applied(grant: &Path) -> io::Result<()> {
    private_file::remove(&applied_path(grant))
}

/// The path of the file that records the version of the applied grant.
fn applied_path(grant: &Path) -> PathBuf {
    grant.with_extension("applied")
}

/// Runs the secret sync until `shutdown` completes.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let mut sync = SecretSync {
        granted: GrantedCredentials::new(
            &config.sts_endpoint,
            &config.s3.region,
            config.grant.clone(),
        )
        .renewed_on_change_of(Some(config.policies.clone())),
        config,
        applied: None,
        refused: None,
        is_server_lost: false,
    };
    tokio::select! {
        result = sync.run() => result,
        () = shutdown => Ok(()),
    }
}

struct SecretSync {
    config: Config,
    granted: GrantedCredentials,
    applied: Option<Applied>,
    /// Set while the role is refused.
    refused: Option<Refused>,
    /// Whether the last exchange with the server failed.
    is_server_lost: bool,
}

/// The state that the server has been given.
#[derive(Clone, PartialEq)]
struct Applied {
    /// Which start of the server has it, see [`Server::started`].
    server: String,
    grant: Option<Version>,
    access: Access,
}

/// The access that a secret gives. Two values are equal if the secrets give the same access.
#[derive(Clone, Debug, PartialEq)]
enum Access {
    /// Access with the credentials of this access key id.
    Key(String),
    Refused(Refusal),
}

/// When the refusals began, and when the role was last requested.
#[derive(Clone, Copy)]
struct Refused {
    since: Instant,
    asked: Instant,
    /// The version of the policies' file at the last request.
    policies: Option<Version>,
}

impl SecretSync {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.sync_once().await?;
            tokio::time::sleep(self.config.server.poll_interval()).await;
        }
    }

    async fn sync_once(&mut self) -> io::Result<()> {
        let started = with_timeout(self.config.server.started()).await;
        let Some(server) = self.log_failure(started).flatten() else {
            return Ok(());
        };
        let grant = Version::of_file(&self.config.grant)?;
        let is_as_before = |applied: &Applied| applied.server == server && applied.grant == grant;
        let is_as_before = self.applied.as_ref().is_some_and(is_as_before);
        let policies = Version::of_file(&self.config.policies)?;
        if is_as_before && !self.is_time_to_ask(policies) {
            return Ok(());
        }
        let (access, secret) = match self.granted.get().await {
            Ok(credentials) => {
                self.refused = None;
                let key = credentials.access_key_id.clone();
                (Access::Key(key), self.secret(credentials))
            }
            // STS cannot be reached. The credentials that the server has may still be valid for
            // long, so they stay.
            Err(error) if error.is_connection() && is_as_before => return Ok(()),
            Err(error) => {
                let now = Instant::now();
                let since = self
                    .refused
                    .filter(|_| is_as_before)
                    .map_or(now, |was| was.since);
                self.refused = Some(Refused {
                    since,
                    asked: now,
                    policies,
                });
                let why = Refusal::from(&error);
                let secret = Secret::without_rights(&self.config.s3, &why);
                (Access::Refused(why), secret)
            }
        };
        let wanted = Applied {
            server,
            grant,
            access,
        };
        if self.applied.as_ref() == Some(&wanted) || !self.store_secret(&secret).await {
            return Ok(());
        }
        // Only access that the server has accepted is reported, and only when it differs from the
        // last one.
        if self.applied.as_ref().map(|applied| &applied.access) != Some(&wanted.access) {
            report(&wanted.access);
        }
        self.applied = Some(wanted);
        // The grant may have been replaced meanwhile. Then this version does not match, and the
        // waiting goes on.
        private_file::replace(
            &applied_path(&self.config.grant),
            &serde_json::to_vec(&grant)?,
        )
    }

    /// Whether to request credentials now. Valid ones are requested each time, since that renews
    /// them before they expire. Refused ones wait for the retry interval or for a change of the
    /// policies.
    fn is_time_to_ask(&self, policies: Option<Version>) -> bool {
        let Some(refused) = self.refused else {
            return true;
        };
        if refused.policies != policies {
            return true;
        }
        let pause = if refused.since.elapsed() < RETRY_LATER_AFTER {
            RETRY_FIRST
        } else {
            RETRY_LATER
        };
        refused.asked.elapsed() >= pause
    }

    fn secret(&self, credentials: Credentials) -> Secret {
        let token = credentials.session_token;
        Secret {
            bucket: None,
            s3: S3Config {
                access_key_id: credentials.access_key_id,
                secret_access_key: credentials.secret_access_key.expose().to_owned(),
                session_token: token.map(|token| token.expose().to_owned()),
                ..self.config.s3.clone()
            },
        }
    }

    /// Stores the secret in the server, and returns whether the server accepted it.
    async fn store_secret(&mut self, secret: &Secret) -> bool {
        let statement = duckdb_secret::statement(SECRET_NAME, secret);
        let stored = with_timeout(self.config.server.run(&statement)).await;
        self.log_failure(stored).is_some()
    }

    /// Logs the first of several failures in a row, and returns the value of a successful answer.
    fn log_failure<T>(&mut self, answer: Result<T, String>) -> Option<T> {
        if let Err(error) = &answer
            && !self.is_server_lost
        {
            tracing::warn!(%error, "cannot update the S3 secret of pgduck_server");
        }
        self.is_server_lost = answer.is_err();
        answer.ok()
    }
}

async fn with_timeout<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(STATEMENT_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err("no answer within 10 seconds".to_owned()))
}

fn report(access: &Access) {
    match access {
        Access::Key(key) => tracing::info!(
            access_key_id = key,
            "the lake is accessed with the credentials of the role"
        ),
        Access::Refused(Refusal { message, hint }) => tracing::warn!(hint, "{message}"),
    }
}

#[async_trait]
impl Server for EngineSocket {
    /// Identifies a start by its socket file, because each start creates a new one.
    async fn started(&self) -> Result<Option<String>, String> {
        let socket = Version::of_file(&self.path()).map_err(|error| chain(&error))?;
        Ok(socket.map(|socket| format!("{socket:?}")))
    }

    async fn run(&self, statement: &str) -> Result<(), String> {
        let connected = tokio_postgres::Config::new()
            .host_path(&self.dir)
            .port(self.port)
            .user(SECRET_NAME)
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await;
        let (client, connection) = connected.map_err(|error| chain(&error))?;
        let done = async move {
            let result = client.simple_query(statement).await;
            drop(client);
            result
        };
        let (result, _) = tokio::join!(done, connection);
        result.map(|_| ()).map_err(|error| chain(&error))
    }

    fn poll_interval(&self) -> Duration {
        POLL_INTERVAL
    }
}
