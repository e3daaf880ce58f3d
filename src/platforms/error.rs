//! What an adapter can say went wrong. The class decides what follows; two texts keep what may be
//! published apart from what may only be logged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Receipt;
use super::scope::Scope;
use crate::domain::{ErrorCode, Failure};

/// The class of a failure: the only thing retry decisions look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// Surely without effect, or harmless to repeat: refused connection, failed read, 503 on an
    /// idempotent write.
    Transient {
        /// What the platform asked for, from now.
        retry_after: Option<Duration>,
    },
    /// No answer in time to something harmless to repeat.
    Timeout,
    /// The platform said "later".
    RateLimited {
        /// What the platform asked for, from now.
        retry_after: Option<Duration>,
    },
    /// The credential is bad and a fresh token did not help.
    Authentication,
    /// The credential is good but may not do this.
    Permission,
    /// The item, project or account is not there, or not visible.
    NotFound,
    /// The platform does not take the data.
    Validation {
        /// By field of ours, what is wrong.
        fields: BTreeMap<String, String>,
    },
    /// The endpoint is gone for good and wants to hear no more: the integration is disabled.
    Gone,
    /// Somebody else changed the item meanwhile.
    Conflict,
    /// The platform cannot do this.
    Unsupported,
    /// The target address is not allowed.
    Egress,
    /// Sent, answer never seen or not to be trusted: time-out, reset, 5xx on a create.
    Unknown,
    /// A bug of ours or a platform that contradicts its documentation, before anything was sent.
    Internal,
}

/// A classified failure of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterError {
    /// Decides what follows.
    pub class: ErrorClass,
    /// Fit to publish: at most a short text that the platform means for people; no credential, no
    /// header, no body.
    pub public: String,
    /// For the log only: may quote the vendor's answer, capped.
    pub internal: Option<String>,
    /// What the platform answered, where it did.
    pub http_status: Option<u16>,
    /// What the budget is of, where one is used up.
    pub budget: Option<Scope>,
    /// What was done before it failed, where the operation has more than one step. It stays done.
    pub done: Option<Box<Receipt>>,
    /// Fields that the platform refused, in its names with its reasons: the request made nothing,
    /// and is worth sending without them.
    pub without: Option<Box<BTreeMap<String, String>>>,
    /// What was looked up and is refused: the request made nothing, and is worth sending once more
    /// after another look.
    pub again: Option<&'static str>,
}

impl AdapterError {
    /// An error of a class with its public text.
    #[must_use]
    pub fn new(class: ErrorClass, public: impl Into<String>) -> Self {
        Self {
            class,
            public: public.into(),
            internal: None,
            http_status: None,
            budget: None,
            done: None,
            without: None,
            again: None,
        }
    }

    /// The platform cannot do this.
    #[must_use]
    pub fn unsupported(public: impl Into<String>) -> Self {
        Self::new(ErrorClass::Unsupported, public)
    }

    /// A deletion came to an adapter whose platform knows none; the driver makes a change of status
    /// of it.
    #[must_use]
    pub fn closes() -> Self {
        Self::new(
            ErrorClass::Internal,
            "a deletion is done as a change of status on this platform",
        )
    }

    /// One field is not acceptable.
    #[must_use]
    pub fn field(name: &str, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        let public = format!("{name} {fault}");
        Self::new(
            ErrorClass::Validation {
                fields: BTreeMap::from([(name.to_owned(), fault)]),
            },
            public,
        )
    }

    /// Adds what the platform answered.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// Adds what was done before.
    #[must_use]
    pub fn after(mut self, done: Receipt) -> Self {
        self.done = Some(Box::new(done));
        self
    }

    /// Says that the request is worth sending once more without these fields.
    #[must_use]
    pub fn worth_it_without(mut self, fields: BTreeMap<String, String>) -> Self {
        self.without = Some(Box::new(fields));
        self
    }

    /// Says that the request is worth sending once more after this was looked up anew.
    #[must_use]
    pub const fn worth_another_look(mut self, what: &'static str) -> Self {
        self.again = Some(what);
        self
    }

    /// Adds what only the log may show.
    #[must_use]
    pub fn with_internal(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(internal.into());
        self
    }

    /// The contract's code for the class.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.class {
            ErrorClass::Transient { .. } => ErrorCode::PlatformUnavailable,
            ErrorClass::Timeout => ErrorCode::Timeout,
            ErrorClass::RateLimited { .. } => ErrorCode::RateLimited,
            ErrorClass::Authentication => ErrorCode::AuthenticationFailed,
            ErrorClass::Permission => ErrorCode::PermissionDenied,
            ErrorClass::NotFound | ErrorClass::Gone => ErrorCode::ExternalNotFound,
            ErrorClass::Validation { .. } => ErrorCode::ValidationFailed,
            ErrorClass::Conflict => ErrorCode::Conflict,
            ErrorClass::Unsupported => ErrorCode::UnsupportedOperation,
            ErrorClass::Egress => ErrorCode::EgressBlocked,
            ErrorClass::Unknown => ErrorCode::OutcomeUnknown,
            ErrorClass::Internal => ErrorCode::Internal,
        }
    }

    /// The event's `error` member.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let fields = match &self.class {
            ErrorClass::Validation { fields } => fields.clone(),
            ErrorClass::Transient { .. }
            | ErrorClass::Timeout
            | ErrorClass::RateLimited { .. }
            | ErrorClass::Authentication
            | ErrorClass::Permission
            | ErrorClass::NotFound
            | ErrorClass::Gone
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress
            | ErrorClass::Unknown
            | ErrorClass::Internal => BTreeMap::new(),
        };
        Failure::new(self.code(), self.public.clone())
            .with_status(self.http_status)
            .with_fields(fields)
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)?;
        if let Some(internal) = &self.internal {
            write!(f, " ({internal})")?;
        }
        Ok(())
    }
}

impl std::error::Error for AdapterError {}
