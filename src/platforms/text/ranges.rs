//! Zoom: a text, and which parts of it have which format.
//!
//! Zoom does not say whether positions count UTF-16 code units or characters. They are the same
//! until the first character that takes two units (an emoji), so what stands behind one has no
//! range: its text and its addresses are all there.

use super::fit::Max;
use super::marker::{Marker, harmless};
use super::sink::{Here, Sink};
use super::{Block, Document, Inline, is_empty, leads, says_more, shown, task_sign};

/// A format of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Bold, as headings are.
    Bold,
    /// Italic.
    Italic,
    /// Struck through.
    Strikethrough,
    /// A link to this address.
    Link(String),
}

/// A part of a text: positions in it, the end exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it looks like.
    pub format: Format,
}

impl Document {
    /// The text of at most so many characters, with our marker as its last line, and the formats of
    /// its parts; and whether all of the text is in there.
    #[must_use]
    pub fn ranges(&self, max: Max, marker: Option<Marker<'_>>) -> (String, Vec<Range>, bool) {
        let tail = marker.map(Marker::tail).unwrap_or_default();
        let mut writer = Writer {
            sink: Sink::new(max, "\n…", tail),
            ranges: Vec::new(),
            is_linked: false,
            looked: 0,
            is_wide: false,
        };
        writer.blocks(&self.blocks);
        let mut ranges = writer.ranges;
        let (text, whole) = writer.sink.finish(self.whole);
        let same = text.find(|c: char| c.len_utf16() > 1).unwrap_or(text.len());
        let mut made = Vec::with_capacity(ranges.len());
        ranges.sort_by_key(|(start, end, _)| (*start, *end));
        // Positions grow, so the text is counted once.
        let (mut at, mut count) = (0, 0);
        let mut ends = Vec::new();
        for (start, end, format) in ranges {
            if end > same || end <= start {
                continue;
            }
            count += text[at..start].chars().count();
            at = start;
            ends.push((end, made.len()));
            made.push(Range {
                start: count,
                end: 0,
                format,
            });
        }
        ends.sort_unstable();
        let (mut at, mut count) = (0, 0);
        for (end, index) in ends {
            count += text[at..end].chars().count();
            at = end;
            if let Some(range) = made.get_mut(index) {
                range.end = count;
            }
        }
        (text, made, whole)
    }
}

struct Writer {
    sink: Sink,
    /// By bytes.
    ranges: Vec<(usize, usize, Format)>,
    is_linked: bool,
    /// Bytes that were looked through for characters of two units, and whether there was one.
    looked: usize,
    is_wide: bool,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            self.block(block);
            // Messages are short: no line is left empty.
            self.sink.breaks(1);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(line) => self.line(line),
            Block::Heading(_, line) => self.formatted(Format::Bold, line),
            Block::Code { text, .. } => {
                for line in text.split('\n') {
                    self.prose(line);
                    self.sink.break_line();
                }
            }
            Block::Quote(inner) => {
                self.sink.indent("> ", "> ");
                self.blocks(inner);
                self.sink.dedent();
            }
            Block::List { first, items } => {
                let mut number = *first;
                for item in items {
                    if self.sink.is_cut() {
                        return;
                    }
                    let sign = match &mut number {
                        None => "• ".to_owned(),
                        Some(number) => {
                            let sign = format!("{number}. ");
                            *number = number.saturating_add(1);
                            sign
                        }
                    };
                    self.sink.indent(&sign, "  ");
                    if let Some(done) = item.task {
                        self.sink.write(task_sign(done));
                    }
                    self.blocks(&item.blocks);
                    self.sink.dedent();
                    self.sink.breaks(1);
                }
            }
            Block::Table(table) => {
                for row in std::iter::once(&table.head).chain(&table.rows) {
                    let cells: Vec<String> = row.iter().map(|cell| super::text_of(cell)).collect();
                    self.prose(cells.join(" | ").trim_end_matches([' ', '|']));
                    self.sink.breaks(1);
                }
            }
            Block::Rule => drop(self.sink.write("———")),
        }
    }

    fn line(&mut self, line: &[Inline]) {
        for inline in line {
            match inline {
                Inline::Text(text) | Inline::Code(text) => self.prose(text),
                Inline::Break => self.sink.breaks(1),
                Inline::Strong(inner) => self.formatted(Format::Bold, inner),
                Inline::Emphasis(inner) => self.formatted(Format::Italic, inner),
                Inline::Strike(inner) => self.formatted(Format::Strikethrough, inner),
                Inline::Link { href, label, .. } => self.link(href, label),
            }
        }
    }

    fn formatted(&mut self, format: Format, inner: &[Inline]) {
        // A line break before it is not of it.
        self.sink.open("", "");
        let start = self.sink.made().len();
        self.line(inner);
        self.sink.close();
        self.ranges.push((start, self.sink.made().len(), format));
    }

    fn link(&mut self, href: &str, label: &[Inline]) {
        if is_empty(label) {
            return self.prose(shown(href));
        }
        if !leads(href) || self.is_linked {
            return self.line(label);
        }
        self.is_linked = true;
        self.formatted(Format::Link(href.into()), label);
        self.is_linked = false;
        // Where the link has no range, its address must be read.
        let made = self.sink.made();
        self.is_wide |= made[self.looked..].chars().any(|c| c.len_utf16() > 1);
        self.looked = made.len();
        if self.is_wide && says_more(href, &super::text_of(label)) {
            self.prose(&format!(" ({})", shown(href)));
        }
    }

    fn prose(&mut self, text: &str) {
        self.sink
            .prose(&harmless(text), |here: Here, made: &mut String| {
                if !here.c.is_control() || here.c == '\t' {
                    made.push(here.c);
                }
            });
    }
}
