//! Mistakes with their errors and corrections, from `mistakes.toml`.

use std::sync::Arc;

use serde::Deserialize;

use super::catalog::{newest_and_oldest, put_catalog};
use super::host::{Fixture, run, script};
use icebox_account::account::Account;
use icebox_account::session::Session;
use icebox_sql::names::Ident;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistakes {
    /// Statements that run before each mistake.
    setup: String,
    mistake: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    what: String,
    /// Whether the statement runs in a session that has chosen no database, schema or warehouse.
    #[serde(default)]
    is_fresh: bool,
    /// Statements that run before this mistake.
    #[serde(default)]
    given: String,
    sql: String,
    /// The error code and SQLSTATE.
    error: String,
    /// Texts that the error contains.
    error_contains: Vec<String>,
    /// Statements after which the same statement succeeds.
    fix: Option<String>,
    /// The corrected statement.
    corrected: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_give_snowflakes_errors_and_can_be_put_right() {
    let fixture = Fixture::new().await;
    let [stores, _] = newest_and_oldest(&fixture, "iceberg_stores").await;
    put_catalog(&fixture, &[("public", "iceberg_stores", stores.clone())]).await;
    let path = stores.strip_prefix("s3://retail-lake/").unwrap();
    let text = include_str!("mistakes.toml").replace("STORES_METADATA", path);
    let Mistakes { setup, mistake } = toml::from_str(&text).unwrap();
    assert!(mistake.len() >= 40);
    let mut wrong = Vec::new();
    for one in mistake {
        let directory = tempfile::tempdir().unwrap();
        let account = Account::open(directory.path(), fixture.host.clone()).unwrap();
        let account = Arc::new(account);
        let mut session = Session::new(Arc::clone(&account), Ident::unquoted("ATTENDEE"));
        script(&session, &setup).await;
        if one.is_fresh {
            session = Session::new(account, Ident::unquoted("ATTENDEE"));
        }
        script(&session, &one.given).await;
        let error = match run(&session, &one.sql).await {
            Ok(_) => "it succeeded".to_owned(),
            Err(error) => error.to_string(),
        };
        let contains = one
            .error_contains
            .iter()
            .all(|part| error.contains(part.as_str()));
        if !error.starts_with(&format!("{}: ", one.error)) || !contains {
            wrong.push(format!("{}: {}\n  {error}", one.what, one.sql));
        }
        assert!(one.fix.is_some() || one.corrected.is_some(), "{}", one.what);
        if let Some(fix) = &one.fix {
            script(&session, fix).await;
        }
        let corrected = one.corrected.as_ref().unwrap_or(&one.sql);
        if let Err(error) = run(&session, corrected).await {
            wrong.push(format!(
                "{}: not put right: {corrected}\n  {error}",
                one.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
