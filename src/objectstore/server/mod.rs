//! icebox's own S3 server on local files.
//!
//! The protocol and the signatures are the [`s3s`] crate's; storage and the operations are here. What a client sees is
//! described in the [Amazon S3 API reference](https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html); not there:
//! versions, tags, ACLs, policies, encryption with customer keys, object lock (all answer `NotImplemented`).

mod auth;
mod buckets;
mod error;
mod headers;
mod keys;
mod listing;
mod metadata;
mod multipart;
mod objects;
mod service;
mod store;
mod upload;

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use nix::fcntl::{Flock, FlockArg};
use s3s::auth::SecretKey;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use self::store::Store;
use super::S3Config;
use crate::connections;

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where buckets are kept; made if it is not there.
    pub root: PathBuf,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The region that buckets are in. Requests may be signed for any.
    pub region: String,
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {} for S3's files: {source}; give a directory that this user may write", root.display())]
    Root { root: PathBuf, source: io::Error },
    #[error("another S3 server is using {}; stop it, or give this one a directory of its own", root.display())]
    InUse { root: PathBuf },
    #[error(
        "cannot listen on {listen} for S3: {source}; choose another port, or stop what is using it"
    )]
    Listen {
        listen: SocketAddr,
        source: io::Error,
    },
}

/// The result of what a server does.
pub type Result<T> = std::result::Result<T, Error>;

/// A server that listens, and answers once it [runs](Self::run).
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    service: S3Service,
    config: ServerConfig,
    /// Its lock ends with the server, however that ends.
    _root_lock: Flock<File>,
}

impl Server {
    /// Prepares the directory and takes the port. Clients may connect from here on; they wait until [`Self::run`].
    ///
    /// # Errors
    /// [`Error::Root`], [`Error::InUse`], [`Error::Listen`].
    pub async fn bind(config: ServerConfig) -> Result<Self> {
        let root_error = |source| Error::Root {
            root: config.root.clone(),
            source,
        };
        let own = config.root.join(".icebox");
        std::fs::create_dir_all(&own).map_err(root_error)?;
        let lock_file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(own.join("lock"))
            .map_err(root_error)?;
        let root_lock =
            Flock::lock(lock_file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                if errno == nix::errno::Errno::EWOULDBLOCK {
                    Error::InUse {
                        root: config.root.clone(),
                    }
                } else {
                    root_error(errno.into())
                }
            })?;
        let store = Arc::new(Store::open(&config.root).map_err(root_error)?);

        let listen_error = |source| Error::Listen {
            listen: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;

        let mut builder = S3ServiceBuilder::new(service::Service {
            store,
            region: config.region.clone(),
        });
        builder.set_auth(auth::KeyPair {
            access_key_id: config.access_key_id.clone(),
            secret_access_key: SecretKey::from(config.secret_access_key.clone()),
        });
        builder.set_access(auth::SignedRequests);
        Ok(Self {
            listener,
            local_addr,
            service: builder.build(),
            config,
            _root_lock: root_lock,
        })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What a client needs to use this server.
    pub fn client_config(&self) -> S3Config {
        S3Config {
            endpoint: format!("http://{}", self.local_addr),
            region: self.config.region.clone(),
            access_key_id: self.config.access_key_id.clone(),
            secret_access_key: self.config.secret_access_key.clone(),
        }
    }

    /// Answers requests until `shutdown` is done, then those under way for up to five seconds. Dropping the future
    /// stops at once.
    ///
    /// # Errors
    /// None at present: what goes wrong with one connection is logged and ends that connection.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let service = self.service;
        let answer = service_fn(move |request| answer(service.clone(), request));
        connections::serve(self.listener, answer, shutdown, || {}).await;
        Ok(())
    }
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> std::result::Result<Response<s3s::Body>, s3s::HttpError> {
    let mut response = service.call(request.map(s3s::Body::from)).await?;
    let headers = response.headers_mut();
    headers.insert("server", HeaderValue::from_static("icebox"));
    if let Ok(id) = HeaderValue::try_from(request_id()) {
        headers.insert("x-amz-request-id", id);
    }
    Ok(response)
}

/// Sixteen digits that name a request for as long as the server lives.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:016X}", NEXT.fetch_add(1, Ordering::Relaxed))
}
