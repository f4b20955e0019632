//! The life cycle of a sandbox, through the command and through the library.

mod failures;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::network::{assert_listens_only_where_asked, free_port};
use crate::support::sandbox::{engine_under_test, icebox};
use icebox_sandbox::{EngineKind, Sandbox, SandboxInfo};

/// A state directory whose sandbox is stopped and purged at the end of the test, even if the test
/// fails.
struct StateDir {
    _parent: tempfile::TempDir,
    path: PathBuf,
}

impl StateDir {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        // PostgreSQL's account must have access when the tests run as root.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(parent.path(), mode).unwrap();
        let path = parent.path().join("state");
        Self {
            _parent: parent,
            path,
        }
    }

    fn icebox(&self, arguments: &[&str]) -> Output {
        icebox(&self.path, arguments).output().unwrap()
    }

    /// Returns the name of the component that runs the lake engine.
    fn lake_component(&self) -> &'static str {
        match self.info().engine {
            EngineKind::Embedded => "lake-engine",
            EngineKind::Native | EngineKind::Containers => "pgduck_server",
        }
    }

    /// Runs a command that must succeed, and returns its standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.icebox(arguments);
        assert!(
            output.status.success(),
            "icebox {arguments:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn info(&self) -> SandboxInfo {
        SandboxInfo::load(&self.path).unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.icebox(&["status", "--json"]).stdout).unwrap()
    }

    /// Returns the process id of a component, once it is up after at least this number of restarts.
    fn component(&self, name: &str, restarts: u64) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let status = self.status();
            let components = status["components"].as_array().unwrap();
            let found = components
                .iter()
                .find(|component| component["name"] == name);
            if let Some(component) = found
                && component["is_up"] == true
                && component["restarts"].as_u64() >= Some(restarts)
            {
                return component["pid"].as_i64().unwrap() as i32;
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not up again: {status:#}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a statement until the server accepts it, and returns the answer as CSV without its
    /// header.
    fn sql(&self, statement: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let output = self.icebox(&["sql", "--format", "csv", statement]);
            if output.status.success() {
                let text = String::from_utf8(output.stdout).unwrap();
                return text.lines().skip(1).collect::<Vec<_>>().join("\n");
            }
            assert!(
                Instant::now() < deadline,
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        self.icebox(&["down", "--purge"]);
    }
}

/// Returns the command lines of the processes that work in this directory or have it in their
/// arguments.
fn processes_of(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if cwd.starts_with(dir) || command.contains(dir.to_str().unwrap()) {
            found.push(command);
        }
    }
    found
}

fn psql(info: &SandboxInfo, sslmode: &str, user: &str, password: &str, sql: &str) -> Output {
    let (host, port) = (&info.postgres.host, info.postgres.port);
    let target = format!("host={host} port={port} dbname=postgres user={user} sslmode={sslmode}");
    Command::new("psql")
        .args([&target, "-X", "-A", "-t", "-c", sql])
        .env("PGPASSWORD", password)
        .output()
        .unwrap()
}

#[test]
fn up_status_env_and_down() {
    let dir = StateDir::new();
    assert_eq!(dir.icebox(&["status"]).status.code(), Some(1));
    let early = dir.icebox(&["env"]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("icebox up"));

    let first = dir.ok(&["up"]);
    let (before, pid) = (dir.info(), dir.status()["supervisor_pid"].clone());
    let expected = format!("engine {}: asked for; PostgreSQL", before.engine);
    assert!(first.contains(&expected), "{first}");
    assert!(first.contains("sslmode=require"), "{first}");

    // A second `up` finds the running sandbox.
    let second = dir.ok(&["up"]);
    assert!(second.contains("already running"), "{second}");
    assert_eq!(dir.status()["supervisor_pid"], pid);
    assert_eq!(dir.info().postgres, before.postgres);

    let status = dir.status();
    assert_eq!(status["state"], "up");
    let names: Vec<_> = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, [dir.lake_component(), "postgres", "s3", "snowflake"]);
    for component in status["components"].as_array().unwrap() {
        assert_eq!(component["is_up"], true, "{component}");
        assert!(component["memory_bytes"].as_u64() > Some(0), "{component}");
    }

    // The exports are valid for a shell, and psql needs no other settings.
    let exports = dir.ok(&["env"]);
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "ICEBOX_BUCKET",
    ] {
        assert!(exports.contains(&format!("export {name}=")), "{exports}");
    }
    let script = format!("{exports}\npsql -X -A -t -c 'SELECT current_user'");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "snowflake_admin\n",
        "{output:?}"
    );

    dir.ok(&["down"]);
    assert_eq!(dir.status()["state"], "down");
    assert_eq!(processes_of(&dir.path), Vec::<String>::new());
    assert!(dir.ok(&["down"]).contains("was not running"));
}

#[test]
fn only_tls_with_a_password_gets_in() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    let info = dir.info();
    let password = &info.postgres.password;
    let over = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    let tls = psql(&info, "require", "snowflake_admin", password, over);
    assert_eq!(String::from_utf8_lossy(&tls.stdout), "t\n", "{tls:?}");

    let plain = psql(&info, "disable", "snowflake_admin", password, over);
    let error = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(
        !plain.status.success() && error.contains("no encryption"),
        "{error}"
    );

    let wrong = psql(&info, "require", "snowflake_admin", "wrong", over);
    let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(error.contains("password authentication failed"), "{error}");

    // The certificate can be verified, including the host name.
    let ca = info.postgres.ca_file.as_ref().unwrap();
    let verified = Command::new("psql")
        .arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} dbname=postgres user=snowflake_admin sslmode=verify-full sslrootcert={}",
            info.postgres.port,
            ca.display()
        ))
        .args(["-X", "-A", "-t", "-c", "SELECT 1"])
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&verified.stdout),
        "1\n",
        "{verified:?}"
    );

    // `application` is an ordinary role that can create objects.
    let application = |sql| {
        psql(
            &info,
            "require",
            "application",
            &info.application_password,
            sql,
        )
    };
    let made = application("CREATE TABLE mine (id int)");
    assert!(made.status.success(), "{made:?}");
    let refused = application("CREATE ROLE another");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permission denied"));

    // Files with secrets are readable by the owner only, and no command line has a secret.
    for file in ["settings.json", "sandbox.json"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = dir.path.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for command in processes_of(&dir.path) {
        assert!(!command.contains(password), "{command}");
        assert!(!command.contains(&info.s3.secret_access_key), "{command}");
    }
}

#[test]
fn settings_that_the_guide_relies_on() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    assert_eq!(
        dir.sql("SELECT current_setting('pg_lake_iceberg.default_location_prefix') = ''"),
        "t"
    );
    assert_eq!(dir.sql("SHOW timezone"), "UTC");
    // Text sorts by bytes, and upper() converts letters beyond ASCII.
    assert_eq!(dir.sql("SELECT 'Z' < 'a', upper('é')"), "t,É");
    dir.sql(
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://b/frompg'",
    );
    assert_eq!(
        dir.sql("SHOW pg_lake_iceberg.default_location_prefix"),
        "s3://b/frompg"
    );
}

#[test]
fn scheduled_jobs_run_without_a_password() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    if !dir.info().has_pg_cron {
        eprintln!("skipped: pg_cron is not installed here (icebox doctor)");
        return;
    }
    dir.sql("CREATE EXTENSION pg_cron");
    dir.sql("CREATE TABLE ticks (at timestamptz)");
    // The shortest interval that every version of pg_cron accepts.
    dir.sql("SELECT cron.schedule('tick', '* * * * *', 'INSERT INTO ticks VALUES (now())')");
    let deadline = Instant::now() + Duration::from_secs(90);
    while dir.sql("SELECT count(*) > 0 FROM ticks") != "t" {
        let details = "SELECT status, return_message FROM cron.job_run_details";
        assert!(
            Instant::now() < deadline,
            "no job has run: {}",
            dir.sql(details)
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_stopped_sandbox_starts_again_with_its_data_ports_and_passwords() {
    let dir = StateDir::new();
    dir.ok(&["up", "--pg-port", &free_port()]);
    let before = dir.info();
    dir.sql("CREATE TABLE kept (id int)");
    dir.sql("INSERT INTO kept VALUES (7)");
    dir.ok(&["down"]);
    dir.ok(&["up"]);
    let after = dir.info();
    assert_eq!(before.postgres, after.postgres);
    assert_eq!(before.s3, after.s3);
    assert_eq!(dir.sql("SELECT id FROM kept"), "7");

    dir.ok(&["down", "--purge"]);
    assert!(!dir.path.exists());
    dir.ok(&["up"]);
    assert_ne!(before.postgres.password, dir.info().postgres.password);
    let gone = dir.icebox(&["sql", "SELECT id FROM kept"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("42P01"));
}

#[test]
fn two_sandboxes_side_by_side() {
    let (one, two) = (StateDir::new(), StateDir::new());
    std::thread::scope(|scope| {
        scope.spawn(|| one.ok(&["up"]));
        scope.spawn(|| two.ok(&["up"]));
    });
    let (first, second) = (one.info(), two.info());
    assert_ne!(first.postgres.port, second.postgres.port);
    assert_ne!(first.s3.endpoint, second.s3.endpoint);
    one.sql("CREATE TABLE only_here (id int)");
    assert_eq!(two.sql("SELECT to_regclass('only_here') IS NULL"), "t");
    one.ok(&["down"]);
    assert_eq!(two.sql("SELECT 1"), "1");
}

#[test]
fn other_machines_are_let_in_only_where_it_is_asked_for() {
    let dir = StateDir::new();
    let icebox = |arguments: &[&str]| dir.ok(arguments);
    assert_listens_only_where_asked("embedded", icebox, || dir.info());
}

#[test]
fn sql_prints_errors_notices_and_formats() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    let notice = dir.icebox(&[
        "sql",
        "DO $$ BEGIN RAISE NOTICE 'hello; %', 1; END $$; SELECT 1 AS a",
    ]);
    assert!(String::from_utf8_lossy(&notice.stderr).contains("NOTICE: 00000: hello; 1"));
    assert_eq!(
        String::from_utf8_lossy(&notice.stdout),
        "ok, 0 rows\n a\n---\n 1\n(1 row)\n\n"
    );

    let failed = dir.icebox(&["sql", "SELECT 1;\nSELECT * FROM nope; SELECT 2"]);
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&failed.stderr);
    assert!(
        error.contains("ERROR: 42P01: relation \"nope\" does not exist"),
        "{error}"
    );
    // Statements after the error do not run.
    assert!(!String::from_utf8_lossy(&failed.stdout).contains('2'));

    let file = dir.path.join("statements.sql");
    std::fs::write(&file, "CREATE DATABASE another;\nSELECT 1/0;").unwrap();
    let failed = dir.icebox(&["sql", "--file", file.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&failed.stderr);
    assert!(
        error.contains("22012") && error.contains("statements.sql, line 2"),
        "{error}"
    );
    let json = dir.ok(&["sql", "--format", "json", "SELECT 1 AS a, NULL AS b"]);
    assert_eq!(json, "{\"a\":\"1\",\"b\":null}\n");

    // Every client has closed its connection properly.
    let log = dir.ok(&["logs", "postgres"]);
    assert!(
        log.contains("nope") && !log.contains("could not receive data"),
        "{log}"
    );
}

#[test]
fn doctor_tells_what_is_missing_and_how_to_get_it() {
    let dir = StateDir::new();
    let report: serde_json::Value = serde_json::from_str(&dir.ok(&["doctor", "--json"])).unwrap();
    let engines: Vec<_> = report["engines"].as_array().unwrap().iter().collect();
    let names: Vec<_> = engines.iter().map(|engine| &engine["engine"]).collect();
    assert_eq!(names, ["containers", "native", "embedded"]);
    for engine in engines {
        assert_ne!(engine["detail"], "", "{engine}");
    }
    let postgres = &report["parts"][0];
    assert_eq!(postgres["name"], "postgresql");
    assert_eq!(postgres["is_found"], true);

    let empty = tempfile::tempdir().unwrap();
    let pg_bin = ["--pg-bin", empty.path().to_str().unwrap()];
    let output = dir.icebox(&[&["doctor", "--json"], &pg_bin[..]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["engines"][2]["is_found"], false, "{report:#}");
    let is_well = report["engines"][0]["is_found"] == true;
    assert_eq!(output.status.success(), is_well, "{report:#}");
    let output = dir.icebox(&[&["doctor"], &pg_bin[..]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.contains("MISSING"), !is_well, "{text}");
    assert!(text.contains("apt-get install postgresql"), "{text}");
}

#[tokio::test]
async fn the_library_starts_a_sandbox_and_dropping_it_stops_everything() {
    let sandbox = Sandbox::builder()
        .engine(engine_under_test())
        .bucket("a-bucket")
        .start()
        .await
        .unwrap();
    let info = sandbox.info().clone();
    assert_eq!(info.bucket, "a-bucket");
    let client = icebox_postgres::connect(&info.postgres).await.unwrap();
    let row = client
        .query_one("SELECT current_user::text", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "snowflake_admin");

    // The command finds the sandbox, and does not stop it.
    let mut down = Command::new(crate::support::icebox());
    let output = down
        .arg("--state-dir")
        .arg(&info.state_dir)
        .arg("down")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("belongs to process"));

    drop(sandbox);
    assert!(icebox_postgres::connect(&info.postgres).await.is_err());
    assert!(!info.state_dir.exists());
    assert_eq!(processes_of(&info.state_dir), Vec::<String>::new());
}
