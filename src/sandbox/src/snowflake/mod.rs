//! The Snowflake side of a sandbox as a component: the account, its tasks, and the endpoint that
//! drivers connect to.
//!
//! ```text
//! <state directory>/
//!   snowflake/objects/         the account's objects
//!   snowflake/principals.json  the access keys of its users in AWS
//!   snowflake/clock.json       the state of its clock, unless that follows the system's
//!   instances/<id>/            the state directory of each POSTGRES INSTANCE
//! ```

mod host;
mod instances;
mod principals;
mod ready;

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
use host::SandboxHost;
use icebox_account::account::Account;
use icebox_account::tasks;
use icebox_base::connections::Listeners;
use icebox_postgres::Endpoint;
use icebox_rest as rest;
use icebox_rest::drivers::DriverLogin;
use icebox_s3_client as client;
use icebox_s3_client::S3Config;
use icebox_schedule::{Clock, ClockState, TimeScale};

/// The user that drivers log in as. The account has the same name.
const USER: &str = "ICEBOX";
const ACCOUNT: &str = "ICEBOX";

/// The bucket of native tables, which belongs to the Snowflake side.
const STORAGE: &str = "icebox-snowflake";

/// The signal that stops the component. Its PostgreSQL instances end with it, which takes longer.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(20))];

/// The interval at which the clock's state is persisted.
const CLOCK_KEPT_EVERY: Duration = Duration::from_secs(1);

/// The configuration of the component.
#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    /// The state directory of the sandbox.
    state_dir: PathBuf,
    info: SnowflakeInfo,
    /// The S3 service, with the keys of the account that owns the Snowflake side's own bucket.
    s3: S3Config,
    /// IAM and STS, with the keys of the root user of Snowflake's account.
    aws: S3Config,
    /// The S3 service for PostgreSQL instances, without keys.
    instances_s3: S3Config,
    /// The address for other machines, see `icebox up --listen`.
    public: Option<IpAddr>,
    bucket: String,
    /// The engine of PostgreSQL instances.
    engine: EngineKind,
    pg_bin: Option<PathBuf>,
    time_scale: Option<TimeScale>,
    /// The endpoint of the sandbox's own server, without its password.
    postgres: Endpoint,
    postgres_version: String,
    /// The role that a ready account has from the start; `None` if the account was empty at first.
    role_arn: Option<String>,
}

impl Plan {
    /// Adds the Snowflake side to the plan.
    pub(super) fn add_snowflake(
        &mut self,
        state: &StateDir,
        settings: &Settings,
        options: &Options,
    ) {
        let address = settings.snowflake_address().into();
        // MinIO has only one account.
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
            s3: if is_minio {
                self.info.s3.clone()
            } else {
                settings.s3_of_snowflake()
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
                // The Snowflake side shows this password to no one.
                password: String::new(),
                ..self.info.postgres.clone()
            },
            postgres_version: self.info.postgres_version.clone(),
            role_arn: self.info.role_arn.clone(),
        };
        self.info.snowflake = Some(info);
        // It is stopped first, before the components that it uses.
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
    /// Runs the Snowflake side until `shutdown` completes.
    pub async fn run(
        self,
        isolation: Isolation,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        let state = StateDir::new(&self.state_dir)?;
        let directory = state.snowflake_dir();
        let clock_file = directory.join("clock.json");
        let clock = open_clock(&state, &clock_file, self.time_scale)?;
        client::ensure_bucket_at_start(&self.s3, STORAGE).await?;

        let (listen, public) = (self.info.address, self.public);
        let (user, password) = (self.info.user.clone(), self.info.password.clone());
        let (bucket, role_arn) = (self.bucket.clone(), self.role_arn.clone());
        let world = SandboxHost::new(self, &state, isolation, clock.clone())?;
        let world = Arc::new(world);
        let account = Arc::new(Account::open(&directory, world.clone())?);
        world.start_instances(&account).await;
        if let Some(role_arn) = role_arn {
            ready::create_default_objects(&account, &world.own_postgres()?, &bucket, &role_arn)
                .await?;
        }

        let listeners = Listeners::bind(listen, public).await?;
        let drivers = DriverLogin::new(Arc::clone(&account), &user, &password);
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
        host.stop_instances().await;
        Ok(())
    }
}

/// Opens the clock with its persisted state, and sets its speed if one is given.
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
        tracing::warn!(%error, "the clock's state cannot be saved");
    }
}
