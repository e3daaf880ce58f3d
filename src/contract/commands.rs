//! The data of each command, validated. A type of the contract that this version does not carry out
//! yet parses to [`Command::Unsupported`] and fails with `unsupported_operation`, so that nothing
//! is lost and nobody is misled.

use serde_json::{Map, Value};

use super::bulk::{self, TicketBulkUpdate};
use super::fields::schema_of;
use super::integration::{
    self, IntegrationCreate, IntegrationSetEnabled, IntegrationSync, IntegrationTest,
    IntegrationWebhook,
};
use super::integration_update::{self, IntegrationUpdate};
use super::query::{self, IntegrationFields, IntegrationList, RouteQuery};
use super::readers::{integration_id, ticket_id};
use super::ticket::{
    self, TicketAiCreate, TicketAssign, TicketAttach, TicketComment, TicketCreate, TicketSetStatus,
    TicketUpdate,
};
use super::webhook::{self, WebhookReceived};
use super::{Attachment, CommandType, Faults, Fields, TicketSearch};
use crate::domain::{CommandId, IntegrationId, TicketId};

/// A command's data, validated.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Is about one ticket: takes its turn, and calls a platform where the ticket is bound.
    Ticket(TicketCommand),
    /// Changes something of ours: an integration, many tickets.
    Admin(AdminCommand),
    /// Changes nothing, is not deduplicated and answers to whoever asked.
    Read(ReadCommand),
    /// `webhook.received`: changes tickets' rows as their platform tells, and never a platform.
    Inbound(Box<WebhookReceived>),
    /// A type of the contract that is not carried out yet.
    Unsupported(CommandType),
}

/// A command about one ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum TicketCommand {
    /// `ticket.create`
    Create(Box<TicketCreate>),
    /// `ticket.ai_create`
    AiCreate(Box<TicketAiCreate>),
    /// `ticket.update`
    Update(TicketUpdate),
    /// `ticket.status`
    Status(TicketSetStatus),
    /// `ticket.assign`
    Assign(TicketAssign),
    /// `ticket.comment`
    Comment(TicketComment),
    /// `ticket.attach`
    Attach(TicketAttach),
    /// `ticket.delete`
    Delete(TicketId),
}

/// A command whose effect is on our own tables.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminCommand {
    /// `integration.create`
    CreateIntegration(Box<IntegrationCreate>),
    /// `integration.update`
    UpdateIntegration(Box<IntegrationUpdate>),
    /// `integration.delete`
    DeleteIntegration(IntegrationId),
    /// `integration.status`
    SetEnabled(IntegrationSetEnabled),
    /// `integration.test`
    TestIntegration(IntegrationTest),
    /// `integration.sync`
    SyncIntegration(IntegrationSync),
    /// `integration.webhook`
    Webhook(IntegrationWebhook),
    /// `ticket.bulk_update`
    BulkUpdate(Box<TicketBulkUpdate>),
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadCommand {
    /// `integration.get`
    Integration(IntegrationId),
    /// `integration.list`
    Integrations(IntegrationList),
    /// `ticket.get`
    Ticket(TicketId),
    /// `ticket.search`
    Search(Box<TicketSearch>),
    /// `integration.route`
    Route(Box<RouteQuery>),
    /// `integration.fields`
    Fields(IntegrationFields),
}

impl Command {
    /// Validates the data of a command; faults are recorded by field.
    pub fn parse(
        command_type: CommandType,
        data: Map<String, Value>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let before = faults.len();
        let mut f = Fields::new(data, faults);
        let command = Self::read(command_type, &mut f);
        if matches!(command, Self::Unsupported(_)) {
            // Their fields are not known here yet, so none can be called unknown.
            return Some(command);
        }
        f.finish();
        (faults.len() == before).then_some(command)
    }

    /// The JSON Schema of a command's data: what [`Command::parse`] takes. Beyond it, null counts
    /// as absent, and some fields are judged beside others.
    #[must_use]
    pub fn schema(command_type: CommandType) -> Value {
        schema_of(|f| Self::read(command_type, f))
    }

    fn read(command_type: CommandType, f: &mut Fields<'_>) -> Self {
        match command_type {
            CommandType::TicketCreate => TicketCommand::Create(Box::new(ticket::create(f))).into(),
            CommandType::TicketAiCreate => {
                TicketCommand::AiCreate(Box::new(ticket::ai_create(f))).into()
            }
            CommandType::TicketUpdate => TicketCommand::Update(ticket::update(f)).into(),
            CommandType::TicketStatus => TicketCommand::Status(ticket::status(f)).into(),
            CommandType::TicketAssign => TicketCommand::Assign(ticket::assign(f)).into(),
            CommandType::TicketComment => TicketCommand::Comment(ticket::comment(f)).into(),
            CommandType::TicketAttach => TicketCommand::Attach(ticket::attach(f)).into(),
            CommandType::TicketDelete => TicketCommand::Delete(ticket_id(f)).into(),
            CommandType::TicketBulkUpdate => {
                AdminCommand::BulkUpdate(Box::new(bulk::read(f))).into()
            }
            CommandType::IntegrationCreate => {
                AdminCommand::CreateIntegration(Box::new(integration::create(f))).into()
            }
            CommandType::IntegrationUpdate => {
                AdminCommand::UpdateIntegration(Box::new(integration_update::read(f))).into()
            }
            CommandType::IntegrationDelete => {
                AdminCommand::DeleteIntegration(integration_id(f)).into()
            }
            CommandType::IntegrationStatus => {
                AdminCommand::SetEnabled(integration::set_enabled(f)).into()
            }
            CommandType::IntegrationTest => {
                AdminCommand::TestIntegration(integration::test(f)).into()
            }
            CommandType::IntegrationSync => {
                AdminCommand::SyncIntegration(integration::sync(f)).into()
            }
            CommandType::IntegrationWebhook => {
                AdminCommand::Webhook(integration::webhook(f)).into()
            }
            CommandType::TicketGet => ReadCommand::Ticket(ticket_id(f)).into(),
            CommandType::TicketSearch => {
                ReadCommand::Search(Box::new(TicketSearch::parse(f))).into()
            }
            CommandType::IntegrationGet => ReadCommand::Integration(integration_id(f)).into(),
            CommandType::IntegrationList => ReadCommand::Integrations(query::list(f)).into(),
            CommandType::IntegrationRoute => ReadCommand::Route(Box::new(query::route(f))).into(),
            CommandType::IntegrationFields => ReadCommand::Fields(query::fields(f)).into(),
            CommandType::WebhookReceived => Self::Inbound(Box::new(webhook::received(f))),
        }
    }

    /// The integration the data names.
    #[must_use]
    pub fn integration_id(&self) -> Option<IntegrationId> {
        match self {
            Self::Ticket(command) => match command {
                TicketCommand::Create(create) if create.create_externally => create.integration_id,
                TicketCommand::AiCreate(create) if create.create_externally => {
                    create.integration_id
                }
                TicketCommand::Update(update) => update.integration_id,
                TicketCommand::Create(_)
                | TicketCommand::AiCreate(_)
                | TicketCommand::Status(_)
                | TicketCommand::Assign(_)
                | TicketCommand::Comment(_)
                | TicketCommand::Attach(_)
                | TicketCommand::Delete(_) => None,
            },
            Self::Admin(command) => match command {
                AdminCommand::UpdateIntegration(update) => Some(update.integration_id),
                AdminCommand::DeleteIntegration(id) => Some(*id),
                AdminCommand::SetEnabled(set) => Some(set.integration_id),
                AdminCommand::TestIntegration(test) => Some(test.integration_id),
                AdminCommand::SyncIntegration(sync) => Some(sync.integration_id),
                AdminCommand::Webhook(webhook) => Some(webhook.integration_id),
                AdminCommand::CreateIntegration(_) | AdminCommand::BulkUpdate(_) => None,
            },
            Self::Read(command) => match command {
                ReadCommand::Integration(id) => Some(*id),
                ReadCommand::Fields(fields) => Some(fields.integration_id),
                ReadCommand::Integrations(_)
                | ReadCommand::Route(_)
                | ReadCommand::Ticket(_)
                | ReadCommand::Search(_) => None,
            },
            Self::Inbound(hook) => Some(hook.integration_id),
            Self::Unsupported(_) => None,
        }
    }

    /// The ticket it is about; a create without one gets the command's own.
    #[must_use]
    pub fn ticket_id(&self, id: CommandId) -> Option<TicketId> {
        match self {
            Self::Ticket(command) => Some(match command {
                TicketCommand::Create(create) => {
                    create.ticket_id.unwrap_or_else(|| id.default_ticket())
                }
                TicketCommand::AiCreate(_) => id.default_ticket(),
                TicketCommand::Update(update) => update.ticket_id,
                TicketCommand::Status(status) => status.ticket_id,
                TicketCommand::Assign(assign) => assign.ticket_id,
                TicketCommand::Comment(comment) => comment.ticket_id,
                TicketCommand::Attach(attach) => attach.ticket_id,
                TicketCommand::Delete(ticket) => *ticket,
            }),
            Self::Read(ReadCommand::Route(query)) => query.ticket_id,
            Self::Read(ReadCommand::Ticket(ticket)) => Some(*ticket),
            Self::Admin(_) | Self::Read(_) | Self::Inbound(_) | Self::Unsupported(_) => None,
        }
    }

    /// Its files.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        match self {
            Self::Ticket(TicketCommand::Create(create)) => &create.attachments,
            Self::Ticket(TicketCommand::AiCreate(create)) => &create.attachments,
            Self::Ticket(TicketCommand::Attach(attach)) => &attach.attachments,
            Self::Ticket(_)
            | Self::Admin(_)
            | Self::Read(_)
            | Self::Inbound(_)
            | Self::Unsupported(_) => &[],
        }
    }

    /// Whether it makes its ticket: it waits for nobody, and others wait for it.
    #[must_use]
    pub const fn creates_ticket(&self) -> bool {
        matches!(
            self,
            Self::Ticket(TicketCommand::Create(_) | TicketCommand::AiCreate(_))
        )
    }

    /// Reads change nothing, are not deduplicated and answer to whoever asked.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        match self {
            Self::Read(_) => true,
            Self::Ticket(_) | Self::Admin(_) | Self::Inbound(_) | Self::Unsupported(_) => false,
        }
    }
}

impl From<TicketCommand> for Command {
    fn from(command: TicketCommand) -> Self {
        Self::Ticket(command)
    }
}

impl From<AdminCommand> for Command {
    fn from(command: AdminCommand) -> Self {
        Self::Admin(command)
    }
}

impl From<ReadCommand> for Command {
    fn from(command: ReadCommand) -> Self {
        Self::Read(command)
    }
}
