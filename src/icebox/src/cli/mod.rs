//! The command line: one file per subcommand. Each reads its arguments, calls the library and
//! prints.

mod audit;
mod bench;
mod clock;
mod component;
mod doctor;
mod down;
mod env;
mod install_stand_in;
mod logs;
mod memory;
mod pgduck_server;
mod run;
mod simulate;
mod sql;
mod status;
mod up;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use icebox_sandbox::{SandboxInfo, StateDir};

/// The number of worker threads of commands that talk to the sandbox or compute.
const WORKERS: usize = 2;

/// The Snowflake Postgres + `pg_lake` + Iceberg lakehouse on one machine, offline.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Where the sandbox keeps everything; another directory is another sandbox.
    #[arg(
        long,
        global = true,
        env = "ICEBOX_STATE_DIR",
        default_value = ".icebox",
        value_name = "DIR"
    )]
    state_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the sandbox in the background; returns when it is ready.
    Up(up::Args),
    /// Stop the sandbox; its data stays unless --purge is given.
    Down(down::Args),
    /// Show what is running, where, and how much memory it uses; exits with 1 unless everything is
    /// up.
    Status(status::Args),
    /// Print shell exports for psql and S3 clients: eval "$(icebox env)".
    Env,
    /// Show the logs.
    Logs(logs::Args),
    /// Show who did what on S3, IAM and STS, and why that was allowed or refused.
    Audit(audit::Args),
    /// Look for everything that a sandbox needs, and say how to get what is missing; exits with 1
    /// if none can start.
    Doctor(doctor::Args),
    /// Run SQL on PostgreSQL or on the Snowflake side: statements, a file, or a prompt.
    Sql(sql::Args),
    /// Show the clock of Snowflake's tasks, move it forward, or let it run faster.
    Clock(clock::Args),
    /// Run a scenario: SQL steps with the results that are expected.
    Run(run::Args),
    /// Generate transactions into the tables of the retail scenario, and sync them to the lake.
    Simulate(simulate::Args),
    /// Compare the answers of heap tables, Iceberg tables and the Snowflake side; exits with 1 if
    /// they differ.
    Verify(verify::Args),
    /// Measure throw-away sandboxes on this machine, and compare them with peers.
    Bench(bench::Args),
    /// Run one component in the foreground, for the sandbox itself.
    #[command(hide = true)]
    Component(component::Args),
    #[command(hide = true)]
    PgduckServer(pgduck_server::Args),
    /// Add icebox's stand-in for `pg_lake` to a PostgreSQL installation.
    #[command(hide = true)]
    InstallStandIn(install_stand_in::Args),
}

/// The time that a command waits for its connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse_from(arguments());
    let is_service = cli.command.is_service();
    if is_service {
        memory::share_pools();
    }
    start_logging(if is_service { "info" } else { "warn" });
    if !is_service {
        reset_sigpipe();
    }
    let state = StateDir::new(&cli.state_dir)?;
    let info = || SandboxInfo::load(state.root());
    match cli.command {
        Command::Up(args) => up::run(args, &state),
        Command::Down(args) => single_threaded()?.block_on(down::run(args, &state)),
        Command::Status(args) => status::run(&args, &state),
        Command::Env => env::run(&info()?),
        Command::Logs(args) => logs::run(&args, &state),
        Command::Audit(args) => single_threaded()?.block_on(audit::run(&args, &state)),
        Command::Doctor(args) => doctor::run(&args, &state),
        Command::Sql(args) => multi_threaded()?.block_on(as_client(sql::run(args, &info()?))),
        Command::Clock(args) => multi_threaded()?.block_on(clock::run(args, &info()?)),
        Command::Run(args) => multi_threaded()?.block_on(as_client(run::run(args, &info()?))),
        Command::Simulate(args) => {
            multi_threaded()?.block_on(as_client(simulate::run(args, &info()?)))
        }
        Command::Verify(args) => multi_threaded()?.block_on(as_client(verify::run(args, &info()?))),
        // The reader is compared with peers that use all cores.
        Command::Bench(args) => tokio::runtime::Runtime::new()?.block_on(bench::run(args)),
        Command::Component(args) => multi_threaded()?.block_on(component::run(&args)),
        Command::PgduckServer(args) => multi_threaded()?.block_on(pgduck_server::run(&args)),
        Command::InstallStandIn(args) => install_stand_in::run(&args),
    }
}

/// Runs a command that talks to PostgreSQL, then waits for its connections to close. Otherwise the
/// server logs each of them as lost.
async fn as_client(
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let result = command.await;
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, icebox_postgres::connections_ended()).await;
    result
}

/// Returns the command line, with the subcommand that the program's own name implies.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = arguments.first().map(Path::new);
    if program.and_then(Path::file_name) == Some("pgduck_server".as_ref()) {
        arguments.insert(1, "pgduck-server".into());
    }
    arguments
}

impl Command {
    /// Returns whether the command runs until it is asked to end.
    fn is_service(&self) -> bool {
        match self {
            Self::Up(args) => args.is_foreground(),
            Self::Component(_) | Self::PgduckServer(_) => true,
            _ => false,
        }
    }
}

/// Lets `icebox … | head` end silently when `head` does, as other commands do, instead of with a
/// panic.
fn reset_sigpipe() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action calls no handler of icebox's. It cannot fail for this signal.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// Logs to standard error. `ICEBOX_LOG` chooses what is logged, in the syntax of
/// `tracing_subscriber::EnvFilter`.
fn start_logging(level: &str) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("ICEBOX_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

fn single_threaded() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn multi_threaded() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
}

/// Completes when the process is asked to end.
async fn termination_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the signals end the process, as they should.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
