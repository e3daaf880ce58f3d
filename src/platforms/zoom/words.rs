//! Zoom's answers as types, and how a ticket, a comment and a change of status look in a channel.
//! Nothing here is a request.
//!
//! A message is plain text; which parts of a new one are bold or lead somewhere is said beside it,
//! by positions. A change takes the text alone, so a message that was changed shows the addresses
//! of its links. Nobody is mentioned by a text: Zoom mentions those whom `at_items` names.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::facts::{MESSAGE_MAX, READ_MAX, is_message_id};
use crate::domain::{TicketStatus, TicketView, UserRef};
use crate::platforms::text::{Document, Format, Marker, Max, Range, fit, one_line, title};
use crate::platforms::{Actor, ExternalComment, ExternalFile, ItemRef, Receipt};

const MAX: Max = Max::Utf16(MESSAGE_MAX);
/// Of a title, of a name, of all tags, and of an address that is shown.
const TITLE_MAX: Max = Max::Utf16(200);
const NAME_MAX: Max = Max::Utf16(60);
const TAGS_MAX: Max = Max::Utf16(150);
const URL_MAX: usize = 250;
/// Between facts of a line.
const APART: &str = " · ";
const NOT_SHOWN: &str = "not shown: there is no room for it in a message of Zoom";
const CUT: &str = "cut: a message of Zoom has 1,024 characters";
/// What a comment that is not public begins with.
pub(super) const INTERNAL: &str = "Internal comment:";

/// The id of what was made.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) id: String,
}

/// A file as a message shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SharedFile {
    file_id: Option<String>,
    #[serde(default)]
    pub(super) file_name: String,
    pub(super) file_size: Option<u64>,
}

/// A message as a listing, a thread or its own address shows it; each has names of its own.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Message {
    #[serde(alias = "msg_id")]
    pub(super) id: String,
    #[serde(rename = "message")]
    text: Option<String>,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
    /// An e-mail address.
    #[serde(alias = "sender_email")]
    sender: Option<String>,
    sender_user_id: Option<String>,
    sender_display_name: Option<String>,
    /// Of a reply, what it replies to.
    #[serde(rename = "reply_main_message_id")]
    pub(super) root: Option<String>,
    pub(super) message_url: Option<String>,
    status: Option<String>,
    #[serde(default)]
    pub(super) files: Vec<SharedFile>,
}

impl Message {
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    pub(super) fn at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.timestamp?)
    }

    pub(super) fn marker(&self) -> Option<&str> {
        Marker::find(self.text())
    }

    /// Whether it is there still: some listings show what was deleted.
    pub(super) fn is_there(&self) -> bool {
        self.status.as_deref() != Some("Deleted")
    }

    /// Whether it was posted by this user; `None` where one of the two is not known.
    pub(super) fn is_by(&self, me: &Identity) -> Option<bool> {
        let same = |theirs: Option<&str>, ours: Option<&str>| {
            let (theirs, ours) = theirs.zip(ours)?;
            Some(theirs.eq_ignore_ascii_case(ours))
        };
        let by_id = same(self.sender_user_id.as_deref(), me.id.as_deref());
        by_id.or_else(|| same(self.sender.as_deref(), me.email.as_deref()))
    }

    /// Who posted it.
    pub(super) fn author(&self) -> Actor {
        Actor {
            id: self.sender_user_id.clone().or_else(|| self.sender.clone()),
            name: self.sender_display_name.clone(),
        }
    }

    pub(super) fn comment(&self) -> ExternalComment {
        comment(
            &self.id,
            self.text(),
            Some(self.author()),
            self.at().as_ref(),
        )
    }

    /// Its files; who fetches one needs an access token.
    pub(super) fn shared(&self) -> impl Iterator<Item = ExternalFile> {
        let files = self.files.iter();
        files.map(|file| ExternalFile {
            id: file.file_id.clone().unwrap_or_else(|| key_of(&self.id)),
            name: file.file_name.clone(),
            size: file.file_size,
            ..ExternalFile::default()
        })
    }
}

/// Who the token acts as; nothing is known of whom the app may not read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Identity {
    pub(super) id: Option<String>,
    pub(super) email: Option<String>,
}

/// A channel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<u8>,
}

/// A message by what a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageRef {
    pub(super) channel: String,
    pub(super) id: String,
}

impl MessageRef {
    pub(super) fn new(channel: &str, id: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            id: id.to_owned(),
        }
    }

    /// Whether these can be a channel and a message.
    pub(super) fn is_one(&self) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let has_channel = !self.channel.is_empty() && self.channel.bytes().all(fits);
        has_channel && is_message_id(&self.id)
    }

    /// By the id that people quote.
    pub(super) fn parse(external_id: &str) -> Option<Self> {
        let (channel, id) = external_id.split_once(':')?;
        Some(Self::new(channel, id)).filter(Self::is_one)
    }

    /// A ticket's message: as remembered, else by the id that people quote.
    pub(super) fn of(ticket: &TicketView) -> Option<Self> {
        let text = |name: &str| ticket.external_ref.get(name)?.as_str();
        let remembered = || Some(Self::new(text("channel_id")?, text("message_id")?));
        remembered()
            .filter(Self::is_one)
            .or_else(|| Self::parse(ticket.external_id.as_deref()?))
    }

    /// How the item is called.
    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: format!("{}:{}", self.channel, self.id),
            stable_id: Some(key_of(&self.id)),
        }
    }

    pub(super) fn receipt(&self) -> Receipt {
        let key = key_of(&self.id);
        let members = [
            ("channel_id", self.channel.as_str()),
            ("message_id", &self.id),
            ("key", &key),
        ];
        let members = members.map(|(name, text)| (name.to_owned(), Value::from(text)));
        Receipt {
            external_id: Some(self.item().external_id),
            external_ref: Map::from_iter(members),
            ..Receipt::default()
        }
    }
}

/// A message's id for comparisons: the API and webhooks write the same one in different cases.
pub(super) fn key_of(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// A reply as a comment. Everybody in the channel reads it.
pub(super) fn comment(
    id: &str,
    text: &str,
    author: Option<Actor>,
    at: Option<&DateTime<Utc>>,
) -> ExternalComment {
    ExternalComment {
        id: key_of(id),
        body: Marker::without(text).to_owned(),
        public: Some(true),
        author,
        created_at: at.copied(),
        marker: Marker::find(text).map(str::to_owned),
        ..ExternalComment::default()
    }
}

/// The title that a ticket's message shows.
pub(super) fn title_of(text: &str) -> Option<String> {
    let marker = Marker::find(text).filter(|marker| marker.starts_with("tkt-"))?;
    let line = text.lines().next()?;
    (!line.contains(marker)).then(|| line.to_owned())
}

/// The title as it is shown.
pub(super) fn title_sent(given: &str) -> (String, bool) {
    let (line, cut) = title(given, TITLE_MAX);
    (line, cut.is_none())
}

/// A moment as queries take it: whole seconds, or Zoom refuses it.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A message before it is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Text {
    pub(super) message: String,
    ranges: Vec<Range>,
    /// What of the ticket is not in it, by field, with the reason.
    pub(super) left_out: Map<String, Value>,
}

impl Text {
    /// The body of a new message.
    pub(super) fn body(&self, channel: &str) -> Value {
        let mut body = json!({ "message": self.message, "to_channel": channel });
        if !self.ranges.is_empty() {
            body["rich_text"] = self.ranges.iter().map(rich).collect();
        }
        body
    }
}

/// A format as Zoom names it.
fn rich(range: &Range) -> Value {
    let (kind, href) = match &range.format {
        Format::Bold => ("Bold", None),
        Format::Italic => ("Italic", None),
        Format::Strikethrough => ("Strikethrough", None),
        Format::Link(href) => ("AddLink", Some(href)),
    };
    let mut rich = json!({
        "start_position": range.start, "end_position": range.end, "format_type": kind,
    });
    if let Some(href) = href {
        rich["format_attr"] = href.as_str().into();
    }
    rich
}

/// Whether positions in a text, and behind it, are clear: see [`Document::ranges`].
fn is_narrow(text: &str) -> bool {
    text.chars().all(|c| c.len_utf16() == 1)
}

/// Markdown behind a head, with so many characters for it; whether all of it is there. Without
/// `is_new`, or behind what makes positions unclear, it is plain.
fn below(head: &str, markdown: &str, room: usize, is_new: bool) -> (String, Vec<Range>, bool) {
    let document = Document::parse(markdown, READ_MAX);
    if !is_new || !is_narrow(head) {
        let (text, whole) = document.plain(Max::Utf16(room), None);
        return (text, Vec::new(), whole);
    }
    let (text, mut ranges, whole) = document.ranges(Max::Utf16(room), None);
    let before = head.chars().count();
    for range in &mut ranges {
        range.start += before;
        range.end += before;
    }
    (text, ranges, whole)
}

/// A bold line at the beginning.
fn bold(line: &str) -> Option<Range> {
    let end = line.chars().count();
    (end > 0 && is_narrow(line)).then_some(Range {
        start: 0,
        end,
        format: Format::Bold,
    })
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A ticket as the channel sees it: new, or written anew.
pub(super) fn ticket(
    ticket: &TicketView,
    ticket_url: Option<&str>,
    marker: &str,
    is_new: bool,
) -> Text {
    let mut left_out = Map::new();
    let mut leave_out = |field: &str, why: &str| drop(left_out.insert(field.into(), why.into()));
    let (title, is_whole) = title_sent(&ticket.title);
    if !is_whole {
        leave_out("title", CUT);
    }
    if !ticket.custom_fields.is_empty() {
        leave_out("custom_fields", NOT_SHOWN);
    }
    if ticket.department.is_some() {
        leave_out("department", NOT_SHOWN);
    }
    let (tags, all_tags) = fit(&one_line(&ticket.tags.join(", ")), TAGS_MAX, None);
    if !all_tags {
        leave_out("tags", CUT);
    }
    let head = format!("{title}\n{}\n", facts(ticket, &tags));
    let url = ticket_url.map(|url| url.replace("{ticket_id}", &ticket.id.to_string()));
    let url = url.filter(|url| {
        let fits = length(url) <= URL_MAX;
        if !fits {
            leave_out("ticket_url", NOT_SHOWN);
        }
        fits
    });
    let mut tail = url.map(|url| format!("\n{url}")).unwrap_or_default();
    tail = Marker::Line(marker).put(&tail, MAX).0;
    let room = MESSAGE_MAX.saturating_sub(length(&head) + length(&tail) + 1);
    let (description, ranges, is_whole) = below(&head, &ticket.description, room, is_new);
    if !is_whole {
        leave_out("description", CUT);
    }
    let title_range = bold(&title).filter(|_| is_new);
    let end = tail.trim_start();
    let message = if description.is_empty() {
        format!("{head}{end}")
    } else {
        format!("{head}{description}\n{end}")
    };
    Text {
        message,
        ranges: title_range.into_iter().chain(ranges).collect(),
        left_out,
    }
}

/// `Status: open · Priority: high · …`.
fn facts(ticket: &TicketView, tags: &str) -> String {
    let mut facts = vec![
        format!("Status: {}", word(ticket.status.as_str())),
        format!("Priority: {}", word(ticket.priority.as_str())),
        format!("Category: {}", word(ticket.category.as_str())),
    ];
    facts.extend(ticket.assigned_to.as_ref().map(|who| {
        let (name, _) = fit(&one_line(&name(who)), NAME_MAX, None);
        format!("Assignee: {name}")
    }));
    if !tags.is_empty() {
        facts.push(format!("Tags: {tags}"));
    }
    facts.join(APART)
}

fn word(own: &str) -> String {
    own.replace('_', " ")
}

fn name(who: &UserRef) -> String {
    let name = who.full_name.as_ref().or(who.email.as_ref());
    name.cloned().unwrap_or_else(|| who.id.to_string())
}

/// A reply: a bold line, Markdown, or both. `field` is ours that the Markdown is of.
pub(super) fn reply(line: &str, markdown: Option<(&str, &str)>, marker: &str) -> Text {
    let head = match (line, markdown) {
        ("", _) | (_, None) => line.to_owned(),
        _ => format!("{line}\n"),
    };
    let tail = Marker::Line(marker).put("", MAX).0;
    let room = MESSAGE_MAX.saturating_sub(length(&head) + length(&tail) + 1);
    let mut left_out = Map::new();
    let (text, ranges) = match markdown {
        None => (String::new(), Vec::new()),
        Some((field, markdown)) => {
            let (text, ranges, is_whole) = below(&head, markdown, room, true);
            if !is_whole {
                left_out.insert(field.to_owned(), CUT.into());
            }
            (text, ranges)
        }
    };
    Text {
        message: format!("{head}{text}\n{tail}"),
        ranges: bold(line).into_iter().chain(ranges).collect(),
        left_out,
    }
}

/// What a change of status says in the thread.
pub(super) fn status(status: TicketStatus, summary: Option<&str>, marker: &str) -> Text {
    let line = format!("Status: {}", word(status.as_str()));
    let summary = summary.map(|summary| ("resolution_summary", summary));
    reply(&line, summary, marker)
}

/// What comes with a file that was uploaded before.
pub(super) fn file(name: &str, marker: &str) -> Text {
    let (name, _) = fit(&one_line(name), TITLE_MAX, None);
    Text {
        message: Marker::Line(marker).put(&name, MAX).0,
        ..Text::default()
    }
}

/// What `integration.test` posts.
pub(super) fn test() -> Text {
    Text {
        message: "A test message of Ticketwire. It can be deleted.".to_owned(),
        ..Text::default()
    }
}
