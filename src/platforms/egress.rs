//! Which addresses a request may go to: private and link-local ones are refused at connect time, after DNS.

use ipnet::IpNet;

/// The egress rules in force.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// `egress.allow`: exempt from the private-address block.
    pub allow: Vec<IpNet>,
    /// `egress.allow_http`: `http://` targets.
    pub allow_http: bool,
}
