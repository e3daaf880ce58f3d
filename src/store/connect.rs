//! Connecting to PostgreSQL: one way for every caller. TLS by the URL's `sslmode`; what a session
//! needs is set once it stands, as a pooler refuses the start-up parameter `options`.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::session::{Session, options_of};
use crate::config::DatabaseUrl;

/// Longest a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest the second connection of [`check_sessions`] is waited for: a pooler with one place left
/// has none for it.
const SECOND_TIMEOUT: Duration = Duration::from_secs(2);
/// How often [`check_sessions`] compares: others may use the same pooler meanwhile.
const COMPARISONS: usize = 3;

/// The TLS side of connections. Used only where `sslmode` asks for it. Without a file of its own,
/// the system's root certificates are trusted, which are read once.
fn connector(file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    let Some(file) = file else {
        let config =
            SYSTEM.get_or_init(|| trusting(rustls_native_certs::load_native_certs().certs));
        return Ok(MakeRustlsConnect::new(config.clone()));
    };
    let certificates = rustls_native_certs::load_certs_from_paths(Some(file), None).certs;
    if certificates.is_empty() {
        let text = format!("sslrootcert: {} has no certificate in PEM", file.display());
        return Err(StoreError::Unavailable(text.into()));
    }
    Ok(MakeRustlsConnect::new(trusting(certificates)))
}

fn trusting(certificates: Vec<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates {
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(error = %error, "skipping a root certificate");
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        // The ring provider supports the default versions; were it otherwise, nothing could be
        // trusted.
        Err(_) => ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    }
}

/// What drives a connection of this module's.
pub(super) type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// How to reach a database, and what to set in a session there before it is used.
#[derive(Clone)]
pub(super) struct Way {
    /// Of the URL: whether sessions are kept there is asked once in a process.
    address: u64,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    /// `name = value` of the URL's `options`, in its order.
    options: Vec<(String, String)>,
}

impl Way {
    /// The driver's configuration for a URL. `sslmode=require` is TLS with a verified certificate;
    /// `prefer`, the default, is the same where the server offers it, but plain text to this very
    /// machine, where servers commonly offer certificates that nobody can verify.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the URL is not understood.
    pub(super) fn to(url: &SecretString, name: &str) -> Result<Self, StoreError> {
        let given = DatabaseUrl::parse(url.expose_secret())
            .map_err(|fault| StoreError::Unavailable(format!("database.url {fault}").into()))?;
        let mut config: tokio_postgres::Config = given.driver.expose_secret().parse()?;
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
            Host::Unix(_) => true,
        });
        if local && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name(name);
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(Duration::from_secs(10));
        config.tcp_user_timeout(Duration::from_secs(20));
        let (options, rest) = options_of(config.get_options().unwrap_or_default());
        if !options.is_empty() || rest.is_empty() {
            config = without_options(&config);
        }
        if !rest.is_empty() {
            config.options(rest);
        }
        let mut hasher = DefaultHasher::new();
        url.expose_secret().hash(&mut hasher);
        Ok(Self {
            address: hasher.finish(),
            config,
            tls: connector(given.root_certificates.as_deref())?,
            options,
        })
    }

    /// The driver's configuration, without what is set later.
    pub(super) const fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The TLS side of its connections.
    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Logs in and sets nothing: the session is as the server and the role have it. Nothing drives
    /// the connection yet.
    pub(super) async fn open(&self) -> Result<(Client, Connection), StoreError> {
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT * 2, self.config.connect(self.tls.clone()));
        Ok(connected
            .await
            .map_err(|_| StoreError::Timeout(CONNECT_TIMEOUT * 2))??)
    }

    /// The same with the task that drives it.
    async fn log_in(&self) -> Result<(Client, JoinHandle<()>), StoreError> {
        let (client, connection) = self.open().await?;
        let driver = tokio::task::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a PostgreSQL connection ended");
            }
        });
        Ok((client, driver))
    }

    /// Makes sure that sessions are kept there, and sets what this one needs: what the URL says,
    /// then what the program relies on.
    ///
    /// # Errors
    /// [`StoreError::Sessionless`]; [`StoreError::NoPlace`]; as the server's, which may not know a
    /// setting of the URL's, or not let this role set it.
    pub(super) async fn prepare(
        &self,
        client: &Client,
        session: Session,
    ) -> Result<(), StoreError> {
        let prepared = async {
            // Where a pool connects; otherwise it is known by now.
            self.keeps_sessions().await?;
            let sql = session.sql(&self.options);
            let set = client.batch_execute(&sql).await;
            set.map_err(|error| StoreError::from(error).of_a_session())
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, prepared).await {
            Ok(prepared) => prepared,
            Err(_) => Err(StoreError::NoPlace(CONNECT_TIMEOUT)),
        }
    }

    /// [`check_sessions`], the first time.
    async fn keeps_sessions(&self) -> Result<(), StoreError> {
        static KEEPING: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
        let known = || KEEPING.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(&self.address) {
            return Ok(());
        }
        check_sessions(self).await?;
        known().insert(self.address);
        Ok(())
    }
}

/// The same without `options`: once set, they are sent, even if empty.
fn without_options(config: &tokio_postgres::Config) -> tokio_postgres::Config {
    let mut plain = tokio_postgres::Config::new();
    for host in config.get_hosts() {
        match host {
            Host::Tcp(name) => plain.host(name),
            Host::Unix(path) => plain.host_path(path),
        };
    }
    for address in config.get_hostaddrs() {
        plain.hostaddr(*address);
    }
    for port in config.get_ports() {
        plain.port(*port);
    }
    if let Some(user) = config.get_user() {
        plain.user(user);
    }
    if let Some(password) = config.get_password() {
        plain.password(password);
    }
    if let Some(database) = config.get_dbname() {
        plain.dbname(database);
    }
    if let Some(name) = config.get_application_name() {
        plain.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        plain.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        plain.tcp_user_timeout(*limit);
    }
    if let Some(pause) = config.get_keepalives_interval() {
        plain.keepalives_interval(pause);
    }
    if let Some(times) = config.get_keepalives_retries() {
        plain.keepalives_retries(times);
    }
    plain
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    plain
}

/// A connection of its own, with the task that drives it; the task ends with the connection. No
/// time limit of the role or the database holds in it: what it is used for sets its own.
///
/// # Errors
/// [`StoreError::Unavailable`] when the server cannot be reached, [`StoreError::Unserved`] when it
/// refuses (no such database, bad password), [`StoreError::Sessionless`] behind a pooler that keeps
/// no sessions.
pub async fn connect(
    url: &SecretString,
    name: &str,
) -> Result<(Client, JoinHandle<()>), StoreError> {
    let way = Way::to(url, name)?;
    way.keeps_sessions().await?;
    let (client, driver) = way.log_in().await?;
    way.prepare(&client, Session::Unlimited).await?;
    Ok((client, driver))
}

/// Finds out whether sessions are kept: whether what is set, locked or prepared over a connection
/// is there for its next statement. Behind a pooler that hands connections out by transaction or
/// statement it is not, and nothing here works: the worker's id is a lock of its session. Such a
/// pooler gives two clients that take turns the same server process, or one client several. Direct
/// connections, and those of a pooler that keeps sessions, never do either.
///
/// Sets nothing: with such a pooler, others would find it in their sessions.
///
/// # Errors
/// [`StoreError::Sessionless`]; otherwise as the first connection's.
async fn check_sessions(way: &Way) -> Result<(), StoreError> {
    let (first, _driver) = way.log_in().await?;
    // A lock of the session's is what some poolers take as the sign to keep one together. It goes
    // with the connection; where that is shared, it is given back below.
    let key = rand::random::<i64>();
    let ask = format!("SELECT pg_backend_pid(), pg_try_advisory_lock({key})");
    let release = format!("SELECT pg_advisory_unlock({key})");
    let process = match tokio::time::timeout(CONNECT_TIMEOUT, first.simple_query(&ask)).await {
        Ok(answer) => process_of(&answer?),
        Err(_) => return Err(StoreError::NoPlace(CONNECT_TIMEOUT)),
    };
    let second = async {
        let (second, _driver) = way.log_in().await?;
        let mut shared = false;
        for _ in 0..COMPARISONS {
            let other = process_of(&second.simple_query(&ask).await?);
            let again = process_of(&first.simple_query(&ask).await?);
            shared |= other == process || again != process;
        }
        if shared {
            for _ in 0..=COMPARISONS {
                first.simple_query(&release).await?;
                second.simple_query(&release).await?;
            }
        }
        Ok::<bool, StoreError>(shared)
    };
    match tokio::time::timeout(SECOND_TIMEOUT, second).await {
        Ok(Ok(true)) => Err(StoreError::Sessionless),
        Ok(Ok(false)) => Ok(()),
        // Nothing is proven, and whatever is wrong shows where it is needed.
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "could not compare two connections to PostgreSQL");
            Ok(())
        }
        Err(_) => {
            tracing::debug!("could not compare two connections to PostgreSQL in time");
            Ok(())
        }
    }
}

/// The server process that answered.
fn process_of(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// Makes the database a URL names, where it does not exist yet.
///
/// # Errors
/// As the server's: it must be reachable, and the role permitted to make databases.
pub async fn create_database(url: &SecretString) -> Result<(), StoreError> {
    let way = Way::to(url, "ticketwire migrate")?;
    let Some(name) = way.config.get_dbname().map(str::to_owned) else {
        return Ok(());
    };
    let mut server = way.clone();
    server.config.dbname("postgres");
    server.address = server.address.wrapping_add(1);
    let (client, driver) = match server.log_in().await {
        Ok(connected) => connected,
        // A pooler may know this one database alone, and then it is there. Asked second, as some
        // remember a login to a database that is not there, and refuse the next.
        Err(error) => {
            return match way.log_in().await {
                Ok(_) => Ok(()),
                Err(_) => Err(error),
            };
        }
    };
    server.prepare(&client, Session::Unlimited).await?;
    let there = client
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
        .await?;
    if there.is_none() {
        let quoted = name.replace('"', "\"\"");
        let usual =
            "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'";
        let row = client.query_opt(usual, &[]).await?;
        // Where the server makes others by default, the locale may not fit: C fits all.
        let encoding = match row.map(|row| row.get::<_, String>(0)).as_deref() {
            Some("UTF8") | None => "",
            Some(_) => " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
        };
        client
            .batch_execute(&format!("CREATE DATABASE \"{quoted}\"{encoding}"))
            .await?;
    }
    drop(client);
    driver.abort();
    Ok(())
}
