//! The canaries: every secret of every kind of integration is one, and a platform that says back
//! what it was sent, in every way and everywhere, is its cat. Producers write them where they do
//! not belong. Afterwards nothing but the sealed columns may hold one: no table, no event, no log
//! line, no metric, no output of a command.
//!
//! The modes of a platform stand beside its own tests ([`crate::platforms::canaries`]); a new way
//! to say something back is a row of [`WAYS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use ticketwire::domain::Platform;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{Message, PATIENCE, World, command, http_get, output, wait_for};

/// What every canary begins and ends with: a part of one is found as well as the whole.
const MARK: &str = "Zq7Canary";

/// A secret that is a word, as people choose them.
pub(crate) const WORD: &str = "ZqzCanary";

pub(crate) fn canary(name: &str) -> String {
    format!("{MARK}-{name}+/&\"<9{MARK}")
}

/// One for a place that takes letters and digits only.
pub(crate) fn plain_canary(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// How a platform behaves towards the suite.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// What it answers when it behaves, by method, path and where it is.
    pub(crate) sound: fn(&str, &str, &str) -> String,
    /// The members of its successes, with a secret wherever there is a text.
    pub(crate) success: Success,
    /// How the path of its token endpoint ends; empty if it has none.
    pub(crate) token_path: &'static str,
    /// Whether its items can be read back.
    pub(crate) syncs: bool,
}

/// A way to connect a platform.
pub(crate) struct Mode {
    name: &'static str,
    /// For `integration.create`; `{at}` is where the platform is.
    pub(crate) data: Value,
    /// Everything secret in it, and what a token endpoint gives: the third is the access token,
    /// the fourth the next refresh token.
    secrets: Vec<String>,
    /// Those that the platform is sent; the others it knows all the same.
    sent: Vec<String>,
    platform: Behaviour,
}

impl Mode {
    /// A mode whose secrets the platform is sent, but for the last ones, which it only knows.
    pub(crate) fn new(
        platform: Behaviour,
        name: &'static str,
        data: Value,
        sent: &[&String],
        unsent: &[&String],
    ) -> Self {
        let own = |secrets: &[&String]| secrets.iter().map(|one| (*one).clone()).collect();
        Self {
            name,
            data,
            secrets: own(&[sent, unsent].concat()),
            sent: own(sent),
            platform,
        }
    }

    /// One by OAuth, whose secrets are those of [`oauth`].
    pub(crate) fn oauth(
        platform: Behaviour,
        name: &'static str,
        data: Value,
        secrets: &[String; 4],
    ) -> Self {
        let [client, refresh, access, next] = secrets;
        Self::new(platform, name, data, &[client, refresh, access], &[next])
    }

    /// One of two secrets, of which the second signs deliveries, and a token that the first gets.
    pub(crate) fn by_client(mut self) -> Self {
        self.sent.remove(1);
        self
    }

    /// With a secret that no request needs: the platform signs with it.
    pub(crate) fn signed(mut self) -> Self {
        let inbound = canary(&format!("inbound-{}", self.name));
        self.data["webhook_secret"] = json!(inbound);
        self.secrets.push(inbound);
        self
    }
}

/// Four secrets of a mode: the client's, a refresh token, and the two tokens that it gets.
pub(crate) fn oauth(name: &str) -> [String; 4] {
    ["client-secret", "refresh-token", "access-of", "refresh-of"]
        .map(|kind| canary(&format!("{kind}-{name}")))
}

fn modes() -> Vec<Mode> {
    let platforms = Platform::ALL.iter().copied();
    platforms.flat_map(crate::platforms::canaries).collect()
}

/// A secret as somebody may write it.
fn forms(secret: &str) -> Vec<String> {
    let all = |write: fn(char) -> String| -> String { secret.chars().map(write).collect() };
    vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("bot@example.test:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("b{secret}")),
        STANDARD.encode(format!("no{secret}tail")),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        secret.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02x}").unwrap();
            text
        }),
        all(|c| format!("\\u{:04x}", u32::from(c))),
        all(|c| format!("&#{};", u32::from(c))),
        secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;"),
        serde_json::to_string(secret).unwrap(),
        hex::encode_upper(secret),
        secret.to_ascii_uppercase(),
        format!("Bearer {secret}"),
        format!("https://x.example/?token={secret}"),
    ]
}

/// What is looked for afterwards: the mark in all those forms, also of a key that is base64 itself.
fn needles() -> BTreeSet<String> {
    let mut needles = BTreeSet::new();
    let inner = |before: usize, text: &str| {
        let encoded = STANDARD_NO_PAD.encode([&vec![b' '; before][..], text.as_bytes()].concat());
        encoded[[0, 2, 3][before]..(before + text.len()) * 8 / 6].to_owned()
    };
    let of_key = inner(0, MARK);
    for atom in [MARK, WORD, &of_key] {
        let percent = |text: &str| {
            text.bytes()
                .fold(String::new(), |t, byte| format!("{t}%{byte:02x}"))
        };
        let unicode = |text: &str| {
            text.chars()
                .fold(String::new(), |t, c| format!("{t}u{:04x}", u32::from(c)))
        };
        let html = |text: &str| {
            text.chars()
                .fold(String::new(), |t, c| format!("{t}&#{};", u32::from(c)))
        };
        needles.extend([
            atom.to_owned(),
            percent(atom),
            unicode(atom),
            html(atom),
            hex::encode(atom),
        ]);
        needles.extend((0..3).map(|before| inner(before, atom)));
    }
    needles
        .into_iter()
        .map(|needle| needle.to_lowercase())
        .collect()
}

/// Where in a text a canary sits, with what is around it.
fn canaries_in(text: &str) -> Vec<String> {
    // Backslashes are what JSON in JSON adds.
    let text = text.replace('\\', "").to_lowercase();
    let around = |at: usize| -> String {
        let from = (at.saturating_sub(160)..=at)
            .find(|at| text.is_char_boundary(*at))
            .unwrap();
        text[from..].chars().take(260).collect()
    };
    needles()
        .iter()
        .filter_map(|needle| text.find(needle.as_str()).map(around))
        .collect()
}

// --- the cat ---

/// How often a thing asked is answered in its way, before the cat behaves, so that commands end.
const TIMES: usize = 1;

/// What the cat answers: `say` gives the next secret in the next form.
type Way = (
    &'static str,
    fn(&mut dyn FnMut() -> String, Success) -> Reply,
);

/// The members of a platform's successes.
pub(crate) type Success = fn(&mut dyn FnMut() -> String) -> Value;

enum Reply {
    /// Status, further headers, body.
    Whole(u16, String, String),
    /// The head and a part of the body; then nothing.
    Trickle(String),
    /// Bytes that are no HTTP.
    Raw(String),
}

/// Every vendor's error in one body.
fn errors(say: &mut dyn FnMut() -> String) -> String {
    json!({
        "errorMessages": [say(), say()], "errors": { "summary": say(), "labels": { "x": say() },
            (say()): say() },
        "ok": false, "error": say(), "needed": say(), "provided": say(),
        "response_metadata": { "messages": [say()] },
        "message": say(), "error_description": say(), "title": say(), "detail": say(),
        "code": say(),
    })
    .to_string()
}

fn long(say: &mut dyn FnMut() -> String, before: usize) -> String {
    format!("{}{}", "x".repeat(before), say())
}

const WAYS: &[Way] = &[
    ("200", |say, success| {
        Reply::Whole(200, String::new(), success(say).to_string())
    }),
    ("201", |say, success| {
        Reply::Whole(201, String::new(), success(say).to_string())
    }),
    ("200 not ok", |say, _| {
        Reply::Whole(200, String::new(), errors(say))
    }),
    ("400", |say, _| {
        Reply::Whole(400, String::new(), errors(say))
    }),
    ("401", |say, _| {
        Reply::Whole(401, String::new(), errors(say))
    }),
    ("403", |say, _| {
        Reply::Whole(403, String::new(), errors(say))
    }),
    ("404", |say, _| {
        Reply::Whole(404, String::new(), errors(say))
    }),
    ("409", |say, _| {
        Reply::Whole(409, String::new(), errors(say))
    }),
    ("410", |say, _| {
        Reply::Whole(410, String::new(), errors(say))
    }),
    ("422", |say, _| {
        Reply::Whole(422, String::new(), errors(say))
    }),
    // The first can be waited for; a table of errors waits long where none can.
    ("429", |say, _| {
        let said = STANDARD.encode(say());
        Reply::Whole(
            429,
            format!("Retry-After: 1\r\nRetry-After: {said}\r\nX-RateLimit-Reset: {said}\r\n"),
            errors(say),
        )
    }),
    ("500", |say, _| {
        Reply::Whole(500, String::new(), errors(say))
    }),
    ("503", |say, _| {
        Reply::Whole(503, String::new(), errors(say))
    }),
    ("plain text", |say, _| {
        Reply::Whole(
            400,
            "Content-Type: text/plain\r\n".into(),
            format!("bad token {}", say()),
        )
    }),
    ("plain text, gone", |say, _| {
        Reply::Whole(410, "Content-Type: text/plain\r\n".into(), say())
    }),
    ("plain text, forbidden", |say, _| {
        Reply::Whole(403, "Content-Type: text/plain\r\n".into(), say())
    }),
    ("plain text, sound", |say, _| {
        Reply::Whole(200, "Content-Type: text/plain\r\n".into(), say())
    }),
    ("HTML", |say, _| {
        let body = format!(
            "<html><title>{}</title><pre>Authorization: {}</pre></html>",
            say(),
            say()
        );
        Reply::Whole(502, "Content-Type: text/html\r\n".into(), body)
    }),
    ("wrong types", |say, _| {
        let body = json!({ "id": { "x": say() }, "key": [say()], "ok": say(),
            "channel": { (say()): 1 }, "issues": say(),
                           "errors": say(), "errorMessages": say(), "fields": say(),
                           "access_token": [say()], "messages": say() });
        Reply::Whole(200, String::new(), body.to_string())
    }),
    ("wrong types, refused", |say, _| {
        let body = json!({ "errors": [say()], "errorMessages": { (say()): say() }, "ok": say(),
            "error": [say()] });
        Reply::Whole(400, String::new(), body.to_string())
    }),
    ("only a text", |say, _| {
        Reply::Whole(200, String::new(), Value::from(say()).to_string())
    }),
    ("a redirect", |say, _| {
        Reply::Whole(
            302,
            format!(
                "Location: https://x.example/?t={}\r\n",
                STANDARD.encode(say())
            ),
            say(),
        )
    }),
    ("headers", |say, _| {
        let headers = format!(
            "X-Debug: {}\r\nWWW-Authenticate: Bearer realm={}\r\n",
            STANDARD.encode(say()),
            hex::encode(say())
        );
        Reply::Whole(400, headers, "{}".into())
    }),
    ("cut at 80", |say, _| {
        Reply::Whole(
            200,
            String::new(),
            json!({ "ok": false, "error": long(say, 70),
        "response_metadata": { "messages": [long(say, 69)] }, "needed": long(say, 66) })
            .to_string(),
        )
    }),
    ("cut at 200", |say, _| {
        Reply::Whole(
            400,
            String::new(),
            json!({ "errors": { "summary": long(say, 190) } }).to_string(),
        )
    }),
    ("cut at 500", |say, _| {
        Reply::Whole(400, String::new(), long(say, 485))
    }),
    ("a trickle", |say, _| Reply::Trickle(say())),
    ("no HTTP", |say, _| {
        Reply::Raw(format!("HTTP/1.1 {} {}\r\n\r\n{}", say(), say(), say()))
    }),
    ("a broken chunk", |say, _| {
        Reply::Raw(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n{}",
            say(),
            say()
        ))
    }),
    ("a refused token", |say, _| {
        Reply::Whole(400, String::new(), errors(say))
    }),
    ("a refused token, 200", |say, _| {
        Reply::Whole(200, String::new(), errors(say))
    }),
    ("a token of a wrong type", |say, _| {
        let body = json!({ "ok": true, "access_token": { "x": say() }, "refresh_token": [say()],
            "expires_in": say() });
        Reply::Whole(200, String::new(), body.to_string())
    }),
];

/// Whether a way is about tokens alone: the rest of such a platform is sound.
fn is_of_tokens(way: &str) -> bool {
    way.contains("token")
}

#[derive(Default)]
struct Heard {
    /// By mode, what came.
    requests: BTreeMap<String, String>,
    /// What was said back, by mode: secret and form.
    said: BTreeSet<(String, usize, usize)>,
    /// How much was said, by mode and whether it was asked for a token.
    turns: BTreeMap<(usize, bool), usize>,
    /// How often a thing was asked.
    asked: BTreeMap<String, usize>,
}

#[derive(Clone)]
struct Cat {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    modes: Arc<Vec<Mode>>,
}

impl Cat {
    async fn start(modes: Arc<Vec<Mode>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cat = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            modes,
        };
        let server = cat.clone();
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn(server.clone().serve(stream));
            }
        });
        cat
    }

    /// Where the platform of a mode and a way is.
    fn at(&self, mode: usize, way: usize) -> String {
        format!("http://{}/{mode}/{way}", self.address)
    }

    async fn serve(self, mut stream: TcpStream) -> Option<()> {
        let mut request = Vec::new();
        let head = loop {
            if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut request).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next());
        let length: usize = length.map_or(0, |digits| digits.parse().unwrap());
        while request.len() < head + length {
            if stream.read_buf(&mut request).await.ok()? == 0 {
                break;
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        match self.answer(&request)? {
            Reply::Whole(status, headers, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: \
                     {length}\r\n{headers}\r\n{body}"
                );
                drop(stream.write_all(answer.as_bytes()).await);
            }
            Reply::Trickle(part) => {
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{{\"error\":\"{part}");
                drop(stream.write_all(answer.as_bytes()).await);
                // Until the other side has had enough.
                drop(stream.read_buf(&mut Vec::new()).await);
            }
            Reply::Raw(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        }
        Some(())
    }

    fn answer(&self, request: &str) -> Option<Reply> {
        let line = request.split("\r\n").next()?;
        let (method, rest) = line.split_once(' ')?;
        let path = rest.split([' ', '?']).next()?;
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let (mode, way) = (
            parts.next()?.parse::<usize>().ok()?,
            parts.next()?.parse::<usize>().ok()?,
        );
        let thing = parts.next().unwrap_or_default();
        let (name, reply) = WAYS.get(way)?;
        let row = self.modes.get(mode)?;
        let mut heard = self.heard.lock().unwrap();
        let requests = heard.requests.entry(row.name.to_owned()).or_default();
        requests.push_str(request);
        requests.extend(basic(request));
        let end = row.platform.token_path;
        let of_token = !end.is_empty() && thing.ends_with(end);
        let count = {
            let key = format!(
                "{mode} {way} {method} {thing} {}",
                request.contains("a sound create")
            );
            let count = heard.asked.entry(key).or_insert(0);
            *count += 1;
            *count
        };
        if of_token {
            if !is_of_tokens(name) || count > TIMES {
                let (access, refresh) = (&row.secrets[2], &row.secrets[3]);
                return Some(Reply::Whole(
                    200,
                    String::new(),
                    json!({ "ok": true, "access_token": access, "refresh_token": refresh,
                        "expires_in": 3600,
                            "instance_url": self.at(mode, way) })
                    .to_string(),
                ));
            }
        } else if (request.contains("a sound create") && count == 1)
            || count > TIMES
            || is_of_tokens(name)
        {
            return Some(Reply::Whole(
                200,
                String::new(),
                (row.platform.sound)(method, thing, &self.at(mode, way)),
            ));
        }
        let heard = &mut *heard;
        // A token that was never given is nobody's secret yet.
        let known = if of_token { 2 } else { row.secrets.len() };
        let turn = heard.turns.entry((mode, of_token)).or_default();
        let mut say = || {
            *turn += 1;
            let secret = *turn % known;
            let all = forms(&row.secrets[secret]);
            let form = (*turn / known) % all.len();
            heard.said.insert((row.name.to_owned(), secret, form));
            all[form].clone()
        };
        Some(reply(&mut say, row.platform.success))
    }

    /// There was something to lose: each secret that is sent was received, and each was said back
    /// in every form.
    fn has_heard_and_said_everything(&self) {
        let heard = self.heard.lock().unwrap();
        for (number, mode) in self.modes.iter().enumerate() {
            let requests = &heard.requests[mode.name];
            for secret in &mode.sent {
                let received = forms(secret)
                    .iter()
                    .any(|form| requests.contains(form.trim_end_matches('=')));
                assert!(received, "{} was never sent its {secret}", mode.name);
            }
            for (index, secret) in mode.secrets.iter().enumerate() {
                let count = (0..forms(secret).len())
                    .filter(|form| heard.said.contains(&(mode.name.to_owned(), index, *form)))
                    .count();
                assert_eq!(
                    count,
                    forms(secret).len(),
                    "{} said {secret} (of mode {number}) in {count} forms",
                    mode.name
                );
            }
        }
    }
}

/// What a request's Basic authorization says, whoever the user is.
fn basic(request: &str) -> Option<String> {
    let value = request.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    })?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?.trim()).ok()?;
    String::from_utf8(decoded).ok()
}

// --- the test ---

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_gets_out_whatever_platforms_and_producers_do() {
    let (database, amqp) = crate::support::services();
    let world = World::bare(&database, &amqp).await;
    world.set("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "700ms");
    world.set(
        "TICKETWIRE__RETRY__SCHEDULE",
        r#"["50ms","100ms","100ms","200ms","200ms","200ms","200ms","200ms"]"#,
    );
    world.set("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "1000");
    world.set("TICKETWIRE__DISPATCH__SETTLE_AFTER", "1s");
    world.set("TICKETWIRE__DATABASE__POOL_SIZE", "4");
    let cat = Cat::start(Arc::new(modes())).await;
    let worker = world.worker().await;

    let integrations = connect_all(&world, &cat).await;
    let letters = odd_messages(&world).await;
    use_all(&world, &cat, &integrations).await;
    world.quiet_within(4 * PATIENCE).await;
    let (shown, asked) = seen_by_people(&world, &cat, &integrations).await;

    cat.has_heard_and_said_everything();
    let sealed = world
        .text(
            "SELECT count(*)::text FROM integrations WHERE credentials_encrypted IS NOT NULL",
            &[],
        )
        .await;
    assert_eq!(sealed, Some(integrations.len().to_string()));
    assert_eq!(
        usize::try_from(world.count("SELECT count(*) FROM dead_letters").await).unwrap(),
        letters
    );

    // And nothing was lost.
    let mut found = Vec::new();
    let mut look = |place: &str, text: &str| {
        found.extend(
            canaries_in(text)
                .into_iter()
                .map(|around| format!("{place}: …{around}")),
        );
    };
    let tables = world
        .query(
            "SELECT table_name::text FROM information_schema.tables \
                WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
            &[],
        )
        .await;
    assert!(tables.len() >= 15, "{} tables", tables.len());
    for table in &tables {
        let table: String = table.get(0);
        let rows = world
            .query(
                &format!("SELECT row_to_json(t)::text FROM \"{table}\" t"),
                &[],
            )
            .await;
        let text: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        look(&table, &text.join("\n"));
    }
    for (key, event) in world.events.all() {
        look("an event", &format!("{key} {event}"));
    }
    look("the log", &worker.log());
    look(
        "the metrics",
        &http_get(worker.address, "/metrics").await.unwrap().1,
    );
    look("what a person is shown", &shown);
    look("an answer", &asked);
    let count = found.len();
    found.truncate(12);
    assert!(found.is_empty(), "{count} canaries: {found:#?}");
}

/// An integration for each mode and way, active.
async fn connect_all(world: &World, cat: &Cat) -> Vec<(usize, usize, Uuid)> {
    let mut made = Vec::new();
    let mut messages = Vec::new();
    for (mode, row) in cat.modes.iter().enumerate() {
        for (way, (name, _)) in WAYS.iter().enumerate() {
            if is_of_tokens(name) && !row.name.contains("oauth") {
                continue;
            }
            let mut data: Value =
                serde_json::from_str(&row.data.to_string().replace("{at}", &cat.at(mode, way)))
                    .unwrap();
            data["name"] = format!("{} {name}", row.name).into();
            let id = Uuid::now_v7();
            messages.push(Message::of(&command(
                "integration.create",
                id,
                world.organization,
                &data,
            )));
            made.push((mode, way, id));
        }
    }
    world.send(&messages).await;
    let count = i64::try_from(made.len()).unwrap();
    wait_for("every integration", async || {
        (world.count("SELECT count(*) FROM integrations").await == count).then_some(())
    })
    .await;
    world.quiet().await;
    let sql = "WITH active AS (UPDATE integrations SET status = 'active', updated_at = now() \
               RETURNING id) SELECT count(*) FROM active";
    assert_eq!(world.count(sql).await, count);
    let results: BTreeMap<String, String> = world
        .events
        .all()
        .into_iter()
        .map(|(_, event)| event)
        .filter(|event| event["type"] == "integration.create.succeeded")
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (
                text(&event["data"]["command_id"]),
                text(&event["data"]["result"]["integration_id"]),
            )
        })
        .collect();
    made.into_iter()
        .map(|(mode, way, id)| (mode, way, results[&id.to_string()].parse().unwrap()))
        .collect()
}

/// Everything that calls a platform, at every integration.
async fn use_all(world: &World, cat: &Cat, integrations: &[(usize, usize, Uuid)]) {
    let mut messages = Vec::new();
    for (mode, _, integration) in integrations {
        let (sound, echoed) = (Uuid::new_v4(), Uuid::new_v4());
        let mut send = |kind: &str, data: Value| {
            messages.push(Message::of(&command(
                kind,
                Uuid::now_v7(),
                world.organization,
                &data,
            )));
        };
        for (ticket, title) in [(sound, "a sound create"), (echoed, "an echo")] {
            send(
                "ticket.create",
                json!({ "ticket_id": ticket, "title": title, "description": "d",
                    "integration_id": integration, "tags": ["a"] }),
            );
        }
        let tests = [
            "connection",
            "authentication",
            "permissions",
            "create_ticket",
        ];
        send(
            "integration.test",
            json!({ "integration_id": integration, "test_types": tests,
                "auto_activate_on_success": true }),
        );
        if cat.modes[*mode].platform.syncs {
            send(
                "integration.sync",
                json!({ "integration_id": integration, "sync_type": "full" }),
            );
        }
        send("ticket.comment", json!({ "ticket_id": sound, "body": "b" }));
        send(
            "ticket.update",
            json!({ "ticket_id": sound, "title": "changed" }),
        );
        send(
            "ticket.status",
            json!({ "ticket_id": sound, "status": "resolved", "resolution_summary": "r" }),
        );
        send(
            "ticket.attach",
            json!({ "ticket_id": sound, "attachments": [{ "name": "a.txt",
                "content_base64": "YWJj" }] }),
        );
    }
    for part in messages.chunks(200) {
        world.send(part).await;
    }
}

/// What people are shown, and what is answered to questions.
async fn seen_by_people(
    world: &World,
    cat: &Cat,
    integrations: &[(usize, usize, Uuid)],
) -> (String, String) {
    let one = |name: &str, way: &str| {
        let found = integrations
            .iter()
            .find(|(mode, number, _)| cat.modes[*mode].name == name && WAYS[*number].0 == way);
        found.unwrap().2.to_string()
    };
    // What was asked twice is answered soundly; a question by hand is to be echoed again.
    cat.heard.lock().unwrap().asked.clear();
    let mut commands: Vec<Vec<String>> = [
        "integration list",
        "dead list --limit 200",
        "command list --limit 100",
        "doctor",
        "platforms jira",
        "events --from first --limit 1",
    ]
    .iter()
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .collect();
    for (mode, way) in [
        ("jira-api-key", "400"),
        ("webhook", "410"),
        ("slack-hook", "plain text, gone"),
        ("slack-bot", "200 not ok"),
    ] {
        for action in ["show", "test"] {
            commands.push(vec!["integration".into(), action.into(), one(mode, way)]);
        }
    }
    for row in world
        .query("SELECT id FROM dead_letters ORDER BY id DESC LIMIT 3", &[])
        .await
    {
        commands.push(vec![
            "dead".into(),
            "show".into(),
            row.get::<_, i64>(0).to_string(),
        ]);
    }
    let runs = commands
        .into_iter()
        .flat_map(|line| [line.clone(), [vec!["--json".to_owned()], line].concat()]);
    let runs = runs.map(|line| {
        let environment = world.environment();
        tokio::task::spawn_blocking(move || {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let made = output(&environment, &line);
            format!(
                "{line:?} {} {}\n",
                String::from_utf8_lossy(&made.stdout),
                String::from_utf8_lossy(&made.stderr)
            )
        })
    });
    let shown: String = join_all(runs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        shown.contains("platforms") && shown.len() > 10_000,
        "{shown}"
    );
    let questions = ["200", "400", "wrong types", "cut at 200"].map(|way| {
        world.ask(
            "integration.fields",
            json!({ "integration_id": one("jira-api-key", way) }),
        )
    });
    let mut asked: String = join_all(questions)
        .await
        .iter()
        .map(Value::to_string)
        .collect();
    let get = world
        .ask(
            "integration.get",
            json!({ "integration_id": one("webhook", "400") }),
        )
        .await;
    asked.push_str(&get.to_string());
    (shown, asked)
}

/// Messages that are no commands, with a canary in every odd place; returns how many.
async fn odd_messages(world: &World) -> usize {
    let secret = canary("producer");
    let create = |platform: &str| {
        let data = json!({ "name": "N", "platform_name": platform,
            "credentials": { "api_token": secret }, "settings": {} });
        command(
            "integration.create",
            Uuid::now_v7(),
            world.organization,
            &data,
        )
    };
    let ticket = || {
        let data = json!({ "title": "T", "description": "d", "priority": 3 });
        command("ticket.create", Uuid::now_v7(), world.organization, &data)
    };
    let mut messages = Vec::new();
    // Members of the data: of a known name with a value of another type, and of an unknown name.
    let fields = [
        "title",
        "priority",
        "tags",
        "ticket_id",
        "integration_id",
        "custom_fields",
        "attachments",
        "department",
        "route",
        "apiToken",
        "credentials",
        "password",
    ];
    for field in fields {
        for value in [
            json!(secret),
            json!([secret]),
            json!({ "x": secret }),
            json!({ (secret.clone()): 1 }),
            json!([{ "url": secret, "name": [secret] }]),
        ] {
            let legitimate = matches!(field, "title" | "department") && value.is_string()
                || field == "tags" && value == json!([secret])
                || field == "custom_fields" && value.is_object();
            if !legitimate {
                let mut message = ticket();
                message["data"][field] = value;
                messages.push(Message::of(&message));
            }
        }
    }
    let fields = [
        "credentials",
        "settings",
        "webhook_secret",
        "base_url",
        "auth_type",
        "environment",
        "routing_rules",
        "notification_channels",
        "supports_categories",
        "apiKey",
        "oauth_scopes",
        "enabled",
    ];
    for field in fields {
        for value in [
            json!(secret),
            json!([secret]),
            json!({ "token": secret }),
            json!({ (secret.clone()): { "a": secret } }),
        ] {
            let legitimate = field == "environment" && value.is_string()
                || field == "oauth_scopes" && value.is_array();
            if !legitimate {
                let mut message = create("jjira");
                message["data"][field] = value;
                messages.push(Message::of(&message));
            }
        }
    }
    let mut message = create("jjira");
    message["data"]["base_url"] = json!(format!("https://bot:{MARK}secret@x.example"));
    messages.push(Message::of(&message));
    // The envelope.
    let places = [
        "data",
        "id",
        "specversion",
        "organizationid",
        "type",
        "source",
        "subject",
        "time",
        "expirytime",
        "dryrun",
        "datacontenttype",
        "traceparent",
        "tracestate",
        "data_base64",
        "apikey",
    ];
    for place in places {
        for value in [
            json!(secret),
            json!([secret]),
            json!({ "credentials": { "token": secret } }),
            json!(format!("{{\"t\":\"{secret}\"}}")),
        ] {
            let mut message = ticket();
            message[place] = value;
            messages.push(Message::new("ticket.create", message.to_string()));
        }
    }
    let mut message = ticket();
    message[plain_canary("member")] = json!(1);
    messages.push(Message::of(&message));
    // No envelope, and no JSON.
    let whole = create("jira").to_string();
    let bodies = [
        json!([create("jira"), create("jira")]).to_string(),
        json!(secret).to_string(),
        json!({ "credentials": { "token": secret } }).to_string(),
        json!({ "messages": [create("jira")] }).to_string(),
        whole[..whole.len() - 1].to_owned(),
        format!("{whole}{whole}"),
        whole.replace('"', "'"),
        whole.replace(':', "="),
        format!("api_token={secret}&x=1"),
        format!("Authorization: Bearer {secret}"),
        secret.clone(),
        format!("<api_token>{secret}</api_token>"),
        format!("---\ntoken: {secret}\n"),
        STANDARD.encode(&whole),
        hex::encode(&whole),
        format!("\u{feff}{whole}x"),
        whole.replace('{', "{\u{0}"),
        format!("{{\"data\":{{\"credentials\":{{\"api_token\":\"{secret}"),
        whole.replace("\"jira\"", "NaN"),
        format!("{{\"a\":1,}} {secret}"),
    ];
    messages.extend(
        bodies
            .into_iter()
            .map(|body| Message::new("integration.create", body)),
    );
    // Properties and headers, of what the worker refuses and of what the broker gives up.
    let text = || AMQPValue::LongString(secret.as_str().into());
    let mut headers = FieldTable::default();
    for name in [
        "authorization",
        "x-api-key",
        "traceparent",
        "tracestate",
        "x-death",
    ] {
        headers.insert(name.into(), text());
    }
    let mut death = FieldTable::default();
    for name in ["reason", "queue", "exchange", "note"] {
        death.insert(name.into(), text());
    }
    headers.insert(
        "x-list".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![text()])),
    );
    headers.insert(plain_canary("Header").into(), text());
    let mut forged = FieldTable::default();
    forged.insert(
        "x-death".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])),
    );
    for headers in [headers, forged] {
        for key in ["ticket.create", "tikcet.create"] {
            let mut message = Message::new(key, ticket().to_string());
            message.properties = message.properties.with_headers(headers.clone());
            messages.push(message);
        }
    }
    let mut message = Message::of(&ticket());
    message.properties = message
        .properties
        .with_message_id(secret.as_str().into())
        .with_correlation_id(secret.as_str().into())
        .with_type(secret.as_str().into())
        .with_app_id(secret.as_str().into());
    messages.push(message);
    let mut message = Message::of(&ticket());
    message.properties = message
        .properties
        .with_content_type(format!("application/{secret}").as_str().into());
    messages.push(message);
    // Another way to write the body is no way around.
    let mut message = Message::of(&ticket());
    message.properties = message
        .properties
        .with_content_encoding(secret.as_str().into());
    messages.push(message);
    let mut typo = create("jira");
    typo["data"]["credentialz"] = json!({ "api_token": secret });
    for body in [typo.to_string(), whole[..whole.len() - 1].to_owned()] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body.as_bytes()).unwrap();
        let mut message = Message::new("integration.create", packed.finish().unwrap());
        message.properties = message.properties.with_content_encoding("gzip".into());
        messages.push(message);
    }
    for place in ["id", "source", "subject", "secret"] {
        let mut headers = FieldTable::default();
        headers.insert(
            "cloudEvents:specversion".into(),
            AMQPValue::LongString("1.0".into()),
        );
        headers.insert(format!("cloudEvents:{place}").into(), text());
        let mut message = Message::new("ticket.create", json!({ "titel": secret }).to_string());
        message.properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_headers(headers);
        messages.push(message);
    }
    messages.push(Message::new(&plain_canary("Key"), ticket().to_string()));
    messages.push(Message::new(
        &format!("ticket.{}", plain_canary("Key")),
        ticket().to_string(),
    ));
    messages.push(Message::new("tikcet.create", create("jira").to_string()));

    // An id that was used before, with secrets in the second.
    let id = Uuid::now_v7();
    let first = json!({ "title": "T", "description": "d", "create_externally": false });
    world
        .send(&[Message::of(&command(
            "ticket.create",
            id,
            world.organization,
            &first,
        ))])
        .await;
    world.succeeds(id).await;
    let mut second = create("jira");
    second["id"] = json!(id);
    messages.push(Message::of(&second));

    let count = messages.len();
    world.send(&messages).await;
    wait_for("every dead letter", async || {
        let letters = world.count("SELECT count(*) FROM dead_letters").await;
        (usize::try_from(letters).unwrap() >= count).then_some(())
    })
    .await;
    count
}
