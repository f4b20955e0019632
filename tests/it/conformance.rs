//! Conformance tests for every engine: replays the transcripts of the real `pg_lake` and compares
//! the answers.
//!
//! `ICEBOX_TEST_ENGINE` chooses the engine (`just conformance --engine native`). Where icebox's
//! stand-in answers otherwise than the real extension, `conformance/transcripts/*.toml` records the
//! deviation and its reason. A recorded deviation that no longer occurs fails the suite.

mod answer;
mod documents;
mod expectations;
mod faults;
mod lake;
mod logic;
mod replay;
mod transcript;
mod types;

use crate::support::db::Db;
use crate::support::sandbox::{CommandSandbox, TestSandbox, in_database};
use expectations::{Environment, PgLake};
use replay::Replay;

/// The bucket and the database of the captured transcripts.
const BUCKET: &str = "probe-lake";
const DATABASE: &str = "scratch";

/// Returns which `pg_lake` is installed, and the server's major version.
async fn environment(db: &Db) -> Environment {
    // The real `pg_lake` consists of several extensions; the stand-in does not have this one.
    let is_real = db
        .one("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_lake_engine')")
        .await;
    let version: u32 = db
        .one("SELECT current_setting('server_version_num')")
        .await
        .parse()
        .unwrap();
    Environment {
        pg_lake: if is_real == "t" {
            PgLake::Real
        } else {
            PgLake::StandIn
        },
        postgres: version / 10_000,
    }
}

/// Replays a transcript in a new sandbox.
async fn replayed(name: &str) {
    let test = TestSandbox::with_bucket(BUCKET).await;
    let environment = environment(&test.database(DATABASE).await).await;
    let replay = Replay::new(in_database(test.info(), DATABASE), environment, None);
    replay.replay(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl() {
    replayed("ddl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dml() {
    replayed("dml").await;
}

/// Replays the statements of `types.txt` that are not among the trials of [`types`].
#[tokio::test(flavor = "multi_thread")]
async fn out_of_range_values() {
    replayed("types").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions() {
    replayed("transactions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages() {
    let sandbox = CommandSandbox::with(&["--bucket", BUCKET]);
    let info = sandbox.info();
    if let Some(reason) = faults::impossible(info.engine) {
        return println!("SKIPPED: outages on the engine {}: {reason}", info.engine);
    }
    Db::connect(&info.postgres)
        .await
        .run(&format!("CREATE DATABASE {DATABASE}"))
        .await;
    let endpoint = in_database(&info, DATABASE);
    let db = Db::connect(&endpoint).await;
    db.run("CREATE EXTENSION pg_lake CASCADE").await;
    let replay = Replay::new(endpoint, environment(&db).await, Some(&sandbox));
    replay.replay("outages").await;
}
