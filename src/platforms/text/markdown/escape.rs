//! What of a person's text would mean something in Markdown, and what would call somebody.

use super::super::marker::JOINER;
use super::super::sink::Here;
use super::{Container, Dialect};

/// Escapes a text character by character.
pub(super) struct Escape {
    dialect: Dialect,
    container: Container,
    /// Whether a link stands behind it, which a `!` would make an image.
    image_follows: bool,
    /// Whether only digits stand in the line so far.
    is_number: bool,
}

impl Escape {
    pub(super) const fn new(dialect: Dialect, container: Container, image_follows: bool) -> Self {
        Self {
            dialect,
            container,
            image_follows,
            is_number: false,
        }
    }

    pub(super) fn add(&mut self, here: Here, made: &mut String) {
        let Here {
            c, before, after, ..
        } = here;
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if here.is_first {
            if matches!(c, ' ' | '\t') {
                return;
            }
            self.is_number = true;
        }
        let escaped = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '~' => true,
            '_' => !(is_word(before) && is_word(after)),
            '&' => after == Some('#') || is_word(after),
            '!' => self.image_follows && after.is_none(),
            '|' => self.container == Container::Cell || here.is_first,
            '#' => here.is_first || self.container == Container::Heading,
            '-' | '+' | '>' | '=' => here.is_first,
            ':' => here.is_first && after == Some('-'),
            '.' | ')' => self.is_number && !here.is_first && !is_word(after),
            _ => false,
        };
        self.is_number &= c.is_ascii_digit();
        if c.is_control() && c != '\t' {
            return;
        }
        if escaped {
            made.push('\\');
        }
        made.push(c);
        if self.calls(here, made) {
            made.push(JOINER);
        }
    }

    /// Whether the character begins a mention or a reference. GitHub looks for them in one text at
    /// a time: what a mark parts is none.
    fn calls(&self, here: Here, made: &str) -> bool {
        let in_word = here
            .before
            .is_some_and(|before| before.is_ascii_alphanumeric());
        let name_follows = here
            .after
            .is_some_and(|after| after.is_ascii_alphanumeric());
        let digit_follows = here.after.is_some_and(|after| after.is_ascii_digit());
        let is_gh = || {
            let begin = made.len().saturating_sub(3);
            let end = made.get(begin..).unwrap_or_default();
            end.eq_ignore_ascii_case("gh-")
        };
        match (here.c, self.dialect) {
            ('@', _) => !in_word && name_follows,
            ('#', Dialect::GitHub) => digit_follows,
            ('-', Dialect::GitHub) => digit_follows && is_gh(),
            _ => false,
        }
    }
}
