//! What Twilio tells by itself: answers of people, and what became of messages. Signed over the
//! public address and the sorted fields of the form.
//!
//! Sources: twilio.com/docs usage/webhooks/webhooks-security, usage/webhooks/webhook-shared-keys,
//! usage/webhooks/messaging-webhooks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::SecretString;

use super::reader::{author, change_id};
use super::{Sms, item, words};
use crate::platforms::inbound::{
    BODY_MAX, Coded, Handshake, Hit, Hooks, Inbound, Key, Mac, Piece, Reply, Scheme, SecretMember,
    Value, When,
};
use crate::platforms::{
    AdapterError, Change, ChangeKind, ErrorClass, ExternalComment, ExternalFile, ItemRef, Moment,
    Needs,
};

const SIGNATURE: &str = "x-twilio-signature";
/// By which key and hash it is signed, where a webhooks rule fits the address.
const SIGNED_BY: &str = "x-twilio-webhooks-signature-settings";
/// Files of a message, at most.
const FILES_MAX: usize = 10;

const SHA1: Scheme = Scheme {
    when: When::Always,
    value: Value::Header(SIGNATURE, ""),
    mac: Mac::HmacSha1,
    key: Key::Text,
    coded: Coded::Base64,
    over: &[Piece::Url, Piece::SortedForm],
    time: None,
};

static SCHEMES: [Scheme; 3] = [
    Scheme {
        when: When::HeaderHas(SIGNED_BY, "algorithm=HMAC_SHA256"),
        mac: Mac::HmacSha256,
        ..SHA1
    },
    // Another hash is none that is known: never SHA-1 in its place. No signature begins so.
    Scheme {
        when: When::Header(SIGNED_BY),
        value: Value::Header(SIGNATURE, "unknown algorithm "),
        ..SHA1
    },
    SHA1,
];

static METHODS: [Method; 2] = [Method::POST, Method::GET];

pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &METHODS,
    keep: &[SIGNED_BY, "i-twilio-idempotency-token"],
    schemes: &SCHEMES,
    body_max: BODY_MAX,
    // Nothing is answered to the person.
    taken: Reply {
        status: 200,
        media_type: Some("text/xml"),
        body: Cow::Borrowed("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>"),
    },
    shake,
    secrets: &[SecretMember::new("auth_token")],
};

/// The parameters of a delivery: of a form, or of the query.
struct Delivery(BTreeMap<String, String>);

impl Delivery {
    fn of(hit: &Hit<'_>) -> Self {
        let own =
            |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        if hit.method == Method::GET {
            let query = hit.url.split_once('?').map_or("", |(_, query)| query);
            return Self(
                url::form_urlencoded::parse(query.as_bytes())
                    .map(own)
                    .collect(),
            );
        }
        Self(hit.form().into_iter().map(own).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Whether somebody wrote to us.
    fn is_answer(&self) -> bool {
        let status = self.get("SmsStatus").or_else(|| self.get("MessageStatus"));
        self.get("MessageStatus")
            .is_none_or(|status| status == "received")
            && status.is_none_or(|status| status == "received")
            && self.get("From").is_some()
    }

    /// Its files; who fetches one needs the account's credentials.
    fn files(&self) -> Vec<ExternalFile> {
        let numbered = (0..FILES_MAX).map_while(|n| {
            let url = self.get(&format!("MediaUrl{n}"))?;
            let id = url.rsplit('/').next().unwrap_or(url);
            Some(ExternalFile {
                id: id.to_owned(),
                name: id.to_owned(),
                content_type: self.get(&format!("MediaContentType{n}")).map(str::to_owned),
                size: None,
                url: Some(url.to_owned()),
            })
        });
        numbered.collect()
    }
}

/// What became of a message is told to nobody, unless it says that a ticket's is there.
fn shake(hit: &Hit<'_>, _: &[SecretString]) -> Option<Handshake> {
    let delivery = Delivery::of(hit);
    let tells = delivery.is_answer() || mark(hit).is_some();
    (!tells).then_some(Handshake::Heartbeat)
}

impl Inbound for Sms {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery = Delivery::of(hit);
        let fault = |text: &str| {
            let class = ErrorClass::Validation {
                fields: BTreeMap::new(),
            };
            AdapterError::new(class, text)
        };
        let sid = delivery
            .get("MessageSid")
            .or_else(|| delivery.get("SmsSid"));
        let sid = sid.ok_or_else(|| fault("the delivery names no message"))?;
        if delivery
            .get("AccountSid")
            .is_some_and(|account| account != self.account)
        {
            return Err(fault(
                "the delivery is of another account than the integration's",
            ));
        }
        if !delivery.is_answer() {
            return Ok(mark(hit)
                .map(|mark| made(sid, &delivery, mark))
                .into_iter()
                .collect());
        }
        let service = delivery.get("MessagingServiceSid");
        let is_ours = delivery.get("From") == Some(&self.to)
            && self.may_be_sender(delivery.get("To"), service);
        if !is_ours {
            // Somebody else writes to the number.
            return Ok(Vec::new());
        }
        let text = delivery.get("Body").unwrap_or_default();
        let by = author(delivery.get("From"));
        // Without a reference it belongs to what was sent last, which is read.
        let (of, needs) = match words::quoted(text) {
            Some(reference) => (item::item(&reference, None), Needs::Nothing),
            None => (ItemRef::named(sid), Needs::Parent),
        };
        Ok(vec![Change {
            at: Some(Moment::second(hit.received_at)),
            by: Some(by.clone()),
            comment: Some(ExternalComment {
                id: sid.to_owned(),
                body: text.to_owned(),
                public: Some(true),
                author: Some(by),
                created_at: Some(hit.received_at),
                ..ExternalComment::default()
            }),
            files: delivery.files(),
            needs,
            ..Change::new(change_id(sid), ChangeKind::Commented, of)
        }])
    }
}

/// The mark of a ticket in the address that a message's status is told to.
fn mark(hit: &Hit<'_>) -> Option<String> {
    hit.query("mark").filter(|mark| mark.starts_with("tkt-"))
}

/// A message of ours is there: what its status is changes nothing of the ticket.
fn made(sid: &str, delivery: &Delivery, mark: String) -> Change {
    let status = delivery.get("MessageStatus").unwrap_or("unknown");
    let of = item::item(&words::reference(&mark), Some(sid));
    Change {
        marker: Some(mark),
        ..Change::new(format!("{sid}#{status}"), ChangeKind::Updated, of)
    }
}
