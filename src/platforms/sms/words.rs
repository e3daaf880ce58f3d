//! What a message says: one line, the most important first, its reference last. Nothing in it is
//! live: it is plain text, without marks, line breaks or signs that turn its direction.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::{Priority, TicketPatch, TicketView, UserRef};
use crate::platforms::text::{Document, Marker, Max, ascii_punctuation, fit, segments};
use crate::platforms::{File, Operation};

/// Hexadecimal digits of a ticket's reference, and of what a command adds to it.
const TICKET: usize = 8;
const COMMAND: usize = 4;
/// Parts a title from what follows it: no title has two blanks in it.
const APART: &str = "  ";
/// Characters of Markdown that are made into text.
const READ_MAX: usize = 4_000;
/// Pictures that every phone shows (Twilio, "Accepted content types for media").
const PICTURES: [&str; 3] = ["image/jpeg", "image/png", "image/gif"];
/// Bytes of one.
const PICTURE_MAX: u64 = 5_000_000;

/// A message before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) body: String,
    /// What of the ticket is not in it, by field, with the reason.
    pub(super) left_out: Map<String, Value>,
}

/// The beginning of a digest, in hexadecimal.
fn digest(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(Sha256::digest(text));
    hex.truncate(digits);
    hex
}

/// A ticket's reference, by the mark of its create.
pub(super) fn reference(mark: &str) -> String {
    digest(mark, TICKET)
}

/// The reference that an item remembers, or the ticket's.
fn of_ticket(ticket: &TicketView) -> String {
    let known = ticket.external_ref.get("ref").and_then(Value::as_str);
    let known = known.filter(|text| is_reference(text));
    known.map_or_else(|| reference(&format!("tkt-{}", ticket.id)), str::to_owned)
}

/// What an operation's message ends with.
pub(super) fn tail(operation: &Operation<'_>) -> String {
    let mark = operation.key().marker;
    match operation {
        Operation::Create { .. } => format!("#{}", reference(mark)),
        _ => {
            let ticket = of_ticket(operation.ticket());
            format!("#{ticket}/{}", digest(mark, COMMAND))
        }
    }
}

/// Whether a text is a ticket's reference.
pub(super) fn is_reference(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == TICKET && text.bytes().all(fits)
}

/// The reference that a message of ours ends with, and whether it is the ticket's first message.
pub(super) fn ending(body: &str) -> Option<(&str, bool)> {
    let (_, tail) = body.trim_end().rsplit_once('#')?;
    match tail.split_once('/') {
        None => is_reference(tail).then_some((tail, true)),
        Some((ticket, command)) => {
            let is_command =
                command.len() == COMMAND && command.bytes().all(|b| b.is_ascii_hexdigit());
            (is_command && is_reference(ticket)).then_some((ticket, false))
        }
    }
}

/// The reference that somebody quotes, in any case of its letters.
pub(super) fn quoted(text: &str) -> Option<String> {
    text.split('#').skip(1).find_map(|rest| {
        let digits = rest.get(..TICKET)?.to_ascii_lowercase();
        let ends = rest[TICKET..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric());
        (ends && is_reference(&digits)).then_some(digits)
    })
}

/// The title in a message that shows the ticket; `None` of one that says what became of it.
pub(super) fn title_of(body: &str) -> Option<String> {
    let (line, _) = body.trim_end().rsplit_once(" #")?;
    let (begin, rest) = line.split_once(": ")?;
    let (priority, _) = begin.split_once(' ')?;
    Priority::parse(&priority.to_lowercase()).filter(|_| priority == priority.to_uppercase())?;
    let title = rest.split(APART).next().unwrap_or(rest);
    Some(title.to_owned())
}

/// A text in one line: punctuation as ASCII, and nothing that cannot be seen.
fn line(text: &str) -> String {
    let turns = |c: char| {
        matches!(c,
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let text: String = text.chars().filter(|c| !turns(*c)).collect();
    ascii_punctuation(&text)
}

fn word(own: &str) -> String {
    own.replace('_', " ")
}

fn name(person: &UserRef) -> String {
    let name = person.full_name.as_deref().map(line);
    let name = name.filter(|name| !name.is_empty());
    name.or_else(|| person.email.clone())
        .unwrap_or_else(|| person.id.to_string())
}

/// `HIGH open: Printer on fire`.
fn head(ticket: &TicketView) -> String {
    let priority = ticket.priority.as_str().to_uppercase();
    format!(
        "{priority} {}: {}",
        word(ticket.status.as_str()),
        line(&ticket.title)
    )
}

/// Who has it, behind the title.
fn holder(ticket: &TicketView) -> Option<String> {
    let person = ticket.assigned_to.as_ref()?;
    Some(format!("{APART}- {}", name(person)))
}

/// How a file is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// By Twilio, which fetches it from here.
    Media(String),
    /// As an address in the text.
    Link(String),
    /// Not at all: it has no address.
    Nowhere,
}

/// How a file is sent to a number: pictures go by MMS to the US and Canada.
pub(super) fn sent(file: &File, to: &str) -> Sent {
    let Some(url) = &file.url else {
        return Sent::Nowhere;
    };
    let is_picture = PICTURES.contains(&file.media_type.as_str()) && file.size <= PICTURE_MAX;
    if to.starts_with("+1") && is_picture && url.scheme() == "https" {
        Sent::Media(url.to_string())
    } else {
        Sent::Link(url.to_string())
    }
}

/// A message's parts.
struct Parts {
    /// Cut at its end, where there is no room for it.
    head: String,
    /// Which field of ours `head` ends with.
    field: &'static str,
    /// Dropped from the last on: the field, and what is said.
    middle: Vec<(&'static str, String)>,
}

/// What the message of an operation says, in at most so many segments; `None` where it cannot be
/// said in them.
pub(super) fn text(operation: &Operation<'_>, to: &str, segments_max: usize) -> Option<Text> {
    let ticket = operation.ticket();
    let mut left_out = Map::new();
    let mut middle = Vec::new();
    let (head, field) = match operation {
        Operation::Create { .. } => {
            middle.extend(holder(ticket).map(|text| ("assigned_to_id", text)));
            not_sent(ticket, &mut left_out);
            (head(ticket), "title")
        }
        Operation::Update { patch, .. } => {
            middle.extend(unseen(patch).map(|text| ("changes", text)));
            middle.extend(holder(ticket).map(|text| ("assigned_to_id", text)));
            (head(ticket), "title")
        }
        Operation::Status {
            status,
            resolution_summary,
            ..
        } => {
            let before = (ticket.status != *status).then(|| word(ticket.status.as_str()) + " ");
            let (before, status) = (before.unwrap_or_default(), word(status.as_str()));
            let head = format!("{before}-> {status}: {}", line(&ticket.title));
            match resolution_summary {
                None => (head, "title"),
                Some(summary) => {
                    let (summary, whole) = plain(summary, segments_max);
                    if !whole {
                        cut(&mut left_out, "resolution_summary", segments_max);
                    }
                    (format!("{head} - {summary}"), "resolution_summary")
                }
            }
        }
        Operation::Assign { assignee, .. } => {
            let title = line(&ticket.title);
            let head = match assignee {
                Some(person) => format!("Assigned to {}: {title}", name(person)),
                None => format!("Unassigned: {title}"),
            };
            (head, "title")
        }
        Operation::Comment { body, public, .. } => {
            let (said, whole) = plain(body, segments_max);
            if !whole {
                cut(&mut left_out, "body", segments_max);
            }
            let kind = if *public { "Note" } else { "Internal note" };
            (format!("{kind}: {said}"), "body")
        }
        Operation::Attach { file, .. } => {
            return attached(file, to, &tail(operation), segments_max);
        }
        // The driver makes a change of status of it.
        Operation::Delete { .. } => (line(&ticket.title), "title"),
    };
    let parts = Parts {
        head,
        field,
        middle,
    };
    let body = parts.put(&tail(operation), segments_max, &mut left_out);
    Some(Text { body, left_out })
}

/// What a short message has no room for.
fn not_sent(ticket: &TicketView, left_out: &mut Map<String, Value>) {
    let why = "not sent: a short message shows status, priority, title and assignee";
    for (field, is_there) in [
        ("description", !ticket.description.trim().is_empty()),
        ("tags", !ticket.tags.is_empty()),
        ("custom_fields", !ticket.custom_fields.is_empty()),
    ] {
        if is_there {
            left_out.insert(field.to_owned(), why.into());
        }
    }
}

/// What of a change the line does not show: its names alone.
fn unseen(patch: &TicketPatch) -> Option<String> {
    let shown = ["title", "priority"];
    let names = patch
        .changed()
        .into_iter()
        .filter(|name| !shown.contains(name));
    let names: Vec<String> = names.map(word).collect();
    (!names.is_empty()).then(|| format!("{APART}(changed: {})", names.join(", ")))
}

/// Markdown as one line, no longer than a message may be, and whether all of it is there.
fn plain(markdown: &str, segments_max: usize) -> (String, bool) {
    let document = Document::parse(markdown, READ_MAX);
    let (text, whole) = document.plain(Max::Segments(segments_max), None);
    (line(&text), whole)
}

fn cut(left_out: &mut Map<String, Value>, field: &str, segments_max: usize) {
    let said = format!("cut: a message has {segments_max} segments (settings.max_segments)");
    left_out.insert(field.to_owned(), said.into());
}

/// A file by its address, which is whole or not there at all.
fn attached(file: &File, to: &str, tail: &str, segments_max: usize) -> Option<Text> {
    let name = line(&file.name);
    let bodies = match sent(file, to) {
        Sent::Media(_) => {
            let (named, _) = fit(
                &format!("File {name}"),
                Max::Segments(segments_max),
                Some(Marker::Tail(tail)),
            );
            vec![named]
        }
        Sent::Link(url) => vec![
            format!("File {name}: {url} {tail}"),
            format!("File: {url} {tail}"),
        ],
        Sent::Nowhere => Vec::new(),
    };
    let body = bodies
        .into_iter()
        .find(|body| segments(body) <= segments_max)?;
    Some(Text {
        body,
        left_out: Map::new(),
    })
}

impl Parts {
    /// The message: as many parts as there is room for, and the reference whole.
    fn put(self, tail: &str, segments_max: usize, left_out: &mut Map<String, Value>) -> String {
        for count in (0..=self.middle.len()).rev() {
            let kept = self
                .middle
                .iter()
                .take(count)
                .map(|(_, text)| text.as_str());
            let body = format!("{}{} {tail}", self.head, kept.collect::<String>());
            if segments(&body) <= segments_max {
                for (field, _) in self.middle.iter().skip(count) {
                    left_out.insert((*field).to_owned(), "not sent: no room for it".into());
                }
                return body;
            }
        }
        for (field, _) in &self.middle {
            left_out.insert((*field).to_owned(), "not sent: no room for it".into());
        }
        cut(left_out, self.field, segments_max);
        let max = Max::Segments(segments_max);
        fit(&self.head, max, Some(Marker::Tail(tail))).0
    }
}
