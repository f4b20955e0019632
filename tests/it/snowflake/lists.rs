//! SHOW, `INFORMATION_SCHEMA` and `GET_DDL`.

use super::host::{Fixture, ok, run, script, shown, value};

const OBJECTS: &str = "
    CREATE DATABASE SHOP COMMENT = 'all of it';
    CREATE SCHEMA RAW;
    CREATE TABLE ORDERS (ID NUMBER(10,0) NOT NULL, \"note\" VARCHAR(20), AT TIMESTAMP_NTZ(6)) COMMENT = 'it''s';
    INSERT INTO ORDERS (ID) VALUES (1), (2);
    CREATE TABLE RETURNS AS SELECT 1 AS ID;
    CREATE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
      STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::000000000000:role/lake' STORAGE_ALLOWED_LOCATIONS = ('s3://retail-lake/');
    CREATE STAGE FILES URL = 's3://retail-lake/' STORAGE_INTEGRATION = LAKE DIRECTORY = (ENABLE = TRUE);
    CREATE STREAM CHANGES ON STAGE FILES;
    CREATE PROCEDURE GREET(NAME VARCHAR, TIMES NUMBER DEFAULT 1) RETURNS VARCHAR LANGUAGE SQL AS
      $$ BEGIN RETURN 'it''s ' || name || '\\\\'; END $$;
    CREATE TASK A_CHILD_LATER SCHEDULE = '1 MINUTE' AS SELECT 1;
    CREATE OR REPLACE TASK ROOT WAREHOUSE = COMPUTE_WH SCHEDULE = 'USING CRON 0 5 * * * UTC' AS SELECT 1;
    CREATE OR REPLACE TASK A_CHILD_LATER WAREHOUSE = COMPUTE_WH AFTER ROOT WHEN SYSTEM$STREAM_HAS_DATA('CHANGES') AS CALL GREET('x');
    CREATE WAREHOUSE SMALL_WH WITH WAREHOUSE_SIZE = 'SMALL' AUTO_SUSPEND = 60;
    USE SCHEMA SHOP.RAW";

/// The text of `GET_DDL` creates an object with the same `GET_DDL` text, for every object type that
/// `GET_DDL` supports.
#[tokio::test(flavor = "multi_thread")]
async fn ddl_makes_the_same_object_again() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(&session, OBJECTS).await;
    for (ty, name) in [
        ("TABLE", "ORDERS"),
        ("PROCEDURE", "GREET(VARCHAR, NUMBER)"),
        ("STREAM", "CHANGES"),
        ("TASK", "ROOT"),
        ("TASK", "A_CHILD_LATER"),
        ("WAREHOUSE", "SMALL_WH"),
        ("INTEGRATION", "LAKE"),
        ("SCHEMA", "RAW"),
        ("DATABASE", "SHOP"),
    ] {
        let get = format!("SELECT GET_DDL('{ty}', '{name}')");
        let ddl = value(&session, &get).await;
        if matches!(ty, "SCHEMA" | "DATABASE") {
            // The stream is left out: it needs its stage, which GET_DDL does not include.
            let again = ddl.replace(
                "create or replace stream CHANGES on stage SHOP.RAW.FILES;",
                "",
            );
            script(&session, &again).await;
            let without = value(&session, &get).await;
            assert_eq!(without, again.replace("\n\n\n\n", "\n\n"), "{ty} {name}");
            continue;
        }
        script(&session, &ddl).await;
        assert_eq!(value(&session, &get).await, ddl, "{ty} {name}");
    }
    assert_eq!(
        value(&session, "SELECT GET_DDL('table', 'orders')").await,
        "create or replace TABLE ORDERS (\n\tID NUMBER(10,0) NOT NULL,\n\t\"note\" VARCHAR(20),\n\tAT TIMESTAMP_NTZ(6)\n)COMMENT='it''s';"
    );
    let full = value(&session, "SELECT GET_DDL('TABLE', 'RETURNS', TRUE)").await;
    assert!(
        full.starts_with("create or replace TABLE SHOP.RAW.RETURNS ("),
        "{full}"
    );
    assert_eq!(value(&session, "CALL GREET('me')").await, "it's me\\");
    for (sql, part) in [
        (
            "SELECT GET_DDL('STAGE', 'FILES')",
            "GET_DDL of the object type 'STAGE'",
        ),
        (
            "SELECT GET_DDL('TABLE', 'NOWHERE')",
            "'SHOP.RAW.NOWHERE' does not exist",
        ),
        (
            "SELECT GET_DDL('TABLE')",
            "not enough arguments for function [GET_DDL]",
        ),
    ] {
        let error = run(&session, sql).await.unwrap_err();
        assert!(error.message.contains(part), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_as_a_worksheet_asks_for_them() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(&session, OBJECTS).await;
    for (sql, expected) in [
        (
            "SHOW TERSE TABLES ->> SELECT \"name\", \"kind\", \"database_name\", \"schema_name\" FROM $1",
            "ORDERS TABLE SHOP RAW; RETURNS TABLE SHOP RAW",
        ),
        (
            "SHOW TABLES LIKE 'ord%' ->> SELECT \"name\", \"rows\", \"comment\", \"is_iceberg\" FROM $1",
            "ORDERS 2 it's N",
        ),
        (
            "SHOW TABLES IN ACCOUNT STARTS WITH 'R' ->> SELECT \"name\" FROM $1",
            "RETURNS",
        ),
        (
            "SHOW TABLES IN SHOP.PUBLIC ->> SELECT COUNT(*) FROM $1",
            "0",
        ),
        (
            "SHOW TABLES IN DATABASE SHOP LIMIT 1 FROM 'ORDERS' ->> SELECT \"name\" FROM $1",
            "RETURNS",
        ),
        (
            "SHOW OBJECTS ->> SELECT \"name\", \"kind\" FROM $1",
            "ORDERS TABLE; RETURNS TABLE",
        ),
        (
            "SHOW COLUMNS IN TABLE ORDERS ->> SELECT \"column_name\", \"null?\", \"data_type\" FROM $1 LIMIT 1",
            r#"ID NOT_NULL {"nullable":false,"precision":10,"scale":0,"type":"FIXED"}"#,
        ),
        (
            "SHOW COLUMNS LIKE '%ID%' IN SCHEMA RAW ->> SELECT \"table_name\" FROM $1",
            "ORDERS; RETURNS",
        ),
        (
            "SHOW SCHEMAS ->> SELECT \"name\", \"is_current\" FROM $1",
            "INFORMATION_SCHEMA N; PUBLIC N; RAW Y",
        ),
        (
            "SHOW DATABASES ->> SELECT \"name\", \"is_current\", \"comment\" FROM $1",
            "SHOP Y all of it",
        ),
        (
            "SHOW TERSE TASKS ->> SELECT \"name\", \"kind\" FROM $1",
            "A_CHILD_LATER TASK; ROOT TASK",
        ),
        (
            "SHOW INTEGRATIONS ->> SELECT \"name\", \"type\", \"category\" FROM $1",
            "LAKE EXTERNAL_STAGE STORAGE",
        ),
        (
            "SHOW FUNCTIONS LIKE 'get_ddl' ->> SELECT \"name\" FROM $1",
            "GET_DDL",
        ),
        (
            "SHOW FUNCTIONS LIKE 'nv%' ->> SELECT \"name\" FROM $1",
            "NVL; NVL2",
        ),
        ("SHOW USER FUNCTIONS ->> SELECT COUNT(*) FROM $1", "0"),
        (
            "SHOW WAREHOUSES ->> SELECT \"name\", \"is_current\" FROM $1",
            "COMPUTE_WH N; SMALL_WH Y",
        ),
        (
            "SELECT NAME, STATE FROM TABLE(INFORMATION_SCHEMA.TASK_DEPENDENTS(TASK_NAME => 'root', RECURSIVE => FALSE))",
            "ROOT suspended; A_CHILD_LATER suspended",
        ),
        // The views can be joined, filtered and aggregated, and belong to any database.
        (
            "SELECT t.TABLE_NAME, t.ROW_COUNT, COUNT(*) FROM SHOP.INFORMATION_SCHEMA.TABLES t JOIN INFORMATION_SCHEMA.COLUMNS c \
          ON c.TABLE_NAME = t.TABLE_NAME AND c.TABLE_SCHEMA = t.TABLE_SCHEMA WHERE t.TABLE_TYPE = 'BASE TABLE' GROUP BY 1, 2 ORDER BY 1",
            "ORDERS 2 3; RETURNS 1 1",
        ),
        (
            "SELECT COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, CHARACTER_MAXIMUM_LENGTH, DATETIME_PRECISION, IS_NULLABLE \
          FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'ORDERS' ORDER BY ORDINAL_POSITION",
            "ID NUMBER 10 NULL NULL NO; note TEXT NULL 20 NULL YES; AT TIMESTAMP_NTZ NULL NULL 6 YES",
        ),
        (
            "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA ORDER BY 1",
            "INFORMATION_SCHEMA; PUBLIC; RAW",
        ),
        (
            "SELECT DATABASE_NAME, COMMENT FROM INFORMATION_SCHEMA.DATABASES",
            "SHOP all of it",
        ),
        (
            "SELECT STAGE_NAME, STAGE_URL, DIRECTORY_ENABLED FROM INFORMATION_SCHEMA.STAGES",
            "FILES s3://retail-lake/ Y",
        ),
        (
            "SELECT PROCEDURE_NAME, ARGUMENT_SIGNATURE FROM INFORMATION_SCHEMA.PROCEDURES",
            "GREET (NAME VARCHAR, TIMES NUMBER)",
        ),
        (
            "SELECT COUNT(*) FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_NAME = 'TABLES'",
            "1",
        ),
    ] {
        let rows = script(&session, sql).await;
        let rows: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
        assert_eq!(rows.join("; "), expected, "{sql}");
    }
    // LIMIT applies whatever the order of the selected columns.
    for sql in [
        "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS LIMIT 1",
        "SELECT COLUMN_NAME, TABLE_NAME FROM INFORMATION_SCHEMA.COLUMNS LIMIT 1",
        "SELECT COLUMN2, COLUMN1 FROM VALUES (1, 'a'), (2, 'b') LIMIT 1",
        "SELECT \"note\", ID FROM ORDERS LIMIT 1",
    ] {
        assert_eq!(script(&session, sql).await.len(), 1, "{sql}");
    }
    script(&session, "USE SCHEMA INFORMATION_SCHEMA").await;
    assert_eq!(value(&session, "SELECT COUNT(*) FROM STAGES").await, "1");
    for (sql, code) in [
        ("SHOW TERSE STAGES", 1003),
        ("SHOW TABLES IN NOWHERE", 2043),
        ("SHOW TABLES LIMIT 0", 1008),
        ("SHOW COLOURS", 1003),
        ("SELECT * FROM INFORMATION_SCHEMA.COLOURS", 2003),
        (
            "SELECT * FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY(COLOUR => 'red'))",
            904,
        ),
    ] {
        let error = run(&session, sql)
            .await
            .map(|rows| shown(&rows))
            .unwrap_err();
        assert_eq!(error.code, code, "{sql}: {error}");
    }
    let _ = ok(&session, "SHOW PARAMETERS").await;
}

/// Files that were modified in the same second are ordered by name.
#[tokio::test(flavor = "multi_thread")]
async fn ties_of_modification_are_broken_by_name() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    for number in 0..60 {
        let location = format!(
            "s3://retail-lake/tied/{:05}-x.metadata.json",
            (number * 37) % 60
        );
        fixture.lake.put(&location, vec![b'{']).await;
    }
    script(&session, OBJECTS).await;
    script(&session, "CREATE STAGE TIED URL = 's3://retail-lake/tied/' STORAGE_INTEGRATION = LAKE DIRECTORY = (ENABLE = TRUE)").await;
    let rows = script(&session, "SELECT d.RELATIVE_PATH, d.LAST_MODIFIED FROM DIRECTORY(@TIED) d ORDER BY d.LAST_MODIFIED DESC").await;
    let is_ordered =
        rows.is_sorted_by(|one, next| one[1] > next[1] || (one[1] == next[1] && one[0] > next[0]));
    assert!(is_ordered && rows.len() == 60, "{rows:?}");
    let ties = rows.windows(2).filter(|two| two[0][1] == two[1][1]).count();
    assert!(ties > 0, "the files were not written fast enough");
    let newest = value(
        &session,
        "SELECT RELATIVE_PATH FROM DIRECTORY(@TIED) ORDER BY LAST_MODIFIED DESC LIMIT 1",
    )
    .await;
    assert_eq!(newest, rows[0][0]);
}
