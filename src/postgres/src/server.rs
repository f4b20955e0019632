//! One server: its data directory, its settings, its first roles, and the command that starts it.
//!
//! ```text
//! <data_dir>/               as initdb makes it, and in addition:
//!   postgresql.conf         initdb's, with one line that includes:
//!   icebox.conf             the sandbox's settings, written at every start
//!   pg_hba.conf             the access rules, written at every start
//!   server.crt, server.key  copies of the sandbox's certificate and key
//!   icebox.ready            marks that roles and passwords are set; a cluster without it is
//!                           initialised again
//! <socket_dir>/             `.s.PGSQL.<port>`, for icebox itself only
//! ```

use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::configuration::AllowedClients;
use super::tls::Certificate;
use super::{Account, Endpoint, Error, Installation, configuration, template};

/// The place, address and settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The data directory. `account` must be able to reach it, and it must not exist before the
    /// first start.
    pub data_dir: PathBuf,
    /// The socket's directory, writable by `account`. Its path must be short: that of the socket
    /// has at most 107 bytes.
    pub socket_dir: PathBuf,
    /// The TCP address to listen on.
    pub address: SocketAddrV4,
    /// The addresses from which users other than the superuser may connect.
    pub clients: AllowedClients,
    pub certificate: Certificate,
    /// The account that runs the server; `None` is the current user.
    pub account: Option<Account>,
    /// The `postgres` program to start: the installation's own, or a copy in a private prefix.
    pub program: PathBuf,
    /// The libraries to load at the start, as far as they are installed.
    pub preload: &'static [&'static str],
    /// Settings in addition to those of every sandbox's server.
    pub settings: Vec<(&'static str, String)>,
    /// The directory where freshly initialised clusters are cached for other sandboxes. `None`
    /// caches none.
    pub cache_dir: Option<PathBuf>,
}

/// The first roles of a new cluster: the name and password of each.
#[derive(Clone)]
pub struct Roles {
    /// icebox's own superuser, which owns the cluster.
    pub superuser: (String, String),
    /// The customer's administrator: a superuser here, and the owner of the database `postgres`.
    pub admin: (String, String),
    /// An ordinary role that may create objects in the database `postgres`.
    pub application: (String, String),
}

/// A server's files and settings. The caller starts it, see [`Server::command`].
#[derive(Clone)]
pub struct Server {
    installation: Installation,
    config: ServerConfig,
    roles: Roles,
}

impl Server {
    pub fn new(installation: Installation, config: ServerConfig, roles: Roles) -> Self {
        Self {
            installation,
            config,
            roles,
        }
    }

    /// Creates the cluster if there is none, and writes the settings. After the start call
    /// [`Server::bootstrap`].
    pub fn prepare(&self) -> Result<(), Error> {
        let data_dir = &self.config.data_dir;
        let is_new = !self.marker().exists();
        if is_new {
            if data_dir.exists() {
                // Left behind by a start that was interrupted before the cluster could be used.
                std::fs::remove_dir_all(data_dir).map_err(Error::file("remove", data_dir))?;
            }
            let account = self.config.account.as_ref();
            let superuser = &self.roles.superuser.0;
            template::create(
                &self.installation,
                account,
                superuser,
                data_dir,
                self.config.cache_dir.as_deref(),
            )?;
            let path = data_dir.join("postgresql.conf");
            let mut text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
            text.push_str("\ninclude_if_exists = 'icebox.conf'\n");
            self.write("postgresql.conf", text.as_bytes())?;
        }
        self.write(
            "icebox.conf",
            configuration::settings(&self.config, &self.installation).as_bytes(),
        )?;
        self.write("pg_hba.conf", self.access_rules(is_new).as_bytes())?;
        for (name, from) in [
            ("server.crt", &self.config.certificate.certificate),
            ("server.key", &self.config.certificate.key),
        ] {
            self.write(
                name,
                &std::fs::read(from).map_err(Error::file("read", from))?,
            )?;
        }
        Ok(())
    }

    /// Returns the command that runs the server in the foreground under its account, with its log
    /// on standard error.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.config.program);
        command
            .arg("-D")
            .arg(&self.config.data_dir)
            .current_dir(&self.config.data_dir);
        if let Some(account) = &self.config.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Waits for a new cluster's server, sets roles and passwords, and then removes the access rule
    /// that allowed this without a password. Does nothing in any other cluster. It waits without
    /// limit, so the caller must stop waiting when the server's process ends.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        if self.marker().exists() {
            return Ok(());
        }
        let client = self.first_connection().await;
        client
            .batch_execute(&self.roles.sql())
            .await
            .map_err(Error::Bootstrap)?;
        self.write("pg_hba.conf", self.access_rules(false).as_bytes())?;
        client
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .map_err(Error::Bootstrap)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.local().connect(NoTls).await.is_ok() {
            if Instant::now() > deadline {
                return Err(Error::AccessRules);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.write("icebox.ready", b"")
    }

    fn access_rules(&self, bootstrapping: bool) -> String {
        configuration::access_rules(&self.roles.superuser.0, &self.config.clients, bootstrapping)
    }

    /// Returns the endpoint at which `role` (name, password) reaches the database `postgres`.
    pub fn endpoint(&self, role: &(String, String)) -> Endpoint {
        Endpoint {
            host: self.config.address.ip().to_string(),
            port: self.config.address.port(),
            dbname: "postgres".to_owned(),
            user: role.0.clone(),
            password: role.1.clone(),
            ca_file: Some(self.config.certificate.certificate.clone()),
        }
    }

    /// Removes what a killed server has left behind and what would prevent the next start: its
    /// backends and its lock files. Backends notice the end of the server only when they next wait
    /// for something. May block for up to ten seconds. No server of this data directory may be
    /// running.
    ///
    /// # Errors
    /// [`Error::StillInUse`] if processes remain after ten seconds.
    pub fn clear_leftovers(&self) -> Result<(), Error> {
        let data_dir = &self.config.data_dir;
        let begun = Instant::now();
        loop {
            let pids = processes_in(data_dir);
            if pids.is_empty() {
                break;
            }
            let waited = begun.elapsed();
            if waited > Duration::from_secs(10) {
                return Err(Error::StillInUse {
                    data_dir: data_dir.clone(),
                    pids,
                });
            }
            // On SIGQUIT a backend exits without touching shared memory again. SIGKILL is for
            // backends that do not react.
            let signal = if waited < Duration::from_secs(2) {
                nix::sys::signal::Signal::SIGQUIT
            } else {
                nix::sys::signal::Signal::SIGKILL
            };
            for pid in pids {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = std::fs::remove_file(data_dir.join("postmaster.pid"));
        let socket = self
            .config
            .socket_dir
            .join(format!(".s.PGSQL.{}", self.config.address.port()));
        let _ = std::fs::remove_file(
            socket.with_extension(format!("{}.lock", self.config.address.port())),
        );
        let _ = std::fs::remove_file(socket);
        Ok(())
    }

    fn marker(&self) -> PathBuf {
        self.config.data_dir.join("icebox.ready")
    }

    /// Settings for a connection as the superuser over the private socket, without a password.
    fn local(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.config.socket_dir)
            .port(self.config.address.port())
            .user(&self.roles.superuser.0)
            .dbname("postgres");
        config
    }

    async fn first_connection(&self) -> tokio_postgres::Client {
        loop {
            match self.local().connect(NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Writes a file of the data directory atomically, readable by the server's account only.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.config.data_dir.join(name);
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, content).map_err(Error::file("write", &unfinished))?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))
            .map_err(Error::file("set the mode of", &unfinished))?;
        if let Some(account) = &self.config.account {
            account.chown(&unfinished)?;
        }
        std::fs::rename(&unfinished, &path).map_err(Error::file("write", &path))
    }
}

impl Roles {
    /// Returns the statements that create the roles. They run in the database `postgres` as one
    /// implicit transaction.
    fn sql(&self) -> String {
        let [superuser, admin, application] = [&self.superuser, &self.admin, &self.application]
            .map(|(name, password)| (quote_identifier(name), quote_literal(password)));
        format!(
            "ALTER ROLE {superuser} PASSWORD {superuser_password};
             CREATE ROLE {admin} LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {admin_password};
             CREATE ROLE {application} LOGIN PASSWORD {application_password};
             ALTER DATABASE postgres OWNER TO {admin};
             GRANT CREATE, TEMPORARY ON DATABASE postgres TO {application};
             GRANT USAGE, CREATE ON SCHEMA public TO {application};",
            superuser = superuser.0,
            superuser_password = superuser.1,
            admin = admin.0,
            admin_password = admin.1,
            application = application.0,
            application_password = application.1,
        )
    }
}

/// Quotes `name` as an SQL identifier.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes `text` as an SQL string literal.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Returns the ids of the live processes whose working directory is `data_dir`: a server and all of
/// its children.
fn processes_in(data_dir: &Path) -> Vec<i32> {
    let Ok(data_dir) = data_dir.canonicalize() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // If the program's file has been replaced, its link ends in " (deleted)".
        let is_server = |program: PathBuf| {
            let name = program.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.trim_end_matches(" (deleted)") == "postgres")
        };
        // A zombie process has no working directory any more.
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data_dir)
            && std::fs::read_link(entry.path().join("exe")).is_ok_and(is_server)
        {
            found.push(pid);
        }
    }
    found
}
