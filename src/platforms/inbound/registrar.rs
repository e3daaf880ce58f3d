//! How a platform is told where to send its deliveries: an interface of its own at a few, work in
//! its pages at the others ([`super::steps()`]).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::domain::WebhookState;
use crate::platforms::{AdapterError, CallContext, ErrorClass};

/// Where the secret of a platform's deliveries comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretSource {
    /// We make one for each registration and tell it the platform.
    Made,
    /// The platform makes one for each registration and tells it us.
    Given,
    /// It is the integration's own, whatever is registered: `webhook_secret`, or this member of its
    /// credentials.
    Kept(&'static str),
}

/// What is to be registered.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where deliveries are to go, as the platform will sign it.
    pub url: &'a str,
    /// The secret that we made; `None` where we make none.
    pub secret: Option<&'a SecretString>,
}

/// What was registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// What the platform calls it.
    pub external_id: String,
    /// What it is about, where that is one of several things: a project, a channel.
    pub resource: Option<String>,
    /// The secret that the platform gave.
    pub secret: Option<SecretString>,
    /// When it ends by itself; `None`: it does not.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Registered {
    /// One that does not end by itself and brings no secret.
    #[must_use]
    pub fn new(external_id: impl Into<String>) -> Self {
        Self {
            external_id: external_id.into(),
            resource: None,
            secret: None,
            expires_at: None,
        }
    }
}

/// What a look at a registration showed.
#[derive(Debug, Clone)]
pub struct HookHealth {
    /// How it does.
    pub state: WebhookState,
    /// What is wrong with it, fit to show to a person.
    pub problem: Option<String>,
    /// Where its deliveries go, where the platform says so.
    pub url: Option<String>,
    /// When it ends by itself, where the platform says so.
    pub expires_at: Option<DateTime<Utc>>,
}

impl HookHealth {
    /// It delivers.
    #[must_use]
    pub const fn active() -> Self {
        Self {
            state: WebhookState::Active,
            problem: None,
            url: None,
            expires_at: None,
        }
    }

    /// It does not, for this reason.
    #[must_use]
    pub fn not_well(state: WebhookState, problem: impl Into<String>) -> Self {
        Self {
            state,
            problem: Some(problem.into()),
            ..Self::active()
        }
    }

    /// The platform has it no longer.
    #[must_use]
    pub fn gone() -> Self {
        Self::not_well(WebhookState::Gone, "the platform has it no longer")
    }
}

/// What came of asking for lost deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redelivered {
    /// Deliveries that failed and were not repeated since.
    pub failed: usize,
    /// Of those, the ones that the platform now sends again.
    pub asked: usize,
}

/// A platform that is told by its interface where to send its deliveries.
#[async_trait]
pub trait Registrar: Send + Sync {
    /// Where the secret comes from.
    fn secret(&self) -> SecretSource;

    /// Whether the platform gives the secret to the address itself, while it is being registered.
    fn shakes_hands(&self) -> bool {
        false
    }

    /// Whether the platform takes one address for all: a second one cannot have another.
    fn has_one_address(&self) -> bool {
        false
    }

    /// How long a registration lives, where it ends by itself. It is renewed when a third of that
    /// is left.
    fn life(&self) -> Option<std::time::Duration> {
        None
    }

    /// Registers an address. It is not looked whether there is one already.
    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError>;

    /// What is registered with exactly this address.
    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError>;

    /// How one does. That it is gone is no error.
    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError>;

    /// Lets one live longer, where it ends by itself: until when it does then.
    async fn renew(
        &self,
        _: &CallContext<'_>,
        _id: &str,
    ) -> Result<Option<DateTime<Utc>>, AdapterError> {
        Ok(None)
    }

    /// Removes one, which was registered with this address. That it was gone already is no error.
    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
        url: &str,
    ) -> Result<(), AdapterError>;

    /// Has deliveries that failed sent again.
    async fn redeliver(&self, _: &CallContext<'_>, _id: &str) -> Result<Redelivered, AdapterError> {
        Err(AdapterError::unsupported(
            "this platform cannot be asked to send deliveries again; a sync finds what they said",
        ))
    }
}

/// Of a thing that may be gone: nothing, where the platform says that it is.
///
/// # Errors
/// Every other.
pub fn or_gone<T>(answer: Result<T, AdapterError>) -> Result<Option<T>, AdapterError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.class, ErrorClass::NotFound | ErrorClass::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}
