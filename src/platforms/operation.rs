//! What is to be done at a platform.

use chrono::{DateTime, Utc};

use super::File;
use crate::domain::{TicketPatch, TicketStatus, TicketView, UserRef};

/// Whose doing an operation is: the same over all its attempts.
#[derive(Debug, Clone, Copy)]
pub struct DedupKey<'a> {
    /// The mark of duplicate protection: derived from the ticket for a create, from the command for
    /// all else.
    pub marker: &'a str,
    /// When the command came in.
    pub received_at: DateTime<Utc>,
}

/// What is to be done at the platform. An operation a platform lacks is answered with
/// [`super::ErrorClass::Unsupported`], never with a pretence.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Make the platform's item for a ticket.
    Create {
        /// The ticket as it stands.
        ticket: &'a TicketView,
        /// Whose doing it is; the mark is the ticket's: it exists once in one integration, whoever
        /// asked and how often.
        key: DedupKey<'a>,
    },
    /// Change fields of the item.
    Update {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// What changed.
        patch: &'a TicketPatch,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
    /// Move the item to another status.
    Status {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// Where to.
        status: TicketStatus,
        /// For resolved and closed.
        resolution_summary: Option<&'a str>,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
    /// Give the item to somebody, or to nobody.
    Assign {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// `None` unassigns.
        assignee: Option<&'a UserRef>,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
    /// Say something on the item.
    Comment {
        /// The ticket.
        ticket: &'a TicketView,
        /// Markdown.
        body: &'a str,
        /// Whether the customer may see it.
        public: bool,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
    /// Put a file to the item.
    Attach {
        /// The ticket.
        ticket: &'a TicketView,
        /// The file.
        file: &'a File,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
    /// The ticket is deleted with us: close the item, as far as the platform knows that; nothing is
    /// erased.
    Delete {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// Whose doing it is.
        key: DedupKey<'a>,
    },
}

impl Operation<'_> {
    /// Its kind, for descriptors, logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Create { .. } => OperationKind::Create,
            Self::Update { .. } => OperationKind::Update,
            Self::Status { .. } => OperationKind::Status,
            Self::Assign { .. } => OperationKind::Assign,
            Self::Comment { .. } => OperationKind::Comment,
            Self::Attach { .. } => OperationKind::Attach,
            Self::Delete { .. } => OperationKind::Delete,
        }
    }

    /// Whose doing it is.
    #[must_use]
    pub const fn key(&self) -> DedupKey<'_> {
        match self {
            Self::Create { key, .. }
            | Self::Update { key, .. }
            | Self::Status { key, .. }
            | Self::Assign { key, .. }
            | Self::Comment { key, .. }
            | Self::Attach { key, .. }
            | Self::Delete { key, .. } => *key,
        }
    }

    /// The ticket it is about.
    #[must_use]
    pub const fn ticket(&self) -> &TicketView {
        match self {
            Self::Create { ticket, .. }
            | Self::Update { ticket, .. }
            | Self::Status { ticket, .. }
            | Self::Assign { ticket, .. }
            | Self::Comment { ticket, .. }
            | Self::Attach { ticket, .. }
            | Self::Delete { ticket, .. } => ticket,
        }
    }

    /// The same with a deletion as what it is on most platforms: the item is closed.
    #[must_use]
    pub const fn deletion_closes(self) -> Self {
        match self {
            Self::Delete { ticket, key } => Self::Status {
                ticket,
                status: TicketStatus::Closed,
                resolution_summary: None,
                key,
            },
            Self::Create { .. }
            | Self::Update { .. }
            | Self::Status { .. }
            | Self::Assign { .. }
            | Self::Comment { .. }
            | Self::Attach { .. } => self,
        }
    }
}

crate::domain::wire_enum! {
    /// An operation without its contents.
    OperationKind {
        Create = "create",
        Update = "update",
        Status = "status",
        Assign = "assign",
        Comment = "comment",
        Attach = "attach",
        Delete = "delete",
    }
}

crate::domain::wire_enum! {
    /// What `integration.test` can try.
    TestKind {
        Connection = "connection",
        Authentication = "authentication",
        Permissions = "permissions",
        CreateTicket = "create_ticket",
    }
}
