//! Addresses that stand in a text as they are.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Url(&'a str),
}

/// A text in its parts: addresses of pages, and what stands between them.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find("http") {
        let begin = at + found;
        let stands_alone = !text[..begin].ends_with(|before: char| before.is_alphanumeric());
        let length = if stands_alone {
            url_length(&text[begin..])
        } else {
            0
        };
        if length == 0 {
            at = begin + 4;
            continue;
        }
        if begin > from {
            parts.push(Part::Text(&text[from..begin]));
        }
        at = begin + length;
        parts.push(Part::Url(&text[begin..at]));
        from = at;
    }
    if from < text.len() {
        parts.push(Part::Text(&text[from..]));
    }
    parts
}

/// A longer one is no address, but text.
const URL_MAX: usize = 2_000;

/// Bytes of the address that a text begins with. Punctuation behind it is of the sentence.
fn url_length(text: &str) -> usize {
    let Some(rest) = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
    else {
        return 0;
    };
    let head = &rest[..rest.floor_char_boundary(URL_MAX)];
    let ends = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`' | '|' | '\\')
    };
    let end = match head.find(ends) {
        Some(end) => end,
        None if head.len() == rest.len() => head.len(),
        None => return 0,
    };
    let mut url = &head[..end];
    while let Some(last) = url.chars().next_back() {
        let is_of_the_sentence = match last {
            ')' => url.matches(')').count() > url.matches('(').count(),
            ']' => url.matches(']').count() > url.matches('[').count(),
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | '…' | '}' => true,
            _ => false,
        };
        if !is_of_the_sentence {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    if url.is_empty() {
        return 0;
    }
    text.len() - rest.len() + url.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_before_the_punctuation_of_its_sentence() {
        for (text, expected) in [
            (
                "see https://x.test/a_b?c=1#d.",
                Some("https://x.test/a_b?c=1#d"),
            ),
            ("(http://x.test/a(b))", Some("http://x.test/a(b)")),
            ("https://x.test", Some("https://x.test")),
            ("https://", None),
            ("xhttps://x.test", None),
            ("http and https", None),
        ] {
            let found = parts(text).into_iter().find_map(|part| match part {
                Part::Url(url) => Some(url),
                Part::Text(_) => None,
            });
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(
            parts("a http://b c"),
            [Part::Text("a "), Part::Url("http://b"), Part::Text(" c")]
        );
    }
}
