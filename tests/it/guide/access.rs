//! The guide on an empty AWS account: its AWS steps are run with the aws command, each of them
//! first with a mistake.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{AS_IT_STANDS, GuideRun, guide};
use crate::support::clients::python_with;
use crate::support::sandbox::engine_under_test;
use crate::support::{text, until};
use icebox_aws::audit::{Entry, Reader};
use icebox_sandbox::Engine;
use icebox_sandbox::aws::AccountState;

const BUCKET: &str = "attendees-lake";
const ROLE: &str = "lake-role";
const POLICY: &str = "lake-policy";

/// The aws command, configured for a sandbox.
struct Aws {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    guide: PathBuf,
}

impl Aws {
    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(&self.program)
            .args(arguments)
            .args(["--output", "json"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "aws {arguments:?}: {}",
            text(&output)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Reads a document of the guide, with the bucket's name filled in.
    fn document(&self, file: &str) -> String {
        let document = std::fs::read_to_string(self.guide.join(file)).unwrap();
        document.replace("<YOUR-BUCKET>", BUCKET)
    }

    async fn trust(&self, document: &str) {
        self.run(&[
            "iam",
            "update-assume-role-policy",
            "--role-name",
            ROLE,
            "--policy-document",
            document,
        ]);
        wait_for_access_change().await;
    }

    /// Creates a new version of the IAM policy and deletes the version before.
    async fn allow(&self, document: &str) {
        let arn = format!("arn:aws:iam::000000000000:policy/{POLICY}");
        let versions = self.run(&["iam", "list-policy-versions", "--policy-arn", &arn]);
        self.run(&[
            "iam",
            "create-policy-version",
            "--policy-arn",
            &arn,
            "--policy-document",
            document,
            "--set-as-default",
        ]);
        for version in versions["Versions"].as_array().unwrap() {
            let id = version["VersionId"].as_str().unwrap();
            self.run(&[
                "iam",
                "delete-policy-version",
                "--policy-arn",
                &arn,
                "--version-id",
                id,
            ]);
        }
        wait_for_access_change().await;
    }

    async fn session(&self, seconds: &str) {
        self.run(&[
            "iam",
            "update-role",
            "--role-name",
            ROLE,
            "--max-session-duration",
            seconds,
        ]);
        wait_for_access_change().await;
    }
}

/// Waits until a change of access is effective. For a `pgduck_server`, a component looks for
/// changes a few times a second and sends them to it; the embedded engine needs no wait. In the
/// cloud it takes longer.
async fn wait_for_access_change() {
    if engine_under_test() != Engine::Embedded {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

/// The output of DESCRIBE: a principal and its external id.
#[derive(Clone)]
struct PrincipalAndId {
    user: String,
    external_id: String,
}

impl GuideRun {
    async fn integration(&mut self, name: &str) -> PrincipalAndId {
        let mut value = async |property: &str| {
            let sql = format!(
                "DESCRIBE STORAGE INTEGRATION {name} ->> SELECT \"property_value\" FROM $1 WHERE \"property\" = '{property}'"
            );
            self.query(&sql).await.remove(0)
        };
        PrincipalAndId {
            user: value("STORAGE_AWS_IAM_USER_ARN").await,
            external_id: value("STORAGE_AWS_EXTERNAL_ID").await,
        }
    }

    async fn volume(&mut self, name: &str) -> PrincipalAndId {
        let sql = format!(
            "DESCRIBE EXTERNAL VOLUME {name} ->> SELECT \"property_value\" FROM $1 WHERE \"property\" = 'STORAGE_LOCATION_1'"
        );
        let json: Value = serde_json::from_str(&self.query(&sql).await[0]).unwrap();
        let part = |name: &str| json[name].as_str().unwrap().to_owned();
        PrincipalAndId {
            user: part("STORAGE_AWS_IAM_USER_ARN"),
            external_id: part("STORAGE_AWS_EXTERNAL_ID"),
        }
    }

    /// Runs a file that must fail with an error that contains all of these texts.
    async fn fails(&mut self, file: &str, because: &[&str]) {
        match self.try_run(file).await {
            Ok(_) => panic!("{file} should fail with {because:?}"),
            Err(error) => {
                for part in because {
                    assert!(error.contains(part), "{file} does not say {part}: {error}");
                }
            }
        }
    }
}

/// Returns the guide's trust policy of one principal.
fn trust_policy_of_one(aws: &Aws, shown: &PrincipalAndId) -> String {
    aws.document("03-iam-trust-one-principal.json")
        .replace(
            "<STORAGE_AWS_IAM_USER_ARN from DESCRIBE output>",
            &shown.user,
        )
        .replace(
            "<STORAGE_AWS_EXTERNAL_ID from DESCRIBE output>",
            &shown.external_id,
        )
}

/// Returns the guide's trust policy of three principals.
fn trust_policy_of_three(aws: &Aws, all: [(&str, &PrincipalAndId); 3]) -> String {
    let mut document = aws.document("12-iam-trust-three-principals.json");
    for (name, shown) in all {
        document = document
            .replace(
                &format!("<STORAGE_AWS_IAM_USER_ARN from {name}>"),
                &shown.user,
            )
            .replace(
                &format!("<STORAGE_AWS_EXTERNAL_ID from {name}>"),
                &shown.external_id,
            );
    }
    assert!(!document.contains('<'), "{document}");
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_on_an_empty_account_and_every_mistake() {
    let (Some(guide), Some(python)) = (guide(), python_with("awscli")) else {
        return;
    };
    let mut guide_run =
        GuideRun::of(AccountState::Empty, guide.clone(), AS_IT_STANDS, BUCKET).await;
    let s3 = guide_run.sandbox.info().s3.clone();
    let aws = Aws {
        program: python.with_file_name("aws"),
        environment: vec![
            ("AWS_ENDPOINT_URL", s3.endpoint),
            ("AWS_ACCESS_KEY_ID", s3.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", s3.secret_access_key),
            ("AWS_DEFAULT_REGION", s3.region),
        ],
        guide,
    };
    // Steps 1 to 6, without the session duration of twelve hours.
    aws.run(&["s3api", "create-bucket", "--bucket", BUCKET]);
    let good = aws.document("01-iam-policy.json");
    let made = aws.run(&[
        "iam",
        "create-policy",
        "--policy-name",
        POLICY,
        "--policy-document",
        &good,
    ]);
    let policy = made["Policy"]["Arn"].as_str().unwrap().to_owned();
    let placeholder = aws.document("01-iam-trust-placeholder.json");
    let made = aws.run(&[
        "iam",
        "create-role",
        "--role-name",
        ROLE,
        "--assume-role-policy-document",
        &placeholder,
    ]);
    guide_run.role = made["Role"]["Arn"].as_str().unwrap().to_owned();
    let role = guide_run.role.clone();
    aws.run(&[
        "iam",
        "attach-role-policy",
        "--role-name",
        ROLE,
        "--policy-arn",
        &policy,
    ]);

    for file in [
        "02-snowflake-create-postgres-instance.sql",
        "03-snowflake-storage-integration.sql",
    ] {
        guide_run.run(file).await;
    }
    // The instance has no storage integration yet.
    guide_run.run("04-postgres-enable-pg_lake.sql").await;
    guide_run.run("05-postgres-heap-tables.sql").await;
    guide_run.run("06-postgres-seed.sql").await;
    let tables = "07-postgres-iceberg-tables.sql";
    guide_run
        .fails(
            tables,
            &["no storage integration", "SET STORAGE_INTEGRATION"],
        )
        .await;
    guide_run.run("03b-snowflake-attach-integration.sql").await;
    let writer = guide_run.integration("pg_lake_s3_integration").await;
    let refused = ["sts:AssumeRole", &writer.user, &writer.external_id, &role];
    // Three wrong trust policies: the placeholder, another external id, another principal.
    guide_run.fails(tables, &refused).await;
    let wrong_id = PrincipalAndId {
        external_id: "SOMETHING_ELSE".to_owned(),
        ..writer.clone()
    };
    aws.trust(&trust_policy_of_one(&aws, &wrong_id)).await;
    guide_run.fails(tables, &refused).await;
    let wrong_user = PrincipalAndId {
        user: "arn:aws:iam::123456789012:root".to_owned(),
        ..writer.clone()
    };
    aws.trust(&trust_policy_of_one(&aws, &wrong_user)).await;
    guide_run.fails(tables, &refused).await;
    // The trust policy is correct, but the role allows sessions of one hour only.
    aws.trust(&trust_policy_of_one(&aws, &writer)).await;
    guide_run
        .fails(tables, &["MaxSessionDuration", "43200", &role])
        .await;
    aws.session("43200").await;
    // Two wrong IAM policies: one for another bucket, one without s3:PutObject.
    aws.allow(&good.replace(BUCKET, "another-lake")).await;
    guide_run.fails(tables, &["AccessDenied"]).await;
    aws.allow(&good.replace("\"s3:PutObject\",", "")).await;
    guide_run.fails(tables, &["s3:PutObject"]).await;
    aws.allow(&good).await;
    // The integration does not allow the tables' location.
    guide_run.query("ALTER STORAGE INTEGRATION pg_lake_s3_integration SET STORAGE_ALLOWED_LOCATIONS = ('s3://attendees-lake/elsewhere/')").await;
    guide_run.fails(tables, &["AccessDenied"]).await;
    guide_run.query("ALTER STORAGE INTEGRATION pg_lake_s3_integration SET STORAGE_ALLOWED_LOCATIONS = ('s3://attendees-lake/')").await;

    for file in [
        tables,
        "08-postgres-pg_cron-sync.sql",
        "09-postgres-metadata-locations.sql",
        "10-snowflake-external-volume-and-catalog.sql",
    ] {
        guide_run.run(file).await;
    }
    // The external volume has a principal of its own, which the role does not trust yet.
    let lake = "11-snowflake-iceberg-tables.sql";
    let volume = guide_run.volume("retail_lake_volume").await;
    assert_ne!(volume.external_id, writer.external_id);
    guide_run
        .fails(
            lake,
            &["sts:AssumeRole", &volume.user, &volume.external_id, &role],
        )
        .await;
    let verified = guide_run
        .query("SELECT SYSTEM$VERIFY_EXTERNAL_VOLUME('retail_lake_volume')")
        .await;
    let verified: Value = serde_json::from_str(&verified[0]).unwrap();
    assert_eq!(verified["success"], false, "{verified}");
    guide_run.run("12-snowflake-describe-principals.sql").await;
    guide_run.run("13-snowflake-stage-integration.sql").await;
    let stage = guide_run.integration("iceberg_stage_s3_integration").await;
    let all = |stage: &PrincipalAndId| {
        trust_policy_of_three(
            &aws,
            [
                ("pg_lake_s3_integration", &writer),
                ("retail_lake_volume", &volume),
                ("iceberg_stage_s3_integration", stage),
            ],
        )
    };
    // All three principals are trusted, but the stage's external id is wrong.
    let wrong_id = PrincipalAndId {
        external_id: "COPIED_WRONGLY".to_owned(),
        ..stage.clone()
    };
    aws.trust(&all(&wrong_id)).await;
    // The IAM policy has no s3:GetObject, so the volume's principal cannot read.
    aws.allow(&good.replace("\"s3:GetObject\",", "")).await;
    guide_run
        .fails(
            lake,
            &[
                "Access Denied (Status Code: 403; Error Code: AccessDenied)",
                "RETAIL_LAKE_VOLUME",
            ],
        )
        .await;
    aws.allow(&good).await;
    guide_run.run(lake).await;
    let verified = guide_run
        .query("SELECT SYSTEM$VERIFY_EXTERNAL_VOLUME('retail_lake_volume')")
        .await;
    let verified: Value = serde_json::from_str(&verified[0]).unwrap();
    assert_eq!(verified["success"], true, "{verified}");

    let stages = "14-snowflake-stages.sql";
    guide_run
        .fails(
            stages,
            &[
                "003167",
                "sts:AssumeRole",
                &stage.user,
                &stage.external_id,
                &role,
            ],
        )
        .await;
    aws.trust(&all(&stage)).await;
    aws.allow(&good.replace("\"s3:ListBucket\",", "")).await;
    guide_run
        .fails(
            stages,
            &[
                "091003",
                "Access Denied (Status Code: 403; Error Code: AccessDenied)",
            ],
        )
        .await;
    let validate = "SELECT SYSTEM$VALIDATE_STORAGE_INTEGRATION('iceberg_stage_s3_integration', 's3://attendees-lake/frompg/tables/', 'check.txt', 'all')";
    let validated: Value = serde_json::from_str(&guide_run.query(validate).await[0]).unwrap();
    assert_eq!(
        validated["actions"]["LIST"]["status"], "failure",
        "{validated}"
    );
    assert_eq!(
        validated["actions"]["READ"]["status"], "success",
        "{validated}"
    );
    aws.allow(&good).await;
    let allow = |place: &str| {
        format!(
            "ALTER STORAGE INTEGRATION iceberg_stage_s3_integration SET STORAGE_ALLOWED_LOCATIONS = ('s3://attendees-lake/{place}/')"
        )
    };
    guide_run.query(&allow("frompg/other")).await;
    guide_run
        .fails(
            stages,
            &["is not allowed by integration ICEBERG_STAGE_S3_INTEGRATION"],
        )
        .await;
    guide_run.query(&allow("frompg/tables")).await;

    for file in [
        stages,
        "15-snowflake-streams.sql",
        "16-snowflake-procedures.sql",
        "17-snowflake-tasks.sql",
        "18-snowflake-resume-tasks.sql",
    ] {
        guide_run.run(file).await;
    }
    super::wait_until_jobs_are_idle().await;
    guide_run.insert_sales(200).await;
    guide_run.sync().await;
    guide_run.run("20-postgres-verify.sql").await;
    let answers = guide_run.run("21-snowflake-verify.sql").await;
    guide_run.assert_equals_heap(&answers).await;
    the_files_are_the_same(&mut guide_run).await;
    guide_run.run("22-snowflake-cleanup.sql").await;
}

/// Checks with the audit trail that the Snowflake side read only data files that the PostgreSQL
/// instance wrote, and that nobody else wrote data files.
async fn the_files_are_the_same(guide_run: &mut GuideRun) {
    let trail = guide_run.sandbox.info().state_dir.join("audit");
    let entries = || {
        let mut reader = Reader::open(&trail);
        let all = std::iter::from_fn(|| reader.read().unwrap());
        let mut entries: Vec<Entry> = all.collect();
        entries.retain(|entry| entry.allowed && entry.resource.ends_with(".parquet"));
        entries
    };
    let of = |entries: &[Entry], action: &str, session: &str| -> BTreeSet<String> {
        let is_it = |entry: &&Entry| {
            let name = entry.session_name.as_deref().unwrap_or_default();
            entry.action == action && name.starts_with(session)
        };
        let found = entries.iter().filter(is_it);
        found.map(|entry| entry.resource.clone()).collect()
    };
    until(
        "the trail is written",
        Duration::from_secs(10),
        async || !of(&entries(), "s3:GetObject", "snowflake").is_empty(),
    )
    .await;
    let entries = entries();
    let written = of(&entries, "s3:PutObject", "postgres-instance-");
    let read = of(&entries, "s3:GetObject", "snowflake");
    assert_eq!(of(&entries, "s3:PutObject", ""), written);
    // In containers the instance writes through the containers' network, which bypasses the audit
    // trail.
    if engine_under_test() == Engine::Containers {
        assert_eq!(written, BTreeSet::new());
    } else {
        assert!(read.is_subset(&written), "{read:?} {written:?}");
    }
    // The Snowflake side can query the audit trail too.
    let trail = "TABLE(INFORMATION_SCHEMA.ICEBOX_AUDIT(RESULT_LIMIT => 10000))";
    let files = format!(
        "SELECT DISTINCT RESOURCE FROM {trail} WHERE IS_ALLOWED = 'Y' AND ACTION = 's3:PutObject'
           AND SESSION_NAME LIKE 'postgres-instance-%' AND RESOURCE LIKE '%.parquet'"
    );
    let files: BTreeSet<String> = guide_run.query(&files).await.into_iter().collect();
    assert_eq!(files, written);
    let refused = format!(
        "SELECT DISTINCT ACTION FROM {trail} WHERE ERROR_CODE = 'AccessDenied' AND IS_ALLOWED = 'N' AND ACTION = 'sts:AssumeRole'"
    );
    assert_eq!(guide_run.query(&refused).await, ["sts:AssumeRole"]);
}
