//! Connecting to PostgreSQL; TLS by the URL's `sslmode`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Client;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;

/// Longest a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The TLS side of connections, with the system's root certificates. Used only where `sslmode` asks for it.
#[must_use]
pub fn connector() -> MakeRustlsConnect {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls_native_certs::load_native_certs().certs {
            if let Err(error) = roots.add(certificate) {
                tracing::debug!(error = %error, "skipping a root certificate of the system");
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let config = match builder {
            Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
            // The ring provider supports the default versions; were it otherwise, nothing could be trusted.
            Err(_) => ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        };
        Arc::new(config)
    });
    MakeRustlsConnect::new(config.as_ref().clone())
}

/// The driver's configuration for a URL. `sslmode=require` is TLS with a verified certificate; `prefer`, the default,
/// is the same where the server offers it, but plain text to this very machine, where servers commonly offer
/// certificates that nobody can verify.
///
/// # Errors
/// [`StoreError::Unavailable`] where the URL is not understood.
pub(super) fn configure(
    url: &SecretString,
    name: &str,
) -> Result<tokio_postgres::Config, StoreError> {
    let mut config: tokio_postgres::Config = url.expose_secret().parse()?;
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
    Ok(config)
}

/// A connection of its own, with the task that drives it; the task ends with the connection.
///
/// # Errors
/// [`StoreError::Unavailable`] when the server cannot be reached, [`StoreError::Unserved`] when it refuses (no
/// such database, bad password).
pub async fn connect(
    url: &SecretString,
    name: &str,
) -> Result<(Client, tokio::task::JoinHandle<()>), StoreError> {
    let (client, connection) = open(url, name).await?;
    let driver = tokio::task::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a PostgreSQL connection ended");
        }
    });
    Ok((client, driver))
}

/// A connection that nothing drives yet.
pub(super) async fn open(
    url: &SecretString,
    name: &str,
) -> Result<(Client, Connection), StoreError> {
    let config = configure(url, name)?;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT * 2, config.connect(connector()));
    Ok(connected
        .await
        .map_err(|_| StoreError::Timeout(CONNECT_TIMEOUT * 2))??)
}

/// What drives a connection of this module's.
pub(super) type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// Makes the database a URL names, where it does not exist yet.
///
/// # Errors
/// As the server's: it must be reachable, and the role permitted to make databases.
pub async fn create_database(url: &SecretString) -> Result<(), StoreError> {
    let mut config = configure(url, "ticketwire migrate")?;
    let Some(name) = config.get_dbname().map(str::to_owned) else {
        return Ok(());
    };
    config.dbname("postgres");
    let (client, connection) = config.connect(connector()).await?;
    let driver = tokio::task::spawn(connection);
    let there = client
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
        .await?;
    if there.is_none() {
        let quoted = name.replace('"', "\"\"");
        client
            .batch_execute(&format!("CREATE DATABASE \"{quoted}\""))
            .await?;
    }
    drop(client);
    driver.abort();
    Ok(())
}
