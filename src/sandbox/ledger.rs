//! What a site holds and has been asked: the evidence that a test counts.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Calls kept word by word; older ones are only counted.
pub(super) const RECENT_MAX: usize = 2_000;

/// Everything one site holds and has been asked, at one moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The platform's items in order of creation.
    pub issues: Vec<LedgerIssue>,
    /// Items forgotten because the site's cap was reached; they are not in `issues`.
    pub evicted: u64,
    /// Calls by operation.
    pub calls: BTreeMap<String, CallCount>,
    /// The last 2000 calls in order of arrival.
    pub recent: VecDeque<CallRecord>,
    /// Faults that have not been used up.
    pub faults_pending: usize,
    /// Webhooks that are registered.
    #[serde(default)]
    pub hooks: Vec<LedgerHook>,
}

/// A webhook that is registered with a site. Its secret is here so that a test can compare it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHook {
    /// The platform's own id.
    pub id: String,
    /// Where it delivers to.
    pub url: String,
    /// What its deliveries are signed with.
    pub secret: Option<String>,
    /// What it is about: a project, a filter.
    pub about: String,
    /// What it tells of, in the platform's words.
    pub events: Vec<String>,
    /// Whether it is switched on.
    pub active: bool,
}

impl Ledger {
    /// The items that carry this label: more than one with a ticket's mark is a duplicate.
    #[must_use]
    pub fn with_label(&self, label: &str) -> Vec<&LedgerIssue> {
        self.issues
            .iter()
            .filter(|issue| issue.labels.iter().any(|l| l == label))
            .collect()
    }

    /// The item with this key.
    #[must_use]
    pub fn issue(&self, key: &str) -> Option<&LedgerIssue> {
        self.issues.iter().find(|issue| issue.key == key)
    }

    /// The counts of one operation; zeros if it was never called.
    #[must_use]
    pub fn count(&self, operation: &str) -> CallCount {
        self.calls.get(operation).copied().unwrap_or_default()
    }
}

/// One item: a Jira issue, and whatever stands for it on other platforms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerIssue {
    /// The platform's own id.
    pub id: String,
    /// What a person would quote.
    pub key: String,
    /// Project, list or queue.
    pub project: String,
    /// One line.
    pub summary: String,
    /// As it was sent (ADF on v3, text on v2); null if none.
    pub description: Value,
    /// Type or kind.
    pub issue_type: String,
    /// Name of the status.
    pub status: String,
    /// Category of the status: `new`, `indeterminate`, `done`.
    pub status_category: String,
    /// Name of the resolution.
    pub resolution: Option<String>,
    /// Name of the priority.
    pub priority: Option<String>,
    /// Account id of the assignee.
    pub assignee: Option<String>,
    /// In the order given.
    pub labels: Vec<String>,
    /// Other fields by their id.
    pub fields: Map<String, Value>,
    /// Entity properties.
    pub properties: Map<String, Value>,
    /// In order of creation.
    pub comments: Vec<LedgerComment>,
    /// In order of creation.
    #[serde(default)]
    pub attachments: Vec<LedgerFile>,
    /// The effective writes on this item in order (`create`, `update summary`, `transition Done`,
    /// `assign x`, `comment 10001`), the first thousand of them.
    pub history: Vec<String>,
    /// When it was made.
    pub created: String,
}

/// One comment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerComment {
    /// The platform's own id.
    pub id: String,
    /// As it was sent.
    pub body: Value,
    /// Whether a customer could read it.
    pub public: bool,
    /// Entity properties.
    pub properties: Map<String, Value>,
    /// When it was made.
    pub created: String,
}

/// One file of an item. Its bytes are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerFile {
    /// The platform's own id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// As it was sent.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub created: String,
}

impl LedgerFile {
    /// A file with its bytes measured; id and moment are the site's to set.
    pub(super) fn of(name: &str, media_type: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(bytes)),
            ..Self::default()
        }
    }
}

/// How often an operation was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// Requests that arrived whole.
    pub received: u64,
    /// Of those, how many changed something at the platform.
    pub effective: u64,
    /// Of those received, how many a fault met.
    pub faulted: u64,
}

/// One call as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Operation.
    pub operation: String,
    /// HTTP method.
    pub method: String,
    /// Path below the site.
    pub path: String,
    /// Status of the true answer; absent where a fault kept the request from taking effect.
    pub status: Option<u16>,
    /// Whether it changed something.
    pub effective: bool,
    /// The fault that met it.
    pub fault: Option<String>,
}

/// The counting half of a site.
#[derive(Debug, Default)]
pub(super) struct CallBook {
    pub(super) calls: BTreeMap<&'static str, CallCount>,
    pub(super) recent: VecDeque<CallRecord>,
}

impl CallBook {
    pub(super) fn arrived(&mut self, operation: &'static str, faulted: bool) {
        let count = self.calls.entry(operation).or_default();
        count.received += 1;
        count.faulted += u64::from(faulted);
    }

    pub(super) fn took_effect(&mut self, operation: &'static str) {
        self.calls.entry(operation).or_default().effective += 1;
    }

    pub(super) fn record(&mut self, record: CallRecord) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }
}
