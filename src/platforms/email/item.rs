//! How a ticket and what becomes of it look in a mail: the same in plain text and in HTML. Nothing
//! here is a header.

use serde_json::{Map, Value};

use super::super::text::{Allowed, Document, Max, escaped, title};
use super::super::{File, Operation};
use super::settings::Words;
use super::thread::shows_title;
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView, UserRef};

/// Characters of a description or comment that are read.
pub(super) const TEXT_MAX: usize = 100_000;
/// Characters that are made of one, for each of the two forms.
const MADE_MAX: usize = 400_000;
/// Characters of a fact.
const FACT_MAX: usize = 500;
/// Custom fields that are shown.
const FIELDS_MAX: usize = 50;
/// Bytes of a file from which on it is linked to, where it has an address: most servers take 10 MB
/// with its encoding, and mailboxes have better things to keep.
const FILE_MAX: u64 = 7_000_000;

/// What a mail says.
pub(super) struct Contents {
    pub(super) text: String,
    pub(super) html: String,
    /// What of the ticket is not in it, by field, with the reason.
    pub(super) left_out: Map<String, Value>,
    /// Whether the file is in the mail.
    pub(super) has_file: bool,
}

/// A mail before it is in a form.
#[derive(Default)]
struct Page {
    /// A line at the top.
    lead: Option<String>,
    facts: Vec<(String, String)>,
    /// A field of ours and its Markdown.
    body: Option<(&'static str, String)>,
    /// Where something can be had: what it is called, and its address.
    link: Option<(String, String)>,
    left_out: Map<String, Value>,
}

/// What the mail of an operation says.
pub(super) fn contents(words: &Words, operation: &Operation<'_>) -> Contents {
    let mut has_file = false;
    let page = match operation {
        Operation::Create { ticket, .. } => created(words, ticket),
        Operation::Update { ticket, patch, .. } => updated(words, ticket, patch),
        Operation::Status {
            status,
            resolution_summary,
            ..
        } => Page {
            lead: Some(format!("The ticket is now: {}", status_of(words, *status))),
            body: resolution_summary.map(|text| ("resolution_summary", text.to_owned())),
            ..Page::default()
        },
        Operation::Assign { assignee, .. } => Page {
            lead: Some(match assignee {
                Some(person) => format!("The ticket is assigned to {}.", name(person)),
                None => "The ticket is assigned to nobody.".to_owned(),
            }),
            ..Page::default()
        },
        Operation::Comment { body, public, .. } => Page {
            lead: Some(
                if *public {
                    "Comment:"
                } else {
                    "Internal comment:"
                }
                .to_owned(),
            ),
            body: Some(("body", (*body).to_owned())),
            ..Page::default()
        },
        Operation::Attach { file, .. } => {
            has_file = !is_linked(file);
            attached(file)
        }
        // The driver makes a change of status of it.
        Operation::Delete { .. } => Page::default(),
    };
    page.drawn(has_file)
}

/// What `integration.test` sends.
pub(super) fn test() -> Contents {
    let page = Page {
        lead: Some(
            "This is a test of Ticketwire. No ticket stands behind it; the mail can be deleted."
                .to_owned(),
        ),
        ..Page::default()
    };
    page.drawn(false)
}

fn created(words: &Words, ticket: &TicketView) -> Page {
    let mut page = Page::default();
    if !shows_title(ticket) {
        page.fact("Title", &ticket.title);
    }
    page.fact("Status", &status_of(words, ticket.status));
    page.fact("Priority", &priority_of(words, ticket.priority));
    page.fact("Urgency", &priority_of(words, ticket.urgency));
    page.fact("Category", &category_of(words, ticket.category));
    if let Some(department) = &ticket.department {
        page.fact("Department", department);
    }
    if let Some(person) = &ticket.assigned_to {
        page.fact("Assignee", &name(person));
    }
    if let Some(person) = &ticket.created_by {
        page.fact("Requester", &name(person));
    }
    if !ticket.tags.is_empty() {
        page.fact("Tags", &ticket.tags.join(", "));
    }
    page.custom_fields(words, &ticket.custom_fields);
    page.body = Some(("description", ticket.description.clone()));
    page
}

fn updated(words: &Words, ticket: &TicketView, patch: &TicketPatch) -> Page {
    let mut page = Page {
        lead: Some("The ticket was changed:".to_owned()),
        ..Page::default()
    };
    if patch.title.is_some() {
        page.fact("Title", &ticket.title);
    }
    if let Some(category) = patch.category {
        page.fact("Category", &category_of(words, category));
    }
    if let Some(priority) = patch.priority {
        page.fact("Priority", &priority_of(words, priority));
    }
    if let Some(urgency) = patch.urgency {
        page.fact("Urgency", &priority_of(words, urgency));
    }
    if let Some(department) = &patch.department {
        page.fact("Department", department);
    }
    if let Some(tags) = &patch.tags {
        let tags = tags.join(", ");
        page.fact("Tags", if tags.is_empty() { "none" } else { &tags });
    }
    if let Some(fields) = &patch.custom_fields {
        page.custom_fields(words, fields);
    }
    if patch.description.is_some() {
        page.body = Some(("description", ticket.description.clone()));
    }
    page
}

fn attached(file: &File) -> Page {
    let mut page = Page {
        lead: Some("A file was attached to the ticket:".to_owned()),
        ..Page::default()
    };
    page.fact("File", &file.name);
    page.fact("Size", &format!("{} bytes", file.size));
    if is_linked(file)
        && let Some(url) = &file.url
    {
        page.link = Some((file.name.clone(), url.to_string()));
        let said = format!("linked to, not in the mail: it is bigger than {FILE_MAX} bytes");
        page.left_out.insert("file".into(), said.into());
    }
    page
}

/// Whether a file is too big for a mail and can be had elsewhere.
fn is_linked(file: &File) -> bool {
    file.size > FILE_MAX && file.url.is_some()
}

impl Page {
    fn fact(&mut self, label: &str, value: &str) {
        let value = one_line(value, FACT_MAX);
        if !value.is_empty() {
            self.facts.push((one_line(label, FACT_MAX), value));
        }
    }

    fn custom_fields(&mut self, words: &Words, fields: &Map<String, Value>) {
        for (field, value) in fields.iter().take(FIELDS_MAX) {
            let label = words.labels.get(field).and_then(Value::as_str);
            let value = match value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.fact(label.unwrap_or(field), &value);
        }
        let more = fields.len().saturating_sub(FIELDS_MAX);
        if more > 0 {
            let text = format!("{more} left out: a mail shows {FIELDS_MAX}");
            self.left_out.insert("custom_fields".into(), text.into());
        }
    }

    /// Both forms of it.
    fn drawn(mut self, has_file: bool) -> Contents {
        let (mut text, mut html) = (Vec::new(), Vec::new());
        if let Some(lead) = &self.lead {
            let lead = one_line(lead, FACT_MAX);
            html.push(format!("<p>{}</p>", escaped(&lead)));
            text.push(lead);
        }
        if !self.facts.is_empty() {
            let lines: Vec<String> = self
                .facts
                .iter()
                .map(|(label, value)| format!("{label}: {value}"))
                .collect();
            text.push(lines.join("\n"));
            let rows: String = self
                .facts
                .iter()
                .map(|(label, value)| {
                    let (label, value) = (escaped(label), escaped(value));
                    format!("<tr><td><strong>{label}</strong></td><td>{value}</td></tr>\n")
                })
                .collect();
            html.push(format!("<table>\n{rows}</table>"));
        }
        if let Some((label, url)) = &self.link {
            text.push(url.clone());
            let (label, url) = (escaped(&one_line(label, FACT_MAX)), escaped(url));
            html.push(format!("<p><a href=\"{url}\">{label}</a></p>"));
        }
        if let Some((field, markdown)) = &self.body {
            let document = Document::parse(markdown, TEXT_MAX);
            let (plain, all_plain) = document.plain(Max::Chars(MADE_MAX), None);
            let (drawn, all_drawn) = document.html(Allowed::Full, Max::Chars(MADE_MAX), None);
            if !(all_plain && all_drawn) {
                let said = "cut: longer than a mail shows";
                self.left_out.insert((*field).into(), said.into());
            }
            text.push(plain);
            html.push(drawn);
        }
        let begin = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>";
        Contents {
            text: format!("{}\n", text.join("\n\n")),
            html: format!("{begin}\n{}\n</body></html>\n", html.join("\n")),
            left_out: self.left_out,
            has_file,
        }
    }
}

/// A text in one line without what cannot be seen, cut.
fn one_line(text: &str, characters_max: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(visible).collect();
    title(&text, Max::Chars(characters_max)).0
}

/// A word of ours as people read it.
fn word(mapped: Option<&str>, own: &str) -> String {
    mapped.map_or_else(|| own.replace('_', " "), str::to_owned)
}

fn status_of(words: &Words, status: TicketStatus) -> String {
    word(words.status.out(status), status.as_str())
}

fn priority_of(words: &Words, priority: Priority) -> String {
    word(words.priority.out(priority), priority.as_str())
}

fn category_of(words: &Words, category: TicketCategory) -> String {
    word(words.category.out(category), category.as_str())
}

fn name(person: &UserRef) -> String {
    person
        .full_name
        .clone()
        .or_else(|| person.email.clone())
        .unwrap_or_else(|| person.id.to_string())
}
