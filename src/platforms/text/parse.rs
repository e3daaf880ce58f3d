//! Markdown to [`Document`]. Tables, task lists and strikethrough are read; raw HTML is text.

mod builder;
mod prose;

use std::ops::ControlFlow;

use pulldown_cmark::{Alignment as Theirs, Options};

use self::builder::Builder;
use self::prose::prose;
use super::bounds::{head, walk};
use super::{Alignment, Document};

/// Nodes of a tree: so many for each byte of its text, and as many as a short text needs. The rows
/// of a table are filled up with cells that stand nowhere in the text.
const NODES_A_BYTE: usize = 2;
const NODES_MIN: usize = 4_096;

impl Document {
    /// Parses at most so many characters of a text.
    #[must_use]
    pub fn parse(markdown: &str, characters_max: usize) -> Self {
        if let Some(blocks) = prose(markdown, characters_max) {
            return Self {
                blocks,
                whole: true,
                read: markdown.len(),
            };
        }
        parsed(markdown, characters_max)
    }
}

fn parsed(markdown: &str, characters_max: usize) -> Document {
    let read = head(markdown, characters_max).len();
    let mut builder = Builder::new(read.saturating_mul(NODES_A_BYTE).saturating_add(NODES_MIN));
    let options =
        Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let whole = walk(markdown, characters_max, options, |event| {
        builder.event(event);
        if builder.is_full() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    Document {
        blocks: builder.finish(),
        whole,
        read,
    }
}

const fn alignment(theirs: Theirs) -> Alignment {
    match theirs {
        Theirs::None => Alignment::None,
        Theirs::Left => Alignment::Left,
        Theirs::Center => Alignment::Center,
        Theirs::Right => Alignment::Right,
    }
}

#[cfg(test)]
mod tests;
