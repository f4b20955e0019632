//! The analytics queries on data of a fixed seed, with their answers on PostgreSQL and on
//! DataFusion.

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};
use tokio_postgres::Client;

use super::{InMemory, load, retail_lakehouse};
use crate::support::postgres::TestPostgres;
use icebox_parity::{ArrowSource, Outcome, PostgresSource, Query, Report, Source, verify};
use icebox_postgres::connect;
use icebox_retail::Simulator;

const TABLES: [&str; 5] = [
    "stores",
    "products",
    "customers",
    "transactions",
    "transaction_items",
];

/// Creates the guide's tables with their seed data, and 3,000 transactions of seed 42.
async fn fill(client: &mut Client) {
    for file in ["postgres/02-heap-tables.sql", "postgres/03-seed.sql"] {
        client
            .batch_execute(&std::fs::read_to_string(retail_lakehouse(file)).unwrap())
            .await
            .unwrap();
    }
    let simulator = Simulator {
        transactions: 3000,
        seed: Some(42),
        sync: false,
        ..Simulator::default()
    };
    simulator.run(client, |_| {}).await.unwrap();
}

async fn in_memory(client: &Client) -> InMemory {
    // A literal such as 1.5 is a decimal in PostgreSQL and in Snowflake, so DataFusion must read it
    // as one.
    let config = SessionConfig::new()
        .set_str("datafusion.sql_parser.dialect", "PostgreSQL")
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let context = SessionContext::new_with_config(config);
    for table in TABLES {
        load(&context, client, table, table).await;
    }
    InMemory(context)
}

fn queries() -> Vec<Query> {
    Query::load_dir(&retail_lakehouse("queries")).unwrap()
}

fn statuses(report: &Report) -> Vec<(&str, bool)> {
    report
        .queries
        .iter()
        .map(|query| (query.name.as_str(), query.outcome == Outcome::Same))
        .collect()
}

#[tokio::test]
async fn answers_on_a_fixed_seed_are_pinned() {
    let server = TestPostgres::shared().await;
    let mut client = connect(&server.database("pinned").await).await.unwrap();
    fill(&mut client).await;
    let heap = PostgresSource::new("heap", "", Arc::new(client));
    let queries = queries();
    assert!(queries.len() >= 24, "{}", queries.len());
    for query in queries {
        let answer = heap
            .answer(&query.sql(ToOwned::to_owned))
            .await
            .unwrap_or_else(|error| {
                panic!("{}: {error}", query.name);
            });
        let pinned = format!(
            "{}\n{} rows\n\n{}",
            query.title,
            answer.rows.len(),
            answer.to_table(150)
        );
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(query.name.clone(), pinned);
        });
    }
}

#[tokio::test]
async fn postgres_and_datafusion_agree_until_one_row_changes() {
    let server = TestPostgres::shared().await;
    let mut client = connect(&server.database("agree").await).await.unwrap();
    fill(&mut client).await;
    let memory = in_memory(&client).await;
    let client = Arc::new(client);
    let sources: Vec<Box<dyn Source>> = vec![
        Box::new(PostgresSource::new("heap", "", client.clone())),
        Box::new(ArrowSource::new("reader", "", memory)),
    ];
    let mut heard = 0;
    let report = verify(&queries(), &sources, |_| heard += 1).await.unwrap();
    assert!(report.is_same(), "{}\n{}", report.table(), report.details());
    assert_eq!(heard, report.queries.len());

    client
        .batch_execute(
            "UPDATE transactions SET total_amount = total_amount + 0.01 WHERE txn_id = 1234",
        )
        .await
        .unwrap();
    let report = verify(&queries(), &sources, |_| {}).await.unwrap();
    assert!(!report.is_same());
    let statuses = statuses(&report);
    assert!(
        statuses.contains(&("01-revenue-by-store", false)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&("15-amount-statistics", false)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&("31-header-equals-items", false)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&("02-top-products", true)),
        "{statuses:?}"
    );

    let only = Query::only(queries(), "revenue-by-store").unwrap();
    let report = verify(&only, &sources, |_| {}).await.unwrap();
    insta::assert_snapshot!(
        "one_changed_row",
        format!("{}\n{}", report.summary(), report.details())
    );
}

#[tokio::test]
async fn on_tables_without_rows_only_grand_totals_differ() {
    let server = TestPostgres::shared().await;
    let client = connect(&server.database("nothing").await).await.unwrap();
    let tables = std::fs::read_to_string(retail_lakehouse("postgres/02-heap-tables.sql")).unwrap();
    client.batch_execute(&tables).await.unwrap();
    let memory = in_memory(&client).await;
    let sources: Vec<Box<dyn Source>> = vec![
        Box::new(PostgresSource::new("heap", "", Arc::new(client))),
        Box::new(ArrowSource::new("reader", "", memory)),
    ];
    let report = verify(&queries(), &sources, |_| {}).await.unwrap();
    let different: Vec<_> = statuses(&report)
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| name)
        .collect();
    // Without rows, PostgreSQL gives a grand total of NULL, and DataFusion 53 gives no row.
    assert_eq!(
        different,
        ["12-rollup", "13-cube", "14-grouping-sets"],
        "{}",
        report.details()
    );
}
