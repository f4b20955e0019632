//! Failures on the engine `containers`: killed processes and containers, interrupted starts, and
//! things that are missing.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::sandbox::{ContainerSandbox, Resources, docker, eventually, is_enabled};
use crate::support::kill_9;

fn with_a_row(sandbox: &ContainerSandbox) {
    sandbox.sql("CREATE TABLE kept (id int)");
    sandbox.sql("INSERT INTO kept VALUES (7)");
}

#[test]
fn killed_containers_come_back() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    with_a_row(&sandbox);
    for (restarts, component) in [(1, "postgres"), (1, "s3"), (2, "postgres")] {
        docker(&["kill", "--signal", "KILL", &sandbox.container(component)]);
        sandbox.component(component, restarts);
    }
    eventually("PostgreSQL answers again", || {
        sandbox.icebox(&["sql", "SELECT 1"]).status.success()
    });
    assert_eq!(sandbox.sql("SELECT id FROM kept"), "7");
    let logs = sandbox.ok(&["logs", "icebox"]);
    assert!(logs.contains("starting it again"), "{logs}");
    let logs = sandbox.ok(&["logs", "postgres", "-n", "1000"]);
    assert!(logs.contains("ended with exit code 137"), "{logs}");
}

#[test]
fn a_container_whose_watcher_is_killed_is_replaced() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    with_a_row(&sandbox);
    let id = |name: &str| docker(&["inspect", "--format", "{{.Id}}", name]);
    let (name, watcher) = (
        sandbox.container("postgres"),
        sandbox.component("postgres", 0),
    );
    let before = id(&name);
    kill_9(watcher);
    sandbox.component("postgres", 1);
    eventually("the container is another one", || {
        sandbox.resources().containers.contains(&name) && id(&name) != before
    });
    eventually("PostgreSQL answers again", || {
        sandbox.icebox(&["sql", "SELECT 1"]).status.success()
    });
    assert_eq!(sandbox.sql("SELECT id FROM kept"), "7");
}

#[test]
fn up_recovers_from_a_killed_supervisor() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    with_a_row(&sandbox);
    let supervisor = sandbox.supervisor();
    kill_9(supervisor);
    sandbox.ok(&["up", "--engine", "containers"]);
    assert_ne!(sandbox.supervisor(), supervisor);
    assert_eq!(sandbox.resources().containers.len(), 2);
    assert_eq!(sandbox.sql("SELECT id FROM kept"), "7");

    // When the watchers are killed too, no process is left to remove the containers.
    let all = [
        sandbox.supervisor(),
        sandbox.component("postgres", 0),
        sandbox.component("s3", 0),
    ];
    all.into_iter().for_each(kill_9);
    eventually("the sandbox is down", || {
        sandbox.status()["state"] == "down"
    });
    assert_eq!(sandbox.resources().containers.len(), 2);
    sandbox.ok(&["down"]);
    let left = sandbox.resources();
    assert_eq!(
        (
            left.containers.len(),
            left.networks.len(),
            left.volumes.len()
        ),
        (0, 0, 2),
        "{left:?}"
    );
}

#[test]
fn a_killed_supervisors_containers_go_by_themselves() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    kill_9(sandbox.supervisor());
    eventually("the containers are gone", || {
        sandbox.resources().containers.is_empty()
    });
    sandbox.ok(&["down", "--purge"]);
    assert_eq!(sandbox.resources(), Resources::default());
}

#[test]
fn an_interrupted_start_leaves_no_containers() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::new();
    let mut up = sandbox
        .command(&["up", "--engine", "containers", "--foreground"])
        .spawn()
        .unwrap();
    eventually("a container is there", || {
        !sandbox.resources().containers.is_empty()
    });
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    up.wait().unwrap();
    let left = sandbox.resources();
    assert_eq!(
        (left.containers.len(), left.networks.len()),
        (0, 0),
        "{left:?}"
    );
    sandbox.ok(&["down", "--purge"]);
    assert_eq!(sandbox.resources(), Resources::default());
}

#[test]
fn data_whose_state_directory_is_gone_is_not_taken_over() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    with_a_row(&sandbox);
    sandbox.ok(&["down"]);
    std::fs::remove_dir_all(&sandbox.state_dir).unwrap();
    sandbox.ok(&["up", "--engine", "containers"]);
    assert!(
        sandbox
            .fails(&["sql", "SELECT id FROM kept"])
            .contains("42P01")
    );
}

#[test]
fn a_missing_image_is_an_error_that_says_how_to_get_it() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::with(&[("ICEBOX_POSTGRES_IMAGE", "icebox-no-such-image:1")]);
    let error = sandbox.fails(&["up", "--engine", "containers"]);
    assert!(
        error.contains("image icebox-no-such-image:1 is missing; to get it: just images"),
        "{error}"
    );
    assert_eq!(sandbox.resources(), Resources::default());
}

#[test]
fn a_container_that_ends_while_it_starts_shows_its_last_lines() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::with(&[("ICEBOX_S3_COMMAND", "serve buckets from /data")]);
    let error = sandbox.fails(&["up", "--engine", "containers"]);
    assert!(error.contains("s3 did not start"), "{error}");
    assert!(error.contains("usage: server DIR"), "{error}");
    assert!(error.contains("ended with exit code 2"), "{error}");
    let left = sandbox.resources();
    assert_eq!(
        (left.containers.len(), left.networks.len()),
        (0, 0),
        "{left:?}"
    );
}

#[test]
fn a_busy_port_is_an_error_that_names_the_option() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let error = sandbox.fails(&["up", "--engine", "containers", "--pg-port", &port]);
    assert!(
        error.contains(&port) && error.contains("--pg-port"),
        "{error}"
    );
    assert_eq!(sandbox.resources(), Resources::default());
}

#[test]
fn a_daemon_that_is_not_there_or_does_not_answer() {
    if !is_enabled() {
        return;
    }
    let nowhere = ContainerSandbox::with(&[("DOCKER_HOST", "unix:///nonexistent/docker.sock")]);
    let error = nowhere.fails(&["up", "--engine", "containers"]);
    assert!(
        error.contains("no container engine: none of /nonexistent/docker.sock exists"),
        "{error}"
    );

    let remote = ContainerSandbox::with(&[("DOCKER_HOST", "tcp://192.0.2.1:2375")]);
    let error = remote.fails(&["up", "--engine", "containers"]);
    assert!(
        error.contains("DOCKER_HOST is tcp://192.0.2.1:2375"),
        "{error}"
    );

    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let host = format!("unix://{}", socket.display());
    let listener = UnixListener::bind(&socket).unwrap();
    let silent = ContainerSandbox::with(&[("DOCKER_HOST", &host)]);
    let begun = Instant::now();
    let error = silent.fails(&["up", "--engine", "containers"]);
    assert!(error.contains("does not answer"), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    drop(listener);
    let error = silent.fails(&["up", "--engine", "containers"]);
    assert!(error.contains("no container engine answers at"), "{error}");
    assert!(error.contains("sudo systemctl restart docker"), "{error}");
}
