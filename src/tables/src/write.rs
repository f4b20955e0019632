//! Writes the files of a table: data files and position-delete files, as Parquet with field ids.
//!
//! The iceberg crate's Parquet writer writes both, and collects the statistics for the manifest.
//! The settings (Parquet v1, SNAPPY, row groups of 122,880 rows) are those found in files of
//! `pg_lake`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, NestedField, PrimitiveType, Schema, SchemaRef,
    Struct, Type,
};
use iceberg::writer::file_writer::{
    FileWriter, FileWriterBuilder, ParquetWriter, ParquetWriterBuilder,
};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::uncommitted::with_schema;

/// The number of rows in a full row group.
const ROW_GROUP_ROWS: usize = 122_880;

/// The field ids that the specification reserves for the columns of a position-delete file.
const DELETE_FILE_PATH_ID: i32 = 2_147_483_546;
const DELETE_POS_ID: i32 = 2_147_483_545;

static DELETE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let schema = Schema::builder()
        .with_fields([
            Arc::new(NestedField::required(
                DELETE_FILE_PATH_ID,
                "file_path",
                Type::Primitive(PrimitiveType::String),
            )),
            Arc::new(NestedField::required(
                DELETE_POS_ID,
                "pos",
                Type::Primitive(PrimitiveType::Long),
            )),
        ])
        .build();
    Arc::new(schema.expect("two distinct fields"))
});

/// Returns a new location for a file of inserted rows: `<table>/data/<2
/// hex>/<uuid>/data_0.parquet`.
pub(super) fn data_file_location(table_location: &str) -> String {
    let id = Uuid::new_v4().to_string();
    format!("{table_location}/data/{}/{id}/data_0.parquet", &id[..2])
}

/// Returns a new location for a rewritten data file or a delete file: `<table>/data/<2
/// hex>/<uuid>.parquet`.
pub(super) fn rewrite_location(table_location: &str) -> String {
    let id = Uuid::new_v4().to_string();
    format!("{table_location}/data/{}/{id}.parquet", &id[..2])
}

/// A writer of one data file.
pub(super) struct DataFileWriter {
    inner: ParquetWriter,
    /// The schema that the writer requires: iceberg-rust's own mapping of the table's types.
    arrow_schema: ArrowSchemaRef,
}

impl DataFileWriter {
    /// Starts a file at `location` for rows of `schema`.
    pub(super) async fn create(
        io: &FileIO,
        location: &str,
        schema: SchemaRef,
    ) -> iceberg::Result<Self> {
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        for path in time_columns(&schema) {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let properties = properties.build();
        let arrow_schema = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema)?);
        let inner = ParquetWriterBuilder::new(properties, schema)
            .build(io.new_output(location)?)
            .await?;
        Ok(Self {
            inner,
            arrow_schema,
        })
    }

    /// Appends rows. The batch has the table's columns in order. Their types may differ as in
    /// batches of a scan: text as views, `timestamptz` with the zone `UTC`.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> iceberg::Result<()> {
        let batch = with_schema(batch, &self.arrow_schema)
            .map_err(|error| unexpected("cannot write rows", error))?;
        self.inner.write(&batch).await
    }

    /// Completes the file. Returns `None`, and leaves no file, if no row was written.
    pub(super) async fn finish(self) -> iceberg::Result<Option<DataFile>> {
        let Some(mut builder) = self.inner.close().await?.pop() else {
            return Ok(None);
        };
        builder
            .content(DataContentType::Data)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .partition_spec_id(0);
        Ok(Some(build(builder)?))
    }
}

/// Returns the Parquet columns of times of day. PostgreSQL allows the time 24:00, which
/// iceberg-rust refuses as a bound. So these columns are written without statistics.
fn time_columns(schema: &Schema) -> Vec<ColumnPath> {
    let is_time = |field_type: &Type| matches!(field_type, Type::Primitive(PrimitiveType::Time));
    let fields = schema.as_struct().fields().iter();
    fields
        .filter_map(|field| match field.field_type.as_ref() {
            scalar if is_time(scalar) => Some(vec![field.name.clone()]),
            Type::List(list) if is_time(&list.element_field.field_type) => Some(vec![
                field.name.clone(),
                "list".to_owned(),
                "element".to_owned(),
            ]),
            _ => None,
        })
        .map(ColumnPath::new)
        .collect()
}

/// Writes a position-delete file: it deletes `positions` (row numbers from 0) of the data file at
/// `data_file`.
pub(super) async fn write_position_deletes(
    io: &FileIO,
    location: &str,
    data_file: &str,
    positions: &RoaringTreemap,
) -> iceberg::Result<DataFile> {
    // Readers match delete files to data files by the bounds of the path, so the path must not be
    // truncated in the statistics.
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::SNAPPY)
        .set_statistics_truncate_length(None)
        .build();
    let schema = DELETE_SCHEMA.clone();
    let arrow_schema = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema)?);
    let mut writer = ParquetWriterBuilder::new(properties, schema)
        .build(io.new_output(location)?)
        .await?;
    let positions: Int64Array = positions.iter().map(|position| position as i64).collect();
    let paths = StringArray::from_iter_values(std::iter::repeat_n(data_file, positions.len()));
    let batch = RecordBatch::try_new(arrow_schema, vec![Arc::new(paths), Arc::new(positions)])
        .map_err(|error| unexpected("cannot build position deletes", error))?;
    writer.write(&batch).await?;
    let mut builder = writer
        .close()
        .await?
        .pop()
        .ok_or_else(|| unexpected("there are no positions to delete", data_file))?;
    builder
        .content(DataContentType::PositionDeletes)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .referenced_data_file(Some(data_file.to_owned()));
    build(builder)
}

fn build(builder: iceberg::spec::DataFileBuilder) -> iceberg::Result<DataFile> {
    builder
        .build()
        .map_err(|error| unexpected("cannot describe a written file", error))
}

fn unexpected(failure: &str, detail: impl std::fmt::Display) -> iceberg::Error {
    iceberg::Error::new(
        iceberg::ErrorKind::Unexpected,
        format!("{failure}: {detail}"),
    )
}
