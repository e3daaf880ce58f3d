use proptest::prelude::*;

use super::super::{Block, Inline, Item};
use super::*;

fn blocks(markdown: &str) -> Vec<Block> {
    Document::parse(markdown, 10_000).blocks
}

fn paragraph(text: &str) -> Block {
    Block::Paragraph(vec![Inline::Text(text.into())])
}

proptest! {
    #[test]
    fn prose_is_what_the_parser_makes_of_it(text in "[a-zA-Z]([a-zA-Z0-9 \
        .,;:!?()'\"/#%@+=é-]{0,30}(\n\n)?[a-zA-Z]?){1,4}") {
        if let Some(blocks) = prose(&text, 10_000) {
            prop_assert_eq!(blocks, parsed(&text, 10_000).blocks);
        }
    }
}

#[test]
fn prose_is_told_from_markdown() {
    let text = "Checkout fails: 3 of 4 cards (all banks).\n\nSince Monday!";
    assert!(prose(text, 100).is_some() && prose(text, 10).is_none());
    for text in [
        "", "# Steps", "1. one", "- one", "    code", "a\nb", "a *b*", "a  ", "see <b>",
        "a\n\n\nb", "a | b",
    ] {
        assert!(prose(text, 100).is_none(), "{text}");
    }
}

#[test]
fn a_task_is_an_item_with_a_state() {
    let item = |task, text: &str| Item {
        task,
        blocks: vec![paragraph(text)],
    };
    let items = vec![
        item(Some(true), "done"),
        item(Some(false), "open"),
        item(None, "none"),
    ];
    for markdown in [
        "- [x] done\n- [ ] open\n- none",
        "- [x] done\n\n- [ ] open\n\n- none",
    ] {
        let list = Block::List {
            first: None,
            items: items.clone(),
        };
        assert_eq!(blocks(markdown), [list], "{markdown}");
    }
}

#[test]
fn html_is_text_and_its_lines_are_lines() {
    assert_eq!(
        blocks("<div>\n<b>x</b>\n</div>\n\nafter <br> it"),
        [
            Block::Paragraph(vec![
                Inline::Text("<div>".into()),
                Inline::Break,
                Inline::Text("<b>x</b>".into()),
                Inline::Break,
                Inline::Text("</div>".into()),
            ]),
            paragraph("after <br> it"),
        ]
    );
}

#[test]
fn the_rows_of_a_table_have_as_many_cells_as_its_head() {
    let [Block::Table(table)] = &blocks("| a | b |\n|:--|--:|\n| 1 |\n| 1 | 2 | 3 |\n")[..] else {
        panic!("a table")
    };
    assert_eq!(table.alignments, [Alignment::Left, Alignment::Right]);
    assert_eq!(table.head.len(), 2);
    assert!(table.rows.len() == 2 && table.rows.iter().all(|row| row.len() == 2));
}

#[test]
fn what_is_too_much_is_left_out_and_that_is_said() {
    // A reference costs three bytes, a cell that is filled up none.
    let wide = format!("{}|\n{}|\n", "|a".repeat(200), "|-".repeat(200));
    let filled = format!("{wide}{}", "|x|\n".repeat(10_000));
    let document = Document::parse(&filled, 1_000_000);
    assert!(!document.is_whole());
    assert!(Document::parse(&wide, 1_000_000).is_whole());
    assert!(!Document::parse("äöü", 2).is_whole());
}
