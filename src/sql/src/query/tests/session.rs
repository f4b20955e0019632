//! What a query gets from its session, and the errors of queries.

use super::*;

#[tokio::test]
async fn names() {
    let session = TestCatalog::default()
        .with("T", "SELECT 1 AS a, 2 AS \"b\"")
        .await;
    let columns = |sql: &'static str| {
        let session = &session;
        async move { columns_of(&run(sql, session).await.unwrap()) }
    };
    assert_eq!(
        columns("select a, \"b\", t.A, a+1, count(*) over (), 'x' from T").await,
        "A NUMBER(1,0), b NUMBER(1,0), A NUMBER(1,0), A+1 NUMBER(2,0), COUNT(*) OVER () NUMBER(18,0), 'X' VARCHAR(16777216)"
    );
    assert_eq!(
        columns("VALUES (1, 'a')").await,
        "COLUMN1 NUMBER(19,0), COLUMN2 VARCHAR(16777216)"
    );
    assert_eq!(ask_of(&session, "SELECT db.s.t.a FROM db.s.t").await, "1");
    assert_eq!(ask_of(&session, "SELECT x.\"b\" FROM t AS X").await, "2");
}

#[tokio::test]
async fn errors() {
    let session = TestCatalog::default().with("T", "SELECT 1 AS a").await;
    for (sql, expected) in [
        (
            "SELECT b FROM t",
            "000904 (42000): SQL compilation error: error line 1 at position 7\ninvalid identifier 'B'",
        ),
        (
            "SELECT a\nFROM t\nWHERE t.zz = 1",
            "000904 (42000): SQL compilation error: error line 3 at position 8\ninvalid identifier 'T.ZZ'",
        ),
        ("SELECT \"a\" FROM t", "invalid identifier 'a'"),
        (
            "SELECT a FROM nosuch",
            "002003 (42S02): SQL compilation error:\nObject 'NOSUCH' does not exist or not authorized.",
        ),
        (
            "SELECT a FROM t x JOIN t y ON x.a = y.a",
            "002028 (42601): SQL compilation error:\nambiguous column name 'A'",
        ),
        ("SELECT a, SUM(a) FROM t", "000979 (42601)"),
        (
            "SELEC 1",
            "001003 (42000): SQL compilation error:\nsyntax error line 1 at position 0 unexpected 'SELEC'.",
        ),
        ("SELECT a FROM", "unexpected '<EOF>'"),
        (
            "SELECT LENGTH()",
            "not enough arguments for function [LENGTH], expected 1, got 0",
        ),
        (
            "SELECT UPPER('a', 'b')",
            "too many arguments for function [UPPER] expected 1, got 2",
        ),
        (
            "SELECT ARRAY_SIZE(1)",
            "001044 (42P13): SQL compilation error:\nerror line 0 at position -1\nInvalid argument types for function 'ARRAY_SIZE'",
        ),
        (
            "SELECT (SELECT column1 FROM VALUES (1), (2))",
            "090150 (22000)",
        ),
        ("SELECT 1 UNION ALL SELECT 1, 2", "number of result columns"),
    ] {
        let found = ask_of(&session, sql).await;
        assert!(found.contains(expected), "{sql}\n{found}");
    }
}

#[tokio::test]
async fn bindings_variables_pipes_and_session_functions() {
    let mut parameters = parameters();
    let number = |value| {
        (
            ScalarValue::Decimal128(Some(value), 10, 2),
            DataType::Number {
                precision: 10,
                scale: 2,
            },
        )
    };
    parameters.bindings.insert("V".to_owned(), number(150));
    parameters
        .bindings
        .insert("1".to_owned(), (ScalarValue::from("x'y"), DataType::TEXT));
    let moment =
        ScalarValue::TimestampNanosecond(Some(1_704_067_200_123_456_789), Some("UTC".into()));
    parameters.bindings.insert(
        "2".to_owned(),
        (moment, DataType::TimestampLtz { scale: 9 }),
    );
    parameters
        .variables
        .insert("LOW".to_owned(), (ScalarValue::Utf8(None), DataType::TEXT));
    parameters.earlier.push(Rows::texts(
        &["name"],
        [[Some("a".to_owned())], [Some("b".to_owned())]],
    ));
    let session = TestCatalog::default().with("T", "SELECT 1 AS a").await;
    let ask = |sql: &'static str| {
        let (session, parameters) = (&session, &parameters);
        async move {
            match engine().run(sql, session, parameters).await {
                Ok(rows) => rows_of(&rows).join("; "),
                Err(error) => error.to_string(),
            }
        }
    };
    assert_eq!(
        ask("SELECT :v + 1, ?, ?, $low, :1").await,
        "2.50 | x'y | 2023-12-31 16:00:00.123 -0800 | NULL | x'y"
    );
    assert_eq!(
        ask("SELECT \"name\" FROM $1 WHERE \"name\" = 'b'").await,
        "b"
    );
    assert_eq!(
        ask("SELECT CURRENT_ROLE(), SYSTEM$STREAM_HAS_DATA(UPPER('s'))").await,
        "SYSADMIN | true"
    );
    assert_eq!(ask("SELECT a FROM IDENTIFIER('t')").await, "1");
    assert_eq!(
        ask("SELECT column1 FROM VALUES (1), (2), (3) ORDER BY 1 LIMIT :v OFFSET :v").await,
        "3"
    );
    assert_eq!(
        ask("SELECT * FROM TABLE(RESULT_SCAN(CURRENT_ROLE()))").await,
        ""
    );
    let asked = session.asked.lock().unwrap().pop();
    assert_eq!(
        asked.as_deref(),
        Some("RESULT_SCAN  => SYSADMIN VARCHAR(16777216)")
    );
    assert!(
        ask("SELECT :nosuch")
            .await
            .contains("Bind variable :nosuch not set.")
    );
    assert!(
        ask("SELECT $nosuch")
            .await
            .contains("Session variable '$NOSUCH' does not exist")
    );
    assert!(
        ask("SELECT 1 FROM $2")
            .await
            .contains("Object '$2' does not exist")
    );
}

/// The columns of a plan are known before there are rows, as CTAS and INSERT require. The batches
/// have the same schema.
#[tokio::test]
async fn a_plan_has_a_schema_and_streams() {
    use futures::TryStreamExt;
    let session = TestCatalog::default();
    let sql = "SELECT column1 AS id, column1 / 4 AS q FROM VALUES (1), (2)";
    let plan = engine().plan(sql, &session, &parameters()).await.unwrap();
    let schema = Arc::clone(plan.schema());
    assert_eq!(schema.field(1).name(), "Q");
    let batches: Vec<_> = plan.stream().await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        batches
            .iter()
            .map(arrow::array::RecordBatch::num_rows)
            .sum::<usize>(),
        2
    );
    assert!(batches.iter().all(|batch| batch.schema() == schema));
}

/// An optimized build takes about half a millisecond. The limit leaves room for other builds.
#[tokio::test]
async fn a_small_query_takes_little() {
    let session = TestCatalog::default();
    run("SELECT 1", &session).await.unwrap();
    let started = std::time::Instant::now();
    for _ in 0..50 {
        run("SELECT 1", &session).await.unwrap();
    }
    let each = started.elapsed() / 50;
    println!("SELECT 1: {each:?}");
    assert!(each < std::time::Duration::from_millis(20), "{each:?}");
}
