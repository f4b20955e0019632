//! A private PostgreSQL server for tests, without TLS, password and TCP port. Its socket is in its
//! own directory, and the server is removed at the end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use icebox_postgres::{Endpoint, connect};

/// A running server. It is stopped and removed when dropped.
pub struct TestPostgres {
    server: Child,
    directory: tempfile::TempDir,
}

/// The server that concurrent tests share. It stops with the last of them.
static SHARED: tokio::sync::Mutex<Weak<TestPostgres>> = tokio::sync::Mutex::const_new(Weak::new());

impl TestPostgres {
    /// Returns the shared server. Each test must use a database of its own.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    /// Initialises and starts a server with an empty database `postgres`, in the C locale like a
    /// sandbox's.
    pub async fn start() -> Self {
        let bin = bin_dir();
        let directory = tempfile::Builder::new()
            .prefix("icebox-test-pg")
            .tempdir()
            .expect("a temporary directory");
        let data = directory.path().join("data");
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name("postgres")
                .unwrap()
                .expect("root needs the user postgres");
            nix::unistd::chown(directory.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let initdb = as_postgres(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-N",
                "--locale=C",
                "-E",
                "UTF8",
            ])
            .output()
            .expect("initdb runs");
        assert!(
            initdb.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let server = as_postgres(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-k"])
            .arg(directory.path())
            .args([
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "autovacuum=off",
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        let server = Self { server, directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while connect(&server.endpoint("postgres")).await.is_err() {
            assert!(Instant::now() < deadline, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    pub fn endpoint(&self, dbname: &str) -> Endpoint {
        Endpoint {
            host: self.directory.path().display().to_string(),
            // The port is only part of the socket file's name.
            port: 5432,
            dbname: dbname.into(),
            user: "postgres".into(),
            password: String::new(),
            ca_file: None,
        }
    }

    /// Creates an empty database.
    pub async fn database(&self, name: &str) -> Endpoint {
        let client = connect(&self.endpoint("postgres")).await.unwrap();
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        self.endpoint(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        // SIGINT is a fast shutdown: it ends open sessions and releases the shared memory.
        let pid = nix::unistd::Pid::from_raw(self.server.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let _ = self.server.wait();
    }
}

/// Returns the folder of `initdb` and `postgres`: the newest of Debian's packages, or the one on
/// PATH.
fn bin_dir() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .expect("PostgreSQL is installed (Debian: apt-get install postgresql)")
}

/// Returns a command that runs as the user postgres if the tests run as root, because PostgreSQL
/// refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.current_dir("/");
    if nix::unistd::geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres")
            .unwrap()
            .expect("root needs the user postgres");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
