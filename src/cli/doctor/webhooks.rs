//! Webhooks that do not bring what they should.

use chrono::{DateTime, Utc};

use super::super::Context;
use super::Finding;
use crate::domain::WebhookState;
use crate::store::Client;
use crate::store::webhooks::{self, AilingWebhook, Unproved};

/// How many are named.
const NAMED_MAX: i64 = 10;

pub(super) async fn examine(context: &Context, client: &Client) -> Vec<Finding> {
    let public_url = context.config.http.webhook_public_url.as_ref();
    let public_url = public_url.map(|url| url.as_str().trim_end_matches('/').to_owned());
    let mut findings = Vec::new();
    match webhooks::ailing(client, public_url.as_deref(), NAMED_MAX).await {
        Ok(ailing) => {
            let of_one = |one: &AilingWebhook| finding(one, public_url.as_deref());
            findings.extend(ailing.iter().map(of_one));
        }
        Err(error) => findings.push(Finding::unanswered("webhooks", &error)),
    }
    match webhooks::unproved(client, NAMED_MAX).await {
        Ok(all) => findings.extend(all.iter().filter_map(|one| of_unproved(one, &public_url))),
        Err(error) => findings.push(Finding::unanswered("webhooks", &error)),
    }
    findings
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn finding(one: &AilingWebhook, public_url: Option<&str>) -> Finding {
    let AilingWebhook {
        id,
        name,
        platform_name,
        url,
        ..
    } = one;
    let who = format!("the webhook of {name} ({platform_name}, {id})");
    let said = one
        .last_error
        .as_ref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    let register = format!("`ticketwire integration webhook {id} --register` makes it anew");
    let check = format!("`ticketwire integration webhook {id} --check` says whether it still does");
    match one.state {
        WebhookState::Gone | WebhookState::Disabled => {
            let state = if one.state == WebhookState::Gone {
                "is not at the platform any more"
            } else {
                "is switched off there"
            };
            return Finding::fault("webhooks", format!("{who} {state}{said}"), register);
        }
        WebhookState::Failing => {
            return Finding::fault("webhooks", format!("{who} fails{said}"), check);
        }
        WebhookState::Active | WebhookState::Awaiting => {}
    }
    if !one.is_here {
        return match public_url {
            Some(public_url) => Finding::fault(
                "webhooks",
                format!("{who} delivers to {url}, and http.webhook_public_url is {public_url}"),
                register,
            ),
            None => Finding::fault(
                "webhooks",
                format!("{who} delivers to {url}, and http.webhook_public_url is not set"),
                "set it to the address by which platforms reach http.webhook_listen",
            ),
        };
    }
    if let Some(ends) = one.ends_soon {
        let text = format!("{who} ends at {}", moment(ends));
        return Finding::fault("webhooks", text, check);
    }
    let since = one.last_seen_at.map_or_else(
        || "brought nothing since it was registered".to_owned(),
        |at| format!("brought nothing since {}", moment(at)),
    );
    Finding::notice("webhooks", format!("{who} {since}"), check)
}

fn of_unproved(one: &Unproved, public_url: &Option<String>) -> Option<Finding> {
    let who = format!("{} ({}, {})", one.name, one.platform_name, one.id);
    if one.accepts_unsigned {
        let text = format!("{who} takes deliveries that prove nothing (accept_unsigned)");
        let remedy = "anybody who knows its address can send them: give it a webhook_secret, then \
                      set settings.accept_unsigned to false";
        return Some(Finding::notice("webhooks", text, remedy));
    }
    (one.signs_address && public_url.is_none()).then(|| {
        let text = format!(
            "{who}: its platform signs the address too, and http.webhook_public_url is not set"
        );
        let remedy = "set it to the address that the platform calls: no delivery can be verified \
                      without it";
        Finding::fault("webhooks", text, remedy)
    })
}
