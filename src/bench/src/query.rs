//! The same queries, measured wherever the rows can be read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::duckdb::{self, Job};
use super::shared_sandbox::{AccessMethod, SharedSandbox};
use super::{Error, Measurement, Report, Samples, Unit};
use icebox_parity::{
    Answer, ArrowEngine, ArrowSource, PostgresSource, Query, Source, SourceError, Value, compare,
};
use icebox_postgres::connect;
use icebox_reader::Reader;
use icebox_tables::LakeIo;

const WARMUPS: usize = 2;
const RUNS: usize = 9;

const LAKE: &str = "lake_";
/// Logical names of the tables that the queries read.
const TABLES: [&str; 4] = ["stores", "products", "transactions", "transaction_items"];

/// The number of rows for which the real `pg_lake`'s time for count and sum is known.
const YARDSTICK_ROWS: u64 = 1_000_000;

const QUERIES: [(&str, &str); 3] = [
    ("count-and-sum", include_str!("sql/count_and_sum.sql")),
    (
        "revenue-by-store",
        include_str!("../../../scenarios/retail-lakehouse/queries/01-revenue-by-store.sql"),
    ),
    (
        "top-products",
        include_str!("../../../scenarios/retail-lakehouse/queries/02-top-products.sql"),
    ),
];

/// A reader that opens its tables for every query, as a stateless client does.
struct ReopeningReader {
    io: LakeIo,
    /// Metadata locations by table name.
    tables: BTreeMap<String, String>,
}

#[async_trait]
impl ArrowEngine for ReopeningReader {
    async fn query(
        &self,
        sql: &str,
    ) -> Result<(arrow::datatypes::SchemaRef, Vec<arrow::array::RecordBatch>), SourceError> {
        let failed = |error: icebox_reader::reader::Error| SourceError::engine(&error);
        let reader = Reader::new(self.io.clone()).map_err(failed)?;
        for (name, location) in &self.tables {
            // Only the tables that the query reads, as DuckDB's functions do.
            if sql.split_whitespace().any(|word| word == name) {
                reader
                    .register(name.as_str(), location)
                    .await
                    .map_err(failed)?;
            }
        }
        reader.query(sql).await.map_err(failed)
    }
}

pub(super) async fn measure(
    shared: &mut SharedSandbox<'_>,
    clients: Option<&Path>,
    report: &mut Report,
) -> Result<(), Error> {
    shared.heap().await?;
    shared.say("filling Iceberg tables to query");
    fill(shared).await?;
    let locations = locations(shared).await?;

    let io = LakeIo::s3(shared.info().s3.clone());
    let reader = Reader::new(io.clone())?;
    let mut tables = BTreeMap::new();
    for (logical, location) in &locations {
        let name = format!("{LAKE}{logical}");
        reader.register(name.as_str(), location).await?;
        tables.insert(name, location.clone());
    }
    let client = Arc::new(connect(&shared.info().postgres).await?);
    let sources: [Box<dyn Source>; 4] = [
        Box::new(PostgresSource::new("heap", "heap_", client.clone())),
        Box::new(PostgresSource::new("pg_lake", LAKE, client)),
        Box::new(ArrowSource::new("reader", LAKE, reader)),
        Box::new(ArrowSource::new(
            "reader-opening",
            LAKE,
            ReopeningReader { io, tables },
        )),
    ];

    let mut queries = Vec::new();
    for (name, text) in QUERIES {
        queries.push(Query::parse(name, text)?);
    }
    let mut answers = Vec::new();
    let mut times: BTreeMap<(String, String), Samples> = BTreeMap::new();
    for query in &queries {
        shared.say(&format!("querying: {}", query.name));
        let mut first: Option<(&str, Answer)> = None;
        for source in &sources {
            let (samples, answer) = run(query, source.as_ref()).await?;
            times.insert((query.name.clone(), source.name().to_owned()), samples);
            match &first {
                None => first = Some((source.name(), answer)),
                Some((name, first)) => {
                    ensure_same_answer(query, (name, first), (source.name(), &answer))?;
                }
            }
        }
        answers.extend(first.map(|(_, answer)| (query, answer)));
    }
    for (query, source, samples) in
        duckdb_times(shared, clients, locations, &answers, report).await?
    {
        times.insert((query, source), samples);
    }
    for query in &queries {
        lines(query, shared.rows, &times, report);
    }
    Ok(())
}

/// Fills the lake's copies of the large heap tables.
async fn fill(shared: &SharedSandbox<'_>) -> Result<(), Error> {
    for table in ["stores", "products"] {
        shared
            .prepare(&format!(
                "CREATE TABLE {LAKE}{table} USING iceberg AS SELECT * FROM heap_{table}"
            ))
            .await?;
    }
    shared
        .make_transactions(&format!("{LAKE}transactions"), AccessMethod::Iceberg)
        .await?;
    shared
        .prepare(&format!(
            "INSERT INTO {LAKE}transactions SELECT * FROM heap_transactions"
        ))
        .await?;
    shared
        .bulk(&format!("{LAKE}transaction_items"), AccessMethod::Iceberg)
        .await?;
    Ok(())
}

/// Returns the metadata files of the tables, by logical name.
async fn locations(shared: &SharedSandbox<'_>) -> Result<BTreeMap<String, String>, Error> {
    let doing = || Error::statement("reading the catalog");
    let sql = "SELECT metadata_location FROM iceberg_tables WHERE table_name = $1";
    let mut locations = BTreeMap::new();
    for logical in TABLES {
        let name = format!("{LAKE}{logical}");
        let row = shared
            .client
            .query_one(sql, &[&name])
            .await
            .map_err(doing())?;
        locations.insert(logical.to_owned(), row.try_get(0).map_err(doing())?);
    }
    Ok(locations)
}

async fn run(query: &Query, source: &dyn Source) -> Result<(Samples, Answer), Error> {
    let sql = query.sql(|table| source.table_name(table));
    let failed = |error| Error::Query {
        query: query.name.clone(),
        source_name: source.name().to_owned(),
        source: error,
    };
    let mut times = Vec::new();
    for _ in 0..WARMUPS {
        source.answer(&sql).await.map_err(failed)?;
    }
    loop {
        let begun = Instant::now();
        let answer = source.answer(&sql).await.map_err(failed)?;
        times.push(begun.elapsed().as_secs_f64());
        if times.len() == RUNS {
            return Ok((Samples::new(times), answer));
        }
    }
}

fn ensure_same_answer(
    query: &Query,
    left: (&str, &Answer),
    right: (&str, &Answer),
) -> Result<(), Error> {
    match compare(left.1, right.1, &query.sort_keys(left.1)?) {
        None => Ok(()),
        Some(difference) => Err(Error::Different {
            query: query.name.clone(),
            difference: difference.render(left.0, right.0),
        }),
    }
}

/// Returns DuckDB's times by query and source, after checking its answers; empty without DuckDB.
async fn duckdb_times(
    shared: &SharedSandbox<'_>,
    clients: Option<&Path>,
    tables: BTreeMap<String, String>,
    answers: &[(&Query, Answer)],
    report: &mut Report,
) -> Result<Vec<(String, String, Samples)>, Error> {
    shared.say("querying: DuckDB");
    let job = Job {
        s3: shared.info().s3.clone(),
        object_dir: shared.state()?.s3_dir(),
        warmups: WARMUPS,
        runs: RUNS,
        tables,
        queries: answers
            .iter()
            .map(|(query, _)| (query.name.clone(), query.template.clone()))
            .collect(),
    };
    let found = match duckdb::run(clients, &job, shared.directory()).await {
        Ok(found) => found,
        Err(reason) => {
            report.skip("DuckDB", reason);
            return Ok(Vec::new());
        }
    };
    for (source, reason) in found.skipped {
        report.skip(format!("DuckDB on {source}"), reason);
    }
    let mut times = Vec::new();
    for one in found.times {
        let known = answers.iter().find(|(query, _)| query.name == one.query);
        let right: Vec<Vec<String>> = known.map_or_else(Vec::new, |(_, answer)| {
            let texts = |row: &Vec<Value>| row.iter().map(Value::to_string).collect();
            answer.rows.iter().map(texts).collect()
        });
        if one.rows != right {
            return Err(Error::Different {
                query: one.query,
                difference: format!("heap: {right:?}\nDuckDB: {:?}", one.rows),
            });
        }
        times.push((
            one.query,
            format!("duckdb-{}", one.source),
            Samples::new(one.seconds),
        ));
    }
    Ok(times)
}

/// Adds the lines of one query to the report: each source beside those that it is compared with.
fn lines(
    query: &Query,
    rows: u64,
    times: &BTreeMap<(String, String), Samples>,
    report: &mut Report,
) {
    let of = |source: &str| times.get(&(query.name.clone(), source.to_owned()));
    let duckdb = [
        ("duckdb-s3", "DuckDB iceberg_scan"),
        ("duckdb-local", "DuckDB local Parquet"),
    ];
    for (source, what) in [
        ("heap", "heap"),
        ("pg_lake", "Iceberg through PostgreSQL"),
        ("reader", "the reader, tables registered"),
        ("reader-opening", "the reader, opening tables"),
        ("duckdb-s3", "DuckDB, iceberg_scan over S3"),
        ("duckdb-local", "DuckDB, the Parquet files"),
    ] {
        let Some(samples) = of(source) else { continue };
        let name = format!("query.{}.{source}", query.name);
        let mut line = Measurement::new(name, what, Unit::Seconds, samples);
        if source == "pg_lake"
            && let Some(heap) = of("heap")
        {
            line = line.against("heap", heap.median());
            if query.name == "count-and-sum" && rows == YARDSTICK_ROWS {
                line = line.goal(0.023).yardstick(0.011, 0.023);
            }
        }
        if !matches!(source, "heap" | "duckdb-s3" | "duckdb-local") {
            for (peer, name) in duckdb {
                if let Some(peer) = of(peer) {
                    line = line.against(name, peer.median());
                }
            }
        }
        if source.starts_with("reader")
            && let Some(peer) = of("duckdb-s3")
        {
            line = line.goal(peer.median());
        }
        report.add(line);
    }
}
