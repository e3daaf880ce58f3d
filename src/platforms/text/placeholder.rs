//! Placeholders (`{{ticket.requester.email}}`, `{% if … %}`), which a platform would fill in.

use super::{Allowed, Document, Marker, Max};

/// A text without placeholders: what cannot be seen stands between the two signs that begin one.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if before == '{' && matches!(c, '{' | '%') {
            made.push('\u{2060}');
        }
        made.push(c);
        before = c;
    }
    made
}

/// Markdown as HTML without placeholders, in so many bytes at most, and whether all of it found
/// room there. Escapes and entities make braces, too (`\{\{`, `&#123;{`), so the HTML is looked at,
/// not the Markdown.
#[must_use]
pub fn inert_html(
    markdown: &str,
    read_max: usize,
    bytes_max: usize,
    marker: Option<&str>,
) -> (String, bool) {
    let document = Document::parse(markdown, read_max);
    let within = |bytes| {
        let (html, is_whole) =
            document.html(Allowed::Full, Max::Bytes(bytes), marker.map(Marker::Line));
        (inert(&html), is_whole)
    };
    let mut room = bytes_max;
    loop {
        let (html, is_whole) = within(room);
        // Each pair took three bytes more.
        match html.len().saturating_sub(bytes_max) {
            more if more > 0 && room > 0 => room = room.saturating_sub(more),
            _ => return (html, is_whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_braces_makes_a_placeholder() {
        let markdown = "{{a}} \\{\\{b}} {\\{c}} &#123;{d}} &lcub;&lcub;e}} {% f %} `{{g}}` {*{h*}}";
        let (html, is_whole) = inert_html(markdown, 1_000, 1_000, Some("tkt-1"));
        assert!(!html.contains("{{") && !html.contains("{%"), "{html}");
        assert!(is_whole && html.contains("tkt-1"), "{html}");
        for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert!(html.contains(letter), "{html}");
        }
    }

    #[test]
    fn what_is_put_between_counts() {
        for count in 1..60 {
            let (html, is_whole) = inert_html(&"{{".repeat(count), 1_000, 100, Some("tkt-1"));
            assert!(
                html.len() <= 100 && html.contains("tkt-1"),
                "{count}: {html}"
            );
            assert_eq!(is_whole, html.matches('{').count() == 2 * count, "{html}");
        }
    }
}
