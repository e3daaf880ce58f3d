//! Takes platforms' deliveries: whose they are, whether they are theirs, and a place in the
//! broker's queue before the answer. Nothing is carried out here.
//!
//! The cheapest question comes first, and what may come again is never refused for good. A forged
//! proof costs its sender little and us as much, so many of them cost nobody else his answer: where
//! an address has sent too many, its long bodies are put off, and short ones are verified all the
//! same, as one address of a platform serves all of its customers.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_ENCODING;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::address::{PATH, source};
use super::body::{Unread, drain, read};
use super::bucket::Buckets;
use super::entries::{Cached, Entries, Found};
use super::handing::{self, Handing, HandingQueue};
use super::judge::{Judged, Judging};
use super::seal::Delivered;
use super::told::Told;
use super::verdict::{Answer, Verdict};
use crate::broker::{Link, Publisher, Sent, Topology};
use crate::config::Http;
use crate::domain::{IntegrationId, Platform};
use crate::listening::{self, Limits, network_of};
use crate::platforms;
use crate::platforms::inbound::{Handshake, Hooks, Reply};
use crate::secrets::KeyRing;
use crate::store::{HookEntry, Store, chain};
use crate::telemetry::{clock, failpoint, metrics};

/// Longest wait for memory to read a body into.
const MEMORY_MAX: Duration = Duration::from_millis(200);
/// Ids that are nobody's, a second and at once, of an address.
const UNKNOWN: (u32, u32) = (10, 50);
/// Wrong proofs, a second and at once, of an address for an integration.
const FORGED: (u32, u32) = (5, 20);
/// Bytes of a body that is verified all the same, where there were more.
const SUSPECT_BYTES: usize = 64 << 10;
/// Deliveries without a proof, a second and at once, of an integration that takes them.
const UNSIGNED: (u32, u32) = (10, 10);
/// Deliveries at once of an integration, in seconds of its rate.
const BURST: u32 = 10;
/// How often, a second and at once, an integration is read anew because a proof is wrong: its
/// secret may have been exchanged a moment ago.
const ANEW: (u32, u32) = (1, 5);
/// How often it is noted which registrations are heard of.
const SEEN_EVERY: Duration = Duration::from_secs(15);
/// Longest one such note takes.
const SEEN_WRITE_MAX: Duration = Duration::from_secs(2);
/// Integrations of one such note.
const SEEN_MAX: usize = 1_000;

/// The listener of `http.webhook_listen`.
pub struct Listener {
    settings: Http,
    ring: Arc<KeyRing>,
    store: Store,
    entries: Arc<Entries>,
    handing: Handing,
    memory: Semaphore,
    unknown: Buckets<IpAddr>,
    forged: Buckets<(IpAddr, IntegrationId)>,
    anew: Buckets<IntegrationId>,
    unsigned: Buckets<IntegrationId>,
    taken: Buckets<IntegrationId>,
    told: Told,
    seen: Mutex<HashSet<IntegrationId>>,
}

/// What the listener publishes, for [`Listener::serve`].
pub struct ListenerQueue(HandingQueue);

impl Listener {
    /// A listener that knows nothing yet.
    #[must_use]
    pub fn new(
        settings: &Http,
        store: Store,
        ring: Arc<KeyRing>,
        topology: &Topology,
        link: Link,
    ) -> (Arc<Self>, ListenerQueue) {
        let (handing, queue) = Handing::new(topology, link);
        for platform in Platform::ALL {
            metrics::register_webhooks(platform.as_str(), &Verdict::ALL.map(Verdict::as_str));
        }
        let rate = settings.webhook_rate;
        let listener = Self {
            ring,
            entries: Arc::new(Entries::new(store.clone(), settings.webhook_cache)),
            store,
            handing,
            memory: Semaphore::new(settings.webhook_memory),
            unknown: Buckets::new(UNKNOWN.0, UNKNOWN.1),
            forged: Buckets::new(FORGED.0, FORGED.1),
            anew: Buckets::new(ANEW.0, ANEW.1),
            unsigned: Buckets::new(UNSIGNED.0, UNSIGNED.1),
            taken: Buckets::new(rate, rate.saturating_mul(BURST)),
            told: Told::default(),
            seen: Mutex::default(),
            settings: settings.clone(),
        };
        (Arc::new(listener), ListenerQueue(queue))
    }

    /// Serves until `stop` fires; what was asked by then is answered.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        queue: ListenerQueue,
        publisher: Publisher,
        stop: CancellationToken,
    ) {
        let limits = Limits {
            setting: "http.webhook_listen",
            connections: 1024,
            per_address: 64,
            proxies: self.settings.trusted_proxies.clone(),
            head: Duration::from_secs(5),
            // Longer than proxies keep theirs, which else send into one that ends.
            idle: Duration::from_secs(75),
            head_bytes: 16 << 10,
            headers: 64,
            closing: Duration::from_secs(3),
        };
        let end = CancellationToken::new();
        let server = async {
            let me = Arc::clone(&self);
            let answer = move |request, peer| Arc::clone(&me).answer(request, peer);
            listening::serve(listener, limits, answer, stop).await;
            end.cancel();
        };
        tokio::join!(
            server,
            self.entries.run(end.clone()),
            handing::run(queue.0, publisher, end.clone()),
            self.note_seen(end.clone()),
        );
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: IpAddr) -> Response<String> {
        let began = Instant::now();
        let (head, mut body) = request.into_parts();
        let path = head.uri.path();
        if path == "/health/live" && matches!(head.method, Method::GET | Method::HEAD) {
            return Answer::with(Verdict::Heartbeat, Reply::text("ok\n")).response(false);
        }
        let id = path.strip_prefix(PATH).and_then(integration);
        let Some(id) = id else {
            return Answer::from(Verdict::Unknown).response(!body.is_end_stream());
        };
        let from = source(peer, &head.headers, &self.settings.trusted_proxies);
        let asked = Asked {
            id,
            from,
            head: &head,
        };
        let mut platform = None;
        let taking = self.take(&asked, &mut body, &mut platform);
        let answer = tokio::time::timeout(self.settings.webhook_timeout, taking).await;
        let answer = answer.unwrap_or_else(|_| Verdict::Timeout.into());
        let platform = platform.map_or("none", Platform::as_str);
        self.note(&asked, platform, &answer, began.elapsed());
        let is_read = body.is_end_stream();
        if !is_read && answer.verdict == Verdict::TooLarge {
            drain(&mut body).await;
        }
        answer.response(!is_read)
    }

    fn note(&self, asked: &Asked<'_>, platform: &'static str, answer: &Answer, took: Duration) {
        let verdict = answer.verdict;
        metrics::webhook(platform, verdict.as_str(), took);
        tracing::debug!(
            integration = %asked.id, platform, verdict = verdict.as_str(), from = %asked.from,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "a platform's delivery"
        );
        if verdict.is_trouble() {
            self.told.warn(asked.id, platform, verdict, asked.from);
        }
    }

    /// Takes a delivery, or says why not. `platform` is told as soon as it is known.
    async fn take(
        &self,
        asked: &Asked<'_>,
        body: &mut Incoming,
        platform: &mut Option<Platform>,
    ) -> Answer {
        let (entry, hooks) = match self.entry(asked, platform).await {
            Ok(found) => found,
            Err(verdict) => return verdict.into(),
        };
        let method = &asked.head.method;
        if method == Method::HEAD {
            return Verdict::Heartbeat.into();
        }
        if !hooks.takes(method) {
            return Answer::method(hooks.methods);
        }
        let encoding = asked.head.headers.get(CONTENT_ENCODING);
        if encoding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Verdict::Encoded.into();
        }
        // What is not said is as much as may be.
        let bytes_max = hooks.body_max.min(self.settings.webhook_max_bytes);
        let said = body.size_hint().exact().map(usize::try_from);
        let bytes = match said {
            Some(Ok(bytes)) if bytes <= bytes_max => bytes,
            Some(_) => return Verdict::TooLarge.into(),
            None => bytes_max,
        };
        let suspect = (network_of(asked.from), asked.id);
        let is_suspect = !self.forged.has(&suspect, Instant::now());
        if is_suspect && bytes > SUSPECT_BYTES {
            return Verdict::Limited.into();
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let memory = self.memory.acquire_many(permits);
        let Ok(Ok(_memory)) = tokio::time::timeout(MEMORY_MAX, memory).await else {
            return Verdict::Memory.into();
        };
        let _in_hand = metrics::webhook_bytes(bytes);
        let body = match read(body, bytes).await {
            Ok(body) => body,
            Err(Unread::TooLarge) => return Verdict::TooLarge.into(),
            Err(Unread::Broken) => return Verdict::Malformed.into(),
        };
        let delivery = Delivery { asked, body: &body };
        let answer = self.judge(entry, hooks, &delivery, is_suspect).await;
        if matches!(
            answer.verdict,
            Verdict::BadSignature | Verdict::ReplayedHandshake
        ) {
            self.forged.take(&suspect, Instant::now());
        }
        answer
    }

    /// The integration that is asked for, where it takes deliveries.
    async fn entry(
        &self,
        asked: &Asked<'_>,
        platform: &mut Option<Platform>,
    ) -> Result<(Arc<HookEntry>, &'static Hooks), Verdict> {
        let network = network_of(asked.from);
        let cached = self.entries.cached(asked.id);
        if cached != Cached::Known && !self.unknown.has(&network, Instant::now()) {
            // Never a last word to who may be known.
            return Err(match cached {
                Cached::Absent => Verdict::Guessing,
                Cached::Known | Cached::Unsure => Verdict::Limited,
            });
        }
        let entry = match self.entries.find(asked.id).await {
            Found::Entry(entry) => entry,
            Found::Unknown => {
                self.unknown.take(&network, Instant::now());
                return Err(Verdict::Unknown);
            }
            Found::Starting => return Err(Verdict::Starting),
            Found::Away => return Err(Verdict::Database),
        };
        *platform = entry.platform;
        // A platform that tells nothing by itself has no address here: e-mail, until mail that
        // comes in is taken.
        let hooks = entry.platform.and_then(platforms::hooks);
        let hooks = hooks.ok_or(Verdict::Unknown)?;
        if entry.is_enabled {
            Ok((entry, hooks))
        } else {
            Err(Verdict::Disabled)
        }
    }

    /// Whether a delivery is the platform's, and what is answered.
    async fn judge(
        &self,
        entry: Arc<HookEntry>,
        hooks: &'static Hooks,
        delivery: &Delivery<'_>,
        is_suspect: bool,
    ) -> Answer {
        let mut entry = entry;
        let mut judged = self.judged(&entry, hooks, delivery);
        let may_be_new = matches!(
            judged,
            Judged::Refused(Verdict::BadSignature | Verdict::NoSecret | Verdict::Unsigned)
        );
        if may_be_new
            && !is_suspect
            && self.anew.take(&entry.id, Instant::now())
            && let Some(newer) = self.entries.newer(entry.id).await
        {
            entry = newer;
            judged = self.judged(&entry, hooks, delivery);
        }
        let heard = match judged {
            Judged::Refused(verdict) => return verdict.into(),
            Judged::Shaken(Handshake::Learn {
                secret,
                echo,
                reply,
            }) => {
                return self.learn(&entry, &secret, echo, reply, is_suspect).await;
            }
            Judged::Shaken(Handshake::Heartbeat) => {
                Answer::with(Verdict::Heartbeat, hooks.taken.clone())
            }
            Judged::Shaken(Handshake::Verified(reply) | Handshake::Open(reply)) => {
                Answer::with(Verdict::Handshake, reply)
            }
            Judged::Proved { kept } => {
                if !self.taken.take(&entry.id, Instant::now()) {
                    return Verdict::Limited.into();
                }
                let verdict = self.publish(&entry, delivery, &kept, true).await;
                answer_to(verdict, Verdict::Accepted, hooks)
            }
            Judged::Unsigned { kept } => {
                if !self.unsigned.take(&entry.id, Instant::now()) {
                    return Verdict::Limited.into();
                }
                // Without the listener's proof: who carries it out looks whether it is taken still.
                let verdict = self.publish(&entry, delivery, &kept, false).await;
                answer_to(verdict, Verdict::UnsignedAccepted, hooks)
            }
        };
        if !entry.urls.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < SEEN_MAX {
                seen.insert(entry.id);
            }
        }
        heard
    }

    fn judged(&self, entry: &HookEntry, hooks: &'static Hooks, delivery: &Delivery<'_>) -> Judged {
        let judging = Judging {
            ring: &self.ring,
            public: self.settings.webhook_public_url.as_ref(),
            hooks,
            now: clock::now(),
        };
        let head = delivery.asked.head;
        judging.judge(entry, head, delivery.body)
    }

    /// Keeps a secret that somebody waits for; once each.
    async fn learn(
        &self,
        entry: &HookEntry,
        secret: &secrecy::SecretString,
        echo: Option<&'static str>,
        reply: Reply,
        is_suspect: bool,
    ) -> Answer {
        if is_suspect {
            return Verdict::ReplayedHandshake.into();
        }
        let organization = entry.sealed.organization;
        let sealed = super::secrets::seal_registered(&self.ring, organization, entry.id, secret);
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::debug!(integration = %entry.id, error = %error,
                    "a platform's secret cannot be sealed");
                return Verdict::Misconfigured.into();
            }
        };
        match self.store.learn_hook_secret(entry.id, &sealed).await {
            Ok(true) => {
                failpoint("handshake_stored").await;
                use secrecy::ExposeSecret as _;
                let secret = secret.expose_secret().to_owned();
                let mut answer = Answer::with(Verdict::Handshake, reply);
                answer.echo = echo.map(|name| (name, secret));
                answer
            }
            Ok(false) => Verdict::ReplayedHandshake.into(),
            Err(error) => {
                tracing::debug!(integration = %entry.id, error = chain(&error),
                    "a platform's secret was not kept");
                Verdict::Database.into()
            }
        }
    }

    /// Hands a delivery to the broker.
    async fn publish(
        &self,
        entry: &HookEntry,
        delivery: &Delivery<'_>,
        kept: &BTreeMap<String, String>,
        is_proved: bool,
    ) -> Sent {
        let received_at = clock::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let head = delivery.asked.head;
        let what = Delivered {
            integration: entry.id,
            received_at: &received_at,
            method: head.method.as_str(),
            query: head.uri.query(),
            headers: kept,
            body: delivery.body,
        };
        let message = handing::message(&self.ring, entry.organization, &what, is_proved);
        let sent = self.handing.hand_over(message).await;
        if sent == Sent::Confirmed {
            failpoint("webhook_confirmed").await;
        }
        sent
    }

    /// Notes which registrations are heard of, until `stop` fires.
    async fn note_seen(&self, stop: CancellationToken) {
        loop {
            let is_end = tokio::select! {
                () = tokio::time::sleep(SEEN_EVERY) => false,
                () = stop.cancelled() => true,
            };
            let ids: Vec<IntegrationId> = {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.drain().collect()
            };
            if !ids.is_empty() {
                let noted = self.store.note_hooks_seen(&ids);
                // A database that says nothing holds no stop up.
                match tokio::time::timeout(SEEN_WRITE_MAX, noted).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let error = chain(&error);
                        tracing::debug!(error, "it was not noted which webhooks came");
                    }
                    Err(_) => tracing::debug!("it was not noted in time which webhooks came"),
                }
            }
            if is_end {
                return;
            }
        }
    }
}

/// A request for an integration.
struct Asked<'a> {
    id: IntegrationId,
    from: IpAddr,
    head: &'a Parts,
}

/// The same with its body.
struct Delivery<'a> {
    asked: &'a Asked<'a>,
    body: &'a [u8],
}

/// The id in a path, written as we write it and not otherwise: its address is signed.
fn integration(text: &str) -> Option<IntegrationId> {
    let id: Uuid = text.parse().ok()?;
    (id.to_string() == text).then(|| IntegrationId::new(id))
}

fn answer_to(sent: Sent, accepted: Verdict, hooks: &'static Hooks) -> Answer {
    match sent {
        Sent::Confirmed => Answer::with(accepted, hooks.taken.clone()),
        Sent::Refused => Verdict::QueueFull.into(),
        Sent::Unknown => Verdict::Broker.into(),
    }
}
