//! The lanes of management commands, which their type decides. All other commands are in their
//! integration's lane.

use uuid::Uuid;

use crate::contract::CommandType;
use crate::domain::{IntegrationId, OrganizationId};

/// The lane of an organization's commands that change only our own tables.
pub(in crate::pipeline) fn admin_lane(organization: OrganizationId) -> Uuid {
    Uuid::new_v5(&organization.uuid(), b"ticketwire admin lane")
}

/// The lane of an integration's management commands that call its platform. An organization that
/// names another's integration is in a lane of its own: it neither takes the other's slots nor
/// learns by waiting that they are taken.
pub(in crate::pipeline) fn check_lane(
    organization: OrganizationId,
    integration: IntegrationId,
) -> Uuid {
    let name = [
        b"ticketwire check lane ",
        organization.uuid().as_bytes().as_slice(),
    ]
    .concat();
    Uuid::new_v5(&integration.uuid(), &name)
}

/// The lane of what an integration's platform tells by itself: it waits neither behind what goes
/// out to that platform nor for its circuit. Of an organization that names another's integration,
/// one of its own, as in [`check_lane`].
pub(in crate::pipeline) fn inbound_lane(
    organization: OrganizationId,
    integration: IntegrationId,
) -> Uuid {
    let name = [
        b"ticketwire inbound lane ",
        organization.uuid().as_bytes().as_slice(),
    ]
    .concat();
    Uuid::new_v5(&integration.uuid(), &name)
}

/// The lane that a command's type decides; `None`: its integration's.
pub(in crate::pipeline) fn lane_of_type(
    command_type: CommandType,
    organization: OrganizationId,
    integration: Option<IntegrationId>,
) -> Option<Uuid> {
    match command_type {
        CommandType::IntegrationTest
        | CommandType::IntegrationSync
        | CommandType::IntegrationWebhook => Some(match integration {
            Some(integration) => check_lane(organization, integration),
            None => admin_lane(organization),
        }),
        CommandType::WebhookReceived => {
            integration.map(|integration| inbound_lane(organization, integration))
        }
        CommandType::IntegrationCreate
        | CommandType::IntegrationUpdate
        | CommandType::IntegrationDelete
        | CommandType::IntegrationStatus
        | CommandType::TicketBulkUpdate => Some(admin_lane(organization)),
        CommandType::TicketCreate
        | CommandType::TicketAiCreate
        | CommandType::TicketUpdate
        | CommandType::TicketStatus
        | CommandType::TicketAssign
        | CommandType::TicketComment
        | CommandType::TicketAttach
        | CommandType::TicketDelete
        | CommandType::TicketGet
        | CommandType::TicketSearch
        | CommandType::IntegrationGet
        | CommandType::IntegrationList
        | CommandType::IntegrationRoute
        | CommandType::IntegrationFields => None,
    }
}
