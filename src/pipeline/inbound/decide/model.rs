//! Histories of one ticket and its item under duplicates, reordering, delay and crashes, decided by
//! the real rules. People edit there, some of them under our account; commands go out one at a
//! time; deliveries come late, twice, in any order, and some never; a worker dies before it settles
//! and sends again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tests::{Plain, locked};
use super::*;
use crate::domain::{Priority, TicketStatus};

const HISTORIES: u64 = 10_000;
const STATUSES: [TicketStatus; 7] = [
    TicketStatus::New,
    TicketStatus::Open,
    TicketStatus::InProgress,
    TicketStatus::Pending,
    TicketStatus::Resolved,
    TicketStatus::Closed,
    TicketStatus::Cancelled,
];
const PRIORITIES: [Priority; 4] = [
    Priority::Low,
    Priority::Medium,
    Priority::High,
    Priority::Critical,
];

/// A value of one of the two fields.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Value1 {
    Status(TicketStatus),
    Priority(Priority),
}

impl Value1 {
    fn is_status(self) -> bool {
        matches!(self, Self::Status(_))
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "there are a few dozen of them at a time"
)]
#[derive(Clone, Debug)]
enum Step {
    Person,
    Command,
    Sync,
    /// A delivery: what is so, what was changed by it, when, and since when it is waited for.
    Hook(u64, Facts, Facts, Moment, i64),
    /// An answer to a read that was asked for at this time.
    Snapshot(Facts, Moment, i64, i64),
    Read(i64),
    Arrive(Value1),
    Settle(Value1, Moment),
    Resend(Value1),
}

struct World {
    random: StdRng,
    now: i64,
    order: u64,
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    steps: std::collections::HashMap<u64, Step>,
    resolution: i64,
    skew: i64,
    whole: bool,
    lossy: bool,
    item: Facts,
    updated: i64,
    ticket: LockedTicket,
    waiting: Vec<Value1>,
    taken: std::collections::HashSet<u64>,
    edits: usize,
    told: usize,
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_700_000_000_000 + millis).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let ticket = locked();
        let item = Plain.theirs(&ticket.stored.view);
        Self {
            resolution: if random.random_bool(0.5) { 1 } else { 1000 },
            skew: random.random_range(-3000..3000),
            whole: random.random_bool(0.5),
            lossy: random.random_bool(0.3),
            random,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            steps: std::collections::HashMap::new(),
            item,
            updated: -1_000_000_000,
            ticket,
            waiting: Vec::new(),
            taken: std::collections::HashSet::new(),
            edits: 0,
            told: 0,
        }
    }

    fn after(&mut self, millis: i64, step: Step) {
        self.order += 1;
        self.queue.push(Reverse((self.now + millis, self.order)));
        self.steps.insert(self.order, step);
    }

    fn chance(&mut self, of: &[i64]) -> i64 {
        let most = *of.choose(&mut self.random).unwrap();
        self.random.random_range(0..=most)
    }

    /// The platform's clock, which shows its steps only.
    fn clock(&self) -> i64 {
        (self.now + self.skew).div_euclid(self.resolution) * self.resolution
    }

    fn moment(&self, at: i64) -> Moment {
        Moment {
            low: time(at),
            high: time(at + self.resolution - 1),
        }
    }

    /// Somebody writes there; who is told of it is told some time later, perhaps twice, perhaps
    /// never.
    fn write(&mut self, value: Value1) {
        let before = self.item.clone();
        let mut view = self.ticket.stored.view.clone();
        match value {
            Value1::Status(status) => view.status = status,
            Value1::Priority(priority) => view.priority = priority,
        }
        let there = Plain.theirs(&view);
        if value.is_status() {
            self.item.status = there.status;
        } else {
            self.item.priority = there.priority;
        }
        if self.item == before {
            return;
        }
        self.updated = self.clock();
        let mut edited = Facts::default();
        let mut said = Facts::default();
        if value.is_status() {
            edited.status = before.status;
            said.status.clone_from(&self.item.status);
        } else {
            edited.priority = before.priority;
            said.priority.clone_from(&self.item.priority);
        }
        if self.whole {
            said = self.item.clone();
        }
        if self.lossy && self.random.random_bool(0.2) {
            return;
        }
        self.order += 1;
        let (id, at) = (self.order, self.moment(self.updated));
        let times = *[1, 1, 1, 2, 3].choose(&mut self.random).unwrap();
        for _ in 0..times {
            let late = self.chance(&[10, 100, 500, 2000, 8000, 30_000]);
            let hook = Step::Hook(id, said.clone(), edited.clone(), at, self.now + late);
            self.after(late, hook);
        }
    }

    fn value(&mut self) -> Value1 {
        if self.random.random_bool(0.5) {
            Value1::Status(*STATUSES.choose(&mut self.random).unwrap())
        } else {
            Value1::Priority(*PRIORITIES.choose(&mut self.random).unwrap())
        }
    }

    fn turn(&mut self) {
        if self.ticket.writer.is_some() || self.waiting.is_empty() {
            return;
        }
        let value = self.waiting.remove(0);
        let (command_type, members) = if value.is_status() {
            ("ticket.status", Vec::new())
        } else {
            ("ticket.update", vec!["priority".to_owned()])
        };
        self.ticket.writer = Some(BusyWriter {
            command_type: command_type.to_owned(),
            members: members.into_iter().collect(),
        });
        let wait = self.chance(&[50, 300, 2000]);
        self.after(wait, Step::Arrive(value));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Person => {
                let value = self.value();
                self.edits += 1;
                self.write(value);
            }
            Step::Command => {
                let value = self.value();
                self.waiting.push(value);
                self.turn();
            }
            Step::Sync => {
                let (facts, at, asked) = (self.item.clone(), self.moment(self.updated), self.now);
                let late = self.random.random_range(100..10_000);
                self.after(late, Step::Snapshot(facts, at, asked, self.now));
            }
            Step::Read(since) => {
                let (facts, at, asked) = (self.item.clone(), self.moment(self.updated), self.now);
                let late = self.chance(&[50, 500]);
                self.after(late, Step::Snapshot(facts, at, asked, since));
            }
            Step::Arrive(value) => {
                let before = self.clock();
                self.write(value);
                if self.random.random_bool(0.1) {
                    let wait = self.random.random_range(1000..10_000);
                    self.after(wait, Step::Resend(value));
                } else {
                    let late = self.chance(&[50, 300, 3000]);
                    // As the driver reads it off the answer's date.
                    let at = Moment {
                        low: time(before - 1000),
                        high: time(before + 1000),
                    };
                    self.after(late, Step::Settle(value, at));
                }
            }
            Step::Resend(value) => {
                let wait = self.chance(&[300]);
                self.after(wait, Step::Arrive(value));
            }
            Step::Settle(value, at) => self.settle(value, at),
            Step::Hook(id, facts, before, at, since) => {
                if self.taken.contains(&id) {
                    return;
                }
                if self.decide(&facts, &before, Some(at), None, since) {
                    self.taken.insert(id);
                }
            }
            Step::Snapshot(facts, at, asked, since) => {
                let nothing = Facts::default();
                self.decide(&facts, &nothing, Some(at), Some(asked), since);
            }
        }
    }

    fn settle(&mut self, value: Value1, at: Moment) {
        let view = &mut self.ticket.stored.view;
        let mut wrote = Facts::default();
        match value {
            Value1::Status(status) => {
                view.status = status;
                wrote.status = Plain.theirs(view).status;
            }
            Value1::Priority(priority) => {
                view.priority = priority;
                wrote.priority = Plain.theirs(view).priority;
            }
        }
        let item = self.ticket.item.get_or_insert_default();
        item.base.extend(base_of(&wrote, at));
        item.written_at = Some(time(self.now));
        self.ticket.written_at = time(self.now);
        self.ticket.writer = None;
        self.turn();
    }

    /// Whether it is decided; what is not comes again.
    fn decide(
        &mut self,
        facts: &Facts,
        before: &Facts,
        at: Option<Moment>,
        asked: Option<i64>,
        since: i64,
    ) -> bool {
        let saying = Saying {
            facts,
            before,
            at,
            asked_at: asked.map(time),
        };
        let rules = Rules {
            now: time(self.now),
            may_wait: self.now - since < 120_000,
            can_read: true,
            takes_description: false,
        };
        match fields(&saying, &self.ticket, &Plain, &rules, &|_| None) {
            Verdict::Hold => {
                self.after(1000, Step::Read(since));
                false
            }
            Verdict::Look => {
                self.after(250, Step::Read(since));
                false
            }
            Verdict::Done(applied) => {
                self.told += usize::from(!applied.news.is_empty());
                let view = &mut self.ticket.stored.view;
                let status = applied.row.status.and_then(TicketStatus::parse);
                view.status = status.unwrap_or(view.status);
                let priority = applied.row.priority.and_then(Priority::parse);
                view.priority = priority.unwrap_or(view.priority);
                if !applied.base.is_empty() {
                    let item = self.ticket.item.get_or_insert_default();
                    item.base.extend(applied.base);
                    item.written_at = Some(time(self.now));
                }
                if applied.changes_row {
                    self.ticket.written_at = time(self.now);
                }
                true
            }
        }
    }

    fn work_off(&mut self) {
        let mut steps = 0;
        while let Some(Reverse((at, order))) = self.queue.pop() {
            steps += 1;
            assert!(steps < 5_000, "it goes in circles");
            self.now = at;
            let step = self.steps.remove(&order).unwrap();
            self.step(step);
        }
    }

    fn is_converged(&self) -> bool {
        let row = Plain.theirs(&self.ticket.stored.view);
        row.status == self.item.status && row.priority == self.item.priority
    }
}

#[test]
fn in_every_history_our_row_ends_as_the_item_and_nothing_goes_in_circles() {
    let (mut edits, mut told) = (0, 0);
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..world.random.random_range(1..=12) {
            let at = world.random.random_range(0..40_000);
            let steps = [Step::Person, Step::Person, Step::Command, Step::Sync];
            let step = steps.choose(&mut world.random).unwrap().clone();
            world.after(at, step);
        }
        world.work_off();
        if !world.lossy {
            assert!(
                world.is_converged(),
                "history {seed}: {:?} beside {:?}",
                world.item,
                world.ticket
            );
        }
        // The next sync repairs what was lost.
        world.now += 60_000;
        world.after(0, Step::Read(world.now));
        world.work_off();
        assert!(world.is_converged(), "history {seed}, after a sync");
        assert!(
            world.told <= world.edits,
            "history {seed}: {} events of {} edits",
            world.told,
            world.edits
        );
        (edits, told) = (edits + world.edits, told + world.told);
    }
    // It is no test of nothing.
    assert!(edits > 20_000 && told > 5_000, "{edits} edits, {told} told");
}
