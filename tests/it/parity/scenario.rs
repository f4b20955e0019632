//! The scenario runner on PostgreSQL, with DataFusion as the Snowflake side.

mod loading;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;

use super::{InMemory, load, retail_lakehouse};
use crate::support::postgres::TestPostgres;
use icebox_parity::{ArrowEngine, ArrowSource, Source, SourceError};
use icebox_postgres::{Endpoint, connect};
use icebox_scenario::{Event, OpenSource, SandboxBackend, Scenario, ScenarioError, Variables, run};

/// Creates a scenario's folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn variables() -> Variables {
    [
        ("bucket".to_owned(), "lake".to_owned()),
        ("database".to_owned(), "postgres".to_owned()),
    ]
    .into()
}

fn load_scenario(files: &[(&str, &str)]) -> Result<(Scenario, tempfile::TempDir), ScenarioError> {
    let folder = folder(files);
    Ok((Scenario::load(folder.path(), &variables())?, folder))
}

/// Connects to PostgreSQL, with a Snowflake side that reads the current rows of the tables named
/// `lake_…`.
async fn backend(endpoint: &Endpoint) -> SandboxBackend {
    let reader = endpoint.clone();
    let open: OpenSource = Box::new(move |prefix| {
        let endpoint = reader.clone();
        Box::pin(async move {
            let tables = loaded(&endpoint).await;
            Ok(Box::new(ArrowSource::new("snowflake", prefix, tables)) as Box<dyn Source>)
        })
    });
    let worksheet = Arc::new(Now(endpoint.clone()));
    SandboxBackend::connect(endpoint.clone(), open, worksheet)
        .await
        .unwrap()
}

/// An engine that loads the tables named `lake_…` anew for every query.
struct Now(Endpoint);

#[async_trait::async_trait]
impl ArrowEngine for Now {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        loaded(&self.0).await.query(sql).await
    }
}

async fn loaded(endpoint: &Endpoint) -> InMemory {
    let client = connect(endpoint).await.unwrap();
    let context = SessionContext::new();
    let tables =
        "SELECT relname::text FROM pg_class WHERE relname LIKE 'lake\\_%' AND relkind = 'r'";
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        load(&context, &client, &table, &table).await;
    }
    InMemory(context)
}

/// Runs the scenario in a session of its own, and returns its events as text and its outcome.
async fn play(
    scenario: &Scenario,
    endpoint: &Endpoint,
) -> (Vec<String>, Result<(usize, usize), ScenarioError>) {
    let mut heard = Vec::new();
    let mut listen = |event: Event<'_>| match event {
        Event::Step { number, of, title } => heard.push(format!("[{number}/{of}] {title}")),
        Event::Skipped { because } => heard.push(format!("skipped: {because}")),
        Event::Answer { answer, .. } => heard.push(format!("{} rows", answer.rows.len())),
        Event::Simulated(summary) => heard.push(format!("{} transactions", summary.transactions)),
        Event::Verified(report) => heard.push(report.summary()),
        Event::Simulating(_) | Event::Verifying(_) | Event::Done { .. } => {}
    };
    let outcome = run(scenario, &mut backend(endpoint).await, &mut listen).await;
    (
        heard,
        outcome.map(|summary| (summary.done, summary.skipped)),
    )
}

const RETAIL: &str = r#"
title = "A small story"

[[step]]
title = "Tables"
postgres = "tables.sql"
atomic = true
skip_if = [{ sql = "SELECT to_regclass('lake_items') IS NOT NULL", because = "they are there" }]

[[step]]
title = "Simulate"
skip_if = [{ sql = "SELECT EXISTS (SELECT FROM transactions)", because = "there are transactions" }]
[step.simulate]
transactions = 120
batch_size = 50
sync_every = 50
seed = 3
tables = { iceberg_transactions = "lake_transactions", iceberg_items = "lake_items" }

[[step]]
title = "Count on both sides"
snowflake = "counts.sql"
[[step.expect]]
rows = [["transactions of ${bucket}", 120, { null = true }]]

[[step]]
title = "Compare"
verify = { queries = "queries", iceberg_prefix = "lake_" }
"#;

#[tokio::test]
async fn a_story_runs_again_on_the_same_sandbox() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("story").await;
    let read = |file| std::fs::read_to_string(retail_lakehouse(file)).unwrap();
    let tables = format!(
        "{}{}CREATE TABLE lake_transactions AS SELECT * FROM transactions WITH NO DATA;
         CREATE TABLE lake_items AS SELECT * FROM transaction_items WITH NO DATA;",
        read("postgres/02-heap-tables.sql"),
        read("postgres/03-seed.sql")
    );
    let (scenario, _folder) = load_scenario(&[
        ("scenario.toml", RETAIL),
        ("tables.sql", &tables),
        ("counts.sql", "SELECT 'transactions of ${bucket}', count(*), CAST(NULL AS int) FROM lake_transactions"),
        (
            "queries/revenue.sql",
            "-- title: Revenue\nSELECT store_id, sum(total_amount) FROM {{transactions}} GROUP BY store_id ORDER BY 1",
        ),
    ])
    .unwrap();
    let same = "1 of 1 queries gave the same answer on heap, pg_lake, snowflake";
    let (heard, outcome) = play(&scenario, &endpoint).await;
    assert_eq!(
        heard,
        [
            "[1/4] Tables",
            "[2/4] Simulate",
            "120 transactions",
            "[3/4] Count on both sides",
            "1 rows",
            "[4/4] Compare",
            same
        ]
    );
    assert_eq!(outcome.unwrap(), (4, 0));

    let (heard, outcome) = play(&scenario, &endpoint).await;
    assert_eq!(
        heard[..4],
        [
            "[1/4] Tables",
            "skipped: they are there",
            "[2/4] Simulate",
            "skipped: there are transactions"
        ]
    );
    assert_eq!(outcome.unwrap(), (2, 2));

    let client = connect(&endpoint).await.unwrap();
    client
        .batch_execute("UPDATE lake_transactions SET store_id = 1 + store_id % 5 WHERE txn_id = 7")
        .await
        .unwrap();
    let error = play(&scenario, &endpoint).await.1.unwrap_err().to_string();
    assert!(
        error.starts_with("step \"Compare\": answers differ\n"),
        "{error}"
    );
    assert!(
        error.contains("only on pg_lake: 2 rows") && error.contains("only on snowflake: 2 rows"),
        "{error}"
    );
}

#[tokio::test]
async fn a_failure_names_file_line_and_statement() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("failing").await;
    let manifest = "title = 't'\n[[step]]\ntitle = 'Break'\npostgres = 'break.sql'\natomic = true\n\
                    [[step]]\ntitle = 'Never'\npostgres = 'break.sql'";
    let sql = "-- first\nCREATE TABLE kept (a int);\n\nSELECT a,\n       'ü;', -- why\n       nothing\nFROM kept;\n";
    let (scenario, folder) =
        load_scenario(&[("scenario.toml", manifest), ("break.sql", sql)]).unwrap();
    let (heard, outcome) = play(&scenario, &endpoint).await;
    let error = outcome.unwrap_err();
    assert_eq!(heard, ["[1/2] Break"]);
    let place = folder.path().join("break.sql").display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "step \"Break\" failed at {place}:6\nERROR: column \"nothing\" does not exist (SQLSTATE 42703)\n\
             The statement:\nSELECT a,\n       'ü;', -- why\n       nothing\nFROM kept"
        )
    );
    // The file ran in one transaction.
    let client = connect(&endpoint).await.unwrap();
    let kept: bool = client
        .query_one("SELECT to_regclass('kept') IS NOT NULL", &[])
        .await
        .unwrap()
        .get(0);
    assert!(!kept);
}

#[tokio::test]
async fn expectations_compare_by_value() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("expecting").await;
    let sql = "SELECT 1;\nSELECT 1.50 AS price, 'x' AS name, true AS known, NULL::int AS nothing, date '2026-02-03' AS day;\n";
    let manifest = |expect: &str| {
        format!("title = 't'\n[[step]]\ntitle = 's'\npostgres = 's.sql'\n[[step.expect]]\n{expect}")
    };
    for (expect, problem) in [
        (
            "rows = [['1.5', 'x', true, { null = true }, '2026-02-03']]",
            None,
        ),
        ("statement = 1\nrows = [[1]]\nrow_count = 1", None),
        ("statement = 1\nrows = [['1.0']]", None),
        ("row_count = 2", Some("expected 2 rows, got 1:")),
        (
            "statement = 1\nrows = [[2]]",
            Some("expected the rows\n2\ngot\n?column?\n1\n"),
        ),
        ("statement = 1\nrows = []", Some("expected the rows")),
        (
            "statement = 1\nrows = [[{ null = true }]]",
            Some("expected the rows\nNULL\ngot"),
        ),
        (
            "rows = [['1.5', 'x', true, 'NULL', '2026-02-03']]",
            Some("expected the rows"),
        ),
    ] {
        let (scenario, _folder) =
            load_scenario(&[("scenario.toml", &manifest(expect)), ("s.sql", sql)]).unwrap();
        match (play(&scenario, &endpoint).await.1, problem) {
            (Ok(_), None) => {}
            (Err(error @ ScenarioError::Expectation { .. }), Some(problem)) => {
                assert!(error.to_string().contains(problem), "{expect}: {error}");
            }
            (outcome, _) => panic!("{expect}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_condition_must_be_one_boolean() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("conditions").await;
    for (condition, problem) in [
        ("SELECT 1", "it must return one row with one boolean"),
        (
            "SELECT NULL::bool",
            "it must return one row with one boolean",
        ),
        (
            "SELECT true FROM pg_class WHERE false",
            "it must return one row with one boolean",
        ),
        (
            "SELECT * FROM nowhere",
            "relation \"nowhere\" does not exist",
        ),
    ] {
        let manifest = format!(
            "title = 't'\n[[step]]\ntitle = 's'\npostgres = 's.sql'\nskip_if = [{{ sql = '{condition}', because = 'b' }}]"
        );
        let (scenario, _folder) =
            load_scenario(&[("scenario.toml", &manifest), ("s.sql", "SELECT 1")]).unwrap();
        let error = play(&scenario, &endpoint).await.1.unwrap_err().to_string();
        assert!(
            error.contains(problem) && error.contains(condition),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_a_step_saves_is_there_for_the_next() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("saving").await;
    let saves = |columns: &str| {
        format!(
            "title = 't'\n[[step]]\ntitle = 'Look'\npostgres = 'look.sql'\n[[step.save]]\nstatement = 1\ncolumns = {columns}\n\
             [[step]]\ntitle = 'Use'\nsnowflake = 'use.sql'\nskip_if = [{{ sql = \"SELECT '${{a}}' = 'no'\", because = 'b' }}]\n\
             [[step.expect]]\nrows = [['${{a}} and ${{b}}', '${{bucket}}']]"
        )
    };
    let look = "SELECT 7 AS n, '{\"key\": \"x y\"}' AS j, NULL::text AS nothing; SELECT 1 UNION ALL SELECT 2";
    let using = "SELECT '${a} and ${b}', 'lake'";
    for (columns, look, problem) in [
        ("{ a = 'n', b = 'j.key' }", look, None),
        (
            "{ a = 'm', b = 'n' }",
            look,
            Some("it returned no column \"m\""),
        ),
        (
            "{ a = 'n', b = 'j.other' }",
            look,
            Some("the JSON in the column \"j\" has no text under the key \"other\""),
        ),
        (
            "{ a = 'n', b = 'n' }",
            "SELECT 1 AS n WHERE false",
            Some("values can be saved from one row only, but it returned 0"),
        ),
    ] {
        let files = [
            ("scenario.toml", saves(columns)),
            ("look.sql", look.to_owned()),
            ("use.sql", using.to_owned()),
        ];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        let (scenario, _folder) = load_scenario(&files).unwrap();
        let (heard, outcome) = play(&scenario, &endpoint).await;
        match problem {
            // An answer that is saved is not shown.
            None => {
                outcome.unwrap();
                assert_eq!(heard, ["[1/2] Look", "2 rows", "[2/2] Use", "1 rows"]);
            }
            Some(problem) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains(problem), "{error}");
            }
        }
    }
    let skipped = saves("{ a = 'n', b = 'n' }").replacen(
        "[[step.save]]",
        "skip_if = [{ sql = 'SELECT true', because = 'b' }]\n[[step.save]]",
        1,
    );
    let (scenario, _folder) = load_scenario(&[
        ("scenario.toml", &skipped),
        ("look.sql", look),
        ("use.sql", using),
    ])
    .unwrap();
    let error = play(&scenario, &endpoint).await.1.unwrap_err().to_string();
    assert!(
        error.contains("the step that saves ${a} was skipped"),
        "{error}"
    );
}

#[tokio::test]
async fn a_step_with_time_is_tried_again() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("trying").await;
    let client = connect(&endpoint).await.unwrap();
    client
        .batch_execute("CREATE TABLE tries (a int)")
        .await
        .unwrap();
    let manifest = |seconds: u32, wanted: u32| {
        format!(
            "title = 't'\n[[step]]\ntitle = 'Wait'\npostgres = 's.sql'\nwithin_seconds = {seconds}\n[[step.expect]]\nrows = [[{wanted}]]"
        )
    };
    let sql = "INSERT INTO tries VALUES (1); SELECT count(*) FROM tries";
    let (scenario, _folder) =
        load_scenario(&[("scenario.toml", &manifest(60, 3)), ("s.sql", sql)]).unwrap();
    let (heard, outcome) = play(&scenario, &endpoint).await;
    outcome.unwrap();
    assert_eq!(heard, ["[1/1] Wait", "1 rows"]);
    let (scenario, _folder) =
        load_scenario(&[("scenario.toml", &manifest(1, 3)), ("s.sql", sql)]).unwrap();
    let error = play(&scenario, &endpoint).await.1.unwrap_err();
    assert!(
        matches!(error, ScenarioError::Expectation { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_scenario_goes_on_at_another_server() {
    let server = TestPostgres::shared().await;
    let endpoint = server.database("here").await;
    server.database("there").await;
    let manifest = format!(
        "title = 't'\n[[step]]\ntitle = 'Go'\n[step.connect]\nhost = '{}'\nport = {}\ndatabase = 'there'\nuser = '{}'\npassword = '{}'\n\
         [[step]]\ntitle = 'Ask'\npostgres = 's.sql'\n[[step.expect]]\nrows = [['there']]",
        endpoint.host, endpoint.port, endpoint.user, endpoint.password
    );
    let sql = "SELECT current_database()";
    let (scenario, _folder) =
        load_scenario(&[("scenario.toml", &manifest), ("s.sql", sql)]).unwrap();
    play(&scenario, &endpoint).await.1.unwrap();
    let elsewhere = manifest.replace("database = 'there'", "database = 'nowhere'");
    let (scenario, _folder) =
        load_scenario(&[("scenario.toml", &elsewhere), ("s.sql", sql)]).unwrap();
    let error = play(&scenario, &endpoint).await.1.unwrap_err().to_string();
    assert!(
        error.contains("step \"Go\" failed")
            && error.contains("database \"nowhere\" does not exist"),
        "{error}"
    );
}
