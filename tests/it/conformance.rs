//! What any engine must do, whoever plays `pg_lake`: the answers of the real extension, replayed.
//!
//! `ICEBOX_TEST_ENGINE` chooses the engine (`just conformance --engine native`). Where icebox's stand-in answers otherwise
//! than the real extension, the difference is data beside the test, `conformance/transcripts/*.toml`, with its reason; one
//! that is no longer true fails the suite.

mod answer;
mod documents;
mod expectations;
mod faults;
mod lake;
mod logic;
mod replay;
mod transcript;
mod types;

use expectations::{On, PgLake};
use replay::Stage;

use crate::support::sandbox::{CommandSandbox, Db, TestSandbox, in_database};

/// The bucket and the database of the capture.
const BUCKET: &str = "probe-lake";
const DATABASE: &str = "scratch";

/// Who plays `pg_lake`, and the server's version.
async fn on(db: &Db) -> On {
    // The real extension is made of several.
    let is_real = db
        .one("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_lake_engine')")
        .await;
    let version: u32 = db
        .one("SELECT current_setting('server_version_num')")
        .await
        .parse()
        .unwrap();
    On {
        pg_lake: if is_real == "t" {
            PgLake::Real
        } else {
            PgLake::StandIn
        },
        postgres: version / 10_000,
    }
}

/// Replays a transcript in a sandbox of its own.
async fn replayed(name: &str) {
    let test = TestSandbox::with_bucket(BUCKET).await;
    let on = on(&test.database(DATABASE).await).await;
    let stage = Stage::new(in_database(test.info(), DATABASE), on, None);
    stage.replay(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl() {
    replayed("ddl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dml() {
    replayed("dml").await;
}

/// The statements of `types.txt` that are not one of the [`types`] with a value.
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
    let stage = Stage::new(endpoint, on(&db).await, Some(&sandbox));
    stage.replay("outages").await;
}
