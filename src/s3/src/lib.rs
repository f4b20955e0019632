//! icebox's own S3 server on local files.
//!
//! The [`s3s`] crate implements the protocol and the signatures; storage and the operations are
//! implemented here. [`Iam`] decides what callers may do. The server also answers requests to IAM
//! and STS, on the same port. Clients see what the [Amazon S3 API
//! reference](https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html) describes. Not
//! implemented are versions, tags, ACLs, policies, encryption with customer keys and object lock
//! (all answer `NotImplemented`).

mod access;
mod auth;
mod buckets;
mod conditions;
mod copy;
mod error;
mod headers;
mod keys;
mod listing;
mod metadata;
mod multipart;
mod objects;
mod owners;
mod page;
mod service;
mod store;
mod trail;
mod upload;

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use nix::fcntl::{Flock, FlockArg};
use s3s::service::{S3Service, S3ServiceBuilder};

use self::owners::Owners;
use self::store::Store;
use self::trail::{RequestAudit, Sent};
use icebox_aws as aws;
use icebox_aws::audit::{self, Audit};
use icebox_aws::{Account, AccountId, Endpoint, Iam, RequestMeta, Secret};
use icebox_base::connections::{self, Listeners};
use icebox_s3_client::S3Config;

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The directory of the buckets; created if it does not exist.
    pub root: PathBuf,
    /// The address to listen on; port 0 takes a free port.
    pub listen: SocketAddr,
    /// An address of this machine, or 0.0.0.0, where the server also listens on the same port, for
    /// other machines.
    pub public: Option<IpAddr>,
    /// The region of the buckets. Requests may be signed for any region.
    pub region: String,
    /// The accounts, at least one. The first account is the user's own; buckets that no other
    /// account created belong to it.
    pub accounts: Vec<Account>,
    /// The directory of the accounts' users, roles and policies; created if it does not exist.
    pub iam: PathBuf,
    /// The audit trail; `None` if decisions are not recorded.
    pub audit: Option<audit::Settings>,
}

impl ServerConfig {
    /// Returns the configuration of a server with one account, `000000000000`, and its root key
    /// pair, in `us-east-1`, without an audit trail.
    pub fn new(
        root: impl Into<PathBuf>,
        listen: SocketAddr,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<Secret>,
    ) -> Self {
        let root = root.into();
        Self {
            iam: root.join(".icebox/iam"),
            root,
            listen,
            public: None,
            region: "us-east-1".to_owned(),
            accounts: vec![Account {
                id: AccountId::LOCAL,
                root_access_key_id: access_key_id.into(),
                root_secret_access_key: secret_access_key.into(),
                root_may_assume_any_role: false,
            }],
            audit: None,
        }
    }
}

/// The reason why a server cannot start or continue.
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
    #[error(transparent)]
    Iam(#[from] aws::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
}

/// The result of a server's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// A server that has its port. It answers requests once it [runs](Self::run).
pub struct Server {
    listeners: Listeners,
    router: Router,
    iam: Iam,
    config: ServerConfig,
    /// The directory's lock, which is released when the server ends, also by a crash.
    _root_lock: Flock<File>,
}

impl Server {
    /// Prepares the directory and takes the port. Clients can connect from here on; their requests
    /// wait until [`Self::run`].
    ///
    /// # Errors
    /// [`Error::Root`], [`Error::InUse`], [`Error::Iam`], [`Error::Audit`], [`Error::Listen`].
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
        let iam = Iam::open(&config.iam, config.accounts.clone())?;
        let first = iam.accounts()[0].id.clone();
        let owners = Owners::open(&own.join("owners.json"), first).map_err(root_error)?;
        let owners = Arc::new(owners);
        let audit = config.audit.clone().map(Audit::open).transpose()?;

        let listen_error = |source| Error::Listen {
            listen: config.listen,
            source,
        };
        let listeners = Listeners::bind(config.listen, config.public);
        let listeners = listeners.await.map_err(listen_error)?;

        let mut builder = S3ServiceBuilder::new(service::Service {
            store,
            owners: owners.clone(),
            region: config.region.clone(),
        });
        builder.set_auth(auth::Keys(iam.clone()));
        builder.set_access(access::Access {
            iam: iam.clone(),
            owners,
        });
        Ok(Self {
            listeners,
            router: Router {
                s3: builder.build(),
                endpoint: Endpoint::new(iam.clone(), audit.clone()),
                audit,
            },
            iam,
            config,
            _root_lock: root_lock,
        })
    }

    /// Returns the address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners.address()
    }

    /// Returns the IAM that decides for this server.
    pub fn iam(&self) -> &Iam {
        &self.iam
    }

    /// Returns the configuration of a client that uses this server as the root user of the first
    /// account.
    pub fn client_config(&self) -> S3Config {
        // A server without an account does not start.
        let root = &self.config.accounts[0];
        S3Config {
            endpoint: format!("http://{}", self.local_addr()),
            region: self.config.region.clone(),
            access_key_id: root.root_access_key_id.clone(),
            secret_access_key: root.root_secret_access_key.expose().to_owned(),
            session_token: None,
        }
    }

    /// Answers requests until `shutdown` completes, then gives requests under way up to five
    /// seconds. Dropping the future stops at once.
    ///
    /// # Errors
    /// None at present: an error on one connection is logged and ends that connection.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let router = self.router;
        let answer = service_fn(move |request| {
            let router = router.clone();
            async move { router.answer(request).await }
        });
        connections::serve(self.listeners, answer, shutdown, || {}).await;
        Ok(())
    }
}

/// Answers requests to S3, IAM and STS.
#[derive(Clone)]
struct Router {
    s3: S3Service,
    endpoint: Endpoint,
    audit: Option<Audit>,
}

impl Router {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> std::result::Result<Response<s3s::Body>, s3s::HttpError> {
        if Endpoint::takes(&request) {
            return Ok(self.endpoint.answer(request).await.map(s3s::Body::from));
        }
        let id = request_id();
        let mut request = request.map(s3s::Body::from);
        // s3s logs requests at the debug level.
        for name in ["authorization", "x-amz-security-token"] {
            if let Some(value) = request.headers_mut().get_mut(name) {
                value.set_sensitive(true);
            }
        }
        let watched = self.audit.as_ref().map(|audit| {
            let meta = RequestMeta::new(request.headers(), request.extensions());
            let trail = RequestAudit::new(&id, &meta);
            let sent = Sent::new(request.method(), request.headers());
            request.extensions_mut().insert(trail.clone());
            (audit, trail, sent)
        });
        let mut response = self.s3.call(request).await?;
        if let Some((audit, trail, sent)) = watched {
            trail.close(audit, sent, &response);
        }
        let headers = response.headers_mut();
        headers.insert("server", HeaderValue::from_static("icebox"));
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert("x-amz-request-id", id);
        }
        Ok(response)
    }
}

/// Returns sixteen hexadecimal digits that identify a request as long as the server runs.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:016X}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns whether a name is a valid bucket name
/// ([rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)).
pub fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
}
