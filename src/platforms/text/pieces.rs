//! Long mrkdwn in the sections of a message, and texts that call nobody where nothing can be
//! escaped.

use super::marker::JOINER;
use super::mrkdwn::FENCE;
use crate::domain::has_ink;

/// Cuts mrkdwn into at most `count` pieces of at most `max` characters, at line ends where it can;
/// whether that is all. A code block that is cut is closed and opened again.
#[must_use]
pub fn pieces(text: &str, max: usize, count: usize) -> (Vec<String>, bool) {
    let mut pieces = Vec::new();
    let mut rest = text.trim_end().to_owned();
    // Room for fences at both ends and for the sign that something is missing.
    let room = max - 2 * (FENCE.len() + 1) - 2;
    while !rest.is_empty() {
        if pieces.len() == count {
            if let Some(last) = pieces.last_mut() {
                let last: &mut String = last;
                last.push_str("\n…");
            }
            return (pieces, false);
        }
        let end = if rest.chars().count() <= room {
            rest.len()
        } else {
            piece_end(&rest, room)
        };
        let mut piece = rest[..end].trim_end().to_owned();
        let mut next = rest[end..].trim_start_matches('\n').to_owned();
        // Slack refuses a section that shows nothing.
        if !has_ink(&piece) {
            rest = next.trim_start().to_owned();
            continue;
        }
        if piece.matches(FENCE).count() % 2 == 1 && !next.is_empty() {
            piece = format!("{piece}\n{FENCE}");
            next = format!("{FENCE}\n{next}");
        }
        pieces.push(piece);
        rest = next;
    }
    (pieces, true)
}

/// Where to cut so that at most `room` characters come before: after a line, else after a word,
/// else anywhere but in an entity or a link.
fn piece_end(text: &str, room: usize) -> usize {
    let limit = text
        .char_indices()
        .nth(room)
        .map_or(text.len(), |(index, _)| index);
    let head = &text[..limit];
    let at_least = limit / 2;
    let after = |sign: char| {
        head.rfind(sign)
            .filter(|at| *at >= at_least)
            .map(|at| at + 1)
    };
    let end = after('\n').or_else(|| after(' ')).unwrap_or(limit);
    let head = &text[..end];
    // `&amp;` or `<https://…|…>` begun and not ended.
    let open = |from: char, to: char| {
        head.rfind(from)
            .filter(|at| !head[*at..].contains(to) && *at >= at_least)
    };
    open('<', '>').or_else(|| open('&', ';')).unwrap_or(end)
}

/// A text in which nothing calls anybody by itself: an invisible joiner stands behind the `@` of a
/// mention and the `#` of a channel. For the plain text beside the blocks, which no `verbatim`
/// covers.
#[must_use]
pub fn calm(text: &str) -> String {
    let mut calmed = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        calmed.push(c);
        // Not in an address (a@b.test) or a number of an entity (`&#38;`).
        let begins = before.is_none_or(|before| !before.is_alphanumeric() && before != '&');
        let calls = chars.peek().is_some_and(|next| next.is_alphanumeric());
        if matches!(c, '@' | '#') && begins && calls {
            calmed.push(JOINER);
        }
        before = Some(c);
    }
    calmed
}

#[cfg(test)]
mod tests {
    use super::super::escape;
    use super::*;

    #[test]
    fn calm_text_calls_nobody_and_addresses_stay() {
        for called in [
            "@here",
            "@channel",
            "(@everyone)",
            "#general",
            "x @bob",
            "@@here",
        ] {
            let calmed = calm(called);
            assert!(
                !calmed.contains("@here") && calmed.contains('\u{2060}'),
                "{calmed}"
            );
            assert_eq!(calmed.replace('\u{2060}', ""), called);
        }
        for text in ["bob@example.test", "&#38;", "a # b", "C#", "100 @ 3"] {
            assert_eq!(calm(text), text);
        }
    }

    #[test]
    fn pieces_hold_everything_and_are_no_longer_than_they_may() {
        let text = "word & \u{1F600} line\n".repeat(300);
        let escaped = escape(&text);

        let (cut, whole) = pieces(&escaped, 1_000, 20);

        assert!(whole && cut.len() > 5);
        assert!(cut.iter().all(|piece| piece.chars().count() <= 1_000));
        assert_eq!(cut.join("\n"), escaped.trim_end());
    }

    #[test]
    fn a_cut_code_block_is_closed_and_opened_again() {
        let text = format!("```\n{}```", "x = 1;\n".repeat(400));

        let (cut, whole) = pieces(&text, 1_000, 20);

        assert!(whole);
        for piece in &cut {
            assert!(
                piece.starts_with("```\n") && piece.ends_with("```"),
                "{piece}"
            );
            assert!(piece.chars().count() <= 1_000);
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (cut, whole) = pieces(&"line\n".repeat(1_000), 1_000, 2);

        assert!(!whole && cut.len() == 2 && cut[1].ends_with('…'));
    }
}
