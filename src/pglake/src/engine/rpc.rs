//! Requests of the extension that `postgres_fdw` has no statements for. They run inside the
//! caller's transaction.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::TryStreamExt;
use iceberg::spec::{DataContentType, Schema, TableMetadata};
use object_store::path::Path;
use serde::Deserialize;
use serde_json::json;
use sqlparser::ast::{self, Query, SetExpr, Value, visit_expressions};

use super::changes::Changes;
use super::error::{Error, Result};
use super::statement::drop_statements;
use super::transaction::Transaction;
use super::view::BoundColumn;
use crate::columns::{Column, FieldError};
use icebox_tables::commit::{SchemaChange, TableVersion};
use icebox_tables::{LakeIo, Location};

/// A request of the extension: JSON in the condition of a scan of `rpc`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    CreateTable {
        table: u32,
        location: String,
        owner: String,
        columns: Vec<Column>,
    },
    AlterTable {
        table: u32,
        changes: Vec<ColumnChange>,
        columns: Vec<Column>,
    },
    DropStatements {
        sql: String,
    },
    /// Returns the contents of a metadata file.
    Metadata {
        location: String,
    },
    /// Lists the data and delete files of a metadata file's current snapshot.
    Files {
        location: String,
    },
    /// Lists the objects whose URL matches a glob pattern.
    List {
        pattern: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnChange {
    Add(Column),
    Drop(String),
    Rename(String, String),
    Nullable(String),
}

/// Executes a request and returns its answer as JSON.
pub(super) async fn execute(
    request: &str,
    io: &LakeIo,
    transaction: &mut Transaction,
) -> Result<String> {
    let request: Request = serde_json::from_str(request).map_err(|error| {
        Error::internal(format!("a request of the extension is malformed: {error}"))
    })?;
    let answer = match request {
        Request::DropStatements { sql } => json!(drop_statements(&sql)?),
        Request::Metadata { location } => serde_json::from_slice(&io.read(&location).await?)
            .map_err(|error| {
                Error::new(
                    "22023",
                    format!("{location} is not a table metadata file: {error}"),
                )
            })?,
        Request::Files { location } => json!(files(io, &location).await?),
        Request::List { pattern } => json!(list(io, &pattern).await?),
        Request::CreateTable {
            table,
            location,
            owner,
            columns,
        } => {
            if !io.is_empty(&location).await? {
                return Err(
                    Error::new("58P02", format!("location \"{location}\" is not empty"))
                        .hint("Please use an empty location."),
                );
            }
            let mut last_id = 0;
            let mut next_id = || {
                last_id += 1;
                last_id
            };
            let fields = columns
                .iter()
                .map(|column| column.field(&mut next_id).map(Arc::new))
                .collect::<Result<Vec<_>, FieldError>>()?;
            let schema = Schema::builder().with_fields(fields).build()?;
            let properties = HashMap::from([("owner".to_owned(), owner)]);
            let version = TableVersion::create(&location, schema, properties)?;
            let changes = Changes::created(io, version, BoundColumn::bind(&columns)?).await?;
            transaction.create(table, changes);
            json!({})
        }
        Request::AlterTable {
            table,
            changes,
            columns,
        } => {
            let changes = changes
                .into_iter()
                .map(schema_change)
                .collect::<Result<Vec<_>>>()?;
            let columns = BoundColumn::bind(&columns)?;
            transaction
                .flushed_changes(table)
                .await?
                .alter(&changes, columns)
                .await?;
            json!({})
        }
    };
    Ok(answer.to_string())
}

/// Returns the rows of `lake_iceberg.files`. The table may come from any writer.
async fn files(io: &LakeIo, location: &str) -> Result<Vec<serde_json::Value>> {
    let metadata = TableMetadata::read_from(&io.file_io(), location).await?;
    let file_io = io.file_io_of_table(Arc::new(metadata));
    let version = TableVersion::load(&file_io, location).await?;
    let files = version.files(&file_io).await?.into_iter();
    let described = files.map(|(manifest, file)| {
        let content = match file.content_type() {
            DataContentType::Data => "DATA",
            DataContentType::PositionDeletes => "POSITION_DELETES",
            DataContentType::EqualityDeletes => "EQUALITY_DELETES",
        };
        json!({
            "manifest_path": manifest.manifest_path,
            "content": content,
            "file_path": file.file_path(),
            "file_format": file.file_format().to_string().to_uppercase(),
            "spec_id": manifest.partition_spec_id,
            "record_count": file.record_count(),
            "file_size_in_bytes": file.file_size_in_bytes(),
        })
    });
    Ok(described.collect())
}

/// Returns the rows of `lake_file.list`.
async fn list(io: &LakeIo, pattern: &str) -> Result<Vec<serde_json::Value>> {
    let invalid =
        |reason: String| Error::new("22023", format!("invalid pattern \"{pattern}\": {reason}"));
    // A `**` at the end matches every file below, as in DuckDB's globs.
    let every_file = if pattern.ends_with("/**") { "/*" } else { "" };
    let glob = glob::Pattern::new(&format!("{pattern}{every_file}"))
        .map_err(|error| invalid(error.to_string()))?;
    // The listing is limited by the whole path segments before the first wildcard.
    let fixed = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
    let root: Location = pattern.parse()?;
    let folder = fixed.rfind('/').map_or("", |end| &fixed[..end]);
    let prefix = folder.strip_prefix(root.root()).unwrap_or_default();
    let prefix = Path::parse(prefix).map_err(|error| invalid(error.to_string()))?;
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..Default::default()
    };
    let listed: Vec<_> = io
        .store(&root)?
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(|error| Error::new("08006", format!("cannot list {folder}: {error}")))?;
    let mut objects: Vec<_> = listed
        .into_iter()
        .map(|object| (format!("{}/{}", root.root(), object.location), object))
        .filter(|(url, _)| glob.matches_with(url, options))
        .collect();
    objects.sort_by(|left, right| left.0.cmp(&right.0));
    let described = objects.into_iter().map(|(url, object)| {
        json!({
            "path": url,
            "file_size": object.size,
            "last_modified_time": object.last_modified,
            "etag": object.e_tag.map(|tag| tag.trim_matches('"').to_owned()),
        })
    });
    Ok(described.collect())
}

fn schema_change(change: ColumnChange) -> Result<SchemaChange> {
    Ok(match change {
        ColumnChange::Add(column) => SchemaChange::Add(column.field(&mut || 0)?),
        ColumnChange::Drop(name) => SchemaChange::Drop(name),
        ColumnChange::Rename(from, to) => SchemaChange::Rename(from, to),
        ColumnChange::Nullable(name) => SchemaChange::Nullable(name),
    })
}

/// Returns the text of a request: the constant in the condition of a scan of `rpc`. Returns `None`
/// for other queries.
pub(super) fn request(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    if !from.relation.to_string().ends_with(".rpc") {
        return None;
    }
    let mut request = None;
    let _ = visit_expressions(&select.selection, |expr| {
        if let ast::Expr::Value(value) = expr
            && let Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) =
                &value.value
        {
            request = Some(text.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    request
}
