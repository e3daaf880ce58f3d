//! An issue in Jira's words and in ours.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::path::below;
use super::super::text::{Marker, head};
use super::super::{ExternalItem, Facts, Holder, ItemRef, Known, Moment, TicketFacts};
use super::calls::is_number;
use super::facts::TEXT_MAX;
use super::status::{category, is_cancelish};
use super::{Jira, Version, item};
use crate::domain::{TicketCategory, TicketStatus, TicketView};

/// Fields of an issue that a listing asks for, besides those that `custom_fields_mapping` names. A
/// hundred descriptions may be more than an answer holds: they are read with one issue alone.
pub(super) const LISTED: [&str; 6] = [
    "summary", "status", "priority", "assignee", "labels", "updated",
];

/// An issue as searches and reads show it.
#[derive(Deserialize)]
pub(super) struct Issue {
    id: String,
    key: String,
    #[serde(default)]
    fields: Value,
}

impl Jira {
    /// An issue as it stands; `None` where its id is no number.
    pub(super) fn item_of(&self, issue: Issue) -> Option<ExternalItem> {
        if !is_number(&issue.id) {
            return None;
        }
        let facts = self.facts_of(&issue);
        let labels = facts.tags.iter().flatten().map(String::as_str);
        let updated = issue.fields["updated"].as_str();
        Some(ExternalItem {
            marker: Marker::among(labels).map(str::to_owned),
            at: updated.and_then(moment).map(Moment::exact),
            facts,
            item: ItemRef {
                external_id: issue.key,
                stable_id: Some(issue.id),
            },
            ..ExternalItem::default()
        })
    }

    fn facts_of(&self, issue: &Issue) -> Facts {
        let fields = &issue.fields;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let labels = fields["labels"].as_array().map(|labels| {
            let labels = labels.iter().filter_map(Value::as_str);
            labels.map(str::to_owned).collect()
        });
        let account = match self.version {
            Version::V3 => "accountId",
            Version::V2 => "name",
        };
        // What is not shown is not said; an empty field is.
        let assignee = fields.get("assignee").and_then(|user| match user {
            Value::Null => Some(Holder::Nobody),
            user => text(&user[account]).map(Holder::Account),
        });
        let description = fields.get("description").map(plain);
        Facts {
            title: text(&fields["summary"]),
            description: description.map(|said| text(&said).unwrap_or_default()),
            status: text(&fields["status"]["name"]),
            status_class: text(&fields["status"]["statusCategory"]["key"]),
            priority: text(&fields["priority"]["name"]),
            assignee,
            tags: labels,
            custom: self.custom_facts(fields),
            url: self.page_of(&issue.key),
        }
    }

    /// What Jira says of an issue, in our words.
    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let class = facts.status_class.as_deref().unwrap_or_default();
        let status = facts.status.as_deref();
        let tags = facts.tags.as_ref().map(|tags| {
            let own = tags.iter().filter(|tag| !is_ours(tag));
            own.cloned().collect()
        });
        let custom: Map<String, Value> = facts.custom.clone().into_iter().collect();
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: status.map(|name| self.our_status(name, class)),
            priority: facts
                .priority
                .as_deref()
                .and_then(|name| self.priorities.back(name)),
            assignee: facts.assignee.clone(),
            tags,
            custom: self.fields.back(&custom).into_iter().collect(),
        }
    }

    /// What a create or an update sends of a ticket, in Jira's words. A status is not sent by them:
    /// it is where a change of status would lead.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let marker = format!("tkt-{}", ticket.id);
        let custom = self.custom(&ticket.custom_fields, &Known::rehearsal(), &mut Map::new());
        let assigned_to = ticket.assigned_to.as_ref();
        let account = assigned_to.and_then(|user| self.users.known(user));
        let status = ticket.status;
        // The driver cuts it before it is sent.
        let description = head(&ticket.description, TEXT_MAX);
        let description = item::description(&ticket.title, description);
        let description = plain(&self.text(&description).0);
        Facts {
            title: Some(item::summary(&ticket.title).0),
            description: description.as_str().map(str::to_owned),
            status: self.statuses.out(status).map(str::to_owned),
            status_class: Some(category(status).to_owned()),
            priority: self.priorities.out(ticket.priority).map(str::to_owned),
            assignee: account.map(|account| Holder::Account(account.to_owned())),
            tags: Some(item::labels(ticket, &marker)),
            custom: self.custom_facts(&custom.into()),
            url: None,
        }
    }

    /// The page of an issue that a person would open.
    pub(super) fn page_of(&self, key: &str) -> Option<String> {
        below(&self.site, &["browse", key]).ok().map(String::from)
    }

    /// A status of Jira's in our words: a configured name first, else by its category.
    fn our_status(&self, theirs: &str, class: &str) -> TicketStatus {
        let configured = self.transitions.back(theirs);
        if let Some(status) = configured.or_else(|| self.statuses.back(theirs)) {
            return status;
        }
        match class {
            "done" if is_cancelish(theirs) => TicketStatus::Cancelled,
            "done" if theirs.eq_ignore_ascii_case("closed") => TicketStatus::Closed,
            "done" => TicketStatus::Resolved,
            "indeterminate" if theirs.to_lowercase().contains("waiting") => TicketStatus::Pending,
            "indeterminate" => TicketStatus::InProgress,
            _ => TicketStatus::Open,
        }
    }
}

/// Whether a label is one that we put there beside the tags.
fn is_ours(label: &str) -> bool {
    let category = label
        .strip_prefix("category-")
        .and_then(TicketCategory::parse);
    category.is_some() || Marker::among([label]).is_some()
}

/// A value of a field as plain as it can be compared: of an option its value, of a document its
/// text.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(map) if map.get("type").is_some_and(|kind| kind == "doc") => {
            let mut text = String::new();
            write(value, &mut text);
            text.trim_end().into()
        }
        Value::Object(map) => {
            let named = ["value", "name", "accountId"]
                .iter()
                .find_map(|name| map.get(*name));
            named.unwrap_or(value).clone()
        }
        other => other.clone(),
    }
}

/// The text of a node of a document, a line a block.
fn write(node: &Value, text: &mut String) {
    match node["type"].as_str() {
        Some("text") => text.push_str(node["text"].as_str().unwrap_or_default()),
        Some("hardBreak") => text.push('\n'),
        _ => {}
    }
    let content = node["content"].as_array();
    let is_line = content.is_some_and(|nodes| {
        nodes
            .iter()
            .any(|node| matches!(node["type"].as_str(), Some("text" | "hardBreak")))
    });
    for inner in content.into_iter().flatten() {
        write(inner, text);
    }
    if is_line {
        text.push('\n');
    }
}

/// Jira writes `+0000`, not `Z` or `+00:00`.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.3f%z")
        .ok()
        .map(|moment| moment.with_timezone(&Utc))
}

#[cfg(test)]
mod tests;
