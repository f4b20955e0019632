//! Column projection: data files with other schemas than the table's. Columns are found by field
//! id, widened, or filled with defaults.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionContext, col, lit};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};

use super::lake::{Lake, truth};
use super::value::{Value, decimal, rows};
use icebox_tables::{AddedFile, LakeTable, LakeTableProvider, UncommittedChanges};

const EXTRA: &str = "s3://pg-lake-capture/uncommitted/data_0.parquet";

fn field(name: &str, data_type: DataType, id: Option<&str>) -> Field {
    let key = PARQUET_FIELD_ID_META_KEY.to_owned();
    let metadata = id.map(|id| (key, id.to_owned()));
    Field::new(name, data_type, true).with_metadata(HashMap::from_iter(metadata))
}

/// Returns the id of a top-level field, or of one of its children.
fn id_of<'a>(schema: &'a Schema, name: &str, child: Option<&str>) -> &'a str {
    let field = schema.field_with_name(name).unwrap();
    let field = match (field.data_type(), child) {
        (DataType::Struct(fields), Some(child)) => fields.find(child).unwrap().1,
        (DataType::List(element), Some(_)) => element,
        _ => field,
    };
    &field.metadata()[PARQUET_FIELD_ID_META_KEY]
}

async fn with_file(lake: &Lake, table: &str, columns: Vec<(Field, ArrayRef)>) -> LakeTableProvider {
    let location = &truth()[table].metadata_location;
    let table = Arc::new(LakeTable::load(&lake.io, location).await.unwrap());
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    lake.put(EXTRA, bytes).await;
    let file = AddedFile {
        location: EXTRA.to_owned(),
        record_count: batch.num_rows() as u64,
        size: None,
    };
    let uncommitted = UncommittedChanges {
        added_files: vec![file],
        ..UncommittedChanges::default()
    };
    LakeTableProvider::new(table)
        .with_uncommitted(uncommitted)
        .unwrap()
}

/// Returns columns of the only row with this id. A scan with positions must give the same row as a
/// plain one.
async fn row(provider: &LakeTableProvider, id: i32, columns: &[&str]) -> Vec<Value> {
    let context = SessionContext::new();
    let mut found = Vec::new();
    for provider in [provider.clone(), provider.clone().with_positions()] {
        let frame = context.read_table(Arc::new(provider)).unwrap();
        let frame = frame.filter(col("id").eq(lit(id))).unwrap();
        let frame = frame.select_columns(columns).unwrap();
        found.push(rows(&frame.collect().await.unwrap()));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0].len(), 1);
    found.remove(0).remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn narrower_types_are_widened_and_missing_columns_are_null() {
    let lake = Lake::capture().await;
    let location = &truth()["public.type_zoo"].metadata_location;
    let schema = LakeTable::load(&lake.io, location).await.unwrap();
    let schema = schema.arrow_schema();
    let id = |name| Some(id_of(schema, name, None));
    let price = Decimal128Array::from(vec![12345]).with_precision_and_scale(5, 2);
    // The file's columns have another order and other names than the table's.
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            field("wide", DataType::Int32, id("i8")),
            Arc::new(Int32Array::from(vec![-7])),
        ),
        (
            field("t", DataType::Int32, id("id")),
            Arc::new(Int32Array::from(vec![77])),
        ),
        (
            field("real", DataType::Float32, id("f8")),
            Arc::new(Float32Array::from(vec![1.5])),
        ),
        (
            field("price", DataType::Decimal128(5, 2), id("d10")),
            Arc::new(price.unwrap()),
        ),
    ];
    let provider = with_file(&lake, "public.type_zoo", columns).await;
    let found = row(&provider, 77, &["i8", "f8", "d10", "t", "ta"]).await;
    let expected = [
        Value::Integer(-7),
        Value::Float(1.5f64.to_bits()),
        decimal(12345, 2),
        Value::Null,
        Value::Null,
    ];
    assert_eq!(found, expected);
    // A filter on a widened column is correct, both in the scan and in its pruning.
    let context = SessionContext::new();
    let frame = context.read_table(Arc::new(provider)).unwrap();
    let frame = frame.filter(col("i8").eq(lit(-7i64))).unwrap();
    assert_eq!(frame.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_fields_are_found_by_id() {
    let lake = Lake::capture().await;
    let location = &truth()["public.nested"].metadata_location;
    let table = LakeTable::load(&lake.io, location).await.unwrap();
    let schema = table.arrow_schema();
    let child = |name| Some(id_of(schema, "iv", Some(name)));
    // The file's children have another order, other names and narrower types; `days` is missing.
    let children = vec![
        field("us", DataType::Int64, child("microseconds")),
        field("m", DataType::Int32, child("months")),
    ];
    let interval = StructArray::new(
        children.clone().into(),
        vec![
            Arc::new(Int64Array::from(vec![5, 0])),
            Arc::new(Int32Array::from(vec![3, 0])),
        ],
        Some(NullBuffer::from(vec![true, false])),
    );
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            field(
                "renamed",
                DataType::Struct(children.into()),
                Some(id_of(schema, "iv", None)),
            ),
            Arc::new(interval),
        ),
        (
            field("id", DataType::Int32, Some(id_of(schema, "id", None))),
            Arc::new(Int32Array::from(vec![10, 11])),
        ),
    ];
    let provider = with_file(&lake, "public.nested", columns).await;
    let context = SessionContext::new();
    let frame = context.read_table(Arc::new(provider)).unwrap();
    let frame = frame.filter(col("id").gt_eq(lit(10))).unwrap();
    let sorted = frame.sort(vec![col("id").sort(true, false)]).unwrap();
    let batches = sorted.collect().await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    assert!(
        text.contains("| 10 | {months: 3, days: , microseconds: 5} |"),
        "{text}"
    );
    assert!(
        text.contains("| 11 |                                      |"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_ids_are_matched_by_name() {
    let lake = Lake::capture().await;
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        OffsetBuffer::from_lengths([2]),
        Arc::new(Int32Array::from(vec![Some(1), None])),
        None,
    );
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            field("t", DataType::Utf8, None),
            Arc::new(StringArray::from(vec!["named"])),
        ),
        (field("ia", list_type(), None), Arc::new(list)),
        (
            field("id", DataType::Int32, None),
            Arc::new(Int32Array::from(vec![78])),
        ),
    ];
    let provider = with_file(&lake, "public.type_zoo", columns).await;
    let found = row(&provider, 78, &["t", "ia", "v"]).await;
    let expected = [
        Value::Text("named".to_owned()),
        Value::List(vec![Value::Integer(1), Value::Null]),
        Value::Null,
    ];
    assert_eq!(found, expected);
}

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Int32, true)))
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_metadata_is_read() {
    let lake = Lake::capture().await;
    let location = &truth()["public.deleted_rows"].metadata_location;
    let plain = lake.io.read(location).await.unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let compressed = location.replace(".metadata.json", ".gz.metadata.json");
    lake.put(&compressed, gzip.finish().unwrap()).await;
    let table = LakeTable::load(&lake.io, &compressed).await.unwrap();
    assert_eq!(table.snapshots().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_may_lack_a_schema_id_and_there_may_be_none() {
    let lake = Lake::capture().await;
    for (name, rows) in [("public.deleted_rows", 1004), ("public.empty_table", 0)] {
        let location = &truth()[name].metadata_location;
        let bytes = lake.io.read(location).await.unwrap();
        let mut metadata: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for snapshot in metadata["snapshots"].as_array_mut().unwrap() {
            snapshot.as_object_mut().unwrap().remove("schema-id");
        }
        if metadata["current-snapshot-id"] == -1 {
            metadata["current-snapshot-id"] = serde_json::Value::Null;
        }
        lake.put(location, serde_json::to_vec(&metadata).unwrap())
            .await;
        let table = LakeTable::load(&lake.io, location).await.unwrap();
        let provider = LakeTableProvider::new(Arc::new(table));
        let frame = SessionContext::new()
            .read_table(Arc::new(provider))
            .unwrap();
        let batches = frame.collect().await.unwrap();
        let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found, rows, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_is_greater_than_any_number_although_statistics_leave_it_out() {
    let lake = Lake::capture().await;
    let location = &truth()["public.type_zoo"].metadata_location;
    let table = LakeTable::load(&lake.io, location).await.unwrap();
    let id = |name| Some(id_of(table.arrow_schema(), name, None));
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            field("id", DataType::Int32, id("id")),
            Arc::new(Int32Array::from(vec![90, 91])),
        ),
        (
            field("f8", DataType::Float64, id("f8")),
            Arc::new(Float64Array::from(vec![0.5, f64::NAN])),
        ),
    ];
    let provider = with_file(&lake, "public.type_zoo", columns).await;
    for provider in [provider.clone(), provider.with_positions()] {
        let frame = SessionContext::new()
            .read_table(Arc::new(provider))
            .unwrap();
        let filter = col("f8").gt(lit(1.0)).and(col("id").gt_eq(lit(90)));
        let frame = frame
            .filter(filter)
            .unwrap()
            .select_columns(&["id"])
            .unwrap();
        let found = rows(&frame.collect().await.unwrap());
        assert_eq!(found, [[Value::Integer(91)]]);
    }
}
