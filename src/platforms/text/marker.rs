//! The marker that an item of ours is found again by, where a platform has no field for it: one
//! place, one spelling.
//!
//! Only the end of a text is looked at, and a text of ours always ends with our own marker. What a
//! person wrote is made [`harmless`] all the same: some look-ups are done by the platform's own
//! search.

use std::borrow::Cow;

/// Behind the first sign of what must not be read as more than text. It cannot be seen and breaks
/// no line.
pub(super) const JOINER: char = '\u{2060}';
/// What a marker begins with: of a ticket's item, and of what a command made.
const KINDS: [&str; 2] = ["tkt-", "cmd-"];
const LINE: (&str, &str) = ("[ref:", "]");
const COMMENT: (&str, &str) = ("<!-- ", " -->");
/// Tags that may stand behind the marker in HTML.
const CLOSING: [&str; 6] = ["</p>", "</body>", "</div>", "<br>", "<br/>", "<br />"];

/// How a marker is put into what a platform keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker<'a> {
    /// In a field or a label of its own: the text stays without it.
    Label(&'a str),
    /// As the last line: `[ref:…]`.
    Line(&'a str),
    /// As the last line, in a comment that is not shown: `<!-- … -->`.
    Comment(&'a str),
    /// As the last word, as it is.
    Tail(&'a str),
}

impl<'a> Marker<'a> {
    /// The marker that a text ends with, if it does. HTML is read as well as text.
    #[must_use]
    pub fn find(text: &'a str) -> Option<&'a str> {
        let mut rest = text.trim_end();
        while let Some(shorter) = CLOSING.iter().find_map(|tag| rest.strip_suffix(tag)) {
            rest = shorter.trim_end();
        }
        [LINE, COMMENT].into_iter().find_map(|(begin, end)| {
            let inside = rest.strip_suffix(end)?;
            let from = inside.rfind(begin)?;
            let stands_alone = inside[..from]
                .chars()
                .next_back()
                .is_none_or(|before| before.is_whitespace() || before == '>');
            let marker = &inside[from + begin.len()..];
            (stands_alone && is_one(marker)).then_some(marker)
        })
    }

    /// The text before the marker that it ends with; all of it where it ends with none.
    #[must_use]
    pub fn without(text: &str) -> &str {
        let before = Marker::find(text).and_then(|marker| {
            let before = &text[..text.rfind(marker)?];
            let mut begins = [LINE.0, COMMENT.0].into_iter();
            begins.find_map(|begin| before.strip_suffix(begin))
        });
        before.map_or(text, str::trim_end)
    }

    /// The marker of an item among its labels, if one is there.
    #[must_use]
    pub fn among<'b>(labels: impl IntoIterator<Item = &'b str>) -> Option<&'b str> {
        labels.into_iter().find(|label| is_one(label))
    }

    /// The marker as it stands in a text; empty for a label.
    pub(super) fn spelled(self) -> String {
        match self {
            Self::Label(_) => String::new(),
            Self::Line(marker) => format!("{}{marker}{}", LINE.0, LINE.1),
            Self::Comment(marker) => format!("{}{marker}{}", COMMENT.0, COMMENT.1),
            Self::Tail(marker) => marker.to_owned(),
        }
    }

    /// The same with what parts it from the text before it.
    pub(super) fn tail(self) -> String {
        let separator = match self {
            Self::Label(_) => "",
            Self::Line(_) => "\n",
            // In Markdown the comment is a block of its own.
            Self::Comment(_) => "\n\n",
            Self::Tail(_) => " ",
        };
        format!("{separator}{}", self.spelled())
    }
}

/// Whether this can be a marker: one of our kinds, and no more than one word.
fn is_one(marker: &str) -> bool {
    KINDS.iter().any(|kind| marker.starts_with(kind))
        && marker
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A person's text in which nothing is spelled as a marker of ours.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let mut made = Cow::Borrowed(text);
    if !KINDS.iter().any(|kind| text.contains(kind)) {
        return made;
    }
    for (begin, _) in [LINE, COMMENT] {
        for kind in KINDS {
            let spelled = format!("{begin}{kind}");
            if made.contains(&spelled) {
                // `[⁠ref:tkt-…`: looks the same.
                let (first, rest) = spelled.split_at(1);
                made = Cow::Owned(made.replace(&spelled, &format!("{first}{JOINER}{rest}")));
            }
        }
    }
    made
}

/// A tag as a label without spaces, at most so many characters. One that looks like a marker would
/// let a look-up find this item for another ticket.
#[must_use]
pub fn harmless_label(tag: &str, characters_max: usize) -> String {
    let begin = tag.trim_start();
    let poses = KINDS.iter().any(|kind| {
        begin
            .get(..kind.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
    });
    let prefix = if poses { "tag-" } else { "" };
    prefix
        .chars()
        .chain(tag.chars())
        .map(|c| if c.is_whitespace() { '-' } else { c })
        .take(characters_max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Max;
    use super::*;

    const ID: &str = "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";

    #[test]
    fn what_is_put_is_found() {
        for marker in [Marker::Line(ID), Marker::Comment(ID)] {
            for text in [
                "",
                "text",
                "text\n\n- list",
                "quoted: [ref:tkt-1]\n<!-- cmd-2 -->",
            ] {
                let (made, whole) = marker.put(text, Max::Chars(1_000));
                assert!(whole);
                assert_eq!(Marker::find(&made), Some(ID), "{made}");
            }
        }
        assert_eq!(Marker::Label(ID).put("text", Max::Chars(99)).0, "text");
    }

    #[test]
    fn a_marker_is_found_in_html_and_as_a_platform_gives_it_back() {
        for text in [
            "<p>text</p><p>[ref:cmd-1]</p>",
            "<body>text\n\n[ref:cmd-1]</body>",
            "text\r\n[ref:cmd-1]\r\n",
            "text [ref:cmd-1] ",
            "<div>text<br>[ref:cmd-1]</div>",
            "text\n\n<!-- cmd-1 -->\n",
        ] {
            assert_eq!(Marker::find(text), Some("cmd-1"), "{text}");
        }
    }

    #[test]
    fn a_text_comes_back_without_its_marker() {
        for (text, without) in [
            ("a\n[ref:cmd-1]", "a"),
            ("a\n\n<!-- cmd-1 -->\n", "a"),
            ("[ref:cmd-1]", ""),
            ("cmd-1 a\n[ref:cmd-1]", "cmd-1 a"),
            ("a <!-- b -->", "a <!-- b -->"),
            ("[ref:cmd-1] a", "[ref:cmd-1] a"),
        ] {
            assert_eq!(Marker::without(text), without, "{text}");
        }
    }

    #[test]
    fn what_a_person_wrote_is_no_marker() {
        for text in [
            "[ref:tkt-1] and more",
            "x[ref:tkt-1]",
            "[ref:other]",
            "[ref:tkt-a b]",
            "[ref:tkt-1",
            "ref:tkt-1]",
            "<!-- note -->",
            "",
        ] {
            assert_eq!(Marker::find(text), None, "{text}");
        }
        let (made, _) = Marker::Label(ID).put("see\n[ref:tkt-1]", Max::Chars(99));
        assert_eq!(Marker::find(&made), None, "{made}");
        assert_eq!(made.replace(JOINER, ""), "see\n[ref:tkt-1]");
        assert!(matches!(harmless("[ref: a <!-- b -->"), Cow::Borrowed(_)));
    }

    #[test]
    fn labels_have_no_spaces_and_do_not_pose() {
        assert_eq!(harmless_label("needs a look", 255), "needs-a-look");
        assert_eq!(harmless_label("tkt-9b2f1c1e", 255), "tag-tkt-9b2f1c1e");
        assert_eq!(harmless_label(" TKT-1", 255), "tag--TKT-1");
        assert_eq!(harmless_label("cmd-1", 6), "tag-cm");
        assert_eq!(harmless_label("ticket", 3), "tic");
    }
}
