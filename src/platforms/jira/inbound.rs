//! What Jira tells by itself: webhooks of an administrator, signed over their body, and those of an
//! OAuth app, whose token proves the sender and not the body. Such a delivery only names what is to
//! be read again.
//!
//! Sources: developer.atlassian.com/cloud/jira/platform/webhooks; Data Center:
//! confluence.atlassian.com adminjiraserver 938846912 (`X-Hub-Signature` from 10.0 on, Basic
//! before).

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use super::super::inbound::{
    Coded, Hit, Hooks, Inbound, Key, Mac, Scheme, SecretMember, Value as Proof, When,
};
use super::super::{
    Actor, AdapterError, Change, ChangeKind, ExternalComment, Facts, Holder, ItemRef, Moment, Needs,
};
use super::Jira;
use super::calls::is_number;
use super::words::{Issue, moment};
use crate::domain::AuthType;

/// Of a delivery: unique in a site, the same over its repeats.
const ID: &str = "x-atlassian-webhook-identifier";

static SCHEMES: [Scheme; 3] = [
    Scheme::body_hex("x-hub-signature", "sha256="),
    Scheme {
        when: When::Auth(AuthType::Oauth2),
        value: Proof::Header("authorization", "Bearer "),
        mac: Mac::JwtHs256,
        key: Key::Text,
        coded: Coded::Plain,
        over: &[],
        time: None,
    },
    Scheme::basic(),
];

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&SCHEMES)
    .keep(&[ID, "x-atlassian-webhook-flow"])
    .proved_by(&[SecretMember {
        auth_type: Some(AuthType::Oauth2),
        ..SecretMember::new("client_secret")
    }]);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    webhook_event: String,
    timestamp: Option<i64>,
    user: Option<Account>,
    issue: Option<Issue>,
    comment: Option<Comment>,
    #[serde(default)]
    changelog: Changelog,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    account_id: Option<String>,
    /// Data Center.
    name: Option<String>,
    display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    id: String,
    #[serde(rename = "self")]
    address: Option<String>,
    #[serde(default)]
    body: Value,
    author: Option<Account>,
    created: Option<String>,
    updated: Option<String>,
    jsd_public: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Changelog {
    #[serde(default)]
    items: Vec<Changed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    field: String,
    from: Option<String>,
    from_string: Option<String>,
}

impl Inbound for Jira {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let event = delivery.webhook_event.as_str();
        let event = event.strip_prefix("jira:").unwrap_or(event);
        let kind = match event {
            "issue_created" => ChangeKind::Created,
            "issue_updated" => ChangeKind::Updated,
            "issue_deleted" => ChangeKind::Deleted,
            "comment_created" => ChangeKind::Commented,
            "comment_updated" => ChangeKind::CommentChanged,
            "comment_deleted" => ChangeKind::CommentDeleted,
            // Sprints, versions, work logs and whatever else a site may tell of.
            _ => return Ok(Vec::new()),
        };
        let is_comment = event.starts_with("comment_");
        let by = delivery.user.as_ref().map(Account::actor);
        let told_at = delivery.timestamp.and_then(DateTime::from_timestamp_millis);
        let item = delivery.issue.and_then(|issue| self.item_of(issue));
        let id = hit.change_id(ID, 0);
        let mut change = match (item, &delivery.comment) {
            (Some(item), _) => Change {
                at: item.at,
                facts: item.facts,
                marker: item.marker,
                whole: !is_comment,
                ..Change::new(id, kind, item.item)
            },
            // A Data Center tells of a comment without its issue, whose number is in its address.
            (None, Some(comment)) => match comment.issue() {
                Some(item) => Change {
                    needs: Needs::Parent,
                    ..Change::new(id, kind, item)
                },
                None => return Ok(Vec::new()),
            },
            (None, None) => return Ok(Vec::new()),
        };
        change.by = by;
        change.before = delivery.changelog.before(self);
        if let Some(comment) = delivery.comment.filter(|_| is_comment) {
            let at = comment.updated.as_deref().or(comment.created.as_deref());
            change.at = at.and_then(moment).map(Moment::exact);
            if change.needs == Needs::Nothing && change.kind != ChangeKind::CommentDeleted {
                // Its marker is a property, which is not told.
                change.needs = Needs::Comment {
                    id: comment.id.clone(),
                };
            }
            change.by = change
                .by
                .or_else(|| comment.author.as_ref().map(Account::actor));
            change.comment = Some(comment.shown());
        }
        change.at = change.at.or_else(|| told_at.map(Moment::exact));
        if proves_sender_only(hit) && !is_comment && change.kind != ChangeKind::Deleted {
            change = Change {
                by: change.by,
                ..Change::thin(change.id, change.item, change.at)
            };
        }
        Ok(vec![change])
    }
}

/// Whether the delivery's proof does not cover its body.
fn proves_sender_only(hit: &Hit<'_>) -> bool {
    hit.header("x-hub-signature").is_none()
}

impl Account {
    fn actor(&self) -> Actor {
        Actor {
            id: self.account_id.clone().or_else(|| self.name.clone()),
            name: self.display_name.clone(),
        }
    }
}

impl Comment {
    /// `…/rest/api/2/issue/10010/comment/10042`
    fn issue(&self) -> Option<ItemRef> {
        let (_, rest) = self.address.as_deref()?.split_once("/issue/")?;
        let (id, _) = rest.split_once("/comment/")?;
        is_number(id).then(|| ItemRef {
            external_id: id.to_owned(),
            stable_id: Some(id.to_owned()),
        })
    }

    fn shown(self) -> ExternalComment {
        ExternalComment {
            body: self.body.as_str().unwrap_or_default().to_owned(),
            public: self.jsd_public,
            author: self.author.as_ref().map(Account::actor),
            created_at: self.created.as_deref().and_then(moment),
            id: self.id,
            ..ExternalComment::default()
        }
    }
}

impl Changelog {
    /// What was so before, in Jira's words.
    fn before(self, jira: &Jira) -> Facts {
        let mut before = Facts::default();
        for changed in self.items {
            let was = changed.from_string;
            match changed.field.as_str() {
                "summary" => before.title = was,
                "description" => before.description = Some(was.unwrap_or_default()),
                "status" => before.status = was,
                "priority" => before.priority = was,
                "assignee" => {
                    before.assignee = Some(changed.from.map_or(Holder::Nobody, Holder::Account));
                }
                "labels" => {
                    let labels = was.unwrap_or_default();
                    before.tags = Some(labels.split_whitespace().map(str::to_owned).collect());
                }
                "Key" => before.url = was.and_then(|key| jira.page_of(&key)),
                _ => {}
            }
        }
        before
    }
}

#[cfg(test)]
mod tests;
