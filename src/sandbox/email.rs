//! The mailboxes behind a mail server. Written from the sheet `platforms/email.md` and the RFCs it
//! names; SMTP itself is in [`super::smtp`].
//!
//! | | |
//! | --- | --- |
//! | credentials | any; secret `wrong` → 535, `forbidden` may log in and not send |
//! | recipients | any; `unknown…@` → 550 5.1.1, `full…@` → 452 4.2.2 |
//! | messages | kept as they came; a message without `From` is refused |
//! | tokens | `POST <site>/token`, a form: `refresh_token` or `client_credentials` |
//!
//! A mail is an item: its Message-ID is the key, `X-Ticketwire-Mark` its label. Nobody folds
//! copies: whoever counts sees all.
//!
//! Not modelled: bounces, delivery, DSN. 10 000 mails and 64 MiB a site; the oldest are forgotten
//! first.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::call::Call;
use super::fake::{Fake, merged};
use super::ledger::{LedgerFile, LedgerIssue};
use super::mime;
use super::tokens::Tokens;

/// Mails kept.
const MAILS_MAX: usize = 10_000;
/// Bytes of mails kept.
const BYTES_MAX: usize = 64 << 20;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Whether who is not logged in may not send.
    requires_auth: bool,
    /// Whether a log-in in the clear is refused.
    requires_tls: bool,
    /// If not empty, only these are accepted: `user:secret`.
    credentials: Vec<String>,
    /// Whether a refused token gets a challenge first, as Gmail's do.
    challenges: bool,
    /// Largest message.
    max_size: u64,
    /// Life of an access token made by `/token`.
    access_token_seconds: i64,
    /// Whether `/token` gives a new refresh token each time, as Microsoft's does.
    rotates: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requires_auth: true,
            requires_tls: false,
            credentials: Vec::new(),
            challenges: true,
            max_size: 16 << 20,
            access_token_seconds: 3_600,
            rotates: true,
        }
    }
}

/// One site.
#[derive(Default)]
pub(super) struct Mailbox {
    settings: Settings,
    tokens: Tokens,
    mails: VecDeque<(LedgerIssue, usize)>,
    bytes: usize,
    taken: u64,
    evicted: u64,
}

fn text<'a>(call: &'a Call, name: &str) -> &'a str {
    call.json
        .as_ref()
        .and_then(|json| json[name].as_str())
        .unwrap_or_default()
}

impl Mailbox {
    fn log_in(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        let (user, secret) = (text(call, "user"), text(call, "secret"));
        let encrypted = call
            .json
            .as_ref()
            .is_some_and(|json| json["encrypted"] == true);
        if self.settings.requires_tls && !encrypted {
            return Answer::plain(
                538,
                "5.7.11 Encryption required for requested authentication mechanism",
            );
        }
        let listed = self.settings.credentials.is_empty()
            || self
                .settings
                .credentials
                .contains(&format!("{user}:{secret}"));
        let accepted = self.tokens.is_alive(secret, now).unwrap_or(listed);
        if !user.is_empty() && !secret.is_empty() && secret != "wrong" && accepted {
            return Answer::plain(235, "2.7.0 Authentication successful");
        }
        let refused = Answer::plain(535, "5.7.8 Username and Password not accepted");
        if text(call, "mechanism") == "XOAUTH2" && self.settings.challenges {
            let challenge = json!({
                "status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/",
            });
            return refused.header("x-challenge", &STANDARD.encode(challenge.to_string()));
        }
        refused
    }

    fn sender(&self, call: &Call) -> Answer {
        let size = call.json.as_ref().and_then(|json| json["size"].as_u64());
        if text(call, "user").is_empty() && self.settings.requires_auth {
            return Answer::plain(530, "5.7.0 Authentication required");
        }
        if text(call, "secret") == "forbidden" {
            return Answer::plain(553, "5.7.1 Sender address rejected: not owned by user");
        }
        if size.is_some_and(|size| size > self.settings.max_size) {
            return Answer::plain(552, "5.3.4 Message size exceeds fixed limit");
        }
        Answer::plain(250, "2.1.0 Ok")
    }

    fn recipient(&self, call: &Call) -> Answer {
        let to = text(call, "to");
        if text(call, "user").is_empty() && self.settings.requires_auth {
            return Answer::plain(530, "5.7.0 Authentication required");
        }
        if to.starts_with("unknown") {
            return Answer::plain(
                550,
                &format!("5.1.1 <{to}>: Recipient address rejected: User unknown"),
            );
        }
        if to.starts_with("full") {
            return Answer::plain(452, &format!("4.2.2 <{to}>: Mailbox full"));
        }
        Answer::plain(250, "2.1.5 Ok")
    }

    fn message(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        let detail = call.json.clone().unwrap_or_default();
        if let (Some(code), Some(why)) = (detail["flaw"][0].as_u64(), detail["flaw"][1].as_str()) {
            return Answer::plain(u16::try_from(code).unwrap_or(554), why);
        }
        if call.body.len() as u64 > self.settings.max_size {
            return Answer::plain(552, "5.3.4 Message size exceeds fixed limit");
        }
        let mail = mime::read(&call.body);
        let Some(header_from) = mail.header("from") else {
            return Answer::plain(550, "5.7.1 Messages missing a From header are not accepted");
        };
        self.taken += 1;
        let id = format!("4Yk{:08X}", self.taken);
        let created = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let headers: Map<String, Value> = mail
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let attachments = mail.parts.iter().filter_map(|part| {
            let name = part.file_name.as_ref()?;
            Some(LedgerFile {
                created: created.clone(),
                ..LedgerFile::of(name, &part.media_type, &part.bytes)
            })
        });
        let body_of = |media_type: &str| {
            let part = mail
                .parts
                .iter()
                .find(|part| part.file_name.is_none() && part.media_type == media_type);
            part.map(|part| String::from_utf8_lossy(&part.bytes).into_owned())
        };
        let item = LedgerIssue {
            id: id.clone(),
            key: mail.header("message-id").unwrap_or_default(),
            project: header_from,
            summary: mail.header("subject").unwrap_or_default(),
            description: String::from_utf8_lossy(&call.body).into_owned().into(),
            issue_type: "mail".into(),
            labels: mail.header("x-ticketwire-mark").into_iter().collect(),
            fields: Map::from_iter([
                ("from".to_owned(), detail["from"].clone()),
                ("to".to_owned(), detail["to"].clone()),
                ("user".to_owned(), detail["user"].clone()),
                ("encrypted".to_owned(), detail["encrypted"].clone()),
                ("smtputf8".to_owned(), detail["utf8"].clone()),
                ("headers".to_owned(), headers.into()),
                ("text".to_owned(), body_of("text/plain").into()),
                ("html".to_owned(), body_of("text/html").into()),
                (
                    "sha256".to_owned(),
                    hex::encode(Sha256::digest(&call.body)).into(),
                ),
            ]),
            attachments: attachments.collect(),
            history: vec!["create".into()],
            created: created.clone(),
            ..LedgerIssue::default()
        };
        self.keep(item, call.body.len());
        Answer::plain(250, &format!("2.0.0 Ok: queued as {id}")).effective()
    }

    fn keep(&mut self, item: LedgerIssue, bytes: usize) {
        self.bytes += bytes;
        self.mails.push_back((item, bytes));
        while self.mails.len() > MAILS_MAX || self.bytes > BYTES_MAX {
            let Some((_, bytes)) = self.mails.pop_front() else {
                return;
            };
            self.bytes -= bytes;
            self.evicted += 1;
        }
    }

    /// The token endpoint (RFC 6749 §4.4, §6).
    fn grant(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        let of = |name: &str| call.field(name);
        let refused = |status, error: &str| Answer::json(status, json!({ "error": error }));
        if of("client_id").is_empty() || matches!(of("client_secret"), "" | "wrong") {
            return refused(401, "invalid_client");
        }
        // What is no refresh token of ours works once: a new one each time stands for what may be
        // used again.
        let anything = format!("anything-{}", uuid::Uuid::new_v4());
        let (spent, refreshes) = match of("grant_type") {
            "client_credentials" => (anything.as_str(), false),
            "refresh_token" if matches!(of("refresh_token"), "" | "wrong") => {
                return refused(400, "invalid_grant");
            }
            "refresh_token" if self.settings.rotates => (of("refresh_token"), true),
            "refresh_token" => (anything.as_str(), false),
            _ => return refused(400, "unsupported_grant_type"),
        };
        let seconds = self.settings.access_token_seconds;
        let Some(pair) = self.tokens.refresh(spent, seconds, now) else {
            return refused(400, "invalid_grant");
        };
        let mut body =
            json!({ "access_token": pair.access, "expires_in": seconds, "token_type": "Bearer" });
        if refreshes {
            body["refresh_token"] = pair.refresh.into();
        }
        Answer::json(200, body).effective()
    }
}

impl Fake for Mailbox {
    fn operation(&self, call: &Call) -> &'static str {
        if call.path == "/token" {
            "token"
        } else {
            "other"
        }
    }

    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        match (call.method.as_str(), call.path.as_str()) {
            ("AUTH", _) => self.log_in(call, now),
            ("MAIL", _) => self.sender(call),
            ("RCPT", _) => self.recipient(call),
            ("DATA", _) => self.message(call, now),
            ("POST", "/token") => self.grant(call, now),
            _ => Answer::json(404, json!({ "error": "mail comes by SMTP" })),
        }
    }

    fn fault_answer(&self, _: &Call, status: u16, _: DateTime<Utc>) -> Answer {
        Answer::json(status, json!({ "error": "temporarily_unavailable" }))
    }

    fn stranger(&self, _: &Call, _: DateTime<Utc>) -> Answer {
        Answer::log_in_page()
    }

    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String> {
        self.settings = merged(&self.settings, changes)?;
        Ok(())
    }

    fn settings(&self) -> Value {
        json!(self.settings)
    }

    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let fits =
            |item: &&LedgerIssue| label.is_none_or(|label| item.labels.iter().any(|l| l == label));
        let mails = self.mails.iter().map(|(item, _)| item);
        (mails.filter(fits).cloned().collect(), self.evicted)
    }
}
