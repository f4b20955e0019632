//! Tables: native ones and Iceberg tables of external catalogs, which share a namespace.

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;

use super::columns::{
    COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME, column,
    count, optional, yes_no,
};
use super::native_table::{TableColumn, iceberg_type, make, of};
use super::properties::{self, Properties, Property};
use super::{About, Create, Kind, Object, Scope, State, ddl, iceberg_table};
use crate::lake;
use crate::session::Session;
use crate::statement::{self, Context};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::{Cursor, data_type};
use icebox_sql::types::DataType;

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

/// Returns the number of rows and of bytes, where they are known.
pub fn size(table: &Object) -> Option<(u64, u64)> {
    match &table.state {
        State::Table(table) => Some((table.rows, table.bytes)),
        State::IcebergTable(table) => table.size(),
        _ => None,
    }
}

/// The description of Iceberg tables for SHOW ICEBERG TABLES.
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

/// Returns the location of a table's metadata file.
pub fn metadata_location(object: &Object) -> Option<&str> {
    match &object.state {
        State::Table(table) => Some(&table.metadata_location),
        State::IcebergTable(table) => Some(&table.metadata_location),
        _ => None,
    }
}

/// Parses `name type [NOT NULL] …` of CREATE TABLE.
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
        let path = if cursor.is_at_end() {
            None
        } else {
            Some(cursor.string()?)
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

/// Runs `CREATE TABLE … AS SELECT`, with or without a list of columns.
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
        let columns = if !columns.is_empty() {
            columns
        } else {
            let fields = read.rows.schema.fields().iter();
            let columns = fields.map(|field| TableColumn {
                name: Ident::quoted(field.name().as_str()),
                ty: DataType::of_field(field).to_string(),
                is_nullable: true,
            });
            columns.collect()
        };
        let status = make(session, create, columns, Properties::default()).await?;
        let name = session.full_name(Kind::Table, &create.name)?;
        statement::insert::append_rows(session, &name, None, &read.rows).await?;
        read.consume(session)?;
        Ok(status)
    }
    .boxed()
}
