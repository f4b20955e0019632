//! Sessions that write the same Iceberg table at once, and statements that end early.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::db::Db;
use crate::support::sandbox::TestSandbox;
use crate::support::until;

/// Returns whether the backend `pid` waits for a lock, as seen by `watcher`.
async fn waits(watcher: &Db, pid: &str) -> bool {
    let sql = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}");
    watcher.rows(&sql).await == ["t"]
}

/// One session has written and not committed: which statements of another session wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn writers_take_turns_and_readers_do_not_wait() {
    let test = TestSandbox::start().await;
    let (a, b, watcher) = (test.db().await, test.db().await, test.db().await);
    a.run("CREATE TABLE tx (id int, who text) USING iceberg")
        .await;
    a.run("INSERT INTO tx SELECT i, 'old' FROM generate_series(1, 200) i")
        .await;
    let pid = b.one("SELECT pg_backend_pid()").await;
    for (first, second, must_wait) in [
        (
            "INSERT INTO tx VALUES (300, 'A')",
            "INSERT INTO tx VALUES (301, 'B')",
            true,
        ),
        (
            "UPDATE tx SET who = 'u' WHERE id = 100",
            "INSERT INTO tx VALUES (302, 'I')",
            true,
        ),
        (
            "UPDATE tx SET who = 'u' WHERE id = 101",
            "UPDATE tx SET who = 'u2' WHERE id = 102",
            true,
        ),
        (
            "INSERT INTO tx VALUES (303, 'I')",
            "UPDATE tx SET who = 'u3' WHERE id IN (103, 303)",
            true,
        ),
        (
            "INSERT INTO tx VALUES (304, 'I')",
            "DELETE FROM tx WHERE id = 304 OR id = 104",
            true,
        ),
        (
            "DELETE FROM tx WHERE id = 105",
            "DELETE FROM tx WHERE id = 105",
            true,
        ),
        (
            "DELETE FROM tx WHERE id < 50",
            "UPDATE tx SET who = 'late' WHERE id < 60",
            true,
        ),
        ("INSERT INTO tx VALUES (305, 'I')", "TRUNCATE tx", true),
        (
            "INSERT INTO tx VALUES (306, 'I')",
            "ALTER TABLE tx ADD COLUMN IF NOT EXISTS extra int",
            true,
        ),
        (
            "INSERT INTO tx VALUES (307, 'I')",
            "SELECT count(*) FROM tx",
            false,
        ),
        (
            "UPDATE tx SET who = 'v'",
            "SELECT count(*), max(who) FROM tx",
            false,
        ),
    ] {
        a.run("BEGIN").await;
        a.run(first).await;
        let waited = tokio::join!(b.run(second), async {
            let mut waited = false;
            if must_wait {
                until(
                    &format!("{second} waits for {first}"),
                    Duration::from_secs(10),
                    async || waits(&watcher, &pid).await,
                )
                .await;
                waited = true;
            } else {
                // The statement must be answered without the commit: after half a second it does
                // not wait for a lock.
                tokio::time::sleep(Duration::from_millis(500)).await;
                assert!(
                    !waits(&watcher, &pid).await,
                    "{second} must not wait for {first}"
                );
            }
            a.run("COMMIT").await;
            waited
        })
        .1;
        assert_eq!(waited, must_wait);
    }
    a.assert_rows("SELECT * FROM tx ORDER BY id", &["306|v|∅", "307|v|∅"])
        .await;

    // Both updates of every pair take effect: the waiting statement works on the rows that the
    // first has committed.
    a.run("DROP TABLE tx; CREATE TABLE tx (id int, n int) USING iceberg; INSERT INTO tx VALUES (1, 0)").await;
    for _ in 0..5 {
        a.run("BEGIN; UPDATE tx SET n = n + 1").await;
        tokio::join!(b.run("UPDATE tx SET n = n + 10"), async {
            until(
                "the second writer waits",
                Duration::from_secs(10),
                async || waits(&watcher, &pid).await,
            )
            .await;
            a.run("COMMIT").await
        });
    }
    a.assert_rows("SELECT * FROM tx", &["1|55"]).await;
    // When the first writer rolls back, the second continues.
    a.run("BEGIN; UPDATE tx SET n = 1000").await;
    tokio::join!(b.run("UPDATE tx SET n = n + 1"), async {
        until(
            "the second writer waits",
            Duration::from_secs(10),
            async || waits(&watcher, &pid).await,
        )
        .await;
        a.run("ROLLBACK").await
    });
    a.assert_rows("SELECT * FROM tx", &["1|56"]).await;
    // Writers of different tables do not wait for each other.
    a.run("CREATE TABLE tx2 (id int) USING iceberg").await;
    a.run("BEGIN; INSERT INTO tx VALUES (2, 2)").await;
    b.run("INSERT INTO tx2 VALUES (1)").await;
    a.run("COMMIT").await;
    // PostgreSQL detects a deadlock.
    a.run("SET deadlock_timeout = '100ms'; BEGIN; INSERT INTO tx VALUES (3, 3)")
        .await;
    b.run("SET deadlock_timeout = '100ms'; BEGIN; INSERT INTO tx2 VALUES (3)")
        .await;
    let (one, two) = tokio::join!(
        a.try_run("INSERT INTO tx2 VALUES (4)"),
        b.try_run("INSERT INTO tx VALUES (4, 4)")
    );
    let failures: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].text, "40P01: deadlock detected");
    tokio::join!(a.run("COMMIT"), b.run("COMMIT"));
    a.assert_rows(
        "SELECT (SELECT count(*) FROM tx WHERE id > 2) + (SELECT count(*) FROM tx2 WHERE id > 2)",
        &["2"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_writers_lose_nothing() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run("CREATE TABLE tx (id int, writer int) USING iceberg")
        .await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let connection = test.db().await;
        writers.push(tokio::spawn(async move {
            for round in 0..25 {
                let id = writer * 1000 + round;
                connection
                    .run(&format!("INSERT INTO tx VALUES ({id}, {writer})"))
                    .await;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    db.assert_rows(
        "SELECT writer, count(*), count(DISTINCT id) FROM tx GROUP BY 1 ORDER BY 1",
        &["0|25|25", "1|25|25", "2|25|25", "3|25|25"],
    )
    .await;
    // Each transaction has one metadata file, and the metadata log has no gap.
    let metadata = test.metadata(&db.metadata_location("tx").await).await;
    assert_eq!(metadata["last-sequence-number"], 100);
    let locations: BTreeSet<&str> = metadata["metadata-log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["metadata-file"].as_str().unwrap())
        .collect();
    assert_eq!(
        locations.len(),
        metadata["metadata-log"].as_array().unwrap().len()
    );
    assert!(
        db.metadata_location("tx")
            .await
            .contains("/metadata/00100-")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_cancellation_and_lost_connections() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run("CREATE TABLE tx (id int, who text) USING iceberg; INSERT INTO tx VALUES (1, 'a')")
        .await;
    let many = "INSERT INTO tx SELECT i, md5(i::text) FROM generate_series(1, 20000000) i";
    let started = Instant::now();
    db.run("SET statement_timeout = '300ms'").await;
    db.assert_error(many, "57014: canceling statement due to statement timeout")
        .await;
    db.run("RESET statement_timeout").await;
    assert!(started.elapsed() < Duration::from_secs(10));
    db.assert_rows("SELECT count(*) FROM tx", &["1"]).await;

    // In a transaction, only the work since the savepoint is lost.
    db.run("BEGIN; INSERT INTO tx VALUES (2, 'kept'); SAVEPOINT s")
        .await;
    let (pid, admin) = (db.one("SELECT pg_backend_pid()").await, test.db().await);
    let (refused, ()) = tokio::join!(db.try_run(many), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        admin.run(&format!("SELECT pg_cancel_backend({pid})")).await;
    });
    assert_eq!(
        refused.unwrap_err().text,
        "57014: canceling statement due to user request"
    );
    db.run("ROLLBACK TO s; COMMIT").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["1|a", "2|kept"])
        .await;

    // A terminated session releases its lock.
    let lost = test.db().await;
    lost.run("BEGIN; INSERT INTO tx VALUES (3, 'lost')").await;
    let pid = lost.one("SELECT pg_backend_pid()").await;
    db.run(&format!("SELECT pg_terminate_backend({pid})")).await;
    db.run("INSERT INTO tx VALUES (4, 'next')").await;
    db.assert_rows("SELECT id FROM tx ORDER BY id", &["1", "2", "4"])
        .await;
    drop(lost);
    let dropped = test.db().await;
    dropped
        .run("BEGIN; INSERT INTO tx VALUES (5, 'dropped')")
        .await;
    drop(dropped);
    db.run("INSERT INTO tx VALUES (6, 'next')").await;
    db.assert_rows("SELECT id FROM tx ORDER BY id", &["1", "2", "4", "6"])
        .await;

    // A waiting writer can be cancelled too.
    let first = test.db().await;
    first.run("BEGIN; INSERT INTO tx VALUES (7, 'first')").await;
    db.run("SET lock_timeout = '200ms'").await;
    db.assert_error(
        "INSERT INTO tx VALUES (8, 'second')",
        "55P03: canceling statement due to lock timeout",
    )
    .await;
    first.run("COMMIT").await;
    db.assert_rows("SELECT max(id) FROM tx", &["7"]).await;
}
