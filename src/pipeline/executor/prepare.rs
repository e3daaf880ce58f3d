//! Gathers what dispatch needs of a batch of commands: integrations, tickets, people; a query each
//! at most.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::contract::{Command, CommandType, Envelope, Faults, TicketCommand, Trace};
use crate::domain::{
    ErrorCode, Failure, IntegrationId, OrganizationId, TicketId, UserRef, WaitReason,
};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::dispatch;
use crate::pipeline::job::{Job, Organization, StoredType};
use crate::pipeline::progress::Progress;
use crate::store::{Claimed, Enqueued, StoreError, StoredTicket, chain};

impl Job {
    /// A command that the enqueue has just started.
    pub(in crate::pipeline) fn enqueued(envelope: Envelope, enqueued: &Enqueued) -> Self {
        Self {
            id: envelope.id,
            command_type: StoredType::Known(envelope.command_type),
            organization_id: envelope.organization_id,
            ticket_id: envelope.command.ticket_id(envelope.id),
            run: 1,
            attempt: 0,
            events: 0,
            fencing_token: 1,
            received_at: enqueued.received_at,
            expires_at: envelope.expires_at,
            doubt_since: None,
            lookups: 0,
            deaths: 0,
            trace: envelope.trace,
            organization: Organization::of(
                enqueued.organization_known,
                enqueued.organization_enabled,
            ),
            integration_id: enqueued.integration_id,
            command: Arc::new(envelope.command),
            integration: None,
            ticket: None,
            people: Vec::new(),
            parent: None,
            analysis: None,
            progress: Progress::default(),
            has_rate_slot: false,
            reads_again: false,
        }
    }

    /// A command claimed from the ledger. Its data passed validation when it came; where this
    /// version no longer takes it, it fails saying so.
    pub(in crate::pipeline) fn claimed(claimed: Claimed) -> (Self, Option<Failure>) {
        let command_type = StoredType::of(&claimed.command_type);
        let (command, failure) = match command_type.known() {
            Some(known) => parse_stored(known, &claimed.data),
            None => {
                let text = format!(
                    "this version does not know the type {command_type}; a later version stored \
                     the command"
                );
                (None, Some(Failure::new(ErrorCode::UnknownType, text)))
            }
        };
        let job = Self {
            id: claimed.id,
            command_type,
            organization_id: claimed.organization_id,
            ticket_id: claimed.ticket_id,
            run: claimed.run,
            attempt: claimed.attempt,
            events: claimed.events,
            fencing_token: claimed.fencing_token,
            received_at: claimed.received_at,
            expires_at: claimed.expires_at,
            doubt_since: claimed.doubt_since,
            lookups: claimed.lookups,
            deaths: claimed.deaths,
            trace: Trace {
                parent: claimed.traceparent,
                state: claimed.tracestate,
            },
            organization: Organization::of(
                claimed.organization_known,
                claimed.organization_enabled,
            ),
            integration_id: claimed.integration_id,
            // Not run where there is a failure.
            command: Arc::new(
                command.unwrap_or(Command::Unsupported(CommandType::WebhookReceived)),
            ),
            integration: None,
            ticket: None,
            people: Vec::new(),
            parent: claimed.parent,
            analysis: None,
            progress: Progress::stored(claimed.prepared.as_deref()),
            has_rate_slot: claimed.wait_reason == Some(WaitReason::RateLimitPerHour),
            reads_again: matches!(
                claimed.wait_reason,
                Some(WaitReason::OwnWrite | WaitReason::ReadAgain)
            ),
        };
        (job, failure)
    }

    fn needs_ticket(&self) -> bool {
        needs_ticket(&self.command)
    }

    fn people_named(&self) -> impl Iterator<Item = Uuid> {
        match &*self.command {
            Command::Ticket(TicketCommand::Create(create)) => {
                [create.assigned_to_id, create.created_by_id]
            }
            Command::Ticket(TicketCommand::Assign(assign)) => [assign.assigned_to_id, None],
            Command::Ticket(_)
            | Command::Admin(_)
            | Command::Read(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => [None, None],
        }
        .into_iter()
        .flatten()
    }
}

/// Whether the ticket's row has to be read. Of a create as well, even where its id is derived from
/// the command's: whoever knew that one beforehand may have made a ticket of it.
pub(in crate::pipeline) const fn needs_ticket(command: &Command) -> bool {
    match command {
        Command::Ticket(_) => true,
        Command::Admin(_) | Command::Read(_) | Command::Inbound(_) | Command::Unsupported(_) => {
            false
        }
    }
}

/// Fills in integrations, tickets and people. What is read here is read after the enqueue or claim
/// has committed, so that it shows what the command before in the ticket's turn has written; so are
/// the tickets that the enqueue itself has `read`.
pub(in crate::pipeline) async fn fill(
    core: &Core,
    jobs: &mut [Job],
    versions: &HashMap<Uuid, i64>,
    read: Option<&[StoredTicket]>,
) -> Result<(), StoreError> {
    let mut people: Vec<(OrganizationId, Uuid)> = jobs
        .iter()
        .flat_map(|job| {
            job.people_named()
                .map(|person| (job.organization_id, person))
        })
        .collect();
    people.sort_unstable();
    people.dedup();
    let found = match read {
        Some(_) => Vec::new(),
        None => tickets_of(core, jobs).await?,
    };
    let tickets: HashMap<Uuid, &StoredTicket> = read
        .unwrap_or(&found)
        .iter()
        .map(|ticket| (ticket.view.id.uuid(), ticket))
        .collect();
    let people: Vec<(OrganizationId, UserRef)> = if people.is_empty() {
        Vec::new()
    } else {
        core.store.users(&people).await?
    };

    // A ticket's own integration may have become known only with its row.
    for job in jobs.iter_mut() {
        if let Some(stored) = job.ticket_id.and_then(|id| tickets.get(&id.uuid())) {
            if !job.command.creates_ticket() && stored.organization_id == job.organization_id {
                job.integration_id = stored.integration_id.or(job.integration_id);
            }
            job.ticket = Some(Box::new((*stored).clone()));
        }
        let named: Vec<Uuid> = job.people_named().collect();
        job.people = people
            .iter()
            .filter(|(organization, person)| {
                *organization == job.organization_id && named.contains(&person.id)
            })
            .map(|(_, person)| person.clone())
            .collect();
    }

    // Another organization's is as good as none: it is not even opened.
    let mut wanted: Vec<(IntegrationId, i64)> = jobs
        .iter()
        .filter_map(|job| job.integration_id.map(|id| (id, job.organization_id)))
        .filter(|(id, organization)| !core.integrations.is_foreign(*id, *organization))
        .map(|(id, _)| id)
        // An unknown version is none of the cache's, and so is read.
        .map(|id| (id, versions.get(&id.uuid()).copied().unwrap_or(-1)))
        .collect();
    wanted.sort_unstable_by_key(|(id, _)| *id);
    wanted.dedup();
    let handles: HashMap<Uuid, Arc<ConnectedIntegration>> = core.integrations.get(&wanted).await?;
    for job in jobs {
        job.integration = job
            .integration_id
            .and_then(|id| handles.get(&id.uuid()))
            .filter(|handle| handle.row.organization_id == Some(job.organization_id))
            .map(Arc::clone);
    }
    Ok(())
}

async fn tickets_of(core: &Core, jobs: &[Job]) -> Result<Vec<StoredTicket>, StoreError> {
    let mut ids: Vec<Uuid> = jobs
        .iter()
        .filter(|job| job.needs_ticket())
        .filter_map(|job| job.ticket_id.map(TicketId::uuid))
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    ids.sort_unstable();
    ids.dedup();
    core.store.tickets(&ids).await
}

/// The command of a stored row, or why this version cannot run it.
fn parse_stored(command_type: CommandType, data: &str) -> (Option<Command>, Option<Failure>) {
    let mut faults = Faults::new();
    let command = serde_json::from_str(data)
        .ok()
        .and_then(|data| Command::parse(command_type, data, &mut faults));
    let failure = command.is_none().then(|| {
        let text = "this version does not take the command's data any more";
        Failure::new(ErrorCode::InvalidCommand, text).with_fields(faults)
    });
    (command, failure)
}

/// Puts claimed commands to work. They are held already.
pub(in crate::pipeline) async fn start_claimed(core: &Arc<Core>, claimed: Vec<Claimed>) {
    let mut versions = HashMap::new();
    let mut jobs = Vec::with_capacity(claimed.len());
    for command in claimed {
        if let (Some(id), Some(version)) = (command.integration_id, command.integration_version) {
            versions.insert(id.uuid(), version);
        }
        let (job, failure) = Job::claimed(command);
        match failure {
            None => jobs.push(job),
            Some(failure) => core.finish(dispatch::refuse(core, job, failure)).await,
        }
    }
    start(core, jobs, &versions, None).await;
}

/// Fills jobs in and runs them; while Postgres is away they wait here, held.
pub(in crate::pipeline) async fn start(
    core: &Arc<Core>,
    mut jobs: Vec<Job>,
    versions: &HashMap<Uuid, i64>,
    tickets: Option<&[StoredTicket]>,
) {
    while let Err(error) = fill(core, &mut jobs, versions, tickets).await {
        tracing::warn!(
            error = chain(&error),
            "could not read what commands need; trying again"
        );
        core.store.forget_connections();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    super::run(core, jobs);
}
