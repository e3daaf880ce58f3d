//! What becomes of what a platform says of a ticket's fields: pure, and the only place that decides
//! it. Called with the ticket's row locked.
//!
//! Which rules there are, and that each is needed, is shown in `docs/adr/0014-what-comes-back-is-compared.md`.
//! Who did it is no evidence: a person may work under our account. What was written and what comes
//! back is compared in the platform's words.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::fields::{Field, Said, cut};
use crate::domain::TicketView;
use crate::platforms::{Driver, Facts, Holder, Moment, TicketFacts};
use crate::store::{BusyWriter, LockedTicket, RowChange};

/// How far two clocks may be apart where only one of them was asked.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// How long what comes in waits for what goes out, or is read again.
pub(in crate::pipeline) const PATIENCE: TimeDelta = TimeDelta::minutes(2);

/// The two maps between a platform's words and ours.
pub(in crate::pipeline) trait Words {
    fn ours(&self, facts: &Facts) -> TicketFacts;
    fn theirs(&self, row: &TicketView) -> Facts;
}

impl Words for Driver {
    fn ours(&self, facts: &Facts) -> TicketFacts {
        Self::ours(self, facts)
    }

    fn theirs(&self, row: &TicketView) -> Facts {
        Self::theirs(self, row)
    }
}

/// What is said of an item's fields.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Saying<'a> {
    /// What is so.
    pub(in crate::pipeline) facts: &'a Facts,
    /// What was so before, as far as it is told.
    pub(in crate::pipeline) before: &'a Facts,
    /// When, by the platform's clock.
    pub(in crate::pipeline) at: Option<Moment>,
    /// When we asked for it, by the database's clock; `None`: it came by itself.
    pub(in crate::pipeline) asked_at: Option<DateTime<Utc>>,
}

/// What the integration wants, and what else the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Rules {
    /// The database's clock.
    pub(in crate::pipeline) now: DateTime<Utc>,
    /// Whether it may still wait, or be read again.
    pub(in crate::pipeline) may_wait: bool,
    /// Whether the platform lets its items be read.
    pub(in crate::pipeline) can_read: bool,
    /// `settings.sync_description`
    pub(in crate::pipeline) takes_description: bool,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::pipeline) enum Verdict {
    /// Our own write of one of these fields is under way.
    Hold,
    /// Its order is not certain: the item has to be read.
    Look,
    /// It is decided.
    Done(Box<Applied>),
}

/// What is written, and what is told.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Applied {
    /// Fields that are news, with what became of each.
    pub(in crate::pipeline) news: Vec<News>,
    /// The ticket's row; its id is not set here.
    pub(in crate::pipeline) row: RowChange,
    /// Whether the row changes.
    pub(in crate::pipeline) changes_row: bool,
    /// Fields of the base.
    pub(in crate::pipeline) base: Map<String, Value>,
    /// Whether a field was older than what is known.
    pub(in crate::pipeline) was_old: bool,
    /// The item's name before, where it has another one now.
    pub(in crate::pipeline) moved: Option<String>,
}

/// A field that is news.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct News {
    pub(in crate::pipeline) field: Field,
    pub(in crate::pipeline) before: Value,
    pub(in crate::pipeline) after: Value,
    pub(in crate::pipeline) external_before: Value,
    pub(in crate::pipeline) external_after: Value,
    /// Why our row does not take it; `None`: it does.
    pub(in crate::pipeline) reason: Option<&'static str>,
}

/// What the platform was last known to hold of a field.
struct Base {
    value: Value,
    low: i64,
    high: i64,
    /// Whose, and when we learned of it.
    rest: Vec<Value>,
}

impl Base {
    fn of(ticket: &LockedTicket, field: Field) -> Option<Self> {
        let stored = ticket.item.as_ref()?.base.get(field.name())?.as_array()?;
        Some(Self {
            value: stored.first()?.clone(),
            low: stored.get(1)?.as_i64()?,
            high: stored.get(2)?.as_i64()?,
            rest: stored.get(3..).unwrap_or_default().to_vec(),
        })
    }
}

/// A field of the base as it is kept: the value, the moment there, whose it is, and, of theirs,
/// when we learned of it by our clock.
pub(in crate::pipeline) fn kept(value: &Value, at: Moment, theirs: Option<DateTime<Utc>>) -> Value {
    let (low, high) = (at.low.timestamp_millis(), at.high.timestamp_millis());
    match theirs {
        None => json!([value, low, high, "o"]),
        Some(learned) => json!([value, low, high, "t", learned.timestamp_millis()]),
    }
}

/// Whether somebody has changed one of these fields on the platform since a command was given: by
/// the platform's clock, and as far as we know by ours. Returns when that was, there.
pub(in crate::pipeline) fn overtaken(
    base: &Map<String, Value>,
    wrote: &Facts,
    given_at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let changed = Field::ALL.iter().filter_map(|field| {
        let value = field.said(wrote)?;
        let known = base.get(field.name())?.as_array()?;
        let is_theirs = known.get(3)? == "t";
        let at = DateTime::from_timestamp_millis(known.get(1)?.as_i64()?)?;
        let learned = DateTime::from_timestamp_millis(known.get(4)?.as_i64()?)?;
        let is_newer = at > given_at + SKEW && learned > given_at;
        let differs = !field.is_same(&value, known.first()?);
        (is_theirs && is_newer && differs).then_some(at)
    });
    changed.max()
}

/// The base that what we have just written makes.
pub(in crate::pipeline) fn base_of(wrote: &Facts, at: Moment) -> Map<String, Value> {
    let fields = Field::ALL.iter().filter_map(|field| {
        let value = field.said(wrote)?;
        Some((field.name().to_owned(), kept(&value, at, None)))
    });
    fields.collect()
}

/// Decides what is said of a ticket's fields. `person` finds one of ours by an account there.
pub(in crate::pipeline) fn fields(
    saying: &Saying<'_>,
    ticket: &LockedTicket,
    words: &dyn Words,
    rules: &Rules,
    person: &dyn Fn(&str) -> Option<uuid::Uuid>,
) -> Verdict {
    let row = &ticket.stored.view;
    let (ours, row_there) = (words.ours(saying.facts), words.theirs(row));
    let said = Said {
        facts: saying.facts,
        ours: &ours,
        row,
        row_there: &row_there,
    };
    let mut applied = Applied::default();
    let mut looks = false;
    for field in Field::ALL {
        let Some(value) = field.said(saying.facts) else {
            continue;
        };
        let base = Base::of(ticket, field);
        let is_known = match &base {
            Some(base) => field.is_same(&value, &base.value),
            None => field.is_ours(&said),
        };
        if rules.may_wait && ticket.writer.as_ref().is_some_and(|by| writes(by, field)) {
            // What is known may be how it was before our write, or how somebody set it back since.
            let is_other_news = saying.asked_at.is_none()
                && !saying.before.is_empty()
                && field.said(saying.before).is_none();
            if is_known && is_other_news {
                continue;
            }
            return Verdict::Hold;
        }
        match order(saying, ticket, base.as_ref(), is_known, rules) {
            Order::Known => {
                let raised = raised(&value, base.as_ref(), saying.at, rules.now);
                applied
                    .base
                    .extend(raised.map(|base| (field.name().to_owned(), base)));
            }
            Order::Look => looks = true,
            Order::Old => applied.was_old = true,
            Order::News => {
                let at = saying.at.unwrap_or(Moment {
                    low: rules.now - SKEW,
                    high: rules.now + SKEW,
                });
                applied
                    .base
                    .insert(field.name().to_owned(), kept(&value, at, Some(rules.now)));
                if !field.is_ours(&said) {
                    let before = base.map(|base| field.shown_of(&base.value));
                    let news = apply(field, &said, saying, before, rules, person, &mut applied);
                    applied.news.push(news);
                }
            }
        }
    }
    if looks {
        return Verdict::Look;
    }
    Verdict::Done(Box::new(applied))
}

/// How a saying stands to what is known.
enum Order {
    /// It is that.
    Known,
    /// Nobody can tell: the item has to be read.
    Look,
    /// It was before that.
    Old,
    /// It is news.
    News,
}

fn order(
    saying: &Saying<'_>,
    ticket: &LockedTicket,
    base: Option<&Base>,
    is_known: bool,
    rules: &Rules,
) -> Order {
    let may_look = rules.may_wait && rules.can_read;
    if let Some(asked_at) = saying.asked_at {
        // A snapshot says nothing where something was written since it was asked for.
        let item = ticket.item.as_ref().and_then(|item| item.written_at);
        let written_at = item.map_or(ticket.written_at, |at| at.max(ticket.written_at));
        return match (is_known, written_at >= asked_at && may_look) {
            (true, _) => Order::Known,
            (false, true) => Order::Look,
            (false, false) => Order::News,
        };
    }
    if is_known {
        return Order::Known;
    }
    let Some(at) = saying.at else {
        return if may_look { Order::Look } else { Order::News };
    };
    let (low, high) = (at.low.timestamp_millis(), at.high.timestamp_millis());
    match base {
        Some(base) if high < base.low => Order::Old,
        Some(base) if low <= base.high && may_look => Order::Look,
        Some(_) => Order::News,
        // Nobody knows when the platform had what our row has; by our clock it was written then.
        None if at.low < ticket.written_at + SKEW && may_look => Order::Look,
        None if at.high + SKEW < ticket.written_at => Order::Old,
        None => Order::News,
    }
}

/// The base of a field that is as it is known, where that is known of a later moment now, or of one
/// at all.
fn raised(
    value: &Value,
    base: Option<&Base>,
    at: Option<Moment>,
    now: DateTime<Utc>,
) -> Option<Value> {
    let at = at?;
    let Some(base) = base else {
        return Some(kept(value, at, Some(now)));
    };
    let (low, high) = (at.low.timestamp_millis(), at.high.timestamp_millis());
    let mut raised = vec![value.clone(), base.low.max(low).into(), high.into()];
    raised.extend(base.rest.clone());
    (high > base.high).then(|| raised.into())
}

/// Whether a command writes a field.
fn writes(by: &BusyWriter, field: Field) -> bool {
    match by.command_type.as_str() {
        "ticket.create" | "ticket.ai_create" => true,
        "ticket.update" => by.members.contains(field.name()),
        "ticket.status" | "ticket.delete" => field == Field::Status,
        "ticket.assign" => field == Field::Assignee,
        _ => false,
    }
}

fn apply(
    field: Field,
    said: &Said<'_>,
    saying: &Saying<'_>,
    known: Option<Value>,
    rules: &Rules,
    person: &dyn Fn(&str) -> Option<uuid::Uuid>,
    applied: &mut Applied,
) -> News {
    let (row, ours) = (said.row, said.ours);
    let change = &mut applied.row;
    let (before, after, reason) = match field {
        Field::Title => {
            let title = ours
                .title
                .as_deref()
                .map(cut)
                .filter(|title| !title.trim().is_empty());
            change.title = title.map(str::to_owned);
            let reason = title.is_none().then_some("not_mapped");
            (json!(row.title), json!(title), reason)
        }
        Field::Description if rules.takes_description => {
            change.description.clone_from(&ours.description);
            let reason = ours.description.is_none().then_some("not_mapped");
            (json!(row.description), json!(ours.description), reason)
        }
        Field::Description => (
            json!(row.description),
            json!(ours.description),
            Some("not_synced"),
        ),
        Field::Status => {
            change.status = ours.status.map(crate::domain::TicketStatus::as_str);
            let reason = ours.status.is_none().then_some("not_mapped");
            (json!(row.status), json!(ours.status), reason)
        }
        Field::Priority => {
            change.priority = ours.priority.map(crate::domain::Priority::as_str);
            let reason = ours.priority.is_none().then_some("not_mapped");
            (json!(row.priority), json!(ours.priority), reason)
        }
        Field::Tags => {
            change.tags.clone_from(&ours.tags);
            let reason = ours.tags.is_none().then_some("not_mapped");
            (json!(row.tags), json!(ours.tags), reason)
        }
        Field::Custom => {
            let custom: Map<String, Value> = ours.custom.clone().into_iter().collect();
            let before: Map<String, Value> = custom
                .keys()
                .filter_map(|name| Some((name.clone(), row.custom_fields.get(name)?.clone())))
                .collect();
            let reason = custom.is_empty().then_some("not_mapped");
            change.custom_fields = Some(custom.clone()).filter(|custom| !custom.is_empty());
            (json!(before), json!(custom), reason)
        }
        Field::Assignee => {
            let before = json!(row.assigned_to.as_ref().map(|user| user.id));
            let found = match ours.assignee.as_ref() {
                Some(Holder::Account(account)) => person(account),
                Some(Holder::Nobody) | None => None,
            };
            change.assigned_to = found;
            change.unassigns = ours.assignee == Some(Holder::Nobody);
            let is_unknown = found.is_none() && !change.unassigns;
            (before, json!(found), is_unknown.then_some("unknown_user"))
        }
    };
    applied.changes_row |= reason.is_none();
    let told_before = field.shown(saying.before);
    News {
        field,
        before,
        after,
        external_before: told_before.or(known).unwrap_or(Value::Null),
        external_after: field.shown(saying.facts).unwrap_or(Value::Null),
        reason,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
