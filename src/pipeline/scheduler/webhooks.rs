//! Webhooks that are registered with platforms are looked at from time to time, renewed before they
//! end, and made anew where the platform has them no longer.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{IntegrationId, WebhookAction};
use crate::integrations::WebhookRefusal;
use crate::pipeline::context::Core;
use crate::pipeline::executor::admin::see_to_webhooks;
use crate::platforms::AskedToWait;
use crate::store::{Task, chain};

/// How often an integration's are looked at. The first time is when it is enabled, or registered.
pub(super) const EVERY: Duration = Duration::from_secs(6 * 3_600);

/// One look at an integration's webhooks.
pub(super) async fn look(core: &Arc<Core>, id: IntegrationId) {
    if let Err(error) = looked(core, id).await {
        match error {
            WebhookRefusal::Ours(failure) => tracing::warn!(integration_id = %id,
                error = failure.message, "a webhook could not be seen to"),
            WebhookRefusal::Platform(error) => {
                tracing::info!(integration_id = %id, %error, "a webhook could not be seen to");
            }
            WebhookRefusal::Store(error) => tracing::warn!(integration_id = %id,
                error = chain(&error), "a look at a webhook waits for the database"),
        }
    }
    if let Err(error) = core.store.end_task(Task::Webhook, id).await {
        tracing::debug!(integration_id = %id, error = chain(&error),
            "a look's lease runs out by itself");
    }
}

async fn looked(core: &Arc<Core>, id: IntegrationId) -> Result<(), WebhookRefusal> {
    let found = core.integrations.get(&[(id, -1)]).await?;
    let Some(handle) = found.into_values().next() else {
        return Ok(());
    };
    let asked = AskedToWait::default();
    let seen = see_to_webhooks(core, &handle, WebhookAction::Check, &asked).await?;
    if seen.is_gone {
        tracing::warn!(integration_id = %id,
            "its platform has a webhook no longer; it is registered anew");
        see_to_webhooks(core, &handle, WebhookAction::Register, &asked).await?;
    }
    Ok(())
}
