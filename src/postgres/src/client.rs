//! Connects to the sandbox's PostgreSQL, over TLS as a cloud client would.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};

/// The address of a PostgreSQL server, with the credentials of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub user: String,
    pub password: String,
    /// The server's self-signed certificate (PEM), the only one trusted. `None` connects without
    /// TLS.
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read the server certificate {path}")]
    Certificate {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the server certificate {path} is not usable: {reason}")]
    BadCertificate { path: PathBuf, reason: String },
    #[error(
        "cannot connect to PostgreSQL at {host}:{port} as {user}; is the sandbox up? (icebox status)"
    )]
    Connect {
        host: String,
        port: u16,
        user: String,
        #[source]
        source: tokio_postgres::Error,
    },
}

/// Opens a connection. A background task drives it until the client is dropped.
pub async fn connect(endpoint: &Endpoint) -> Result<Client, ConnectError> {
    connect_with_notices(
        endpoint,
        |notice| tracing::debug!(%notice, "PostgreSQL notice"),
    )
    .await
}

/// Opens a connection as [`connect`] does. `on_notice` receives the server's notices (`RAISE
/// NOTICE`, warnings) in order.
pub async fn connect_with_notices(
    endpoint: &Endpoint,
    on_notice: impl FnMut(DbError) + Send + 'static,
) -> Result<Client, ConnectError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&endpoint.host)
        .port(endpoint.port)
        .dbname(&endpoint.dbname)
        .user(&endpoint.user)
        .password(&endpoint.password)
        .application_name("icebox")
        .connect_timeout(Duration::from_secs(10));
    let failed = |source| ConnectError::Connect {
        host: endpoint.host.clone(),
        port: endpoint.port,
        user: endpoint.user.clone(),
        source,
    };
    let Some(path) = &endpoint.ca_file else {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        tokio::spawn(drive(connection, on_notice, OpenConnectionGuard::new()));
        return Ok(client);
    };
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(trusting(path)?);
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config.connect(tls).await.map_err(failed)?;
    tokio::spawn(drive(connection, on_notice, OpenConnectionGuard::new()));
    Ok(client)
}

/// Quotes a value for a libpq connection string if necessary (PostgreSQL documentation, "34.1.1.1.
/// Keyword/Value Connection Strings").
pub fn conninfo_value(value: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && c != '\'' && c != '\\';
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Returns a TLS configuration that trusts only the certificates of one PEM file.
fn trusting(path: &PathBuf) -> Result<rustls::ClientConfig, ConnectError> {
    let pem = std::fs::read(path).map_err(|source| ConnectError::Certificate {
        path: path.clone(),
        source,
    })?;
    let bad = |reason: String| ConnectError::BadCertificate {
        path: path.clone(),
        reason,
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pki_types::pem::PemObject::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(format!("{error:?}")))?;
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The number of open connections of this process.
static OPEN: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// A guard that counts one open connection.
struct OpenConnectionGuard;

impl OpenConnectionGuard {
    fn new() -> Self {
        OPEN.send_modify(|open| *open += 1);
        Self
    }
}

impl Drop for OpenConnectionGuard {
    fn drop(&mut self) {
        OPEN.send_modify(|open| *open -= 1);
    }
}

/// Waits until no connection of this process is open. A connection ends soon after its client is
/// dropped, when it has notified the server.
pub async fn connections_ended() {
    let _ = OPEN.subscribe().wait_for(|open| *open == 0).await;
}

/// Drives a connection until the client is dropped or the connection fails.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    mut on_notice: impl FnMut(DbError),
    _open: OpenConnectionGuard,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => on_notice(notice),
            Some(Ok(_)) => {}
            Some(Err(error)) => return tracing::debug!(%error, "PostgreSQL connection ended"),
            None => return,
        }
    }
}
