//! Transactions on Iceberg tables: they are atomic, make one snapshot, and see what their
//! isolation level says.

use crate::support::db::Db;
use crate::support::sandbox::TestSandbox;

const VERSIONS: &str = "SELECT metadata_location, previous_metadata_location FROM iceberg_tables WHERE table_name = 'tx'";

/// Counts the files of the table `tx`: data files including delete files, metadata files, and Avro
/// files.
async fn files(test: &TestSandbox) -> (usize, usize, usize) {
    let keys = test.stored_paths("/public/tx/").await;
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
    db.assert_rows("SELECT * FROM tx", &[]).await;
    assert_eq!(db.one(VERSIONS).await, created);
    let (_, metadata, avro) = files(&test).await;
    assert_eq!((metadata, avro), (1, 0));

    // Rows after ROLLBACK TO a savepoint.
    db.run("BEGIN").await;
    db.run("INSERT INTO tx VALUES (2, 'a')").await;
    db.run("SAVEPOINT s1").await;
    db.run("INSERT INTO tx VALUES (3, 'b')").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|a", "3|b"])
        .await;
    db.run("ROLLBACK TO s1").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|a"])
        .await;
    db.run("INSERT INTO tx VALUES (4, 'c')").await;
    db.run("COMMIT").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|a", "4|c"])
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
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|x"])
        .await;
    db.run("ROLLBACK TO b; SAVEPOINT c; DELETE FROM tx; RELEASE c")
        .await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &[]).await;
    db.run("ROLLBACK TO b").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|x", "4|c"])
        .await;
    db.run("ROLLBACK TO a; COMMIT").await;
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|a", "4|c"])
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
    db.assert_rows("SELECT * FROM tx ORDER BY id", &["2|a", "4|c", "5|ok"])
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
    db.assert_rows("SELECT count(*) FROM tx", &["5"]).await;
    other.assert_rows("SELECT count(*) FROM tx", &["4"]).await;
    db.run("COMMIT").await;
    other.assert_rows("SELECT count(*) FROM tx", &["5"]).await;
    let after = db.one(VERSIONS).await;
    assert_eq!(
        after.split_once('|').unwrap().1,
        before.split_once('|').unwrap().0
    );
    assert_eq!(other.one(VERSIONS).await, after);

    // A table that is created in the same transaction.
    db.run("BEGIN; CREATE TABLE txc (a int) USING iceberg; INSERT INTO txc VALUES (1); ROLLBACK")
        .await;
    db.assert_rows(
        "SELECT count(*) FROM iceberg_tables WHERE table_name = 'txc'",
        &["0"],
    )
    .await;
    db.run(
        "BEGIN; CREATE TABLE txc (a int) USING iceberg; INSERT INTO txc VALUES (1); ALTER TABLE txc ADD COLUMN b int;
         INSERT INTO txc VALUES (2, 2); COMMIT",
    )
    .await;
    db.assert_rows("SELECT * FROM txc ORDER BY a", &["1|∅", "2|2"])
        .await;
    db.run("BEGIN; DROP TABLE txc; ROLLBACK").await;
    db.assert_rows("SELECT count(*) FROM txc", &["2"]).await;
    db.run("BEGIN; TRUNCATE txc; INSERT INTO txc VALUES (3); ROLLBACK")
        .await;
    db.assert_rows("SELECT count(*) FROM txc", &["2"]).await;
    db.run("BEGIN; TRUNCATE txc; INSERT INTO txc VALUES (3); COMMIT")
        .await;
    db.assert_rows("SELECT * FROM txc", &["3|∅"]).await;
    db.run("BEGIN; ALTER TABLE txc DROP COLUMN b; ALTER TABLE txc RENAME a TO z; SAVEPOINT s; ALTER TABLE txc ADD c int").await;
    db.run("ROLLBACK TO s; INSERT INTO txc VALUES (4); COMMIT")
        .await;
    db.assert_rows("SELECT z FROM txc ORDER BY z", &["3", "4"])
        .await;

    // Changes of heap and Iceberg tables fail together, whichever of them fails.
    db.run("CREATE TABLE hp (id int PRIMARY KEY)").await;
    db.run("BEGIN; INSERT INTO tx VALUES (40, 'h'); INSERT INTO hp VALUES (1)")
        .await;
    db.assert_error(
        "INSERT INTO hp VALUES (1)",
        "23505: duplicate key value violates unique constraint \"hp_pkey\"",
    )
    .await;
    db.run("COMMIT").await;
    db.assert_rows(
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
    db.assert_rows("SELECT count(*) FROM tx WHERE id = 41", &["0"])
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
    db.assert_rows("SELECT count(*) FROM tx WHERE id = 30", &["0"])
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
    a.assert_rows(both, &["1|1"]).await;
    b.run("BEGIN; INSERT INTO tx VALUES (2, 'b'); INSERT INTO heap VALUES (2)")
        .await;
    a.assert_rows(both, &["1|1"]).await;
    b.run("COMMIT").await;
    a.assert_rows(both, &["2|2"]).await;
    a.run("COMMIT").await;

    // REPEATABLE READ and SERIALIZABLE: heap and Iceberg tables show what was committed at the
    // first statement.
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let before = a.one(both).await;
        a.run(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        a.assert_rows(both, &[&before]).await;
        for _ in 0..3 {
            b.run("BEGIN; INSERT INTO tx VALUES (3, 'b'); INSERT INTO heap VALUES (3); COMMIT")
                .await;
            a.assert_rows(both, &[&before]).await;
        }
        b.run("DELETE FROM tx WHERE id = 1; INSERT INTO tx VALUES (1, 'again')")
            .await;
        a.assert_rows(both, &[&before]).await;
        a.assert_error(
            "INSERT INTO tx VALUES (51, 'rr')",
            "40001: could not serialize access due to concurrent update",
        )
        .await;
        a.run("ROLLBACK").await;
        a.assert_rows("SELECT count(*) FROM tx WHERE id = 51", &["0"])
            .await;
        a.run(&format!(
            "BEGIN ISOLATION LEVEL {level}; INSERT INTO tx VALUES (52, 'alone'); COMMIT"
        ))
        .await;
    }
    a.assert_rows("SELECT count(*) FROM tx WHERE id = 52", &["2"])
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
            a.assert_rows("SELECT count(*) FROM tx", &[&(before + 1).to_string()])
                .await;
        }
        a.run("ROLLBACK").await;
        c.run("ROLLBACK").await;
    }

    a.run("BEGIN READ ONLY").await;
    a.assert_rows("SELECT count(*) > 0 FROM tx", &["t"]).await;
    a.assert_error(
        "INSERT INTO tx VALUES (1, 'x')",
        "25006: cannot execute INSERT in a read-only transaction",
    )
    .await;
    a.run("ROLLBACK").await;
}
