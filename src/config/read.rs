//! Reads the layers and gathers every fault with its key, origin and remedy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    Ai, Amqp, Circuit, Config, ConfigError, Database, DatabaseUrl, Dispatch, Egress, Fault, Health,
    Http, KEYS, Log, Producers, Proxy, Retention, Retry, Secrets, Syncing, Worker,
};
use crate::domain::shown;
use crate::secrets::KeyRing;

/// A finished command is remembered at least so long, as the broker may deliver its message again.
const RETENTION_MIN: Duration = Duration::from_secs(600);

/// A value as it was written, and where.
#[derive(Clone)]
pub(super) struct Raw {
    items: Vec<String>,
    is_list: bool,
    origin: String,
}

impl Raw {
    pub(super) fn text(value: &str, origin: String) -> Self {
        Self {
            items: vec![value.to_owned()],
            is_list: false,
            origin,
        }
    }

    pub(super) fn one(&self) -> &str {
        self.items.first().map_or("", String::as_str)
    }

    /// As a list: a list, a JSON array, or a comma list.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
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

pub(super) struct Reader {
    values: BTreeMap<String, Raw>,
    /// The environment's variables that name proxies.
    proxies: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Knows the built-in defaults.
    pub(super) fn of_defaults() -> Self {
        let default = |(key, value): (&str, &str)| {
            let raw = Raw::text(value, "default".into());
            (key.to_owned(), raw)
        };
        Self {
            values: KEYS.into_iter().map(default).collect(),
            proxies: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// The settings, or every fault.
    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        let config = self.build();
        if self.faults.is_empty() {
            return Ok(config);
        }
        self.faults.sort_by(|a, b| a.key.cmp(&b.key));
        Err(ConfigError {
            faults: self.faults,
        })
    }

    pub(super) fn fault(&mut self, key: &str, fault: impl Into<String>) {
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

    pub(super) fn set(&mut self, key: &str, raw: Raw) {
        if self.values.contains_key(key) {
            self.values.insert(key.to_owned(), raw);
            return;
        }
        // What stands before the first `=` of a flag with a typo may be the secret itself.
        let key = shown(key);
        let section = key.split('.').next().unwrap_or_default();
        let near: Vec<&str> = KEYS
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| known.split('.').next() == Some(section))
            .collect();
        let known = if near.is_empty() {
            "the sections are database, amqp, worker, http, secrets, egress, retry, dispatch, \
             circuit, sync, ai, health, producers, retention, log"
                .to_owned()
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

    pub(super) fn file(&mut self, path: &std::path::Path) {
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
                self.faults.push(Fault {
                    key: "config".into(),
                    origin,
                    fault: file_fault(&error),
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

    pub(super) fn environment(&mut self, env: &BTreeMap<String, String>) {
        let of_proxies = env
            .iter()
            .filter(|(name, _)| name.to_uppercase().ends_with("_PROXY"));
        self.proxies = of_proxies
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
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

    pub(super) fn raw(&self, key: &str) -> Raw {
        self.values
            .get(key)
            .cloned()
            .unwrap_or_else(|| Raw::text("", "default".into()))
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.raw(key).one().to_owned()
    }

    pub(super) fn secret(&self, key: &str) -> Option<SecretString> {
        Some(self.text(key))
            .filter(|text| !text.is_empty())
            .map(SecretString::from)
    }

    pub(super) fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> usize {
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

    /// A part of 1.
    pub(super) fn share(&mut self, key: &str) -> f64 {
        let parsed: Option<f64> = self.text(key).trim().parse().ok();
        match parsed.filter(|share| *share > 0.0 && *share <= 1.0) {
            Some(share) => share,
            None => {
                self.fault(key, "must be a number over 0 and up to 1, e.g. \"0.5\"");
                1.0
            }
        }
    }

    pub(super) fn duration(&mut self, key: &str) -> Duration {
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

    pub(super) fn listen(&mut self, key: &str) -> Option<SocketAddr> {
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

    /// A number of bytes, with a unit or not.
    fn bytes(&mut self, key: &str, range: std::ops::RangeInclusive<usize>) -> usize {
        let parsed = parse_bytes(&self.text(key)).filter(|bytes| range.contains(bytes));
        parsed.unwrap_or_else(|| {
            let (from, to) = range.clone().into_inner();
            let fault = format!(
                "must be a number of bytes from {from} to {to}, e.g. 33554432 or \"32MiB\""
            );
            self.fault(key, fault);
            from
        })
    }

    pub(super) fn boolean(&mut self, key: &str) -> bool {
        match self.text(key).as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.fault(key, "must be true or false");
                false
            }
        }
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        match self.raw(key).list() {
            Ok(items) => items,
            Err(fault) => {
                self.fault(key, fault);
                Vec::new()
            }
        }
    }

    /// The database's address, as libpq takes it.
    fn database_url(&mut self, key: &str) -> SecretString {
        let text = self.text(key).trim().to_owned();
        match DatabaseUrl::parse(&text) {
            Ok(url) => {
                let parsed = url.driver.expose_secret().parse::<tokio_postgres::Config>();
                match parsed {
                    Ok(driver)
                        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() =>
                    {
                        self.fault(key, "names no host, e.g. postgres://user@host/database");
                    }
                    Ok(_) => {}
                    Err(error) => {
                        // Its cause names the parameter, not what it is set to.
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        let cause = cause.unwrap_or_else(|| error.to_string());
                        self.fault(
                            key,
                            format!(
                                "is not understood: {cause}; write @ : / ? % in user and \
                                     password as %40 %3A %2F %3F %25"
                            ),
                        );
                    }
                }
                if let Some(path) = url.root_certificates.filter(|path| !path.is_file()) {
                    let fault =
                        format!("has sslrootcert={}, which is no file here", path.display());
                    self.fault(key, fault);
                }
            }
            Err(fault) => self.fault(key, fault),
        }
        text.into()
    }

    /// The broker's address. What people write raw in a password ends the URL there without a word.
    fn amqp_url(&mut self, key: &str) -> SecretString {
        let text = self.text(key).trim().to_owned();
        let parsed = Url::parse(&text).ok();
        match parsed.filter(|url| matches!(url.scheme(), "amqp" | "amqps") && url.host().is_some())
        {
            Some(url) if url.fragment().is_some() => {
                self.fault(
                    key,
                    "has a #, which must be written %23 in user and password",
                );
            }
            Some(_) => {}
            None => self.fault(
                key,
                "must be a URL that begins with amqp:// or amqps://; write @ : / ? # % in user \
                 and password as %40 %3A %2F %3F %23 %25",
            ),
        }
        text.into()
    }

    pub(super) fn build(&mut self) -> Config {
        let config = Config {
            database: Database {
                url: self.database_url("database.url"),
                pool_size: self.number("database.pool_size", 2..=200),
            },
            amqp: Amqp {
                url: self.amqp_url("amqp.url"),
                prefix: self.text("amqp.prefix"),
                prefetch: u16::try_from(self.number("amqp.prefetch", 1..=2000)).unwrap_or(500),
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
                webhook_public_url: self.endpoint("http.webhook_public_url"),
                trusted_proxies: self.networks("http.trusted_proxies"),
                webhook_max_bytes: self.number("http.webhook_max_bytes", 1024..=(8 << 20)),
                webhook_memory: self.bytes("http.webhook_memory", 1024..=(1 << 30)),
                webhook_timeout: self.duration("http.webhook_timeout"),
                webhook_rate: u32::try_from(self.number("http.webhook_rate", 1..=100_000))
                    .unwrap_or(100),
                webhook_cache: self.duration("http.webhook_cache"),
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
                allow: self.networks("egress.allow"),
                allow_http: self.boolean("egress.allow_http"),
                proxy: self.proxy("egress.proxy"),
            },
            retry: Retry {
                schedule: self.schedule(),
            },
            dispatch: Dispatch {
                request_timeout: self.duration("dispatch.request_timeout"),
                attempt_timeout: self.duration("dispatch.attempt_timeout"),
                lease: self.duration("dispatch.lease"),
                settle_after: self.optional_duration("dispatch.settle_after"),
                max_in_flight_per_integration: self
                    .number("dispatch.max_in_flight_per_integration", 1..=10_000),
                queue_per_integration: self.number("dispatch.queue_per_integration", 0..=10_000),
                max_attachment_bytes: u64::try_from(
                    self.number("dispatch.max_attachment_bytes", 1024..=(1 << 30)),
                )
                .unwrap_or(26_214_400),
            },
            health: Health {
                interval: self.optional_duration("health.interval"),
            },
            producers: self.producers(),
            circuit: Circuit {
                failure_threshold: i32::try_from(
                    self.number("circuit.failure_threshold", 1..=1_000_000),
                )
                .unwrap_or(5),
                open_for: self.duration("circuit.open_for"),
            },
            sync: Syncing {
                budget: self.share("sync.budget"),
            },
            ai: Ai {
                base_url: self.endpoint("ai.base_url"),
                model: self.text("ai.model"),
                api_key: self.secret("ai.api_key"),
                timeout: self.duration("ai.timeout"),
            },
            retention: Retention {
                commands: self.optional_duration("retention.commands"),
                dead_letters: self.optional_duration("retention.dead_letters"),
                inbound: self.optional_duration("retention.inbound"),
            },
            log: Log {
                format: self.log_format(),
                filter: Some(self.text("log.filter")).filter(|f| !f.is_empty()),
            },
        };
        self.relations(&config);
        config
    }

    /// An HTTP endpoint to which a path is added; empty: none. A secret has no place in it, as it
    /// is shown.
    pub(super) fn endpoint(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let parsed = Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if parsed.is_none() {
            self.fault(
                key,
                "must be a URL of scheme, host and path only, e.g. https://api.openai.com/v1, \
                 or empty",
            );
        }
        parsed
    }

    pub(super) fn networks(&mut self, key: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in self.list(key) {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(_) => self.fault(
                    key,
                    format!("{text:?} is no network, e.g. 10.0.0.0/8 or fd00::/8"),
                ),
            }
        }
        networks
    }

    fn proxy(&mut self, key: &str) -> Option<Proxy> {
        match Proxy::read(self.text(key).trim(), &self.proxies) {
            Ok(proxy) => proxy,
            Err(fault) => {
                self.fault(key, fault);
                None
            }
        }
    }

    pub(super) fn schedule(&mut self) -> Vec<Duration> {
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

    pub(super) fn producers(&mut self) -> Producers {
        let texts = self.list("producers.allow");
        let reply_to = self.list("producers.reply_to");
        if reply_to.iter().any(|prefix| prefix.trim().is_empty()) {
            let fault = "has an empty entry, which every queue begins with; leave the list \
                         empty to allow any but ours";
            self.fault("producers.reply_to", fault);
        }
        match Producers::parse(&texts) {
            Ok(producers) => producers.answering_in(reply_to),
            Err(fault) => {
                self.fault("producers.allow", fault);
                Producers::default()
            }
        }
    }

    pub(super) fn log_format(&mut self) -> Option<String> {
        let text = self.text("log.format");
        if !matches!(text.as_str(), "" | "text" | "json") {
            self.fault("log.format", "must be text or json");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// Nothing where the text is empty.
    pub(super) fn optional_duration(&mut self, key: &str) -> Option<Duration> {
        if self.text(key).is_empty() {
            None
        } else {
            Some(self.duration(key))
        }
    }

    /// What must hold between the settings of the analysis and others.
    fn ai_relations(&mut self, config: &Config) {
        let Some(base_url) = &config.ai.base_url else {
            return;
        };
        if config.ai.model.is_empty() {
            self.fault(
                "ai.model",
                "is required with ai.base_url: the name of a model that the endpoint knows",
            );
        }
        if base_url.scheme() == "http" && !config.egress.allow_http {
            self.fault(
                "ai.base_url",
                "is http://, which egress.allow_http must allow; use https:// where there is one",
            );
        }
        if config.ai.timeout >= config.dispatch.attempt_timeout {
            self.fault(
                "ai.timeout",
                "must be less than dispatch.attempt_timeout, or no time is left to create the \
                 ticket",
            );
        }
    }

    fn webhook_relations(&mut self, http: &Http) {
        let is_read = |key| self.faults.iter().all(|fault| fault.key != key);
        let is_read = is_read("http.webhook_memory") && is_read("http.webhook_max_bytes");
        if is_read && http.webhook_memory < http.webhook_max_bytes {
            self.fault(
                "http.webhook_memory",
                "must be at least http.webhook_max_bytes, or the largest could never be read",
            );
        }
        if http.webhook_timeout > Duration::from_secs(30) {
            self.fault(
                "http.webhook_timeout",
                "must be at most \"30s\": no platform waits longer",
            );
        }
    }

    /// What must hold between settings.
    pub(super) fn relations(&mut self, config: &Config) {
        self.ai_relations(config);
        self.webhook_relations(&config.http);
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
                "must exceed dispatch.attempt_timeout, or a worker would lose commands it still \
                 runs",
            );
        }
        if config
            .retention
            .commands
            .is_some_and(|age| age < RETENTION_MIN)
        {
            self.fault(
                "retention.commands",
                "must be at least \"10m\", or empty to keep them: a message that the broker \
                 delivers again is known by its command",
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
        let encryption_key = config.secrets.legacy_encryption_key.as_ref();
        if let Err(fault) = KeyRing::parse(&[]).and_then(|r| r.with_legacy(encryption_key, None)) {
            self.fault("secrets.legacy_encryption_key", fault);
        }
    }
}

/// What is wrong with a file, without a line of it: a secret may stand there. The parser's own
/// words follow the lines that it shows, and quote in ticks and quotation marks.
fn file_fault(error: &config::ConfigError) -> String {
    let config::ConfigError::FileParse { cause, .. } = error else {
        // No place in it is known, only that there is none, or of what type a value is.
        let text = error.to_string();
        let kind = text.split(['`', '"']).next().unwrap_or_default();
        return format!("cannot be read: {}", kind.trim_end());
    };
    let text = cause.to_string();
    let mut lines = text.lines();
    let place = lines.next().and_then(|first| first.split_once(" at "));
    let is_quote = |line: &&str| line.contains(" |") || line.trim_start().starts_with('|');
    let mut words = lines.filter(|line| !line.is_empty() && !is_quote(line));
    let kind = words
        .next_back()
        .and_then(|line| line.split(['`', '"', '\'']).next());
    match (place, kind) {
        (Some((_, place)), Some(kind)) => {
            format!("is not valid TOML at {place}: {}", kind.trim_end())
        }
        (Some((_, place)), None) => format!("is not valid TOML at {place}"),
        (None, _) => "is not valid TOML".to_owned(),
    }
}

pub(super) fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim())
        .ok()
        .filter(|duration| !duration.is_zero())
}
