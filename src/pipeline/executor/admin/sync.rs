//! `integration.sync`: what changed on the platform is brought into our tickets and told to the
//! world. Reads only, so it may be repeated; what was seen before changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{AdminOutcome, Refusal};
use crate::contract::{IntegrationSync, Subject, notice};
use crate::domain::{ErrorCode, Failure, Priority, TicketStatus};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::Job;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{
    AdapterError, AskedToWait, CallContext, ChangePage, Driver, ErrorClass, ExternalItem, ItemRef,
    KnownItem, Order, SyncFrom, TicketFacts, strangers,
};
use crate::store::{
    BoundTicket, LedgerChange, OutboxRow, StoreError, SyncRecord, SyncedTicket, chain,
};

/// Most items of one sync of a platform that lists the oldest change first; the next one goes on
/// where this one stopped.
const ITEMS_MAX: usize = 2000;
/// The same of a platform with another order: there is no place where the next one could go on.
const UNORDERED_MAX: usize = 20_000;
/// Most tickets that are asked for by id, and so many in one request.
const FOLLOWED_MAX: i64 = 5_000;
const FOLLOWED_AT_ONCE: usize = 200;
/// Most tickets that are asked for one by one, as no stable id of theirs is known.
const UNFOLLOWED_MAX: i64 = 50;
/// A search may show an item as it was so long ago: its index lags behind what is read by id.
const SEARCH_LAG: chrono::Duration = chrono::Duration::seconds(30);
/// How often, how many and with what pause items are read again whose snapshot is void.
const ROUNDS: usize = 4;
const READ_AGAIN_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(500);

/// An item as the platform showed it.
struct Seen {
    item: ExternalItem,
    /// What of it is ours to have.
    ours: TicketFacts,
    /// When it was asked for, by the database's clock.
    asked_at: DateTime<Utc>,
    /// Whether it was read by its id, and so was current.
    is_current: bool,
    /// What it was asked for by, where that may have changed since.
    asked_by: Option<String>,
}

impl Seen {
    fn stable(&self) -> Option<&str> {
        self.item.item.stable_id.as_deref()
    }

    fn name(&self) -> &str {
        &self.item.item.external_id
    }

    /// When it last changed there, at the earliest.
    fn changed_at(&self) -> Option<DateTime<Utc>> {
        self.item.at.map(|at| at.low)
    }

    /// Whether it says nothing of its ticket: something was written since it was asked for, or is
    /// being written.
    fn is_void(&self, ours: &BoundTicket) -> bool {
        let lag = if self.is_current {
            chrono::Duration::zero()
        } else {
            SEARCH_LAG
        };
        ours.voids(self.asked_at - lag)
    }
}

/// What the platform was found to have.
struct Listing {
    items: Vec<Seen>,
    /// Whether there is no more.
    complete: bool,
    /// Up to when an incomplete one has everything.
    reached: Option<DateTime<Utc>>,
    /// Where the next one may begin, as the platform says.
    mark: Option<String>,
    /// Tickets that were not asked for by id.
    not_followed: usize,
    /// Items without an id that could be one.
    unreadable: usize,
}

pub(super) async fn run(
    core: &Core,
    job: &Job,
    what: &IntegrationSync,
) -> Result<AdminOutcome, Refusal> {
    let handle = gates::owned(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    if what.outbound {
        let text = "what we hold goes out by commands, each with an outcome of its own; only \
                    direction inbound is synced";
        return Err(Failure::new(ErrorCode::UnsupportedOperation, text).into());
    }
    let sync = Sync {
        core,
        job,
        handle: &handle,
        adapter: adapter.as_ref(),
        tokens: TokenCache::new(&core.tokens, Some(&handle)),
        deadline: Instant::now() + core.config.dispatch.attempt_timeout,
        asked: AskedToWait::default(),
        since: handle.row.last_sync_at.filter(|_| !what.full),
    };
    let began = sync.clock().await?;
    let mark = sync.mark(what.full).await?;
    let mut listing = sync.list(mark.as_deref()).await?;
    sync.follow(&mut listing).await?;
    let bound = sync.settled(&mut listing.items).await?;
    let (record, mut counts) = compare(job, &sync, &listing, &bound, began);
    let unreadable = listing.unreadable;
    counts["errors"] = unreadable.into();
    let errors: Vec<String> = (unreadable > 0)
        .then(|| format!("{unreadable} items have no id that could be one; they are left out"))
        .into_iter()
        .collect();
    let mut result = json!({
        "integration_id": handle.row.id,
        "sync_type": if what.full { "full" } else { "incremental" },
        "direction": "inbound", "dry_run": what.dry_run, "counts": counts, "errors": errors,
        "complete": listing.complete, "since": sync.since,
    });
    if listing.not_followed > 0 {
        result["not_asked_by_id"] = listing.not_followed.into();
    }
    if what.dry_run {
        let changes: Vec<Value> = record
            .tickets
            .iter()
            .take(100)
            .map(|t| {
                json!({ "ticket_id": t.id, "status": t.status, "priority": t.priority,
                "external_ticket_id": t.external_id })
            })
            .collect();
        result["changes"] = changes.into();
    }
    Ok(AdminOutcome {
        handle: Some(handle),
        result,
        effect: (!what.dry_run).then(|| LedgerChange::RecordSync(Box::new(record))),
    })
}

/// One run.
struct Sync<'a> {
    core: &'a Core,
    job: &'a Job,
    handle: &'a Arc<ConnectedIntegration>,
    adapter: &'a Driver,
    tokens: TokenCache<'a>,
    deadline: Instant,
    /// What the platform's answers asked for.
    asked: AskedToWait,
    since: Option<DateTime<Utc>>,
}

impl Sync<'_> {
    fn context(&self) -> CallContext<'_> {
        CallContext::new(
            &self.core.http,
            self.deadline,
            self.core.lease.as_ref(),
            &self.tokens,
            strangers(self.handle.row.platform),
        )
        .remembering(self.handle.memory.as_ref())
        .mailing(&self.core.mail)
        .noting(&self.asked)
    }

    async fn clock(&self) -> Result<DateTime<Utc>, Refusal> {
        self.read(self.core.store.clock().await)
    }

    fn read<T>(&self, result: Result<T, StoreError>) -> Result<T, Refusal> {
        result.map_err(|error| {
            tracing::warn!(command_id = %self.job.id, error = chain(&error),
                "a sync cannot read our tickets");
            let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
            Refusal::Later(failure, None)
        })
    }

    /// What follows where the platform does not answer as it should. Nothing is written, so the
    /// next sync begins where this one did.
    fn refused(&self, error: &AdapterError) -> Refusal {
        tracing::info!(command_id = %self.job.id, error = %error, "a sync failed");
        let failure = error.failure();
        match error.class {
            ErrorClass::Transient { retry_after } | ErrorClass::RateLimited { retry_after } => {
                Refusal::Later(failure, retry_after.max(self.asked.get()))
            }
            ErrorClass::Timeout | ErrorClass::Unknown | ErrorClass::Internal => {
                Refusal::Later(failure, self.asked.get())
            }
            ErrorClass::Authentication
            | ErrorClass::Permission
            | ErrorClass::NotFound
            | ErrorClass::Validation { .. }
            | ErrorClass::Gone
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress => Refusal::For(failure),
        }
    }

    /// Where the last one left off, as the platform said.
    async fn mark(&self, full: bool) -> Result<Option<String>, Refusal> {
        if full {
            return Ok(None);
        }
        self.read(self.core.store.sync_mark(self.handle.row.id).await)
    }

    fn seen(&self, item: ExternalItem, asked_at: DateTime<Utc>) -> Seen {
        Seen {
            ours: self.adapter.ours(&item.facts),
            item,
            asked_at,
            is_current: false,
            asked_by: None,
        }
    }

    /// What changed where items are made.
    async fn list(&self, mark: Option<&str>) -> Result<Listing, Refusal> {
        let mut listing = Listing {
            items: Vec::new(),
            complete: false,
            reached: None,
            mark: None,
            not_followed: 0,
            unreadable: 0,
        };
        let mut cursor: Option<String> = None;
        loop {
            let asked_at = self.clock().await?;
            let from = SyncFrom {
                since: self.since,
                mark,
                page: cursor.as_deref(),
            };
            let page = self.adapter.changes(&self.context(), &from).await;
            let mut page = page.map_err(|error| self.refused(&error))?;
            let (order, next) = (page.order, page.next.take());
            listing.unreadable += page.unreadable;
            listing.mark = page.mark.take().or(listing.mark);
            self.take(&mut listing, page, asked_at).await?;
            let items_max = match order {
                Order::Oldest => ITEMS_MAX,
                Order::Newest | Order::None => UNORDERED_MAX,
            };
            match next {
                None => {
                    listing.complete = true;
                    break;
                }
                Some(_) if listing.items.len() >= items_max => {
                    listing.reached = match order {
                        Order::Oldest => listing.items.last().and_then(Seen::changed_at),
                        // What was not listed may have changed at any time since the last one.
                        Order::Newest | Order::None => self.since,
                    };
                    listing.mark = None;
                    break;
                }
                Some(next) => cursor = Some(next),
            }
        }
        // An item that changes meanwhile comes on a later page once more.
        let mut latest: HashMap<ItemRef, usize> = HashMap::new();
        for (index, seen) in listing.items.iter().enumerate() {
            let newest = latest.entry(seen.item.item.clone()).or_insert(index);
            let is_newer = |other: &Seen| {
                let at = |seen: &Seen| (seen.is_current, seen.changed_at());
                at(seen) >= at(other)
            };
            if listing.items.get(*newest).is_some_and(is_newer) {
                *newest = index;
            }
        }
        let mut index = 0;
        listing.items.retain(|seen| {
            index += 1;
            latest.get(&seen.item.item) == Some(&(index - 1))
        });
        Ok(listing)
    }

    /// The items of a page. What does not show its item is read by its id, once.
    async fn take(
        &self,
        listing: &mut Listing,
        page: ChangePage,
        asked_at: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let mut named: HashSet<ItemRef> = HashSet::new();
        for change in page.changes {
            if change.whole {
                let item = ExternalItem {
                    item: change.item,
                    at: change.at,
                    facts: change.facts,
                    marker: change.marker,
                    ..ExternalItem::default()
                };
                listing.items.push(self.seen(item, asked_at));
            } else if named.insert(change.item.clone()) {
                let asked_at = self.clock().await?;
                let read = self.adapter.get(&self.context(), &change.item).await;
                let read = read.map_err(|error| self.refused(&error))?;
                // One that is gone has nothing to say.
                listing.items.extend(read.map(|item| Seen {
                    is_current: true,
                    ..self.seen(item, asked_at)
                }));
            }
        }
        Ok(())
    }

    /// Asks for our own items by id too: one that was moved elsewhere is on no page.
    async fn follow(&self, listing: &mut Listing) -> Result<(), Refusal> {
        let limit = FOLLOWED_MAX + 1;
        let store = &self.core.store;
        let ours = store
            .followed_tickets(self.handle.row.id, self.adapter.stable_ref(), limit)
            .await;
        let mut ours = self.read(ours)?;
        let most = usize::try_from(FOLLOWED_MAX).unwrap_or(usize::MAX);
        listing.not_followed = ours.len().saturating_sub(most);
        ours.truncate(most);
        let listed: HashSet<String> = listing
            .items
            .iter()
            .filter_map(|seen| seen.stable().map(str::to_owned))
            .collect();
        let known: Vec<KnownItem> = ours
            .into_iter()
            .filter(|(_, id)| !listed.contains(id))
            .map(|(ticket, id)| KnownItem {
                id,
                marker: format!("tkt-{ticket}"),
            })
            .collect();
        for part in known.chunks(FOLLOWED_AT_ONCE) {
            let asked_at = self.clock().await?;
            let found = self
                .adapter
                .known(&self.context(), part, self.since)
                .await
                .map_err(|error| self.refused(&error))?;
            // Of a search by marks, copies are no items of ours.
            let asked: HashSet<&str> = part.iter().map(|item| item.id.as_str()).collect();
            let found = found.into_iter().map(|item| self.seen(item, asked_at));
            listing
                .items
                .extend(found.filter(|seen| seen.stable().is_some_and(|id| asked.contains(id))));
        }
        self.follow_by_name(listing).await
    }

    /// The same for tickets of which only the id is known that people quote: one that was moved
    /// still answers to it, and from then on its stable id is known.
    async fn follow_by_name(&self, listing: &mut Listing) -> Result<(), Refusal> {
        let store = &self.core.store;
        let names = store
            .unfollowed_tickets(
                self.handle.row.id,
                self.adapter.stable_ref(),
                UNFOLLOWED_MAX,
            )
            .await;
        let listed: HashSet<&str> = listing.items.iter().map(Seen::name).collect();
        let mut names = self.read(names)?;
        names.retain(|name| !listed.contains(name.as_str()));
        for name in names {
            let asked_at = self.clock().await?;
            let asked = ItemRef::named(&name);
            match self.adapter.get(&self.context(), &asked).await {
                Ok(Some(item)) => listing.items.push(Seen {
                    is_current: true,
                    asked_by: Some(name),
                    ..self.seen(item, asked_at)
                }),
                Ok(None) => {}
                Err(error) if error.class == ErrorClass::Unsupported => break,
                Err(error) => return Err(self.refused(&error)),
            }
        }
        Ok(())
    }

    /// Our tickets beside the items, once those items were read again whose snapshot is void: we
    /// wrote something while it was on its way, so it may show what was before. What is void still,
    /// as a command is under way, is for the next sync.
    async fn settled(&self, items: &mut [Seen]) -> Result<Vec<BoundTicket>, Refusal> {
        let mut bound = self.bound(items).await?;
        let mut left = READ_AGAIN_MAX;
        for round in 0..ROUNDS {
            let void: Vec<usize> = {
                let index = Index::of(&bound);
                let is_void = |seen: &Seen| {
                    index
                        .ticket(seen)
                        .is_some_and(|ours| !Change::of(seen, ours).is_none() && seen.is_void(ours))
                };
                (0..items.len())
                    .filter(|at| items.get(*at).is_some_and(is_void))
                    .take(left)
                    .collect()
            };
            if void.is_empty() || Instant::now() + PAUSE >= self.deadline {
                break;
            }
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            left -= void.len();
            let asked_at = self.clock().await?;
            for at in void {
                let Some(id) = items.get(at).map(|seen| seen.item.item.clone()) else {
                    continue;
                };
                let read = self.adapter.get(&self.context(), &id).await;
                let read = read.map_err(|error| self.refused(&error))?;
                // Where it is gone since, what the page showed stays void.
                if let (Some(item), Some(seen)) = (read, items.get_mut(at)) {
                    *seen = Seen {
                        is_current: true,
                        asked_by: seen.asked_by.take(),
                        ..self.seen(item, asked_at)
                    };
                }
            }
            bound = self.bound(items).await?;
        }
        Ok(bound)
    }

    async fn bound(&self, items: &[Seen]) -> Result<Vec<BoundTicket>, Refusal> {
        let names: Vec<String> = items
            .iter()
            .flat_map(|seen| [Some(seen.name()), seen.asked_by.as_deref()])
            .flatten()
            .map(str::to_owned)
            .collect();
        let stable: Vec<String> = items
            .iter()
            .filter_map(|seen| seen.stable().map(str::to_owned))
            .collect();
        let store = &self.core.store;
        self.read(
            store
                .bound_tickets(
                    self.handle.row.id,
                    &names,
                    self.adapter.stable_ref(),
                    &stable,
                )
                .await,
        )
    }
}

/// Our tickets by what their items are called.
struct Index<'a> {
    by_name: HashMap<&'a str, &'a BoundTicket>,
    by_stable: HashMap<&'a str, &'a BoundTicket>,
}

impl<'a> Index<'a> {
    fn of(bound: &'a [BoundTicket]) -> Self {
        Self {
            by_name: bound
                .iter()
                .map(|ticket| (ticket.external_id.as_str(), ticket))
                .collect(),
            by_stable: bound
                .iter()
                .filter_map(|ticket| Some((ticket.stable_id.as_deref()?, ticket)))
                .collect(),
        }
    }

    fn ticket(&self, seen: &Seen) -> Option<&'a BoundTicket> {
        let by_stable = seen.stable().and_then(|id| self.by_stable.get(id));
        // A key may be given to another issue later; one whose number is known is not found by its
        // key.
        let by_name = || {
            let name = seen.asked_by.as_deref().unwrap_or_else(|| seen.name());
            let named = self.by_name.get(name);
            named.filter(|ours| ours.stable_id.is_none() || seen.stable().is_none())
        };
        by_stable.or_else(by_name).copied()
    }
}

/// What an item has other than its ticket.
struct Change {
    status: Option<TicketStatus>,
    priority: Option<Priority>,
    moved: bool,
}

impl Change {
    fn of(seen: &Seen, ours: &BoundTicket) -> Self {
        let theirs = &seen.ours;
        Self {
            // A closed ticket of ours is where the platform's "done" wants it.
            status: theirs.status.filter(|status| !same(*status, ours.status)),
            priority: (theirs.priority).filter(|priority| *priority != ours.priority),
            moved: seen.name() != ours.external_id,
        }
    }

    const fn is_none(&self) -> bool {
        self.status.is_none() && self.priority.is_none() && !self.moved
    }
}

/// What differs between theirs and ours.
fn compare(
    job: &Job,
    sync: &Sync<'_>,
    listing: &Listing,
    bound: &[BoundTicket],
    began: DateTime<Utc>,
) -> (SyncRecord, Value) {
    let index = Index::of(bound);
    let row = &sync.handle.row;
    let subject = Subject {
        id: row.id,
        organization_id: row.organization_id,
        category: row.category,
        platform: row.platform,
    };
    let mut record = SyncRecord {
        integration_id: row.id,
        organization_id: job.organization_id,
        seen_until: if listing.complete {
            Some(began)
        } else {
            // The next one goes on behind the last that was seen.
            listing.reached.or(Some(began))
        },
        mark: listing.mark.clone(),
        tickets: Vec::new(),
        events: Vec::new(),
    };
    let (mut updated, mut unchanged, mut unknown, mut put_off) = (0u64, 0u64, 0u64, 0u64);
    for seen in &listing.items {
        let Some(ours) = index.ticket(seen) else {
            unknown += 1;
            record
                .events
                .push(told("ticket.external.created", &subject, job, seen, None));
            continue;
        };
        let change = Change::of(seen, ours);
        // Rows of an older application know no stable id, and a move would lose them.
        let learns = ours.stable_id.is_none() && seen.stable().is_some();
        let is_void = seen.is_void(ours);
        if change.is_none() && (!learns || is_void) {
            unchanged += 1;
            continue;
        }
        if is_void {
            put_off += 1;
            // The next one must see it again.
            record.seen_until = seen
                .changed_at()
                .or(sync.since)
                .and_then(|at| record.seen_until.map(|until| until.min(at)));
            // Behind it, it would not be listed again.
            record.mark = None;
            continue;
        }
        record.tickets.push(SyncedTicket {
            id: ours.id,
            status: change.status,
            priority: change.priority,
            external_id: change.moved.then(|| seen.name().to_owned()),
            external_url: (seen.item.facts.url.clone()).filter(|_| change.moved),
            external_ref: seen.stable().filter(|_| learns).map(|id| {
                let name = sync.adapter.stable_ref().to_owned();
                Map::from_iter([(name, Value::from(id))])
            }),
            asked_at: seen.asked_at,
        });
        if change.is_none() {
            unchanged += 1;
            continue;
        }
        updated += 1;
        record.events.push(told(
            "ticket.external.updated",
            &subject,
            job,
            seen,
            Some(ours),
        ));
    }
    let counts = json!({
        "seen": listing.items.len(), "updated": updated, "unchanged": unchanged, "unknown": unknown,
        "put_off": put_off, "errors": 0,
    });
    (record, counts)
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

fn told(
    event_type: &str,
    subject: &Subject,
    job: &Job,
    seen: &Seen,
    ours: Option<&BoundTicket>,
) -> OutboxRow {
    let (theirs, updated_at) = (&seen.ours, seen.changed_at());
    let facts = json!({
        "ticket_id": ours.map(|ticket| ticket.id), "origin": "sync",
        "external_ticket_id": seen.name(), "external_ticket_url": seen.item.facts.url,
        "title": seen.item.facts.title, "status": theirs.status, "priority": theirs.priority,
        "updated_at": updated_at,
        "old_status": ours.map(|ticket| ticket.status),
        "old_priority": ours.map(|ticket| ticket.priority),
    });
    let facts = match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let mut told = notice(event_type, subject, Some(job.id), facts);
    // The same change seen again by the next sync's overlap is the same event.
    let name = format!("{event_type} {} {updated_at:?}", seen.name());
    let id = Uuid::new_v5(&subject.id.uuid(), name.as_bytes());
    told.body = told.body.replace(&told.id.to_string(), &id.to_string());
    told.id = id;
    OutboxRow::from(told)
}
