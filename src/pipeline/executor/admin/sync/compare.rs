//! What differs between an item and its ticket, and what is written and told of that.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::state::Counts;
use crate::contract::{Subject, notice};
use crate::domain::{CommandId, Priority, TicketStatus};
use crate::platforms::{ExternalItem, ItemRef, TicketFacts};
use crate::store::{BoundTicket, GoneTicket, MatchedItem, OutboxRow, SyncedTicket};

/// A search may show an item as it was so long ago: its index lags behind what is read by id.
const SEARCH_LAG: chrono::Duration = chrono::Duration::seconds(30);

/// An item as the platform showed it.
pub(super) struct Seen {
    pub(super) item: ExternalItem,
    /// What of it is ours to have.
    pub(super) ours: TicketFacts,
    /// When it was asked for, by the database's clock.
    pub(super) asked_at: DateTime<Utc>,
    /// Whether it was read by its id, and so was current.
    pub(super) is_current: bool,
    /// What it was asked for by, where that may have changed since.
    pub(super) asked_by: Option<String>,
}

impl Seen {
    pub(super) fn stable(&self) -> Option<&str> {
        self.item.item.stable_id.as_deref()
    }

    pub(super) fn name(&self) -> &str {
        &self.item.item.external_id
    }

    /// When it last changed there, at the earliest.
    pub(super) fn changed_at(&self) -> Option<DateTime<Utc>> {
        self.item.at.map(|at| at.low)
    }

    /// Whether it says nothing of its ticket: something was written since it was asked for, or is
    /// being written.
    pub(super) fn is_void(&self, ours: &BoundTicket) -> bool {
        let lag = if self.is_current {
            chrono::Duration::zero()
        } else {
            SEARCH_LAG
        };
        ours.voids(self.asked_at - lag)
    }
}

/// An item that the platform says is gone.
pub(super) struct Vanished {
    pub(super) item: ItemRef,
    /// When it was asked for, by the database's clock.
    pub(super) asked_at: DateTime<Utc>,
}

/// Our tickets by what their items are called.
pub(super) struct Index<'a> {
    by_name: HashMap<&'a str, &'a BoundTicket>,
    by_stable: HashMap<&'a str, &'a BoundTicket>,
}

impl<'a> Index<'a> {
    /// Of two tickets that have the same item, the one that is not deleted counts.
    pub(super) fn of(bound: &'a [BoundTicket]) -> Self {
        let alive_last = || {
            let (deleted, alive): (Vec<_>, Vec<_>) = bound.iter().partition(|t| t.is_deleted);
            deleted.into_iter().chain(alive)
        };
        Self {
            by_name: alive_last()
                .map(|ticket| (ticket.external_id.as_str(), ticket))
                .collect(),
            by_stable: alive_last()
                .filter_map(|ticket| Some((ticket.stable_id.as_deref()?, ticket)))
                .collect(),
        }
    }

    pub(super) fn ticket(&self, seen: &Seen) -> Option<&'a BoundTicket> {
        let name = seen.asked_by.as_deref().unwrap_or_else(|| seen.name());
        self.called(name, seen.stable())
    }

    fn called(&self, name: &str, stable: Option<&str>) -> Option<&'a BoundTicket> {
        let by_stable = stable.and_then(|id| self.by_stable.get(id));
        // A key may be given to another issue later; one whose number is known is not found by its
        // key.
        let by_name = || {
            let named = self.by_name.get(name);
            named.filter(|ours| ours.stable_id.is_none() || stable.is_none())
        };
        by_stable.or_else(by_name).copied()
    }
}

/// What an item has other than its ticket.
pub(super) struct Change {
    status: Option<TicketStatus>,
    priority: Option<Priority>,
    moved: bool,
}

impl Change {
    pub(super) fn of(seen: &Seen, ours: &BoundTicket) -> Self {
        let theirs = &seen.ours;
        Self {
            // A closed ticket of ours is where the platform's "done" wants it.
            status: theirs.status.filter(|status| !same(*status, ours.status)),
            priority: (theirs.priority).filter(|priority| *priority != ours.priority),
            moved: seen.name() != ours.external_id,
        }
    }

    pub(super) const fn is_none(&self) -> bool {
        self.status.is_none() && self.priority.is_none() && !self.moved
    }
}

/// Whose changes are compared, and what is done with them.
pub(super) struct Scene<'a> {
    pub(super) subject: Subject,
    pub(super) command: CommandId,
    /// The member of `external_ref` that is the stable id.
    pub(super) stable_ref: &'a str,
    /// Whether a ticket whose item is gone is closed (`settings.on_external_delete`).
    pub(super) closes: bool,
    /// From when on the run asked for changes.
    pub(super) since: Option<DateTime<Utc>>,
}

/// What is written and told of a page.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) tickets: Vec<SyncedTicket>,
    pub(super) externals: Vec<MatchedItem>,
    pub(super) gone: Vec<GoneTicket>,
    /// The tickets whose items were there.
    pub(super) met: Vec<Uuid>,
    pub(super) events: Vec<OutboxRow>,
    pub(super) counts: Counts,
    /// When what was put off changed, at the earliest.
    pub(super) put_off_at: Option<DateTime<Utc>>,
}

/// What differs between theirs and ours.
pub(super) fn compare(
    scene: &Scene<'_>,
    items: &[Seen],
    vanished: &[Vanished],
    bound: &[BoundTicket],
) -> Compared {
    let index = Index::of(bound);
    let mut found = Compared::default();
    for seen in items {
        match index.ticket(seen) {
            None => {
                found.counts.unknown += 1;
                let told = told(scene, "ticket.external.created", seen, None);
                found.events.push(told);
            }
            // It is no foreign item for that we have deleted its ticket.
            Some(ours) if ours.is_deleted => found.counts.unchanged += 1,
            Some(ours) => found.of_item(scene, seen, ours),
        }
    }
    for item in vanished {
        let stable = item.item.stable_id.as_deref();
        let ours = index.called(&item.item.external_id, stable);
        if let Some(ours) = ours.filter(|ours| !ours.is_deleted && !ours.is_gone) {
            found.of_vanished(scene, item, ours);
        }
    }
    found
}

impl Compared {
    fn of_item(&mut self, scene: &Scene<'_>, seen: &Seen, ours: &BoundTicket) {
        self.met.push(ours.id.uuid());
        let change = Change::of(seen, ours);
        // Rows of an older application know no stable id, and a move would lose them.
        let learns = !ours.has_stable_ref && seen.stable().is_some();
        let is_void = seen.is_void(ours);
        if is_void && !change.is_none() {
            self.counts.put_off += 1;
            // The next one must see it again.
            let at = seen.changed_at().or(scene.since);
            // Where nothing says when it changed, it may have been at any time.
            let at = at.unwrap_or(DateTime::UNIX_EPOCH);
            self.put_off_at = Some(self.put_off_at.map_or(at, |known| known.min(at)));
            return;
        }
        if !is_void && (change.moved || learns || !ours.is_recorded) {
            self.externals.push(MatchedItem {
                ticket: ours.id,
                external_id: seen.name().to_owned(),
                stable_id: seen
                    .stable()
                    .or(ours.stable_id.as_deref())
                    .map(str::to_owned),
            });
        }
        if !change.is_none() || (learns && !is_void) {
            self.tickets.push(SyncedTicket {
                id: ours.id,
                status: change.status,
                priority: change.priority,
                external_id: change.moved.then(|| seen.name().to_owned()),
                external_url: (seen.item.facts.url.clone()).filter(|_| change.moved),
                external_ref: seen.stable().filter(|_| learns).map(|id| {
                    let name = scene.stable_ref.to_owned();
                    Map::from_iter([(name, Value::from(id))])
                }),
                asked_at: seen.asked_at,
            });
        }
        if change.is_none() {
            self.counts.unchanged += 1;
            return;
        }
        self.counts.updated += 1;
        let told = told(scene, "ticket.external.updated", seen, Some(ours));
        self.events.push(told);
    }

    fn of_vanished(&mut self, scene: &Scene<'_>, item: &Vanished, ours: &BoundTicket) {
        // It is missing still when the next one looks.
        if ours.voids(item.asked_at) {
            return;
        }
        self.counts.deleted += 1;
        let is_over = matches!(ours.status, TicketStatus::Closed | TicketStatus::Cancelled);
        self.gone.push(GoneTicket {
            ticket: ours.id,
            closes: scene.closes && !is_over,
            asked_at: item.asked_at,
        });
        self.events.push(told_gone(scene, item, ours));
    }
}

/// Whether a platform's status is no news: it knows fewer than we do.
fn same(theirs: TicketStatus, ours: TicketStatus) -> bool {
    use TicketStatus::{Cancelled, Closed, InProgress, New, Open, Pending, Resolved};
    matches!(
        (theirs, ours),
        (New | Open, New | Open)
            | (InProgress | Pending, InProgress | Pending)
            | (Resolved | Closed, Resolved | Closed)
            | (Cancelled, Cancelled)
    )
}

fn told(scene: &Scene<'_>, event_type: &str, seen: &Seen, ours: Option<&BoundTicket>) -> OutboxRow {
    let (theirs, updated_at) = (&seen.ours, seen.changed_at());
    let facts = json!({
        "ticket_id": ours.map(|ticket| ticket.id), "origin": "sync",
        "external_ticket_id": seen.name(), "external_ticket_url": seen.item.facts.url,
        "title": seen.item.facts.title, "status": theirs.status, "priority": theirs.priority,
        "updated_at": updated_at,
        "old_status": ours.map(|ticket| ticket.status),
        "old_priority": ours.map(|ticket| ticket.priority),
    });
    // The same change seen again by the next sync's overlap is the same event.
    let name = format!("{event_type} {} {updated_at:?}", seen.name());
    row(scene, event_type, &name, facts)
}

fn told_gone(scene: &Scene<'_>, item: &Vanished, ours: &BoundTicket) -> OutboxRow {
    let event_type = "ticket.external.deleted";
    let facts = json!({
        "ticket_id": ours.id, "origin": "sync",
        "external_ticket_id": item.item.external_id, "external_ticket_url": null,
        "title": null, "status": null, "priority": null, "updated_at": null,
        "old_status": ours.status, "old_priority": ours.priority,
        "deleted": { "kind": "deleted", "into": null },
    });
    let name = format!("{event_type} {}", item.item.address());
    row(scene, event_type, &name, facts)
}

fn row(scene: &Scene<'_>, event_type: &str, name: &str, facts: Value) -> OutboxRow {
    let facts = match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let mut told = notice(event_type, &scene.subject, Some(scene.command), facts);
    let id = Uuid::new_v5(&scene.subject.id.uuid(), name.as_bytes());
    told.body = told.body.replace(&told.id.to_string(), &id.to_string());
    told.id = id;
    OutboxRow::from(told)
}
