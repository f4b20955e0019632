//! A sandbox for one test, and PostgreSQL clients whose statements and answers are text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use icebox_postgres::{Endpoint, connect_with_notices};
use icebox_reader::{Reader, follow};
use icebox_sandbox::process::ProcessId;
use icebox_sandbox::{Engine, Sandbox, SandboxInfo};
use icebox_tables::LakeIo;

/// The text for NULL in an answer.
pub const NULL: &str = "∅";

/// The bucket of a test's sandbox, unless the test names another.
pub const BUCKET: &str = "lake";

/// Returns the engine under test: `ICEBOX_TEST_ENGINE`, or the embedded engine, which runs
/// everywhere.
pub fn engine_under_test() -> Engine {
    match std::env::var("ICEBOX_TEST_ENGINE") {
        Ok(name) => clap::ValueEnum::from_str(&name, true)
            .unwrap_or_else(|_| panic!("ICEBOX_TEST_ENGINE: there is no engine {name}")),
        Err(_) => Engine::Embedded,
    }
}

/// A sandbox in the test's process, with the extension in the database `postgres`. It is stopped
/// when dropped.
pub struct TestSandbox {
    pub sandbox: Sandbox,
}

impl TestSandbox {
    pub async fn start() -> Self {
        Self::with_bucket(BUCKET).await
    }

    /// Starts a sandbox without the extension, as `icebox up` does.
    pub async fn bare() -> Self {
        Self::named(BUCKET).await
    }

    async fn named(bucket: &str) -> Self {
        let sandbox = Sandbox::builder()
            .engine(engine_under_test())
            .bucket(bucket)
            .start()
            .await
            .expect("the sandbox starts");
        Self { sandbox }
    }

    pub async fn with_bucket(bucket: &str) -> Self {
        let test = Self::named(bucket).await;
        let db = test.db().await;
        db.run("CREATE EXTENSION pg_lake CASCADE").await;
        let set = format!(
            "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://{bucket}'"
        );
        db.run(&set).await;
        test
    }

    pub fn info(&self) -> &SandboxInfo {
        self.sandbox.info()
    }

    /// Opens a connection as the administrator.
    pub async fn db(&self) -> Db {
        Db::connect(&self.info().postgres).await
    }

    /// Opens a connection as the role `application`.
    pub async fn application(&self) -> Db {
        Db::connect(&self.info().application()).await
    }

    /// Creates another database with the extension, and opens a connection to it.
    pub async fn database(&self, name: &str) -> Db {
        self.db()
            .await
            .run(&format!("CREATE DATABASE {name}"))
            .await;
        let db = Db::connect(&in_database(self.info(), name)).await;
        db.run("CREATE EXTENSION pg_lake CASCADE").await;
        db
    }

    /// Reads an Iceberg metadata file.
    pub async fn metadata(&self, location: &str) -> serde_json::Value {
        serde_json::from_slice(&self.object(location).await).unwrap()
    }

    /// Returns the files of a table's current snapshot, and the table's metadata.
    pub async fn files(&self, metadata_location: &str) -> (Vec<LakeFile>, serde_json::Value) {
        use iceberg::spec::{DataContentType, ManifestList, ManifestStatus, TableMetadata};
        let json = self.metadata(metadata_location).await;
        let metadata: TableMetadata = serde_json::from_value(json.clone()).unwrap();
        let io = LakeIo::s3(self.info().s3.clone()).file_io();
        let schema = metadata.current_schema();
        let name = |id: &i32| schema.name_by_field_id(*id).unwrap_or_default().to_owned();
        let mut files = Vec::new();
        let snapshot = metadata.current_snapshot().expect("a snapshot");
        let list = io
            .new_input(snapshot.manifest_list())
            .unwrap()
            .read()
            .await
            .unwrap();
        let list = ManifestList::parse_with_version(&list, metadata.format_version()).unwrap();
        for manifest in list.entries() {
            let manifest = manifest.load_manifest(&io).await.unwrap();
            for entry in manifest.entries() {
                if entry.status() == ManifestStatus::Deleted {
                    continue;
                }
                let file = entry.data_file();
                let bounds = file.lower_bounds().iter().filter_map(|(id, lower)| {
                    let upper = file.upper_bounds().get(id)?;
                    Some((name(id), (plain(lower), plain(upper))))
                });
                files.push(LakeFile {
                    location: file.file_path().to_owned(),
                    is_delete: file.content_type() == DataContentType::PositionDeletes,
                    rows: file.record_count(),
                    bounds: bounds.collect(),
                    nulls: file
                        .null_value_counts()
                        .iter()
                        .map(|(id, count)| (name(id), *count))
                        .collect(),
                });
            }
        }
        (files, json)
    }

    /// Reads an object by its location, `s3://bucket/key`.
    pub async fn object(&self, location: &str) -> Vec<u8> {
        let io = LakeIo::s3(self.info().s3.clone());
        let file = io.file_io().new_input(location).unwrap();
        file.read().await.unwrap().to_vec()
    }

    /// Returns the paths on disk of the stored objects whose path contains `prefix`, sorted.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        let dir = self.info().state_dir.join("s3");
        let mut folders = vec![dir];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    keys.push(entry.path().display().to_string());
                }
            }
        }
        keys.retain(|key| key.contains(prefix));
        keys.sort();
        keys
    }
}

/// Returns the administrator's endpoint of another database.
pub fn in_database(info: &SandboxInfo, name: &str) -> Endpoint {
    Endpoint {
        dbname: name.to_owned(),
        ..info.postgres.clone()
    }
}

/// A file of a snapshot, with its statistics by column.
#[derive(Debug)]
pub struct LakeFile {
    pub location: String,
    pub is_delete: bool,
    pub rows: u64,
    pub bounds: HashMap<String, (String, String)>,
    pub nulls: HashMap<String, u64>,
}

fn plain(datum: &iceberg::spec::Datum) -> String {
    datum.to_string().trim_matches('"').to_owned()
}

/// Returns the command `icebox` with this state directory and the engine under test.
pub fn icebox(state_dir: &Path, arguments: &[&str]) -> Command {
    let engine = clap::ValueEnum::to_possible_value(&engine_under_test()).unwrap();
    let mut command = Command::new(crate::support::icebox());
    command
        .env("ICEBOX_STATE_DIR", state_dir)
        .env("ICEBOX_ENGINE", engine.get_name())
        .args(arguments)
        .stdin(std::process::Stdio::null());
    command
}

/// A sandbox started by the command, with a process for each component. It is stopped and purged
/// when dropped.
pub struct CommandSandbox {
    _parent: tempfile::TempDir,
    pub state_dir: PathBuf,
    /// The options of `icebox up`.
    start: Vec<String>,
}

impl CommandSandbox {
    pub fn up() -> Self {
        Self::with(&[])
    }

    /// Starts a sandbox with these options of `icebox up`.
    pub fn with(options: &[&str]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        // PostgreSQL's account must have access when the tests run as root.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(parent.path(), mode).unwrap();
        let state_dir = parent.path().join("state");
        let sandbox = Self {
            _parent: parent,
            state_dir,
            start: options.iter().map(ToString::to_string).collect(),
        };
        sandbox.start();
        sandbox
    }

    /// Starts the sandbox again, with the options of its first start.
    pub fn start(&self) -> String {
        let options = self.start.iter().map(String::as_str);
        self.ok(&std::iter::once("up").chain(options).collect::<Vec<_>>())
    }

    pub fn icebox(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Returns the command `icebox` for this sandbox and the engine under test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = icebox(&self.state_dir, arguments);
        command.current_dir(crate::support::ROOT);
        command
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

    pub fn info(&self) -> SandboxInfo {
        SandboxInfo::load(&self.state_dir).unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.icebox(&["status", "--json"]).stdout).unwrap()
    }

    /// Returns the process of a component (`postgres`, `s3`, `lake-engine`) or of the `supervisor`,
    /// if it runs. `lake-engine` also means the `pgduck_server` of other engines.
    pub fn process(&self, name: &str) -> Option<ProcessId> {
        let status = self.status();
        let pid = if name == "supervisor" {
            &status["supervisor_pid"]
        } else {
            let is_wanted =
                |found: &str| found == name || (name == "lake-engine" && found == "pgduck_server");
            let mut components = status["components"].as_array()?.iter();
            let component =
                components.find(|found| found["name"].as_str().is_some_and(is_wanted))?;
            &component["pid"]
        };
        ProcessId::of(pid.as_i64()? as i32)
    }
}

impl Drop for CommandSandbox {
    fn drop(&mut self) {
        self.icebox(&["down", "--purge"]);
    }
}

/// Returns icebox's reader with all current Iceberg tables of a database.
pub async fn reader(info: &SandboxInfo, db: &Db) -> Reader {
    let reader = Reader::new(LakeIo::s3(info.s3.clone())).unwrap();
    follow(&reader, &db.client).await.unwrap();
    reader
}

/// A connection that uses the simple query protocol, in which all values are text.
pub struct Db {
    pub client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

/// The answer to a message of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All rows of all statements, with `|` between values.
    pub rows: Vec<String>,
    /// The row count of the last statement.
    pub count: u64,
}

/// An error from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error as `SQLSTATE: message`, as in the transcripts.
    pub text: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Db {
    pub async fn connect(endpoint: &Endpoint) -> Self {
        Self::try_connect(endpoint)
            .await
            .expect("PostgreSQL answers")
    }

    pub async fn try_connect(endpoint: &Endpoint) -> Result<Self, icebox_postgres::ConnectError> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        let client = connect_with_notices(endpoint, move |notice| {
            let text = format!("{}: {}", notice.severity(), notice.message());
            sink.lock().unwrap().push(text);
        })
        .await?;
        Ok(Self { client, notices })
    }

    /// Returns the server's notices since the last call.
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    pub async fn try_run(&self, sql: &str) -> Result<Answer, Failure> {
        let messages = self.client.simple_query(sql).await.map_err(failure)?;
        let mut answer = Answer {
            rows: Vec::new(),
            count: 0,
        };
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<&str> =
                        (0..row.len()).map(|i| row.get(i).unwrap_or(NULL)).collect();
                    answer.rows.push(values.join("|"));
                }
                SimpleQueryMessage::CommandComplete(count) => answer.count = count,
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Runs SQL that must succeed.
    pub async fn run(&self, sql: &str) -> Answer {
        match self.try_run(sql).await {
            Ok(answer) => answer,
            Err(failure) => panic!("{sql}\n{failure:?}"),
        }
    }

    /// Returns the rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.run(sql).await.rows
    }

    /// Returns the only row of a query.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// Checks that `sql` gives these rows, in this order.
    #[track_caller]
    pub fn gives(&self, sql: &str, rows: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.rows(sql).await, rows, "{sql} ({caller})") }
    }

    /// Checks that `sql` fails with `SQLSTATE: message`.
    #[track_caller]
    pub fn refuses(&self, sql: &str, error: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            match self.try_run(sql).await {
                Ok(answer) => panic!("{sql} ({caller}) should fail with {error}, gave {answer:?}"),
                Err(failure) => assert_eq!(failure.text, error, "{sql} ({caller})"),
            }
        }
    }

    /// Returns the location of a table's current metadata file.
    pub async fn metadata_location(&self, table: &str) -> String {
        self.one(&format!(
            "SELECT metadata_location FROM iceberg_tables WHERE table_name = '{table}'"
        ))
        .await
    }
}

fn failure(error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => Failure {
            text: format!("{}: {}", error.code().code(), error.message()),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        },
        None => Failure {
            text: format!("connection: {error}"),
            detail: None,
            hint: None,
        },
    }
}

/// Runs psql on the sandbox as a user does: with TLS and a password, stopping at the first error.
pub fn psql(info: &SandboxInfo, arguments: &[&str]) -> Output {
    psql_at(&info.postgres, arguments)
}

/// Runs psql on any server: with TLS and a password, stopping at the first error.
pub fn psql_at(endpoint: &Endpoint, arguments: &[&str]) -> Output {
    let Endpoint {
        host, port, user, ..
    } = endpoint;
    let target = format!("host={host} port={port} dbname=postgres user={user} sslmode=require");
    Command::new("psql")
        .args([&target, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
        .args(arguments)
        .env("PGPASSWORD", &endpoint.password)
        .output()
        .expect("psql is installed with PostgreSQL")
}

/// Returns the Python of the clients' environment if it has this module; otherwise prints the
/// reason.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os("ICEBOX_CLIENTS") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/icebox/clients"),
    };
    let python = dir.join("bin/python");
    let import = format!("import {module}");
    match Command::new(&python).args(["-c", &import]).output() {
        Ok(output) if output.status.success() => Some(python),
        _ => {
            println!(
                "SKIPPED: {} has no module {module}. Run `just clients` to install the clients that tests use.",
                python.display()
            );
            None
        }
    }
}

/// Returns both output streams of a finished program.
pub fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns whether connections are accepted at this address and port.
pub fn answers(ip: [u8; 4], port: u16) -> bool {
    let address = std::net::SocketAddr::from((ip, port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

/// Checks that a sandbox listens for other machines only if `--listen` says so. `icebox` runs the
/// command with its arguments.
pub fn lets_in_only_where_asked(
    engine: &str,
    icebox: impl Fn(&[&str]) -> String,
    info: impl Fn() -> SandboxInfo,
) {
    // Loopback addresses of the host stand for its addresses in a network.
    let (own, public, other) = ([127, 0, 0, 1], [127, 0, 3, 1], [127, 0, 3, 2]);
    let port = free_port();
    let up = ["up", "--engine", engine, "--pg-port", &port];
    let told = icebox(&[&up[..], &["--listen", "127.0.3.1"]].concat());
    assert!(
        told.contains("WARNING: other machines can connect at 127.0.3.1"),
        "{told}"
    );
    let info = info();
    let ports = [
        info.postgres.port,
        info.s3_port(),
        info.snowflake.as_ref().unwrap().address.port(),
    ];
    for port in ports {
        assert!(answers(own, port) && answers(public, port), "{port}");
        assert!(!answers(other, port), "{port}");
    }
    icebox(&["down"]);
    // `--listen` applies to one start only.
    let told = icebox(&up);
    assert!(!told.contains("WARNING: other machines"), "{told}");
    for port in ports {
        assert!(answers(own, port) && !answers(public, port), "{port}");
    }
    icebox(&["down"]);
    icebox(&[&up[..], &["--listen", "0.0.0.0"]].concat());
    for port in ports {
        assert!(answers(public, port) && answers(other, port), "{port}");
    }
}

/// Returns a free port of 127.0.0.1. It is not PostgreSQL's default port, which another test's
/// sandbox may take while this one is down.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Kills a process and waits until it has ended.
pub fn kill_9(pid: i32) {
    let process = ProcessId::of(pid).expect("it runs");
    process.signal(nix::sys::signal::Signal::SIGKILL);
    while process.is_alive() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
