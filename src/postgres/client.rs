//! Connecting to the sandbox's PostgreSQL, over TLS as a cloud client would.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to reach a PostgreSQL server as one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub user: String,
    pub password: String,
    /// The server's self-signed certificate (PEM), the only one trusted; `None` connects without TLS.
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

/// Opens a connection and drives it on a background task until the client is dropped.
pub async fn connect(endpoint: &Endpoint) -> Result<tokio_postgres::Client, ConnectError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&endpoint.host)
        .port(endpoint.port)
        .dbname(&endpoint.dbname)
        .user(&endpoint.user)
        .password(&endpoint.password)
        .application_name("icebox")
        .connect_timeout(std::time::Duration::from_secs(10));
    let failed = |source| ConnectError::Connect {
        host: endpoint.host.clone(),
        port: endpoint.port,
        user: endpoint.user.clone(),
        source,
    };
    let Some(path) = &endpoint.ca_file else {
        let (client, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(failed)?;
        drive(connection);
        return Ok(client);
    };
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
        roots
            .add(certificate.map_err(|error| bad(format!("{error:?}")))?)
            .map_err(|error| bad(error.to_string()))?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config
        .connect(tokio_postgres_rustls::MakeRustlsConnect::new(tls))
        .await
        .map_err(failed)?;
    drive(connection);
    Ok(client)
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "PostgreSQL connection ended");
        }
    });
}
