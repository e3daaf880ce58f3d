//! The client that all adapters share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Request;
use super::starting::Starting;
use crate::platforms::egress::GuardedResolver;
use crate::platforms::{AdapterError, EgressPolicy, ErrorClass};

/// Longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a connection is kept idle: servers close theirs after 60 s and more, some proxies sooner.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pooled client all adapters share; one a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pooled: reqwest::Client,
    /// Opens a connection for each request. Made when it is first needed: it reads once more what the
    /// machine trusts.
    unpooled: Arc<OnceLock<reqwest::Client>>,
    pub(super) egress: EgressPolicy,
    pub(super) request_timeout: Duration,
    pub(super) starting: Arc<Starting>,
}

impl HttpClient {
    /// Sets the client up. `idle_per_host` connections are kept for each host.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(
        egress: EgressPolicy,
        request_timeout: Duration,
        idle_per_host: usize,
    ) -> Result<Self, reqwest::Error> {
        // reqwest is built without a provider of its own. An error here means that one is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(Self {
            pooled: built(&egress, request_timeout, idle_per_host)?,
            unpooled: Arc::default(),
            egress,
            request_timeout,
            starting: Arc::new(Starting::new()),
        })
    }

    /// The client that a request goes by.
    pub(super) fn of(&self, request: &Request) -> Result<&reqwest::Client, AdapterError> {
        if !request.is_unrepeatable {
            return Ok(&self.pooled);
        }
        if let Some(client) = self.unpooled.get() {
            return Ok(client);
        }
        let client = built(&self.egress, self.request_timeout, 0).map_err(|error| {
            let text = "the worker cannot set up a connection; nothing was sent";
            AdapterError::new(ErrorClass::Internal, text).with_internal(error.to_string())
        })?;
        Ok(self.unpooled.get_or_init(|| client))
    }

    /// Requests that wait for a place to start in.
    #[must_use]
    pub fn waiting_to_start(&self) -> usize {
        self.starting.waiting()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that builds the client"
)]
fn built(
    egress: &EgressPolicy,
    request_timeout: Duration,
    idle_per_host: usize,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("ticketwire/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT.min(request_timeout))
        .pool_max_idle_per_host(idle_per_host)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(GuardedResolver(egress.clone())))
        .build()
}
