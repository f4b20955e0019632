//! The tests' tables read by icebox's reader, and by DuckDB and pyiceberg, which were not written
//! for icebox.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::clients::python_with;
use crate::support::db::{Db, NULL};
use crate::support::sandbox::{TestSandbox, reader};
use crate::support::text;
use icebox_reader::Reader;
use icebox_sandbox::SandboxInfo;

/// Returns the only value of a query, as text.
pub async fn single(reader: &Reader, sql: &str) -> String {
    let (_, batches) = reader.query(sql).await.unwrap();
    let column = batches[0].column(0);
    arrow::util::display::array_value_to_string(column, 0).unwrap()
}

/// Checks that every Iceberg table of the database has the same counts and sums in PostgreSQL, in
/// icebox's reader, in DuckDB's `iceberg_scan` and in pyiceberg.
pub async fn agree(info: &SandboxInfo, db: &Db) {
    let tables = db
        .rows("SELECT format('%I.%I', table_namespace, table_name), metadata_location FROM iceberg_tables ORDER BY 1")
        .await;
    assert!(!tables.is_empty());
    let reader = reader(info, db).await;
    let mut expected = Vec::new();
    for table in &tables {
        let (name, location) = table.rsplit_once('|').unwrap();
        let columns = db
            .rows(&format!(
                "SELECT attname, atttypid::regtype::text FROM pg_attribute
                 WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                name.replace('\'', "''")
            ))
            .await;
        let rows = db.one(&format!("SELECT count(*) FROM {name}")).await;
        assert_eq!(
            single(&reader, &format!("SELECT count(*) FROM {name}")).await,
            rows,
            "{name}"
        );
        let mut described = Vec::new();
        for column in &columns {
            let (column, data_type) = column.rsplit_once('|').unwrap();
            let quoted = format!("\"{}\"", column.replace('"', "\"\""));
            let count = db.one(&format!("SELECT count({quoted}) FROM {name}")).await;
            assert_eq!(
                single(&reader, &format!("SELECT count({quoted}) FROM {name}")).await,
                count,
                "{name}.{column}"
            );
            let is_exact = matches!(data_type, "smallint" | "integer" | "bigint" | "numeric");
            let sum = if is_exact {
                Some(db.one(&format!("SELECT sum({quoted}) FROM {name}")).await)
                    .filter(|sum| sum != NULL)
            } else {
                None
            };
            described.push(serde_json::json!({"name": column, "count": count, "sum": sum}));
        }
        expected.push(serde_json::json!({"table": name, "location": location, "rows": rows, "columns": described}));
    }
    let Some(python) = python_with("pyiceberg.table, duckdb_extension_iceberg") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut reading = Command::new(python)
        .arg(Path::new(crate::support::ROOT).join("tests/it/clients/iceberg_readers.py"))
        .env("HOME", home.path())
        .env("AWS_ENDPOINT_URL", &info.s3.endpoint)
        .env("AWS_ACCESS_KEY_ID", &info.s3.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &info.s3.secret_access_key)
        .env("AWS_REGION", &info.s3.region)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reading.stdin.take().unwrap();
    stdin
        .write_all(serde_json::to_string(&expected).unwrap().as_bytes())
        .unwrap();
    drop(stdin);
    let output = reading.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).trim_end().ends_with("all passed"),
        "{}",
        text(&output)
    );
}

/// Tables of every shape that the engine writes: many types, schema evolution, position deletes,
/// rewritten files, no rows.
#[tokio::test(flavor = "multi_thread")]
async fn every_reader_agrees_on_every_table() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run(
        "CREATE SCHEMA \"Other S\"; SET timezone = 'UTC';
         CREATE TABLE types (i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, b boolean, n numeric(10,2), n38 numeric(38,10),
           t text, v varchar(9), c char(5), x bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j jsonb,
           a int[], ta text[], r int4range) USING iceberg;
         INSERT INTO types VALUES (32767, -2147483648, 9223372036854775807, 1.5, 0.1, true, 12345678.90,
           1234567890123456789012345678.0123456789, 'héllo €', 'abc', 'ab', '\\xdeadbeef00', '2024-02-29', '23:59:59.999999',
           '2024-05-06 07:08:09.123456', '2024-05-06 07:08:09.123456+02', '1 mon 2 days 03:04:05.6',
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', '{1,2,NULL}', '{a,\"b,c\"}', '[1,5)');
         INSERT INTO types (i4) SELECT i FROM generate_series(1, 1000) i;
         INSERT INTO types (t) VALUES (repeat('漢', 5000)), (''), (NULL);
         CREATE TABLE empty_one (a int, b text) USING iceberg;
         CREATE TABLE emptied (a int) USING iceberg; INSERT INTO emptied SELECT generate_series(1, 10); DELETE FROM emptied;
         CREATE TABLE \"Other S\".\"Mixed Case ü\" (\"Größe Ä\" int, \"sp ace\" numeric(5,1), \"dot.ted\" text) USING iceberg;
         INSERT INTO \"Other S\".\"Mixed Case ü\" VALUES (1, 1.5, 'x'), (2, NULL, NULL);
         CREATE TABLE changed (id int, k text, v numeric(12,2)) USING iceberg;
         INSERT INTO changed SELECT i, 'k' || i % 10, i * 1.5 FROM generate_series(1, 1000) i;
         DELETE FROM changed WHERE id = 5; UPDATE changed SET v = 0 WHERE id = 6; DELETE FROM changed WHERE id % 10 = 3 AND id < 100;
         CREATE TABLE rewritten (LIKE changed) USING iceberg; INSERT INTO rewritten SELECT * FROM changed;
         DELETE FROM rewritten WHERE id % 3 = 0; UPDATE rewritten SET v = v + 1;
         CREATE TABLE evolved (id int, old text, gone int) USING iceberg;
         INSERT INTO evolved SELECT i, 'o' || i, i FROM generate_series(1, 50) i;
         ALTER TABLE evolved ADD COLUMN later int; ALTER TABLE evolved RENAME old TO renamed;
         INSERT INTO evolved SELECT i, 'n' || i, i, i FROM generate_series(51, 80) i; ALTER TABLE evolved DROP COLUMN gone;
         ALTER TABLE evolved ADD COLUMN gone bigint; INSERT INTO evolved VALUES (100, 'x', 1, 2); DELETE FROM evolved WHERE id = 7;
         CREATE TABLE big (id bigint, v numeric(18,4)) USING iceberg;
         INSERT INTO big SELECT i, i / 7.0 FROM generate_series(1, 300000) i; DELETE FROM big WHERE id % 1000 = 0",
    )
    .await;
    for round in 0..30 {
        db.run(&format!("CREATE TABLE IF NOT EXISTS many (i int) USING iceberg; INSERT INTO many VALUES ({round})")).await;
    }
    agree(test.info(), &db).await;
}
