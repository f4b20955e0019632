//! Transactions on Iceberg tables: they are atomic and make one snapshot; readers never wait, and
//! writers wait for each other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::sandbox::{Db, TestSandbox, until};

const VERSIONS: &str = "SELECT metadata_location, previous_metadata_location FROM iceberg_tables WHERE table_name = 'tx'";

/// Counts the files of the table `tx`: data files including delete files, metadata files, and Avro
/// files.
async fn files(test: &TestSandbox) -> (usize, usize, usize) {
    let keys = test.keys("/public/tx/").await;
    let count = |wanted: &dyn Fn(&String) -> bool| keys.iter().filter(|key| wanted(key)).count();
    (
        count(&|key| key.contains("/data/")),
        count(&|key| key.ends_with(".metadata.json")),
        count(&|key| key.ends_with(".avro")),
    )
}

async fn operations(test: &TestSandbox, db: &Db) -> Vec<String> {
    let metadata = test.metadata(&db.metadata_location("tx").await).await;
    let snapshots = metadata["snapshots"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    snapshots
        .iter()
        .map(|snapshot| {
            snapshot["summary"]["operation"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// The statements of `transactions.txt`, one by one.
#[tokio::test(flavor = "multi_thread")]
async fn all_or_nothing_and_one_snapshot() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    let other = test.db().await;
    db.run("CREATE TABLE tx (id int, who text) USING iceberg")
        .await;
    let created = db.one(VERSIONS).await;
    assert!(
        created.contains("/metadata/00000-") && created.ends_with("|∅"),
        "{created}"
    );
    assert_eq!(files(&test).await, (0, 1, 0));

    // A rollback leaves no metadata file and no manifest.
    db.run("BEGIN; INSERT INTO tx VALUES (1, 'rb'); ROLLBACK")
        .await;
    db.gives("SELECT * FROM tx", &[]).await;
    assert_eq!(db.one(VERSIONS).await, created);
    let (_, metadata, avro) = files(&test).await;
    assert_eq!((metadata, avro), (1, 0));

    // Rows after ROLLBACK TO a savepoint.
    db.run("BEGIN").await;
    db.run("INSERT INTO tx VALUES (2, 'a')").await;
    db.run("SAVEPOINT s1").await;
    db.run("INSERT INTO tx VALUES (3, 'b')").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|a", "3|b"])
        .await;
    db.run("ROLLBACK TO s1").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|a"]).await;
    db.run("INSERT INTO tx VALUES (4, 'c')").await;
    db.run("COMMIT").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|a", "4|c"])
        .await;
    let first = db.one(VERSIONS).await;
    let (location, previous) = first.split_once('|').unwrap();
    assert!(location.contains("/metadata/00001-"), "{first}");
    assert_eq!(previous, created.split_once('|').unwrap().0);
    // The commit wrote one manifest and one manifest list.
    let (_, metadata, avro) = files(&test).await;
    assert_eq!((metadata, avro), (2, 2));

    // Nested savepoints with updates and deletes, some released and some not.
    db.run("BEGIN; SAVEPOINT a; UPDATE tx SET who = 'x' WHERE id = 2; SAVEPOINT b; DELETE FROM tx WHERE id = 4").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|x"]).await;
    db.run("ROLLBACK TO b; SAVEPOINT c; DELETE FROM tx; RELEASE c")
        .await;
    db.gives("SELECT * FROM tx ORDER BY id", &[]).await;
    db.run("ROLLBACK TO b").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|x", "4|c"])
        .await;
    db.run("ROLLBACK TO a; COMMIT").await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|a", "4|c"])
        .await;
    assert_eq!(
        db.one(VERSIONS).await,
        first,
        "nothing was changed in the end"
    );

    // A plpgsql block with an exception handler is a savepoint.
    db.run(
        "DO $$ BEGIN INSERT INTO tx VALUES (5, 'ok');
           BEGIN INSERT INTO tx VALUES (6, 'bad'); RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END $$",
    )
    .await;
    db.gives("SELECT * FROM tx ORDER BY id", &["2|a", "4|c", "5|ok"])
        .await;

    // Three statements in a transaction make one snapshot and one metadata file.
    db.run("BEGIN; INSERT INTO tx VALUES (7, 'm'); INSERT INTO tx VALUES (8, 'm'); DELETE FROM tx WHERE id = 7; COMMIT").await;
    assert!(
        db.metadata_location("tx")
            .await
            .contains("/metadata/00003-")
    );
    assert_eq!(operations(&test, &db).await, ["append", "append", "append"]);

    // A transaction sees its own rows but the old metadata location. After the commit everybody
    // sees both.
    let before = db.one(VERSIONS).await;
    db.run("BEGIN; INSERT INTO tx VALUES (9, 'seen')").await;
    assert_eq!(db.one(VERSIONS).await, before);
    db.gives("SELECT count(*) FROM tx", &["5"]).await;
    other.gives("SELECT count(*) FROM tx", &["4"]).await;
    db.run("COMMIT").await;
    other.gives("SELECT count(*) FROM tx", &["5"]).await;
    let after = db.one(VERSIONS).await;
    assert_eq!(
        after.split_once('|').unwrap().1,
        before.split_once('|').unwrap().0
    );
    assert_eq!(other.one(VERSIONS).await, after);

    // A table that is created in the same transaction.
    db.run("BEGIN; CREATE TABLE txc (a int) USING iceberg; INSERT INTO txc VALUES (1); ROLLBACK")
        .await;
    db.gives(
        "SELECT count(*) FROM iceberg_tables WHERE table_name = 'txc'",
        &["0"],
    )
    .await;
    db.run(
        "BEGIN; CREATE TABLE txc (a int) USING iceberg; INSERT INTO txc VALUES (1); ALTER TABLE txc ADD COLUMN b int;
         INSERT INTO txc VALUES (2, 2); COMMIT",
    )
    .await;
    db.gives("SELECT * FROM txc ORDER BY a", &["1|∅", "2|2"])
        .await;
    db.run("BEGIN; DROP TABLE txc; ROLLBACK").await;
    db.gives("SELECT count(*) FROM txc", &["2"]).await;
    db.run("BEGIN; TRUNCATE txc; INSERT INTO txc VALUES (3); ROLLBACK")
        .await;
    db.gives("SELECT count(*) FROM txc", &["2"]).await;
    db.run("BEGIN; TRUNCATE txc; INSERT INTO txc VALUES (3); COMMIT")
        .await;
    db.gives("SELECT * FROM txc", &["3|∅"]).await;
    db.run("BEGIN; ALTER TABLE txc DROP COLUMN b; ALTER TABLE txc RENAME a TO z; SAVEPOINT s; ALTER TABLE txc ADD c int").await;
    db.run("ROLLBACK TO s; INSERT INTO txc VALUES (4); COMMIT")
        .await;
    db.gives("SELECT z FROM txc ORDER BY z", &["3", "4"]).await;

    // Changes of heap and Iceberg tables fail together, whichever of them fails.
    db.run("CREATE TABLE hp (id int PRIMARY KEY)").await;
    db.run("BEGIN; INSERT INTO tx VALUES (40, 'h'); INSERT INTO hp VALUES (1)")
        .await;
    db.refuses(
        "INSERT INTO hp VALUES (1)",
        "23505: duplicate key value violates unique constraint \"hp_pkey\"",
    )
    .await;
    db.run("COMMIT").await;
    db.gives(
        "SELECT (SELECT count(*) FROM tx WHERE id = 40), (SELECT count(*) FROM hp)",
        &["0|0"],
    )
    .await;
    // A deferred constraint that fails at COMMIT.
    db.run("CREATE TABLE child (id int REFERENCES hp DEFERRABLE INITIALLY DEFERRED)")
        .await;
    db.run("BEGIN; INSERT INTO child VALUES (9); INSERT INTO tx VALUES (41, 'h')")
        .await;
    let failure = db.try_run("COMMIT").await.unwrap_err();
    assert!(failure.text.starts_with("23503: "), "{failure:?}");
    db.gives("SELECT count(*) FROM tx WHERE id = 41", &["0"])
        .await;

    let refused = db
        .try_run("BEGIN; INSERT INTO tx VALUES (30, '2pc'); PREPARE TRANSACTION 'p1'")
        .await
        .unwrap_err();
    assert!(
        refused
            .text
            .starts_with("0A000: cannot PREPARE a transaction"),
        "{refused:?}"
    );
    db.run("ROLLBACK").await;
    db.gives("SELECT count(*) FROM tx WHERE id = 30", &["0"])
        .await;

    // Statements that change no row, such as the guide's sync without new rows, write nothing.
    db.run("CREATE TABLE source (id int, who text, synced_at timestamp)")
        .await;
    let before = (db.one(VERSIONS).await, files(&test).await);
    for nothing in [
        "WITH s AS (INSERT INTO tx SELECT id, who FROM source WHERE synced_at IS NULL RETURNING id)
         UPDATE source SET synced_at = now() WHERE id IN (SELECT id FROM s)",
        "DELETE FROM tx WHERE id = -1",
        "UPDATE tx SET who = 'x' WHERE false",
        "BEGIN; INSERT INTO tx VALUES (60, 'gone'); DELETE FROM tx WHERE id = 60; COMMIT",
        "INSERT INTO tx SELECT 1, 'x' WHERE false",
        "SELECT count(*) FROM tx",
    ] {
        db.run(nothing).await;
        assert_eq!(
            (db.one(VERSIONS).await, files(&test).await),
            before,
            "{nothing}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_levels() {
    let test = TestSandbox::start().await;
    let (a, b) = (test.db().await, test.db().await);
    a.run("CREATE TABLE tx (id int, who text) USING iceberg; CREATE TABLE heap (id int)")
        .await;
    a.run("INSERT INTO tx VALUES (1, 'a'); INSERT INTO heap VALUES (1)")
        .await;
    let both = "SELECT (SELECT count(*) FROM tx), (SELECT count(*) FROM heap)";

    // READ COMMITTED: every statement sees what was committed when it started.
    a.run("BEGIN").await;
    a.gives(both, &["1|1"]).await;
    b.run("BEGIN; INSERT INTO tx VALUES (2, 'b'); INSERT INTO heap VALUES (2)")
        .await;
    a.gives(both, &["1|1"]).await;
    b.run("COMMIT").await;
    a.gives(both, &["2|2"]).await;
    a.run("COMMIT").await;

    // REPEATABLE READ and SERIALIZABLE: heap and Iceberg tables show what was committed at the
    // first statement.
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let before = a.one(both).await;
        a.run(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        a.gives(both, &[&before]).await;
        for _ in 0..3 {
            b.run("BEGIN; INSERT INTO tx VALUES (3, 'b'); INSERT INTO heap VALUES (3); COMMIT")
                .await;
            a.gives(both, &[&before]).await;
        }
        b.run("DELETE FROM tx WHERE id = 1; INSERT INTO tx VALUES (1, 'again')")
            .await;
        a.gives(both, &[&before]).await;
        a.refuses(
            "INSERT INTO tx VALUES (51, 'rr')",
            "40001: could not serialize access due to concurrent update",
        )
        .await;
        a.run("ROLLBACK").await;
        a.gives("SELECT count(*) FROM tx WHERE id = 51", &["0"])
            .await;
        a.run(&format!(
            "BEGIN ISOLATION LEVEL {level}; INSERT INTO tx VALUES (52, 'alone'); COMMIT"
        ))
        .await;
    }
    a.gives("SELECT count(*) FROM tx WHERE id = 52", &["2"])
        .await;

    // READ COMMITTED while the oldest running transaction stays the same, either the reader's own
    // or that of a third session.
    let c = test.db().await;
    for (own, third) in [
        ("INSERT INTO heap VALUES (0)", "SELECT 1"),
        ("SELECT 1", "INSERT INTO heap VALUES (0)"),
    ] {
        c.run(&format!("BEGIN; {third}")).await;
        a.run(&format!("BEGIN; {own}")).await;
        for _ in 0..3 {
            let before: u64 = a.one("SELECT count(*) FROM tx").await.parse().unwrap();
            b.run("INSERT INTO tx VALUES (60, 'b')").await;
            a.gives("SELECT count(*) FROM tx", &[&(before + 1).to_string()])
                .await;
        }
        a.run("ROLLBACK").await;
        c.run("ROLLBACK").await;
    }

    a.run("BEGIN READ ONLY").await;
    a.gives("SELECT count(*) > 0 FROM tx", &["t"]).await;
    a.refuses(
        "INSERT INTO tx VALUES (1, 'x')",
        "25006: cannot execute INSERT in a read-only transaction",
    )
    .await;
    a.run("ROLLBACK").await;
}

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
    a.gives("SELECT * FROM tx ORDER BY id", &["306|v|∅", "307|v|∅"])
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
    a.gives("SELECT * FROM tx", &["1|55"]).await;
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
    a.gives("SELECT * FROM tx", &["1|56"]).await;
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
    a.gives(
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
    db.gives(
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
    db.refuses(many, "57014: canceling statement due to statement timeout")
        .await;
    db.run("RESET statement_timeout").await;
    assert!(started.elapsed() < Duration::from_secs(10));
    db.gives("SELECT count(*) FROM tx", &["1"]).await;

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
    db.gives("SELECT * FROM tx ORDER BY id", &["1|a", "2|kept"])
        .await;

    // A terminated session releases its lock.
    let lost = test.db().await;
    lost.run("BEGIN; INSERT INTO tx VALUES (3, 'lost')").await;
    let pid = lost.one("SELECT pg_backend_pid()").await;
    db.run(&format!("SELECT pg_terminate_backend({pid})")).await;
    db.run("INSERT INTO tx VALUES (4, 'next')").await;
    db.gives("SELECT id FROM tx ORDER BY id", &["1", "2", "4"])
        .await;
    drop(lost);
    let dropped = test.db().await;
    dropped
        .run("BEGIN; INSERT INTO tx VALUES (5, 'dropped')")
        .await;
    drop(dropped);
    db.run("INSERT INTO tx VALUES (6, 'next')").await;
    db.gives("SELECT id FROM tx ORDER BY id", &["1", "2", "4", "6"])
        .await;

    // A waiting writer can be cancelled too.
    let first = test.db().await;
    first.run("BEGIN; INSERT INTO tx VALUES (7, 'first')").await;
    db.run("SET lock_timeout = '200ms'").await;
    db.refuses(
        "INSERT INTO tx VALUES (8, 'second')",
        "55P03: canceling statement due to lock timeout",
    )
    .await;
    first.run("COMMIT").await;
    db.gives("SELECT max(id) FROM tx", &["7"]).await;
}
