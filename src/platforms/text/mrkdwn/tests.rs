use proptest::prelude::*;

use super::super::hostile;
use super::super::pieces::pieces;
use super::*;
use crate::domain::has_ink;

/// Characters of Markdown that the adapter reads.
const READ_MAX: usize = 16_000;

fn mrkdwn(markdown: &str) -> (String, bool) {
    Document::parse(markdown, READ_MAX).mrkdwn()
}

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
    assert!(whole && texts.iter().all(|text| has_ink(text)));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_made_is_bounded(text in hostile::texts(100_000), short in hostile::texts(200)) {
        let began = std::time::Instant::now();
        let (made, _) = mrkdwn(&text);
        let (shown, _) = pieces(&made, 3_000, 3);
        prop_assert!(made.len() <= MADE_MAX + MADE_MAX / 2, "{}", made.len());
        prop_assert!(shown.iter().all(|piece| has_ink(piece) && piece.chars().count() <= 3_000));
        prop_assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        let made = mrkdwn(&short).0;
        // A reference is as long as what it refers to, and a wide table says its headings in each
        // row.
        let repeats = short.contains("]:") || short.contains('|');
        prop_assert!(made.len() <= 8 * short.len() + 64 || repeats, "{} of {}", made.len(),
            short.len());
    }
}

#[test]
fn a_table_is_aligned_in_a_code_block_and_a_wide_one_a_list() {
    assert_eq!(
        mrkdwn("| Name | Count |\n|---|--:|\n| a<b | 5 |\n| **c** | 12 |\n\nafter").0,
        "```\nName | Count\n-----|------\na&lt;b  |     5\nc    |    12\n```\n\nafter"
    );
    let wide = "w".repeat(80);
    assert_eq!(
        mrkdwn(&format!(
            "| Name | Count |\n|---|---|\n| {wide} | 5 |\n| | **6** |\n"
        ))
        .0,
        format!("• *Name*: {wide}, *Count*: 5\n• *Count*: *6*")
    );
}
