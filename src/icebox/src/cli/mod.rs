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
mod runtime;
mod simulate;
mod sql;
mod status;
mod up;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use icebox_sandbox::StateDir;

/// A subcommand: its arguments, whose doc comment is its help, and what it does.
trait Command: clap::Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode>;

    /// Returns whether the command runs until it is asked to end.
    fn is_service(&self) -> bool {
        false
    }
}

/// Declares the subcommands in the order of `--help`.
macro_rules! commands {
    ($($name:ident($args:ty),)+) => {
        #[derive(Subcommand)]
        enum Commands {
            $($name($args),)+
        }

        impl Commands {
            fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
                match self {
                    $(Self::$name(args) => args.run(state),)+
                }
            }

            fn is_service(&self) -> bool {
                match self {
                    $(Self::$name(args) => args.is_service(),)+
                }
            }
        }
    };
}

commands! {
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Env(env::Args),
    Logs(logs::Args),
    Audit(audit::Args),
    Doctor(doctor::Args),
    Sql(sql::Args),
    Clock(clock::Args),
    Run(run::Args),
    Simulate(simulate::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Component(component::Args),
    PgduckServer(pgduck_server::Args),
    InstallStandIn(install_stand_in::Args),
}

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
    command: Commands,
}

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
    cli.command.run(&StateDir::new(&cli.state_dir)?)
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
