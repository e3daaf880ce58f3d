//! The client that all adapters share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::NoProxy;
use secrecy::ExposeSecret as _;
use url::Url;

use super::Request;
use super::starting::Starting;
use crate::config::Proxy;
use crate::platforms::egress::GuardedResolver;
use crate::platforms::{AdapterError, EgressPolicy, ErrorClass};

/// Longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a connection is kept idle: servers close theirs after 60 s and more, some proxies
/// sooner.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pooled client all adapters share; one a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pooled: reqwest::Client,
    /// Opens a connection for each request. Made when it is first needed: it reads once more what
    /// the machine trusts.
    unpooled: Arc<OnceLock<reqwest::Client>>,
    pub(super) egress: EgressPolicy,
    pub(in crate::platforms) request_timeout: Duration,
    pub(super) starting: Arc<Starting>,
    /// What looks names up in our place, where there is one.
    proxy: Option<Proxy>,
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
        Self::through(None, egress, request_timeout, idle_per_host)
    }

    /// The same, for requests that go through a proxy.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn through(
        proxy: Option<&Proxy>,
        egress: EgressPolicy,
        request_timeout: Duration,
        idle_per_host: usize,
    ) -> Result<Self, reqwest::Error> {
        // reqwest is built without a provider of its own. An error here means that one is installed
        // already.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(Self {
            pooled: built(proxy, &egress, request_timeout, idle_per_host)?,
            unpooled: Arc::default(),
            egress,
            request_timeout,
            starting: Arc::new(Starting::new()),
            proxy: proxy.cloned(),
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
        let client = built(self.proxy.as_ref(), &self.egress, self.request_timeout, 0);
        let client = client.map_err(|error| {
            let text = "the worker cannot set up a connection; nothing was sent";
            AdapterError::new(ErrorClass::Internal, text).with_internal(error.to_string())
        })?;
        Ok(self.unpooled.get_or_init(|| client))
    }

    /// Judges what only a proxy would look up.
    ///
    /// # Errors
    /// [`ErrorClass::Egress`].
    pub(super) async fn vet(&self, url: &Url) -> Result<(), AdapterError> {
        if self.proxy.is_some() {
            self.egress.vet(url).await?;
        }
        Ok(())
    }

    /// Where a target is reached by way of a proxy, for errors.
    pub(super) const fn by_way(&self) -> &'static str {
        if self.proxy.is_some() {
            " by way of the proxy (egress.proxy)"
        } else {
            ""
        }
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
    proxy: Option<&Proxy>,
    egress: &EgressPolicy,
    request_timeout: Duration,
    idle_per_host: usize,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("ticketwire/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT.min(request_timeout))
        .pool_max_idle_per_host(idle_per_host)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(GuardedResolver {
            policy: egress.clone(),
            proxies: proxy.map(hosts_of).unwrap_or_default(),
        }));
    match proxy {
        None => builder,
        Some(proxy) => with_proxy(builder, proxy)?,
    }
    .build()
}

fn with_proxy(
    mut builder: reqwest::ClientBuilder,
    proxy: &Proxy,
) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let direct = || NoProxy::from_string(&proxy.direct);
    if let Some(address) = &proxy.https {
        let via = reqwest::Proxy::https(address.expose_secret())?;
        builder = builder.proxy(via.no_proxy(direct()));
    }
    if let Some(address) = &proxy.http {
        let via = reqwest::Proxy::http(address.expose_secret())?;
        builder = builder.proxy(via.no_proxy(direct()));
    }
    Ok(builder)
}

fn hosts_of(proxy: &Proxy) -> Vec<String> {
    let addresses = [&proxy.https, &proxy.http].into_iter().flatten();
    let urls = addresses.filter_map(|address| Url::parse(address.expose_secret()).ok());
    urls.filter_map(|url| url.host_str().map(str::to_owned))
        .collect()
}
