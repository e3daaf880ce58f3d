//! How a ticket, a comment and a change of status look in Slack: Block Kit, with a plain text
//! beside it for notifications. Nothing here is a request.

use serde_json::{Map, Value, json};

use crate::domain::{TicketStatus, TicketView, UserRef};
use crate::platforms::AdapterError;
use crate::platforms::mapping::FieldMap;
use crate::platforms::text::{Document, calm, cut, escape, one_line, pieces};

/// Block Kit limits (reference/block-kit).
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
/// Sections that a long text may fill: all blocks together fail near 13,000 characters
/// (`msg_blocks_too_long`).
const SECTIONS_MAX: usize = 3;
/// `chat.update` refuses a longer text (`msg_too_long`).
const TEXT_MAX: usize = 3_000;
/// Longest value of a fact, label included well below the 2,000 of a field.
const FACT_MAX: usize = 200;
const TAGS_MAX: usize = 1_000;
/// Characters of Markdown that are read: more than a message can show, whatever marks are in them.
const READ_MAX: usize = 16_000;
const URL_MAX: usize = 3_000;
/// The block with the heading.
pub(super) const TITLE: &str = "title";
/// What is said of a text that is not all there.
const CUT: &str = "cut: longer than a message of Slack";

/// What an integration may change of it.
pub(super) struct Style {
    /// The page of a ticket, with `{ticket_id}`.
    pub(super) ticket_url: Option<String>,
    /// Custom fields and their labels. One without a label goes by its own name.
    pub(super) labels: FieldMap,
}

/// A message, and what did not fit into it.
pub(super) struct Shown {
    text: String,
    blocks: Vec<Value>,
    pub(super) left_out: Map<String, Value>,
}

impl Shown {
    /// What all messages have in common. `chat.update` would look for names and links in the text
    /// by default, and what the others do by default is said as well: nobody is to be called by a
    /// text.
    pub(super) fn contents(&self) -> Value {
        json!({ "text": self.text, "blocks": self.blocks, "parse": "none", "link_names": false })
    }
}

impl Style {
    /// A ticket as the channel sees it.
    pub(super) fn ticket(&self, ticket: &TicketView) -> Shown {
        let mut left_out = Map::new();
        let title = one_line(&ticket.title);
        let mut blocks = vec![json!({
            "type": "header", "block_id": TITLE,
            "text": { "type": "plain_text", "text": cut(&title, HEADER_MAX), "emoji": false },
        })];
        if title.chars().count() > HEADER_MAX {
            blocks.extend(sections("title-whole", &escape(&title)).0);
            let text = format!("cut in the heading to {HEADER_MAX} characters; whole below it");
            left_out.insert("title".into(), text.into());
        }
        let (description, read) = Document::parse(&ticket.description, READ_MAX).mrkdwn();
        let (sections, whole) = sections("desc", &description);
        blocks.extend(sections);
        if !(read && whole) {
            left_out.insert("description".into(), CUT.into());
        }
        let (facts, more) = self.facts(ticket);
        blocks.push(json!({ "type": "section", "block_id": "facts", "fields": facts }));
        if more > 0 {
            let text = format!("{more} left out: a message of Slack has {FIELDS_MAX} fields");
            left_out.insert("custom_fields".into(), text.into());
        }
        if !ticket.tags.is_empty() {
            let elements = [text_object(&tags(&ticket.tags))];
            blocks.push(json!({ "type": "context", "block_id": "tags", "elements": elements }));
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
        let title = cut(&title, TEXT_MAX - 50);
        let text = format!("{title} ({}, {})", ticket.priority, ticket.status);
        Shown {
            text: calm(&text),
            blocks,
            left_out,
        }
    }

    /// What is known beside the text, and how many custom fields were left out.
    fn facts(&self, ticket: &TicketView) -> (Vec<Value>, usize) {
        let mut facts = vec![
            fact("Status", ticket.status.as_str()),
            fact("Priority", ticket.priority.as_str()),
            fact("Category", ticket.category.as_str()),
            fact("Urgency", ticket.urgency.as_str()),
        ];
        let (assignee, requester) = (ticket.assigned_to.as_ref(), ticket.created_by.as_ref());
        let more = [
            ("Department", ticket.department.clone()),
            ("Assignee", assignee.map(name)),
            ("Requester", requester.map(name)),
        ];
        let more = more
            .into_iter()
            .filter_map(|(label, value)| Some(fact(label, &value?)));
        facts.extend(more);
        let free = FIELDS_MAX - facts.len();
        for (field, value) in ticket.custom_fields.iter().take(free) {
            let text = value.as_str().map(str::to_owned);
            let value = text.unwrap_or_else(|| value.to_string());
            facts.push(fact(self.labels.theirs(field).unwrap_or(field), &value));
        }
        (facts, ticket.custom_fields.len().saturating_sub(free))
    }

    fn link(&self, ticket: &TicketView) -> Option<String> {
        let url = self.ticket_url.as_deref()?;
        let url = url.replace("{ticket_id}", &ticket.id.to_string());
        (url.len() <= URL_MAX).then_some(url)
    }
}

/// The heading of a ticket's message as a listing shows it: a text in which nothing is escaped.
pub(super) fn heading(title: &str) -> String {
    unescaped(&cut(&one_line(title), HEADER_MAX))
}

/// A text of Slack's without its entities.
pub(super) fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

/// A reply in a thread, from Markdown. Slack refuses one that shows nothing.
pub(super) fn reply(field: &str, markdown: &str) -> Result<Shown, AdapterError> {
    let (text, read) = Document::parse(markdown, READ_MAX).mrkdwn();
    let (blocks, whole) = sections("reply", &text);
    if blocks.is_empty() {
        let fault = "shows nothing: there is no visible character in it, so Slack would refuse \
                     it; give it a text";
        return Err(AdapterError::field(field, fault));
    }
    let cut = (!(read && whole)).then(|| (field.to_owned(), Value::from(CUT)));
    Ok(Shown {
        text: calm(&pieces(&text, TEXT_MAX, 1).0.concat()),
        blocks,
        left_out: cut.into_iter().collect(),
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
pub(super) fn test() -> Shown {
    let text = "A test message of Ticketwire. It can be deleted.".to_owned();
    Shown {
        blocks: sections("test", &text).0,
        text,
        left_out: Map::new(),
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

/// Tags in a line, as many as it holds.
fn tags(tags: &[String]) -> String {
    let mut line = String::new();
    for tag in tags {
        let tag = format!("`{}`", escape(&tag.replace('`', "'")));
        if line.len() + tag.len() > TAGS_MAX {
            line.push('…');
            break;
        }
        line.push_str(&tag);
        line.push(' ');
    }
    line.trim_end().to_owned()
}

fn fact(label: &str, value: &str) -> Value {
    let (label, value) = (cut(&one_line(label), FACT_MAX), cut(value, FACT_MAX));
    text_object(&format!("*{label}*\n{value}"))
}

/// A text with marks. `verbatim`, or Slack looks for names in it: `@here` would call everybody,
/// `#general` be a link.
fn text_object(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn name(user: &UserRef) -> String {
    let name = user.full_name.as_ref().or(user.email.as_ref());
    name.cloned().unwrap_or_else(|| user.id.to_string())
}

#[cfg(test)]
mod tests;
