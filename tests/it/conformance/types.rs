//! The trials of `types.txt`: the Iceberg type of every PostgreSQL type, values that are read back,
//! and values that are refused.

use super::transcript;
use crate::support::sandbox::TestSandbox;

/// A block of `types.txt`.
#[derive(Debug)]
struct Trial {
    type_name: String,
    value: String,
    iceberg_type: String,
    /// The error of a refused value, as `SQLSTATE: message`.
    refused: Option<String>,
    /// The value that is read back, and its type.
    selected: Option<(String, String)>,
    notice: bool,
}

fn trials() -> Vec<Trial> {
    let text = transcript::read("types.txt");
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
            // Python prints a backslash as two.
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
    db.run("SET timezone = 'UTC'; CREATE EXTENSION IF NOT EXISTS hstore")
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
        // Field ids depend on the other columns of the capture's table; the layout test compares
        // them.
        let mut stored = field["type"].clone();
        let mut expected = serde_json::from_str(&trial.iceberg_type)
            .unwrap_or_else(|_| serde_json::Value::String(trial.iceberg_type.clone()));
        for value in [&mut stored, &mut expected] {
            strip_ids(value);
        }
        // Readers accept decimal(P,S) with and without a space.
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
        // A NULL next to a value.
        if trial.refused.is_none() && !selected.is_empty() {
            db.run("INSERT INTO t VALUES (2, NULL)").await;
            db.assert_rows("SELECT id, v IS NULL FROM t ORDER BY id", &["1|f", "2|t"])
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
