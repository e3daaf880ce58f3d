//! The two APIs of a site, and where their paths begin.

use super::super::call::Call;

/// The API version in the path. Data Center has only 2, and is recognised by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Data Center: text bodies, user names.
    V2,
    /// Cloud: ADF bodies, account ids.
    V3,
}

impl Version {
    /// The version that a request's path names; of one that names none, Cloud's.
    pub(super) fn of(call: &Call) -> Self {
        match below(call) {
            [rest, api, version, ..] if rest == "rest" && api == "api" && version == "2" => {
                Self::V2
            }
            _ => Self::V3,
        }
    }

    pub(super) const fn digit(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// A path's segments. The gateway's form, `/ex/jira/{cloudId}/rest/api/3/…`, is the same site.
pub(super) fn below(call: &Call) -> &[String] {
    match call.segments.as_slice() {
        [ex, jira, _cloud_id, rest @ ..] if ex == "ex" && jira == "jira" => rest,
        all => all,
    }
}
