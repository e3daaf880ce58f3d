//! The sandbox: stateful fakes of the platforms over real HTTP, and SMTP for mail, with faults on
//! demand. `ticketwire sandbox`, `ticketwire demo` and the integration tests talk to it as they
//! would to the vendor.
//!
//! A *site* is one account at one platform, named `acme` (Jira) or `<platform>/acme`; it comes into
//! being when it is first named, and has its own items, faults, settings and counts. All in memory:
//! a sandbox that stops forgets. `GET /_sandbox` describes the control interface.
//!
//! **A new platform** is one file, a table of routes with their handlers, and its arm in
//! [`fake_of`]; [`kit`] says how it is written, and `kit/example.rs` is one. What does not belong
//! here: anything about how Ticketwire talks to the platform. The fakes are written from the
//! platforms' sheets alone, so that a misreading in an adapter is not repeated by its test.
//!
//! Limits: 10 000 sites, 16 MiB a request, and what each fake states (Jira: 200 000 issues and 256
//! MiB a site, the oldest are forgotten first).

mod answer;
mod asana;
mod call;
mod connection;
mod control;
mod email;
mod example;
mod fake;
mod fault;
mod freshdesk;
mod github;
mod hubspot;
mod jira;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "some parts wait for the platforms that need them")
)]
mod kit;
mod ledger;
mod mime;
mod outgoing;
mod salesforce;
mod servicenow;
mod site;
mod slack;
mod sms;
mod smtp;
mod teams;
mod trello;
mod webhook;
mod zendesk;
mod zoom;

use std::collections::HashMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::domain::Platform;

use call::Call;
use connection::{Connection, ResettableListener};
use fake::Fake;
use site::Site;

pub use example::Example;
pub use fault::{DelayAt, Fault, FaultKind};
pub use ledger::{
    CallCount, CallRecord, Ledger, LedgerComment, LedgerFile, LedgerHook, LedgerIssue,
};

/// Sites kept; a further one is refused.
const SITES_MAX: usize = 10_000;
/// Largest request body taken.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// How long [`Sandbox::stop`] waits for connections to end by themselves.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The fake of a platform. One arm a platform, so that the compiler asks for the next one's.
fn fake_of(platform: Platform, site: &str) -> Box<dyn Fake> {
    match platform {
        Platform::Jira => fake(jira::Jira::new(site)),
        Platform::Servicenow => fake(servicenow::ServiceNow::default()),
        Platform::Zendesk => fake(zendesk::Zendesk::default()),
        Platform::Freshdesk => fake(freshdesk::Freshdesk::default()),
        Platform::Salesforce => fake(salesforce::Salesforce::default()),
        Platform::Hubspot => fake(hubspot::HubSpot::default()),
        Platform::Slack => fake(slack::Slack::default()),
        Platform::Teams => fake(teams::Teams::default()),
        Platform::Email => fake(email::Mailbox::default()),
        Platform::Sms => fake(sms::Twilio::default()),
        Platform::Zoom => fake(zoom::Zoom::default()),
        Platform::Asana => fake(asana::Asana::default()),
        Platform::Trello => fake(trello::Trello::default()),
        Platform::Github => fake(github::GitHub::default()),
        Platform::Webhook => fake(webhook::Receiver::default()),
    }
}

fn fake(fake: impl Fake + 'static) -> Box<dyn Fake> {
    Box::new(fake)
}

/// Why the sandbox refuses what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// No such platform.
    #[error("the sandbox has no platform {0:?}")]
    UnknownPlatform(String),
    /// A site's name is 1–64 letters, digits, `-`, `_` or `.`.
    #[error("{0:?} is not a site name: 1 to 64 letters, digits, '-', '_' or '.'")]
    SiteName(String),
    /// The cap on sites is reached.
    #[error("the sandbox keeps at most {SITES_MAX} sites")]
    TooManySites,
    /// A fault or setting makes no sense.
    #[error("{0}")]
    Refused(String),
}

/// Where a sandbox listens; port 0 takes a free one.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// HTTP.
    pub http: SocketAddr,
    /// SMTP with STARTTLS.
    pub smtp: SocketAddr,
    /// SMTP that is encrypted from the first byte on.
    pub smtps: SocketAddr,
}

/// A running sandbox. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    servers: Vec<JoinHandle<()>>,
    _stop_on_drop: DropGuard,
}

/// Starts a sandbox; port 0 takes a free one. Its mail server takes free ones at the same address.
///
/// # Errors
/// The address cannot be bound.
pub async fn start(listen: SocketAddr) -> std::io::Result<Sandbox> {
    let mail = SocketAddr::new(listen.ip(), 0);
    start_at(Listen {
        http: listen,
        smtp: mail,
        smtps: mail,
    })
    .await
}

/// Starts a sandbox.
///
/// # Errors
/// An address cannot be bound.
pub async fn start_at(listen: Listen) -> std::io::Result<Sandbox> {
    let listener = TcpListener::bind(listen.http).await?;
    let (plain, smtp) = smtp::bind(listen.smtp).await?;
    let (encrypted, smtps) = smtp::bind(listen.smtps).await?;
    let shared = Arc::new(Shared {
        addr: listener.local_addr()?,
        smtp,
        smtps,
        certificate: smtp::Certificate::make()?,
        sites: RwLock::default(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let router = Router::new()
        .fallback(receive)
        .with_state(Arc::clone(&shared))
        .into_make_service_with_connect_info::<Connection>();
    let stopped = shared.stopping.clone().cancelled_owned();
    let serving = axum::serve(ResettableListener(listener), router)
        .with_graceful_shutdown(stopped)
        .into_future();
    let server = tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the sandbox's server ended");
        }
    });
    let mail = [(plain, false), (encrypted, true)].map(|(listener, encrypted)| {
        tokio::spawn(smtp::listen(Arc::clone(&shared), listener, encrypted))
    });
    Ok(Sandbox {
        _stop_on_drop: shared.stopping.clone().drop_guard(),
        shared,
        servers: [server].into_iter().chain(mail).collect(),
    })
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Where it takes mail, in the clear until STARTTLS. The mail's site is its user's name,
    /// without what follows an `@`.
    #[must_use]
    pub fn smtp(&self) -> SocketAddr {
        self.shared.smtp
    }

    /// Where it takes mail that is encrypted from the first byte on.
    #[must_use]
    pub fn smtps(&self) -> SocketAddr {
        self.shared.smtps
    }

    /// The certificate of its mail server for `localhost`, in PEM: who is to trust it adds it to
    /// its authorities.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.shared.certificate.pem
    }

    /// The `base_url` of an integration with this site: `http://addr/jira/acme` for `acme` and for
    /// `jira/acme`.
    #[must_use]
    pub fn url(&self, site: &str) -> String {
        match site.split_once('/') {
            Some(_) => format!("http://{}/{site}", self.shared.addr),
            None => format!("http://{}/{}/{site}", self.shared.addr, Platform::Jira),
        }
    }

    /// What a site holds and has been asked. Empty for a site that cannot exist.
    #[must_use]
    pub fn ledger(&self, site: &str) -> Ledger {
        match self.shared.site(site) {
            Ok(site) => site.ledger(None, true),
            Err(_) => Ledger::default(),
        }
    }

    /// The ledger with only the items that carry a label: cheap on a site with very many.
    #[must_use]
    pub fn ledger_of_label(&self, site: &str, label: &str) -> Ledger {
        match self.shared.site(site) {
            Ok(site) => site.ledger(Some(label), true),
            Err(_) => Ledger::default(),
        }
    }

    /// Puts a fault in force at a site, behind those that are there.
    ///
    /// # Errors
    /// The site cannot exist, or [`Fault::validate`] refuses the fault.
    pub fn inject(&self, site: &str, fault: Fault) -> Result<(), SandboxError> {
        self.shared
            .site(site)?
            .inject(fault)
            .map_err(SandboxError::Refused)
    }

    /// Removes a site's faults and lets its hanging requests go.
    ///
    /// # Errors
    /// The site cannot exist.
    pub fn clear_faults(&self, site: &str) -> Result<(), SandboxError> {
        self.shared.site(site)?.clear_faults();
        Ok(())
    }

    /// Merges members into a site's settings (`{"search_lag_ms": 3000}`).
    ///
    /// # Errors
    /// The site cannot exist, or a member is unknown or of the wrong type; then nothing is changed.
    pub fn configure(&self, site: &str, changes: Value) -> Result<(), SandboxError> {
        let Value::Object(changes) = changes else {
            return Err(SandboxError::Refused("settings are a JSON object".into()));
        };
        self.shared
            .site(site)?
            .configure(changes)
            .map_err(SandboxError::Refused)
    }

    /// Stops it: delayed and hanging requests are reset, the others answered. Once this returned
    /// nobody listens.
    pub async fn stop(mut self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        for server in &mut self.servers {
            if tokio::time::timeout(STOP_TIMEOUT, &mut *server)
                .await
                .is_err()
            {
                // Somebody holds a connection open in the middle of a request.
                server.abort();
            }
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    addr: SocketAddr,
    smtp: SocketAddr,
    smtps: SocketAddr,
    certificate: smtp::Certificate,
    sites: RwLock<HashMap<(Platform, String), Arc<Site>>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for smtp::Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Site")
    }
}

impl Shared {
    /// The site with this address, made if it is new.
    fn site(&self, address: &str) -> Result<Arc<Site>, SandboxError> {
        let key = parse_address(address)?;
        let known = self
            .sites
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .map(Arc::clone);
        if let Some(site) = known {
            return Ok(site);
        }
        let fake = fake_of(key.0, &key.1);
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        if sites.len() >= SITES_MAX && !sites.contains_key(&key) {
            return Err(SandboxError::TooManySites);
        }
        let site = sites
            .entry(key)
            .or_insert_with(|| Arc::new(Site::new(fake)));
        Ok(Arc::clone(site))
    }

    /// The sites of a platform, in no order.
    fn sites_of(&self, platform: Platform) -> Vec<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        let found = sites.iter().filter(|((of, _), _)| *of == platform);
        found.map(|(_, site)| Arc::clone(site)).collect()
    }

    /// Forgets a site with all it holds.
    fn forget(&self, address: &str) -> Result<(), SandboxError> {
        let key = parse_address(address)?;
        let site = self
            .sites
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        if let Some(site) = site {
            site.clear_faults();
        }
        Ok(())
    }
}

fn parse_address(address: &str) -> Result<(Platform, String), SandboxError> {
    let (platform, site) = match address.split_once('/') {
        None => (Platform::Jira, address),
        Some((platform, site)) => (
            Platform::parse(platform)
                .ok_or_else(|| SandboxError::UnknownPlatform(platform.to_owned()))?,
            site,
        ),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if site.is_empty() || site.len() > 64 || !site.chars().all(fits) {
        return Err(SandboxError::SiteName(site.to_owned()));
    }
    Ok((platform, site.to_owned()))
}

/// The one handler: reads the request whole, then gives it to the control interface or to its site.
async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let query = parts.uri.query().unwrap_or_default();
    let path = parts.uri.path();
    let mut pieces = path.trim_start_matches('/').splitn(3, '/');
    let (first, second) = (
        pieces.next().unwrap_or_default(),
        pieces.next().unwrap_or_default(),
    );
    if first == "_sandbox" {
        let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).skip(1).collect();
        return control::answer(&shared, &parts.method, &segments, query, &body);
    }
    let Ok(site) = shared.site(&format!("{first}/{second}")) else {
        return control::not_found();
    };
    let below = format!("/{}", pieces.next().unwrap_or_default());
    let base = format!("http://{}/{first}/{second}", shared.addr);
    let call = Call::new(parts.method, &below, query, parts.headers, body, base);
    site.serve(call, connection, shared.stopping.clone(), &shared.tasks)
        .await
}
