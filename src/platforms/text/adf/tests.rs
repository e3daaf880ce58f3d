use proptest::prelude::*;

use super::super::bounds::DEPTH_MAX;
use super::super::hostile;
use super::*;

/// Characters of Markdown that the adapter reads: what Jira takes of text (JRACLOUD-78553).
const READ_MAX: usize = 32_767;

fn document(markdown: &str) -> Value {
    Document::parse(markdown, READ_MAX).adf()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "calls read better with a literal"
)]
fn check(markdown: &str, content: Value) {
    assert_eq!(
        document(markdown),
        json!({ "type": "doc", "version": 1, "content": content }),
        "{markdown}"
    );
}

fn paragraph(text: &str) -> Value {
    json!({ "type": "paragraph", "content": [{ "type": "text", "text": text }] })
}

#[test]
fn blocks_become_blocks() {
    check("plain", json!([paragraph("plain")]));
    check("", json!([]));
    check(
        "### Steps\n\none\ntwo",
        json!([
            { "type": "heading", "attrs": { "level": 3 }, "content": [{ "type": "text",
                "text": "Steps" }] },
            { "type": "paragraph", "content": [
                { "type": "text", "text": "one" }, { "type": "hardBreak" }, { "type": "text",
                    "text": "two" }
            ] }
        ]),
    );
    check(
        "```rust\nfn main() {}\n\nx\n```",
        json!([{ "type": "codeBlock", "attrs": { "language": "rust" },
                 "content": [{ "type": "text", "text": "fn main() {}\n\nx" }] }]),
    );
    check(
        "> quoted",
        json!([{ "type": "blockquote", "content": [paragraph("quoted")] }]),
    );
    check(
        "- one\n- two\n\n3. three",
        json!([
            { "type": "bulletList", "content": [
                { "type": "listItem", "content": [paragraph("one")] },
                { "type": "listItem", "content": [paragraph("two")] }
            ] },
            { "type": "orderedList", "attrs": { "order": 3 }, "content": [
                { "type": "listItem", "content": [paragraph("three")] }
            ] }
        ]),
    );
}

#[test]
fn inline_marks_combine_as_jira_takes_them() {
    check(
        "Run `make` then **[see](https://example.com)**",
        json!([{ "type": "paragraph", "content": [
            { "type": "text", "text": "Run " },
            { "type": "text", "text": "make", "marks": [{ "type": "code" }] },
            { "type": "text", "text": " then " },
            { "type": "text", "text": "see", "marks": [
                { "type": "strong" }, { "type": "link", "attrs": { "href": "https://example.com" } }
            ] }
        ] }]),
    );
}

#[test]
fn a_table_is_a_table_and_in_a_list_a_line_a_row() {
    let cell = |kind: &str, text: &str| json!({ "type": kind, "content": [paragraph(text)] });
    let empty = json!({ "type": "tableCell", "content": [{ "type": "paragraph", "content": [] }] });
    check(
        "| a | b |\n|---|---|\n| 1 |\n",
        json!([{ "type": "table", "content": [
            { "type": "tableRow", "content": [cell("tableHeader", "a"), cell("tableHeader", "b")] },
            { "type": "tableRow", "content": [cell("tableCell", "1"), empty] },
        ] }]),
    );
    let listed = document("- x\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |\n").to_string();
    assert!(
        !listed.contains("table") && listed.contains('1') && listed.contains('a'),
        "{listed}"
    );
}

#[test]
fn a_task_is_an_item_with_its_box() {
    check(
        "- [x] **done**\n- [ ] open",
        json!([{ "type": "bulletList", "content": [
            { "type": "listItem", "content": [{ "type": "paragraph", "content": [
                { "type": "text", "text": "☑ " },
                { "type": "text", "text": "done", "marks": [{ "type": "strong" }] },
            ] }] },
            { "type": "listItem", "content": [paragraph("☐ open")] },
        ] }]),
    );
}

#[test]
fn links_lead_where_they_say() {
    let href = |markdown: &str| {
        document(markdown)
            .pointer("/content/0/content/0/marks/0/attrs/href")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    for (markdown, leads_to) in [
        ("<bob@example.com>", Some("mailto:bob@example.com")),
        (
            "[![alt](https://i.test)](https://x.test)",
            Some("https://x.test"),
        ),
        ("[](https://x.test)", Some("https://x.test")),
        ("![](https://i.test)", Some("https://i.test")),
        ("[x](javascript:alert)", None),
    ] {
        assert_eq!(href(markdown).as_deref(), leads_to, "{markdown}");
    }
}

#[test]
fn lists_six_deep_stay_lists_and_deeper_ones_are_lines() {
    let deep = |depth: usize| -> String {
        (0..depth)
            .map(|level| format!("{}- l{level}\n", "  ".repeat(level)))
            .collect()
    };
    let lists = |markdown: &str| document(markdown).to_string().matches("bulletList").count();
    assert_eq!(
        (lists(&deep(6)), lists(&deep(8)), lists(&deep(20))),
        (6, 8, 8)
    );
    let all = document(&(deep(12) + "- after\n"));
    assert_eq!(
        all["content"].as_array().unwrap().len(),
        1,
        "one outer list: {all}"
    );
    for level in 0..12 {
        assert!(
            all.to_string().contains(&format!("l{level}\"")),
            "l{level}: {all}"
        );
    }
}

#[test]
fn code_in_a_quote_keeps_its_lines() {
    check(
        "> ```\n> a\n> b\n> ```",
        json!([{ "type": "blockquote", "content": [
            { "type": "codeBlock", "content": [{ "type": "text", "text": "a\nb" }] }
        ] }]),
    );
}

fn sound(node: &Value, in_code: bool) -> bool {
    let kind = node["type"].as_str().unwrap_or_default();
    let children = node["content"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let here = match kind {
        "text" => {
            let text = node["text"].as_str().unwrap_or_default();
            !text.is_empty() && (in_code || !text.contains('\n'))
        }
        "listItem" => children
            .first()
            .is_some_and(|child| child["type"] == "paragraph"),
        "bulletList" | "orderedList" => {
            !children.is_empty() && children.iter().all(|child| child["type"] == "listItem")
        }
        "table" => !children.is_empty() && children.iter().all(|child| child["type"] == "tableRow"),
        "tableRow" => children
            .iter()
            .all(|child| child["type"] == "tableCell" || child["type"] == "tableHeader"),
        "doc" | "blockquote" | "tableCell" | "tableHeader" => {
            (kind == "doc" || !children.is_empty())
                && children.iter().all(|child| child["type"] != "text")
        }
        // No text becomes a mention, an emoji, a card or a media node.
        "paragraph" | "heading" | "codeBlock" | "hardBreak" | "rule" => true,
        _ => false,
    };
    here && children
        .iter()
        .all(|child| sound(child, kind == "codeBlock"))
}

fn depth(node: &Value) -> usize {
    let children = node["content"].as_array();
    1 + children.into_iter().flatten().map(depth).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn any_text_becomes_a_sound_document(text in "[-*#>`~_|\\[\\]()!1-3. a-cé\n\t]{0,120}") {
        let document = document(&text);

        prop_assert!(sound(&document, false), "{document}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_made_is_bounded(text in hostile::texts(100_000), short in hostile::texts(200)) {
        let began = std::time::Instant::now();
        for text in [&text, &short] {
            let document = document(text);
            let made = document.to_string().len();
            let taken = text.len().min(4 * READ_MAX);
            prop_assert!(made <= 8 * taken + 2 * MADE_MIN, "{} of {}", made, text.len());
            prop_assert!(depth(&document) <= 2 * DEPTH_MAX + 4, "{}", depth(&document));
            prop_assert!(sound(&document, false));
        }
        prop_assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}

#[test]
fn each_hostile_text_is_bounded_in_time_and_size() {
    for (piece, text) in hostile::plain(100_000) {
        let began = std::time::Instant::now();
        let document = document(&text);
        let made = document.to_string().len();
        assert!(made <= 8 * READ_MAX + 2 * MADE_MIN, "{piece:?}: {made}");
        assert!(is_cut(&document), "{piece:?}");
        assert!(
            began.elapsed().as_secs() < 2,
            "{piece:?}: {:?}",
            began.elapsed()
        );
    }
    assert!(!is_cut(&document("- a\n- b")));
}
