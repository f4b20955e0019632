//! Tests of procedures as they are in worksheets: those of the guide, unchanged, and calls between
//! procedures.

use datafusion::common::ScalarValue;

use super::{TestHost, argument, run_on};
use crate::{Returned, Script};
use icebox_sql::syntax::{Cursor, split};

/// The guide's `CREATE PROCEDURE` statements.
const WORKSHEET: &str = include_str!("procedures.sql");

/// Returns the worksheet's procedures, as pairs of the stage that a procedure reads and its body.
fn bodies() -> Vec<(String, String)> {
    let statements = split(WORKSHEET).unwrap();
    let bodies = statements.iter().map(|statement| {
        let mut cursor = Cursor::new(statement.sql).unwrap();
        while !cursor.accept("AS") {
            cursor.bump().unwrap();
        }
        let body = cursor.string().unwrap();
        let stage = body.split("DIRECTORY(@").nth(1).unwrap();
        (stage.split(')').next().unwrap().to_owned(), body)
    });
    bodies.collect()
}

/// Runs a body with a table in place of its stage. Returns its result, and the statements that it
/// ran.
async fn refresh(stage: &str, body: &str, files: &[(&str, u32)]) -> (String, Vec<String>) {
    let table = format!("CREATE TABLE {stage} (relative_path VARCHAR, last_modified INT)");
    let mut host = TestHost::new(&[&table]).await;
    for (path, modified) in files {
        let insert = format!("INSERT INTO {stage} VALUES ('{path}', {modified})");
        host.query(&insert).await.unwrap();
    }
    let answer = run_on(&mut host, body).await;
    (answer, host.log)
}

#[tokio::test]
async fn the_guides_procedures_refresh_to_the_latest_metadata() {
    let bodies = bodies();
    assert_eq!(bodies.len(), 5);
    for (stage, body) in &bodies {
        let files = [
            ("00001.metadata.json", 10),
            ("00002.metadata.json", 30),
            ("snap-9.avro", 40),
            ("00000.metadata.json", 20),
        ];
        let (answer, log) = refresh(stage, body, &files).await;
        assert_eq!(answer, "00002.metadata.json");
        let table = stage.replace("stg_meta_", "iceberg_");
        assert_eq!(log.len(), 2, "{log:?}");
        assert_eq!(
            log[1],
            format!(
                "ALTER ICEBERG TABLE {table} REFRESH \
                 'frompg/tables/postgres/public/{table}/<OID>/metadata/00002.metadata.json'"
            )
        );
    }
}

#[tokio::test]
async fn without_metadata_files_the_guides_procedure_says_which_variable_is_null() {
    let (stage, body) = &bodies()[0];
    let (answer, log) = refresh(stage, body, &[]).await;
    assert_eq!(
        answer,
        "001008 (22023): Uncaught exception of type 'STATEMENT_ERROR' on line 1 at position 194 : \
         SQL compilation error:\n\
         invalid value [NULL] for parameter 'EXECUTE IMMEDIATE': the statement is NULL, because latest_path is NULL. \
         Check what was assigned to it; a SELECT … INTO without rows leaves NULL."
    );
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn arguments_are_variables_of_their_types() {
    let script = Script::parse(
        "BEGIN
           amount := amount * 2;
           RETURN name || ': ' || amount;
         END",
    )
    .unwrap();
    let mut host = TestHost::new(&[]).await;
    let arguments = vec![
        argument("name", "VARCHAR", ScalarValue::from("Ann")),
        argument("amount", "NUMBER(10,2)", ScalarValue::Int64(Some(21))),
    ];
    let returned = script.run(arguments, &mut host).await.unwrap();
    let Returned::Value(value) = returned else {
        panic!("{returned:?}");
    };
    assert_eq!(value.as_text(), Some("Ann: 42.00"));

    let arguments = vec![
        argument("name", "VARCHAR(2)", ScalarValue::from("Ann")),
        argument("amount", "NUMBER", ScalarValue::Int64(Some(1))),
    ];
    let error = script.run(arguments, &mut host).await.unwrap_err();
    assert!(error.message.starts_with("String 'Ann' is too long"));
}

#[tokio::test]
async fn procedures_call_procedures() {
    let mut host = TestHost::new(&[]).await;
    let mut define = |name: &str, body: &str| {
        host.procedures.insert(name.to_owned(), body.to_owned());
    };
    define("seven", "BEGIN RETURN 7; END");
    define("failing", "BEGIN\n  DROP TABLE gone;\nEND");
    let body =
        "DECLARE a INT; b INT; BEGIN CALL seven() INTO :a; b := (CALL seven()); RETURN a + b; END";
    assert_eq!(run_on(&mut host, body).await, "14");
    assert_eq!(
        run_on(&mut host, "BEGIN\n  LET x := 1;\n    CALL failing();\nEND").await,
        "002003 (42S02): Uncaught exception of type 'STATEMENT_ERROR' on line 3 at position 4 : \
         Uncaught exception of type 'STATEMENT_ERROR' on line 2 at position 2 : \
         SQL compilation error:\nObject 'GONE' does not exist or not authorized."
    );
}
