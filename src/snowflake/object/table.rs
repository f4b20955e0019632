//! Tables: native ones, which are Iceberg in the sandbox's own bucket, and Iceberg tables of external catalogs, which share
//! their names.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use iceberg::spec::{NestedField, PrimitiveType, Schema as IcebergSchema, Type};
use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use super::columns::{
    COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME, column,
    count, optional, yes_no,
};
use super::properties::{self, Properties, Property};
use super::{About, Create, Kind, Object, Scope, State, ddl, iceberg_table};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::lake;
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::rows::Rows;
use crate::snowflake::session::Session;
use crate::snowflake::statement::{self, Context};
use crate::snowflake::syntax::{Cursor, data_type};
use crate::snowflake::types::DataType;
use crate::tables::commit::{RowChange, TableVersion};
use crate::tables::write::{DataFileWriter, data_file_location};

pub struct Definition;

const PROPERTIES: &[Property] = &[properties::COMMENT];

const ABOUT: About = About {
    kind: Kind::Table,
    words: &[
        "ICEBERG TABLE",
        "TABLE",
        "TRANSIENT TABLE",
        "TEMPORARY TABLE",
        "TEMP TABLE",
    ],
    plural: &["TABLES"],
    scope: Scope::Schema,
    noun: "Table",
    created: ("Table ", " successfully created."),
    properties: PROPERTIES,
    columns: &[
        CREATED_ON,
        NAME,
        DATABASE_NAME,
        SCHEMA_NAME,
        column("kind", |_| "TABLE".into()),
        COMMENT,
        column("cluster_by", |_| "".into()),
        Column::number("rows", |table| count(size(table).map(|(rows, _)| rows))),
        Column::number("bytes", |table| count(size(table).map(|(_, bytes)| bytes))),
        OWNER,
        column("retention_time", |_| "1".into()),
        column("automatic_clustering", |_| "OFF".into()),
        column("change_tracking", |_| "OFF".into()),
        column("is_external", |_| "N".into()),
        column("enable_schema_evolution", |_| "N".into()),
        OWNER_ROLE_TYPE,
        column("is_event", |_| "N".into()),
        column("is_hybrid", |_| "N".into()),
        column("is_iceberg", |table| {
            yes_no(iceberg_table::of(table).is_some())
        }),
        column("is_dynamic", |_| "N".into()),
        column("is_immutable", |_| "N".into()),
    ],
};

/// Rows and bytes, where they are known.
pub fn size(table: &Object) -> Option<(u64, u64)> {
    match &table.state {
        State::Table(table) => Some((table.rows, table.bytes)),
        State::IcebergTable(table) => table.size(),
        _ => None,
    }
}

/// SHOW ICEBERG TABLES.
pub const ICEBERG: About = About {
    words: &["ICEBERG TABLE"],
    plural: &["ICEBERG TABLES"],
    properties: iceberg_table::PROPERTIES,
    columns: &[
        CREATED_ON,
        NAME,
        DATABASE_NAME,
        SCHEMA_NAME,
        OWNER,
        column("external_volume_name", |table| {
            property(table, "EXTERNAL_VOLUME")
        }),
        column("catalog_name", |table| property(table, "CATALOG")),
        column("iceberg_table_type", |_| "UNMANAGED".into()),
        column("catalog_table_name", |table| {
            property(table, "CATALOG_TABLE_NAME")
        }),
        column("catalog_namespace", |table| {
            property(table, "CATALOG_NAMESPACE")
        }),
        column("base_location", |_| "".into()),
        column("can_write_metadata", |_| "Y".into()),
        COMMENT,
        column("name_mapping", |_| ScalarValue::Utf8(None)),
        OWNER_ROLE_TYPE,
        column("catalog_sync_name", |_| "".into()),
        column("auto_refresh_status", |table| {
            optional(iceberg_table::auto_refresh_status(table))
        }),
        column("partition_specs", |_| "[]".into()),
        column("current_partition_spec_id", |_| "0".into()),
        column("iceberg_table_format_version", |_| "2".into()),
    ],
    ..ABOUT
};

fn property(table: &Object, name: &str) -> ScalarValue {
    ScalarValue::Utf8(table.properties.text(name))
}

/// A native table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    pub metadata_location: String,
    pub columns: Vec<TableColumn>,
    #[serde(default)]
    pub rows: u64,
    /// Of the data files.
    #[serde(default)]
    pub bytes: u64,
    /// The oldest first. They are the table's own, as in Snowflake ("Load metadata"): one that replaces it loads the files again.
    #[serde(default)]
    pub loads: Vec<Load>,
}

/// A file that COPY INTO has read into a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub stage_location: String,
    /// Its path in the stage.
    pub file: String,
    pub etag: String,
    /// Bytes.
    pub size: u64,
    pub at: DateTime<Utc>,
    pub rows: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableColumn {
    pub name: Ident,
    /// As SQL.
    pub ty: String,
    pub is_nullable: bool,
}

impl TableColumn {
    pub fn data_type(&self) -> DataType {
        DataType::parse(&self.ty).unwrap_or(DataType::TEXT)
    }
}

pub fn of(object: &Object) -> Option<&Table> {
    match &object.state {
        State::Table(table) => Some(table),
        _ => None,
    }
}

/// What COPY INTO has read into a table.
pub fn loads(object: &Object) -> &[Load] {
    of(object).map_or(&[], |table| &table.loads)
}

/// Where a table's metadata file is.
pub fn metadata_location(object: &Object) -> Option<&str> {
    match &object.state {
        State::Table(table) => Some(&table.metadata_location),
        State::IcebergTable(table) => Some(&table.metadata_location),
        _ => None,
    }
}

/// The type that a column has in Iceberg.
fn iceberg_type(ty: DataType) -> SqlResult<Type> {
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

/// Makes a native table, without rows.
pub fn make<'a>(
    session: &'a Session,
    create: &'a Create,
    columns: Vec<TableColumn>,
    properties: Properties,
) -> BoxFuture<'a, SqlResult<Rows>> {
    async move {
        if columns.is_empty() {
            return Err(SqlError::compilation(
                1003,
                "42601",
                "A table has at least one column.",
            ));
        }
        let fields = columns.iter().enumerate().map(|(index, column)| {
            let ty = iceberg_type(column.data_type())?;
            let (id, name) = (index as i32 + 1, column.name.as_str());
            Ok(Arc::new(match column.is_nullable {
                true => NestedField::optional(id, name, ty),
                false => NestedField::required(id, name, ty),
            }))
        });
        let fields = fields.collect::<SqlResult<Vec<_>>>()?;
        let schema = IcebergSchema::builder().with_fields(fields).build();
        let world = &session.account().world;
        let location = format!("{}{}", world.storage(), uuid::Uuid::new_v4());
        let version = TableVersion::create(&location, schema.map_err(failed)?, HashMap::new());
        let mut version = version.map_err(failed)?;
        version
            .write_metadata(&world.lake().file_io())
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

/// Appends rows to a native table; the columns of the batches are the table's, by name.
pub fn append<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    batches: Vec<RecordBatch>,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        // Writers of a table queue.
        let lock = session.account().write_lock(name);
        let _queued = lock.lock().await;
        append_queued(session, name, batches, Vec::new()).await
    }
    .boxed()
}

/// The error of writing to a table of an external catalog.
pub fn read_only(name: &ObjectName) -> SqlError {
    let text = format!(
        "Iceberg table {} of an external catalog is read-only.",
        name.last()
    );
    SqlError::compilation(93_620, "0A000", text)
}

/// As [`append`], for whoever has the table's write lock; the rows and the loads that they are from are there at once, or
/// neither.
pub fn append_queued<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    batches: Vec<RecordBatch>,
    loads: Vec<Load>,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        let account = session.account();
        let object = account.find(Kind::Table, name)?;
        let Some(table) = of(&object) else {
            return Err(read_only(name));
        };
        let io = account.world.lake().file_io();
        let version = TableVersion::load(&io, &table.metadata_location).await;
        let version = version.map_err(failed)?;
        let location = data_file_location(version.metadata.location());
        let schema = Arc::clone(version.metadata.current_schema());
        let mut writer = DataFileWriter::create(&io, &location, schema)
            .await
            .map_err(failed)?;
        for batch in &batches {
            writer.write(batch).await.map_err(failed)?;
        }
        let rows = writer.rows();
        let file = writer.finish().await.map_err(failed)?;
        if file.is_none() && loads.is_empty() {
            return Ok(0);
        }
        let bytes = file.as_ref().map_or(0, |file| file.file_size_in_bytes());
        let mut location = table.metadata_location.clone();
        if let Some(file) = file {
            let change = RowChange {
                added: vec![file],
                ..RowChange::default()
            };
            let mut version = version.with_rows(&io, change).await.map_err(failed)?;
            version.write_metadata(&io).await.map_err(failed)?;
            location = version.location;
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

/// `name type [NOT NULL] …` of CREATE TABLE.
fn parse_column(cursor: &mut Cursor<'_>) -> SqlResult<TableColumn> {
    let name = cursor.ident()?;
    let ty = data_type(cursor)?;
    iceberg_type(ty)?;
    let mut is_nullable = true;
    loop {
        if cursor.accept("NOT NULL") {
            is_nullable = false;
        } else if cursor.accept("NULL") {
        } else if cursor.accept("COMMENT") {
            cursor.string()?;
        } else {
            break;
        }
    }
    for feature in [
        "DEFAULT",
        "AUTOINCREMENT",
        "IDENTITY",
        "PRIMARY KEY",
        "UNIQUE",
        "REFERENCES",
    ] {
        if cursor.is_next(feature) {
            let feature = format!("{feature} in CREATE TABLE");
            return Err(SqlError::unsupported(feature).at(cursor.position()));
        }
    }
    Ok(TableColumn {
        name,
        ty: ty.to_string(),
        is_nullable,
    })
}

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_object(name)
    }

    fn alterable(&self, object: &Object) -> &'static [Property] {
        match iceberg_table::of(object) {
            Some(_) => iceberg_table::ALTERABLE,
            None => PROPERTIES,
        }
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        session.account().polls.ring();
        Ok(())
    }

    async fn ddl(
        &self,
        session: &Session,
        object: &Object,
        name: &str,
    ) -> SqlResult<Option<String>> {
        let Some(table) = of(object) else {
            let account = session.account();
            return Ok(Some(iceberg_table::made_by(account, object, name)));
        };
        let columns = table.columns.iter().map(|column| {
            let not_null = if column.is_nullable { "" } else { " NOT NULL" };
            format!("\n\t{} {}{not_null}", column.name, column.ty)
        });
        Ok(Some(format!(
            "create or replace TABLE {name} ({}\n){}",
            columns.collect::<Vec<_>>().join(","),
            ddl::options(&object.properties, PROPERTIES, "")
        )))
    }

    async fn create(
        &self,
        context: Context<'_>,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        let session = context.session;
        if cursor.accept("AS") {
            let query = cursor.take_rest();
            return create_as(context, &create, Vec::new(), query).await;
        }
        if cursor.is_next("LIKE") || cursor.is_next("CLONE") {
            let feature = format!("CREATE TABLE … {}", cursor.ident()?);
            return Err(SqlError::unsupported(feature));
        }
        if cursor.peek() != Some(&Token::LParen) {
            return iceberg_table::create(session, create, cursor).await;
        }
        let columns = cursor.list(parse_column)?;
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        if cursor.accept("AS") {
            let query = cursor.take_rest();
            return create_as(context, &create, columns, query).await;
        }
        cursor.expect_end()?;
        if session.is_there(Kind::Table, &create)? {
            return session.create(Kind::Table, &create, properties, State::None);
        }
        make(session, &create, columns, properties).await
    }

    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        cursor.expect("REFRESH")?;
        let path = match cursor.is_at_end() {
            true => None,
            false => Some(cursor.string()?),
        };
        cursor.expect_end()?;
        iceberg_table::refresh(session, &object, path.as_deref()).await
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let cell = |text: &str| Some(text.to_owned());
        let columns = lake::columns(session, object).await?;
        let rows = columns.iter().map(|column| {
            [
                cell(&column.name),
                Some(column.ty.to_string()),
                cell("COLUMN"),
                cell(if column.is_nullable { "Y" } else { "N" }),
                None,
                cell("N"),
                cell("N"),
                None,
                None,
                None,
                None,
                None,
            ]
        });
        Ok(Rows::texts(
            &[
                "name",
                "type",
                "kind",
                "null?",
                "default",
                "primary key",
                "unique key",
                "check",
                "expression",
                "comment",
                "policy name",
                "privacy domain",
            ],
            rows,
        ))
    }
}

/// `CREATE TABLE … AS SELECT`, with or without a list of columns.
fn create_as<'a>(
    context: Context<'a>,
    create: &'a Create,
    columns: Vec<TableColumn>,
    query: &'a str,
) -> BoxFuture<'a, SqlResult<Rows>> {
    async move {
        let session = context.session;
        if session.is_there(Kind::Table, create)? {
            return session.create(Kind::Table, create, Properties::default(), State::None);
        }
        let read = statement::query::read(context, query).await?;
        let columns = match columns.is_empty() {
            false => columns,
            true => {
                let fields = read.rows.schema.fields().iter();
                let columns = fields.map(|field| TableColumn {
                    name: Ident::quoted(field.name().as_str()),
                    ty: DataType::of_field(field).to_string(),
                    is_nullable: true,
                });
                columns.collect()
            }
        };
        let status = make(session, create, columns, Properties::default()).await?;
        let name = session.full_name(Kind::Table, &create.name)?;
        statement::insert::append_rows(session, &name, None, &read.rows).await?;
        read.consume(session)?;
        Ok(status)
    }
    .boxed()
}

fn failed(error: iceberg::Error) -> SqlError {
    SqlError::internal(&error)
}
