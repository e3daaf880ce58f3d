//! The messages of one workspace, in memory and bounded.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Messages a workspace keeps; one more is refused.
const MESSAGES_MAX: usize = 200_000;
/// Writes a message's history keeps; later ones are left out.
const HISTORY_MAX: usize = 1_000;

/// One message.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
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
    pub(super) posted: DateTime<Utc>,
    pub(super) history: Vec<String>,
    /// Whom it called, in all its versions.
    pub(super) mentions: Vec<String>,
    /// Files shared with it.
    pub(super) files: Vec<LedgerFile>,
}

impl Message {
    /// Notes a write in its history.
    pub(super) fn note(&mut self, what: &str) {
        if self.history.len() < HISTORY_MAX {
            self.history.push(what.to_owned());
        }
    }

    /// As a listing shows it.
    pub(super) fn shown(&self, with_metadata: bool) -> Value {
        let mut shown = json!({
            "type": "message", "ts": self.ts, "text": self.text, "blocks": self.blocks, "bot_id": self.bot_id,
        });
        if let Some(root) = &self.thread {
            shown["thread_ts"] = root.as_str().into();
        }
        if !self.files.is_empty() {
            let files = self.files.iter();
            shown["files"] = files
                .map(|file| json!({ "id": file.id, "name": file.name, "title": file.name, "size": file.size }))
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

/// All messages, by channel and `ts`.
#[derive(Debug, Default)]
pub(super) struct Store {
    messages: BTreeMap<(String, String), Message>,
    last_micros: i64,
}

impl Store {
    /// Adds a message; its `ts`, or nothing where the workspace is full.
    pub(super) fn add(
        &mut self,
        channel: &str,
        thread: Option<String>,
        message: Message,
        now: DateTime<Utc>,
    ) -> Option<String> {
        if self.messages.len() >= MESSAGES_MAX {
            return None;
        }
        self.last_micros = now.timestamp_micros().max(self.last_micros + 1);
        let ts = format!(
            "{}.{:06}",
            self.last_micros / 1_000_000,
            self.last_micros % 1_000_000
        );
        if let Some(root) = thread.as_ref().and_then(|root| self.get_mut(channel, root)) {
            root.note(&format!("reply {ts}"));
        }
        let message = Message {
            ts: ts.clone(),
            thread,
            posted: now,
            history: vec!["create".into()],
            ..message
        };
        self.messages
            .insert((channel.to_owned(), ts.clone()), message);
        Some(ts)
    }

    pub(super) fn get(&self, channel: &str, ts: &str) -> Option<&Message> {
        self.messages.get(&(channel.to_owned(), ts.to_owned()))
    }

    pub(super) fn get_mut(&mut self, channel: &str, ts: &str) -> Option<&mut Message> {
        self.messages.get_mut(&(channel.to_owned(), ts.to_owned()))
    }

    pub(super) fn remove(&mut self, channel: &str, ts: &str) -> bool {
        self.messages
            .remove(&(channel.to_owned(), ts.to_owned()))
            .is_some()
    }

    /// The messages of a channel, oldest first.
    pub(super) fn of(&self, channel: &str) -> impl Iterator<Item = &Message> {
        let from = (channel.to_owned(), String::new());
        self.messages
            .range(from..)
            .take_while(move |((of, _), _)| of == channel)
            .map(|(_, message)| message)
    }

    /// Roots as items, replies as their comments.
    pub(super) fn ledger(&self, label: Option<&str>) -> Vec<LedgerIssue> {
        self.messages
            .iter()
            .filter(|(_, message)| message.thread.is_none())
            .filter(|(_, message)| label.is_none_or(|label| message.mark() == Some(label)))
            .map(|((channel, _), message)| self.item(channel, message))
            .collect()
    }

    fn item(&self, channel: &str, root: &Message) -> LedgerIssue {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let in_thread = |message: &&Message| message.thread.as_ref() == Some(&root.ts);
        let attachments = self
            .of(channel)
            .filter(in_thread)
            .flat_map(|message| message.files.clone())
            .collect();
        let in_replies = self
            .of(channel)
            .filter(in_thread)
            .flat_map(|message| message.mentions.clone());
        let mentions: Vec<String> = root.mentions.iter().cloned().chain(in_replies).collect();
        let replies = self
            .of(channel)
            .filter(in_thread)
            .filter(|message| message.files.is_empty());
        LedgerIssue {
            id: root.ts.clone(),
            key: format!("{channel}:{}", root.ts),
            project: channel.to_owned(),
            summary: root.text.clone(),
            labels: root.mark().map(str::to_owned).into_iter().collect(),
            fields: Map::from_iter([
                ("blocks".to_owned(), root.blocks.clone()),
                ("mentions".to_owned(), mentions.into()),
            ]),
            comments: replies
                .map(|reply| LedgerComment {
                    id: reply.ts.clone(),
                    body: reply.text.as_str().into(),
                    public: true,
                    properties: reply.payload(),
                    created: time(reply.posted),
                })
                .collect(),
            attachments,
            history: root.history.clone(),
            created: time(root.posted),
            ..LedgerIssue::default()
        }
    }
}
