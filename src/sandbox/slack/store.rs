//! The messages of one workspace, in memory and bounded.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::super::kit::shelf::moment;
use super::super::kit::{Entry, Item, Shelf};
use super::super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Messages a workspace keeps; one more is refused.
const MESSAGES_MAX: usize = 200_000;

/// One message.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) channel: String,
    /// Set by the store.
    pub(super) ts: String,
    /// Of a reply, its root's `ts`.
    pub(super) thread: Option<String>,
    /// Whether a reply is shown in the channel too.
    pub(super) is_broadcast: bool,
    pub(super) text: String,
    pub(super) blocks: Value,
    pub(super) metadata: Value,
    /// Empty for one of an incoming webhook.
    pub(super) bot_id: String,
    /// Whom it called, in all its versions.
    pub(super) mentions: Vec<String>,
    /// Files shared with it.
    pub(super) files: Vec<LedgerFile>,
}

impl Message {
    /// As a listing shows it.
    pub(super) fn shown(&self, with_metadata: bool) -> Value {
        let mut shown = json!({
            "type": "message", "ts": self.ts, "text": self.text, "blocks": self.blocks,
            "bot_id": self.bot_id,
        });
        if let Some(root) = &self.thread {
            shown["thread_ts"] = root.as_str().into();
        }
        if !self.files.is_empty() {
            let files = self.files.iter();
            shown["files"] = files
                .map(|file| {
                    json!({ "id": file.id, "name": file.name, "title": file.name,
                    "size": file.size })
                })
                .collect();
        }
        if with_metadata && !self.metadata.is_null() {
            shown["metadata"] = self.metadata.clone();
        }
        shown
    }

    fn mark(&self) -> Option<&str> {
        self.metadata["event_payload"]["mark"].as_str()
    }

    fn payload(&self) -> Map<String, Value> {
        match &self.metadata["event_payload"] {
            Value::Object(payload) => payload.clone(),
            _ => Map::new(),
        }
    }
}

/// A message with its history and when it was posted. Its id is channel and `ts`, as [`id`] writes
/// them.
pub(super) type Posted = Entry<Message>;

impl Item for Message {
    /// The channel, and of a reply its root.
    fn tags(&self) -> Vec<String> {
        let root = self.thread.as_ref().map(|root| id(&self.channel, root));
        [self.channel.clone()].into_iter().chain(root).collect()
    }
}

fn id(channel: &str, ts: &str) -> String {
    format!("{channel}:{ts}")
}

/// All messages.
#[derive(Debug)]
pub(super) struct Store {
    messages: Shelf<Message>,
    last_micros: i64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            messages: Shelf::new(MESSAGES_MAX, usize::MAX, 1),
            last_micros: 0,
        }
    }
}

impl Store {
    /// Adds a message; its `ts`, or nothing where the workspace is full.
    pub(super) fn add(&mut self, mut message: Message, now: DateTime<Utc>) -> Option<String> {
        if self.messages.is_full() {
            return None;
        }
        self.last_micros = now.timestamp_micros().max(self.last_micros + 1);
        let ts = format!(
            "{}.{:06}",
            self.last_micros / 1_000_000,
            self.last_micros % 1_000_000
        );
        if let Some(root) = &message.thread {
            let root = id(&message.channel, root);
            self.messages
                .grow(&root, 0, |root| root.note(format!("reply {ts}"), now));
        }
        message.ts.clone_from(&ts);
        let id = id(&message.channel, &ts);
        self.messages.add_as(message, now, |_| id);
        Some(ts)
    }

    pub(super) fn get(&self, channel: &str, ts: &str) -> Option<&Posted> {
        self.messages.find(&id(channel, ts))
    }

    /// Changes a message; `None` if there is none.
    pub(super) fn change(
        &mut self,
        channel: &str,
        ts: &str,
        change: impl FnOnce(&mut Posted),
    ) -> Option<()> {
        self.messages.grow(&id(channel, ts), 0, change)
    }

    pub(super) fn remove(&mut self, channel: &str, ts: &str) -> bool {
        self.messages.remove(&id(channel, ts)).is_some()
    }

    /// The messages of a channel, oldest first.
    pub(super) fn of(&self, channel: &str) -> impl DoubleEndedIterator<Item = &Posted> {
        self.messages.tagged(channel)
    }

    /// The replies to a root, oldest first.
    pub(super) fn thread(&self, channel: &str, root: &str) -> impl Iterator<Item = &Posted> {
        self.messages.tagged(&id(channel, root))
    }

    /// Roots as items, replies as their comments.
    pub(super) fn ledger(&self, label: Option<&str>) -> Vec<LedgerIssue> {
        self.messages
            .all()
            .filter(|message| message.thread.is_none())
            .filter(|message| label.is_none_or(|label| message.mark() == Some(label)))
            .map(|message| self.item(message))
            .collect()
    }

    fn item(&self, root: &Posted) -> LedgerIssue {
        let replies: Vec<&Posted> = self.thread(&root.channel, &root.ts).collect();
        let files = replies.iter().flat_map(|reply| reply.files.clone());
        let called = replies.iter().flat_map(|reply| reply.mentions.clone());
        let mentions: Vec<String> = root.mentions.iter().cloned().chain(called).collect();
        let texts = replies.iter().filter(|reply| reply.files.is_empty());
        LedgerIssue {
            id: root.ts.clone(),
            project: root.channel.clone(),
            summary: root.text.clone(),
            labels: root.mark().map(str::to_owned).into_iter().collect(),
            fields: Map::from_iter([
                ("blocks".to_owned(), root.blocks.clone()),
                ("mentions".to_owned(), mentions.into()),
            ]),
            comments: texts
                .map(|reply| LedgerComment {
                    id: reply.ts.clone(),
                    body: reply.text.as_str().into(),
                    public: true,
                    properties: reply.payload(),
                    created: moment(reply.created),
                })
                .collect(),
            attachments: files.collect(),
            ..root.line()
        }
    }
}
