//! `pgduck_server` as a component: the process with DuckDB to which the real `pg_lake` sends its
//! queries.
//!
//! ```text
//! <dir>/pgduck.sql       its init file: the secret of the S3 server (0600)
//! <dir>/pgduck.offline   the program that was seen to start offline, see `starts_offline`
//! <dir>/pgduck/          its home: duckdb.db, cache/, and DuckDB's extensions in .duckdb/
//! ```

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::component::{BoxError, Component, Launch, Probe, STOP, Step};
use crate::services::{PgDuckAddress, SecretSync};
use crate::{Error, SharedLake, StateDir, process};
use icebox_aws as aws;
use icebox_aws::AccountId;
use icebox_pglake::duckdb_secret::{self, Secret};
use icebox_pglake::{EngineSocket, secret_sync};
use icebox_postgres::Account;
use icebox_s3_client::S3Config;

/// The environment variable with DuckDB's memory limit, for example `4GB`.
const MEMORY_LIMIT: &str = "ICEBOX_PGDUCK_MEMORY_LIMIT";
/// The environment variable with a directory of DuckDB's extensions, laid out like
/// `~/.duckdb/extensions`.
const EXTENSIONS_DIR: &str = "ICEBOX_PGDUCK_EXTENSIONS";
/// The extensions of DuckDB that `pgduck_server` loads when it starts, and that need not be built
/// into it.
const EXTENSIONS: [&str; 2] = ["spatial", "delta"];
/// The environment variable with the connection string by which icebox's stand-in reaches
/// PostgreSQL. The real program ignores it.
const POSTGRES: &str = "ICEBOX_PGDUCK_POSTGRES";
/// The time limit of a trial start without a network. DuckDB loads some 100 MB.
const TRIAL: Duration = Duration::from_secs(30);

/// One `pgduck_server`.
pub struct PgDuck {
    pub program: PathBuf,
    pub socket: EngineSocket,
    /// The directory of its files, which icebox owns and `account` may enter.
    pub dir: PathBuf,
    /// PostgreSQL's account: the two servers exchange files.
    pub account: Option<Account>,
    /// The secret that it starts with.
    pub secret: Secret,
    /// The connection string of a superuser of its PostgreSQL.
    pub postgres: String,
}

impl PgDuck {
    pub fn component(self) -> Component {
        let pgduck = Arc::new(self);
        let started = pgduck.clone();
        Component {
            name: "pgduck_server",
            endpoint: pgduck.socket.path().display().to_string(),
            // It listens once DuckDB and all of its extensions are loaded.
            ready: vec![Step::Probe(Probe::UnixSocket(pgduck.socket.path()))],
            launch: Launch::Program(Arc::new(move || {
                let is_offline = started
                    .marker_of_now()
                    .is_some_and(|now| started.marker() == now);
                started.command(
                    &started.socket,
                    &started.home().join("duckdb.db"),
                    is_offline,
                )
            })),
            prepare: Some(Arc::new(move || pgduck.prepare())),
            stop: STOP,
        }
    }

    fn home(&self) -> PathBuf {
        self.dir.join("pgduck")
    }

    fn init_file(&self) -> PathBuf {
        self.dir.join("pgduck.sql")
    }

    fn command(&self, socket: &EngineSocket, database: &Path, is_offline: bool) -> Command {
        let home = self.home();
        let mut command = Command::new(&self.program);
        command
            .arg("--unix_socket_directory")
            .arg(&socket.dir)
            .args(["--port", &socket.port.to_string()])
            .args(["--memory_limit", &memory_limit()])
            .arg("--cache_dir")
            .arg(home.join("cache"))
            .arg("--duckdb_database_file_path")
            .arg(database)
            .arg("--init_file_path")
            .arg(self.init_file())
            .args(is_offline.then_some("--no_extension_install"))
            .env("HOME", &home)
            .env(POSTGRES, &self.postgres)
            .current_dir(home);
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    fn prepare(&self) -> Result<(), BoxError> {
        for dir in [self.home(), self.home().join("cache")] {
            self.make_dir(&dir)?;
        }
        self.write_init_file()?;
        self.copy_extensions()?;
        let now = self.marker_of_now();
        if now.is_none() || Some(self.marker()) != now {
            let marker = if self.starts_offline()? {
                now.unwrap_or_default()
            } else {
                String::new()
            };
            let path = self.marker_path();
            std::fs::write(&path, marker).map_err(Error::file("write", &path))?;
        }
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> Result<(), Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::file("create", path))?;
        Ok(self.give(path)?)
    }

    /// Makes the account the owner of a file.
    fn give(&self, path: &Path) -> Result<(), icebox_postgres::Error> {
        match &self.account {
            Some(account) => account.chown(path),
            None => Ok(()),
        }
    }

    fn write_init_file(&self) -> Result<(), Error> {
        let path = self.init_file();
        let text = duckdb_secret::statement(secret_sync::SECRET_NAME, &self.secret);
        let _ = std::fs::remove_file(&path);
        std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Error::file("write", &path))?;
        Ok(self.give(&path)?)
    }

    /// Copies DuckDB's extensions from where the user or PostgreSQL's account has them. Otherwise
    /// the server would look for them in its home directory and then on the network.
    fn copy_extensions(&self) -> Result<(), Error> {
        let homes = [
            std::env::var_os("HOME").map(PathBuf::from),
            self.account.as_ref().and_then(|account| {
                let user = nix::unistd::User::from_name(&account.name).ok()??;
                Some(user.dir)
            }),
        ];
        let usual = homes
            .into_iter()
            .flatten()
            .map(|home| home.join(".duckdb/extensions"));
        let named = std::env::var_os(EXTENSIONS_DIR).map(PathBuf::from);
        for from in named.into_iter().chain(usual) {
            for name in EXTENSIONS {
                // Each is <version>/<platform>/<name>.duckdb_extension, with a description beside
                // it.
                let pattern = format!(
                    "{}/*/*/{name}.duckdb_extension*",
                    glob::Pattern::escape(&from.to_string_lossy())
                );
                for file in glob::glob(&pattern).into_iter().flatten().flatten() {
                    let Ok(relative) = file.strip_prefix(&from) else {
                        continue;
                    };
                    self.copy_extension(&file, relative)?;
                }
            }
        }
        Ok(())
    }

    fn copy_extension(&self, file: &Path, relative: &Path) -> Result<(), Error> {
        let to = self.home().join(".duckdb/extensions").join(relative);
        if to.exists() {
            return Ok(());
        }
        let folders: Vec<&Path> = to
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.home())
            .collect();
        for folder in folders.into_iter().rev() {
            self.make_dir(folder)?;
        }
        std::fs::copy(file, &to).map_err(Error::file("copy", file))?;
        Ok(self.give(&to)?)
    }

    fn marker_path(&self) -> PathBuf {
        self.dir.join("pgduck.offline")
    }

    /// Returns the mark of the program that was last seen to start without a network.
    fn marker(&self) -> String {
        std::fs::read_to_string(self.marker_path()).unwrap_or_default()
    }

    /// Returns the mark of the program that is installed now, which tells it from other builds.
    fn marker_of_now(&self) -> Option<String> {
        let program = self.program.canonicalize().ok()?;
        let metadata = program.metadata().ok()?;
        let (size, time) = (metadata.len(), metadata.mtime());
        Some(format!("{} {size} {time}", program.display()))
    }

    /// Returns whether the server starts when it must not install extensions of DuckDB. If it may,
    /// it asks the network for one at each start (`INSTALL spatial`), and ends if there is no
    /// network. But it must be allowed to if that extension is not on this machine yet. Only a
    /// trial tells.
    fn starts_offline(&self) -> Result<bool, Error> {
        let socket = EngineSocket {
            port: self.socket.port - 1,
            ..self.socket.clone()
        };
        let mut command = self.command(&socket, Path::new(":memory:"), true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        process::end_with_this_thread(&mut command, Signal::SIGKILL);
        let mut child = command.spawn().map_err(Error::file("run", &self.program))?;
        let begun = Instant::now();
        let starts = loop {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                break false;
            }
            if UnixStream::connect(socket.path()).is_ok() || begun.elapsed() > TRIAL {
                break true;
            }
            std::thread::sleep(Duration::from_millis(4));
        };
        let _ = child.kill();
        let _ = child.wait();
        let _ = std::fs::remove_file(socket.path());
        let _ = std::fs::remove_file(
            socket
                .path()
                .with_extension(format!("{}.lock", socket.port)),
        );
        if !starts {
            tracing::info!(
                "pgduck_server does not start without the network: it may install extensions of DuckDB"
            );
        }
        Ok(starts)
    }
}

/// Returns the component that gives a `pgduck_server` the credentials of the granted role, for a
/// server on the lake of another sandbox. `s3` is the S3 service as that `pgduck_server` reaches
/// it.
///
/// # Errors
/// The record of an earlier secret sync cannot be removed.
pub fn secret_sync_component(
    server: PgDuckAddress,
    s3: S3Config,
    sts_endpoint: String,
    shared_lake: &SharedLake,
) -> Result<Component, Error> {
    let grant = &shared_lake.grant;
    let policies = aws::state_file(
        &StateDir::new(&shared_lake.lake)?.iam_dir(),
        &AccountId::LOCAL,
    );
    secret_sync::remove_applied(grant).map_err(Error::file("forget", grant))?;
    Ok(Component {
        name: "lake-access",
        endpoint: s3.endpoint.clone(),
        launch: Launch::Icebox(Arc::new(SecretSync {
            server,
            s3,
            sts_endpoint,
            grant: grant.clone(),
            policies,
        })),
        prepare: None,
        // Without the credentials of its grant, the server would refuse what the grant allows.
        ready: vec![Step::Probe(Probe::Grant(grant.clone()))],
        stop: STOP,
    })
}

/// Returns DuckDB's memory limit: what the environment says, or else a quarter of the machine's
/// memory, but at least 1 GB.
fn memory_limit() -> String {
    match std::env::var(MEMORY_LIMIT) {
        Ok(limit) if !limit.is_empty() => limit,
        _ => format!("{}MB", (memory_megabytes().unwrap_or(4000) / 4).max(1000)),
    }
}

/// Returns the machine's memory in megabytes (proc(5), `/proc/meminfo`).
fn memory_megabytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024 / 1_000_000)
}
