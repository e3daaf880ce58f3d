//! The mailboxes behind a mail server. Written from the sheet `platforms/email.md` and the RFCs it
//! names; SMTP itself is in [`super::smtp`].
//!
//! | | |
//! | --- | --- |
//! | credentials | any; secret `…wrong` → 535, `…forbidden` may log in and not send |
//! | recipients | any; `unknown…@` → 550 5.1.1, `full…@` → 452 4.2.2 |
//! | messages | kept as they came; a message without `From` is refused |
//! | tokens | `POST <site>/token`, a form: `refresh_token` or `client_credentials` |
//!
//! A mail is an item: its Message-ID is the key, `X-Ticketwire-Mark` its label. Nobody folds
//! copies: whoever counts sees all.
//!
//! Not modelled: bounces, delivery, DSN. 10 000 mails and 64 MiB a site; the oldest are forgotten
//! first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Grant, Rules};
use super::kit::shelf::moment;
use super::kit::{
    self, Common, Credential, CredentialSource, Hit, Refusal, Route, Shelf, Tabled, checks, magic,
    route, view,
};
use super::ledger::{LedgerFile, LedgerIssue};
use super::mime;

/// Mails kept.
const MAILS_MAX: usize = 10_000;
/// Bytes of mails kept.
const BYTES_MAX: usize = 64 << 20;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
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

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }
}

/// One site.
pub(super) struct Mailbox {
    common: Common<Settings>,
    mails: Shelf<LedgerIssue>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            common: Common::default(),
            mails: Shelf::new(MAILS_MAX, BYTES_MAX, 1),
        }
    }
}

impl Mailbox {
    fn log_in(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        if self.settings().requires_tls && *call.at("/encrypted") != true {
            return Answer::plain(
                538,
                "5.7.11 Encryption required for requested authentication mechanism",
            );
        }
        let credential = Credential {
            user: Some(call.field("user").to_owned()),
            secret: call.field("secret").to_owned(),
        };
        let (listed, grants) = (&self.settings().credentials, &self.common.grants);
        if checks::admit(&credential, listed, grants, hit.now).is_ok() {
            return Answer::plain(235, "2.7.0 Authentication successful");
        }
        let refused = Answer::plain(535, "5.7.8 Username and Password not accepted");
        if call.field("mechanism") == "XOAUTH2" && self.settings().challenges {
            let challenge = json!({
                "status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/",
            });
            return refused.header("x-challenge", &STANDARD.encode(challenge.to_string()));
        }
        refused
    }

    fn sender(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let size = call.at("/size").as_u64();
        if call.field("user").is_empty() && self.settings().requires_auth {
            return Answer::plain(530, "5.7.0 Authentication required");
        }
        if magic::is_forbidden(call.field("secret")) {
            return Answer::plain(553, "5.7.1 Sender address rejected: not owned by user");
        }
        if size.is_some_and(|size| size > self.settings().max_size) {
            return Answer::plain(552, "5.3.4 Message size exceeds fixed limit");
        }
        Answer::plain(250, "2.1.0 Ok")
    }

    fn recipient(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let to = call.field("to");
        if call.field("user").is_empty() && self.settings().requires_auth {
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

    fn message(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, now) = (hit.call, hit.now);
        let detail = call.json.clone().unwrap_or_default();
        if let (Some(code), Some(why)) = (detail["flaw"][0].as_u64(), detail["flaw"][1].as_str()) {
            return Answer::plain(u16::try_from(code).unwrap_or(554), why);
        }
        if call.body.len() as u64 > self.settings().max_size {
            return Answer::plain(552, "5.3.4 Message size exceeds fixed limit");
        }
        let mail = mime::read(&call.body);
        let Some(header_from) = mail.header("from") else {
            return Answer::plain(550, "5.7.1 Messages missing a From header are not accepted");
        };
        let created = moment(now);
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
            ..LedgerIssue::default()
        };
        let kept = self.mails.add_as(item, now, |n| format!("4Yk{n:08X}"));
        Answer::plain(250, &format!("2.0.0 Ok: queued as {}", kept.id)).mutated()
    }

    /// The token endpoint (RFC 6749 §4.4, §6).
    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let rules = Rules {
            grants: &[Grant::Refresh, Grant::ClientCredentials],
            rotates: self.settings().rotates,
            ..Rules::refreshing(self.settings().access_token_seconds)
        };
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => Answer::json(200, granted.json()).mutated(),
            Err(denied) => denied.answer(),
        }
    }

    fn settings(&self) -> &Settings {
        &self.common.settings
    }
}

impl Tabled for Mailbox {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        view("AUTH", "/auth", "auth", Self::log_in).open(),
        view("MAIL", "/mail", "mail", Self::sender).open(),
        view("RCPT", "/rcpt", "rcpt", Self::recipient).open(),
        route("DATA", "/data", "data", Self::message).open(),
        route("POST", "/token", "token", Self::token).open(),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[];
    const UNKNOWN: &'static str = "other";

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Status(status) => {
                Answer::json(*status, json!({ "error": "temporarily_unavailable" }))
            }
            // The routes are open.
            _ => Answer::json(404, json!({ "error": "mail comes by SMTP" })),
        }
    }

    fn stranger_answer(&self, _: &Call, _: DateTime<Utc>) -> Answer {
        Answer::log_in_page()
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.mails.ledger(label, |mail| mail.whole_line())
    }
}
