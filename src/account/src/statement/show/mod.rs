//! SHOW: lists of the objects of a kind and other lists, with LIKE, IN, STARTS WITH and LIMIT.

mod filter;
mod other;

use self::filter::Filter;
use super::Context;
use crate::answer::{Answer, StatementKind};
use crate::object::Object;
use crate::object::columns::{self, CREATED_ON, Column, DATABASE_NAME, NAME, SCHEMA_NAME};
use crate::session::Session;
use crate::{KINDS, Kind};
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
            let kind = kind(&mut cursor)?;
            let info = kind.info();
            if is_terse && !info.has_terse {
                return Err(at.unexpected());
            }
            let filter = Filter::parse(session, info.scope, &mut cursor)?;
            let objects = objects(session, kind, &filter);
            if is_terse {
                let objects: Vec<_> = objects
                    .into_iter()
                    .map(|object| (kind.of(&object), object))
                    .collect();
                columns::result_set(TERSE_COLUMNS, &objects)
            } else {
                columns::result_set(info.show, &objects)
            }?
        }
    };
    Ok(Answer {
        rows,
        kind: StatementKind::Show,
    })
}

const TERSE_COLUMNS: &[Column<(Kind, Object)>] = &[
    Column::time("created_on", |(_, one)| (CREATED_ON.value)(one)),
    Column::text("name", |(_, one)| (NAME.value)(one)),
    Column::text("kind", |(kind, _)| columns::text(kind.to_string())),
    Column::text("database_name", |(_, one)| (DATABASE_NAME.value)(one)),
    Column::text("schema_name", |(_, one)| (SCHEMA_NAME.value)(one)),
];

/// Returns the objects that SHOW lists under a kind's plural and that pass a filter.
fn objects(session: &Session, kind: Kind, filter: &Filter) -> Vec<Object> {
    let account = session.account();
    let within = filter.scope.within();
    let shown = kind.shown();
    let mut objects = account.list_namespace(kind, within);
    objects.retain(|object| shown.contains(&kind.of(object)));
    objects.extend(kind.definition().built_in(account, within));
    objects.sort_by(|one, other| one.name.cmp(&other.name));
    let current = session.current();
    for object in &mut objects {
        let here: Vec<_> = match kind {
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

/// Consumes the plural of a kind, and returns the kind.
fn kind(cursor: &mut Cursor<'_>) -> SqlResult<Kind> {
    let mut kinds = KINDS.iter().copied();
    let found = kinds.find(|kind| cursor.accept(kind.info().plural));
    found.ok_or_else(|| cursor.unexpected())
}
