//! Bounds of what is read: the text is cut before it is parsed, and its tree is flat enough to be
//! walked.
//!
//! A text may be as long as a message and is written by anybody, so these limits do not depend on
//! its author. The text is cut to what the platform can show, a line opens only so many containers,
//! and what is nested deeper than [`DEPTH_MAX`] is flattened, its text kept.

use std::borrow::Cow;
use std::ops::ControlFlow;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Lists, quotes and marks inside each other, at most.
pub(super) const DEPTH_MAX: usize = 8;
/// Containers (`> `, `- `, `1. `) that one line may open. The parser looks at the rest of the line
/// for each of them, and at all open ones for each line.
const OPENED_BY_LINE_MAX: usize = 16;

/// The beginning of a text, at most so many characters.
#[must_use]
pub fn head(text: &str, characters_max: usize) -> &str {
    // Bytes bound characters from above.
    if text.len() <= characters_max {
        return text;
    }
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Hands the events of at most so many characters to `take`, until that has enough. Whether it saw
/// all of the text.
pub(super) fn walk(
    markdown: &str,
    characters_max: usize,
    options: Options,
    mut take: impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> bool {
    let kept = head(markdown, characters_max);
    let text = tame(kept);
    let mut depth = Depth::default();
    for event in Parser::new_ext(&text, options) {
        if let Some(event) = depth.flatten(event)
            && take(event).is_break()
        {
            return false;
        }
    }
    kept.len() == markdown.len()
}

/// What is open, and whether it was let through.
#[derive(Default)]
struct Depth {
    blocks: Vec<bool>,
    marks: Vec<bool>,
}

impl Depth {
    /// The event, or what stands for it where it opens or closes something too deep.
    fn flatten<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        match &event {
            Event::Start(Tag::List(_) | Tag::BlockQuote(_)) => {
                open(&mut self.blocks).then_some(event)
            }
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => {
                self.blocks.pop().unwrap_or(true).then_some(event)
            }
            // The items of a list that is left out become lines of the item around it.
            Event::Start(Tag::Item) if self.blocks.last() == Some(&false) => Some(Event::HardBreak),
            Event::End(TagEnd::Item) if self.blocks.last() == Some(&false) => None,
            Event::Start(
                Tag::Emphasis
                | Tag::Strong
                | Tag::Strikethrough
                | Tag::Link { .. }
                | Tag::Image { .. },
            ) => open(&mut self.marks).then_some(event),
            Event::End(
                TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough
                | TagEnd::Link
                | TagEnd::Image,
            ) => self.marks.pop().unwrap_or(true).then_some(event),
            _ => Some(event),
        }
    }
}

/// Opens one more; whether it may be.
fn open(stack: &mut Vec<bool>) -> bool {
    let fits = stack.iter().filter(|kept| **kept).take(DEPTH_MAX).count() < DEPTH_MAX;
    stack.push(fits);
    fits
}

/// The text with lines that open no more containers than they may: the sign of the first one too
/// many is escaped, so that it and what follows is text. Code is not told from prose here, as only
/// the parser could; no code begins a line like that.
fn tame(text: &str) -> Cow<'_, str> {
    let mut tamed: Option<String> = None;
    let mut copied = 0;
    let mut start = 0;
    while start < text.len() {
        let end = text[start..]
            .find(['\n', '\r'])
            .map_or(text.len(), |at| start + at);
        if let Some(at) = one_too_many(&text.as_bytes()[start..end]) {
            let tamed = tamed.get_or_insert_with(|| String::with_capacity(text.len() + 64));
            tamed.push_str(&text[copied..start + at]);
            tamed.push('\\');
            copied = start + at;
        }
        start = end + 1;
    }
    match tamed {
        None => Cow::Borrowed(text),
        Some(mut tamed) => {
            tamed.push_str(&text[copied..]);
            Cow::Owned(tamed)
        }
    }
}

/// Where a line opens one container too many: the place of the sign that a backslash takes the
/// meaning of.
fn one_too_many(line: &[u8]) -> Option<usize> {
    let is_blank = |byte: Option<&u8>| matches!(byte, None | Some(b' ' | b'\t'));
    let (mut at, mut opened) = (0, 0);
    loop {
        while matches!(line.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        let sign = match line.get(at)? {
            b'>' => at,
            b'-' | b'+' | b'*' if is_blank(line.get(at + 1)) => at,
            b'0'..=b'9' => {
                let digits = line[at..]
                    .iter()
                    .take(10)
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let sign = at + digits;
                if !matches!(line.get(sign), Some(b'.' | b')')) || !is_blank(line.get(sign + 1)) {
                    return None;
                }
                sign
            }
            _ => return None,
        };
        opened += 1;
        if opened > OPENED_BY_LINE_MAX {
            return (!is_rule(&line[at..])).then_some(sign);
        }
        at = sign + 1;
    }
}

/// Whether the line is a rule from here on: `- - -`.
fn is_rule(rest: &[u8]) -> bool {
    let sign = rest.first().copied().unwrap_or_default();
    matches!(sign, b'-' | b'*')
        && rest
            .iter()
            .all(|byte| *byte == sign || matches!(byte, b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hostile;
    use super::*;

    fn deepest(markdown: &str) -> (usize, usize) {
        let (mut open, mut deepest, mut events) = (0_usize, 0, 0);
        walk(
            markdown,
            1_000_000,
            Options::ENABLE_STRIKETHROUGH,
            |event| {
                events += 1;
                match event {
                    Event::Start(Tag::List(_) | Tag::BlockQuote(_)) => open += 1,
                    Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => open -= 1,
                    _ => {}
                }
                deepest = deepest.max(open);
                ControlFlow::Continue(())
            },
        );
        assert_eq!(open, 0, "what is opened is closed");
        (deepest, events)
    }

    #[test]
    fn what_is_nested_too_deep_is_flattened_and_its_text_kept() {
        for markdown in [
            "> ".repeat(40) + "end",
            "- ".repeat(40) + "end",
            (0..12).map(|depth| "  ".repeat(depth) + "- a\n").collect(),
        ] {
            assert_eq!(deepest(&markdown).0, DEPTH_MAX, "{markdown}");
        }
        let mut said = String::new();
        walk(
            &("- ".repeat(40) + "end"),
            1_000,
            Options::empty(),
            |event| {
                if let Event::Text(text) = event {
                    said.push_str(&text);
                }
                ControlFlow::Continue(())
            },
        );
        assert!(said.ends_with("- end"), "{said}");
        assert_eq!(deepest("> - a\n>   - b").0, 3);
    }

    #[test]
    fn a_rule_stays_one_and_lines_of_few_signs_stay_as_they_are() {
        for text in [
            "- ".repeat(40),
            "> * * *".into(),
            "1. - + * a".into(),
            "----".into(),
        ] {
            assert!(matches!(tame(&text), Cow::Borrowed(_)), "{text}");
        }
        assert_eq!(tame(&("1. ".repeat(17) + "x")), "1. ".repeat(16) + "1\\. x");
        assert_eq!(
            tame(&format!("a\n{}b\nc", ">".repeat(18))),
            format!("a\n{}\\>>b\nc", ">".repeat(16))
        );
    }

    #[test]
    fn a_text_is_cut_between_characters_and_that_is_said() {
        assert_eq!(
            (head("äöü", 2), head("äöü", 3), head("", 0)),
            ("äö", "äöü", "")
        );
        let all = |_: Event<'_>| ControlFlow::Continue(());
        assert!(walk("äöü", 3, Options::empty(), all));
        assert!(!walk("äöü", 2, Options::empty(), all));
        assert!(!walk("a", 2, Options::empty(), |_| ControlFlow::Break(())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn events_are_bounded_by_the_text(text in hostile::texts(8_000)) {
            let (deepest, events) = deepest(&text);
            prop_assert!(deepest <= DEPTH_MAX);
            prop_assert!(events <= 8 * text.len() + 64, "{} events of {} bytes", events,
                text.len());
        }
    }

    /// Quadratic would be minutes: a line looks at all containers that are open.
    #[test]
    fn time_is_linear() {
        let deep = ["- ", "> ", "1. ", "- > ", "* + "]
            .into_iter()
            .flat_map(|signs| {
                ["\n", "a\n", "\n\n    b\n", "> \n", "\t\n"]
                    .into_iter()
                    .map(move |line| {
                        let opened = signs.repeat(50_000 / signs.len());
                        (
                            signs,
                            format!("{opened}x\n{}", line.repeat(50_000 / line.len())),
                        )
                    })
            });
        for (piece, text) in hostile::plain(100_000).chain(deep) {
            let began = std::time::Instant::now();
            let mut events = 0;
            walk(
                &text,
                1_000_000,
                Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES,
                |_| {
                    events += 1;
                    ControlFlow::Continue(())
                },
            );
            let took = began.elapsed();
            assert!(
                events < 1_000_000,
                "{piece:?} × 100 kB made {events} events"
            );
            assert!(took.as_secs() < 5, "{piece:?} × 100 kB took {took:?}");
        }
    }
}
