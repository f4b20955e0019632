//! Many statements in one session, and many sessions.

use std::sync::Arc;

use super::host::{Fixture, ok, script, shown, value};
use super::statements::memory;

/// Returns a statement of one of the kinds that a long session has, with a text of its own.
fn statement(number: usize) -> String {
    match number % 10 {
        0 => format!("SELECT {number} AS a, 'text {number}' AS b"),
        1 => format!("SET v = {number}"),
        2 => format!("SELECT COUNT(*) FROM t WHERE a > {number}"),
        3 => "CREATE OR REPLACE SCHEMA s".to_owned(),
        4 => "DESCRIBE TABLE public.t".to_owned(),
        5 => format!("ALTER SESSION SET QUERY_TAG = 'tag {number}'"),
        6 => "USE SCHEMA d.public".to_owned(),
        _ => "SHOW TABLES IN DATABASE".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_session_does_not_grow() {
    const MOST_GROWTH: u64 = 12 << 20;
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(
        &session,
        "CREATE DATABASE d; CREATE TABLE t AS SELECT 1 AS a; USE SCHEMA d.public",
    )
    .await;
    // The statement history fills up first: it holds 10,000 statements.
    for number in 0..10_500 {
        ok(&session, &statement(number)).await;
    }
    let before = memory();
    for number in 10_500..100_000 {
        ok(&session, &statement(number)).await;
    }
    let after = memory();
    assert!(
        after < before + MOST_GROWTH,
        "{before} bytes, after 89,500 statements more {after}"
    );
    assert_eq!(value(&session, "SELECT $v").await, "99991");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sessions_at_once() {
    let fixture = Fixture::new().await;
    script(
        &fixture.session(),
        "CREATE DATABASE shared; CREATE TABLE t (a NUMBER)",
    )
    .await;
    let sessions = (0..50).map(|number| {
        let account = Arc::clone(&fixture.account);
        let user = icebox_sql::names::Ident::unquoted(&format!("USER_{number}"));
        tokio::spawn(async move {
            let session = icebox_account::session::Session::new(account, user);
            let setup = format!(
                "USE DATABASE shared; CREATE SCHEMA own_{number}; SET mine = {number}; CREATE TABLE t AS SELECT $mine AS a; \
                 INSERT INTO shared.public.t VALUES ({number})"
            );
            script(&session, &setup).await;
            for _ in 0..10 {
                assert_eq!(value(&session, "SELECT a FROM t").await, number.to_string());
                assert_eq!(value(&session, "SELECT CURRENT_SCHEMA()").await, format!("OWN_{number}"));
                let text = value(&session, "SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))").await;
                assert_eq!(text, format!("OWN_{number}"));
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap();
    }
    let session = fixture.session();
    let rows = ok(
        &session,
        "SELECT COUNT(*), COUNT(DISTINCT a) FROM shared.public.t",
    )
    .await;
    assert_eq!(shown(&rows), [["50", "50"]]);
}
