//! The container engine of this machine: Docker or podman, behind a Unix socket that speaks
//! Docker's API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testcontainers::bollard::{API_DEFAULT_VERSION, Docker, errors::Error as DockerError};
use testcontainers::core::client::docker_client_instance;

use super::Error;

/// The time a daemon has to answer a ping during the search for one. An idle one on this machine
/// answers in milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time a known daemon has to answer a ping. It may be busy with another container.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of a request, in seconds. Removing a container with much data takes a while.
const REQUEST_TIMEOUT_SECONDS: u64 = 120;

/// The socket that testcontainers uses if `DOCKER_HOST` is not set.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// A container engine that answers.
#[derive(Clone, Debug)]
pub struct Daemon {
    pub socket: PathBuf,
    pub client: Docker,
}

impl Daemon {
    /// Finds the daemon that `DOCKER_HOST` names, or else the first of the usual sockets that
    /// answers. Does not use the network.
    pub async fn find() -> Result<Self, Error> {
        let mut first_failure = None;
        let candidates = candidates()?;
        for socket in &candidates {
            match Self::connect_within(socket, PROBE_TIMEOUT).await {
                Ok(daemon) => return Ok(daemon),
                // An existing socket that fails says more than sockets that do not exist.
                Err(Error::NoSocket { .. }) => {}
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        Err(first_failure.unwrap_or(Error::NoDaemon {
            looked_at: candidates,
        }))
    }

    /// Connects to the daemon behind one socket.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        Self::connect_within(socket, CONNECT_TIMEOUT).await
    }

    async fn connect_within(socket: &Path, patience: Duration) -> Result<Self, Error> {
        let socket = socket.to_path_buf();
        if let Err(reason) = tokio::net::UnixStream::connect(&socket).await {
            return Err(match reason.kind() {
                std::io::ErrorKind::NotFound => Error::NoSocket { socket },
                std::io::ErrorKind::PermissionDenied => Error::NoPermission { socket },
                _ => Error::NotListening { socket, reason },
            });
        }
        let connected = Docker::connect_with_unix(
            &address(&socket),
            REQUEST_TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        );
        let client = connected.map_err(|error| Error::request("take a connection", error))?;
        match tokio::time::timeout(patience, client.ping()).await {
            // A refusal of the API version is an answer too.
            Ok(Ok(_) | Err(DockerError::DockerResponseServerError { .. })) => {}
            Ok(Err(error)) => return Err(Error::request("answer", error)),
            Err(_) => return Err(Error::Silent { socket }),
        }
        // podman first asks its helpers for their versions, which takes a second.
        match client.negotiate_version().await {
            Ok(client) => Ok(Self { socket, client }),
            Err(error) => Err(Error::request("tell its version", error)),
        }
    }

    /// Returns whether the image is on this machine.
    pub async fn has_image(&self, image: &str) -> Result<bool, Error> {
        match self.client.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(Error::request("look for images", error)),
        }
    }
}

/// Returns the value of `DOCKER_HOST` that leads to a socket.
pub fn address(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// Returns the sockets to try, in this order.
fn candidates() -> Result<Vec<PathBuf>, Error> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(host) = variable("DOCKER_HOST") {
        let host = host.to_string_lossy().into_owned();
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(vec![PathBuf::from(path)]),
            None => Err(Error::NotLocal { host }),
        };
    }
    let mut sockets = vec![PathBuf::from(DEFAULT_SOCKET)];
    if let Some(runtime) = variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
        sockets.extend(["docker.sock", "podman/podman.sock"].map(|name| runtime.join(name)));
    }
    if let Some(home) = variable("HOME").map(PathBuf::from) {
        sockets.extend(
            ["run/docker.sock", "desktop/docker.sock"].map(|name| home.join(".docker").join(name)),
        );
    }
    sockets.push(PathBuf::from("/run/podman/podman.sock"));
    Ok(sockets)
}

/// Returns whether testcontainers, which reads this process's environment, would talk to the daemon
/// behind `socket`.
pub fn is_testcontainers_socket(socket: &Path) -> bool {
    match std::env::var_os("DOCKER_HOST") {
        Some(host) => host.to_string_lossy() == address(socket),
        None => socket == Path::new(DEFAULT_SOCKET),
    }
}

pub fn is_not_found(error: &DockerError) -> bool {
    matches!(
        error,
        DockerError::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

/// Makes testcontainers use an API version that the daemon knows. By default it begins with the
/// newest version that it knows itself, which every older daemon refuses (seen with testcontainers
/// 0.28 and Docker 20.10 and 28), and it has no setting for this. Its client is shared as long as
/// anyone holds it, and the negotiated version is part of the client. So this works when it is
/// called while testcontainers starts a container, before its first request. Blocks for a moment.
pub fn negotiate_api_version() {
    let negotiate = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let client = docker_client_instance()
                .await
                .map_err(|error| error.to_string())?;
            client
                .negotiate_version()
                .await
                .map_err(|error| error.to_string())
        })
    };
    // The caller's runtime cannot wait for another runtime on its own thread.
    let on_a_thread = || std::thread::scope(|scope| scope.spawn(negotiate).join());
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    let outcome = match flavor {
        // Another task on this thread may hold what the negotiation waits for.
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(on_a_thread),
        _ => on_a_thread(),
    };
    match outcome {
        Ok(Ok(client)) => {
            tracing::debug!(version = %client.client_version(), "the API version is negotiated");
        }
        // The start itself reports what is wrong.
        Ok(Err(error)) => tracing::warn!(%error, "the API version is not negotiated"),
        Err(_) => tracing::error!("negotiating the API version panicked"),
    }
}
