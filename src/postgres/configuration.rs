//! The text of the server's settings and access rules.
//!
//! `postgresql.conf` stays as `initdb` made it, with one line that includes `icebox.conf`, which is written anew at
//! every start. `ALTER SYSTEM` comes after both, so what a user sets that way wins and lasts.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::Ipv4Net;

use super::{Installation, ServerConfig};

/// The library of the scheduler.
pub const PG_CRON: &str = "pg_cron";
/// The library that loads those of the real `pg_lake`.
pub const PG_EXTENSION_BASE: &str = "pg_extension_base";

/// The settings of a sandbox's server.
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
    // Only the account that runs the server (and root) may use the socket; everyone else comes over TLS.
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
    // pg_cron's jobs and (with the real pg_lake) every writer take a background worker each; 8 run out at once.
    set("max_worker_processes", "64");
    // What a killed process has written is in the kernel's cache and survives it; only a crash of the whole
    // machine could lose the last seconds of a sandbox.
    set("fsync", "off");
    set("full_page_writes", "off");
    set("synchronous_commit", "on");
    let libraries = installation.libraries(config.preload);
    set("shared_preload_libraries", &libraries.join(","));
    if libraries.contains(&PG_CRON) {
        set("cron.database_name", "postgres");
        // Jobs then run inside the server and need no password.
        set("cron.use_background_workers", "on");
    }
    if !libraries.contains(&PG_EXTENSION_BASE) {
        // A placeholder, so that SHOW works from the first connection. The real pg_lake owns the setting from the
        // start on, and takes no empty one.
        set("pg_lake_iceberg.default_location_prefix", "");
    }
    for (name, value) in &config.settings {
        set(name, value);
    }
    text
}

/// From where clients may connect, as CIDR blocks. Clones are the same list.
#[derive(Clone, Debug)]
pub struct Clients(Arc<RwLock<Blocks>>);

#[derive(Debug)]
struct Blocks {
    allowed: Vec<String>,
    blocked: Vec<String>,
}

impl Clients {
    /// All of `blocked` may not, then all of `allowed` may; nobody else.
    pub fn new(allowed: Vec<String>, blocked: Vec<String>) -> Clients {
        Clients(Arc::new(RwLock::new(Blocks { allowed, blocked })))
    }

    /// Whoever is on this machine.
    pub fn local() -> Clients {
        Clients::new(vec!["127.0.0.0/8".to_owned()], Vec::new())
    }

    /// Whether a client at this address may connect.
    fn include(&self, address: Ipv4Addr) -> bool {
        let is_in = |block: &String| {
            let one = || Some(Ipv4Net::from(block.parse::<Ipv4Addr>().ok()?));
            let block = block.parse::<Ipv4Net>().ok().or_else(one);
            block.is_some_and(|block| block.contains(&address))
        };
        let blocks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        blocks.allowed.iter().any(is_in) && !blocks.blocked.iter().any(is_in)
    }

    /// Another list from now on. A running server learns of it when its rules are written anew.
    pub fn set(&self, allowed: Vec<String>, blocked: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Blocks { allowed, blocked };
    }
}

/// The rules of a server in a container, to which every client comes from the container engine's address: all of this
/// machine may connect, or none. The socket is for what is in the container.
pub fn access_rules_in_container(superuser: &str, clients: &Clients) -> String {
    let all = clients.include(Ipv4Addr::LOCALHOST);
    rules(&["all all trust"], superuser, all.then_some(("all", SCRAM)))
}

/// Who may connect, and how: the superuser from anywhere, others from where they may, over TLS with a password. While
/// `bootstrapping`, the superuser also comes in over the private socket without one, to set the passwords.
pub fn access_rules(superuser: &str, clients: &Clients, bootstrapping: bool) -> String {
    let first = format!("all {superuser} trust");
    let others = format!("all all {SCRAM}");
    let socket = match bootstrapping {
        true => vec![first.as_str(), &others],
        false => vec![others.as_str()],
    };
    let clients = clients.0.read().unwrap_or_else(PoisonError::into_inner);
    let blocked = clients
        .blocked
        .iter()
        .map(|block| (block.as_str(), "reject"));
    let allowed = clients.allowed.iter().map(|block| (block.as_str(), SCRAM));
    rules(&socket, superuser, blocked.chain(allowed))
}

/// A password, never in the clear.
const SCRAM: &str = "scram-sha-256";

/// The file `pg_hba.conf`: who comes in over the socket, and clients by their addresses, each with the method.
fn rules<'a>(
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
            let clients = Clients::new(texts(allowed), texts(blocked));
            assert_eq!(
                clients.include(Ipv4Addr::LOCALHOST),
                may,
                "{allowed:?} {blocked:?}"
            );
        }
    }
}
