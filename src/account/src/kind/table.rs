//! Native tables, and the part of CREATE TABLE that tells them from Iceberg tables of an external
//! catalog, which share their namespace.

use async_trait::async_trait;
use sqlparser::tokenizer::Token;

use super::native_table::{Table, TableColumn, create_empty, iceberg_type};
use super::{Created, Ddl, KindInfo, ObjectKind};
use crate::lake::{self, describe_columns};
use crate::object::columns::{
    COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME, column,
    count, yes_no,
};
use crate::object::properties::{self, Properties, Property};
use crate::object::{Create, Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::{Cursor, data_type};

pub struct TableKind;

const PROPERTIES: &[Property] = &[properties::COMMENT];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
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
            yes_no(Kind::Table.of(table) == Kind::IcebergTable)
        }),
        column("is_dynamic", |_| "N".into()),
        column("is_immutable", |_| "N".into()),
    ],
    has_terse: true,
    can_undrop: true,
    ddl: Some(Ddl {
        object_type: "TABLE",
        statement: |_, table, name| create_statement(table, name),
    }),
    shown: &[Kind::Table, Kind::IcebergTable],
    ..KindInfo::new(
        Kind::Table,
        &["TABLE", "TRANSIENT TABLE", "TEMPORARY TABLE", "TEMP TABLE"],
        "TABLES",
        Scope::Schema,
        "Table",
    )
};

/// Returns the number of rows and of bytes, where they are known.
pub fn size(table: &Object) -> Option<(u64, u64)> {
    match &table.state {
        State::Table(table) => Some((table.rows, table.bytes)),
        State::IcebergTable(table) => table.size(),
        _ => None,
    }
}

/// Returns the kind of table that a CREATE creates, from what follows the name: only a native table
/// has columns or a query.
pub fn kind_of_new(cursor: &Cursor<'_>) -> Kind {
    let mut words = ["AS", "LIKE", "CLONE"].iter();
    let is_native = words.any(|word| cursor.is_next(word)) || cursor.peek() == Some(&Token::LParen);
    if is_native {
        Kind::Table
    } else {
        Kind::IcebergTable
    }
}

/// A table that is to be created from a query.
pub struct AsSelect {
    pub create: Create,
    /// The columns, if they were written; else they are the query's.
    pub columns: Vec<TableColumn>,
    pub query: String,
}

/// Returns the statement that recreates a table.
fn create_statement(object: &Object, name: &str) -> Option<String> {
    let columns = object.state::<Table>()?.columns.iter().map(|column| {
        let not_null = if column.is_nullable { "" } else { " NOT NULL" };
        format!("\n\t{} {}{not_null}", column.name, column.ty)
    });
    Some(format!(
        "create or replace TABLE {name} ({}\n){}",
        columns.collect::<Vec<_>>().join(","),
        ddl::options(&object.properties, PROPERTIES, "")
    ))
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
impl ObjectKind for TableKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_object(name)
    }

    fn kind_of_new(&self, cursor: &Cursor<'_>) -> Kind {
        kind_of_new(cursor)
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        if cursor.is_next("LIKE") || cursor.is_next("CLONE") {
            let feature = format!("CREATE TABLE … {}", cursor.ident()?);
            return Err(SqlError::unsupported(feature));
        }
        let (mut columns, mut properties) = (Vec::new(), Properties::default());
        if cursor.peek() == Some(&Token::LParen) {
            columns = cursor.list(parse_column)?;
            properties = Properties::parse_new(cursor, PROPERTIES)?;
        }
        if cursor.accept("AS") {
            let query = cursor.take_rest().to_owned();
            return Ok(Created::AsSelect(AsSelect {
                create,
                columns,
                query,
            }));
        }
        cursor.expect_end()?;
        let rows = if session.is_skipped(Kind::Table, &create)? {
            session.create(Kind::Table, &create, properties, State::None)?
        } else {
            create_empty(session, &create, columns, properties).await?
        };
        Ok(Created::Done(rows))
    }

    async fn alter(&self, _: &Session, object: Object, cursor: &mut Cursor<'_>) -> SqlResult<Rows> {
        cursor.expect("REFRESH")?;
        if !cursor.is_at_end() {
            cursor.string()?;
        }
        cursor.expect_end()?;
        let text = format!(
            "ALTER command failed. The provided table must be an Iceberg table with an external catalog integration to perform the command ICEBERG_TABLE_REFRESH. The type of table {} is NOT_ICEBERG.",
            object.name.last()
        );
        Err(SqlError::compilation(code::INVALID_PROPERTY, text))
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        Ok(describe_columns(&lake::columns(session, object).await?))
    }
}
