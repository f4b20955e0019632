//! A component in a container, which testcontainers starts. It is watched while it runs, then
//! removed.
//!
//! ```text
//! supervisor ── process `icebox component container` ── container <name>-<component>
//!                                                       network <name>
//!                                                       volumes <name>-<component>
//! ```
//!
//! The process in between makes a container behave like every other component: when the supervisor
//! is killed, the system ends the process, which removes the container. If the process is killed
//! too, the next `up` or `down` removes what is left: see [`Resources`].

pub mod daemon;
mod images;
mod inside;
mod resources;

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use testcontainers::bollard::errors::Error as DockerError;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{
    ContainerAsync, ContainerRequest, CopyTargetOptions, GenericImage, Healthcheck, ImageExt,
    TestcontainersError,
};
use tokio::io::AsyncWriteExt;

use crate::component::{BoxError, IceboxComponent, Isolation, Shutdown};
pub use daemon::Daemon;
pub use images::Images;
pub use inside::PgDuckInContainer;
pub use resources::Resources;
use resources::remove_container;

/// The time a container has for its own shutdown before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// The time that the rest of the log may take once the container has ended.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// A container to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// The container engine's socket.
    pub socket: PathBuf,
    /// The container's name, which is also its host name in the network.
    pub name: String,
    pub image: String,
    /// The entrypoint, if not the image's own.
    pub entrypoint: Option<String>,
    pub command: Vec<String>,
    /// The user, if not the image's own.
    pub user: Option<String>,
    pub environment: Vec<(String, String)>,
    /// The files that are copied in before the start: path, content, mode.
    pub files: Vec<(String, String, u32)>,
    /// The addresses on this machine, each with the port of the container that it leads to.
    pub ports: Vec<(SocketAddrV4, u16)>,
    /// The names of volumes, each with its path in the container.
    pub volumes: Vec<(String, String)>,
    pub network: String,
    pub labels: HashMap<String, String>,
    /// The file that its output is appended to.
    pub log: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no container engine: none of {} exists", list(looked_at))]
    NoDaemon { looked_at: Vec<PathBuf> },
    #[error("no container engine: {socket} does not exist")]
    NoSocket { socket: PathBuf },
    #[error("this user may not use {socket}")]
    NoPermission { socket: PathBuf },
    #[error("no container engine answers at {socket} ({reason})")]
    NotListening {
        socket: PathBuf,
        reason: std::io::Error,
    },
    #[error("the container engine at {socket} does not answer")]
    Silent { socket: PathBuf },
    #[error(
        "DOCKER_HOST is {host}, but the sandbox needs a container engine on this machine: unix://…"
    )]
    NotLocal { host: String },
    #[error(
        "the container engine is at {socket}: start this program with DOCKER_HOST=unix://{socket}, which testcontainers reads"
    )]
    NotInEnvironment { socket: PathBuf },
    #[error("image {image} is missing")]
    NoImage { image: String },
    #[error("port {} on {} is in use: {reason}", address.port(), address.ip())]
    PortInUse {
        address: SocketAddrV4,
        reason: String,
    },
    #[error("container {name} of image {image} cannot start: {reason}")]
    Start {
        name: String,
        image: String,
        reason: String,
    },
    #[error("container {name} of image {image} ended with exit code {code}{}", if *out_of_memory { ": out of memory" } else { "" })]
    Ended {
        name: String,
        image: String,
        code: i64,
        out_of_memory: bool,
    },
    #[error("the container engine cannot {doing}: {reason}")]
    Request { doing: &'static str, reason: String },
    #[error("cannot write {path}")]
    Log {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot start a runtime to talk to the container engine")]
    Runtime(#[source] std::io::Error),
    #[error("cannot record the resources of the sandbox in the container engine")]
    Record(#[source] BoxError),
}

impl Error {
    /// Returns a command or another remedy that fixes the error.
    pub fn fix(&self) -> Option<String> {
        let fix = match self {
            Self::NoDaemon { .. } | Self::NoSocket { .. } => {
                "sudo apt-get install docker.io, or set DOCKER_HOST"
            }
            Self::NoPermission { .. } => "sudo usermod -aG docker \"$USER\", then log in again",
            Self::NotListening { .. } | Self::Silent { .. } => "sudo systemctl restart docker",
            Self::NoImage { .. } => "just images",
            _ => return None,
        };
        Some(fix.to_owned())
    }

    /// Returns the error's text with its fix.
    pub fn with_fix(&self) -> String {
        match self.fix() {
            Some(fix) => format!("{self}; to get it: {fix}"),
            None => self.to_string(),
        }
    }

    fn request(doing: &'static str, error: DockerError) -> Self {
        let reason = match error {
            DockerError::DockerResponseServerError { message, .. } => message,
            error => error.to_string(),
        };
        Self::Request { doing, reason }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

#[async_trait]
#[typetag::serde(name = "container")]
impl IceboxComponent for Container {
    fn environment(&self) -> Option<(&'static str, String)> {
        Some(("DOCKER_HOST", daemon::address(&self.socket)))
    }

    async fn run(&self, _isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        Ok(self.run_until(shutdown).await.map_err(crate::Error::from)?)
    }
}

impl Container {
    /// Runs the container until `shutdown` completes, then stops and removes it. It is an error if
    /// the container ends by itself; it is removed then too.
    ///
    /// # Errors
    /// Any [`Error`].
    async fn run_until(&self, shutdown: Shutdown) -> Result<(), Error> {
        // `shutdown` is watched from the beginning. A start that is under way still completes, so
        // that its container is known here and can be removed.
        let mut shutdown = tokio::spawn(shutdown);
        if !daemon::is_testcontainers_socket(&self.socket) {
            return Err(Error::NotInEnvironment {
                socket: self.socket.clone(),
            });
        }
        let daemon = Daemon::connect(&self.socket).await?;
        // testcontainers would pull a missing image.
        if !daemon.has_image(&self.image).await? {
            return Err(Error::NoImage {
                image: self.image.clone(),
            });
        }
        // A watching process that was killed may have left its container.
        remove_container(&daemon, &self.name).await?;
        let started = self.request().start().await;
        let container = match started {
            Ok(container) => container,
            Err(error) => {
                // A container that was created but could not start still exists.
                remove_container(&daemon, &self.name).await?;
                return Err(self.explain(&error));
            }
        };
        let mut log = tokio::spawn(follow(
            daemon.clone(),
            container.id().to_owned(),
            self.log.clone(),
        ));
        let ended = tokio::select! {
            code = wait(&daemon, container.id()) => Some(code?),
            _ = &mut shutdown => None,
        };
        let result = if let Some(code) = ended {
            Err(self.end(&daemon, code).await)
        } else {
            tracing::info!(container = self.name, "stopping");
            let seconds = i32::try_from(STOP_TIMEOUT.as_secs()).unwrap_or(i32::MAX);
            container
                .stop_with_timeout(Some(seconds))
                .await
                .map_err(|error| self.explain(&error))
        };
        if tokio::time::timeout(LOG_TIMEOUT, &mut log).await.is_err() {
            log.abort();
        }
        remove_started(container, &daemon).await?;
        result
    }

    fn request(&self) -> ContainerRequest<GenericImage> {
        let (name, tag) = split_reference(&self.image);
        let mut image = GenericImage::new(name, tag);
        if let Some(entrypoint) = &self.entrypoint {
            image = image.with_entrypoint(entrypoint);
        }
        let network = self.network.clone();
        let mut bindings = HashMap::<String, Option<Vec<PortBinding>>>::new();
        for (host, container) in &self.ports {
            let binding = PortBinding {
                host_ip: Some(host.ip().to_string()),
                host_port: Some(host.port().to_string()),
            };
            let all = bindings.entry(container.tcp().to_string()).or_default();
            all.get_or_insert_default().push(binding);
        }
        let mut request = image
            .with_container_name(&self.name)
            .with_labels(&self.labels)
            .with_cmd(&self.command)
            // icebox has its own probes. An image's health check may leave things in the lake.
            .with_health_check(Healthcheck::none())
            .with_host_config_modifier(move |config| {
                daemon::negotiate_api_version();
                config.network_mode = Some(network.clone());
                // Otherwise a container without ports would publish every port that its image
                // names, on all addresses.
                config.publish_all_ports = Some(false);
                config.port_bindings = Some(bindings.clone());
            });
        if let Some(user) = &self.user {
            request = request.with_user(user);
        }
        for (name, value) in &self.environment {
            request = request.with_env_var(name, value);
        }
        for &(host, container) in &self.ports {
            request = request.with_mapped_port(host.port(), container.tcp());
        }
        for (volume, path) in &self.volumes {
            request = request.with_mount(Mount::volume_mount(volume, path));
        }
        for (path, content, mode) in &self.files {
            let target = CopyTargetOptions::new(path).with_mode(*mode);
            request = request.with_copy_to(target, content.clone().into_bytes());
        }
        request
    }

    /// Explains an error of testcontainers in the user's terms.
    fn explain(&self, error: &TestcontainersError) -> Error {
        let reason = icebox_base::chain(error);
        let taken = ["port is already allocated", "address already in use"];
        if taken.iter().any(|text| reason.contains(text)) {
            let mut hosts = self.ports.iter().map(|(host, _)| *host);
            let first = hosts.clone().next();
            let named = hosts.find(|host| reason.contains(&host.port().to_string()));
            if let Some(address) = named.or(first) {
                return Error::PortInUse { address, reason };
            }
        }
        Error::Start {
            name: self.name.clone(),
            image: self.image.clone(),
            reason,
        }
    }

    async fn end(&self, daemon: &Daemon, code: i64) -> Error {
        let inspected = daemon.client.inspect_container(&self.name, None).await;
        let state = inspected.ok().and_then(|container| container.state);
        Error::Ended {
            name: self.name.clone(),
            image: self.image.clone(),
            code,
            out_of_memory: state.and_then(|state| state.oom_killed).unwrap_or(false),
        }
    }
}

/// Runs `work` to completion on a runtime and a thread of its own, because the caller may be on a
/// runtime that it must not block.
pub fn wait_for<T: Send>(work: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        runtime.block_on(work)
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Removes a container that testcontainers started, even if another process has already removed it.
async fn remove_started(
    container: ContainerAsync<GenericImage>,
    daemon: &Daemon,
) -> Result<(), Error> {
    let id = container.id().to_owned();
    if container.rm().await.is_err() {
        remove_container(daemon, &id).await?;
    }
    Ok(())
}

/// Waits until a container ends, and returns its exit code.
async fn wait(daemon: &Daemon, id: &str) -> Result<i64, Error> {
    let mut answers = Box::pin(
        daemon
            .client
            .wait_container(id, None::<WaitContainerOptions>),
    );
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(Error::request("wait for a container", error)),
        None => Err(Error::Request {
            doing: "wait for a container",
            reason: "it closed the connection".to_owned(),
        }),
    }
}

/// Appends a container's output to the file `log` until the container ends.
async fn follow(daemon: Daemon, id: String, log: PathBuf) -> Result<(), Error> {
    let failed = |source| Error::Log {
        path: log.clone(),
        source,
    };
    let mut file = tokio::fs::File::options()
        .append(true)
        .create(true)
        .open(&log)
        .await
        .map_err(failed)?;
    let options = LogsOptionsBuilder::new()
        .follow(true)
        .stdout(true)
        .stderr(true)
        .build();
    let mut output = Box::pin(daemon.client.logs(&id, Some(options)));
    while let Some(Ok(part)) = output.next().await {
        file.write_all(&part.into_bytes()).await.map_err(failed)?;
        file.flush().await.map_err(failed)?;
    }
    Ok(())
}

/// Splits an image's reference into its name and its tag or digest, so that `name:tag` is the
/// reference again.
fn split_reference(image: &str) -> (String, String) {
    let name_starts = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name_starts..].rfind(':') {
        Some(colon) => {
            let (name, tag) = image.split_at(name_starts + colon);
            (name.to_owned(), tag[1..].to_owned())
        }
        None => (image.to_owned(), "latest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_images() {
        for (image, name, tag) in [
            ("minio/minio:RELEASE.1", "minio/minio", "RELEASE.1"),
            ("lake", "lake", "latest"),
            ("localhost:5000/lake", "localhost:5000/lake", "latest"),
            ("localhost:5000/lake:1", "localhost:5000/lake", "1"),
            ("lake@sha256:ab", "lake@sha256", "ab"),
        ] {
            assert_eq!(split_reference(image), (name.to_owned(), tag.to_owned()));
        }
    }
}
