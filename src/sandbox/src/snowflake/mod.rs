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

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::component::{
    BoxError, Component, IceboxComponent, Isolation, Launch, Probe, Shutdown, Step,
};
use crate::engine::{Context, Plan};
use crate::{Engine, Error, Options, SnowflakeInfo, StateDir};
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
const CLOCK_SAVED_EVERY: Duration = Duration::from_secs(1);

/// The component, with everything that it needs to know.
#[derive(Clone, Serialize, Deserialize)]
pub struct SnowflakeSide {
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
    engine: Engine,
    pg_bin: Option<PathBuf>,
    time_scale: Option<TimeScale>,
    /// The endpoint of the sandbox's own server, without its password.
    postgres: Endpoint,
    postgres_version: String,
    /// The role that a ready account has from the start; `None` if the account was empty at first.
    role_arn: Option<String>,
}

/// Adds the Snowflake side to the plan of a sandbox.
pub fn add(plan: &mut Plan, context: &Context<'_>, options: &Options) {
    let settings = context.settings;
    let address = settings.snowflake_address().into();
    let info = SnowflakeInfo {
        address,
        account: ACCOUNT.to_owned(),
        user: USER.to_owned(),
        password: settings.snowflake_password.clone(),
        database: ready::NAME.to_owned(),
    };
    let side = SnowflakeSide {
        state_dir: context.state.root().to_path_buf(),
        info: info.clone(),
        s3: plan.snowflake_s3.clone(),
        aws: settings.s3_of_snowflake(),
        instances_s3: S3Config {
            access_key_id: String::new(),
            secret_access_key: String::new(),
            ..plan.info.s3.clone()
        },
        public: settings.listen.map(IpAddr::from),
        bucket: plan.info.bucket.clone(),
        engine: plan.info.engine.into(),
        pg_bin: options.pg_bin.clone(),
        time_scale: options.time_scale,
        postgres: Endpoint {
            // The Snowflake side shows this password to no one.
            password: String::new(),
            ..plan.info.postgres.clone()
        },
        postgres_version: plan.info.postgres_version.clone(),
        role_arn: plan.info.role_arn.clone(),
    };
    plan.info.snowflake = Some(info);
    // It is stopped first, before the components that it uses.
    plan.components.insert(
        0,
        Component {
            name: "snowflake",
            endpoint: format!("http://{address}"),
            launch: Launch::Icebox(Arc::new(side)),
            prepare: None,
            ready: vec![Step::Probe(Probe::Http(address))],
            stop: STOP,
        },
    );
}

#[async_trait]
#[typetag::serde(name = "snowflake")]
impl IceboxComponent for SnowflakeSide {
    async fn run(&self, isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        let state = StateDir::new(&self.state_dir)?;
        let directory = state.snowflake_dir();
        let clock_file = directory.join("clock.json");
        let clock = open_clock(&state, &clock_file, self.time_scale)?;
        client::ensure_bucket_at_start(&self.s3, STORAGE).await?;

        let host = SandboxHost::new(self.clone(), &state, isolation, clock.clone())?;
        let host = Arc::new(host);
        let account = Arc::new(Account::open(&directory, host.clone())?);
        host.start_instances(&account).await;
        if let Some(role_arn) = &self.role_arn {
            let server = host.own_postgres()?;
            ready::create_default_objects(&account, &server, &self.bucket, role_arn).await?;
        }

        let listeners = Listeners::bind(self.info.address, self.public).await?;
        let drivers = DriverLogin::new(Arc::clone(&account), &self.info.user, &self.info.password);
        let served = rest::serve(
            listeners,
            Arc::new(drivers),
            rest::Config::default(),
            shutdown,
        );
        tokio::select! {
            result = served => result?,
            () = tasks::run(Arc::clone(&account)) => {}
            () = save_clock_regularly(&state, &clock_file, &clock) => {}
        }
        save_clock(&state, &clock_file, &clock);
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

async fn save_clock_regularly(state: &StateDir, file: &Path, clock: &Clock) {
    loop {
        save_clock(state, file, clock);
        tokio::time::sleep(CLOCK_SAVED_EVERY).await;
    }
}

fn save_clock(state: &StateDir, file: &Path, clock: &Clock) {
    let now = clock.state();
    if now.is_system && !file.exists() {
        return;
    }
    if let Err(error) = state.write_json(file, &now) {
        tracing::warn!(%error, "the clock's state cannot be saved");
    }
}
