//! The views of `INFORMATION_SCHEMA` (Snowflake documentation, "Snowflake Information Schema"): the
//! contents of one database, and the account's databases and roles.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;

use super::history::{Loaded, loaded};
use crate::account::Account;
use crate::kind::schema::INFORMATION_SCHEMA;
use crate::kind::{View, table};
use crate::lake::{self, TableColumn};
use crate::object::columns::{Column, count, optional, optional_time, result_set, text, time};
use crate::object::{Object, Scope};
use crate::session::Session;
use crate::{KINDS, Kind};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// The source of the rows of a view.
enum Source {
    /// A row for each object of a kind.
    Objects(Kind, &'static View),
    /// A row for each column of each table.
    Columns,
    /// A row for each table, and for each of the views themselves.
    Tables,
    /// A row for each of the views themselves.
    Views,
    /// A row for each file that was loaded into a table.
    Loads,
    /// The database's name.
    Name,
}

/// Returns all views by name. The objects of a kind have the view that the kind declares.
fn all_views() -> BTreeMap<&'static str, Source> {
    let mut views = BTreeMap::from([
        ("COLUMNS", Source::Columns),
        ("INFORMATION_SCHEMA_CATALOG_NAME", Source::Name),
        ("LOAD_HISTORY", Source::Loads),
        ("TABLES", Source::Tables),
        ("VIEWS", Source::Views),
    ]);
    for kind in KINDS {
        if let Some(view) = &kind.info().view {
            let names = view.names.iter();
            views.extend(names.map(|name| (*name, Source::Objects(*kind, view))));
        }
    }
    views
}

/// A table, or a view of `INFORMATION_SCHEMA`.
struct Relation {
    name: ObjectName,
    table: Option<Object>,
}

impl Relation {
    fn of<T>(&self, value: impl Fn(&Object) -> T) -> Option<T> {
        self.table.as_ref().map(value)
    }
}

fn relation_part(relation: &Relation, index: usize) -> ScalarValue {
    optional(
        relation
            .name
            .0
            .get(index)
            .map(|part| part.as_str().to_owned()),
    )
}

fn yes_or_no(value: bool) -> ScalarValue {
    text(if value { "YES" } else { "NO" })
}

const TABLES: &[Column<Relation>] = &[
    Column::text("TABLE_CATALOG", |one| relation_part(one, 0)),
    Column::text("TABLE_SCHEMA", |one| relation_part(one, 1)),
    Column::text("TABLE_NAME", |one| relation_part(one, 2)),
    Column::text("TABLE_OWNER", |one| {
        optional(one.of(|table| table.owner.as_str().to_owned()))
    }),
    Column::text("TABLE_TYPE", |one| {
        text(if one.table.is_some() {
            "BASE TABLE"
        } else {
            "VIEW"
        })
    }),
    Column::text("IS_TRANSIENT", |one| optional(one.of(|_| "NO".to_owned()))),
    Column::null("CLUSTERING_KEY", DataType::TEXT),
    Column::number("ROW_COUNT", |one| {
        let size = one.of(table::size).flatten();
        count(size.map(|(rows, _)| rows))
    }),
    Column::number("BYTES", |one| {
        let size = one.of(table::size).flatten();
        count(size.map(|(_, bytes)| bytes))
    }),
    Column::number("RETENTION_TIME", |one| count(one.of(|_| 1))),
    Column::time("CREATED", |one| {
        optional_time(one.of(|table| table.created_on))
    }),
    Column::time("LAST_ALTERED", |one| {
        optional_time(one.of(|table| table.updated_on))
    }),
    Column::text("COMMENT", |one| {
        optional(one.of(|table| table.properties.text("COMMENT")).flatten())
    }),
    Column::text("IS_TEMPORARY", |_| text("NO")),
    Column::text("IS_ICEBERG", |one| {
        yes_or_no(one.of(|table| Kind::Table.of(table)) == Some(Kind::IcebergTable))
    }),
    Column::text("IS_DYNAMIC", |_| text("NO")),
    Column::text("IS_HYBRID", |_| text("NO")),
];

const VIEW_COLUMNS: &[Column<Relation>] = &[
    Column::text("TABLE_CATALOG", |one| relation_part(one, 0)),
    Column::text("TABLE_SCHEMA", |one| relation_part(one, 1)),
    Column::text("TABLE_NAME", |one| relation_part(one, 2)),
    Column::null("TABLE_OWNER", DataType::TEXT),
    Column::null("VIEW_DEFINITION", DataType::TEXT),
    Column::text("IS_UPDATABLE", |_| text("NO")),
    Column::text("IS_SECURE", |_| text("NO")),
    Column::null("COMMENT", DataType::TEXT),
];

const COLUMNS: &[Column<TableColumn>] = &[
    Column::text("TABLE_CATALOG", |one| text(one.table.0[0].as_str())),
    Column::text("TABLE_SCHEMA", |one| text(one.table.0[1].as_str())),
    Column::text("TABLE_NAME", |one| text(one.table.0[2].as_str())),
    Column::text("COLUMN_NAME", |one| text(one.name.clone())),
    Column::number("ORDINAL_POSITION", |one| count(one.position)),
    Column::null("COLUMN_DEFAULT", DataType::TEXT),
    Column::text("IS_NULLABLE", |one| yes_or_no(one.is_nullable)),
    Column::text("DATA_TYPE", |one| text(type_name(one.ty))),
    Column::number("CHARACTER_MAXIMUM_LENGTH", |one| count(length(one.ty))),
    Column::number("CHARACTER_OCTET_LENGTH", |one| {
        count(length(one.ty).map(|length| length.saturating_mul(4).min(MOST_OCTETS)))
    }),
    Column::number("NUMERIC_PRECISION", |one| {
        count(digits(one.ty).map(|(precision, _)| precision))
    }),
    Column::number("NUMERIC_PRECISION_RADIX", |one| {
        count(digits(one.ty).map(|_| 10))
    }),
    Column::number("NUMERIC_SCALE", |one| {
        count(digits(one.ty).map(|(_, scale)| scale))
    }),
    Column::number("DATETIME_PRECISION", |one| count(fraction(one.ty))),
    Column::text("IS_IDENTITY", |_| text("NO")),
    Column::null("COMMENT", DataType::TEXT),
];

const MOST_OCTETS: u64 = 134_217_728;

/// Returns the name of a type without its arguments. VARCHAR is TEXT.
pub fn type_name(ty: DataType) -> String {
    match ty {
        DataType::Text { .. } => "TEXT".to_owned(),
        ty => {
            let text = ty.to_string();
            text.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

fn length(ty: DataType) -> Option<u64> {
    match ty {
        DataType::Text { length } => Some(length.into()),
        _ => None,
    }
}

fn digits(ty: DataType) -> Option<(u64, u64)> {
    match ty {
        DataType::Number { precision, scale } => Some((precision.into(), scale.into())),
        _ => None,
    }
}

fn fraction(ty: DataType) -> Option<u64> {
    match ty {
        DataType::Date => Some(0),
        DataType::Time { scale }
        | DataType::TimestampNtz { scale }
        | DataType::TimestampLtz { scale }
        | DataType::TimestampTz { scale } => Some(scale.into()),
        _ => None,
    }
}

const LOADS: &[Column<Loaded>] = &[
    Column::text("CATALOG_NAME", |load| text(load.table.0[0].as_str())),
    Column::text("SCHEMA_NAME", |load| text(load.table.0[1].as_str())),
    Column::text("FILE_NAME", |load| {
        text(format!("{}{}", load.stage_location, load.file))
    }),
    Column::text("TABLE_NAME", |load| text(load.table.0[2].as_str())),
    Column::time("LAST_LOAD_TIME", |load| time(load.at)),
    Column::text("STATUS", |_| text("LOADED")),
    Column::number("ROW_COUNT", |load| count(load.rows)),
    Column::number("ROW_PARSED", |load| count(load.rows)),
];

/// Returns whether a full name is that of a view in `INFORMATION_SCHEMA`.
pub fn is_view(full: &ObjectName) -> bool {
    full.0.len() == 3 && full.0[1].as_str() == INFORMATION_SCHEMA
}

/// Returns the rows of the view with this full name.
///
/// # Errors
/// If there is no such database or view.
pub async fn view(session: &Session, full: &ObjectName) -> SqlResult<Rows> {
    let account = session.account();
    let database = ObjectName(full.0[..1].to_vec());
    account.find(Kind::Database, &database)?;
    let source = all_views().remove(full.last().as_str());
    let source = source.ok_or_else(|| SqlError::no_object(full))?;
    match source {
        Source::Objects(kind, view) => {
            result_set(view.columns, &objects(account, kind, &database.0))
        }
        Source::Columns => result_set(COLUMNS, &columns_of(session, &database.0).await?),
        Source::Tables => {
            let tables = account.list_namespace(Kind::Table, &database.0).into_iter();
            let tables = tables.map(|table| Relation {
                name: table.name.clone(),
                table: Some(table),
            });
            let all: Vec<_> = tables.chain(views(&database)).collect();
            result_set(TABLES, &all)
        }
        Source::Views => result_set(VIEW_COLUMNS, &views(&database).collect::<Vec<_>>()),
        Source::Loads => result_set(LOADS, &loaded(account.list(Kind::Table, &database.0))),
        Source::Name => Rows::from_values(
            &[("CATALOG_NAME", DataType::TEXT)],
            [vec![text(database.last().as_str())]],
        ),
    }
}

fn objects(account: &Account, kind: Kind, database: &[Ident]) -> Vec<Object> {
    let within = match kind.scope() {
        Scope::Account => &[],
        _ => database,
    };
    let mut objects = account.list(kind, within);
    objects.extend(kind.definition().built_in(account, within));
    objects
}

fn views(database: &ObjectName) -> impl Iterator<Item = Relation> + use<> {
    let database = database.last().clone();
    all_views().into_keys().map(move |view| Relation {
        name: ObjectName(vec![
            database.clone(),
            Ident::quoted(INFORMATION_SCHEMA),
            Ident::quoted(view),
        ]),
        table: None,
    })
}

/// Returns the columns of all tables whose names begin with these parts. A table that cannot be
/// read is left out.
pub async fn columns_of(session: &Session, within: &[Ident]) -> SqlResult<Vec<TableColumn>> {
    let mut all = Vec::new();
    for object in session.account().list_namespace(Kind::Table, within) {
        match lake::columns(session, &object).await {
            Ok(columns) => all.extend(columns),
            Err(error) => tracing::warn!(table = %object.name, %error, "its columns are unknown"),
        }
    }
    Ok(all)
}
