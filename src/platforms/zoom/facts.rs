//! What is known of Zoom Team Chat: its mode, settings and limits, and what its refusals mean.

use std::time::Duration;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::{Left, Quota, RateHeaders};
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, HostSuffix, Member, Mode,
    OperationKind, Pages, Response, Scope, Shape as Looks, Strangers, any_version,
};

/// Where tokens are got (docs/internal-apps/s2s-oauth).
pub(super) const SITE: &str = "https://zoom.us";
/// Where requests go if the grant names no other place (`api_url`).
pub(super) const API: &str = "https://api.zoom.us/v2";
/// Where files go (docs/api/team-chat, "Send a chat file").
pub(super) const FILES: &str = "https://file.zoom.us/v2";
/// What Zoom's own hosts are below.
pub(super) const HOST: &str = "zoom.us";
/// The version, behind `api_url`.
pub(super) static VERSION: [&str; 1] = ["v2"];
/// Where the file host may redirect to. The credentials go along (docs/api/team-chat).
pub(super) static REDIRECTS: [HostSuffix; 2] = [HostSuffix::Own, HostSuffix::Trusted(HOST)];
/// When to look for a lost message. How soon one is listed is not documented.
pub(super) static LOOK_UPS: [Duration; 3] = [secs(5), secs(20), secs(60)];
/// Whose a token is does not change.
pub(super) const IDENTITY_LIFE: Duration = secs(86_400);
/// Characters of a message. Zoom does not say whether they are UTF-16 code units: there are never
/// fewer of those.
pub(super) const MESSAGE_MAX: usize = 1_024;
/// Bytes of an image and of another file that are posted in one request; more is uploaded first.
pub(super) const IMAGE_MAX: u64 = 16_000_000;
pub(super) const FILE_MAX: u64 = 20_000_000;
/// Bytes of a file that is uploaded first.
pub(super) const UPLOAD_MAX: u64 = 1_000_000_000;
/// Days that listings go back: six months.
pub(super) const HISTORY_DAYS: i64 = 180;
/// Characters of a description or comment that are read: more than a message can show, whatever
/// marks are in them.
pub(super) const READ_MAX: usize = 4_000;
/// Longest id of a channel, a user or a message.
const ID_MAX: usize = 200;
/// Why a comment that is not public is refused.
pub(super) const READ_BY_ALL: &str = "everybody in the channel would read a comment that is not \
                                      public; where that is right, settings.internal_comments \
                                      can be set to true";

/// An hour of a day's budget: the table cannot say "until midnight UTC", when it begins anew.
const DAILY: Duration = secs(3_600);
/// Budgets are the account's, over all its apps (docs/api/rate-limits). The header was seen
/// (devforum 18928) and is documented no longer.
const RATE: RateHeaders = RateHeaders {
    quotas: &[Quota {
        left: Left::In("x-ratelimit-remaining"),
        reset: None,
        scope: Scope::Integration,
    }],
    ..RateHeaders::retry_after(secs(1), Scope::Integration)
};

const CLIENT: [Member; 2] = [
    Member::required("client_id", "client id of the app").open(),
    Member::required("client_secret", "client secret of the app"),
];

/// Zoom's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Zoom,
    modes: &[Mode {
        auth_type: AuthType::Oauth2,
        name: "Server-to-Server OAuth or user OAuth",
        except: &[Exception::part(
            OperationKind::Comment,
            "comments that are not public, without settings.internal_comments",
            READ_BY_ALL,
        )],
        cannot_read: None,
        protection: "lookup: the last line of the message; an empty look-up counts as proof after \
                     60 s",
        credentials: &[
            &[
                Member::required("account_id", "account id of a Server-to-Server OAuth app").open(),
                CLIENT[0],
                CLIENT[1],
            ],
            &[
                CLIENT[0],
                CLIENT[1],
                Member::required(
                    "refresh_token",
                    "refresh token of the user who consented; each refresh gives a new one",
                ),
            ],
        ],
    }],
    settings: &[
        Member::required(
            "channel_id",
            "id of the channel; integration.fields lists the channels of the user",
        )
        .shaped(Looks::Checked(|value| {
            judged(value, |text| channel_of(text).map(drop))
        })),
        Member::optional(
            "user_id",
            "id or e-mail address of the user who posts (required with account_id; else the user \
             who consented)",
        )
        .shaped(Looks::Checked(|value| {
            judged(value, |text| user_of(text).map(drop))
        })),
        Member::optional(
            "ticket_url",
            "page of a ticket at your desk, with {ticket_id} in it: shown in the message",
        )
        .shaped(Looks::Url),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, as everybody in the channel may \
             read them",
        )
        .shaped(Looks::Switch),
    ],
    base_url: BaseUrl::Default(SITE),
    // Whoever is not known gets 401 as JSON; a page is a proxy's.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: |_| false,
        help: "nothing: a message of 1,024 characters shows no custom fields",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: "key",
    text_max: Some(READ_MAX),
    version_fault: any_version,
    limits: &[
        "a message has 1,024 characters: title, facts and link stay, the description is cut",
        "a message that was changed has no bold text and no links any more, only their addresses",
        "10 messages a second in a channel, 60 in 100 seconds; Free plans send 2 requests a second \
         and 2,000 a day",
        "files up to 1 GB; above 20 MB (images: 16 MB) they are uploaded before they are posted",
        "look-ups and syncs go back six months; a sync sees new messages, later edits and replies \
         come by webhook",
    ],
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A channel's id. A JID (`…@conference.xmpp.zoom.us`) is none.
pub(super) fn channel_of(given: &str) -> Result<String, AdapterError> {
    let text = given.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let fault = "is no id of a channel: letters and digits, as integration.fields lists them";
    Err(AdapterError::field("settings.channel_id", fault))
}

/// A user's id or e-mail address.
pub(super) fn user_of(given: &str) -> Result<String, AdapterError> {
    let text = given.trim();
    let fits = |b: u8| b.is_ascii_graphic() && !b"/\\?#%\"<>".contains(&b);
    if text.len() > 1 && text.len() <= ID_MAX && text.bytes().all(fits) && text != ".." {
        return Ok(text.to_owned());
    }
    let fault = "is neither an id of a user nor an e-mail address";
    Err(AdapterError::field("settings.user_id", fault))
}

/// Whether this can be a message's id: `8cfaf567-…`, or base64.
pub(super) fn is_message_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_+/={}".contains(&b);
    !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(fits)
}

/// A refusal with these codes, whatever its status: 400 has many meanings.
const fn says(codes: &'static [&'static str]) -> Rule {
    Rule::any().code(codes)
}

const BAD_TOKEN: &[&str] = &["124", "7010"];
/// The numbers are not in the API's files (unconfirmed).
const SCOPES: &[&str] = &["4700", "4711"];

/// What Zoom's codes mean (docs/api/team-chat, docs/api/errors).
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/code", "/error"],
        texts: &["/message", "/reason"],
        fields: &[Fields::List {
            at: "/errors",
            name: "/field",
            text: "/message",
        }],
    }],
    rules: &[
        says(SCOPES)
            .means(Means::Permission)
            .advice("the app lacks a scope: add it, and authorize the app again"),
        says(BAD_TOKEN).means(Means::Authentication),
        // Of the token endpoint (numbers unconfirmed); some are seen elsewhere, too.
        says(&[
            "4702", "4704", "4705", "4706", "4733", "4734", "4735", "4737", "4738", "4741",
        ])
        .means(Means::Authentication),
        says(&["4717"])
            .means(Means::Gone)
            .advice("the app is disabled: see the Zoom App Marketplace"),
        says(&["200"])
            .text(&["only the sender"])
            .means(Means::Permission)
            .advice("only the user who posted a message can change it: see settings.user_id"),
        says(&["200"])
            .text(&["permission"])
            .means(Means::Permission)
            .advice("for an app of the account the user needs a role with Edit on Chat Messages"),
        says(&["5403"])
            .means(Means::Permission)
            .advice("the account does not allow files in the channel"),
        says(&["5418", "5421"]).means(Means::Permission),
        says(&["1001"])
            .means(Means::NotFound)
            .advice("settings.user_id names no user of the account"),
        says(&["4130"])
            .means(Means::NotFound)
            .advice("settings.channel_id names no channel that the user is in"),
        says(&["4131"]).means(Means::NotFound).advice(DELETED),
        says(&["300"])
            .text(&["does not exist"])
            .means(Means::NotFound)
            .advice(DELETED),
        says(&["5404"])
            .means(Means::NotFound)
            .advice("Zoom has lost the uploaded file"),
        says(&["5420"])
            .means(Means::Gone)
            .advice("the channel is archived: name another in settings.channel_id"),
        says(&["5419"])
            .means(Means::Gone)
            .advice("the channel is encrypted end to end, so that no app can write there"),
        says(&["5402"]).advice("the ticket's message is itself a reply"),
        // "Message sending failed": whether it was sent is not said.
        says(&["5301"]).means(Means::Doubtful),
        rule(429)
            .text(&["daily"])
            .means(Means::RateLimited(Scope::Integration, DAILY))
            .advice("the account's budget of the day is spent"),
        rule(429).means(Means::RateLimited(Scope::Integration, RATE.none_said)),
    ],
    ok: None,
    fields: &[
        ("message", "description"),
        ("to_channel", "settings.channel_id"),
        ("files", "attachments"),
        ("file_ids", "attachments"),
    ],
    rate: RATE,
};

const DELETED: &str = "the message was deleted";

/// Whether an answer says that the access token has expired: 401, also seen with 400. A scope that
/// is missing is no reason to renew it.
pub(super) fn is_stale(answer: &Response) -> bool {
    if !matches!(answer.status, 400 | 401) {
        return false;
    }
    let codes = ERRORS.said(answer).codes;
    let has = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
    has(BAD_TOKEN) || (answer.status == 401 && !has(SCOPES))
}

/// Whether an answer says that a message is not there. That a user or a channel is not there is
/// another matter.
pub(super) fn is_gone(answer: &Response) -> bool {
    let said = ERRORS.said(answer);
    let has = |wanted: &str| said.codes.iter().any(|code| code == wanted);
    !answer.is_success()
        && (has("4131") || (has("300") && said.text().to_lowercase().contains("does not exist")))
}
