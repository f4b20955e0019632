//! Statements in a session: their history, their result sets and their cancellation.

use std::sync::Arc;
use std::time::Duration;

use super::host::{Fixture, ok, run, script, shown, value};
use icebox_account::answer::StatementKind;
use icebox_account::statement::{self, Statement};
use icebox_scripting::{Bindings, Value};

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_every_statement_and_their_results() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    ok(&session, "CREATE DATABASE D").await;
    ok(&session, "ALTER SESSION SET QUERY_TAG = 'lesson'").await;
    ok(&session, "SHOW SCHEMAS").await;
    assert_eq!(
        shown(
            &ok(
                &session,
                "SELECT \"name\" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID())) ORDER BY 1"
            )
            .await
        ),
        [["INFORMATION_SCHEMA"], ["PUBLIC"]]
    );
    run(&session, "SELECT nothing FROM nowhere")
        .await
        .unwrap_err();
    let failed = run(
        &session,
        "SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))",
    )
    .await;
    assert!(failed.unwrap_err().message.contains("it failed"));
    // A procedure's statements are in the history; the evaluation of its expressions is not.
    script(
        &session,
        "CREATE PROCEDURE p() RETURNS NUMBER AS $$ BEGIN LET a NUMBER := 1 + 2; SELECT 42; RETURN a; END $$; CALL p()",
    )
    .await;
    assert_eq!(
        value(
            &session,
            "SELECT p FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))"
        )
        .await,
        "3"
    );
    let history = "SELECT QUERY_TEXT, QUERY_TYPE, EXECUTION_STATUS, ERROR_CODE, ROWS_PRODUCED, QUERY_TAG \
                   FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY_BY_SESSION()) WHERE EXECUTION_STATUS <> 'RUNNING' ORDER BY START_TIME, QUERY_TEXT";
    let rows = shown(&ok(&session, history).await);
    let of = |text: &str| rows.iter().find(|row| row[0].starts_with(text)).unwrap();
    assert_eq!(
        of("SELECT nothing")[1..5],
        ["SELECT", "FAILED_WITH_ERROR", "002003", "0"]
    );
    assert_eq!(
        of("SHOW SCHEMAS")[1..],
        ["SHOW", "SUCCESS", "NULL", "2", "lesson"]
    );
    assert_eq!(of("CREATE DATABASE")[5], "");
    assert_eq!(of("SELECT 42")[1], "SELECT");
    assert!(
        !rows
            .iter()
            .any(|row| row[0].contains("1 + 2") && !row[0].starts_with("CREATE"))
    );
    // A positive argument of LAST_QUERY_ID counts from the first statement of the session.
    let first = "SELECT QUERY_TEXT FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE QUERY_ID = LAST_QUERY_ID(1)";
    assert_eq!(value(&session, first).await, "CREATE DATABASE D");
    // Another session has its own query ids and its own history.
    let other = fixture.session();
    assert_eq!(value(&other, "SELECT LAST_QUERY_ID()").await, "NULL");
    let mine = "SELECT COUNT(*) FROM TABLE(D.INFORMATION_SCHEMA.QUERY_HISTORY_BY_SESSION()) WHERE EXECUTION_STATUS <> 'RUNNING'";
    assert_eq!(value(&other, mine).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_cancelled_by_its_id() {
    let fixture = Fixture::new().await;
    let session = Arc::new(fixture.session());
    // The clock is stopped, so the statement would wait for ever.
    for sql in [
        "SELECT SYSTEM$WAIT(60)",
        "BEGIN SELECT 1; SELECT SYSTEM$WAIT(60); EXCEPTION WHEN OTHER THEN SELECT SYSTEM$WAIT(60); END",
        "BEGIN LOOP LET a NUMBER := 1; END LOOP; END",
    ] {
        let statement = Statement::new(sql);
        let id = statement.query_id.clone();
        let in_session = Arc::clone(&session);
        let running =
            tokio::spawn(async move { statement::run(&in_session, &statement).await.map(drop) });
        while !fixture.account.history.cancel(&id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
        let error = ended.expect(sql).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "000604 (57014): SQL execution canceled",
            "{sql}"
        );
        assert!(!fixture.account.history.cancel(&id), "{sql}");
    }
    ok(
        &session,
        "ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = 1",
    )
    .await;
    let error = run(&session, "SELECT SYSTEM$WAIT(60)").await.unwrap_err();
    assert_eq!((error.code, error.state), (630, "57014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn described_statements_do_nothing() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(
        &session,
        "CREATE DATABASE D; CREATE TABLE t (a NUMBER, b VARCHAR)",
    )
    .await;
    for (sql, columns, kind) in [
        (
            "SELECT a, b || ? AS c FROM t",
            vec!["A", "C"],
            StatementKind::Select,
        ),
        (
            "INSERT INTO t VALUES (1, 'x')",
            vec!["number of rows inserted"],
            StatementKind::Insert,
        ),
        ("DROP TABLE t", vec!["status"], StatementKind::Ddl),
        (
            "SHOW VARIABLES ->> SELECT \"name\" FROM $1",
            vec!["name"],
            StatementKind::Select,
        ),
        ("LIST @nowhere", vec![], StatementKind::List),
    ] {
        let statement = Statement {
            describe_only: true,
            ..Statement::new(sql)
        };
        let answer = statement::run(&session, &statement).await;
        if columns.is_empty() {
            assert_eq!(answer.unwrap_err().code, 2003, "{sql}");
            continue;
        }
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let fields = answer.rows.schema.fields().iter();
        let names: Vec<_> = fields.map(|field| field.name().as_str()).collect();
        assert_eq!((names, answer.kind), (columns, kind), "{sql}");
        assert!(answer.rows.is_empty(), "{sql}");
    }
    assert_eq!(value(&session, "SELECT COUNT(*) FROM t").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_for_many_rows_of_bindings_writes_once() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(
        &session,
        "CREATE DATABASE D; CREATE TABLE t (a NUMBER(10,2), b VARCHAR)",
    )
    .await;
    let row = |number: i128| {
        let text = Value::text(format!("row {number}"));
        Bindings::positional(vec![Value::integer(number), text])
    };
    let mut statement = Statement {
        bindings: (1..=3).map(row).collect(),
        ..Statement::new("INSERT INTO t SELECT ?, ?")
    };
    let answer = statement::run(&session, &statement).await.unwrap();
    assert_eq!(shown(&answer.rows), [["3"]]);
    assert_eq!(
        shown(&ok(&session, "SELECT a, b FROM t ORDER BY a").await),
        [["1.00", "row 1"], ["2.00", "row 2"], ["3.00", "row 3"]]
    );
    statement.sql = "SELECT ?, ?".to_owned();
    assert_eq!(
        statement::run(&session, &statement).await.unwrap_err().code,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_parameters() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(
        &session,
        "SET a = 1.5; SET (b, c) = ('x', DATE '2026-01-02'); UNSET c",
    )
    .await;
    assert_eq!(
        script(
            &session,
            "SHOW VARIABLES ->> SELECT \"name\", \"value\", \"type\" FROM $1"
        )
        .await,
        [["A", "1.5", "fixed"], ["B", "x", "text"]]
    );
    assert_eq!(
        value(&session, "SELECT GETVARIABLE('B') || $A").await,
        "x1.5"
    );
    let zone = "SHOW PARAMETERS LIKE 'timezone' IN SESSION ->> SELECT \"value\", \"default\", \"level\" FROM $1";
    assert_eq!(
        script(&session, zone).await,
        [["America/Los_Angeles", "America/Los_Angeles", ""]]
    );
    ok(
        &session,
        "ALTER SESSION SET TIMEZONE = 'Europe/Berlin', LOCK_TIMEOUT = 10",
    )
    .await;
    assert_eq!(
        script(&session, zone).await,
        [["Europe/Berlin", "America/Los_Angeles", "SESSION"]]
    );
    ok(&session, "ALTER SESSION UNSET TIMEZONE").await;
    assert_eq!(script(&session, zone).await[0][0], "America/Los_Angeles");
}

/// Returns the resident memory of the process, in bytes.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
