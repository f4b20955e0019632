//! Reading of CSV and Parquet files on a stage, for COPY INTO.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringBuilder, new_null_array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::object::properties::Properties;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::rows::Rows;

/// The options with which a COPY reads its files.
pub struct Reading<'a> {
    /// The wanted columns, in their order.
    pub columns: &'a [&'a str],
    /// The options of `FILE_FORMAT`.
    pub format: &'a Properties,
    /// The value of `MATCH_BY_COLUMN_NAME`.
    pub matching: Option<&'a str>,
}

impl Reading<'_> {
    /// Reads the wanted columns of a file.
    ///
    /// # Errors
    /// If the file is not of the format. The error has the file's name.
    pub fn rows(&self, file: &str, bytes: Bytes) -> SqlResult<Rows> {
        match self.format.text("TYPE").as_deref() {
            Some("PARQUET") => self.parquet(file, bytes),
            _ => self.csv(file, &bytes),
        }
    }

    fn parquet(&self, file: &str, bytes: Bytes) -> SqlResult<Rows> {
        let is_exact = match self.matching {
            Some("CASE_SENSITIVE") => true,
            Some("CASE_INSENSITIVE") => false,
            _ => {
                return Err(SqlError::compilation(
                    code::PARQUET_COLUMNS,
                    "PARQUET file format can produce one and only one column of type variant, object, or array. Load data into separate columns using the MATCH_BY_COLUMN_NAME copy option.",
                ));
            }
        };
        let failed = |reason: String| {
            let text = format!("Error parsing the parquet file: {reason}\n  File '{file}'");
            SqlError::new(code::INVALID_PARQUET, text)
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| failed(error.to_string()))?;
        let pick = |batch: Result<RecordBatch, ArrowError>| {
            let batch = batch?;
            let schema = batch.schema();
            let wanted = self.columns.iter().map(|name| {
                let found = schema.fields().iter().position(|field| {
                    if is_exact {
                        field.name() == name
                    } else {
                        field.name().eq_ignore_ascii_case(name)
                    }
                });
                match found {
                    Some(index) => (schema.field(index).clone(), batch.column(index).clone()),
                    None => (
                        Field::new(*name, ArrowType::Utf8, true),
                        new_null_array(&ArrowType::Utf8, batch.num_rows()),
                    ),
                }
            });
            let (fields, arrays): (Vec<_>, Vec<_>) = wanted.unzip();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        };
        let batches: Result<Vec<_>, _> = reader.map(pick).collect();
        let batches = batches.map_err(|error| failed(error.to_string()))?;
        let schema = batches.first().map(RecordBatch::schema);
        Ok(Rows::new(
            schema.unwrap_or_else(|| Arc::new(self.texts())),
            batches,
        ))
    }

    fn texts(&self) -> Schema {
        let field = |name: &&str| Field::new(*name, ArrowType::Utf8, true);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }

    /// Reads each value of a CSV file as a text. The texts of `NULL_IF` (`\N` by default) and empty
    /// fields are NULL (documentation, "CREATE FILE FORMAT": `EMPTY_FIELD_AS_NULL` is TRUE).
    fn csv(&self, file: &str, bytes: &[u8]) -> SqlResult<Rows> {
        let delimiter = self.one_byte("FIELD_DELIMITER")?.unwrap_or(b',');
        let quote = self.one_byte("FIELD_OPTIONALLY_ENCLOSED_BY")?;
        let default = ["\\N".to_owned()];
        let nulls = match self.format.get("NULL_IF") {
            Some(_) => self.format.texts("NULL_IF"),
            None => &default,
        };
        let skipped = self.format.integer("SKIP_HEADER").unwrap_or(0);
        let (skipped, bytes) = skip_lines(bytes, skipped as usize);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .quoting(quote.is_some())
            .quote(quote.unwrap_or(b'"'))
            .from_reader(bytes);
        let mut columns: Vec<_> = self.columns.iter().map(|_| StringBuilder::new()).collect();
        for record in reader.records() {
            let record = record.map_err(|error| {
                let text = format!("Error parsing CSV: {error}\n  File '{file}'");
                SqlError::new(code::FILE_COLUMN_COUNT, text)
            })?;
            if record.len() != columns.len() {
                let line = record.position().map_or(0, csv::Position::line) + skipped as u64;
                let text = format!(
                    "Number of columns in file ({}) does not match that of the corresponding table ({})\n  File '{file}', line {line}",
                    record.len(),
                    columns.len()
                );
                return Err(SqlError::new(code::FILE_COLUMN_COUNT, text));
            }
            for (column, value) in columns.iter_mut().zip(&record) {
                let is_null = value.is_empty() || nulls.iter().any(|null| null == value);
                column.append_option((!is_null).then_some(value));
            }
        }
        let arrays = columns
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as _);
        let schema = Arc::new(self.texts());
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect());
        let batch = batch.map_err(|error| SqlError::internal(&error))?;
        Ok(Rows::new(schema, vec![batch]))
    }

    /// Returns an option of one character; `None` if it is not given, empty or NONE.
    fn one_byte(&self, option: &str) -> SqlResult<Option<u8>> {
        let text = self.format.text(option).unwrap_or_default();
        match text.as_bytes() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ if text.eq_ignore_ascii_case("NONE") => Ok(None),
            [b'\\', b't'] => Ok(Some(b'\t')),
            _ => Err(SqlError::unsupported(format!(
                "{option} other than one ASCII character"
            ))),
        }
    }
}

/// Skips up to `most` lines. Returns the number of skipped lines and the bytes after them.
fn skip_lines(bytes: &[u8], most: usize) -> (usize, &[u8]) {
    let mut rest = bytes;
    for skipped in 0..most {
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None => return (skipped, &[]),
        }
    }
    (most, rest)
}
