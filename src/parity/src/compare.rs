//! Compares two answers, and shows where they differ.

use std::collections::HashMap;

use super::{Answer, Value, ValueKind, table};

/// The number of rows that are shown of each side of a difference.
const SHOWN_ROWS: usize = 10;

/// The way in which one answer differs from another. "Left" is the answer that the others are
/// compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The answers have different numbers of columns.
    Columns {
        left: Vec<String>,
        right: Vec<String>,
    },
    /// Columns whose types cannot hold equal values: name, left, right.
    Types(Vec<(String, ValueKind, ValueKind)>),
    /// Rows that one side has, and the other does not have or has less often.
    Rows {
        columns: Vec<String>,
        left_total: usize,
        right_total: usize,
        only_left: Vec<Vec<Value>>,
        only_right: Vec<Vec<Value>>,
    },
    /// The rows are equal but in a different order; `row` (from 0) is the first whose sort keys
    /// differ.
    Order {
        columns: Vec<String>,
        row: usize,
        left: Vec<Value>,
        right: Vec<Value>,
    },
}

/// Compares two answers by value and type. Columns are matched by position, because engines name
/// unnamed columns differently.
///
/// `sort_keys` are positions of columns. Rows must come in the same order of these keys; rows with
/// equal keys may come in any order. Without sort keys, order does not matter.
pub fn compare(left: &Answer, right: &Answer, sort_keys: &[usize]) -> Option<Difference> {
    let columns = |answer: &Answer| {
        answer
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect::<Vec<_>>()
    };
    if left.columns.len() != right.columns.len() {
        return Some(Difference::Columns {
            left: columns(left),
            right: columns(right),
        });
    }
    let types: Vec<_> = left
        .columns
        .iter()
        .zip(&right.columns)
        .filter(|(left, right)| !left.kind.agrees_with(right.kind))
        .map(|(left, right)| (left.name.clone(), left.kind, right.kind))
        .collect();
    if !types.is_empty() {
        return Some(Difference::Types(types));
    }
    let (only_left, only_right) = (
        missing_from(&right.rows, &left.rows),
        missing_from(&left.rows, &right.rows),
    );
    if !only_left.is_empty() || !only_right.is_empty() {
        return Some(Difference::Rows {
            columns: columns(left),
            left_total: left.rows.len(),
            right_total: right.rows.len(),
            only_left,
            only_right,
        });
    }
    let row = left
        .rows
        .iter()
        .zip(&right.rows)
        .position(|(left, right)| sort_keys.iter().any(|key| left[*key] != right[*key]))?;
    Some(Difference::Order {
        columns: columns(left),
        row,
        left: left.rows[row].clone(),
        right: right.rows[row].clone(),
    })
}

/// Returns the rows that are not in `others`, counting duplicates, in their order.
fn missing_from(others: &[Vec<Value>], rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut available: HashMap<&[Value], usize> = HashMap::new();
    for row in others {
        *available.entry(row).or_default() += 1;
    }
    rows.iter()
        .filter(|row| match available.get_mut(row.as_slice()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .cloned()
        .collect()
}

impl Difference {
    /// Describes the difference in words and rows, with the names of the two sides.
    pub fn render(&self, left_name: &str, right_name: &str) -> String {
        match self {
            Self::Columns { left, right } => format!(
                "different numbers of columns:\n  {left_name}: {} ({})\n  {right_name}: {} ({})\n",
                left.len(),
                left.join(", "),
                right.len(),
                right.join(", "),
            ),
            Self::Types(columns) => {
                let mut text = String::from("different types:\n");
                for (column, left, right) in columns {
                    text.push_str(&format!(
                        "  column {column}: {left} on {left_name}, {right} on {right_name}\n"
                    ));
                }
                text
            }
            Self::Rows {
                columns,
                left_total,
                right_total,
                only_left,
                only_right,
            } => {
                let mut text = format!(
                    "different rows ({left_name} has {left_total}, {right_name} has {right_total}):\n"
                );
                let mut lines = vec![with_sign(" ", columns)];
                lines.extend(
                    only_left
                        .iter()
                        .take(SHOWN_ROWS)
                        .map(|row| with_sign("-", row)),
                );
                lines.extend(
                    only_right
                        .iter()
                        .take(SHOWN_ROWS)
                        .map(|row| with_sign("+", row)),
                );
                text.push_str(&indented(&table::aligned(lines)));
                for (sign, name, rows) in
                    [("-", left_name, only_left), ("+", right_name, only_right)]
                {
                    text.push_str(&format!("  {sign} only on {name}: {}", count(rows.len())));
                    if rows.len() > SHOWN_ROWS {
                        text.push_str(&format!(", the first {SHOWN_ROWS} are shown"));
                    }
                    text.push('\n');
                }
                text
            }
            Self::Order {
                columns,
                row,
                left,
                right,
            } => {
                let lines = vec![
                    with_sign(" ", columns),
                    with_sign("-", left),
                    with_sign("+", right),
                ];
                format!(
                    "the same rows in another order; row {} is:\n{}  - on {left_name}\n  + on {right_name}\n",
                    row + 1,
                    indented(&table::aligned(lines)),
                )
            }
        }
    }
}

fn count(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

/// Returns a row's cells, with a sign before the first one.
fn with_sign(sign: &str, cells: &[impl ToString]) -> Vec<String> {
    let mut cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
    match cells.first_mut() {
        Some(first) => *first = format!("{sign} {first}"),
        None => cells.push(sign.to_owned()),
    }
    cells
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
