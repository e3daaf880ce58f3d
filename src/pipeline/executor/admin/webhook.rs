//! `integration.webhook`, and the look at webhooks on a schedule.

use std::sync::Arc;
use std::time::Instant;

use super::{AdminOutcome, Refusal};
use crate::contract::IntegrationWebhook;
use crate::domain::{ErrorCode, Failure, WebhookAction};
use crate::integrations::{WebhookOutcome, WebhookRefusal, Webhooks};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::Job;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{AdapterError, AskedToWait, CallContext, ErrorClass, strangers};
use crate::store::chain;

/// Does something about an integration's webhooks with this worker's client, lease and tokens, and
/// tells the world what is news.
pub(in crate::pipeline) async fn see_to_webhooks(
    core: &Core,
    handle: &Arc<ConnectedIntegration>,
    action: WebhookAction,
    asked: &AskedToWait,
) -> Result<WebhookOutcome, WebhookRefusal> {
    let driver = match &handle.adapter {
        Ok(driver) => driver.as_ref(),
        Err(failure) => return Err(failure.clone().into()),
    };
    let webhooks = Webhooks {
        store: &core.store,
        ring: &core.ring,
        driver,
        row: &handle.row,
        public_url: core.config.http.webhook_public_url.as_ref(),
        owner: Some(core.me.id),
    };
    let deadline = Instant::now() + core.config.dispatch.attempt_timeout;
    let tokens = TokenCache::new(&core.tokens, Some(handle));
    let done = webhooks
        .run(action, || {
            CallContext::new(
                &core.http,
                deadline,
                core.lease.as_ref(),
                &tokens,
                strangers(handle.row.platform),
            )
            .remembering(handle.memory.as_ref())
            .taking_turns(&tokens)
            .noting(asked)
        })
        .await?;
    core.relay.offer(done.events.clone());
    Ok(done)
}

pub(super) async fn run(
    core: &Core,
    job: &Job,
    what: &IntegrationWebhook,
) -> Result<AdminOutcome, Refusal> {
    let handle = gates::owned(job)?;
    let asked = AskedToWait::default();
    match see_to_webhooks(core, &handle, what.action, &asked).await {
        Ok(done) => Ok(AdminOutcome {
            handle: Some(handle),
            result: done.result,
            effect: None,
        }),
        Err(WebhookRefusal::Ours(failure)) => Err(failure.into()),
        Err(WebhookRefusal::Store(error)) => {
            tracing::warn!(command_id = %job.id, error = chain(&error),
                "what is registered cannot be read or noted");
            let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
            Err(Refusal::Later(failure, None))
        }
        Err(WebhookRefusal::Platform(error)) => {
            tracing::info!(command_id = %job.id, %error, "a webhook was not seen to");
            Err(refused(&error, &asked))
        }
    }
}

/// What follows where the platform does not answer as it should. A repeat finds what a lost answer
/// left there.
fn refused(error: &AdapterError, asked: &AskedToWait) -> Refusal {
    let failure = error.failure();
    match error.class {
        ErrorClass::Transient { retry_after } | ErrorClass::RateLimited { retry_after } => {
            Refusal::Later(failure, retry_after.max(asked.get()))
        }
        ErrorClass::Timeout | ErrorClass::Unknown => Refusal::Later(failure, asked.get()),
        ErrorClass::Authentication
        | ErrorClass::Permission
        | ErrorClass::NotFound
        | ErrorClass::Validation { .. }
        | ErrorClass::Gone
        | ErrorClass::Conflict
        | ErrorClass::Unsupported
        | ErrorClass::Egress
        | ErrorClass::Internal => Refusal::For(failure),
    }
}
