//! POSTGRES INSTANCE on the engine `native`: it reaches the lake with the role of its storage
//! integration, and with nothing else.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::Installation;
use crate::aws::trust;
use crate::support::db::Db;
use crate::support::sandbox::CommandSandbox;
use crate::support::{text, until};
use icebox_aws::audit::Entry;
use icebox_aws::client::{Client, Credentials};
use icebox_postgres::Endpoint;
use icebox_sandbox::process::ProcessId;

/// Runs a statement on the Snowflake side, and returns an object for each row.
fn snowflake(sandbox: &CommandSandbox, sql: &str) -> Vec<Value> {
    let rows = sandbox.ok(&["sql", "--on", "snowflake", "-o", "json", sql]);
    let rows = serde_json::Deserializer::from_str(&rows).into_iter::<Value>();
    rows.map(Result::unwrap).collect()
}

/// Creates the instance `shop`, whose network policy allows connections from loopback. The sandbox
/// must have no other instance.
fn instance(sandbox: &CommandSandbox) -> Endpoint {
    let create = "CREATE POSTGRES INSTANCE shop COMPUTE_FAMILY = 'STANDARD_M' STORAGE_SIZE_GB = 10 AUTHENTICATION_AUTHORITY = POSTGRES";
    let created = snowflake(sandbox, create).remove(0);
    let roles: Value = serde_json::from_str(created["access_roles"].as_str().unwrap()).unwrap();
    for sql in [
        "CREATE DATABASE d",
        "CREATE NETWORK RULE d.public.r TYPE = IPV4 VALUE_LIST = ('127.0.0.0/8') MODE = POSTGRES_INGRESS",
        "CREATE NETWORK POLICY p ALLOWED_NETWORK_RULE_LIST = ('d.public.r')",
        "ALTER POSTGRES INSTANCE shop SET NETWORK_POLICY = 'P'",
    ] {
        snowflake(sandbox, sql);
    }
    let host = created["host"].as_str().unwrap();
    let certificate = format!("tls/{host}/server.crt");
    Endpoint {
        host: host.to_owned(),
        port: 5432,
        dbname: "postgres".to_owned(),
        user: "snowflake_admin".to_owned(),
        password: roles["snowflake_admin"].as_str().unwrap().to_owned(),
        ca_file: Some(instance_dir(sandbox).join(certificate)),
    }
}

/// Returns the state directory of the only instance.
fn instance_dir(sandbox: &CommandSandbox) -> PathBuf {
    let mut all = std::fs::read_dir(sandbox.state_dir.join("instances")).unwrap();
    all.next().unwrap().unwrap().path()
}

/// Returns the entries that `icebox audit` prints.
fn audit(sandbox: &CommandSandbox) -> Vec<Entry> {
    let output = sandbox.icebox(&["audit", "--json", "-n", "1000000"]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Runs a statement that must fail, and returns its error and hint.
async fn refused(db: &Db, sql: &str) -> String {
    match db.try_run(sql).await {
        Ok(answer) => panic!("{sql} should be refused, gave {answer:?}"),
        Err(failure) => format!("{} {}", failure.text, failure.hint.unwrap_or_default()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_reaches_the_lake_by_its_integration_alone() {
    let Some(installation) = Installation::of(17) else {
        return;
    };
    let sandbox = installation.up();
    let info = sandbox.info();
    let (s3, bucket) = (info.s3.clone(), info.bucket.clone());
    let role_arn = info.role_arn.clone().unwrap();
    let role = role_arn.rsplit('/').next().unwrap();
    let keys = Credentials::new(s3.access_key_id.clone(), s3.secret_access_key.clone());
    let iam = Client::new(s3.endpoint.clone(), s3.region.clone(), keys);
    let endpoint = instance(&sandbox);
    let db = Db::connect(&endpoint).await;
    db.run("CREATE EXTENSION pg_lake CASCADE").await;
    db.run(&format!(
        "SET pg_lake_iceberg.default_location_prefix = 's3://{bucket}/own'"
    ))
    .await;

    // The instance has no storage integration.
    let create = "CREATE TABLE sales (amount int) USING iceberg";
    let error = refused(&db, create).await;
    for part in ["42501", "no storage integration", "SET STORAGE_INTEGRATION"] {
        assert!(error.contains(part), "{error}");
    }

    // The role's trust policy does not have the integration's external id.
    let make = format!(
        "CREATE STORAGE INTEGRATION writer TYPE = POSTGRES_EXTERNAL_STORAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
         STORAGE_AWS_ROLE_ARN = '{role_arn}' STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/')"
    );
    snowflake(&sandbox, &make);
    let property = |name: &str| {
        let all = snowflake(&sandbox, "DESCRIBE STORAGE INTEGRATION writer");
        let found = all.iter().find(|row| row["property"] == name).unwrap();
        found["property_value"].as_str().unwrap().to_owned()
    };
    let (user, external_id) = (
        property("STORAGE_AWS_IAM_USER_ARN"),
        property("STORAGE_AWS_EXTERNAL_ID"),
    );
    let set_trust = async |id: &str| {
        iam.update_trust_policy(role, &trust(&[&user], &[id]))
            .await
            .unwrap();
    };
    set_trust("COPIED_WRONGLY").await;
    let attach = "ALTER POSTGRES INSTANCE shop SET STORAGE_INTEGRATION = writer";
    snowflake(&sandbox, attach);
    let error = refused(&db, create).await;
    for part in ["42501", "sts:AssumeRole", &user, &external_id, &role_arn] {
        assert!(error.contains(part), "no {part}: {error}");
    }
    // Once the trust policy is correct, the instance recovers by itself. Its log has the reason
    // once, however often it has tried.
    let is_try = |entry: &Entry| {
        !entry.allowed && entry.action == "sts:AssumeRole" && entry.resource == role_arn
    };
    until("it has tried again", Duration::from_secs(10), async || {
        audit(&sandbox).iter().filter(|entry| is_try(entry)).count() > 1
    })
    .await;
    let log = std::fs::read_to_string(instance_dir(&sandbox).join("log/lake-access.log")).unwrap();
    assert_eq!(log.matches("cannot assume the role").count(), 1, "{log}");
    assert!(log.contains("update-assume-role-policy"), "{log}");
    set_trust(&external_id).await;
    until(
        "the role is taken on",
        Duration::from_secs(10),
        async || db.try_run(create).await.is_ok(),
    )
    .await;
    db.run("INSERT INTO sales SELECT generate_series(1, 100)")
        .await;
    db.assert_rows("SELECT sum(amount) FROM sales", &["5050"])
        .await;

    // Everything in the bucket was written by a session of the role.
    let session = format!("arn:aws:sts::000000000000:assumed-role/{role}/postgres-instance-");
    let object = format!("arn:aws:s3:::{bucket}/own/");
    let written = || {
        let is_written = |entry: &Entry| {
            entry.action == "s3:PutObject" && entry.allowed && entry.resource.starts_with(&object)
        };
        audit(&sandbox)
            .into_iter()
            .filter(is_written)
            .collect::<Vec<_>>()
    };
    until(
        "the trail is written",
        Duration::from_secs(10),
        async || {
            written()
                .iter()
                .any(|entry| entry.resource.ends_with(".parquet"))
        },
    )
    .await;
    for entry in written() {
        let principal = entry.principal.as_deref().unwrap_or_default();
        assert!(principal.starts_with(&session), "{entry:?}");
    }

    // A restarted pgduck_server does not know the credentials, and receives them again.
    let run_file = instance_dir(&sandbox).join("run/pgduck_server.json");
    let run = || -> Value { serde_json::from_slice(&std::fs::read(&run_file).unwrap()).unwrap() };
    let pid = run()["process"]["pid"].as_i64().unwrap();
    ProcessId::of(pid.try_into().unwrap())
        .unwrap()
        .signal(Signal::SIGKILL);
    until("it writes again", Duration::from_secs(20), async || {
        db.try_run("INSERT INTO sales VALUES (1)").await.is_ok()
    })
    .await;
    assert_ne!(run()["process"]["pid"].as_i64().unwrap(), pid);

    // A change of the allowed locations applies as soon as the statement returns, and so does the
    // removal of the integration.
    let allow = |place: &str| {
        format!(
            "ALTER STORAGE INTEGRATION writer SET STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/{place}')"
        )
    };
    let insert = "INSERT INTO sales VALUES (2)";
    snowflake(&sandbox, &allow("elsewhere/"));
    let error = refused(&db, insert).await;
    assert!(error.contains("AccessDenied"), "{error}");
    snowflake(&sandbox, &allow(""));
    db.run(insert).await;
    snowflake(
        &sandbox,
        "ALTER POSTGRES INSTANCE shop UNSET STORAGE_INTEGRATION",
    );
    let error = refused(&db, insert).await;
    assert!(error.contains("no storage integration"), "{error}");
    snowflake(&sandbox, attach);
    db.run(insert).await;

    // A resumed instance has its access again. None of its files has the sandbox's own keys.
    snowflake(&sandbox, "ALTER POSTGRES INSTANCE shop SUSPEND");
    snowflake(&sandbox, "ALTER POSTGRES INSTANCE shop RESUME");
    let db = Db::connect(&endpoint).await;
    db.run(insert).await;
    db.assert_rows("SELECT sum(amount) FROM sales", &["5057"])
        .await;
    for file in [
        "postgres/pgduck.sql",
        "settings.json",
        "components/lake-access.json",
    ] {
        let kept = std::fs::read_to_string(instance_dir(&sandbox).join(file)).unwrap();
        assert!(!kept.contains(&s3.secret_access_key), "{file}");
    }
}
