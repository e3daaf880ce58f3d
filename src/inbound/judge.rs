//! Whether a delivery is the platform's: by every address that it may have been sent to, and every
//! secret that is good now.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hyper::http::request::Parts;
use secrecy::SecretString;
use url::Url;

use super::address::reached;
use super::verdict::Verdict;
use crate::platforms::inbound::{Handshake, Hit, Hooks, Rejected, Scheme, scheme_of, verify};
use crate::secrets::KeyRing;
use crate::store::HookEntry;

/// What a delivery is.
pub(super) enum Judged {
    /// The platform's, with the headers that go with it.
    Proved {
        /// By their names, in small letters.
        kept: BTreeMap<String, String>,
    },
    /// Nobody can tell, and the integration takes it.
    Unsigned {
        /// The headers that go with it.
        kept: BTreeMap<String, String>,
    },
    /// A question. It is proved, where the platform proves it.
    Shaken(Handshake),
    /// Not to be taken.
    Refused(Verdict),
}

/// What is needed to judge.
pub(super) struct Judging<'a> {
    pub(super) ring: &'a KeyRing,
    /// `http.webhook_public_url`.
    pub(super) public: Option<&'a Url>,
    pub(super) hooks: &'static Hooks,
    pub(super) now: DateTime<Utc>,
}

impl Judging<'_> {
    pub(super) fn judge(&self, entry: &HookEntry, head: &Parts, body: &[u8]) -> Judged {
        let Some(platform) = entry.platform else {
            return Judged::Refused(Verdict::Unknown);
        };
        let query = head.uri.query();
        let mut urls = reached(entry, self.public, query);
        let is_known = !urls.is_empty();
        if !is_known {
            // What is asked of the query is asked all the same.
            urls.push(head.uri.to_string());
        }
        let hit = |url| Hit::new(&head.method, url, &head.headers, body, self.now);
        let hits: Vec<Hit<'_>> = urls.iter().map(|url| hit(url.as_str())).collect();
        let Some(first) = hits.first() else {
            return Judged::Refused(Verdict::Misconfigured);
        };
        let opened = entry
            .sealed
            .open_all(self.ring, platform, entry.auth_type, self.now);
        let secrets = opened.secrets.as_slice();
        let shaken = (self.hooks.shake)(first, secrets);
        match shaken {
            Some(open @ (Handshake::Open(_) | Handshake::Learn { .. })) => {
                return Judged::Shaken(open);
            }
            Some(Handshake::Verified(_) | Handshake::Heartbeat) | None => {}
        }
        if let Some(error) = &opened.unreadable {
            tracing::debug!(integration = %entry.id, error = %error,
                "a secret of an integration cannot be read");
        }
        let scheme = scheme_of(self.hooks.schemes, first, entry.auth_type, secrets);
        if secrets.is_empty() && opened.unreadable.is_none() {
            return if entry.accepts_unsigned {
                shaken.map_or_else(
                    || Judged::Unsigned {
                        kept: self.kept(first, None),
                    },
                    Judged::Shaken,
                )
            } else {
                Judged::Refused(Verdict::NoSecret)
            };
        }
        if !is_known && scheme.is_some_and(Scheme::is_over_url) {
            return Judged::Refused(Verdict::Misconfigured);
        }
        match self.verify(entry, &hits, secrets) {
            Ok(()) => {}
            // One that cannot be read may be the one.
            Err(Rejected::BadSignature | Rejected::NoSecret) if opened.unreadable.is_some() => {
                return Judged::Refused(Verdict::Misconfigured);
            }
            Err(rejected) => return Judged::Refused(rejected.into()),
        }
        if let Some(shaken) = shaken {
            return Judged::Shaken(shaken);
        }
        // Without a key there is no proof of ours, which has to stand for what is left out.
        if self.ring.is_empty() && scheme.is_some_and(Scheme::is_secret_itself) {
            return Judged::Refused(Verdict::Misconfigured);
        }
        Judged::Proved {
            kept: self.kept(first, scheme),
        }
    }

    /// By every address that it may have been sent to; the least bad of what they say.
    fn verify(
        &self,
        entry: &HookEntry,
        hits: &[Hit<'_>],
        secrets: &[SecretString],
    ) -> Result<(), Rejected> {
        let mut worst = Rejected::Unsigned;
        for hit in hits {
            let schemes = self.hooks.schemes;
            match verify(schemes, hit, entry.auth_type, secrets, self.now) {
                Ok(()) => return Ok(()),
                Err(Rejected::Stale) => return Err(Rejected::Stale),
                Err(rejected) => worst = rejected,
            }
        }
        Err(worst)
    }

    fn kept(&self, hit: &Hit<'_>, scheme: Option<&Scheme>) -> BTreeMap<String, String> {
        let names = self.hooks.kept(scheme).into_iter();
        let found = names.filter_map(|name| Some((name.to_owned(), hit.header(name)?.to_owned())));
        found.collect()
    }
}
