//! What is known of Slack: its modes, settings and limits, and what its refusals mean.

use std::time::Duration;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::RateHeaders;
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Response, Scope, Shape as Looks, Strangers, any_version,
};

/// The Web API; a method's name follows.
pub(super) const API: &str = "https://slack.com/api";
/// When to look for a lost message: listed at once, but a request may still be under way.
pub(super) static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(40),
];
/// Life of a rotating access token where the answer does not say (`expires_in` 43200).
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(43_200);
/// What the reduced mode cannot do.
pub(super) const HOOK: &str =
    "an incoming webhook of Slack can post a ticket and nothing else; a bot token can do the rest";
/// Why a comment that is not public is refused.
pub(super) const READ_BY_ALL: &str = "everybody in the channel would read a comment that is not \
                                      public; where that is right, settings.internal_comments \
                                      can be set to true";
/// How a lost message is found again.
const PROTECTION: &str =
    "lookup: the marker in the message's metadata; an empty look-up counts as proof after 40 s";
/// It counts each method apart, and says nothing before it refuses.
const RATE: RateHeaders = RateHeaders::retry_after(Duration::from_secs(30), Scope::Endpoint);
/// Longest label of a custom field.
const LABEL_MAX: usize = 100;
/// What a channel shows to everybody.
const INTERNAL_COMMENTS: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    READ_BY_ALL,
);

/// Slack's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Slack,
    modes: &[
        Mode {
            auth_type: AuthType::Bearer,
            name: "bot token",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[Member::required(
                "bot_token",
                "xoxb-… with scopes chat:write, channels:read, channels:history (private \
                 channels: groups:…)",
            )]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "bot token that rotates",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required("client_id", "client id of the app").open(),
                Member::required("client_secret", "client secret of the app"),
                Member::required(
                    "refresh_token",
                    "xoxe-1-… of an app with token rotation; it is renewed with every refresh",
                ),
            ]],
        },
        Mode {
            auth_type: AuthType::Custom,
            name: "incoming webhook",
            except: &Exception::all_but_create(HOOK),
            cannot_read: Some(HOOK),
            protection: "none: nothing can be looked up; settings.on_unknown decides",
            credentials: &[&[Member::required(
                "webhook_url",
                "https://hooks.slack.com/services/…: creates only, and an unknown outcome \
                 cannot be looked up",
            )
            .shaped(Looks::Url)]],
        },
    ],
    settings: &[
        Member::optional(
            "channel",
            "id of the channel, e.g. C0123ABCD (required, except with webhook_url); with a name \
             a lost answer cannot be looked up, and nothing is synced",
        )
        .shaped(Looks::Checked(|value| judged(value, channel_of))),
        Member::optional(
            "ticket_url",
            "page of a ticket at your desk, with {ticket_id} in it: shown as a button",
        )
        .shaped(Looks::Url),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, as everybody in the channel may \
             read them",
        )
        .shaped(Looks::Switch),
        Member::optional(
            "broadcast_status",
            "true: a change of status is shown in the channel too, not in the thread alone",
        )
        .shaped(Looks::Switch),
    ],
    base_url: BaseUrl::Default(API),
    // Whom it answers is in `ok` and `error` of every body; what is a page is not Slack's.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    // A label, shown in front of the value.
    custom_fields: CustomFields {
        allows: |label| !label.trim().is_empty() && label.chars().count() <= LABEL_MAX,
        help: "a label of 1 to 100 characters",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: "ts",
    text_max: Some(16_000),
    version_fault: any_version,
    limits: &[
        "about 1 message a second and channel; update and look-up 50 a minute",
        "description and comment 9,000 characters; of a longer title 150 are the heading, and \
         all of it stands below",
        "apps that are distributed but not in Slack's marketplace may look up once a minute only",
        "a sync sees new messages; edits and deletions of older ones are not listed",
    ],
};

/// A channel's id or name. Names of channels may have letters of any script.
pub(super) fn channel_of(given: &str) -> Result<String, AdapterError> {
    let channel = given.trim();
    let named = channel.strip_prefix('#').unwrap_or(channel);
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if named.is_empty() || named.chars().count() > 80 || !named.chars().all(fits) {
        return Err(AdapterError::field(
            "settings.channel",
            "is neither a channel's id, e.g. C0123ABCD, nor its name",
        ));
    }
    Ok(channel.to_owned())
}

/// A refusal by the Web API: nearly all of them come with HTTP 200.
const fn says(codes: &'static [&'static str]) -> Rule {
    Rule::any().statuses(200, 299).code(codes)
}

/// A wait of so many seconds.
const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the Web API's codes mean (docs.slack.dev, errors of each method). One that no rule names is
/// taken for a refusal of the data: trying again would not help.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/error"],
        texts: &["/needed", "/response_metadata/messages/0"],
        fields: &[],
    }],
    rules: &[
        says(&[
            "invalid_auth",
            "not_authed",
            "token_expired",
            "token_revoked",
        ])
        .means(Means::Authentication),
        says(&["account_inactive", "two_factor_setup_required"]).means(Means::Authentication),
        says(&["not_allowed_token_type", "invalid_refresh_token"]).means(Means::Authentication),
        says(&["invalid_client_id", "bad_client_secret"]).means(Means::Authentication),
        says(&["missing_scope"])
            .means(Means::Permission)
            .advice("the app needs the scope {}, and to be installed again"),
        says(&["not_in_channel"])
            .means(Means::Permission)
            .advice("invite the bot into the channel (/invite @bot)"),
        says(&["no_permission", "access_denied", "accesslimited"]).means(Means::Permission),
        says(&["restricted_action*", "slack_connect_*_blocked"]).means(Means::Permission),
        says(&["ekm_access_denied", "app_access_restricted"]).means(Means::Permission),
        says(&["enterprise_is_restricted", "channel_is_limited_access"]).means(Means::Permission),
        says(&[
            "cant_update_message",
            "cant_delete_message",
            "edit_window_closed",
        ])
        .means(Means::Permission),
        says(&["posting_to_channel_denied", "send_on_behalf_not_allowed"]).means(Means::Permission),
        says(&["file_uploads_*disabled", "messages_tab_disabled"]).means(Means::Permission),
        says(&["metadata_must_be_sent_from_app"]).means(Means::Permission),
        says(&["channel_not_found", "invalid_channel"])
            .means(Means::NotFound)
            .advice(
                "settings.channel names no channel that the bot can see (a private one must \
                 invite it)",
            ),
        says(&["message_not_found", "thread_not_found"])
            .means(Means::NotFound)
            .advice("the ticket's message was deleted"),
        says(&["is_archived"])
            .means(Means::NotFound)
            .advice("the channel is archived: name another in settings.channel"),
        says(&["file_not_found", "team_not_found", "user_not_found"]).means(Means::NotFound),
        says(&["is_inactive", "file_deleted", "file_is_deleted"]).means(Means::NotFound),
        says(&["method_deprecated", "deprecated_endpoint", "unknown_method"])
            .means(Means::Unsupported)
            .advice("Slack no longer offers this"),
        says(&["ratelimited", "rate_limited"])
            .means(Means::RateLimited(Scope::Endpoint, RATE.none_said)),
        // Of the whole workspace, and Slack gives no time for it.
        says(&["message_limit_exceeded"])
            .means(Means::RateLimited(Scope::Integration, secs(600)))
            .advice("the workspace posts too much"),
        // "Some aspect of the operation may have succeeded."
        says(&["internal_error", "fatal_error", "service_unavailable"]).means(Means::Doubtful),
        // The body came in pieces, so nothing was done.
        says(&["request_timeout", "update_failed", "file_update_failed"]).means(Means::Transient),
        says(&["unable_to_share_files", "streaming_state_conflict"]).means(Means::Transient),
        // Such a move takes hours.
        says(&[
            "external_channel_migrating",
            "team_added_to_org",
            "org_login_required",
        ])
        .means(Means::Later(secs(3_600)))
        .advice("the workspace or channel is being moved"),
        says(&["no_text"]).advice("there is nothing to see in the message"),
        says(&["msg_too_long", "msg_blocks_too_long"])
            .field("description")
            .advice("is longer than Slack takes"),
        // `[ERROR] …` about the shape of blocks or arguments: of our making, never a value of the
        // ticket's.
        says(&["*"]).advice("it says: {}"),
    ],
    ok: Some("/ok"),
    fields: &[],
    rate: RATE,
};

/// Whether an answer says that the access token has expired: with HTTP 200, as everything.
pub(super) fn is_stale(answer: &Response) -> bool {
    let says_so = || {
        ERRORS
            .said(answer)
            .codes
            .iter()
            .any(|code| code == "token_expired")
    };
    answer.status == 401 || (answer.is_success() && says_so())
}

/// What to do about a webhook that is no more.
const NEW_HOOK: &str = "make a new webhook and name its URL";

/// An incoming webhook answers in plain text with a true status (list from general knowledge,
/// unconfirmed).
pub(super) static HOOK_ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Text],
    rules: &[
        rule(404)
            .code(&["no_service", "no_service_id", "no_team", "no_active_hooks"])
            .means(Means::Gone)
            .advice(NEW_HOOK),
        rule(410).means(Means::Gone).advice(NEW_HOOK),
        rule(403)
            .code(&["invalid_token"])
            .means(Means::Authentication)
            .advice(NEW_HOOK),
    ],
    ..ErrorTable::of_status(RATE)
};

#[cfg(test)]
pub(super) mod tests;
