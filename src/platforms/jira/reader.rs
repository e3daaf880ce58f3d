//! Reading issues and fields back.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    AdapterError, CallContext, Change, ChangePage, Effect, ErrorClass, ExternalItem, ItemRef,
    KnownItem, PlatformField, Reader, Request, Response, SyncFrom,
};
use super::calls::{is_number, quoted};
use super::item::is_address;
use super::meta::{Field, chosen};
use super::words::{Issue, LISTED};
use super::{Jira, Version};
use crate::domain::TicketCategory;
use crate::telemetry::clock;

/// Issues a page of a sync.
const PAGE: u32 = 100;
/// Minutes that a sync looks back beyond the last one: the search index lags, and clocks differ.
const OVERLAP_MINUTES: i64 = 5;

/// A page of a search.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    issues: Vec<Issue>,
    next_page_token: Option<String>,
    is_last: Option<bool>,
    total: Option<usize>,
}

/// Its issues, those that cannot be read, and where the next page begins.
struct Issues {
    items: Vec<ExternalItem>,
    unreadable: usize,
    next: Option<String>,
}

impl Jira {
    /// The fields that a listing asks for.
    fn listed(&self) -> Vec<&str> {
        LISTED.into_iter().chain(self.fields.names()).collect()
    }

    /// Issues that changed. Times in JQL have minutes, and are read in the caller's time zone: so
    /// it is asked by age, rounded up, with an overlap. What was seen before changes nothing.
    fn changed_request(
        &self,
        which: &str,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
    ) -> Result<Request, AdapterError> {
        let age = since.map(|since| {
            let minutes = (clock::now() - since).num_minutes();
            minutes.max(0) + 1 + OVERLAP_MINUTES
        });
        let changed = age.map_or_else(String::new, |age| format!(" AND updated >= \"-{age}m\""));
        let jql = format!("{which}{changed} ORDER BY updated ASC, key ASC");
        let mut body = json!({ "jql": jql, "fields": self.listed(), "maxResults": PAGE });
        match (self.version, cursor) {
            (Version::V3, None) => {}
            (Version::V3, Some(token)) => body["nextPageToken"] = token.into(),
            (Version::V2, cursor) => body["startAt"] = offset(cursor).into(),
        }
        self.search(&body)
    }

    /// A page of issues, the oldest change first.
    fn read_issues(&self, answer: &Response, cursor: Option<&str>) -> Result<Issues, AdapterError> {
        let page: Page = self.take(answer, Effect::Read, "reading what changed")?;
        let count = page.issues.len();
        let seen = offset(cursor) + count;
        let next = match (self.version, page.total) {
            (Version::V3, _) => page.next_page_token.filter(|_| page.is_last != Some(true)),
            (Version::V2, Some(total)) if seen < total && count > 0 => Some(seen.to_string()),
            (Version::V2, _) => None,
        };
        let issues = page.issues.into_iter();
        let items: Vec<ExternalItem> = issues.filter_map(|issue| self.item_of(issue)).collect();
        Ok(Issues {
            unreadable: count - items.len(),
            items,
            next,
        })
    }
}

#[async_trait]
impl Reader for Jira {
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        // A person asks who may just have made a field: it is read now.
        let types = self.read_issue_types(context).await?;
        let kind = chosen(&types, self.issue_type(TicketCategory::General))?;
        let fields = self.read_fields(context, &kind.id).await?;
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &Field| {
            let has = |text: &str, wanted: &str| text.to_lowercase().contains(wanted);
            let mut wanted = wanted.iter();
            wanted.all(|wanted| has(&field.id, wanted) || has(&field.name, wanted))
        };
        Ok(fields.into_iter().filter(fits).map(shown).collect())
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let project = format!("project = {}", quoted(&self.project_key));
        let request = self.changed_request(&project, from.since, from.page)?;
        let page = self.read_issues(&context.send(request).await?, from.page)?;
        Ok(ChangePage {
            changes: page.items.into_iter().map(Change::seen).collect(),
            next: page.next,
            unreadable: page.unreadable,
            ..ChangePage::default()
        })
    }

    async fn known(
        &self,
        context: &CallContext<'_>,
        items: &[KnownItem],
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        let items = items.iter().filter(|item| is_number(&item.id));
        let (ids, markers): (Vec<&str>, Vec<&str>) = items
            .map(|item| (item.id.as_str(), item.marker.as_str()))
            .unzip();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // Digits, without quotes: what is quoted would be taken for a key. Numbers survive a move.
        let by_id = format!("id in ({})", ids.join(", "));
        // A search by numbers is refused where one of the issues is gone, and does not say which. A
        // search by labels is not.
        let markers: Vec<String> = markers.into_iter().map(quoted).collect();
        let by_marker = format!("labels in ({})", markers.join(", "));
        let (mut found, mut cursor, mut which) = (Vec::new(), None, &by_id);
        loop {
            let at: Option<&str> = cursor.as_deref();
            let answer = context
                .send(self.changed_request(which, since, at)?)
                .await?;
            if answer.status == 400 && which == &by_id {
                (cursor, which) = (None, &by_marker);
                continue;
            }
            let page = self.read_issues(&answer, at)?;
            found.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = item.address();
        if !is_address(id) {
            return Ok(None);
        }
        let mut names = self.listed();
        names.push("description");
        let request = self.reading(&["issue", id], &[("fields", &names.join(","))])?;
        let answer = context.send(request).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let issue: Issue = self.take(&answer, Effect::Read, "reading the issue")?;
        match self.item_of(issue) {
            Some(item) => Ok(Some(item)),
            None => Err(unreadable(&answer)),
        }
    }
}

fn unreadable(answer: &Response) -> AdapterError {
    let text = "the platform's answer cannot be read: the issue's id is no number";
    AdapterError::new(ErrorClass::Internal, text)
        .with_status(answer.status)
        .with_internal(answer.quote())
}

/// How far a Data Center's listing has come.
fn offset(cursor: Option<&str>) -> usize {
    cursor.and_then(|at| at.parse().ok()).unwrap_or(0)
}

/// A field for `integration.fields`.
fn shown(field: Field) -> PlatformField {
    let name = |value: &Value| {
        let name = value["name"].as_str().or_else(|| value["value"].as_str());
        name.map(str::to_owned)
    };
    PlatformField {
        kind: field.schema["type"].as_str().map(str::to_owned),
        custom: field.id.starts_with("customfield_"),
        id: field.id,
        name: field.name,
        required: field.required,
        allowed_values: field.allowed_values.iter().filter_map(name).collect(),
    }
}
