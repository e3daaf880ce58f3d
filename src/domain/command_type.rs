//! The types of commands, spelled as on the wire.

use super::wire_enum;

wire_enum! {
    /// The type of a command: its CloudEvents `type` and its routing key.
    CommandType {
        TicketCreate = "ticket.create",
        TicketAiCreate = "ticket.ai_create",
        TicketUpdate = "ticket.update",
        TicketStatus = "ticket.status",
        TicketAssign = "ticket.assign",
        TicketComment = "ticket.comment",
        TicketAttach = "ticket.attach",
        TicketDelete = "ticket.delete",
        TicketGet = "ticket.get",
        TicketSearch = "ticket.search",
        TicketBulkUpdate = "ticket.bulk_update",
        IntegrationCreate = "integration.create",
        IntegrationUpdate = "integration.update",
        IntegrationDelete = "integration.delete",
        IntegrationGet = "integration.get",
        IntegrationList = "integration.list",
        IntegrationStatus = "integration.status",
        IntegrationTest = "integration.test",
        IntegrationSync = "integration.sync",
        IntegrationRoute = "integration.route",
        IntegrationFields = "integration.fields",
        IntegrationWebhook = "integration.webhook",
        WebhookReceived = "webhook.received",
    }
}
