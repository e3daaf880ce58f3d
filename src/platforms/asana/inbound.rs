//! What Asana tells by itself ("Webhooks guide"): several events of one body, in any order, each of
//! names alone. An event has no id; what it says is one. An empty list is a heartbeat.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::Asana;
use super::words::moment;
use crate::platforms::inbound::{Handshake, Hit, Hooks, Reply, Scheme};
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ExternalComment, Inbound, ItemRef, Moment, Needs,
};

/// Comes once, while a webhook is made, and is given back.
const SECRET: &str = "x-hook-secret";

pub(in crate::platforms) static HOOKS: Hooks =
    Hooks::new(&[Scheme::body_hex("x-hook-signature", "")]).shaking(shake);

#[derive(Deserialize)]
struct Delivery {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    user: Option<Thing>,
    created_at: Option<String>,
    action: String,
    resource: Option<Thing>,
    parent: Option<Thing>,
    change: Option<Detail>,
}

#[derive(Deserialize)]
struct Thing {
    gid: String,
    resource_type: Option<String>,
    resource_subtype: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    field: Option<String>,
    action: Option<String>,
}

impl Thing {
    fn is(&self, kind: &str) -> bool {
        self.resource_type.as_deref() == Some(kind)
    }

    fn item(&self) -> ItemRef {
        ItemRef {
            external_id: self.gid.clone(),
            stable_id: Some(self.gid.clone()),
        }
    }
}

impl Event {
    /// The same each time it is told.
    fn id(&self) -> String {
        let gid = |thing: &Option<Thing>| thing.as_ref().map(|thing| thing.gid.clone());
        let detail = self.change.as_ref();
        let parts = [
            self.created_at.clone(),
            Some(self.action.clone()),
            gid(&self.resource),
            gid(&self.parent),
            detail.and_then(|detail| detail.field.clone()),
            detail.and_then(|detail| detail.action.clone()),
            gid(&self.user),
        ];
        parts.map(Option::unwrap_or_default).join("|")
    }

    fn change(&self, kind: ChangeKind, item: ItemRef, needs: Needs) -> Change {
        let at: Option<DateTime<Utc>> = self.created_at.as_deref().and_then(moment);
        Change {
            at: at.map(Moment::exact),
            by: self.user.as_ref().map(|user| Actor {
                id: Some(user.gid.clone()),
                name: None,
            }),
            needs,
            ..Change::new(self.id(), kind, item)
        }
    }

    /// What happened to a task; `None` of what is not followed.
    fn of_task(&self, task: &Thing, project: &str) -> Option<Change> {
        let parent = self.parent.as_ref();
        let of_other = parent.is_some_and(|parent| parent.is("project") && parent.gid != project);
        let of_project = parent.is_some_and(|parent| parent.is("project"));
        let kind = match self.action.as_str() {
            "added" | "removed" if of_other => return None,
            "added" if of_project => ChangeKind::Created,
            // It moved to a section, or left the project.
            "added" | "removed" | "changed" => ChangeKind::Updated,
            "deleted" => {
                return Some(self.change(ChangeKind::Deleted, task.item(), Needs::Nothing));
            }
            "undeleted" => ChangeKind::Restored,
            _ => return None,
        };
        Some(self.change(kind, task.item(), Needs::Item))
    }

    /// What happened to a comment.
    fn of_story(&self, story: &Thing) -> Option<Change> {
        if story.resource_subtype.as_deref() != Some("comment_added") {
            return None;
        }
        let kind = match self.action.as_str() {
            "added" => ChangeKind::Commented,
            "changed" => ChangeKind::CommentChanged,
            "deleted" | "removed" => ChangeKind::CommentDeleted,
            _ => return None,
        };
        let task = self.parent.as_ref().filter(|parent| parent.is("task"));
        let id = story.gid.clone();
        let needs = match (&kind, task) {
            (_, None) => Needs::Parent,
            (ChangeKind::CommentDeleted, Some(_)) => Needs::Nothing,
            (_, Some(_)) => Needs::Comment { id: id.clone() },
        };
        let comment = ExternalComment {
            id,
            ..ExternalComment::default()
        };
        Some(Change {
            comment: Some(comment),
            ..self.change(kind, task.map(Thing::item).unwrap_or_default(), needs)
        })
    }
}

/// Events that are not followed are answered, and no more.
fn shake(hit: &Hit<'_>, _: &[SecretString]) -> Option<Handshake> {
    if let Some(secret) = hit.header(SECRET).filter(|secret| !secret.is_empty()) {
        return Some(Handshake::Learn {
            secret: secret.to_owned().into(),
            echo: Some(SECRET),
            reply: Reply::OK,
        });
    }
    let events = hit.value()?.get("events").and_then(Value::as_array)?;
    events.is_empty().then_some(Handshake::Heartbeat)
}

impl Inbound for Asana {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let changes = delivery.events.iter().filter_map(|event| {
            let resource = event.resource.as_ref()?;
            match resource.resource_type.as_deref() {
                Some("task") => event.of_task(resource, &self.project),
                Some("story") => event.of_story(resource),
                _ => None,
            }
        });
        Ok(changes.collect())
    }
}
