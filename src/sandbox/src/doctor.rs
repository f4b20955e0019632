//! What this machine has and lacks for a sandbox, with a command that fixes each gap.

use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::{EngineKind, Options, StateDir};
use icebox_postgres::installation::INSTALL;
use icebox_postgres::{Account, Installation};

/// The result of an examination of this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The engines, in the order in which `--engine auto` tries them.
    pub engines: Vec<EngineCheck>,
    #[serde(rename = "parts")]
    pub prerequisites: Vec<Prerequisite>,
}

impl Report {
    /// Returns whether a sandbox can start here.
    pub fn can_start(&self) -> bool {
        self.engines.iter().any(|engine| engine.is_found)
            && (self.prerequisites.iter()).all(|one| one.is_found || !one.is_required)
    }
}

/// The result for one engine.
#[derive(Clone, Debug, Serialize)]
pub struct EngineCheck {
    pub engine: EngineKind,
    pub is_found: bool,
    /// What was found, or what is missing.
    pub detail: String,
    /// The command, or the place to read, that provides what is missing.
    pub fix: Option<String>,
}

/// The result for one prerequisite.
#[derive(Clone, Debug, Serialize)]
pub struct Prerequisite {
    pub name: &'static str,
    /// What does not work without it.
    pub needed_for: &'static str,
    /// Whether nothing can start without it.
    pub is_required: bool,
    pub is_found: bool,
    /// What was found, or what is wrong.
    pub detail: String,
    /// The command that fixes it.
    pub fix: Option<String>,
}

/// Examines the machine. Changes nothing and does not use the network.
pub fn examine(state: &StateDir, options: &Options) -> Report {
    let check = |&engine: &EngineKind| {
        let (is_found, detail, fix) = match engine.provider().find(options, false) {
            Ok(available) => (true, available.reason, None),
            Err(unavailable) => (false, unavailable.reason, unavailable.fix),
        };
        EngineCheck {
            engine,
            is_found,
            detail,
            fix,
        }
    };
    let engines: Vec<EngineCheck> = EngineKind::ALL.iter().map(check).collect();
    let has_engine = engines.iter().any(|engine| engine.is_found);
    Report {
        engines,
        prerequisites: prerequisites(state, options, has_engine),
    }
}

fn prerequisites(state: &StateDir, options: &Options, has_engine: bool) -> Vec<Prerequisite> {
    let installation = Installation::find(options.pg_bin.as_deref());
    let mut checks = vec![postgres(&installation, !has_engine)];
    let major = installation
        .as_ref()
        .map_or_else(|_| "<version>".to_owned(), |found| found.major.to_string());
    let found = installation.as_ref().ok();
    let extension = |has: Option<bool>| match has {
        Some(true) => (true, "installed".to_owned()),
        Some(false) => (false, "not in the server's extension directory".to_owned()),
        None => (false, "no PostgreSQL was found".to_owned()),
    };
    let (is_found, detail) = extension(found.map(|found| found.has_contrib));
    checks.push(Prerequisite {
        name: "postgresql-contrib",
        needed_for: "pg_lake's stand-in, which reaches the lake through postgres_fdw",
        is_required: !has_engine,
        is_found,
        detail,
        fix: Some("sudo apt-get install postgresql-contrib".to_owned()),
    });
    let (is_found, detail) = extension(found.map(|found| found.has_pg_cron));
    checks.push(Prerequisite {
        name: "pg_cron",
        needed_for: "CREATE EXTENSION pg_cron and scheduled syncs",
        is_required: false,
        is_found,
        detail,
        fix: Some(format!("sudo apt-get install postgresql-{major}-cron")),
    });
    checks.push(account());
    checks.push(state_dir(state));
    checks.extend([
        program(
            "psql",
            &["--version"],
            "connecting by hand (`icebox sql` needs nothing)",
            "postgresql-client",
        ),
        program(
            "aws",
            &["--version"],
            "looking at the bucket by hand",
            "awscli",
        ),
        program(
            "python3",
            &["-c", "import venv, ensurepip; print('with venv')"],
            "tests with Python clients",
            "python3-venv",
        ),
    ]);
    // What was found needs no fix.
    checks
        .iter_mut()
        .filter(|check| check.is_found)
        .for_each(|check| check.fix = None);
    checks
}

fn postgres(
    installation: &Result<Installation, icebox_postgres::Error>,
    is_required: bool,
) -> Prerequisite {
    let (is_found, detail) = match installation {
        Ok(found) => (
            true,
            format!("{} in {}", found.version, found.bin_dir.display()),
        ),
        Err(icebox_postgres::Error::NotFound { reason, .. }) => (false, reason.clone()),
        Err(error) => (false, error.to_string()),
    };
    Prerequisite {
        name: "postgresql",
        needed_for: "the engines native and embedded: a server of version 15 or newer",
        is_required,
        is_found,
        detail,
        fix: Some(INSTALL.to_owned()),
    }
}

fn account() -> Prerequisite {
    let (is_found, detail) = match Account::unprivileged() {
        Ok(None) => (true, "icebox does not run as root".to_owned()),
        Ok(Some(account)) => (true, format!("PostgreSQL will run as `{}`", account.name)),
        Err(error) => (false, error.to_string()),
    };
    Prerequisite {
        name: "unprivileged user",
        needed_for: "PostgreSQL, which refuses to run as root",
        is_required: true,
        is_found,
        detail,
        fix: Some("sudo useradd --system --no-create-home postgres".to_owned()),
    }
}

fn state_dir(state: &StateDir) -> Prerequisite {
    // The directory itself may not exist yet. Then its nearest existing ancestor must be writable.
    let existing = state
        .root()
        .ancestors()
        .find(|dir| dir.exists())
        .map(PathBuf::from)
        .unwrap_or_default();
    let writable = nix::unistd::access(
        &existing,
        nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK,
    );
    Prerequisite {
        name: "state directory",
        needed_for: "the sandbox's data",
        is_required: true,
        is_found: writable.is_ok(),
        detail: match writable {
            Ok(()) => state.root().display().to_string(),
            Err(error) => format!("{} cannot be written: {}", existing.display(), error.desc()),
        },
        fix: Some("icebox --state-dir <a directory of yours> up".to_owned()),
    }
}

/// Checks a program on PATH by running it with `arguments`. The first line of its output is the
/// detail.
fn program(
    name: &'static str,
    arguments: &[&str],
    needed_for: &'static str,
    package: &str,
) -> Prerequisite {
    let (is_found, detail) = match Command::new(name).args(arguments).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (true, text.lines().next().unwrap_or("found").to_owned())
        }
        Ok(output) => (
            false,
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or("it fails")
                .to_owned(),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (false, "not on PATH".to_owned())
        }
        Err(error) => (false, error.to_string()),
    };
    let fix = Some(format!("sudo apt-get install {package}"));
    Prerequisite {
        name,
        needed_for,
        is_required: false,
        is_found,
        detail,
        fix,
    }
}
