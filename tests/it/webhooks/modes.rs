//! Every way in which a platform proves its deliveries: what an integration has, and how the
//! platform signs.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::signing::{base64_mac, base64_sha1_mac, hex_mac, mac, token};
use super::{PUBLIC, Post, Row};

/// Where an integration has its secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    WebhookSecret,
    Registered,
    /// A member of the credentials, without which there is no integration.
    Credentials(&'static str),
}

/// Where a proof is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Header(&'static str, &'static str),
    /// In the body.
    ClientState,
}

/// What a proof is over besides the secret.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Over {
    pub(super) body: bool,
    /// In which header it is said, where there is one.
    pub(super) time: Option<&'static str>,
    /// In the body.
    pub(super) time_in_body: bool,
    /// In the token, whose time is over as its proof is.
    pub(super) time_in_token: bool,
}

/// What is signed.
pub(super) struct Signing<'a> {
    pub(super) secret: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) url: &'a str,
    pub(super) body: &'a str,
}

/// Headers besides the proof, and the proof.
type Sign = fn(&Signing<'_>) -> (Vec<(&'static str, String)>, String);

pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) row: Row,
    pub(super) secrets: [&'static str; 3],
    pub(super) place: Place,
    pub(super) proof: Proof,
    pub(super) over: Over,
    pub(super) body: fn(&Signing<'_>) -> String,
    pub(super) sign: Sign,
}

const BODY: Over = Over {
    body: true,
    time: None,
    time_in_body: false,
    time_in_token: false,
};
const NOTHING: Over = Over {
    body: false,
    ..BODY
};

pub(super) const fn timed(header: &'static str) -> Over {
    Over {
        time: Some(header),
        ..BODY
    }
}

pub(super) fn iso(seconds: i64) -> String {
    let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

pub(super) fn json_body(_: &Signing<'_>) -> String {
    r#"{"n":1,"text":"grüße ✓"}"#.to_owned()
}

pub(super) fn of(
    name: &'static str,
    row: Row,
    proof: (&'static str, &'static str),
    over: Over,
    sign: Sign,
) -> Mode {
    Mode {
        name,
        row,
        secrets: ["the-current-secret", "the-secret-before", "another-secret"],
        place: Place::WebhookSecret,
        proof: Proof::Header(proof.0, proof.1),
        over,
        body: json_body,
        sign,
    }
}

/// An ed25519 key pair of a seed: private and public as Standard Webhooks writes the latter.
pub(super) fn ed25519(seed: &str) -> (Ed25519KeyPair, String) {
    let seed = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
    let public = format!("whpk_{}", STANDARD.encode(pair.public_key().as_ref()));
    (pair, public)
}

pub(super) fn modes() -> Vec<Mode> {
    let mut modes = tracker_modes();
    modes.extend(desk_modes());
    modes.extend(message_modes());
    modes.extend(standard_modes());
    modes
}

pub(super) fn tracker_modes() -> Vec<Mode> {
    let jira = |auth_type| Row::of("jira", "ticketing", auth_type);
    vec![
        of(
            "jira, signed",
            jira("api_key"),
            ("x-hub-signature", "sha256="),
            BODY,
            |s| (vec![], hex_mac(s.secret.as_bytes(), s.body)),
        ),
        Mode {
            place: Place::Credentials("client_secret"),
            ..of(
                "jira, an app's token",
                jira("oauth2"),
                ("authorization", "Bearer "),
                Over {
                    time_in_token: true,
                    ..NOTHING
                },
                |s| (vec![], token(s.secret, s.now)),
            )
        },
        Mode {
            secrets: [
                "hook:the-current-secret",
                "hook:the-secret-before",
                "hook:another-secret",
            ],
            ..of(
                "jira, Basic",
                jira("bearer"),
                ("authorization", "Basic "),
                NOTHING,
                |s| (vec![], STANDARD.encode(s.secret)),
            )
        },
        of(
            "github",
            Row::of("github", "code_repository", "bearer"),
            ("x-hub-signature-256", "sha256="),
            BODY,
            |s| {
                let event = ("x-github-event", "issues".to_owned());
                (vec![event], hex_mac(s.secret.as_bytes(), s.body))
            },
        ),
        Mode {
            place: Place::Registered,
            body: |_| r#"{"events":[{"action":"changed","n":1}]}"#.to_owned(),
            ..of(
                "asana",
                Row::of("asana", "project_management", "bearer"),
                ("x-hook-signature", ""),
                BODY,
                |s| (vec![], hex_mac(s.secret.as_bytes(), s.body)),
            )
        },
        of(
            "trello",
            Row::of("trello", "project_management", "api_key"),
            ("x-trello-webhook", ""),
            BODY,
            |s| {
                (
                    vec![],
                    base64_sha1_mac(s.secret.as_bytes(), &format!("{}{}", s.body, s.url)),
                )
            },
        ),
    ]
}

pub(super) fn desk_modes() -> Vec<Mode> {
    let servicenow = Row::of("servicenow", "ticketing", "basic");
    let salesforce = Row::of("salesforce", "crm", "oauth2");
    let freshdesk = Row::of("freshdesk", "ticketing", "api_key");
    vec![
        of(
            "servicenow, signed",
            servicenow.clone(),
            ("x-sn-signature", ""),
            timed("x-sn-timestamp"),
            |s| {
                let text = format!("{}.{}", s.now, s.body);
                let time = ("x-sn-timestamp", s.now.to_string());
                (vec![time], base64_mac(s.secret.as_bytes(), &text))
            },
        ),
        of(
            "servicenow, a secret",
            servicenow,
            ("x-sn-secret", ""),
            NOTHING,
            |s| (vec![], s.secret.to_owned()),
        ),
        Mode {
            place: Place::Registered,
            ..of(
                "zendesk",
                Row::of("zendesk", "ticketing", "api_key"),
                ("x-zendesk-webhook-signature", ""),
                timed("x-zendesk-webhook-signature-timestamp"),
                |s| {
                    let at = iso(s.now);
                    let proof = base64_mac(s.secret.as_bytes(), &format!("{at}{}", s.body));
                    (vec![("x-zendesk-webhook-signature-timestamp", at)], proof)
                },
            )
        },
        of(
            "freshdesk, a header",
            freshdesk.clone(),
            ("x-webhook-secret", ""),
            NOTHING,
            |s| (vec![], s.secret.to_owned()),
        ),
        of(
            "freshdesk, a password",
            freshdesk,
            ("authorization", "Basic "),
            NOTHING,
            |s| (vec![], STANDARD.encode(format!("anybody:{}", s.secret))),
        ),
        of(
            "salesforce, signed",
            salesforce.clone(),
            ("x-webhook-signature", "sha256="),
            timed("x-webhook-timestamp"),
            |s| {
                let text = format!("{}.{}", s.now, s.body);
                let time = ("x-webhook-timestamp", s.now.to_string());
                (vec![time], hex_mac(s.secret.as_bytes(), &text))
            },
        ),
        of(
            "salesforce, a secret",
            salesforce,
            ("x-webhook-secret", ""),
            NOTHING,
            |s| (vec![], s.secret.to_owned()),
        ),
        Mode {
            place: Place::Credentials("client_secret"),
            ..of(
                "hubspot, version 3",
                Row::of("hubspot", "crm", "oauth2"),
                ("x-hubspot-signature-v3", ""),
                timed("x-hubspot-request-timestamp"),
                |s| {
                    let at = (s.now * 1000).to_string();
                    let text = format!("POST{}{}{at}", s.url, s.body);
                    let proof = base64_mac(s.secret.as_bytes(), &text);
                    (vec![("x-hubspot-request-timestamp", at)], proof)
                },
            )
        },
        of(
            "hubspot, version 1",
            Row::of("hubspot", "crm", "bearer"),
            ("x-hubspot-signature", ""),
            BODY,
            |s| {
                let text = format!("{}{}", s.secret, s.body);
                let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
                let version = ("x-hubspot-signature-version", "v1".to_owned());
                (vec![version], hex::encode(digest.as_ref()))
            },
        ),
    ]
}

pub(super) fn message_modes() -> Vec<Mode> {
    let teams = || Row::of("teams", "messaging", "oauth2");
    let sms = || Row::of("sms", "messaging", "basic");
    const FORM: fn(&Signing<'_>) -> String =
        |_| "Body=gr%C3%BC%C3%9Fe&From=%2B14158675309&MessageSid=SM1".to_owned();
    fn twilio(kind: hmac::Algorithm, s: &Signing<'_>) -> String {
        let mut fields: Vec<(String, String)> = url::form_urlencoded::parse(s.body.as_bytes())
            .into_owned()
            .collect();
        fields.sort();
        let mut text = s.url.to_owned();
        for (name, value) in fields {
            write!(text, "{name}{value}").unwrap();
        }
        STANDARD.encode(mac(kind, s.secret.as_bytes(), text.as_bytes()))
    }
    vec![
        Mode {
            body: |_| r#"{"type":"event_callback","event_id":"Ev1","n":1}"#.to_owned(),
            ..of(
                "slack",
                Row::of("slack", "messaging", "bearer"),
                ("x-slack-signature", "v0="),
                timed("x-slack-request-timestamp"),
                |s| {
                    let time = ("x-slack-request-timestamp", s.now.to_string());
                    let text = format!("v0:{}:{}", s.now, s.body);
                    (vec![time], hex_mac(s.secret.as_bytes(), &text))
                },
            )
        },
        Mode {
            body: |_| r#"{"event":"chat_message.updated","n":1}"#.to_owned(),
            ..of(
                "zoom",
                Row::of("zoom", "messaging", "oauth2"),
                ("x-zm-signature", "v0="),
                timed("x-zm-request-timestamp"),
                |s| {
                    let time = ("x-zm-request-timestamp", s.now.to_string());
                    let text = format!("v0:{}:{}", s.now, s.body);
                    (vec![time], hex_mac(s.secret.as_bytes(), &text))
                },
            )
        },
        Mode {
            // Base64 of the keys.
            secrets: [
                "dGhlLWN1cnJlbnQtc2VjcmV0",
                "dGhlLXNlY3JldC1iZWZvcmU=",
                "YW5vdGhlci1zZWNyZXQ=",
            ],
            body: |s| json!({ "type": "message", "timestamp": iso(s.now), "n": 1 }).to_string(),
            ..of(
                "teams, outgoing",
                teams(),
                ("authorization", "HMAC "),
                Over {
                    time_in_body: true,
                    ..BODY
                },
                |s| {
                    let key = STANDARD.decode(s.secret).unwrap();
                    (vec![], base64_mac(&key, s.body))
                },
            )
        },
        Mode {
            place: Place::Registered,
            proof: Proof::ClientState,
            body: |s| json!({ "value": [{ "clientState": s.secret, "n": 1 }] }).to_string(),
            ..of("teams, Graph", teams(), ("", ""), NOTHING, |s| {
                (vec![], s.secret.to_owned())
            })
        },
        Mode {
            place: Place::Credentials("auth_token"),
            body: FORM,
            ..of("sms", sms(), ("x-twilio-signature", ""), BODY, |s| {
                (vec![], twilio(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, s))
            })
        },
        Mode {
            body: FORM,
            ..of(
                "sms, by a rule",
                sms(),
                ("x-twilio-signature", ""),
                BODY,
                |s| {
                    let by = "keySid=SK1, algorithm=HMAC_SHA256".to_owned();
                    let by = ("x-twilio-webhooks-signature-settings", by);
                    (vec![by], twilio(hmac::HMAC_SHA256, s))
                },
            )
        },
    ]
}

pub(super) fn standard_modes() -> Vec<Mode> {
    let webhook = || Row::of("webhook", "webhook", "custom");
    let keys = [
        "whsec_dGhlLWN1cnJlbnQtc2VjcmV0",
        "whsec_dGhlLXNlY3JldC1iZWZvcmU=",
        "whsec_YW5vdGhlci1zZWNyZXQ=",
    ];
    fn key(secret: &str) -> Vec<u8> {
        STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap()
    }
    vec![
        Mode {
            secrets: keys,
            place: Place::Credentials("signing_secret"),
            ..of(
                "webhook",
                webhook(),
                ("webhook-signature", "v1,"),
                timed("webhook-timestamp"),
                |s| {
                    let text = format!("msg_1.{}.{}", s.now, s.body);
                    let id = ("webhook-id", "msg_1".to_owned());
                    let time = ("webhook-timestamp", s.now.to_string());
                    (vec![id, time], base64_mac(&key(s.secret), &text))
                },
            )
        },
        Mode {
            secrets: keys,
            ..of(
                "webhook, by Svix",
                webhook(),
                ("svix-signature", "v1,"),
                timed("svix-timestamp"),
                |s| {
                    let text = format!("msg_1.{}.{}", s.now, s.body);
                    let id = ("svix-id", "msg_1".to_owned());
                    let time = ("svix-timestamp", s.now.to_string());
                    (vec![id, time], base64_mac(&key(s.secret), &text))
                },
            )
        },
        Mode {
            // Seeds; the integration has the public keys.
            secrets: ["current", "before", "another"],
            ..of(
                "webhook, ed25519",
                webhook(),
                ("webhook-signature", "v1a,"),
                timed("webhook-timestamp"),
                |s| {
                    let text = format!("msg_1.{}.{}", s.now, s.body);
                    let proof = ed25519(s.secret).0.sign(text.as_bytes());
                    let id = ("webhook-id", "msg_1".to_owned());
                    let time = ("webhook-timestamp", s.now.to_string());
                    (vec![id, time], STANDARD.encode(proof.as_ref()))
                },
            )
        },
    ]
}

impl Mode {
    /// A secret as the integration has it.
    pub(super) fn known(&self, secret: &str) -> String {
        if self.name == "webhook, ed25519" {
            ed25519(secret).1
        } else {
            secret.to_owned()
        }
    }

    /// An integration with these secrets, the one before good for so long.
    pub(super) fn row(&self, secret: Option<&str>, previous: Option<(&str, i64)>) -> Row {
        let mut row = self.row.clone();
        let previous = previous.map(|(secret, seconds)| (self.known(secret), seconds));
        match self.place {
            Place::WebhookSecret => {
                row.secret = secret.map(|secret| self.known(secret));
                row.previous = previous;
            }
            Place::Registered => {
                row.registered = secret.map(|secret| (self.known(secret), previous));
            }
            Place::Credentials(member) => {
                let secret = secret.unwrap_or("some-other-secret");
                row.credentials = Some(json!({ (member): self.known(secret) }));
                row.previous = previous;
            }
        }
        row
    }

    /// Whether there is no integration without a secret.
    pub(super) fn always_has_one(&self) -> bool {
        matches!(self.place, Place::Credentials(_))
    }

    pub(super) fn post(&self, integration: Uuid, secret: &str, now: i64) -> Post {
        let url = format!("{PUBLIC}/webhooks/{integration}");
        let mut signing = Signing {
            secret,
            now,
            url: &url,
            body: "",
        };
        let body = (self.body)(&signing);
        signing.body = &body;
        let (headers, proof) = (self.sign)(&signing);
        let is_form = !body.starts_with('{');
        let kind = if is_form {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let mut post = Post::to(integration, &body).with("content-type", kind);
        for (name, value) in headers {
            post = post.with(name, &value);
        }
        match self.proof {
            Proof::Header(name, prefix) => post.with(name, &format!("{prefix}{proof}")),
            Proof::ClientState => post,
        }
    }

    /// The proof of a delivery, changed.
    pub(super) fn reproved(&self, mut post: Post, change: impl Fn(&str) -> Option<String>) -> Post {
        match self.proof {
            Proof::Header(proof, _) => {
                let at = post
                    .headers
                    .iter()
                    .position(|(name, _)| name == proof)
                    .unwrap();
                match change(&post.headers[at].1) {
                    Some(value) => post.headers[at].1 = value,
                    None => drop(post.headers.remove(at)),
                }
            }
            Proof::ClientState => {
                let mut body: Value = serde_json::from_slice(&post.body).unwrap();
                let item = body["value"][0].as_object_mut().unwrap();
                let state = item["clientState"].as_str().unwrap();
                match change(state) {
                    Some(value) => item.insert("clientState".into(), value.into()),
                    None => item.remove("clientState"),
                };
                post.body = body.to_string().into_bytes();
            }
        }
        post
    }

    /// What is proved besides the secret, and so cannot be changed.
    pub(super) fn has_time(&self) -> bool {
        self.over.time.is_some() || self.over.time_in_body
    }
}
