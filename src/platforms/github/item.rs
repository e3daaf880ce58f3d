//! One issue: what is sent of a ticket, and what an answer says.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::labels::Labels;
use super::state::{COMPLETED, OPEN};
use super::{ASSIGNEE, BODY_MAX, BYTES, FILE_URL, GitHub, KIND, TEXT_MAX, TITLE_MAX};
use crate::domain::{TicketCategory, TicketPatch, TicketView};
use crate::platforms::mapping::{FieldKind, Mapped};
use crate::platforms::text::{Dialect, Document, Marker, Max, one_line, title};
use crate::platforms::{
    AdapterError, ErrorClass, ExternalItem, Facts, File, Holder, ItemRef, Known, Moment, Receipt,
};

/// Where the receipt tells what GitHub dropped.
const DROPPED: &str = "dropped_by_github";
const WHY_DROPPED: &str =
    "GitHub took the request and left this out, as it does for who has no write access";

/// An issue as every answer shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Issue {
    id: u64,
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    state: String,
    state_reason: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    assignees: Vec<User>,
    #[serde(default, rename = "type")]
    kind: Option<Named>,
    created_at: Option<String>,
    pub(super) updated_at: Option<String>,
    #[serde(default)]
    pull_request: Option<Value>,
}

/// A label is a name, or an object with one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Label {
    Text(String),
    Object { name: Option<String> },
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
}

/// Somebody there.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

/// A comment as every answer shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comment {
    id: u64,
    body: Option<String>,
    pub(super) user: Option<User>,
    pub(super) created_at: Option<String>,
    pub(super) updated_at: Option<String>,
}

/// A file in the repository.
#[derive(Debug, Deserialize)]
pub(super) struct Content {
    html_url: Option<String>,
}

impl Content {
    /// Its page.
    pub(super) fn page(self) -> Result<String, AdapterError> {
        self.html_url.ok_or_else(|| {
            let text = "GitHub's answer names no address of the file";
            AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
        })
    }
}

impl Comment {
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    pub(super) fn text(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }

    pub(super) fn marker(&self) -> Option<&str> {
        Marker::find(self.text())
    }
}

impl Issue {
    pub(super) fn labels(&self) -> Vec<String> {
        let names = self.labels.iter().filter_map(|label| match label {
            Label::Text(name) => Some(name.clone()),
            Label::Object { name } => name.clone(),
        });
        names.collect()
    }

    pub(super) fn number(&self) -> String {
        self.number.to_string()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == "closed"
    }

    /// Why it is closed; GitHub did not always say.
    pub(super) fn reason(&self) -> Option<&str> {
        let reason = self.state_reason.as_deref().unwrap_or(COMPLETED);
        self.is_closed().then_some(reason)
    }

    /// What it is in a word: why it is closed, or which label of an open one says more.
    pub(super) fn word(&self, labels: &Labels) -> String {
        match self.reason() {
            Some(reason) => reason.to_owned(),
            None => {
                let own = self.labels();
                labels.status_label(&own).unwrap_or(OPEN).to_owned()
            }
        }
    }

    /// Pull requests are listed among the issues.
    pub(super) const fn is_pull(&self) -> bool {
        self.pull_request.is_some()
    }

    pub(super) fn marker(&self) -> Option<&str> {
        Marker::find(self.body.as_deref()?)
    }

    /// Whether it was made before a moment.
    pub(super) fn is_before(&self, moment: &str) -> bool {
        let read = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let made = self.created_at.as_deref().and_then(read);
        made.is_some_and(|made| read(moment).is_some_and(|moment| made < moment))
    }

    /// Whether these have it, and nobody where there are none.
    pub(super) fn is_assigned(&self, logins: &[&str]) -> bool {
        let has = |login: &&str| {
            let mut there = self.assignees.iter();
            there.any(|user| user.login.eq_ignore_ascii_case(login))
        };
        logins.iter().all(has) && logins.is_empty() == self.assignees.is_empty()
    }

    /// Who has it first.
    pub(super) fn holder(&self) -> Holder {
        let first = self.assignees.first();
        first.map_or(Holder::Nobody, |user| Holder::Account(user.login.clone()))
    }

    /// What of a request is not in the answer, for the receipt's details.
    pub(super) fn dropped(&self, sent: &Value) -> Map<String, Value> {
        let there = self.labels();
        let list = |name: &str| -> Vec<String> {
            let list = sent[name].as_array();
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        let is_in = |there: &[String], one: &String| {
            there
                .iter()
                .any(|own| own.to_lowercase() == one.to_lowercase())
        };
        let logins: Vec<String> = self
            .assignees
            .iter()
            .map(|user| user.login.clone())
            .collect();
        let kinds: Vec<String> = self.kind.iter().map(|kind| kind.name.clone()).collect();
        let wanted = sent["type"].as_str().map(str::to_owned);
        let mut dropped = Map::new();
        for (name, wanted, there) in [
            ("labels", list("labels"), &there),
            ("assignees", list("assignees"), &logins),
            ("type", wanted.into_iter().collect(), &kinds),
        ] {
            let missing: Vec<_> = wanted
                .into_iter()
                .filter(|one| !is_in(there, one))
                .collect();
            if !missing.is_empty() {
                dropped.insert(name.to_owned(), json!(missing));
            }
        }
        if dropped.is_empty() {
            return dropped;
        }
        dropped.insert("why".to_owned(), WHY_DROPPED.into());
        Map::from_iter([(DROPPED.to_owned(), Value::from(dropped))])
    }

    /// What is kept of a new issue; `sent` is what was asked for.
    pub(super) fn receipt(&self, sent: &Value) -> Receipt {
        let reference = ("issue_id".to_owned(), Value::from(self.id.to_string()));
        Receipt {
            external_id: Some(self.number()),
            external_url: Some(self.html_url.clone()),
            external_ref: Map::from_iter([reference]),
            details: self.dropped(sent),
            ..Receipt::default()
        }
    }

    pub(super) fn item_ref(&self) -> ItemRef {
        ItemRef {
            external_id: self.number(),
            stable_id: Some(self.id.to_string()),
        }
    }

    /// What it is, in GitHub's words.
    pub(super) fn facts(&self, labels: &Labels) -> Facts {
        let own = self.labels();
        Facts {
            title: Some(self.title.clone()),
            description: Some(Marker::without(self.body.as_deref().unwrap_or_default()).to_owned()),
            status: Some(self.word(labels)),
            status_class: Some(self.state.clone()),
            priority: labels.priority_label(&own).map(str::to_owned),
            assignee: Some(self.holder()),
            tags: Some(own),
            url: Some(self.html_url.clone()),
            ..Facts::default()
        }
    }

    pub(super) fn external(&self, labels: &Labels) -> ExternalItem {
        ExternalItem {
            item: self.item_ref(),
            at: moment(self.updated_at.as_deref()),
            facts: self.facts(labels),
            marker: self.marker().map(str::to_owned),
            ..ExternalItem::default()
        }
    }
}

/// A moment of GitHub's, which has whole seconds.
pub(super) fn moment(text: Option<&str>) -> Option<Moment> {
    let at = DateTime::parse_from_rfc3339(text?).ok()?;
    Some(Moment::second(at.with_timezone(&Utc)))
}

/// So many seconds before a moment, as GitHub writes it.
pub(super) fn before(at: DateTime<Utc>, seconds: i64) -> String {
    let earlier = TimeDelta::try_seconds(seconds).and_then(|by| at.checked_sub_signed(by));
    earlier
        .unwrap_or(at)
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What is said of a title that had to be cut.
fn title_cut() -> Value {
    format!("cut to {TITLE_MAX} characters; the description begins with all of it").into()
}

/// A title, and the whole of it where it had to be cut.
pub(super) fn title_of(text: &str) -> (String, Option<String>) {
    title(text, Max::Chars(TITLE_MAX))
}

/// A text of a person as GitHub's Markdown, with the mark as its last line.
pub(super) fn text(markdown: &str, marker: &str) -> String {
    rendered(markdown, marker).0
}

fn rendered(markdown: &str, marker: &str) -> (String, bool) {
    let document = Document::parse(markdown, TEXT_MAX);
    let marker = Some(Marker::Comment(marker));
    document.markdown(Dialect::GitHub, Max::Chars(BODY_MAX), marker)
}

/// A name that means nothing in Markdown.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in one_line(name).chars() {
        if c.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The organization's usual type for a category.
pub(super) const fn kind(category: TicketCategory) -> &'static str {
    match category {
        TicketCategory::Bug => "Bug",
        TicketCategory::FeatureRequest => "Feature",
        TicketCategory::Technical
        | TicketCategory::Billing
        | TicketCategory::UserAccess
        | TicketCategory::General
        | TicketCategory::Integration
        | TicketCategory::Performance
        | TicketCategory::Security => "Task",
    }
}

/// Fields of the organization, as a request sets them.
fn field_values(mapped: &Mapped) -> Vec<Value> {
    let fields = mapped.theirs.iter();
    // Their names are numbers: the descriptor lets no others in.
    let values = fields.filter_map(|(name, value)| {
        let id: u64 = name.parse().ok()?;
        Some(json!({ "field_id": id, "value": value }))
    });
    values.collect()
}

/// A value in a line of text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    }
}

impl GitHub {
    fn mapped(&self, custom: &Map<String, Value>) -> Mapped {
        self.fields.split(custom, |_| FieldKind::Any)
    }

    /// The description of a ticket as the body of its issue: before it a title that was cut, behind
    /// it the custom fields that the organization has none for.
    fn body_of(
        &self,
        ticket: &TicketView,
        marker: &str,
        left_out: &mut Map<String, Value>,
    ) -> String {
        let mut parts = Vec::new();
        parts.extend(title_of(&ticket.title).1);
        if !ticket.description.trim().is_empty() {
            parts.push(ticket.description.clone());
        }
        let unmapped = self.mapped(&ticket.custom_fields).unmapped;
        let lines: Vec<String> = unmapped
            .iter()
            .filter_map(|name| {
                let value = ticket
                    .custom_fields
                    .get(name)
                    .filter(|value| !value.is_null())?;
                Some(format!(
                    "- **{}:** {}",
                    escaped(name),
                    escaped(&shown(value))
                ))
            })
            .collect();
        if !lines.is_empty() {
            parts.push(lines.join("\n"));
        }
        let (body, is_whole) = rendered(&parts.join("\n\n"), marker);
        if !is_whole {
            let text = format!("cut to {BODY_MAX} characters");
            left_out.insert("description".into(), text.into());
        }
        body
    }

    /// The same as it comes back: without the mark.
    pub(super) fn described(&self, ticket: &TicketView) -> String {
        let marker = format!("tkt-{}", ticket.id);
        let body = self.body_of(ticket, &marker, &mut Map::new());
        Marker::without(&body).to_owned()
    }

    /// What a new issue is made of, and what could not be carried over.
    pub(super) fn create_body(
        &self,
        ticket: &TicketView,
        marker: &str,
        known: &Known,
    ) -> (Value, Map<String, Value>) {
        let mut left_out = Map::new();
        let (title, overflow) = title_of(&ticket.title);
        if overflow.is_some() {
            left_out.insert("title".into(), title_cut());
        }
        let mut body = Map::from_iter([
            ("title".to_owned(), Value::from(title)),
            (
                "body".to_owned(),
                self.body_of(ticket, marker, &mut left_out).into(),
            ),
            ("labels".to_owned(), json!(self.labels.of_ticket(ticket))),
        ]);
        let looked_up = match (&ticket.assigned_to, known.is_rehearsal) {
            (Some(person), true) => self.users.known(person),
            _ => None,
        };
        if let Some(login) = known.text(ASSIGNEE).or(looked_up) {
            body.insert("assignees".into(), json!([login]));
        }
        let shown_kind = (known.is_rehearsal && self.uses_types).then(|| kind(ticket.category));
        if let Some(kind) = known.text(KIND).or(shown_kind) {
            body.insert("type".into(), kind.into());
        }
        let values = field_values(&self.mapped(&ticket.custom_fields));
        if !values.is_empty() {
            body.insert("issue_field_values".into(), values.into());
        }
        for name in known.without.keys() {
            body.remove(name);
        }
        (body.into(), left_out)
    }

    /// What a change of a ticket is, but for its labels.
    pub(super) fn changes(
        &self,
        ticket: &TicketView,
        patch: &TicketPatch,
        left_out: &mut Map<String, Value>,
    ) -> Map<String, Value> {
        let mut change = Map::new();
        let mut is_longer = false;
        if let Some(text) = &patch.title {
            let (line, overflow) = title_of(text);
            is_longer = overflow.is_some();
            if is_longer {
                left_out.insert("title".into(), title_cut());
            }
            change.insert("title".into(), line.into());
        }
        let custom = patch.custom_fields.as_ref();
        let mapped = custom.map(|custom| self.mapped(custom)).unwrap_or_default();
        let values = field_values(&mapped);
        if !values.is_empty() {
            change.insert("issue_field_values".into(), values.into());
        }
        // What has no field of its own stands in the body.
        if patch.description.is_some() || is_longer || !mapped.unmapped.is_empty() {
            let marker = format!("tkt-{}", ticket.id);
            let body = self.body_of(ticket, &marker, left_out);
            change.insert("body".into(), body.into());
        }
        change
    }

    /// A change for a dry run, which knows no labels.
    pub(super) fn shown_change(&self, ticket: &TicketView, patch: &TicketPatch) -> Value {
        let mut change = self.changes(ticket, patch, &mut Map::new());
        if super::labels::touches(patch) {
            let labels = self.labels.patched(&[], patch);
            let shown = json!({ "lookup": "those of the issue", "add": labels });
            change.insert("labels".into(), shown);
        }
        change.into()
    }

    /// The comment that leads to a file.
    pub(super) fn file_comment(
        &self,
        file: &File,
        marker: &str,
        known: &Known,
    ) -> Result<String, AdapterError> {
        let address = match (&self.branch, known.text(FILE_URL)) {
            (_, Some(address)) => address.to_owned(),
            // Where it will be is said when it is put there.
            (Some(branch), None) => {
                let name = file.key(marker);
                format!("https://lookup.invalid/{branch}/{name}")
            }
            (None, None) => {
                let address = file.url.as_ref().map(ToString::to_string);
                address.ok_or_else(|| AdapterError::unsupported(BYTES.why))?
            }
        };
        let link = format!("[{}](<{address}>)", escaped(&file.name));
        Ok(text(&link, marker))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::state::State;
    use super::*;

    fn issue(value: &Value) -> Issue {
        let mut all = json!({
            "id": 1, "number": 7, "html_url": "https://github.com/o/r/issues/7", "title": "t",
            "body": null,
            "state": "open", "state_reason": null,
        });
        all.as_object_mut()
            .unwrap()
            .extend(value.as_object().cloned().unwrap());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_github_dropped_is_told_in_any_case_of_its_letters() {
        let answer = issue(&json!({
            "labels": [{ "name": "Bug" }, "p1"], "assignees": [{ "login": "Ada", "name": "A" }],
        }));

        let whole = json!({ "labels": ["bug", "P1"], "assignees": ["ada"] });
        assert_eq!(answer.dropped(&whole), Map::new());
        assert_eq!(answer.dropped(&Value::Null), Map::new());
        let more = json!({ "labels": ["bug", "vip"], "assignees": ["bo"], "type": "Bug" });
        let told = answer.dropped(&more)[DROPPED].clone();
        assert_eq!(
            (&told["labels"], &told["assignees"], &told["type"]),
            (&json!(["vip"]), &json!(["bo"]), &json!(["Bug"]))
        );
        assert!(
            answer.is_assigned(&["ADA"])
                && !answer.is_assigned(&[])
                && !answer.is_assigned(&["bo"])
        );
    }

    #[test]
    fn a_text_has_its_mark_as_the_last_line_and_calls_nobody() {
        let body = text("Hi @octocat, fixes #12\n\n<!-- tkt-1 -->", "cmd-9");

        assert!(body.ends_with("\n\n<!-- cmd-9 -->"), "{body}");
        assert_eq!(Marker::find(&body), Some("cmd-9"));
        assert!(
            !body.contains("@octocat") && !body.contains("#12"),
            "{body}"
        );
        assert_eq!(Marker::without("a\n\n<!-- cmd-9 -->"), "a");
        assert_eq!(Marker::without("a <!-- b -->"), "a <!-- b -->");
        let long = text(&"x@y ".repeat(30_000), "cmd-9");
        assert!(long.chars().count() <= BODY_MAX && long.ends_with("<!-- cmd-9 -->"));
    }

    #[test]
    fn a_file_has_a_name_of_its_own_and_a_link_that_is_only_one() {
        let bytes = Bytes::from_static(b"hello");
        let mut file = File::of_bytes("a/../[x](y) @octocat #1.txt", "text/plain", bytes);
        file.url = Some("https://files.example.test/a b?x=1&y=(2)".parse().unwrap());

        let name = file.kept_name("cmd-1");
        assert_eq!(name, "cmd-1-2cf24dba-a_..__x_(y) _octocat _1.txt");
        let long = File::of_bytes(&"x".repeat(500), "text/plain", Bytes::new());
        assert!(long.kept_name("cmd-1").len() < 255);
        let link = format!("[{}](<{}>)", escaped(&file.name), file.url.unwrap());
        let made = text(&link, "cmd-1");
        assert_eq!(made.replace("\\]", "").matches("](").count(), 1, "{made}");
        assert!(
            made.contains("https://files.example.test/a%20b?x=1") && !made.contains("@octocat"),
            "{made}"
        );
    }

    #[test]
    fn a_state_is_told_by_its_reason() {
        assert_eq!(State::of("Completed").reason, Some("completed"));
        assert_eq!(
            State::of("open"),
            State {
                reason: None,
                label: None
            }
        );
        assert_eq!(State::of("waiting").label, Some("waiting"));
        assert_eq!(
            issue(&json!({ "state": "closed" })).reason(),
            Some("completed")
        );
        assert_eq!(issue(&json!({ "state_reason": "reopened" })).reason(), None);
        let made = issue(&json!({ "created_at": "2026-01-02T03:04:05Z" }));
        assert!(made.is_before("2026-01-02T03:04:06Z") && !made.is_before("2026-01-02T03:04:05Z"));
        let at = "2026-01-02T03:04:05.9Z".parse().unwrap();
        assert_eq!(before(at, 120), "2026-01-02T03:02:05Z");
    }
}
