//! Databases that are linked to a catalog, whose schemas and tables follow it.

use crate::Kind;
use crate::account::Account;
use crate::object::properties::Properties;
use crate::object::{Object, Scope};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};

/// Returns the link of a database to a catalog, as the options of `LINKED_CATALOG`; `None` if the
/// database is not linked.
pub fn link(database: &Object) -> Option<&Properties> {
    database.properties.options("LINKED_CATALOG")
}

/// Returns the name in a linked database of a schema or table of the catalog: unchanged, unless the
/// database has `CATALOG_CASE_SENSITIVITY` = `CASE_INSENSITIVE`.
pub fn ident_of(database: &Object, name: &str) -> Ident {
    let case = database.properties.text("CATALOG_CASE_SENSITIVITY");
    match case.as_deref() {
        Some("CASE_INSENSITIVE") => Ident::unquoted(name),
        _ => Ident::quoted(name),
    }
}

/// Checks that an object may be created, changed or dropped: not in a linked database, whose
/// catalog belongs to PostgreSQL.
///
/// # Errors
/// If the object of this name is, or would be, in a linked database.
pub fn check_writable(account: &Account, kind: Kind, name: &ObjectName) -> SqlResult<()> {
    if kind.scope() == Scope::Account {
        return Ok(());
    }
    let database = ObjectName(name.0[..1].to_vec());
    let database = account.get(Kind::Database, &database);
    match database.filter(|database| link(database).is_some()) {
        None => Ok(()),
        Some(database) => Err(SqlError::compilation(
            code::CATALOG_LINKED_READ_ONLY,
            format_args!(
                "The catalog-linked database {} is read-only: its ALLOWED_WRITE_OPERATIONS is NONE. Make the change in PostgreSQL; it appears here by itself.",
                database.name
            ),
        )),
    }
}
