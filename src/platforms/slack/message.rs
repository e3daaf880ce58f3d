//! How a ticket, a comment and a change of status look in Slack: Block Kit, with a plain text beside it for
//! notifications. Nothing here is a request.

use serde_json::{Map, Value, json};

use super::mrkdwn::{calm, cut, escape, mrkdwn, pieces};
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
