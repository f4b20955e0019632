//! `icebox up`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::{Command, env, runtime};
use icebox_base::chain;
use icebox_sandbox::aws::AccountState;
use icebox_sandbox::control::{self, Up};
use icebox_sandbox::{Engine, Error, Event, Options, SandboxInfo, StateDir};
use icebox_schedule::TimeScale;

/// Start the sandbox in the background; returns when it is ready.
#[derive(clap::Args)]
pub struct Args {
    /// The implementation of PostgreSQL, `pg_lake` and S3; auto takes the first that works here.
    #[arg(long, value_enum, env = "ICEBOX_ENGINE", default_value_t)]
    engine: Engine,
    /// The directory of PostgreSQL's server programs; by default the newest version found.
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// PostgreSQL's port; by default the last one, at first 5432 if it is free.
    #[arg(long, value_name = "PORT")]
    pg_port: Option<u16>,
    /// The S3 server's port; by default the last one, at first any free one.
    #[arg(long, value_name = "PORT")]
    s3_port: Option<u16>,
    /// The port that Snowflake's drivers connect to; by default the last one, at first any free
    /// one.
    #[arg(long, value_name = "PORT")]
    snowflake_port: Option<u16>,
    /// Listen for other machines too, at this address of this machine; 0.0.0.0 means all addresses.
    /// Everyone who reaches it can try passwords and keys, and those of the Snowflake side are sent
    /// unencrypted [default: loopback only].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::Ipv4Addr>,
    /// How many times faster than real time the schedules of Snowflake's tasks run; 0 stops them
    /// [default: as before; 1 at the first start].
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<TimeScale>,
    /// What the AWS account holds: a bucket and a trusted role (ready), or nothing (empty), so that
    /// every step of the guide is left to you [default at the first start: ready].
    #[arg(long, value_enum)]
    account: Option<AccountState>,
    /// The bucket to create [default at the first start: icebox-lake].
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// Stay in the foreground until interrupted.
    #[arg(long)]
    foreground: bool,
    /// Report the start on standard output, one JSON object per line.
    #[arg(long, hide = true, requires = "foreground")]
    events: bool,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            engine: self.engine,
            pg_bin: self.pg_bin.clone(),
            pg_port: self.pg_port,
            s3_port: self.s3_port,
            snowflake_port: self.snowflake_port,
            listen: self.listen,
            bucket: self.bucket.clone(),
            account: self.account,
            time_scale: self.time_scale,
            ..Options::default()
        }
    }
}

impl Command for Args {
    fn run(self, state: &StateDir) -> anyhow::Result<ExitCode> {
        if self.foreground {
            supervise(&self, state)
        } else {
            start(&self, state)
        }
    }

    fn is_service(&self) -> bool {
        self.foreground
    }
}

/// Starts the sandbox in the background.
fn start(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let progress = Progress::new();
    let up = control::up(state, &args.options(), &|event| progress.show(&event));
    progress.finish();
    match up? {
        Up::Started(info) => {
            println!("ready in {:.2} s", begun.elapsed().as_secs_f64());
            describe(&info);
        }
        Up::AlreadyRunning(info) => {
            println!("already running, nothing changed ({} engine)", info.engine);
            for (option, asked, is) in [
                ("--pg-port", args.pg_port, info.postgres.port),
                ("--s3-port", args.s3_port, info.s3_port()),
            ] {
                if asked.is_some_and(|asked| asked != is) {
                    println!("note: {option} takes effect at the next start; it is {is} now");
                }
            }
            describe(&info);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the supervisor itself. This thread starts the components, and they end with it.
fn supervise(args: &Args, state: &StateDir) -> anyhow::Result<ExitCode> {
    let progress = (!args.events).then(Progress::new);
    let report = |event: Event| {
        if let Some(progress) = &progress {
            progress.show(&event);
        } else {
            let line = serde_json::to_string(&event).expect("an event is plain data");
            // The reader may have gone away. The sandbox starts all the same.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    };
    let options = args.options();
    runtime::single_threaded()?.block_on(async {
        let interrupted = runtime::termination_signal();
        let start = control::supervise(state, &options, &report, interrupted);
        let running = match start.await {
            Ok(running) => running,
            Err(Error::Busy { .. }) if args.events => {
                return Ok(ExitCode::from(control::BUSY as u8));
            }
            Err(error) if args.events => {
                tracing::error!(error = chain(&error), "the sandbox did not start");
                report(Event::Failed(chain(&error)));
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => return Err(error.into()),
        };
        tracing::info!(engine = %running.info.engine, "the sandbox is up");
        if let Some(progress) = &progress {
            progress.finish();
            describe(&running.info);
        }
        runtime::termination_signal().await;
        tracing::info!("stopping the sandbox");
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints how to use the running sandbox.
fn describe(info: &SandboxInfo) {
    let postgres = &info.postgres;
    let state_dir = info.state_dir.display();
    let program = program();
    let icebox =
        if std::env::var_os("ICEBOX_STATE_DIR").is_none() && !info.state_dir.ends_with(".icebox") {
            format!(
                "{program} --state-dir {}",
                env::shell_quote(&state_dir.to_string())
            )
        } else {
            program
        };
    let bucket = match info.role_arn {
        Some(_) => (
            format!("bucket {}", info.bucket),
            format!("aws s3 ls --recursive s3://{}", info.bucket),
        ),
        None => (
            "an AWS account that was empty at first".to_owned(),
            "aws s3 mb s3://…, then the role (aws iam)".to_owned(),
        ),
    };
    println!(
        "
  engine      {engine}, {reason}
  PostgreSQL  {host}:{port}, database {dbname}, users {user} and application (version {version}{cron})
  S3          {s3}, {bucket}, region {region}
  Snowflake   {snowflake}
  passwords   {state_dir}/settings.json, and in the exports of `{icebox} env`

  Environment:   eval \"$({icebox} env)\"
  then psql:     psql \"host={host} port={port} dbname={dbname} user={user} sslmode=require\"
  and S3:        {s3_command}
  SQL prompt:    {icebox} sql, and {icebox} sql --on snowflake
  Stop:          {icebox} down",
        engine = info.engine,
        reason = info.engine_reason,
        host = postgres.host,
        port = postgres.port,
        dbname = postgres.dbname,
        user = postgres.user,
        version = info.postgres_version,
        cron = if info.has_pg_cron { ", with pg_cron" } else { "" },
        s3 = info.s3.endpoint,
        bucket = bucket.0,
        s3_command = bucket.1,
        snowflake = match &info.snowflake {
            Some(snowflake) => format!(
                "http://{}, account {}, user {}",
                snowflake.address, snowflake.account, snowflake.user
            ),
            None => "none".to_owned(),
        },
        region = info.s3.region,
    );
}

/// Returns what to type to run this program again: its name if the shell finds it by that name, or
/// else its path.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else {
        return "icebox".to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .find_map(|dir| std::fs::canonicalize(dir.join("icebox")).ok())
        .is_some_and(|found| found == this);
    if found {
        "icebox".to_owned()
    } else {
        this.display().to_string()
    }
}

/// A display of the start as it happens: a spinner on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    waiting: Mutex<Vec<String>>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid"),
            );
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self {
            bar,
            waiting: Mutex::new(Vec::new()),
        }
    }

    fn show(&self, event: &Event) {
        let mut waiting = self.waiting.lock();
        match event {
            Event::Engine { engine, reason } => self.line(&format!("engine {engine}: {reason}")),
            Event::Notice(notice) => self.line(&format!("note: {notice}")),
            Event::Starting { component } => waiting.push(component.clone()),
            Event::Up {
                component,
                endpoint,
                milliseconds,
            } => {
                waiting.retain(|name| name != component);
                self.line(&format!(
                    "{component} is up at {endpoint} ({milliseconds} ms)"
                ));
            }
            Event::Ready | Event::Failed(_) => {}
        }
        if let Some(bar) = &self.bar {
            bar.set_message(format!("starting {}", waiting.join(", ")));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stdout(), "{text}");
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
