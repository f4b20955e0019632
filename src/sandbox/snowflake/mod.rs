//! The Snowflake side of a sandbox as a component: the account, its tasks, and the endpoint that drivers connect to.
//!
//! ```text
//! <state directory>/
//!   snowflake/objects/   the account's objects
//!   snowflake/principals.json the keys of its users in AWS
//!   snowflake/clock.json where its clock is, unless that is the system's
//!   instances/<id>/      the state directory of each POSTGRES INSTANCE
//! ```

mod instances;
mod principals;
mod ready;
mod world;

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::component::{BoxError, Component, IceboxComponent, Launch, Probe, Step};
use super::engine::Plan;
use super::settings::Settings;
use super::supervisor::Isolation;
use super::{EngineKind, Error, Options, SnowflakeInfo, StateDir};
use crate::connections::Listeners;
use crate::objectstore::{S3Config, client};
use crate::postgres::Endpoint;
use crate::snowflake::account::Account;
use crate::snowflake::drivers::Drivers;
use crate::snowflake::schedule::{Clock, ClockState, TimeScale};
use crate::snowflake::{rest, tasks};
use world::SandboxWorld;

/// The user whom drivers log in as, and the name of the account.
const USER: &str = "ICEBOX";
const ACCOUNT: &str = "ICEBOX";

/// Where native tables are kept: a bucket of the Snowflake side's own.
const STORAGE: &str = "icebox-snowflake";

/// Its PostgreSQL instances end with it.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(20))];

/// How often the clock's place is written down.
const CLOCK_KEPT_EVERY: Duration = Duration::from_secs(1);

/// What the component needs to know.
#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    /// Of the sandbox.
    state_dir: PathBuf,
    info: SnowflakeInfo,
    /// As whoever the Snowflake side's own bucket belongs to.
    s3: S3Config,
    /// IAM and STS, as the root user of Snowflake's account.
    aws: S3Config,
    /// For PostgreSQL instances: without keys.
    instances_s3: S3Config,
    /// See `icebox up --listen`.
    public: Option<IpAddr>,
    bucket: String,
    /// What PostgreSQL instances run on.
    engine: EngineKind,
    pg_bin: Option<PathBuf>,
    time_scale: Option<TimeScale>,
    /// Of the sandbox's own server.
    postgres: Endpoint,
    postgres_version: String,
    /// The role that is there from the beginning; `None` where the account is empty at first.
    role_arn: Option<String>,
}

impl Plan {
    /// Adds the Snowflake side.
    pub(super) fn add_snowflake(
        &mut self,
        state: &StateDir,
        settings: &Settings,
        options: &Options,
    ) {
        let address = settings.snowflake_address().into();
        // MinIO has one account.
        let is_minio = self.info.engine == EngineKind::Containers;
        let info = SnowflakeInfo {
            address,
            account: ACCOUNT.to_owned(),
            user: USER.to_owned(),
            password: settings.snowflake_password.clone(),
            database: ready::NAME.to_owned(),
        };
        let config = Config {
            state_dir: state.root().to_path_buf(),
            info: info.clone(),
            s3: match is_minio {
                true => self.info.s3.clone(),
                false => settings.s3_of_snowflake(),
            },
            aws: settings.s3_of_snowflake(),
            instances_s3: S3Config {
                access_key_id: String::new(),
                secret_access_key: String::new(),
                ..self.info.s3.clone()
            },
            public: settings.public.map(IpAddr::from),
            bucket: self.info.bucket.clone(),
            engine: self.info.engine,
            pg_bin: options.pg_bin.clone(),
            time_scale: options.time_scale,
            postgres: Endpoint {
                // Nobody is told it.
                password: String::new(),
                ..self.info.postgres.clone()
            },
            postgres_version: self.info.postgres_version.clone(),
            role_arn: self.info.role_arn.clone(),
        };
        self.info.snowflake = Some(info);
        // It goes first, and what it uses after it.
        self.components.insert(
            0,
            Component {
                name: "snowflake",
                endpoint: format!("http://{address}"),
                launch: Launch::Icebox(IceboxComponent::Snowflake(Box::new(config))),
                prepare: None,
                ready: vec![Step::Probe(Probe::Http(address))],
                stop: STOP,
            },
        );
    }
}

impl Config {
    /// Runs it until `shutdown` completes.
    pub async fn run(
        self,
        isolation: Isolation,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        let state = StateDir::new(&self.state_dir)?;
        let directory = state.snowflake_dir();
        let clock_file = directory.join("clock.json");
        let clock = open_clock(&state, &clock_file, self.time_scale)?;
        client::ensure_bucket_soon(&self.s3, STORAGE).await?;

        let (listen, public) = (self.info.address, self.public);
        let (user, password) = (self.info.user.clone(), self.info.password.clone());
        let (bucket, role_arn) = (self.bucket.clone(), self.role_arn.clone());
        let world = SandboxWorld::new(self, &state, isolation, clock.clone())?;
        let world = Arc::new(world);
        let account = Arc::new(Account::open(&directory, world.clone())?);
        world.start_instances(&account).await;
        if let Some(role_arn) = role_arn {
            ready::furnish(&account, &world.own()?, &bucket, &role_arn).await?;
        }

        let listeners = Listeners::bind(listen, public).await?;
        let drivers = Drivers::new(Arc::clone(&account), &user, &password);
        let served = rest::serve(
            listeners,
            Arc::new(drivers),
            rest::Config::default(),
            shutdown,
        );
        tokio::select! {
            result = served => result?,
            () = tasks::run(Arc::clone(&account)) => {}
            () = keep_clock(&state, &clock_file, &clock) => {}
        }
        keep(&state, &clock_file, &clock);
        world.stop_instances().await;
        Ok(())
    }
}

/// The clock where it was, at the speed that is asked for.
fn open_clock(state: &StateDir, file: &Path, scale: Option<TimeScale>) -> Result<Clock, Error> {
    let kept: Option<ClockState> = state.read_json(file)?;
    let clock = kept.map_or_else(Clock::system, Clock::restore);
    if let Some(scale) = scale {
        clock.set_scale(scale);
    }
    Ok(clock)
}

async fn keep_clock(state: &StateDir, file: &Path, clock: &Clock) {
    loop {
        keep(state, file, clock);
        tokio::time::sleep(CLOCK_KEPT_EVERY).await;
    }
}

fn keep(state: &StateDir, file: &Path, clock: &Clock) {
    let now = clock.state();
    if now.is_system && !file.exists() {
        return;
    }
    if let Err(error) = state.write_json(file, &now) {
        tracing::warn!(%error, "the clock's place cannot be kept");
    }
}
