//! An integration with each fake platform, as `integration.create` takes it. The demo uses it, and
//! so can anybody who tries the sandbox by hand.

use serde_json::{Value, json};

use super::Sandbox;
use crate::domain::Platform;

/// An integration that a site of the sandbox lets in.
#[derive(Debug, Clone)]
pub struct Example {
    /// How people call the platform.
    pub name: &'static str,
    /// What `integration.create` takes.
    pub data: Value,
    /// The request that makes an item, by the fake's name. `None` where an item whose answer was
    /// lost can be neither found again nor recognised by the platform.
    pub creates: Option<&'static str>,
}

impl Sandbox {
    /// An integration with this site of a platform.
    #[must_use]
    pub fn example(&self, platform: Platform, site: &str) -> Example {
        let base = self.url(&format!("{platform}/{site}"));
        let (name, auth_type, settings, credentials, creates) = match platform {
            Platform::Jira => (
                "Jira",
                "api_key",
                json!({ "project_key": "SUP" }),
                json!({ "email": "bot@example.test", "api_token": "demo-token" }),
                Some("create_issue"),
            ),
            Platform::Zendesk => (
                "Zendesk",
                "api_key",
                json!({}),
                json!({ "email": "bot@example.test", "api_token": "demo-token" }),
                Some("create_ticket"),
            ),
            Platform::Freshdesk => (
                "Freshdesk",
                "api_key",
                json!({
                    "requester_email": "customers@example.test",
                    "reference_field": "cf_external_ref",
                }),
                json!({ "api_key": "demo-key" }),
                Some("create_ticket"),
            ),
            Platform::Hubspot => (
                "HubSpot",
                "bearer",
                json!({ "unique_property": "external_ticket_id" }),
                json!({ "access_token": "demo-token" }),
                Some("upsert_ticket"),
            ),
            Platform::Github => (
                "GitHub",
                "bearer",
                json!({ "owner": "octo", "repository": "support" }),
                json!({ "token": "demo-token" }),
                Some("create_issue"),
            ),
            Platform::Slack => (
                "Slack",
                "bearer",
                json!({ "channel": "C0SUPPORT" }),
                json!({ "bot_token": "xoxb-demo-token" }),
                Some("chat.postMessage"),
            ),
            Platform::Email => (
                "e-mail",
                "basic",
                json!({
                    "smtp_host": "127.0.0.1", "smtp_port": self.smtp().port(), "security": "none",
                    "from_address": "support@example.com", "to": ["ops@example.net"],
                }),
                json!({ "username": site, "password": "demo-password" }),
                None,
            ),
            Platform::Webhook => (
                "the webhook's receiver",
                "custom",
                json!({}),
                json!({ "signing_secret": "whsec_ZGVtby1zZWNyZXQtb2YtdGhlLXNhbmRib3g=" }),
                Some("deliver"),
            ),
            Platform::Servicenow => (
                "ServiceNow",
                "basic",
                json!({ "close_code": "Duplicate" }),
                json!({ "username": "bot", "password": "demo-password" }),
                Some("create_incident"),
            ),
            Platform::Salesforce => (
                "Salesforce",
                "oauth2",
                json!({ "login_url": base, "external_id_field": "External_Ticket_Id__c" }),
                json!({ "client_id": "demo", "client_secret": "demo-secret" }),
                Some("upsert_case"),
            ),
            Platform::Sms => (
                "SMS by Twilio",
                "basic",
                json!({ "from_number": "+14155550100", "to": "+14155550199" }),
                json!({
                    "account_sid": "AC00000000000000000000000000000001", "auth_token": "demo-token",
                }),
                Some("send_message"),
            ),
            Platform::Asana => (
                "Asana",
                "bearer",
                json!({ "workspace_gid": "1100000000000001", "project_gid": "1200000000000001",
                    "priority_field": "Priority" }),
                json!({ "access_token": "demo-token" }),
                Some("create_task"),
            ),
            Platform::Trello => (
                "Trello",
                "api_key",
                json!({
                    "board_id": "5f0000000000000000000b01", "list_id": "5f0000000000000000000a01",
                    "status_map": { "in_progress": "Doing", "resolved": "Done", "closed": "Done" },
                }),
                json!({ "api_key": "demo-key", "api_token": "demo-token" }),
                Some("create_card"),
            ),
            Platform::Zoom => (
                "Zoom Team Chat",
                "oauth2",
                json!({ "user_id": "desk@example.test", "channel_id": "c0ffee5upp0rt" }),
                json!({
                    "account_id": "demo-account", "client_id": "demo",
                    "client_secret": "demo-secret",
                }),
                Some("post_message"),
            ),
            Platform::Teams => (
                "Microsoft Teams",
                "oauth2",
                json!({ "team_id": "00000000-0000-0000-0000-000000000001",
                    "channel_id": "19:support@thread.tacv2" }),
                json!({ "tenant_id": "contoso.example", "client_id": "demo",
                    "client_secret": "demo-secret", "refresh_token": "demo-refresh" }),
                Some("post_message"),
            ),
        };
        let mut data = json!({
            "name": format!("Demo {platform}"), "platform_name": platform, "auth_type": auth_type,
            "settings": settings, "credentials": credentials,
        });
        // Where these are, their settings or their grants say.
        if !matches!(platform, Platform::Email | Platform::Salesforce) {
            data["base_url"] = base.into();
        }
        Example {
            name,
            data,
            creates,
        }
    }
}
