//! HTML, as much of it as a platform takes. Always well-formed XML: what a person wrote opens no
//! tag, and all tags are closed.

mod allowed;
mod table;

pub use self::allowed::Allowed;
use super::fit::Max;
use super::marker::{Marker, harmless};
use super::sink::{Here, Sink};
use super::urls::{Part, parts};
use super::{Block, Document, Inline, Item, is_empty, leads, shown, task_sign};

/// What a block stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Body,
    Item,
    Quote,
}

impl Document {
    /// The text as HTML of at most so many characters, with our marker as its last line; and
    /// whether all of the text is in there.
    #[must_use]
    pub fn html(&self, allowed: Allowed, max: Max, marker: Option<Marker<'_>>) -> (String, bool) {
        let spelled = marker.map(Marker::spelled).unwrap_or_default();
        let (cut, tail) = if allowed.is_asana() {
            let separator = if spelled.is_empty() { "" } else { "\n\n" };
            ("\n\n…", format!("{separator}{spelled}</body>"))
        } else if spelled.is_empty() || matches!(marker, Some(Marker::Comment(_))) {
            ("<p>…</p>", spelled)
        } else {
            ("<p>…</p>", format!("<p>{spelled}</p>"))
        };
        let mut writer = Writer {
            sink: Sink::new(max, cut, tail),
            allowed,
            is_linked: false,
        };
        if allowed.is_asana() {
            writer.sink.write("<body>");
        }
        writer.blocks(&self.blocks, Container::Body);
        writer.sink.finish(self.whole)
    }
}

struct Writer {
    sink: Sink,
    allowed: Allowed,
    is_linked: bool,
}

impl Writer {
    fn open(&mut self, (start, end): (&str, &str)) {
        self.sink.open(start, end);
    }

    fn blocks(&mut self, blocks: &[Block], container: Container) {
        let mut before = None;
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            if self.allowed.is_asana() {
                if let Some(before) = before {
                    self.part(before, block, container);
                }
            } else if before.is_some() && container == Container::Body {
                self.sink.break_line();
            }
            self.block(block, container);
            before = Some(block);
        }
    }

    /// Line breaks between two blocks of Asana's. Lists, headings, quotes and code break lines by
    /// themselves.
    fn part(&mut self, before: &Block, block: &Block, container: Container) {
        let lines = matches!((before, block), (Block::Paragraph(_), Block::Paragraph(_)));
        let has_tag = |block: &Block| match block {
            Block::List { .. } => container != Container::Quote,
            Block::Rule | Block::Heading(..) => {
                container == Container::Body && self.allowed == Allowed::AsanaNotes
            }
            Block::Quote(_) | Block::Code { .. } | Block::Table(_) => container == Container::Body,
            Block::Paragraph(_) => false,
        };
        if has_tag(before) || has_tag(block) {
            return;
        }
        self.sink.break_line();
        if lines && container == Container::Body {
            self.sink.break_line();
        }
    }

    fn block(&mut self, block: &Block, container: Container) {
        let asana_body = !self.allowed.is_asana() || container == Container::Body;
        match block {
            Block::Paragraph(line) => self.paragraph(line),
            Block::Heading(level, line) => self.heading(*level, line, container),
            Block::Code { text, .. } if asana_body => {
                let (start, end) = match self.allowed {
                    Allowed::Full => ("<pre><code>", "</code></pre>"),
                    _ => ("<pre>", "</pre>"),
                };
                self.sink.open(start, end);
                self.text(text);
                self.sink.close();
            }
            Block::Code { text, .. } => {
                self.sink.open("<code>", "</code>");
                self.text(text);
                self.sink.close();
            }
            Block::Quote(inner) if asana_body => {
                self.sink.open("<blockquote>", "</blockquote>");
                self.blocks(inner, Container::Quote);
                self.sink.close();
            }
            Block::Quote(inner) => self.blocks(inner, container),
            Block::List { items, first }
                if self.allowed.is_asana() && container == Container::Quote =>
            {
                self.list_as_lines(*first, items);
            }
            Block::List { first, items } => self.list(*first, items),
            Block::Table(table) => self.table(table, container),
            Block::Rule => match self.allowed {
                Allowed::Full => drop(self.sink.write("<hr/>")),
                Allowed::AsanaNotes if container == Container::Body => {
                    _ = self.sink.write("<hr/>");
                }
                Allowed::Teams => drop(self.sink.write("<p>———</p>")),
                Allowed::AsanaNotes | Allowed::AsanaComment => drop(self.sink.write("———")),
            },
        }
    }

    fn paragraph(&mut self, line: &[Inline]) {
        if self.allowed.is_asana() {
            return self.line(line);
        }
        self.sink.open("<p>", "</p>");
        self.line(line);
        self.sink.close();
    }

    fn heading(&mut self, level: u8, line: &[Inline], container: Container) {
        match self.allowed {
            Allowed::Full => {
                self.sink
                    .open(&format!("<h{level}>"), format!("</h{level}>"));
                self.line(line);
                self.sink.close();
            }
            Allowed::AsanaNotes if container == Container::Body => {
                // There are two levels.
                let level = level.min(2);
                self.sink
                    .open(&format!("<h{level}>"), format!("</h{level}>"));
                self.line(line);
                self.sink.close();
            }
            Allowed::AsanaNotes | Allowed::AsanaComment | Allowed::Teams => {
                let bold = [Inline::Strong(line.to_vec())];
                self.paragraph(&bold);
            }
        }
    }

    fn list(&mut self, first: Option<u64>, items: &[Item]) {
        match first {
            None => self.open(("<ul>", "</ul>")),
            Some(1) => self.open(("<ol>", "</ol>")),
            Some(first) if self.allowed == Allowed::Full => {
                self.sink.open(&format!("<ol start=\"{first}\">"), "</ol>");
            }
            // Numbers begin at one here; others are written.
            Some(_) => self.open(("<ul>", "</ul>")),
        }
        let mut number = first.filter(|first| *first != 1 && self.allowed != Allowed::Full);
        for item in items {
            if self.sink.is_cut() {
                break;
            }
            self.sink.open("<li>", "</li>");
            let mut sign = String::new();
            if let Some(number) = &mut number {
                sign = format!("{number}. ");
                *number = number.saturating_add(1);
            }
            sign.push_str(item.task.map(task_sign).unwrap_or_default());
            self.item(&sign, &item.blocks);
            self.sink.close();
        }
        self.sink.close();
    }

    fn item(&mut self, sign: &str, blocks: &[Block]) {
        let Some((Block::Paragraph(line), rest)) = blocks.split_first() else {
            self.sink.write(sign);
            return self.blocks(blocks, Container::Item);
        };
        // A line with lists below it needs no paragraph.
        let is_tight = rest.iter().all(|block| matches!(block, Block::List { .. }));
        let is_paragraph = !self.allowed.is_asana() && !is_tight;
        if is_paragraph {
            self.sink.open("<p>", "</p>");
        }
        self.sink.write(sign);
        self.line(line);
        if is_paragraph {
            self.sink.close();
        }
        if let (true, Some(next)) = (self.allowed.is_asana(), rest.first()) {
            self.part(&blocks[0], next, Container::Item);
        }
        self.blocks(rest, Container::Item);
    }

    /// For a place that takes no list.
    fn list_as_lines(&mut self, first: Option<u64>, items: &[Item]) {
        let mut number = first;
        for (index, item) in items.iter().enumerate() {
            if self.sink.is_cut() {
                return;
            }
            if index > 0 {
                self.sink.break_line();
            }
            match &mut number {
                None => drop(self.sink.write("• ")),
                Some(number) => {
                    self.sink.write(&format!("{number}. "));
                    *number = number.saturating_add(1);
                }
            }
            if let Some(done) = item.task {
                self.sink.write(task_sign(done));
            }
            self.blocks(&item.blocks, Container::Quote);
        }
    }

    fn line(&mut self, line: &[Inline]) {
        for inline in line {
            match inline {
                Inline::Text(text) => self.prose(text),
                Inline::Code(text) => {
                    self.sink.open("<code>", "</code>");
                    self.text(text);
                    self.sink.close();
                }
                Inline::Break if self.allowed.is_asana() => self.sink.break_line(),
                Inline::Break => drop(self.sink.write("<br/>")),
                Inline::Strong(inner) => self.mark(self.allowed.strong(), inner),
                Inline::Emphasis(inner) => self.mark(self.allowed.emphasis(), inner),
                // Teams has no tag for it.
                Inline::Strike(inner) if self.allowed == Allowed::Teams => self.line(inner),
                Inline::Strike(inner) => self.mark(("<s>", "</s>"), inner),
                Inline::Link { href, label, .. } if is_empty(label) => {
                    self.link(href, &[Inline::Text(shown(href).into())]);
                }
                Inline::Link { href, label, .. } => self.link(href, label),
            }
        }
    }

    fn mark(&mut self, tags: (&str, &str), inner: &[Inline]) {
        self.open(tags);
        self.line(inner);
        self.sink.close();
    }

    /// A link, where it leads somewhere; of others, and of an image in a link, the label is enough.
    /// An image is a link: a picture from elsewhere would tell its owner who reads the ticket.
    fn link(&mut self, href: &str, label: &[Inline]) {
        if !leads(href) || self.is_linked {
            return self.line(label);
        }
        self.is_linked = true;
        self.sink
            .open(&format!("<a href=\"{}\">", escaped(href)), "</a>");
        self.line(label);
        self.sink.close();
        self.is_linked = false;
    }

    /// A person's text; addresses in it are links.
    fn prose(&mut self, text: &str) {
        if self.is_linked {
            return self.text(text);
        }
        for part in parts(text) {
            match part {
                Part::Text(text) => self.text(text),
                Part::Url(url) => self.link(url, &[Inline::Text(url.into())]),
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.sink.prose(&harmless(text), escape);
    }
}

fn escape(here: Here, made: &mut String) {
    match here.c {
        '&' => made.push_str("&amp;"),
        '<' => made.push_str("&lt;"),
        '>' => made.push_str("&gt;"),
        '"' => made.push_str("&quot;"),
        // XML has no place for these, not even escaped.
        c if (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
        c => made.push(c),
    }
}

/// A text as it stands between tags, and in an attribute: it opens none and ends none. What XML has
/// no place for is left out.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        let here = Here {
            c,
            before: None,
            after: None,
            is_first: false,
        };
        escape(here, &mut made);
    }
    made
}

/// What a person reads of HTML that a platform shows: without tags, and without our marker.
#[must_use]
pub fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for (index, part) in html.split('<').enumerate() {
        let (tag, after) = match (index, part.split_once('>')) {
            (0, _) => ("", part),
            (_, Some((tag, after))) => (tag, after),
            (_, None) => continue,
        };
        let name = tag.trim_start_matches('/').split([' ', '/']).next();
        let ends_line = match name.unwrap_or_default() {
            "p" | "div" | "li" | "tr" | "blockquote" | "pre" => tag.starts_with('/'),
            "br" => true,
            _ => false,
        };
        text.push_str(if ends_line { "\n" } else { "" });
        text.push_str(after);
    }
    let text = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
    ]
    .into_iter()
    .fold(text.replace("&nbsp;", " "), |text, (code, c)| {
        text.replace(code, c)
    })
    .replace("&amp;", "&");
    Marker::without(text.trim()).to_owned()
}
