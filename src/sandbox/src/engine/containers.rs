//! The engine `containers`: PostgreSQL with `pg_lake` and `pgduck_server` in one container or two,
//! and an S3 server in another, on a network of their own. The images are those of `compose/`,
//! unless the environment names others.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::local::{self, action, ensure_role, listening};
use super::pgduck::lake_access;
use super::{Available, Complete, Context, Plan, Provider, Unavailable};
use crate::aws::{self, AccountState};
use crate::component::{BoxError, Component, IceboxComponent, Launch, PgDuckAddress, Probe, Step};
use crate::container::{self, Container, Daemon, PgDuckInContainer, Resources};
use crate::settings::Settings;
use crate::{EngineKind, Error, Options, SandboxInfo, StateDir};
use icebox_base::chain;
use icebox_postgres::tls::Certificate;
use icebox_postgres::{Endpoint, connect};
use icebox_s3_client as client;
use icebox_s3_client::S3Config;

/// The default images and settings, as in the compose file.
const DEFAULTS: &str = include_str!("../../../../compose/.env");
/// The entrypoint for images that are not icebox's own.
const ENTRYPOINT: &str = include_str!("../../../../compose/entrypoint.sh");
const ENTRYPOINT_PATH: &str = "/icebox-entrypoint.sh";

/// The directory of the volume of PostgreSQL and `pgduck_server`. They share it if they run in two
/// containers.
const POSTGRES_HOME: &str = "/var/lib/postgresql";
const S3_DATA: &str = "/data";
const POSTGRES_PORT: u16 = 5432;
const S3_PORT: u16 = 9000;

/// A placeholder for S3 keys that do not exist, because the entrypoint requires some. The secret
/// that it creates is later replaced by name.
const NO_KEY: &str = "none";

/// The signal for the process that watches a container, and the time it has to stop the container.
const STOP: &[(Signal, Duration)] = &[(
    Signal::SIGTERM,
    container::STOP_TIMEOUT.saturating_add(Duration::from_secs(10)),
)];

pub struct Containers;

impl Provider for Containers {
    fn kind(&self) -> EngineKind {
        EngineKind::Containers
    }

    fn find(&self, _options: &Options, is_library: bool) -> Result<Available, Unavailable> {
        let images = Images::configured();
        let found = wait_for(async {
            let daemon = Daemon::find().await?;
            if is_library && !container::daemon::is_testcontainers_socket(&daemon.socket) {
                return Err(container::Error::NotInEnvironment {
                    socket: daemon.socket,
                });
            }
            for image in images.all() {
                if !daemon.has_image(image).await? {
                    let image = image.to_owned();
                    return Err(container::Error::NoImage { image });
                }
            }
            Ok(daemon.socket)
        });
        let socket = found.map_err(|error| Unavailable {
            reason: chain(&error),
            fix: error.fix(),
        })?;
        let reason = format!(
            "the container engine at {} has {}",
            socket.display(),
            images.all().collect::<Vec<_>>().join(" and ")
        );
        Ok(Available {
            reason,
            plan: Box::new(move |context| plan(&images, &socket, context)),
        })
    }
}

/// The images of the containers, and their settings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Images {
    postgres: String,
    /// The image of `pgduck_server`; `None` if it is in PostgreSQL's image.
    pgduck: Option<String>,
    s3: String,
    s3_command: Vec<String>,
    /// The memory limit of `pgduck_server`; a quarter of the machine's memory if empty.
    memory_limit: String,
}

impl Images {
    /// Returns what the environment names, or else what the compose file names.
    fn configured() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(environment: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            environment(name).unwrap_or_else(|| {
                let mut lines = DEFAULTS.lines().filter_map(|line| line.split_once('='));
                let found = lines.find(|(key, _)| *key == name);
                found.map_or_else(String::new, |(_, value)| value.to_owned())
            })
        };
        Self {
            postgres: value("ICEBOX_POSTGRES_IMAGE"),
            pgduck: Some(value("ICEBOX_PGDUCK_IMAGE")).filter(|image| !image.is_empty()),
            s3: value("ICEBOX_S3_IMAGE"),
            s3_command: value("ICEBOX_S3_COMMAND")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            memory_limit: value("ICEBOX_PGDUCK_MEMORY_LIMIT"),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        [Some(&self.postgres), self.pgduck.as_ref(), Some(&self.s3)]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

fn plan(images: &Images, socket: &Path, context: &Context<'_>) -> Result<Plan, Error> {
    let Context {
        state, settings, ..
    } = context;
    let resources = Resources::of(state, socket);
    if let Some(recorded) = Resources::recorded(state)?
        && recorded != resources
    {
        return Err(Error::DataElsewhere {
            state_dir: state.root().to_path_buf(),
            recorded_dir: recorded.state_dir,
            recorded_socket: recorded.socket,
        });
    }
    // The sandbox whose network and S3 server this one uses.
    let lake = match context.shared_lake {
        Some(shared_lake) => Resources::of(&StateDir::new(&shared_lake.lake)?, socket),
        None => resources.clone(),
    };
    let volume = resources.resource_name("postgres");
    let s3_volume = resources.resource_name("s3");
    wait_for(async {
        let daemon = Daemon::connect(socket).await?;
        let volumes = match context.shared_lake {
            Some(_) => vec![volume.clone()],
            None => vec![volume.clone(), s3_volume.clone()],
        };
        resources.prepare(&daemon, state, &volumes).await
    })?;

    let address = settings.postgres_address();
    let certificate = Certificate::ensure(&state.tls_dir(), *address.ip())?;
    let [certificate_text, key_text] = [&certificate.certificate, &certificate.key]
        .map(|path| std::fs::read_to_string(path).map_err(Error::file("read", path)));
    let info = SandboxInfo {
        engine: context.engine,
        engine_reason: context.reason.to_owned(),
        postgres: Endpoint {
            host: address.ip().to_string(),
            port: address.port(),
            dbname: "postgres".to_owned(),
            user: "snowflake_admin".to_owned(),
            password: settings.admin_password.clone(),
            ca_file: Some(certificate.certificate.clone()),
        },
        application_password: settings.application_password.clone(),
        superuser_password: settings.lake_password.clone(),
        postgres_version: String::new(),
        has_pg_cron: false,
        s3: settings.s3(),
        bucket: settings.bucket.clone(),
        snowflake: None,
        role_arn: (settings.account == AccountState::Ready).then(aws::role_arn),
        state_dir: state.root().to_path_buf(),
    };
    let s3_inside = S3Config {
        endpoint: format!("http://{}:{S3_PORT}", lake.resource_name("s3")),
        ..info.s3.clone()
    };
    let (key_id, secret_key) = match context.shared_lake {
        Some(_) => (NO_KEY, NO_KEY),
        None => (
            settings.access_key_id.as_str(),
            settings.secret_access_key.as_str(),
        ),
    };
    let lake_environment = pairs(&[
        ("ICEBOX_S3_ENDPOINT", &s3_inside.endpoint),
        ("ICEBOX_S3_REGION", &settings.region),
        ("ICEBOX_S3_ACCESS_KEY_ID", key_id),
        ("ICEBOX_S3_SECRET_ACCESS_KEY", secret_key),
        ("ICEBOX_BUCKET", &settings.bucket),
        ("ICEBOX_PGDUCK_MEMORY_LIMIT", &images.memory_limit),
    ]);
    let postgres_environment = pairs(&[
        ("ICEBOX_ADMIN_PASSWORD", &settings.admin_password),
        (
            "ICEBOX_APPLICATION_PASSWORD",
            &settings.application_password,
        ),
        ("ICEBOX_SUPERUSER_PASSWORD", &settings.lake_password),
        (
            "ICEBOX_CLIENTS",
            match context.shared_lake {
                Some(_) => "rules",
                None => "all",
            },
        ),
        ("ICEBOX_TLS_CERTIFICATE", &certificate_text?),
        ("ICEBOX_TLS_KEY", &key_text?),
    ]);
    let maker = ContainerBuilder {
        resources: &resources,
        network: &lake.name,
        log_of: &|name| state.log(name),
    };

    let mut postgres = maker.container("postgres", &images.postgres);
    postgres.environment = [lake_environment.clone(), postgres_environment].concat();
    postgres.volumes = vec![(volume.clone(), POSTGRES_HOME.to_owned())];
    postgres.ports = addresses(address, settings.public)
        .map(|host| (host, POSTGRES_PORT))
        .collect();
    let mut pgduck = images.pgduck.as_ref().map(|image| {
        let mut pgduck = maker.container("pgduck_server", image);
        pgduck.environment = lake_environment;
        pgduck.volumes.clone_from(&postgres.volumes);
        pgduck
    });
    if let Some(pgduck) = &mut pgduck {
        // These images are not icebox's own, so they get icebox's entrypoint and the server that it
        // is to run.
        for (container, role) in [(&mut postgres, "postgres"), (pgduck, "pgduck")] {
            container.entrypoint = Some(ENTRYPOINT_PATH.to_owned());
            container.files = vec![(ENTRYPOINT_PATH.to_owned(), ENTRYPOINT.to_owned(), 0o755)];
            container.command = vec![role.to_owned()];
            container.user = Some("0".to_owned());
        }
    }
    let answers = Step::Probe(Probe::Postgres(info.superuser()));
    let mut components = vec![component(
        "postgres",
        address.to_string(),
        postgres,
        vec![answers],
    )];
    if let Some(shared_lake) = context.shared_lake {
        let server = PgDuckAddress::Container(Box::new(PgDuckInContainer {
            socket: socket.to_path_buf(),
            container: resources.resource_name("postgres"),
            server: resources
                .resource_name(pgduck.as_ref().map_or("postgres", |_| "pgduck_server")),
            socket_dir: Path::new(POSTGRES_HOME).join("run"),
            daemon: OnceCell::new(),
        }));
        let sts_endpoint = info.s3.endpoint.clone();
        let access = lake_access(server, s3_inside, sts_endpoint, shared_lake)?;
        components.insert(0, access);
    }
    // PostgreSQL starts only after pgduck_server has its socket, so pgduck_server has no probe of
    // its own.
    components.extend(pgduck.map(|pgduck| component("pgduck_server", volume, pgduck, vec![])));
    if let Some(address) = settings.s3_address() {
        let mut s3 = maker.container("s3", &images.s3);
        s3.environment = pairs(&[
            ("MINIO_ROOT_USER", &settings.access_key_id),
            ("MINIO_ROOT_PASSWORD", &settings.secret_access_key),
            ("MINIO_REGION", &settings.region),
        ]);
        s3.command.clone_from(&images.s3_command);
        s3.volumes = vec![(s3_volume, S3_DATA.to_owned())];
        let behind = settings.minio_address();
        s3.ports = vec![(behind, S3_PORT)];
        let store = S3Config {
            endpoint: format!("http://{behind}"),
            ..info.s3.clone()
        };
        let ready = s3_ready(&info, &store, behind.into());
        components.push(aws_component(
            state,
            settings,
            &info,
            &store,
            address.into(),
        ));
        components.push(component("s3", store.endpoint, s3, ready));
    }
    Ok(Plan {
        components,
        info,
        ask: Some(ask()),
        notices: settings
            .public
            .map(|public| listening(settings, public))
            .into_iter()
            .collect(),
    })
}

/// Returns the addresses of a container's port: one for this machine, and the public one if there
/// is one. 0.0.0.0 alone serves for both.
fn addresses(
    address: SocketAddrV4,
    public: Option<Ipv4Addr>,
) -> impl Iterator<Item = SocketAddrV4> {
    let all = match public {
        Some(ip) if ip.is_unspecified() => [Some(ip), None],
        _ => [Some(*address.ip()), public],
    };
    let here = move |ip| SocketAddrV4::new(ip, address.port());
    all.into_iter().flatten().map(here)
}

/// A maker of one sandbox's containers.
struct ContainerBuilder<'a> {
    resources: &'a Resources,
    network: &'a str,
    log_of: &'a dyn Fn(&str) -> PathBuf,
}

impl ContainerBuilder<'_> {
    fn container(&self, name: &str, image: &str) -> Container {
        Container {
            socket: self.resources.socket.clone(),
            name: self.resources.resource_name(name),
            image: image.to_owned(),
            entrypoint: None,
            command: Vec::new(),
            user: None,
            environment: Vec::new(),
            files: Vec::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            network: self.network.to_owned(),
            labels: self.resources.labels(),
            log: (self.log_of)(name),
        }
    }
}

fn component(
    name: &'static str,
    endpoint: String,
    container: Container,
    ready: Vec<Step>,
) -> Component {
    Component {
        name,
        endpoint,
        launch: Launch::Icebox(IceboxComponent::Container(Box::new(container))),
        prepare: None,
        ready,
        stop: STOP,
    }
}

/// Returns the steps that make the S3 server ready: an HTTP answer, then the bucket. In an empty
/// account, the user creates the bucket.
fn s3_ready(info: &SandboxInfo, store: &S3Config, address: SocketAddr) -> Vec<Step> {
    let make_bucket = action(
        (store.clone(), info.bucket.clone()),
        |(s3, bucket)| async move { Ok(client::ensure_bucket_at_start(&s3, &bucket).await?) },
    );
    let answers = Step::Probe(Probe::Http(address));
    let then = info.role_arn.is_some().then_some(make_bucket);
    [answers].into_iter().chain(then).collect()
}

/// Returns the component with IAM and STS in front of the S3 server. All that the S3 server knows
/// of a session is the session policy that it is given.
fn aws_component(
    state: &StateDir,
    settings: &Settings,
    info: &SandboxInfo,
    store: &S3Config,
    listen: SocketAddr,
) -> Component {
    let mut ready = vec![Step::Probe(Probe::Http(listen))];
    if info.role_arn.is_some() {
        ready.push(ensure_role(info));
    }
    Component {
        name: "aws",
        endpoint: info.s3.endpoint.clone(),
        launch: Launch::Icebox(IceboxComponent::Aws {
            listen,
            public: settings.public.map(IpAddr::from),
            s3: Box::new(store.clone()),
            accounts: settings.aws_accounts(),
            iam: state.iam_dir(),
            audit: state.audit_dir(),
        }),
        prepare: None,
        ready,
        stop: local::STOP,
    }
}

/// Returns a function that asks the server for its version and whether it has `pg_cron`. An image
/// does not tell.
fn ask() -> Complete {
    Arc::new(|mut info| {
        Box::pin(async move {
            let client = connect(&info.superuser()).await?;
            let sql = "SELECT split_part(current_setting('server_version'), ' ', 1),
                              EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')";
            let row = client.query_one(sql, &[]).await?;
            (info.postgres_version, info.has_pg_cron) = (row.try_get(0)?, row.try_get(1)?);
            Ok::<_, BoxError>(info)
        })
    })
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}

/// Runs `work` to completion on a runtime and a thread of its own, because the caller may be on a
/// runtime that it must not block.
fn wait_for<T: Send>(
    work: impl Future<Output = Result<T, container::Error>> + Send,
) -> Result<T, container::Error> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(container::Error::Runtime)?;
        runtime.block_on(work)
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_the_compose_files_unless_the_environment_says_otherwise() {
        let images = Images::from(|_| None);
        assert!(images.postgres.starts_with("icebox-pg-lake:"), "{images:?}");
        assert!(images.s3.starts_with("minio/minio:RELEASE."), "{images:?}");
        assert_eq!(images.s3_command, ["server", "/data"]);
        assert_eq!(images.all().count(), 2);

        let two = Images::from(|name| match name {
            "ICEBOX_POSTGRES_IMAGE" => Some("pg_lake:local".to_owned()),
            "ICEBOX_PGDUCK_IMAGE" => Some("pgduck-server:local".to_owned()),
            _ => None,
        });
        let all: Vec<&str> = two.all().collect();
        assert_eq!(
            all,
            ["pg_lake:local", "pgduck-server:local", images.s3.as_str()]
        );
    }
}
