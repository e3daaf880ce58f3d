use chrono::TimeZone as _;
use uuid::Uuid;

use super::*;
use crate::domain::{OrganizationId, Priority, TicketCategory, TicketId, TicketStatus};
use crate::store::{Item, StoredTicket};

/// A platform with four statuses and four priorities.
pub(super) struct Plain;

impl Words for Plain {
    fn ours(&self, facts: &Facts) -> TicketFacts {
        let status = facts.status.as_deref().and_then(|status| match status {
            "todo" => Some(TicketStatus::Open),
            "doing" => Some(TicketStatus::InProgress),
            "done" => Some(TicketStatus::Resolved),
            "gone" => Some(TicketStatus::Cancelled),
            _ => None,
        });
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status,
            priority: facts.priority.as_deref().and_then(Priority::parse),
            assignee: facts.assignee.clone(),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, row: &TicketView) -> Facts {
        let status = match row.status {
            TicketStatus::New | TicketStatus::Open => "todo",
            TicketStatus::InProgress | TicketStatus::Pending => "doing",
            TicketStatus::Resolved | TicketStatus::Closed => "done",
            TicketStatus::Cancelled => "gone",
        };
        Facts {
            status: Some(status.to_owned()),
            priority: Some(row.priority.as_str().to_owned()),
            ..Facts::default()
        }
    }
}

fn at(second: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000 + second, 0).unwrap()
}

/// A ticket that was written long ago.
pub(super) fn locked() -> LockedTicket {
    LockedTicket {
        stored: StoredTicket {
            view: TicketView {
                id: TicketId::new(Uuid::nil()),
                title: "Printer".into(),
                description: "It hurts.".into(),
                status: TicketStatus::New,
                priority: Priority::Medium,
                urgency: Priority::Medium,
                category: TicketCategory::General,
                department: None,
                assigned_to: None,
                created_by: None,
                tags: Vec::new(),
                custom_fields: Map::new(),
                external_id: Some("K-1".into()),
                external_url: None,
                external_ref: Map::new(),
            },
            organization_id: OrganizationId::new(Uuid::nil()),
            integration_id: None,
            is_deleted: false,
        },
        written_at: DateTime::UNIX_EPOCH,
        item: None,
        writer: None,
    }
}

fn status(name: &str) -> Facts {
    Facts {
        status: Some(name.to_owned()),
        ..Facts::default()
    }
}

const RULES: Rules = Rules {
    now: DateTime::UNIX_EPOCH,
    may_wait: true,
    can_read: true,
    takes_description: false,
};

fn decided(facts: &Facts, second: i64, ticket: &LockedTicket, rules: &Rules) -> Verdict {
    let saying = Saying {
        facts,
        before: &Facts::default(),
        at: Some(Moment::exact(at(second))),
        asked_at: None,
    };
    fields(&saying, ticket, &Plain, rules, &|_| None)
}

fn done(verdict: Verdict) -> Applied {
    match verdict {
        Verdict::Done(applied) => *applied,
        Verdict::Hold => panic!("it is held"),
        Verdict::Look => panic!("it is looked at"),
    }
}

/// The platform was last known to hold this, at that second.
fn based(value: &Facts, second: i64) -> LockedTicket {
    let mut ticket = locked();
    ticket.item = Some(Item {
        base: base_of(value, Moment::exact(at(second))),
        ..Item::default()
    });
    ticket
}

#[test]
fn what_is_other_than_the_row_is_news() {
    let applied = done(decided(&status("doing"), 0, &locked(), &RULES));

    assert_eq!(applied.row.status, Some("in_progress"));
    assert_eq!(applied.news.len(), 1);
    assert!(applied.changes_row && applied.base.contains_key("status"));
}

#[test]
fn what_stands_for_the_same_with_us_is_none() {
    // `todo` is new and open.
    let applied = done(decided(&status("todo"), 0, &locked(), &RULES));

    assert!(applied.news.is_empty() && !applied.changes_row);
}

#[test]
fn what_is_older_than_what_is_known_is_left() {
    let ticket = based(&status("done"), 10);

    let applied = done(decided(&status("doing"), 5, &ticket, &RULES));
    assert!(applied.was_old && applied.news.is_empty());

    let applied = done(decided(&status("doing"), 15, &ticket, &RULES));
    assert_eq!(applied.row.status, Some("in_progress"));
}

#[test]
fn what_is_of_the_same_moment_is_read() {
    let ticket = based(&status("done"), 10);

    assert!(matches!(
        decided(&status("doing"), 10, &ticket, &RULES),
        Verdict::Look
    ));
    // Where nothing can be read, or too long was waited, the order decides.
    for rules in [
        Rules {
            can_read: false,
            ..RULES
        },
        Rules {
            may_wait: false,
            ..RULES
        },
    ] {
        let applied = done(decided(&status("doing"), 10, &ticket, &rules));
        assert_eq!(applied.row.status, Some("in_progress"));
    }
}

#[test]
fn what_we_are_writing_is_held_and_the_rest_is_not() {
    let mut ticket = locked();
    ticket.writer = Some(BusyWriter {
        command_type: "ticket.status".into(),
        members: std::collections::HashSet::new(),
    });
    assert!(matches!(
        decided(&status("doing"), 0, &ticket, &RULES),
        Verdict::Hold
    ));
    let late = Rules {
        may_wait: false,
        ..RULES
    };
    assert!(matches!(
        decided(&status("doing"), 0, &ticket, &late),
        Verdict::Done(_)
    ));
    let priority = Facts {
        priority: Some("high".into()),
        ..Facts::default()
    };
    let applied = done(decided(&priority, 0, &ticket, &RULES));
    assert_eq!(applied.row.priority, Some("high"));
}

#[test]
fn a_snapshot_says_nothing_once_something_was_written() {
    let mut ticket = locked();
    ticket.written_at = at(10);
    let facts = status("doing");
    let asked = |second| Saying {
        facts: &facts,
        before: &facts,
        at: Some(Moment::exact(at(0))),
        asked_at: Some(at(second)),
    };
    let verdict = fields(&asked(9), &ticket, &Plain, &RULES, &|_| None);
    assert!(matches!(verdict, Verdict::Look));

    let applied = done(fields(&asked(11), &ticket, &Plain, &RULES, &|_| None));
    assert_eq!(applied.row.status, Some("in_progress"));
}

#[test]
fn what_has_no_counterpart_with_us_is_told_and_not_written() {
    let facts = Facts {
        status: Some("limbo".into()),
        description: Some("Other".into()),
        assignee: Some(Holder::Account("7".into())),
        ..Facts::default()
    };
    let applied = done(decided(&facts, 0, &locked(), &RULES));

    let reasons: Vec<_> = applied.news.iter().filter_map(|news| news.reason).collect();
    assert_eq!(reasons, ["not_synced", "not_mapped", "unknown_user"]);
    assert!(!applied.changes_row);

    let takes = Rules {
        takes_description: true,
        ..RULES
    };
    let applied = done(decided(&facts, 0, &locked(), &takes));
    assert_eq!(applied.row.description.as_deref(), Some("Other"));
}
