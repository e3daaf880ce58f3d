//! The items of a site, in memory and bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::super::ledger::LedgerIssue;

/// Writes an item's history keeps; later ones are left out.
const HISTORY_MAX: usize = 1_000;

/// What a shelf has to know of an item.
pub(crate) trait Item {
    /// Words by which it is found beside its id: labels, an external id, the thread it is in.
    fn tags(&self) -> Vec<String>;

    /// Bytes of text it holds, roughly.
    fn weight(&self) -> usize {
        0
    }
}

impl Item for LedgerIssue {
    fn tags(&self) -> Vec<String> {
        self.labels.clone()
    }

    fn weight(&self) -> usize {
        self.summary.len() + weigh(&self.description) + weigh_map(&self.fields)
    }
}

/// Memory of a value, roughly.
pub(crate) fn weigh(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weigh).sum(),
        Value::Object(map) => weigh_map(map),
    }
}

/// Memory of an object's members, roughly.
pub(crate) fn weigh_map(map: &Map<String, Value>) -> usize {
    let members = map.iter();
    members.map(|(name, value)| name.len() + weigh(value)).sum()
}

/// An item with what the shelf knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    /// Counts up in order of creation.
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) created: DateTime<Utc>,
    /// Of the last write that was noted.
    pub(crate) updated: DateTime<Utc>,
    /// The effective writes in order, the first thousand of them.
    pub(crate) history: Vec<String>,
    pub(crate) item: T,
    /// The other names it is found by.
    names: Vec<String>,
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Entry<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T> Entry<T> {
    /// Notes a write.
    pub(crate) fn note(&mut self, what: impl Into<String>, now: DateTime<Utc>) {
        self.updated = now;
        if self.history.len() < HISTORY_MAX {
            self.history.push(what.into());
        }
    }

    /// Its line of the ledger, as far as the shelf knows it: id, key, history and creation.
    pub(crate) fn line(&self) -> LedgerIssue {
        LedgerIssue {
            id: self.id.clone(),
            key: self.id.clone(),
            history: self.history.clone(),
            created: moment(self.created),
            ..LedgerIssue::default()
        }
    }
}

impl Entry<LedgerIssue> {
    /// An item that is its own line; its key is the item's.
    pub(crate) fn whole_line(&self) -> LedgerIssue {
        LedgerIssue {
            id: self.id.clone(),
            history: self.history.clone(),
            created: moment(self.created),
            ..self.item.clone()
        }
    }
}

/// As the ledger writes it: `2026-01-17T12:34:00.000Z`.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What an index that lags so long has seen: all that was made until then.
pub(crate) fn indexed_until(lag_ms: u64, now: DateTime<Utc>) -> DateTime<Utc> {
    i64::try_from(lag_ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|lag| now.checked_sub_signed(lag))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Items by id, by other names, by tags, and in order of creation and change.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    entries: BTreeMap<u64, Entry<T>>,
    names: HashMap<String, u64>,
    tags: HashMap<String, BTreeSet<u64>>,
    changes: BTreeSet<(DateTime<Utc>, u64)>,
    next: u64,
    weight: usize,
    evicted: u64,
    items_max: usize,
    weight_max: usize,
}

impl<T: Item> Shelf<T> {
    /// A shelf that keeps so many items of so many bytes together. The oldest make room for one
    /// more. The first item's number is `first`.
    pub(crate) fn new(items_max: usize, weight_max: usize, first: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            names: HashMap::new(),
            tags: HashMap::new(),
            changes: BTreeSet::new(),
            next: first,
            weight: 0,
            evicted: 0,
            items_max,
            weight_max,
        }
    }

    /// Takes in an item, whose id is its number.
    pub(crate) fn add(&mut self, item: T, now: DateTime<Utc>) -> &Entry<T> {
        self.put(item, now, |number| number.to_string(), None)
    }

    /// Takes in an item, whose id is made of its number.
    pub(crate) fn add_as(
        &mut self,
        item: T,
        now: DateTime<Utc>,
        id: impl FnOnce(u64) -> String,
    ) -> &Entry<T> {
        self.put(item, now, id, None)
    }

    /// Takes in an item that has its number for an id and another name too ([`Shelf::name`]).
    pub(crate) fn add_named(&mut self, item: T, now: DateTime<Utc>, name: &str) -> &Entry<T> {
        self.put(item, now, |number| number.to_string(), Some(name))
    }

    fn put(
        &mut self,
        item: T,
        now: DateTime<Utc>,
        id: impl FnOnce(u64) -> String,
        name: Option<&str>,
    ) -> &Entry<T> {
        let number = self.next;
        self.next += 1;
        let weight = item.weight();
        while self.entries.len() >= self.items_max || self.weight + weight > self.weight_max {
            let Some((oldest, _)) = self.entries.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            self.take(oldest);
            self.evicted += 1;
        }
        let entry = Entry {
            number,
            id: id(number),
            created: now,
            updated: now,
            history: vec!["create".to_owned()],
            item,
            names: name.map(str::to_owned).into_iter().collect(),
        };
        self.weight += weight;
        for name in entry.names.iter().chain([&entry.id]) {
            self.names.insert(name.clone(), number);
        }
        self.changes.insert((now, number));
        self.tag(&entry.item.tags(), number);
        self.entries.entry(number).or_insert(entry)
    }

    /// Another name by which an item is found: a key, a thread. It takes the place of an item that
    /// had this name.
    pub(crate) fn name(&mut self, name: &str, id: &str) {
        let number = self.names.get(id).copied();
        if let Some(entry) = number.and_then(|number| self.entries.get_mut(&number)) {
            entry.names.push(name.to_owned());
            self.names.insert(name.to_owned(), entry.number);
        }
    }

    /// By id or another name.
    pub(crate) fn find(&self, id: &str) -> Option<&Entry<T>> {
        self.entries.get(self.names.get(id)?)
    }

    /// Changes an item and keeps the indexes right; `None` if there is none. What is to be seen of
    /// it is noted by the change itself ([`Entry::note`]).
    pub(crate) fn change<R>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Entry<T>) -> R,
    ) -> Option<R> {
        let number = *self.names.get(id)?;
        let entry = self.entries.get_mut(&number)?;
        let (tags, weight, updated) = (entry.item.tags(), entry.item.weight(), entry.updated);
        let outcome = change(entry);
        let new_tags = entry.item.tags();
        self.weight = (self.weight + entry.item.weight()).saturating_sub(weight);
        let now = entry.updated;
        if tags != new_tags {
            self.untag(&tags, number);
            self.tag(&new_tags, number);
        }
        self.moved(number, updated, now);
        Some(outcome)
    }

    /// The same of a change that leaves the tags and adds so much weight: what an item of thousands
    /// of comments holds is not weighed anew for each.
    pub(crate) fn grow<R>(
        &mut self,
        id: &str,
        weight: usize,
        change: impl FnOnce(&mut Entry<T>) -> R,
    ) -> Option<R> {
        let number = *self.names.get(id)?;
        let entry = self.entries.get_mut(&number)?;
        let updated = entry.updated;
        let outcome = change(entry);
        let now = entry.updated;
        self.weight += weight;
        self.moved(number, updated, now);
        Some(outcome)
    }

    fn moved(&mut self, number: u64, from: DateTime<Utc>, to: DateTime<Utc>) {
        if from != to {
            self.changes.remove(&(from, number));
            self.changes.insert((to, number));
        }
    }

    /// Removes an item, which is not counted as evicted.
    pub(crate) fn remove(&mut self, id: &str) -> Option<T> {
        let number = *self.names.get(id)?;
        self.take(number)
    }

    fn take(&mut self, number: u64) -> Option<T> {
        let entry = self.entries.remove(&number)?;
        self.weight = self.weight.saturating_sub(entry.item.weight());
        self.changes.remove(&(entry.updated, number));
        self.untag(&entry.item.tags(), number);
        for name in entry.names.iter().chain([&entry.id]) {
            // It may be another item's by now.
            if self.names.get(name) == Some(&number) {
                self.names.remove(name);
            }
        }
        Some(entry.item)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether one more would push out the oldest: for platforms that refuse it instead.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.items_max
    }

    /// In order of creation.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Entry<T>> {
        self.entries.values()
    }

    /// Those with a tag, in order of creation.
    pub(crate) fn tagged<'a>(
        &'a self,
        tag: &str,
    ) -> impl DoubleEndedIterator<Item = &'a Entry<T>> + use<'a, T> {
        let numbers = self.tags.get(tag).into_iter().flatten();
        numbers.filter_map(|number| self.entries.get(number))
    }

    /// Those changed at or after a moment, in order of their last change.
    pub(crate) fn changed_since(
        &self,
        since: DateTime<Utc>,
    ) -> impl DoubleEndedIterator<Item = &Entry<T>> {
        let changes = self.changes.range((since, 0)..);
        changes.filter_map(|(_, number)| self.entries.get(number))
    }

    /// Lines of the ledger, of all or of those with a tag, and how many items were forgotten.
    pub(crate) fn ledger(
        &self,
        tag: Option<&str>,
        line: impl FnMut(&Entry<T>) -> LedgerIssue,
    ) -> (Vec<LedgerIssue>, u64) {
        let lines = match tag {
            Some(tag) => self.tagged(tag).map(line).collect(),
            None => self.all().map(line).collect(),
        };
        (lines, self.evicted)
    }

    fn tag(&mut self, tags: &[String], number: u64) {
        for tag in tags {
            self.tags.entry(tag.clone()).or_default().insert(number);
        }
    }

    fn untag(&mut self, tags: &[String], number: u64) {
        for tag in tags {
            if let Some(numbers) = self.tags.get_mut(tag) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.tags.remove(tag);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Card(&'static str, usize);

    impl Item for Card {
        fn tags(&self) -> Vec<String> {
            vec![self.0.to_owned()]
        }

        fn weight(&self) -> usize {
            self.1
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn ids<'a>(entries: impl Iterator<Item = &'a Entry<Card>>) -> Vec<&'a str> {
        entries.map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn the_oldest_makes_room_and_is_counted() {
        for mut shelf in [Shelf::new(2, 1_000, 7), Shelf::new(100, 25, 7)] {
            for tag in ["a", "b", "c"] {
                shelf.add(Card(tag, 10), at(0));
            }

            assert_eq!(ids(shelf.all()), ["8", "9"]);
            assert_eq!(ids(shelf.tagged("a")), [""; 0]);
            assert!(shelf.find("7").is_none() && shelf.is_full() == (shelf.items_max == 2));
            let (lines, evicted) = shelf.ledger(None, Entry::line);
            assert_eq!((lines.len(), evicted), (2, 1));
        }
    }

    #[test]
    fn what_grows_and_shrinks_is_weighed() {
        let mut shelf = Shelf::new(100, 25, 1);
        shelf.add(Card("a", 10), at(0));
        shelf.add(Card("b", 10), at(0));
        shelf.change("1", |entry| entry.1 = 2);
        shelf.add(Card("c", 10), at(0));
        assert_eq!(shelf.len(), 3);

        shelf.grow("3", 4, |entry| entry.1 += 4);
        assert_eq!(shelf.weight, 26);
        shelf.add(Card("d", 1), at(0));

        assert_eq!(ids(shelf.all()), ["2", "3", "4"]);
        assert_eq!(shelf.remove("3"), Some(Card("c", 14)));
        assert_eq!(shelf.weight, 11);
    }

    #[test]
    fn an_item_is_found_by_id_name_and_the_tags_it_has_now() {
        let mut shelf = Shelf::new(100, 1_000, 1);
        shelf.add_as(Card("a", 0), at(0), |n| format!("C{n}"));
        shelf.name("KEY-1", "C1");
        shelf.name("KEY-2", "none");

        shelf.change("KEY-1", |entry| entry.0 = "b");

        assert_eq!(ids(shelf.tagged("a")), [""; 0]);
        assert_eq!(ids(shelf.tagged("b")), ["C1"]);
        assert_eq!(shelf.find("KEY-1").map(|entry| entry.0), Some("b"));
        assert!(shelf.find("KEY-2").is_none());
        shelf.name("KEY-3", "C1");
        shelf.add_named(Card("c", 0), at(0), "KEY-3");
        assert!(shelf.remove("KEY-1").is_some() && shelf.find("KEY-1").is_none());
        assert_eq!(shelf.find("KEY-3").map(|entry| entry.number), Some(2));
        assert_eq!(shelf.change("C1", |_| ()), None);
        let (lines, evicted) = shelf.ledger(Some("b"), Entry::line);
        assert_eq!((lines.len(), evicted), (0, 0));
    }

    #[test]
    fn changes_come_in_their_order_and_once_an_item() {
        let mut shelf = Shelf::new(100, 1_000, 1);
        for seconds in [10, 20, 30] {
            shelf.add(Card("a", 0), at(seconds));
        }
        shelf.change("1", |entry| entry.note("update", at(40)));
        shelf.grow("2", 0, |entry| entry.note("comment", at(35)));

        assert_eq!(ids(shelf.changed_since(at(0))), ["3", "2", "1"]);
        assert_eq!(ids(shelf.changed_since(at(36))), ["1"]);
        shelf.remove("2");
        assert_eq!(ids(shelf.changed_since(at(0))), ["3", "1"]);
        let line = shelf.find("1").unwrap().line();
        assert_eq!(line.history, ["create", "update"]);
        assert_eq!(line.created, "1970-01-01T00:00:10.000Z");
    }

    #[test]
    fn history_has_an_end() {
        let mut shelf = Shelf::new(1, 1_000, 1);
        shelf.add(Card("a", 0), at(0));
        for _ in 0..2 * HISTORY_MAX {
            shelf.change("1", |entry| entry.note("update", at(1)));
        }

        assert_eq!(shelf.find("1").unwrap().history.len(), HISTORY_MAX);
    }

    #[test]
    fn an_index_lags() {
        assert_eq!(indexed_until(0, at(9)), at(9));
        assert_eq!(indexed_until(3_000, at(9)), at(6));
        assert_eq!(indexed_until(u64::MAX, at(9)), DateTime::<Utc>::MIN_UTC);
    }
}
