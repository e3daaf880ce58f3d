//! What becomes of a batch of deliveries, beside the rows that are locked for it: what is written
//! of each ticket, and what is told. Several changes of one ticket are decided one after the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::comments::{self, Beside, Comment};
use super::decide::{self, Applied, PATIENCE, Rules, Saying, Verdict, kept};
use super::event::{self, Commented, Kind, Now, Told};
use super::fields::{Field, cut};
use super::{InboundRun, ReadChange};
use crate::domain::{CommandId, Priority, TicketId, TicketStatus, WaitReason};
use crate::platforms::{
    Change, ChangeKind, Driver, Holder, IMPORT_UNKNOWN, ItemRef, Moment, ON_EXTERNAL_DELETE,
    SYNC_DESCRIPTION,
};
use crate::store::{
    AskedChange, CommentRow, Decided, ExternalRow, Found, ImportRow, Item, LockedTicket, RowChange,
};

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Fate {
    /// A ticket's row has changed.
    Applied,
    /// It was told, and no row has changed.
    Told,
    /// It is our own, or what is known already.
    Echo,
    /// It was taken before.
    Repeat,
    /// Something newer is known.
    Old,
    /// It was told; no ticket has the item.
    Unknown,
    /// A ticket was made of it.
    Imported,
    /// It is of no concern: our ticket is deleted.
    Ignored,
}

impl Fate {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Applied, "applied"),
        (Self::Told, "told"),
        (Self::Echo, "echoes"),
        (Self::Repeat, "repeats"),
        (Self::Old, "old"),
        (Self::Unknown, "unknown"),
        (Self::Imported, "imported"),
        (Self::Ignored, "ignored"),
    ];

    pub(in crate::pipeline) fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(fate, _)| *fate == self);
        named.map_or("ignored", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(fate, _)| *fate)
    }
}

/// How a delivery came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline) enum Outcome {
    /// Its changes are taken.
    Taken(Vec<Fate>),
    /// One of them waits, so the delivery comes again.
    Waits(WaitReason),
}

impl Outcome {
    /// The command's result.
    pub(in crate::pipeline) fn counts(fates: &[Fate]) -> Value {
        let mut counts = Map::from_iter([("changes".to_owned(), json!(fates.len()))]);
        for (fate, name) in Fate::ALL {
            let count = fates.iter().filter(|found| **found == fate).count();
            counts.insert(name.to_owned(), count.into());
        }
        counts.into()
    }
}

/// What is asked of the database for the changes of some deliveries, in their order.
pub(in crate::pipeline) fn asked(runs: &[InboundRun]) -> Vec<AskedChange> {
    let of_run = |run: &InboundRun| {
        let (row, job) = (&run.handle.row, &run.job);
        let stable_ref = driver(run).map_or("id", Driver::stable_ref);
        let asked = run.changes.iter().map(|read| {
            let change = &read.change;
            let comment = change.comment.as_ref();
            AskedChange {
                id: Uuid::new_v5(&row.id.uuid(), change.id.as_bytes()),
                command_id: job.id,
                integration_id: row.id,
                organization_id: job.organization_id,
                external_id: change.item.external_id.clone(),
                stable_id: change.item.stable_id.clone(),
                stable_ref,
                marked: marked(change),
                comment: comment.map(|comment| comment.id.clone()),
                marked_by: comment
                    .and_then(|comment| comment.marker.as_deref()?.strip_prefix("cmd-"))
                    .and_then(CommandId::parse),
                person: person_asked(run, change),
            }
        });
        asked.collect::<Vec<_>>()
    };
    runs.iter().flat_map(of_run).collect()
}

fn driver(run: &InboundRun) -> Option<&Driver> {
    run.handle.adapter.as_deref().ok()
}

/// The ticket that the item's mark names.
fn marked(change: &Change) -> Option<TicketId> {
    TicketId::parse(change.marker.as_deref()?.strip_prefix("tkt-")?)
}

/// Who of ours has the account that an item is assigned to, as `settings.users` says.
fn person_asked(run: &InboundRun, change: &Change) -> Option<String> {
    let Some(Holder::Account(account)) = &change.facts.assignee else {
        return None;
    };
    let users = run.handle.row.settings.get("users")?.as_object()?;
    let has = |theirs: &Value| match theirs {
        Value::String(text) => text.trim() == account,
        Value::Number(number) => number.to_string() == *account,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    let (name, _) = users.iter().find(|(_, theirs)| has(theirs))?;
    Some(name.trim().to_lowercase())
}

/// The decisions of a batch, while it is worked off.
pub(in crate::pipeline) struct Batch {
    found: Found,
    rows: BTreeMap<Uuid, RowChange>,
    externals: BTreeMap<Uuid, ExternalRow>,
    comments: BTreeMap<(Uuid, String), CommentRow>,
    decided: Decided,
    /// What became of the changes of this batch, by their ids.
    fates: HashMap<Uuid, Result<Fate, WaitReason>>,
    imported: HashSet<Uuid>,
}

/// One change, and all that belongs to it.
struct One<'a> {
    run: &'a InboundRun,
    words: &'a Driver,
    read: &'a ReadChange,
    asked: &'a AskedChange,
    rules: Rules,
    now: DateTime<Utc>,
}

/// What a change does to one ticket.
enum Plan {
    Wait(WaitReason),
    Nothing(Fate),
    Do(Box<Doing>),
}

/// What is done.
struct Doing {
    fate: Fate,
    kind: Kind,
    applied: Applied,
    comment: Option<CommentRow>,
    told: Option<ToldComment>,
    /// How the item is gone; `Some(None)`: it is there again.
    gone: Option<Option<&'static str>>,
    is_told: bool,
}

struct ToldComment {
    action: &'static str,
    before: Option<String>,
    via_ticketwire: bool,
}

impl Doing {
    fn new(kind: Kind) -> Self {
        Self {
            fate: Fate::Told,
            kind,
            applied: Applied::default(),
            comment: None,
            told: None,
            gone: None,
            is_told: true,
        }
    }
}

impl Batch {
    pub(in crate::pipeline) fn new(found: Found) -> Self {
        Self {
            found,
            rows: BTreeMap::new(),
            externals: BTreeMap::new(),
            comments: BTreeMap::new(),
            decided: Decided::default(),
            fates: HashMap::new(),
            imported: HashSet::new(),
        }
    }

    /// Whether a delivery's command is still ours.
    pub(in crate::pipeline) fn has(&self, run: &InboundRun) -> bool {
        self.found.mine.contains(&run.job.id)
    }

    /// Decides the changes of a delivery; `asked` and `first` are as [`asked`] made them.
    pub(in crate::pipeline) fn decide(
        &mut self,
        run: &InboundRun,
        asked: &[AskedChange],
        first: usize,
    ) -> Outcome {
        let mut fates = Vec::with_capacity(run.changes.len());
        let mut waits = None;
        for (n, read) in run.changes.iter().enumerate() {
            let Some(asked) = asked.get(first + n) else {
                continue;
            };
            match self.change(run, read, asked, first + n) {
                Ok(fate) => fates.push(fate),
                Err(reason) => waits = waits.or(Some(reason)),
            }
        }
        waits.map_or(Outcome::Taken(fates), Outcome::Waits)
    }

    /// Decides one change of a delivery.
    pub(in crate::pipeline) fn decide_one(
        &mut self,
        run: &InboundRun,
        asked: &[AskedChange],
        n: usize,
    ) -> Outcome {
        let (Some(read), Some(of)) = (run.changes.get(n), asked.get(n)) else {
            return Outcome::Taken(Vec::new());
        };
        match self.change(run, read, of, n) {
            Ok(fate) => Outcome::Taken(vec![fate]),
            Err(reason) => Outcome::Waits(reason),
        }
    }

    /// What is written, with the commands' own settlements.
    pub(in crate::pipeline) fn finish(
        mut self,
        settlements: Vec<crate::store::Settlement>,
    ) -> Decided {
        self.decided.rows = self.rows.into_values().collect();
        self.decided.externals = self.externals.into_values().collect();
        self.decided.comments = self.comments.into_values().collect();
        self.decided.settlements = settlements;
        self.decided
    }

    fn change(
        &mut self,
        run: &InboundRun,
        read: &ReadChange,
        asked: &AskedChange,
        n: usize,
    ) -> Result<Fate, WaitReason> {
        if let Some((by, verdict)) = self.found.taken.get(&asked.id) {
            let own = *by == Some(run.job.id);
            let before = Fate::parse(verdict).filter(|_| own);
            return Ok(before.unwrap_or(Fate::Repeat));
        }
        if let Some(before) = self.fates.get(&asked.id) {
            return before.map(|_| Fate::Repeat);
        }
        let Some(words) = driver(run) else {
            return Ok(Fate::Ignored);
        };
        let now = self.found.now;
        let one = One {
            run,
            words,
            read,
            asked,
            rules: Rules {
                now,
                may_wait: now - run.job.received_at < PATIENCE,
                can_read: words.can_read(),
                takes_description: setting(run, SYNC_DESCRIPTION) == Some(&Value::Bool(true)),
            },
            now,
        };
        let decided = self.one(&one, n);
        self.fates.insert(
            asked.id,
            decided.as_ref().map(|(fate, _)| *fate).map_err(|r| *r),
        );
        match decided {
            Ok((fate, ticket)) => {
                self.decided.taken.push((asked.id, fate.name(), ticket));
                Ok(fate)
            }
            Err(reason) => {
                self.decided.put_back.push(asked.id);
                Err(reason)
            }
        }
    }

    fn one(&mut self, one: &One<'_>, n: usize) -> Result<(Fate, Option<TicketId>), WaitReason> {
        let bound = self.found.bound.get(n).cloned().unwrap_or_default();
        let is_live = |id: &TicketId| {
            let ticket = self.found.tickets.get(id);
            ticket.is_some_and(|ticket| !ticket.stored.is_deleted)
        };
        let live: Vec<TicketId> = bound.iter().copied().filter(is_live).collect();
        if live.is_empty() {
            return if bound.is_empty() {
                self.unknown(one)
            } else {
                Ok((Fate::Ignored, bound.first().copied()))
            };
        }
        // All of them are decided before anything is written of one.
        let mut plans = Vec::with_capacity(live.len());
        for id in &live {
            let Some(ticket) = self.found.tickets.get(id) else {
                continue;
            };
            match self.plan(one, ticket) {
                Plan::Wait(reason) => return Err(reason),
                plan => plans.push((*id, plan)),
            }
        }
        let mut worst = Fate::Echo;
        for (id, plan) in plans {
            let fate = match plan {
                Plan::Wait(reason) => return Err(reason),
                Plan::Nothing(fate) => fate,
                Plan::Do(doing) => {
                    let fate = doing.fate;
                    self.carry_out(one, id, *doing);
                    fate
                }
            };
            if worst == Fate::Echo || fate == Fate::Applied {
                worst = fate;
            }
        }
        Ok((worst, live.first().copied()))
    }

    fn plan(&self, one: &One<'_>, ticket: &LockedTicket) -> Plan {
        let change = &one.read.change;
        let is_busy = one.rules.may_wait && ticket.writer.is_some();
        match &change.kind {
            ChangeKind::Created | ChangeKind::Updated | ChangeKind::Restored => {
                self.plan_fields(one, ticket)
            }
            ChangeKind::Commented | ChangeKind::CommentChanged | ChangeKind::CommentDeleted => {
                self.plan_comment(one, ticket, is_busy)
            }
            ChangeKind::Attached if is_busy => Plan::Wait(WaitReason::OwnWrite),
            ChangeKind::Attached => Plan::Do(Box::new(Doing::new(Kind::Updated))),
            ChangeKind::Deleted if is_busy => Plan::Wait(WaitReason::OwnWrite),
            ChangeKind::Deleted | ChangeKind::Merged { .. } => {
                let gone = ticket.item.as_ref().and_then(|item| item.gone.as_deref());
                if gone.is_some() {
                    return Plan::Nothing(Fate::Repeat);
                }
                Plan::Do(Box::new(Self::going(one, ticket)))
            }
            ChangeKind::Moved { to } => Self::plan_move(one, ticket, to),
        }
    }

    /// An item that is gone: the ticket stays as it is, unless the integration wants it closed.
    fn going(one: &One<'_>, ticket: &LockedTicket) -> Doing {
        let mut doing = Doing::new(Kind::Deleted);
        let is_merged = matches!(one.read.change.kind, ChangeKind::Merged { .. });
        doing.gone = Some(Some(if is_merged { "merged" } else { "deleted" }));
        let closes = setting(one.run, ON_EXTERNAL_DELETE) == Some(&json!("close"));
        let status = ticket.stored.view.status;
        if closes && !matches!(status, TicketStatus::Closed | TicketStatus::Cancelled) {
            doing.applied.row.status = Some(TicketStatus::Closed.as_str());
            doing.applied.changes_row = true;
            doing.fate = Fate::Applied;
        }
        doing
    }

    fn plan_move(one: &One<'_>, ticket: &LockedTicket, to: &ItemRef) -> Plan {
        let view = &ticket.stored.view;
        if view.external_id.as_deref() == Some(to.external_id.as_str()) {
            return Plan::Nothing(Fate::Echo);
        }
        let mut doing = Doing::new(Kind::Updated);
        moves(&mut doing.applied, view.external_id.as_deref(), to, one);
        doing
            .applied
            .row
            .external_url
            .clone_from(&one.read.change.facts.url);
        doing.fate = Fate::Applied;
        Plan::Do(Box::new(doing))
    }

    fn plan_fields(&self, one: &One<'_>, ticket: &LockedTicket) -> Plan {
        let change = &one.read.change;
        let saying = Saying {
            facts: &change.facts,
            before: &change.before,
            at: change.at,
            asked_at: one.read.asked_at,
        };
        let person = |_: &str| {
            let name = one.asked.person.clone()?;
            self.found
                .people
                .get(&(one.asked.organization_id, name))
                .copied()
        };
        let mut applied = match decide::fields(&saying, ticket, one.words, &one.rules, &person) {
            Verdict::Hold => return Plan::Wait(WaitReason::OwnWrite),
            Verdict::Look => return Plan::Wait(WaitReason::ReadAgain),
            Verdict::Done(applied) => *applied,
        };
        let view = &ticket.stored.view;
        let known = view.external_id.as_deref();
        if known.is_some_and(|known| known != change.item.external_id) {
            let to = change.item.clone();
            moves(&mut applied, known, &to, one);
            applied.row.external_url.clone_from(&change.facts.url);
        }
        let was_gone = ticket.item.as_ref().is_some_and(|item| item.gone.is_some());
        let is_back = was_gone && change.kind == ChangeKind::Restored;
        if applied.news.is_empty() && applied.row.external_id.is_none() && !is_back {
            if applied.base.is_empty() {
                let fate = if applied.was_old {
                    Fate::Old
                } else {
                    Fate::Echo
                };
                return Plan::Nothing(fate);
            }
            let fate = if applied.was_old {
                Fate::Old
            } else {
                Fate::Echo
            };
            return Plan::Do(Box::new(Doing {
                fate,
                applied,
                is_told: false,
                ..Doing::new(Kind::Updated)
            }));
        }
        let fate = if applied.changes_row {
            Fate::Applied
        } else {
            Fate::Told
        };
        Plan::Do(Box::new(Doing {
            fate,
            applied,
            gone: is_back.then_some(None),
            ..Doing::new(Kind::Updated)
        }))
    }

    fn plan_comment(&self, one: &One<'_>, ticket: &LockedTicket, waits: bool) -> Plan {
        let change = &one.read.change;
        let Some(comment) = &change.comment else {
            return Plan::Nothing(Fate::Ignored);
        };
        let key = (one.asked.integration_id, comment.id.clone());
        let ticket_id = ticket.stored.view.id;
        let author = one
            .asked
            .marked_by
            .and_then(|id| self.found.authors.get(&id));
        let beside = Beside {
            integration_id: one.asked.integration_id,
            organization_id: one.asked.organization_id,
            ticket_id,
            known: self.found.comments.get(&key),
            marked_by: one.asked.marked_by,
            mark_is_ours: author == Some(&Some(ticket_id)),
            waits,
        };
        match comments::decide(change, comment, &beside) {
            Comment::Hold => Plan::Wait(WaitReason::OwnWrite),
            Comment::Repeat => Plan::Nothing(Fate::Repeat),
            Comment::Old => Plan::Nothing(Fate::Old),
            Comment::Echo(None) => Plan::Nothing(Fate::Echo),
            Comment::Echo(row) => Plan::Do(Box::new(Doing {
                fate: Fate::Echo,
                comment: row,
                is_told: false,
                ..Doing::new(Kind::Commented)
            })),
            Comment::News {
                row,
                action,
                before,
                via_ticketwire,
            } => {
                let mut doing = Doing::new(Kind::Commented);
                if action == "created" {
                    doing.applied.row.comments = 1;
                    doing.applied.changes_row = true;
                    doing.fate = Fate::Applied;
                }
                doing.comment = Some(row);
                doing.told = Some(ToldComment {
                    action,
                    before,
                    via_ticketwire,
                });
                Plan::Do(Box::new(doing))
            }
        }
    }

    fn carry_out(&mut self, one: &One<'_>, id: TicketId, doing: Doing) {
        let Some(ticket) = self.found.tickets.get(&id) else {
            return;
        };
        let before = ticket.stored.view.clone();
        if doing.is_told {
            let now = now_of(&doing.applied.row, one, &before);
            self.tell(one, Some(id), Some(&before), &doing, now, false);
        }
        self.note(one, id, &doing);
        if doing.applied.changes_row {
            let row = self.rows.entry(id.uuid()).or_insert_with(|| RowChange {
                id: id.uuid(),
                organization: one.asked.organization_id.uuid(),
                ..RowChange::default()
            });
            merge(row, doing.applied.row.clone());
        }
        if let Some(comment) = doing.comment {
            self.keep_comment(comment);
        }
        let written = doing.applied.changes_row || !doing.applied.base.is_empty();
        if let Some(ticket) = self.found.tickets.get_mut(&id) {
            see(
                ticket,
                &doing.applied,
                doing.gone,
                written.then_some(one.now),
            );
        }
    }

    /// What is known of the ticket's item now.
    fn note(&mut self, one: &One<'_>, id: TicketId, doing: &Doing) {
        let Some(ticket) = self.found.tickets.get(&id) else {
            return;
        };
        let item = ticket.item.as_ref();
        let name = doing
            .applied
            .row
            .external_id
            .clone()
            .or_else(|| ticket.stored.view.external_id.clone())
            .unwrap_or_else(|| one.read.change.item.external_id.clone());
        let stable = one.read.change.item.stable_id.clone();
        let is_new = item.is_none();
        let learns = stable.is_some() && item.is_some_and(|item| item.stable_id.is_none());
        let changes = doing.gone.is_some() || !doing.applied.base.is_empty();
        if !(is_new || learns || changes || doing.applied.row.external_id.is_some()) {
            return;
        }
        let known = item.and_then(|item| item.gone.clone());
        let gone = doing.gone.map_or(known, |gone| gone.map(str::to_owned));
        let row = self
            .externals
            .entry(id.uuid())
            .or_insert_with(|| ExternalRow {
                ticket_id: id.uuid(),
                organization_id: one.asked.organization_id.uuid(),
                integration_id: one.asked.integration_id.uuid(),
                external_id: String::new(),
                stable_id: None,
                base: Map::new(),
                touches: false,
                gone: None,
            });
        row.external_id = name;
        row.stable_id = stable.or_else(|| row.stable_id.take());
        row.touches |= !doing.applied.base.is_empty();
        row.base.extend(doing.applied.base.clone());
        row.gone = gone;
    }

    fn keep_comment(&mut self, row: CommentRow) {
        let integration = crate::domain::IntegrationId::new(row.integration_id);
        let key = (integration, row.external_comment_id.clone());
        let known = crate::store::KnownComment {
            is_ours: row.origin == "ours",
            digest: row
                .digest
                .as_deref()
                .and_then(|text| hex::decode(text).ok()),
            body: row.body.clone(),
            changed_at: row.changed_at,
            is_deleted: row.deleted,
        };
        self.found.comments.insert(key, known);
        self.comments
            .insert((row.integration_id, row.external_comment_id.clone()), row);
    }

    /// What is told of an item that no ticket has; of some, a ticket is made.
    fn unknown(&mut self, one: &One<'_>) -> Result<(Fate, Option<TicketId>), WaitReason> {
        let change = &one.read.change;
        let is_new = change.kind == ChangeKind::Created;
        let may_be_ours = marked(change).is_some() || (is_new && change.marker.is_none());
        let is_creating = self.found.creating.contains(&one.asked.integration_id);
        if may_be_ours && is_creating && one.rules.may_wait {
            return Err(WaitReason::OwnWrite);
        }
        let wants = match setting(one.run, IMPORT_UNKNOWN) {
            Some(Value::Bool(wants)) => *wants && change.marker.is_none(),
            Some(Value::String(text)) => text == "all",
            Some(_) | None => false,
        };
        let is_there = !matches!(
            change.kind,
            ChangeKind::Deleted | ChangeKind::Merged { .. } | ChangeKind::Moved { .. }
        );
        if wants && is_there {
            if change.facts.title.is_some() {
                return Ok(self.import(one));
            }
            if one.rules.may_wait && one.rules.can_read && one.read.asked_at.is_none() {
                return Err(WaitReason::ReadAgain);
            }
        }
        let mut doing = Doing::new(match change.kind {
            ChangeKind::Created => Kind::Created,
            ChangeKind::Commented | ChangeKind::CommentChanged | ChangeKind::CommentDeleted => {
                Kind::Commented
            }
            ChangeKind::Deleted | ChangeKind::Merged { .. } => Kind::Deleted,
            ChangeKind::Updated
            | ChangeKind::Attached
            | ChangeKind::Restored
            | ChangeKind::Moved { .. } => Kind::Updated,
        });
        doing.gone = (doing.kind == Kind::Deleted).then_some(Some(
            if matches!(change.kind, ChangeKind::Merged { .. }) {
                "merged"
            } else {
                "deleted"
            },
        ));
        doing.told = told_comment(change);
        let ours = one.words.ours(&change.facts);
        let now = Now {
            external_id: change.item.external_id.clone(),
            url: change.facts.url.clone(),
            title: change.facts.title.clone(),
            status: ours.status.map(TicketStatus::as_str),
            priority: ours.priority.map(Priority::as_str),
        };
        self.tell(one, None, None, &doing, now, false);
        Ok((Fate::Unknown, None))
    }

    /// A ticket of an item that nobody knew. Its id follows from the item's, so it is made once.
    fn import(&mut self, one: &One<'_>) -> (Fate, Option<TicketId>) {
        let change = &one.read.change;
        let ours = one.words.ours(&change.facts);
        let name = format!("item {}", change.item.address());
        let id = Uuid::new_v5(&one.asked.integration_id.uuid(), name.as_bytes());
        let ticket_id = TicketId::new(id);
        let stable = change.item.stable_id.clone();
        let stable_ref = stable
            .clone()
            .map(|stable| (one.asked.stable_ref.to_owned(), Value::from(stable)));
        let title = change.facts.title.as_deref().map(cut).unwrap_or_default();
        let status = ours.status.unwrap_or(TicketStatus::Open).as_str();
        let priority = ours.priority.unwrap_or(Priority::Medium).as_str();
        let now = Now {
            external_id: change.item.external_id.clone(),
            url: change.facts.url.clone(),
            title: Some(title.to_owned()),
            status: Some(status),
            priority: Some(priority),
        };
        let organization = one.asked.organization_id.uuid();
        let integration = one.asked.integration_id.uuid();
        if self.imported.insert(id) {
            self.decided.imports.push(ImportRow {
                id,
                organization,
                integration,
                title: title.to_owned(),
                description: ours.description.unwrap_or_default(),
                status,
                priority,
                tags: ours.tags.unwrap_or_default(),
                custom_fields: ours.custom.into_iter().collect(),
                external_id: change.item.external_id.clone(),
                external_url: change.facts.url.clone(),
                external_ref: stable_ref.into_iter().collect(),
                comments: 0,
            });
            let at = change.at.unwrap_or(Moment {
                low: one.now - TimeDelta::seconds(5),
                high: one.now,
            });
            let base = Field::ALL.iter().filter_map(|field| {
                let value = field.said(&change.facts)?;
                Some((field.name().to_owned(), kept(&value, at, Some(one.now))))
            });
            let base = if change.comment.is_some() && !change.whole {
                Map::new()
            } else {
                base.collect()
            };
            self.externals.insert(
                id,
                ExternalRow {
                    ticket_id: id,
                    organization_id: organization,
                    integration_id: integration,
                    external_id: change.item.external_id.clone(),
                    stable_id: stable,
                    base,
                    touches: true,
                    gone: None,
                },
            );
            let mut doing = Doing::new(Kind::Created);
            doing.fate = Fate::Imported;
            self.tell(one, Some(ticket_id), None, &doing, now, true);
        }
        if let Some(comment) = change.comment.as_ref() {
            let key = (one.asked.integration_id, comment.id.clone());
            let beside = Beside {
                integration_id: one.asked.integration_id,
                organization_id: one.asked.organization_id,
                ticket_id,
                known: self.found.comments.get(&key),
                marked_by: None,
                mark_is_ours: false,
                waits: false,
            };
            if let Comment::News { row, .. } = comments::decide(change, comment, &beside) {
                self.keep_comment(row);
                if let Some(import) = self.decided.imports.iter_mut().find(|row| row.id == id) {
                    import.comments += 1;
                }
                let mut doing = Doing::new(Kind::Commented);
                doing.told = told_comment(change);
                let now = Now {
                    external_id: change.item.external_id.clone(),
                    url: change.facts.url.clone(),
                    title: Some(title.to_owned()),
                    status: Some(status),
                    priority: Some(priority),
                };
                self.tell(one, Some(ticket_id), None, &doing, now, true);
            }
        }
        (Fate::Imported, Some(ticket_id))
    }

    fn tell(
        &mut self,
        one: &One<'_>,
        ticket_id: Option<TicketId>,
        row: Option<&crate::domain::TicketView>,
        doing: &Doing,
        now: Now,
        imported: bool,
    ) {
        let change = &one.read.change;
        let comment = change.comment.as_ref().zip(doing.told.as_ref());
        let comment = comment.map(|(comment, told)| Commented {
            comment,
            action: told.action,
            before: told.before.as_deref(),
            via_ticketwire: told.via_ticketwire,
        });
        let into = match &change.kind {
            ChangeKind::Merged { into } => Some(into),
            _ => None,
        };
        let told = Told {
            kind: doing.kind,
            integration: &one.run.handle.row,
            command_id: one.run.job.id,
            change,
            ticket_id,
            row,
            imported,
            unsigned: one.run.unsigned,
            news: &doing.applied.news,
            moved: doing.applied.moved.as_deref(),
            now,
            comment,
            deleted: doing.gone.flatten().map(|kind| (kind, into)),
        };
        self.decided.events.push(event::event(&told, one.now));
    }
}

fn told_comment(change: &Change) -> Option<ToldComment> {
    let comment = change.comment.as_ref()?;
    Some(ToldComment {
        action: match change.kind {
            ChangeKind::CommentChanged => "updated",
            ChangeKind::CommentDeleted => "deleted",
            _ => "created",
        },
        before: comment.before.clone(),
        via_ticketwire: comment.marker.is_some(),
    })
}

fn setting<'a>(run: &'a InboundRun, name: &str) -> Option<&'a Value> {
    run.handle.row.settings.get(name)
}

/// The item's new name.
fn moves(applied: &mut Applied, from: Option<&str>, to: &ItemRef, one: &One<'_>) {
    applied.row.external_id = Some(to.external_id.clone());
    applied.row.external_ref = to.stable_id.clone().map(|stable| {
        let name = one.asked.stable_ref.to_owned();
        Map::from_iter([(name, Value::from(stable))])
    });
    applied.changes_row = true;
    applied.moved = from.map(str::to_owned);
}

/// What is so once a row's change is written.
fn now_of(row: &RowChange, one: &One<'_>, before: &crate::domain::TicketView) -> Now {
    let known = || before.external_id.clone();
    let external_id = row.external_id.clone().or_else(known);
    let url = row
        .external_url
        .clone()
        .or_else(|| before.external_url.clone());
    Now {
        external_id: external_id.unwrap_or_else(|| one.read.change.item.external_id.clone()),
        url: url.or_else(|| one.read.change.facts.url.clone()),
        title: Some(row.title.clone().unwrap_or_else(|| before.title.clone())),
        status: Some(row.status.unwrap_or(before.status.as_str())),
        priority: Some(row.priority.unwrap_or(before.priority.as_str())),
    }
}

/// Two changes of one row, the later over the earlier.
fn merge(row: &mut RowChange, later: RowChange) {
    row.title = later.title.or_else(|| row.title.take());
    row.description = later.description.or_else(|| row.description.take());
    row.status = later.status.or(row.status);
    row.priority = later.priority.or(row.priority);
    row.tags = later.tags.or_else(|| row.tags.take());
    if let Some(custom) = later.custom_fields {
        row.custom_fields.get_or_insert_default().extend(custom);
    }
    if later.unassigns || later.assigned_to.is_some() {
        row.unassigns = later.unassigns;
        row.assigned_to = later.assigned_to;
    }
    row.comments += later.comments;
    row.external_id = later.external_id.or_else(|| row.external_id.take());
    row.external_url = later.external_url.or_else(|| row.external_url.take());
    if let Some(known) = later.external_ref {
        row.external_ref.get_or_insert_default().extend(known);
    }
}

/// The ticket as the next change of the batch finds it.
fn see(
    ticket: &mut LockedTicket,
    applied: &Applied,
    gone: Option<Option<&'static str>>,
    written_at: Option<DateTime<Utc>>,
) {
    let (view, row) = (&mut ticket.stored.view, &applied.row);
    if let Some(title) = &row.title {
        view.title.clone_from(title);
    }
    if let Some(text) = &row.description {
        view.description.clone_from(text);
    }
    view.status = row
        .status
        .and_then(TicketStatus::parse)
        .unwrap_or(view.status);
    view.priority = row
        .priority
        .and_then(Priority::parse)
        .unwrap_or(view.priority);
    if let Some(tags) = &row.tags {
        view.tags.clone_from(tags);
    }
    if let Some(custom) = &row.custom_fields {
        view.custom_fields.extend(custom.clone());
    }
    if let Some(id) = &row.external_id {
        view.external_id = Some(id.clone());
    }
    let item = ticket.item.get_or_insert_with(Item::default);
    item.base.extend(applied.base.clone());
    if let Some(gone) = gone {
        item.gone = gone.map(str::to_owned);
    }
    if let Some(at) = written_at {
        item.written_at = Some(at);
        ticket.written_at = at;
    }
}
