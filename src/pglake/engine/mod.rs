//! The lake engine: what `pgduck_server` is for pg_lake, a server that PostgreSQL sends its Iceberg work to.
//!
//! It listens on a private unix socket and is reached through postgres_fdw only (see the extension's script). Per
//! connection there is a session with one transaction; at its COMMIT, which postgres_fdw sends just before the local
//! commit, the engine writes the data files, manifests and metadata of one snapshot per changed table and records the
//! new metadata location under the id of the local transaction. The location counts once that transaction has
//! committed, so a crash in between loses nothing and doubles nothing.
//!
//! ```text
//! connection  messages of the protocol            session     statements
//! statement   what postgres_fdw says              transaction what is seen and changed
//! translate   queries as DataFusion plans         changes     the changes of one table
//! evaluate    queries that PostgreSQL evaluates   commit      changes as files
//! catalog     the engine's view of the database   view        versions of tables
//! rpc         requests of the extension           modify      UPDATE and DELETE by condition
//! fetch       rows by their identity            access      what a query may not ask for
//! export      the catalog in the object store   secrets     where S3 is, as statements say
//! ```

mod access;
mod catalog;
mod changes;
mod commit;
mod connection;
mod cursor;
mod error;
mod evaluate;
mod export;
mod fetch;
mod modify;
mod numeric;
mod rowid;
mod rpc;
mod secrets;
mod session;
mod statement;
mod transaction;
mod translate;
mod view;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use pgwire::messages::startup::SecretKey;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::EngineSocket;
use crate::tables::LakeIo;

use catalog::{Catalog, LocalPostgres};
use evaluate::{Evaluator, Scans};
pub use secrets::Keyring;

/// What a lake engine needs to know.
#[derive(Clone)]
pub struct EngineConfig {
    /// Whoever may connect to it may use the engine.
    pub socket: EngineSocket,
    /// The socket's mode.
    pub socket_mode: u32,
    /// Where the tables are.
    pub lakes: Lakes,
    /// How the engine itself reaches PostgreSQL, as a superuser; the database is that of each client.
    pub postgres: tokio_postgres::Config,
}

/// How an engine reaches the tables.
#[derive(Clone)]
pub enum Lakes {
    /// In one way, whatever its clients say.
    Fixed(LakeIo),
    /// By secrets, which any of its clients may change: `CREATE OR REPLACE SECRET … (TYPE S3, …)`.
    Secrets(Arc<Keyring>),
}

/// A database that the engine works for.
struct Database {
    catalog: Arc<Catalog>,
    versions: view::Versions,
    /// Clients that are connected for it.
    clients: AtomicUsize,
    /// Whether a task looks after it.
    is_attended: AtomicBool,
}

/// How long the engine's own connections to a database outlive its last client there. PostgreSQL's DROP DATABASE waits
/// for 5 seconds for connections to go.
const LINGER: Duration = Duration::from_secs(2);

struct Engine {
    runtime: Handle,
    io: LakeIo,
    keyring: Option<Arc<Keyring>>,
    evaluator: Arc<Evaluator>,
    postgres: LocalPostgres,
    databases: Mutex<HashMap<String, Arc<Database>>>,
    /// Sessions that may be cancelled, by the id that they were given: a secret, and whom to wake.
    clients: Mutex<HashMap<i32, (i32, Arc<Notify>)>>,
    last_id: AtomicI32,
}

/// Serves until `shutdown` completes.
pub async fn serve(
    config: EngineConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let socket = config.socket.path();
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(config.socket_mode))?;
    let engine = Arc::new(Engine::new(config)?);
    tracing::info!(socket = %socket.display(), "the lake engine is ready");
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, _) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted?,
        };
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let engine = engine.clone();
        std::thread::Builder::new()
            .name("lake session".to_owned())
            .spawn(move || {
                if let Err(error) = connection::serve(engine, stream) {
                    tracing::debug!(%error, "a connection broke off");
                }
            })?;
    }
    std::fs::remove_file(&socket)
}

impl Database {
    /// Takes note that a client has left.
    fn leave(&self) {
        self.clients.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps a database's catalog in the object store up to date while it has clients; then leaves it alone.
async fn attend(io: LakeIo, database: Arc<Database>) {
    let mut exporter = export::Exporter::default();
    let mut left_at = None;
    let has_clients = || database.clients.load(Ordering::SeqCst) > 0;
    loop {
        tokio::time::sleep(export::EVERY).await;
        exporter.run(&io, &database.catalog).await;
        if has_clients() {
            left_at = None;
            continue;
        }
        if left_at.get_or_insert_with(Instant::now).elapsed() < LINGER {
            continue;
        }
        database.is_attended.store(false, Ordering::SeqCst);
        // One that has come meanwhile may have found it attended.
        if !has_clients() || database.is_attended.swap(true, Ordering::SeqCst) {
            break;
        }
    }
    if !has_clients() {
        database.catalog.disconnect().await;
    }
}

impl Engine {
    fn new(config: EngineConfig) -> io::Result<Self> {
        let (io, keyring) = match config.lakes {
            Lakes::Fixed(io) => (io, None),
            Lakes::Secrets(keyring) => (keyring.io(), Some(keyring)),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(io.registry())
            .build_arc()
            .map_err(io::Error::other)?;
        let mut settings = SessionConfig::new();
        settings.options_mut().execution.parquet.pushdown_filters = true;
        // Columns keep the names that they have in PostgreSQL.
        settings.options_mut().sql_parser.enable_ident_normalization = false;
        Ok(Self {
            runtime: Handle::current(),
            io,
            keyring,
            evaluator: Arc::new(Evaluator {
                context: SessionContext::new_with_config_rt(settings, runtime),
                scans: Scans::default(),
                socket: config.socket,
            }),
            postgres: LocalPostgres(config.postgres),
            databases: Mutex::default(),
            clients: Mutex::default(),
            last_id: AtomicI32::new(0),
        })
    }

    /// The database of a new client, which has to [`leave`](Self::leave) it again.
    fn database(&self, name: &str) -> Arc<Database> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let catalog = Arc::new(Catalog::new(self.postgres.clone(), name));
            Arc::new(Database {
                catalog,
                versions: view::Versions::default(),
                clients: AtomicUsize::new(0),
                is_attended: AtomicBool::new(false),
            })
        };
        let database = databases.entry(name.to_owned()).or_insert_with(new).clone();
        database.clients.fetch_add(1, Ordering::SeqCst);
        if !database.is_attended.swap(true, Ordering::SeqCst) {
            let io = self.io.clone();
            self.runtime.spawn(attend(io, database.clone()));
        }
        database
    }

    /// Gives a client an id and a secret to be cancelled with.
    fn register(&self, cancel: Arc<Notify>) -> (i32, i32) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let secret = rand::random();
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, (secret, cancel));
        (id, secret)
    }

    fn unregister(&self, id: i32) {
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    fn cancel(&self, id: i32, secret: &SecretKey) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((expected, cancel)) = clients.get(&id)
            && matches!(secret, SecretKey::I32(secret) if secret == expected)
        {
            cancel.notify_waiters();
        }
    }
}
