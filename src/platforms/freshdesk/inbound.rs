//! What Freshdesk tells by itself: webhooks of automations, set up by an administrator. They are
//! not signed and have neither an id nor a time. A header or Basic authentication carries a secret.
//!
//! Source: support.freshdesk.com 132589 (Simple and Advanced bodies), 225431 (1,000 calls an hour,
//! repeats every half hour).

use std::collections::BTreeMap;

use super::facts::is_id;
use crate::platforms::inbound::{Coded, Hit, Hooks, Scheme};
use crate::platforms::{
    AdapterError, Change, ChangeKind, ErrorClass, Inbound, ItemRef, Moment, Needs,
};

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&[
    Scheme::secret("x-webhook-secret"),
    // Whatever the user is called: the password is the secret.
    Scheme {
        coded: Coded::BasicPassword,
        ..Scheme::basic()
    },
]);

/// Freshdesk's deliveries.
pub(super) struct Events;

/// The one there is.
pub(super) static EVENTS: Events = Events;

/// What wraps the members of a Simple body.
const SIMPLE: &str = "/freshdesk_webhook";

impl Inbound for Events {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    /// A delivery names a ticket and is thin: values of its placeholders are labels, and free text
    /// in it need not be JSON. Its id is the body's digest and the minute: two equal changes say
    /// the same, and the ticket is read once.
    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let no_ticket = || {
            let text = "the delivery names no ticket: its body is to be \
                        {\"ticket_id\": \"{{ticket.id}}\", …}";
            let class = ErrorClass::Validation {
                fields: BTreeMap::new(),
            };
            AdapterError::new(class, text)
        };
        let said = |name: &str| {
            hit.field(&format!("/{name}"))
                .or_else(|| hit.field(&format!("{SIMPLE}/{name}")))
        };
        let id = said("ticket_id").ok_or_else(no_ticket)?;
        // With a prefix: `INC-47` (unconfirmed).
        let id = id.trim().rsplit('-').next().unwrap_or_default();
        if !is_id(id) {
            return Err(no_ticket());
        }
        let item = ItemRef {
            external_id: id.to_owned(),
            stable_id: Some(id.to_owned()),
        };
        let kind = match said("event").as_deref() {
            Some("ticket.created") => ChangeKind::Created,
            Some("ticket.deleted") => ChangeKind::Deleted,
            _ => ChangeKind::Updated,
        };
        let needs = match kind {
            ChangeKind::Deleted => Needs::Nothing,
            _ => Needs::Item,
        };
        let minute = hit.received_at.timestamp().div_euclid(60);
        Ok(vec![Change {
            at: Some(Moment::second(hit.received_at)),
            needs,
            ..Change::new(format!("{}@{minute}", hit.digest()), kind, item)
        }])
    }
}
