//! A state directory for one test, the command `icebox` on it, and a look into the container engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use icebox::sandbox::SandboxInfo;

use crate::support::sandbox::text;

/// Whether the tests can run; says so where not.
pub fn is_enabled() -> bool {
    let is_enabled = std::env::var_os("ICEBOX_TEST_CONTAINERS").is_some();
    if !is_enabled {
        println!("SKIPPED: the tests of the engine `containers` are run by `just test-containers`");
    }
    is_enabled
}

/// A sandbox of the command; purged when dropped.
pub struct Lab {
    _parent: tempfile::TempDir,
    pub state_dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With these variables in the environment of every command.
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        // PostgreSQL's account passes through where another engine is taken.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(parent.path(), mode).unwrap();
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        Self {
            state_dir: parent.path().canonicalize().unwrap().join("state"),
            _parent: parent,
            environment: environment.iter().map(owned).collect(),
        }
    }

    pub fn up() -> Self {
        let lab = Self::new();
        lab.ok(&["up", "--engine", "containers"]);
        lab
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icebox"));
        command
            .env("ICEBOX_STATE_DIR", &self.state_dir)
            .env_remove("ICEBOX_ENGINE")
            .envs(self.environment.iter().cloned())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn icebox(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.icebox(arguments);
        assert!(
            output.status.success(),
            "icebox {arguments:?}: {}",
            text(&output)
        );
        text(&output)
    }

    /// What a command that must fail prints.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.icebox(arguments);
        assert!(
            !output.status.success(),
            "icebox {arguments:?}: {}",
            text(&output)
        );
        text(&output)
    }

    /// The rows of a query, values separated by commas.
    pub fn sql(&self, sql: &str) -> String {
        let csv = self.ok(&["sql", "--format", "csv", sql]);
        let rows: Vec<&str> = csv.lines().skip(1).collect();
        rows.join("\n")
    }

    /// The Snowflake side gives this as CSV; it is about a second behind.
    pub fn soon_reads(&self, sql: &str, csv: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let output = self.icebox(&["sql", "--on", "snowflake", "-o", "csv", sql]);
            if output.status.success() && output.stdout == csv.as_bytes() {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {}", text(&output));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn info(&self) -> SandboxInfo {
        SandboxInfo::load(&self.state_dir).unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.icebox(&["status", "--json"]).stdout).unwrap()
    }

    /// Process id and number of restarts of a component; waits until it is up.
    pub fn component(&self, name: &str, restarts: u64) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status();
            let components = status["components"].as_array().unwrap();
            if let Some(found) = components.iter().find(|component| {
                component["name"] == name
                    && component["is_up"] == true
                    && component["restarts"] == restarts
            }) {
                return i32::try_from(found["pid"].as_i64().unwrap()).unwrap();
            }
            assert!(Instant::now() < deadline, "{name} is not up: {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn supervisor(&self) -> i32 {
        i32::try_from(self.status()["supervisor_pid"].as_i64().unwrap()).unwrap()
    }

    /// What the container engine has of this sandbox: names of containers, networks and volumes.
    pub fn belongings(&self) -> Belongings {
        Belongings::of(&self.state_dir)
    }

    /// The name of a component's container.
    pub fn container(&self, component: &str) -> String {
        let all = self.belongings().containers;
        let found = all
            .iter()
            .find(|name| name.ends_with(&format!("-{component}")));
        found
            .unwrap_or_else(|| panic!("no {component} in {all:?}"))
            .clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.icebox(&["down", "--purge"]);
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    pub containers: Vec<String>,
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
}

impl Belongings {
    pub fn of(state_dir: &Path) -> Self {
        let label = format!("label=dev.icebox.state-dir={}", state_dir.display());
        let list = |arguments: &[&str]| {
            let mut names: Vec<String> = docker(&[arguments, &["--filter", &label]].concat())
                .lines()
                .map(str::to_owned)
                .collect();
            names.sort();
            names
        };
        Self {
            containers: list(&["ps", "--all", "--format", "{{.Names}}"]),
            networks: list(&["network", "ls", "--format", "{{.Name}}"]),
            volumes: list(&["volume", "ls", "--format", "{{.Name}}"]),
        }
    }
}

/// What a command of the container engine's own client prints.
pub fn docker(arguments: &[&str]) -> String {
    let program = std::env::var("ICEBOX_DOCKER").unwrap_or_else(|_| "docker".to_owned());
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        text(&output)
    );
    text(&output)
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
