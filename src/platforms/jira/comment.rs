//! Comments: posted with our marker as a property, and found by it.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{AdapterError, CallContext, DedupKey, Effect, Plan, Receipt, Response};
use super::Jira;
use super::item::PROPERTY;
use super::words::moment;

/// Comments a page of a look-up.
const PAGE: &str = "100";
/// Pages of comments that a look-up reads at most: as many comments as an issue takes.
const PAGES_MAX: usize = 50;

#[derive(Deserialize)]
struct Page {
    comments: Vec<Comment>,
    #[serde(default, rename = "startAt")]
    start: usize,
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    created: Option<String>,
    properties: Option<Vec<Property>>,
}

#[derive(Deserialize)]
struct Property {
    value: Value,
}

/// What a page of comments says of a marker.
#[derive(Debug, PartialEq)]
enum Seen {
    /// It is on the comment with this id.
    Found(String),
    /// It is on none.
    Absent,
    /// Not on these; the next page begins here.
    More(usize),
}

impl Jira {
    /// A comment with the text of a field of ours.
    pub(super) fn plan_comment(
        &self,
        issue: &str,
        (field, body): (&str, &str),
        public: bool,
        marker: &str,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let mut properties = vec![json!({ "key": PROPERTY, "value": { "mark": marker } })];
        let mut comment = json!({ "body": self.noted_text(field, body, &mut left_out) });
        match self.internal_comments.as_deref() {
            _ if public => {}
            Some("service_desk") => {
                let internal = json!({ "key": "sd.public.comment", "value": { "internal": true } });
                properties.push(internal);
            }
            Some(role) => comment["visibility"] = json!({ "type": "role", "value": role }),
            None => {
                let text = "a comment that is not public needs settings.internal_comments: \
                            \"service_desk\" for service projects, or the role that may see it; \
                            other projects would show it to all";
                return Err(AdapterError::unsupported(text));
            }
        }
        comment["properties"] = properties.into();
        let path = ["issue", issue, "comment"];
        Ok(Plan {
            request: self.api.make(Method::POST, &path)?.json(&comment).into(),
            left_out,
        })
    }

    pub(super) fn read_comment(&self, answer: &Response) -> Result<Receipt, AdapterError> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        let made: Made = self.take(answer, Effect::Create, "commenting on the issue")?;
        Ok(receipt(made.id))
    }

    /// The comment that a command made.
    pub(super) async fn find_comment(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        key: &DedupKey<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let mut start = 0;
        for _ in 0..PAGES_MAX {
            let query = [
                ("orderBy", "-created"),
                ("startAt", &start.to_string()),
                ("maxResults", PAGE),
                ("expand", "properties"),
            ];
            let request = self.reading(&["issue", issue, "comment"], &query)?;
            let page: Page = self.ask(context, request, "listing the comments").await?;
            match seen(&page, start, key)? {
                Seen::Found(id) => return Ok(Some(receipt(id))),
                Seen::Absent => return Ok(None),
                Seen::More(next) => start = next,
            }
        }
        let text = "the issue has more comments than a look-up reads, so nothing is proved by them";
        Err(AdapterError::unsupported(text))
    }
}

fn receipt(id: String) -> Receipt {
    Receipt {
        external_comment_id: Some(id),
        ..Receipt::default()
    }
}

/// Looks through a page for a marker. That a comment is not there is proved only by a listing that
/// shows markers, to its end or back to before the command came; a minute for clocks that differ.
fn seen(page: &Page, start: usize, key: &DedupKey<'_>) -> Result<Seen, AdapterError> {
    let no_proof = |what: &str| {
        let text = format!("Jira {what}, so nothing is proved by them");
        Err(AdapterError::unsupported(text).with_status(200))
    };
    let has_marker = |comment: &&Comment| {
        let mut properties = comment.properties.iter().flatten();
        properties.any(|property| property.value["mark"] == key.marker)
    };
    let comments = &page.comments;
    if let Some(comment) = comments.iter().find(has_marker) {
        return Ok(Seen::Found(comment.id.clone()));
    }
    if comments.is_empty() && start == 0 && page.total.unwrap_or(0) == 0 {
        return Ok(Seen::Absent);
    }
    if page.start != start {
        return no_proof("does not list the issue's comments page by page");
    }
    if !comments.is_empty() && comments.iter().all(|comment| comment.properties.is_none()) {
        return no_proof(
            "lists the issue's comments without their properties (expand=properties), in which \
             the marker is",
        );
    }
    let since = key.received_at - chrono::Duration::minutes(1);
    let created = |comment: &Comment| comment.created.as_deref().and_then(moment);
    let created: Vec<Option<DateTime<Utc>>> = comments.iter().map(created).collect();
    // Newest first, as asked: then older ones cannot be it.
    let is_sorted = created
        .windows(2)
        .all(|pair| matches!(pair, [Some(newer), Some(older)] if newer >= older));
    let last = created.last().copied().flatten();
    let reaches_back = created.len() > 1 && is_sorted && last.is_some_and(|at| at < since);
    let next = start + comments.len();
    if reaches_back || page.total.is_some_and(|total| next >= total) {
        return Ok(Seen::Absent);
    }
    if comments.is_empty() {
        return no_proof("does not list all of the issue's comments");
    }
    Ok(Seen::More(next))
}

#[cfg(test)]
mod tests;
