//! COPY INTO a native table from a stage, and LIST.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sqlparser::tokenizer::Token;

use super::{Context, insert};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::history::Load;
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::object::properties::{Properties, Property, PropertyType};
use crate::snowflake::object::{Kind, stage, table};
use crate::snowflake::rest::{Answer, StatementKind};
use crate::snowflake::rows::Rows;
use crate::snowflake::syntax::Cursor;
use crate::snowflake::types::DataType;

const OPTIONS: &[Property] = &[
    Property::new("FILES", PropertyType::Texts),
    Property::new("FILE_FORMAT", PropertyType::Options(stage::FILE_FORMAT)),
    Property::new(
        "MATCH_BY_COLUMN_NAME",
        PropertyType::OneOf(&["CASE_INSENSITIVE", "CASE_SENSITIVE", "NONE"]),
    ),
    Property::new("FORCE", PropertyType::Boolean).with_default("FALSE"),
];

/// `@[database.schema.]stage[/path]`
fn stage_path(cursor: &mut Cursor<'_>) -> SqlResult<(ObjectName, String)> {
    cursor.expect_token(&Token::AtSign)?;
    let name = cursor.name(3)?;
    let start = cursor.passed();
    // A path has no blanks: it goes on as long as its tokens touch.
    while !cursor.is_at_end() && cursor.offset() == cursor.passed() {
        cursor.bump();
    }
    let path = &cursor.text()[start..cursor.passed()];
    Ok((name, path.trim_start_matches('/').to_owned()))
}

/// `LIST @stage[/path]`
pub async fn list(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let (name, path) = stage_path(&mut cursor)?;
    cursor.expect_end()?;
    Ok(Answer {
        rows: stage::list_rows(context.session, &name, &path).await?,
        kind: StatementKind::List,
    })
}

/// `COPY INTO table [(columns)] FROM @stage[/path] [FILES = (…)] [FILE_FORMAT = (…)] …`
pub async fn copy_into(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let name = session.full_name(Kind::Table, &cursor.name(3)?)?;
    let columns = match cursor.peek() {
        Some(Token::LParen) => Some(cursor.list(Cursor::ident)?),
        _ => None,
    };
    cursor.expect("FROM")?;
    if cursor.peek() == Some(&Token::LParen) {
        return Err(SqlError::unsupported("COPY INTO … FROM (SELECT …)").at(cursor.position()));
    }
    let (stage_name, path) = stage_path(&mut cursor)?;
    let mut options = Properties::parse_new(&mut cursor, OPTIONS)?;
    cursor.expect_end()?;

    let account = session.account();
    let object = account.find(Kind::Table, &name)?;
    let target = table::of(&object).cloned();
    let full = session.full_name(Kind::Stage, &stage_name)?;
    let stage = account.find(Kind::Stage, &full)?;
    if options.options("FILE_FORMAT").is_none()
        && let Some(format) = stage.properties.get("FILE_FORMAT")
    {
        options.set("FILE_FORMAT", format.clone());
    }
    let files = stage::list(session, &stage, &path).await?;
    let lake = stage::lake(session, &stage).await?;
    let wanted = options.texts("FILES");
    let loaded = account.history.loads();
    let url = stage::url(&stage);
    let mut answers = Vec::new();
    for (file, found) in files {
        let below = file
            .strip_prefix(path.as_str())
            .unwrap_or(&file)
            .trim_start_matches('/');
        if !wanted.is_empty() && !wanted.iter().any(|one| one == below || *one == file) {
            continue;
        }
        // A file is loaded into a table once.
        let is_loaded = loaded
            .iter()
            .any(|load| load.table == name && load.file == file && load.stage_location == url);
        if is_loaded && !options.is_true("FORCE") {
            continue;
        }
        let Some(target) = &target else {
            // It says itself why nothing can be loaded.
            table::append(session, &name, Vec::new()).await?;
            continue;
        };
        let location = format!("{url}{file}");
        let (store, key) = lake
            .resolve(&location)
            .map_err(|error| SqlError::internal(&error))?;
        let bytes = async { store.get(&key).await?.bytes().await };
        let bytes = context
            .unless_cancelled(async { bytes.await.map_err(|error| SqlError::stage_failed(&error)) })
            .await?;
        let rows = read_file(&file, bytes, target, columns.as_deref(), &options)?;
        let count = insert::append_rows(session, &name, columns.as_deref(), &rows).await?;
        account.history.add_load(Load {
            table: name.clone(),
            stage_location: url.clone(),
            file: file.clone(),
            size: found.size,
            at: account.now(),
            rows: count,
        });
        answers.push(vec![
            location.into(),
            "LOADED".into(),
            ScalarValue::UInt64(Some(count)),
            ScalarValue::UInt64(Some(count)),
            ScalarValue::UInt64(Some(1)),
            ScalarValue::UInt64(Some(0)),
            ScalarValue::Utf8(None),
        ]);
    }
    if answers.is_empty() {
        let rows = Rows::status("Copy executed with 0 files processed.");
        return Ok(Answer {
            rows,
            kind: StatementKind::Copy,
        });
    }
    let (t, n) = (DataType::TEXT, DataType::INTEGER);
    let columns = [
        ("file", t),
        ("status", t),
        ("rows_parsed", n),
        ("rows_loaded", n),
        ("error_limit", n),
        ("errors_seen", n),
        ("first_error", t),
    ];
    Ok(Answer {
        rows: Rows::of(&columns, answers)?,
        kind: StatementKind::Copy,
    })
}

/// A file's rows, with the columns that are wanted in their order.
fn read_file(
    file: &str,
    bytes: Bytes,
    target: &table::Table,
    columns: Option<&[Ident]>,
    options: &Properties,
) -> SqlResult<Rows> {
    let failed = |reason: String| {
        let text = format!("Error parsing the file {file}: {reason}");
        SqlError::new(100_069, "22000", text)
    };
    let names: Vec<&str> = match columns {
        Some(columns) => columns.iter().map(Ident::as_str).collect(),
        None => target
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect(),
    };
    let format = options.options("FILE_FORMAT").cloned().unwrap_or_default();
    let batches: Vec<RecordBatch> = match format.text("TYPE").as_deref() {
        Some("PARQUET") => {
            if !matches!(
                options.text("MATCH_BY_COLUMN_NAME").as_deref(),
                Some("CASE_INSENSITIVE" | "CASE_SENSITIVE")
            ) {
                return Err(SqlError::compilation(
                    2019,
                    "0A000",
                    "PARQUET file format can produce one and only one column of type variant, object, or array. Load data into separate columns using the MATCH_BY_COLUMN_NAME copy option.",
                ));
            }
            let is_exact =
                options.text("MATCH_BY_COLUMN_NAME").as_deref() == Some("CASE_SENSITIVE");
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|builder| builder.build())
                .map_err(|error| failed(error.to_string()))?;
            let batches = reader.collect::<Result<Vec<_>, _>>();
            let batches = batches.map_err(|error| failed(error.to_string()))?;
            let pick = |batch: RecordBatch| {
                let schema = batch.schema();
                let arrays = names.iter().map(|name| {
                    let found = schema.fields().iter().position(|field| match is_exact {
                        true => field.name() == name,
                        false => field.name().eq_ignore_ascii_case(name),
                    });
                    match found {
                        Some(index) => Arc::clone(batch.column(index)),
                        None => arrow::array::new_null_array(&ArrowType::Utf8, batch.num_rows()),
                    }
                });
                let arrays: Vec<_> = names.iter().copied().zip(arrays).collect();
                RecordBatch::try_from_iter_with_nullable(
                    arrays.into_iter().map(|(name, array)| (name, array, true)),
                )
            };
            let batches = batches.into_iter().map(pick).collect::<Result<_, _>>();
            batches.map_err(|error: arrow::error::ArrowError| failed(error.to_string()))?
        }
        _ => {
            let schema = Schema::new(
                names
                    .iter()
                    .map(|name| Field::new(*name, ArrowType::Utf8, true))
                    .collect::<Vec<_>>(),
            );
            let one = |name: &str, default: u8| {
                let text = format.text(name);
                text.and_then(|text| text.bytes().next()).unwrap_or(default)
            };
            let skip = format.integer("SKIP_HEADER").unwrap_or(0) as usize;
            let text = skip_lines(&bytes, skip);
            let mut builder = ReaderBuilder::new(Arc::new(schema))
                .with_header(false)
                .with_delimiter(one("FIELD_DELIMITER", b','));
            if format.get("FIELD_OPTIONALLY_ENCLOSED_BY").is_some() {
                builder = builder.with_quote(one("FIELD_OPTIONALLY_ENCLOSED_BY", b'"'));
            }
            let reader = builder
                .build(text)
                .map_err(|error| failed(error.to_string()))?;
            let batches = reader.collect::<Result<Vec<_>, _>>();
            batches.map_err(|error| failed(error.to_string()))?
        }
    };
    let schema = match batches.first() {
        Some(batch) => batch.schema(),
        None => Arc::new(Schema::new(
            names
                .iter()
                .map(|name| Field::new(*name, ArrowType::Utf8, true))
                .collect::<Vec<_>>(),
        )),
    };
    Ok(Rows::new(schema, batches))
}

/// What follows the first lines.
fn skip_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let mut rest = bytes;
    for _ in 0..lines {
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None => return &[],
        }
    }
    rest
}
