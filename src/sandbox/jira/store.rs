//! The issues of one site, in memory and bounded.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::kit::shelf::{weigh, weigh_map};
use super::super::kit::{Entry, Item, Shelf};
use super::super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Issues a site keeps; the oldest is forgotten for one more.
const ISSUES_MAX: usize = 200_000;
/// Text a site keeps, roughly; the oldest issues are forgotten beyond it.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Comments an issue takes (sheet §8); one more is answered 413.
pub(super) const COMMENTS_MAX: usize = 5_000;
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
}

/// An issue with its id, its history, and when it was made and changed.
pub(super) type Filed = Entry<Issue>;

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

impl Item for Issue {
    fn tags(&self) -> Vec<String> {
        self.labels.clone()
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

/// The issues, findable by id, key and label.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) shelf: Shelf<Issue>,
    /// Last number given out in a project.
    numbers: HashMap<String, u64>,
    next_comment_id: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            shelf: Shelf::new(ISSUES_MAX, BYTES_MAX, FIRST_ID),
            numbers: HashMap::new(),
            next_comment_id: FIRST_ID,
        }
    }
}

impl Store {
    /// Takes in an issue, whose key is set here.
    pub(super) fn add(&mut self, mut issue: Issue, now: DateTime<Utc>) -> &Filed {
        let key = self.next_key(&issue.project);
        issue.key.clone_from(&key);
        self.shelf.add_named(issue, now, &key)
    }

    fn next_key(&mut self, project: &str) -> String {
        let number = self.numbers.entry(project.to_owned()).or_default();
        *number += 1;
        format!("{project}-{number}")
    }

    /// Puts an issue into another project, where it has another key. The old key still leads to it.
    pub(super) fn relocate(&mut self, id_or_key: &str, project: &str, now: DateTime<Utc>) -> bool {
        let Some(id) = self.find(id_or_key).map(|issue| issue.id.clone()) else {
            return false;
        };
        let key = self.next_key(project);
        self.shelf.name(&key, &id);
        let moved = self.change(&id, |issue| {
            issue.note(format!("move {key}"), now);
            project.clone_into(&mut issue.project);
            issue.key = key;
        });
        moved.is_some()
    }

    /// Deletes an issue, as a person does.
    pub(super) fn remove(&mut self, id_or_key: &str) -> bool {
        self.shelf.remove(&id_or_key.to_ascii_uppercase()).is_some()
    }

    /// By key (in any case) or numeric id.
    pub(super) fn find(&self, id_or_key: &str) -> Option<&Filed> {
        self.shelf.find(&id_or_key.to_ascii_uppercase())
    }

    /// Changes an issue. `None` if there is none.
    pub(super) fn change<T>(
        &mut self,
        id_or_key: &str,
        change: impl FnOnce(&mut Filed) -> T,
    ) -> Option<T> {
        self.shelf.change(&id_or_key.to_ascii_uppercase(), change)
    }

    /// Appends a comment, whose id is set here.
    pub(super) fn comment(&mut self, id_or_key: &str, mut comment: Comment) -> Option<&Comment> {
        comment.id = self.next_comment_id;
        self.next_comment_id += 1;
        let id = id_or_key.to_ascii_uppercase();
        self.shelf.grow(&id, comment.weight(), |issue| {
            issue.note(format!("comment {}", comment.id), comment.created);
            issue.comments.push(comment);
        })?;
        self.shelf.find(&id)?.comments.last()
    }

    /// Adds a file to an issue; its id is set here.
    pub(super) fn attach(
        &mut self,
        id_or_key: &str,
        mut file: LedgerFile,
        now: DateTime<Utc>,
    ) -> Option<LedgerFile> {
        file.id = self.next_comment_id.to_string();
        file.created = date(now);
        self.next_comment_id += 1;
        self.shelf
            .grow(&id_or_key.to_ascii_uppercase(), 0, |issue| {
                issue.note(format!("attach {}", file.name), now);
                issue.attachments.push(file.clone());
                file
            })
    }
}

/// The issue as the ledger shows it.
pub(super) fn ledger_issue(issue: &Filed) -> LedgerIssue {
    LedgerIssue {
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
        created: date(issue.created),
        ..issue.line()
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

    fn issue() -> Issue {
        Issue {
            key: String::new(),
            project: "SUP".into(),
            issue_type: "Task".into(),
            summary: "s".into(),
            description: Value::Null,
            labels: vec!["a".into()],
            priority: None,
            assignee: None,
            reporter: "r".into(),
            status: Status::ToDo,
            resolution: None,
            custom: Map::new(),
            properties: Map::new(),
            comments: Vec::new(),
            attachments: Vec::new(),
        }
    }

    #[test]
    fn an_issue_is_found_by_id_and_key_in_any_case() {
        let mut store = Store::default();
        store.add(issue(), DateTime::UNIX_EPOCH);
        store.add(issue(), DateTime::UNIX_EPOCH);

        for name in ["10001", "SUP-2", "sup-2"] {
            assert_eq!(store.find(name).map(|i| i.number), Some(FIRST_ID + 1));
        }
        assert!(store.find("SUP-3").is_none());
    }

    #[test]
    fn a_moved_issue_is_found_by_both_keys_until_it_is_deleted() {
        let mut store = Store::default();
        store.add(issue(), DateTime::UNIX_EPOCH);

        assert!(store.relocate("sup-1", "OPS", DateTime::UNIX_EPOCH));

        let keys = ["SUP-1", "ops-1"].map(|key| store.find(key).map(|i| i.key.clone()));
        assert_eq!(keys, [Some("OPS-1".to_owned()), Some("OPS-1".to_owned())]);
        assert!(store.remove("SUP-1"));
        assert!(store.find("OPS-1").is_none() && !store.remove("OPS-1"));
    }
}
