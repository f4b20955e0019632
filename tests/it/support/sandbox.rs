//! A sandbox for one test, in the test's process or started by the command.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use icebox_postgres::Endpoint;
use icebox_reader::{Reader, follow};
use icebox_sandbox::process::ProcessId;
use icebox_sandbox::{Engine, Sandbox, SandboxInfo};
use icebox_tables::LakeIo;

use super::db::Db;
use super::text;

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

    /// Returns the paths on disk of the stored objects whose path contains `part`, sorted.
    pub async fn stored_paths(&self, part: &str) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        let mut folders = vec![self.info().state_dir.join("s3")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    paths.push(entry.path().display().to_string());
                }
            }
        }
        paths.retain(|path| path.contains(part));
        paths.sort();
        paths
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
