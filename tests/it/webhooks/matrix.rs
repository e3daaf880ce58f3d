//! Every way in which a platform proves its deliveries, against everything that can be wrong with
//! one. A scheme without a mode, or a mode without a case, does not compile or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::platforms;
use ticketwire::platforms::inbound::{Hit, Scheme, scheme_of};
use uuid::Uuid;

use super::modes::{Mode, Proof, iso, modes};
use super::signing::{base64_sha1_mac, decoded, is_sealed, token};
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

impl Mode {
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
        let schemes = platforms::hooks(platform).unwrap().schemes;
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
        let hooks = platforms::hooks(platform);
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
