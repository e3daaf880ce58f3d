//! Markdown of GitHub and Trello, written anew from the tree, so that nothing in it means more than
//! its author meant: no name calls anybody, no number refers to an issue, no tag is one.
//!
//! GitHub finds names and references in what is shown, not in code (docs.github.com, "Basic writing
//! and formatting syntax", "Autolinked references and URLs"): behind `@` and `#` stands a character
//! that cannot be seen. A keyword (`fixes #12`) closes nothing where the reference is none. A link
//! to an issue would leave a reference there: it leads over `redirect.github.com`, GitHub's own
//! address for that (github/docs#35987). Trello notifies `@name` in comments.

mod escape;
mod link;

use self::escape::Escape;
use self::link::{led_around, target};
use super::fit::Max;
use super::marker::{Marker, harmless};
use super::sink::Sink;
use super::urls::{Part, parts};
use super::{Alignment, Block, Document, Inline, Item, Table, is_empty, leads, shown, table};

/// Whose Markdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Tables and tasks; a line break is one.
    GitHub,
    /// Neither.
    Trello,
}

impl Document {
    /// The text as Markdown of at most so many characters, with our marker as its last block; and
    /// whether all of the text is in there.
    #[must_use]
    pub fn markdown(
        &self,
        dialect: Dialect,
        max: Max,
        marker: Option<Marker<'_>>,
    ) -> (String, bool) {
        let tail = match marker {
            // Behind a list or a quote, a line would be of its last paragraph.
            Some(Marker::Line(_)) => marker.map(|marker| format!("\n{}", marker.tail())),
            marker => marker.map(Marker::tail),
        };
        let mut writer = Writer {
            sink: Sink::new(max, "\n\n…", tail.unwrap_or_default()),
            dialect,
            container: Container::Body,
            is_linked: false,
        };
        writer.blocks(&self.blocks, 2);
        writer.sink.finish(self.whole)
    }
}

/// What a line stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Body,
    /// Without line breaks.
    Heading,
    /// The same, and a bar ends it.
    Cell,
}

struct Writer {
    sink: Sink,
    dialect: Dialect,
    container: Container,
    is_linked: bool,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block], apart: usize) {
        let mut before = None;
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            let list = match block {
                Block::List { first, .. } => Some(first.is_some()),
                _ => None,
            };
            if before.is_some() {
                // In an item, a list follows its line at once.
                self.sink.breaks(if list.is_some() { apart } else { 2 });
            }
            // Two lists one behind the other are two by their signs only.
            let is_second = list.is_some() && before == Some((list, false));
            self.block(block, is_second);
            before = Some((list, is_second));
        }
    }

    fn block(&mut self, block: &Block, is_second: bool) {
        match block {
            Block::Paragraph(line) => self.line(line),
            Block::Heading(level, line) => {
                self.sink.write(&"#".repeat(usize::from(*level)));
                self.sink.write(" ");
                self.within(Container::Heading, line);
            }
            Block::Code { language, text } => self.code(language, text.split('\n')),
            Block::Quote(inner) => {
                self.sink.indent("> ", "> ");
                self.blocks(inner, 2);
                self.sink.dedent();
            }
            Block::List { first, items } => self.list(*first, items, is_second),
            Block::Table(table) if self.dialect == Dialect::GitHub => self.table(table),
            Block::Table(table) => match table::aligned(table) {
                Some(lines) => self.code("", lines.iter().map(String::as_str)),
                None => self.table_as_list(table),
            },
            Block::Rule => drop(self.sink.write("---")),
        }
    }

    fn within(&mut self, container: Container, line: &[Inline]) {
        let before = std::mem::replace(&mut self.container, container);
        self.line(line);
        self.container = before;
    }

    fn code<'a>(&mut self, language: &str, lines: impl Iterator<Item = &'a str> + Clone) {
        let longest = lines.clone().map(longest_run).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let language: String = language
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '+' | '-' | '#' | '_' | '.'))
            .collect();
        let end = format!("{}{fence}", self.sink.line_start());
        self.sink.open(&format!("{fence}{language}"), end);
        for line in lines {
            if self.sink.is_cut() {
                break;
            }
            self.sink.break_line();
            self.sink
                .prose(&harmless(line), |here, made| made.push(here.c));
        }
        self.sink.close();
    }

    fn list(&mut self, first: Option<u64>, items: &[Item], is_second: bool) {
        let mut number = first;
        for item in items {
            if self.sink.is_cut() {
                return;
            }
            let sign = match &mut number {
                None => if is_second { "* " } else { "- " }.to_owned(),
                Some(number) => {
                    let sign = format!("{number}{} ", if is_second { ")" } else { "." });
                    // Numbers have nine digits at most.
                    *number = (*number + 1).min(999_999_999);
                    sign
                }
            };
            let rest = " ".repeat(sign.len());
            self.sink.indent(&sign, rest);
            match item.task {
                Some(done) if self.dialect == Dialect::GitHub && !item.blocks.is_empty() => {
                    self.sink.write(if done { "[x] " } else { "[ ] " });
                }
                Some(done) => drop(self.sink.write(super::task_sign(done))),
                None => {}
            }
            self.blocks(&item.blocks, 1);
            self.sink.dedent();
            self.sink.breaks(1);
        }
    }

    fn table(&mut self, table: &Table) {
        self.row(&table.head);
        let rule: Vec<&str> = table
            .alignments
            .iter()
            .map(|alignment| match alignment {
                Alignment::None => "---",
                Alignment::Left => ":--",
                Alignment::Center => ":-:",
                Alignment::Right => "--:",
            })
            .collect();
        self.sink.breaks(1);
        self.sink.write(&format!("| {} |", rule.join(" | ")));
        for row in &table.rows {
            if self.sink.is_cut() {
                return;
            }
            self.sink.breaks(1);
            self.row(row);
        }
    }

    fn row(&mut self, row: &[Vec<Inline>]) {
        self.sink.open("|", "");
        for cell in row {
            self.sink.open(" ", " |");
            self.within(Container::Cell, cell);
            self.sink.close();
        }
        self.sink.close();
    }

    fn table_as_list(&mut self, table: &Table) {
        for row in &table.rows {
            if self.sink.is_cut() {
                return;
            }
            self.sink.indent("- ", "  ");
            for (index, pair) in table::pairs(table, row).into_iter().enumerate() {
                if index > 0 {
                    self.sink.write(", ");
                }
                if !is_empty(pair.name) {
                    self.mark("**", pair.name);
                    self.sink.write(": ");
                }
                self.line(pair.value);
            }
            self.sink.dedent();
            self.sink.breaks(1);
        }
    }

    fn line(&mut self, line: &[Inline]) {
        for (index, inline) in line.iter().enumerate() {
            match inline {
                Inline::Text(text) => {
                    let image_follows = matches!(line.get(index + 1), Some(Inline::Link { .. }));
                    self.text(text, image_follows);
                }
                Inline::Code(text) => self.inline_code(text),
                Inline::Break if self.container == Container::Body => self.sink.breaks(1),
                Inline::Break => drop(self.sink.write(" ")),
                Inline::Strong(inner) => self.mark("**", inner),
                Inline::Emphasis(inner) => self.mark("*", inner),
                Inline::Strike(inner) => self.mark("~~", inner),
                Inline::Link { href, label, image } => self.link(href, label, *image),
            }
        }
    }

    fn mark(&mut self, sign: &str, inner: &[Inline]) {
        if is_empty(inner) {
            return;
        }
        self.sink.open(sign, sign);
        self.line(inner);
        self.sink.close();
    }

    fn inline_code(&mut self, text: &str) {
        let fence = "`".repeat(longest_run(text) + 1);
        let needs_space = text.starts_with('`') || text.ends_with('`') || text.trim().is_empty();
        let space = if needs_space { " " } else { "" };
        // A fence beside a backtick would be a longer one.
        if self.sink.made().ends_with('`') {
            self.sink.write(" ");
        }
        self.sink
            .open(&format!("{fence}{space}"), format!("{space}{fence}"));
        let in_cell = self.container == Container::Cell;
        self.sink.prose(&harmless(text), |here, made| {
            if in_cell && here.c == '|' {
                made.push('\\');
            }
            made.push(here.c);
        });
        self.sink.close();
    }

    fn link(&mut self, href: &str, label: &[Inline], image: bool) {
        if !leads(href) || (self.is_linked && !image) {
            return self.line(label);
        }
        let around = led_around(href, self.dialect);
        let is_address = matches!(label, [Inline::Text(text)] if text == shown(href));
        if !image && (is_address || label.is_empty()) && around == href {
            return self.address(shown(href));
        }
        let href = around;
        let was_linked = std::mem::replace(&mut self.is_linked, true);
        let start = if image { "![" } else { "[" };
        self.sink.open(start, format!("]({})", target(&href)));
        if is_empty(label) && !image {
            self.escaped(shown(&href), false);
        } else {
            self.line(label);
        }
        self.sink.close();
        self.is_linked = was_linked;
    }

    /// A person's text. Addresses in it stay what they are.
    fn text(&mut self, text: &str, image_follows: bool) {
        if self.is_linked {
            return self.escaped(text, image_follows);
        }
        for part in parts(text) {
            match part {
                Part::Text(text) => self.escaped(text, image_follows),
                Part::Url(url) => {
                    self.link(url, &[Inline::Text(url.into())], false);
                }
            }
        }
    }

    /// An address that is shown as it is.
    fn address(&mut self, address: &str) {
        self.sink.open("<", ">");
        self.sink
            .prose(&target(address), |here, made| made.push(here.c));
        self.sink.close();
    }

    fn escaped(&mut self, text: &str, image_follows: bool) {
        let mut escape = Escape::new(self.dialect, self.container, image_follows);
        self.sink
            .prose(&harmless(text), |here, made| escape.add(here, made));
    }
}

/// The most backticks in a row.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
