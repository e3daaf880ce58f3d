//! One attempt's way to the platform: transports, deadline, the right to send, access tokens, and
//! what is remembered.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::http::redact;
use super::mail::MailClient;
use super::memory::Memory;
use super::rate::{BudgetLeft, Pause, RateHeaders};
use super::scope::Scope;
use super::{AdapterError, ErrorClass, HttpClient, Request, Response, Strangers};

use crate::telemetry::clock;

/// What an OAuth token endpoint gave.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// For the `Authorization` header.
    pub access_token: SecretString,
    /// The next refresh token, where the platform rotates them: stored before the access token is
    /// used.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token, from now.
    pub expires_in: Duration,
    /// Where the platform is, where the grant says so: requests that are [`Request::granted`] go
    /// below it.
    pub api_base: Option<Url>,
}

/// An access token, and where it is good.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// For the `Authorization` header.
    pub secret: SecretString,
    /// What [`TokenGrant::api_base`] said when it was granted.
    pub api_base: Option<Url>,
}

/// A platform's OAuth flow as data: the request for a token, and how to read the answer.
pub trait TokenFlow: Send + Sync {
    /// The request; `refresh_token` is the latest stored one, `None` before the first refresh (then
    /// the credentials' own, or a client-credentials grant).
    ///
    /// # Errors
    /// Class authentication, where the credentials lack what the flow needs.
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError>;
    /// Reads the grant.
    ///
    /// # Errors
    /// By the answer's status; class authentication where the grant is refused.
    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError>;
    /// Whether an answer says that the access token is no longer good: by default, a 401.
    fn is_stale(&self, response: &Response) -> bool {
        response.status == 401
    }
}

/// Where access tokens come from: the pipeline's cache over the store.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is not `stale`; refreshed once for all waiters and workers.
    async fn token(
        &self,
        context: &CallContext<'_>,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError>;

    /// Whether an answer says that its token is no longer good; see [`TokenFlow::is_stale`].
    fn is_stale(&self, response: &Response) -> bool;
}

/// Asked right before every request: may this process still send, for so long?
pub trait SendPermit: Send + Sync {
    /// Yes, or no.
    ///
    /// # Errors
    /// Class transient, where the lease does not outlast a request of this duration.
    fn check(&self, request_timeout: Duration) -> Result<(), AdapterError>;
}

/// Who may write when, where a platform wants an integration's writes apart
/// ([`RateHeaders::writes_apart`]). All workers take their turns from it.
#[async_trait]
pub trait WriteTurns: Send + Sync {
    /// Takes the next turn, `apart` after the one before, and says how long it is until then.
    /// `None`: that is longer than `longest`, and no turn is taken.
    async fn take(&self, apart: Duration, longest: Duration) -> Option<Duration>;
}

/// One attempt's way to the platform: the client, its deadline, the lease check, the token cache.
pub struct CallContext<'a> {
    /// The shared client.
    pub client: &'a HttpClient,
    /// No request of this attempt outlasts it.
    pub deadline: Instant,
    /// Whether this process may still send.
    pub permit: &'a dyn SendPermit,
    /// Access tokens, for [`super::Auth::OAuth`].
    pub tokens: &'a dyn TokenSource,
    /// How the platform shows that it answered a stranger: every answer passes here, token
    /// refreshes too.
    pub strangers: &'static Strangers,
    /// What was learned of the integration before.
    memory: Option<&'a Memory>,
    /// The way to mail servers, where there is one.
    mail: Option<&'a MailClient>,
    /// How the platform tells what is left of its budgets.
    rate: Option<&'static RateHeaders>,
    /// Who may write when.
    turns: Option<&'a dyn WriteTurns>,
    asked: AskedToWait,
    /// Whether nothing may be changed by it.
    reads_only: bool,
}

/// What the answers of an attempt asked for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct AskedToWait(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    millis: AtomicU64,
    budget: Mutex<Option<Pause>>,
    left: Mutex<Option<BudgetLeft>>,
    /// Whether a turn to write was taken.
    has_written: AtomicBool,
}

impl AskedToWait {
    /// The longest wait that an answer other than a success asked for (`Retry-After`), whatever an
    /// adapter made of that answer: nothing may be sent again sooner. `None` where no answer asked
    /// for one.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        match self.0.millis.load(Ordering::Acquire) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// The longest pause of a budget that an answer has used up, though it was itself within it.
    #[must_use]
    pub fn budget(&self) -> Option<Pause> {
        *self.0.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last answer that said so left of the integration's budget.
    #[must_use]
    pub fn left(&self) -> Option<BudgetLeft> {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.0.millis.fetch_max(millis, Ordering::AcqRel);
        }
    }

    fn note_budget(&self, pause: Pause) {
        let mut known = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|known| known.wait < pause.wait) {
            *known = Some(pause);
        }
    }
}

impl<'a> CallContext<'a> {
    /// A way to the platform until `deadline`, whose answers are judged by `strangers`.
    #[must_use]
    pub fn new(
        client: &'a HttpClient,
        deadline: Instant,
        permit: &'a dyn SendPermit,
        tokens: &'a dyn TokenSource,
        strangers: &'static Strangers,
    ) -> Self {
        Self {
            client,
            deadline,
            permit,
            tokens,
            strangers,
            memory: None,
            mail: None,
            rate: None,
            turns: None,
            asked: AskedToWait::default(),
            reads_only: false,
        }
    }

    /// The same way, with what was learned of the integration before.
    #[must_use]
    pub fn remembering(self, memory: impl Into<Option<&'a Memory>>) -> Self {
        Self {
            memory: memory.into(),
            ..self
        }
    }

    /// The same way, to mail servers too.
    #[must_use]
    pub fn mailing(self, mail: &'a MailClient) -> Self {
        Self {
            mail: Some(mail),
            ..self
        }
    }

    /// The same way, where writes take turns.
    #[must_use]
    pub fn taking_turns(self, turns: &'a dyn WriteTurns) -> Self {
        Self {
            turns: Some(turns),
            ..self
        }
    }

    /// The same way, noting in `asked` what its answers ask for.
    #[must_use]
    pub fn noting(self, asked: &AskedToWait) -> Self {
        Self {
            asked: asked.clone(),
            ..self
        }
    }

    /// The same way, until `deadline` where that is earlier.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            client: self.client,
            deadline: deadline.min(self.deadline),
            permit: self.permit,
            tokens: self.tokens,
            strangers: self.strangers,
            memory: self.memory,
            mail: self.mail,
            rate: self.rate,
            turns: self.turns,
            asked: self.asked.clone(),
            reads_only: self.reads_only,
        }
    }

    /// The same way, by which nothing is changed: every request that is not a read is refused
    /// before it is sent. What comes in from a platform goes by it, so that it can never go out
    /// again.
    #[must_use]
    pub fn only_reading(self) -> Self {
        Self {
            reads_only: true,
            ..self
        }
    }

    /// The same way, for the request of an access token: that changes nothing of what people see.
    #[must_use]
    pub fn granting(&self) -> CallContext<'_> {
        CallContext {
            reads_only: false,
            ..self.until(self.deadline)
        }
    }
}

impl CallContext<'_> {
    /// A thing that was learned of the platform, not older than `life`; asked for by `load` where
    /// it is not known: see [`Memory::get`]. Another attempt that asks right now is waited for as
    /// long as this one may take.
    ///
    /// # Errors
    /// Those of `load`; class timeout, where the attempt's time is used up.
    pub fn recall<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Cow<'static, str>>,
        life: Duration,
        load: impl Future<Output = Result<T, AdapterError>>,
    ) -> impl Future<Output = Result<Arc<T>, AdapterError>> {
        // Hardly ever run, it would be most of what each attempt keeps room for.
        let load = Box::pin(load);
        let name = name.into();
        async move {
            let Some(memory) = self.memory else {
                return load.await.map(Arc::new);
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            let found = tokio::time::timeout(left, memory.get(name, life, load)).await;
            found.unwrap_or_else(|_| {
                let text = "the attempt's time was used up while the platform was asked for \
                            what is needed first";
                Err(AdapterError::new(ErrorClass::Timeout, text))
            })
        }
    }

    /// Forgets what [`CallContext::recall`] keeps, as the platform has shown that it is not so any
    /// more.
    pub fn forget(&self, name: &str) {
        if let Some(memory) = self.memory {
            memory.forget(name);
        }
    }

    /// What its answers asked for.
    #[must_use]
    pub fn asked_to_wait(&self) -> Option<Duration> {
        self.asked.get()
    }

    /// The same way, whose answers tell what is left of the platform's budgets.
    pub(super) fn counting(&self, rate: &'static RateHeaders) -> CallContext<'_> {
        CallContext {
            rate: Some(rate),
            ..self.until(self.deadline)
        }
    }

    /// Notes what an answer says of the platform's budgets. One that was refused for a budget says
    /// so as an error.
    pub(super) fn note_budget(&self, answer: &Response) {
        let Some(rate) = self.rate.filter(|_| answer.is_success()) else {
            return;
        };
        let now = clock::now();
        if let Some(pause) = rate.pause(answer, false, now) {
            self.asked.note_budget(pause);
        }
        if let Some(left) = rate.left(answer, now) {
            let known = &self.asked.0.left;
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }

    /// Who may write when and how far apart, where the platform wants writes apart.
    pub(super) fn turns(&self) -> Option<(&dyn WriteTurns, Duration)> {
        let apart = self.rate?.writes_apart;
        Some((self.turns?, apart)).filter(|_| !apart.is_zero())
    }

    /// Refuses what would change something, on a way that only reads.
    ///
    /// # Errors
    /// Class internal: who asks for it has a fault.
    pub(super) fn check_effect(&self, is_read: bool) -> Result<(), AdapterError> {
        if is_read || !self.reads_only {
            return Ok(());
        }
        let text = "what comes in from a platform may not change it; nothing was sent";
        Err(AdapterError::new(ErrorClass::Internal, text))
    }

    /// Waits for a turn to write. The first write of an attempt waits for half of the time that is
    /// left besides its request, so that those after it have theirs.
    ///
    /// # Errors
    /// Class rate limited, of this request alone, where others are first for longer than that:
    /// nothing was sent.
    pub(super) async fn take_turn(
        &self,
        (turns, apart): (&dyn WriteTurns, Duration),
    ) -> Result<(), AdapterError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = left.saturating_sub(self.client.request_timeout);
        let is_first = !self.asked.0.has_written.load(Ordering::Acquire);
        let until = Instant::now() + if is_first { left / 2 } else { left };
        loop {
            let longest = until.saturating_duration_since(Instant::now());
            if let Some(wait) = turns.take(apart, longest).await {
                self.asked.0.has_written.store(true, Ordering::Release);
                tokio::time::sleep(wait).await;
                return Ok(());
            }
            if longest.is_zero() {
                let text = "the platform wants the writes of an integration apart, and others \
                            are first; nothing was sent";
                let retry_after = Some(apart);
                let error = AdapterError::new(ErrorClass::RateLimited { retry_after }, text);
                return Err(AdapterError {
                    budget: Some(Scope::Endpoint),
                    ..error
                });
            }
            tokio::time::sleep(longest.min(apart)).await;
        }
    }

    /// Notes a wait that an answer asked for.
    pub(super) fn note_wait(&self, wait: Option<Duration>) {
        self.asked.note(wait);
    }

    /// The way to mail servers.
    ///
    /// # Errors
    /// Class internal, where there is none.
    pub(super) fn mail(&self) -> Result<&MailClient, AdapterError> {
        self.mail
            .ok_or_else(|| AdapterError::new(ErrorClass::Internal, "no mail can be sent from here"))
    }

    /// Where the platform is by the integration's access token; `None` where the grant does not say
    /// so.
    ///
    /// # Errors
    /// As those of getting a token.
    pub async fn api_base(&self) -> Result<Option<Url>, AdapterError> {
        Ok(self.token(None).await?.api_base)
    }

    pub(super) async fn token(
        &self,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let token = redact::untouched(self.tokens.token(self, stale)).await?;
        redact::learn(token.secret.expose_secret());
        Ok(token)
    }
}
