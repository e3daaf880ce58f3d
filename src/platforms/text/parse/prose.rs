//! Text that needs no parser.

use super::super::{Block, Inline};

/// Most tickets are plain prose, a line a paragraph: that needs no parser, which is a good part of
/// what building a request costs. `None` where a character or the beginning of a line might mean
/// something in Markdown.
pub(super) fn prose(text: &str, characters_max: usize) -> Option<Vec<Block>> {
    if text.len() > characters_max {
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
        .map(|line| is_plain(line).then(|| Block::Paragraph(vec![Inline::Text(line.into())])))
        .collect()
}
