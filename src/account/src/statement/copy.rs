//! COPY INTO a native table from a stage, and LIST.

use datafusion::common::ScalarValue;
use object_store::ObjectStoreExt;
use sqlparser::tokenizer::Token;

use super::Context;
use super::files::Reading;
use super::insert::{self, Refused};
use crate::Kind;
use crate::answer::{Answer, StatementKind};
use crate::kind::native_table::{self, Table};
use crate::kind::stage;
use crate::object::properties::{Properties, Property, PropertyType};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

const OPTIONS: &[Property] = &[
    Property::new("FILES", PropertyType::Texts),
    Property::new("FILE_FORMAT", PropertyType::Options(stage::FILE_FORMAT)),
    Property::new(
        "MATCH_BY_COLUMN_NAME",
        PropertyType::OneOf(&["CASE_INSENSITIVE", "CASE_SENSITIVE", "NONE"]),
    ),
    Property::new("FORCE", PropertyType::Boolean).with_default("FALSE"),
];

/// Parses `@[database.schema.]stage[/path]`.
fn stage_path(cursor: &mut Cursor<'_>) -> SqlResult<(ObjectName, String)> {
    cursor.expect_token(&Token::AtSign)?;
    let name = cursor.name(3)?;
    let start = cursor.last_end();
    // A path has no blanks: it continues as long as there is no space between tokens.
    while !cursor.is_at_end() && cursor.offset() == cursor.last_end() {
        cursor.bump();
    }
    let path = &cursor.text()[start..cursor.last_end()];
    Ok((name, path.trim_start_matches('/').to_owned()))
}

/// Runs `LIST @stage[/path]`.
pub async fn list(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let (name, path) = stage_path(&mut cursor)?;
    cursor.expect_end()?;
    Ok(Answer {
        rows: stage::list_rows(context.session, &name, &path).await?,
        kind: StatementKind::List,
    })
}

/// Runs `COPY INTO table [(columns)] FROM @stage[/path] [FILES = (…)] [FILE_FORMAT = (…)] …`.
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
    account.find(Kind::Table, &name)?;
    let full = session.full_name(Kind::Stage, &stage_name)?;
    let stage = account.find(Kind::Stage, &full)?;
    if options.options("FILE_FORMAT").is_none()
        && let Some(format) = stage.properties.get("FILE_FORMAT")
    {
        options.set("FILE_FORMAT", format.clone());
    }
    // The lock is held from here to the end, so that no two statements load the same file.
    let lock = account.write_lock(&name);
    let _queued = lock.lock().await;
    let object = account.find(Kind::Table, &name)?;
    let Some(target) = object.state::<Table>() else {
        return Err(native_table::read_only(&name));
    };
    let names: Vec<&str> = match &columns {
        Some(columns) => columns.iter().map(Ident::as_str).collect(),
        None => target.columns.iter().map(|one| one.name.as_str()).collect(),
    };
    let (format, matching) = (
        options.options("FILE_FORMAT").cloned(),
        options.text("MATCH_BY_COLUMN_NAME"),
    );
    let reading = Reading {
        columns: &names,
        format: &format.unwrap_or_default(),
        matching: matching.as_deref(),
    };
    let zone = session.current().zone();
    let files = stage::list(session, &stage, &path).await?;
    let lake = stage::lake(session, &stage).await?;
    let wanted = options.texts("FILES");
    let url = stage::url(&stage);
    let (mut batches, mut loads, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (file, found) in files {
        let below = file
            .strip_prefix(path.as_str())
            .unwrap_or(&file)
            .trim_start_matches('/');
        if !wanted.is_empty() && !wanted.iter().any(|one| one == below || *one == file) {
            continue;
        }
        // A file that has not changed is loaded into a table only once.
        let is_loaded = target
            .loads
            .iter()
            .any(|load| load.file == file && load.stage_location == url && load.etag == found.etag);
        if is_loaded && !options.is_true("FORCE") {
            continue;
        }
        let location = format!("{url}{file}");
        let (store, key) = lake
            .resolve(&location)
            .map_err(|error| SqlError::internal(&error))?;
        let bytes = async { store.get(&key).await?.bytes().await };
        let bytes = context
            .unless_cancelled(async { bytes.await.map_err(|error| SqlError::stage_failed(&error)) })
            .await?;
        let rows = reading.rows(&file, bytes)?;
        let rows = insert::as_stored(target, columns.as_deref(), &rows, zone)
            .map_err(|refused| located(refused, &file, target))?;
        let count: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        batches.extend(rows);
        loads.push(native_table::Load {
            stage_location: url.clone(),
            file: file.clone(),
            etag: found.etag,
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
    native_table::append_queued(session, &name, batches, loads).await?;
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
        rows: Rows::from_values(&columns, answers)?,
        kind: StatementKind::Copy,
    })
}

/// Adds the file, row and column of a refused value to its error.
fn located(refused: Refused, file: &str, table: &Table) -> SqlError {
    let mut error = refused.error;
    error.message.push_str(&format!("\n  File '{file}'"));
    if let Some((row, index)) = refused.at {
        let column = &table.columns[index].name;
        let (row, number) = (row + 1, index + 1);
        error.message.push_str(&format!(
            "\n  Row {row}, column {column}, which is number {number}"
        ));
    }
    error
}
