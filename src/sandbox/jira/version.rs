//! The two APIs of a site, and where their paths begin.

use super::super::call::Call;
use super::settings::Deployment;

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Cloud: account ids, the search by token. Data Center: user names, the search by number.
    pub(super) is_cloud: bool,
    /// Version 3: texts are documents. Version 2: they are text.
    pub(super) has_documents: bool,
}

impl Version {
    /// The version that a request's path names; of one that names none, Cloud's.
    pub(super) fn of(call: &Call, deployment: Deployment) -> Self {
        let has_documents = match below(call) {
            [rest, api, version, ..] if rest == "rest" && api == "api" => version == "3",
            _ => true,
        };
        // Cloud's accounts log in with their addresses.
        let is_of_cloud = || call.basic().is_some_and(|(user, _)| user.contains('@'));
        let is_cloud = match deployment {
            Deployment::AsCalled => has_documents || is_of_cloud(),
            Deployment::Cloud => true,
            Deployment::DataCenter => false,
        };
        Self {
            is_cloud,
            has_documents,
        }
    }

    pub(super) const fn digit(self) -> u8 {
        if self.has_documents { 3 } else { 2 }
    }
}

/// A path's segments. The gateway's form, `/ex/jira/{cloudId}/rest/api/3/…`, is the same site.
pub(super) fn below(call: &Call) -> &[String] {
    match call.segments.as_slice() {
        [ex, jira, _cloud_id, rest @ ..] if ex == "ex" && jira == "jira" => rest,
        all => all,
    }
}
