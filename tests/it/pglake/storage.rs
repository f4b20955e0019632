//! A PostgreSQL instance that reaches its lake only with its storage integration.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::aws::{ACCOUNTS, AwsLab, BUCKET, ROLE, document, role_arn, root_credentials, trust};
use crate::support::db::{Db, Failure};
use crate::support::until;
use icebox_aws::client::Credentials;
use icebox_pglake::EngineSocket;
use icebox_pglake::storage::{self, KeyPair, SESSION_SECONDS, StorageGrant};
use icebox_postgres::Endpoint;
use icebox_sandbox::services::LakeEngine;
use icebox_sandbox::{Engine, IceboxComponent, Isolation, Sandbox};

/// The name of a role that trusts the same principal, for sessions of one hour.
const ONE_HOUR_ROLE: &str = "short-role";
const EXTERNAL_ID: &str = "ICEBOX_SFCRole=2_a+b/c=";
const CREATE: &str = "CREATE TABLE lake (id int) USING iceberg";

/// PostgreSQL with a lake engine that uses a storage grant, and an S3 server with the user's
/// account and Snowflake's account.
struct Instance {
    lab: AwsLab,
    sandbox: Sandbox,
    dir: tempfile::TempDir,
    key: Credentials,
    principal: String,
    _stop: oneshot::Sender<()>,
}

impl Instance {
    async fn start() -> Self {
        let lab = AwsLab::start().await;
        lab.make_bucket(0, BUCKET).await;
        let snowflake = lab.root(1);
        let (principal, key) = snowflake.create_principal("postgres").await.unwrap();
        let user = lab.root(0);
        for (role, trust, seconds) in [
            (
                ROLE,
                document("01-iam-trust-placeholder.json", &[]),
                SESSION_SECONDS,
            ),
            (ONE_HOUR_ROLE, trust(&[&principal], &[EXTERNAL_ID]), 3600),
        ] {
            user.create_role(role, &trust, seconds).await.unwrap();
            let policy = document("01-iam-policy.json", &[BUCKET]);
            user.put_role_policy(role, "s3", &policy).await.unwrap();
        }

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let sandbox = Sandbox::builder()
            .engine(Engine::Embedded)
            .pg_port(port.unwrap().port())
            .start()
            .await
            .expect("the sandbox starts");
        let dir = tempfile::tempdir().unwrap();
        // PostgreSQL's account must have access to the socket when the tests run as root.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let info = sandbox.info();
        let engine = LakeEngine {
            socket_dir: dir.path().to_path_buf(),
            s3: lab.s3_config(&root_credentials(0)),
            postgres_socket_dir: info.state_dir.join("sockets/postgres"),
            postgres_port: info.postgres.port,
            postgres_user: "icebox_lake".to_owned(),
            postgres_password: info.superuser_password.clone(),
            grant: Some(dir.path().join("grant.json")),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = Box::pin(async move { _ = stopped.await });
        let isolation = Isolation::Here(Handle::current());
        tokio::spawn(async move { engine.run(isolation, shutdown).await });
        let socket = EngineSocket::in_dir(dir.path());
        until("the engine listens", Duration::from_secs(10), async || {
            socket.path().exists()
        })
        .await;
        let instance = Self {
            lab,
            sandbox,
            dir,
            key,
            principal,
            _stop: stop,
        };
        let db = instance.db().await;
        db.run(&format!("SET pg_lake_engine.host = '{socket}'"))
            .await;
        db.run("CREATE EXTENSION pg_lake CASCADE").await;
        db.run(&format!(
            "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://{BUCKET}'"
        ))
        .await;
        instance
    }

    async fn db(&self) -> Db {
        let info = self.sandbox.info();
        Db::connect(&Endpoint::clone(&info.postgres)).await
    }

    fn grant_file(&self) -> PathBuf {
        self.dir.path().join("grant.json")
    }

    /// Returns the grant that ALTER POSTGRES INSTANCE … SET `STORAGE_INTEGRATION` writes.
    fn grant(&self) -> StorageGrant {
        StorageGrant {
            principal: KeyPair {
                access_key_id: self.key.access_key_id.clone(),
                secret_access_key: self.key.secret_access_key.clone(),
            },
            role_arn: role_arn(),
            external_id: EXTERNAL_ID.to_owned(),
            session_name: "pg_lake".to_owned(),
            duration: SESSION_SECONDS,
            policy: None,
            integration: "LAKE_ACCESS".to_owned(),
        }
    }

    fn set(&self, grant: &StorageGrant) {
        storage::write(&self.grant_file(), Some(grant)).unwrap();
    }

    fn refusal(&self, role: &str, external_id: &str) -> String {
        let role = format!("arn:aws:iam::{}:role/{role}", ACCOUNTS[0]);
        format!(
            "42501: the storage integration LAKE_ACCESS cannot assume the role {role} with the external id {external_id}: \
             AccessDenied: User: {} is not authorized to perform: sts:AssumeRole on resource: {role}",
            self.principal
        )
    }
}

/// Runs a statement that must fail within 1.5 seconds, and returns its error.
async fn fails(db: &Db, sql: &str) -> Failure {
    let begun = Instant::now();
    let failure = db.try_run(sql).await.expect_err(sql);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{failure:?}");
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_step_is_reported_and_fixed_without_a_restart() {
    let instance = Instance::start().await;
    let db = instance.db().await;

    let failure = fails(&db, CREATE).await;
    let none = "42501: this Postgres instance has no storage integration, so it cannot reach object storage";
    assert_eq!(failure.text, none);
    let hint = failure.hint.expect("a hint");
    assert!(hint.contains("SET STORAGE_INTEGRATION"), "{hint}");

    instance.set(&instance.grant());
    let mode = std::fs::metadata(instance.grant_file()).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let failure = fails(&db, CREATE).await;
    assert_eq!(failure.text, instance.refusal(ROLE, EXTERNAL_ID));
    let hint = failure.hint.expect("a hint");
    for part in [
        "trust policy",
        EXTERNAL_ID,
        "DESCRIBE STORAGE INTEGRATION LAKE_ACCESS",
    ] {
        assert!(hint.contains(part), "{hint}");
    }

    let right = trust(&[&instance.principal], &[EXTERNAL_ID]);
    let user = instance.lab.root(0);
    user.update_trust_policy(ROLE, &right).await.unwrap();
    for (external_id, role) in [("ANOTHER", ROLE), (EXTERNAL_ID, "missing")] {
        instance.set(&StorageGrant {
            external_id: external_id.to_owned(),
            role_arn: role_arn().replace(ROLE, role),
            ..instance.grant()
        });
        let failure = fails(&db, CREATE).await;
        assert_eq!(failure.text, instance.refusal(role, external_id));
    }

    instance.set(&StorageGrant {
        role_arn: role_arn().replace(ROLE, ONE_HOUR_ROLE),
        ..instance.grant()
    });
    let failure = fails(&db, CREATE).await;
    assert!(
        failure.text.ends_with(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        ),
        "{failure:?}"
    );
    let hint = failure.hint.expect("a hint");
    let command = "aws iam update-role --role-name short-role --max-session-duration 43200";
    assert!(
        hint.contains("12 hours") && hint.contains(command),
        "{hint}"
    );

    instance.set(&instance.grant());
    db.run(CREATE).await;
    db.run("INSERT INTO lake VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_written_by_the_role_and_within_the_allowed_location() {
    let mut instance = Instance::start().await;
    let right = trust(&[&instance.principal], &[EXTERNAL_ID]);
    let user = instance.lab.root(0);
    user.update_trust_policy(ROLE, &right).await.unwrap();
    let within = |prefix: &str| {
        let bucket = format!("arn:aws:s3:::{BUCKET}");
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": [&bucket, format!("{bucket}/{prefix}*")]}]});
        StorageGrant {
            policy: Some(policy.to_string()),
            ..instance.grant()
        }
    };
    let (inside, outside) = (within("frompg/"), within("elsewhere/"));

    instance.set(&inside);
    let db = instance.db().await;
    db.run(CREATE).await;
    db.run("INSERT INTO lake VALUES (1)").await;

    // A grant applies until it is replaced. A failed transaction has changed nothing.
    instance.set(&outside);
    let denied = fails(&db, "INSERT INTO lake VALUES (2)").await;
    assert!(denied.text.starts_with("0A000: HTTP Error: "), "{denied:?}");
    assert!(denied.text.contains("AccessDenied"), "{denied:?}");
    storage::write(&instance.grant_file(), None).unwrap();
    let none = fails(&db, "INSERT INTO lake VALUES (3)").await;
    assert!(none.text.contains("no storage integration"), "{none:?}");
    std::fs::write(instance.grant_file(), "{").unwrap();
    let unreadable = fails(&db, "INSERT INTO lake VALUES (4)").await;
    assert!(
        unreadable
            .text
            .contains("cannot read the storage integration"),
        "{unreadable:?}"
    );

    instance.set(&inside);
    db.run("INSERT INTO lake VALUES (5)").await;
    db.assert_rows("SELECT id FROM lake ORDER BY id", &["1", "5"])
        .await;
    drop(db);

    let audit = instance.lab.audit().await;
    let session = format!("arn:aws:sts::{}:assumed-role/{ROLE}/pg_lake", ACCOUNTS[0]);
    let puts: Vec<_> = audit
        .iter()
        .filter(|entry| {
            entry.action == "s3:PutObject" && entry.resource.contains("/frompg/tables/")
        })
        .collect();
    assert!(
        puts.iter().filter(|entry| entry.allowed).count() >= 8,
        "{puts:#?}"
    );
    assert!(puts.iter().any(|entry| !entry.allowed));
    for put in puts {
        assert_eq!(put.principal.as_deref(), Some(session.as_str()), "{put:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_sts_does_not_answer_that_is_the_error() {
    let mut instance = Instance::start().await;
    instance.lab.stop().await;
    instance.set(&instance.grant());
    let db = instance.db().await;
    let failure = fails(&db, CREATE).await;
    assert!(
        failure
            .text
            .starts_with("08006: IO Error: Could not establish connection to the object store: "),
        "{failure:?}"
    );
    let secret = instance.key.secret_access_key.expose();
    assert!(!format!("{failure:?}").contains(secret));
}
