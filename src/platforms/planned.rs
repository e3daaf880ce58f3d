//! The one request of an operation, over whatever carries it.

use serde_json::Value;

use super::mail::Mail;
use super::{AdapterError, CallContext, Effect, Request, Response};

/// What an operation sends.
#[derive(Debug, Clone)]
pub enum Planned {
    /// A request over HTTP.
    Http(Box<Request>),
    /// A mail. Its answer is the server's reply: the code as status, text and refused recipients as
    /// JSON.
    Mail(Box<Mail>),
}

impl From<Request> for Planned {
    fn from(request: Request) -> Self {
        Self::Http(Box::new(request))
    }
}

impl From<Mail> for Planned {
    fn from(mail: Mail) -> Self {
        Self::Mail(Box::new(mail))
    }
}

impl Planned {
    /// For people: what would be sent, without a secret in it.
    #[must_use]
    pub fn masked(&self) -> Value {
        match self {
            Self::Http(request) => request.masked(),
            Self::Mail(mail) => mail.masked(),
        }
    }

    /// What it does if it arrives.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Http(request) => request.effect,
            Self::Mail(mail) => mail.effect(),
        }
    }

    /// The same, where a lost answer could not be found out about.
    #[must_use]
    pub fn unrepeatable(mut self) -> Self {
        if let Self::Http(request) = &mut self {
            request.is_unrepeatable = request.effect == Effect::Create;
        }
        self
    }

    /// The request, of what goes over HTTP.
    #[must_use]
    pub const fn http(&self) -> Option<&Request> {
        match self {
            Self::Http(request) => Some(request),
            Self::Mail(_) => None,
        }
    }
}

impl CallContext<'_> {
    /// Sends a request or a mail; any status is an answer. In place is tried again only what surely
    /// had no effect.
    ///
    /// # Errors
    /// An answer that was given to a stranger, see [`super::Strangers`]. Failure on the way,
    /// classified by what the request would have done; [`super::ErrorClass::Egress`] where the
    /// target is not allowed.
    pub async fn send(&self, planned: impl Into<Planned>) -> Result<Response, AdapterError> {
        match planned.into() {
            Planned::Http(request) => self.send_request(&request).await,
            Planned::Mail(mail) => {
                // Hardly ever run, it would be most of what each attempt keeps room for.
                let sent = Box::pin(self.mail()?.send(self, &mail));
                Ok(sent.await?.response())
            }
        }
    }
}
