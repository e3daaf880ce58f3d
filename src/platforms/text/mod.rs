//! Markdown that a tenant wrote, in the format of each platform.
//!
//! A text is parsed once ([`Document::parse`]) into a bounded tree. Each format is one walk over
//! that tree: [`adf`] (Jira Cloud), [`wiki`] (Jira Data Center), [`mrkdwn`] and [`mod@pieces`]
//! (Slack), [`html`] (Zendesk, Freshdesk, HubSpot, Asana, Teams, e-mail), [`markdown`] (GitHub,
//! Trello), [`card`] (Teams), [`ranges`] (Zoom) and [`plain`] (ServiceNow, Salesforce, SMS, the
//! text part of an e-mail). [`table`] lays tables out for formats that have none.
//!
//! Three rules hold for every format, and tests of this module check them:
//! - **Bounded.** [`bounds`] limits what is read, [`sink`] limits what is made. A cut text says so
//!   where it ends.
//! - **Harmless.** What a person wrote is text: it opens no tag, calls nobody and refers to
//!   nothing.
//! - **Ours.** A [`Marker`] is never cut away, and no text of a person is taken for one.
//!
//! [`mod@fit`] cuts what is not Markdown: titles, facts, short messages.

mod adf;
mod bounds;
mod card;
mod fit;
mod gsm;
#[cfg(test)]
mod hostile;
mod html;
mod markdown;
mod marker;
mod mrkdwn;
mod parse;
mod pieces;
mod placeholder;
mod plain;
#[cfg(test)]
mod properties;
mod ranges;
mod sink;
#[cfg(test)]
mod snapshots;
mod table;
mod urls;
mod wiki;

pub use adf::is_cut;
pub use bounds::head;
pub use card::card_text;
pub use fit::{Max, fit, one_line, title};
pub use gsm::{ascii_punctuation, segments};
pub use html::{Allowed, escaped, without_tags};
pub use markdown::Dialect;
pub use marker::{Marker, harmless_label};
pub use mrkdwn::{cut, escape};
pub use pieces::{calm, pieces};
pub use placeholder::{inert, inert_html};
pub use ranges::{Format, Range};

use crate::domain::has_ink;

/// A text, parsed. Lists, quotes and marks stand inside each other eight deep at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<Block>,
    /// Whether all of the text is in it.
    whole: bool,
    /// Bytes of the text that were read.
    read: usize,
}

/// What stands below each other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    Paragraph(Vec<Inline>),
    /// Level 1 to 6.
    Heading(u8, Vec<Inline>),
    /// A code block; its text does not end with a line break.
    Code {
        language: String,
        text: String,
    },
    Quote(Vec<Block>),
    List {
        /// The number of the first item; `None` for bullets.
        first: Option<u64>,
        items: Vec<Item>,
    },
    Table(Table),
    Rule,
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    /// Of a task: whether it is done.
    task: Option<bool>,
    blocks: Vec<Block>,
}

/// A table. A row may have fewer cells than the head where the text was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    alignments: Vec<Alignment>,
    head: Vec<Vec<Inline>>,
    rows: Vec<Vec<Vec<Inline>>>,
}

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alignment {
    None,
    Left,
    Center,
    Right,
}

/// What stands in a line. A text has no line break in it and stands next to no other text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Inline {
    Text(String),
    Code(String),
    Break,
    Strong(Vec<Inline>),
    Emphasis(Vec<Inline>),
    Strike(Vec<Inline>),
    /// A link, or an image, which most formats show as a link. Its label may be empty.
    Link {
        href: String,
        label: Vec<Inline>,
        image: bool,
    },
}

impl Document {
    /// Whether all of the text is in the document. Each format says for itself whether all of the
    /// document is in it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether a person would see nothing of it, in whatever format. Platforms refuse such a text,
    /// or show an empty one.
    #[must_use]
    pub fn shows_nothing(&self) -> bool {
        show_nothing(&self.blocks)
    }
}

fn show_nothing(blocks: &[Block]) -> bool {
    blocks.iter().all(|block| match block {
        Block::Paragraph(line) | Block::Heading(_, line) => is_empty(line),
        Block::Code { text, .. } => !has_ink(text),
        Block::Quote(inner) => show_nothing(inner),
        Block::List { items, .. } => items.iter().all(|item| show_nothing(&item.blocks)),
        Block::Table(table) => {
            let mut cells = table.head.iter().chain(table.rows.iter().flatten());
            cells.all(|cell| is_empty(cell))
        }
        Block::Rule => false,
    })
}

/// Whether a person would see nothing of a text. Most texts show at their beginning that they are
/// some, and need not be read.
#[must_use]
pub fn shows_nothing(markdown: &str, characters_max: usize) -> bool {
    let begin = markdown.trim_start().chars().next();
    !begin.is_some_and(char::is_alphanumeric)
        && Document::parse(markdown, characters_max).shows_nothing()
}

/// The sign of a task.
const fn task_sign(done: bool) -> &'static str {
    if done { "☑ " } else { "☐ " }
}

/// Whether an address leads somewhere that a person may be sent to: a page or a mailbox, and no
/// script.
fn leads(href: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| {
        href.get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    })
}

/// Whether nothing of this can be seen.
fn is_empty(inlines: &[Inline]) -> bool {
    inlines.iter().all(|inline| match inline {
        Inline::Text(text) | Inline::Code(text) => !has_ink(text),
        Inline::Break => true,
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Strike(inner) => is_empty(inner),
        Inline::Link { href, label, .. } => href.is_empty() && is_empty(label),
    })
}

/// The text of this without its marks, in one line. An address is said where the label does not say
/// it.
fn text_of(inlines: &[Inline]) -> String {
    let mut text = String::new();
    add_text(inlines, false, &mut text);
    text
}

fn add_text(inlines: &[Inline], is_linked: bool, text: &mut String) {
    for inline in inlines {
        match inline {
            Inline::Text(more) | Inline::Code(more) => text.push_str(more),
            Inline::Break => text.push(' '),
            Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Strike(inner) => {
                add_text(inner, is_linked, text);
            }
            Inline::Link { href, label, .. } => {
                let from = text.len();
                // Of an image in a link, the link leads.
                add_text(label, is_linked || leads(href), text);
                if text[from..].is_empty() {
                    text.push_str(href);
                } else if !is_linked && says_more(href, &text[from..]) {
                    text.push_str(" (");
                    text.push_str(shown(href));
                    text.push(')');
                }
            }
        }
    }
}

/// Whether an address says what its label does not.
fn says_more(href: &str, label: &str) -> bool {
    leads(href) && shown(href) != label && href != label
}

/// An address as a person writes it.
fn shown(href: &str) -> &str {
    href.strip_prefix("mailto:").unwrap_or(href)
}
