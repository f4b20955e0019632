//! The text of the server's settings and access rules.
//!
//! `postgresql.conf` stays as `initdb` made it, with one more line that includes `icebox.conf`.
//! That file is written anew at every start. PostgreSQL reads the settings of `ALTER SYSTEM` after
//! both, so they take precedence and persist.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use parking_lot::RwLock;

use super::{Installation, ServerConfig};

/// The library of the job scheduler.
pub const PG_CRON: &str = "pg_cron";
/// The library that loads the libraries of the real `pg_lake`.
pub const PG_EXTENSION_BASE: &str = "pg_extension_base";

/// Returns the text of `icebox.conf`.
pub fn settings(config: &ServerConfig, installation: &Installation) -> String {
    let mut text = String::from(
        "# Written by icebox at every start; use ALTER SYSTEM for your own settings.\n",
    );
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
    };
    set("listen_addresses", &config.address.ip().to_string());
    set("port", &config.address.port().to_string());
    set(
        "unix_socket_directories",
        &config.socket_dir.to_string_lossy(),
    );
    // Only the account that runs the server, and root, may use the socket. All other clients
    // connect over TLS.
    set("unix_socket_permissions", "0700");
    set("ssl", "on");
    set("ssl_cert_file", "server.crt");
    set("ssl_key_file", "server.key");
    set("password_encryption", "scram-sha-256");
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    set("log_line_prefix", "%m [%p] %q%u@%d ");
    set("log_checkpoints", "off");
    set("max_connections", "100");
    set("shared_buffers", "128MB");
    // Each pg_cron job uses a background worker, and so does each writer with the real pg_lake. The
    // default of 8 is too few.
    set("max_worker_processes", "64");
    // When a process is killed, its writes survive in the kernel's cache. Only a crash of the
    // operating system could lose the last seconds of a sandbox.
    set("fsync", "off");
    set("full_page_writes", "off");
    set("synchronous_commit", "on");
    let libraries = installation.libraries(config.preload);
    set("shared_preload_libraries", &libraries.join(","));
    if libraries.contains(&PG_CRON) {
        set("cron.database_name", "postgres");
        // Background workers run jobs inside the server, without a password.
        set("cron.use_background_workers", "on");
    }
    if !libraries.contains(&PG_EXTENSION_BASE) {
        // A placeholder, so that SHOW works from the first connection. With the real pg_lake the
        // setting exists from the start, and must not be empty.
        set("pg_lake_iceberg.default_location_prefix", "");
    }
    for (name, value) in &config.settings {
        set(name, value);
    }
    text
}

/// The addresses from which clients may connect, as CIDR blocks. Clones share the same list.
#[derive(Clone, Debug)]
pub struct AllowedClients(Arc<RwLock<Blocks>>);

#[derive(Debug)]
struct Blocks {
    allowed: Vec<String>,
    blocked: Vec<String>,
}

impl AllowedClients {
    /// Allows clients in `allowed`, except for those in `blocked`. All other clients are refused.
    pub fn new(allowed: Vec<String>, blocked: Vec<String>) -> Self {
        Self(Arc::new(RwLock::new(Blocks { allowed, blocked })))
    }

    /// Allows clients on the local host only.
    pub fn local() -> Self {
        Self::new(vec!["127.0.0.0/8".to_owned()], Vec::new())
    }

    /// Whether a client at this address may connect.
    fn allows(&self, address: Ipv4Addr) -> bool {
        let is_in = |block: &String| {
            let one = || Some(Ipv4Net::from(block.parse::<Ipv4Addr>().ok()?));
            let block = block.parse::<Ipv4Net>().ok().or_else(one);
            block.is_some_and(|block| block.contains(&address))
        };
        let blocks = self.0.read();
        blocks.allowed.iter().any(is_in) && !blocks.blocked.iter().any(is_in)
    }

    /// Replaces the list. A running server uses the new one when its access rules are written
    /// again.
    pub fn set(&self, allowed: Vec<String>, blocked: Vec<String>) {
        *self.0.write() = Blocks { allowed, blocked };
    }
}

/// Returns the access rules of a server in a container. All clients appear with the address of the
/// container engine, so either all local clients may connect or none. The socket is for processes
/// inside the container.
pub fn access_rules_in_container(superuser: &str, clients: &AllowedClients) -> String {
    let all = clients.allows(Ipv4Addr::LOCALHOST);
    pg_hba(&["all all trust"], superuser, all.then_some(("all", SCRAM)))
}

/// Returns the access rules of a server. The superuser may connect from anywhere, other users from
/// the addresses of `clients`, all of them over TLS with a password. While `bootstrapping`, the
/// superuser may also use the private socket without a password, in order to set the passwords.
pub fn access_rules(superuser: &str, clients: &AllowedClients, bootstrapping: bool) -> String {
    let first = format!("all {superuser} trust");
    let others = format!("all all {SCRAM}");
    let socket = if bootstrapping {
        vec![first.as_str(), &others]
    } else {
        vec![others.as_str()]
    };
    let clients = clients.0.read();
    let blocked = clients
        .blocked
        .iter()
        .map(|block| (block.as_str(), "reject"));
    let allowed = clients.allowed.iter().map(|block| (block.as_str(), SCRAM));
    pg_hba(&socket, superuser, blocked.chain(allowed))
}

/// The authentication method for passwords, which never sends them in clear text.
const SCRAM: &str = "scram-sha-256";

/// Returns the text of `pg_hba.conf`: the rules of the socket, then those of client addresses, each
/// with its method.
fn pg_hba<'a>(
    socket: &[&str],
    superuser: &str,
    clients: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut text = String::from("# Written by icebox at every start.\n");
    for rule in socket {
        let _ = writeln!(text, "local {rule}");
    }
    let _ = writeln!(text, "hostssl all {superuser} all {SCRAM}");
    for (addresses, method) in clients {
        let _ = writeln!(text, "hostssl all all {addresses} {method}");
    }
    text.push_str("hostnossl all all all reject\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses() {
        let texts = |blocks: &[&str]| blocks.iter().map(ToString::to_string).collect();
        for (allowed, blocked, may) in [
            (&["0.0.0.0/0"][..], &[][..], true),
            (&["127.0.0.0/8"], &[], true),
            (&["127.0.0.1"], &[], true),
            (&["203.0.113.7/32"], &[], false),
            (&[], &[], false),
            (&["0.0.0.0/0"], &["127.0.0.0/30"], false),
            (&["0.0.0.0/0"], &["127.0.0.4/30"], true),
        ] {
            let clients = AllowedClients::new(texts(allowed), texts(blocked));
            assert_eq!(
                clients.allows(Ipv4Addr::LOCALHOST),
                may,
                "{allowed:?} {blocked:?}"
            );
        }
    }
}
