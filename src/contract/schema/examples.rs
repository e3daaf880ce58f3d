//! An example of each command, for the AsyncAPI document; all of them are sent to a worker by the
//! tests.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::CommandType;

const ORGANIZATION: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
const INTEGRATION: &str = "a0abea7c-a9de-42d2-b63e-71d3ac22d3e4";
const TICKET: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";

/// A command of this type, as a producer would publish it.
#[must_use]
pub fn example(command_type: CommandType) -> Value {
    // Its own id, the same every time it is printed.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, command_type.as_str().as_bytes());
    json!({
        "specversion": "1.0", "id": id, "source": "/support-portal", "type": command_type,
        "time": "2026-01-31T12:00:00Z", "organizationid": ORGANIZATION, "data": data(command_type),
    })
}

fn data(command_type: CommandType) -> Value {
    match command_type {
        CommandType::TicketCreate => json!({
            "ticket_id": TICKET, "title": "Login page returns 500",
            "description": "Since the **last deploy**.",
            "category": "bug", "priority": "high", "tags": ["login"], "integration_id": INTEGRATION,
            "attachments": [{ "name": "error.txt", "content_base64": "SFRUUCA1MDA=",
                "media_type": "text/plain" }],
        }),
        CommandType::TicketAiCreate => json!({
            "user_input": "Nobody can log in since this morning, please help at once!",
            "conversation_context": [{ "role": "agent", "content": "What happened?" }],
            "user_preferences": { "department": "it" }, "integration_id": INTEGRATION,
        }),
        CommandType::TicketUpdate => {
            json!({ "ticket_id": TICKET, "priority": "critical", "tags": ["login", "vip"] })
        }
        CommandType::TicketStatus => {
            json!({ "ticket_id": TICKET, "status": "resolved",
                "resolution_summary": "Rolled back." })
        }
        CommandType::TicketAssign => {
            json!({ "ticket_id": TICKET, "assigned_to_id": null, "reason": "on leave" })
        }
        CommandType::TicketComment => {
            json!({ "ticket_id": TICKET, "body": "We are looking at it." })
        }
        CommandType::TicketAttach => json!({ "ticket_id": TICKET, "attachments": [
            { "name": "screen.png", "url": "https://files.example.org/screen.png",
                "media_type": "image/png" },
        ] }),
        CommandType::TicketDelete | CommandType::TicketGet => json!({ "ticket_id": TICKET }),
        CommandType::TicketSearch => json!({ "q": "login", "status": "open", "limit": 50 }),
        CommandType::TicketBulkUpdate => {
            json!({ "ticket_ids": [TICKET], "updates": { "category": "technical" },
                "reason": "triage" })
        }
        CommandType::IntegrationCreate => json!({
            "name": "Support desk", "platform_name": "jira",
            "base_url": "https://example.atlassian.net",
            "credentials": { "email": "bot@example.org", "api_token": "ATATT3x…" },
            "settings": { "project_key": "SUP" }, "default_priority": 50,
        }),
        CommandType::IntegrationUpdate => {
            json!({ "integration_id": INTEGRATION, "rate_limit_per_hour": 1000, "region": null })
        }
        CommandType::IntegrationDelete | CommandType::IntegrationGet => {
            json!({ "integration_id": INTEGRATION })
        }
        CommandType::IntegrationList => json!({ "platform_name": "jira", "enabled": true }),
        CommandType::IntegrationStatus => {
            json!({ "integration_id": INTEGRATION, "enabled": false, "reason": "moving house" })
        }
        CommandType::IntegrationTest => {
            json!({ "integration_id": INTEGRATION, "test_types": ["connection", "authentication",
                "permissions"] })
        }
        CommandType::IntegrationSync => json!({ "integration_id": INTEGRATION, "dry_run": true }),
        CommandType::IntegrationWebhook => {
            json!({ "integration_id": INTEGRATION, "action": "register" })
        }
        CommandType::IntegrationRoute => {
            json!({ "ticket": { "title": "Invoice is wrong", "category": "billing" } })
        }
        CommandType::IntegrationFields => {
            json!({ "integration_id": INTEGRATION, "search": "priority" })
        }
        CommandType::WebhookReceived => json!({
            "integration_id": INTEGRATION, "headers": { "x-github-event": "issues" },
            "body": "e30=", "received_at": "2026-01-31T12:00:00Z",
        }),
    }
}
