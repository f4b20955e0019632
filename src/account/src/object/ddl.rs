//! The parts of the statements that recreate objects: values and options as they are written.

use super::properties::{Properties, Property, Value};
use icebox_sql::names::ObjectName;

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
