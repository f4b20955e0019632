//! The filters of SHOW: LIKE, IN, STARTS WITH and LIMIT.

use crate::Kind;
use crate::object::Scope;
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::syntax::Cursor;

/// The place that SHOW lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShowScope {
    /// All objects whose names begin with these parts: none for the account, one for a database,
    /// two for a schema.
    Within(Vec<Ident>),
    /// A table.
    Table(ObjectName),
}

impl ShowScope {
    /// Returns the first parts of the names of the objects in the place.
    pub fn within(&self) -> &[Ident] {
        match self {
            Self::Within(parts) => parts,
            Self::Table(name) => &name.0,
        }
    }
}

/// The filter of a SHOW statement.
pub struct Filter {
    like: Option<String>,
    pub scope: ShowScope,
    starts_with: Option<String>,
    limit: usize,
    /// Only names after this one are shown.
    after: Option<String>,
}

impl Filter {
    /// Parses the clauses after the words of the list, to the end of the statement.
    pub fn parse(session: &Session, scope: Scope, cursor: &mut Cursor<'_>) -> SqlResult<Self> {
        let mut filter = Self {
            like: None,
            scope: ShowScope::Within(here(session, scope)),
            starts_with: None,
            limit: 10_000,
            after: None,
        };
        if cursor.accept("LIKE") {
            filter.like = Some(cursor.string()?);
        }
        if cursor.accept("IN") || cursor.accept("FOR") {
            filter.scope = show_scope(session, scope, cursor)?;
        }
        if cursor.accept("STARTS WITH") {
            filter.starts_with = Some(cursor.string()?);
        }
        if cursor.accept("LIMIT") {
            let at = cursor.position();
            let limit = cursor.integer()?;
            filter.limit = match usize::try_from(limit) {
                Ok(limit @ 1..=10_000) => limit,
                _ => return Err(SqlError::bad_value(limit, "LIMIT").at(at)),
            };
            if cursor.accept("FROM") {
                filter.after = Some(cursor.string()?);
            }
        }
        cursor.expect_end()?;
        Ok(filter)
    }

    /// Returns the items whose names pass the filter, up to its limit.
    pub fn apply<T>(&self, items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        let is_wanted = |item: &T| {
            let name = name(item);
            let like = self.like.as_ref();
            let start = self.starts_with.as_ref();
            let after = self.after.as_ref();
            like.is_none_or(|pattern| is_like(name, pattern))
                && start.is_none_or(|start| name.starts_with(start.as_str()))
                && after.is_none_or(|after| name > after.as_str())
        };
        let wanted = items.into_iter().filter(is_wanted);
        wanted.take(self.limit).collect()
    }
}

/// Parses `ACCOUNT`, `DATABASE [name]`, `SCHEMA [name]`, `TABLE name`, or a name.
fn show_scope(session: &Session, scope: Scope, cursor: &mut Cursor<'_>) -> SqlResult<ShowScope> {
    let account = session.account();
    let missing = || {
        let text = "Object does not exist, or operation cannot be performed.";
        SqlError::compilation(code::SCOPE_NOT_FOUND, text)
    };
    let kind = if cursor.accept("ACCOUNT") || cursor.accept("SESSION") {
        return Ok(ShowScope::Within(Vec::new()));
    } else if cursor.accept("TABLE") || cursor.accept("ICEBERG TABLE") {
        let name = session.full_name(Kind::Table, &cursor.name(3)?)?;
        account.find(Kind::Table, &name)?;
        return Ok(ShowScope::Table(name));
    } else if cursor.accept("DATABASE") {
        Kind::Database
    } else if cursor.accept("SCHEMA") || scope == Scope::Schema {
        Kind::Schema
    } else {
        Kind::Database
    };
    if cursor.is_at_end() || cursor.is_next("STARTS WITH") || cursor.is_next("LIMIT") {
        // The full name of a table begins with the names of its database and schema.
        let mut full = session.full_name_in(Scope::Schema, &ObjectName(vec![Ident::quoted("")]))?;
        full.0.truncate(if kind == Kind::Schema { 2 } else { 1 });
        return Ok(ShowScope::Within(full.0));
    }
    let name = cursor.name(3)?;
    // A single name is a schema of the current database, else a database, else a table.
    if let Ok(full) = session.full_name(kind, &name)
        && account.get(kind, &full).is_some()
    {
        return Ok(ShowScope::Within(full.0));
    }
    if account.get(Kind::Database, &name).is_some() {
        return Ok(ShowScope::Within(name.0));
    }
    match session.full_name(Kind::Table, &name) {
        Ok(full) if account.get(Kind::Table, &full).is_some() => Ok(ShowScope::Table(full)),
        _ => Err(missing()),
    }
}

/// Returns the place that SHOW lists by default: the current schema or database, if there is one.
fn here(session: &Session, scope: Scope) -> Vec<Ident> {
    let current = session.current();
    let parts = match scope {
        Scope::Account => Vec::new(),
        Scope::Database => vec![current.database],
        Scope::Schema => vec![current.database, current.schema],
    };
    parts.into_iter().map_while(|part| part).collect()
}

/// Returns whether a name matches a pattern of SHOW, with `%` and `_`, ignoring case.
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
    let chars = |text: &str| {
        let mut chars: Vec<char> = text.to_lowercase().chars().collect();
        // A repeated `%` matches the same, but would multiply the attempts.
        chars.dedup_by(|one, other| *one == '%' && *other == '%');
        chars
    };
    let name: Vec<char> = name.to_lowercase().chars().collect();
    matches(&name, &chars(pattern))
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
        assert!(is_like("", "%") && is_like("AB", "%%%b"));
        assert!(is_like("A%%B", "a%%b"));
    }
}
