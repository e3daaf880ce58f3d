//! Adaptive Cards in Teams: a text as `TextBlock`s.
//!
//! A `TextBlock` knows bold, italic, links and lists; headings, code, quotes and tables it does not
//! (learn.microsoft.com, "Text features", "Format cards in Teams"). So a heading is a block with
//! bolder letters, code one in a fixed-width font. A line breaks with `\n\n`, in a list with `\r`.
//! HTML is shown as text, and nothing mentions without an entity beside it.

use serde_json::{Value, json};

use super::fit::Max;
use super::marker::JOINER;
use super::sink::{Here, Sink};
use super::{Block, Document, Inline, Item, is_empty, leads, shown, table, task_sign};

/// Units that a block takes beside its text: its JSON.
const AROUND: usize = 64;

impl Document {
    /// The text as elements of a card, of at most so much JSON; and whether all of the text is in
    /// there.
    #[must_use]
    pub fn card(&self, max: Max) -> (Vec<Value>, bool) {
        let mut writer = Writer {
            made: Vec::new(),
            max,
            left: max.additive().limit(),
            is_cut: false,
            is_apart: false,
            is_linked: false,
        };
        writer.blocks(&self.blocks, Container::Body);
        if (writer.is_cut || !self.whole) && !writer.is_signed() {
            writer
                .made
                .push(json!({ "type": "TextBlock", "text": "…", "wrap": true }));
        }
        (writer.made, self.whole && !writer.is_cut)
    }
}

/// What is no Markdown, as the text of a `TextBlock` or a fact: a title, a name. Cut to so much;
/// and whether all of it is in there.
#[must_use]
pub fn card_text(text: &str, max: Max) -> (String, bool) {
    let mut sink = Sink::new(max, "…", String::new());
    sink.prose(text, escape);
    sink.finish(true)
}

/// What a block stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Body,
    Quote,
}

struct Writer {
    made: Vec<Value>,
    max: Max,
    left: usize,
    is_cut: bool,
    /// Whether a line parts the next block from the one before.
    is_apart: bool,
    is_linked: bool,
}

impl Writer {
    fn is_signed(&self) -> bool {
        let last = self.made.last().and_then(|last| last["text"].as_str());
        last.is_some_and(|text| text.ends_with('…'))
    }

    /// Adds a block with what `write` writes; nothing where that is nothing.
    fn block(&mut self, attributes: &Value, write: impl Fn(&mut Self, &mut Sink)) {
        let around = AROUND + attributes.to_string().len();
        let mut room = self.left.saturating_sub(around);
        if self.is_cut || room == 0 {
            self.is_cut = true;
            return;
        }
        let (text, whole, cost) = loop {
            let mut sink = Sink::new(self.of(room), "…", String::new());
            write(self, &mut sink);
            let (text, whole) = sink.finish(true);
            // What JSON escapes counts for two.
            let escaped = text.matches(['"', '\\', '\n', '\r', '\t']).count();
            let cost = self.max.additive().cost(&text) + escaped + around;
            if cost <= self.left || room == 0 {
                break (text, whole, cost);
            }
            room = room.saturating_sub((cost - self.left).max(room / 8));
        };
        self.is_cut |= !whole;
        if text.trim().is_empty() {
            return;
        }
        self.left = self.left.saturating_sub(cost);
        let mut block = json!({ "type": "TextBlock", "text": text, "wrap": true });
        for (name, value) in attributes.as_object().into_iter().flatten() {
            block[name.as_str()] = value.clone();
        }
        if std::mem::take(&mut self.is_apart) {
            block["separator"] = true.into();
        }
        self.made.push(block);
    }

    const fn of(&self, room: usize) -> Max {
        match self.max {
            Max::Bytes(_) => Max::Bytes(room),
            Max::Utf16(_) => Max::Utf16(room),
            Max::Chars(_) | Max::Segments(_) => Max::Chars(room),
        }
    }

    fn blocks(&mut self, blocks: &[Block], container: Container) {
        for block in blocks {
            if self.is_cut {
                return;
            }
            self.one(block, container);
        }
    }

    fn one(&mut self, block: &Block, container: Container) {
        // What is quoted is paler.
        let attributes = match container {
            Container::Body => json!({}),
            Container::Quote => json!({ "isSubtle": true }),
        };
        match block {
            Block::Paragraph(line) => {
                self.block(&attributes, |writer, sink| writer.line(line, sink, "\n\n"));
            }
            Block::Heading(level, line) => {
                let size = if *level <= 2 { "Medium" } else { "Default" };
                let bold = json!({ "weight": "Bolder", "size": size });
                self.block(&bold, |writer, sink| writer.line(line, sink, " "));
            }
            Block::Code { text, .. } => self.code(text),
            Block::Quote(inner) => self.blocks(inner, Container::Quote),
            Block::List { first, items } => {
                self.block(&attributes, |writer, sink| {
                    let lines = Lines {
                        depth: 0,
                        is_next: false,
                    };
                    writer.list(*first, items, sink, lines);
                });
            }
            Block::Table(table) => match table::aligned(table) {
                Some(lines) => self.code(&lines.join("\n")),
                None => self.block(&attributes, |writer, sink| {
                    for (index, row) in table.rows.iter().enumerate() {
                        if index > 0 {
                            sink.write("\r");
                        }
                        sink.write("- ");
                        writer.text(&table::row_text(table, row), sink);
                    }
                }),
            },
            Block::Rule => self.is_apart = true,
        }
    }

    fn code(&mut self, text: &str) {
        let fixed = json!({ "fontType": "Monospace" });
        self.block(&fixed, |_, sink| {
            for (index, line) in text.split('\n').enumerate() {
                if index > 0 {
                    sink.write("\n\n");
                }
                // Blanks at the beginning and in a row would be one.
                sink.prose(&line.replace(' ', "\u{a0}"), escape);
            }
        });
    }

    /// Items of all depths, a line each: lists inside each other are not shown by all clients.
    fn list(
        &mut self,
        first: Option<u64>,
        items: &[Item],
        sink: &mut Sink,
        mut lines: Lines,
    ) -> Lines {
        let mut number = first;
        for item in items {
            if sink.is_cut() {
                break;
            }
            if lines.is_next {
                sink.write("\r");
            }
            lines.is_next = true;
            let sign = match &mut number {
                None => "- ".to_owned(),
                Some(number) => {
                    let sign = format!("{number}. ");
                    *number = number.saturating_add(1);
                    sign
                }
            };
            sink.write(&format!("{}{sign}", "  ".repeat(lines.depth)));
            if let Some(done) = item.task {
                sink.write(task_sign(done));
            }
            lines = self.in_item(&item.blocks, sink, lines);
        }
        lines
    }

    fn in_item(&mut self, blocks: &[Block], sink: &mut Sink, mut lines: Lines) -> Lines {
        for (index, block) in blocks.iter().enumerate() {
            if index > 0 && !matches!(block, Block::List { .. }) {
                sink.write(" ");
            }
            match block {
                Block::Paragraph(line) | Block::Heading(_, line) => self.line(line, sink, " "),
                Block::Code { text, .. } => self.text(&super::one_line(text), sink),
                Block::Quote(inner) => lines = self.in_item(inner, sink, lines),
                Block::List { first, items } => {
                    let inner = Lines {
                        depth: lines.depth + 1,
                        ..lines
                    };
                    lines = Lines {
                        depth: lines.depth,
                        ..self.list(*first, items, sink, inner)
                    };
                }
                Block::Table(table) => {
                    for (index, row) in table.rows.iter().enumerate() {
                        if index > 0 {
                            sink.write("; ");
                        }
                        self.text(&table::row_text(table, row), sink);
                    }
                }
                Block::Rule => {}
            }
        }
        lines
    }

    fn line(&mut self, line: &[Inline], sink: &mut Sink, line_break: &str) {
        for inline in line {
            match inline {
                Inline::Text(text) | Inline::Code(text) => self.text(text, sink),
                Inline::Break => drop(sink.write(line_break)),
                Inline::Strong(inner) => self.mark("**", inner, sink, line_break),
                Inline::Emphasis(inner) => self.mark("_", inner, sink, line_break),
                Inline::Strike(inner) => self.line(inner, sink, line_break),
                Inline::Link { href, label, .. } => self.link(href, label, sink),
            }
        }
    }

    fn mark(&mut self, sign: &str, inner: &[Inline], sink: &mut Sink, line_break: &str) {
        if is_empty(inner) {
            return;
        }
        sink.open(sign, sign);
        self.line(inner, sink, line_break);
        sink.close();
    }

    fn link(&mut self, href: &str, label: &[Inline], sink: &mut Sink) {
        if !leads(href) || self.is_linked {
            return self.line(label, sink, " ");
        }
        let target = href
            .replace('(', "%28")
            .replace(')', "%29")
            .replace(char::is_whitespace, "%20");
        self.is_linked = true;
        sink.open("[", format!("]({target})"));
        if is_empty(label) {
            self.text(shown(href), sink);
        } else {
            self.line(label, sink, " ");
        }
        sink.close();
        self.is_linked = false;
    }

    #[expect(clippy::unused_self, reason = "reads like the other parts of a line")]
    fn text(&self, text: &str, sink: &mut Sink) {
        sink.prose(text, escape);
    }
}

/// How far the lines of a list are.
#[derive(Clone, Copy)]
struct Lines {
    depth: usize,
    is_next: bool,
}

fn escape(here: Here, made: &mut String) {
    let begins_list = here.is_first && matches!(here.c, '-' | '+' | '>');
    let ends_number = matches!(here.c, '.' | ')')
        && here.before.is_some_and(|before| before.is_ascii_digit())
        && here.after.is_none_or(char::is_whitespace);
    if matches!(here.c, '\\' | '*' | '_' | '[' | ']' | '`' | '#' | '~')
        || begins_list
        || ends_number
    {
        made.push('\\');
    }
    if here.c.is_control() && here.c != '\t' {
        return;
    }
    made.push(here.c);
    // `{{DATE(…)}}` would be computed.
    if here.c == '{' && here.after == Some('{') {
        made.push(JOINER);
    }
}
