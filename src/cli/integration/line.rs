//! A tool's way to an integration's platform, beside the workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Context, Failed, failed};
use crate::pipeline::TokensOfOne;
use crate::platforms::mail::MailClient;
use crate::platforms::{
    self, AdapterError, CallContext, EgressPolicy, HttpClient, SendPermit, TokenSource, WriteTurns,
};
use crate::secrets::KeyRing;
use crate::store::{LoadedIntegration, Store};

/// Requests of a tool at once.
const CONNECTIONS: usize = 4;

/// A tool holds no lease and needs none: what it sends is not a command's.
struct Free;

impl SendPermit for Free {
    fn check(&self, _request_timeout: Duration) -> Result<(), AdapterError> {
        Ok(())
    }
}

/// What a tool reaches platforms with.
pub(super) struct Line {
    client: HttpClient,
    mail: MailClient,
    ring: Arc<KeyRing>,
    attempt_timeout: Duration,
}

impl Line {
    pub(super) fn new(context: &Context) -> Result<Self, Failed> {
        let config = &context.config;
        let egress = EgressPolicy::from(&config.egress);
        let timeout = config.dispatch.request_timeout;
        let proxy = config.egress.proxy.as_ref();
        Ok(Self {
            mail: MailClient::new(egress.clone(), timeout, &[]).map_err(failed)?,
            client: HttpClient::through(proxy, egress, timeout, CONNECTIONS).map_err(failed)?,
            ring: Arc::new(context.ring()?),
            attempt_timeout: config.dispatch.attempt_timeout,
        })
    }

    pub(super) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// An integration with its adapter, or why it has none.
    pub(super) async fn connect(&self, store: &Store, loaded: LoadedIntegration) -> TokensOfOne {
        TokensOfOne::new(store, Arc::clone(&self.ring), loaded, self.attempt_timeout).await
    }

    /// The way to its platform, for as long as an attempt may take.
    pub(super) fn to<'a, T: TokenSource + WriteTurns>(
        &'a self,
        connected: &'a TokensOfOne,
        tokens: &'a T,
    ) -> CallContext<'a> {
        let deadline = Instant::now() + self.attempt_timeout;
        let strangers = platforms::strangers(connected.row().platform);
        CallContext::new(&self.client, deadline, &Free, tokens, strangers)
            .remembering(connected.memory())
            .mailing(&self.mail)
            .taking_turns(tokens)
    }
}
