//! Values of every type, read back from an Iceberg table and from a heap table.

use crate::support::sandbox::TestSandbox;

/// Writes several values of every type to a heap table and to its Iceberg twin, and compares the
/// rows.
#[tokio::test(flavor = "multi_thread")]
async fn many_values_of_every_type_come_back_as_from_a_heap_table() {
    let columns: &[(&str, &[&str])] = &[
        ("smallint", &["-32768", "32767", "0"]),
        ("int", &["-2147483648", "2147483647", "0"]),
        (
            "bigint",
            &["-9223372036854775808", "9223372036854775807", "0"],
        ),
        (
            "real",
            &[
                "'NaN'",
                "'-Infinity'",
                "'-0'",
                "3.4028235e38",
                "1e-45",
                "0.1",
            ],
        ),
        (
            "float8",
            &[
                "'NaN'",
                "'Infinity'",
                "'-0'",
                "1.7976931348623157e308",
                "5e-324",
                "0.1",
            ],
        ),
        (
            "numeric(38,0)",
            &["-99999999999999999999999999999999999999", "0"],
        ),
        (
            "numeric(38,38)",
            &["0.00000000000000000000000000000000000001", "-0.9"],
        ),
        ("numeric(9,9)", &["0.123456789", "-0.000000001"]),
        ("numeric(19,4)", &["999999999999999.9999", "-0.0001"]),
        (
            "text",
            &[
                "''",
                "' x '",
                "'∅ \u{1F9CA} 漢字'",
                "E'\\\\ \\' \" \\r\\n\\t'",
                "repeat('ä', 70000)",
                "'NULL'",
            ],
        ),
        ("varchar(3)", &["'a  '", "''", "'äöü'"]),
        ("char(4)", &["'a'", "''", "'abcd'"]),
        (
            "bytea",
            &["''", "'\\x00ff'", "decode(repeat('00', 100000), 'hex')"],
        ),
        ("boolean", &["true", "false"]),
        (
            "date",
            &[
                "'4713-01-01 BC'",
                "'0001-12-31 BC'",
                "'1582-10-15'",
                "'1969-12-31'",
                "'9999-12-31'",
            ],
        ),
        ("time", &["'00:00'", "'23:59:59.999999'", "'24:00'"]),
        ("time[]", &["'{24:00,NULL}'"]),
        (
            "timestamp",
            &[
                "'0001-01-01'",
                "'1969-12-31 23:59:59.999999'",
                "'9999-12-31 23:59:59.999999'",
            ],
        ),
        (
            "timestamptz",
            &[
                "'0001-01-01 00:00+00'",
                "'2024-03-31 02:30 Europe/Berlin'",
                "'1900-01-01 00:00:00.000001 Europe/Amsterdam'",
            ],
        ),
        (
            "interval",
            &[
                "'-1 year -2 mons +3 days -04:05:06.789'",
                "'0'",
                "'178000000 years'",
                "'100:00:00'",
            ],
        ),
        (
            "uuid",
            &[
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "'00000000-0000-0000-0000-000000000000'",
            ],
        ),
        (
            "jsonb",
            &["'null'", "'{\"a\": [1, \"\u{1F9CA}\"]}'", "'1e400'"],
        ),
        ("int[]", &["'{}'", "'{NULL}'", "'{1,NULL,-3}'"]),
        (
            "text[]",
            &["'{}'", "'{\"\",NULL,\"NULL\",\"a,b\",\"q\\\"q\",\"{}\"}'"],
        ),
        ("numeric(5,2)[]", &["'{1.5,NULL,-999.99}'"]),
        ("timestamptz[]", &["'{2024-05-06 07:08:09.123456+02}'"]),
        ("inet", &["'::1/64'", "'10.0.0.1'"]),
        ("numrange", &["'[1.5,)'", "'empty'"]),
        ("tsvector", &["'a:1 b:2A'"]),
        ("bit varying(9)", &["B'10101'", "B''"]),
    ];
    let test = TestSandbox::start().await;
    let db = test.db().await;
    let definitions: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, _))| format!("c{index} {name}"))
        .collect();
    let definitions = definitions.join(", ");
    db.run(&format!("CREATE TABLE h (id int, {definitions})"))
        .await;
    db.run(&format!(
        "CREATE TABLE l (id int, {definitions}) USING iceberg"
    ))
    .await;
    let most = columns
        .iter()
        .map(|(_, values)| values.len())
        .max()
        .unwrap();
    for row in 0..=most {
        let values = columns
            .iter()
            .map(|(_, values)| values.get(row).copied().unwrap_or("NULL"));
        let values = values.collect::<Vec<_>>().join(", ");
        db.run(&format!("INSERT INTO h VALUES ({row}, {values})"))
            .await;
        db.run(&format!("INSERT INTO l VALUES ({row}, {values})"))
            .await;
    }
    let read = |table: &str| format!("SELECT * FROM {table} ORDER BY id");
    let heap = db.rows(&read("h")).await;
    assert_eq!(heap.len(), most + 1);
    assert_eq!(db.rows(&read("l")).await, heap);
    // The rows are also the same after an UPDATE, a DELETE and an INSERT … SELECT, before and after
    // the commit.
    db.run("BEGIN; UPDATE l SET id = id + 1000; DELETE FROM l WHERE id = 1003")
        .await;
    db.run("UPDATE l SET id = id - 1000; INSERT INTO l SELECT * FROM h WHERE id = 3")
        .await;
    assert_eq!(db.rows(&read("l")).await, heap);
    db.run("COMMIT").await;
    assert_eq!(db.rows(&read("l")).await, heap);
    for timezone in ["America/St_Johns", "UTC"] {
        db.run(&format!(
            "SET timezone = '{timezone}'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'"
        ))
        .await;
        assert_eq!(
            db.rows(&read("l")).await,
            db.rows(&read("h")).await,
            "{timezone}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_view_is_the_real_one() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.assert_rows(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
         WHERE attrelid = 'pg_catalog.iceberg_tables'::regclass AND attnum > 0 ORDER BY attnum",
        &[
            "catalog_name|text",
            "table_namespace|character varying(255)",
            "table_name|character varying(255)",
            "metadata_location|character varying(1000)",
            "previous_metadata_location|character varying(1000)",
        ],
    )
    .await;
}
