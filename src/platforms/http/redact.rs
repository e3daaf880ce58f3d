//! What an attempt knows to be secret, and how it stays with it: a platform may say back whatever
//! it was sent.
//!
//! Everything an adapter does happens in the scope of a [`Redaction`] ([`redacting`]; the adapter
//! is none the wiser). It begins with the integration's credentials and learns each secret that a
//! request carries or a token endpoint gives. Then
//! - the body of an answer loses what is surely secret before anybody reads it, and so before
//!   anything is cut to a length;
//! - what the adapter returns loses all that is secret ([`super::super::driver`]);
//! - so does each line that is logged meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::{Auth, Body, Request};
use crate::secrets::{Reach, Redactor, Redactors};
use crate::telemetry::{Scrub, scrubbed};

tokio::task_local! {
    static CURRENT: Redaction;
    /// Set while a token is fetched: whoever keeps the grant has to read it.
    static UNTOUCHED: ();
}

/// Members of forms and queries that are secrets; the others of a form are texts of a ticket, in
/// some platforms.
const SECRET_NAMES: [&str; 9] = [
    "secret",
    "token",
    "password",
    "assertion",
    "api_key",
    "apikey",
    "signature",
    "sig",
    "code",
];
/// Values of such members that are no secrets: the kinds of grants.
const GRANTS: [&str; 4] = [
    "refresh_token",
    "client_credentials",
    "authorization_code",
    "access_token",
];
/// Members of queries that say where a listing goes on. They open nothing, and the next answer may
/// say the same place.
const PLACES: [&str; 3] = ["skiptoken", "deltatoken", "pagetoken"];
/// Redactors kept for secrets that an integration's attempts learned.
const LEARNED_MAX: usize = 16;
/// Shortest part of a secret URL that is a secret by itself.
const PART_MIN: usize = 12;

/// Redactors of secrets that attempts of one integration learned, by secret. Most requests carry
/// the same ones again.
#[derive(Debug, Clone, Default)]
pub(in crate::platforms) struct Learned(Arc<Mutex<Vec<Lesson>>>);

/// A secret, and what takes it out.
type Lesson = (SecretString, Arc<Redactor>);

impl Learned {
    fn redactor(&self, secret: &str) -> Arc<Redactor> {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, redactor)) = learned
            .iter()
            .find(|(known, _)| known.expose_secret() == secret)
        {
            return Arc::clone(redactor);
        }
        let parts = secret_parts(secret);
        let redactor = Arc::new(Redactor::new(parts.iter().map(String::as_str)));
        if learned.len() >= LEARNED_MAX {
            learned.clear();
        }
        learned.push((secret.into(), Arc::clone(&redactor)));
        redactor
    }
}

/// The secrets of one attempt. Cheap to clone; all clones learn.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    known: Arc<Mutex<Arc<Redactors>>>,
    learned: Learned,
}

impl Redaction {
    /// Begins with these.
    #[must_use]
    pub fn of(known: Arc<Redactor>) -> Self {
        let mut redactors = Redactors::default();
        redactors.add(known);
        Self::beginning(&Arc::new(redactors), &Learned::default())
    }

    /// Begins with these, and looks up what it learns among what other attempts learned.
    pub(in crate::platforms) fn beginning(known: &Arc<Redactors>, learned: &Learned) -> Self {
        Self {
            known: Arc::new(Mutex::new(Arc::clone(known))),
            learned: learned.clone(),
        }
    }

    /// From now on this is one too.
    pub fn learn(&self, secret: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.knows(secret) {
            Arc::make_mut(&mut known).add(self.learned.redactor(secret));
        }
    }

    fn known(&self) -> Arc<Redactors> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known)
    }

    /// The text without them.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<String> {
        let made = self.known().redact(text.as_bytes(), Reach::All)?;
        Some(String::from_utf8_lossy(&made).into_owned())
    }

    /// Takes them out in place.
    pub fn clean(&self, text: &mut String) {
        if let Some(made) = self.text(text) {
            *text = made;
        }
    }

    /// Takes them out of every text and every name.
    pub fn clean_value(&self, value: &mut Value) {
        clean_members(&self.known(), value, Reach::All, Reach::All);
    }

    /// The same of an object.
    pub fn clean_map(&self, map: &mut Map<String, Value>) {
        clean_map(&self.known(), map, Reach::All, Reach::All);
    }

    fn learn_request(&self, request: &Request) {
        match &request.auth {
            Auth::None | Auth::OAuth => {}
            Auth::Basic { user, secret } => {
                self.learn(secret.expose_secret());
                // A password may be too short to be looked for; with its user it is not.
                let pair = format!("{user}:{}", secret.expose_secret());
                self.learn(&super::basic(&pair));
            }
            Auth::Bearer(token) => self.learn(token.expose_secret()),
            Auth::Header(_, value) => {
                let value = value.expose_secret();
                self.learn(value);
                // `OAuth oauth_consumer_key="…", oauth_token="…"`
                let quoted = value.split('"').skip(1).step_by(2);
                for part in quoted.filter(|part| part.chars().count() >= PART_MIN) {
                    self.learn(part);
                }
            }
        }
        for (_, value) in request
            .headers
            .iter()
            .filter(|(_, value)| value.is_sensitive())
        {
            if let Ok(text) = value.to_str() {
                self.learn(text);
            }
        }
        if request.url_is_secret {
            self.learn(request.url.as_str());
        }
        for (name, value) in request.url.query_pairs() {
            if is_secret_name(&name) {
                self.learn(&value);
            }
        }
        if let Body::Form(fields) = &request.body {
            for (name, value) in fields {
                let value = value.expose_secret();
                if is_secret_name(name) && !GRANTS.contains(&value) {
                    self.learn(value);
                }
            }
        }
    }
}

impl Scrub for Redaction {
    fn scrub(&self, line: &[u8]) -> Option<Vec<u8>> {
        self.known().redact(line, Reach::All)
    }
}

/// Runs what may see secrets, or hear them from a platform.
pub async fn redacting<F: Future>(redaction: &Redaction, future: F) -> F::Output {
    let lines = scrubbed(Arc::new(redaction.clone()), future);
    CURRENT.scope(redaction.clone(), lines).await
}

/// From now on this is a secret of the attempt that is under way.
pub fn learn(secret: &str) {
    attempt(|redaction| redaction.learn(secret));
}

/// What is under way, if it is an attempt of an integration; a file is fetched without one.
fn attempt(then: impl FnOnce(&Redaction)) {
    if let Ok(redaction) = CURRENT.try_with(Redaction::clone) {
        then(&redaction);
    }
}

pub(super) fn learn_request(request: &Request) {
    attempt(|redaction| redaction.learn_request(request));
}

/// Answers reach their reader untouched meanwhile: a new token is in them, or the old one, which is
/// to be kept.
pub(in crate::platforms) async fn untouched<F: Future>(future: F) -> F::Output {
    UNTOUCHED.scope((), future).await
}

/// A body as an adapter may read it. What a success says an adapter has to understand, so only what
/// is surely secret goes; of a refusal it quotes.
pub(super) fn clean_body(body: Bytes, status: u16) -> Bytes {
    if UNTOUCHED.try_with(|()| ()).is_ok() {
        return body;
    }
    let reach = if (200..300).contains(&status) {
        Reach::Sure
    } else {
        Reach::All
    };
    cleaned(&body, reach).unwrap_or(body)
}

/// A text for people, about to be cut.
pub(in crate::platforms) fn clean_text(text: String) -> String {
    let made = CURRENT.try_with(|redaction| redaction.text(&text));
    made.ok().flatten().unwrap_or(text)
}

/// The body without what is secret; JSON stays JSON.
pub(in crate::platforms) fn cleaned(body: &[u8], reach: Reach) -> Option<Bytes> {
    let known = CURRENT.try_with(Redaction::known).ok()?;
    let made = known.redact(body, reach)?;
    // A mask in the midst of an escape would make it unreadable.
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return Some(made.into());
    };
    // A member's name may be a word that is somebody's password: it goes when people read it.
    clean_members(&known, &mut value, reach, Reach::Sure);
    Some(value.to_string().into())
}

/// `reach` for texts, `names` for the names of members.
fn clean_members(known: &Redactors, value: &mut Value, reach: Reach, names: Reach) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if let Some(made) = text_without(known, &number.to_string(), reach) {
                *value = Value::String(made);
            }
        }
        Value::String(text) => {
            if let Some(made) = text_without(known, text, reach) {
                *text = made;
            }
        }
        Value::Array(items) => {
            for item in items {
                clean_members(known, item, reach, names);
            }
        }
        Value::Object(map) => clean_map(known, map, reach, names),
    }
}

fn clean_map(known: &Redactors, map: &mut Map<String, Value>, reach: Reach, names: Reach) {
    for value in map.values_mut() {
        clean_members(known, value, reach, names);
    }
    let found: Vec<(String, String)> = map
        .keys()
        .filter_map(|name| Some((name.clone(), text_without(known, name, names)?)))
        .collect();
    for (name, made) in found {
        if let Some(value) = map.remove(&name) {
            map.insert(made, value);
        }
    }
}

fn text_without(known: &Redactors, text: &str, reach: Reach) -> Option<String> {
    let made = known.redact(text.as_bytes(), reach)?;
    Some(String::from_utf8_lossy(&made).into_owned())
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_place = PLACES.iter().any(|place| name.ends_with(place));
    !is_place && SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// A secret, and the parts of it that are secrets by themselves: the token behind `Bearer`, the
/// password in a pair, what of a URL is not its host.
pub(in crate::platforms) fn secret_parts(secret: &str) -> Vec<String> {
    let mut parts = vec![secret.to_owned()];
    if let Some((scheme, rest)) = secret.split_once(' ')
        && [
            "bearer",
            "basic",
            "token",
            "apikey",
            "key",
            "bot",
            "oauth",
            "digest",
            "signature",
        ]
        .contains(&scheme.to_ascii_lowercase().as_str())
    {
        let rest = rest.trim();
        parts.push(rest.to_owned());
        if let Some(pair) = super::basic_pair(rest)
            && let Some((_, password)) = pair.split_once(':')
        {
            parts.push(password.to_owned());
        }
    }
    if let Ok(url) = Url::parse(secret)
        && url.has_host()
    {
        parts.push(url[url::Position::BeforePath..].to_owned());
        parts.extend(url.password().map(str::to_owned));
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
        let long = |part: &String| part.chars().count() >= PART_MIN;
        parts.extend(segments.chain(values).filter(long));
        // The host alone is no secret, and every text names it.
        parts.remove(0);
    }
    parts.retain(|part| part.trim_matches('/').chars().count() >= crate::secrets::SHORTEST);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_secret_are_secrets_too() {
        assert_eq!(
            secret_parts("Bearer abc-1234"),
            ["Bearer abc-1234", "abc-1234"]
        );
        assert_eq!(
            secret_parts("Basic YTpodW50ZXIy"),
            ["Basic YTpodW50ZXIy", "YTpodW50ZXIy", "hunter2"]
        );
        assert_eq!(
            secret_parts("https://hooks.slack.com/services/T0001/B0001/XXXXXXXXXXXXXXXXXXXXXXXX"),
            [
                "/services/T0001/B0001/XXXXXXXXXXXXXXXXXXXXXXXX",
                "XXXXXXXXXXXXXXXXXXXXXXXX"
            ]
        );
        assert_eq!(secret_parts("https://a.example/"), Vec::<String>::new());
    }

    #[test]
    fn a_secret_header_is_learnt_with_what_is_quoted_in_it() {
        let redaction = Redaction::default();
        let value =
            "OAuth oauth_consumer_key=\"k3y-0f-a-power-up\", oauth_token=\"t0k3n-0f-a-member\"";
        let auth = Auth::Header(reqwest::header::AUTHORIZATION, value.to_owned().into());
        let url = "https://x.example/y".parse().unwrap();
        let effect = super::super::Effect::Read;

        redaction.learn_request(&Request::new(reqwest::Method::GET, url, auth, effect));

        for said in [value, "you sent t0k3n-0f-a-member", "of k3y-0f-a-power-up"] {
            let text = redaction.text(said).unwrap();
            assert!(!text.contains("t0k3n") && !text.contains("k3y-"), "{text}");
        }
    }

    #[test]
    fn where_a_listing_goes_on_is_no_secret_and_an_access_token_is() {
        let redaction = Redaction::default();
        let query = "$deltatoken=d3lta-1234567&$skiptoken=sk1p-12345678&PageToken=p4ge-12345678";
        let url = format!("https://x.example/y?{query}&access_token=acc3ss-12345678");
        let (url, effect) = (url.parse().unwrap(), super::super::Effect::Read);

        redaction.learn_request(&Request::new(reqwest::Method::GET, url, Auth::None, effect));

        assert_eq!(redaction.text(query), None);
        let text = redaction.text("you sent acc3ss-12345678").unwrap();
        assert!(!text.contains("acc3ss"), "{text}");
    }

    #[tokio::test]
    async fn a_body_of_json_stays_json() {
        let redaction = Redaction::of(Arc::new(Redactor::new(["\"t0k3n\\of\"ours"])));
        let body = serde_json::json!({ "id": "x\"t0k3n\\of\"ours", "t0k3n": 1 }).to_string();

        let made = redacting(&redaction, async { clean_body(body.into(), 200) }).await;

        let made: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(made, serde_json::json!({ "id": "x••••", "t0k3n": 1 }));
    }

    static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Memory;

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            WRITTEN.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_an_attempt_logs_loses_its_secrets_on_the_way_out() {
        let lines = crate::telemetry::lines_to(|| Memory);
        let lines = tracing_subscriber::fmt().json().with_writer(lines);
        let here = tracing::subscriber::set_default(lines.finish());
        let redaction = Redaction::of(Arc::new(Redactor::new(["hunter-two-and-three"])));

        redacting(&redaction, async {
            tracing::info!(error = "bad token hunter-two-and-three", "within");
            learn("l3arnt-on-the-way");
            tracing::info!("a platform said l3arnt-on-the-way");
        })
        .await;
        drop(here);

        let written = String::from_utf8(WRITTEN.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 2, "{written}");
        for secret in ["hunter", "l3arnt"] {
            assert!(!written.contains(secret), "{written}");
        }
        assert!(written.contains("bad token") && written.contains("a platform said"));
    }
}
