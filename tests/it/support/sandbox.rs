//! A sandbox for one test, and PostgreSQL clients that show statements and answers as text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use icebox::postgres::{Endpoint, connect_with_notices};
use icebox::sandbox::process::ProcessId;
use icebox::sandbox::{Engine, Sandbox, SandboxInfo};
use icebox::snowflake::{Reader, follow};
use icebox::tables::LakeIo;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How NULL shows in an answer.
pub const NULL: &str = "∅";

/// The bucket of every test's sandbox.
pub const BUCKET: &str = "lake";

/// The engine that tests run on: `ICEBOX_TEST_ENGINE`, or the one that works everywhere.
pub fn engine_under_test() -> Engine {
    match std::env::var("ICEBOX_TEST_ENGINE") {
        Ok(name) => clap::ValueEnum::from_str(&name, true)
            .unwrap_or_else(|_| panic!("ICEBOX_TEST_ENGINE: there is no engine {name}")),
        Err(_) => Engine::Embedded,
    }
}

/// A sandbox inside the test's process, with the extension made in the database `postgres`; stopped when dropped.
pub struct TestSandbox {
    pub sandbox: Sandbox,
}

impl TestSandbox {
    pub async fn start() -> Self {
        Self::with_bucket(BUCKET).await
    }

    /// As `icebox up` leaves it: without the extension.
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

    /// A new connection of the administrator.
    pub async fn db(&self) -> Db {
        Db::connect(&self.info().postgres).await
    }

    /// A new connection of the ordinary role.
    pub async fn application(&self) -> Db {
        Db::connect(&self.info().application()).await
    }

    /// A new connection to another database, which has the extension too.
    pub async fn database(&self, name: &str) -> Db {
        self.db()
            .await
            .run(&format!("CREATE DATABASE {name}"))
            .await;
        let db = Db::connect(&in_database(self.info(), name)).await;
        db.run("CREATE EXTENSION pg_lake CASCADE").await;
        db
    }

    /// An Iceberg metadata file.
    pub async fn metadata(&self, location: &str) -> serde_json::Value {
        serde_json::from_slice(&self.object(location).await).unwrap()
    }

    /// The files of a table's current snapshot, and its metadata.
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

    /// An object by its location, `s3://bucket/key`.
    pub async fn object(&self, location: &str) -> Vec<u8> {
        let io = LakeIo::s3(self.info().s3.clone());
        let file = io.file_io().new_input(location).unwrap();
        file.read().await.unwrap().to_vec()
    }

    /// The keys of the objects under a prefix, in order.
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

/// The administrator's endpoint of another database.
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

/// The program, for a sandbox in this directory, and on the engine under test.
pub fn icebox(state_dir: &Path, arguments: &[&str]) -> Command {
    let engine = clap::ValueEnum::to_possible_value(&engine_under_test()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_icebox"));
    command
        .env("ICEBOX_STATE_DIR", state_dir)
        .env("ICEBOX_ENGINE", engine.get_name())
        .args(arguments)
        .stdin(std::process::Stdio::null());
    command
}

/// A sandbox of the command, with a process for every component; stopped and removed when dropped.
pub struct CommandSandbox {
    _parent: tempfile::TempDir,
    pub state_dir: PathBuf,
    /// What it is started with.
    start: Vec<String>,
}

impl CommandSandbox {
    pub fn up() -> Self {
        Self::with(&[])
    }

    /// Starts one with these options of `icebox up`.
    pub fn with(options: &[&str]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        // PostgreSQL's account must get through when the tests run as root.
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

    /// Starts it again, with the options that it was first started with.
    pub fn start(&self) -> String {
        let options = self.start.iter().map(String::as_str);
        self.ok(&std::iter::once("up").chain(options).collect::<Vec<_>>())
    }

    pub fn icebox(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The program, for this sandbox and the engine under test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = icebox(&self.state_dir, arguments);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
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

    pub fn info(&self) -> SandboxInfo {
        SandboxInfo::load(&self.state_dir).unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.icebox(&["status", "--json"]).stdout).unwrap()
    }

    /// The process of a component (`postgres`, `s3`, `lake-engine`), or of the `supervisor`, if it runs. The lake engine
    /// has another name where it is the real one's.
    pub fn process(&self, name: &str) -> Option<ProcessId> {
        let status = self.status();
        let pid = match name {
            "supervisor" => &status["supervisor_pid"],
            _ => {
                let is_wanted = |found: &str| {
                    found == name || (name == "lake-engine" && found == "pgduck_server")
                };
                let mut components = status["components"].as_array()?.iter();
                let component =
                    components.find(|found| found["name"].as_str().is_some_and(is_wanted))?;
                &component["pid"]
            }
        };
        ProcessId::of(pid.as_i64()? as i32)
    }
}

impl Drop for CommandSandbox {
    fn drop(&mut self) {
        self.icebox(&["down", "--purge"]);
    }
}

/// icebox's reader on all Iceberg tables of a database as they are now.
pub async fn reader(info: &SandboxInfo, db: &Db) -> Reader {
    let reader = Reader::new(LakeIo::s3(info.s3.clone())).unwrap();
    follow(&reader, &db.client).await.unwrap();
    reader
}

/// One connection, spoken to in text.
pub struct Db {
    pub client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

/// What a message of SQL was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All rows of all statements: values with `|` between them.
    pub rows: Vec<String>,
    /// The number of rows that the last statement tells.
    pub count: u64,
}

/// An error as the server says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `SQLSTATE: message`, as the transcripts have it.
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

    pub async fn try_connect(endpoint: &Endpoint) -> Result<Self, icebox::postgres::ConnectError> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        let client = connect_with_notices(endpoint, move |notice| {
            let text = format!("{}: {}", notice.severity(), notice.message());
            sink.lock().unwrap().push(text);
        })
        .await?;
        Ok(Self { client, notices })
    }

    /// What the server has said besides answers since the last call.
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

    /// The rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.run(sql).await.rows
    }

    /// The only row of a query.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// `sql` gives these rows, in this order.
    #[track_caller]
    pub fn gives(&self, sql: &str, rows: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.rows(sql).await, rows, "{sql} ({caller})") }
    }

    /// `sql` is refused with `SQLSTATE: message`.
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

    /// Where a table's current metadata file is.
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

/// psql, as a person uses it: TLS, a password, stop at the first error.
pub fn psql(info: &SandboxInfo, arguments: &[&str]) -> Output {
    psql_at(&info.postgres, arguments)
}

/// The same on any server.
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

/// The Python of the clients' environment, where it has this module; otherwise the reason is printed.
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

/// Both streams of a finished program.
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

/// Whether somebody takes connections there.
pub fn answers(ip: [u8; 4], port: u16) -> bool {
    let address = std::net::SocketAddr::from((ip, port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

/// A sandbox, started and stopped by `icebox` with these arguments, listens for other machines only where `--listen` says so.
pub fn lets_in_only_where_asked(
    engine: &str,
    icebox: impl Fn(&[&str]) -> String,
    info: impl Fn() -> SandboxInfo,
) {
    // Addresses of this machine, as one in its network would be.
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
    // It is asked for at each start.
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

/// A port of 127.0.0.1 that is not PostgreSQL's usual one, which another test's sandbox may take while this one is down.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Kills a process and waits for its end, which the signal does not.
pub fn kill_9(pid: i32) {
    let process = ProcessId::of(pid).expect("it runs");
    process.signal(nix::sys::signal::Signal::SIGKILL);
    while process.is_alive() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
