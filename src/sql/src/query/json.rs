//! JSON. VARIANT, OBJECT and ARRAY are JSON texts with sorted keys and without white space.

use serde_json::Value as Json;

use crate::error::{SqlError, SqlResult, code};

/// Parses a JSON text.
///
/// # Errors
/// If the text is not JSON, or has a number with more digits than icebox keeps.
pub fn parse(text: &str) -> SqlResult<Json> {
    if has_long_number(text) {
        return Err(SqlError::unsupported(
            "JSON numbers of more than 15 digits in a VARIANT",
        ));
    }
    serde_json::from_str(text)
        .map_err(|error| SqlError::new(code::INVALID_JSON, format!("Error parsing JSON: {error}")))
}

/// Returns whether a JSON text has a number of more than 15 digits, which a float cannot keep.
pub fn has_long_number(text: &str) -> bool {
    let (mut quoted, mut escaped, mut digits, mut in_number) = (false, false, 0, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => (quoted, in_number) = (!quoted, false),
            _ if quoted => {}
            '0'..='9' => {
                digits = if in_number { digits + 1 } else { 1 };
                in_number = true;
                if digits > 15 {
                    return true;
                }
            }
            '.' if in_number => {}
            _ => in_number = false,
        }
    }
    false
}

/// Formats a JSON value, with the keys of objects sorted.
pub fn text(json: &Json) -> String {
    sorted(json).to_string()
}

fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<(&String, &Json)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries = entries
                .into_iter()
                .map(|(key, json)| (key.clone(), sorted(json)));
            Json::Object(entries.collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        // 1.0 is a whole number and shown as 1.
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => {
                Json::Number((float as i64).into())
            }
            _ => json.clone(),
        },
        _ => json.clone(),
    }
}

/// One step of a path such as `a.b[0]["c d"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Parses a path.
///
/// # Errors
/// If the text is not a path.
pub fn path(text: &str) -> SqlResult<Vec<Step>> {
    let bad = || {
        SqlError::new(
            code::INVALID_PATH,
            format!("Invalid extraction path '{text}'"),
        )
    };
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').ok_or_else(bad)?;
            rest = after;
            let quoted = inside.trim().trim_matches(['\'', '"']);
            steps.push(match inside.trim().parse() {
                Ok(index) => Step::Index(index),
                Err(_) if quoted.len() + 2 == inside.trim().len() => Step::Key(quoted.to_owned()),
                Err(_) => return Err(bad()),
            });
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (key, after) = quoted.split_once('"').ok_or_else(bad)?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end == 0 {
            return Err(bad());
        }
        steps.push(Step::Key(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    Ok(steps)
}

/// Returns the value at a path; None if there is none.
pub fn get<'a>(json: &'a Json, steps: &[Step]) -> Option<&'a Json> {
    steps.iter().try_fold(json, |json, step| match step {
        Step::Key(key) => json.get(key),
        Step::Index(index) => json.get(index),
    })
}

/// Returns the name that TYPEOF gives to the type of a JSON value.
pub fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "NULL_VALUE",
        Json::Bool(_) => "BOOLEAN",
        Json::Number(number) if number.is_f64() && !text(json).contains(['e', 'E', '.']) => {
            "INTEGER"
        }
        Json::Number(number) if number.is_f64() => "DECIMAL",
        Json::Number(_) => "INTEGER",
        Json::String(_) => "VARCHAR",
        Json::Array(_) => "ARRAY",
        Json::Object(_) => "OBJECT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_walked() {
        let json = parse(r#"{"a": {"b c": [10, {"d": null}]}, "A": 1}"#).unwrap();
        let at = |text: &str| get(&json, &path(text).unwrap()).map(super::text);
        assert_eq!(at("a.\"b c\"[0]").as_deref(), Some("10"));
        assert_eq!(at("a['b c'][1].d").as_deref(), Some("null"));
        assert_eq!(at("A").as_deref(), Some("1"));
        assert_eq!(at("a.x"), None);
        assert!(path("a..b").is_err());
        assert_eq!(text(&json), r#"{"A":1,"a":{"b c":[10,{"d":null}]}}"#);
    }

    #[test]
    fn a_number_that_would_lose_digits_is_refused() {
        assert!(parse("[1234567890123456]").is_err());
        assert!(parse("[123456789012.345, \"12345678901234567890\"]").is_ok());
        assert_eq!(text(&parse("[1.0, 2.50]").unwrap()), "[1,2.5]");
    }
}
