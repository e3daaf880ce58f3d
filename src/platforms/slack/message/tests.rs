use super::*;
use crate::domain::{Priority, TicketCategory, TicketId};

fn ticket(title: &str, description: &str) -> TicketView {
    TicketView {
        id: TicketId::new(uuid::Uuid::nil()),
        title: title.into(),
        description: description.into(),
        status: TicketStatus::New,
        priority: Priority::High,
        urgency: Priority::High,
        category: TicketCategory::Bug,
        department: Some("@here".into()),
        assigned_to: None,
        created_by: None,
        tags: vec!["#general".into()],
        custom_fields: Map::from_iter([("@channel".to_owned(), json!({ "a": "@here" }))]),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
    }
}

fn style() -> Style {
    Style {
        ticket_url: None,
        labels: FieldMap::default(),
    }
}

#[test]
fn a_title_too_long_for_a_heading_is_whole_in_the_body() {
    let long = "word ".repeat(80);
    let shown = style().ticket(&ticket(&long, ""));

    let header = shown.blocks[0]["text"]["text"].as_str().unwrap();
    assert!(header.chars().count() <= HEADER_MAX && header.ends_with('…'));
    assert_eq!(shown.blocks[1]["text"]["text"], long.trim());
    assert!(shown.left_out.contains_key("title"));
    assert!(
        !style()
            .ticket(&ticket("short", ""))
            .left_out
            .contains_key("title")
    );
}

#[test]
fn a_heading_that_comes_back_is_the_one_that_was_sent() {
    for title in ["Printer <on>  fire & smoke", &"a & b ".repeat(60)] {
        let shown = style().ticket(&ticket(title, ""));

        let sent = shown.blocks[0]["text"]["text"].as_str().unwrap();
        assert_eq!(heading(title), unescaped(sent));
    }
    assert_eq!(heading("Printer <on>  fire"), "Printer <on> fire");
    assert!(heading(&"long ".repeat(60)).ends_with('…'));
}

/// Every text object with marks in a message.
fn with_marks<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if value["type"] == "mrkdwn" {
        found.push(value);
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| with_marks(item, found)),
        Value::Object(map) => map.values().for_each(|item| with_marks(item, found)),
        _ => {}
    }
}

#[test]
fn every_text_with_marks_is_verbatim_and_the_plain_one_is_calm() {
    let shown = style().ticket(&ticket(&"@here ".repeat(60), "@channel"));
    let said = reply("body", "@everyone").unwrap();
    for message in [&shown, &said, &test()] {
        let blocks = Value::from(message.blocks.clone());
        let mut found = Vec::new();
        with_marks(&blocks, &mut found);
        assert!(!found.is_empty());
        assert!(
            found.iter().all(|text| text["verbatim"] == true),
            "{blocks:#}"
        );
        for called in ["@here", "@channel", "@everyone"] {
            assert!(!message.text.contains(called), "{}", message.text);
        }
    }
}
