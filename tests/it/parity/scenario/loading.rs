//! Scenarios as they are loaded, before anything runs.

use std::path::Path;

use super::{load_scenario, variables};
use crate::parity::retail_lakehouse;
use icebox_scenario::{Action, Scenario};

#[test]
fn mistakes_are_found_before_anything_runs() {
    let one = |step: &str| format!("title = 't'\n[[step]]\ntitle = 's'\n{step}");
    for (step, sql, problem) in [
        ("postgres = 'missing.sql'", "", "missing.sql"),
        (
            "",
            "",
            "it needs one of postgres, snowflake, simulate, verify and connect",
        ),
        (
            "postgres = 's.sql'\nsnowflake = 's.sql'",
            "SELECT 1",
            "it needs one of",
        ),
        (
            "postgres = 's.sql'",
            "SELECT 1;\nSELECT\n '${bukcet}'",
            "s.sql, line 3: there is no variable ${bukcet}; there are: bucket, database",
        ),
        (
            "postgres = 's.sql'",
            "SELECT 1;\nSELECT 'a",
            "s.sql, line 2: a string is not closed",
        ),
        (
            "postgres = 's.sql'\n[[step.expect]]\nstatement = 2",
            "SELECT 1",
            "`expect` is about statement 2",
        ),
        (
            "postgres = 's.sql'\nretry = 3",
            "SELECT 1",
            "unknown field `retry`",
        ),
        (
            "snowflake = 's.sql'\natomic = true",
            "SELECT 1",
            "`atomic` is for PostgreSQL",
        ),
        (
            "simulate = { transactions = 3 }\nwithin_seconds = 3",
            "",
            "`within_seconds` is not for `simulate`",
        ),
        (
            "simulate = { transactions = 3 }\n[[step.save]]\ncolumns = { a = 'b' }",
            "",
            "`save` are for SQL files",
        ),
        (
            "postgres = 's.sql'\n[[step.save]]\nstatement = 3\ncolumns = { a = 'b' }",
            "SELECT 1",
            "`save` is about statement 3",
        ),
        (
            "postgres = 's.sql'\n[[step.save]]\ncolumns = { later = 'b' }",
            "SELECT '${later}'",
            "there is no variable ${later}",
        ),
        ("postgres = 's.sql'", "-- nothing", "has no statement"),
        (
            "simulate = { transaction = 3 }",
            "",
            "unknown field `transaction`",
        ),
        (
            "verify = { queries = 'nowhere' }",
            "",
            "cannot read the queries",
        ),
    ] {
        let error = load_scenario(&[("scenario.toml", &one(step)), ("s.sql", sql)])
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{step}: {error}");
    }
    let error = Scenario::load(Path::new("/nowhere"), &variables())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot read /nowhere/scenario.toml");
}

#[test]
fn the_retail_lakehouse_reads_well() {
    let scenario = Scenario::load(&retail_lakehouse(""), &variables()).unwrap();
    let prefix = scenario.steps.iter().find_map(|step| match &step.action {
        Action::Sql(file) => file
            .statements
            .iter()
            .find(|statement| statement.sql.contains("SET pg_lake_iceberg")),
        _ => None,
    });
    assert_eq!(
        prefix.unwrap().sql,
        "ALTER DATABASE postgres SET pg_lake_iceberg.default_location_prefix = 's3://lake/'"
    );
    assert!(
        scenario.steps.iter().any(
            |step| matches!(&step.action, Action::Verify { queries, .. } if queries.len() >= 24)
        )
    );
    assert!(scenario.steps.iter().any(
        |step| matches!(&step.action, Action::Simulate(simulator) if simulator.transactions == 5000)
    ));
    // A scenario's SQL is text. The schedule's statements are dollar-quoted and must not be split.
    let schedule = scenario.steps.last().unwrap();
    let Action::Sql(file) = &schedule.action else {
        panic!("{schedule:?}")
    };
    assert_eq!(file.statements.len(), 3);
    assert!(!schedule.skip_if.is_empty());
}
