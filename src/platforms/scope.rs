//! What a budget of a platform covers.

/// What a budget is of, and so what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything of the integration.
    Integration,
    /// Requests of this kind.
    Endpoint,
    /// Changes of this one item.
    Item,
}
