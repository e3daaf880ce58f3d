//! Every setting: typed, documented, layered; all faults at once, each with its key, where it came
//! from and what would be right, and never the value of a secret. Nothing else in the crate reads
//! the environment.
//!
//! Order, later wins: built-in defaults, `config/default.toml`, the file named by `--config`, the
//! environment (`TICKETWIRE__SECTION__KEY`; `DATABASE_URL` and `AMQP_URL` as their usual names),
//! flags.

mod database_url;
mod producers;
mod proxy;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

pub use self::database_url::DatabaseUrl;
pub use self::producers::Producers;
pub use self::proxy::Proxy;
use self::read::{Raw, Reader};
use crate::domain::shown;
use crate::secrets::KeyRing;

/// Every setting.
#[derive(Debug, Clone)]
pub struct Config {
    /// PostgreSQL.
    pub database: Database,
    /// RabbitMQ.
    pub amqp: Amqp,
    /// This process.
    pub worker: Worker,
    /// Listeners.
    pub http: Http,
    /// Keys.
    pub secrets: Secrets,
    /// Where requests may go.
    pub egress: Egress,
    /// When attempts are made again.
    pub retry: Retry,
    /// Calling platforms.
    pub dispatch: Dispatch,
    /// When a platform is left alone.
    pub circuit: Circuit,
    /// Reading what changed on platforms.
    pub sync: Syncing,
    /// Who makes tickets of free text.
    pub ai: Ai,
    /// Looking after integrations.
    pub health: Health,
    /// Who may publish what.
    pub producers: Producers,
    /// How long what is finished is kept.
    pub retention: Retention,
    /// Logging.
    pub log: Log,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// `text` or `json`; default by whether stderr is a terminal.
    pub format: Option<String>,
    /// In the syntax of `RUST_LOG`; a bare `debug` or `trace` opens this program alone, a library
    /// is named for it (`tokio_postgres=trace`). Default `warn,lapin=off,ticketwire=info`.
    pub filter: Option<String>,
}

/// PostgreSQL.
#[derive(Debug, Clone)]
pub struct Database {
    /// Default `postgres://postgres@127.0.0.1:5432/ticketwire`; TLS by `sslmode`.
    pub url: SecretString,
    /// Connections of the pipeline, besides four for everything else and one for the worker id.
    /// Default 6.
    pub pool_size: usize,
}

/// RabbitMQ.
#[derive(Debug, Clone)]
pub struct Amqp {
    /// Default `amqp://guest:guest@127.0.0.1:5672/%2f`; `amqps://` for TLS.
    pub url: SecretString,
    /// First part of every exchange and queue name. Default `ticketwire`.
    pub prefix: String,
    /// Deliveries in hand and not yet durable, per queue. Default 500, at most 2000 (what a quorum
    /// queue takes).
    pub prefetch: u16,
    /// Larger messages are rejected. Bytes, default 1 MiB.
    pub max_message_bytes: usize,
}

/// This process.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Default: the host's name and the first free number.
    pub id: Option<String>,
    /// How long a stop waits for what is in flight. Default 45 s.
    pub drain_timeout: Duration,
    /// Commands in this process's hands at most; the others wait in the ledger. Default 4096.
    pub memory: usize,
}

/// Listeners.
#[derive(Debug, Clone)]
pub struct Http {
    /// Health and metrics. Default `127.0.0.1:8000`; empty turns it off.
    pub listen: Option<SocketAddr>,
    /// Bearer token of dashboard and API.
    pub token: Option<SecretString>,
    /// The only listener meant for the internet. Default `127.0.0.1:8001`; empty turns it off.
    pub webhook_listen: Option<SocketAddr>,
    /// The address by which platforms reach `webhook_listen`, path included; part of the signature
    /// at some platforms. Default none.
    pub webhook_public_url: Option<Url>,
    /// Networks of the proxies in front of `webhook_listen`, whose `X-Forwarded-For` is believed.
    /// Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Larger deliveries are refused. Bytes, default 1 MiB.
    pub webhook_max_bytes: usize,
    /// Bodies of deliveries in memory at a time. Bytes, default 32 MiB.
    pub webhook_memory: usize,
    /// Longest a delivery waits for its answer. Default 2.5 s.
    pub webhook_timeout: Duration,
    /// Deliveries a second of an integration, and ten times as many at once. Default 100.
    pub webhook_rate: u32,
    /// How long integrations are known without the database. Default 24 h.
    pub webhook_cache: Duration,
}

/// What a delivery's message has beside its body.
const DELIVERY_EXTRA: usize = 64 << 10;

/// Keys.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// `id:base64(32 bytes)`; the first seals, all open. Default none: what needs a credential is
    /// refused.
    pub keys: Vec<SecretString>,
    /// Reads credentials of the legacy application: its `ENCRYPTION_KEY`.
    pub legacy_encryption_key: Option<SecretString>,
    /// Reads credentials of the legacy application: its `JWT_SECRET_KEY`.
    pub legacy_jwt_secret: Option<SecretString>,
}

impl Secrets {
    /// The ring of all these keys.
    ///
    /// # Errors
    /// What is wrong with which; never the key. None where [`Config::load`] has passed.
    pub fn ring(&self) -> Result<KeyRing, String> {
        KeyRing::parse(&self.keys)?.with_legacy(
            self.legacy_encryption_key.as_ref(),
            self.legacy_jwt_secret.as_ref(),
        )
    }
}

/// Where requests may go.
#[derive(Debug, Clone)]
pub struct Egress {
    /// Networks exempt from the block of private addresses. Default none.
    pub allow: Vec<IpNet>,
    /// Whether `http://` targets are allowed. Default false.
    pub allow_http: bool,
    /// Through which proxy requests to platforms go. Default none.
    pub proxy: Option<Proxy>,
}

/// When attempts are made again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Delay before attempt 2, 3, …; jitter 0 to +20 %. Its length bounds the attempts.
    pub schedule: Vec<Duration>,
}

/// Calling platforms.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// One request, name look-up to last byte. Default 30 s.
    pub request_timeout: Duration,
    /// All requests of one attempt. Default 90 s.
    pub attempt_timeout: Duration,
    /// How long a worker that is not heard of keeps its commands. Default 120 s.
    pub lease: Duration,
    /// Overrides the adapters' time after which an empty look-up proves that nothing was made.
    pub settle_after: Option<Duration>,
    /// Requests to one integration at once, per worker. Default 16.
    pub max_in_flight_per_integration: usize,
    /// Commands queued in memory behind those. Default 16.
    pub queue_per_integration: usize,
    /// Larger files are not attached. Bytes, default 25 MiB.
    pub max_attachment_bytes: u64,
}

/// Looking after integrations.
#[derive(Debug, Clone)]
pub struct Health {
    /// How often each enabled integration that is active or in error is checked; jittered by a
    /// tenth. Default 5 min; `None` checks none.
    pub interval: Option<Duration>,
}

/// When a platform is left alone.
#[derive(Debug, Clone)]
pub struct Circuit {
    /// Attempts in a row that ended transient or unknown. Default 5.
    pub failure_threshold: i32,
    /// How long it is left alone. Default 30 s.
    pub open_for: Duration,
}

/// Reading what changed on platforms (`integration.sync`).
#[derive(Debug, Clone)]
pub struct Syncing {
    /// The part of a platform's budget that a sync may use, of what is left of it: from 0 to 1.
    /// Default 0.5.
    pub budget: f64,
}

/// Who makes tickets of free text (`ticket.ai_create`).
#[derive(Debug, Clone)]
pub struct Ai {
    /// An OpenAI-compatible endpoint, to which `/chat/completions` is added. Default none: only the
    /// built-in rules are used, and no text leaves the process. The egress rules hold for it as for
    /// platforms.
    pub base_url: Option<Url>,
    /// The model's name there. Required with `base_url`.
    pub model: String,
    /// Sent as a bearer token; a local server may need none.
    pub api_key: Option<SecretString>,
    /// The whole analysis by the endpoint; then the rules step in. Default 20 s. No single request
    /// outlasts `dispatch.request_timeout` either.
    pub timeout: Duration,
}

/// How long what is finished is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Finished commands with their attempts, and with them the memory of their ids: a repeat that
    /// comes later is a new command. Default 30 days, at least 10 minutes; `None` keeps them.
    pub commands: Option<Duration>,
    /// Dead letters. Default 90 days; `None` keeps them.
    pub dead_letters: Option<Duration>,
    /// Ids of changes that platforms told: so long one that is told again is a repeat. Default 7
    /// days; `None` keeps them.
    pub inbound: Option<Duration>,
}

/// Where settings come from; the caller reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `config/default.toml`, where it is this program's.
    pub default_file: Option<PathBuf>,
    /// The same where it is another program's, and so not read.
    pub foreign_file: Option<PathBuf>,
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// `(section.key, value)`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The process's own environment and the default file.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            file,
            env: env.collect(),
            flags,
            ..Self::default()
        }
        .in_directory(Path::new(""))
    }

    /// With the default file of a directory. Many programs have a `config/default.toml`, and one
    /// may stand in anyone's directory: ours names us in its first line.
    fn in_directory(self, directory: &Path) -> Self {
        let file = directory.join("config/default.toml");
        let first_line = std::fs::File::open(&file)
            .and_then(|opened| {
                let mut line = String::new();
                std::io::BufReader::new(opened.take(LINE_MAX)).read_line(&mut line)?;
                Ok(line)
            })
            .ok();
        let is_ours = first_line.map(|line| line.to_lowercase().contains("ticketwire"));
        Self {
            default_file: (is_ours == Some(true)).then(|| file.clone()),
            foreign_file: (is_ours == Some(false)).then_some(file),
            ..self
        }
    }

    /// The files that are read, in their order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = [&self.default_file, &self.file];
        files.into_iter().flatten().cloned().collect()
    }
}

/// A first line is read so far.
const LINE_MAX: u64 = 1 << 12;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `section.key`.
    pub key: String,
    /// Where the value came from.
    pub origin: String,
    /// What is wrong and what would be right.
    pub fault: String,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The faults, by key.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.faults.len())?;
        for fault in &self.faults {
            write!(f, "\n  {} ({}): {}", fault.key, fault.origin, fault.fault)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Every key with its built-in default, as it would be written; `docs/configuration.md` is tested
/// against it.
pub const KEYS: [(&str, &str); 48] = [
    (
        "database.url",
        "postgres://postgres@127.0.0.1:5432/ticketwire",
    ),
    ("database.pool_size", "6"),
    ("amqp.url", "amqp://guest:guest@127.0.0.1:5672/%2f"),
    ("amqp.prefix", "ticketwire"),
    ("amqp.prefetch", "500"),
    ("amqp.max_message_bytes", "1048576"),
    ("worker.id", ""),
    ("worker.drain_timeout", "45s"),
    ("worker.memory", "4096"),
    ("http.listen", "127.0.0.1:8000"),
    ("http.token", ""),
    ("http.webhook_listen", "127.0.0.1:8001"),
    ("http.webhook_public_url", ""),
    ("http.trusted_proxies", "[]"),
    ("http.webhook_max_bytes", "1048576"),
    ("http.webhook_memory", "32MiB"),
    ("http.webhook_timeout", "2500ms"),
    ("http.webhook_rate", "100"),
    ("http.webhook_cache", "24h"),
    ("secrets.keys", "[]"),
    ("secrets.legacy_encryption_key", ""),
    ("secrets.legacy_jwt_secret", ""),
    ("egress.allow", "[]"),
    ("egress.allow_http", "false"),
    ("egress.proxy", ""),
    (
        "retry.schedule",
        r#"["5s","30s","2m","10m","30m","1h","3h","6h","12h"]"#,
    ),
    ("dispatch.request_timeout", "30s"),
    ("dispatch.attempt_timeout", "90s"),
    ("dispatch.lease", "120s"),
    ("dispatch.settle_after", ""),
    ("dispatch.max_in_flight_per_integration", "16"),
    ("dispatch.queue_per_integration", "16"),
    ("dispatch.max_attachment_bytes", "26214400"),
    ("health.interval", "5m"),
    ("producers.allow", "[]"),
    ("producers.reply_to", "[]"),
    ("circuit.failure_threshold", "5"),
    ("circuit.open_for", "30s"),
    ("sync.budget", "0.5"),
    ("ai.base_url", ""),
    ("ai.model", ""),
    ("ai.api_key", ""),
    ("ai.timeout", "20s"),
    ("retention.commands", "720h"),
    ("retention.dead_letters", "2160h"),
    ("retention.inbound", "168h"),
    ("log.format", ""),
    ("log.filter", ""),
];

impl Config {
    /// Bytes of a message with this routing key: the body of a webhook is base64 in its own.
    #[must_use]
    pub fn message_bytes_max(&self, routing_key: &str) -> usize {
        if routing_key.starts_with("webhook.") {
            let delivery = self.http.webhook_max_bytes / 3 * 4 + DELIVERY_EXTRA;
            delivery.max(self.amqp.max_message_bytes)
        } else {
            self.amqp.max_message_bytes
        }
    }

    /// Loads, merges and validates.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::of_defaults();
        for file in [&sources.default_file, &sources.file].into_iter().flatten() {
            reader.file(file);
        }
        reader.environment(&sources.env);
        for (key, value) in &sources.flags {
            reader.set(key, Raw::text(value, format!("flag --set {}", shown(key))));
        }
        reader.finish()
    }
}
