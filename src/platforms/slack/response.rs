//! Reading answers: data in, data out.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::http::redact::clean_text;
use super::super::{AdapterError, CheckReport, Effect, ErrorClass, File, Receipt, Response};
use super::Place;

/// Marks our messages among those with metadata.
const EVENT_TYPE: &str = "ticketwire_ticket";
/// Wait after the workspace's volume limit, which Slack gives no time for.
const VOLUME_PAUSE: Duration = Duration::from_secs(600);
/// Wait while a workspace or channel is moved, which takes hours.
const MOVE_PAUSE: Duration = Duration::from_secs(3_600);
/// Longest word of Slack's that is published.
const WORD_MAX: usize = 80;

/// What every answer of the Web API has.
#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    needed: String,
    #[serde(default)]
    response_metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    messages: Vec<String>,
    #[serde(default)]
    next_cursor: String,
}

/// A message found by its mark.
pub(super) struct Posted {
    /// Where the answer names it; listings are of one channel.
    pub(super) channel: Option<String>,
    pub(super) ts: String,
}

/// A page of a listing.
pub(super) struct Page {
    pub(super) found: Option<Posted>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// Who the token belongs to.
#[derive(Deserialize)]
pub(super) struct Identity {
    #[serde(default)]
    url: String,
    #[serde(default)]
    team: String,
    #[serde(default)]
    user: String,
    pub(super) bot_id: Option<String>,
}

/// A message's metadata with its mark.
pub(super) fn metadata(mark: &str) -> Value {
    json!({ "event_type": EVENT_TYPE, "event_payload": { "mark": mark } })
}

/// Whether it worked, and the class of why not.
pub(super) fn check(answer: &Response, effect: Effect, what: &str) -> Result<(), AdapterError> {
    answer.check(effect, what)?;
    let envelope: Envelope = answer.json(effect)?;
    if envelope.ok {
        return Ok(());
    }
    let code = word(&envelope.error);
    let (class, advice) = meaning(&envelope, answer, effect);
    Err(
        AdapterError::new(class, format!("{what}: Slack answers {code}{advice}"))
            .with_status(answer.status)
            .with_internal(answer.quote()),
    )
}

/// The class of an error code (docs.slack.dev, errors of each method), and what a person can do. A code that is not
/// known is taken for a refusal of the data: trying again would not help.
fn meaning(envelope: &Envelope, answer: &Response, effect: Effect) -> (ErrorClass, String) {
    let refusal = |field: &str, fault: &str| ErrorClass::Validation {
        fields: if field.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([(field.to_owned(), fault.to_owned())])
        },
    };
    let retry_after = answer.retry_after(Utc::now());
    let later = |pause| ErrorClass::Transient {
        retry_after: retry_after.or(pause),
    };
    // "Some aspect of the operation may have succeeded".
    let doubtful = match effect {
        Effect::Create => ErrorClass::Unknown,
        Effect::Read | Effect::Idempotent => ErrorClass::Transient { retry_after },
    };
    let (class, advice): (ErrorClass, &str) = match envelope.error.as_str() {
        "invalid_auth"
        | "not_authed"
        | "token_expired"
        | "token_revoked"
        | "account_inactive"
        | "two_factor_setup_required"
        | "not_allowed_token_type"
        | "invalid_refresh_token"
        | "invalid_client_id"
        | "bad_client_secret" => (ErrorClass::Authentication, ""),
        "missing_scope" => {
            let scopes = word(&envelope.needed);
            let advice = format!("; the app needs the scope {scopes}, and to be installed again");
            return (ErrorClass::Permission, advice);
        }
        "not_in_channel" => (
            ErrorClass::Permission,
            "; invite the bot into the channel (/invite @bot)",
        ),
        "no_permission"
        | "access_denied"
        | "accesslimited"
        | "restricted_action"
        | "restricted_action_read_only_channel"
        | "restricted_action_thread_only_channel"
        | "restricted_action_non_threadable_channel"
        | "restricted_action_thread_locked"
        | "ekm_access_denied"
        | "app_access_restricted"
        | "enterprise_is_restricted"
        | "cant_update_message"
        | "cant_delete_message"
        | "edit_window_closed"
        | "posting_to_channel_denied"
        | "file_uploads_disabled"
        | "file_uploads_except_images_disabled"
        | "messages_tab_disabled"
        | "send_on_behalf_not_allowed"
        | "metadata_must_be_sent_from_app"
        | "channel_is_limited_access" => (ErrorClass::Permission, ""),
        code if code.starts_with("slack_connect_") && code.ends_with("_blocked") => {
            (ErrorClass::Permission, "")
        }
        "channel_not_found" | "invalid_channel" => (
            ErrorClass::NotFound,
            "; settings.channel names no channel that the bot can see (a private one must invite it)",
        ),
        "message_not_found" | "thread_not_found" => {
            (ErrorClass::NotFound, "; the ticket's message was deleted")
        }
        "file_not_found" | "team_not_found" | "user_not_found" | "is_inactive" | "file_deleted"
        | "file_is_deleted" => (ErrorClass::NotFound, ""),
        "is_archived" => (
            ErrorClass::NotFound,
            "; the channel is archived: name another in settings.channel",
        ),
        "method_deprecated" | "deprecated_endpoint" | "unknown_method" => {
            (ErrorClass::Unsupported, "; Slack no longer offers this")
        }
        "ratelimited" | "rate_limited" => (ErrorClass::RateLimited { retry_after }, ""),
        "message_limit_exceeded" => (
            ErrorClass::RateLimited {
                retry_after: retry_after.or(Some(VOLUME_PAUSE)),
            },
            "; the workspace posts too much",
        ),
        "internal_error" | "fatal_error" | "service_unavailable" => (doubtful, ""),
        // The body came in pieces, so nothing was done.
        "request_timeout"
        | "update_failed"
        | "file_update_failed"
        | "unable_to_share_files"
        | "streaming_state_conflict" => (later(None), ""),
        "external_channel_migrating" | "team_added_to_org" | "org_login_required" => (
            later(Some(MOVE_PAUSE)),
            "; the workspace or channel is being moved",
        ),
        "no_text" => (refusal("title", "is empty for Slack"), ""),
        "msg_too_long" | "msg_blocks_too_long" => {
            (refusal("description", "is longer than Slack takes"), "")
        }
        _ => (refusal("", ""), ""),
    };
    let mut advice = advice.to_owned();
    if let Some(said) = envelope.response_metadata.messages.first() {
        // `[ERROR] …` about the shape of blocks or arguments: of our making, never a value of the ticket's.
        advice.push_str(": ");
        let said = clean_text(said.clone());
        advice.extend(said.chars().filter(|c| !c.is_control()).take(WORD_MAX));
    }
    (class, advice)
}

/// A word of Slack's, fit to publish.
fn word(text: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | ',' | '-');
    // Before what is no letter goes: without its escapes a secret would not be known again.
    let text = clean_text(text.to_owned());
    let word: String = text.chars().filter(fits).take(WORD_MAX).collect();
    if word.is_empty() {
        "without a reason".into()
    } else {
        word
    }
}

/// Where a message was posted.
pub(super) fn read_posted(answer: &Response, what: &str) -> Result<Place, AdapterError> {
    #[derive(Deserialize)]
    struct Message {
        channel: String,
        ts: String,
    }
    check(answer, Effect::Create, what)?;
    let message: Message = answer.json(Effect::Create)?;
    Ok(Place {
        channel: message.channel,
        ts: message.ts,
    })
}

/// Where to upload a file, and what it will be called.
pub(super) fn read_upload_url(answer: &Response) -> Result<(Url, String), AdapterError> {
    #[derive(Deserialize)]
    struct Upload {
        upload_url: Url,
        file_id: String,
    }
    check(answer, Effect::Read, "asking for an upload")?;
    let upload: Upload = answer.json(Effect::Read)?;
    Ok((upload.upload_url, upload.file_id))
}

/// The upload itself answers with plain HTTP.
pub(super) fn read_uploaded(answer: &Response) -> Result<(), AdapterError> {
    answer
        .check(Effect::Idempotent, "uploading the file")
        .map_err(|error| AdapterError {
            internal: None,
            ..error
        })
}

pub(super) fn read_shared(answer: &Response, id: &str) -> Result<Receipt, AdapterError> {
    check(answer, Effect::Create, "sharing the file")?;
    Ok(Receipt {
        external_attachment_id: Some(id.to_owned()),
        ..Receipt::default()
    })
}

/// A file of this name and size that we shared in the thread, on a page of its messages; and the next page.
pub(super) fn read_shared_files(
    answer: &Response,
    file: &File,
    bot: Option<&str>,
) -> Result<(Option<String>, Option<String>), AdapterError> {
    #[derive(Deserialize)]
    struct Listing {
        messages: Vec<Message>,
        #[serde(default)]
        response_metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Message {
        bot_id: Option<String>,
        #[serde(default)]
        files: Vec<Shared>,
    }
    #[derive(Deserialize)]
    struct Shared {
        id: String,
        #[serde(default)]
        name: String,
        #[serde(default)]
        title: String,
        size: Option<u64>,
    }
    check(answer, Effect::Read, "looking for the file")?;
    let listing: Listing = answer.json(Effect::Read)?;
    let own = |message: &&Message| match (message.bot_id.as_deref(), bot) {
        (Some(theirs), Some(own)) => theirs == own,
        (None, _) | (_, None) => true,
    };
    let found = listing
        .messages
        .iter()
        .filter(own)
        .flat_map(|message| message.files.iter())
        .find(|shared| {
            (file.is_kept_as(&shared.name) || file.is_kept_as(&shared.title))
                && shared.size.is_none_or(|size| size == file.size)
        })
        .map(|shared| shared.id.clone());
    let next = listing.response_metadata.next_cursor;
    Ok((found, (!next.is_empty()).then_some(next)))
}

pub(super) fn read_permalink(answer: &Response) -> Result<String, AdapterError> {
    #[derive(Deserialize)]
    struct Link {
        permalink: String,
    }
    check(answer, Effect::Read, "asking for the permalink")?;
    Ok(answer.json::<Link>(Effect::Read)?.permalink)
}

/// The message with the mark among those of a page, if it is ours. A thread's listing begins with its root, which is
/// no reply.
pub(super) fn read_page(
    answer: &Response,
    mark: &str,
    root: Option<&Place>,
    bot: Option<&str>,
) -> Result<Page, AdapterError> {
    #[derive(Deserialize)]
    struct Listing {
        messages: Vec<Message>,
        #[serde(default)]
        has_more: bool,
        #[serde(default)]
        response_metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Message {
        ts: String,
        channel: Option<String>,
        bot_id: Option<String>,
        #[serde(default)]
        metadata: Value,
        #[serde(default)]
        files: Vec<Value>,
    }
    check(answer, Effect::Read, "looking for the message")?;
    let listing: Listing = answer.json(Effect::Read)?;
    let ours = |message: &Message| {
        let own = match (message.bot_id.as_deref(), bot) {
            (Some(theirs), Some(own)) => theirs == own,
            (None, _) | (_, None) => true,
        };
        own && root.is_none_or(|root| root.ts != message.ts)
            && message.metadata["event_type"] == EVENT_TYPE
            && message.metadata["event_payload"]["mark"] == mark
    };
    let found = listing.messages.iter().position(ours);
    // Our messages carry their marks, but for those that share files: where none shows one, a mark that is not seen may
    // be there.
    let mut own = listing.messages.iter().filter(|message| {
        message.files.is_empty() && message.bot_id.is_some() && message.bot_id.as_deref() == bot
    });
    let is_any = own.clone().next().is_some();
    if found.is_none() && is_any && own.all(|message| message.metadata.is_null()) {
        let text = "Slack lists our messages without their metadata, in which the mark is, so nothing is proved by them; \
                    the app may lack the scope metadata.message:read";
        return Err(AdapterError::unsupported(text).with_status(answer.status));
    }
    let next = listing.response_metadata.next_cursor;
    if listing.has_more && next.is_empty() {
        return Err(AdapterError::new(
            ErrorClass::Transient { retry_after: None },
            "Slack lists messages without saying where the next page begins",
        ));
    }
    Ok(Page {
        found: listing
            .messages
            .into_iter()
            .nth(found.unwrap_or(usize::MAX))
            .map(|message| Posted {
                channel: message.channel,
                ts: message.ts,
            }),
        next: (!next.is_empty()).then_some(next),
    })
}

pub(super) fn read_identity(answer: &Response) -> Result<Identity, AdapterError> {
    check(answer, Effect::Read, "authenticating")?;
    answer.json(Effect::Read)
}

impl Identity {
    pub(super) fn report(&self) -> CheckReport {
        let text = |text: &str| Value::from(text);
        CheckReport {
            message: format!("authenticated as {} in {}", self.user, self.team),
            details: Map::from_iter([
                ("url".to_owned(), text(&self.url)),
                ("team".to_owned(), text(&self.team)),
                ("bot_id".to_owned(), json!(self.bot_id)),
            ]),
        }
    }
}

/// Whether Slack answers at all; whom it lets in is another question.
pub(super) fn read_reachable(answer: &Response) -> Result<CheckReport, AdapterError> {
    let reached = |message: String| {
        Ok(CheckReport {
            message,
            details: Map::new(),
        })
    };
    match check(answer, Effect::Read, "reaching Slack") {
        Ok(()) => reached("Slack answers".into()),
        Err(error) if error.class == ErrorClass::Authentication => {
            reached("Slack answers, but does not take the token".into())
        }
        Err(error) => Err(error),
    }
}

/// Whether the bot can post to the channel and look messages up there.
pub(super) fn read_channel(answer: &Response, channel: &str) -> Result<CheckReport, AdapterError> {
    #[derive(Deserialize)]
    struct Info {
        channel: Channel,
    }
    #[derive(Deserialize)]
    struct Channel {
        id: String,
        #[serde(default)]
        name: String,
        #[serde(default)]
        is_archived: bool,
        #[serde(default)]
        is_member: bool,
    }
    check(answer, Effect::Read, "reading the channel")?;
    let info: Info = answer.json(Effect::Read)?;
    let refused = |text: String| Err(AdapterError::new(ErrorClass::Permission, text));
    if info.channel.is_archived {
        return refused(format!("channel {channel} is archived"));
    }
    if !info.channel.is_member {
        return refused(format!(
            "the bot is no member of channel {channel}: invite it (/invite @bot)"
        ));
    }
    Ok(CheckReport {
        message: format!("the bot is a member of channel {channel}"),
        details: Map::from_iter([
            ("channel".to_owned(), info.channel.id.into()),
            ("name".to_owned(), info.channel.name.into()),
        ]),
    })
}

/// Whether a token refresh worked.
pub(super) fn check_refresh(answer: &Response) -> Result<(), AdapterError> {
    check(answer, Effect::Idempotent, "refreshing the access token")
}

/// Whether an answer says that the access token has expired: with HTTP 200, as everything.
pub(super) fn is_stale(answer: &Response) -> bool {
    answer.status == 401
        || (answer.is_success()
            && serde_json::from_slice::<Envelope>(&answer.body)
                .is_ok_and(|envelope| !envelope.ok && envelope.error == "token_expired"))
}

/// An incoming webhook answers in plain text with a true status (list from general knowledge, unconfirmed).
pub(super) fn read_hook(answer: &Response, effect: Effect) -> Result<(), AdapterError> {
    let what = "posting by the incoming webhook";
    let said = word(&String::from_utf8_lossy(&answer.body));
    let Err(error) = answer.check(effect, what) else {
        // The one answer of a hook that took a message.
        if said == "ok" {
            return Ok(());
        }
        let class = match effect {
            Effect::Create => ErrorClass::Unknown,
            Effect::Read | Effect::Idempotent => ErrorClass::Transient { retry_after: None },
        };
        let text = format!(
            "{what}: answered {} without the \"ok\" of Slack",
            answer.status
        );
        return Err(AdapterError::new(class, text)
            .with_status(answer.status)
            .with_internal(answer.quote()));
    };
    let class = match (answer.status, said.as_str()) {
        (404, "no_service" | "no_service_id" | "no_team" | "no_active_hooks") | (410, _) => {
            ErrorClass::Gone
        }
        (403, "invalid_token") => ErrorClass::Authentication,
        _ => return Err(error),
    };
    let text = format!("{what}: Slack answers {said}; make a new webhook and name its URL");
    Err(AdapterError::new(class, text)
        .with_status(answer.status)
        .with_internal(answer.quote()))
}

/// The answer to a message without text.
pub(super) fn read_probe(answer: &Response) -> Result<CheckReport, AdapterError> {
    if answer.status != 400 {
        read_hook(answer, Effect::Read)?;
    }
    Ok(CheckReport {
        message: "the incoming webhook is there (it was asked without posting)".into(),
        details: Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(body: &Value) -> Response {
        Response {
            status: 200,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_string()),
            truncated: false,
        }
    }

    fn class(code: &str, effect: Effect) -> ErrorClass {
        check(&answer(&json!({ "ok": false, "error": code })), effect, "x")
            .unwrap_err()
            .class
    }

    #[test]
    fn a_refusal_with_http_200_has_its_class() {
        assert_eq!(
            class("invalid_auth", Effect::Create),
            ErrorClass::Authentication
        );
        assert_eq!(
            class("not_in_channel", Effect::Create),
            ErrorClass::Permission
        );
        assert_eq!(
            class("slack_connect_file_upload_sharing_blocked", Effect::Create),
            ErrorClass::Permission
        );
        assert_eq!(
            class("channel_not_found", Effect::Create),
            ErrorClass::NotFound
        );
        assert_eq!(class("is_archived", Effect::Create), ErrorClass::NotFound);
        assert_eq!(
            class("ratelimited", Effect::Create),
            ErrorClass::RateLimited { retry_after: None }
        );
        assert_eq!(
            class("request_timeout", Effect::Create),
            ErrorClass::Transient { retry_after: None }
        );
        assert_eq!(
            class("unknown_method", Effect::Create),
            ErrorClass::Unsupported
        );
        assert!(matches!(
            class("never_heard_of", Effect::Create),
            ErrorClass::Validation { .. }
        ));
    }

    #[test]
    fn what_may_have_succeeded_is_of_unknown_outcome_only_where_something_is_made() {
        for code in ["internal_error", "fatal_error", "service_unavailable"] {
            assert_eq!(class(code, Effect::Create), ErrorClass::Unknown, "{code}");
            assert_eq!(
                class(code, Effect::Idempotent),
                ErrorClass::Transient { retry_after: None },
                "{code}"
            );
        }
    }

    #[test]
    fn a_missing_scope_is_named() {
        let body = json!({ "ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "none" });

        let error = check(&answer(&body), Effect::Create, "posting").unwrap_err();

        assert!(error.public.contains("chat:write"), "{}", error.public);
    }

    #[test]
    fn a_stale_token_is_seen_in_the_body() {
        assert!(is_stale(&answer(
            &json!({ "ok": false, "error": "token_expired" })
        )));
        assert!(!is_stale(&answer(
            &json!({ "ok": false, "error": "invalid_auth" })
        )));
        assert!(!is_stale(&answer(&json!({ "ok": true }))));
    }
}
