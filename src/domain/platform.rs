//! The fifteen platforms. A new one is a variant here, a file in `platforms/`, and the arms that
//! rustc then asks for.

use super::wire_enum;

wire_enum! {
    /// A platform, spelled as `integrations.platform_name`.
    Platform {
        Jira = "jira",
        Servicenow = "servicenow",
        Zendesk = "zendesk",
        Freshdesk = "freshdesk",
        Salesforce = "salesforce",
        Hubspot = "hubspot",
        Slack = "slack",
        Teams = "teams",
        Email = "email",
        Sms = "sms",
        Zoom = "zoom",
        Asana = "asana",
        Trello = "trello",
        Github = "github",
        Webhook = "webhook",
    }
}

wire_enum! {
    /// What kind of platform it is, spelled as `integrations.integration_category`.
    IntegrationCategory {
        Ticketing = "ticketing",
        Crm = "crm",
        Messaging = "messaging",
        Communication = "communication",
        ProjectManagement = "project_management",
        CodeRepository = "code_repository",
        Webhook = "webhook",
    }
}

impl Platform {
    /// The one category that fits this platform (contract §4).
    #[must_use]
    pub const fn category(self) -> IntegrationCategory {
        match self {
            Self::Jira | Self::Servicenow | Self::Zendesk | Self::Freshdesk => {
                IntegrationCategory::Ticketing
            }
            Self::Salesforce | Self::Hubspot => IntegrationCategory::Crm,
            Self::Slack | Self::Teams => IntegrationCategory::Messaging,
            Self::Email | Self::Sms | Self::Zoom => IntegrationCategory::Communication,
            Self::Asana | Self::Trello => IntegrationCategory::ProjectManagement,
            Self::Github => IntegrationCategory::CodeRepository,
            Self::Webhook => IntegrationCategory::Webhook,
        }
    }
}
