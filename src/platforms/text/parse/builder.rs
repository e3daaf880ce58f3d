//! Events of the parser to a tree.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Tag, TagEnd};

use super::super::{Block, Inline, Item, Table, task_sign};
use super::alignment;

/// A block that is open.
enum Open {
    /// The document, or a quote in it.
    Blocks(Vec<Block>),
    List(Option<u64>, Vec<Item>),
    Item(Item),
    /// And whether its head is open.
    Table(Table, bool),
}

/// What holds the line that is written.
#[derive(Clone, Copy)]
enum Leaf {
    Paragraph,
    Heading(u8),
    Cell,
}

/// A mark that is open.
enum Mark {
    Strong,
    Emphasis,
    Strike,
    Link { href: String, image: bool },
}

#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
    leaf: Option<Leaf>,
    /// Of the line that is written.
    line: Vec<Inline>,
    /// Marks that are open, each with what stood before it in the line.
    marks: Vec<(Mark, Vec<Inline>)>,
    code: Option<(String, String)>,
    nodes: usize,
    nodes_max: usize,
}

impl Builder {
    pub(super) fn new(nodes_max: usize) -> Self {
        Self {
            open: vec![Open::Blocks(Vec::new())],
            nodes_max,
            ..Self::default()
        }
    }

    /// Whether there are more nodes than there may be.
    pub(super) const fn is_full(&self) -> bool {
        self.nodes > self.nodes_max
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&text),
                None => self.text(&text),
            },
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(code) | Event::InlineMath(code) | Event::DisplayMath(code) => {
                self.push(Inline::Code(code.replace(['\r', '\n'], " ")));
            }
            Event::FootnoteReference(text) => self.text(&text),
            // Who breaks a line in a ticket means it.
            Event::SoftBreak | Event::HardBreak => self.break_line(),
            Event::Rule => self.block(Block::Rule),
            Event::TaskListMarker(done) => match self.open.last_mut() {
                Some(Open::Item(item)) if self.line.is_empty() && item.blocks.is_empty() => {
                    item.task = Some(done);
                }
                _ => self.text(task_sign(done)),
            },
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.begin(Leaf::Paragraph),
            Tag::Heading { level, .. } => self.begin(Leaf::Heading(level as u8)),
            Tag::HtmlBlock => self.end_line(),
            Tag::BlockQuote(_) => self.push_open(Open::Blocks(Vec::new())),
            Tag::CodeBlock(kind) => {
                self.end_line();
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => {
                        info.split_whitespace().next().unwrap_or_default()
                    }
                    CodeBlockKind::Indented => "",
                };
                self.code = Some((language.into(), String::new()));
            }
            Tag::List(first) => self.push_open(Open::List(first, Vec::new())),
            Tag::Item => self.push_open(Open::Item(Item {
                task: None,
                blocks: Vec::new(),
            })),
            Tag::Table(alignments) => {
                let table = Table {
                    alignments: alignments.into_iter().map(alignment).collect(),
                    head: Vec::new(),
                    rows: Vec::new(),
                };
                self.push_open(Open::Table(table, false));
            }
            Tag::TableHead => self.in_head(true),
            Tag::TableRow => {
                self.in_head(false);
                if let Some(Open::Table(table, _)) = self.open.last_mut() {
                    table.rows.push(Vec::new());
                    self.nodes += 1;
                }
            }
            Tag::TableCell => self.begin(Leaf::Cell),
            Tag::Emphasis => self.mark(Mark::Emphasis),
            Tag::Strong => self.mark(Mark::Strong),
            Tag::Strikethrough => self.mark(Mark::Strike),
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
                self.mark(Mark::Link {
                    href: format!("{scheme}{dest_url}"),
                    image: false,
                });
            }
            Tag::Image { dest_url, .. } => self.mark(Mark::Link {
                href: dest_url.into_string(),
                image: true,
            }),
            Tag::FootnoteDefinition(_)
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
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::HtmlBlock | TagEnd::TableCell => {
                self.end_line();
            }
            TagEnd::CodeBlock => {
                if let Some((language, mut text)) = self.code.take() {
                    // The line break before the closing fence is not of the code.
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    self.block(Block::Code { language, text });
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item | TagEnd::Table => self.close(),
            TagEnd::Strong
            | TagEnd::Emphasis
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image => self.end_mark(),
            // Rows end where the next begins; the rest is not enabled.
            _ => {}
        }
    }

    fn in_head(&mut self, is_head: bool) {
        if let Some(Open::Table(_, head)) = self.open.last_mut() {
            *head = is_head;
        }
    }

    fn push_open(&mut self, open: Open) {
        self.end_line();
        self.nodes += 1;
        self.open.push(open);
    }

    /// Ends the block that is open and hands it to the one around it.
    fn close(&mut self) {
        self.end_line();
        if self.open.len() < 2 {
            return;
        }
        match self.open.pop() {
            Some(Open::Blocks(blocks)) if !blocks.is_empty() => self.block(Block::Quote(blocks)),
            Some(Open::List(first, items)) if !items.is_empty() => {
                self.block(Block::List { first, items });
            }
            Some(Open::Item(item)) => {
                if let Some(Open::List(_, items)) = self.open.last_mut() {
                    items.push(item);
                }
            }
            Some(Open::Table(table, _)) => self.block(Block::Table(table)),
            Some(Open::Blocks(_) | Open::List(..)) | None => {}
        }
    }

    fn block(&mut self, block: Block) {
        self.end_line();
        self.nodes += 1;
        match self.open.last_mut() {
            Some(Open::Blocks(blocks)) => blocks.push(block),
            Some(Open::Item(item)) => item.blocks.push(block),
            // Only what is too deep and lost its item comes here: it goes to the item before.
            Some(Open::List(_, items)) => {
                if let Some(item) = items.last_mut() {
                    item.blocks.push(block);
                }
            }
            Some(Open::Table(..)) | None => {}
        }
    }

    fn begin(&mut self, leaf: Leaf) {
        self.end_line();
        self.leaf = Some(leaf);
    }

    /// Ends the line that is written, if there is one.
    fn end_line(&mut self) {
        let Some(leaf) = self.leaf.take() else { return };
        while !self.marks.is_empty() {
            self.end_mark();
        }
        let mut line = std::mem::take(&mut self.line);
        // A break at the end is a line without anything.
        while line.last() == Some(&Inline::Break) {
            line.pop();
        }
        match leaf {
            Leaf::Cell => {
                self.nodes += 1;
                if let Some(Open::Table(table, is_head)) = self.open.last_mut() {
                    if *is_head {
                        table.head.push(line);
                    } else if let Some(row) = table.rows.last_mut() {
                        row.push(line);
                    }
                }
            }
            _ if line.is_empty() => {}
            Leaf::Paragraph => self.block(Block::Paragraph(line)),
            Leaf::Heading(level) => self.block(Block::Heading(level, line)),
        }
    }

    /// A line begins where text stands and none was begun, as in tight lists.
    fn ensure_line(&mut self) {
        if self.leaf.is_none() {
            self.leaf = Some(Leaf::Paragraph);
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.ensure_line();
        self.marks.push((mark, std::mem::take(&mut self.line)));
    }

    fn end_mark(&mut self) {
        let Some((mark, before)) = self.marks.pop() else {
            return;
        };
        let inner = std::mem::replace(&mut self.line, before);
        match mark {
            Mark::Link { href, image } => {
                if !(href.is_empty() && inner.is_empty()) {
                    self.push(Inline::Link {
                        href,
                        label: inner,
                        image,
                    });
                }
            }
            _ if inner.is_empty() => {}
            Mark::Strong => self.push(Inline::Strong(inner)),
            Mark::Emphasis => self.push(Inline::Emphasis(inner)),
            Mark::Strike => self.push(Inline::Strike(inner)),
        }
    }

    fn break_line(&mut self) {
        let begun =
            !self.line.is_empty() || self.marks.iter().any(|(_, before)| !before.is_empty());
        if begun {
            self.push(Inline::Break);
        }
    }

    fn text(&mut self, text: &str) {
        if !text.contains(['\n', '\r']) {
            if !text.is_empty() {
                self.push(Inline::Text(text.into()));
            }
            return;
        }
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.break_line();
            }
            if !line.is_empty() {
                self.push(Inline::Text(line.replace('\r', " ")));
            }
        }
    }

    fn push(&mut self, inline: Inline) {
        self.ensure_line();
        if let (Some(Inline::Text(before)), Inline::Text(more)) = (self.line.last_mut(), &inline) {
            before.push_str(more);
            return;
        }
        self.nodes += 1;
        self.line.push(inline);
    }

    /// Ends what is open, as where the text was not taken whole.
    pub(super) fn finish(mut self) -> Vec<Block> {
        if let Some((language, text)) = self.code.take() {
            self.block(Block::Code { language, text });
        }
        while self.open.len() > 1 {
            self.close();
        }
        self.end_line();
        match self.open.pop() {
            Some(Open::Blocks(blocks)) => blocks,
            _ => Vec::new(),
        }
    }
}
