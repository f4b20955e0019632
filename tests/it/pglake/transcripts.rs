//! The transcripts of the real `pg_lake`, replayed: every statement in order, with the same answer.

use std::path::Path;

use super::sandbox::{Answer, Db, Failure, NULL, TestSandbox};

/// A statement and what the real extension said.
#[derive(Debug)]
struct Exchange {
    statement: String,
    answer: Recorded,
}

#[derive(Debug)]
enum Recorded {
    /// The number in the command's tag and the rows.
    Ok {
        count: Option<u64>,
        rows: Vec<String>,
    },
    /// `SQLSTATE: message`.
    Error(String),
}

pub fn transcript(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/pg_lake/transcripts")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn without_time(line: &str) -> &str {
    match line.rsplit_once(" (") {
        Some((text, time)) if time.ends_with(" ms)") => text,
        _ => line,
    }
}

fn is_heading(line: &str) -> bool {
    line.starts_with("   files: ") || line.starts_with("   snaps: ")
}

fn exchanges(text: &str) -> Vec<Exchange> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(statement) = line.strip_prefix(">>> ") else {
            continue;
        };
        let mut block = Vec::new();
        while let Some(next) =
            lines.next_if(|next| !next.starts_with(">>> ") && !next.starts_with("## "))
        {
            block.push(next);
        }
        let Some(first) = block.first() else { continue };
        let answer = if let Some(error) = first.strip_prefix("ERROR: ") {
            Recorded::Error(without_time(error).to_owned())
        } else if let Some(tag) = first.strip_prefix("OK ") {
            let count = without_time(tag)
                .rsplit(' ')
                .next()
                .and_then(|word| word.parse().ok());
            // A header and rows, indented. Listings of files, which the capture adds in between, have headings.
            let is_row = |line: &&&str| {
                line.starts_with("   ") && !line.contains("NOTICE: ") && !line.contains("WARNING: ")
            };
            let rows = block[1..]
                .iter()
                .take_while(|line| !is_heading(line))
                .filter(is_row);
            let rows = rows.skip(1).map(|row| value_text(row.trim())).collect();
            Recorded::Ok { count, rows }
        } else {
            continue;
        };
        found.push(Exchange {
            statement: statement.trim().to_owned(),
            answer,
        });
    }
    found
}

/// The transcripts show values as Python does.
fn value_text(row: &str) -> String {
    let values = row.split(" | ").map(|value| match value {
        "None" => NULL.to_owned(),
        "True" => "t".to_owned(),
        "False" => "f".to_owned(),
        value => value
            .strip_prefix("Decimal('")
            .and_then(|value| value.strip_suffix("')"))
            .unwrap_or(value)
            .to_owned(),
    });
    values.collect::<Vec<_>>().join("|")
}

/// What is told about a statement: its rows and the number in its tag, or its error.
fn told(answer: &Result<Answer, Failure>) -> String {
    match answer {
        Ok(answer) if answer.rows.is_empty() => "OK".to_owned(),
        Ok(answer) => format!("OK {}", normal(&answer.rows.join(" / "))),
        Err(failure) => format!("ERROR {}", normal(&failure.text)),
    }
}

/// Text without what differs between any two installations: object ids, random names and the two settings of the
/// real extension that lay out its locations.
fn normal(text: &str) -> String {
    let text = text.replace("/frompg/tables/scratch/", "/scratch/");
    let segments = text.split('/').map(|segment| {
        let is_number = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        let name = segment
            .split_once('-')
            .filter(|(number, _)| number.len() == 5);
        match name {
            _ if is_number => "OID".to_owned(),
            Some((number, rest)) if rest.contains(".metadata.json") => {
                format!("{number}-UUID{}", &rest[rest.find('.').unwrap_or(0)..])
            }
            _ => segment.to_owned(),
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// A statement whose answer is not the real one's, our answer, and why. `*` stands for whatever comes then.
struct Deviation(&'static str, &'static str, &'static str);

/// Runs the statements in order and compares every answer.
async fn replay(
    db: &Db,
    transcript_name: &str,
    deviations: &[Deviation],
    rewrite: impl Fn(&str) -> String,
) {
    let mut wrong = Vec::new();
    let mut unused: Vec<&str> = deviations.iter().map(|deviation| deviation.0).collect();
    let mut compared = 0;
    for Exchange { statement, answer } in exchanges(&transcript(transcript_name)) {
        // Commands of psql, and listings that do not matter to what follows.
        if statement.starts_with('\\') || statement.starts_with("EXPLAIN") {
            continue;
        }
        let ours = db.try_run(&rewrite(&statement)).await;
        let told = told(&ours);
        if let Some(Deviation(_, expected, why)) =
            deviations.iter().find(|deviation| deviation.0 == statement)
        {
            unused.retain(|other| *other != statement);
            println!("{statement}\n  {told}: {why}");
            let is_expected = match expected.strip_suffix('*') {
                Some(start) => told.starts_with(start),
                None => told == *expected,
            };
            if !is_expected {
                wrong.push(format!(
                    "{statement}\n  expected {expected}\n  but got  {told}"
                ));
            }
            continue;
        }
        compared += 1;
        let real = match &answer {
            Recorded::Error(text) => format!("ERROR {}", normal(text)),
            Recorded::Ok { rows, .. } if rows.is_empty() => "OK".to_owned(),
            Recorded::Ok { rows, .. } => format!("OK {}", normal(&rows.join(" / "))),
        };
        let counts = match (&answer, &ours) {
            (
                Recorded::Ok {
                    count: Some(real), ..
                },
                Ok(ours),
            ) => (*real, ours.count),
            _ => (0, 0),
        };
        if told != real || counts.0 != counts.1 {
            wrong.push(format!(
                "{statement}\n  pg_lake: {real} {}\n  icebox:  {told} {}",
                counts.0, counts.1
            ));
        }
    }
    println!(
        "{transcript_name}: {compared} answers are the same, {} differ as listed",
        deviations.len()
    );
    assert!(
        wrong.is_empty(),
        "{} answers differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        unused.is_empty(),
        "listed, but not in {transcript_name}: {unused:#?}"
    );
    assert!(compared > 0);
}

const NO_BOOKKEEPING: &str = "the stand-in has none of pg_lake's bookkeeping tables";
const NO_OPTIONS: &str = "the stand-in has no table options, and says so";
const NO_FILES: &str = "the stand-in does not read or write files with COPY";
const OWN_WORDS: &str = "PostgreSQL finds another reason first";
const MORE: &str = "the stand-in can do it";

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_answered_as_by_the_real_extension() {
    let options = "ERROR 0A000: WITH (…) options of Iceberg tables are not supported by the embedded stand-in for pg_lake";
    let deviations = [
        Deviation(
            "CREATE TABLE d1 (a int REFERENCES pg_class(oid)) USING iceberg",
            "ERROR 42501: *",
            OWN_WORDS,
        ),
        Deviation(
            "CREATE TABLE d1 (a int, EXCLUDE USING gist (a WITH =)) USING iceberg",
            "ERROR 42704: *",
            OWN_WORDS,
        ),
        Deviation(
            "SELECT * FROM d1",
            "OK 1|x|1|∅ / 2|x|2|∅",
            "the column g is not generated here",
        ),
        Deviation(
            "CREATE TABLE d1v (a int, g int GENERATED ALWAYS AS (a*2) VIRTUAL) USING iceberg",
            "ERROR *",
            OWN_WORDS,
        ),
        Deviation(
            "SELECT * FROM d1 ORDER BY a",
            "OK 1|x|1|∅|∅|7|∅|∅ / 2|x|2|∅|∅|7|∅|∅",
            "the column g is not generated here",
        ),
        Deviation(
            "SELECT table_name, metadata_location FROM iceberg_tables WHERE table_name LIKE 'd1%'",
            "OK d1i|s3://probe-lake/x/scratch/public/d1i/OID/metadata/00001-UUID.metadata.json / \
             d1_renamed|s3://probe-lake/x/scratch/public/d1/OID/metadata/00007-UUID.metadata.json",
            "SET DEFAULT is PostgreSQL's own: no new metadata file",
        ),
        Deviation(
            "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables WHERE table_name LIKE 'd1%'",
            "OK public|d1i|s3://probe-lake/x/scratch/public/d1i/OID/metadata/00001-UUID.metadata.json / \
             other|d1|s3://probe-lake/x/scratch/public/d1/OID/metadata/00007-UUID.metadata.json",
            "SET DEFAULT is PostgreSQL's own: no new metadata file",
        ),
        Deviation(
            "CREATE TABLE tp (a int) PARTITION BY RANGE (a) USING iceberg",
            "ERROR 0A000: *",
            OWN_WORDS,
        ),
        Deviation(
            "CREATE TABLE IF NOT EXISTS td (a int) USING iceberg",
            "OK",
            MORE,
        ),
        Deviation(
            "CREATE TABLE tl2 (LIKE td INCLUDING ALL) USING iceberg",
            "OK",
            MORE,
        ),
        Deviation(
            "CREATE TABLE tloc (a int) USING iceberg WITH (location='s3://probe-lake/custom/loc')",
            options,
            NO_OPTIONS,
        ),
        Deviation(
            "SELECT table_name, metadata_location FROM iceberg_tables WHERE table_name='tloc'",
            "OK",
            NO_OPTIONS,
        ),
        Deviation(
            "CREATE TABLE tloc2 (a int) USING iceberg WITH (location='s3://probe-lake/custom/loc')",
            options,
            NO_OPTIONS,
        ),
        Deviation(
            "CREATE TABLE tbad (a int) USING iceberg WITH (location='/tmp/x')",
            options,
            NO_OPTIONS,
        ),
        Deviation(
            "CREATE TABLE tbad (a int) USING iceberg WITH (nosuch='1')",
            options,
            NO_OPTIONS,
        ),
        Deviation(
            "CREATE TABLE tpart (d timestamp, k int) USING iceberg WITH (partition_by='day(d), bucket(4,k)')",
            options,
            NO_OPTIONS,
        ),
        Deviation(
            "INSERT INTO tpart SELECT '2024-01-01'::timestamp + i * interval '7 hours', i FROM generate_series(0,9) i",
            "ERROR 42P01: *",
            NO_OPTIONS,
        ),
        Deviation(
            "SELECT file_path, record_count FROM iceberg_tables, lake_iceberg.files(metadata_location) WHERE table_name='tpart'",
            "OK",
            NO_OPTIONS,
        ),
        Deviation(
            "DROP TABLE cta",
            "ERROR 2BP01: cannot drop foreign table public.cta because other objects depend on it",
            "the table's name comes with its schema",
        ),
        Deviation(
            "SELECT count(*) FROM lake_engine.deletion_queue",
            "ERROR 42P01: *",
            NO_BOOKKEEPING,
        ),
        Deviation(
            "SELECT * FROM lake_engine.deletion_queue LIMIT 5",
            "ERROR 42P01: *",
            NO_BOOKKEEPING,
        ),
        Deviation(
            "VACUUM (ICEBERG)",
            "ERROR 42601: *",
            "there is no compaction",
        ),
        Deviation(
            "SELECT amname, amtype FROM pg_am WHERE amname LIKE '%iceberg%'",
            "OK iceberg|t / pg_lake_iceberg|t",
            "the same rows, which have no order",
        ),
        Deviation(
            "SELECT srvname, fdwname FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid=s.srvfdw",
            "OK pg_lake_iceberg|pg_lake_iceberg",
            "the other servers are for what the stand-in cannot do",
        ),
        Deviation(
            "UPDATE iceberg_tables SET metadata_location='x' WHERE table_name='d1'",
            "ERROR 55000: *",
            OWN_WORDS,
        ),
        Deviation(
            "INSERT INTO iceberg_tables (catalog_name,table_namespace,table_name,metadata_location) \
             VALUES ('scratch','p','q','s3://probe-lake/nope')",
            "ERROR 55000: *",
            OWN_WORDS,
        ),
        Deviation(
            "SET pg_lake_iceberg.default_location_prefix TO 'ftp://x'",
            "OK",
            "checked by CREATE TABLE",
        ),
        Deviation(
            "SET pg_lake_iceberg.default_location_prefix TO 's3://probe-lake/a?b=c'",
            "OK",
            "checked by CREATE TABLE",
        ),
        Deviation(
            "CREATE TABLE nobucket (a int) USING iceberg",
            "ERROR XX000: cannot list `s3://no-such-bucket/*",
            "the words of another S3 client",
        ),
    ];
    let test = TestSandbox::with_bucket("probe-lake").await;
    let db = test.database("scratch").await;
    replay(&db, "ddl.txt", &deviations, |statement| {
        // A new session of the capture begins here.
        if statement == "SHOW pg_lake_iceberg.default_location_prefix" {
            return format!("RESET pg_lake_iceberg.default_location_prefix; {statement}");
        }
        // Stored generated columns are refused by the stand-in (see below): a plain one takes its place.
        statement.replace("g int GENERATED ALWAYS AS (c*2) STORED", "g int")
    })
    .await;
    let generated =
        "CREATE TABLE d1g (c int, g int GENERATED ALWAYS AS (c*2) STORED) USING iceberg";
    db.run("SET pg_lake_iceberg.default_location_prefix = 's3://probe-lake/x'")
        .await;
    for (prefix, detail) in [
        (
            "ftp://x",
            "pg_lake_iceberg: unsupported URL for default location prefix: \"ftp://x\"",
        ),
        (
            "s3://b/a?b=c",
            "pg_lake_iceberg: s3 configuration parameters are not allowed in the default location prefix",
        ),
    ] {
        db.run(&format!(
            "SET pg_lake_iceberg.default_location_prefix = '{prefix}'"
        ))
        .await;
        let failure = db
            .try_run("CREATE TABLE wrong_prefix (a int) USING iceberg")
            .await
            .unwrap_err();
        let setting = "pg_lake_iceberg.default_location_prefix";
        assert_eq!(
            failure.text,
            format!("22023: invalid value for parameter \"{setting}\": \"{prefix}\"")
        );
        assert_eq!(failure.detail.as_deref(), Some(detail));
    }
    db.refuses(
        generated,
        "0A000: generated columns are not supported by the embedded stand-in for pg_lake",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dml_is_answered_as_by_the_real_extension() {
    let deviations = [
        Deviation("SELECT * FROM m FOR UPDATE", "OK 1|a|1.11 / 1|a|1.11", MORE),
        Deviation("SELECT ctid FROM m", "OK *", MORE),
        Deviation("SELECT xmin FROM m", "OK *", MORE),
        Deviation(
            "SELECT count(*), sum(v), avg(v), min(v), max(v) FROM m",
            "OK 7|4.44|1.11000000000000000000|1.11|1.11",
            "avg(numeric) has PostgreSQL's digits, as on a heap table",
        ),
        Deviation(
            "BEGIN; DECLARE cc CURSOR FOR SELECT id FROM m ORDER BY 1; FETCH 2 FROM cc; COMMIT",
            "OK 1 / 1",
            "the capture shows the last statement of a message only",
        ),
        Deviation(
            "SELECT pg_typeof(v), v FROM m WHERE v IS NOT NULL LIMIT 1",
            "OK numeric|*",
            "any row will do",
        ),
        Deviation(
            "COPY m FROM 's3://probe-lake/out/m.parquet'",
            "ERROR 58P01: *",
            NO_FILES,
        ),
        Deviation(
            "COPY (SELECT 1 AS a, 'x' AS b) TO 's3://probe-lake/out/m.csv'",
            "ERROR 42602: *",
            NO_FILES,
        ),
        Deviation(
            "COPY m FROM 's3://probe-lake/out/nosuch.parquet'",
            "ERROR 58P01: *",
            NO_FILES,
        ),
        Deviation(
            "SELECT path FROM lake_file.list('s3://probe-lake/out/*')",
            "OK",
            NO_FILES,
        ),
        Deviation(
            "CREATE FOREIGN TABLE fp () SERVER pg_lake OPTIONS (path 's3://probe-lake/out/m.parquet')",
            "ERROR 42704: *",
            NO_FILES,
        ),
        Deviation(
            "SELECT pg_catalog.current_setting('pg_lake_table.copy_on_write_threshold')",
            "ERROR 42704: *",
            "the threshold is 20 and not a setting",
        ),
    ];
    let test = TestSandbox::with_bucket("probe-lake").await;
    let db = test.database("scratch").await;
    replay(&db, "dml.txt", &deviations, str::to_owned).await;
}
