//! What is peculiar to each platform, end to end, and its rows of the conformance suite.

mod asana;
mod email;
mod freshdesk;
mod github;
mod hubspot;
mod jira;
mod jira_settings;
mod salesforce;
mod servicenow;
mod slack;
mod sms;
mod teams;
mod trello;
mod webhook;
mod zendesk;
mod zoom;

use ticketwire::domain::Platform;

use crate::canaries;
use crate::conformance::Row;

/// A platform's rows of the conformance suite: one for each mode. A platform without any does not
/// compile, and one whose adapter is written has to have some.
pub(crate) fn rows(platform: Platform) -> Vec<Row> {
    match platform {
        Platform::Asana => asana::rows(),
        Platform::Email => email::rows(),
        Platform::Freshdesk => freshdesk::rows(),
        Platform::Github => github::rows(),
        Platform::Hubspot => hubspot::rows(),
        Platform::Jira => jira::rows(),
        Platform::Salesforce => salesforce::rows(),
        Platform::Servicenow => servicenow::rows(),
        Platform::Slack => slack::rows(),
        Platform::Sms => sms::rows(),
        Platform::Teams => teams::rows(),
        Platform::Trello => trello::rows(),
        Platform::Webhook => webhook::rows(),
        Platform::Zendesk => zendesk::rows(),
        Platform::Zoom => zoom::rows(),
    }
}

/// A platform's modes for the canary suite, beside its rows.
pub(crate) fn canaries(platform: Platform) -> Vec<canaries::Mode> {
    match platform {
        Platform::Asana => asana::canaries(),
        Platform::Freshdesk => freshdesk::canaries(),
        Platform::Github => github::canaries(),
        Platform::Hubspot => hubspot::canaries(),
        Platform::Jira => jira::canaries(),
        Platform::Salesforce => salesforce::canaries(),
        Platform::Servicenow => servicenow::canaries(),
        Platform::Slack => slack::canaries(),
        Platform::Sms => sms::canaries(),
        Platform::Teams => teams::canaries(),
        Platform::Trello => trello::canaries(),
        Platform::Webhook => webhook::canaries(),
        Platform::Zendesk => zendesk::canaries(),
        Platform::Zoom => zoom::canaries(),
        // The suite's other side speaks HTTP; the secrets of mail have tests beside its own.
        Platform::Email => Vec::new(),
    }
}
