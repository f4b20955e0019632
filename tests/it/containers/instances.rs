//! POSTGRES INSTANCE on the engine `containers`.

use std::path::PathBuf;
use std::process::Command;

use super::sandbox::{ContainerSandbox, Resources, docker, eventually, is_enabled};
use crate::support::text;

/// Runs a statement on the Snowflake side and returns its rows, with commas between values.
fn snowflake(sandbox: &ContainerSandbox, sql: &str) -> String {
    let csv = sandbox.ok(&["sql", "--on", "snowflake", "-o", "csv", sql]);
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    rows.join("\n")
}

/// Returns the state directory of the only instance.
fn only_instance(sandbox: &ContainerSandbox) -> PathBuf {
    let mut all = std::fs::read_dir(sandbox.state_dir.join("instances")).unwrap();
    all.next().unwrap().unwrap().path()
}

#[test]
fn an_instance_is_a_container_beside_the_first() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::up();
    let create = "CREATE POSTGRES INSTANCE shop COMPUTE_FAMILY = 'STANDARD_M' STORAGE_SIZE_GB = 10 AUTHENTICATION_AUTHORITY = POSTGRES";
    let created = sandbox.ok(&["sql", "--on", "snowflake", "-o", "json", create]);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let roles: serde_json::Value =
        serde_json::from_str(created["access_roles"].as_str().unwrap()).unwrap();
    let (host, password) = (
        created["host"].as_str().unwrap(),
        roles["snowflake_admin"].as_str().unwrap(),
    );
    assert_ne!(host, "127.0.0.1");
    let psql = |sql: &str| {
        let target = format!("host={host} dbname=postgres user=snowflake_admin sslmode=require");
        let output = Command::new("psql")
            .args([&target, "-XAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGPASSWORD", password)
            .output()
            .unwrap();
        (output.status.success(), text(&output).trim().to_owned())
    };
    let (may, said) = psql("SELECT 1");
    assert!(!may && said.contains("no pg_hba.conf entry"), "{said}");

    for sql in [
        "CREATE DATABASE d",
        "CREATE NETWORK RULE d.public.r TYPE = IPV4 VALUE_LIST = ('0.0.0.0/0') MODE = POSTGRES_INGRESS",
        "CREATE NETWORK POLICY p ALLOWED_NETWORK_RULE_LIST = ('d.public.r')",
        "ALTER POSTGRES INSTANCE shop SET NETWORK_POLICY = 'P'",
    ] {
        snowflake(&sandbox, sql);
    }
    assert_eq!(psql("SELECT 1"), (true, "1".to_owned()));

    // The instance writes to the sandbox's lake, but only where its storage integration allows it.
    let bucket = sandbox.info().bucket;
    let role = sandbox.info().role_arn.unwrap();
    let works = |sql: &str| {
        let (done, said) = psql(sql);
        assert!(done, "{sql}: {said}");
    };
    let fails = |sql: &str, because: &str| {
        let (done, said) = psql(sql);
        assert!(!done && said.contains(because), "{sql}: {said}");
    };
    works("CREATE EXTENSION pg_lake CASCADE");
    works(&format!(
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://{bucket}/own'"
    ));
    let table = "CREATE TABLE sales (amount numeric(12,2)) USING iceberg";
    fails(table, "no storage integration");
    snowflake(
        &sandbox,
        &format!(
            "CREATE STORAGE INTEGRATION writer TYPE = POSTGRES_EXTERNAL_STORAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
             STORAGE_AWS_ROLE_ARN = '{role}' STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/elsewhere/')"
        ),
    );
    let attach = "ALTER POSTGRES INSTANCE shop SET STORAGE_INTEGRATION = writer";
    snowflake(&sandbox, attach);
    fails(table, "AccessDenied");
    snowflake(
        &sandbox,
        &format!(
            "ALTER STORAGE INTEGRATION writer SET STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/')"
        ),
    );
    works(table);
    works("INSERT INTO sales VALUES (1.25), (2.50)");
    snowflake(
        &sandbox,
        "ALTER POSTGRES INSTANCE shop UNSET STORAGE_INTEGRATION",
    );
    fails("INSERT INTO sales VALUES (4)", "no storage integration");
    snowflake(&sandbox, attach);
    // The container has no other keys. A restarted container does not know the session's
    // credentials, and receives them again.
    let containers = Resources::of(&only_instance(&sandbox)).containers;
    let inspected = docker(&["inspect", &containers[0]]);
    assert!(inspected.contains("ICEBOX_S3_SECRET_ACCESS_KEY=none"));
    assert!(!inspected.contains(&sandbox.info().s3.secret_access_key));
    docker(&["kill", &containers[0]]);
    eventually("it writes again", || psql("INSERT INTO sales VALUES (0)").0);
    let (_, location) = psql("SELECT metadata_location FROM iceberg_tables");
    let path = location.strip_prefix(&format!("s3://{bucket}/")).unwrap();
    for sql in [
        &format!(
            "CREATE EXTERNAL VOLUME v STORAGE_LOCATIONS = ((NAME = 'l' STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = 's3://{bucket}/' STORAGE_AWS_ROLE_ARN = '{role}'))"
        ),
        "CREATE CATALOG INTEGRATION c CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE",
        &format!(
            "CREATE ICEBERG TABLE d.public.sales EXTERNAL_VOLUME = 'V' CATALOG = 'C' METADATA_FILE_PATH = '{path}'"
        ),
    ] {
        snowflake(&sandbox, sql);
    }
    assert_eq!(
        snowflake(&sandbox, "SELECT SUM(amount) FROM d.public.sales"),
        "3.75"
    );

    // A suspended instance keeps its data and its network policy.
    snowflake(&sandbox, "ALTER POSTGRES INSTANCE shop SUSPEND");
    assert!(!psql("SELECT 1").0);
    snowflake(&sandbox, "ALTER POSTGRES INSTANCE shop RESUME");
    assert_eq!(
        psql("SELECT sum(amount) FROM sales"),
        (true, "3.75".to_owned())
    );

    // The instance starts again with the sandbox.
    sandbox.ok(&["down"]);
    sandbox.ok(&["up", "--engine", "containers"]);
    assert_eq!(
        psql("SELECT sum(amount) FROM sales"),
        (true, "3.75".to_owned())
    );
    snowflake(&sandbox, "DROP POSTGRES INSTANCE shop");
    assert!(!psql("SELECT 1").0);
}
