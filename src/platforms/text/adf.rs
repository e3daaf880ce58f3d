//! Atlassian Document Format: Jira Cloud.
//!
//! The rules kept here are from use, not from a specification: a text node is never empty and has
//! no line break in it (but in a code block), `code` combines with `link` only, a list item begins
//! with a paragraph, quotes hold no headings and stand in nothing, nor do tables. A person is
//! mentioned by a node of its own, which no text becomes.

use serde_json::{Map, Value, json};

use super::{Block, Document, Inline, Item, Table, is_empty, table, task_sign};

/// Bytes of JSON that a text may become: so many for each of its own, and as many as a short one
/// needs for its markup.
const GROWTH_MAX: usize = 8;
const MADE_MIN: usize = 64 << 10;
/// Stands at the end of a document that would have been longer.
const CUT: &str = "… (cut: the text has more markup than one document holds)";

impl Document {
    /// The document as JSON. [`is_cut`] says whether all of the text is in it.
    #[must_use]
    pub fn adf(&self) -> Value {
        let mut writer = Writer {
            left: self
                .read
                .saturating_mul(GROWTH_MAX)
                .saturating_add(MADE_MIN),
            is_cut: false,
        };
        let mut content = Vec::with_capacity(self.blocks.len());
        writer.blocks(&self.blocks, Container::Document, &mut content);
        if writer.is_cut || !self.whole {
            content.push(node(
                "paragraph",
                None,
                vec![json!({ "type": "text", "text": CUT })],
            ));
        }
        json!({ "type": "doc", "version": 1, "content": content })
    }
}

/// Whether a document ends before its text does.
#[must_use]
pub fn is_cut(document: &Value) -> bool {
    let last = document["content"].as_array().and_then(|all| all.last());
    last.is_some_and(|last| last["content"][0]["text"] == CUT)
}

/// What a block stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Document,
    Quote,
    Item,
}

/// Marks of a text.
#[derive(Clone, Copy, Default)]
struct Marks<'a> {
    strong: bool,
    em: bool,
    strike: bool,
    link: Option<&'a str>,
}

struct Writer {
    /// About how many bytes of JSON there may still be.
    left: usize,
    is_cut: bool,
}

fn node(kind: &str, attrs: Option<Value>, content: Vec<Value>) -> Value {
    let mut node = Map::new();
    node.insert("type".into(), kind.into());
    if let Some(attrs) = attrs {
        node.insert("attrs".into(), attrs);
    }
    node.insert("content".into(), content.into());
    node.into()
}

impl Writer {
    /// Takes room for a node; `false` where there is none.
    fn take(&mut self, bytes: usize) -> bool {
        // What is around it in JSON.
        let cost = bytes + 64;
        self.is_cut |= cost > self.left;
        self.left = self.left.saturating_sub(cost);
        !self.is_cut
    }

    fn blocks(&mut self, blocks: &[Block], container: Container, made: &mut Vec<Value>) {
        for block in blocks {
            if self.is_cut {
                return;
            }
            self.block(block, container, made);
        }
    }

    fn block(&mut self, block: &Block, container: Container, made: &mut Vec<Value>) {
        match block {
            Block::Paragraph(line) => self.paragraph(line, Marks::default(), made),
            Block::Heading(level, line) if container == Container::Document => {
                let content = self.line(line, Marks::default());
                if !content.is_empty() && self.take(24) {
                    made.push(node("heading", Some(json!({ "level": level })), content));
                }
            }
            Block::Heading(_, line) => {
                let marks = Marks {
                    strong: true,
                    ..Marks::default()
                };
                self.paragraph(line, marks, made);
            }
            Block::Code { language, text } => self.code(language, text, made),
            Block::Quote(inner) if container == Container::Document => {
                let mut content = Vec::new();
                self.blocks(inner, Container::Quote, &mut content);
                if !content.is_empty() && self.take(0) {
                    made.push(node("blockquote", None, content));
                }
            }
            Block::Quote(inner) => self.blocks(inner, container, made),
            Block::List { first, items } => self.list(*first, items, made),
            Block::Table(table) if container == Container::Document => self.table(table, made),
            Block::Table(table) => match table::aligned(table) {
                Some(lines) => self.code("", &lines.join("\n"), made),
                None => {
                    for row in &table.rows {
                        let text = table::row_text(table, row);
                        self.paragraph(&[Inline::Text(text)], Marks::default(), made);
                    }
                }
            },
            Block::Rule => {
                if container == Container::Document && self.take(0) {
                    made.push(json!({ "type": "rule" }));
                }
            }
        }
    }

    fn paragraph(&mut self, line: &[Inline], marks: Marks<'_>, made: &mut Vec<Value>) {
        let content = self.line(line, marks);
        if !content.is_empty() && self.take(0) {
            made.push(node("paragraph", None, content));
        }
    }

    fn code(&mut self, language: &str, text: &str, made: &mut Vec<Value>) {
        if !self.take(text.len() + escaped(text)) {
            return;
        }
        let attrs = (!language.is_empty()).then(|| json!({ "language": language }));
        let content = if text.is_empty() {
            Vec::new()
        } else {
            vec![json!({ "type": "text", "text": text })]
        };
        made.push(node("codeBlock", attrs, content));
    }

    fn list(&mut self, first: Option<u64>, items: &[Item], made: &mut Vec<Value>) {
        let mut content = Vec::with_capacity(items.len());
        for item in items {
            if self.is_cut {
                break;
            }
            if let Some(item) = self.item(item) {
                content.push(item);
            }
        }
        if content.is_empty() {
            return;
        }
        made.push(match first {
            None => node("bulletList", None, content),
            Some(first) => node("orderedList", Some(json!({ "order": first })), content),
        });
    }

    fn item(&mut self, item: &Item) -> Option<Value> {
        if !self.take(64) {
            return None;
        }
        let mut content = Vec::with_capacity(item.blocks.len());
        let mut blocks = item.blocks.as_slice();
        if let Some(done) = item.task {
            // A list of Jira's own for tasks needs ids, and takes nothing but lines.
            let mut line = vec![Inline::Text(task_sign(done).into())];
            if let Some((Block::Paragraph(first), rest)) = blocks.split_first() {
                line.extend(first.iter().cloned());
                blocks = rest;
            }
            self.paragraph(&line, Marks::default(), &mut content);
        }
        self.blocks(blocks, Container::Item, &mut content);
        if content
            .first()
            .is_none_or(|first| first["type"] != "paragraph")
        {
            content.insert(0, node("paragraph", None, Vec::new()));
        }
        Some(node("listItem", None, content))
    }

    fn table(&mut self, table: &Table, made: &mut Vec<Value>) {
        let mut rows = Vec::with_capacity(table.rows.len() + 1);
        let all = std::iter::once(("tableHeader", &table.head))
            .chain(table.rows.iter().map(|row| ("tableCell", row)));
        for (kind, row) in all {
            let mut cells = Vec::with_capacity(row.len());
            for cell in row {
                if !self.take(64) {
                    break;
                }
                let content = self.line(cell, Marks::default());
                cells.push(node(kind, None, vec![node("paragraph", None, content)]));
            }
            if !cells.is_empty() && self.take(0) {
                rows.push(node("tableRow", None, cells));
            }
            if self.is_cut {
                break;
            }
        }
        if !rows.is_empty() {
            made.push(node("table", None, rows));
        }
    }

    fn line(&mut self, line: &[Inline], marks: Marks<'_>) -> Vec<Value> {
        let mut made = Vec::with_capacity(line.len());
        self.inlines(line, marks, &mut made);
        // A break at the end is a line without anything.
        while made.last().is_some_and(|last| last["type"] == "hardBreak") {
            made.pop();
        }
        made
    }

    fn inlines<'a>(&mut self, line: &'a [Inline], marks: Marks<'a>, made: &mut Vec<Value>) {
        for inline in line {
            if self.is_cut {
                return;
            }
            match inline {
                Inline::Text(text) => self.text(text, marks, false, made),
                Inline::Code(text) => self.text(text, marks, true, made),
                Inline::Break => {
                    if !made.is_empty() && self.take(0) {
                        made.push(json!({ "type": "hardBreak" }));
                    }
                }
                Inline::Strong(inner) => {
                    let strong = Marks {
                        strong: true,
                        ..marks
                    };
                    self.inlines(inner, strong, made);
                }
                Inline::Emphasis(inner) => self.inlines(inner, Marks { em: true, ..marks }, made),
                Inline::Strike(inner) => {
                    let strike = Marks {
                        strike: true,
                        ..marks
                    };
                    self.inlines(inner, strike, made);
                }
                Inline::Link { href, label, .. } => {
                    // Of an image in a link, the link leads.
                    let own = leads(href).then_some(href.as_str());
                    let link = marks.link.or(own);
                    let marks = Marks { link, ..marks };
                    if !is_empty(label) {
                        self.inlines(label, marks, made);
                    } else if own.is_some() {
                        // What has no label is shown by its address.
                        self.text(href, marks, false, made);
                    }
                }
            }
        }
    }

    /// Adds a text, to the text before it where that has the same marks.
    fn text(&mut self, text: &str, marks: Marks<'_>, is_code: bool, made: &mut Vec<Value>) {
        if text.is_empty() {
            return;
        }
        let mut all = Vec::new();
        let mut cost = text.len() + escaped(text);
        if is_code {
            all.push(json!({ "type": "code" }));
        } else {
            let named = [
                (marks.strong, "strong"),
                (marks.em, "em"),
                (marks.strike, "strike"),
            ];
            let named = named.into_iter().filter(|(is_on, _)| *is_on);
            all.extend(named.map(|(_, name)| json!({ "type": name })));
        }
        if let Some(href) = marks.link {
            cost += href.len() + 48;
            all.push(json!({ "type": "link", "attrs": { "href": href } }));
        }
        if !self.take(cost + all.len() * 18) {
            return;
        }
        if let Some(last) = made.last_mut() {
            let same = match last.get("marks") {
                None => all.is_empty(),
                Some(before) => before.as_array().is_some_and(|before| *before == all),
            };
            if let Some(Value::String(before)) = last.get_mut("text").filter(|_| same) {
                before.push_str(text);
                return;
            }
        }
        let mut node = json!({ "type": "text", "text": text });
        if !all.is_empty() {
            node["marks"] = all.into();
        }
        made.push(node);
    }
}

/// Bytes that JSON adds to a text.
fn escaped(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_control).count() * 5
}

/// Whether an address may be a link: a script is none. Jira leads to its own pages by paths.
fn leads(href: &str) -> bool {
    let scheme = href
        .trim_start()
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    !href.is_empty() && !matches!(scheme.as_str(), "javascript" | "data" | "vbscript")
}

#[cfg(test)]
mod tests;
