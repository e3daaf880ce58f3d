//! A title from free text: its first heading or sentence that says something.

use super::tables::{GREETED, GREETINGS, STOP_WORDS};
use super::words;
use crate::analysis::text;

/// Characters of a title at most; the column takes 500, a list shows fewer.
const TITLE_MAX: usize = 120;
/// What a text is called that has no words.
const NAMELESS: &str = "Support request";
/// Bytes that are looked through for a title.
const LOOK_MAX: usize = 16 << 10;
/// Words that a greeting has at most.
const GREETING_WORDS_MAX: usize = 5;
/// Shortenings whose full stop ends no sentence.
const SHORTENINGS: [&str; 9] = ["e.g", "i.e", "etc", "vs", "mr", "mrs", "ms", "dr", "approx"];

/// The title of a text, 1–120 characters on one line.
pub(super) fn of(input: &str) -> String {
    let mut spare = None;
    for line in text::head(input, LOOK_MAX).lines() {
        let line = without_greeting(plain(line));
        let mut rest = line;
        while !rest.is_empty() {
            let (sentence, after) = first_sentence(rest);
            rest = after.trim_start();
            let sentence = text::one_line(sentence);
            if says_something(&sentence) {
                return shaped(&sentence);
            }
            if spare.is_none() && sentence.chars().any(char::is_alphanumeric) {
                spare = Some(sentence);
            }
        }
    }
    spare.map_or_else(|| NAMELESS.to_owned(), |sentence| shaped(&sentence))
}

/// A line without the marks of Markdown and mail.
fn plain(line: &str) -> &str {
    let marks = |c: char| {
        c.is_whitespace() || matches!(c, '#' | '>' | '*' | '-' | '•' | '=' | '~' | '`' | '|' | '_')
    };
    let mut line = line.trim_start_matches(marks).trim_end_matches(marks);
    loop {
        let prefix = ["subject:", "re:", "fwd:", "fw:", "aw:", "wg:"]
            .into_iter()
            .find(|prefix| {
                line.get(..prefix.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            });
        match prefix.and_then(|prefix| line.get(prefix.len()..)) {
            Some(rest) => line = rest.trim_start_matches(marks),
            None => return line,
        }
    }
}

/// What follows a greeting; nothing where the line is one.
fn without_greeting(line: &str) -> &str {
    let folded = words::fold(text::head(line, 200));
    let first: Vec<&str> = words::split(&folded)
        .iter()
        .take(2)
        .map(|word| word.text)
        .collect();
    let greets = match first.as_slice() {
        ["good", time, ..] => matches!(*time, "morning" | "afternoon" | "evening" | "day"),
        ["to", "whom"] => true,
        [
            "good" | "morning" | "afternoon" | "evening" | "day" | "to" | "whom" | "it" | "may"
            | "concern",
            ..,
        ]
        | [] => false,
        [first, ..] => GREETINGS.contains(first),
    };
    if !greets {
        return line;
    }
    // Up to its comma; without one, up to the first word that belongs to no greeting.
    let end = line
        .char_indices()
        .find(|(_, c)| matches!(c, ',' | '!' | ':' | '.' | '–' | '—' | ';'));
    if let Some((end, mark)) = end {
        let greeting = &line[..end];
        if greeting.split_whitespace().count() <= GREETING_WORDS_MAX {
            return line[end + mark.len_utf8()..].trim_start_matches([' ', '\t', '.', '!', ',']);
        }
    }
    let mut rest = line;
    loop {
        let word = rest.split_whitespace().next().unwrap_or_default();
        let known = word.to_lowercase();
        if word.is_empty()
            || !(GREETINGS.contains(&known.as_str()) || GREETED.contains(&known.as_str()))
        {
            break;
        }
        rest = rest.trim_start()[word.len()..].trim_start();
    }
    // "Hello Anna" in a line of its own.
    if rest.split_whitespace().count() <= 1 {
        ""
    } else {
        rest
    }
}

/// A text's first sentence and what follows it.
fn first_sentence(text: &str) -> (&str, &str) {
    let mut chars = text.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        let end = index + c.len_utf8();
        let closes = match c {
            '。' | '！' | '？' => true,
            '!' | '?' | '.' => chars.peek().is_none_or(|(_, next)| next.is_whitespace()),
            _ => false,
        };
        if closes && !(c == '.' && is_shortening(&text[..index])) {
            return (&text[..end], &text[end..]);
        }
    }
    (text, "")
}

/// Whether what precedes a full stop is a shortening or the number of a list.
fn is_shortening(before: &str) -> bool {
    let word = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    SHORTENINGS
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
        || (before.len() <= 2 && before.chars().all(|c| c.is_ascii_digit()))
}

fn says_something(sentence: &str) -> bool {
    let folded = words::fold(text::head(sentence, 2000));
    let words = words::split(&folded);
    // A script without spaces is one word.
    let foreign = |word: &str| word.chars().count() >= 4 && !word.is_ascii();
    let said = words
        .iter()
        .any(|word| !STOP_WORDS.contains(&word.text) && word.text.chars().any(char::is_alphabetic));
    said && (words.len() >= 2 || words.iter().any(|word| foreign(word.text)))
}

/// Cut to length on a word's boundary, begun with a capital, without a full stop.
fn shaped(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '.' | ',' | ';' | ':' | '。' | '*' | '`')
    });
    let title = text::cut(sentence, TITLE_MAX);
    let first = title.split(' ').next().unwrap_or_default();
    if first.chars().all(|c| c.is_ascii_lowercase() || c == '\'') {
        let mut chars = title.chars();
        let capital = chars.next().map(|c| c.to_ascii_uppercase());
        return capital.into_iter().chain(chars).collect();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_first_sentence_that_says_something() {
        let cases = [
            (
                "Hi team,\n\nthe login page returns 500. It began today.",
                "The login page returns 500",
            ),
            (
                "Hello!\nPlease help!\nOur printer is on fire.",
                "Our printer is on fire",
            ),
            ("Good morning all, I cannot log in", "I cannot log in"),
            ("Hi there I cannot log in", "I cannot log in"),
            ("Dear Anna\nmy invoice is wrong", "My invoice is wrong"),
            ("## Export to CSV fails\n\nSteps: …", "Export to CSV fails"),
            (
                "Subject: Re: VPN drops\nsince v1.2.3 e.g. at noon",
                "VPN drops",
            ),
            (
                "Since v1.2.3 the VPN, e.g. at home, drops. Why?",
                "Since v1.2.3 the VPN, e.g. at home, drops",
            ),
            ("iPhone app closes itself!", "iPhone app closes itself!"),
            ("help", "Help"),
            ("  \n…\n", "Support request"),
            ("Can you add dark mode?", "Can you add dark mode?"),
            ("打印机坏了。请帮忙。", "打印机坏了"),
            ("1. Open the page", "1. Open the page"),
        ];

        for (text, title) in cases {
            assert_eq!(of(text), title, "{text:?}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_words_and_a_single_word_anywhere() {
        let title = of(&"several words ".repeat(30));
        assert!(
            title.ends_with("words…") || title.ends_with("several…"),
            "{title}"
        );
        assert!(title.chars().count() <= TITLE_MAX);

        assert_eq!(of(&"ß".repeat(500)).chars().count(), TITLE_MAX);
    }

    #[test]
    fn characters_that_hide_or_turn_text_are_left_out() {
        assert_eq!(of("VPN\u{202e} drops\u{7}\u{0} often"), "VPN drops often");
    }
}
