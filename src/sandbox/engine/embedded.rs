//! The engine `embedded`: a plain PostgreSQL from this machine, icebox's stand-in for `pg_lake`, icebox's S3 server.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Context, Found, Plan, Provider};
use crate::objectstore::{S3Config, client};
use crate::pglake::{EngineSocket, prefix};
use crate::postgres::server::Roles;
use crate::postgres::tls::Certificate;
use crate::postgres::{Account, Installation, Server, ServerConfig, configuration};
use crate::sandbox::component::{
    Action, BoxError, Component, IceboxComponent, Launch, Probe, Step,
};
use crate::sandbox::{EngineKind, Error, Options, SandboxInfo, StateDir};

/// icebox's own superuser: the lake engine asks it what has been committed.
const LAKE_ROLE: &str = "icebox_lake";

/// A fast shutdown ends sessions in an orderly way, an immediate one at once; both leave a usable cluster.
const STOP_POSTGRES: &[(Signal, Duration)] = &[
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
];
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(5))];

pub struct Embedded;

impl Provider for Embedded {
    fn kind(&self) -> EngineKind {
        EngineKind::Embedded
    }

    fn find(&self, options: &Options) -> Result<Found, String> {
        let installation =
            Installation::find(options.pg_bin.as_deref()).map_err(|error| error.to_string())?;
        if !installation.has_contrib {
            return Err(format!(
                "PostgreSQL {} in {} lacks contrib (postgres_fdw and dblink); to install it: \
                 sudo apt-get install postgresql-contrib",
                installation.short_version(),
                installation.bin_dir.display()
            ));
        }
        let reason = format!(
            "PostgreSQL {} in {}, with icebox's stand-in for pg_lake",
            installation.short_version(),
            installation.bin_dir.display()
        );
        Ok(Found {
            reason,
            plan: Box::new(|context| plan(installation, context)),
        })
    }
}

fn plan(installation: Installation, context: &Context<'_>) -> Result<Plan, Error> {
    let Context {
        state, settings, ..
    } = context;
    let account = Account::unprivileged()?;
    let postgres_dir = state.postgres_dir(account.as_ref())?;
    let sockets = state.socket_dir(account.as_ref())?;
    let postgres_sockets = sockets.join("postgres");
    let engine_sockets = sockets.join("engine");
    let (postgres_port, s3_port) = (port(settings.postgres_port), port(settings.s3_port));

    let prefix_dir = postgres_dir.join("prefix");
    let bin_dir = prefix::prepare(
        &installation,
        &prefix_dir,
        &EngineSocket::in_dir(&engine_sockets),
    )
    .map_err(|source| Error::NotUp {
        component: "pg_lake",
        source: source.into(),
    })?;
    let roles = Roles {
        superuser: (LAKE_ROLE.to_owned(), settings.lake_password.clone()),
        admin: (
            "snowflake_admin".to_owned(),
            settings.admin_password.clone(),
        ),
        application: (
            "application".to_owned(),
            settings.application_password.clone(),
        ),
    };
    let config = ServerConfig {
        data_dir: postgres_dir.join("data"),
        socket_dir: postgres_sockets.clone(),
        port: postgres_port,
        certificate: Certificate::ensure(&state.tls_dir())?,
        account,
        program: bin_dir.join("postgres"),
        preload: &[configuration::PG_CRON],
        settings: Vec::new(),
        cache_dir: cache_dir(),
    };
    let server = Server::new(installation.clone(), config, roles.clone());
    let s3_address = SocketAddr::from((Ipv4Addr::LOCALHOST, s3_port));
    let s3 = S3Config {
        endpoint: format!("http://{s3_address}"),
        region: settings.region.clone(),
        access_key_id: settings.access_key_id.clone(),
        secret_access_key: settings.secret_access_key.clone(),
    };
    let info = SandboxInfo {
        engine: context.engine,
        engine_reason: context.reason.to_owned(),
        postgres: server.endpoint(&roles.admin),
        application_password: settings.application_password.clone(),
        postgres_version: installation.short_version().to_owned(),
        has_pg_cron: installation.has_pg_cron,
        s3: s3.clone(),
        bucket: settings.bucket.clone(),
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
    let components = vec![
        postgres_component(server, &info),
        lake_engine_component(
            &info,
            &engine_sockets,
            &postgres_sockets,
            settings.lake_password.clone(),
        ),
        s3_component(state, &info, s3_address),
    ];
    Ok(Plan {
        components,
        info,
        notices,
    })
}

fn postgres_component(server: Server, info: &SandboxInfo) -> Component {
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
            action(bootstrapped, |server| async move {
                Ok(server.bootstrap().await?)
            }),
            Step::Probe(Probe::Postgres(info.postgres.clone())),
        ],
        stop: STOP_POSTGRES,
    }
}

fn lake_engine_component(
    info: &SandboxInfo,
    engine_sockets: &Path,
    postgres_sockets: &Path,
    password: String,
) -> Component {
    let socket = EngineSocket::in_dir(engine_sockets).path();
    Component {
        name: "lake-engine",
        endpoint: socket.display().to_string(),
        launch: Launch::Icebox(IceboxComponent::LakeEngine {
            socket_dir: engine_sockets.to_path_buf(),
            s3: info.s3.clone(),
            postgres_socket_dir: postgres_sockets.to_path_buf(),
            postgres_port: info.postgres.port,
            postgres_user: LAKE_ROLE.to_owned(),
            postgres_password: password,
        }),
        prepare: None,
        ready: vec![Step::Probe(Probe::UnixSocket(socket))],
        stop: STOP,
    }
}

fn s3_component(state: &StateDir, info: &SandboxInfo, listen: SocketAddr) -> Component {
    Component {
        name: "s3",
        endpoint: info.s3.endpoint.clone(),
        launch: Launch::Icebox(IceboxComponent::S3 {
            root: state.s3_dir(),
            listen,
            access_key_id: info.s3.access_key_id.clone(),
            secret_access_key: info.s3.secret_access_key.clone(),
            region: info.s3.region.clone(),
        }),
        prepare: None,
        ready: vec![
            Step::Probe(Probe::Http(listen)),
            action(
                (info.s3.clone(), info.bucket.clone()),
                |(s3, bucket)| async move {
                    client::ensure_bucket(&s3, &bucket).await?;
                    Ok(())
                },
            ),
        ],
        stop: STOP,
    }
}

/// A step that runs `work` on a copy of `input`.
fn action<I, F>(input: I, work: impl Fn(I) -> F + Send + Sync + Clone + 'static) -> Step
where
    I: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let action: Action = Arc::new(move || Box::pin(work(input.clone())));
    Step::Do(action)
}

fn port(chosen: Option<u16>) -> u16 {
    chosen.expect("loading the settings chooses the ports")
}

/// Where things worth keeping between sandboxes are, `None` without a home directory.
fn cache_dir() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(base.join("icebox"))
}
