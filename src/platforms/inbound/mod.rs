//! What comes from a platform by itself: a delivery of a webhook. Everything here is pure: whether
//! a delivery is theirs, what is answered to it, and what it says. Who listens, and what becomes of
//! a change, is not the platforms' business.

mod hit;
mod registrar;
mod signature;
mod steps;

use reqwest::Method;
use secrecy::SecretString;

use super::{AdapterError, Change};
use crate::domain::AuthType;

pub use hit::{Hit, wire};
pub use registrar::{
    HookHealth, Redelivered, Registered, Registrar, SecretSource, Wanted, or_gone,
};
pub use signature::{
    Coded, Key, Mac, Piece, Rejected, Scheme, Stamp, Unit, Value, When, scheme_of, signed_hex,
    verify,
};
pub use steps::steps;

/// Bytes of a delivery, where a platform does not need more.
pub const BODY_MAX: usize = 1 << 20;

/// A platform's deliveries as data.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// How they come; usually `POST`.
    pub methods: &'static [Method],
    /// Headers that are kept with a delivery besides its content type: ids, events, times. Never
    /// one that holds a secret.
    pub keep: &'static [&'static str],
    /// How it is proved whose they are. The first that fits decides; there is no falling through to
    /// a weaker one.
    pub schemes: &'static [Scheme],
    /// Bytes of one.
    pub body_max: usize,
    /// What is answered to one that was taken.
    pub taken: Reply,
    /// What kind of question one is, where it tells of no change. The secrets are those that would
    /// be tried for its signature, the newest first.
    pub shake: Shake,
    /// Members of the credentials by which deliveries are proved, besides the webhook secret.
    pub secrets: &'static [SecretMember],
}

/// For [`Hooks::shake`].
pub type Shake = fn(&Hit<'_>, &[SecretString]) -> Option<Handshake>;

/// A member of the credentials by which deliveries are proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretMember {
    /// Its name.
    pub name: &'static str,
    /// Of which way to authenticate; `None`: of all.
    pub auth_type: Option<AuthType>,
    /// The member that says until when it is good (RFC 3339); `None`: always.
    pub until: Option<&'static str>,
}

impl SecretMember {
    /// A member that is good always, however the integration authenticates.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            auth_type: None,
            until: None,
        }
    }
}

impl Hooks {
    /// Deliveries that come as `POST`, prove themselves so, and are answered with 200.
    #[must_use]
    pub const fn new(schemes: &'static [Scheme]) -> Self {
        Self {
            methods: &[Method::POST],
            keep: &[],
            schemes,
            body_max: BODY_MAX,
            taken: Reply::OK,
            shake: |_, _| None,
            secrets: &[],
        }
    }

    /// The same, of which these headers are kept.
    #[must_use]
    pub const fn keep(mut self, names: &'static [&'static str]) -> Self {
        self.keep = names;
        self
    }

    /// The same, of which some are questions.
    #[must_use]
    pub const fn shaking(mut self, shake: Shake) -> Self {
        self.shake = shake;
        self
    }

    /// The same, which these members of the credentials prove, too.
    #[must_use]
    pub const fn proved_by(mut self, secrets: &'static [SecretMember]) -> Self {
        self.secrets = secrets;
        self
    }

    /// Whether they come so.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }

    /// Names of the headers of a delivery that go with it, in small letters: those that say what it
    /// is, and those of the proof that the scheme looks at. A header that is itself a secret, or
    /// that would be good for another delivery, is none of them.
    #[must_use]
    pub fn kept(&self, scheme: Option<&Scheme>) -> Vec<&'static str> {
        let mut names = vec!["content-type"];
        names.extend(self.keep);
        names.extend(scheme.into_iter().flat_map(Scheme::headers));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// An answer to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The media type of the body; `None`: there is no body.
    pub media_type: Option<&'static str>,
    /// The body.
    pub body: std::borrow::Cow<'static, str>,
}

impl Reply {
    /// 200 without a body.
    pub const OK: Self = Self {
        status: 200,
        media_type: None,
        body: std::borrow::Cow::Borrowed(""),
    };

    /// 200 with JSON.
    #[must_use]
    pub fn json(body: &serde_json::Value) -> Self {
        Self {
            status: 200,
            media_type: Some("application/json"),
            body: body.to_string().into(),
        }
    }

    /// 200 with plain text.
    #[must_use]
    pub fn text(body: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self {
            status: 200,
            media_type: Some("text/plain; charset=utf-8"),
            body: body.into(),
        }
    }
}

/// What a delivery is that tells of no change. It is answered in place.
#[derive(Debug, Clone)]
pub enum Handshake {
    /// Nothing: a ping, a heartbeat, a kind of event that is not ours to follow.
    Heartbeat,
    /// The platform proves that we listen, and wants to hear this. Its signature is verified
    /// before.
    Verified(Reply),
    /// The same of a platform that signs no such question.
    Open(Reply),
    /// It gives the secret by which its deliveries will be known.
    Learn {
        /// The secret.
        secret: SecretString,
        /// The header in which the answer gives it back; `None` where it does not.
        echo: Option<&'static str>,
        /// What is answered besides.
        reply: Reply,
    },
}

/// What a platform tells by itself.
pub trait Inbound: Send + Sync {
    /// How its deliveries come, and how they are proved.
    fn hooks(&self) -> &'static Hooks;

    /// What kind of question a delivery is ([`Hooks::shake`]).
    fn shake(&self, hit: &Hit<'_>, secrets: &[SecretString]) -> Option<Handshake> {
        (self.hooks().shake)(hit, secrets)
    }

    /// What a delivery says: several changes of one body, none of one that is not ours to follow.
    ///
    /// # Errors
    /// Class validation, where the body is not what the platform sends.
    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError>;
}

#[cfg(test)]
mod tests;
