//! The lake engine: the server that PostgreSQL sends its Iceberg work to, in place of
//! `pgduck_server`.
//!
//! It listens on a private unix socket. PostgreSQL connects to it through `postgres_fdw` and dblink
//! (see the extension's script). Each connection is a session with at most one transaction.
//! `postgres_fdw` sends COMMIT just before the local commit. The engine then writes one snapshot
//! per changed table: its data files, manifests and metadata file. It records the new metadata
//! location under the id of the local transaction. The location becomes valid when that transaction
//! has committed, so a crash in between neither loses nor duplicates rows.
//!
//! ```text
//! connection   protocol messages in and out        session      statements of a connection
//! statement    parses what postgres_fdw sends      transaction  snapshot, savepoints, commit
//! translate    queries as DataFusion plans         changes      uncommitted changes of one table
//! evaluate     runs queries, or asks PostgreSQL    commit       the next version of one table
//! catalog      the engine's queries to PostgreSQL  view         versions of tables
//! rpc          requests of the extension           modify       UPDATE and DELETE by condition
//! fetch        rows by their ids                   access       queries that are refused
//! export       the catalog in the object store     secrets      S3 secrets set by statements
//! cursor       rows of a result set                rowid        row ids as `ctid`
//! numeric      PostgreSQL's division of numerics   error        errors with their SQLSTATE
//! options      the settings, a row each            returning    the rows of RETURNING
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
pub mod options;
mod returning;
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use parking_lot::Mutex;
use pgwire::messages::startup::SecretKey;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use catalog::{Catalog, LocalPostgres};
use evaluate::{Evaluator, Scans};
use icebox_tables::LakeIo;
use options::Options;
pub use secrets::SecretStore;

/// The inputs of a lake engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// The options. Every user who may connect to the socket may use the engine.
    pub options: Options,
    /// The access to the tables.
    pub lakes: LakeAccess,
    /// The engine's own connection to PostgreSQL, as a superuser. The database is that of each
    /// client.
    pub postgres: tokio_postgres::Config,
}

/// The engine's access to the object stores.
#[derive(Clone)]
pub enum LakeAccess {
    /// A fixed access, which no client can change.
    Fixed(LakeIo),
    /// Access by secrets, which any client may change: `CREATE OR REPLACE SECRET … (TYPE S3, …)`.
    Secrets(Arc<SecretStore>),
}

/// A database that the engine serves.
struct Database {
    catalog: Arc<Catalog>,
    versions: view::Versions,
    /// The number of connected clients.
    clients: AtomicUsize,
    /// Whether a background task maintains this database, see [`maintain`].
    is_maintained: AtomicBool,
}

/// How long the engine keeps its own connections to a database after the last client has left. It
/// must be shorter than the 5 seconds that PostgreSQL's DROP DATABASE waits for connections to end.
const DISCONNECT_DELAY: Duration = Duration::from_secs(2);

struct Engine {
    runtime: Handle,
    io: LakeIo,
    secret_store: Option<Arc<SecretStore>>,
    options: Arc<Options>,
    evaluator: Arc<Evaluator>,
    postgres: LocalPostgres,
    databases: Mutex<HashMap<String, Arc<Database>>>,
    /// The sessions that can be cancelled, by id: the secret of each, and how to wake it.
    clients: Mutex<HashMap<i32, (i32, Arc<Notify>)>>,
    last_id: AtomicI32,
}

/// Serves clients until `shutdown` completes.
pub async fn serve(
    config: EngineConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let socket = config.options.socket().path();
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&socket)?;
    let mode = config.options.unix_socket_permissions;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode))?;
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
                    tracing::debug!(%error, "a client's connection failed");
                }
            })?;
    }
    std::fs::remove_file(&socket)
}

impl Database {
    /// Counts a client that has disconnected.
    fn disconnect_client(&self) {
        self.clients.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps a database's catalog in the object store up to date while it has clients. Closes the
/// engine's connections to the database some time after the last client has left.
async fn maintain(io: LakeIo, database: Arc<Database>) {
    let mut exporter = export::Exporter::default();
    let mut left_at = None;
    let has_clients = || database.clients.load(Ordering::SeqCst) > 0;
    loop {
        tokio::time::sleep(export::EXPORT_INTERVAL).await;
        exporter.run(&io, &database.catalog).await;
        if has_clients() {
            left_at = None;
            continue;
        }
        if left_at.get_or_insert_with(Instant::now).elapsed() < DISCONNECT_DELAY {
            continue;
        }
        database.is_maintained.store(false, Ordering::SeqCst);
        // A client that has connected meanwhile may have seen the flag still set, and then relies
        // on this task.
        if !has_clients() || database.is_maintained.swap(true, Ordering::SeqCst) {
            break;
        }
    }
    if !has_clients() {
        database.catalog.disconnect().await;
    }
}

impl Engine {
    fn new(config: EngineConfig) -> io::Result<Self> {
        let (io, secret_store) = match config.lakes {
            LakeAccess::Fixed(io) => (io, None),
            LakeAccess::Secrets(secret_store) => (secret_store.io(), Some(secret_store)),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(io.registry())
            .build_arc()
            .map_err(io::Error::other)?;
        let mut settings = SessionConfig::new();
        settings.options_mut().execution.parquet.pushdown_filters = true;
        // Column names are case-sensitive, as in PostgreSQL.
        settings.options_mut().sql_parser.enable_ident_normalization = false;
        Ok(Self {
            runtime: Handle::current(),
            io,
            secret_store,
            evaluator: Arc::new(Evaluator {
                context: SessionContext::new_with_config_rt(settings, runtime),
                scans: Scans::default(),
                socket: config.options.socket(),
            }),
            options: Arc::new(config.options),
            postgres: LocalPostgres(config.postgres),
            databases: Mutex::default(),
            clients: Mutex::default(),
            last_id: AtomicI32::new(0),
        })
    }

    /// Returns the database of a new client. The client has to call
    /// [`disconnect_client`](Database::disconnect_client) at its end.
    fn database(&self, name: &str) -> Arc<Database> {
        let mut databases = self.databases.lock();
        let new = || {
            let catalog = Arc::new(Catalog::new(self.postgres.clone(), name));
            Arc::new(Database {
                catalog,
                versions: view::Versions::default(),
                clients: AtomicUsize::new(0),
                is_maintained: AtomicBool::new(false),
            })
        };
        let database = databases.entry(name.to_owned()).or_insert_with(new).clone();
        database.clients.fetch_add(1, Ordering::SeqCst);
        if !database.is_maintained.swap(true, Ordering::SeqCst) {
            let io = self.io.clone();
            self.runtime.spawn(maintain(io, database.clone()));
        }
        database
    }

    /// Registers a client, and returns the id and secret with which it can be cancelled.
    fn register(&self, cancel: Arc<Notify>) -> (i32, i32) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let secret = rand::random();
        self.clients.lock().insert(id, (secret, cancel));
        (id, secret)
    }

    fn unregister(&self, id: i32) {
        self.clients.lock().remove(&id);
    }

    fn cancel(&self, id: i32, secret: &SecretKey) {
        let clients = self.clients.lock();
        if let Some((expected, cancel)) = clients.get(&id)
            && matches!(secret, SecretKey::I32(secret) if secret == expected)
        {
            cancel.notify_waiters();
        }
    }
}
