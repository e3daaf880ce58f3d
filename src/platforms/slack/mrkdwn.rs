//! Markdown to Slack's mrkdwn, and the cutting of long texts.
//!
//! mrkdwn knows bold, italic, strike, code, quotes and links. `&`, `<` and `>` of a text are escaped, which also keeps
//! `<!channel>` and `<@U…>` from calling anybody; nothing else can be escaped.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A fence of a code block.
const FENCE: &str = "```";

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

/// Markdown as mrkdwn.
pub(super) fn mrkdwn(markdown: &str) -> String {
    let mut writer = Writer {
        buffers: vec![String::new()],
        lists: Vec::new(),
        in_heading: false,
        in_code: false,
        links: Vec::new(),
    };
    for event in Parser::new_ext(
        markdown,
        Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS,
    ) {
        writer.take(event);
    }
    writer.buffers.concat().trim().to_owned()
}

struct Writer {
    /// The text, and one more for each quote that is open.
    buffers: Vec<String>,
    /// Next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    in_heading: bool,
    in_code: bool,
    /// Whether each open link is one that Slack takes.
    links: Vec<bool>,
}

impl Writer {
    fn push(&mut self, text: &str) {
        if let Some(buffer) = self.buffers.last_mut() {
            buffer.push_str(text);
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                self.push(&escape(&text.replace(FENCE, "'''")));
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.push(&escape(&text));
            }
            Event::Code(text) => {
                let code = format!("`{}`", escape(&text.replace('`', "'")));
                self.push(&code);
            }
            Event::SoftBreak | Event::HardBreak => {
                let separator = if self.in_heading || !self.links.is_empty() {
                    " "
                } else {
                    "\n"
                };
                self.push(separator);
            }
            Event::Rule => self.push("———\n\n"),
            Event::TaskListMarker(done) => self.push(if done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.push(&escape(&text));
            }
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong if !self.in_heading => self.push("*"),
            Tag::Emphasis => self.push("_"),
            Tag::Strikethrough => self.push("~"),
            Tag::Heading { .. } => {
                self.in_heading = true;
                self.push("*");
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.open_link(dest_url),
            Tag::List(first) => {
                if !self.lists.is_empty() {
                    self.push("\n");
                }
                self.lists.push(*first);
            }
            Tag::Item => {
                let indent = "    ".repeat(self.lists.len().saturating_sub(1));
                let sign = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let sign = format!("{number}. ");
                        *number += 1;
                        sign
                    }
                    Some(None) | None => "• ".to_owned(),
                };
                self.push(&format!("{indent}{sign}"));
            }
            Tag::CodeBlock(_) => {
                self.in_code = true;
                self.push(&format!("{FENCE}\n"));
            }
            Tag::BlockQuote(_) => self.buffers.push(String::new()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong if !self.in_heading => self.push("*"),
            TagEnd::Emphasis => self.push("_"),
            TagEnd::Strikethrough => self.push("~"),
            TagEnd::Heading(_) => {
                self.in_heading = false;
                self.push("*\n");
            }
            TagEnd::Link | TagEnd::Image => {
                let leads = self.links.pop() == Some(true);
                self.push(if leads { ">" } else { "" });
            }
            TagEnd::Paragraph => self.push(if self.lists.is_empty() { "\n\n" } else { "\n" }),
            TagEnd::Item => {
                let ended = self.buffers.last().is_some_and(|text| text.ends_with('\n'));
                if !ended {
                    self.push("\n");
                }
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.push("\n");
                }
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.push(&format!("{FENCE}\n\n"));
            }
            TagEnd::BlockQuote(_) => {
                let quoted = self.buffers.pop().unwrap_or_default();
                for line in quoted.trim_end().lines() {
                    self.push(&format!("> {line}\n"));
                }
                self.push("\n");
            }
            _ => {}
        }
    }

    /// `<url|label>`, for addresses that lead somewhere; of others the label is enough.
    fn open_link(&mut self, url: &str) {
        let leads = ["https://", "http://", "mailto:"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        self.links.push(leads);
        if leads {
            let url = escape(url).replace('|', "%7C");
            self.push(&format!("<{url}|"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_mrkdwn() {
        let check = |markdown: &str, expected: &str| assert_eq!(mrkdwn(markdown), expected);

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
    fn nobody_is_called_by_a_users_text() {
        assert_eq!(
            mrkdwn("<!channel> <@U123> & co"),
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
