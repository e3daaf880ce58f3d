//! Markdown to Slack's mrkdwn, and the cutting of long texts.
//!
//! mrkdwn knows bold, italic, strike, code, quotes and links. `&`, `<` and `>` of a text are escaped, which also keeps
//! `<!channel>` and `<@U…>` from calling anybody; nothing else can be escaped. `@here` and `#general` need no brackets:
//! what keeps them from calling is said beside the text (`verbatim`, `parse`), and [`calm`] where that is not enough.

use std::ops::ControlFlow;

use pulldown_cmark::{Event, Options, Tag, TagEnd};

use super::super::markdown::{head, walk};

/// A fence of a code block.
const FENCE: &str = "```";
/// Characters of Markdown that are read: more than a message can show, whatever marks are in them.
const READ_MAX: usize = 16_000;
/// Bytes of mrkdwn that are made: more than a message can show (three sections of 3,000 characters).
const MADE_MAX: usize = 40_000;
/// A longer address is not linked: it would not fit into a section with its label.
const LINK_MAX: usize = 2_000;
/// How often a line is indented, at most.
const INDENT_MAX: usize = 5;

/// A user's text, harmless in mrkdwn.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A user's text, escaped and of at most `max` characters; no entity is cut in two.
pub(super) fn cut(text: &str, max: usize) -> String {
    // What lies beyond cannot be shown, and need not be looked at.
    let text = head(text, max + 1);
    let escaped = escape(text);
    if escaped.chars().count() <= max {
        return escaped;
    }
    let mut kept = String::new();
    let mut left = max - 1;
    for c in text.chars() {
        let piece = escape(c.encode_utf8(&mut [0; 4]));
        if piece.len() > 4 || piece.starts_with('&') {
            if piece.len() > left {
                break;
            }
            left -= piece.len();
        } else if left == 0 {
            break;
        } else {
            left -= 1;
        }
        kept.push_str(&piece);
    }
    kept.push('…');
    kept
}

/// Whether a character leaves no ink: white space of any width, none included. Runs of them are one blank to a reader.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}')
        || c.is_control()
}

/// Whether a text has nothing to see in it; Slack refuses such a section.
fn shows_nothing(text: &str) -> bool {
    text.chars().all(is_blank)
}

/// Cuts mrkdwn into at most `count` pieces of at most `max` characters, at line ends where it can; whether that is all.
/// A code block that is cut is closed and opened again.
pub(super) fn pieces(text: &str, max: usize, count: usize) -> (Vec<String>, bool) {
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
        if shows_nothing(&piece) {
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

/// Where to cut so that at most `room` characters come before: after a line, else after a word, else anywhere but in an
/// entity or a link.
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

/// A text in which nothing calls anybody by itself: an invisible joiner stands behind the `@` of a mention and the `#` of
/// a channel. For the plain text beside the blocks, which no `verbatim` covers.
pub(super) fn calm(text: &str) -> String {
    let mut calmed = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        calmed.push(c);
        // Not in an address (a@b.test) or a number of an entity (`&#38;`).
        let begins = before.is_none_or(|before| !before.is_alphanumeric() && before != '&');
        let calls = chars.peek().is_some_and(|next| next.is_alphanumeric());
        if matches!(c, '@' | '#') && begins && calls {
            calmed.push('\u{2060}');
        }
        before = Some(c);
    }
    calmed
}

/// Markdown as mrkdwn, and whether all of it is in there: of a long text, more than a message can show, and no more.
pub(super) fn mrkdwn(markdown: &str) -> (String, bool) {
    let mut writer = Writer::default();
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let whole = walk(markdown, READ_MAX, options, |event| {
        writer.take(event);
        if writer.made.len() >= MADE_MAX {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    writer.finish();
    (writer.made.trim().to_owned(), whole && !writer.is_full)
}

#[derive(Default)]
struct Writer {
    made: String,
    /// Next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    in_heading: bool,
    in_code: bool,
    /// What ends each mark that is open.
    open: Vec<&'static str>,
    /// Where the label of the open link begins, if Slack takes the link.
    label_from: Option<usize>,
    /// Open quotes: mrkdwn knows one, which begins here.
    quotes: usize,
    quote_from: usize,
    /// Whether something was left out.
    is_full: bool,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.made.push_str(text);
    }

    /// What a person wrote: escaped, and no more than there is room for.
    fn prose(&mut self, text: &str) {
        for c in text.chars() {
            if self.made.len() >= MADE_MAX {
                self.is_full = true;
                return;
            }
            match c {
                _ if !self.in_code && is_blank(c) => {
                    if !self.made.ends_with([' ', '\n']) {
                        self.push(" ");
                    }
                }
                '&' => self.push("&amp;"),
                '<' => self.push("&lt;"),
                '>' => self.push("&gt;"),
                // Three in a row would open a code block over the rest.
                '`' if self.made.ends_with("``") => {
                    self.made.truncate(self.made.len() - 2);
                    self.push("'''");
                }
                _ => self.made.push(c),
            }
        }
    }

    fn begin(&mut self, sign: &str, end: &'static str) {
        self.push(sign);
        self.open.push(end);
    }

    fn end_mark(&mut self) {
        if let Some(end) = self.open.pop() {
            self.push(end);
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.prose(&text.replace(FENCE, "'''")),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::FootnoteReference(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text) => self.prose(&text),
            Event::Code(text) => {
                // Behind a stray backtick it would be half of a fence.
                if self.made.ends_with('`') {
                    self.push(" ");
                }
                self.push("`");
                self.prose(&text.replace('`', "'"));
                self.push("`");
            }
            Event::SoftBreak | Event::HardBreak => {
                let separator = if self.in_heading || self.label_from.is_some() {
                    " "
                } else {
                    "\n"
                };
                self.push(separator);
            }
            Event::Rule => self.push("———\n\n"),
            Event::TaskListMarker(done) => self.push(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong if self.in_heading => self.begin("", ""),
            Tag::Strong => self.begin("*", "*"),
            Tag::Emphasis => self.begin("_", "_"),
            Tag::Strikethrough => self.begin("~", "~"),
            Tag::Heading { .. } => {
                self.in_heading = true;
                self.begin("*", "*\n");
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.open_link(dest_url),
            Tag::List(first) => {
                if !self.lists.is_empty() {
                    self.push("\n");
                }
                self.lists.push(*first);
            }
            Tag::Item => {
                for _ in 1..self.lists.len().min(INDENT_MAX) {
                    self.push("    ");
                }
                match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let sign = format!("{number}. ");
                        *number = number.saturating_add(1);
                        self.push(&sign);
                    }
                    Some(None) | None => self.push("• "),
                }
            }
            Tag::CodeBlock(_) => {
                self.in_code = true;
                self.push(FENCE);
                self.begin("\n", "```\n\n");
            }
            Tag::BlockQuote(_) => {
                if self.quotes == 0 {
                    self.quote_from = self.made.len();
                }
                self.quotes += 1;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis | TagEnd::Strikethrough => self.end_mark(),
            TagEnd::Heading(_) => {
                self.in_heading = false;
                self.end_mark();
            }
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::Paragraph => self.push(if self.lists.is_empty() { "\n\n" } else { "\n" }),
            TagEnd::Item if !self.made.ends_with('\n') => self.push("\n"),
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.push("\n");
                }
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.end_mark();
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                if self.quotes == 0 {
                    self.close_quote();
                }
            }
            _ => {}
        }
    }

    fn close_quote(&mut self) {
        let quoted = self.made.split_off(self.quote_from);
        for line in quoted.trim_end().lines() {
            self.push("> ");
            self.push(line);
            self.push("\n");
        }
        self.push("\n");
    }

    /// `<url|label>`, for addresses that lead somewhere; of others the label is enough.
    fn open_link(&mut self, url: &str) {
        let leads = ["https://", "http://", "mailto:"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        // One inside another (an image in a link): the outer leads.
        if !leads || url.len() > LINK_MAX || self.label_from.is_some() {
            return self.begin("", "");
        }
        self.push("<");
        let url = escape(url).replace('|', "%7C");
        self.push(&url);
        self.begin("|", ">");
        self.label_from = Some(self.made.len());
    }

    fn close_link(&mut self) {
        let Some(end) = self.open.pop() else { return };
        if end.is_empty() {
            return;
        }
        // Without a label Slack shows the address.
        if self.label_from.take() == Some(self.made.len()) {
            self.made.pop();
        }
        self.push(end);
    }

    /// Ends what is open where the text was not taken whole.
    fn finish(&mut self) {
        while let Some(end) = self.open.pop() {
            self.push(end);
        }
        if self.quotes > 0 {
            self.close_quote();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::markdown::hostile;
    use super::*;

    #[test]
    fn markdown_becomes_mrkdwn() {
        let check = |markdown: &str, expected: &str| assert_eq!(mrkdwn(markdown).0, expected);

        check(
            "**bold** *italic* ~~gone~~ `a<b`",
            "*bold* _italic_ ~gone~ `a&lt;b`",
        );
        check("# Head **line**\ntext", "*Head line*\ntext");
        check(
            "[t & u](https://x.test/?a=1&b=2)",
            "<https://x.test/?a=1&amp;b=2|t &amp; u>",
        );
        check("[no](javascript:x)", "no");
        check("- a\n- b\n  1. c\n", "• a\n• b\n    1. c");
        check("> one\n> two\n\nafter", "> one\n> two\n\nafter");
        check("```rust\nif a < b {}\n```", "```\nif a &lt; b {}\n```");
        check("- [x] done", "• ☑ done");
    }

    #[test]
    fn what_is_open_at_the_limit_is_closed() {
        let (made, whole) = mrkdwn(&format!("> **{}", "a ".repeat(READ_MAX)));
        assert!(!whole && made.starts_with("> ") && made.len() <= READ_MAX + 8);
        let (made, whole) = mrkdwn(&format!("```\n{}", "&\n".repeat(READ_MAX / 2 - 4)));
        assert!(
            !whole && made.ends_with("```") && made.len() <= MADE_MAX + 16,
            "{}",
            made.len()
        );
    }

    #[test]
    fn what_leaves_no_ink_is_folded_and_a_stray_fence_is_none() {
        let gap = "\u{a0}".repeat(5_978);
        assert_eq!(mrkdwn(&format!("a{gap}b")).0, "a b");
        assert_eq!(mrkdwn("a\u{3164}\u{200b}\u{a0}b").0, "a b");
        assert!(mrkdwn("[]() &nbsp; \u{2800}").0.is_empty());
        let (texts, whole) = pieces(&format!("a{gap}b"), 3_000, 3);
        assert!(whole && texts.iter().all(|text| !shows_nothing(text)));
        for stray in ["a ``` b", "a ``\\` b", "a ``\\` `b`"] {
            assert!(
                !mrkdwn(stray).0.contains(FENCE),
                "{stray}: {}",
                mrkdwn(stray).0
            );
        }
        assert_eq!(mrkdwn("[](https://x.test)").0, "<https://x.test>");
        assert_eq!(
            mrkdwn("[![a](https://i.test)](https://x.test)").0,
            "<https://x.test|a>"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_made_is_bounded(text in hostile::texts(100_000), short in hostile::texts(200)) {
            let began = std::time::Instant::now();
            let (made, _) = mrkdwn(&text);
            let (shown, _) = pieces(&made, 3_000, 3);
            prop_assert!(made.len() <= MADE_MAX + MADE_MAX / 2, "{}", made.len());
            prop_assert!(shown.iter().all(|piece| !shows_nothing(piece) && piece.chars().count() <= 3_000));
            prop_assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
            let made = mrkdwn(&short).0;
            // A reference is as long as what it refers to.
            prop_assert!(made.len() <= 8 * short.len() + 64 || short.contains("]:"), "{} of {}", made.len(), short.len());
        }
    }

    #[test]
    fn twice_the_text_is_no_more_than_twice_the_work() {
        for (piece, text) in hostile::plain(100_000) {
            let began = std::time::Instant::now();
            let (made, _) = mrkdwn(&text);
            assert!(
                made.len() <= MADE_MAX + MADE_MAX / 2,
                "{piece:?}: {}",
                made.len()
            );
            assert!(
                began.elapsed().as_secs() < 2,
                "{piece:?}: {:?}",
                began.elapsed()
            );
        }
    }

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
    fn nobody_is_called_by_a_users_text() {
        assert_eq!(
            mrkdwn("<!channel> <@U123> & co").0,
            "&lt;!channel&gt; &lt;@U123&gt; &amp; co"
        );
    }

    #[test]
    fn a_cut_text_has_no_half_entity() {
        assert_eq!(cut("a&b", 10), "a&amp;b");
        assert_eq!(cut("aaaa&&&&", 8), "aaaa…");
        assert_eq!(cut("äöüß", 3), "äö…");
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
