//! `GET_DDL`: the statements that recreate objects.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::properties::{Properties, Property, Value};
use super::{KINDS, Kind, Object};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::ObjectName;
use icebox_sql::syntax;

/// The object types that `GET_DDL` takes here (Snowflake documentation, "`GET_DDL`").
const TYPES: &[(&str, Kind)] = &[
    ("DATABASE", Kind::Database),
    ("SCHEMA", Kind::Schema),
    ("TABLE", Kind::Table),
    ("ICEBERG_TABLE", Kind::Table),
    ("STREAM", Kind::Stream),
    ("TASK", Kind::Task),
    ("PROCEDURE", Kind::Procedure),
    ("WAREHOUSE", Kind::Warehouse),
    ("INTEGRATION", Kind::StorageIntegration),
];

/// Runs `GET_DDL('type', 'name' [, full names])`. For databases and schemas the result includes
/// their contents, except for kinds that `GET_DDL` does not support.
///
/// # Errors
/// If there is no such type or object.
pub fn get_ddl<'a>(
    session: &'a Session,
    ty: &'a str,
    name: &'a str,
    is_full: bool,
) -> BoxFuture<'a, SqlResult<String>> {
    async move {
        let known = TYPES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(ty));
        let Some((_, kind)) = known else {
            let types: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
            let text = format!(
                "GET_DDL of the object type '{ty}'; it has {}",
                types.join(", ")
            );
            return Err(SqlError::unsupported(text));
        };
        // The types of a procedure's arguments follow its name.
        let name = match kind {
            Kind::Procedure => name.split('(').next().unwrap_or(name),
            _ => name,
        };
        let full = session.full_name(*kind, &syntax::name(name.trim())?)?;
        let object = session.account().find(*kind, &full)?;
        let mut statements = Vec::new();
        one(session, *kind, &object, is_full, &mut statements).await?;
        if statements.is_empty() {
            return Err(SqlError::unsupported(format!("GET_DDL of {kind} {full}")));
        }
        Ok(statements.join("\n\n"))
    }
    .boxed()
}

/// Adds the statement that recreates an object, and those of its contents.
fn one<'a>(
    session: &'a Session,
    kind: Kind,
    object: &'a Object,
    is_full: bool,
    statements: &'a mut Vec<String>,
) -> BoxFuture<'a, SqlResult<()>> {
    async move {
        let name = if is_full {
            object.name.to_string()
        } else {
            object.name.last().to_string()
        };
        let definition = kind.definition();
        let Some(statement) = definition.ddl(session, object, &name).await? else {
            return Ok(());
        };
        statements.push(format!("{statement};"));
        let inside: &[Kind] = match kind {
            Kind::Database => &[Kind::Schema],
            Kind::Schema => &KINDS,
            _ => &[],
        };
        for kind in inside.iter().filter(|one| one.is_inside(kind)) {
            for object in ordered(*kind, session.account().list(*kind, &object.name.0)) {
                one(session, *kind, &object, is_full, statements).await?;
            }
        }
        Ok(())
    }
    .boxed()
}

/// Orders tasks so that each comes after its predecessors. Objects of other kinds keep their order.
fn ordered(kind: Kind, mut objects: Vec<Object>) -> Vec<Object> {
    if kind != Kind::Task {
        return objects;
    }
    let mut ordered: Vec<Object> = Vec::new();
    while !objects.is_empty() {
        let is_ready = |object: &Object, waiting: &[Object]| {
            let above = super::task::of(object).map(|task| task.predecessors.as_slice());
            let mut above = above.unwrap_or_default().iter();
            above.all(|name| waiting.iter().all(|other| other.name != *name))
        };
        let at = objects.iter().position(|one| is_ready(one, &objects));
        ordered.push(objects.remove(at.unwrap_or(0)));
    }
    ordered
}

/// Writes a text as a string literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Writes a value as it appears in a statement.
fn written(value: &Value) -> String {
    let list = |items: Vec<String>| format!("({})", items.join(", "));
    match value {
        Value::Text(text) => quoted(text),
        Value::Boolean(value) => value.to_string().to_uppercase(),
        Value::Integer(value) => value.to_string(),
        Value::Name(name) => name.to_string(),
        Value::Texts(texts) => list(texts.iter().map(|text| quoted(text)).collect()),
        Value::Options(options) => format!("({})", all(options, " ")),
        Value::OptionsList(options) => {
            let one = |options| format!("({})", all(options, " "));
            list(options.iter().map(one).collect())
        }
    }
}

fn all(options: &Properties, separator: &str) -> String {
    let options = options.iter();
    let options = options.map(|(name, value)| format!("{name}={}", written(value)));
    options.collect::<Vec<_>>().join(separator)
}

/// Writes the options of an object that differ from their defaults, each after `before`:
/// `\n\tNAME=value`.
pub fn options(properties: &Properties, known: &[Property], before: &str) -> String {
    let changed = known.iter().filter_map(|property| {
        let value = properties.get(property.name)?;
        let is_default = property.default_value().as_ref() == Some(value);
        (!is_default).then(|| format!("{before}{}={}", property.name, written(value)))
    });
    changed.collect()
}

/// Writes names as a comma-separated list.
pub fn names(names: &[ObjectName]) -> String {
    let names = names.iter().map(ToString::to_string);
    names.collect::<Vec<_>>().join(", ")
}
