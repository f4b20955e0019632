//! Session parameters, which ALTER SESSION sets and SHOW PARAMETERS lists.

use std::collections::BTreeMap;

use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::query;

/// The effect of setting a parameter in icebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The value is kept and shown. It changes no result.
    Kept,
    /// A whole number that is kept and used or shown.
    Number,
    /// TRUE or FALSE, kept and shown.
    Flag,
    /// The name of the time zone in which timestamps are shown and parsed.
    Zone,
    /// Only the default is allowed, because another value would have no effect.
    Fixed,
}

/// A session parameter (Snowflake documentation, "Parameters").
pub struct Parameter {
    pub name: &'static str,
    pub default: &'static str,
    pub description: &'static str,
    effect: Effect,
}

const fn parameter(
    name: &'static str,
    effect: Effect,
    default: &'static str,
    description: &'static str,
) -> Parameter {
    Parameter {
        name,
        default,
        description,
        effect,
    }
}

/// All session parameters, ordered by name.
pub const PARAMETERS: &[Parameter] = &[
    parameter(
        "ABORT_DETACHED_QUERY",
        Effect::Fixed,
        "false",
        "Whether a statement ends when its client goes away",
    ),
    parameter(
        "AUTOCOMMIT",
        Effect::Fixed,
        "true",
        "Whether every statement is committed when it ends",
    ),
    parameter(
        "BINARY_OUTPUT_FORMAT",
        Effect::Fixed,
        "HEX",
        "How BINARY values are shown",
    ),
    parameter(
        "CLIENT_RESULT_CHUNK_SIZE",
        Effect::Number,
        "160",
        "Size of a result chunk, in megabytes",
    ),
    parameter(
        "CLIENT_SESSION_KEEP_ALIVE",
        Effect::Flag,
        "false",
        "Whether drivers keep an idle session open",
    ),
    parameter(
        "DATE_OUTPUT_FORMAT",
        Effect::Fixed,
        "YYYY-MM-DD",
        "How DATE values are shown",
    ),
    parameter(
        "JDBC_TREAT_DECIMAL_AS_INT",
        Effect::Flag,
        "true",
        "Whether JDBC takes a NUMBER without scale as an integer",
    ),
    parameter(
        "LOCK_TIMEOUT",
        Effect::Number,
        "43200",
        "Seconds that a statement waits for a lock",
    ),
    parameter(
        "MULTI_STATEMENT_COUNT",
        Effect::Number,
        "1",
        "Statements that one request may hold; 0 is any number",
    ),
    parameter(
        "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT",
        Effect::Kept,
        "JSON",
        "The form of results for the Python connector",
    ),
    parameter(
        "QUERY_TAG",
        Effect::Kept,
        "",
        "A text that the query history shows beside each statement",
    ),
    parameter(
        "QUOTED_IDENTIFIERS_IGNORE_CASE",
        Effect::Fixed,
        "false",
        "Whether the case of quoted names is ignored",
    ),
    parameter(
        "STATEMENT_TIMEOUT_IN_SECONDS",
        Effect::Number,
        "172800",
        "Seconds after which a statement is cancelled",
    ),
    parameter(
        "TIMESTAMP_NTZ_OUTPUT_FORMAT",
        Effect::Fixed,
        "YYYY-MM-DD HH24:MI:SS.FF3",
        "How TIMESTAMP_NTZ values are shown",
    ),
    parameter(
        "TIMESTAMP_OUTPUT_FORMAT",
        Effect::Fixed,
        "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
        "How moments are shown",
    ),
    parameter(
        "TIMESTAMP_TYPE_MAPPING",
        Effect::Fixed,
        "TIMESTAMP_NTZ",
        "The type that TIMESTAMP stands for",
    ),
    parameter(
        "TIMEZONE",
        Effect::Zone,
        "America/Los_Angeles",
        "The time zone of the session",
    ),
    parameter(
        "TIME_OUTPUT_FORMAT",
        Effect::Fixed,
        "HH24:MI:SS",
        "How TIME values are shown",
    ),
    parameter(
        "TRANSACTION_DEFAULT_ISOLATION_LEVEL",
        Effect::Fixed,
        "READ COMMITTED",
        "The isolation level of transactions",
    ),
    parameter(
        "USE_CACHED_RESULT",
        Effect::Flag,
        "true",
        "Whether results are reused; icebox never reuses them",
    ),
    parameter(
        "WEEK_OF_YEAR_POLICY",
        Effect::Fixed,
        "0",
        "How weeks of a year are counted",
    ),
    parameter("WEEK_START", Effect::Fixed, "0", "The first day of a week"),
];

/// Returns the parameter of a name in upper case.
///
/// # Errors
/// If there is no such parameter.
pub fn find(name: &str) -> SqlResult<&'static Parameter> {
    let found = PARAMETERS.iter().find(|parameter| parameter.name == name);
    found.ok_or_else(|| {
        let text = format!("invalid parameter '{name}'");
        SqlError::compilation(code::INVALID_PARAMETER, text)
    })
}

impl Parameter {
    /// Checks a value, and returns it in the form in which it is kept.
    ///
    /// # Errors
    /// If the value is not valid for the parameter, or icebox supports only the default.
    pub fn value(&self, given: &str) -> SqlResult<String> {
        let bad = || SqlError::bad_value(given, self.name);
        match self.effect {
            Effect::Kept => Ok(given.to_owned()),
            Effect::Number => {
                let number: u64 = given.parse().map_err(|_| bad())?;
                Ok(number.to_string())
            }
            Effect::Flag => match given.to_ascii_lowercase().as_str() {
                flag @ ("true" | "false") => Ok(flag.to_owned()),
                _ => Err(bad()),
            },
            Effect::Zone => {
                let zone = query::zone(given).map_err(|_| bad())?;
                Ok(zone.name().to_owned())
            }
            Effect::Fixed if given.eq_ignore_ascii_case(self.default) => {
                Ok(self.default.to_owned())
            }
            Effect::Fixed => Err(SqlError::unsupported(format_args!(
                "{} = {given}; it is always {}",
                self.name, self.default
            ))),
        }
    }

    /// Returns the type that SHOW PARAMETERS lists: `BOOLEAN`, `NUMBER` or `STRING`.
    pub fn ty(&self) -> &'static str {
        if matches!(self.default, "true" | "false") {
            "BOOLEAN"
        } else if self.default.parse::<u64>().is_ok() {
            "NUMBER"
        } else {
            "STRING"
        }
    }
}

/// The values that were set, by parameter name.
pub type Settings = BTreeMap<&'static str, String>;

/// Returns a parameter's value: the one that was set, or the default.
pub fn value<'a>(settings: &'a Settings, name: &str) -> &'a str {
    match settings.get(name) {
        Some(value) => value,
        None => find(name).map_or("", |parameter| parameter.default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_written_alike() {
        let value = |name, given| find(name).and_then(|one| one.value(given));
        assert_eq!(
            value("TIMEZONE", "Europe/Berlin").as_deref(),
            Ok("Europe/Berlin")
        );
        assert_eq!(value("AUTOCOMMIT", "TRUE").as_deref(), Ok("true"));
        assert_eq!(value("LOCK_TIMEOUT", "007").as_deref(), Ok("7"));
        for (name, given, code) in [
            ("TIMEZONE", "Mars/Olympus", 1008),
            ("AUTOCOMMIT", "FALSE", 2),
            ("LOCK_TIMEOUT", "soon", 1008),
            ("WEEK_START", "1", 2),
            ("COLOUR", "red", 1006),
        ] {
            assert_eq!(value(name, given).unwrap_err().code, code, "{name}");
        }
    }

    #[test]
    fn they_are_in_order() {
        assert!(PARAMETERS.is_sorted_by_key(|parameter| parameter.name));
    }
}
