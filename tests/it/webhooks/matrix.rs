//! Every way in which a platform proves its deliveries, against everything that can be wrong with
//! one. A scheme without a mode, or a mode without a case, does not compile or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::platforms;
use ticketwire::platforms::inbound::{Hit, Scheme, scheme_of};
use uuid::Uuid;

use super::signing::{base64_mac, base64_sha1_mac, decoded, hex_mac, is_sealed, token};
use super::{Answered, PUBLIC, Post, Published, Row, listening, verdicts};
use crate::support::World;

/// What can be wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Valid,
    PreviousSecret,
    PreviousSecretAfterItsEnd,
    WrongSecret,
    TamperedBody,
    TamperedTime,
    Stale,
    FromTheFuture,
    MissingProof,
    EmptyProof,
    OtherPrefix,
    Replayed,
    Reserialised,
    OtherHost,
    NoSecret,
    AcceptUnsigned,
}

const CASES: [Case; 16] = [
    Case::Valid,
    Case::PreviousSecret,
    Case::PreviousSecretAfterItsEnd,
    Case::WrongSecret,
    Case::TamperedBody,
    Case::TamperedTime,
    Case::Stale,
    Case::FromTheFuture,
    Case::MissingProof,
    Case::EmptyProof,
    Case::OtherPrefix,
    Case::Replayed,
    Case::Reserialised,
    Case::OtherHost,
    Case::NoSecret,
    Case::AcceptUnsigned,
];

/// Where an integration has its secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    WebhookSecret,
    Registered,
    /// A member of the credentials, without which there is no integration.
    Credentials(&'static str),
}

/// Where a proof is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    Header(&'static str, &'static str),
    /// In the body.
    ClientState,
}

/// What a proof is over besides the secret.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Over {
    body: bool,
    /// In which header it is said, where there is one.
    time: Option<&'static str>,
    /// In the body.
    time_in_body: bool,
    /// In the token, whose time is over as its proof is.
    time_in_token: bool,
}

/// What is signed.
struct Signing<'a> {
    secret: &'a str,
    /// Seconds since 1970.
    now: i64,
    url: &'a str,
    body: &'a str,
}

struct Mode {
    name: &'static str,
    row: Row,
    secrets: [&'static str; 3],
    place: Place,
    proof: Proof,
    over: Over,
    body: fn(&Signing<'_>) -> String,
    /// Headers besides the proof, and the proof.
    sign: fn(&Signing<'_>) -> (Vec<(&'static str, String)>, String),
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

const fn timed(header: &'static str) -> Over {
    Over {
        time: Some(header),
        ..BODY
    }
}

fn iso(seconds: i64) -> String {
    let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn json_body(_: &Signing<'_>) -> String {
    r#"{"n":1,"text":"grüße ✓"}"#.to_owned()
}

fn of(
    name: &'static str,
    row: Row,
    proof: (&'static str, &'static str),
    over: Over,
    sign: fn(&Signing<'_>) -> (Vec<(&'static str, String)>, String),
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
fn ed25519(seed: &str) -> (Ed25519KeyPair, String) {
    let seed = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
    let public = format!("whpk_{}", STANDARD.encode(pair.public_key().as_ref()));
    (pair, public)
}

fn modes() -> Vec<Mode> {
    let mut modes = tracker_modes();
    modes.extend(desk_modes());
    modes.extend(message_modes());
    modes.extend(standard_modes());
    modes
}

fn tracker_modes() -> Vec<Mode> {
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

fn desk_modes() -> Vec<Mode> {
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

fn message_modes() -> Vec<Mode> {
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
        STANDARD.encode(super::signing::mac(
            kind,
            s.secret.as_bytes(),
            text.as_bytes(),
        ))
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

fn standard_modes() -> Vec<Mode> {
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
    fn known(&self, secret: &str) -> String {
        if self.name == "webhook, ed25519" {
            ed25519(secret).1
        } else {
            secret.to_owned()
        }
    }

    /// An integration with these secrets, the one before good for so long.
    fn row(&self, secret: Option<&str>, previous: Option<(&str, i64)>) -> Row {
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
    fn always_has_one(&self) -> bool {
        matches!(self.place, Place::Credentials(_))
    }

    fn post(&self, integration: Uuid, secret: &str, now: i64) -> Post {
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
    fn reproved(&self, mut post: Post, change: impl Fn(&str) -> Option<String>) -> Post {
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
    fn has_time(&self) -> bool {
        self.over.time.is_some() || self.over.time_in_body
    }

    fn expected(&self, case: Case) -> &'static str {
        let if_over_body = if self.over.body {
            "bad_signature"
        } else {
            "accepted"
        };
        match case {
            Case::Valid | Case::PreviousSecret | Case::Replayed | Case::OtherHost => "accepted",
            Case::PreviousSecretAfterItsEnd | Case::WrongSecret => "bad_signature",
            // Twilio sorts the fields.
            Case::Reserialised if self.row.platform == "sms" => "accepted",
            Case::TamperedBody | Case::Reserialised => if_over_body,
            Case::TamperedTime if self.has_time() || self.over.time_in_token => "bad_signature",
            Case::Stale | Case::FromTheFuture if self.has_time() => "stale",
            Case::Stale | Case::FromTheFuture if self.over.time_in_token => "bad_signature",
            // Nothing says when it was.
            Case::TamperedTime | Case::Stale | Case::FromTheFuture => "accepted",
            Case::MissingProof | Case::EmptyProof => "unsigned",
            Case::OtherPrefix => match self.proof {
                Proof::Header(_, "") | Proof::ClientState => "bad_signature",
                Proof::Header(..) => "unsigned",
            },
            Case::NoSecret if self.always_has_one() => "bad_signature",
            Case::NoSecret => "no_secret",
            Case::AcceptUnsigned if self.always_has_one() => "bad_signature",
            Case::AcceptUnsigned => "unsigned_accepted",
        }
    }

    /// A delivery with something wrong; so many are sent.
    fn wrong(&self, hooks: &Hooks, case: Case) -> Vec<Post> {
        let [current, previous, another] = self.secrets;
        let now = chrono::Utc::now().timestamp();
        let valid = self.post(hooks.rotated, current, now);
        vec![match case {
            Case::Valid => valid,
            Case::PreviousSecret => self.post(hooks.rotated, previous, now),
            Case::PreviousSecretAfterItsEnd => self.post(hooks.over, previous, now),
            Case::WrongSecret => self.post(hooks.rotated, another, now),
            Case::TamperedBody => tampered(valid),
            Case::TamperedTime => self.at_another_time(valid, now),
            // Longer than the window is: seconds are whole.
            Case::Stale => self.post(hooks.rotated, current, now - 301 - self.token_life()),
            Case::FromTheFuture => self.post(hooks.rotated, current, now + 310),
            Case::MissingProof => self.reproved(valid, |_| None),
            Case::EmptyProof => {
                let prefix = match self.proof {
                    Proof::Header(_, prefix) => prefix.to_owned(),
                    Proof::ClientState => String::new(),
                };
                self.reproved(valid, |_| Some(prefix.clone()))
            }
            Case::OtherPrefix => match self.proof {
                Proof::Header(_, prefix) if !prefix.is_empty() => self.reproved(valid, |value| {
                    let rest = value.strip_prefix(prefix).unwrap();
                    Some(format!("{}{rest}", other_prefix(prefix)))
                }),
                Proof::Header(..) | Proof::ClientState => {
                    self.reproved(valid, |value| Some(format!("v9={value}")))
                }
            },
            Case::Replayed => return vec![valid.clone(), valid],
            Case::Reserialised => reserialised(valid),
            Case::OtherHost => valid
                .with("host", "evil.example.net")
                .with("x-forwarded-host", "evil.example.net"),
            Case::NoSecret => self.post(hooks.none, current, now),
            Case::AcceptUnsigned => self.post(hooks.unsigned, current, now),
        }]
    }

    /// A token says itself how long it is good.
    fn token_life(&self) -> i64 {
        if self.over.time_in_token { 180 } else { 0 }
    }

    /// The same proof, of another time.
    fn at_another_time(&self, mut post: Post, now: i64) -> Post {
        if let Some(header) = self.over.time {
            let at = post
                .headers
                .iter()
                .position(|(name, _)| name == header)
                .unwrap();
            let value = &mut post.headers[at].1;
            *value = match value.parse::<i64>() {
                Ok(seconds) => (seconds + 1).to_string(),
                Err(_) => iso(now + 1),
            };
        } else if self.over.time_in_body {
            let mut body: Value = serde_json::from_slice(&post.body).unwrap();
            body["timestamp"] = iso(now + 1).into();
            post.body = body.to_string().into_bytes();
        } else if self.over.time_in_token {
            return self.reproved(post, |value| {
                let parts: Vec<&str> = value.split('.').collect();
                let later = token("x", now + 1);
                let claims = later.split('.').nth(1).unwrap();
                Some([parts[0], claims, parts[2]].join("."))
            });
        }
        post
    }
}

fn other_prefix(prefix: &str) -> &'static str {
    match prefix {
        "sha256=" => "sha1=",
        "v0=" => "v1=",
        "v1," | "v1a," => "v9,",
        "Bearer " => "JWT ",
        "Basic " => "Digest ",
        "HMAC " => "SHA256 ",
        other => panic!("{other}: another in its place"),
    }
}

fn tampered(mut post: Post) -> Post {
    let is_form = !post.body.starts_with(b"{");
    post.body
        .extend_from_slice(if is_form { b"&To=1" } else { b" " });
    post
}

fn reserialised(mut post: Post) -> Post {
    let body = String::from_utf8(post.body).unwrap();
    post.body = if body.starts_with('{') {
        body.replace("\":", "\": ").into_bytes()
    } else {
        let fields: Vec<&str> = body.split('&').rev().collect();
        fields.join("&").into_bytes()
    };
    post
}

/// The integrations of a mode.
struct Hooks {
    /// With a secret and the one before it.
    rotated: Uuid,
    /// The same, when the one before is not good any more.
    over: Uuid,
    none: Uuid,
    unsigned: Uuid,
}

impl Hooks {
    async fn of(world: &World, mode: &Mode) -> Self {
        let [current, previous, _] = mode.secrets;
        let mut unsigned = mode.row(None, None);
        unsigned.settings = json!({ "accept_unsigned": true });
        Self {
            rotated: mode
                .row(Some(current), Some((previous, 3600)))
                .insert(world)
                .await,
            over: mode
                .row(Some(current), Some((previous, -1)))
                .insert(world)
                .await,
            none: mode.row(None, None).insert(world).await,
            unsigned: unsigned.insert(world).await,
        }
    }

    const fn of_case(&self, case: Case) -> Uuid {
        match case {
            Case::PreviousSecretAfterItsEnd => self.over,
            Case::NoSecret => self.none,
            Case::AcceptUnsigned => self.unsigned,
            _ => self.rotated,
        }
    }
}

fn status_of(verdict: &str) -> u16 {
    match verdict {
        "accepted" | "unsigned_accepted" => 200,
        _ => 401,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_proof_against_everything_that_can_be_wrong() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let modes = modes();
    let mut hooks = Vec::new();
    for mode in &modes {
        hooks.push(Hooks::of(&world, mode).await);
    }
    let (worker, address) = listening(&world, &[]).await;

    let mut faults = Vec::new();
    let mut expected: BTreeMap<Uuid, Vec<(String, &'static str)>> = BTreeMap::new();
    let mut cells = 0;
    for (mode, hooks) in modes.iter().zip(&hooks) {
        for case in CASES {
            let verdict = mode.expected(case);
            cells += 1;
            for post in mode.wrong(hooks, case) {
                let name = format!("{}, {case:?}", mode.name);
                let answered = post.send(address).await;
                let fault = fault(&answered, verdict);
                faults.extend(fault.map(|fault| format!("{name}: {fault}")));
                let of_hook = expected.entry(hooks.of_case(case)).or_default();
                of_hook.push((name, verdict));
            }
        }
    }
    assert_eq!(cells, modes.len() * CASES.len());
    for (hook, expected) in &expected {
        let found = verdicts(&worker, *hook);
        for ((name, expected), found) in expected.iter().zip(&found) {
            if expected != found {
                faults.push(format!("{name}: {found}, not {expected}"));
            }
        }
        if found.len() != expected.len() {
            faults.push(format!("{}: {} verdicts", expected[0].0, found.len()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");

    // What was taken is in the queue, each as often as it came, and without what is a secret.
    for (hook, expected) in &expected {
        let taken = expected
            .iter()
            .filter(|(_, verdict)| status_of(verdict) == 200);
        let taken: Vec<_> = taken.collect();
        let found = published.are(*hook, taken.len()).await;
        for event in found {
            let is_unsigned = taken[0].1 == "unsigned_accepted";
            assert_eq!(
                is_sealed(&world, &event),
                !is_unsigned,
                "{}: {event:#}",
                taken[0].0
            );
            without_secrets(&taken[0].0, &event);
        }
    }
}

fn fault(answered: &Answered, verdict: &str) -> Option<String> {
    if answered.status != status_of(verdict) {
        return Some(format!("{}, where {verdict} was expected", answered.status));
    }
    (answered.status != 200 && !answered.body.is_empty()).then(|| "there is a body".to_owned())
}

/// No secret is in a message, in clear or as Basic, nor is a token; but for Graph's, which is in
/// the body.
fn without_secrets(name: &str, event: &Value) {
    let headers = event["data"]["headers"].to_string();
    let body = String::from_utf8(decoded(&event["data"]["body"])).unwrap();
    for secret in ["the-current-secret", "the-secret-before"] {
        assert!(!headers.contains(secret), "{name}: {headers}");
        assert!(
            name.contains("Graph") || !body.contains(secret),
            "{name}: {body}"
        );
    }
    let is_outgoing = name.contains("outgoing");
    assert!(
        is_outgoing || event["data"]["headers"].get("authorization").is_none(),
        "{name}"
    );
}

/// Schemes that refuse, and so have no mode: Twilio's of an algorithm that is not known.
const REFUSING: [(Platform, usize); 1] = [(Platform::Sms, 1)];

#[test]
fn every_scheme_of_every_platform_has_a_mode() {
    let mut used: BTreeSet<(Platform, usize)> = REFUSING.into_iter().collect();
    for mode in modes() {
        let platform = Platform::parse(mode.row.platform).unwrap();
        let schemes = platforms::descriptor(platform).hooks.unwrap().schemes;
        let post = mode.post(Uuid::nil(), mode.secrets[0], 1_767_323_045);
        let mut headers = HeaderMap::new();
        for (name, value) in &post.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let now = chrono::Utc::now();
        let hit = Hit::new(
            &Method::POST,
            "https://x.example/",
            &headers,
            &post.body,
            now,
        );
        let auth_type = AuthType::parse(mode.row.auth_type).unwrap();
        let secrets = [SecretString::from(mode.known(mode.secrets[0]))];
        let scheme = scheme_of(schemes, &hit, auth_type, &secrets).unwrap();
        let number = schemes
            .iter()
            .position(|one: &Scheme| std::ptr::eq(one, scheme));
        used.insert((platform, number.unwrap()));
    }
    for platform in Platform::ALL.iter().copied() {
        let hooks = platforms::descriptor(platform).hooks;
        for number in 0..hooks.map_or(0, |hooks| hooks.schemes.len()) {
            assert!(
                used.contains(&(platform, number)),
                "{platform}: scheme {number}"
            );
        }
    }
}

/// Twilio may be set to `GET`: the parameters are in the query then, and the address is all that is
/// signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_may_come_by_its_query_where_the_platform_sends_so() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let mut row = Row::of("sms", "messaging", "basic");
    row.credentials = Some(json!({ "auth_token": "12345" }));
    let hook = row.insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let send = async |address: SocketAddr, signed: &str, sent: &str| {
        let url = format!("{PUBLIC}/webhooks/{hook}?{signed}");
        let proof = base64_sha1_mac(b"12345", &url);
        let mut post = Post::to(hook, "")
            .by("GET")
            .with("x-twilio-signature", &proof);
        post.path = format!("/webhooks/{hook}?{sent}");
        post.send(address).await
    };
    let query = "From=%2B14158675309&Body=a%20b&MessageSid=SM1";
    let answered = send(address, query, query).await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.header("content-type"), Some("text/xml"));
    assert!(answered.body.contains("<Response>"), "{answered:?}");
    let changed = query.replace("a%20b", "a+b");
    assert_eq!(send(address, query, &changed).await.status, 401);

    let event = published.are(hook, 1).await.remove(0);
    assert_eq!(event["data"]["query"], query);
    assert_eq!(event["data"]["method"], "GET");
    assert!(is_sealed(&world, &event));
    assert_eq!(verdicts(&worker, hook), ["accepted", "bad_signature"]);
}
