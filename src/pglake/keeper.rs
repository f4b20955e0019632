//! Keeps the S3 secret of a `pgduck_server` true to a grant (see [`storage`](super::storage)), which it knows nothing of itself: puts the
//! credentials of the granted role there, new ones before those end, and one without rights where there are none.
//!
//! What it has done stands in a file beside the grant, so that whoever changes the grant can wait until that holds.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::EngineSocket;
use super::secret::{self, Secret};
use super::storage::{GrantedCredentials, Refusal};
use crate::aws::client::Credentials;
use crate::chain;
use crate::objectstore::S3Config;
use crate::private_file::{self, Version};

/// The secret's name.
pub const SECRET: &str = "icebox";

/// Between two looks at a server whose socket is at hand.
const LOOK: Duration = Duration::from_millis(50);
/// How often a role is asked for that is refused, and how often once it has been for [`A_WHILE`]: each is a line in the audit trail.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
const A_WHILE: Duration = Duration::from_secs(60);
/// For a statement about a secret, which needs nothing but the server itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A `pgduck_server`.
#[async_trait]
pub trait Server: Send + Sync {
    /// Tells one start of it from any other; `None` while it does not run.
    ///
    /// # Errors
    /// That cannot be found out.
    async fn started(&self) -> Result<Option<String>, String>;

    /// Runs one statement.
    ///
    /// # Errors
    /// What the server, or the way to it, says. Not the statement, which has keys in it.
    async fn run(&self, statement: &str) -> Result<(), String>;

    /// How long to wait between two looks at it and its grant.
    fn look_every(&self) -> Duration;
}

/// What a keeper needs to know.
pub struct Config {
    pub server: Box<dyn Server>,
    /// The S3 service as the server reaches it. It needs no keys.
    pub s3: S3Config,
    /// That of STS, as the keeper reaches it.
    pub sts_endpoint: String,
    /// The grant's file.
    pub grant: PathBuf,
    /// Where the policies of the roles are: what was refused before that file changed is asked for again, and what was given too.
    pub policies: PathBuf,
}

/// A secret for a server that was not asked about yet.
pub fn not_yet(s3: &S3Config) -> Secret {
    let why = Refusal {
        message: "the access of this Postgres instance to object storage is being set up"
            .to_owned(),
        hint: "Try again in a moment.".to_owned(),
    };
    Secret::refused(s3, &why)
}

/// Whether the server goes by what the grant is now.
pub fn is_done(grant: &Path) -> bool {
    let Ok(told) = std::fs::read(note(grant)) else {
        return false;
    };
    let done: Option<Option<Version>> = serde_json::from_slice(&told).ok();
    done.is_some() && done == Version::of(grant).ok()
}

/// Forgets what was done, before a server is started that knows nothing of it.
pub fn forget(grant: &Path) -> io::Result<()> {
    private_file::remove(&note(grant))
}

/// Where it says what it has done.
fn note(grant: &Path) -> PathBuf {
    grant.with_extension("applied")
}

/// Keeps the secret until `shutdown` completes.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let mut keeper = Keeper {
        granted: GrantedCredentials::new(
            &config.sts_endpoint,
            &config.s3.region,
            config.grant.clone(),
        )
        .until_changed(Some(config.policies.clone())),
        config,
        held: None,
        refused: None,
        is_server_lost: false,
    };
    tokio::select! {
        result = keeper.keep() => result,
        () = shutdown => Ok(()),
    }
}

struct Keeper {
    config: Config,
    granted: GrantedCredentials,
    held: Option<Held>,
    /// While the role is refused.
    refused: Option<Refused>,
    /// Whether the last word did not get through.
    is_server_lost: bool,
}

/// What the server has.
#[derive(Clone, PartialEq)]
struct Held {
    /// Which start of it.
    server: String,
    grant: Option<Version>,
    access: Access,
}

/// Tells what may be done from what may be done otherwise.
#[derive(Clone, Debug, PartialEq)]
enum Access {
    /// By this access key.
    Key(String),
    Refused(Refusal),
}

/// Since when, and when the role was last asked for.
#[derive(Clone, Copy)]
struct Refused {
    since: Instant,
    asked: Instant,
    /// Of the policies' file.
    policies: Option<Version>,
}

impl Keeper {
    async fn keep(&mut self) -> io::Result<()> {
        loop {
            self.look().await?;
            tokio::time::sleep(self.config.server.look_every()).await;
        }
    }

    async fn look(&mut self) -> io::Result<()> {
        let started = in_time(self.config.server.started()).await;
        let Some(server) = self.heard(started).flatten() else {
            return Ok(());
        };
        let grant = Version::of(&self.config.grant)?;
        let is_as_before = |held: &Held| held.server == server && held.grant == grant;
        let is_as_before = self.held.as_ref().is_some_and(is_as_before);
        let policies = Version::of(&self.config.policies)?;
        if is_as_before && !self.is_time_to_ask(policies) {
            return Ok(());
        }
        let (access, secret) = match self.granted.get().await {
            Ok(credentials) => {
                self.refused = None;
                let key = credentials.access_key_id.clone();
                (Access::Key(key), self.secret(credentials))
            }
            // What the server has may be good for long; and it cannot reach the store either.
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
                let secret = Secret::refused(&self.config.s3, &why);
                (Access::Refused(why), secret)
            }
        };
        let wanted = Held {
            server,
            grant,
            access,
        };
        if self.held.as_ref() == Some(&wanted) || !self.tell(&secret).await {
            return Ok(());
        }
        // Of what the server has, and only where that is something else than before.
        if self.held.as_ref().map(|held| &held.access) != Some(&wanted.access) {
            report(&wanted.access);
        }
        self.held = Some(wanted);
        // Another grant than this one may be there by now; then this is not what is waited for.
        private_file::replace(&note(&self.config.grant), &serde_json::to_vec(&grant)?)
    }

    /// Credentials that are good are looked at each time, as they may be about to end.
    fn is_time_to_ask(&self, policies: Option<Version>) -> bool {
        let Some(refused) = self.refused else {
            return true;
        };
        if refused.policies != policies {
            return true;
        }
        let pause = match refused.since.elapsed() < A_WHILE {
            true => RETRY.0,
            false => RETRY.1,
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

    /// Whether the server has taken it.
    async fn tell(&mut self, secret: &Secret) -> bool {
        let statement = secret::statement(SECRET, secret);
        let told = in_time(self.config.server.run(&statement)).await;
        self.heard(told).is_some()
    }

    /// What a server has answered. It is asked again, and complained of once.
    fn heard<T>(&mut self, answer: Result<T, String>) -> Option<T> {
        if let Err(error) = &answer
            && !self.is_server_lost
        {
            tracing::warn!(%error, "pgduck_server does not take its S3 secret");
        }
        self.is_server_lost = answer.is_err();
        answer.ok()
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

fn report(access: &Access) {
    match access {
        Access::Key(key) => tracing::info!(access_key_id = key, "the lake is reached by the role"),
        Access::Refused(Refusal { message, hint }) => tracing::warn!(hint, "{message}"),
    }
}

#[async_trait]
impl Server for EngineSocket {
    /// Each start makes a new socket.
    async fn started(&self) -> Result<Option<String>, String> {
        let socket = Version::of(&self.path()).map_err(|error| chain(&error))?;
        Ok(socket.map(|socket| format!("{socket:?}")))
    }

    async fn run(&self, statement: &str) -> Result<(), String> {
        let connected = tokio_postgres::Config::new()
            .host_path(&self.dir)
            .port(self.port)
            .user(SECRET)
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

    fn look_every(&self) -> Duration {
        LOOK
    }
}
