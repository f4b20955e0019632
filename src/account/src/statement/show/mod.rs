//! SHOW: lists of the objects of a kind and other lists, with LIKE, IN, STARTS WITH and LIMIT.

mod filter;
mod other;

use self::filter::Filter;
use super::Context;
use crate::answer::{Answer, StatementKind};
use crate::object::columns::{self, CREATED_ON, Column, DATABASE_NAME, NAME, SCHEMA_NAME};
use crate::object::{About, KINDS, Kind, Object, iceberg_table, schema, table};
use crate::session::Session;
use icebox_sql::error::SqlResult;
use icebox_sql::syntax::Cursor;

/// Runs `SHOW [TERSE] list [LIKE 'pattern'] [IN …] [STARTS WITH 'text'] [LIMIT n [FROM 'name']]`.
pub async fn show(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let is_terse = cursor.accept("TERSE");
    let at = cursor.clone();
    let rows = match other::accept(&mut cursor) {
        Some(_) if is_terse => return Err(at.unexpected()),
        Some(list) => {
            let filter = Filter::parse(session, list.scope, &mut cursor)?;
            (list.rows)(session, filter).await?
        }
        None => {
            let about = about(&mut cursor)?;
            let has_terse = about.kind != Kind::Table || !is_iceberg(about);
            if is_terse && !(TERSE.contains(&about.kind) && has_terse) {
                return Err(at.unexpected());
            }
            let filter = Filter::parse(session, about.scope, &mut cursor)?;
            let objects = objects(session, about, &filter);
            if is_terse {
                columns::table(TERSE_COLUMNS, &terse(about.kind, objects))
            } else {
                columns::table(about.columns, &objects)
            }?
        }
    };
    Ok(Answer {
        rows,
        kind: StatementKind::Show,
    })
}

/// The kinds for which SHOW TERSE is documented. For tables it is documented without ICEBERG.
const TERSE: &[Kind] = &[
    Kind::Role,
    Kind::Database,
    Kind::Schema,
    Kind::Table,
    Kind::Stream,
    Kind::Task,
];

const TERSE_COLUMNS: &[Column<(Kind, Object)>] = &[
    Column::time("created_on", |(_, one)| (CREATED_ON.value)(one)),
    Column::text("name", |(_, one)| (NAME.value)(one)),
    Column::text("kind", |(kind, one)| {
        columns::text(match (kind, iceberg_table::of(one)) {
            (Kind::Table, Some(_)) => "ICEBERG TABLE".to_owned(),
            (Kind::Table, None) => "TABLE".to_owned(),
            (kind, _) => kind.to_string(),
        })
    }),
    Column::text("database_name", |(_, one)| (DATABASE_NAME.value)(one)),
    Column::text("schema_name", |(_, one)| (SCHEMA_NAME.value)(one)),
];

fn terse(kind: Kind, objects: Vec<Object>) -> Vec<(Kind, Object)> {
    objects.into_iter().map(|object| (kind, object)).collect()
}

/// Returns the objects of a kind that pass a filter.
fn objects(session: &Session, about: &About, filter: &Filter) -> Vec<Object> {
    let account = session.account();
    let mut objects = account.list(about.kind, filter.place.within());
    if about.kind == Kind::Schema {
        let databases = account.list(Kind::Database, &[]);
        let views = databases
            .iter()
            .filter(|database| database.name.0.starts_with(filter.place.within()))
            .filter_map(|database| schema::information(account, &database.name));
        objects.extend(views);
        objects.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let current = session.current();
    let is_wanted = |object: &Object| !is_iceberg(about) || iceberg_table::of(object).is_some();
    objects.retain(is_wanted);
    for object in &mut objects {
        let here: Vec<_> = match about.kind {
            Kind::Warehouse => current.warehouse.iter().collect(),
            _ => current.database.iter().chain(&current.schema).collect(),
        };
        object.is_current = here
            .iter()
            .take(object.name.0.len())
            .copied()
            .eq(&object.name.0);
    }
    filter.apply(objects, |object| object.name.last().as_str())
}

fn is_iceberg(about: &About) -> bool {
    about.words == table::ICEBERG.words
}

fn about(cursor: &mut Cursor<'_>) -> SqlResult<&'static About> {
    if cursor.accept("ICEBERG TABLES") {
        return Ok(&table::ICEBERG);
    }
    for kind in KINDS {
        let about = kind.about();
        if about.plural.iter().any(|words| cursor.accept(words)) {
            return Ok(about);
        }
    }
    Err(cursor.unexpected())
}
