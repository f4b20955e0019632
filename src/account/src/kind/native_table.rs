//! Native tables, which are stored as Iceberg tables in the sandbox's own bucket.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use iceberg::spec::{DataFile, NestedField, PrimitiveType, Schema as IcebergSchema, Type};
use serde::{Deserialize, Serialize};

use crate::object::properties::Properties;
use crate::object::{Create, Object};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;
use icebox_tables::commit::TableVersion;
use icebox_tables::{LakeTable, RewriteThreshold, TableChanges};

/// A native table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    pub metadata_location: String,
    pub columns: Vec<TableColumn>,
    #[serde(default)]
    pub rows: u64,
    /// The total size of the data files.
    #[serde(default)]
    pub bytes: u64,
    /// The loaded files, oldest first. They belong to the table, as in Snowflake ("Load metadata"):
    /// a table that replaces this one loads the files again.
    #[serde(default)]
    pub loads: Vec<Load>,
}

/// A file that COPY INTO has loaded into a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub stage_location: String,
    /// The path of the file in the stage.
    pub file: String,
    pub etag: String,
    /// In bytes.
    pub size: u64,
    pub at: DateTime<Utc>,
    pub rows: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableColumn {
    pub name: Ident,
    /// The type as SQL.
    pub ty: String,
    pub is_nullable: bool,
}

impl TableColumn {
    pub fn data_type(&self) -> DataType {
        DataType::parse(&self.ty).unwrap_or(DataType::TEXT)
    }
}

/// Returns the files that COPY INTO has loaded into a table.
pub fn loads(object: &Object) -> &[Load] {
    object.state::<Table>().map_or(&[], |table| &table.loads)
}

/// Returns the Iceberg type of a column.
pub fn iceberg_type(ty: DataType) -> SqlResult<Type> {
    let primitive = match ty {
        DataType::Number { precision, scale } => PrimitiveType::Decimal {
            precision: precision.into(),
            scale: scale.into(),
        },
        DataType::Float => PrimitiveType::Double,
        DataType::Text { .. } | DataType::Variant | DataType::Object | DataType::Array => {
            PrimitiveType::String
        }
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Date => PrimitiveType::Date,
        DataType::Time { .. } => PrimitiveType::Time,
        DataType::TimestampNtz { .. } => PrimitiveType::Timestamp,
        DataType::TimestampLtz { .. } | DataType::TimestampTz { .. } => PrimitiveType::Timestamptz,
        DataType::Binary { .. } => PrimitiveType::Binary,
        DataType::Uuid => {
            return Err(SqlError::unsupported(format!("a column of type {ty}")));
        }
    };
    Ok(Type::Primitive(primitive))
}

/// Creates a native table without rows.
pub fn create_empty<'a>(
    session: &'a Session,
    create: &'a Create,
    columns: Vec<TableColumn>,
    properties: Properties,
) -> BoxFuture<'a, SqlResult<Rows>> {
    async move {
        if columns.is_empty() {
            return Err(SqlError::compilation(
                code::SYNTAX,
                "A table has at least one column.",
            ));
        }
        let fields = columns.iter().enumerate().map(|(index, column)| {
            let ty = iceberg_type(column.data_type())?;
            let (id, name) = (index as i32 + 1, column.name.as_str());
            Ok(Arc::new(if column.is_nullable {
                NestedField::optional(id, name, ty)
            } else {
                NestedField::required(id, name, ty)
            }))
        });
        let fields = fields.collect::<SqlResult<Vec<_>>>()?;
        let schema = IcebergSchema::builder().with_fields(fields).build();
        let host = &session.account().host;
        let location = format!("{}{}", host.storage(), uuid::Uuid::new_v4());
        let version = TableVersion::create(&location, schema.map_err(failed)?, HashMap::new());
        let mut version = version.map_err(failed)?;
        version
            .write_metadata(&host.lake().file_io())
            .await
            .map_err(failed)?;
        let state = State::Table(Table {
            metadata_location: version.location,
            columns,
            rows: 0,
            bytes: 0,
            loads: Vec::new(),
        });
        session.create(Kind::Table, create, properties, state)
    }
    .boxed()
}

/// Appends rows to a native table. The columns of the batches are matched to the table's by name.
pub fn append<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    batches: Vec<RecordBatch>,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        // Writers of a table run one after another.
        let lock = session.account().write_lock(name);
        let _queued = lock.lock().await;
        append_queued(session, name, batches, Vec::new()).await
    }
    .boxed()
}

/// Returns the error for a write to a table of an external catalog.
pub fn read_only(name: &ObjectName) -> SqlError {
    let text = format!(
        "Iceberg table {} of an external catalog is read-only.",
        name.last()
    );
    SqlError::compilation(code::NOT_WRITABLE, text)
}

/// Appends rows to a native table whose write lock the caller holds, with the files that they were
/// loaded from. Both appear at once, or neither does.
pub fn append_queued<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    batches: Vec<RecordBatch>,
    loads: Vec<Load>,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        let account = session.account();
        let object = account.find(Kind::Table, name)?;
        let Some(table) = object.state::<Table>() else {
            return Err(read_only(name));
        };
        let lake = account.host.lake();
        let io = lake.file_io();
        let version = TableVersion::load(&io, &table.metadata_location).await;
        let version = version.map_err(failed)?;
        let base = LakeTable::from_metadata(lake, &version.location, version.metadata.clone());
        let mut changes = TableChanges::new(Arc::new(base.await.map_err(failed)?), version);
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        for batch in batches {
            changes.insert(batch);
        }
        let change = changes.row_change(RewriteThreshold::default()).await;
        let change = change.map_err(failed)?;
        if change.is_empty() && loads.is_empty() {
            return Ok(0);
        }
        let bytes: u64 = change.added.iter().map(DataFile::file_size_in_bytes).sum();
        let mut location = table.metadata_location.clone();
        if !change.is_empty() {
            let version = changes.version().with_rows(&io, change).await;
            location = version.map_err(failed)?.location;
        }
        account.update(Kind::Table, name, |object| {
            if let State::Table(table) = &mut object.state {
                table.metadata_location = location;
                table.rows += rows;
                table.bytes += bytes;
                table.loads.extend(loads);
            }
            Ok(())
        })?;
        Ok(rows)
    }
    .boxed()
}

fn failed(error: impl std::error::Error + 'static) -> SqlError {
    SqlError::internal(&error)
}
