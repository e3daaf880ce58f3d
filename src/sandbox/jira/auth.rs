//! OAuth with refresh tokens that rotate, and what a token is good for.

use serde_json::json;

use super::super::answer::Answer;
use super::super::kit::grants::{Denied, Rules};
use super::super::kit::{Hit, Tabled};
use super::{Jira, unauthenticated};

impl Jira {
    /// `POST /oauth/token`. A first refresh token may be anything; it and every later one work
    /// once.
    pub(super) fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let rules = Rules::refreshing(self.common.settings.access_token_seconds);
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["scope"] =
                    "read:jira-work write:jira-work read:jira-user offline_access".into();
                Answer::json(200, body).mutated()
            }
            Err(Denied::NoClient | Denied::InvalidClient) => {
                refused(401, "access_denied", "Unauthorized")
            }
            // Status and code as Atlassian documents them for a used or expired refresh token.
            Err(denied @ Denied::InvalidGrant(_)) => refused(403, denied.code(), denied.why()),
            Err(denied @ Denied::UnsupportedGrantType) => {
                refused(400, denied.code(), "only refresh_token is modelled")
            }
        }
    }

    pub(super) fn accessible_resources(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        if self.caller(call, hit.now).is_err() {
            return unauthenticated();
        }
        let scopes = ["read:jira-work", "write:jira-work", "read:jira-user"];
        let id = format!("sandbox-cloud-{}", self.site);
        Answer::json(
            200,
            json!([{"id": id, "url": call.base, "name": self.site, "scopes": scopes}]),
        )
    }
}

/// The token endpoint's refusal.
pub(super) fn refused(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        json!({"error": error, "error_description": description}),
    )
}
