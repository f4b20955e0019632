//! `icebox pgduck-server`: the lake engine with the command line of `pgduck_server`, for PostgreSQL
//! installations whose `pg_lake` is icebox's stand-in. If icebox is started under the name
//! `pgduck_server`, it runs this command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;

use icebox_pglake::{EngineSocket, duckdb_secret, engine};

/// The environment variable with the connection string of PostgreSQL. The real program does not
/// need it.
const POSTGRES: &str = "ICEBOX_PGDUCK_POSTGRES";

/// Run icebox's lake engine in place of `pgduck_server`, with its options.
///
/// The environment variable `ICEBOX_PGDUCK_POSTGRES` says how to reach PostgreSQL as a superuser. It
/// is a libpq connection string, for example "host=/run/postgresql port=5432 user=postgres".
#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The directory of the socket, as named by PostgreSQL's `pg_lake_engine.host`.
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    unix_socket_directory: PathBuf,
    /// The mode of the socket, in octal digits.
    #[arg(long, value_name = "MODE", default_value = "770", value_parser = mode)]
    unix_socket_permissions: u32,
    /// The port in the name of the socket.
    #[arg(long, default_value_t = EngineSocket::PORT)]
    port: u16,
    /// The file with CREATE SECRET … (TYPE S3, …); a client may replace the secret later.
    #[arg(long, value_name = "FILE")]
    init_file_path: Option<PathBuf>,
    /// Check the options and the init file, then exit.
    #[arg(long)]
    check_cli_params_only: bool,
    #[command(flatten)]
    unused: Unused,
}

/// The options that DuckDB needs and the lake engine does not: it has no database file, keeps small
/// caches in memory, and spills nothing.
#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
struct Unused {
    /// Accepted and not used, like all options that follow.
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<String>,
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[arg(long, value_name = "BYTES")]
    cache_on_write_max_size: Option<u64>,
    #[arg(long, value_name = "FILE")]
    duckdb_database_file_path: Option<PathBuf>,
    #[arg(long, value_name = "DIR")]
    extensions_dir: Option<PathBuf>,
    #[arg(long)]
    no_extension_install: bool,
    #[arg(long, value_name = "NUMBER")]
    max_clients: Option<u32>,
    #[arg(long)]
    continue_on_oom: bool,
    #[arg(long)]
    debug: bool,
    #[arg(long)]
    verbose: bool,
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("it is not between 0000 and 0777".to_owned()),
    }
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.init_file_path.as_deref().context(
        "--init_file_path FILE is missing: the lake engine has its S3 secret from there",
    )?;
    let secrets = read(path)?;
    if args.check_cli_params_only {
        return Ok(ExitCode::SUCCESS);
    }
    let config = engine::EngineConfig {
        socket: EngineSocket {
            dir: args.unix_socket_directory.clone(),
            port: args.port,
        },
        socket_mode: args.unix_socket_permissions,
        lakes: engine::LakeAccess::Secrets(Arc::new(engine::SecretStore::new(secrets))),
        postgres: postgres()?,
    };
    let socket = config.socket.path();
    if args.unused.memory_limit.is_some() || args.unused.cache_dir.is_some() {
        tracing::info!("memory_limit, cache_dir and the like are DuckDB's and are not used");
    }
    engine::serve(config, super::asked_to_end())
        .await
        .with_context(|| format!("cannot serve on {}", socket.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<duckdb_secret::Secrets> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the init file {}", path.display()))?;
    duckdb_secret::parse(&text).with_context(|| format!("the init file {}", path.display()))
}

fn postgres() -> anyhow::Result<tokio_postgres::Config> {
    let text = std::env::var(POSTGRES).with_context(|| {
        format!("{POSTGRES} is not set; it is a connection string such as \"host=/run/postgresql port=5432 user=postgres\"")
    })?;
    tokio_postgres::Config::from_str(&text)
        .with_context(|| format!("{POSTGRES} is not a connection string"))
}
