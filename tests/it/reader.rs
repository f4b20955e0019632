//! The reader, on lakes that the real `pg_lake` wrote.

mod column_projection;
pub mod lake;
mod manifest_repair;
mod uncommitted;
pub mod value;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::TableReference;
use futures::TryStreamExt;

use icebox_reader::Reader;
use icebox_tables::{LakeTable, LakeTableProvider};
use lake::{Lake, text, truth};
use value::{from_csv, rows};

fn table_name(full_name: &str) -> TableReference {
    let (schema, table) = full_name.split_once('.').unwrap();
    TableReference::partial(schema, table)
}

async fn capture_reader(lake: &Lake) -> Reader {
    let reader = Reader::new(lake.io.clone()).unwrap();
    for (name, truth) in truth() {
        reader
            .register(table_name(&name), &truth.metadata_location)
            .await
            .unwrap();
    }
    reader
}

async fn count(reader: &Reader, sql: &str) -> i64 {
    let (_, batches) = reader.query(sql).await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_captured_table_equals_what_postgres_printed() {
    let lake = Lake::capture().await;
    let reader = capture_reader(&lake).await;
    let truth = truth();
    assert_eq!(truth.len(), 14);
    for (name, truth) in &truth {
        let types: Vec<(&str, bool)> = truth
            .columns
            .iter()
            .map(|column| (column.data_type.as_str(), column.name == "ia"))
            .collect();
        let (header, expected) = from_csv(&text(&format!("answers/{name}.csv")), &types);
        assert_eq!(expected.len() as u64, truth.rows, "{name}");

        let (schema, table) = name.split_once('.').unwrap();
        let (columns, batches) = reader
            .query(&format!("SELECT * FROM {schema}.\"{table}\""))
            .await
            .unwrap();
        let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, header, "{name}");
        assert_eq!(rows(&batches), expected, "{name}");
        let files = lake_files(&lake, truth).await;
        let truth_files: Vec<_> = truth
            .files
            .iter()
            .filter(|(content, _, _)| content == "DATA")
            .map(|(_, files, rows)| (*files, *rows))
            .collect();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), truth_files, "{name}");
        let sql = format!("SELECT count(*) FROM {schema}.\"{table}\"");
        assert_eq!(count(&reader, &sql).await as u64, truth.rows, "{name}");
    }
}

/// Returns the number of planned data files and their rows, or None if there are no files.
async fn lake_files(lake: &Lake, truth: &lake::Truth) -> Option<(u64, u64)> {
    let table = LakeTable::load(&lake.io, &truth.metadata_location).await;
    let files = table.unwrap().scan(None, &[]).await.unwrap();
    let rows = files.iter().map(|file| file.record_count).sum();
    (!files.is_empty()).then_some((files.len() as u64, rows))
}

/// Returns the row counts after each snapshot of each table, oldest first, as they follow from
/// `statements.sql`.
fn histories() -> Vec<(&'static str, Vec<u64>)> {
    vec![
        ("public.Mixed Case", vec![2]),
        ("public.deleted_rows", vec![1000, 997, 996, 1006, 1004]),
        ("public.emptied", vec![1, 0]),
        ("public.empty_table", vec![]),
        ("public.evolved", vec![10, 10, 20, 20, 20, 20, 30, 30, 31]),
        ("public.many_snapshots", (1..=200).collect()),
        ("public.nested", vec![2]),
        ("public.part_day_bucket", vec![401, 396]),
        ("public.part_identity", vec![41]),
        ("public.partition_evolved", vec![21, 21, 42]),
        ("public.type_zoo", vec![4]),
        ("public.updated_rows", vec![1000, 1000, 1000]),
        (
            "public.vacuumed",
            vec![100, 200, 300, 400, 500, 495, 495, 495],
        ),
        ("s2.in_schema", vec![2]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_older_snapshot_has_the_rows_of_its_time() {
    let lake = Lake::capture().await;
    let truth = truth();
    let context = datafusion::prelude::SessionContext::new();
    for (name, expected) in histories() {
        let location = &truth[name].metadata_location;
        let table = Arc::new(LakeTable::load(&lake.io, location).await.unwrap());
        let snapshots = table.snapshots();
        assert_eq!(snapshots.len(), truth[name].snapshots, "{name}");
        let mut found: Vec<u64> = Vec::new();
        for snapshot in snapshots {
            let id = snapshot.snapshot_id();
            let provider = LakeTableProvider::at_snapshot(Arc::clone(&table), id).unwrap();
            let frame = context.read_table(Arc::new(provider)).unwrap();
            // All columns are read: the manifests alone could answer a count.
            let batches = frame.collect().await.unwrap();
            found.push(batches.iter().map(|batch| batch.num_rows() as u64).sum());
        }
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_has_the_columns_of_its_time() {
    let lake = Lake::capture().await;
    let location = &truth()["public.evolved"].metadata_location;
    let table = Arc::new(LakeTable::load(&lake.io, location).await.unwrap());
    let first = table.snapshots()[0].snapshot_id();
    let provider = LakeTableProvider::at_snapshot(Arc::clone(&table), first).unwrap();
    let context = datafusion::prelude::SessionContext::new();
    let frame = context.read_table(Arc::new(provider)).unwrap();
    let names: Vec<_> = frame
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["a", "b", "gone"]);

    let missing = LakeTableProvider::at_snapshot(table, 1)
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains(location) && missing.contains('1'),
        "{missing}"
    );
}

async fn retail_reader(lake: &Lake) -> Reader {
    let reader = Reader::new(lake.io.clone()).unwrap();
    for line in text("retail/iceberg_tables.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        reader.register(fields[2], fields[3]).await.unwrap();
    }
    reader
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_queries_give_the_real_extensions_answers() {
    let lake = Lake::retail().await;
    let reader = retail_reader(&lake).await;
    let queries = [
        (
            "row_counts",
            "SELECT 'transactions' AS table_name, COUNT(*) AS row_count FROM iceberg_transactions \
             UNION ALL SELECT 'items', COUNT(*) FROM iceberg_transaction_items \
             UNION ALL SELECT 'stores', COUNT(*) FROM iceberg_stores \
             UNION ALL SELECT 'products', COUNT(*) FROM iceberg_products \
             UNION ALL SELECT 'customers', COUNT(*) FROM iceberg_customers",
            vec!["text", "bigint"],
        ),
        (
            "revenue_by_store",
            "SELECT s.store_name, s.city, COUNT(DISTINCT t.txn_id) AS total_transactions, \
             SUM(t.total_amount) AS total_revenue FROM iceberg_transactions t \
             JOIN iceberg_stores s ON t.store_id = s.store_id \
             GROUP BY s.store_name, s.city ORDER BY total_revenue DESC",
            vec!["text", "text", "bigint", "numeric"],
        ),
        (
            "top_products",
            "SELECT p.product_name, p.category, SUM(i.quantity) AS units_sold, \
             SUM(i.line_total) AS revenue FROM iceberg_transaction_items i \
             JOIN iceberg_products p ON i.product_id = p.product_id \
             GROUP BY p.product_name, p.category ORDER BY revenue DESC LIMIT 10",
            vec!["text", "text", "bigint", "numeric"],
        ),
    ];
    for (name, sql, types) in queries {
        let types: Vec<(&str, bool)> = types.into_iter().map(|t| (t, false)).collect();
        let csv = text(&format!("retail/{name}.csv"));
        let (header, expected) = from_csv(&csv, &types);
        let (schema, batches) = reader.query(sql).await.unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, header, "{name}");
        assert_eq!(rows(&batches), expected, "{name}");
        // The rows of an ordered query are in the order of the file.
        let first = csv.lines().nth(1).unwrap().split(',').next().unwrap();
        if sql.contains("ORDER BY") {
            let column =
                arrow::compute::cast(batches[0].column(0), &arrow::datatypes::DataType::Utf8);
            assert_eq!(column.unwrap().as_string::<i32>().value(0), first);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_moves_new_queries_only() {
    let lake = Lake::capture().await;
    let reader = Reader::new(lake.io.clone()).unwrap();
    let newest = truth()["public.many_snapshots"].metadata_location.clone();
    let table = LakeTable::load(&lake.io, &newest).await.unwrap();
    let older = table.metadata().metadata_log()[100].metadata_file.clone();
    reader.register("t", &older).await.unwrap();
    assert_eq!(count(&reader, "SELECT count(*) FROM t").await, 100);

    let running = reader.query_stream("SELECT n FROM t").await.unwrap();
    reader.refresh("T", &newest).await.unwrap();
    assert_eq!(reader.tables()[0].metadata_location, newest);
    assert_eq!(count(&reader, "SELECT count(*) FROM t").await, 200);
    let batches: Vec<_> = running.try_collect().await.unwrap();
    assert_eq!(
        batches
            .iter()
            .map(arrow::array::RecordBatch::num_rows)
            .sum::<usize>(),
        100
    );

    // The table goes back to the older metadata file, and is then deregistered.
    reader.refresh("t", &older).await.unwrap();
    assert_eq!(count(&reader, "SELECT count(*) FROM t").await, 100);
    assert!(reader.deregister("t"));
    assert!(!reader.deregister("t"));
    assert!(reader.query("SELECT 1 FROM t").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_refresh_changes_nothing_and_names_table_and_file() {
    let lake = Lake::capture().await;
    let reader = Reader::new(lake.io.clone()).unwrap();
    let location = truth()["s2.in_schema"].metadata_location.clone();
    reader.register("t", &location).await.unwrap();
    let wrong = location.replace("00001-", "00002-");
    let error = reader.refresh("t", &wrong).await.unwrap_err().to_string();
    assert!(error.contains(&wrong) && error.contains(" t "), "{error}");
    assert_eq!(count(&reader, "SELECT count(*) FROM t").await, 2);
    assert!(reader.refresh("unknown", &location).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_ignore_case() {
    let lake = Lake::capture().await;
    let reader = capture_reader(&lake).await;
    for sql in [
        r#"SELECT count(*) FROM "Mixed Case" WHERE id = 1"#,
        r#"SELECT count(*) FROM "MIXED CASE" AS m WHERE m."ID" = 1 AND "SELECT" = 'kw'"#,
        r#"SELECT count(*) FROM PUBLIC."mixed case" WHERE "Id" = 1 AND "ünï" = 1.1"#,
    ] {
        assert_eq!(count(&reader, sql).await, 1, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_only_reads() {
    let lake = Lake::capture().await;
    let reader = capture_reader(&lake).await;
    for sql in [
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE evolved",
        "INSERT INTO in_schema VALUES (1)",
        "COPY evolved TO '/tmp/icebox-never-written.csv'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        assert!(reader.query(sql).await.is_err(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_leaves_out_files_but_no_rows() {
    let lake = Lake::capture().await;
    let reader = capture_reader(&lake).await;
    let cases = [
        ("part_day_bucket", "user_id = 3"),
        ("part_day_bucket", "event_time < '2026-01-03T00:00:00Z'"),
        (
            "part_day_bucket",
            "event_time BETWEEN '2026-01-02T12:00:00Z' AND '2026-01-04T01:00:00Z' AND user_id IN (1, 5)",
        ),
        ("part_day_bucket", "region IS NULL OR amount > 130.5"),
        ("part_identity", "region = 'a/b c'"),
        ("part_identity", "region IS NULL AND n >= 20"),
        ("part_identity", "y >= '2025-01-01' OR n < 5"),
        ("part_identity", "NOT (region IS NULL) AND n <> 7"),
        ("partition_evolved", "d >= '2025-03-05'"),
        ("many_snapshots", "n > 190 AND amount <= 49.5"),
        ("many_snapshots", "at = '2026-01-01T00:07:00'"),
        ("evolved", "with_default = 7"),
        (
            "evolved",
            "added > 1.5 OR gone = 'a new column of an old name'",
        ),
        ("evolved", "renamed >= 'r29'"),
        ("evolved", "gone IS NOT NULL"),
        ("deleted_rows", "id IN (4, 5, 7, 2001, 2002)"),
        ("type_zoo", "t = 'plain'"),
        ("type_zoo", "t > 'i'"),
        ("type_zoo", "i8 < 0"),
        ("type_zoo", "d38 < 0"),
        ("type_zoo", "dt > '9000-01-01'"),
        ("type_zoo", "b"),
        ("type_zoo", "NOT b"),
        // NaN is greater than any number, and bounds do not include it.
        ("type_zoo", "f8 > 1"),
        ("type_zoo", "f8 < 0"),
        ("type_zoo", "f4 >= 'Infinity'"),
    ];
    for (table, filter) in cases {
        let pruned = reader
            .query(&format!("SELECT * FROM {table} WHERE {filter}"))
            .await
            .unwrap();
        // The filter is on top of a subquery with a window function, so it is not pushed down to
        // the scan.
        let all = reader
            .query(&format!(
                "SELECT * FROM (SELECT *, CAST(row_number() OVER () AS BIGINT) AS rn FROM {table}) x \
                 WHERE rn > 0 AND ({filter})"
            ))
            .await
            .unwrap();
        let mut all_rows: Vec<_> = rows(&all.1);
        all_rows.iter_mut().for_each(|row| drop(row.pop()));
        all_rows.sort();
        assert_eq!(rows(&pruned.1), all_rows, "{table}: {filter}");
        assert!(!all_rows.is_empty(), "{table}: {filter} selects nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_bounds_are_used() {
    use datafusion::prelude::{col, lit};
    let lake = Lake::capture().await;
    let truth = truth();
    let cases = [
        ("public.many_snapshots", col("n").gt(lit(189)), 200, 10),
        ("public.part_identity", col("region").eq(lit("eu")), 21, 6),
        (
            "public.part_day_bucket",
            col("user_id").eq(lit(3i64)),
            44,
            10,
        ),
    ];
    for (name, filter, all, kept) in cases {
        let location = &truth[name].metadata_location;
        let table = LakeTable::load(&lake.io, location).await.unwrap();
        assert_eq!(table.scan(None, &[]).await.unwrap().len(), all, "{name}");
        let files = table.scan(None, &[filter]).await.unwrap();
        assert_eq!(files.len(), kept, "{name}");
    }
}

/// DataFusion's optimizer alone gives a wrong result for the first query and an error for the
/// second.
#[tokio::test(flavor = "multi_thread")]
async fn recursive_queries_start_afresh_in_every_round() {
    let lake = Lake::capture().await;
    let reader = capture_reader(&lake).await;
    let sql = "WITH RECURSIVE bounds AS (SELECT min(id) AS lowest, max(id) AS highest FROM deleted_rows), \
               ids AS (SELECT lowest AS id FROM bounds UNION ALL \
                       SELECT i.id + 1 FROM ids i CROSS JOIN bounds b WHERE i.id < b.highest) \
               SELECT count(*) FROM ids";
    let all = count(
        &reader,
        "SELECT CAST(max(id) - min(id) + 1 AS bigint) AS n FROM deleted_rows",
    )
    .await;
    assert!(all > 900);
    assert_eq!(count(&reader, sql).await, all);
    let sql = "WITH RECURSIVE t AS (SELECT 1 AS i, 0 AS s UNION ALL SELECT i + 1, s + i FROM t WHERE i < 10) \
               SELECT max(s) AS s FROM t";
    assert_eq!(count(&reader, sql).await, 45);
}

/// A distinct count is planned as a second grouping if there may be many groups, and as a set per
/// group if there are few.
#[tokio::test(flavor = "multi_thread")]
async fn distinct_values_are_counted_as_the_number_of_groups_wants() {
    let lake = Lake::retail().await;
    let reader = retail_reader(&lake).await;
    let regroups = async |sql: &str| {
        let (_, batches) = reader.query(&format!("EXPLAIN {sql}")).await.unwrap();
        let plan = arrow::util::pretty::pretty_format_batches(&batches).unwrap();
        plan.to_string().contains("alias1")
    };
    let few = "SELECT s.city, count(DISTINCT t.txn_id) AS n FROM iceberg_transactions t \
               JOIN iceberg_stores s ON t.store_id = s.store_id GROUP BY s.city";
    let many = "SELECT txn_id, count(DISTINCT product_id) AS n FROM iceberg_transaction_items GROUP BY txn_id";
    assert!(!regroups(few).await);
    assert!(regroups(many).await);
    assert_eq!(
        count(
            &reader,
            &format!("SELECT CAST(sum(n) AS bigint) AS n FROM ({few}) q")
        )
        .await,
        5000
    );
    let pairs = "SELECT count(*) AS n FROM (SELECT DISTINCT txn_id, product_id FROM iceberg_transaction_items) q";
    let items = count(&reader, pairs).await;
    assert_eq!(
        count(
            &reader,
            &format!("SELECT CAST(sum(n) AS bigint) AS n FROM ({many}) q")
        )
        .await,
        items
    );
}
