//! Plain text, as a person would write it without marks: ServiceNow, Salesforce, HubSpot's ticket,
//! SMS, the text part of an e-mail.

use super::fit::{Max, fit};
use super::marker::{JOINER, Marker, harmless};
use super::sink::{Here, Sink};
use super::{Block, Document, Inline, gsm, leads, says_more, shown, task_sign};

impl Document {
    /// The text, at most so long, with our marker as its last line; and whether all of it is in
    /// there.
    #[must_use]
    pub fn plain(&self, max: Max, marker: Option<Marker<'_>>) -> (String, bool) {
        let tail = marker.map(Marker::tail).unwrap_or_default();
        if let Max::Segments(_) = max {
            // A character more may cost a segment or nothing, so that is cut at the end.
            let (text, is_whole) = self.written(max, String::new());
            let (made, fits) = fit(&gsm::ascii_punctuation(&text), max, marker);
            return (made, is_whole && fits);
        }
        self.written(max, tail)
    }

    fn written(&self, max: Max, tail: String) -> (String, bool) {
        let mut writer = Writer {
            sink: Sink::new(max, "\n\n…", tail),
            is_linked: false,
            is_short: matches!(max, Max::Segments(_)),
        };
        writer.blocks(&self.blocks, 2);
        writer.sink.finish(self.whole)
    }
}

struct Writer {
    sink: Sink,
    is_linked: bool,
    /// A short message: what is quoted has no sign.
    is_short: bool,
}

impl Writer {
    /// Blocks with so many line breaks between them.
    fn blocks(&mut self, blocks: &[Block], apart: usize) {
        for block in blocks {
            if self.sink.is_cut() {
                return;
            }
            self.block(block);
            // A list in an item follows its line at once.
            self.sink.breaks(apart);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(line) | Block::Heading(_, line) => self.line(line),
            Block::Code { text, .. } => {
                for (index, line) in text.split('\n').enumerate() {
                    if index > 0 {
                        self.sink.break_line();
                    }
                    self.prose(line);
                }
            }
            Block::Quote(inner) if self.is_short => self.blocks(inner, 2),
            Block::Quote(inner) => {
                self.sink.indent("> ", "> ");
                self.blocks(inner, 2);
                self.sink.dedent();
            }
            Block::List { first, items } => {
                let mut number = *first;
                for item in items {
                    if self.sink.is_cut() {
                        return;
                    }
                    let sign = match &mut number {
                        None => "- ".to_owned(),
                        Some(number) => {
                            let sign = format!("{number}. ");
                            *number = number.saturating_add(1);
                            sign
                        }
                    };
                    let rest = " ".repeat(sign.len());
                    self.sink.indent(&sign, rest);
                    if let Some(done) = item.task {
                        self.sink.write(task_sign(done));
                    }
                    self.blocks(&item.blocks, 1);
                    self.sink.dedent();
                    self.sink.breaks(1);
                }
            }
            Block::Table(table) => {
                // Most platforms show plain text in a font whose characters are not of one width.
                let mut rows = std::iter::once(&table.head).chain(&table.rows);
                if table.head.iter().all(|cell| super::is_empty(cell)) {
                    rows.next();
                }
                for row in rows {
                    if self.sink.is_cut() {
                        return;
                    }
                    let cells: Vec<String> = row.iter().map(|cell| super::text_of(cell)).collect();
                    self.prose(cells.join(" | ").trim_end_matches([' ', '|']));
                    self.sink.breaks(1);
                }
            }
            Block::Rule => {
                self.sink.write("---");
            }
        }
    }

    fn line(&mut self, line: &[Inline]) {
        for inline in line {
            match inline {
                Inline::Text(text) | Inline::Code(text) => self.prose(text),
                Inline::Break => self.sink.breaks(1),
                Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Strike(inner) => {
                    self.line(inner);
                }
                Inline::Link { href, label, .. } => {
                    let text = super::text_of(label);
                    if text.trim().is_empty() {
                        self.prose(shown(href));
                        continue;
                    }
                    // Of an image in a link, the link leads.
                    let was_linked = std::mem::replace(&mut self.is_linked, leads(href));
                    self.line(label);
                    self.is_linked = was_linked;
                    if !was_linked && says_more(href, &text) {
                        self.prose(&format!(" ({})", shown(href)));
                    }
                }
            }
        }
    }

    fn prose(&mut self, text: &str) {
        self.sink.prose(&harmless(text), escape);
    }
}

/// ServiceNow shows what stands between `[code]` and `[/code]` in a journal as HTML.
fn escape(here: Here, made: &mut String) {
    if here.c.is_control() && here.c != '\t' {
        return;
    }
    let is_tag = |tag: &str| {
        made.len().checked_sub(tag.len()).is_some_and(|from| {
            made.get(from..)
                .is_some_and(|end| end.eq_ignore_ascii_case(tag))
        })
    };
    if here.c == ']' && (is_tag("[code") || is_tag("[/code")) {
        made.push(JOINER);
    }
    made.push(here.c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(markdown: &str) -> String {
        let document = Document::parse(markdown, 10_000);
        document.plain(Max::Chars(10_000), None).0
    }

    #[test]
    fn marks_are_left_out_and_addresses_said() {
        assert_eq!(
            plain(
                "# Head\n**b** *i* ~~s~~ `c`\n[t](https://x.test) <https://y.test> \
                 [](https://z.test)"
            ),
            "Head\n\nb i s c\nt (https://x.test) https://y.test https://z.test"
        );
        assert_eq!(
            plain("- [x] a\n  1. b\n  2. c\n\n> q\n> r"),
            "- ☑ a\n  1. b\n  2. c\n\n> q\n> r"
        );
        assert_eq!(plain("|a|b|\n|-|-|\n|1||\n"), "a | b\n1");
    }

    #[test]
    fn nothing_becomes_html_in_service_now() {
        for markdown in ["[code]<b>[/code]", "[CO*de*]<b>[/*Code*]"] {
            let made = plain(markdown).to_lowercase();
            assert!(
                !made.contains("[code]") && !made.contains("[/code]"),
                "{made}"
            );
            assert_eq!(made.replace(JOINER, ""), "[code]<b>[/code]");
        }
    }

    #[test]
    fn a_text_without_a_marker_ends_with_none() {
        for markdown in [
            "see [ref:tkt-1]",
            "see [ref:**tkt-1**]",
            "see\n\n<!*-- cmd-1 -*->",
        ] {
            let made = plain(markdown);
            assert_eq!(Marker::find(&made), None, "{made}");
        }
    }

    #[test]
    fn a_short_message_has_ascii_punctuation_and_its_reference() {
        let document = Document::parse(&"It’s **down** – again. ".repeat(20), 10_000);
        let (made, whole) = document.plain(Max::Segments(2), Some(Marker::Tail("#ab0ac58d")));
        assert!(!whole && made.starts_with("It's down - again."), "{made}");
        assert!(
            made.ends_with("... #ab0ac58d") && gsm::segments(&made) == 2,
            "{made}"
        );
    }
}
