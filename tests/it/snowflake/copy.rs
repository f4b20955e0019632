//! COPY INTO: the files it loads, the files it refuses, and its load history.

use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::host::{Fixture, ok, run, script, shown, value};
use icebox_account::account::Account;
use icebox_account::session::Session;
use icebox_sql::names::Ident;

/// Creates a table and a stage for its files.
async fn prepared(table: &str) -> (Fixture, Session) {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(
        &session,
        "CREATE DATABASE d;
         CREATE STORAGE INTEGRATION i TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
           STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::000000000000:role/lake' STORAGE_ALLOWED_LOCATIONS = ('s3://retail-lake/');
         CREATE STAGE s URL = 's3://retail-lake/in/' STORAGE_INTEGRATION = i",
    )
    .await;
    ok(&session, &format!("CREATE TABLE t ({table})")).await;
    (fixture, session)
}

async fn put(fixture: &Fixture, file: &str, text: &'static str) {
    let key = Path::from(format!("in/{file}"));
    fixture.lake.store.put(&key, text.into()).await.unwrap();
}

const AGAIN: &str = "COPY INTO t FROM @s";

async fn loaded(session: &Session) -> Vec<Vec<String>> {
    let rows = ok(session, AGAIN).await;
    shown(&rows)
}

fn nothing() -> [[&'static str; 1]; 1] {
    [["Copy executed with 0 files processed."]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_loaded_once_until_it_changes() {
    let (fixture, session) = prepared("id INT, name VARCHAR").await;
    put(&fixture, "a.csv", "1,one\n2,two\n").await;
    put(&fixture, "b.csv", "3,three\n").await;
    let first = loaded(&session).await;
    let a = [
        "s3://retail-lake/in/a.csv",
        "LOADED",
        "2",
        "2",
        "1",
        "0",
        "NULL",
    ];
    assert_eq!(first[0], a);
    assert_eq!(first.len(), 2);
    assert_eq!(loaded(&session).await, nothing());
    put(&fixture, "b.csv", "4,four\n").await;
    assert_eq!(loaded(&session).await.len(), 1);
    assert_eq!(
        value(
            &session,
            "SELECT LISTAGG(id, ' ') WITHIN GROUP (ORDER BY id) FROM t"
        )
        .await,
        "1 2 3 4"
    );
    assert_eq!(
        shown(
            &ok(
                &session,
                "COPY INTO t FROM @s FILES = ('a.csv') FORCE = TRUE"
            )
            .await
        )
        .len(),
        1
    );
    assert_eq!(value(&session, "SELECT COUNT(*) FROM t").await, "6");

    // COPY_HISTORY is not empty here, so the guide's check for an empty one can fail.
    let history = "SELECT FILE_NAME, ROW_COUNT, TABLE_NAME FROM TABLE(INFORMATION_SCHEMA.COPY_HISTORY(
        TABLE_NAME => 'T', START_TIME => DATEADD(hours, -24, CURRENT_TIMESTAMP()))) ORDER BY FILE_NAME, ROW_COUNT";
    let copies = shown(&ok(&session, history).await);
    let row = |file: &str, count: &str| [file.to_owned(), count.to_owned(), "T".to_owned()];
    let (a, b) = (row("a.csv", "2"), row("b.csv", "1"));
    assert_eq!(copies, [a.clone(), a, b.clone(), b]);
    assert_eq!(
        value(
            &session,
            "SELECT SUM(ROW_COUNT) FROM INFORMATION_SCHEMA.LOAD_HISTORY"
        )
        .await,
        "6"
    );

    // The load history survives a restart.
    let again = Account::open(fixture.directory.path(), fixture.host.clone()).unwrap();
    let session = Session::new(Arc::new(again), Ident::unquoted("ATTENDEE"));
    ok(&session, "USE SCHEMA d.public").await;
    assert_eq!(loaded(&session).await, nothing());
    assert_eq!(shown(&ok(&session, history).await).len(), 4);

    // A table that replaces the old one has an empty load history.
    ok(&session, "CREATE OR REPLACE TABLE t (id INT, name VARCHAR)").await;
    assert!(ok(&session, history).await.is_empty());
    assert_eq!(loaded(&session).await.len(), 2);
    assert_eq!(value(&session, "SELECT COUNT(*) FROM t").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_loads_nothing_and_says_where() {
    let (fixture, session) =
        prepared("id INT NOT NULL, price NUMBER(4,2), day DATE, name VARCHAR(3)").await;
    put(&fixture, "a.csv", "1,1.5,2024-01-31,abc\n").await;
    for (text, code, message) in [
        (
            "2,2.5,2024-02-01,b\nx,1,2024-01-01,c\n",
            100_038,
            "Numeric value 'x' is not recognized\n  File 'b.csv'\n  Row 2, column ID, which is number 1",
        ),
        (
            "2,123.5,2024-02-01,b\n",
            100_039,
            "Numeric value '123.5' is out of range\n  File 'b.csv'\n  Row 1, column PRICE, which is number 2",
        ),
        (
            "2,2.5,2024-02-30,b\n",
            100_035,
            "Date '2024-02-30' is not recognized\n  File 'b.csv'\n  Row 1, column DAY, which is number 3",
        ),
        (
            "2,2.5,2024-02-01,abcd\n",
            100_078,
            "String 'abcd' is too long and would be truncated\n  File 'b.csv'\n  Row 1, column NAME, which is number 4",
        ),
        (
            ",2.5,2024-02-01,b\n",
            100_072,
            "NULL result in a non-nullable column (ID)\n  File 'b.csv'\n  Row 1, column ID, which is number 1",
        ),
        (
            "2,2.5,2024-02-01,b\n3,4\n",
            100_080,
            "Number of columns in file (2) does not match that of the corresponding table (4)\n  File 'b.csv', line 2",
        ),
    ] {
        put(&fixture, "b.csv", text).await;
        let error = run(&session, AGAIN).await.unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, message));
    }
    // Not even the file before the invalid one is loaded.
    assert_eq!(value(&session, "SELECT COUNT(*) FROM t").await, "0");
    put(&fixture, "b.csv", "2,,2024-02-01,\n").await;
    assert_eq!(loaded(&session).await.len(), 2);
    assert_eq!(
        shown(&ok(&session, "SELECT * FROM t ORDER BY id").await),
        [
            ["1", "1.50", "2024-01-31", "abc"],
            ["2", "NULL", "2024-02-01", "NULL"]
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_says_how_a_file_is_read() {
    let (fixture, session) = prepared("a VARCHAR, b VARCHAR").await;
    put(&fixture, "x.csv", "head|line\n'1|2'|n/a\n\\N|\"3\"\n").await;
    ok(
        &session,
        "COPY INTO t FROM @s FILE_FORMAT = (TYPE = CSV SKIP_HEADER = 1 FIELD_DELIMITER = '|'
           FIELD_OPTIONALLY_ENCLOSED_BY = '''' NULL_IF = ('n/a'))",
    )
    .await;
    let rows = "SELECT * FROM t ORDER BY b";
    assert_eq!(
        shown(&ok(&session, rows).await),
        [["\\N", "\"3\""], ["1|2", "NULL"]]
    );

    ok(&session, "CREATE OR REPLACE TABLE t (a VARCHAR, b VARCHAR)").await;
    put(&fixture, "x.csv", "\"1\",\\N\n").await;
    ok(&session, AGAIN).await;
    assert_eq!(shown(&ok(&session, rows).await), [["\"1\"", "NULL"]]);

    put(&fixture, "x.csv", "1,2\n").await;
    let long = run(
        &session,
        "COPY INTO t FROM @s FILE_FORMAT = (TYPE = CSV FIELD_DELIMITER = '::')",
    )
    .await;
    let long = long.unwrap_err().message;
    let expected = "Unsupported feature 'FIELD_DELIMITER other than one ASCII character'.";
    assert!(long.contains(expected), "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_files_are_loaded_by_the_names_of_columns() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    let (_, oid, _) = super::host::locations()
        .into_iter()
        .find(|(table, ..)| table == "iceberg_stores")
        .unwrap();
    ok(&session, "CREATE DATABASE d").await;
    script(
        &session,
        &format!("CREATE STORAGE INTEGRATION i TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
           STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::000000000000:role/lake' STORAGE_ALLOWED_LOCATIONS = ('s3://retail-lake/');
         CREATE STAGE s URL = 's3://retail-lake/postgres/public/iceberg_stores/{oid}/data/' STORAGE_INTEGRATION = i FILE_FORMAT = (TYPE = PARQUET);
         CREATE TABLE stores (city VARCHAR, store_id INT, nowhere INT)"),
    )
    .await;
    let refused = run(&session, "COPY INTO stores FROM @s").await.unwrap_err();
    assert!(
        refused.message.contains("MATCH_BY_COLUMN_NAME"),
        "{}",
        refused.message
    );
    ok(
        &session,
        "COPY INTO stores FROM @s MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
    )
    .await;
    let rows = script(
        &session,
        "SELECT COUNT(*), COUNT(DISTINCT city), SUM(store_id), COUNT(nowhere) FROM stores",
    )
    .await;
    assert_eq!(rows, [["5", "5", "15", "0"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_refuses_what_does_not_fit_too() {
    let (_fixture, session) = prepared("n NUMBER(3,1), t VARCHAR(2), b BOOLEAN").await;
    for (values, message) in [
        ("('x', 'a', TRUE)", "Numeric value 'x' is not recognized"),
        ("(100, 'a', TRUE)", "Numeric value '100' is out of range"),
        (
            "(1, 'abc', TRUE)",
            "String 'abc' is too long and would be truncated",
        ),
        (
            "(1, 'a', 'perhaps')",
            "Boolean value 'perhaps' is not recognized",
        ),
    ] {
        let error = run(&session, &format!("INSERT INTO t VALUES {values}"))
            .await
            .unwrap_err();
        assert!(error.message.contains(message), "{}", error.message);
    }
    ok(&session, "INSERT INTO t SELECT '12.34', 5, 'yes'").await;
    assert_eq!(
        shown(&ok(&session, "SELECT * FROM t").await),
        [["12.3", "5", "true"]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_keep_the_types_of_their_columns() {
    let (_fixture, session) =
        prepared("v VARIANT, s VARCHAR(3), z TIMESTAMP_TZ(3), n TIMESTAMP_NTZ(0)").await;
    ok(
        &session,
        "INSERT INTO t SELECT PARSE_JSON('{\"a\": [1, 2]}'), 'abc', '2024-01-31 12:00:00.125 +0000'::TIMESTAMP_TZ, '2024-01-31 12:00:00.6'",
    )
    .await;
    let types = ok(&session, "DESCRIBE TABLE t ->> SELECT \"type\" FROM $1").await;
    assert_eq!(
        shown(&types).concat(),
        [
            "VARIANT",
            "VARCHAR(3)",
            "TIMESTAMP_TZ(3)",
            "TIMESTAMP_NTZ(0)"
        ]
    );
    assert_eq!(
        shown(
            &ok(
                &session,
                "SELECT v:a[1], s, z, n FROM t WHERE z > '2024-01-31 11:00:00 +0000'"
            )
            .await
        ),
        [[
            "2",
            "abc",
            "2024-01-31 12:00:00.125 +0000",
            "2024-01-31 12:00:00.000"
        ]]
    );
    let other = run(
        &session,
        "INSERT INTO t (z) SELECT '2024-01-31 12:00:00 +0200'::TIMESTAMP_TZ",
    )
    .await;
    let other = other.unwrap_err().message;
    assert!(
        other.contains("TIMESTAMP_TZ with an offset other than +0000"),
        "{other}"
    );
}
