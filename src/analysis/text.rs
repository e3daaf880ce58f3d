//! Cutting and cleaning text, always between characters.

use crate::domain::Turn;

/// The beginning of a text, at most so many bytes.
pub(super) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The end of a text, at most so many bytes.
pub(super) fn tail(text: &str, bytes_max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes_max))..]
}

/// At most so many characters, cut between words where there are any, with an ellipsis for what is
/// gone.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(characters_max) else {
        return text.to_owned();
    };
    let room = &text[..end];
    // One less, for the ellipsis.
    let room = room
        .char_indices()
        .next_back()
        .map_or("", |(last, _)| &room[..last]);
    let between_words = room
        .rfind(char::is_whitespace)
        .filter(|at| *at > room.len() / 2);
    let kept = &room[..between_words.unwrap_or(room.len())];
    format!(
        "{}…",
        kept.trim_end_matches(|c: char| c.is_whitespace() || c == ',')
    )
}

/// On one line: control and white space is one blank, what hides or turns text is gone.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(1024));
    for c in text.chars().filter(|c| !hides(*c)) {
        if !(c.is_whitespace() || c.is_control()) {
            line.push(c);
        } else if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Lines and tabs stay, other control characters (NUL, which PostgreSQL does not take) and what
/// turns text are gone.
pub(super) fn block(text: &str) -> String {
    let kept = |c: &char| matches!(c, '\n' | '\t') || !(c.is_control() || hides(*c));
    let text: String = text.chars().filter(kept).collect();
    text.trim().to_owned()
}

/// The newest turns that fit in so many bytes, in their order, and how many were left out. Of the
/// newest its end is kept where it alone is too long.
pub(super) fn newest(turns: &[Turn], bytes_max: usize) -> (Vec<(&str, &str)>, usize) {
    let mut left = bytes_max;
    let mut kept: Vec<(&str, &str)> = Vec::new();
    for turn in turns.iter().rev() {
        let size = turn.role.len() + turn.content.len();
        if size > left {
            if kept.is_empty() {
                kept.push((&turn.role, tail(&turn.content, left)));
            }
            break;
        }
        left -= size;
        kept.push((&turn.role, &turn.content));
    }
    kept.reverse();
    let left_out = turns.len() - kept.len();
    (kept, left_out)
}

/// Marks of direction, and blanks of no width but for the joiners that scripts and emoji need.
const fn hides(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_between_characters_and_words() {
        assert_eq!(head("aß", 2), "a");
        assert_eq!(tail("ßa", 2), "a");
        assert_eq!(
            (head("ab", 9), tail("ab", 9), tail("ß", 0)),
            ("ab", "ab", "")
        );
        assert_eq!(cut("one two", 7), "one two");
        assert_eq!(cut("one, two", 7), "one…");
        assert_eq!(cut("ßßßß", 3), "ßß…");
    }

    #[test]
    fn the_oldest_turns_go_first() {
        let turn = |content: &str| Turn {
            role: "u".into(),
            content: content.into(),
        };
        let turns = [turn("aaaa"), turn("bbb"), turn("cc")];

        assert_eq!(newest(&turns, 7), (vec![("u", "bbb"), ("u", "cc")], 1));
        assert_eq!(newest(&turns, 100).1, 0);
        assert_eq!(newest(&turns, 1), (vec![("u", "c")], 2));
        assert_eq!(newest(&[], 1), (vec![], 0));
    }
}
