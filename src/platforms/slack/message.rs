//! How a ticket, a comment and a change of status look in Slack: Block Kit, with a plain text beside it for
//! notifications. Nothing here is a request.

use serde_json::{Map, Value, json};

use super::super::text::{Document, calm, cut, escape, one_line, pieces};
use crate::domain::{TicketStatus, TicketView, UserRef};

/// Block Kit limits (reference/block-kit).
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
/// Sections that a long text may fill: all blocks together fail near 13,000 characters (`msg_blocks_too_long`).
const SECTIONS_MAX: usize = 3;
/// `chat.update` refuses a longer text (`msg_too_long`).
const TEXT_MAX: usize = 3_000;
/// Longest value of a fact, label included well below the 2,000 of a field.
const FACT_MAX: usize = 200;
const TAGS_MAX: usize = 1_000;
/// Characters of Markdown that are read: more than a message can show, whatever marks are in them.
const READ_MAX: usize = 16_000;
const URL_MAX: usize = 3_000;

/// What an integration may change of it.
pub(super) struct Style {
    /// The page of a ticket, with `{ticket_id}`.
    pub(super) ticket_url: Option<String>,
    /// Custom field of ours → label.
    pub(super) labels: Map<String, Value>,
}

/// A message's contents.
pub(super) struct Message {
    pub(super) text: String,
    pub(super) blocks: Vec<Value>,
}

/// A ticket's message, and what did not fit into it.
pub(super) struct Shown {
    pub(super) message: Message,
    pub(super) left_out: Map<String, Value>,
}

impl Style {
    /// A ticket as the channel sees it.
    pub(super) fn ticket(&self, ticket: &TicketView) -> Shown {
        let mut left_out = Map::new();
        let title = one_line(&ticket.title);
        let mut blocks = vec![json!({
            "type": "header", "block_id": "title",
            "text": { "type": "plain_text", "text": cut(&title, HEADER_MAX), "emoji": false },
        })];
        if title.chars().count() > HEADER_MAX {
            blocks.extend(sections("title-whole", &escape(&title)).0);
            let text = format!("cut in the heading to {HEADER_MAX} characters; whole below it");
            left_out.insert("title".into(), text.into());
        }
        let (description, read) = mrkdwn(&ticket.description);
        let (sections, whole) = sections("desc", &description);
        blocks.extend(sections);
        if !(read && whole) {
            left_out.insert(
                "description".into(),
                "cut: longer than a message of Slack".into(),
            );
        }
        let (facts, more) = self.facts(ticket);
        blocks.push(json!({ "type": "section", "block_id": "facts", "fields": facts }));
        if more > 0 {
            let text = format!("{more} left out: a message of Slack has {FIELDS_MAX} fields");
            left_out.insert("custom_fields".into(), text.into());
        }
        if !ticket.tags.is_empty() {
            let tags: Vec<String> = ticket
                .tags
                .iter()
                .map(|tag| format!("`{}`", escape(&tag.replace('`', "'"))))
                .collect();
            let mut line = String::new();
            for tag in tags {
                if line.len() + tag.len() > TAGS_MAX {
                    line.push('…');
                    break;
                }
                line.push_str(&tag);
                line.push(' ');
            }
            blocks.push(json!({
                "type": "context", "block_id": "tags",
                "elements": [text_object(line.trim_end())],
            }));
        }
        if let Some(url) = self.link(ticket) {
            blocks.push(json!({
                "type": "actions", "block_id": "links",
                "elements": [{
                    "type": "button", "action_id": "open_ticket", "url": url,
                    "text": { "type": "plain_text", "text": "Open ticket" },
                }],
            }));
        }
        let text = format!(
            "{} ({}, {})",
            cut(&title, TEXT_MAX - 50),
            ticket.priority,
            ticket.status
        );
        Shown {
            message: Message {
                text: calm(&text),
                blocks,
            },
            left_out,
        }
    }

    /// What is known beside the text, and how many custom fields found no place.
    fn facts(&self, ticket: &TicketView) -> (Vec<Value>, usize) {
        let mut facts = vec![
            fact("Status", ticket.status.as_str()),
            fact("Priority", ticket.priority.as_str()),
            fact("Category", ticket.category.as_str()),
            fact("Urgency", ticket.urgency.as_str()),
        ];
        if let Some(department) = &ticket.department {
            facts.push(fact("Department", department));
        }
        if let Some(person) = &ticket.assigned_to {
            facts.push(fact("Assignee", &name(person)));
        }
        if let Some(person) = &ticket.created_by {
            facts.push(fact("Requester", &name(person)));
        }
        let room = FIELDS_MAX - facts.len();
        for (field, value) in ticket.custom_fields.iter().take(room) {
            let label = self.labels.get(field).and_then(Value::as_str);
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            facts.push(fact(label.unwrap_or(field), &value));
        }
        (facts, ticket.custom_fields.len().saturating_sub(room))
    }

    fn link(&self, ticket: &TicketView) -> Option<String> {
        let url = self.ticket_url.as_deref()?;
        let url = url.replace("{ticket_id}", &ticket.id.to_string());
        (url.len() <= URL_MAX).then_some(url)
    }
}

/// A reply in a thread, from Markdown, and what did not fit into it; nothing where it would show nothing.
pub(super) fn reply(field: &str, markdown: &str) -> Option<Shown> {
    let (text, read) = mrkdwn(markdown);
    let (blocks, whole) = sections("reply", &text);
    if blocks.is_empty() {
        return None;
    }
    let mut left_out = Map::new();
    if !(read && whole) {
        left_out.insert(field.into(), "cut: longer than a message of Slack".into());
    }
    let text = calm(&pieces(&text, TEXT_MAX, 1).0.concat());
    Some(Shown {
        message: Message { text, blocks },
        left_out,
    })
}

/// What a change of status says in the thread, as Markdown.
pub(super) fn status_text(status: TicketStatus, summary: Option<&str>) -> String {
    match summary {
        None => format!("Status: **{status}**"),
        Some(summary) => format!("Status: **{status}**\n\n{summary}"),
    }
}

/// What `integration.test` posts.
pub(super) fn test() -> Message {
    let text = "A test message of Ticketwire. It can be deleted.".to_owned();
    Message {
        blocks: sections("test", &text).0,
        text,
    }
}

/// Sections for a text, and whether all of it is in them.
fn sections(id: &str, text: &str) -> (Vec<Value>, bool) {
    let (texts, whole) = pieces(text, SECTION_MAX, SECTIONS_MAX);
    let sections = texts.iter().enumerate().map(|(number, text)| {
        json!({
            "type": "section", "block_id": format!("{id}-{number}"), "text": text_object(text),
        })
    });
    (sections.collect(), whole)
}

fn fact(label: &str, value: &str) -> Value {
    let (label, value) = (cut(&one_line(label), FACT_MAX), cut(value, FACT_MAX));
    text_object(&format!("*{label}*\n{value}"))
}

/// A text with marks. `verbatim`, or Slack looks for names in it: `@here` would call everybody, `#general` be a link.
fn text_object(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn name(person: &UserRef) -> String {
    person
        .full_name
        .clone()
        .or_else(|| person.email.clone())
        .unwrap_or_else(|| person.id.to_string())
}

/// Markdown as mrkdwn, and whether all of it is in there.
fn mrkdwn(markdown: &str) -> (String, bool) {
    Document::parse(markdown, READ_MAX).mrkdwn()
}

#[cfg(test)]
mod tests {
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
            labels: Map::new(),
        }
    }

    #[test]
    fn a_title_too_long_for_a_heading_is_whole_in_the_body() {
        let long = "word ".repeat(80);
        let shown = style().ticket(&ticket(&long, ""));

        let header = shown.message.blocks[0]["text"]["text"].as_str().unwrap();
        assert!(header.chars().count() <= HEADER_MAX && header.ends_with('…'));
        assert_eq!(shown.message.blocks[1]["text"]["text"], long.trim());
        assert!(shown.left_out.contains_key("title"));
        assert!(
            !style()
                .ticket(&ticket("short", ""))
                .left_out
                .contains_key("title")
        );
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
        for message in [&shown.message, &said.message, &test()] {
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
}
