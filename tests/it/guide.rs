//! The whole guide: Snowflake's worksheets and PostgreSQL's statements in turn, on an empty
//! sandbox.

mod access;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::pglake::guide::{guide, wait_until_jobs_are_idle};
use crate::support::clients::{psql_at, python_with};
use crate::support::db::Db;
use crate::support::sandbox::{CommandSandbox, engine_under_test};
use crate::support::{text, until};
use icebox_postgres::Endpoint;
use icebox_rest::client::{Answer, Client};
use icebox_sandbox::Sandbox;
use icebox_sandbox::aws::AccountState;
use icebox_schedule::TimeScale;
use icebox_sql::syntax::split;

/// Names of the guide and their replacements. A name comes before the names that it contains.
type Names = &'static [(&'static str, &'static str)];

const AS_IT_STANDS: Names = &[];

const RENAMED: Names = &[
    ("pg_lake_s3_integration", "writer_access"),
    ("iceberg_stage_s3_integration", "reader_access"),
    ("pg_lake_catalog", "files"),
    ("ICEBERG_TRANSACTIONS", "LAKE_BOOKINGS"),
    ("iceberg_tables", "iceberg\u{1}tables"),
    ("iceberg_", "lake_"),
    ("iceberg\u{1}tables", "iceberg_tables"),
    ("transaction", "booking"),
    ("store", "branch"),
    ("product", "article"),
    ("customer", "guest"),
    ("RETAIL_ANALYTICS", "Shop_Data"),
    ("LAKEHOUSE", "\"Lake View\""),
    ("PG_RETAIL_", "PG_CORNER_"),
    ("retail_", "corner_"),
    ("stg_meta_", "files_of_"),
    ("stream_meta_", "news_of_"),
    ("task_refresh_", "job_"),
    ("sp_refresh_", "proc_"),
    ("/public/", "/shop/"),
];

/// A user who follows the guide.
pub struct GuideRun {
    guide: PathBuf,
    names: Names,
    bucket: &'static str,
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    snowflake: Client,
    /// The ARN of the role.
    role: String,
    /// The instance's endpoint, once CREATE POSTGRES INSTANCE has returned it.
    postgres: Option<Endpoint>,
    /// The metadata location of each table, from the catalog view.
    locations: BTreeMap<String, String>,
}

impl GuideRun {
    async fn new(guide: PathBuf, names: Names, bucket: &'static str) -> Self {
        Self::of(AccountState::Ready, guide, names, bucket).await
    }

    /// Starts a sandbox whose AWS account is ready or empty.
    async fn of(account: AccountState, guide: PathBuf, names: Names, bucket: &'static str) -> Self {
        let sandbox = Sandbox::builder()
            .account(account)
            .engine(engine_under_test())
            .bucket(bucket)
            .time_scale(TimeScale::try_from(60.0).unwrap())
            .start()
            .await
            .expect("the sandbox starts");
        let there = sandbox.info().snowflake.clone().unwrap();
        let snowflake = there.connect(None).await;
        Self {
            guide,
            names,
            bucket,
            snowflake: snowflake.unwrap(),
            role: sandbox.info().role_arn.clone().unwrap_or_default(),
            sandbox,
            folder: tempfile::tempdir().unwrap(),
            postgres: None,
            locations: BTreeMap::new(),
        }
    }

    /// Returns the names of the guide's SQL files, in order.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.guide).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter(|name| name.ends_with(".sql")).collect();
        files.sort();
        assert_eq!(files.len(), 21, "{files:?}");
        files
    }

    fn renamed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in self.names {
            text = text.replace(from, to);
        }
        text
    }

    /// Returns the text of a file with its placeholders replaced, as a user does before running it.
    fn filled_in(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.guide.join(file)).unwrap();
        let mut text = self
            .renamed(&text)
            .replace("<YOUR-BUCKET>", self.bucket)
            .replace("<YOUR-IAM-ROLE-ARN>", &self.role);
        for (table, location) in &self.locations {
            let (folder, file) = location.rsplit_once('/').unwrap();
            let oid = folder.rsplit('/').nth(1).unwrap();
            let file = file.strip_suffix(".metadata.json").unwrap();
            text = text
                .replace(
                    &format!("{table}/<OID>/metadata/<METADATA-FILE>"),
                    &format!("{table}/{oid}/metadata/{file}"),
                )
                .replace(&format!("{table}/<OID>/"), &format!("{table}/{oid}/"));
        }
        assert!(!text.contains("<OID>"), "{file}: {text}");
        text
    }

    /// Runs a file of the guide, and returns its statements with their answers. PostgreSQL's files
    /// return none.
    async fn run(&mut self, file: &str) -> Vec<(String, Answer)> {
        let answers = self.try_run(file).await;
        answers.unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Runs a file of the guide, and returns its statements with their answers, or the first error.
    async fn try_run(&mut self, file: &str) -> Result<Vec<(String, Answer)>, String> {
        let filled_in = self.filled_in(file);
        if !file.contains("-snowflake-") {
            self.run_on_postgres(file, &filled_in).await?;
            return Ok(Vec::new());
        }
        let mut answers = Vec::new();
        for statement in split(&filled_in).unwrap() {
            let answer = self.snowflake.run(statement.sql).await;
            let answer = answer.map_err(|error| format!("{}\n{error}", statement.sql))?;
            if let Some(rest) = statement.sql.strip_prefix("CREATE POSTGRES INSTANCE ") {
                let name = rest.split(' ').next().unwrap();
                self.remember_endpoint(name, &answer).await;
            }
            answers.push((statement.sql.to_owned(), answer));
        }
        Ok(answers)
    }

    /// Remembers the endpoint from the answer of CREATE POSTGRES INSTANCE.
    async fn remember_endpoint(&mut self, instance: &str, answer: &Answer) {
        let row = &answer.rows[0];
        let passwords: BTreeMap<String, String> =
            serde_json::from_str(row[2].as_deref().unwrap()).unwrap();
        let describe = format!(
            "DESCRIBE POSTGRES INSTANCE {instance} ->> SELECT \"value\" FROM $1 WHERE \"property\" = 'certificate'"
        );
        let certificate = self.query(&describe).await.join("\n");
        let file = self.folder.path().join("instance.crt");
        std::fs::write(&file, certificate).unwrap();
        self.postgres = Some(Endpoint {
            host: row[1].clone().unwrap(),
            port: 5432,
            dbname: row[3].clone().unwrap(),
            user: "snowflake_admin".to_owned(),
            password: passwords["snowflake_admin"].clone(),
            ca_file: Some(file),
        });
    }

    async fn run_on_postgres(&mut self, file: &str, sql: &str) -> Result<(), String> {
        let postgres = self.postgres.as_ref().unwrap();
        let filled_in = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(filled_in.path(), sql).unwrap();
        let output = psql_at(postgres, &["-f", filled_in.path().to_str().unwrap()]);
        if !output.status.success() {
            return Err(text(&output));
        }
        if file.starts_with("09-") {
            let printed = String::from_utf8(output.stdout).unwrap();
            let rows = printed.lines().filter_map(|line| line.split_once('|'));
            let owned = |(table, location): (&str, &str)| (table.to_owned(), location.to_owned());
            self.locations = rows.map(owned).collect();
            assert_eq!(self.locations.len(), 5, "{printed}");
        }
        Ok(())
    }

    async fn db(&self) -> Db {
        Db::connect(self.postgres.as_ref().unwrap()).await
    }

    /// Runs a statement on the Snowflake side, and returns a line for each row.
    async fn query(&mut self, sql: &str) -> Vec<String> {
        let answer = self.snowflake.run(sql).await;
        lines(&answer.unwrap_or_else(|error| panic!("{sql}\n{error}")))
    }

    /// Returns the statements of the guide's scheduled jobs.
    fn syncs(&self) -> Vec<String> {
        let filled_in = self.filled_in("08-postgres-pg_cron-sync.sql");
        let pieces = filled_in
            .split('\'')
            .filter(|piece| piece.starts_with("WITH synced"));
        let syncs: Vec<String> = pieces.map(str::to_owned).collect();
        assert_eq!(syncs.len(), 2, "{filled_in}");
        syncs
    }

    async fn sync(&self) {
        let db = self.db().await;
        for sync in self.syncs() {
            db.run(&sync).await;
        }
    }

    /// Inserts new rows into the heap tables.
    async fn insert_sales(&self, count: u32) {
        let statements = format!(
            "WITH new AS (
               INSERT INTO transactions (store_id, customer_id, total_amount)
               SELECT 1 + i % 5, 1 + i % 10, i * 1.25 FROM generate_series(1, {count}) i RETURNING txn_id, total_amount)
             INSERT INTO transaction_items (txn_id, product_id, quantity, unit_price, line_total)
             SELECT txn_id, 1 + txn_id % 15, 1, total_amount, total_amount FROM new"
        );
        self.db().await.run(&self.renamed(&statements)).await;
    }

    /// Checks that the answers of file 21 equal those of the heap tables, and that COPY has loaded
    /// nothing.
    async fn assert_equals_heap(&self, answers: &[(String, Answer)]) {
        let db = self.db().await;
        let mut compared = 0;
        for (sql, answer) in answers {
            if !sql.starts_with("SELECT") {
                continue;
            }
            if sql.contains("COPY_HISTORY") {
                assert_eq!(answer.rows.len(), 0, "{sql}");
                compared += 1;
                continue;
            }
            let on_heap = match self.names {
                [] => sql.replace("iceberg_", ""),
                _ => sql.replace("lake_", ""),
            };
            let mut heap = db.rows(&on_heap).await;
            let mut lake = lines(answer);
            assert!(!lake.is_empty());
            if !sql.contains("ORDER BY") {
                heap.sort();
                lake.sort();
            }
            assert_eq!(lake, heap, "{sql}");
            compared += 1;
        }
        assert_eq!(compared, 4);
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    let row = |row: &Vec<Option<String>>| {
        let values = row.iter().map(|value| value.as_deref().unwrap_or("NULL"));
        values.collect::<Vec<_>>().join("|")
    };
    answer.rows.iter().map(row).collect()
}

/// Checks that new rows reach the Snowflake side without a manual refresh.
async fn new_rows_arrive(guide_run: &mut GuideRun) {
    let count = guide_run.renamed("SELECT COUNT(*) FROM iceberg_transactions");
    let before: u64 = guide_run.query(&count).await[0].parse().unwrap();
    guide_run.insert_sales(40).await;
    guide_run.sync().await;
    let wanted = vec![(before + 40).to_string()];
    let begun = std::time::Instant::now();
    while guide_run.query(&count).await != wanted {
        // Two periods of two minutes at sixty times the speed, and a margin for slow machines.
        assert!(
            begun.elapsed() < Duration::from_secs(4 + 16),
            "not refreshed"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let history = guide_run.renamed(
        "SELECT DISTINCT STATE FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(TASK_NAME => 'task_refresh_iceberg_transactions'))
         WHERE STATE <> 'SKIPPED' AND STATE <> 'EXECUTING'",
    );
    let history = history.replace("job_lake_bookings", "JOB_LAKE_BOOKINGS");
    let history = history.replace(
        "task_refresh_iceberg_transactions",
        "TASK_REFRESH_ICEBERG_TRANSACTIONS",
    );
    assert_eq!(guide_run.query(&history).await, ["SUCCEEDED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_in_the_order_of_the_guide() {
    let (Some(guide), Some(python)) = (guide(), python_with("psycopg2")) else {
        return;
    };
    let mut guide_run = GuideRun::new(guide, AS_IT_STANDS, "my-lake").await;
    for file in guide_run.files() {
        match &file[..2] {
            "20" => {
                let postgres = guide_run.postgres.clone().unwrap();
                wait_until_jobs_are_idle().await;
                let output = Command::new(&python)
                    .arg(guide_run.guide.join("simulate_transactions.py"))
                    .args(["--host", &postgres.host, "--password", &postgres.password])
                    .args(["--transactions", "5000", "--batch-size", "500"])
                    .args(["--sync-every", "500"])
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}", text(&output));
            }
            "22" => new_rows_arrive(&mut guide_run).await,
            _ => {}
        }
        let answers = guide_run.run(&file).await;
        if file.starts_with("21-") {
            guide_run.assert_equals_heap(&answers).await;
        }
    }
    assert_eq!(
        guide_run
            .query("SHOW POSTGRES INSTANCES LIKE 'retail_txns' ->> SELECT \"state\" FROM $1")
            .await,
        ["SUSPENDED"]
    );
    let postgres = guide_run.postgres.clone().unwrap();
    assert!(Db::try_connect(&postgres).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_other_names() {
    let Some(guide) = guide() else { return };
    let mut guide_run = GuideRun::new(guide, RENAMED, "other.bucket-2").await;
    for file in guide_run.files() {
        match &file[..2] {
            "05" => {
                let db = guide_run.db().await;
                db.run("CREATE SCHEMA shop").await;
                db.run("ALTER ROLE snowflake_admin SET search_path = shop, public")
                    .await;
            }
            "20" => {
                wait_until_jobs_are_idle().await;
                guide_run.insert_sales(300).await;
                guide_run.sync().await;
            }
            "22" => new_rows_arrive(&mut guide_run).await,
            _ => {}
        }
        let answers = guide_run.run(&file).await;
        if file.starts_with("21-") {
            guide_run.assert_equals_heap(&answers).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_lets_in_whom_its_network_policy_allows() {
    let Some(guide) = guide() else { return };
    let mut guide_run = GuideRun::new(guide, AS_IT_STANDS, "my-lake").await;
    let create = "CREATE POSTGRES INSTANCE a COMPUTE_FAMILY = 'STANDARD_M' STORAGE_SIZE_GB = 10 AUTHENTICATION_AUTHORITY = POSTGRES";
    let created = guide_run.snowflake.run(create).await.unwrap();
    guide_run.remember_endpoint("a", &created).await;
    let postgres = guide_run.postgres.clone().unwrap();
    let refused = Db::try_connect(&postgres).await.err().unwrap();
    let refused = icebox_base::chain(&refused);
    assert!(refused.contains("no pg_hba.conf entry"), "{refused}");
    let rule = |block: &str| {
        format!(
            "CREATE OR REPLACE NETWORK RULE r TYPE = IPV4 VALUE_LIST = ('{block}') MODE = POSTGRES_INGRESS"
        )
    };
    for sql in [
        "CREATE DATABASE d",
        &rule("203.0.113.7/32"),
        "CREATE NETWORK POLICY p ALLOWED_NETWORK_RULE_LIST = ('d.public.r')",
        "ALTER POSTGRES INSTANCE a SET NETWORK_POLICY = 'P'",
    ] {
        guide_run.query(sql).await;
    }
    assert!(Db::try_connect(&postgres).await.is_err());
    for (sql, may) in [
        (
            "ALTER NETWORK RULE r SET VALUE_LIST = ('127.0.0.0/8')",
            true,
        ),
        ("ALTER POSTGRES INSTANCE a UNSET NETWORK_POLICY", false),
        ("ALTER POSTGRES INSTANCE a SET NETWORK_POLICY = 'P'", true),
    ] {
        guide_run.query(sql).await;
        assert_eq!(Db::try_connect(&postgres).await.is_ok(), may, "{sql}");
    }
    // A password is reset: the old one is refused.
    let reset = guide_run
        .query("ALTER POSTGRES INSTANCE a RESET ACCESS FOR 'snowflake_admin'")
        .await;
    assert!(Db::try_connect(&postgres).await.is_err());
    guide_run.postgres.as_mut().unwrap().password = reset[0].clone();
    let postgres = guide_run.postgres.clone().unwrap();
    // Data and network policy survive a suspension.
    guide_run
        .db()
        .await
        .run("CREATE TABLE t AS SELECT 7 AS x")
        .await;
    guide_run.query("ALTER POSTGRES INSTANCE a SUSPEND").await;
    assert!(Db::try_connect(&postgres).await.is_err());
    let reset = "ALTER POSTGRES INSTANCE a RESET ACCESS FOR 'application'";
    let refused = guide_run.snowflake.run(reset).await.err().unwrap();
    assert!(refused.to_string().contains("RESUME"), "{refused}");
    guide_run.query("ALTER POSTGRES INSTANCE a RESUME").await;
    guide_run
        .db()
        .await
        .assert_rows("SELECT x FROM t", &["7"])
        .await;
    guide_run.query("DROP POSTGRES INSTANCE a").await;
    assert!(Db::try_connect(&postgres).await.is_err());
    until("nothing is left", Duration::from_secs(5), async || {
        let instances = guide_run.sandbox.info().state_dir.join("instances");
        std::fs::read_dir(instances).unwrap().count() == 0
    })
    .await;
}

#[test]
fn the_scenario_of_the_whole_way_runs_again() {
    let engine = engine_under_test();
    let engine = clap::ValueEnum::to_possible_value(&engine).unwrap();
    let sandbox = CommandSandbox::with(&["--time-scale", "60", "--engine", engine.get_name()]);
    for _ in 0..2 {
        let output = sandbox.ok(&["run", "scenarios/snowflake-lakehouse"]);
        let same = "5 of 5 queries gave the same answer on heap, pg_lake, snowflake";
        assert_eq!(output.matches(same).count(), 2, "{output}");
        assert!(output.contains("19 steps, 0 skipped"), "{output}");
        // Passwords are shown only by the steps that need them.
        assert!(!output.contains("access_roles"), "{output}");
    }
}
