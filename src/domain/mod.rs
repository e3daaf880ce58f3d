//! The words of the trade: ids, platforms, integrations, tickets, errors. Pure and synchronous;
//! nothing here does IO.

mod analysis;
mod command_state;
mod command_type;
mod error;
mod hold;
mod ids;
mod ink;
mod integration;
mod lifecycle;
mod nearest;
mod platform;
pub mod routing;
mod shown;
mod ticket;

pub use analysis::{AnalyserKind, Analysis, AnalysisInput, Preferences, TURNS_MAX, Turn};
pub use command_state::{CommandState, Wait, WaitReason};
pub use command_type::CommandType;
pub use error::{ErrorCode, Failure};
pub use hold::{Hold, HoldReason, LaneState, maintenance_until};
pub use ids::{CommandId, IntegrationId, OrganizationId, TicketId};
pub use ink::{has_ink, is_blank};
pub use integration::{
    AuthType, HealthStatus, Integration, IntegrationStatus, OnUnknown, WebhookAction, WebhookState,
};
pub use lifecycle::{LifeEvent, LifeState, Transition};
pub use nearest::{nearest, squeezed};
pub use platform::{IntegrationCategory, Platform};
pub use shown::{MASK, json_fault, looks_secret, shown};
pub use ticket::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView, UserRef};

/// A closed set of values, each with one spelling: what a reader needs to know of it. [`wire_enum`]
/// declares them.
pub trait WireEnum: Copy + 'static {
    /// Every value, in the order of the contract.
    const VALUES: &'static [Self];

    /// The spelling used on the wire.
    fn spelling(self) -> &'static str;

    /// The value with exactly this spelling.
    fn spelled(text: &str) -> Option<Self> {
        let mut values = Self::VALUES.iter().copied();
        values.find(|value| value.spelling() == text)
    }

    /// The names of all values.
    fn all_spellings() -> Vec<&'static str> {
        let values = Self::VALUES.iter().copied();
        values.map(Self::spelling).collect()
    }
}

/// Declares an enum whose variants have one spelling on the wire, in the database, in logs and in
/// metrics.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* #[doc = concat!("`", $text, "`")] $variant),+ }

        impl $name {
            /// Every value, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling used on the wire, in the database, in logs and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value with exactly this spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// All names, comma separated, for messages that name the remedy.
            #[must_use]
            pub fn names() -> String {
                Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", ")
            }
        }

        impl $crate::domain::WireEnum for $name {
            const VALUES: &'static [Self] = Self::ALL;

            fn spelling(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::parse(&text).ok_or_else(|| {
                    // Not the value: it may be a secret in the wrong place.
                    serde::de::Error::custom(format!("is none of {}", Self::names()))
                })
            }
        }
    };
}
pub(crate) use wire_enum;
