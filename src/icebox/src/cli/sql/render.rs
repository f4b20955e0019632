//! Answers as an aligned table, CSV or JSON.

use std::io::Write;

use super::session::{Answer, TextRow};
use icebox_parity::table;

/// The output format of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns; NULL is empty.
    #[default]
    Table,
    /// RFC 4180 with a header; NULL is empty and the empty string is quoted.
    Csv,
    /// One JSON object per row, with every value as the server's text.
    Json,
}

/// Prints one answer. A statement without rows is mentioned in tables only: the other formats would
/// no longer parse.
pub fn print(out: &mut impl Write, format: Format, answer: &Answer) -> std::io::Result<()> {
    match (answer, format) {
        (Answer::Done { affected }, Format::Table) => {
            writeln!(out, "ok, {}", count(*affected as usize))
        }
        (Answer::Done { .. }, _) => Ok(()),
        (Answer::Rows { columns, rows }, Format::Table) => print_table(out, columns, rows),
        (Answer::Rows { columns, rows }, Format::Csv) => {
            let header: TextRow = columns.iter().cloned().map(Some).collect();
            std::iter::once(&header).chain(rows).try_for_each(|row| {
                let fields: Vec<String> = row
                    .iter()
                    .map(|value| csv_field(value.as_deref()))
                    .collect();
                writeln!(out, "{}", fields.join(","))
            })
        }
        (Answer::Rows { columns, rows }, Format::Json) => rows.iter().try_for_each(|row| {
            let fields = columns.iter().zip(row).map(|(name, value)| {
                let value = value.as_deref().map_or(serde_json::Value::Null, Into::into);
                format!("{}:{value}", serde_json::Value::from(name.as_str()))
            });
            writeln!(out, "{{{}}}", fields.collect::<Vec<_>>().join(","))
        }),
    }
}

fn count(rows: usize) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

fn print_table(out: &mut impl Write, columns: &[String], rows: &[TextRow]) -> std::io::Result<()> {
    let numeric: Vec<usize> = (0..columns.len())
        .filter(|&column| is_numeric(column, rows))
        .collect();
    let cells = rows.iter().map(|row| {
        let texts = row.iter().map(|value| value.clone().unwrap_or_default());
        texts.collect()
    });
    let table = table::ruled(columns.to_vec(), cells, &numeric);
    writeln!(out, "{table}({})\n", count(rows.len()))
}

/// Returns whether all values of a column are numbers, and there is one.
fn is_numeric(column: usize, rows: &[TextRow]) -> bool {
    let mut values = rows
        .iter()
        .filter_map(|row| row.get(column)?.as_deref())
        .peekable();
    values.peek().is_some() && values.all(|text| text.parse::<f64>().is_ok())
}

fn csv_field(value: Option<&str>) -> String {
    match value {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format) -> String {
        let some = |text: &str| Some(text.to_owned());
        let columns = vec!["id".to_owned(), "name".to_owned()];
        let rows = vec![
            vec![some("1"), some("a, \"b\"")],
            vec![some("20"), None],
            vec![None, some("")],
        ];
        let mut out = Vec::new();
        print(&mut out, format, &Answer::Rows { columns, rows }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_align() {
        let expected = " id | name\n----+--------\n  1 | a, \"b\"\n 20 |\n    |\n(3 rows)\n\n";
        assert_eq!(printed(Format::Table), expected);
    }

    #[test]
    fn csv_tells_null_from_empty() {
        assert_eq!(
            printed(Format::Csv),
            "id,name\n1,\"a, \"\"b\"\"\"\n20,\n,\"\"\n"
        );
    }

    #[test]
    fn json_is_a_line_a_row_in_column_order() {
        let expected = "{\"id\":\"1\",\"name\":\"a, \\\"b\\\"\"}\n{\"id\":\"20\",\"name\":null}\n{\"id\":null,\"name\":\"\"}\n";
        assert_eq!(printed(Format::Json), expected);
    }
}
