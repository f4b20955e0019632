//! What the engines that run PostgreSQL on this machine have in common: the server, icebox's S3
//! server, and how both are reached. What differs is data: see [`EngineParts`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Context, Plan, SUPERUSER, ServerChanges};
use crate::aws::{self, AccountState};
use crate::component::{Component, Launch, Probe, STOP, Step};
use crate::services::S3;
use crate::settings::Settings;
use crate::{Error, SandboxInfo, SharedLake, StateDir};
use icebox_postgres::configuration::{AllowedClients, access_rules};
use icebox_postgres::server::Roles;
use icebox_postgres::tls::Certificate;
use icebox_postgres::{Account, Endpoint, Installation, Server, ServerConfig};
use icebox_s3_client as client;
use icebox_s3_client::S3Config;

/// The signals that stop PostgreSQL. A fast shutdown ends sessions in an orderly way, an immediate
/// one ends them at once; both leave a usable cluster.
const STOP_POSTGRES: &[(Signal, Duration)] = &[
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
];

/// A sandbox on this machine: its directories, ports and accounts.
pub struct LocalSandbox<'a> {
    context: &'a Context<'a>,
    pub installation: Installation,
    /// The account that PostgreSQL runs as, if that is not the current user.
    pub account: Option<Account>,
    /// The directory for files that PostgreSQL's account may read. icebox owns it.
    pub postgres_dir: PathBuf,
    /// The parent of the sockets' directories, see [`StateDir::socket_dir`].
    pub sockets: PathBuf,
    pub postgres_sockets: PathBuf,
    pub postgres_port: u16,
    pub s3: S3Config,
}

/// The part that differs between these engines: the server program, its settings, and the lake
/// engine.
pub struct EngineParts {
    /// The `postgres` program to start.
    pub program: PathBuf,
    /// The libraries that PostgreSQL loads at its start if they are installed.
    pub preload: &'static [&'static str],
    /// PostgreSQL's settings in addition to those of every sandbox.
    pub settings: Vec<(&'static str, String)>,
    /// The components to which PostgreSQL sends its Iceberg work, and those that they need, in the
    /// order in which they are stopped.
    pub engine: Vec<Component>,
    /// See [`ServerChanges`].
    pub has_secret_sync: bool,
}

impl<'a> LocalSandbox<'a> {
    pub fn new(installation: Installation, context: &'a Context<'a>) -> Result<Self, Error> {
        let Context {
            state, settings, ..
        } = context;
        let account = Account::unprivileged()?;
        let postgres_dir = state.postgres_dir(account.as_ref())?;
        let sockets = state.socket_dir(account.as_ref())?;
        Ok(LocalSandbox {
            context,
            installation,
            account,
            postgres_dir,
            postgres_sockets: sockets.join("postgres"),
            sockets,
            postgres_port: settings.postgres_address().port(),
            s3: settings.s3(),
        })
    }

    /// Returns the sandbox's bucket.
    pub fn bucket(&self) -> &str {
        &self.context.settings.bucket
    }

    /// Returns what is known of the other sandbox, if this server is on its lake.
    pub fn shared_lake(&self) -> Option<&SharedLake> {
        self.context.shared_lake
    }

    /// Returns the password of the role [`SUPERUSER`].
    pub fn lake_password(&self) -> &str {
        &self.context.settings.lake_password
    }

    pub fn plan(self, lake: EngineParts) -> Result<Plan, Error> {
        let Context {
            state, settings, ..
        } = self.context;
        let role = |name: &str, password: &String| (name.to_owned(), password.clone());
        let roles = Roles {
            superuser: role(SUPERUSER, &settings.lake_password),
            admin: role("snowflake_admin", &settings.admin_password),
            application: role("application", &settings.application_password),
        };
        let address = settings.postgres_address();
        let mut postgres_settings = lake.settings;
        if let Some(public) = settings.listen {
            let addresses = if public.is_unspecified() {
                public.to_string()
            } else {
                format!("{},{public}", address.ip())
            };
            postgres_settings.push(("listen_addresses", addresses));
        }
        let config = ServerConfig {
            data_dir: self.postgres_dir.join("data"),
            socket_dir: self.postgres_sockets,
            address,
            clients: match self.context.shared_lake {
                Some(shared_lake) => shared_lake.clients.clone(),
                None => match settings.listen {
                    None => AllowedClients::local(),
                    Some(_) => AllowedClients::new(vec!["0.0.0.0/0".to_owned()], Vec::new()),
                },
            },
            certificate: Certificate::ensure(&state.tls_dir(), *address.ip())?,
            account: self.account,
            program: lake.program,
            preload: lake.preload,
            settings: postgres_settings,
            cache_dir: cache_dir(),
        };
        let installation = self.installation;
        let server = Server::new(installation.clone(), config, roles.clone());
        let info = SandboxInfo {
            engine: self.context.engine,
            engine_reason: self.context.reason.to_owned(),
            postgres: server.endpoint(&roles.admin),
            application_password: settings.application_password.clone(),
            superuser_password: settings.lake_password.clone(),
            postgres_version: installation.short_version().to_owned(),
            has_pg_cron: installation.has_pg_cron,
            s3: self.s3,
            bucket: settings.bucket.clone(),
            snowflake: None,
            role_arn: (settings.account == AccountState::Ready).then(aws::role_arn),
            state_dir: state.root().to_path_buf(),
        };
        let mut notices = Vec::new();
        if !installation.has_pg_cron {
            notices.push(format!(
                "pg_cron is not installed, so CREATE EXTENSION pg_cron will fail and everything else works; \
                 to install it: sudo apt-get install postgresql-{}-cron",
                installation.major
            ));
        }
        notices.extend(settings.listen.map(|public| listening(settings, public)));
        let superuser = server.endpoint(&roles.superuser);
        let mut components = vec![postgres_component(server, &info, superuser)];
        components.extend(lake.engine);
        if let Some(address) = settings.s3_address() {
            components.push(s3_component(state, settings, &info, address.into()));
        }
        Ok(Plan {
            components,
            info,
            complete: None,
            notices,
            snowflake_s3: settings.s3_of_snowflake(),
            changes: ServerChanges {
                access_rules: |superuser, clients| access_rules(superuser, clients, false),
                has_secret_sync: lake.has_secret_sync,
            },
        })
    }
}

/// Returns a warning that names the ports that other machines can reach.
pub fn listening(settings: &Settings, public: Ipv4Addr) -> String {
    let ports = [
        Some(settings.postgres_address()),
        settings.s3_address(),
        Some(settings.snowflake_address()),
    ];
    let ports = ports
        .into_iter()
        .flatten()
        .map(|one| one.port().to_string());
    format!(
        "WARNING: other machines can connect at {public}, ports {}. Passwords and keys are all that keeps them out, and only \
         PostgreSQL's connections are encrypted. Instances on 127.0.0.2 and so on stay on this machine.",
        ports.collect::<Vec<_>>().join(", ")
    )
}

/// Returns the component for PostgreSQL. Its probe connects as `superuser`, whom the access rules
/// always let in.
fn postgres_component(server: Server, info: &SandboxInfo, superuser: Endpoint) -> Component {
    let (prepared, started, bootstrapped) = (server.clone(), server.clone(), server);
    Component {
        name: "postgres",
        endpoint: format!("{}:{}", info.postgres.host, info.postgres.port),
        launch: Launch::Program(Arc::new(move || started.command())),
        prepare: Some(Arc::new(move || {
            prepared.clear_leftovers()?;
            prepared.prepare()?;
            Ok(())
        })),
        ready: vec![
            Step::action(bootstrapped, |server| async move {
                Ok(server.bootstrap().await?)
            }),
            Step::Probe(Probe::Postgres(superuser)),
        ],
        stop: STOP_POSTGRES,
    }
}

fn s3_component(
    state: &StateDir,
    settings: &Settings,
    info: &SandboxInfo,
    listen: SocketAddr,
) -> Component {
    let mut ready = vec![Step::Probe(Probe::Http(listen))];
    // In an empty account, the user creates the bucket and the role.
    if info.role_arn.is_some() {
        let input = (info.s3.clone(), info.bucket.clone());
        ready.push(Step::action(input, |(s3, bucket)| async move {
            Ok(client::ensure_bucket(&s3, &bucket).await?)
        }));
        ready.push(ensure_role(info));
    }
    Component {
        name: "s3",
        endpoint: info.s3.endpoint.clone(),
        launch: Launch::Icebox(Arc::new(S3 {
            root: state.s3_dir(),
            listen,
            public: settings.listen.map(IpAddr::from),
            region: info.s3.region.clone(),
            accounts: settings.aws_accounts(),
            iam: state.iam_dir(),
            audit: state.audit_dir(),
        })),
        prepare: None,
        ready,
        stop: STOP,
    }
}

/// Returns a step that creates the role of a ready account.
pub fn ensure_role(info: &SandboxInfo) -> Step {
    let input = (info.s3.clone(), info.bucket.clone());
    Step::action(input, |(s3, bucket)| async move {
        Ok(aws::ensure_role(&s3, &bucket).await?)
    })
}

/// Returns the cache directory that sandboxes share; `None` without a home directory.
fn cache_dir() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(base.join("icebox"))
}
