//! Failures of a sandbox, caused from outside or by its options.

use std::path::Path;

use super::{StateDir, processes_of};
use crate::support::kill_9;
use crate::support::sandbox::icebox;
use icebox_sandbox::EngineKind;

#[test]
fn two_ups_at_once_start_one_sandbox() {
    let dir = StateDir::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| dir.ok(&["up"]));
        }
    });
    assert_eq!(dir.sql("SELECT 1"), "1");
    let supervisors = processes_of(&dir.path)
        .into_iter()
        .filter(|command| command.contains("up --foreground"));
    assert_eq!(supervisors.count(), 1);
}

#[test]
fn up_recovers_from_a_killed_supervisor() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    dir.sql("CREATE TABLE kept (id int)");
    dir.sql("INSERT INTO kept VALUES (7)");
    let supervisor = dir.status()["supervisor_pid"].as_i64().unwrap() as i32;
    let names = ["postgres", "s3", dir.lake_component()];
    let old = names.map(|name| dir.component(name, 0));
    kill_9(supervisor);
    dir.ok(&["up"]);
    let status = dir.status();
    assert_eq!(status["state"], "up");
    assert_ne!(status["supervisor_pid"], supervisor);
    for (name, old) in names.into_iter().zip(old) {
        assert_ne!(dir.component(name, 0), old, "{name} was not restarted");
        assert!(
            !Path::new(&format!("/proc/{old}/exe")).exists(),
            "the old {name} still runs"
        );
    }
    assert_eq!(dir.sql("SELECT id FROM kept"), "7");
    kill_9(dir.status()["supervisor_pid"].as_i64().unwrap() as i32);
    dir.ok(&["down"]);
    assert_eq!(processes_of(&dir.path), Vec::<String>::new());
}

#[test]
fn killed_components_come_back() {
    let dir = StateDir::new();
    dir.ok(&["up"]);
    dir.sql("CREATE TABLE kept (id int)");
    for round in 1..=2 {
        for name in ["s3", dir.lake_component(), "postgres"] {
            kill_9(dir.component(name, round - 1));
            dir.component(name, round);
        }
        dir.sql("INSERT INTO kept VALUES (1)");
        assert_eq!(dir.sql("SELECT count(*) FROM kept"), round.to_string());
    }
    let logs = dir.ok(&["logs", "icebox"]);
    assert!(logs.contains("starting it again"), "{logs}");
}

#[test]
fn a_busy_port_is_an_error_that_names_the_option() {
    let dir = StateDir::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = dir.icebox(&["up", "--pg-port", &port]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(&port) && error.contains("--pg-port"),
        "{error}"
    );
    assert_eq!(dir.status()["state"], "down");
}

#[test]
fn engines_that_are_not_there_say_so() {
    let dir = StateDir::new();
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    for (engine, reasons) in [
        (
            "containers",
            ["no container engine: none of", "apt-get install docker.io"],
        ),
        ("native", ["`postgres` is missing", "postgresql-18-pg-lake"]),
        (
            "embedded",
            ["`postgres` is missing", "apt-get install postgresql"],
        ),
    ] {
        let output = icebox(&dir.path, &["up", "--engine", engine, "--pg-bin", path])
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr);
        for reason in reasons {
            assert!(error.contains(reason), "{engine}: {error}");
        }
    }
}

#[test]
fn auto_takes_an_engine_that_works_and_says_why() {
    let dir = StateDir::new();
    let up = dir.ok(&["up", "--engine", "auto"]);
    let engine = dir.info().engine;
    let expected = format!("engine {engine}: auto took it");
    assert!(up.contains(&expected), "{up}");
    assert!(
        engine != EngineKind::Embedded || up.contains("native: no PostgreSQL with pg_lake"),
        "{up}"
    );
}

#[test]
fn a_state_directory_with_a_long_path_works() {
    let dir = StateDir::new();
    let path = dir.path.join("a-directory-with-a-long-name/".repeat(5));
    let long = StateDir {
        path,
        _parent: tempfile::tempdir().unwrap(),
    };
    std::fs::create_dir_all(&long.path).unwrap();
    long.ok(&["up"]);
    assert_eq!(long.sql("SELECT 1"), "1");
    let sockets = std::fs::read_link(long.path.join("sockets")).unwrap();
    long.ok(&["down", "--purge"]);
    assert!(!sockets.exists());
}

#[test]
fn a_state_directory_that_only_the_user_can_enter_works() {
    use std::os::unix::fs::PermissionsExt;
    let dir = StateDir::new();
    let parent = dir.path.parent().unwrap();
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o700)).unwrap();
    dir.ok(&["up"]);
    assert_eq!(dir.sql("SELECT 1"), "1");
    dir.ok(&["down"]);
    dir.ok(&["up"]);
    let elsewhere = std::fs::read_link(dir.path.join("postgres"));
    dir.ok(&["down", "--purge"]);
    if let Ok(elsewhere) = elsewhere {
        assert!(!elsewhere.exists());
    }
}

#[test]
fn purging_leaves_what_is_not_the_sandboxs() {
    let dir = StateDir::new();
    std::fs::create_dir(&dir.path).unwrap();
    std::fs::write(dir.path.join("mine.txt"), "kept").unwrap();
    assert!(dir.ok(&["down", "--purge"]).contains("was not running"));
    dir.ok(&["up"]);
    dir.ok(&["down", "--purge"]);
    let left: Vec<_> = std::fs::read_dir(&dir.path).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(
        std::fs::read_to_string(dir.path.join("mine.txt")).unwrap(),
        "kept"
    );
}
