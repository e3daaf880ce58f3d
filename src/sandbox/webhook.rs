//! A receiver of Standard Webhooks 1.0.0. Written from the sheet `platforms/webhook.md`.
//!
//! | | |
//! | --- | --- |
//! | paths | every one below the site, POST only |
//! | signatures | checked against the setting `secrets` (any of them may match); with none, only the headers' form is |
//! | repeats | a `webhook-id` that was seen before is answered 200 and does nothing |
//! | answers | 200 `{}`; with the setting `names_things`, `{"id": "EXT-<n>", "url": "<site>/things/<n>"}` |
//!
//! Not modelled: asymmetric signatures. 200 000 ids are remembered.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::answer::Answer;
use super::call::Call;
use super::kit::shelf::moment;
use super::kit::{self, Common, CredentialSource, Hit, Refusal, Route, Shelf, Tabled, route};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Ids remembered.
const SEEN_MAX: usize = 200_000;
/// How far a timestamp may be off (all reference libraries).
const TOLERANCE_SECONDS: i64 = 300;

/// What can be set at a site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// `whsec_…`; any of them may have signed.
    secrets: Vec<String>,
    /// Whether answers name what was made.
    names_things: bool,
}

impl kit::Settings for Settings {}

/// One endpoint.
pub(super) struct Receiver {
    common: Common<Settings>,
    seen: HashSet<String>,
    /// What was made, by the id of its delivery and by its ticket.
    items: Shelf<LedgerIssue>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            common: Common::default(),
            seen: HashSet::new(),
            items: Shelf::new(SEEN_MAX, usize::MAX, 1),
        }
    }
}

impl Receiver {
    fn take(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, now) = (hit.call, hit.now);
        let header = |name: &str| call.header(name);
        let (Some(id), Some(timestamp), Some(signatures)) = (
            header("webhook-id"),
            header("webhook-timestamp"),
            header("webhook-signature"),
        ) else {
            return refused(400, "a webhook header is missing");
        };
        let Some(sent) = timestamp.parse::<i64>().ok() else {
            return refused(400, "webhook-timestamp is no number");
        };
        if (now.timestamp() - sent).abs() > TOLERANCE_SECONDS {
            return refused(401, "webhook-timestamp is too far off");
        }
        if !self.common.settings.secrets.is_empty()
            && !self.is_genuine(call, id, timestamp, signatures)
        {
            return refused(401, "no signature matches");
        }
        let Some(body) = &call.json else {
            return refused(415, "the body is not JSON");
        };
        if self.seen.contains(id) {
            return self.named(call);
        }
        if self.seen.len() >= SEEN_MAX {
            return refused(507, "full");
        }
        self.seen.insert(id.to_owned());
        self.store(id, body, now);
        self.named(call).mutated()
    }

    fn is_genuine(&self, call: &Call, id: &str, timestamp: &str, signatures: &str) -> bool {
        self.common.settings.secrets.iter().any(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret));
            let Some(mut mac) = key
                .ok()
                .and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok())
            else {
                return false;
            };
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(&call.body);
            let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            signatures.split(' ').any(|given| given == expected)
        })
    }

    /// Keeps what came: things made as items, all else in the history of the item that it is about.
    fn store(&mut self, id: &str, body: &Value, now: DateTime<Utc>) {
        let created = moment(now);
        let kind = body["type"].as_str().unwrap_or_default();
        let ticket = body["data"]["ticket_id"].as_str().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if ticket.is_empty() || self.items.find(ticket).is_none() {
            let item = LedgerIssue {
                project: ticket.to_owned(),
                summary: text(&body["data"]["title"]),
                description: body["data"]["description"].clone(),
                key: id.to_owned(),
                issue_type: kind.to_owned(),
                fields: body.as_object().cloned().unwrap_or_default(),
                ..LedgerIssue::default()
            };
            self.items.add_as(item, now, |_| id.to_owned());
            self.items
                .grow(id, 0, |item| item.history = vec![kind.to_owned()]);
            if !ticket.is_empty() {
                self.items.name(ticket, id);
            }
            return;
        }
        self.items.change(ticket, |item| {
            item.note(kind, now);
            if kind == "ticket.comment_added" {
                item.comments.push(LedgerComment {
                    id: id.to_owned(),
                    body: body["data"]["comment"]["body"].clone(),
                    public: body["data"]["comment"]["public"] == true,
                    properties: Map::new(),
                    created,
                });
            } else if kind == "ticket.attachment_added" {
                let file = &body["data"]["attachment"];
                item.attachments.push(LedgerFile {
                    id: id.to_owned(),
                    name: text(&file["name"]),
                    media_type: text(&file["content_type"]),
                    size: file["size"].as_u64().unwrap_or_default(),
                    sha256: text(&file["sha256"]),
                    created,
                });
            } else {
                item.fields = body.as_object().cloned().unwrap_or_default();
            }
        });
    }

    fn named(&self, call: &Call) -> Answer {
        if !self.common.settings.names_things {
            return Answer::json(200, json!({}));
        }
        let number = self.items.len();
        Answer::json(
            200,
            json!({ "id": format!("EXT-{number}"), "url": format!("{}/things/{number}",
                call.base) }),
        )
    }
}

fn refused(status: u16, why: &str) -> Answer {
    Answer::json(status, json!({ "error": why }))
}

impl Tabled for Receiver {
    type Settings = Settings;

    const ROUTES: &'static [Route<Self>] = &[route("POST", "/**", "deliver", Self::take).open()];
    const CREDENTIALS: &'static [CredentialSource] = &[];
    const UNKNOWN: &'static str = "deliver";

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Status(status) => refused(*status, "a fault on demand"),
            // The routes are open, and take every path.
            _ => refused(405, "POST only"),
        }
    }

    /// A receiver behind a log-in: a page, with 200.
    fn stranger_answer(&self, _: &Call, _: DateTime<Utc>) -> Answer {
        Answer::log_in_page()
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let (mut lines, evicted) = self.items.ledger(None, |item| item.whole_line());
        lines.retain(|item| label.is_none_or(|label| item.id.contains(label)));
        (lines, evicted)
    }
}
