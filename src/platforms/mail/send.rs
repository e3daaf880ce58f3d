//! The way to mail servers. A name is looked up once, each of its addresses is vetted, and what is
//! connected to is one of those.

use std::time::Duration;

use rustls::pki_types::ServerName;
use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::auth::LogIn;
use super::dialogue::Wire;
use super::session::{Limit, Session};
use super::{Accepted, Mail, MailAuth, MailClient, MailServer, RefusedRecipient, Security};
use crate::platforms::backoff::{TryError, in_place};
use crate::platforms::{AdapterError, CallContext, ErrorClass};
use crate::reach::Outage;

/// Longest a TCP or TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What [`MailClient::probe`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How the server introduced itself.
    pub greeting: String,
    /// The largest message it takes, where it says so.
    pub size_max: Option<u64>,
}

impl MailClient {
    /// Sends a mail. In place is tried again only a connection that did not come about, and a
    /// log-in whose token was stale.
    ///
    /// # Errors
    /// [`ErrorClass::Unknown`] where the answer to the final dot was lost: the mail may be sent.
    /// Everything else surely sent nothing: failure on the way, and refusals by their code.
    /// [`ErrorClass::Egress`] where the server's address is not allowed.
    pub async fn send(
        &self,
        context: &CallContext<'_>,
        mail: &Mail,
    ) -> Result<Accepted, AdapterError> {
        if mail.to.is_empty() {
            return Err(AdapterError::field("settings.to", "names nobody"));
        }
        context.check_effect(false)?;
        let mut session = self.ready(context, &mail.server).await?;
        let accepted = session.transact(mail, context.permit).await?;
        session.quit().await;
        Ok(accepted)
    }

    /// Connects, encrypts and logs in, and sends nothing.
    ///
    /// # Errors
    /// As [`MailClient::send`], without its unknown outcome.
    pub async fn probe(
        &self,
        context: &CallContext<'_>,
        server: &MailServer,
    ) -> Result<Probe, AdapterError> {
        let mut session = self.ready(context, server).await?;
        session.noop().await?;
        let seen = Probe {
            greeting: session.greeting.clone(),
            size_max: session.features.size.filter(|size| *size > 0),
        };
        session.quit().await;
        Ok(seen)
    }

    /// Names sender and recipients of a mail, takes both back, and sends nothing. Who would be left
    /// out.
    ///
    /// # Errors
    /// As [`MailClient::send`], without its unknown outcome.
    pub async fn try_envelope(
        &self,
        context: &CallContext<'_>,
        mail: &Mail,
    ) -> Result<Vec<RefusedRecipient>, AdapterError> {
        let mut session = self.ready(context, &mail.server).await?;
        let refused = session.envelope(mail).await?;
        session.reset().await?;
        session.quit().await;
        Ok(refused)
    }

    /// A session that is logged in.
    async fn ready(
        &self,
        context: &CallContext<'_>,
        server: &MailServer,
    ) -> Result<Session, AdapterError> {
        let mut token = match &server.auth {
            MailAuth::XOAuth2 { .. } => Some(context.token(None).await?.secret),
            MailAuth::None | MailAuth::Basic { .. } => None,
        };
        let mut session = self.open(context, server).await?;
        match session.log_in(log_in(&server.auth, token.as_ref())).await {
            Err(error) if error.class == ErrorClass::Authentication && token.is_some() => {
                // A fresh token is tried once, on a fresh connection: some servers hang up after a
                // refusal.
                session.quit().await;
                token = Some(context.token(token.as_ref()).await?.secret);
                session = self.open(context, server).await?;
                session.log_in(log_in(&server.auth, token.as_ref())).await?;
            }
            outcome => outcome?,
        }
        Ok(session)
    }

    /// A session that is encrypted as the settings ask for.
    async fn open(
        &self,
        context: &CallContext<'_>,
        server: &MailServer,
    ) -> Result<Session, AdapterError> {
        let host = server.host.as_str();
        if server.security == Security::None {
            self.egress.check_plain(host)?;
        }
        let limit = Limit {
            deadline: context.deadline,
            step: self.request_timeout,
        };
        let tcp = in_place(context.deadline, || self.connect(server, limit)).await?;
        let hello = self.hello(&tcp);
        match server.security {
            Security::None => Session::begin(Box::new(tcp), host, &hello, limit).await,
            Security::Tls => {
                let tls = self.encrypt(Box::new(tcp), host, limit).await?;
                Session::begin(tls, host, &hello, limit).await
            }
            Security::Starttls => {
                let plain = Session::begin(Box::new(tcp), host, &hello, limit).await?;
                let (wire, greeting) = plain.start_tls().await?;
                let tls = self.encrypt(wire, host, limit).await?;
                Session::resume(tls, greeting, host, &hello, limit).await
            }
        }
    }

    /// How this machine calls itself: by its full name, else by its address (RFC 5321 §4.1.4).
    fn hello(&self, tcp: &TcpStream) -> String {
        match (&self.hello, tcp.local_addr().map(|address| address.ip())) {
            (Some(name), _) => name.clone(),
            (None, Ok(std::net::IpAddr::V4(address))) => format!("[{address}]"),
            (None, Ok(std::net::IpAddr::V6(address))) => format!("[IPv6:{address}]"),
            (None, Err(_)) => "[127.0.0.1]".to_owned(),
        }
    }

    /// A TCP connection to one of the server's addresses, all of which are allowed.
    async fn connect(
        &self,
        server: &MailServer,
        limit: Limit,
    ) -> Result<TcpStream, TryError<AdapterError>> {
        let host = server.host.as_str();
        let silent = |time: Duration| {
            let text = format!("{host} cannot be reached: no answer in {time:?}");
            TryError::Final(AdapterError::new(ErrorClass::Timeout, text))
        };
        let time = limit.left().min(CONNECT_TIMEOUT);
        let vetted = self.egress.addresses(host, server.port);
        let addresses = tokio::time::timeout(time, vetted)
            .await
            .map_err(|_| silent(time))?
            .map_err(|error| match error.class {
                ErrorClass::Transient { .. } => TryError::Again(error, None),
                _ => TryError::Final(error),
            })?;
        let mut last = None;
        for (tried, address) in addresses.iter().enumerate() {
            // Each address gets its share of the time, so that a dead one leaves some for the next.
            let share = u32::try_from(addresses.len() - tried).unwrap_or(1);
            let time = limit.left().min(CONNECT_TIMEOUT) / share;
            match tokio::time::timeout(time, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY cannot be set for mail");
                    }
                    return Ok(tcp);
                }
                Ok(Err(error)) => last = Some(TryError::Again(unreachable(host, &error), None)),
                Err(_) => last = Some(silent(time)),
            }
        }
        Err(last.unwrap_or_else(|| {
            let text = format!("{host} has no address");
            let class = ErrorClass::Transient { retry_after: None };
            TryError::Final(AdapterError::new(class, text))
        }))
    }

    async fn encrypt(
        &self,
        wire: Box<dyn Wire>,
        host: &str,
        limit: Limit,
    ) -> Result<Box<dyn Wire>, AdapterError> {
        let name = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| AdapterError::field("settings.smtp_host", "is not a host name"))?;
        let time = limit.left().min(CONNECT_TIMEOUT);
        // What a machine trusts is read from its disk, once.
        let client = self.clone();
        let tls = tokio::task::spawn_blocking(move || client.tls()).await;
        let tls = tls.map_err(|error| error.to_string());
        let tls = tls.and_then(|made| made.map_err(|error| error.to_string()));
        let connector = TlsConnector::from(tls.map_err(|error| {
            let text = "TLS cannot be set up on this machine";
            AdapterError::new(ErrorClass::Internal, text).with_internal(error)
        })?);
        match tokio::time::timeout(time, connector.connect(name, wire)).await {
            Ok(Ok(tls)) => Ok(Box::new(tls)),
            Ok(Err(error)) => Err(tls_trouble(host, &error)),
            Err(_) => {
                let text = format!("{host} did not finish the TLS handshake within {time:?}");
                Err(AdapterError::new(ErrorClass::Timeout, text))
            }
        }
    }
}

fn log_in<'a>(auth: &'a MailAuth, token: Option<&'a SecretString>) -> LogIn<'a> {
    match (auth, token) {
        (MailAuth::Basic { user, password }, _) => LogIn::Password(user, password),
        (MailAuth::XOAuth2 { user }, Some(token)) => LogIn::Token(user, token),
        (MailAuth::None, _) | (MailAuth::XOAuth2 { .. }, None) => LogIn::No,
    }
}

fn unreachable(host: &str, error: &std::io::Error) -> AdapterError {
    let found = Outage::of(error);
    let why = found.map_or_else(String::new, |found| format!(": {}", found.says()));
    let class = if found == Some(Outage::NoDescriptors) {
        ErrorClass::Internal
    } else {
        ErrorClass::Transient { retry_after: None }
    };
    AdapterError::new(class, format!("{host} cannot be reached{why}"))
        .with_internal(error.to_string())
}

/// A handshake that failed. A certificate that is not trusted does not get better by trying again.
fn tls_trouble(host: &str, error: &std::io::Error) -> AdapterError {
    let found = Outage::of(error);
    let said = |found: Outage| format!("of {host} is not to be trusted: {}", found.says());
    match found {
        Some(
            found @ (Outage::Untrusted
            | Outage::WrongName
            | Outage::Expired
            | Outage::NotYetValid
            | Outage::Revoked),
        ) => AdapterError::field("settings.smtp_host", said(found)),
        Some(Outage::NotTls) => AdapterError::field(
            "settings.security",
            format!(
                "does not fit settings.smtp_port: {host} does not speak TLS there from the \
                     first byte"
            ),
        ),
        Some(_) | None => unreachable(host, error),
    }
    .with_internal(error.to_string())
}
