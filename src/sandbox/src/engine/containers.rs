//! The engine `containers`: PostgreSQL with `pg_lake` and `pgduck_server` in one container or two,
//! and an S3 server in another, on a network of their own. The images are those of `compose/`,
//! unless the environment names others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::local::{ensure_role, listening};
use super::pgduck::secret_sync_component;
use super::{Available, Complete, Context, Plan, Provider, ServerChanges, Unavailable};
use crate::aws::{self, AccountState};
use crate::component::{BoxError, Component, Launch, Probe, STOP, Step};
use crate::container::{self, Container, Daemon, Images, PgDuckInContainer, Resources, wait_for};
use crate::services::{MinioProxy, PgDuckAddress};
use crate::{Error, Options, SandboxInfo, StateDir};
use icebox_base::chain;
use icebox_postgres::configuration::access_rules_in_container;
use icebox_postgres::tls::Certificate;
use icebox_postgres::{Endpoint, connect};
use icebox_s3_client as client;
use icebox_s3_client::S3Config;

/// The entrypoint for images that are not icebox's own.
const ENTRYPOINT: &str = include_str!("../../../../compose/entrypoint.sh");
const ENTRYPOINT_PATH: &str = "/icebox-entrypoint.sh";

/// The directory of the volume of PostgreSQL and `pgduck_server`. They share it if they run in two
/// containers.
const POSTGRES_HOME: &str = "/var/lib/postgresql";
/// The name of the component `pgduck_server`.
const PGDUCK: &str = "pgduck_server";
const S3_DATA: &str = "/data";
const POSTGRES_PORT: u16 = 5432;
const S3_PORT: u16 = 9000;

/// A placeholder for S3 keys that do not exist, because the entrypoint requires some. The secret
/// that it creates is later replaced by name.
const NO_KEY: &str = "none";

/// The signal for the process that watches a container, and the time it has to stop the container.
const STOP_CONTAINER: &[(Signal, Duration)] = &[(
    Signal::SIGTERM,
    container::STOP_TIMEOUT.saturating_add(Duration::from_secs(10)),
)];

pub struct ContainerEngine;

#[async_trait]
impl Provider for ContainerEngine {
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

    async fn remove_resources(&self, state: &StateDir, data: bool) -> Result<(), Error> {
        match Resources::recorded(state)? {
            Some(resources) => Ok(resources.remove(data).await?),
            None => Ok(()),
        }
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
    let certificate = Certificate::ensure(&state.tls_dir(), *settings.postgres_address().ip())?;
    let info = info(context, &certificate);
    let containers = Containers {
        images,
        context,
        s3_inside: S3Config {
            endpoint: format!("http://{}:{S3_PORT}", lake.resource_name("s3")),
            ..info.s3.clone()
        },
        resources,
        network: lake.name,
    };
    let mut volumes = vec![containers.volume("postgres")];
    if context.shared_lake.is_none() {
        volumes.push(containers.volume("s3"));
    }
    wait_for(async {
        let daemon = Daemon::connect(socket).await?;
        containers.resources.prepare(&daemon, state, &volumes).await
    })?;

    let mut components = Vec::new();
    components.extend(containers.secret_sync(&info)?);
    components.extend(containers.postgres_components(&info, &certificate)?);
    if let Some(address) = settings.s3_address() {
        components.extend(containers.s3_components(&info, address.into()));
    }
    Ok(Plan {
        components,
        info,
        complete: Some(ask_server()),
        notices: settings
            .listen
            .map(|public| listening(settings, public))
            .into_iter()
            .collect(),
        // MinIO has only one account.
        snowflake_s3: settings.s3(),
        changes: ServerChanges {
            access_rules: access_rules_in_container,
            has_secret_sync: true,
        },
    })
}

/// Returns how to reach the sandbox. Its version and `pg_cron` are completed by [`ask_server`].
fn info(context: &Context<'_>, certificate: &Certificate) -> SandboxInfo {
    let settings = context.settings;
    let address = settings.postgres_address();
    SandboxInfo {
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
        state_dir: context.state.root().to_path_buf(),
    }
}

/// The containers of one sandbox.
struct Containers<'a> {
    images: &'a Images,
    context: &'a Context<'a>,
    resources: Resources,
    network: String,
    /// The S3 service, as containers reach it.
    s3_inside: S3Config,
}

impl Containers<'_> {
    fn volume(&self, name: &str) -> String {
        self.resources.resource_name(name)
    }

    /// Returns a container that has nothing yet but its image.
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
            network: self.network.clone(),
            labels: self.resources.labels(),
            log: self.context.state.log(name),
        }
    }

    /// Returns the secret sync of a server on the lake of another sandbox.
    fn secret_sync(&self, info: &SandboxInfo) -> Result<Option<Component>, Error> {
        let Some(shared_lake) = self.context.shared_lake else {
            return Ok(None);
        };
        let name_of_server = self.images.pgduck.as_ref().map_or("postgres", |_| PGDUCK);
        let server = PgDuckAddress::Container(Box::new(PgDuckInContainer {
            socket: self.resources.socket.clone(),
            container: self.resources.resource_name("postgres"),
            server: self.resources.resource_name(name_of_server),
            socket_dir: Path::new(POSTGRES_HOME).join("run"),
            daemon: OnceCell::new(),
        }));
        let sts_endpoint = info.s3.endpoint.clone();
        secret_sync_component(server, self.s3_inside.clone(), sts_endpoint, shared_lake).map(Some)
    }

    /// Returns PostgreSQL, and `pgduck_server` if it has an image of its own.
    fn postgres_components(
        &self,
        info: &SandboxInfo,
        certificate: &Certificate,
    ) -> Result<Vec<Component>, Error> {
        let settings = self.context.settings;
        let address = settings.postgres_address();
        let volume = self.volume("postgres");
        let lake_environment = self.lake_environment();

        let mut postgres = self.container("postgres", &self.images.postgres);
        postgres.environment = [
            lake_environment.clone(),
            self.postgres_environment(certificate)?,
        ]
        .concat();
        postgres.volumes = vec![(volume.clone(), POSTGRES_HOME.to_owned())];
        postgres.ports = addresses(address, settings.listen)
            .map(|host| (host, POSTGRES_PORT))
            .collect();
        let mut pgduck = self.images.pgduck.as_ref().map(|image| {
            let mut pgduck = self.container(PGDUCK, image);
            pgduck.environment = lake_environment;
            pgduck.volumes.clone_from(&postgres.volumes);
            pgduck
        });
        if let Some(pgduck) = &mut pgduck {
            // These images are not icebox's own, so they get icebox's entrypoint and the server
            // that it is to run.
            for (container, role) in [(&mut postgres, "postgres"), (pgduck, "pgduck")] {
                container.entrypoint = Some(ENTRYPOINT_PATH.to_owned());
                container.files = vec![(ENTRYPOINT_PATH.to_owned(), ENTRYPOINT.to_owned(), 0o755)];
                container.command = vec![role.to_owned()];
                container.user = Some("0".to_owned());
            }
        }
        let answers = Step::Probe(Probe::Postgres(info.superuser()));
        let postgres = component("postgres", address.to_string(), postgres, vec![answers]);
        // PostgreSQL starts only after pgduck_server has its socket, so pgduck_server has no probe
        // of its own.
        let pgduck = pgduck.map(|pgduck| component(PGDUCK, volume, pgduck, vec![]));
        Ok([postgres].into_iter().chain(pgduck).collect())
    }

    /// Returns the variables of the entrypoint for whatever reaches the lake.
    fn lake_environment(&self) -> Vec<(String, String)> {
        let settings = self.context.settings;
        let (key_id, secret_key) = match self.context.shared_lake {
            Some(_) => (NO_KEY, NO_KEY),
            None => (
                settings.access_key_id.as_str(),
                settings.secret_access_key.as_str(),
            ),
        };
        pairs(&[
            ("ICEBOX_S3_ENDPOINT", &self.s3_inside.endpoint),
            ("ICEBOX_S3_REGION", &settings.region),
            ("ICEBOX_S3_ACCESS_KEY_ID", key_id),
            ("ICEBOX_S3_SECRET_ACCESS_KEY", secret_key),
            ("ICEBOX_BUCKET", &settings.bucket),
            ("ICEBOX_PGDUCK_MEMORY_LIMIT", &self.images.memory_limit),
        ])
    }

    /// Returns the variables of the entrypoint for PostgreSQL.
    fn postgres_environment(
        &self,
        certificate: &Certificate,
    ) -> Result<Vec<(String, String)>, Error> {
        let settings = self.context.settings;
        let read = |path: &Path| std::fs::read_to_string(path).map_err(Error::file("read", path));
        let clients = self.context.shared_lake.map_or("all", |_| "rules");
        Ok(pairs(&[
            ("ICEBOX_ADMIN_PASSWORD", &settings.admin_password),
            (
                "ICEBOX_APPLICATION_PASSWORD",
                &settings.application_password,
            ),
            ("ICEBOX_SUPERUSER_PASSWORD", &settings.lake_password),
            ("ICEBOX_CLIENTS", clients),
            ("ICEBOX_TLS_CERTIFICATE", &read(&certificate.certificate)?),
            ("ICEBOX_TLS_KEY", &read(&certificate.key)?),
        ]))
    }

    /// Returns the S3 server and the MinIO proxy, which clients reach at `listen`.
    fn s3_components(&self, info: &SandboxInfo, listen: SocketAddr) -> [Component; 2] {
        let settings = self.context.settings;
        let mut s3 = self.container("s3", &self.images.s3);
        s3.environment = pairs(&[
            ("MINIO_ROOT_USER", &settings.access_key_id),
            ("MINIO_ROOT_PASSWORD", &settings.secret_access_key),
            ("MINIO_REGION", &settings.region),
        ]);
        s3.command.clone_from(&self.images.s3_command);
        s3.volumes = vec![(self.volume("s3"), S3_DATA.to_owned())];
        let address = settings.minio_address();
        s3.ports = vec![(address, S3_PORT)];
        let store = S3Config {
            endpoint: format!("http://{address}"),
            ..info.s3.clone()
        };
        let ready = s3_ready(info, &store, address.into());
        [
            minio_proxy(self.context, info, &store, listen),
            component("s3", store.endpoint, s3, ready),
        ]
    }
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

fn component(
    name: &'static str,
    endpoint: String,
    container: Container,
    ready: Vec<Step>,
) -> Component {
    Component {
        name,
        endpoint,
        launch: Launch::Icebox(Arc::new(container)),
        prepare: None,
        ready,
        stop: STOP_CONTAINER,
    }
}

/// Returns the steps that make the S3 server ready: an HTTP answer, then the bucket. In an empty
/// account, the user creates the bucket.
fn s3_ready(info: &SandboxInfo, store: &S3Config, address: SocketAddr) -> Vec<Step> {
    let make_bucket = Step::action(
        (store.clone(), info.bucket.clone()),
        |(s3, bucket)| async move { Ok(client::ensure_bucket_at_start(&s3, &bucket).await?) },
    );
    let answers = Step::Probe(Probe::Http(address));
    let then = info.role_arn.is_some().then_some(make_bucket);
    [answers].into_iter().chain(then).collect()
}

/// Returns the component with IAM and STS in front of the S3 server. All that the S3 server knows
/// of a session is the session policy that it is given.
fn minio_proxy(
    context: &Context<'_>,
    info: &SandboxInfo,
    store: &S3Config,
    listen: SocketAddr,
) -> Component {
    let Context {
        state, settings, ..
    } = context;
    let mut ready = vec![Step::Probe(Probe::Http(listen))];
    if info.role_arn.is_some() {
        ready.push(ensure_role(info));
    }
    Component {
        name: "aws",
        endpoint: info.s3.endpoint.clone(),
        launch: Launch::Icebox(Arc::new(MinioProxy {
            listen,
            public: settings.listen.map(IpAddr::from),
            s3: store.clone(),
            accounts: settings.aws_accounts(),
            iam: state.iam_dir(),
            audit: state.audit_dir(),
        })),
        prepare: None,
        ready,
        stop: STOP,
    }
}

/// Returns a function that asks the server for its version and whether it has `pg_cron`. An image
/// does not tell.
fn ask_server() -> Complete {
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
