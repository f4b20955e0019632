//! `icebox pgduck-server`: the lake engine with the command line of `pgduck_server`, for PostgreSQL
//! installations whose `pg_lake` is icebox's stand-in. If icebox is started under the name
//! `pgduck_server`, it runs this command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, FromArgMatches};

use super::{Command, runtime};
use icebox_pglake::engine::options::{OPTIONS, OptionRow, Options};
use icebox_pglake::{duckdb_secret, engine};
use icebox_sandbox::StateDir;

/// The environment variable with the connection string of PostgreSQL. The real program does not
/// need it.
const POSTGRES: &str = "ICEBOX_PGDUCK_POSTGRES";

/// Run icebox's lake engine in place of `pgduck_server`, with its options.
///
/// The environment variable `ICEBOX_PGDUCK_POSTGRES` says how to reach PostgreSQL as a superuser.
/// It is a libpq connection string, for example "host=/run/postgresql port=5432 user=postgres".
#[derive(clap::Args)]
#[command(hide = true, rename_all = "snake_case")]
pub struct Args {
    #[command(flatten)]
    engine: EngineOptions,
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

/// The options of the lake engine: an argument for each row of [`OPTIONS`].
#[derive(Clone)]
struct EngineOptions(Options);

impl clap::Args for EngineOptions {
    fn augment_args(command: clap::Command) -> clap::Command {
        let argument = |row: &'static OptionRow| {
            let parser = |text: &str| {
                (row.set)(&mut Options::default(), text)?;
                Ok::<_, String>(text.to_owned())
            };
            Arg::new(row.name)
                .long(row.name)
                .value_name(row.value)
                .default_value(row.default)
                .value_parser(parser)
                .help(row.help.trim().trim_end_matches('.'))
        };
        command.args(OPTIONS.iter().map(argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for EngineOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self(Options::default());
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for row in OPTIONS {
            if let Some(text) = matches.get_one::<String>(row.name) {
                (row.set)(&mut self.0, text)
                    .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, error))?;
            }
        }
        Ok(())
    }
}

impl Command for Args {
    fn run(self, _state: &StateDir) -> anyhow::Result<ExitCode> {
        runtime::multi_threaded()?.block_on(run(&self))
    }

    fn is_service(&self) -> bool {
        true
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.init_file_path.as_deref().context(
        "--init_file_path FILE is missing: the lake engine reads its S3 secret from that file",
    )?;
    let secrets = read(path)?;
    if args.check_cli_params_only {
        return Ok(ExitCode::SUCCESS);
    }
    let config = engine::EngineConfig {
        options: args.engine.0.clone(),
        lakes: engine::LakeAccess::Secrets(Arc::new(engine::SecretStore::new(secrets))),
        postgres: postgres()?,
    };
    let socket = config.options.socket().path();
    if args.unused.memory_limit.is_some() || args.unused.cache_dir.is_some() {
        tracing::info!("memory_limit, cache_dir and the like are DuckDB's and are not used");
    }
    engine::serve(config, runtime::termination_signal())
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
