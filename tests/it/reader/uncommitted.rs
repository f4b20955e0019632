//! Uncommitted changes on top of a snapshot, and the location and position of each row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;

use super::lake::{Lake, truth};
use icebox_tables::{
    AddedFile, BATCHES_LOCATION, FILE_COLUMN, LakeTable, LakeTableProvider, POSITION_COLUMN,
    UncommittedChanges,
};

const EXTRA: &str = "s3://pg-lake-capture/uncommitted/data_0.parquet";
const EXTRA_ROWS: i32 = 1000;

async fn deleted_rows(lake: &Lake) -> Arc<LakeTable> {
    let location = &truth()["public.deleted_rows"].metadata_location;
    Arc::new(LakeTable::load(&lake.io, location).await.unwrap())
}

/// Returns rows with these ids for the table `deleted_rows` (id, k, v).
fn batch(schema: &Arc<Schema>, ids: std::ops::Range<i32>) -> RecordBatch {
    let id = Int32Array::from_iter_values(ids.clone());
    let k = StringArray::from_iter_values(ids.clone().map(|id| format!("x{id}")));
    let v = Decimal128Array::from_iter_values(ids.map(|id| i128::from(id) * 100))
        .with_precision_and_scale(12, 2)
        .unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(id), Arc::new(k), Arc::new(v)];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// Writes an uncommitted file with ids from 10,000 on and ten row groups.
async fn put_extra_file(lake: &Lake, schema: &Arc<Schema>) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, Arc::clone(schema), Some(properties)).unwrap();
    writer
        .write(&batch(schema, 10_000..10_000 + EXTRA_ROWS))
        .unwrap();
    writer.close().unwrap();
    lake.put(EXTRA, bytes).await;
}

fn positions(positions: &[u64]) -> RoaringTreemap {
    positions.iter().copied().collect()
}

/// Returns `deleted_rows` with 1,000 rows in an uncommitted file and 20 in memory, and with deleted
/// rows in each part.
async fn with_uncommitted_changes(lake: &Lake) -> LakeTableProvider {
    let table = deleted_rows(lake).await;
    let schema = Arc::clone(table.arrow_schema());
    put_extra_file(lake, &schema).await;
    let planned = table.scan(None, &[]).await.unwrap();
    let first_file = planned.iter().find(|file| file.record_count == 1000);
    let uncommitted = UncommittedChanges {
        added_batches: vec![
            batch(&schema, 20_000..20_010),
            batch(&schema, 20_010..20_020),
        ],
        added_files: vec![AddedFile {
            location: EXTRA.to_owned(),
            record_count: EXTRA_ROWS as u64,
            size: None,
        }],
        deleted: HashMap::from([
            (BATCHES_LOCATION.to_owned(), positions(&[0, 12])),
            // The deleted rows: all of the third row group, the two rows at the border of the
            // fourth and the fifth, the first and the last.
            (
                EXTRA.to_owned(),
                (200..300).chain([0, 399, 400, 999]).collect(),
            ),
            (first_file.unwrap().location.clone(), positions(&[0, 1])),
        ]),
    };
    LakeTableProvider::new(table)
        .with_uncommitted(uncommitted)
        .unwrap()
}

fn context(partitions: usize) -> SessionContext {
    let config = datafusion::prelude::SessionConfig::new().with_target_partitions(partitions);
    SessionContext::new_with_config(config)
}

async fn ids(provider: &LakeTableProvider, filter: Option<Expr>) -> Vec<i32> {
    let mut frame = context(3).read_table(Arc::new(provider.clone())).unwrap();
    if let Some(filter) = filter {
        frame = frame.filter(filter).unwrap();
    }
    let batches = frame
        .select(vec![col("id")])
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut ids: Vec<i32> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    ids.sort_unstable();
    ids
}

/// Returns the id at each location and position, for the rows that pass a filter.
async fn located(
    provider: &LakeTableProvider,
    filter: Option<Expr>,
    partitions: usize,
) -> BTreeMap<(String, i64), i32> {
    let context = context(partitions);
    let rows = provider.rows_with_positions(&context, Some(&[0]), filter);
    let batches: Vec<RecordBatch> = rows.await.unwrap().try_collect().await.unwrap();
    let mut located = BTreeMap::new();
    for batch in batches {
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["id", FILE_COLUMN, POSITION_COLUMN]);
        let files = cast(batch.column(1), &DataType::Utf8).unwrap();
        for row in 0..batch.num_rows() {
            let file = files.as_string::<i32>().value(row).to_owned();
            let position = batch.column(2).as_primitive::<Int64Type>().value(row);
            let id = batch.column(0).as_primitive::<Int32Type>().value(row);
            assert!(located.insert((file, position), id).is_none());
        }
    }
    located
}

/// Returns the id at each position of a data file, read without icebox's reader.
async fn ids_in_file(lake: &Lake, location: &str) -> Vec<i32> {
    let bytes = lake.io.read(location).await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let batches = reader.build().unwrap().map(Result::unwrap);
    batches
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_adds_and_deletes_rows() {
    let lake = Lake::capture().await;
    let before = ids(&LakeTableProvider::new(deleted_rows(&lake).await), None).await;
    let changed = with_uncommitted_changes(&lake).await;
    let after = ids(&changed, None).await;
    let gone = |id: &i32| before.contains(id) && !after.contains(id);
    assert_eq!((1..=2010).filter(gone).count(), 2);
    let extra: Vec<i32> = after
        .iter()
        .copied()
        .filter(|id| (10_000..20_000).contains(id))
        .collect();
    let expected: Vec<i32> = (10_000..11_000)
        .filter(|id| {
            !(10_200..10_300).contains(id) && ![10_000, 10_399, 10_400, 10_999].contains(id)
        })
        .collect();
    assert_eq!(extra, expected);
    let in_memory: Vec<i32> = after.iter().copied().filter(|id| *id >= 20_000).collect();
    let expected: Vec<i32> = (20_001..20_020).filter(|id| *id != 20_012).collect();
    assert_eq!(in_memory, expected);
    assert_eq!(after.len(), 1004 - 2 + 1000 - 104 + 20 - 2);

    // The count comes from statistics, and is the same.
    let frame = context(2).read_table(Arc::new(changed)).unwrap();
    assert_eq!(frame.count().await.unwrap(), after.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_those_of_the_files() {
    let lake = Lake::capture().await;
    let changed = with_uncommitted_changes(&lake).await;
    let everything = ids(&changed, None).await;
    for partitions in [1, 2, 7] {
        let located = located(&changed, None, partitions).await;
        let mut found: Vec<i32> = located.values().copied().collect();
        found.sort_unstable();
        assert_eq!(found, everything, "{partitions} partitions");
        let files: std::collections::BTreeSet<&String> =
            located.keys().map(|(file, _)| file).collect();
        assert_eq!(files.len(), 4);
        for file in files {
            if file == BATCHES_LOCATION {
                continue;
            }
            let truth = ids_in_file(&lake, file).await;
            for ((_, position), id) in located.iter().filter(|((of, _), _)| of == file) {
                assert_eq!(truth[*position as usize], *id, "{file} at {position}");
            }
        }
        assert_eq!(located[&(BATCHES_LOCATION.to_owned(), 11)], 20_011);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_stay_right_when_row_groups_are_left_out() {
    let lake = Lake::capture().await;
    let changed = with_uncommitted_changes(&lake).await;
    let cases = [
        (
            col("id").gt_eq(lit(10_650)).and(col("id").lt(lit(10_660))),
            10_650..10_660,
        ),
        (
            col("id").gt_eq(lit(10_395)).and(col("id").lt(lit(10_405))),
            10_395..10_405,
        ),
    ];
    for (filter, range) in cases {
        let located = located(&changed, Some(filter.clone()), 2).await;
        for ((file, position), id) in &located {
            assert_eq!(file, EXTRA);
            assert_eq!(*position, i64::from(*id - 10_000));
        }
        let found: Vec<i32> = located.values().copied().collect();
        let expected: Vec<i32> = range.filter(|id| ![10_399, 10_400].contains(id)).collect();
        assert_eq!(found, expected);
        assert_eq!(ids(&changed, Some(filter)).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_work_without_any_other_column() {
    let lake = Lake::capture().await;
    let provider = LakeTableProvider::new(deleted_rows(&lake).await);
    let context = context(2);
    let rows = provider
        .rows_with_positions(&context, Some(&[]), None)
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        1004
    );
    assert_eq!(batches[0].num_columns(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_an_evolved_table() {
    let lake = Lake::capture().await;
    let location = &truth()["public.evolved"].metadata_location;
    let table = Arc::new(LakeTable::load(&lake.io, location).await.unwrap());
    let context = context(2);
    let provider = LakeTableProvider::new(table);
    let filter = col("with_default").eq(lit(7)).and(col("gone").is_null());
    let rows = provider
        .rows_with_positions(&context, None, Some(filter))
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    let a: i64 = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .map(i64::from)
        .sum();
    // Only the twenty rows that are older than the column have these values.
    assert_eq!(a, (1..=20).sum::<i64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_reads_no_data_file() {
    let lake = Lake::capture().await;
    let provider = LakeTableProvider::new(deleted_rows(&lake).await);
    for file in provider.table().scan(None, &[]).await.unwrap().iter() {
        let (store, key) = lake.io.resolve(&file.location).unwrap();
        object_store::ObjectStoreExt::delete(&store, &key)
            .await
            .unwrap();
    }
    let io = lake.fresh_io();
    let location = provider.table().metadata_location();
    let table = LakeTable::load(&io, location).await.unwrap();
    let snapshot = table.snapshots()[0].snapshot_id();
    // The first snapshot has no deletes. The count of a later snapshot needs the row groups of its
    // files.
    let provider = LakeTableProvider::at_snapshot(Arc::new(table), snapshot).unwrap();
    let context = context(2);
    let frame = context.read_table(Arc::new(provider)).unwrap();
    assert_eq!(frame.clone().count().await.unwrap(), 1000);
    let error = frame.collect().await.unwrap_err().to_string();
    assert!(error.contains("s3://pg-lake-capture/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_is_read_by_several_cores() {
    let lake = Lake::capture().await;
    let table = deleted_rows(&lake).await;
    let schema = Arc::clone(table.arrow_schema());
    put_extra_file(&lake, &schema).await;
    let uncommitted = UncommittedChanges {
        added_files: vec![AddedFile {
            location: EXTRA.to_owned(),
            record_count: EXTRA_ROWS as u64,
            size: None,
        }],
        ..UncommittedChanges::default()
    };
    let provider = LakeTableProvider::new(table)
        .with_uncommitted(uncommitted)
        .unwrap()
        .with_positions();
    let context = context(2);
    let frame = context.read_table(Arc::new(provider)).unwrap();
    let filtered = frame.filter(col(FILE_COLUMN).eq(lit(EXTRA))).unwrap();
    let plan = filtered.create_physical_plan().await.unwrap();
    let stream = execute_stream(plan, context.task_ctx()).unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        1000
    );
    assert!(
        batches
            .iter()
            .all(|batch| batch.column(0).null_count() == 0)
    );
}
