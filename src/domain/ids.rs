//! A type for each kind of id, so that swapping two of them does not compile.

use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize,
            serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to be of this kind.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Parses the hyphenated or plain form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::parse_str(text).ok().map(Self)
            }

            /// The bare UUID, for SQL parameters and for deriving other ids.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A command's id: the producer's idempotency key.
    CommandId
);
id!(
    /// An integration: one enabled account on one platform.
    IntegrationId
);
id!(
    /// The tenant.
    OrganizationId
);
id!(
    /// A ticket of ours; what it is called on a platform is its external id.
    TicketId
);

impl CommandId {
    /// UUIDv5 of this command's id and a name: the ids of child commands, default tickets and
    /// events, so that a repeat derives the same ones.
    #[must_use]
    pub fn derive(self, name: &str) -> Uuid {
        Uuid::new_v5(&self.0, name.as_bytes())
    }

    /// The ticket of a `ticket.create` that names none.
    #[must_use]
    pub fn default_ticket(self) -> TicketId {
        TicketId(self.derive("ticket"))
    }

    /// The integration that an `integration.create` makes: known before it is made, so that its
    /// secrets can be sealed for it at admission.
    #[must_use]
    pub fn created_integration(self) -> IntegrationId {
        IntegrationId(self.derive("integration"))
    }
}
