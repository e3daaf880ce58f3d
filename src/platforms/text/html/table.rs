//! Tables: real ones where the platform takes them, else aligned text, and where that is too wide a
//! list.

use super::super::table::{aligned, pairs};
use super::super::{Alignment, Inline, Table, is_empty};
use super::{Allowed, Container, Writer};

impl Writer {
    pub(super) fn table(&mut self, table: &Table, container: Container) {
        if self.allowed == Allowed::Full {
            return self.real_table(table);
        }
        if !self.allowed.is_asana() || container == Container::Body {
            if let Some(lines) = aligned(table) {
                self.sink.open("<pre>", "</pre>");
                self.text(&lines.join("\n"));
                self.sink.close();
                return;
            }
            self.sink.open("<ul>", "</ul>");
            for row in &table.rows {
                if self.sink.is_cut() {
                    break;
                }
                self.sink.open("<li>", "</li>");
                self.row(table, row);
                self.sink.close();
            }
            self.sink.close();
            return;
        }
        for (index, row) in table.rows.iter().enumerate() {
            if index > 0 {
                self.sink.break_line();
            }
            self.row(table, row);
        }
    }

    /// A row as a line: each cell behind the name of its column.
    fn row(&mut self, table: &Table, row: &[Vec<Inline>]) {
        for (index, pair) in pairs(table, row).into_iter().enumerate() {
            if index > 0 {
                self.sink.write(", ");
            }
            if !is_empty(pair.name) {
                self.open(self.allowed.strong());
                self.line(pair.name);
                self.sink.close();
                self.sink.write(": ");
            }
            self.line(pair.value);
        }
    }

    fn real_table(&mut self, table: &Table) {
        self.sink.open("<table>", "</table>");
        self.sink.open("<thead>", "</thead>");
        self.cells(table, &table.head, "th");
        self.sink.close();
        if !table.rows.is_empty() {
            self.sink.open("<tbody>", "</tbody>");
            for row in &table.rows {
                if self.sink.is_cut() {
                    break;
                }
                self.cells(table, row, "td");
            }
            self.sink.close();
        }
        self.sink.close();
    }

    fn cells(&mut self, table: &Table, row: &[Vec<Inline>], tag: &str) {
        self.sink.open("<tr>", "</tr>");
        for (column, cell) in row.iter().enumerate() {
            let align = match table.alignments.get(column) {
                Some(Alignment::Center) => " align=\"center\"",
                Some(Alignment::Right) => " align=\"right\"",
                Some(Alignment::None | Alignment::Left) | None => "",
            };
            self.sink
                .open(&format!("<{tag}{align}>"), format!("</{tag}>"));
            self.line(cell);
            self.sink.close();
        }
        self.sink.close();
    }
}
