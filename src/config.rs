//! Every setting: typed, documented, layered; all faults at once, each with its key, where it came from and what would
//! be right, and never the value of a secret. Nothing else in the crate reads the environment.
//!
//! Order, later wins: built-in defaults, `config/default.toml`, the file named by `--config`, the environment
//! (`TICKETWIRE__SECTION__KEY`; `DATABASE_URL` and `AMQP_URL` as their usual names), flags.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

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
    /// Logging.
    pub log: Log,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// `text` or `json`; default by whether stderr is a terminal.
    pub format: Option<String>,
    /// In the syntax of `RUST_LOG`. Default `warn,ticketwire=info`.
    pub filter: Option<String>,
}

/// PostgreSQL.
#[derive(Debug, Clone)]
pub struct Database {
    /// Default `postgres://postgres@127.0.0.1:5432/ticketwire`; TLS by `sslmode`.
    pub url: SecretString,
    /// Connections of the pipeline, besides four for everything else and one for the worker id. Default 6.
    pub pool_size: usize,
}

/// RabbitMQ.
#[derive(Debug, Clone)]
pub struct Amqp {
    /// Default `amqp://guest:guest@127.0.0.1:5672/%2f`; `amqps://` for TLS.
    pub url: SecretString,
    /// First part of every exchange and queue name. Default `ticketwire`.
    pub prefix: String,
    /// Deliveries in hand and not yet durable, per queue. Default 1000, at most 2000 (what a quorum queue takes).
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
}

/// Keys.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// `id:base64(32 bytes)`; the first seals, all open. Default none: what needs a credential is refused.
    pub keys: Vec<SecretString>,
    /// Reads credentials of the legacy application.
    pub legacy_encryption_key: Option<SecretString>,
    /// Reads credentials of the legacy application.
    pub legacy_jwt_secret: Option<SecretString>,
}

/// Where requests may go.
#[derive(Debug, Clone)]
pub struct Egress {
    /// Networks exempt from the block of private addresses. Default none.
    pub allow: Vec<IpNet>,
    /// Whether `http://` targets are allowed. Default false.
    pub allow_http: bool,
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
}

/// When a platform is left alone.
#[derive(Debug, Clone)]
pub struct Circuit {
    /// Attempts in a row that ended transient or unknown. Default 5.
    pub failure_threshold: i32,
    /// How long it is left alone. Default 30 s.
    pub open_for: Duration,
}

/// Where settings come from; the caller reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `config/default.toml`, where it exists.
    pub default_file: Option<PathBuf>,
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
        let default = PathBuf::from("config/default.toml");
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            default_file: default.is_file().then_some(default),
            file,
            env: env.collect(),
            flags,
        }
    }
}

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

/// Every key with its built-in default, as it would be written; the table of the README is tested against it.
pub const KEYS: [(&str, &str); 28] = [
    (
        "database.url",
        "postgres://postgres@127.0.0.1:5432/ticketwire",
    ),
    ("database.pool_size", "6"),
    ("amqp.url", "amqp://guest:guest@127.0.0.1:5672/%2f"),
    ("amqp.prefix", "ticketwire"),
    ("amqp.prefetch", "1000"),
    ("amqp.max_message_bytes", "1048576"),
    ("worker.id", ""),
    ("worker.drain_timeout", "45s"),
    ("worker.memory", "4096"),
    ("http.listen", "127.0.0.1:8000"),
    ("http.token", ""),
    ("http.webhook_listen", "127.0.0.1:8001"),
    ("secrets.keys", "[]"),
    ("secrets.legacy_encryption_key", ""),
    ("secrets.legacy_jwt_secret", ""),
    ("egress.allow", "[]"),
    ("egress.allow_http", "false"),
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
    ("circuit.failure_threshold", "5"),
    ("circuit.open_for", "30s"),
    ("log.format", ""),
    ("log.filter", ""),
];

/// A value as it was written, and where.
#[derive(Clone)]
struct Raw {
    items: Vec<String>,
    is_list: bool,
    origin: String,
}

impl Raw {
    fn text(value: &str, origin: String) -> Self {
        Self {
            items: vec![value.to_owned()],
            is_list: false,
            origin,
        }
    }

    fn one(&self) -> &str {
        self.items.first().map_or("", String::as_str)
    }

    /// As a list: a list, a JSON array, or a comma list.
    fn list(&self) -> Result<Vec<String>, String> {
        if self.is_list {
            return Ok(self.items.clone());
        }
        let text = self.one().trim();
        if text.starts_with('[') {
            return serde_json::from_str::<Vec<String>>(text).map_err(|_| {
                "must be a JSON array of texts, e.g. [\"a\",\"b\"], or a comma list".to_owned()
            });
        }
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

struct Reader {
    values: BTreeMap<String, Raw>,
    faults: Vec<Fault>,
}

impl Config {
    /// Loads, merges and validates.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            values: BTreeMap::new(),
            faults: Vec::new(),
        };
        for (key, default) in KEYS {
            reader
                .values
                .insert(key.to_owned(), Raw::text(default, "default".into()));
        }
        for file in [&sources.default_file, &sources.file].into_iter().flatten() {
            reader.file(file);
        }
        reader.environment(&sources.env);
        for (key, value) in &sources.flags {
            reader.set(key, Raw::text(value, format!("flag --set {key}")));
        }
        let config = reader.build();
        if reader.faults.is_empty() {
            return Ok(config);
        }
        reader.faults.sort_by(|a, b| a.key.cmp(&b.key));
        Err(ConfigError {
            faults: reader.faults,
        })
    }
}

impl Reader {
    fn fault(&mut self, key: &str, fault: impl Into<String>) {
        let origin = self
            .values
            .get(key)
            .map_or_else(String::new, |raw| raw.origin.clone());
        self.faults.push(Fault {
            key: key.to_owned(),
            origin,
            fault: fault.into(),
        });
    }

    fn set(&mut self, key: &str, raw: Raw) {
        if self.values.contains_key(key) {
            self.values.insert(key.to_owned(), raw);
            return;
        }
        let section = key.split('.').next().unwrap_or_default();
        let near: Vec<&str> = KEYS
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| known.split('.').next() == Some(section))
            .collect();
        let known = if near.is_empty() {
            "the sections are database, amqp, worker, http, secrets, egress, retry, dispatch, circuit, log".to_owned()
        } else {
            format!("known are {}", near.join(", "))
        };
        let fault = format!("is not a setting; {known}");
        self.faults.push(Fault {
            key: key.to_owned(),
            origin: raw.origin,
            fault,
        });
    }

    fn file(&mut self, path: &std::path::Path) {
        let origin = path.display().to_string();
        let source = config::File::from(path.to_path_buf())
            .format(config::FileFormat::Toml)
            .required(true);
        let loaded = config::Config::builder().add_source(source).build();
        let table =
            loaded.and_then(config::Config::try_deserialize::<BTreeMap<String, config::Value>>);
        let table = match table {
            Ok(table) => table,
            Err(error) => {
                let fault = format!("cannot be read: {error}");
                self.faults.push(Fault {
                    key: "config".into(),
                    origin,
                    fault,
                });
                return;
            }
        };
        for (section, value) in table {
            let Ok(members) = value.into_table() else {
                let fault = "must be a section with settings, e.g. [amqp]".to_owned();
                self.faults.push(Fault {
                    key: section,
                    origin: origin.clone(),
                    fault,
                });
                continue;
            };
            for (name, value) in members {
                let key = format!("{section}.{name}");
                let raw = match value.clone().into_array() {
                    Ok(items) if matches!(value.kind, config::ValueKind::Array(_)) => {
                        let items = items
                            .into_iter()
                            .map(|item| item.into_string().unwrap_or_default())
                            .collect();
                        Raw {
                            items,
                            is_list: true,
                            origin: origin.clone(),
                        }
                    }
                    _ => Raw::text(&value.into_string().unwrap_or_default(), origin.clone()),
                };
                self.set(&key, raw);
            }
        }
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, key) in [("DATABASE_URL", "database.url"), ("AMQP_URL", "amqp.url")] {
            if let Some(value) = env.get(name).filter(|value| !value.is_empty()) {
                self.set(key, Raw::text(value, format!("environment {name}")));
            }
        }
        for (name, value) in env {
            let Some(rest) = name.strip_prefix("TICKETWIRE__") else {
                continue;
            };
            let key = rest.to_lowercase().replacen("__", ".", 1);
            self.set(&key, Raw::text(value, format!("environment {name}")));
        }
    }

    fn raw(&self, key: &str) -> Raw {
        self.values
            .get(key)
            .cloned()
            .unwrap_or_else(|| Raw::text("", "default".into()))
    }

    fn text(&self, key: &str) -> String {
        self.raw(key).one().to_owned()
    }

    fn secret(&self, key: &str) -> Option<SecretString> {
        Some(self.text(key))
            .filter(|text| !text.is_empty())
            .map(SecretString::from)
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> usize {
        let parsed = self
            .text(key)
            .trim()
            .parse::<u64>()
            .ok()
            .filter(|number| range.contains(number));
        match parsed.and_then(|number| usize::try_from(number).ok()) {
            Some(number) => number,
            None => {
                self.fault(
                    key,
                    format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                );
                usize::try_from(*range.start()).unwrap_or(1)
            }
        }
    }

    fn duration(&mut self, key: &str) -> Duration {
        match parse_duration(&self.text(key)) {
            Some(duration) => duration,
            None => {
                self.fault(
                    key,
                    "must be a duration over zero, e.g. \"250ms\", \"30s\", \"2h\"",
                );
                Duration::from_secs(1)
            }
        }
    }

    fn listen(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(
                key,
                "must be an address and port, e.g. 127.0.0.1:8000, or empty to turn it off",
            );
        }
        parsed
    }

    fn boolean(&mut self, key: &str) -> bool {
        match self.text(key).as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.fault(key, "must be true or false");
                false
            }
        }
    }

    fn list(&mut self, key: &str) -> Vec<String> {
        match self.raw(key).list() {
            Ok(items) => items,
            Err(fault) => {
                self.fault(key, fault);
                Vec::new()
            }
        }
    }

    fn url(&mut self, key: &str, schemes: &[&str]) -> SecretString {
        let text = self.text(key);
        let sound = url::Url::parse(&text)
            .is_ok_and(|url| schemes.contains(&url.scheme()) && url.host().is_some());
        // libpq's key=value form has no scheme; the driver takes it as well.
        let pairs = schemes.contains(&"postgres") && text.contains("host=");
        if !sound && !pairs {
            self.fault(
                key,
                format!(
                    "must be a URL that begins with {}://",
                    schemes.join(":// or ")
                ),
            );
        }
        text.into()
    }

    fn build(&mut self) -> Config {
        let config = Config {
            database: Database {
                url: self.url("database.url", &["postgres", "postgresql"]),
                pool_size: self.number("database.pool_size", 2..=200),
            },
            amqp: Amqp {
                url: self.url("amqp.url", &["amqp", "amqps"]),
                prefix: self.text("amqp.prefix"),
                prefetch: u16::try_from(self.number("amqp.prefetch", 1..=2000)).unwrap_or(1000),
                max_message_bytes: self.number("amqp.max_message_bytes", 1024..=(16 << 20)),
            },
            worker: Worker {
                id: Some(self.text("worker.id")).filter(|id| !id.is_empty()),
                drain_timeout: self.duration("worker.drain_timeout"),
                memory: self.number("worker.memory", 16..=1_000_000),
            },
            http: Http {
                listen: self.listen("http.listen"),
                token: self.secret("http.token"),
                webhook_listen: self.listen("http.webhook_listen"),
            },
            secrets: Secrets {
                keys: self
                    .list("secrets.keys")
                    .into_iter()
                    .map(SecretString::from)
                    .collect(),
                legacy_encryption_key: self.secret("secrets.legacy_encryption_key"),
                legacy_jwt_secret: self.secret("secrets.legacy_jwt_secret"),
            },
            egress: Egress {
                allow: self.networks(),
                allow_http: self.boolean("egress.allow_http"),
            },
            retry: Retry {
                schedule: self.schedule(),
            },
            dispatch: Dispatch {
                request_timeout: self.duration("dispatch.request_timeout"),
                attempt_timeout: self.duration("dispatch.attempt_timeout"),
                lease: self.duration("dispatch.lease"),
                settle_after: self.settle_after(),
                max_in_flight_per_integration: self
                    .number("dispatch.max_in_flight_per_integration", 1..=10_000),
                queue_per_integration: self.number("dispatch.queue_per_integration", 0..=10_000),
            },
            circuit: Circuit {
                failure_threshold: i32::try_from(
                    self.number("circuit.failure_threshold", 1..=1_000_000),
                )
                .unwrap_or(5),
                open_for: self.duration("circuit.open_for"),
            },
            log: Log {
                format: self.log_format(),
                filter: Some(self.text("log.filter")).filter(|f| !f.is_empty()),
            },
        };
        self.relations(&config);
        config
    }

    fn networks(&mut self) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in self.list("egress.allow") {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(_) => self.fault(
                    "egress.allow",
                    format!("{text:?} is no network, e.g. 10.0.0.0/8 or fd00::/8"),
                ),
            }
        }
        networks
    }

    fn schedule(&mut self) -> Vec<Duration> {
        let mut schedule = Vec::new();
        for text in self.list("retry.schedule") {
            match parse_duration(&text) {
                Some(delay) => schedule.push(delay),
                None => self.fault(
                    "retry.schedule",
                    format!("{text:?} is no duration, e.g. \"30s\""),
                ),
            }
        }
        schedule
    }

    fn log_format(&mut self) -> Option<String> {
        let text = self.text("log.format");
        if !matches!(text.as_str(), "" | "text" | "json") {
            self.fault("log.format", "must be text or json");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn settle_after(&mut self) -> Option<Duration> {
        if self.text("dispatch.settle_after").is_empty() {
            None
        } else {
            Some(self.duration("dispatch.settle_after"))
        }
    }

    /// What must hold between settings.
    fn relations(&mut self, config: &Config) {
        let dispatch = &config.dispatch;
        if dispatch.attempt_timeout <= dispatch.request_timeout {
            self.fault(
                "dispatch.attempt_timeout",
                "must exceed dispatch.request_timeout",
            );
        }
        if dispatch.lease <= dispatch.attempt_timeout {
            self.fault(
                "dispatch.lease",
                "must exceed dispatch.attempt_timeout, or a worker would lose commands it still runs",
            );
        }
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if config.amqp.prefix.is_empty()
            || config.amqp.prefix.len() > 100
            || !config.amqp.prefix.chars().all(sound)
        {
            self.fault(
                "amqp.prefix",
                "must be 1 to 100 letters, digits, dots, dashes or underscores",
            );
        }
        if let Err(fault) = KeyRing::parse(&config.secrets.keys) {
            self.fault("secrets.keys", fault);
        }
        if let Err(error) = config
            .database
            .url
            .expose_secret()
            .parse::<tokio_postgres::Config>()
            && !self.faults.iter().any(|fault| fault.key == "database.url")
        {
            self.fault("database.url", format!("is not understood: {error}"));
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim())
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::load(&Sources {
            env,
            ..Sources::default()
        })
    }

    #[test]
    fn the_defaults_are_sound() {
        let config = load(&[]).unwrap();

        assert_eq!(config.retry.schedule.len(), 9);
        assert_eq!(config.http.listen.unwrap().port(), 8000);
        assert_eq!(config.dispatch.settle_after, None);
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_origin_and_remedy() {
        let error = load(&[
            ("TICKETWIRE__DISPATCH__LEASE", "10s"),
            ("TICKETWIRE__RETRY__SCHEDULE", "[\"5s\",\"soon\"]"),
            ("TICKETWIRE__AMQP__PREFETHC", "7"),
            ("TICKETWIRE__EGRESS__ALLOW", "10.0.0.0/99"),
        ])
        .unwrap_err();

        let keys: Vec<&str> = error
            .faults
            .iter()
            .map(|fault| fault.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "amqp.prefethc",
                "dispatch.lease",
                "egress.allow",
                "retry.schedule"
            ]
        );
        let text = error.to_string();
        assert!(
            text.contains("environment TICKETWIRE__DISPATCH__LEASE"),
            "{text}"
        );
        assert!(text.contains("amqp.prefetch"), "{text}");
    }

    #[test]
    fn lists_may_be_json_arrays_or_comma_lists() {
        let config = load(&[
            ("TICKETWIRE__EGRESS__ALLOW", r#"["127.0.0.0/8","::1/128"]"#),
            ("TICKETWIRE__RETRY__SCHEDULE", "250ms, 30s,2h"),
        ])
        .unwrap();

        assert_eq!(config.egress.allow.len(), 2);
        assert_eq!(
            config.retry.schedule,
            [250, 30_000, 7_200_000].map(Duration::from_millis)
        );
    }

    #[test]
    fn later_sources_win_and_the_usual_names_are_taken() {
        let config = Config::load(&Sources {
            env: BTreeMap::from([
                ("DATABASE_URL".into(), "postgres://a@h/one".into()),
                ("TICKETWIRE__AMQP__PREFIX".into(), "env".into()),
            ]),
            flags: vec![("amqp.prefix".into(), "flag".into())],
            ..Sources::default()
        })
        .unwrap();

        assert_eq!(config.database.url.expose_secret(), "postgres://a@h/one");
        assert_eq!(config.amqp.prefix, "flag");
    }

    #[test]
    fn a_file_is_read_and_its_unknown_keys_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(
            &file,
            "[egress]\nallow = [\"10.0.0.0/8\"]\n[amqp]\nprefetch = 50\nprefixx = \"a\"\n",
        )
        .unwrap();

        let error = Config::load(&Sources {
            file: Some(file.clone()),
            ..Sources::default()
        })
        .unwrap_err();

        assert_eq!(error.faults.len(), 1);
        assert!(
            error
                .to_string()
                .contains(&format!("amqp.prefixx ({})", file.display()))
        );
    }

    #[test]
    fn no_secret_shows_in_debug_or_faults() {
        let key = crate::secrets::generate("one");
        let secret = key.split_once(':').unwrap().1;
        let config = load(&[
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("AMQP_URL", "amqp://u:hunter3@h/v"),
            ("TICKETWIRE__SECRETS__KEYS", &key),
            ("TICKETWIRE__HTTP__TOKEN", "hunter4"),
        ])
        .unwrap();
        let broken = load(&[
            ("DATABASE_URL", "mysql://u:hunter2@h/d"),
            ("TICKETWIRE__SECRETS__KEYS", &key[..20]),
        ])
        .unwrap_err();

        let shown = format!("{config:?} {broken} {broken:?}");
        for secret in ["hunter2", "hunter3", "hunter4", secret, &key[4..20]] {
            assert!(!shown.contains(secret), "{secret} shows in {shown}");
        }
    }
}
