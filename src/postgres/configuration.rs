//! The text of the server's settings and access rules.
//!
//! `postgresql.conf` stays as `initdb` made it, with one line that includes `icebox.conf`, which is written anew at
//! every start. `ALTER SYSTEM` comes after both, so what a user sets that way wins and lasts.

use std::fmt::Write;

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
    set("listen_addresses", "127.0.0.1");
    set("port", &config.port.to_string());
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

/// Who may connect, and how: everyone over TLS with a password. While `bootstrapping`, the first superuser also
/// comes in over the private socket without one, to set the passwords.
pub fn access_rules(superuser: &str, bootstrapping: bool) -> String {
    let first = if bootstrapping {
        format!("local all {superuser} trust\n")
    } else {
        String::new()
    };
    format!(
        "# Written by icebox at every start.\n\
         {first}\
         local     all         all                scram-sha-256\n\
         hostssl   all         all 127.0.0.1/32   scram-sha-256\n\
         hostnossl all         all all            reject\n"
    )
}
