//! Answers: the typed rows of a query, whichever engine gave them.

use super::{Value, ValueKind};

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
        let header = self
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let rows = self
            .rows
            .iter()
            .take(limit)
            .map(|row| row.iter().map(Value::to_string).collect());
        let mut table = aligned(std::iter::once(header).chain(rows).collect());
        if self.rows.len() > limit {
            table.push_str(&format!("… {} more rows\n", self.rows.len() - limit));
        }
        table
    }
}

/// Pads the cells of lines to their column's width (in characters), and joins them with ` | `.
pub fn aligned(lines: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join(" | ").trim_end());
        text.push('\n');
    }
    text
}
