//! What is peculiar to each platform, end to end, and its rows of the conformance suite.

mod email;
mod freshdesk;
mod github;
mod hubspot;
mod jira;
mod jira_settings;
mod salesforce;
mod servicenow;
mod slack;
mod webhook;
mod zendesk;

use ticketwire::domain::Platform;

use crate::conformance::Row;

/// A platform's rows of the conformance suite: one for each mode. A platform without any does not
/// compile, and one whose adapter is written has to have some.
pub(crate) fn rows(platform: Platform) -> Vec<Row> {
    match platform {
        Platform::Email => email::rows(),
        Platform::Freshdesk => freshdesk::rows(),
        Platform::Github => github::rows(),
        Platform::Hubspot => hubspot::rows(),
        Platform::Jira => jira::rows(),
        Platform::Salesforce => salesforce::rows(),
        Platform::Servicenow => servicenow::rows(),
        Platform::Slack => slack::rows(),
        Platform::Webhook => webhook::rows(),
        Platform::Zendesk => zendesk::rows(),
        Platform::Teams | Platform::Sms | Platform::Zoom | Platform::Asana | Platform::Trello => {
            Vec::new()
        }
    }
}
