//! Building requests: data in, data out.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::super::{
    AdapterError, Auth, Body, Effect, File, Request, Response, TokenFlow, TokenGrant,
};
use super::response::{self, Transition};
use super::{Jira, Oauth, Version, adf};
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView};

/// Longest summary, one line (Jira's limit).
const SUMMARY_MAX: usize = 255;
/// Longest description or comment: Jira takes 32,767 characters of text (JRACLOUD-78553); the rest is for what
/// conversion adds.
const TEXT_MAX: usize = 32_000;
/// Issues a page of a sync.
const PAGE: u32 = 100;
/// Minutes that a sync looks back beyond the last one: the search index lags, and clocks differ.
const OVERLAP_MINUTES: i64 = 5;
/// The issue and comment property that says whose it is.
const PROPERTY: &str = "ticket-dispatch";

impl Jira {
    fn endpoint(&self, path: &str) -> Result<Url, AdapterError> {
        self.api
            .join(path)
            .map_err(|_| AdapterError::field("base_url", "does not make a URL with Jira's paths"))
    }

    fn request(&self, method: Method, path: &str, effect: Effect) -> Result<Request, AdapterError> {
        let request = Request::new(method, self.endpoint(path)?, self.auth.clone(), effect);
        Ok(request.header(
            reqwest::header::ACCEPT,
            reqwest::header::HeaderValue::from_static("application/json"),
        ))
    }

    /// A text in the version's own shape.
    fn text(&self, markdown: &str) -> Value {
        let cut = truncate(markdown, TEXT_MAX);
        match self.version {
            Version::V3 => adf::document(&cut),
            Version::V2 => Value::String(cut.into_owned()),
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
        fields.insert("description".into(), self.text(&description));
        fields.insert("labels".into(), json!(labels));
        fields.insert(
            "priority".into(),
            json!({ "name": priority(ticket.priority) }),
        );
        if let Some(account) = assignee {
            fields.insert("assignee".into(), account.clone());
        }
        let mut unmapped = Vec::new();
        for (name, value) in &ticket.custom_fields {
            match self.custom_fields.get(name).and_then(Value::as_str) {
                Some(theirs) => {
                    fields.insert(theirs.to_owned(), value.clone());
                }
                None => unmapped.push(name.clone()),
            }
        }
        if !unmapped.is_empty() {
            details.insert("unmapped_custom_fields".into(), json!(unmapped));
        }
        fields
    }

    pub(super) fn create_request(
        &self,
        ticket: &TicketView,
        fields: Map<String, Value>,
    ) -> Request {
        let properties = json!([{ "key": PROPERTY, "value": { "ticketId": ticket.id } }]);
        let body = Map::from_iter([
            ("fields".to_owned(), Value::Object(fields)),
            ("properties".to_owned(), properties),
        ]);
        self.create_with(&Value::Object(body))
    }

    /// An issue that says of itself that it is a test, and its label.
    pub(super) fn test_issue_request(&self) -> (Request, String) {
        let mark = format!("ticketwire-test-{}", uuid::Uuid::now_v7());
        let body = json!({ "fields": {
            "project": { "key": self.project_key },
            "issuetype": { "name": self.issue_type(TicketCategory::General) },
            "summary": "Ticketwire connection test: may be deleted",
            "description": self.text("Made by `integration.test`. It may be deleted."),
            "labels": [mark],
        } });
        (self.create_with(&body), mark)
    }

    fn create_with(&self, body: &Value) -> Request {
        // The API's URL ends in a slash, so a plain name always joins.
        let url = self.endpoint("issue").unwrap_or_else(|_| self.api.clone());
        Request::new(Method::POST, url, self.auth.clone(), Effect::Create)
            .header(
                reqwest::header::ACCEPT,
                reqwest::header::HeaderValue::from_static("application/json"),
            )
            .json(body)
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
            fields.insert("description".into(), self.text(description));
        }
        if let Some(level) = patch.priority {
            fields.insert("priority".into(), json!({ "name": priority(level) }));
        }
        for (name, value) in patch.custom_fields.iter().flatten() {
            match self.custom_fields.get(name).and_then(Value::as_str) {
                Some(theirs) => {
                    fields.insert(theirs.to_owned(), value.clone());
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
            .request(Method::PUT, &format!("issue/{issue}"), Effect::Idempotent)?
            .json(&body.into()))
    }

    pub(super) fn assign_request(
        &self,
        issue: &str,
        account: Option<&Value>,
    ) -> Result<Request, AdapterError> {
        let body = json!({ "fields": { "assignee": account } });
        Ok(self
            .request(Method::PUT, &format!("issue/{issue}"), Effect::Idempotent)?
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
            "body": self.text(body),
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
            .request(
                Method::POST,
                &format!("issue/{issue}/comment"),
                Effect::Create,
            )?
            .json(&comment))
    }

    /// Sent in one piece: Jira's answer names all files of a request or none.
    pub(super) fn attach_request(&self, issue: &str, file: &File) -> Result<Request, AdapterError> {
        let path = format!("issue/{issue}/attachments");
        let mut request = self.request(Method::POST, &path, Effect::Create)?.header(
            reqwest::header::HeaderName::from_static("x-atlassian-token"),
            reqwest::header::HeaderValue::from_static("no-check"),
        );
        request.body = Body::Multipart {
            part: "file",
            file: file.clone(),
        };
        Ok(request)
    }

    pub(super) fn attachments_request(&self, issue: &str) -> Result<Request, AdapterError> {
        let path = format!("issue/{issue}?fields=attachment");
        self.request(Method::GET, &path, Effect::Read)
    }

    pub(super) fn fields_request(&self, issue_type: &str) -> Result<Request, AdapterError> {
        let path = format!(
            "issue/createmeta/{}/issuetypes/{issue_type}?maxResults=200",
            self.project_key
        );
        self.request(Method::GET, &path, Effect::Read)
    }

    /// Times in JQL have minutes, and are read in the caller's time zone: so it is asked by age, rounded up, with an
    /// overlap; what was seen before changes nothing.
    pub(super) fn changes_request(
        &self,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        let age = since.map(|since| (now - since).num_minutes().max(0) + 1 + OVERLAP_MINUTES);
        let changed = age.map_or_else(String::new, |age| format!(" AND updated >= \"-{age}m\""));
        let jql = format!(
            "project = \"{}\"{changed} ORDER BY updated ASC, key ASC",
            self.project_key
        );
        let fields = json!(["summary", "status", "priority", "labels", "updated"]);
        let mut body = json!({ "jql": jql, "fields": fields, "maxResults": PAGE });
        let path = match (self.version, cursor) {
            (Version::V3, None) => "search/jql",
            (Version::V3, Some(token)) => {
                body["nextPageToken"] = token.into();
                "search/jql"
            }
            (Version::V2, cursor) => {
                body["startAt"] = cursor
                    .and_then(|at| at.parse::<u64>().ok())
                    .unwrap_or(0)
                    .into();
                "search"
            }
        };
        Ok(self.request(Method::POST, path, Effect::Read)?.json(&body))
    }

    pub(super) fn comments_request(&self, issue: &str) -> Result<Request, AdapterError> {
        let path =
            format!("issue/{issue}/comment?orderBy=-created&maxResults=50&expand=properties");
        self.request(Method::GET, &path, Effect::Read)
    }

    pub(super) fn search_request(&self, mark: &str) -> Result<Request, AdapterError> {
        let jql = format!(
            "project = \"{}\" AND labels = \"{mark}\" ORDER BY created ASC",
            self.project_key
        );
        let body = json!({ "jql": jql, "fields": ["key", "created"], "maxResults": 2 });
        let path = match self.version {
            Version::V3 => "search/jql",
            Version::V2 => "search",
        };
        Ok(self.request(Method::POST, path, Effect::Read)?.json(&body))
    }

    pub(super) fn status_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.request(
            Method::GET,
            &format!("issue/{issue}?fields=status"),
            Effect::Read,
        )
    }

    pub(super) fn transitions_request(&self, issue: &str) -> Result<Request, AdapterError> {
        self.request(
            Method::GET,
            &format!("issue/{issue}/transitions?expand=transitions.fields"),
            Effect::Read,
        )
    }

    pub(super) fn transition_request(
        &self,
        issue: &str,
        transition: &Transition,
        status: TicketStatus,
        summary: Option<&str>,
    ) -> Result<Request, AdapterError> {
        let mut body = json!({ "transition": { "id": transition.id } });
        if let Some(resolution) = response::resolution(transition, status) {
            body["fields"] = json!({ "resolution": { "name": resolution } });
        }
        if let Some(summary) = summary {
            body["update"] = json!({ "comment": [{ "add": { "body": self.text(summary) } }] });
        }
        Ok(self
            .request(
                Method::POST,
                &format!("issue/{issue}/transitions"),
                Effect::Idempotent,
            )?
            .json(&body))
    }

    pub(super) fn assignable_request(&self, email: &str) -> Result<Request, AdapterError> {
        let mut request = self.request(Method::GET, "user/assignable/search", Effect::Read)?;
        let query = match self.version {
            Version::V3 => "query",
            Version::V2 => "username",
        };
        request
            .url
            .query_pairs_mut()
            .append_pair("project", &self.project_key)
            .append_pair(query, email);
        Ok(request)
    }

    pub(super) fn issue_types_request(&self) -> Result<Request, AdapterError> {
        let path = format!(
            "issue/createmeta/{}/issuetypes?maxResults=50",
            self.project_key
        );
        self.request(Method::GET, &path, Effect::Read)
    }

    pub(super) fn server_info_request(&self) -> Result<Request, AdapterError> {
        self.request(Method::GET, "serverInfo", Effect::Read)
    }

    pub(super) fn myself_request(&self) -> Result<Request, AdapterError> {
        self.request(Method::GET, "myself", Effect::Read)
    }

    pub(super) fn permissions_request(&self) -> Result<Request, AdapterError> {
        let mut request = self.request(Method::GET, "mypermissions", Effect::Read)?;
        request
            .url
            .query_pairs_mut()
            .append_pair("projectKey", &self.project_key)
            .append_pair("permissions", &response::PERMISSIONS.join(","));
        Ok(request)
    }
}

impl TokenFlow for Oauth {
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError> {
        let refresh = refresh_token.unwrap_or(&self.refresh_token);
        let body = json!({
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret.expose_secret(),
            "refresh_token": refresh.expose_secret(),
        });
        // Refresh tokens rotate: a lost answer may have used the token up, which the next refresh then says.
        let mut request = Request::new(
            Method::POST,
            self.token_url.clone(),
            Auth::None,
            Effect::Idempotent,
        );
        request.body = Body::Json(body.to_string().into());
        Ok(request)
    }

    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError> {
        response::read_token(response)
    }
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

/// Labels have no spaces and at most 255 characters.
fn label(tag: &str) -> String {
    tag.chars()
        .map(|c| if c.is_whitespace() { '-' } else { c })
        .take(255)
        .collect()
}

/// One line of at most 255 characters; the whole title where it had to be cut.
fn summary(title: &str) -> (String, Option<String>) {
    let line = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SUMMARY_MAX {
        return (line, None);
    }
    let cut: String = line.chars().take(SUMMARY_MAX - 1).collect();
    (format!("{cut}…"), Some(line))
}

fn truncate(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max || text.chars().count() <= max {
        return Cow::Borrowed(text);
    }
    let cut: String = text.chars().take(max - 20).collect();
    Cow::Owned(format!("{cut}\n\n… (cut)"))
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
    fn labels_have_no_spaces() {
        assert_eq!(label("needs a look"), "needs-a-look");
    }
}
