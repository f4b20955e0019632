//! `GET_DDL`: the statements that recreate objects.

use crate::object::Object;
use crate::session::Session;
use crate::{KINDS, Kind};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::syntax;

/// Returns the object types that `GET_DDL` takes here (Snowflake documentation, "`GET_DDL`"), with
/// their kinds.
fn types() -> impl Iterator<Item = (&'static str, Kind)> {
    let kinds = KINDS.iter().copied();
    kinds.filter_map(|kind| Some((kind.info().ddl.as_ref()?.object_type, kind)))
}

/// Runs `GET_DDL('type', 'name' [, full names])`. For databases and schemas the result includes
/// their contents, except for kinds that `GET_DDL` does not support.
///
/// # Errors
/// If there is no such type or object.
pub fn get_ddl(session: &Session, ty: &str, name: &str, is_full: bool) -> SqlResult<String> {
    let known = types().find(|(known, _)| known.eq_ignore_ascii_case(ty));
    let Some((_, kind)) = known else {
        let types: Vec<_> = types().map(|(name, _)| name).collect();
        let text = format!(
            "GET_DDL of the object type '{ty}'; it has {}",
            types.join(", ")
        );
        return Err(SqlError::unsupported(text));
    };
    let name = if kind.info().has_signature {
        name.split('(').next().unwrap_or(name)
    } else {
        name
    };
    let full = session.full_name(kind, &syntax::name(name.trim())?)?;
    let object = session.account().find(kind, &full)?;
    let mut statements = Vec::new();
    add(session, kind, &object, is_full, &mut statements);
    if statements.is_empty() {
        return Err(SqlError::unsupported(format!("GET_DDL of {kind} {full}")));
    }
    Ok(statements.join("\n\n"))
}

/// Adds the statement that recreates an object of a namespace, and those of its contents.
fn add(
    session: &Session,
    namespace: Kind,
    object: &Object,
    is_full: bool,
    statements: &mut Vec<String>,
) {
    let name = if is_full {
        object.name.to_string()
    } else {
        object.name.last().to_string()
    };
    let account = session.account();
    let kind = namespace.of(object);
    let ddl = kind.info().ddl.as_ref();
    let Some(statement) = ddl.and_then(|ddl| (ddl.statement)(account, object, &name)) else {
        return;
    };
    statements.push(format!("{statement};"));
    // What is in a schema comes after its schema.
    let inside = kind.namespaces_inside();
    for kind in inside.filter(|inner| kind != Kind::Database || *inner == Kind::Schema) {
        for object in ordered(kind, account.list_namespace(kind, &object.name.0)) {
            add(session, kind, &object, is_full, statements);
        }
    }
}

/// Orders objects so that each comes after those that must exist before it.
fn ordered(kind: Kind, mut objects: Vec<Object>) -> Vec<Object> {
    let definition = kind.definition();
    let mut ordered: Vec<Object> = Vec::new();
    while !objects.is_empty() {
        let is_ready = |object: &Object| {
            let mut needed = definition.prerequisites(object).iter();
            needed.all(|name| objects.iter().all(|other| other.name != *name))
        };
        let at = objects.iter().position(is_ready);
        ordered.push(objects.remove(at.unwrap_or(0)));
    }
    ordered
}
