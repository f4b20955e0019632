//! Processes that are killed, stopped or hang: no row is lost or duplicated, and errors come
//! quickly.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};

use super::readers;
use crate::support::clients::psql;
use crate::support::db::Db;
use crate::support::sandbox::CommandSandbox;
use crate::support::{kill, text, until};
use icebox_sandbox::process::ProcessId;

/// The guide's sync, which inserts rows and marks them in one statement.
const SYNC: &str = "WITH synced AS (INSERT INTO lake SELECT id, payload FROM heap WHERE synced_at IS NULL RETURNING id)
    UPDATE heap SET synced_at = now() WHERE id IN (SELECT id FROM synced)";

/// The number of marked rows that Iceberg does not have, and of rows in Iceberg that are not
/// marked. Rows are counted as a multiset; `0|0` means that each is there exactly once.
const WRONG: &str = "SELECT (SELECT count(*) FROM (SELECT id, payload FROM heap WHERE synced_at IS NOT NULL
                                                EXCEPT ALL SELECT id, payload FROM lake) a),
                            (SELECT count(*) FROM (SELECT id, payload FROM lake
                                                EXCEPT ALL SELECT id, payload FROM heap WHERE synced_at IS NOT NULL) b)";

async fn tables(sandbox: &CommandSandbox) -> Db {
    let info = sandbox.info();
    let db = Db::connect(&info.postgres).await;
    let prefix = format!("s3://{}", info.bucket);
    db.run("CREATE EXTENSION pg_lake CASCADE").await;
    db.run(&format!(
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = '{prefix}'"
    ))
    .await;
    let db = Db::connect(&info.postgres).await;
    db.run("CREATE TABLE heap (id serial PRIMARY KEY, payload text, synced_at timestamp)")
        .await;
    db.run("CREATE TABLE lake (id int, payload text) USING iceberg")
        .await;
    db.run("INSERT INTO heap (payload) VALUES ('first')").await;
    db.run(SYNC).await;
    db
}

/// Waits until the query works on a new connection, and returns the connection and the answer.
async fn recovered(sandbox: &CommandSandbox, query: &str) -> (Db, String) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let failure = match Db::try_connect(&sandbox.info().postgres).await {
            Ok(db) => match db.try_run(query).await {
                Ok(answer) => return (db, answer.rows.join("\n")),
                Err(failure) => format!("{failure:?}"),
            },
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{query}: {failure}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Crashes at random moments. `ICEBOX_CRASH_ROUNDS` is their number, `ICEBOX_CRASH_SEED` the random
/// seed.
#[tokio::test(flavor = "multi_thread")]
async fn any_process_may_be_killed_in_the_middle_of_a_sync() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let (rounds, seed) = (
        setting("ICEBOX_CRASH_ROUNDS", 50),
        setting("ICEBOX_CRASH_SEED", 1),
    );
    println!("ICEBOX_CRASH_ROUNDS={rounds} ICEBOX_CRASH_SEED={seed}");
    let sandbox = CommandSandbox::up();
    let mut db = tables(&sandbox).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    // Measures the duration of a sync, so that crashes come before, during and just after it.
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        db.run("INSERT INTO heap (payload) SELECT repeat('x', 100) FROM generate_series(1, 200)")
            .await;
        let started = Instant::now();
        db.run(SYNC).await;
        longest = longest.max(started.elapsed());
    }
    let (mut landed, mut failed) = (0, 0);
    for round in 0..rounds {
        let victim =
            ["backend", "postgres", "lake-engine", "s3", "supervisor"][random.random_range(0..5)];
        db.run("INSERT INTO heap (payload) SELECT 'round ' || i FROM generate_series(1, 200) i")
            .await;
        let process = match victim {
            "backend" => ProcessId::of(db.one("SELECT pg_backend_pid()").await.parse().unwrap()),
            name => sandbox.process(name),
        };
        let process = process.unwrap_or_else(|| panic!("{victim} does not run"));
        let moment = longest.mul_f64(random.random_range(0.0..1.3));
        let (synced, ()) = tokio::join!(db.try_run(SYNC), async {
            tokio::time::sleep(moment).await;
            tokio::task::spawn_blocking(move || kill(process))
                .await
                .unwrap();
        });
        match synced {
            Ok(_) => landed += 1,
            Err(_) => failed += 1,
        }
        if victim == "supervisor" {
            sandbox.start();
        }
        let (_, wrong) = recovered(&sandbox, WRONG).await;
        assert_eq!(
            wrong, "0|0",
            "round {round}: {victim} killed after {moment:?}"
        );
        // The next sync works at once, whatever the crash has left unsynced.
        let (next, _) = recovered(&sandbox, SYNC).await;
        db = next;
        assert_eq!(
            db.one(WRONG).await,
            "0|0",
            "round {round}: after {victim} was killed"
        );
        db.assert_rows("SELECT count(*) FROM heap WHERE synced_at IS NULL", &["0"])
            .await;
    }
    println!("{landed} syncs had landed, {failed} had not");
    assert!(
        rounds < 20 || (landed > 0 && failed > 0),
        "all syncs landed, or none did: the crashes must be spread over a sync"
    );
    readers::agree(&sandbox.info(), &db).await;
}

/// Keeps a component down. Its supervisor, which would restart it, is suspended.
struct Outage {
    supervisor: ProcessId,
}

impl Outage {
    fn of(sandbox: &CommandSandbox, component: &str) -> Self {
        let supervisor = sandbox.process("supervisor").unwrap();
        let process = sandbox.process(component).unwrap();
        supervisor.signal(Signal::SIGSTOP);
        process.signal(Signal::SIGKILL);
        Self { supervisor }
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.supervisor.signal(Signal::SIGCONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_s3_or_the_engine_is_down() {
    let sandbox = CommandSandbox::up();
    let db = tables(&sandbox).await;
    for (component, word) in [("s3", "object store"), ("lake-engine", "pg_lake_iceberg")] {
        db.run("INSERT INTO heap (payload) VALUES ('waits'), ('waits')")
            .await;
        let before = db
            .one("SELECT metadata_location FROM iceberg_tables WHERE table_name = 'lake'")
            .await;
        let outage = Outage::of(&sandbox, component);
        // The outage is tested on a new connection, because an existing one may still receive an
        // answer.
        let down = Db::connect(&sandbox.info().postgres).await;
        for statement in [
            "INSERT INTO lake VALUES (0, 'down')",
            "UPDATE lake SET payload = 'down'",
            "DELETE FROM lake",
            "CREATE TABLE new_one (a int) USING iceberg",
            "ALTER TABLE lake ADD COLUMN down int",
            SYNC,
        ] {
            let started = Instant::now();
            let failure = down.try_run(statement).await.expect_err(statement);
            let took = started.elapsed();
            println!("{component}: {statement:.30}: {took:?} {}", failure.text);
            assert!(
                took < Duration::from_secs(10),
                "{component}, {statement}: {took:?}"
            );
            let found = format!("{failure:?}");
            assert!(found.contains(word), "{component}, {statement}: {found}");
        }
        // A failed COMMIT also rolls back the heap table's row of the transaction.
        if component == "s3" {
            down.run("BEGIN; INSERT INTO heap (payload) VALUES ('with it'); INSERT INTO lake VALUES (-1, 'down')").await;
            assert!(down.try_run("COMMIT").await.is_err());
            down.assert_rows(
                "SELECT count(*) FROM heap WHERE payload = 'with it'",
                &["0"],
            )
            .await;
        }
        down.assert_rows("SELECT count(*) FROM heap WHERE synced_at IS NULL", &["2"])
            .await;
        assert_eq!(down.metadata_location("lake").await, before);
        down.run("INSERT INTO heap (payload) VALUES ('heap works')")
            .await;

        drop(outage);
        // The connection works again after the outage.
        until(
            "the sync works again",
            Duration::from_secs(30),
            async || down.try_run(SYNC).await.is_ok(),
        )
        .await;
        down.assert_rows(WRONG, &["0|0"]).await;
        down.assert_rows("SELECT count(*) FROM heap WHERE synced_at IS NULL", &["0"])
            .await;
        down.assert_rows("SELECT count(*) FROM lake WHERE id <= 0", &["0"])
            .await;
    }

    // If the server hangs for a while, the statement waits and then succeeds.
    let s3 = sandbox.process("s3").unwrap();
    db.run("INSERT INTO heap (payload) VALUES ('late')").await;
    s3.signal(Signal::SIGSTOP);
    let (_, ()) = tokio::join!(db.run(SYNC), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        s3.signal(Signal::SIGCONT);
    });
    db.assert_rows(WRONG, &["0|0"]).await;
    // With a statement_timeout, the statement fails instead of waiting.
    s3.signal(Signal::SIGSTOP);
    db.run("SET statement_timeout = '1s'").await;
    let refused = db.try_run("INSERT INTO lake VALUES (0, 'hangs')").await;
    s3.signal(Signal::SIGCONT);
    assert!(refused.is_err(), "{refused:?}");
    db.run("RESET statement_timeout").await;
    db.assert_rows("SELECT count(*) FROM lake WHERE id = 0", &["0"])
        .await;
}

/// `icebox verify` compares three answers to every query, and finds a single changed row on either
/// side.
#[test]
fn verify_finds_one_changed_row() {
    let sandbox = CommandSandbox::up();
    sandbox.ok(&["run", "scenarios/retail-lakehouse"]);
    let info = sandbox.info();
    let change = |sql: &str| {
        let output = psql(&info, &["-c", sql]);
        assert!(output.status.success(), "{}", text(&output));
    };
    assert!(sandbox.ok(&["verify"]).contains("34"), "all queries agree");
    for (break_it, mend_it) in [
        (
            "UPDATE transactions SET total_amount = total_amount + 0.01 WHERE txn_id = 17",
            "UPDATE transactions SET total_amount = total_amount - 0.01 WHERE txn_id = 17",
        ),
        (
            "UPDATE iceberg_transactions SET total_amount = total_amount + 0.01 WHERE txn_id = 17",
            "UPDATE iceberg_transactions SET total_amount = total_amount - 0.01 WHERE txn_id = 17",
        ),
    ] {
        change(break_it);
        let found = sandbox.icebox(&["verify"]);
        assert_eq!(found.status.code(), Some(1), "{break_it}: {}", text(&found));
        assert!(
            text(&found).contains("revenue-by-store"),
            "{break_it}: {}",
            text(&found)
        );
        change(mend_it);
        sandbox.ok(&["verify"]);
    }
}
