//! Wiki markup: Jira Data Center (Jira, "Text Formatting Notation Help").
//!
//! `[~name]` would mention a person, `!url!` load a picture, `{html}` and other macros do more:
//! brackets and braces of a text are escaped. A backslash before another sign has no escape of its
//! own and is written as an entity, as pandoc does.

use super::fit::Max;
use super::marker::{JOINER, Marker, harmless};
use super::sink::{Here, Sink};
use super::urls::{Part, parts};
use super::{Block, Document, Inline, Item, Table, is_empty, leads, shown, task_sign};

/// Lists inside each other, at most: their signs stand in each line.
const LISTS_MAX: usize = 8;

impl Document {
    /// The text as wiki markup of at most so many characters, with our marker as its last line; and
    /// whether all of the text is in there.
    #[must_use]
    pub fn wiki(&self, max: Max, marker: Option<Marker<'_>>) -> (String, bool) {
        let tail = marker.map(Marker::tail).unwrap_or_default();
        let mut writer = Writer {
            sink: Sink::new(max, "\n\n…", tail),
            lists: String::new(),
            is_quoted: false,
            is_linked: false,
            in_line: false,
        };
        writer.blocks(&self.blocks, 2);
        writer.sink.finish(self.whole)
    }
}

struct Writer {
    sink: Sink,
    /// A sign for each list that is open: `*` or `#`.
    lists: String,
    /// A quote holds no other.
    is_quoted: bool,
    is_linked: bool,
    /// Whether a line break would end what the line stands in.
    in_line: bool,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block], apart: usize) {
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            self.block(block);
            self.sink.breaks(apart);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(line) => self.line(line),
            Block::Heading(level, line) => {
                // In an item it would be no heading.
                if self.lists.is_empty() {
                    self.sink.write(&format!("h{level}. "));
                    self.in_line(line);
                } else {
                    self.mark("*", line);
                }
            }
            Block::Code { language, text } => self.code(language, text),
            Block::Quote(inner) if self.is_quoted || !self.lists.is_empty() => {
                self.blocks(inner, 1);
            }
            Block::Quote(inner) => {
                self.is_quoted = true;
                self.sink.open("{quote}", "\n{quote}");
                self.sink.breaks(1);
                self.blocks(inner, 2);
                self.sink.close();
                self.is_quoted = false;
            }
            Block::List { first, items } => self.list(*first, items),
            Block::Table(table) => self.table(table),
            Block::Rule => drop(self.sink.write("----")),
        }
    }

    fn list(&mut self, first: Option<u64>, items: &[Item]) {
        self.sink.breaks(1);
        let is_nested = self.lists.len() < LISTS_MAX;
        if is_nested {
            // Numbers begin at one; others are written.
            self.lists.push(if first == Some(1) { '#' } else { '*' });
        }
        let mut number = first.filter(|first| *first != 1);
        for item in items {
            if self.sink.is_cut() {
                break;
            }
            let sign = format!("{} ", self.lists);
            self.sink.write(&sign);
            if let Some(number) = &mut number {
                self.sink.write(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            if let Some(done) = item.task {
                self.sink.write(task_sign(done));
            }
            self.blocks(&item.blocks, 1);
            self.sink.breaks(1);
        }
        if is_nested {
            self.lists.pop();
        }
    }

    fn code(&mut self, language: &str, text: &str) {
        let known = LANGUAGES
            .iter()
            .find(|name| name.eq_ignore_ascii_case(language));
        let start = known.map_or_else(|| "{code}".to_owned(), |name| format!("{{code:{name}}}"));
        self.sink.open(&start, "\n{code}");
        for line in text.split('\n') {
            if self.sink.is_cut() {
                break;
            }
            self.sink.break_line();
            self.sink.prose(&harmless(line), |here, made| {
                made.push(here.c);
                // `{code}` would end it.
                if here.c == '{' && matches!(here.after, Some('c' | 'C')) {
                    made.push(JOINER);
                }
            });
        }
        self.sink.close();
    }

    fn table(&mut self, table: &Table) {
        self.row(&table.head, "||");
        for row in &table.rows {
            if self.sink.is_cut() {
                return;
            }
            self.sink.breaks(1);
            self.row(row, "|");
        }
    }

    fn row(&mut self, row: &[Vec<Inline>], bar: &str) {
        self.sink.open(bar, "");
        for cell in row {
            self.sink.open("", bar);
            if is_empty(cell) {
                // A cell without anything would be none.
                self.sink.write(" ");
            } else {
                self.in_line(cell);
            }
            self.sink.close();
        }
        self.sink.close();
    }

    fn in_line(&mut self, line: &[Inline]) {
        let before = std::mem::replace(&mut self.in_line, true);
        self.line(line);
        self.in_line = before;
    }

    fn line(&mut self, line: &[Inline]) {
        for inline in line {
            match inline {
                Inline::Text(text) => self.text(text),
                Inline::Code(text) => {
                    self.sink.open("{{", "}}");
                    self.escaped(text);
                    self.sink.close();
                }
                Inline::Break if self.in_line || self.is_linked => drop(self.sink.write(" ")),
                Inline::Break => self.sink.breaks(1),
                Inline::Strong(inner) => self.mark("*", inner),
                Inline::Emphasis(inner) => self.mark("_", inner),
                Inline::Strike(inner) => self.mark("-", inner),
                Inline::Link { href, label, .. } if is_empty(label) => {
                    self.link(href, &[Inline::Text(shown(href).into())]);
                }
                Inline::Link { href, label, .. } => self.link(href, label),
            }
        }
    }

    fn mark(&mut self, sign: &str, inner: &[Inline]) {
        if is_empty(inner) {
            return;
        }
        // Within a word a mark is one in braces only.
        let in_word = self.sink.made().ends_with(char::is_alphanumeric);
        if in_word {
            self.sink
                .open(&format!("{{{sign}}}"), format!("{{{sign}}}"));
        } else {
            self.sink.open(sign, sign);
        }
        self.line(inner);
        self.sink.close();
    }

    fn link(&mut self, href: &str, label: &[Inline]) {
        if !leads(href) || self.is_linked {
            return self.line(label);
        }
        let url: String = href.chars().map(in_url).collect();
        if matches!(label, [Inline::Text(text)] if *text == url) {
            self.sink.write(&format!("[{url}]"));
            return;
        }
        self.is_linked = true;
        self.sink.open("[", format!("|{url}]"));
        self.line(label);
        self.sink.close();
        self.is_linked = false;
    }

    /// A person's text; addresses in it are links.
    fn text(&mut self, text: &str) {
        if self.is_linked {
            return self.escaped(text);
        }
        for part in parts(text) {
            match part {
                Part::Text(text) => self.escaped(text),
                Part::Url(url) => self.link(url, &[Inline::Text(url.into())]),
            }
        }
    }

    fn escaped(&mut self, text: &str) {
        self.sink.prose(&harmless(text), escape);
    }
}

/// Languages that `{code}` knows; another name is shown as an error.
const LANGUAGES: [&str; 33] = [
    "actionscript",
    "ada",
    "applescript",
    "bash",
    "c",
    "c#",
    "c++",
    "css",
    "erlang",
    "go",
    "groovy",
    "haskell",
    "html",
    "java",
    "javascript",
    "js",
    "json",
    "lua",
    "none",
    "nyan",
    "objc",
    "perl",
    "php",
    "python",
    "r",
    "ruby",
    "scala",
    "sh",
    "sql",
    "swift",
    "visualbasic",
    "xml",
    "yaml",
];

/// An address has no sign in it that ends its link.
fn in_url(c: char) -> char {
    match c {
        '[' | ']' | '|' | '{' | '}' | '\\' => '_',
        c if c.is_control() || c == ' ' => '_',
        c => c,
    }
}

fn escape(here: Here, made: &mut String) {
    let Here {
        c, before, after, ..
    } = here;
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        '\\' if after.is_none_or(|after| !after.is_alphanumeric() && after != ' ') => {
            made.push_str("&#92;");
            return;
        }
        '&' if is_word(after) || after == Some('#') => {
            made.push_str("&amp;");
            return;
        }
        c if c.is_control() && c != '\t' => return,
        _ => {}
    }
    let escaped = match c {
        '{' | '}' | '[' | ']' | '|' | '!' | '*' | '^' | '~' => true,
        '_' | '?' => !(is_word(before) && is_word(after)) && (c == '_' || after == Some('?')),
        // Of a word that begins or ends with it, it would be a mark; alone it is a dash.
        '-' | '+' => {
            let touches = after.is_some_and(|after| !after.is_whitespace())
                || before.is_some_and(|before| !before.is_whitespace());
            (touches && !(is_word(before) && is_word(after))) || here.is_first
        }
        '#' => here.is_first,
        _ => false,
    };
    if escaped {
        made.push('\\');
    }
    made.push(c);
    // `h1.` and `bq.` begin a heading and a quote.
    if c == '.' && (made.ends_with("bq.") || is_heading(made)) {
        made.insert(made.len() - 1, JOINER);
    }
}

/// Whether this ends with `h1.` at the beginning of a line.
fn is_heading(made: &str) -> bool {
    matches!(
        made.as_bytes(),
        [b'h', b'1'..=b'6', b'.'] | [.., b'\n', b'h', b'1'..=b'6', b'.']
    )
}
