//! What a statement must return, compared by value.

use serde::Deserialize;

use icebox_parity::{Answer, Decimal, Value, table};

/// The expectation for one statement of a step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The number of the statement in the file, from 1; `None` is the last one.
    pub statement: Option<usize>,
    pub row_count: Option<usize>,
    /// The expected rows, in order.
    pub rows: Option<Vec<Vec<Expected>>>,
}

/// An expected value, as TOML writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    Bool(bool),
    Int(i64),
    /// A text, or the text form of a decimal, date, timestamp or any other type.
    Text(String),
    /// `{ null = true }`
    Null {
        null: bool,
    },
}

impl Expectation {
    /// Returns the texts that may contain variables.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let cells = self.rows.iter_mut().flatten().flatten();
        cells.filter_map(|cell| match cell {
            Expected::Text(text) => Some(text),
            _ => None,
        })
    }

    /// Checks an answer against the expectation. The error says how they differ. An answer of
    /// `None` means that the statement returned no rows.
    pub fn check(&self, answer: Option<&Answer>) -> Result<(), String> {
        let Some(answer) = answer else {
            return Err("it returned no rows".into());
        };
        if let Some(expected) = self
            .row_count
            .filter(|expected| *expected != answer.rows.len())
        {
            return Err(format!(
                "expected {expected} rows, got {}:\n{}",
                answer.rows.len(),
                answer.to_table(10)
            ));
        }
        let Some(rows) = &self.rows else {
            return Ok(());
        };
        let same = rows.len() == answer.rows.len()
            && rows.iter().zip(&answer.rows).all(|(expected, row)| {
                expected.len() == row.len()
                    && expected
                        .iter()
                        .zip(row)
                        .all(|(expected, value)| expected.is(value))
            });
        if same {
            return Ok(());
        }
        let wanted = rows
            .iter()
            .map(|row| row.iter().map(Expected::to_string).collect());
        Err(format!(
            "expected the rows\n{}got\n{}",
            table::aligned(wanted),
            answer.to_table(10)
        ))
    }
}

impl Expected {
    /// Returns whether the value is the expected one. A text is read as the value's own type.
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null { null }, value) => *null == matches!(value, Value::Null),
            (_, Value::Null) => false,
            (Self::Bool(expected), value) => *value == Value::Bool(*expected),
            (Self::Int(expected), value) => *value == Value::Int((*expected).into()),
            (Self::Text(expected), Value::Int(_) | Value::Decimal(_)) => expected
                .parse::<Decimal>()
                .is_ok_and(|expected| *value == Value::Decimal(expected)),
            (Self::Text(expected), value) => *expected == value.to_string(),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Null { null: true } => f.write_str("NULL"),
            Self::Null { null: false } => f.write_str("NOT NULL"),
        }
    }
}
