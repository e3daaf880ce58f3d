//! The issues of one site, in memory and bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Issues a site keeps; the oldest is forgotten for one more.
const ISSUES_MAX: usize = 200_000;
/// Text a site keeps, roughly; the oldest issues are forgotten beyond it.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Comments an issue takes (sheet §8); one more is answered 413.
pub(super) const COMMENTS_MAX: usize = 5_000;
/// Writes an issue's history keeps; later ones are left out.
const HISTORY_MAX: usize = 1_000;
/// The first issue's id, as Jira counts.
const FIRST_ID: u64 = 10_000;

/// Where an issue is in the workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    ToDo,
    InProgress,
    Done,
    Cancelled,
}

impl Status {
    pub(super) const ALL: [Self; 4] = [Self::ToDo, Self::InProgress, Self::Done, Self::Cancelled];

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::ToDo => "10000",
            Self::InProgress => "3",
            Self::Done => "10001",
            Self::Cancelled => "10002",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ToDo => "To Do",
            Self::InProgress => "In Progress",
            Self::Done => "Done",
            Self::Cancelled => "Cancelled",
        }
    }

    pub(super) const fn category(self) -> &'static str {
        match self {
            Self::ToDo => "new",
            Self::InProgress => "indeterminate",
            Self::Done | Self::Cancelled => "done",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) project: String,
    pub(super) issue_type: String,
    pub(super) summary: String,
    pub(super) description: Value,
    pub(super) labels: Vec<String>,
    pub(super) priority: Option<String>,
    /// Account id.
    pub(super) assignee: Option<String>,
    pub(super) reporter: String,
    pub(super) status: Status,
    pub(super) resolution: Option<String>,
    pub(super) custom: Map<String, Value>,
    pub(super) properties: Map<String, Value>,
    pub(super) comments: Vec<Comment>,
    pub(super) attachments: Vec<LedgerFile>,
    pub(super) history: Vec<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) body: Value,
    pub(super) author: String,
    pub(super) public: bool,
    pub(super) visibility: Option<Value>,
    pub(super) properties: Map<String, Value>,
    pub(super) created: DateTime<Utc>,
}

impl Issue {
    /// Notes an effective write.
    pub(super) fn note(&mut self, what: String, now: DateTime<Utc>) {
        self.updated = now;
        if self.history.len() < HISTORY_MAX {
            self.history.push(what);
        }
    }

    fn weight(&self) -> usize {
        let maps = [&self.custom, &self.properties];
        let maps: usize = maps.iter().map(|map| weigh_map(map)).sum();
        let comments: usize = self.comments.iter().map(Comment::weight).sum();
        self.summary.len() + weigh(&self.description) + maps + comments
    }
}

impl Comment {
    pub(super) fn weight(&self) -> usize {
        weigh(&self.body) + weigh_map(&self.properties)
    }
}

fn weigh_map(map: &Map<String, Value>) -> usize {
    map.iter()
        .map(|(key, value)| key.len() + weigh(value))
        .sum()
}

/// Memory of a value, roughly.
fn weigh(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weigh).sum(),
        Value::Object(map) => weigh_map(map),
    }
}

/// The issues, findable by id, key and label.
#[derive(Debug)]
pub(super) struct Store {
    issues: BTreeMap<u64, Issue>,
    keys: HashMap<String, u64>,
    labels: HashMap<String, BTreeSet<u64>>,
    /// Last number given out in a project.
    numbers: HashMap<String, u64>,
    next_id: u64,
    next_comment_id: u64,
    bytes: usize,
    evicted: u64,
    issues_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            issues: BTreeMap::new(),
            keys: HashMap::new(),
            labels: HashMap::new(),
            numbers: HashMap::new(),
            next_id: FIRST_ID,
            next_comment_id: FIRST_ID,
            bytes: 0,
            evicted: 0,
            issues_max: ISSUES_MAX,
        }
    }
}

impl Store {
    /// Takes in an issue, whose id and key are set here.
    pub(super) fn add(&mut self, mut issue: Issue) -> &Issue {
        let id = self.next_id;
        self.next_id += 1;
        let number = self.numbers.entry(issue.project.clone()).or_default();
        *number += 1;
        issue.id = id;
        issue.key = format!("{}-{number}", issue.project);
        self.keys.insert(issue.key.clone(), id);
        self.index_labels(&issue.labels, id);
        self.bytes += issue.weight();
        while self.issues.len() >= self.issues_max || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.issues.pop_first() else {
                break;
            };
            self.forget(&oldest);
        }
        self.issues.entry(id).or_insert(issue)
    }

    /// Puts an issue into another project, where it has another key. The old key still leads to it.
    pub(super) fn relocate(&mut self, id_or_key: &str, project: &str, now: DateTime<Utc>) -> bool {
        let Some(id) = self.id_of(id_or_key) else {
            return false;
        };
        let Some(issue) = self.issues.get_mut(&id) else {
            return false;
        };
        let number = self.numbers.entry(project.to_owned()).or_default();
        *number += 1;
        project.clone_into(&mut issue.project);
        issue.key = format!("{project}-{number}");
        issue.note(format!("move {}", issue.key), now);
        self.keys.insert(issue.key.clone(), id);
        true
    }

    /// Deletes an issue, as a person does.
    pub(super) fn remove(&mut self, id_or_key: &str) -> bool {
        let removed = self.id_of(id_or_key).and_then(|id| self.issues.remove(&id));
        if let Some(issue) = &removed {
            self.forget(issue);
            self.evicted -= 1;
        }
        removed.is_some()
    }

    fn forget(&mut self, issue: &Issue) {
        self.keys.remove(&issue.key);
        self.unindex_labels(&issue.labels, issue.id);
        self.bytes = self.bytes.saturating_sub(issue.weight());
        self.evicted += 1;
    }

    /// By key (in any case) or numeric id.
    pub(super) fn find(&self, id_or_key: &str) -> Option<&Issue> {
        self.issues.get(&self.id_of(id_or_key)?)
    }

    /// Changes an issue and keeps the indexes right. `None` if there is none.
    pub(super) fn change<T>(
        &mut self,
        id_or_key: &str,
        change: impl FnOnce(&mut Issue) -> T,
    ) -> Option<T> {
        let id = self.id_of(id_or_key)?;
        let issue = self.issues.get_mut(&id)?;
        let (old_labels, old_weight) = (issue.labels.clone(), issue.weight());
        let outcome = change(issue);
        let (new_labels, new_weight) = (issue.labels.clone(), issue.weight());
        self.bytes = (self.bytes + new_weight).saturating_sub(old_weight);
        if old_labels != new_labels {
            self.unindex_labels(&old_labels, id);
            self.index_labels(&new_labels, id);
        }
        Some(outcome)
    }

    /// Appends a comment; apart from [`Store::change`], since weighing a long issue anew for each would be quadratic.
    pub(super) fn comment(&mut self, id_or_key: &str, mut comment: Comment) -> Option<&Comment> {
        let id = self.id_of(id_or_key)?;
        let issue = self.issues.get_mut(&id)?;
        comment.id = self.next_comment_id;
        self.next_comment_id += 1;
        self.bytes += comment.weight();
        issue.note(format!("comment {}", comment.id), comment.created);
        issue.comments.push(comment);
        issue.comments.last()
    }

    /// Adds a file to an issue; its id is set here.
    pub(super) fn attach(
        &mut self,
        id_or_key: &str,
        mut file: LedgerFile,
        now: DateTime<Utc>,
    ) -> Option<LedgerFile> {
        let id = self.id_of(id_or_key)?;
        let issue = self.issues.get_mut(&id)?;
        file.id = self.next_comment_id.to_string();
        file.created = date(now);
        self.next_comment_id += 1;
        issue.note(format!("attach {}", file.name), now);
        issue.attachments.push(file.clone());
        Some(file)
    }

    fn id_of(&self, id_or_key: &str) -> Option<u64> {
        match id_or_key.parse() {
            Ok(id) => Some(id),
            Err(_) => self.keys.get(&id_or_key.to_ascii_uppercase()).copied(),
        }
    }

    /// In order of creation.
    pub(super) fn all(&self) -> impl Iterator<Item = &Issue> {
        self.issues.values()
    }

    /// Those with a label, in order of creation.
    pub(super) fn with_label(&self, label: &str) -> impl Iterator<Item = &Issue> {
        let ids = self.labels.get(label).into_iter().flatten();
        ids.filter_map(|id| self.issues.get(id))
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn index_labels(&mut self, labels: &[String], id: u64) {
        for label in labels {
            self.labels.entry(label.clone()).or_default().insert(id);
        }
    }

    fn unindex_labels(&mut self, labels: &[String], id: u64) {
        for label in labels {
            if let Some(ids) = self.labels.get_mut(label) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.labels.remove(label);
                }
            }
        }
    }
}

/// The issue as the ledger shows it.
pub(super) fn ledger_issue(issue: &Issue) -> LedgerIssue {
    LedgerIssue {
        id: issue.id.to_string(),
        key: issue.key.clone(),
        project: issue.project.clone(),
        summary: issue.summary.clone(),
        description: issue.description.clone(),
        issue_type: issue.issue_type.clone(),
        status: issue.status.name().to_owned(),
        status_category: issue.status.category().to_owned(),
        resolution: issue.resolution.clone(),
        priority: issue.priority.clone(),
        assignee: issue.assignee.clone(),
        labels: issue.labels.clone(),
        fields: issue.custom.clone(),
        properties: issue.properties.clone(),
        comments: issue.comments.iter().map(ledger_comment).collect(),
        attachments: issue.attachments.clone(),
        history: issue.history.clone(),
        created: date(issue.created),
    }
}

fn ledger_comment(comment: &Comment) -> LedgerComment {
    LedgerComment {
        id: comment.id.to_string(),
        body: comment.body.clone(),
        public: comment.public,
        properties: comment.properties.clone(),
        created: date(comment.created),
    }
}

/// As Jira writes it: `2026-01-17T12:34:00.000+0000`.
pub(super) fn date(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(label: &str) -> Issue {
        Issue {
            id: 0,
            key: String::new(),
            project: "SUP".into(),
            issue_type: "Task".into(),
            summary: "s".into(),
            description: Value::Null,
            labels: vec![label.into()],
            priority: None,
            assignee: None,
            reporter: "r".into(),
            status: Status::ToDo,
            resolution: None,
            custom: Map::new(),
            properties: Map::new(),
            comments: Vec::new(),
            attachments: Vec::new(),
            history: Vec::new(),
            created: DateTime::UNIX_EPOCH,
            updated: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_oldest_issue_makes_room_and_is_counted() {
        let mut store = Store {
            issues_max: 2,
            ..Store::default()
        };
        for label in ["a", "b", "c"] {
            store.add(issue(label));
        }

        assert_eq!(store.evicted(), 1);
        assert!(store.find("SUP-1").is_none());
        assert_eq!(store.with_label("a").count(), 0);
        assert_eq!(store.find("sup-3").map(|i| i.id), Some(FIRST_ID + 2));
    }

    #[test]
    fn a_changed_label_is_found_and_the_old_one_not() {
        let mut store = Store::default();
        store.add(issue("a"));

        store.change("SUP-1", |issue| issue.labels = vec!["b".into()]);

        assert_eq!(store.with_label("a").count(), 0);
        assert_eq!(store.with_label("b").count(), 1);
    }
}
