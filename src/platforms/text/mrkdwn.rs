//! Slack's mrkdwn.
//!
//! mrkdwn knows bold, italic, strike, code, quotes and links. `&`, `<` and `>` of a text are
//! escaped, which also keeps `<!channel>` and `<@U…>` from calling anybody; nothing else can be
//! escaped. `@here` and `#general` need no brackets: what keeps them from calling is said beside
//! the text (`verbatim`, `parse`), and [`calm`](super::calm) where that is not enough. A table is
//! shown aligned in a code block, a wide one as a list (docs.slack.dev, "Formatting message text").

use super::fit::Max;
use super::sink::{Here, Sink};
use super::{Block, Document, Inline, Item, Table, is_empty, leads, table, task_sign};
use crate::domain::is_blank;

/// A fence of a code block.
pub(super) const FENCE: &str = "```";
/// Bytes of mrkdwn that are made: more than a message can show (three sections of 3,000
/// characters).
const MADE_MAX: usize = 40_000;
/// A longer address is not linked: it would not fit into a section with its label.
const LINK_MAX: usize = 2_000;
/// How often a line is indented, at most.
const INDENT_MAX: usize = 4;

/// A user's text, harmless in mrkdwn.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| escape_into(c, &mut escaped));
    escaped
}

fn escape_into(c: char, escaped: &mut String) {
    match c {
        '&' => escaped.push_str("&amp;"),
        '<' => escaped.push_str("&lt;"),
        '>' => escaped.push_str("&gt;"),
        _ => escaped.push(c),
    }
}

/// A user's text, escaped and of at most `max` characters; no entity is cut in two.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    // What lies beyond cannot be shown, and need not be looked at.
    let text = super::head(text, max + 1);
    let escaped = escape(text);
    if escaped.chars().count() <= max {
        return escaped;
    }
    let mut sink = Sink::new(Max::Chars(max), "…", String::new());
    sink.prose(text, |here, made| escape_into(here.c, made));
    sink.finish(true).0
}

impl Document {
    /// The text as mrkdwn, and whether all of it is in there: of a long text, more than a message
    /// can show, and no more.
    #[must_use]
    pub fn mrkdwn(&self) -> (String, bool) {
        let mut writer = Writer {
            sink: Sink::new(Max::Bytes(MADE_MAX), "\n\n…", String::new()),
            lists: 0,
            is_quoted: false,
            is_linked: false,
        };
        writer.blocks(&self.blocks);
        let (made, whole) = writer.sink.finish(self.whole);
        (made.trim().to_owned(), whole)
    }
}

struct Writer {
    sink: Sink,
    /// Lists that are open.
    lists: usize,
    /// mrkdwn knows one level of quotes.
    is_quoted: bool,
    is_linked: bool,
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Body,
    /// All of it is bold, and it has no line breaks.
    Heading,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            self.block(block);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(line) => {
                self.line(line, Container::Body);
                self.sink.breaks(if self.lists > 0 { 1 } else { 2 });
            }
            Block::Heading(_, line) if is_empty(line) => {}
            Block::Heading(_, line) => {
                self.sink.open("*", "*");
                self.line(line, Container::Heading);
                self.sink.close();
                self.sink.breaks(1);
            }
            Block::Code { text, .. } => self.code(text.split('\n')),
            Block::Quote(inner) if self.is_quoted => self.blocks(inner),
            Block::Quote(inner) => {
                self.is_quoted = true;
                self.sink.indent("> ", "> ");
                self.blocks(inner);
                self.sink.dedent();
                self.is_quoted = false;
                self.sink.breaks(2);
            }
            Block::List { first, items } => self.list(*first, items),
            Block::Table(table) => self.table(table),
            Block::Rule => {
                self.sink.write("———");
                self.sink.breaks(2);
            }
        }
    }

    fn list(&mut self, first: Option<u64>, items: &[Item]) {
        let mut number = first;
        // In a quote, the first item stands behind its sign.
        if !self.sink.is_fresh() {
            self.sink.breaks(1);
        }
        let indent = "    ".repeat(self.lists.min(INDENT_MAX));
        self.lists += 1;
        for item in items {
            if self.sink.is_cut() {
                break;
            }
            let sign = match &mut number {
                None => format!("{indent}• "),
                Some(number) => {
                    let sign = format!("{indent}{number}. ");
                    *number = number.saturating_add(1);
                    sign
                }
            };
            self.sink.write(&sign);
            if let Some(done) = item.task {
                self.sink.write(task_sign(done));
            }
            self.blocks(&item.blocks);
            self.sink.breaks(1);
        }
        self.lists -= 1;
        if self.lists == 0 {
            self.sink.breaks(2);
        }
    }

    fn code<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let end = format!("{}{FENCE}", self.sink.line_start());
        self.sink.open(FENCE, end);
        for line in lines {
            if self.sink.is_cut() {
                break;
            }
            self.sink.break_line();
            self.sink.prose(&line.replace(FENCE, "'''"), |here, made| {
                escape_into(here.c, made);
            });
        }
        self.sink.close();
        self.sink.breaks(2);
    }

    fn table(&mut self, table: &Table) {
        if let Some(lines) = table::aligned(table) {
            return self.code(lines.iter().map(String::as_str));
        }
        for row in &table.rows {
            if self.sink.is_cut() {
                return;
            }
            self.sink.write("• ");
            for (index, pair) in table::pairs(table, row).into_iter().enumerate() {
                if index > 0 {
                    self.sink.write(", ");
                }
                if !is_empty(pair.name) {
                    self.sink.open("*", "*: ");
                    self.line(pair.name, Container::Heading);
                    self.sink.close();
                }
                self.line(pair.value, Container::Body);
            }
            self.sink.breaks(1);
        }
        self.sink.breaks(2);
    }

    fn line(&mut self, line: &[Inline], container: Container) {
        for inline in line {
            match inline {
                // Three backticks would open a code block over the rest.
                Inline::Text(text) if text.contains(FENCE) => {
                    self.sink.prose(&text.replace(FENCE, "'''"), prose);
                }
                Inline::Text(text) => self.sink.prose(text, prose),
                Inline::Code(text) => {
                    // Behind a stray backtick it would be half of a fence.
                    if self.sink.made().ends_with('`') {
                        self.sink.write(" ");
                    }
                    self.sink.open("`", "`");
                    self.sink.prose(&text.replace('`', "'"), prose);
                    self.sink.close();
                }
                Inline::Break if self.is_linked || container == Container::Heading => {
                    self.sink.write(" ");
                }
                Inline::Break => self.sink.breaks(1),
                Inline::Strong(inner) if container == Container::Heading => {
                    self.line(inner, container);
                }
                Inline::Strong(inner) => self.mark("*", inner, container),
                Inline::Emphasis(inner) => self.mark("_", inner, container),
                Inline::Strike(inner) => self.mark("~", inner, container),
                Inline::Link { href, label, .. } => self.link(href, label, container),
            }
        }
    }

    fn mark(&mut self, sign: &str, inner: &[Inline], container: Container) {
        if is_empty(inner) {
            return;
        }
        self.sink.open(sign, sign);
        self.line(inner, container);
        self.sink.close();
    }

    /// `<url|label>`, for addresses that lead somewhere; of others the label is enough.
    fn link(&mut self, href: &str, label: &[Inline], container: Container) {
        // One inside another (an image in a link): the outer leads.
        if !leads(href) || href.len() > LINK_MAX || self.is_linked {
            return self.line(label, container);
        }
        let url = escape(href).replace('|', "%7C");
        if is_empty(label) || matches!(label, [Inline::Text(text)] if text == href) {
            // Without a label Slack shows the address.
            self.sink.write(&format!("<{url}>"));
            return;
        }
        self.is_linked = true;
        self.sink.open(&format!("<{url}|"), ">");
        self.line(label, container);
        self.sink.close();
        self.is_linked = false;
    }
}

/// A person's text: what leaves no ink is folded.
fn prose(here: Here, made: &mut String) {
    match here.c {
        c if !c.is_ascii_graphic() && is_blank(c) => {
            if !made.ends_with([' ', '\n']) {
                made.push(' ');
            }
        }
        // So would three in a row that stand in several texts.
        '`' if made.ends_with("``") => made.push('\''),
        c => escape_into(c, made),
    }
}

#[cfg(test)]
mod tests;
