//! Lists of SHOW that do not consist of the objects of one kind.

use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use super::filter::{Filter, ShowScope};
use crate::Kind;
use crate::functions;
use crate::kind::table::size;
use crate::lake::{self, TableColumn};
use crate::object::columns::{
    COMMENT, CREATED_ON, Column, DATABASE_NAME, ENABLED, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME,
    TIME, column, count, optional, result_set, text, time, yes_no,
};
use crate::object::{Object, Scope};
use crate::parameters::{PARAMETERS, Parameter};
use crate::session::{Session, Variable};
use icebox_sql::error::SqlResult;
use icebox_sql::names::Ident;
use icebox_sql::query;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

/// A list: its words in SHOW, the scope of its default place, and its rows.
pub struct List {
    words: &'static [&'static str],
    pub scope: Scope,
    pub rows: for<'a> fn(&'a Session, Filter) -> BoxFuture<'a, SqlResult<Rows>>,
}

const LISTS: &[List] = &[
    List {
        words: &["OBJECTS"],
        scope: Scope::Schema,
        rows: |session, filter| async move { objects(session, &filter) }.boxed(),
    },
    List {
        words: &["COLUMNS"],
        scope: Scope::Schema,
        rows: |session, filter| columns(session, filter).boxed(),
    },
    List {
        words: &["PARAMETERS"],
        scope: Scope::Account,
        rows: |session, filter| async move { parameters(session, &filter) }.boxed(),
    },
    List {
        words: &["VARIABLES"],
        scope: Scope::Account,
        rows: |session, filter| async move { variables(session, &filter) }.boxed(),
    },
    List {
        words: &["INTEGRATIONS"],
        scope: Scope::Account,
        rows: |session, filter| async move { integrations(session, &filter) }.boxed(),
    },
    List {
        words: &["FUNCTIONS", "BUILTIN FUNCTIONS"],
        scope: Scope::Account,
        rows: |_, filter| async move { result_set(FUNCTIONS, &builtin(&filter)) }.boxed(),
    },
    List {
        words: &["USER FUNCTIONS"],
        scope: Scope::Account,
        rows: |_, _| async move { result_set(FUNCTIONS, &[]) }.boxed(),
    },
    List {
        words: &["VIEWS"],
        scope: Scope::Schema,
        rows: |_, _| async move { result_set(VIEWS, &[]) }.boxed(),
    },
];

/// Consumes the words of a list if they come next, and returns the list.
pub fn accept(cursor: &mut Cursor<'_>) -> Option<&'static List> {
    let mut lists = LISTS.iter();
    lists.find(|list| list.words.iter().any(|words| cursor.accept(words)))
}

fn objects(session: &Session, filter: &Filter) -> SqlResult<Rows> {
    let tables = session
        .account()
        .list_namespace(Kind::Table, filter.scope.within());
    let tables = filter.apply(tables, |table| table.name.last().as_str());
    result_set(OBJECTS, &tables)
}

const OBJECTS: &[Column] = &[
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
    OWNER_ROLE_TYPE,
    column("is_hybrid", |_| "N".into()),
    column("is_dynamic", |_| "N".into()),
    column("is_iceberg", |table| {
        yes_no(Kind::Table.of(table) == Kind::IcebergTable)
    }),
];

/// Returns the columns of one table, or of all tables in the filter's place.
async fn columns(session: &Session, filter: Filter) -> SqlResult<Rows> {
    let all = match &filter.scope {
        ShowScope::Table(name) => {
            let object = session.account().find(Kind::Table, name)?;
            lake::columns(session, &object).await?
        }
        ShowScope::Within(within) => functions::columns_of(session, within).await?,
    };
    result_set(COLUMNS, &filter.apply(all, |column| &column.name))
}

const COLUMNS: &[Column<TableColumn>] = &[
    Column::text("table_name", |one| text(one.table.0[2].as_str())),
    Column::text("schema_name", |one| text(one.table.0[1].as_str())),
    Column::text("column_name", |one| text(one.name.clone())),
    Column::text("data_type", |one| text(described(one))),
    Column::text("null?", |one| {
        text(if one.is_nullable { "true" } else { "NOT_NULL" })
    }),
    Column::text("default", |_| text("")),
    Column::text("kind", |_| text("COLUMN")),
    Column::text("expression", |_| text("")),
    Column::text("comment", |_| text("")),
    Column::text("database_name", |one| text(one.table.0[0].as_str())),
    Column::text("autoincrement", |_| text("")),
    Column::null("schema_evolution_record", DataType::TEXT),
];

/// Returns a column's type as JSON.
fn described(column: &TableColumn) -> String {
    let nullable = column.is_nullable;
    let described = match column.ty {
        DataType::Number { precision, scale } => {
            json!({"type": "FIXED", "precision": precision, "scale": scale, "nullable": nullable})
        }
        DataType::Text { length } => {
            json!({"type": "TEXT", "length": length, "byteLength": length, "nullable": nullable, "fixed": false})
        }
        DataType::Float => json!({"type": "REAL", "nullable": nullable}),
        DataType::Time { scale }
        | DataType::TimestampNtz { scale }
        | DataType::TimestampLtz { scale }
        | DataType::TimestampTz { scale } => {
            let name = functions::type_name(column.ty);
            json!({"type": name, "precision": 0, "scale": scale, "nullable": nullable})
        }
        ty => json!({"type": functions::type_name(ty), "nullable": nullable}),
    };
    described.to_string()
}

/// A parameter with its value in the session, if it was set there.
type Set = (&'static Parameter, Option<String>);

fn parameters(session: &Session, filter: &Filter) -> SqlResult<Rows> {
    let settings = session.current().settings;
    let all: Vec<Set> = PARAMETERS
        .iter()
        .map(|one| (one, settings.get(one.name).cloned()))
        .collect();
    result_set(SETTINGS, &filter.apply(all, |(one, _)| one.name))
}

const SETTINGS: &[Column<Set>] = &[
    Column::text("key", |(one, _)| text(one.name)),
    Column::text("value", |(one, value)| {
        text(value.clone().unwrap_or_else(|| one.default.to_owned()))
    }),
    Column::text("default", |(one, _)| text(one.default)),
    Column::text("level", |(_, value)| {
        text(if value.is_some() { "SESSION" } else { "" })
    }),
    Column::text("description", |(one, _)| text(one.description)),
    Column::text("type", |(one, _)| text(one.ty())),
];

fn variables(session: &Session, filter: &Filter) -> SqlResult<Rows> {
    let id = session.id();
    let all: Vec<_> = session
        .current()
        .variables
        .into_iter()
        .map(|(name, variable)| (id, name, variable))
        .collect();
    result_set(VARIABLES, &filter.apply(all, |(_, name, _)| name.as_str()))
}

const VARIABLES: &[Column<(u64, Ident, Variable)>] = &[
    Column::number("session_id", |(id, ..)| count(*id)),
    Column::time("created_on", |(.., one)| time(one.created)),
    Column::time("updated_on", |(.., one)| time(one.updated)),
    Column::text("name", |(_, name, _)| text(name.as_str())),
    Column::text("value", |(.., one)| {
        optional(
            query::render(&one.value, one.ty, query::DEFAULT_ZONE)
                .ok()
                .flatten(),
        )
    }),
    Column::text("type", |(.., one)| {
        text(match one.ty {
            DataType::Number { .. } => "fixed".to_owned(),
            DataType::Float => "real".to_owned(),
            ty => functions::type_name(ty).to_lowercase(),
        })
    }),
    Column::text("comment", |_| text("")),
];

fn integrations(session: &Session, filter: &Filter) -> SqlResult<Rows> {
    let mut all: Vec<(Kind, Object)> = Vec::new();
    for kind in [Kind::StorageIntegration, Kind::CatalogIntegration] {
        let objects = session.account().list(kind, &[]);
        all.extend(objects.into_iter().map(|object| (kind, object)));
    }
    all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    let all = filter.apply(all, |(_, object)| object.name.last().as_str());
    result_set(INTEGRATIONS, &all)
}

const INTEGRATIONS: &[Column<(Kind, Object)>] = &[
    Column::text("name", |(_, one)| (NAME.value)(one)),
    Column::text("type", |(kind, one)| match kind {
        Kind::CatalogIntegration => text("CATALOG"),
        _ => optional(one.properties.text("TYPE")),
    }),
    Column::text("category", |(kind, _)| {
        text(match kind {
            Kind::CatalogIntegration => "CATALOG",
            _ => "STORAGE",
        })
    }),
    Column::text("enabled", |(_, one)| (ENABLED.value)(one)),
    Column::text("comment", |(_, one)| (COMMENT.value)(one)),
    Column::time("created_on", |(_, one)| (CREATED_ON.value)(one)),
];

fn builtin(filter: &Filter) -> Vec<&'static str> {
    let names = query::function_names().chain(functions::session_functions());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    filter.apply(names, |name| name)
}

const FUNCTIONS: &[Column<&'static str>] = &[
    Column::null("created_on", TIME),
    Column::text("name", |name| text(*name)),
    Column::text("schema_name", |_| text("")),
    Column::text("is_builtin", |_| text("Y")),
    Column::text("is_aggregate", |name| yes_no(query::is_aggregate(name))),
    Column::text("is_ansi", |_| text("N")),
    Column::text("catalog_name", |_| text("")),
    Column::text("language", |_| text("SQL")),
];

const VIEWS: &[Column] = &[
    CREATED_ON,
    NAME,
    column("reserved", |_| "".into()),
    DATABASE_NAME,
    SCHEMA_NAME,
    OWNER,
    COMMENT,
    column("text", |_| ScalarValue::Utf8(None)),
    column("is_secure", |_| "false".into()),
    column("is_materialized", |_| "false".into()),
    OWNER_ROLE_TYPE,
    column("change_tracking", |_| "OFF".into()),
];
