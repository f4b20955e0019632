//! Text in aligned columns, for people to read. Wide characters take the two columns that a
//! terminal gives them.

use comfy_table::{CellAlignment, Table, TableComponent, presets};

/// Aligns the cells of lines in columns that ` | ` separates.
pub fn aligned(lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = table(lines);
    table.set_style(TableComponent::VerticalLines, '|');
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    text(&table)
}

/// Aligns the cells of lines in columns that two blanks separate. These columns are aligned to the
/// right.
pub fn spaced(lines: impl IntoIterator<Item = Vec<String>>, right: &[usize]) -> String {
    let mut table = table(lines);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    align_right(&mut table, right);
    text(&table)
}

/// Prints a header, a rule and rows, as psql does. These columns are aligned to the right.
pub fn ruled(
    header: Vec<String>,
    rows: impl IntoIterator<Item = Vec<String>>,
    right: &[usize],
) -> String {
    let mut table = table(rows);
    table
        .set_header(header)
        .set_style(TableComponent::VerticalLines, '|')
        .set_style(TableComponent::HeaderLines, '-')
        .set_style(TableComponent::MiddleHeaderIntersections, '+');
    align_right(&mut table, right);
    text(&table)
}

fn table(rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).add_rows(rows);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Returns the table's lines without the blanks at their ends. A table of nothing has none.
fn text(table: &Table) -> String {
    if table.is_empty() && table.header().is_none() {
        return String::new();
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = aligned([row(&["a", "bb", "c"]), row(&["ccc", "", "d"])]);
        assert_eq!(text, "a   | bb | c\nccc |    | d\n");
        let text = spaced([row(&["name", "n"]), row(&["x", "10"])], &[1]);
        assert_eq!(text, "name   n\nx     10\n");
        assert_eq!(aligned([]), "");
    }

    #[test]
    fn wide_characters_align() {
        let text = aligned([row(&["東京", "1"]), row(&["Rome", "2"]), row(&["é", "3"])]);
        assert_eq!(text, "東京 | 1\nRome | 2\né    | 3\n");
    }

    #[test]
    fn a_cell_may_have_several_lines() {
        let text = ruled(row(&["id", "text"]), [row(&["1", "a\nb"])], &[0]);
        assert_eq!(text, " id | text\n----+------\n  1 | a\n    | b\n");
    }
}
