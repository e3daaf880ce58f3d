//! Building requests: data in, data out.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::path::below;
use super::super::text::{Document, Max, fit, harmless_label, is_cut, title};
use super::super::{AdapterError, Body, Effect, File, Part, Request};
use super::response::{self, Transition};
use super::{Jira, MAPPABLE, Version, is_mappable};
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView};

/// Longest summary, one line (Jira's limit).
const SUMMARY_MAX: usize = 255;
/// Longest description or comment: Jira takes 32,767 characters of text (JRACLOUD-78553); the rest is for what
/// conversion adds.
const TEXT_MAX: usize = 32_000;
/// Characters that are read for a document, and that a text of a Data Center may have.
const READ_MAX: usize = 32_767;
/// Longest label.
const LABEL_MAX: usize = 255;
/// Issues a page of a sync.
const PAGE: u32 = 100;
/// Comments a page of a look-up.
const COMMENTS: &str = "100";
/// Minutes that a sync looks back beyond the last one: the search index lags, and clocks differ.
const OVERLAP_MINUTES: i64 = 5;
/// The issue and comment property that says whose it is.
const PROPERTY: &str = "ticket-dispatch";

/// Fields that a sync reads.
const SYNCED: [&str; 5] = ["summary", "status", "priority", "labels", "updated"];

impl Jira {
    /// Every request is built here: its path part by part, so that no stored id and no setting leads elsewhere.
    fn request(
        &self,
        method: Method,
        path: &[&str],
        effect: Effect,
    ) -> Result<Request, AdapterError> {
        let request = Request::new(method, below(&self.api, path)?, self.auth.clone(), effect);
        Ok(request.header(
            reqwest::header::ACCEPT,
            reqwest::header::HeaderValue::from_static("application/json"),
        ))
    }

    /// A read with a query.
    fn ask(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Request, AdapterError> {
        let mut request = self.request(Method::GET, path, Effect::Read)?;
        if !query.is_empty() {
            request.url.query_pairs_mut().extend_pairs(query);
        }
        Ok(request)
    }

    /// A search; the versions have different paths for it.
    fn search(&self, body: &Value) -> Result<Request, AdapterError> {
        let path: &[&str] = match self.version {
            Version::V3 => &["search", "jql"],
            Version::V2 => &["search"],
        };
        Ok(self.request(Method::POST, path, Effect::Read)?.json(body))
    }

    /// A text in the version's own shape, and whether its markup found room there.
    fn text(&self, markdown: &str) -> (Value, bool) {
        let cut = if markdown.len() <= TEXT_MAX {
            Cow::Borrowed(markdown)
        } else {
            Cow::Owned(fit(markdown, Max::Chars(TEXT_MAX), None).0)
        };
        match self.version {
            Version::V3 => {
                let document = Document::parse(&cut, READ_MAX).adf();
                let is_whole = !is_cut(&document);
                (document, is_whole)
            }
            Version::V2 => {
                let max = Max::Chars(READ_MAX);
                let (text, is_whole) = Document::parse(&cut, READ_MAX).wiki(max, None);
                (text.into(), is_whole)
            }
        }
    }

    /// The `fields` of a create. What cannot be carried over is said in `details`.
    pub(super) fn create_fields(
        &self,
        ticket: &TicketView,
        mark: &str,
        assignee: Option<&Value>,
        details: &mut Map<String, Value>,
    ) -> Map<String, Value> {
        let (summary, overflow) = summary(&ticket.title);
        let description = match overflow {
            Some(full) if ticket.description.is_empty() => Cow::Owned(full),
            Some(full) => Cow::Owned(format!("{full}\n\n{}", ticket.description)),
            None => Cow::Borrowed(ticket.description.as_str()),
        };
        if description.len() > TEXT_MAX && description.chars().count() > TEXT_MAX {
            details.insert(
                "description".into(),
                format!("cut to {TEXT_MAX} characters").into(),
            );
        }
        let mut labels = vec![mark.to_owned(), format!("category-{}", ticket.category)];
        labels.extend(ticket.tags.iter().map(|tag| label(tag)));
        let mut fields = Map::new();
        fields.insert("project".into(), json!({ "key": self.project_key }));
        fields.insert(
            "issuetype".into(),
            json!({ "name": self.issue_type(ticket.category) }),
        );
        fields.insert("summary".into(), summary.into());
        let (described, is_whole) = self.text(&description);
        if !is_whole {
            let said = "cut: its markup is longer than a document of Jira";
            details.entry("description").or_insert(said.into());
        }
        fields.insert("description".into(), described);
        fields.insert("labels".into(), json!(labels));
        fields.insert(
            "priority".into(),
            json!({ "name": priority(ticket.priority) }),
        );
        if let Some(account) = assignee {
            fields.insert("assignee".into(), account.clone());
        }
        let (mut unmapped, mut refused) = (Vec::new(), Map::new());
        for (name, value) in &ticket.custom_fields {
            match self.custom_fields.get(name).and_then(Value::as_str) {
                Some(theirs) if is_mappable(theirs) => {
                    fields.insert(theirs.to_owned(), value.clone());
                }
                Some(theirs) => drop(refused.insert(name.clone(), unmappable(theirs).into())),
                None => unmapped.push(name.clone()),
            }
        }
        if !unmapped.is_empty() {
            details.insert("unmapped_custom_fields".into(), json!(unmapped));
        }
        if !refused.is_empty() {
            details.insert("refused_custom_fields".into(), refused.into());
        }
        fields
    }

    pub(super) fn create_request(
        &self,
        ticket: &TicketView,
        fields: Map<String, Value>,
    ) -> Result<Request, AdapterError> {
        let properties = json!([{ "key": PROPERTY, "value": { "ticketId": ticket.id } }]);
        let body = Map::from_iter([
            ("fields".to_owned(), Value::Object(fields)),
            ("properties".to_owned(), properties),
        ]);
        self.create_with(&Value::Object(body))
    }

    /// An issue that says of itself that it is a test, and its label.
    pub(super) fn test_issue_request(&self) -> Result<(Request, String), AdapterError> {
        let mark = format!("ticketwire-test-{}", uuid::Uuid::now_v7());
        let body = json!({ "fields": {
            "project": { "key": self.project_key },
            "issuetype": { "name": self.issue_type(TicketCategory::General) },
            "summary": "Ticketwire connection test: may be deleted",
            "description": self.text("Made by `integration.test`. It may be deleted.").0,
            "labels": [mark],
        } });
        Ok((self.create_with(&body)?, mark))
    }

    fn create_with(&self, body: &Value) -> Result<Request, AdapterError> {
        Ok(self
            .request(Method::POST, &["issue"], Effect::Create)?
            .json(body))
    }

    pub(super) fn issue_type(&self, category: TicketCategory) -> &str {
        match category {
            TicketCategory::Bug => "Bug",
            TicketCategory::FeatureRequest => "Story",
            TicketCategory::Technical
            | TicketCategory::Billing
            | TicketCategory::UserAccess
            | TicketCategory::General
            | TicketCategory::Integration
            | TicketCategory::Performance
            | TicketCategory::Security => self.default_issue_type.as_deref().unwrap_or("Task"),
        }
    }

    /// Labels are added, and those of other categories removed; labels that people gave in Jira stay.
    pub(super) fn update_request(
        &self,
        issue: &str,
        patch: &TicketPatch,
    ) -> Result<Request, AdapterError> {
        let mut fields = Map::new();
        if let Some(title) = &patch.title {
            fields.insert("summary".into(), summary(title).0.into());
        }
        if let Some(description) = &patch.description {
            fields.insert("description".into(), self.text(description).0);
        }
        if let Some(level) = patch.priority {
            fields.insert("priority".into(), json!({ "name": priority(level) }));
        }
        for (name, value) in patch.custom_fields.iter().flatten() {
            match self.custom_fields.get(name).and_then(Value::as_str) {
                Some(theirs) if is_mappable(theirs) => {
                    fields.insert(theirs.to_owned(), value.clone());
                }
                Some(theirs) => {
                    let field = format!("custom_fields.{name}");
                    return Err(AdapterError::field(&field, unmappable(theirs)));
                }
                None => {
                    let fault = "has no counterpart in the integration's custom_fields_mapping";
                    return Err(AdapterError::field(&format!("custom_fields.{name}"), fault));
                }
            }
        }
        let mut labels = Vec::new();
        if let Some(category) = patch.category {
            labels.extend(
                TicketCategory::ALL
                    .iter()
                    .filter(|other| **other != category)
                    .map(|other| json!({ "remove": format!("category-{other}") })),
            );
            labels.push(json!({ "add": format!("category-{category}") }));
        }
        labels.extend(
            patch
                .tags
                .iter()
                .flatten()
                .map(|tag| json!({ "add": label(tag) })),
        );
        let mut body = Map::new();
        if !fields.is_empty() {
            body.insert("fields".into(), fields.into());
        }
        if !labels.is_empty() {
            body.insert("update".into(), json!({ "labels": labels }));
        }
        if body.is_empty() {
            // Urgency and department have no field in Jira; an empty edit is taken and changes nothing.
            body.insert("fields".into(), json!({}));
        }
        Ok(self
            .request(Method::PUT, &["issue", issue], Effect::Idempotent)?
            .json(&body.into()))
    }

    pub(super) fn assign_request(
        &self,
        issue: &str,
        account: Option<&Value>,
    ) -> Result<Request, AdapterError> {
        let body = json!({ "fields": { "assignee": account } });
        Ok(self
            .request(Method::PUT, &["issue", issue], Effect::Idempotent)?
            .json(&body))
    }

    pub(super) fn comment_request(
        &self,
        issue: &str,
        body: &str,
        public: bool,
        mark: &str,
    ) -> Result<Request, AdapterError> {
        let mut comment = json!({
            "body": self.text(body).0,
            "properties": [{ "key": PROPERTY, "value": { "mark": mark } }],
        });
        if !public {
            match self.internal_comments.as_deref() {
                Some("service_desk") => {
                    comment["properties"] = json!([
                        { "key": PROPERTY, "value": { "mark": mark } },
                        { "key": "sd.public.comment", "value": { "internal": true } },
                    ]);
                }
                Some(role) => comment["visibility"] = json!({ "type": "role", "value": role }),
                None => {
                    let text = "a comment that is not public needs settings.internal_comments: \"service_desk\" for \
                                service projects, or the role that may see it; other projects would show it to all";
                    return Err(AdapterError::unsupported(text));
                }
            }
        }
        Ok(self
            .request(Method::POST, &["issue", issue, "comment"], Effect::Create)?
            .json(&comment))
    }

    /// Sent in one piece: Jira's answer names all files of a request or none.
    pub(super) fn attach_request(&self, issue: &str, file: &File) -> Result<Request, AdapterError> {
        let path = ["issue", issue, "attachments"];
        let mut request = self.request(Method::POST, &path, Effect::Create)?.header(
            reqwest::header::HeaderName::from_static("x-atlassian-token"),
            reqwest::header::HeaderValue::from_static("no-check"),
        );
        request.body = Body::Multipart(vec![Part::file("file", file)]);
        Ok(request)
    }

    pub(super) fn attachments_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.ask(&["issue", issue], &[("fields", "attachment")])
    }

    pub(super) fn fields_request(&self, issue_type: &str) -> Result<Request, AdapterError> {
        let path = [
            "issue",
            "createmeta",
            &self.project_key,
            "issuetypes",
            issue_type,
        ];
        self.ask(&path, &[("maxResults", "200")])
    }

    pub(super) fn changes_request(
        &self,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        let project = format!("project = {}", quoted(&self.project_key));
        self.changed_request(&project, since, cursor, now)
    }

    /// Known issues, wherever they are: their numbers survive a move.
    pub(super) fn known_request(
        &self,
        ids: &[&str],
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        // Digits, without quotes: what is quoted would be taken for a key.
        self.changed_request(&format!("id in ({})", ids.join(", ")), since, cursor, now)
    }

    /// The same by their marks: a search by numbers is refused where one of the issues is gone, a search by labels is not.
    pub(super) fn marked_request(
        &self,
        marks: &[&str],
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        self.changed_request(
            &format!("labels in ({})", listed(marks)),
            since,
            cursor,
            now,
        )
    }

    /// Times in JQL have minutes, and are read in the caller's time zone: so it is asked by age, rounded up, with an
    /// overlap; what was seen before changes nothing.
    fn changed_request(
        &self,
        which: &str,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        let age = since.map(|since| (now - since).num_minutes().max(0) + 1 + OVERLAP_MINUTES);
        let changed = age.map_or_else(String::new, |age| format!(" AND updated >= \"-{age}m\""));
        let jql = format!("{which}{changed} ORDER BY updated ASC, key ASC");
        let mut body = json!({ "jql": jql, "fields": SYNCED, "maxResults": PAGE });
        match (self.version, cursor) {
            (Version::V3, None) => {}
            (Version::V3, Some(token)) => body["nextPageToken"] = token.into(),
            (Version::V2, cursor) => {
                let start = cursor.and_then(|at| at.parse::<u64>().ok()).unwrap_or(0);
                body["startAt"] = start.into();
            }
        }
        self.search(&body)
    }

    /// One issue as it stands; read by its number, it is current.
    pub(super) fn item_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.ask(&["issue", issue], &[("fields", &SYNCED.join(","))])
    }

    /// A page of an issue's comments, newest first.
    pub(super) fn comments_request(
        &self,
        issue: &str,
        start: usize,
    ) -> Result<Request, AdapterError> {
        let query = [
            ("orderBy", "-created"),
            ("startAt", &start.to_string()),
            ("maxResults", COMMENTS),
            ("expand", "properties"),
        ];
        self.ask(&["issue", issue, "comment"], &query)
    }

    /// The mark is unique, so it is looked for in all projects: the issue may have been moved.
    pub(super) fn search_request(&self, mark: &str) -> Result<Request, AdapterError> {
        let jql = format!("labels = {} ORDER BY created ASC", quoted(mark));
        self.search(&json!({ "jql": jql, "fields": ["key", "created"], "maxResults": 2 }))
    }

    pub(super) fn status_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.ask(&["issue", issue], &[("fields", "status")])
    }

    pub(super) fn transitions_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.ask(
            &["issue", issue, "transitions"],
            &[("expand", "transitions.fields")],
        )
    }

    pub(super) fn transition_request(
        &self,
        issue: &str,
        body: &Value,
    ) -> Result<Request, AdapterError> {
        let path = ["issue", issue, "transitions"];
        Ok(self
            .request(Method::POST, &path, Effect::Idempotent)?
            .json(body))
    }

    pub(super) fn assignable_request(&self, email: &str) -> Result<Request, AdapterError> {
        let query = match self.version {
            Version::V3 => "query",
            Version::V2 => "username",
        };
        self.ask(
            &["user", "assignable", "search"],
            &[("project", &self.project_key), (query, email)],
        )
    }

    pub(super) fn issue_types_request(&self) -> Result<Request, AdapterError> {
        let path = ["issue", "createmeta", &self.project_key, "issuetypes"];
        self.ask(&path, &[("maxResults", "50")])
    }

    pub(super) fn server_info_request(&self) -> Result<Request, AdapterError> {
        self.ask(&["serverInfo"], &[])
    }

    pub(super) fn myself_request(&self) -> Result<Request, AdapterError> {
        self.ask(&["myself"], &[])
    }

    pub(super) fn permissions_request(&self) -> Result<Request, AdapterError> {
        let query = [
            ("projectKey", self.project_key.as_str()),
            ("permissions", &response::PERMISSIONS.join(",")),
        ];
        self.ask(&["mypermissions"], &query)
    }
}

/// The body of a transition that leads to a status.
pub(super) fn transition(transition: &Transition, status: TicketStatus) -> Value {
    let mut body = json!({ "transition": { "id": transition.id } });
    if let Some(resolution) = response::resolution(transition, status) {
        body["fields"] = json!({ "resolution": { "name": resolution } });
    }
    body
}

/// A text as a value of JQL: nothing in it ends the text.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn listed(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    quoted.join(", ")
}

/// Why a field of Jira's cannot be the counterpart of a custom field.
fn unmappable(theirs: &str) -> String {
    format!("is mapped to {theirs:?} in the integration's custom_fields_mapping: name {MAPPABLE}")
}

/// Names of Jira's default priority scheme.
const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "Low",
        Priority::Medium => "Medium",
        Priority::High => "High",
        Priority::Critical => "Highest",
    }
}

/// A tag as a label.
fn label(tag: &str) -> String {
    harmless_label(tag, LABEL_MAX)
}

/// A title as a summary; the whole title where it had to be cut.
fn summary(text: &str) -> (String, Option<String>) {
    title(text, Max::Chars(SUMMARY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_title_is_cut_to_one_line_and_kept_whole_elsewhere() {
        let long = "word ".repeat(80);

        let (line, full) = summary(&long);

        assert_eq!(line.chars().count(), 255);
        assert_eq!(full.unwrap().len(), 399);
        assert_eq!(summary("two\nlines"), ("two lines".into(), None));
    }

    #[test]
    fn a_text_does_not_end_a_value_of_jql() {
        assert_eq!(
            quoted("X\" OR project = \"Y\\"),
            r#""X\" OR project = \"Y\\""#
        );
        assert_eq!(listed(&["1", "2"]), r#""1", "2""#);
    }

    #[test]
    fn labels_have_no_spaces() {
        assert_eq!(label("needs a look"), "needs-a-look");
        assert_eq!(label("tkt-9b2f1c1e"), "tag-tkt-9b2f1c1e");
    }
}
