//! The data of each command, validated. A type of the contract that this version does not carry out yet parses to
//! [`Command::Unwritten`] and fails with `unsupported_operation`, so that nothing is lost and nobody is misled.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::attachments::{self, Attachment};
use super::bulk::{self, TicketBulkUpdate};
use super::fields::{Extent, contains_nul, schema_of};
use super::integration_update::{self, IntegrationUpdate};
use super::route::{self, RouteQuery};
use super::{CommandType, Faults, Fields, TicketSearch};
use crate::domain::{
    AnalysisInput, AuthType, IntegrationCategory, IntegrationId, IntegrationStatus, Platform,
    Priority, TicketCategory, TicketId, TicketPatch, TicketStatus, shown,
};

/// Longest free text; the message limit is the tighter bound in practice.
pub(super) const TEXT_MAX: usize = 1_000_000;
/// Longest description of an integration, which is read with it.
pub(super) const NOTE_MAX: usize = 10_000;

/// A command's data, validated.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Is about one ticket: takes its turn, and calls a platform where the ticket is bound.
    Ticket(TicketCommand),
    /// Changes something of ours: an integration, many tickets.
    Own(OwnCommand),
    /// Changes nothing, is not deduplicated and answers to whoever asked.
    Read(ReadCommand),
    /// A type of the contract that is not carried out yet.
    Unwritten(CommandType),
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
pub enum OwnCommand {
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

/// `ticket.create`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketCreate {
    /// The ticket; `None`: derived from the command's id.
    pub ticket_id: Option<TicketId>,
    /// 1–500 characters.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Default `general`.
    pub category: TicketCategory,
    /// Default `medium`.
    pub priority: Priority,
    /// Default `medium`.
    pub urgency: Priority,
    /// At most 100 characters.
    pub department: Option<String>,
    /// A row of `users`, where there is one.
    pub created_by_id: Option<Uuid>,
    /// A row of `users`, where there is one.
    pub assigned_to_id: Option<Uuid>,
    /// Where to create it; without one the ticket stays with us.
    pub integration_id: Option<IntegrationId>,
    /// Let the rules choose the integration.
    pub route: bool,
    /// Default true.
    pub create_externally: bool,
    /// By our names.
    pub custom_fields: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// Files to attach once it exists.
    pub attachments: Vec<Attachment>,
}

impl Default for TicketCreate {
    fn default() -> Self {
        Self {
            ticket_id: None,
            title: String::new(),
            description: String::new(),
            category: TicketCategory::General,
            priority: Priority::Medium,
            urgency: Priority::Medium,
            department: None,
            created_by_id: None,
            assigned_to_id: None,
            integration_id: None,
            route: false,
            create_externally: true,
            custom_fields: Map::new(),
            tags: Vec::new(),
            attachments: Vec::new(),
        }
    }
}

/// `ticket.ai_create`: the ticket's fields are found by an analysis of what a person wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAiCreate {
    /// What the person wrote, what was said before, what they prefer.
    pub input: AnalysisInput,
    /// Files to attach once it exists.
    pub attachments: Vec<Attachment>,
    /// Where to create it; without one the ticket stays with us.
    pub integration_id: Option<IntegrationId>,
    /// Default true.
    pub create_externally: bool,
}

/// `ticket.attach`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAttach {
    /// The ticket.
    pub ticket_id: TicketId,
    /// At least one.
    pub attachments: Vec<Attachment>,
}

/// `ticket.update`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketUpdate {
    /// The ticket.
    pub ticket_id: TicketId,
    /// What changes.
    pub patch: TicketPatch,
    /// Must be the ticket's own, if given.
    pub integration_id: Option<IntegrationId>,
}

/// `ticket.status`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketSetStatus {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Where to.
    pub status: TicketStatus,
    /// Required for resolved and closed.
    pub resolution_summary: Option<String>,
    /// For our own people.
    pub internal_notes: Option<String>,
}

/// `ticket.assign`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAssign {
    /// The ticket.
    pub ticket_id: TicketId,
    /// `None` unassigns.
    pub assigned_to_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
}

/// `ticket.comment`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketComment {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Markdown.
    pub body: String,
    /// Default true.
    pub public: bool,
}

/// `integration.create`. Credentials are sealed before anything of it is stored.
#[derive(Clone, PartialEq)]
pub struct IntegrationCreate {
    /// Display name, at most 255 characters.
    pub name: String,
    /// Which platform.
    pub platform: Platform,
    /// How to authenticate.
    pub auth_type: AuthType,
    /// As sent, or as sealed text under the one member `sealed`.
    pub credentials: Map<String, Value>,
    /// What is not secret.
    pub settings: Map<String, Value>,
    /// API base.
    pub base_url: Option<String>,
    /// API version.
    pub api_version: Option<String>,
    /// Default true.
    pub enabled: bool,
    /// Free text.
    pub description: Option<String>,
    /// OAuth scopes.
    pub oauth_scopes: Option<Vec<String>>,
    /// An object or a list, as stored by the legacy application.
    pub routing_rules: Option<Value>,
    /// 1–1000, lower is preferred.
    pub default_priority: i32,
    /// Empty means all.
    pub supports_categories: Option<Vec<String>>,
    /// Empty means all.
    pub supports_priorities: Option<Vec<String>>,
    /// Department → team or queue.
    pub department_mapping: Option<Map<String, Value>>,
    /// Our field → theirs.
    pub custom_fields_mapping: Option<Map<String, Value>>,
    /// For inbound webhooks; sealed before it is stored.
    pub webhook_secret: Option<String>,
    /// `None` and 0: no limit.
    pub rate_limit_per_hour: Option<i32>,
    /// Default false.
    pub sync_enabled: bool,
    /// Default 60.
    pub sync_frequency_minutes: i32,
    /// `HH:MM` UTC.
    pub maintenance_window_start: Option<String>,
    /// `HH:MM` UTC.
    pub maintenance_window_end: Option<String>,
    /// Default false.
    pub auto_disable_on_error: bool,
    /// Default 5.
    pub failure_threshold: i32,
    /// When the credentials expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// Names of events.
    pub notification_events: Option<Vec<String>>,
    /// Where to.
    pub notification_channels: Option<Map<String, Value>>,
    /// Default `production`.
    pub environment: String,
    /// Free text.
    pub region: Option<String>,
}

impl std::fmt::Debug for IntegrationCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Credentials may still be open here.
        f.debug_struct("IntegrationCreate")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// `integration.status`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationSetEnabled {
    /// Which.
    pub integration_id: IntegrationId,
    /// On or off.
    pub enabled: bool,
    /// Why.
    pub reason: Option<String>,
}

/// `integration.sync`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationSync {
    /// Which.
    pub integration_id: IntegrationId,
    /// Everything, not only what changed since the last one.
    pub full: bool,
    /// Whether ours is to be sent out, too: it goes out by commands, so this is refused.
    pub outbound: bool,
    /// Look only: nothing is written.
    pub dry_run: bool,
}

/// `integration.fields`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationFields {
    /// Which.
    pub integration_id: IntegrationId,
    /// Part of a field's id or name.
    pub search: Option<String>,
}

/// `integration.list`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationList {
    /// Part of the name or description.
    pub q: Option<String>,
    /// Filter.
    pub category: Option<IntegrationCategory>,
    /// Filter.
    pub platform: Option<Platform>,
    /// Filter.
    pub status: Option<IntegrationStatus>,
    /// Filter.
    pub enabled: Option<bool>,
    /// `created_at` (default), `name`, `updated_at`.
    pub sort_by: String,
    /// Default descending.
    pub ascending: bool,
    /// 1–100, default 20.
    pub limit: i32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl IntegrationList {
    /// Everything, oldest first, by pages of 100.
    #[must_use]
    pub fn all() -> Self {
        Self {
            q: None,
            category: None,
            platform: None,
            status: None,
            enabled: None,
            sort_by: "created_at".into(),
            ascending: true,
            limit: 100,
            cursor: None,
        }
    }
}

/// `integration.test`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationTest {
    /// Which.
    pub integration_id: IntegrationId,
    /// What to try, in this order.
    pub test_types: Vec<String>,
    /// Activate a pending or failed integration when all passed.
    pub auto_activate_on_success: bool,
}

impl Command {
    /// Validates the data of a command; faults are recorded under `data.`.
    pub fn parse(
        command_type: CommandType,
        data: Map<String, Value>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let before = faults.len();
        let mut f = Fields::new(data, faults);
        let command = Self::read(command_type, &mut f);
        if matches!(command, Self::Unwritten(_)) {
            // Their fields are not known here yet, so none can be called unknown.
            return Some(command);
        }
        f.finish();
        (faults.len() == before).then_some(command)
    }

    /// The JSON Schema of a command's data: what [`Command::parse`] takes. Beyond it, null counts as absent, and some
    /// fields are judged beside others.
    #[must_use]
    pub fn schema(command_type: CommandType) -> Value {
        schema_of(|f| Self::read(command_type, f))
    }

    fn read(command_type: CommandType, f: &mut Fields<'_>) -> Self {
        match command_type {
            CommandType::TicketCreate => ticket(TicketCommand::Create(Box::new(ticket_create(f)))),
            CommandType::TicketAiCreate => {
                ticket(TicketCommand::AiCreate(Box::new(ticket_ai_create(f))))
            }
            CommandType::TicketUpdate => ticket(TicketCommand::Update(ticket_update(f))),
            CommandType::TicketStatus => ticket(TicketCommand::Status(ticket_status(f))),
            CommandType::TicketAssign => ticket(TicketCommand::Assign(ticket_assign(f))),
            CommandType::TicketComment => ticket(TicketCommand::Comment(TicketComment {
                ticket_id: ticket_id(f),
                body: f.required_text("body", 1, TEXT_MAX),
                public: f.boolean("public", true),
            })),
            CommandType::TicketAttach => ticket(TicketCommand::Attach(TicketAttach {
                ticket_id: ticket_id(f),
                attachments: {
                    let attachments = attachments::read(f);
                    if attachments.is_empty() {
                        f.fault("attachments", "is required: at least one file");
                    }
                    attachments
                },
            })),
            CommandType::TicketDelete => ticket(TicketCommand::Delete(ticket_id(f))),
            CommandType::TicketBulkUpdate => {
                Self::Own(OwnCommand::BulkUpdate(Box::new(bulk::read(f))))
            }
            CommandType::IntegrationCreate => {
                let create = integration_create(f);
                Self::Own(OwnCommand::CreateIntegration(Box::new(create)))
            }
            CommandType::IntegrationUpdate => {
                let update = integration_update::read(f);
                Self::Own(OwnCommand::UpdateIntegration(Box::new(update)))
            }
            CommandType::IntegrationDelete => {
                Self::Own(OwnCommand::DeleteIntegration(integration_id(f)))
            }
            CommandType::IntegrationStatus => {
                let integration_id = integration_id(f);
                if !f.has("enabled") {
                    f.fault("enabled", "is required: true or false");
                }
                Self::Own(OwnCommand::SetEnabled(IntegrationSetEnabled {
                    integration_id,
                    enabled: f.boolean("enabled", false),
                    reason: f.text("reason", 1, 1000),
                }))
            }
            CommandType::IntegrationTest => {
                Self::Own(OwnCommand::TestIntegration(integration_test(f)))
            }
            CommandType::IntegrationSync => {
                Self::Own(OwnCommand::SyncIntegration(integration_sync(f)))
            }
            CommandType::TicketGet => Self::Read(ReadCommand::Ticket(ticket_id(f))),
            CommandType::TicketSearch => {
                Self::Read(ReadCommand::Search(Box::new(TicketSearch::parse(f))))
            }
            CommandType::IntegrationGet => Self::Read(ReadCommand::Integration(integration_id(f))),
            CommandType::IntegrationList => {
                Self::Read(ReadCommand::Integrations(integration_list(f)))
            }
            CommandType::IntegrationRoute => {
                Self::Read(ReadCommand::Route(Box::new(route::read(f))))
            }
            CommandType::IntegrationFields => Self::Read(ReadCommand::Fields(IntegrationFields {
                integration_id: integration_id(f),
                search: f.text("search", 1, 255),
            })),
            CommandType::WebhookReceived => Self::Unwritten(command_type),
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
            Self::Own(command) => match command {
                OwnCommand::UpdateIntegration(update) => Some(update.integration_id),
                OwnCommand::DeleteIntegration(id) => Some(*id),
                OwnCommand::SetEnabled(set) => Some(set.integration_id),
                OwnCommand::TestIntegration(test) => Some(test.integration_id),
                OwnCommand::SyncIntegration(sync) => Some(sync.integration_id),
                OwnCommand::CreateIntegration(_) | OwnCommand::BulkUpdate(_) => None,
            },
            Self::Read(command) => match command {
                ReadCommand::Integration(id) => Some(*id),
                ReadCommand::Fields(fields) => Some(fields.integration_id),
                ReadCommand::Integrations(_)
                | ReadCommand::Route(_)
                | ReadCommand::Ticket(_)
                | ReadCommand::Search(_) => None,
            },
            Self::Unwritten(_) => None,
        }
    }

    /// The ticket it is about; a create without one gets the command's own.
    #[must_use]
    pub fn ticket_id(&self, id: crate::domain::CommandId) -> Option<TicketId> {
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
            Self::Own(_) | Self::Read(_) | Self::Unwritten(_) => None,
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
            Self::Ticket(_) | Self::Own(_) | Self::Unwritten(_) => false,
        }
    }
}

const fn ticket(command: TicketCommand) -> Command {
    Command::Ticket(command)
}

fn ticket_id(f: &mut Fields<'_>) -> TicketId {
    TicketId::new(f.required_uuid("ticket_id"))
}

pub(super) fn integration_id(f: &mut Fields<'_>) -> IntegrationId {
    IntegrationId::new(f.required_uuid("integration_id"))
}

fn ticket_create(f: &mut Fields<'_>) -> TicketCreate {
    if !f.has("description") {
        f.fault("description", "is required");
    }
    TicketCreate {
        ticket_id: f.uuid("ticket_id").map(TicketId::new),
        title: f.required_text("title", 1, 500),
        description: f.text("description", 0, TEXT_MAX).unwrap_or_default(),
        category: category(f).unwrap_or(TicketCategory::General),
        priority: priority(f, "priority").unwrap_or(Priority::Medium),
        urgency: priority(f, "urgency").unwrap_or(Priority::Medium),
        department: f.text("department", 1, 100),
        created_by_id: f.uuid("created_by_id"),
        assigned_to_id: f.uuid("assigned_to_id"),
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
        route: f.boolean("route", false),
        create_externally: f.boolean("create_externally", true),
        custom_fields: f.object("custom_fields").unwrap_or_default(),
        tags: f.texts("tags", 50, 100).unwrap_or_default(),
        attachments: attachments::read(f),
    }
}

fn ticket_ai_create(f: &mut Fields<'_>) -> TicketAiCreate {
    let user_input = f.required_text("user_input", 1, TEXT_MAX);
    let conversation = f.value("conversation_context", || {
        let turn = json!({
            "type": "object", "required": ["content"],
            "properties": { "role": { "type": "string", "maxLength": 50 }, "content": { "type": "string" } },
        });
        json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "maxItems": 1000, "items": { "anyOf": [{ "type": "string" }, turn] } },
        ] })
    });
    let preferences = f.object("user_preferences");
    let input = AnalysisInput::read(user_input, conversation.as_ref(), preferences.as_ref());
    let input = input.unwrap_or_else(|faults| {
        for (name, fault) in faults {
            f.fault(&name, fault);
        }
        AnalysisInput::default()
    });
    TicketAiCreate {
        input,
        attachments: attachments::read(f),
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
        create_externally: f.boolean("create_externally", true),
    }
}

pub(super) fn category(f: &mut Fields<'_>) -> Option<TicketCategory> {
    f.choice("category", TicketCategory::parse, TicketCategory::spellings)
}

pub(super) fn priority(f: &mut Fields<'_>, name: &str) -> Option<Priority> {
    f.choice(name, Priority::parse, Priority::spellings)
}

fn ticket_update(f: &mut Fields<'_>) -> TicketUpdate {
    let update = TicketUpdate {
        ticket_id: ticket_id(f),
        patch: TicketPatch {
            title: f.text("title", 1, 500),
            description: f.text("description", 0, TEXT_MAX),
            category: category(f),
            priority: priority(f, "priority"),
            urgency: priority(f, "urgency"),
            department: f.text("department", 1, 100),
            custom_fields: f.object("custom_fields"),
            tags: f.texts("tags", 50, 100),
        },
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
    };
    for (name, command) in [
        ("status", "ticket.status"),
        ("assigned_to_id", "ticket.assign"),
    ] {
        if f.mentions(name) {
            f.take(name);
            f.fault(name, format!("is changed by {command}"));
        }
    }
    if update.patch.changed().is_empty() {
        f.fault(
            "title",
            "or another field of the ticket is required: description, category, priority, urgency, department, \
             custom_fields, tags",
        );
    }
    update
}

fn ticket_status(f: &mut Fields<'_>) -> TicketSetStatus {
    let status = f.choice("status", TicketStatus::parse, TicketStatus::spellings);
    if status.is_none() {
        f.fault(
            "status",
            format!("is required: one of {}", TicketStatus::spellings()),
        );
    }
    let status = status.unwrap_or(TicketStatus::Open);
    let resolution_summary = f.text("resolution_summary", 1, TEXT_MAX);
    if resolution_summary.is_none()
        && matches!(status, TicketStatus::Resolved | TicketStatus::Closed)
    {
        f.fault(
            "resolution_summary",
            format!("is required for the status {status}"),
        );
    }
    TicketSetStatus {
        ticket_id: ticket_id(f),
        status,
        resolution_summary,
        internal_notes: f.text("internal_notes", 1, TEXT_MAX),
    }
}

fn ticket_assign(f: &mut Fields<'_>) -> TicketAssign {
    if !f.mentions("assigned_to_id") {
        f.fault("assigned_to_id", "is required: a UUID, or null to unassign");
    }
    TicketAssign {
        ticket_id: ticket_id(f),
        assigned_to_id: f
            .change("assigned_to_id", |f| f.uuid("assigned_to_id"))
            .flatten(),
        reason: f.text("reason", 1, TEXT_MAX),
    }
}

fn integration_create(f: &mut Fields<'_>) -> IntegrationCreate {
    let name = f.required_text("name", 1, 255);
    if !f.has("platform_name") {
        f.fault(
            "platform_name",
            format!("is required: one of {}", Platform::spellings()),
        );
    }
    let platform = f.choice("platform_name", Platform::parse, Platform::spellings);
    let category = f.choice(
        "integration_category",
        IntegrationCategory::parse,
        IntegrationCategory::spellings,
    );
    if let (Some(platform), Some(category)) = (platform, category)
        && platform.category() != category
    {
        f.fault(
            "integration_category",
            format!("must be {} for {platform}", platform.category()),
        );
    }
    let auth_type = f
        .choice("auth_type", AuthType::parse, AuthType::spellings)
        .unwrap_or(AuthType::ApiKey);
    if !f.has("credentials") {
        f.fault(
            "credentials",
            "is required: an object; `ticketwire platforms NAME` lists its members",
        );
    }
    let credentials = f.object("credentials").unwrap_or_default();
    let base_url = base_url(f);
    let routing_rules = routing_rules(f);
    let expires_at = f.moment("expires_at");
    let environment = f
        .text("environment", 1, 50)
        .unwrap_or_else(|| "production".into());
    let (start, end) = (
        clock(f, "maintenance_window_start"),
        clock(f, "maintenance_window_end"),
    );
    if start.is_some() != end.is_some() {
        let missing = if start.is_some() {
            "maintenance_window_end"
        } else {
            "maintenance_window_start"
        };
        f.fault(
            missing,
            "is required, as the other end of the window is given",
        );
    }
    IntegrationCreate {
        name,
        platform: platform.unwrap_or(Platform::Webhook),
        auth_type,
        credentials,
        settings: f
            .object_of("settings", Extent::INTEGRATION)
            .unwrap_or_default(),
        base_url,
        api_version: f.text("api_version", 1, 20),
        enabled: f.boolean("enabled", true),
        description: f.text("description", 0, NOTE_MAX),
        oauth_scopes: f.texts("oauth_scopes", 100, 255),
        routing_rules,
        default_priority: f.integer("default_priority", 1..=1000).unwrap_or(100),
        supports_categories: labels(
            f,
            "supports_categories",
            TicketCategory::parse,
            TicketCategory::spellings,
        ),
        supports_priorities: labels(
            f,
            "supports_priorities",
            Priority::parse,
            Priority::spellings,
        ),
        department_mapping: f.object_of("department_mapping", Extent::INTEGRATION),
        custom_fields_mapping: f.object_of("custom_fields_mapping", Extent::INTEGRATION),
        webhook_secret: f.text("webhook_secret", 1, 4096),
        rate_limit_per_hour: f.integer("rate_limit_per_hour", 0..=i32::MAX),
        sync_enabled: f.boolean("sync_enabled", false),
        sync_frequency_minutes: f
            .integer("sync_frequency_minutes", 1..=525_600)
            .unwrap_or(60),
        maintenance_window_start: start,
        maintenance_window_end: end,
        auto_disable_on_error: f.boolean("auto_disable_on_error", false),
        failure_threshold: f.integer("failure_threshold", 1..=1_000_000).unwrap_or(5),
        expires_at,
        notification_events: f.texts("notification_events", 100, 255),
        notification_channels: f.object_of("notification_channels", Extent::INTEGRATION),
        environment,
        region: f.text("region", 1, 50),
    }
}

/// The API's base: `https://`, without credentials, without a slash at its end.
pub(super) fn base_url(f: &mut Fields<'_>) -> Option<String> {
    let text = f.text("base_url", 1, 500)?;
    match url::Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "https" | "http") => {
            f.fault("base_url", "must begin with https://");
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            f.fault(
                "base_url",
                "must not carry a user or password; put them into credentials",
            );
        }
        Ok(_) => {}
        Err(_) => f.fault(
            "base_url",
            "must be a URL, e.g. https://example.atlassian.net",
        ),
    }
    Some(text.trim_end_matches('/').to_owned())
}

pub(super) fn routing_rules(f: &mut Fields<'_>) -> Option<Value> {
    let rules = f.value("routing_rules", || {
        json!({ "type": ["array", "object"], "description": "a list of rules, or an object with a list under rules" })
    })?;
    if let Some(fault) = crate::domain::routing::fault(&rules) {
        f.fault("routing_rules", fault);
    }
    if contains_nul(&rules) {
        f.fault(
            "routing_rules",
            "contains a NUL character, which cannot be stored",
        );
    }
    Some(rules)
}

pub(super) fn clock(f: &mut Fields<'_>, name: &str) -> Option<String> {
    let text = f.text(name, 5, 5)?;
    let valid = chrono::NaiveTime::parse_from_str(&text, "%H:%M").is_ok();
    if !valid {
        f.fault(name, "must be a time of day as HH:MM (UTC)");
    }
    valid.then_some(text)
}

pub(super) fn labels<T>(
    f: &mut Fields<'_>,
    name: &str,
    parse: fn(&str) -> Option<T>,
    spellings: fn() -> String,
) -> Option<Vec<String>> {
    let texts = f.texts(name, 100, 100)?;
    if let Some(unknown) = texts.iter().find(|text| parse(text).is_none()) {
        f.fault(
            name,
            format!("has {:?}, which is none of {}", shown(unknown), spellings()),
        );
    }
    Some(texts)
}

fn integration_list(f: &mut Fields<'_>) -> IntegrationList {
    let sort_by = f
        .text("sort_by", 1, 32)
        .unwrap_or_else(|| "created_at".into());
    if !matches!(sort_by.as_str(), "created_at" | "updated_at" | "name") {
        f.fault("sort_by", "must be one of created_at, updated_at, name");
    }
    let order = f.text("sort_order", 1, 8).unwrap_or_else(|| "desc".into());
    if !matches!(order.as_str(), "asc" | "desc") {
        f.fault("sort_order", "must be asc or desc");
    }
    IntegrationList {
        q: f.text("q", 1, 255),
        category: f.choice(
            "integration_category",
            IntegrationCategory::parse,
            IntegrationCategory::spellings,
        ),
        platform: f.choice("platform_name", Platform::parse, Platform::spellings),
        status: f.choice(
            "status",
            IntegrationStatus::parse,
            IntegrationStatus::spellings,
        ),
        enabled: f.has("enabled").then(|| f.boolean("enabled", true)),
        sort_by,
        ascending: order == "asc",
        limit: f.integer("limit", 1..=100).unwrap_or(20),
        cursor: f.text("cursor", 1, 512),
    }
}

fn integration_sync(f: &mut Fields<'_>) -> IntegrationSync {
    let sync_type = f
        .text("sync_type", 1, 32)
        .unwrap_or_else(|| "incremental".into());
    if !matches!(sync_type.as_str(), "incremental" | "full") {
        f.fault("sync_type", "must be incremental or full");
    }
    let direction = f
        .text("direction", 1, 32)
        .unwrap_or_else(|| "inbound".into());
    if !matches!(direction.as_str(), "inbound" | "outbound" | "bidirectional") {
        f.fault("direction", "must be inbound, outbound or bidirectional");
    }
    IntegrationSync {
        integration_id: integration_id(f),
        full: sync_type == "full",
        outbound: direction != "inbound",
        dry_run: f.boolean("dry_run", false),
    }
}

fn integration_test(f: &mut Fields<'_>) -> IntegrationTest {
    const KNOWN: [&str; 4] = [
        "connection",
        "authentication",
        "permissions",
        "create_ticket",
    ];
    let test_types = f
        .texts("test_types", 4, 32)
        .unwrap_or_else(|| vec!["connection".into(), "authentication".into()]);
    if test_types.is_empty() {
        f.fault("test_types", "must name at least one test");
    }
    if let Some(unknown) = test_types
        .iter()
        .find(|name| !KNOWN.contains(&name.as_str()))
    {
        f.fault(
            "test_types",
            format!(
                "has {:?}, which is none of {}",
                shown(unknown),
                KNOWN.join(", ")
            ),
        );
    }
    f.object("test_data");
    IntegrationTest {
        integration_id: integration_id(f),
        test_types,
        auto_activate_on_success: f.boolean("auto_activate_on_success", true),
    }
}
