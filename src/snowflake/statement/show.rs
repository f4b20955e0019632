//! SHOW: the objects of a kind, with LIKE, IN, STARTS WITH and LIMIT.

use super::Context;
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::object::{About, KINDS, Kind, Object, Scope, iceberg_table, shown, table};
use crate::snowflake::rest::{Answer, StatementKind};
use crate::snowflake::syntax::Cursor;

/// `SHOW [TERSE] kinds [LIKE 'pattern'] [IN …] [STARTS WITH 'text'] [LIMIT n [FROM 'name']]`
pub async fn show(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let is_terse = cursor.accept("TERSE");
    if is_terse {
        return Err(SqlError::unsupported("SHOW TERSE"));
    }
    let about = about(&mut cursor)?;
    let pattern = match cursor.accept("LIKE") {
        true => Some(cursor.string()?),
        false => None,
    };
    let mut within = None;
    if cursor.accept("IN") {
        within = Some(place(context, about, &mut cursor)?);
    }
    let start = match cursor.accept("STARTS WITH") {
        true => Some(cursor.string()?),
        false => None,
    };
    let (mut limit, mut from) = (usize::MAX, None);
    if cursor.accept("LIMIT") {
        limit = usize::try_from(cursor.integer()?).unwrap_or(usize::MAX);
        if cursor.accept("FROM") {
            from = Some(cursor.string()?);
        }
    }
    cursor.expect_end()?;
    let within = within.unwrap_or_else(|| here(context, about.scope));
    let is_wanted = |object: &Object| {
        let name = object.name.last().as_str();
        pattern
            .as_ref()
            .is_none_or(|pattern| is_like(name, pattern))
            && start
                .as_ref()
                .is_none_or(|start| name.starts_with(start.as_str()))
            && from.as_ref().is_none_or(|from| name > from.as_str())
            && (!is_iceberg(about) || iceberg_table::of(object).is_some())
    };
    let objects = session.account().list(about.kind, &within);
    let objects: Vec<_> = objects.into_iter().filter(is_wanted).take(limit).collect();
    Ok(Answer {
        rows: shown(about, &objects)?,
        kind: StatementKind::Show,
    })
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

/// `ACCOUNT`, `DATABASE [name]`, `SCHEMA [name]`, or a name.
fn place(context: Context<'_>, about: &About, cursor: &mut Cursor<'_>) -> SqlResult<Vec<Ident>> {
    let session = context.session;
    let kind = if cursor.accept("ACCOUNT") {
        return Ok(Vec::new());
    } else if cursor.accept("DATABASE") {
        Kind::Database
    } else if cursor.accept("SCHEMA") || about.scope == Scope::Schema {
        Kind::Schema
    } else {
        Kind::Database
    };
    if cursor.is_at_end() || cursor.is_next("STARTS WITH") || cursor.is_next("LIMIT") {
        // A name of a table without a last part is a name of its schema.
        let mut full = session.full_name_in(Scope::Schema, &ObjectName(vec![Ident::quoted("")]))?;
        full.0.truncate(if kind == Kind::Schema { 2 } else { 1 });
        return Ok(full.0);
    }
    let name = cursor.name(2)?;
    // A single name is a schema of the current database, else a database.
    let full = session.full_name(kind, &name);
    let found = full
        .ok()
        .filter(|full| session.account().get(kind, full).is_some());
    if let Some(full) = found {
        return Ok(full.0);
    }
    match session.account().get(Kind::Database, &name) {
        Some(database) => Ok(database.name.0),
        None => Err(SqlError::compilation(
            2043,
            "02000",
            "Object does not exist, or operation cannot be performed.",
        )),
    }
}

/// Where SHOW looks when it is not told: the current schema or database, if there is one.
fn here(context: Context<'_>, scope: Scope) -> Vec<Ident> {
    let current = context.session.current();
    let parts = match scope {
        Scope::Account => Vec::new(),
        Scope::Database => vec![current.database],
        Scope::Schema => vec![current.database, current.schema],
    };
    parts.into_iter().map_while(|part| part).collect()
}

/// LIKE of SHOW: `%` and `_`, whatever the case.
fn is_like(name: &str, pattern: &str) -> bool {
    fn matches(name: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('%', rest)) => (0..=name.len()).any(|skipped| matches(&name[skipped..], rest)),
            Some(('\\', [escaped, rest @ ..])) => {
                name.first() == Some(escaped) && matches(&name[1..], rest)
            }
            Some((one, rest)) => {
                name.first().is_some_and(|c| *one == '_' || c == one) && matches(&name[1..], rest)
            }
        }
    }
    let chars = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    matches(&chars(name), &chars(pattern))
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns_ignore_case() {
        assert!(is_like("RETAIL_TXNS", "retail%"));
        assert!(is_like("RETAIL_TXNS", "%_txns"));
        assert!(is_like("A_B", "a\\_b") && !is_like("AXB", "a\\_b"));
        assert!(!is_like("RETAIL", "retai"));
        assert!(is_like("", "%"));
    }
}
