//! Answers: the typed rows of a query, whichever engine gave them.

use super::{Value, ValueKind, table};

/// The answer of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub columns: Vec<Column>,
    /// Each row has one value per column.
    pub rows: Vec<Vec<Value>>,
}

/// A column: its name as the engine spells it, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: ValueKind,
}

/// The error of an engine's result that cannot be turned into an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error(
        "column {column} has type {data_type}, which cannot be compared; cast it to text in the query"
    )]
    UnsupportedType { column: String, data_type: String },
    #[error("column {column}: {reason}")]
    BadValue { column: String, reason: String },
}

impl Answer {
    /// Formats the answer as an aligned table: a line of column names, then at most `limit` rows,
    /// one line each.
    pub fn to_table(&self, limit: usize) -> String {
        let names = self.columns.iter().map(|column| column.name.clone());
        let rows = self
            .rows
            .iter()
            .take(limit)
            .map(|row| row.iter().map(Value::to_string).collect());
        let header = std::iter::once(names.collect());
        let mut table = table::aligned(header.chain(rows));
        if self.rows.len() > limit {
            table.push_str(&format!("… {} more rows\n", self.rows.len() - limit));
        }
        table
    }
}
