//! What holds for every text in every format, whoever wrote it.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const ALL: [Allowed; 4] = [
    Allowed::Full,
    Allowed::AsanaNotes,
    Allowed::AsanaComment,
    Allowed::Teams,
];

const fn tags(allowed: Allowed) -> &'static [&'static str] {
    match allowed {
        Allowed::Full => &[
            "p",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "strong",
            "em",
            "s",
            "code",
            "pre",
            "blockquote",
            "ul",
            "ol",
            "li",
            "a",
            "br",
            "hr",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        ],
        Allowed::AsanaNotes => &[
            "body",
            "strong",
            "em",
            "s",
            "code",
            "ol",
            "ul",
            "li",
            "a",
            "h1",
            "h2",
            "hr",
            "blockquote",
            "pre",
        ],
        Allowed::AsanaComment => &[
            "body",
            "strong",
            "em",
            "s",
            "code",
            "ol",
            "ul",
            "li",
            "a",
            "blockquote",
            "pre",
        ],
        Allowed::Teams => &[
            "p",
            "b",
            "i",
            "a",
            "ul",
            "ol",
            "li",
            "br",
            "pre",
            "code",
            "blockquote",
        ],
    }
}

/// Why this is no well-formed XML of these tags.
fn fault(html: &str, allowed: Allowed) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&', '>']) {
        let from = &rest[at..];
        if let Some(entity) = from.strip_prefix('&') {
            let known = ["amp;", "lt;", "gt;", "quot;"];
            if !known.iter().any(|name| entity.starts_with(name)) {
                return Some(format!("a bare & before {entity:.20}"));
            }
            rest = entity;
            continue;
        }
        let Some(end) = from.find('>').filter(|_| from.starts_with('<')) else {
            return Some(format!("no tag: {from:.20}"));
        };
        let tag = &from[1..end];
        rest = &from[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let name = name.trim_end_matches('/');
        if !tags(allowed).contains(&name) {
            return Some(format!("<{name}> is not allowed"));
        }
        let attribute = attributes.split_once("=\"").map(|(attribute, _)| attribute);
        let is_known = matches!(
            (name, attribute),
            (_, None) | ("a", Some("href")) | ("ol", Some("start")) | ("th" | "td", Some("align"))
        );
        if !is_known || attributes.matches('"').count() > 2 {
            return Some(format!("<{tag}>"));
        }
        if tag.ends_with('/') {
            continue;
        }
        let holds_lines = |name: &str| matches!(name, "li" | "blockquote" | "pre" | "h1" | "h2");
        if allowed.is_asana_like()
            && let Some(around) = open.last()
            && holds_lines(around)
            && (matches!(name, "h1" | "h2" | "blockquote" | "pre")
                || (matches!(name, "ul" | "ol") && *around != "li"))
        {
            return Some(format!("<{name}> in <{around}>"));
        }
        open.push(name);
    }
    (!open.is_empty()).then(|| format!("open: {open:?}"))
}

impl Allowed {
    fn is_asana_like(self) -> bool {
        matches!(self, Self::AsanaNotes | Self::AsanaComment)
    }
}

/// Sequences of mrkdwn that call somebody.
fn calls_in_slack(text: &str) -> bool {
    ["<!", "<@", "<#"].iter().any(|call| text.contains(call))
}

fn check(text: &str, limit: usize) -> Result<(), TestCaseError> {
    let document = Document::parse(text, 50_000);
    let max = Max::Chars(limit);
    let line = Some(Marker::Line("cmd-1"));
    let within = |name: &str, made: &str| {
        let count = made.chars().count();
        prop_assert!(count <= limit, "{name}: {count} of {limit}: {made}");
        prop_assert_eq!(Marker::find(made), Some("cmd-1"), "{}: {}", name, made);
        Ok(())
    };
    let (made, whole) = document.mrkdwn();
    prop_assert!(!calls_in_slack(&made), "{made}");
    prop_assert!(whole || made.contains('…'), "{made}");
    for allowed in ALL {
        let (made, whole) = document.html(allowed, max, line);
        within("html", &made)?;
        prop_assert_eq!(fault(&made, allowed), None, "{:?} {}", allowed, made);
        prop_assert!(whole || made.contains('…'), "{made}");
        if limit > 40_000 {
            prop_assert!(
                whole || !document.is_whole() || text.len() > limit / 8,
                "{made}"
            );
        }
    }
    for dialect in [Dialect::GitHub, Dialect::Trello] {
        for marker in [Marker::Comment("cmd-1"), Marker::Line("cmd-1")] {
            let (made, _) = document.markdown(dialect, max, Some(marker));
            within("markdown", &made)?;
        }
    }
    within("wiki", &document.wiki(max, line).0)?;
    within("plain", &document.plain(max, line).0)?;
    let (made, ranges, _) = document.ranges(max, line);
    within("ranges", &made)?;
    let units: Vec<u16> = made.encode_utf16().collect();
    for range in ranges {
        prop_assert!(range.start < range.end && range.end <= units.len());
        let part = &units[..range.end];
        prop_assert_eq!(
            String::from_utf16(part)
                .map(|part| part.chars().count())
                .ok(),
            Some(range.end),
            "units and characters are the same up to there"
        );
    }
    let (card, _) = document.card(Max::Bytes(limit));
    let bytes = Value::from(card).to_string().len();
    prop_assert!(bytes <= limit + 64, "card: {bytes} of {limit}");
    let (made, _) = document.plain(Max::Segments(2), Some(Marker::Tail("#ab0ac58d")));
    prop_assert!(
        segments(&made) <= 2 && made.ends_with("#ab0ac58d"),
        "{made}"
    );
    Ok(())
}

proptest! {
    #[test]
    fn every_format_keeps_its_rules(
        text in "([-*#>`~_|\\[\\]()!<>&@:/1-3. a-cé😀\n\t\"{}]|https://x|<!|<@|\n\n| ){0,120}",
        limit in 150_usize..2_000,
    ) {
        check(&text, limit)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn hostile_texts_are_bounded(text in hostile::texts(50_000), short in hostile::texts(300)) {
        let began = std::time::Instant::now();
        check(&text, 50_000)?;
        check(&short, 1_000)?;
        prop_assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}

/// What a reader of Markdown makes of GitHub's is what was meant: its text is that of the first
/// reading.
fn text(markdown: &str) -> String {
    let document = Document::parse(markdown, 50_000);
    let (made, _) = document.plain(Max::Chars(1_000_000), None);
    made.replace('\u{2060}', "")
}

proptest! {
    #[test]
    fn markdown_says_what_was_said(
        text_of_person in "([-*#>`~_\\[\\]()!<>&:1-3. a-c\n]|\n\n){0,60}",
    ) {
        let document = Document::parse(&text_of_person, 50_000);
        let (made, _) = document.markdown(Dialect::GitHub, Max::Chars(1_000_000), None);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(words(&text(&made)), words(&text(&text_of_person)), "{}", made);
    }
}

#[test]
fn nobody_is_mentioned_and_nothing_referred_to_on_github() {
    for markdown in [
        "@octocat",
        "x @octocat",
        "(@octocat)",
        "_@octocat_",
        "&#64;octocat",
        "é@octocat",
        "@org/team",
        "#12",
        "fixes #12",
        "o/r#12",
        "GH-12",
        "gh-12",
        "\\#12",
        "a_@octocat",
        "https://github.com/o/r/issues/12",
        "[x](https://github.com/o/r/pull/12)",
        "<https://github.com/o/r/discussions/12>",
        "closes https://github.com/o/r/issues/12.",
        "| @octocat | #12 |\n|-|-|\n| GH-12 | https://github.com/o/r/issues/12 |",
        "![@octocat](https://x)",
    ] {
        let (made, _) =
            Document::parse(markdown, 1_000).markdown(Dialect::GitHub, Max::Chars(1_000), None);
        let shown = Document::parse(&made, 1_000)
            .plain(Max::Chars(1_000), None)
            .0;
        for call in [
            "@octocat",
            "@org",
            "#12",
            "GH-12",
            "gh-12",
            "(https://github.com",
        ] {
            assert!(!shown.contains(call), "{markdown}: {made}: {shown}");
        }
        assert!(
            !made.contains("](https://github.com") && !made.contains("<https://github.com"),
            "{made}"
        );
    }
    for markdown in [
        "bob@x.test",
        "`@octocat #12`",
        "C# 12",
        "<https://x.test/@a#12>",
    ] {
        let (made, _) =
            Document::parse(markdown, 1_000).markdown(Dialect::GitHub, Max::Chars(1_000), None);
        assert!(!made.contains('\u{2060}'), "{made}");
    }
}

#[test]
fn nobody_is_mentioned_in_wiki_markup() {
    for markdown in [
        "[~admin]",
        "\\[~admin\\]",
        "x[~**admin**]",
        "\\\\[~admin]",
        "`[~admin]`",
    ] {
        let (made, _) = Document::parse(markdown, 1_000).wiki(Max::Chars(1_000), None);
        assert!(!made.replace("\\[", "").contains('['), "{markdown}: {made}");
        assert!(!made.contains("\\\\["), "{markdown}: {made}");
    }
}
