//! The life cycle of a sandbox on the engine `containers`, through the command.

use super::sandbox::{ContainerSandbox, Resources, docker, is_enabled};
use crate::support::network::{answers, assert_listens_only_where_asked, free_port};
use crate::support::text;

#[test]
fn up_down_and_up_again() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::new();
    let port = free_port();
    let first = sandbox.ok(&["up", "--engine", "containers", "--pg-port", &port]);
    assert!(first.contains("engine containers: asked for"), "{first}");
    assert!(first.contains("sslmode=require"), "{first}");
    let before = sandbox.info();
    assert!(sandbox.ok(&["up"]).contains("already running"));

    let status = sandbox.status();
    assert_eq!(status["state"], "up");
    let names: Vec<_> = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["aws", "postgres", "s3", "snowflake"]);

    // The version is the one that the server reports.
    assert!(before.has_pg_cron);
    let version = sandbox.sql("SHOW server_version");
    assert_eq!(version.split(' ').next().unwrap(), before.postgres_version);
    assert_eq!(sandbox.sql("SHOW max_worker_processes"), "64");
    assert_eq!(sandbox.sql("SELECT 'Z' < 'a', upper('é')"), "t,É");

    sandbox.sql("CREATE EXTENSION pg_lake CASCADE");
    sandbox.sql(
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://icebox-lake/'",
    );
    sandbox.sql("CREATE TABLE kept (id int) USING iceberg");
    sandbox.sql("INSERT INTO kept VALUES (7)");
    sandbox.sql("CREATE TABLE heap (id int)");
    sandbox.sql("INSERT INTO heap VALUES (8)");
    sandbox.soon_reads("SELECT id FROM kept", "ID\n7\n");

    // The output of the containers is in the sandbox's logs.
    let log = sandbox.ok(&["logs", "postgres", "-n", "1000"]);
    assert!(
        log.contains("database system is ready to accept connections"),
        "{log}"
    );

    sandbox.ok(&["down"]);
    assert_eq!(sandbox.status()["state"], "down");
    let stopped = sandbox.resources();
    assert_eq!(
        (
            stopped.containers.len(),
            stopped.networks.len(),
            stopped.volumes.len()
        ),
        (0, 0, 2),
        "{stopped:?}"
    );
    let log = sandbox.ok(&["logs", "postgres", "-n", "10"]);
    assert!(log.contains("database system is shut down"), "{log}");

    sandbox.ok(&["up", "--engine", "containers"]);
    let after = sandbox.info();
    assert_eq!(before.postgres, after.postgres);
    assert_eq!(before.s3, after.s3);
    assert_eq!(sandbox.sql("SELECT k.id, h.id FROM kept k, heap h"), "7,8");
    sandbox.sql("INSERT INTO kept VALUES (9)");

    sandbox.ok(&["down", "--purge"]);
    assert_eq!(sandbox.resources(), Resources::default());
    assert!(!sandbox.state_dir.exists());
}

#[test]
fn everything_listens_on_loopback_only() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    let info = sandbox.info();
    let bound = |component: &str| {
        let bindings = docker(&[
            "inspect",
            "--format",
            "{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}",
            &sandbox.container(component),
        ]);
        let port = bindings.trim().strip_prefix("127.0.0.1:");
        let port = port.and_then(|port| port.parse::<u16>().ok());
        port.unwrap_or_else(|| panic!("{component}: {bindings}"))
    };
    assert_eq!(bound("postgres"), info.postgres.port);
    // MinIO has a port of its own behind icebox's endpoint.
    let minio = bound("s3");
    for port in [info.postgres.port, minio, info.s3_port()] {
        // Another loopback address of the host that must not be bound. It is outside of the range
        // of PostgreSQL instances, 127.0.0.2 to 127.0.0.254, which other tests may use.
        assert!(!answers([127, 0, 1, 1], port), "{port}");
        assert!(answers([127, 0, 0, 1], port), "{port}");
    }
}

#[test]
fn other_machines_are_let_in_only_where_it_is_asked_for() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::new();
    assert_listens_only_where_asked(
        "containers",
        |arguments| sandbox.ok(arguments),
        || sandbox.info(),
    );
}

#[test]
fn only_tls_with_a_password_gets_in() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    let info = sandbox.info();
    let try_as = |settings: &str, password: &str| {
        let port = info.postgres.port;
        let target =
            format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=postgres {settings}");
        let mut psql = std::process::Command::new("psql");
        psql.args([&target, "-X", "-A", "-t", "-c"]);
        psql.arg("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        text(&psql.env("PGPASSWORD", password).output().unwrap())
    };
    let password = &info.postgres.password;
    let plain = try_as("user=snowflake_admin sslmode=disable", password);
    assert!(plain.contains("no encryption"), "{plain}");
    let wrong = try_as("user=snowflake_admin sslmode=require", "wrong");
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let ca = info
        .postgres
        .ca_file
        .as_ref()
        .unwrap()
        .display()
        .to_string();
    let verified = format!("user=snowflake_admin sslmode=verify-full sslrootcert={ca}");
    assert_eq!(try_as(&verified, password), "snowflake_admin|t\n");
    let application = try_as(
        "user=application sslmode=require",
        &info.application_password,
    );
    assert_eq!(application, "application|t\n");
    assert_eq!(
        sandbox.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'application'"),
        "f"
    );
}

#[test]
fn two_sandboxes_side_by_side() {
    if !is_enabled() {
        return;
    }
    let (one, two) = (ContainerSandbox::new(), ContainerSandbox::new());
    std::thread::scope(|scope| {
        scope.spawn(|| one.ok(&["up", "--engine", "containers"]));
        scope.spawn(|| two.ok(&["up", "--engine", "containers"]));
    });
    assert_ne!(one.info().postgres.port, two.info().postgres.port);
    assert_ne!(one.info().s3.endpoint, two.info().s3.endpoint);
    one.sql("CREATE TABLE only_here (id int)");
    assert_eq!(two.sql("SELECT to_regclass('only_here') IS NULL"), "t");
    one.ok(&["down", "--purge"]);
    assert_eq!(two.sql("SELECT 1"), "1");
    assert_eq!(two.resources().containers.len(), 2);
}

#[test]
fn the_guides_files_run_and_every_answer_is_the_same() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    sandbox.ok(&["run", "scenarios/retail-lakehouse"]);
    let report = sandbox.ok(&["verify", "--queries", "scenarios/retail-lakehouse/queries"]);
    let summary = report.lines().last().unwrap();
    assert!(summary.contains("gave the same answer"), "{report}");
    // The layout of the guide, which results from the settings of the object-store catalog.
    let location =
        sandbox.sql("SELECT DISTINCT split_part(metadata_location, '/', 4) FROM iceberg_tables");
    assert_eq!(location, "frompg");
}

#[test]
fn pgduck_server_in_a_container_of_its_own() {
    if !is_enabled() {
        return;
    }
    let image = std::env::var("ICEBOX_POSTGRES_IMAGE").unwrap();
    let sandbox = ContainerSandbox::with(&[("ICEBOX_PGDUCK_IMAGE", &image)]);
    sandbox.ok(&["up", "--engine", "containers"]);
    assert_eq!(sandbox.resources().containers.len(), 3);
    sandbox.sql("CREATE EXTENSION pg_lake CASCADE");
    sandbox.sql(
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://icebox-lake/'",
    );
    sandbox.sql("CREATE TABLE t (id int) USING iceberg");
    sandbox.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    assert_eq!(
        sandbox.sql("SELECT count(*), sum(id) FROM t"),
        "1000,500500"
    );
    docker(&["kill", &sandbox.container("pgduck_server")]);
    sandbox.component("pgduck_server", 1);
    super::sandbox::eventually("pgduck_server answers again", || {
        sandbox
            .icebox(&["sql", "INSERT INTO t VALUES (1001)"])
            .status
            .success()
    });
    assert_eq!(sandbox.sql("SELECT count(*) FROM t"), "1001");
}
