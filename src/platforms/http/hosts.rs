//! Hosts that a request may name beside its own.

/// The beginning of a URL that comes with the access token. No name below `invalid` exists (RFC
/// 2606).
pub(super) const GRANTED_HOST: &str = "https://granted.invalid/";

/// Hosts that a redirect may lead to. A request without one is never redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostSuffix {
    /// The origin that was asked: scheme, host and port. The credentials go along.
    Own,
    /// A host of this name, or one below it. The credentials stay behind.
    Below(&'static str),
    /// The same, and the vendor says that the credentials are to go along.
    Trusted(&'static str),
}

impl HostSuffix {
    /// Whether a host is of this name or below it.
    pub(in crate::platforms) fn covers(name: &str, host: &str) -> bool {
        host == name
            || host
                .strip_suffix(name)
                .is_some_and(|before| before.ends_with('.'))
    }
}
