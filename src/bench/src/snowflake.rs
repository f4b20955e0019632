//! The Snowflake side through the drivers' endpoint: what a statement costs, and the refresh of a
//! table with a long history.

use std::time::Instant;

use object_store::ObjectStoreExt;
use serde_json::{Value, json};

use super::shared_sandbox::SharedSandbox;
use super::{Error, Measurement, Report};
use icebox_rest::client::Client;
use icebox_sandbox::SandboxInfo;
use icebox_tables::LakeIo;

const STATEMENTS: usize = 500;
/// The goal in seconds.
const STATEMENT_GOAL: f64 = 2e-3;

const SNAPSHOTS: u64 = 10_000;
const REFRESHES: usize = 7;
/// The goal in seconds.
const REFRESH_GOAL: f64 = 0.1;

const TABLE: &str = "long_history";

pub(super) async fn measure(shared: &SharedSandbox<'_>, report: &mut Report) -> Result<(), Error> {
    let info = shared.info().clone();
    let Some(there) = &info.snowflake else {
        return Ok(());
    };
    let mut client = there.connect(None).await?;
    shared.say(&format!(
        "running SELECT 1 {STATEMENTS} times on the Snowflake side"
    ));
    let mut times = Vec::new();
    for _ in 0..STATEMENTS {
        times.push(time(&mut client, "SELECT 1").await?);
    }
    let description = "SELECT 1 through the drivers' endpoint";
    let one = Measurement::seconds("snowflake.statement", description, times);
    report.add(one.goal(STATEMENT_GOAL));
    refresh(shared, &info, &mut client, report).await?;
    client.close().await;
    Ok(())
}

async fn time(client: &mut Client, sql: &str) -> Result<f64, Error> {
    let begun = Instant::now();
    client.run(sql).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Measures refreshes. Each is to a metadata file that was not read before.
async fn refresh(
    shared: &SharedSandbox<'_>,
    info: &SandboxInfo,
    client: &mut Client,
    report: &mut Report,
) -> Result<(), Error> {
    shared.say(&format!("refreshing a table with {SNAPSHOTS} snapshots"));
    shared
        .prepare(&format!(
            "CREATE TABLE {TABLE} (id int) USING iceberg; INSERT INTO {TABLE} VALUES (1)"
        ))
        .await?;
    let sql = format!("SELECT metadata_location FROM iceberg_tables WHERE table_name = '{TABLE}'");
    let row = shared.client.query_one(&sql, &[]).await;
    let location: String = row
        .and_then(|row| row.try_get(0))
        .map_err(Error::statement("looking for the table's metadata"))?;
    let io = LakeIo::s3(info.s3.clone());
    let metadata: Value = serde_json::from_slice(&io.read(&location).await?).unwrap_or_default();
    let long = with_history(metadata).to_string();
    let (folder, _) = location.rsplit_once('/').unwrap_or((&location, ""));
    let base = format!("s3://{}/", info.bucket);
    let mut paths = Vec::new();
    for run in 0..=REFRESHES {
        let file = format!("{folder}/9000{run}-{}.metadata.json", uuid::Uuid::new_v4());
        let (store, key) = io.resolve(&file)?;
        let written = store.put(&key, long.clone().into()).await;
        written.map_err(|source| icebox_tables::Error::Storage {
            doing: "write",
            location: file.clone(),
            source,
        })?;
        paths.push(file.trim_start_matches(&base).to_owned());
    }
    let role = info.role_arn.clone().unwrap_or_default();
    for sql in [
        "CREATE DATABASE bench".to_owned(),
        format!(
            "CREATE EXTERNAL VOLUME bench_volume STORAGE_LOCATIONS = ((NAME = 'lake' STORAGE_PROVIDER = 'S3' \
             STORAGE_BASE_URL = '{base}' STORAGE_AWS_ROLE_ARN = '{role}'))"
        ),
        "CREATE CATALOG INTEGRATION bench_catalog CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE"
            .to_owned(),
        format!(
            "CREATE ICEBERG TABLE bench.public.{TABLE} EXTERNAL_VOLUME = 'BENCH_VOLUME' CATALOG = 'BENCH_CATALOG' \
             METADATA_FILE_PATH = '{}'",
            paths[0]
        ),
    ] {
        client.run(&sql).await?;
    }
    let mut times = Vec::new();
    for path in &paths[1..] {
        let sql = format!("ALTER ICEBERG TABLE bench.public.{TABLE} REFRESH '{path}'");
        times.push(time(client, &sql).await?);
    }
    let description = format!("refresh of a table with {SNAPSHOTS} snapshots");
    let one = Measurement::seconds("snowflake.refresh", description, times);
    report.add(one.goal(REFRESH_GOAL));
    Ok(())
}

/// Gives a table's metadata a long history of snapshots. Each snapshot has the files of the present
/// one.
fn with_history(mut metadata: Value) -> Value {
    let Some(last) = metadata["snapshots"]
        .as_array()
        .and_then(|all| all.last())
        .cloned()
    else {
        return metadata;
    };
    let begun = last["timestamp-ms"].as_u64().unwrap_or_default();
    let (mut snapshots, mut log) = (Vec::new(), Vec::new());
    for number in 1..=SNAPSHOTS {
        let mut snapshot = last.clone();
        snapshot["snapshot-id"] = json!(number);
        snapshot["sequence-number"] = json!(number);
        snapshot["timestamp-ms"] = json!(begun + number);
        snapshot["parent-snapshot-id"] = match number {
            1 => Value::Null,
            _ => json!(number - 1),
        };
        snapshots.push(snapshot);
        log.push(json!({"snapshot-id": number, "timestamp-ms": begun + number}));
    }
    metadata["snapshots"] = Value::Array(snapshots);
    metadata["snapshot-log"] = Value::Array(log);
    metadata["current-snapshot-id"] = json!(SNAPSHOTS);
    metadata["last-sequence-number"] = json!(SNAPSHOTS);
    metadata["last-updated-ms"] = json!(begun + SNAPSHOTS);
    metadata["refs"] = json!({"main": {"snapshot-id": SNAPSHOTS, "type": "branch"}});
    metadata
}
