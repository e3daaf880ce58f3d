//! How a ticket and what happens to it look in Teams: Adaptive Cards of version 1.4, which all
//! clients show, and HTML. Nothing here is a request.
//!
//! Sources: adaptivecards.io/explorer; learn.microsoft.com "Format cards in Teams",
//! graph/api/channel-post-messages (a card is JSON as text there, to which the body points).

use serde_json::{Map, Value, json};

use super::facts::{DESCRIPTION_MAX, FLOW_BYTES, GRAPH_BYTES, TEXT_MAX};
use super::words::CARD;
use crate::domain::{Priority, TicketStatus, TicketView, UserRef};
use crate::platforms::mapping::FieldMap;
use crate::platforms::text::{Allowed, Document, Marker, Max, card_text, fit, one_line};
use crate::platforms::{AdapterError, File};

/// Longest title that a ticket can have.
const TITLE_MAX: usize = 500;
/// Longest label and value of a fact, and longest line of tags.
const LABEL_MAX: usize = 100;
const VALUE_MAX: usize = 200;
const TAGS_MAX: usize = 500;
/// Bytes that all facts of custom fields may take.
const CUSTOM_BYTES: usize = 4_000;
/// Bytes of a message beside its card.
const AROUND: usize = 600;
/// What is said of a text that is not all there.
const CUT: &str = "cut: longer than a message of Teams";

/// What an integration may change of it.
pub(super) struct Style {
    /// The page of a ticket, with `{ticket_id}`.
    pub(super) ticket_url: Option<String>,
    /// Custom fields and their labels. One without a label goes by its own name.
    pub(super) labels: FieldMap,
    /// How a card is sent, which decides how long it may be.
    pub(super) carrier: Carrier,
}

/// How a card is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Flow,
    Graph,
}

impl Carrier {
    /// Bytes that a card takes in a message, and how many there may be.
    fn bytes(self, card: &Value) -> (usize, usize) {
        let text = card.to_string();
        match self {
            Self::Flow => (text.len(), FLOW_BYTES - AROUND),
            // The subject says the title once more.
            Self::Graph => {
                let subject = 4 * TITLE_MAX;
                let escaped = Value::from(text).to_string();
                (escaped.len(), GRAPH_BYTES - AROUND - subject)
            }
        }
    }
}

/// A card, and what did not fit into it.
pub(super) struct Shown {
    pub(super) card: Value,
    pub(super) left_out: Map<String, Value>,
}

impl Style {
    /// A ticket as the channel sees it; `news` stands below its title.
    pub(super) fn ticket(&self, ticket: &TicketView, news: Option<&str>, marker: &str) -> Shown {
        let mut left_out = Map::new();
        let (facts, more) = self.facts(ticket);
        if more > 0 {
            let text = format!("{more} cut: more than a card of Teams holds");
            left_out.insert("custom_fields".into(), text.into());
        }
        let head = head(&ticket.title, ticket.priority, news);
        let tail = [json!({ "type": "FactSet", "facts": facts })];
        let text = Document::parse(&ticket.description, DESCRIPTION_MAX);
        let (card, whole) = self.card(ticket, (&head, &tail), &text, marker, None);
        if !whole {
            left_out.insert("description".into(), CUT.into());
        }
        Shown { card, left_out }
    }

    /// What happened to a ticket, as a card of its own: what in a few words, and a text of `field`.
    pub(super) fn note(
        &self,
        ticket: &TicketView,
        what: &str,
        (field, markdown): (&str, &str),
        marker: &str,
    ) -> Shown {
        let head = head(&ticket.title, ticket.priority, Some(what));
        let text = Document::parse(markdown, TEXT_MAX);
        let (card, whole) = self.card(ticket, (&head, &[]), &text, marker, None);
        let cut = (!whole).then(|| (field.to_owned(), Value::from(CUT)));
        Shown {
            card,
            left_out: cut.into_iter().collect(),
        }
    }

    /// The address of a file.
    pub(super) fn file(&self, ticket: &TicketView, file: &File, url: &str, marker: &str) -> Shown {
        let what = format!("File: {}", one_line(&file.name));
        let head = head(&ticket.title, ticket.priority, Some(&what));
        let open = json!({ "type": "Action.OpenUrl", "title": "Open file", "url": url });
        let text = Document::parse("", 0);
        let (card, _) = self.card(ticket, (&head, &[]), &text, marker, Some(open));
        Shown {
            card,
            left_out: Map::new(),
        }
    }

    /// A card whose text is cut to what the message holds; and whether all of it is in there.
    fn card(
        &self,
        ticket: &TicketView,
        (head, tail): (&[Value], &[Value]),
        text: &Document,
        marker: &str,
        action: Option<Value>,
    ) -> (Value, bool) {
        let mark = fit("", Max::Chars(100), Some(Marker::Line(marker))).0;
        let hidden = json!({ "type": "TextBlock", "isVisible": false, "text": mark });
        let actions: Vec<Value> = action.into_iter().chain(self.link(ticket)).collect();
        let build = |text: &[Value]| {
            let body = head.iter().chain(text).chain(tail).chain([&hidden]);
            let mut card = json!({
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4", "msteams": { "width": "Full" },
                "body": body.cloned().collect::<Vec<_>>(),
            });
            if !actions.is_empty() {
                card["actions"] = actions.clone().into();
            }
            card
        };
        let (bare, max) = self.carrier.bytes(&build(&[]));
        let mut left = max.saturating_sub(bare);
        loop {
            let (elements, whole) = text.card(Max::Bytes(left));
            let card = build(&elements);
            let (taken, _) = self.carrier.bytes(&card);
            if taken <= max || left == 0 {
                return (card, whole);
            }
            left = left.saturating_sub((taken - max).max(left / 16));
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
        let more = [
            ("Department", ticket.department.clone()),
            ("Assignee", ticket.assigned_to.as_ref().map(name)),
            ("Requester", ticket.created_by.as_ref().map(name)),
        ];
        let more = more.into_iter();
        facts.extend(more.filter_map(|(label, value)| Some(fact(label, &value?))));
        if !ticket.tags.is_empty() {
            let (tags, _) = card_text(&one_line(&ticket.tags.join(", ")), Max::Chars(TAGS_MAX));
            facts.push(json!({ "title": "Tags", "value": tags }));
        }
        let (mut bytes, mut left_out) = (0, 0);
        for (field, value) in &ticket.custom_fields {
            let text = value.as_str().map(str::to_owned);
            let value = text.unwrap_or_else(|| value.to_string());
            let fact = fact(self.labels.theirs(field).unwrap_or(field), &value);
            bytes += fact.to_string().len();
            if bytes <= CUSTOM_BYTES {
                facts.push(fact);
            } else {
                left_out += 1;
            }
        }
        (facts, left_out)
    }

    fn link(&self, ticket: &TicketView) -> Option<Value> {
        let url = self.ticket_url.as_deref()?;
        let url = url.replace("{ticket_id}", &ticket.id.to_string());
        Some(json!({ "type": "Action.OpenUrl", "title": "Open ticket", "url": url }))
    }
}

/// The title, in the colour of the priority, and what is new.
fn head(title: &str, priority: Priority, news: Option<&str>) -> Vec<Value> {
    let (title, _) = card_text(&one_line(title), Max::Chars(2 * TITLE_MAX));
    let mut title = json!({
        "type": "TextBlock", "size": "Large", "weight": "Bolder", "wrap": true, "text": title,
    });
    let color = match priority {
        Priority::Low => Some("Good"),
        Priority::Medium => None,
        Priority::High => Some("Warning"),
        Priority::Critical => Some("Attention"),
    };
    if let Some(color) = color {
        title["color"] = color.into();
    }
    let news = news.map(|news| {
        let (news, _) = card_text(&one_line(news), Max::Chars(2 * VALUE_MAX));
        json!({ "type": "TextBlock", "weight": "Bolder", "wrap": true, "text": news })
    });
    [title].into_iter().chain(news).collect()
}

fn fact(label: &str, value: &str) -> Value {
    let (label, _) = card_text(&one_line(label), Max::Chars(LABEL_MAX));
    let (value, _) = card_text(&one_line(value), Max::Chars(VALUE_MAX));
    json!({ "title": label, "value": value })
}

/// What people are called.
pub(super) fn name(user: &UserRef) -> String {
    let name = user.full_name.as_ref().or(user.email.as_ref());
    name.cloned().unwrap_or_else(|| user.id.to_string())
}

/// What a change of status says, as Markdown.
pub(super) fn status_text(status: TicketStatus, summary: Option<&str>) -> String {
    match summary {
        None => format!("Status: **{status}**"),
        Some(summary) => format!("Status: **{status}**\n\n{summary}"),
    }
}

/// A card as a flow takes it.
pub(super) fn flow_body(card: &Value) -> Value {
    json!({
        "type": "message",
        "attachments": [{ "contentType": CARD, "contentUrl": null, "content": card }],
    })
}

/// A ticket's card as Graph takes it: whole each time, as a change replaces all.
pub(super) fn graph_body(ticket: &TicketView, card: &Value) -> Value {
    let id = ticket.id.to_string().replace('-', "");
    let content = format!("<attachment id=\"{id}\"></attachment>");
    json!({
        "subject": subject(&ticket.title),
        "body": { "contentType": "html", "content": content },
        "attachments": [{
            "id": id, "contentType": CARD, "contentUrl": null, "content": card.to_string(),
            "name": null, "thumbnailUrl": null,
        }],
        "mentions": [],
    })
}

/// The bold line above a message: no markup is read in it.
pub(super) fn subject(title: &str) -> String {
    fit(&one_line(title), Max::Chars(TITLE_MAX), None).0
}

/// A reply as Graph takes it, from Markdown of `field`.
///
/// # Errors
/// Class validation, where it shows nothing.
pub(super) fn reply(
    field: &str,
    markdown: &str,
    marker: &str,
) -> Result<(Value, Map<String, Value>), AdapterError> {
    let text = Document::parse(markdown, TEXT_MAX);
    if text.shows_nothing() {
        let fault = "shows nothing: there is no visible character in it; give it a text";
        return Err(AdapterError::field(field, fault));
    }
    let mut left = GRAPH_BYTES - AROUND;
    let max = left;
    loop {
        let line = Some(Marker::Line(marker));
        let (html, whole) = text.html(Allowed::Teams, Max::Bytes(left), line);
        let body = json!({ "body": { "contentType": "html", "content": html } });
        let taken = body.to_string().len();
        if taken <= max || left == 0 {
            let cut = (!whole).then(|| (field.to_owned(), Value::from(CUT)));
            return Ok((body, cut.into_iter().collect()));
        }
        left = left.saturating_sub((taken - max).max(left / 16));
    }
}

/// What `integration.test` posts by a flow.
pub(super) fn test(text: &str) -> Value {
    let (text, _) = card_text(text, Max::Chars(VALUE_MAX));
    let line = json!({ "type": "TextBlock", "wrap": true, "text": text });
    json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard", "version": "1.4", "body": [line],
    })
}
