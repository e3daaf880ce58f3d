//! Tables for formats that have none: aligned for a fixed-width font, or a line a row.

use unicode_width::UnicodeWidthStr as _;

use super::{Alignment, Table, text_of};

/// Columns of a fixed-width font that a table may take; a wider one would be wrapped, and then
/// nothing is aligned.
const WIDTH_MAX: usize = 72;

/// A cell of a row, as a list shows it.
pub(super) struct Pair<'a> {
    /// What its column is called; empty where it has no name.
    pub(super) name: &'a [super::Inline],
    pub(super) value: &'a [super::Inline],
}

/// The lines of a table, aligned; `None` where it is too wide.
pub(super) fn aligned(table: &Table) -> Option<Vec<String>> {
    let cells: Vec<Vec<String>> = std::iter::once(&table.head)
        .chain(&table.rows)
        .map(|row| row.iter().map(|cell| text_of(cell)).collect())
        .collect();
    let mut widths = vec![0; table.head.len()];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    if widths.iter().sum::<usize>() + 3 * widths.len().saturating_sub(1) > WIDTH_MAX {
        return None;
    }
    let alignment = |column: usize| {
        let known = table.alignments.get(column).copied();
        known.unwrap_or(Alignment::None)
    };
    let line = |row: &[String]| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let missing = width.saturating_sub(cell.width());
            let before = match alignment(column) {
                Alignment::None | Alignment::Left => 0,
                Alignment::Center => missing / 2,
                Alignment::Right => missing,
            };
            let separator = if column > 0 { " | " } else { "" };
            line.push_str(separator);
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', missing - before));
        }
        line.truncate(line.trim_end().len());
        line
    };
    let mut lines = Vec::with_capacity(cells.len() + 1);
    let mut rows = cells.iter();
    lines.extend(rows.next().map(|head| line(head)));
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.push(rule.join("-|-"));
    lines.extend(rows.map(|row| line(row)));
    Some(lines)
}

/// The cells of a row that have something in them.
pub(super) fn pairs<'a>(table: &'a Table, row: &'a [Vec<super::Inline>]) -> Vec<Pair<'a>> {
    let names = table.head.iter().map(Vec::as_slice);
    names
        .chain(std::iter::repeat(&[][..]))
        .zip(row)
        .filter(|(_, value)| !super::is_empty(value))
        .map(|(name, value)| Pair { name, value })
        .collect()
}

/// The same as a text: `Name: value, Name: value`.
pub(super) fn row_text(table: &Table, row: &[Vec<super::Inline>]) -> String {
    let mut text = String::new();
    for pair in pairs(table, row) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let name = text_of(pair.name);
        if !name.is_empty() {
            text.push_str(&name);
            text.push_str(": ");
        }
        text.push_str(&text_of(pair.value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Block, Document};
    use super::*;

    fn table(markdown: &str) -> Table {
        match Document::parse(markdown, 10_000).blocks.pop() {
            Some(Block::Table(table)) => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let table = table(
            "| Name | Count |\n|:--|--:|\n| 日本 | 5 |\n| **b** [c](https://x.test) | 12 |\n",
        );
        assert_eq!(
            aligned(&table).unwrap(),
            [
                "Name                 | Count",
                "---------------------|------",
                "日本                 |     5",
                "b c (https://x.test) |    12",
            ]
        );
    }

    #[test]
    fn a_wide_table_is_a_line_a_row() {
        let wide = "w".repeat(80);
        let table = table(&format!("| Name | |\n|--|--|\n| {wide} | x |\n| | |\n"));
        assert_eq!(aligned(&table), None);
        let rows: Vec<String> = table.rows.iter().map(|row| row_text(&table, row)).collect();
        assert_eq!(rows, [format!("Name: {wide}, x"), String::new()]);
    }
}
