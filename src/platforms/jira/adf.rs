//! Markdown to Atlassian Document Format.
//!
//! The rules kept here are from use, not from a specification: a text node is never empty and has no line break in it
//! (but in a code block), `code` combines with `link` only, a list item begins with a paragraph, quotes hold no
//! headings and stand in nothing, nor do tables. A person is mentioned by a node of its own, which no text becomes.

use std::ops::ControlFlow;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Tag, TagEnd};
use serde_json::{Map, Value, json};

use super::super::markdown::walk;

/// Characters of Markdown that are read: what Jira takes of text (JRACLOUD-78553).
const READ_MAX: usize = 32_767;
/// Bytes of JSON that a text may become: so many for each of its own, and as many as a short one needs for its markup.
const GROWTH_MAX: usize = 8;
const MADE_MIN: usize = 64 << 10;
/// Stands at the end of a document that would have been longer.
pub(super) const CUT: &str = "… (cut: the text has more markup than one document holds)";

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
        matches!(
            self.kind,
            "doc" | "listItem" | "blockquote" | "tableCell" | "tableHeader"
        )
    }

    /// Whether it must be there though there is nothing in it.
    fn may_be_empty(&self) -> bool {
        matches!(
            self.kind,
            "listItem" | "codeBlock" | "tableCell" | "tableHeader"
        )
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
    /// Containers that are open, and whether each has a node: one that does not fit its parent has none.
    containers: Vec<bool>,
    strong: usize,
    em: usize,
    strike: usize,
    /// Open links, and whether something stands in them.
    links: Vec<(String, bool)>,
    in_table_head: bool,
    /// About how many bytes of JSON there are, and how many there may be.
    made: usize,
    made_max: usize,
}

/// The document for a Markdown text.
pub(super) fn document(markdown: &str) -> Value {
    let content = prose(markdown).unwrap_or_else(|| parsed(markdown));
    json!({ "type": "doc", "version": 1, "content": content })
}

/// Whether a document ends before its text does.
pub(super) fn is_cut(document: &Value) -> bool {
    let last = document["content"].as_array().and_then(|all| all.last());
    last.is_some_and(|last| last["content"][0]["text"] == CUT)
}

/// Most tickets are plain prose, a line a paragraph: that needs no parser, which is a good part of what building a request
/// costs. `None` where a character or the beginning of a line might mean something in Markdown.
fn prose(text: &str) -> Option<Vec<Value>> {
    if text.len() > READ_MAX {
        return None;
    }
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
        containers: Vec::new(),
        strong: 0,
        em: 0,
        strike: 0,
        links: Vec::new(),
        in_table_head: false,
        made: 0,
        made_max: markdown
            .len()
            .min(READ_MAX)
            .saturating_mul(GROWTH_MAX)
            .saturating_add(MADE_MIN),
    };
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES;
    let whole = walk(markdown, READ_MAX, options, |event| {
        if builder.made > builder.made_max {
            return ControlFlow::Break(());
        }
        builder.event(event);
        ControlFlow::Continue(())
    });
    while builder.stack.len() > 1 {
        builder.close();
    }
    if !whole {
        let text = json!({ "type": "text", "text": CUT });
        builder.push_child(json!({ "type": "paragraph", "content": [text] }));
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
            // Who breaks a line in a ticket means it.
            Event::SoftBreak | Event::HardBreak => self.break_line(),
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
            Tag::Table(_) => self.open_container(Node::new("table")),
            Tag::TableHead => {
                self.in_table_head = true;
                self.open_container(Node::new("tableRow"));
            }
            Tag::TableRow => self.open_container(Node::new("tableRow")),
            Tag::TableCell => self.open_container(Node::new(if self.in_table_head {
                "tableHeader"
            } else {
                "tableCell"
            })),
            Tag::Emphasis => self.em += 1,
            Tag::Strong => self.strong += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => {
                let scheme = if link_type == LinkType::Email {
                    "mailto:"
                } else {
                    ""
                };
                self.links.push((format!("{scheme}{dest_url}"), false));
            }
            Tag::Image { dest_url, .. } => self.links.push((dest_url.into_string(), false)),
            Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
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
            TagEnd::TableHead => {
                self.in_table_head = false;
                self.close_container();
            }
            TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::TableRow => self.close_container(),
            TagEnd::TableCell => {
                // Of a table that has no place here, a line a row is left.
                if self.containers.last() == Some(&false) {
                    self.inline(" ", false);
                }
                self.close_container();
            }
            TagEnd::Emphasis => self.em = self.em.saturating_sub(1),
            TagEnd::Strong => self.strong = self.strong.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::HtmlBlock => self.close_implied(),
            _ => {}
        }
    }

    fn open_container(&mut self, node: Node) {
        self.close_implied();
        let fits = self.fits(&node);
        self.containers.push(fits);
        if fits {
            self.stack.push(node);
        }
    }

    fn close_container(&mut self) {
        let has_node = self.containers.pop().unwrap_or(false);
        // Cells of a table that has no place stand in one paragraph a row.
        let in_row =
            !has_node && self.containers.len() > 1 && !self.containers.last().unwrap_or(&true);
        if !in_row {
            self.close_implied();
        }
        if has_node {
            self.close();
        }
    }

    fn fits(&self, node: &Node) -> bool {
        let Some(parent) = self.stack.last() else {
            return false;
        };
        match node.kind {
            "listItem" => matches!(parent.kind, "bulletList" | "orderedList"),
            "blockquote" | "table" => parent.kind == "doc",
            "tableRow" => parent.kind == "table",
            "tableCell" | "tableHeader" => parent.kind == "tableRow",
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
        match node.kind {
            // The line break before the closing fence is not of the code.
            "codeBlock" => {
                if let Some(Value::String(code)) = node
                    .content
                    .last_mut()
                    .and_then(|last| last.get_mut("text"))
                {
                    if code.ends_with('\n') {
                        code.pop();
                    }
                    if code.is_empty() {
                        node.content.clear();
                    }
                }
            }
            // A break at the end is a line without anything.
            "paragraph" | "heading" => {
                while node
                    .content
                    .last()
                    .is_some_and(|last| last["type"] == "hardBreak")
                {
                    node.content.pop();
                }
            }
            "listItem" | "tableCell" | "tableHeader" => {
                let begins_well = node
                    .content
                    .first()
                    .is_some_and(|first| first["type"] == "paragraph" || node.kind != "listItem");
                if !begins_well {
                    node.content
                        .insert(0, json!({ "type": "paragraph", "content": [] }));
                }
            }
            _ => {}
        }
        if node.content.is_empty() && !node.may_be_empty() {
            return;
        }
        self.push_child(node.finish());
    }

    fn push_child(&mut self, child: Value) {
        // What is around it in JSON; a text is counted where it is added.
        self.made += 64;
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
            self.add_text(text, Vec::new());
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
        for (_, has_label) in &mut self.links {
            *has_label = true;
        }
        // Of an image in a link, the link leads.
        if let Some((href, _)) = self.links.iter().find(|(href, _)| leads(href)) {
            self.made += href.len() + 48;
            marks.push(json!({ "type": "link", "attrs": { "href": href } }));
        }
        self.add_text(&text, marks);
    }

    /// What has no label is shown by its address.
    fn close_link(&mut self) {
        if let Some((href, false)) = self.links.last()
            && leads(href)
        {
            let href = href.clone();
            self.inline(&href, false);
        }
        self.links.pop();
    }

    /// Adds a text to the top node, to the text before it where that has the same marks.
    fn add_text(&mut self, text: &str, marks: Vec<Value>) {
        self.made += text.len() + text.bytes().filter(u8::is_ascii_control).count() * 5;
        let last = self
            .stack
            .last_mut()
            .and_then(|node| node.content.last_mut());
        if let Some(last) = last {
            let same = match last.get("marks") {
                None => marks.is_empty(),
                Some(before) => before.as_array().is_some_and(|before| *before == marks),
            };
            if let Some(Value::String(before)) = last.get_mut("text").filter(|_| same) {
                before.push_str(text);
                return;
            }
        }
        let mut node = json!({ "type": "text", "text": text });
        if !marks.is_empty() {
            self.made += marks.len() * 18;
            node["marks"] = marks.into();
        }
        self.push_child(node);
    }
}

/// Whether an address may be a link: a script is none.
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
mod tests {
    use proptest::prelude::*;

    use super::super::super::markdown::{DEPTH_MAX, hostile};
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
                    { "type": "text", "text": "one" }, { "type": "hardBreak" }, { "type": "text", "text": "two" }
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

    #[test]
    fn a_table_is_a_table_and_in_a_list_a_line_a_row() {
        let cell = |kind: &str, text: &str| json!({ "type": kind, "content": [paragraph(text)] });
        let empty =
            json!({ "type": "tableCell", "content": [{ "type": "paragraph", "content": [] }] });
        check(
            "| a | b |\n|---|---|\n| 1 |\n",
            json!([{ "type": "table", "content": [
                { "type": "tableRow", "content": [cell("tableHeader", "a"), cell("tableHeader", "b")] },
                { "type": "tableRow", "content": [cell("tableCell", "1"), empty] },
            ] }]),
        );
        let listed = document("- x\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |\n").to_string();
        assert!(
            !listed.contains("table") && listed.contains('1') && listed.contains('a'),
            "{listed}"
        );
    }

    #[test]
    fn links_lead_where_they_say() {
        let href = |markdown: &str| {
            document(markdown)
                .pointer("/content/0/content/0/marks/0/attrs/href")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        for (markdown, leads_to) in [
            ("<bob@example.com>", Some("mailto:bob@example.com")),
            (
                "[![alt](https://i.test)](https://x.test)",
                Some("https://x.test"),
            ),
            ("[](https://x.test)", Some("https://x.test")),
            ("![](https://i.test)", Some("https://i.test")),
            ("[x](javascript:alert)", None),
        ] {
            assert_eq!(href(markdown).as_deref(), leads_to, "{markdown}");
        }
    }

    #[test]
    fn lists_six_deep_stay_lists_and_deeper_ones_are_lines() {
        let deep = |depth: usize| -> String {
            (0..depth)
                .map(|level| format!("{}- l{level}\n", "  ".repeat(level)))
                .collect()
        };
        let lists = |markdown: &str| document(markdown).to_string().matches("bulletList").count();
        assert_eq!(
            (lists(&deep(6)), lists(&deep(8)), lists(&deep(20))),
            (6, 8, 8)
        );
        let all = document(&(deep(12) + "- after\n"));
        assert_eq!(
            all["content"].as_array().unwrap().len(),
            1,
            "one outer list: {all}"
        );
        for level in 0..12 {
            assert!(
                all.to_string().contains(&format!("l{level}\"")),
                "l{level}: {all}"
            );
        }
    }

    #[test]
    fn code_in_a_quote_keeps_its_lines() {
        check(
            "> ```\n> a\n> b\n> ```",
            json!([{ "type": "blockquote", "content": [
                { "type": "codeBlock", "content": [{ "type": "text", "text": "a\nb" }] }
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
            "table" => {
                !children.is_empty() && children.iter().all(|child| child["type"] == "tableRow")
            }
            "tableRow" => children
                .iter()
                .all(|child| child["type"] == "tableCell" || child["type"] == "tableHeader"),
            "doc" | "blockquote" | "tableCell" | "tableHeader" => {
                (kind == "doc" || !children.is_empty())
                    && children.iter().all(|child| child["type"] != "text")
            }
            // No text becomes a mention, an emoji, a card or a media node.
            "paragraph" | "heading" | "codeBlock" | "hardBreak" | "rule" => true,
            _ => false,
        };
        here && children
            .iter()
            .all(|child| sound(child, kind == "codeBlock"))
    }

    fn depth(node: &Value) -> usize {
        let children = node["content"].as_array();
        1 + children.into_iter().flatten().map(depth).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_sound_document(text in "[-*#>`~_|\\[\\]()!1-3. a-cé\n\t]{0,120}") {
            let document = document(&text);

            prop_assert!(sound(&document, false), "{document}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_made_is_bounded(text in hostile::texts(100_000), short in hostile::texts(200)) {
            let began = std::time::Instant::now();
            for text in [&text, &short] {
                let document = document(text);
                let made = document.to_string().len();
                let taken = text.len().min(4 * READ_MAX);
                prop_assert!(made <= 8 * taken + 2 * MADE_MIN, "{} of {}", made, text.len());
                prop_assert!(depth(&document) <= 2 * DEPTH_MAX + 4, "{}", depth(&document));
                prop_assert!(sound(&document, false));
            }
            prop_assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn each_hostile_text_is_bounded_in_time_and_size() {
        for (piece, text) in hostile::plain(100_000) {
            let began = std::time::Instant::now();
            let document = document(&text);
            let made = document.to_string().len();
            assert!(made <= 8 * READ_MAX + 2 * MADE_MIN, "{piece:?}: {made}");
            assert!(is_cut(&document), "{piece:?}");
            assert!(
                began.elapsed().as_secs() < 2,
                "{piece:?}: {:?}",
                began.elapsed()
            );
        }
        assert!(!is_cut(&document("- a\n- b")));
    }
}
