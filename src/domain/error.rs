//! The contract's error codes, and a failure fit to be published.

use std::collections::BTreeMap;

use super::wire_enum;

wire_enum! {
    /// What went wrong, spelled as in contract §5. `retryable` is a property of the code, not of
    /// the case.
    ErrorCode {
        InvalidCommand = "invalid_command",
        UnknownType = "unknown_type",
        IdempotencyConflict = "idempotency_conflict",
        Expired = "expired",
        Cancelled = "cancelled",
        Quarantined = "quarantined",
        OrganizationNotFound = "organization_not_found",
        OrganizationDisabled = "organization_disabled",
        IntegrationNotFound = "integration_not_found",
        IntegrationDisabled = "integration_disabled",
        IntegrationExpired = "integration_expired",
        IntegrationInactive = "integration_inactive",
        IntegrationCannotHandle = "integration_cannot_handle",
        UnsupportedOperation = "unsupported_operation",
        UnsupportedPlatform = "unsupported_platform",
        CredentialsUnreadable = "credentials_unreadable",
        AuthenticationFailed = "authentication_failed",
        PermissionDenied = "permission_denied",
        TicketNotFound = "ticket_not_found",
        ExternalNotFound = "external_not_found",
        ValidationFailed = "validation_failed",
        Conflict = "conflict",
        EgressBlocked = "egress_blocked",
        OutcomeUnknown = "outcome_unknown",
        RateLimited = "rate_limited",
        PlatformUnavailable = "platform_unavailable",
        Timeout = "timeout",
        CircuitOpen = "circuit_open",
        MaintenanceWindow = "maintenance_window",
        AttemptsExhausted = "attempts_exhausted",
        Internal = "internal",
    }
}

impl ErrorCode {
    /// Whether the contract calls the code retryable. `outcome_unknown` is the one whose answer
    /// depends on the moment (yes while it is looked up, no at the end): [`Failure::retryable`]
    /// carries that.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self {
            Self::OutcomeUnknown
            | Self::RateLimited
            | Self::PlatformUnavailable
            | Self::Timeout
            | Self::CircuitOpen
            | Self::MaintenanceWindow
            | Self::Internal => true,
            Self::InvalidCommand
            | Self::UnknownType
            | Self::IdempotencyConflict
            | Self::Expired
            | Self::Cancelled
            | Self::Quarantined
            | Self::OrganizationNotFound
            | Self::OrganizationDisabled
            | Self::IntegrationNotFound
            | Self::IntegrationDisabled
            | Self::IntegrationExpired
            | Self::IntegrationInactive
            | Self::IntegrationCannotHandle
            | Self::UnsupportedOperation
            | Self::UnsupportedPlatform
            | Self::CredentialsUnreadable
            | Self::AuthenticationFailed
            | Self::PermissionDenied
            | Self::TicketNotFound
            | Self::ExternalNotFound
            | Self::ValidationFailed
            | Self::Conflict
            | Self::EgressBlocked
            | Self::AttemptsExhausted => false,
        }
    }
}

/// The `error` member of an event: fit to show to a person, never with a credential in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// The contract's code.
    pub code: ErrorCode,
    /// For a person: what happened and, where there is one, the remedy.
    pub message: String,
    /// Whether it will or may be tried again.
    pub retryable: bool,
    /// What the platform answered, where it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub http_status: Option<u16>,
    /// Field by field, what is wrong with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub fields: BTreeMap<String, String>,
}

impl Failure {
    /// A failure with the code's own `retryable`.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: code.retryable(),
            http_status: None,
            fields: BTreeMap::new(),
        }
    }

    /// Adds what the platform answered.
    #[must_use]
    pub fn with_status(mut self, status: Option<u16>) -> Self {
        self.http_status = status;
        self
    }

    /// Adds the faults by field.
    #[must_use]
    pub fn with_fields(mut self, fields: BTreeMap<String, String>) -> Self {
        self.fields = fields;
        self
    }

    /// The same failure as a last word: `outcome_unknown` is no longer retryable once nobody looks
    /// any more.
    #[must_use]
    pub fn finally(mut self) -> Self {
        self.retryable = false;
        self
    }
}
