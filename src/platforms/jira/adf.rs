//! Markdown to Atlassian Document Format.
//!
//! The rules kept here are from use, not from a specification: a text node is never empty and has no line break in it
//! (but in a code block), `code` combines with `link` only, a list item begins with a paragraph, quotes hold no
//! headings.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::{Map, Value, json};

/// Deeper nesting is flattened: Jira refuses documents far below this.
const DEPTH_MAX: usize = 12;

/// A document node.
struct Node {
    kind: &'static str,
    attrs: Value,
    content: Vec<Value>,
    /// Opened here because text stood where only blocks may, as in tight lists.
    implied: bool,
}

impl Node {
    const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            attrs: Value::Null,
            content: Vec::new(),
            implied: false,
        }
    }

    fn takes_blocks(&self) -> bool {
        matches!(self.kind, "doc" | "listItem" | "blockquote")
    }

    fn finish(self) -> Value {
        let mut node = Map::new();
        node.insert("type".into(), self.kind.into());
        if !self.attrs.is_null() {
            node.insert("attrs".into(), self.attrs);
        }
        node.insert("content".into(), self.content.into());
        node.into()
    }
}

struct Builder {
    stack: Vec<Node>,
    strong: usize,
    em: usize,
    strike: usize,
    links: Vec<String>,
    /// Containers left out because they were nested too deeply.
    skipped: usize,
}

/// The document for a Markdown text.
pub(super) fn document(markdown: &str) -> Value {
    let content = prose(markdown).unwrap_or_else(|| parsed(markdown));
    json!({ "type": "doc", "version": 1, "content": content })
}

/// Most tickets are plain prose, a line a paragraph: that needs no parser, which is a good part of what building a request
/// costs. `None` where a character or the beginning of a line might mean something in Markdown.
fn prose(text: &str) -> Option<Vec<Value>> {
    let is_plain = |line: &str| {
        line.starts_with(|first: char| first.is_ascii_alphabetic())
            && !line.ends_with([' ', '\t'])
            && !line.contains([
                '\n', '\r', '\0', '*', '_', '`', '[', ']', '<', '>', '&', '\\', '~', '|', '$',
            ])
    };
    text.split("\n\n")
        .map(|line| {
            is_plain(line).then(|| {
                let mut paragraph = Node::new("paragraph");
                paragraph
                    .content
                    .push(json!({ "type": "text", "text": line }));
                paragraph.finish()
            })
        })
        .collect()
}

fn parsed(markdown: &str) -> Vec<Value> {
    let mut builder = Builder {
        stack: vec![Node::new("doc")],
        strong: 0,
        em: 0,
        strike: 0,
        links: Vec::new(),
        skipped: 0,
    };
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        builder.event(event);
    }
    while builder.stack.len() > 1 {
        builder.close();
    }
    builder
        .stack
        .pop()
        .map(|doc| doc.content)
        .unwrap_or_default()
}

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(code) => self.inline(&code, true),
            Event::SoftBreak => self.inline(" ", false),
            Event::HardBreak => self.break_line(),
            Event::Rule => {
                self.close_implied();
                if self.stack.len() == 1 {
                    self.push_child(json!({ "type": "rule" }));
                }
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => self.inline(&text, true),
            Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.open(Node::new("paragraph")),
            Tag::Heading { level, .. } => {
                self.close_implied();
                if self.stack.len() == 1 {
                    self.open(Node {
                        attrs: json!({ "level": level as u8 }),
                        ..Node::new("heading")
                    });
                } else {
                    self.open(Node::new("paragraph"));
                    self.strong += 1;
                }
            }
            Tag::BlockQuote(_) => self.open_container(Node::new("blockquote")),
            Tag::CodeBlock(kind) => {
                let attrs = match kind {
                    CodeBlockKind::Fenced(language) if !language.is_empty() => {
                        json!({ "language": language.split_whitespace().next().unwrap_or_default() })
                    }
                    CodeBlockKind::Fenced(_) | CodeBlockKind::Indented => Value::Null,
                };
                self.open(Node {
                    attrs,
                    ..Node::new("codeBlock")
                });
            }
            Tag::List(Some(first)) => {
                self.open_container(Node {
                    attrs: json!({ "order": first }),
                    ..Node::new("orderedList")
                });
            }
            Tag::List(None) => self.open_container(Node::new("bulletList")),
            Tag::Item => self.open_container(Node::new("listItem")),
            Tag::Emphasis => self.em += 1,
            Tag::Strong => self.strong += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push(dest_url.into_string());
            }
            Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Table(_)
            | Tag::TableHead
            | Tag::TableRow
            | Tag::TableCell
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::CodeBlock => self.close(),
            TagEnd::Heading(_) => {
                if self
                    .stack
                    .last()
                    .is_some_and(|node| node.kind == "paragraph")
                {
                    self.strong = self.strong.saturating_sub(1);
                }
                self.close();
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item => {
                self.close_implied();
                if self.skipped > 0 {
                    self.skipped -= 1;
                } else {
                    self.close();
                }
            }
            TagEnd::Emphasis => self.em = self.em.saturating_sub(1),
            TagEnd::Strong => self.strong = self.strong.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => drop(self.links.pop()),
            TagEnd::HtmlBlock => self.close_implied(),
            _ => {}
        }
    }

    fn open_container(&mut self, node: Node) {
        self.close_implied();
        // A list inside a quote inside a list …: flattened, with the text kept.
        if self.skipped > 0 || self.stack.len() >= DEPTH_MAX || !self.fits(&node) {
            self.skipped += 1;
        } else {
            self.stack.push(node);
        }
    }

    fn fits(&self, node: &Node) -> bool {
        let Some(parent) = self.stack.last() else {
            return false;
        };
        match node.kind {
            "listItem" => matches!(parent.kind, "bulletList" | "orderedList"),
            "blockquote" => parent.kind == "doc",
            _ => parent.takes_blocks(),
        }
    }

    fn open(&mut self, node: Node) {
        self.close_implied();
        self.stack.push(node);
    }

    fn close_implied(&mut self) {
        if self.stack.last().is_some_and(|node| node.implied) {
            self.close();
        }
    }

    /// Ends the top node and hands it to the one below.
    fn close(&mut self) {
        if self.stack.len() < 2 {
            return;
        }
        let Some(mut node) = self.stack.pop() else {
            return;
        };
        if node.content.is_empty() && node.kind != "listItem" && node.kind != "codeBlock" {
            return;
        }
        if node.kind == "listItem" {
            let begins_well = node
                .content
                .first()
                .is_some_and(|child| child["type"] == "paragraph");
            if !begins_well {
                node.content
                    .insert(0, json!({ "type": "paragraph", "content": [] }));
            }
        }
        self.push_child(node.finish());
    }

    fn push_child(&mut self, child: Value) {
        if let Some(parent) = self.stack.last_mut() {
            parent.content.push(child);
        }
    }

    fn text(&mut self, text: &str) {
        if self
            .stack
            .last()
            .is_some_and(|node| node.kind == "codeBlock")
        {
            let text = text.strip_suffix('\n').unwrap_or(text);
            if !text.is_empty() {
                self.push_child(json!({ "type": "text", "text": text }));
            }
            return;
        }
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 && !line.is_empty() {
                self.break_line();
            }
            self.inline(line, false);
        }
    }

    fn break_line(&mut self) {
        if self.stack.last().is_some_and(|node| {
            matches!(node.kind, "paragraph" | "heading") && !node.content.is_empty()
        }) {
            self.push_child(json!({ "type": "hardBreak" }));
        }
    }

    fn inline(&mut self, text: &str, code: bool) {
        let text = text.replace(['\r', '\n'], " ");
        if text.is_empty() {
            return;
        }
        if self
            .stack
            .last()
            .is_some_and(|node| !matches!(node.kind, "paragraph" | "heading" | "codeBlock"))
        {
            // A list holds only items: text that lost its item stands in a paragraph behind the list.
            while self.stack.last().is_some_and(|node| !node.takes_blocks()) {
                self.close();
            }
            self.stack.push(Node {
                implied: true,
                ..Node::new("paragraph")
            });
        }
        let mut marks = Vec::new();
        if code {
            marks.push(json!({ "type": "code" }));
        } else {
            for (count, name) in [
                (self.strong, "strong"),
                (self.em, "em"),
                (self.strike, "strike"),
            ] {
                if count > 0 {
                    marks.push(json!({ "type": name }));
                }
            }
        }
        if let Some(href) = self.links.last().filter(|href| !href.is_empty()) {
            marks.push(json!({ "type": "link", "attrs": { "href": href } }));
        }
        let node = if marks.is_empty() {
            json!({ "type": "text", "text": text })
        } else {
            json!({ "type": "text", "text": text, "marks": marks })
        };
        self.push_child(node);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better with a literal"
    )]
    fn check(markdown: &str, content: Value) {
        assert_eq!(
            document(markdown),
            json!({ "type": "doc", "version": 1, "content": content }),
            "{markdown}"
        );
    }

    fn paragraph(text: &str) -> Value {
        json!({ "type": "paragraph", "content": [{ "type": "text", "text": text }] })
    }

    proptest! {
        #[test]
        fn prose_is_what_the_parser_makes_of_it(text in "[a-zA-Z]([a-zA-Z0-9 .,;:!?()'\"/#%@+=é-]{0,30}(\n\n)?[a-zA-Z]?){1,4}") {
            if let Some(content) = prose(&text) {
                prop_assert_eq!(content, parsed(&text));
            }
        }
    }

    #[test]
    fn prose_is_told_from_markdown() {
        assert!(prose("Checkout fails: 3 of 4 cards (all banks).\n\nSince Monday!").is_some());
        for text in [
            "", "# Steps", "1. one", "- one", "    code", "a\nb", "a *b*", "a  ", "see <b>",
            "a\n\n\nb",
        ] {
            assert!(prose(text).is_none(), "{text}");
        }
    }

    #[test]
    fn blocks_become_blocks() {
        check("plain", json!([paragraph("plain")]));
        check("", json!([]));
        check(
            "### Steps\n\none\ntwo",
            json!([
                { "type": "heading", "attrs": { "level": 3 }, "content": [{ "type": "text", "text": "Steps" }] },
                { "type": "paragraph", "content": [
                    { "type": "text", "text": "one" }, { "type": "text", "text": " " }, { "type": "text", "text": "two" }
                ] }
            ]),
        );
        check(
            "```rust\nfn main() {}\n\nx\n```",
            json!([{ "type": "codeBlock", "attrs": { "language": "rust" },
                     "content": [{ "type": "text", "text": "fn main() {}\n\nx" }] }]),
        );
        check(
            "> quoted",
            json!([{ "type": "blockquote", "content": [paragraph("quoted")] }]),
        );
        check(
            "- one\n- two\n\n3. three",
            json!([
                { "type": "bulletList", "content": [
                    { "type": "listItem", "content": [paragraph("one")] },
                    { "type": "listItem", "content": [paragraph("two")] }
                ] },
                { "type": "orderedList", "attrs": { "order": 3 }, "content": [
                    { "type": "listItem", "content": [paragraph("three")] }
                ] }
            ]),
        );
    }

    #[test]
    fn inline_marks_combine_as_jira_takes_them() {
        check(
            "Run `make` then **[see](https://example.com)**",
            json!([{ "type": "paragraph", "content": [
                { "type": "text", "text": "Run " },
                { "type": "text", "text": "make", "marks": [{ "type": "code" }] },
                { "type": "text", "text": " then " },
                { "type": "text", "text": "see", "marks": [
                    { "type": "strong" }, { "type": "link", "attrs": { "href": "https://example.com" } }
                ] }
            ] }]),
        );
    }

    fn sound(node: &Value, in_code: bool) -> bool {
        let kind = node["type"].as_str().unwrap_or_default();
        let children = node["content"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let here = match kind {
            "text" => {
                let text = node["text"].as_str().unwrap_or_default();
                !text.is_empty() && (in_code || !text.contains('\n'))
            }
            "listItem" => children
                .first()
                .is_some_and(|child| child["type"] == "paragraph"),
            "bulletList" | "orderedList" => {
                !children.is_empty() && children.iter().all(|child| child["type"] == "listItem")
            }
            "doc" | "blockquote" => children.iter().all(|child| child["type"] != "text"),
            _ => true,
        };
        here && children
            .iter()
            .all(|child| sound(child, kind == "codeBlock"))
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_sound_document(text in "[-*#>`~_\\[\\]()!1-3. a-cé\n\t]{0,120}") {
            let document = document(&text);

            prop_assert!(sound(&document, false), "{document}");
        }
    }
}
