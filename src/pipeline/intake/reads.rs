//! Reads and dry runs: answered at admission, in full to whoever asked, and without a trace in the
//! ledger. They do not own their id, so the same one may be used again.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::contract::{
    AdminCommand, Command, Envelope, Event, EventData, IntegrationFields, IntegrationList, Outcome,
    ReadCommand, RouteQuery, TicketCommand, TicketSearch, WebhookReceived,
};
use crate::domain::routing::Traits;
use crate::domain::{ErrorCode, Failure, Integration, OrganizationId, TicketId};
use crate::integrations::{self, Requester, open_credentials};
use crate::pipeline::clock;
use crate::pipeline::context::Core;
use crate::pipeline::executor::dispatch;
use crate::pipeline::executor::gates::{self, GateDecision};
use crate::pipeline::executor::prepare;
use crate::pipeline::executor::routing::Routing;
use crate::pipeline::inbound;
use crate::pipeline::job::{Job, Organization};
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{CallContext, DedupKey, EgressPolicy, Operation, file};
use crate::secrets::{KeyRing, mask};
use crate::store::{
    Enqueued, LoadedIntegration, OutboxKey, OutboxRow, Searched, StoreError, chain,
};

/// Answers one. Waits for the database as long as it takes: the delivery is acknowledged after it.
pub(in crate::pipeline) async fn answer(core: &Arc<Core>, envelope: Envelope) {
    loop {
        match try_answer(core, &envelope).await {
            Ok(()) => return,
            Err(error) if error.is_refusal() => {
                tracing::error!(command_id = %envelope.id, error = chain(&error),
                    "a read was refused by the database");
                return;
            }
            Err(error) => {
                tracing::warn!(command_id = %envelope.id, error = chain(&error),
                    "a read waits for the database");
                core.store.forget_connections();
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn try_answer(core: &Arc<Core>, envelope: &Envelope) -> Result<(), StoreError> {
    let started = std::time::Instant::now();
    let mut row = None;
    let answer = if envelope.dry_run && !envelope.command.is_read() {
        dry_run(core, envelope, &mut row).await?
    } else {
        read(core, envelope, &mut row).await?
    };
    let rows = events(envelope, answer, row.as_ref(), started.elapsed());
    core.store.add_events(&rows, core.me.id).await?;
    core.relay.offer(rows);
    Ok(())
}

/// The events of a read that is not carried out.
pub(in crate::pipeline) fn refusal(envelope: &Envelope, failure: Failure) -> Vec<OutboxRow> {
    events(envelope, Err(failure), None, std::time::Duration::ZERO)
}

/// The event for all, and the one for whoever asked.
fn events(
    envelope: &Envelope,
    answer: Answer,
    row: Option<&Integration>,
    took: std::time::Duration,
) -> Vec<OutboxRow> {
    let (outcome, result, error) = match answer {
        Ok(result) => (Outcome::Succeeded, Some(result), None),
        Err(failure) => (Outcome::Failed, None, Some(failure.finally())),
    };
    let event = |result| Event {
        id: uuid::Uuid::now_v7(),
        time: clock::now(),
        organization_id: Some(envelope.organization_id),
        trace: envelope.trace.clone(),
        data: EventData {
            command_id: Some(envelope.id),
            command_type: envelope.command_type.as_str().to_owned(),
            outcome,
            run: 1,
            attempt: 1,
            duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            integration_id: row
                .map(|row| row.id)
                .or_else(|| envelope.command.integration_id()),
            integration_category: row.and_then(|row| row.category),
            platform_name: row.and_then(|row| row.platform),
            ticket_id: envelope.command.ticket_id(envelope.id),
            result,
            error: error.clone(),
            retry_at: None,
        },
    };
    // What a read found goes to the caller alone; a dry run's request is masked and may be seen by
    // all.
    let published = event(if envelope.command.is_read() {
        None
    } else {
        result.clone()
    });
    let key = |target: &str, correlation: &str| OutboxKey {
        command_id: published.id,
        number: 0,
        target: target.to_owned(),
        correlation_id: correlation.to_owned(),
    };
    let mut rows = vec![OutboxRow {
        key: key("", ""),
        routing_key: published.routing_key(),
        body: published.to_json().into(),
    }];
    if let Some(reply_to) = &envelope.reply_to {
        let full = Event {
            id: published.id,
            ..event(result)
        };
        rows.push(OutboxRow {
            key: key(
                reply_to,
                envelope.correlation_id.as_deref().unwrap_or_default(),
            ),
            routing_key: reply_to.clone(),
            body: full.to_json().into(),
        });
    }
    rows
}

type Answer = Result<Value, Failure>;

async fn read(
    core: &Arc<Core>,
    envelope: &Envelope,
    row: &mut Option<Integration>,
) -> Result<Answer, StoreError> {
    let asked = match &envelope.command {
        Command::Read(asked) => asked,
        Command::Ticket(_) | Command::Admin(_) | Command::Inbound(_) | Command::Unsupported(_) => {
            let text = format!(
                "this version of Ticketwire does not carry out {} yet",
                envelope.command_type
            );
            return Ok(Err(Failure::new(ErrorCode::UnsupportedOperation, text)));
        }
    };
    match asked {
        ReadCommand::Integration(id) => {
            let found = core.store.integrations(&[id.uuid()]).await?.pop();
            let own = found.filter(|f| {
                !f.is_deleted && f.integration.organization_id == Some(envelope.organization_id)
            });
            Ok(match own {
                Some(loaded) => {
                    *row = Some(loaded.integration.clone());
                    Ok(json!({ "integration": show(&core.ring, &loaded) }))
                }
                None => {
                    let text = format!("no integration {id} in this organization");
                    Err(Failure::new(ErrorCode::IntegrationNotFound, text))
                }
            })
        }
        ReadCommand::Integrations(filter) => {
            list(core, envelope.organization_id, filter).await.map(Ok)
        }
        ReadCommand::Ticket(id) => ticket(core, envelope.organization_id, *id).await,
        ReadCommand::Search(wanted) => search(core, envelope.organization_id, wanted).await,
        ReadCommand::Route(query) => route(core, envelope.organization_id, query).await,
        ReadCommand::Fields(asked) => fields(core, envelope.organization_id, asked, row).await,
    }
}

/// Which integrations could take a ticket, and why not the others.
async fn route(
    core: &Core,
    organization: OrganizationId,
    query: &RouteQuery,
) -> Result<Answer, StoreError> {
    let traits = match query.ticket_id {
        None => query.traits.clone(),
        Some(id) => {
            let found = core.store.tickets(&[id.uuid()]).await?.pop();
            let own = found.filter(|t| t.organization_id == organization && !t.is_deleted);
            let Some(ticket) = own else {
                let text = format!("no ticket {id} in this organization");
                return Ok(Err(Failure::new(ErrorCode::TicketNotFound, text)));
            };
            let view = ticket.view;
            Traits {
                title: view.title,
                description: view.description,
                category: view.category,
                priority: view.priority,
                urgency: view.urgency,
                department: view.department,
                tags: view.tags,
                custom_fields: view.custom_fields,
            }
        }
    };
    let handles = core.integrations.of_organization(organization).await?;
    let routing = Routing::of(handles, traits, clock::now()).await;
    Ok(Ok(routing.to_json()))
}

/// The platform's own fields. Asks the platform, so it is bound by the attempt's time.
async fn fields(
    core: &Core,
    organization: OrganizationId,
    asked: &IntegrationFields,
    row: &mut Option<Integration>,
) -> Result<Answer, StoreError> {
    let id = asked.integration_id;
    let found = core
        .integrations
        .get(&[(id, -1)])
        .await?
        .into_values()
        .next();
    let own = found
        .filter(|handle| !handle.is_deleted && handle.row.organization_id == Some(organization));
    let Some(handle) = own else {
        let text = format!("no integration {id} in this organization");
        return Ok(Err(Failure::new(ErrorCode::IntegrationNotFound, text)));
    };
    *row = Some(handle.row.clone());
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Ok(Err(failure.clone())),
    };
    let tokens = TokenCache::new(&core.tokens, Some(&handle));
    let deadline = std::time::Instant::now() + core.config.dispatch.request_timeout;
    let context = CallContext::new(
        &core.http,
        deadline,
        core.lease.as_ref(),
        &tokens,
        crate::platforms::strangers(handle.row.platform),
    )
    .remembering(handle.memory.as_ref());
    Ok(
        match adapter.fields(&context, asked.search.as_deref()).await {
            Ok(fields) => Ok(json!({ "integration_id": id, "fields": fields })),
            Err(error) => {
                tracing::info!(integration_id = %id, error = %error,
                    "the fields could not be read");
                Err(error.failure())
            }
        },
    )
}

/// Why this organization's tickets cannot be read, if so.
async fn tenant_fault(
    core: &Core,
    organization: OrganizationId,
) -> Result<Option<Failure>, StoreError> {
    Ok(match core.store.organization(organization).await? {
        Some(true) => None,
        Some(false) => Some(Failure::new(
            ErrorCode::OrganizationDisabled,
            "the organization is disabled",
        )),
        None => Some(Failure::new(
            ErrorCode::OrganizationNotFound,
            format!("no organization {organization}; it becomes known with its first integration"),
        )),
    })
}

async fn ticket(
    core: &Core,
    organization: OrganizationId,
    id: TicketId,
) -> Result<Answer, StoreError> {
    if let Some(failure) = tenant_fault(core, organization).await? {
        return Ok(Err(failure));
    }
    let found = core.store.ticket_in_full(Some(organization), id).await?;
    Ok(found
        .map(|ticket| json!({ "ticket": ticket }))
        .ok_or_else(|| {
            let text = format!("no ticket {id} in this organization");
            Failure::new(ErrorCode::TicketNotFound, text)
        }))
}

async fn search(
    core: &Core,
    organization: OrganizationId,
    wanted: &TicketSearch,
) -> Result<Answer, StoreError> {
    if let Some(failure) = tenant_fault(core, organization).await? {
        return Ok(Err(failure));
    }
    let found = core
        .store
        .search_tickets(Some(organization), wanted)
        .await?;
    Ok(match found {
        Searched::Page(page) => {
            Ok(json!({ "tickets": page.tickets, "next_cursor": page.next_cursor }))
        }
        Searched::TooSlow => Err(Failure::new(
            ErrorCode::Timeout,
            "the search took too long and was ended; narrow it: rarer words, another filter, or \
             a span by created_after and created_before",
        )),
        Searched::Busy => Err(Failure::new(
            ErrorCode::Timeout,
            "too many searches at once; ask again in a moment",
        )),
    })
}

async fn list(
    core: &Core,
    organization: OrganizationId,
    filter: &IntegrationList,
) -> Result<Value, StoreError> {
    let page = core
        .store
        .list_integrations(Some(organization), filter)
        .await?;
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|loaded| show(&core.ring, loaded))
        .collect();
    Ok(json!({ "integrations": items, "next_cursor": page.next_cursor }))
}

/// An integration for people: credentials only ever masked.
#[must_use]
pub fn show(ring: &KeyRing, loaded: &LoadedIntegration) -> Value {
    let row = &loaded.integration;
    let credentials = match (&row.credentials_sealed, open_credentials(ring, row)) {
        (None, _) => Value::Null,
        (Some(_), Ok(credentials)) => mask(&Value::Object(credentials.members().clone())),
        (Some(_), Err(failure)) => json!({ "unreadable": failure.message }),
    };
    let mut shown = json!({
        "integration_id": row.id, "organization_id": row.organization_id, "name": row.name,
        "integration_category": row.category, "platform_name": row.platform_name,
        "enabled": row.enabled,
        "status": row.status, "auth_type": row.auth_type, "base_url": row.base_url,
        "api_version": row.api_version,
        "settings": row.settings, "credentials": credentials,
        "webhook_secret": row.webhook_secret_sealed.as_ref().map(|_| "••••"),
        "expires_at": row.expires_at, "supports_categories": row.supports_categories,
        "supports_priorities": row.supports_priorities,
        "department_mapping": row.department_mapping,
        "custom_fields_mapping": row.custom_fields_mapping,
        "maintenance_window_start": row.maintenance_window_start,
        "maintenance_window_end": row.maintenance_window_end,
        "rate_limit_per_hour": row.rate_limit_per_hour,
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, &loaded.shown) {
        shown.extend(more.clone());
    }
    shown
}

/// What a change of an integration would be refused for, or warn of; nothing of it is written.
async fn rehearse_change(core: &Core, envelope: &Envelope) -> Result<Answer, StoreError> {
    let egress = EgressPolicy::from(&core.config.egress);
    let planned = match &envelope.command {
        Command::Admin(AdminCommand::CreateIntegration(new)) => {
            let id = envelope.id.created_integration();
            integrations::create(&core.ring, &egress, envelope.organization_id, id, new)
        }
        Command::Admin(AdminCommand::UpdateIntegration(change)) => {
            let id = change.integration_id;
            let found = core.store.integrations(&[id.uuid()]).await?.pop();
            let own = found.filter(|found| {
                let owner = found.integration.organization_id;
                !found.is_deleted && owner == Some(envelope.organization_id)
            });
            own.map_or_else(
                || Err(gates::not_found(Some(id))),
                |own| {
                    let requester = Requester::Command(envelope.id);
                    integrations::update(
                        &core.ring,
                        &egress,
                        &own.integration,
                        change,
                        requester,
                        clock::now(),
                    )
                },
            )
        }
        Command::Admin(_)
        | Command::Ticket(_)
        | Command::Read(_)
        | Command::Inbound(_)
        | Command::Unsupported(_) => {
            return Ok(Ok(Value::Null));
        }
    };
    Ok(planned.map(|planned| planned.result["warnings"].clone()))
}

/// What a command would have been enqueued as.
fn unstored(envelope: &Envelope) -> Enqueued {
    Enqueued {
        id: envelope.id,
        running: true,
        integration_id: envelope.command.integration_id(),
        integration_version: None,
        received_at: clock::now(),
        organization_known: true,
        organization_enabled: true,
        waits: false,
    }
}

/// What a delivery of a platform would do.
async fn rehearse_delivery(
    core: &Arc<Core>,
    envelope: &Envelope,
    hook: &WebhookReceived,
    row: &mut Option<Integration>,
) -> Result<Answer, StoreError> {
    if let Some(failure) = tenant_fault(core, envelope.organization_id).await? {
        return Ok(Err(failure));
    }
    let mut job = Job::enqueued(envelope.clone(), &unstored(envelope));
    let found = core.integrations.get(&[(hook.integration_id, -1)]).await?;
    let own = found.into_values().next().filter(|handle| {
        !handle.is_deleted && handle.row.organization_id == Some(envelope.organization_id)
    });
    *row = own.as_ref().map(|handle| handle.row.clone());
    job.integration = own;
    inbound::rehearse(core, job, hook, clock::now()).await
}

/// Validates, resolves, gates, and shows the request that would be sent.
async fn dry_run(
    core: &Arc<Core>,
    envelope: &Envelope,
    row: &mut Option<Integration>,
) -> Result<Answer, StoreError> {
    if let Command::Inbound(hook) = &envelope.command {
        return rehearse_delivery(core, envelope, hook, row).await;
    }
    if !matches!(envelope.command, Command::Ticket(_)) {
        return Ok(rehearse_change(core, envelope).await?.map(|warnings| {
            let message = "the command is valid; nothing was done";
            let mut answer = json!({ "dry_run": true, "request": null, "message": message });
            if !warnings.is_null() {
                answer["warnings"] = warnings;
            }
            answer
        }));
    }
    let enqueued = unstored(envelope);
    let rehearsed = dispatch::rehearse(&envelope.command);
    let mut job = Job::enqueued(envelope.clone(), &enqueued);
    let analysis = rehearsed.map(|(command, analysis)| {
        job.command = Arc::new(command);
        analysis
    });
    job.organization = match core.store.organization(envelope.organization_id).await? {
        None => Organization::Missing,
        Some(false) => Organization::Disabled,
        Some(true) => Organization::Enabled,
    };
    let mut jobs = [job];
    prepare::fill(core, &mut jobs, &HashMap::new(), None).await?;
    let [job] = jobs;
    let answer = match gates::ticket(&job, clock::now()) {
        GateDecision::Refuse(failure) | GateDecision::Later(_, failure) => Err(failure),
        GateDecision::Wait(_) => Err(Failure::new(ErrorCode::TicketNotFound, "no such ticket")),
        GateDecision::Local => {
            Ok(json!({ "dry_run": true, "request": null, "message": "no platform is concerned" }))
        }
        GateDecision::Route => {
            let handles = core
                .integrations
                .of_organization(envelope.organization_id)
                .await?;
            let routing = Routing::of(handles, dispatch::traits_of_job(&job), clock::now()).await;
            match routing.candidates.first() {
                None => Err(routing.failure()),
                Some(_) => {
                    Ok(json!({ "dry_run": true, "request": null, "routing": routing.to_json() }))
                }
            }
        }
        GateDecision::Call(handle, adapter) => {
            *row = Some(handle.row.clone());
            let view = dispatch::preview_view(core, job);
            let (job, view) = view;
            let mark = dispatch::mark(&job);
            let key = DedupKey {
                marker: &mark,
                received_at: job.received_at,
            };
            let planned = |operation: &Operation<'_>| {
                let planned = adapter.rehearse(operation);
                planned.map_err(|error| error.failure())
            };
            if let Command::Ticket(TicketCommand::Attach(attach)) = &*job.command {
                let requests: Result<Vec<Value>, Failure> = attach
                    .attachments
                    .iter()
                    .map(|attachment| {
                        planned(&Operation::Attach {
                            ticket: &view,
                            file: &file::unfetched(attachment),
                            key,
                        })
                    })
                    .collect();
                requests.map(|requests| {
                    json!({ "dry_run": true, "request": requests.first(), "requests": requests })
                })
            } else {
                dispatch::operation(&job.command, &view, key)
                    .and_then(|operation| planned(&operation))
                    .map(|request| json!({ "dry_run": true, "request": request }))
            }
        }
    };
    Ok(answer.map(|mut answer| {
        if let Some(analysis) = analysis {
            answer["ai_analysis"] = analysis;
        }
        answer
    }))
}
