//! The same texts in every format. Each text is a file beside its snapshot, to be read together.
//!
//! `INSTA_UPDATE=always cargo test --lib text::snapshots` writes them anew; read the difference.

use std::fmt::Write as _;

use serde_json::Value;

use super::*;

/// The text in every format, one below the other.
fn formats(markdown: &str) -> String {
    let document = Document::parse(markdown, 100_000);
    let max = Max::Chars(60_000);
    let line = Some(Marker::Line("cmd-1"));
    let mut made = String::new();
    let mut add = |name: &str, text: &str| writeln!(made, "===== {name}\n{text}\n").unwrap();
    let adf = document.adf();
    let adf: Vec<String> = adf["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    add("adf", &adf.join("\n"));
    add("wiki", &document.wiki(max, None).0);
    add("mrkdwn", &document.mrkdwn().0);
    add("html: full", &document.html(Allowed::Full, max, line).0);
    add("html: teams", &document.html(Allowed::Teams, max, line).0);
    add(
        "html: asana notes",
        &document.html(Allowed::AsanaNotes, max, line).0,
    );
    add(
        "html: asana comment",
        &document.html(Allowed::AsanaComment, max, line).0,
    );
    let comment = Some(Marker::Comment("cmd-1"));
    add(
        "github",
        &document.markdown(Dialect::GitHub, max, comment).0,
    );
    add("trello", &document.markdown(Dialect::Trello, max, line).0);
    let card = document.card(Max::Bytes(20_000)).0;
    let card: Vec<String> = card.iter().map(ToString::to_string).collect();
    add("card", &card.join("\n"));
    let (text, ranges, _) = document.ranges(Max::Chars(1_024), line);
    let units: Vec<u16> = text.encode_utf16().collect();
    let ranges: Vec<String> = ranges
        .iter()
        .map(|range| {
            let part = String::from_utf16_lossy(&units[range.start..range.end]);
            format!("{}..{} {:?} {part:?}", range.start, range.end, range.format)
        })
        .collect();
    add("zoom", &format!("{text}\n-----\n{}", ranges.join("\n")));
    add("plain", &document.plain(max, line).0);
    let tail = Some(Marker::Tail("#ab0ac58d"));
    add("sms", &document.plain(Max::Segments(2), tail).0);
    made
}

macro_rules! texts {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("snapshots/", $name, ".md")))),*]
    };
}

#[test]
fn each_text_looks_in_every_format_as_its_author_meant_it() {
    let texts = texts![
        "code",
        "emoji",
        "headings",
        "hostile_html",
        "links",
        "lists",
        "mentions",
        "prose",
        "quotes",
        "right_to_left",
        "tables",
        "tasks"
    ];
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, markdown) in texts {
        settings.bind(|| insta::assert_snapshot!(name, formats(markdown)));
    }
}

/// Of a long text, the sizes.
#[test]
fn a_long_text_is_cut_to_what_each_platform_takes() {
    let part = "A paragraph of **some** words & a [link](https://x.test).\n\n- one\n- two 😀\n\n";
    let markdown = part.repeat(1_300);
    assert!(markdown.len() > 100_000);
    let document = Document::parse(&markdown, 100_000);
    let max = Max::Chars(32_000);
    let line = Some(Marker::Line("cmd-1"));
    let mut made = String::new();
    let mut add = |name: &str, (text, whole): (String, bool)| {
        let (bytes, chars) = (text.len(), text.chars().count());
        writeln!(
            made,
            "{name}: {bytes} bytes, {chars} characters, whole: {whole}"
        )
        .unwrap();
    };
    let adf = Document::parse(&markdown, 32_000).adf();
    add("adf", (adf.to_string(), !is_cut(&adf)));
    add("wiki", document.wiki(max, line));
    add("mrkdwn", document.mrkdwn());
    add("html: full", document.html(Allowed::Full, max, line));
    add(
        "html: teams",
        document.html(Allowed::Teams, Max::Bytes(20_000), line),
    );
    add("html: asana", document.html(Allowed::AsanaNotes, max, line));
    add(
        "github",
        document.markdown(Dialect::GitHub, Max::Chars(65_536), line),
    );
    add(
        "trello",
        document.markdown(Dialect::Trello, Max::Chars(16_384), line),
    );
    let (card, whole) = document.card(Max::Bytes(20_000));
    add("card", (Value::from(card).to_string(), whole));
    let (text, _, whole) = document.ranges(Max::Chars(1_024), line);
    add("zoom", (text, whole));
    add("plain", document.plain(Max::Bytes(4_000), line));
    add(
        "sms",
        document.plain(Max::Segments(2), Some(Marker::Tail("#ab0ac58d"))),
    );
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("a_long_text", made);
    });
}
