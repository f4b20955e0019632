//! Every type of the real extension's transcript: the Iceberg type that it gets, values that come back, values that
//! are refused.

use super::sandbox::TestSandbox;
use super::transcripts::transcript;

/// One block of `types.txt`.
#[derive(Debug)]
struct Trial {
    type_name: String,
    value: String,
    iceberg_type: String,
    /// `SQLSTATE: message` of a refused value.
    refused: Option<String>,
    /// The value that comes back and its type.
    selected: Option<(String, String)>,
    notice: bool,
}

fn trials() -> Vec<Trial> {
    let text = transcript("types.txt");
    let mut trials: Vec<Trial> = Vec::new();
    for line in text
        .lines()
        .take_while(|line| !line.starts_with("## nulls"))
    {
        if let Some(rest) = line.strip_prefix('[') {
            let (type_name, rest) = rest.split_once("] value ").unwrap();
            let (value, rest) = rest.split_once(" iceberg type [('").unwrap();
            let (iceberg_type, rest) = rest.split_once("',)]").unwrap();
            trials.push(Trial {
                type_name: type_name.to_owned(),
                value: value.to_owned(),
                iceberg_type: iceberg_type.to_owned(),
                refused: None,
                selected: None,
                notice: rest.contains("NOTICE"),
            });
        } else if let Some(rest) = line.strip_prefix("   insert: ERROR: ") {
            let message = rest
                .rsplit_once(" (")
                .filter(|(_, time)| time.ends_with("ms)"));
            let message = message.map_or(rest, |(message, _)| message);
            trials.last_mut().unwrap().refused = Some(message.to_owned());
        } else if let Some(rest) = line.strip_prefix("   select: [('") {
            let (value, rest) = rest
                .split_once("', '")
                .or_else(|| rest.split_once("\", '"))
                .unwrap();
            let (data_type, _) = rest.split_once("')]").unwrap();
            // Python shows a backslash as two.
            let value = value
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\\\\", "\\");
            trials.last_mut().unwrap().selected = Some((value, data_type.to_owned()));
        } else if let Some(rest) = line.strip_prefix("   select: [(\"") {
            let (value, rest) = rest.split_once("\", '").unwrap();
            let (data_type, _) = rest.split_once("')]").unwrap();
            trials.last_mut().unwrap().selected = Some((value.to_owned(), data_type.to_owned()));
        }
    }
    trials
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_stored_and_refused_as_by_the_real_extension() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run("SET timezone = 'UTC'; CREATE EXTENSION hstore")
        .await;
    let trials = trials();
    assert!(trials.len() > 50, "{}", trials.len());
    let mut wrong = Vec::new();
    for trial in &trials {
        let Trial {
            type_name, value, ..
        } = trial;
        db.notices();
        db.run("DROP TABLE IF EXISTS t").await;
        db.run(&format!(
            "CREATE TABLE t (id int, v {type_name}) USING iceberg"
        ))
        .await;
        let noticed = db
            .notices()
            .iter()
            .any(|notice| notice.contains("cannot be stored as an Iceberg decimal"));
        let location = db.metadata_location("t").await;
        let metadata = test.metadata(&location).await;
        let field = &metadata["schemas"][0]["fields"][1];
        // Ids differ by what the capture's table had besides; they are compared in the layout test.
        let mut stored = field["type"].clone();
        let mut expected = serde_json::from_str(&trial.iceberg_type)
            .unwrap_or_else(|_| serde_json::Value::String(trial.iceberg_type.clone()));
        for value in [&mut stored, &mut expected] {
            strip_ids(value);
        }
        // Readers take decimal(P,S) with and without a space.
        if let Some(text) = stored.as_str() {
            stored = text.replace(", ", ",").into();
        }
        if stored != expected {
            wrong.push(format!(
                "{type_name}: stored as {stored}, by pg_lake as {expected}"
            ));
        }
        if noticed != trial.notice {
            wrong.push(format!(
                "{type_name}: notice {noticed}, by pg_lake {}",
                trial.notice
            ));
        }
        let inserted = db
            .try_run(&format!("INSERT INTO t VALUES (1, {value})"))
            .await;
        let refused = inserted.err().map(|failure| failure.text);
        if refused != trial.refused {
            wrong.push(format!(
                "{type_name} {value}: {refused:?}, by pg_lake {:?}",
                trial.refused
            ));
        }
        let selected = db
            .rows("SELECT v::text, format_type(pg_typeof(v)::oid, NULL) FROM t")
            .await;
        let expected: Vec<String> = trial
            .selected
            .iter()
            .map(|(value, name)| format!("{value}|{name}"))
            .collect();
        if selected != expected {
            wrong.push(format!(
                "{type_name} {value}: gives {selected:?}, by pg_lake {expected:?}"
            ));
        }
        // NULL beside a value.
        if trial.refused.is_none() && !selected.is_empty() {
            db.run("INSERT INTO t VALUES (2, NULL)").await;
            db.gives("SELECT id, v IS NULL FROM t ORDER BY id", &["1|f", "2|t"])
                .await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn strip_ids(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|key, _| key != "id" && key != "element-id");
            map.values_mut().for_each(strip_ids);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip_ids),
        _ => {}
    }
}

/// A statement as it runs, on a heap table and on its Iceberg twin, with every value from `values`.
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
        // With a parameter for every value, as drivers send them, and in the transaction's own memory.
        db.run(&format!("INSERT INTO l VALUES ({row}, {values})"))
            .await;
    }
    let read = |table: &str| format!("SELECT * FROM {table} ORDER BY id");
    let heap = db.rows(&read("h")).await;
    assert_eq!(heap.len(), most + 1);
    assert_eq!(db.rows(&read("l")).await, heap);
    // The same through a set operation, which compares values and not their text, and through an UPDATE.
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
    db.gives(
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
