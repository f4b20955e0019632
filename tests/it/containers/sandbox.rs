//! A state directory for one test, the command `icebox` on it, and access to the container engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::text;
use icebox_sandbox::SandboxInfo;

/// Returns whether the tests can run; otherwise prints that they are skipped.
pub fn is_enabled() -> bool {
    let is_enabled = std::env::var_os("ICEBOX_TEST_CONTAINERS").is_some();
    if !is_enabled {
        println!("SKIPPED: the tests of the engine `containers` are run by `just test-containers`");
    }
    is_enabled
}

/// A sandbox that is run by the command. It is purged when dropped.
pub struct ContainerSandbox {
    _parent: tempfile::TempDir,
    pub state_dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl ContainerSandbox {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Creates a sandbox that sets these variables in the environment of every command.
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        // PostgreSQL's account must have access when a test chooses another engine.
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
        let sandbox = Self::new();
        sandbox.ok(&["up", "--engine", "containers"]);
        sandbox
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::support::icebox());
        command
            .env("ICEBOX_STATE_DIR", &self.state_dir)
            .env_remove("ICEBOX_ENGINE")
            .envs(self.environment.iter().cloned())
            .current_dir(crate::support::ROOT)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn icebox(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.icebox(arguments);
        assert!(
            output.status.success(),
            "icebox {arguments:?}: {}",
            text(&output)
        );
        text(&output)
    }

    /// Runs a command that must fail, and returns its output.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.icebox(arguments);
        assert!(
            !output.status.success(),
            "icebox {arguments:?}: {}",
            text(&output)
        );
        text(&output)
    }

    /// Returns the rows of a query on PostgreSQL, with commas between values.
    pub fn sql(&self, sql: &str) -> String {
        let csv = self.ok(&["sql", "--format", "csv", sql]);
        let rows: Vec<&str> = csv.lines().skip(1).collect();
        rows.join("\n")
    }

    /// Waits until the Snowflake side returns this CSV. It is about a second behind.
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

    /// Waits until a component is up after this number of restarts, and returns its process id.
    pub fn component(&self, name: &str, restarts: u64) -> i32 {
        let deadline = Instant::now() + Duration::from_mins(1);
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

    /// Returns the names of the sandbox's containers, networks and volumes in the container engine.
    pub fn resources(&self) -> Resources {
        Resources::of(&self.state_dir)
    }

    /// Returns the name of a component's container.
    pub fn container(&self, component: &str) -> String {
        let all = self.resources().containers;
        let found = all
            .iter()
            .find(|name| name.ends_with(&format!("-{component}")));
        found
            .unwrap_or_else(|| panic!("no {component} in {all:?}"))
            .clone()
    }
}

impl Drop for ContainerSandbox {
    fn drop(&mut self) {
        self.icebox(&["down", "--purge"]);
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub containers: Vec<String>,
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
}

impl Resources {
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

/// Runs a command of the container engine's own client, and returns its output.
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

/// Waits up to a minute until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
