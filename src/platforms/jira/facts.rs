//! Jira's facts: what an integration is configured with, what its answers mean, what they say of
//! budgets and strangers.

use std::time::Duration;

use super::super::classify::{self, ErrorTable, Fields};
use super::super::members::judged;
use super::super::rate::{Left, Quota, RateHeaders, ResetIn};
use super::super::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Protection, Scope, Shape, Sign, Strangers,
};
use crate::domain::{AuthType, Platform};

/// Longest description or comment: Jira takes 32,767 characters of text (JRACLOUD-78553); the rest
/// is for what conversion adds.
pub(super) const TEXT_MAX: usize = 32_000;
/// When to look for a lost create: the search index lags by seconds, sometimes minutes.
static CREATE_LOOK_UPS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(120),
];
/// When to look for a lost comment: listed consistently, but a request may still be under way.
static COMMENT_LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(40),
];

/// REST version: decides the shape of texts and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Data Center.
    V2,
    /// Cloud.
    V3,
}

/// How operations of a kind are kept from happening twice.
pub(super) fn protection(kind: OperationKind) -> Protection {
    let schedule: &'static [Duration] = match kind {
        OperationKind::Create => &CREATE_LOOK_UPS,
        // With a summary, a change of status ends in a comment.
        OperationKind::Comment | OperationKind::Attach | OperationKind::Status => &COMMENT_LOOK_UPS,
        OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
            return Protection::Native;
        }
    };
    Protection::Lookup {
        schedule,
        upsert: false,
    }
}

/// What Jira says of its budgets. `RateLimit-Reason` says which of three is used up.
/// `X-RateLimit-Reset` is a date and time; seconds since 1970 are reported too, for traffic by API
/// token. <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>
pub(super) const RATE: RateHeaders = RateHeaders {
    quotas: &[reset_in(ResetIn::Iso), reset_in(ResetIn::EpochSeconds)],
    reasons: &[
        ("ratelimit-reason", "per-issue", Scope::Item),
        ("ratelimit-reason", "burst", Scope::Endpoint),
    ],
    ..RateHeaders::retry_after(Duration::from_secs(5), Scope::Integration)
};

const fn reset_in(form: ResetIn) -> Quota {
    Quota {
        left: Left::Unsaid,
        reset: Some(("x-ratelimit-reset", form)),
        scope: Scope::Integration,
    }
}

/// How Jira refuses: an `ErrorCollection`, either part of which may be empty. What the statuses
/// mean is what they mean everywhere.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[classify::Shape::Json {
        codes: &[],
        texts: &[
            "/errorMessages/0",
            "/errorMessages/1",
            "/errorMessages/2",
            "/errorMessages/3",
            "/errorMessages/4",
        ],
        fields: &[Fields::Map {
            at: "/errors",
            text: "",
        }],
    }],
    rules: &[],
    ok: None,
    fields: &[
        ("summary", "title"),
        ("issuetype", "category"),
        ("assignee", "assigned_to_id"),
        ("labels", "tags"),
        ("project", "settings.project_key"),
        ("comment", "body"),
    ],
    rate: RATE,
};

/// Jira answers 200 with an empty list, or 404, to a caller it does not know, and only headers say
/// so. Data Center names the account in every answer. `OUT` is not certain: it may be a session
/// that ended before this one began.
static STRANGERS: Strangers = Strangers {
    signs: &[
        Sign {
            header: "x-authentication-denied-reason",
            values: &[],
            certain: true,
            advice: Some(
                "Jira has locked the account after failed log-ins: log in once in a browser and \
                 solve the CAPTCHA, renew the credential, then run integration.test",
            ),
        },
        Sign {
            header: "x-seraph-loginreason",
            values: &[
                "AUTHENTICATED_FAILED",
                "AUTHENTICATION_DENIED",
                "AUTHORISATION_FAILED",
            ],
            certain: true,
            advice: None,
        },
        Sign {
            header: "x-ausername",
            values: &["anonymous"],
            certain: true,
            advice: None,
        },
        Sign {
            header: "x-seraph-loginreason",
            values: &["OUT"],
            certain: false,
            advice: None,
        },
    ],
    known: &[
        ("x-seraph-loginreason", &["OK"]),
        ("x-ausername", &[]),
        ("x-aaccountid", &[]),
    ],
    pages: Pages::Never,
};

/// Fields of the system that may be the counterpart of a custom field: the worker sets none of
/// them, and none decides where an issue is, who sees it or how it is found again.
const MAPPABLE_SYSTEM: [&str; 5] = [
    "environment",
    "duedate",
    "components",
    "versions",
    "fixVersions",
];
/// What [`is_mappable`] is, for people.
pub(super) const MAPPABLE: &str = "a custom field by its id, e.g. customfield_10010 \
                                   (integration.fields lists them), or one of environment, \
                                   duedate, components, versions and fixVersions";

/// Whether a field of Jira's may be the counterpart of a custom field.
pub(super) fn is_mappable(theirs: &str) -> bool {
    let number = theirs.strip_prefix("customfield_");
    MAPPABLE_SYSTEM.contains(&theirs)
        || number.is_some_and(|number| {
            (1..=18).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        })
}

/// A key of a project: capitals, digits and `_` (Cloud takes 2 to 10, Data Center up to 255 of
/// them).
pub(super) fn project_key(given: &str) -> Result<String, AdapterError> {
    let key = given.trim();
    let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let fits = key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.len() <= 255
        && key.bytes().all(is_part);
    let fault = "is no key of a Jira project: a capital letter, then capital letters, digits \
                 and _, e.g. SUP; the key is what stands before the number of its issues";
    fits.then(|| key.to_owned())
        .ok_or_else(|| AdapterError::field("settings.project_key", fault))
}

/// An id of a site at Atlassian's gateway.
pub(super) fn cloud_id(given: &str) -> Result<String, AdapterError> {
    let id = given.trim();
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(is_part);
    let fault = "is no cloud id: letters, digits and hyphens, as \
                 https://api.atlassian.com/oauth/token/accessible-resources gives it";
    fits.then(|| id.to_owned())
        .ok_or_else(|| AdapterError::field("credentials.cloud_id", fault))
}

/// Legacy rows keep the base URL among the credentials.
const LEGACY_URL: Member =
    Member::optional("url", "base URL, where an older application stored it here")
        .open()
        .shaped(Shape::Base);

/// How a lost request is found again.
const PROTECTION: &str =
    "lookup: a unique label found by JQL; an empty search counts as proof after 120 s";
/// What a project without an audience of its own for comments cannot do.
const INTERNAL_COMMENTS: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    "\"service_desk\" for service projects, or the role that may see them; other projects would \
     show them to all",
);

/// Jira's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Jira,
    modes: &[
        Mode {
            auth_type: AuthType::ApiKey,
            name: "Cloud, API token",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required(
                    "email",
                    "e-mail address of the account that owns the token (Cloud)",
                )
                .open()
                .shaped(Shape::Email),
                Member::required("api_token", "API token of that account"),
                LEGACY_URL,
            ]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "Cloud, OAuth 2.0 (3LO)",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required("client_id", "OAuth 2.0 (3LO) client id").open(),
                Member::required("client_secret", "OAuth 2.0 (3LO) client secret"),
                Member::required("refresh_token", "refresh token with scope offline_access"),
                Member::required("cloud_id", "cloud id of the site")
                    .open()
                    .shaped(Shape::Checked(|value| judged(value, cloud_id))),
                LEGACY_URL,
            ]],
        },
        Mode {
            auth_type: AuthType::Bearer,
            name: "Data Center, personal access token",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required("token", "personal access token (Data Center)"),
                LEGACY_URL,
            ]],
        },
        Mode {
            auth_type: AuthType::Basic,
            name: "Data Center, user name and password",
            except: &[INTERNAL_COMMENTS],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required("username", "user name (Data Center)")
                    .open()
                    .shaped(Shape::User),
                Member::required("password", "password (Data Center)").shaped(Shape::Password),
                LEGACY_URL,
            ]],
        },
    ],
    settings: &[
        Member::required(
            "project_key",
            "key of the project that issues are created in, e.g. SUP",
        )
        .shaped(Shape::Checked(|value| judged(value, project_key))),
        Member::optional(
            "default_issue_type",
            "issue type for categories without one of their own, which category_map gives (default \
             Task)",
        ),
        Member::optional(
            "status_transitions",
            "status of ours → name of the transition to take; wins over status_map",
        )
        .shaped(Shape::Object),
        Member::optional(
            "status_map",
            "status of ours → name of the status to lead to",
        )
        .shaped(Shape::Object),
        Member::optional(
            "priority_map",
            "priority of ours → name of the priority; null: it is not sent",
        )
        .shaped(Shape::Object),
        Member::optional("category_map", "category of ours → name of the issue type")
            .shaped(Shape::Object),
        Member::optional(
            "users",
            "our id or e-mail address of a user → account id (Data Center: user name)",
        )
        .shaped(Shape::Object),
        Member::optional(
            "transition_fields",
            "fields that a transition demands, with their values as Jira takes them; comment \
             may be a text",
        )
        .shaped(Shape::Object),
        Member::optional(
            "internal_comments",
            "\"service_desk\", or the role that may see comments that are not public",
        ),
        Member::optional("token_url", "OAuth token endpoint, if not Atlassian's")
            .destination()
            .shaped(Shape::Url),
        Member::optional("api_url", "API base for OAuth, if not Atlassian's gateway")
            .destination()
            .shaped(Shape::Base),
    ],
    base_url: BaseUrl::UnlessCredential("url"),
    deletes: Deletes::Closes,
    stable_ref: "issue_id",
    strangers: STRANGERS,
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_mappable,
        help: MAPPABLE,
        one_each: true,
    },
    text_max: Some(TEXT_MAX),
    version_fault,
    limits: &[
        "summary 255 characters; description and comment 32,000 (Jira takes 32,767)",
        "POST 100/s and PUT 50/s a tenant and endpoint; 20 writes in 2 s on one issue",
    ],
};

/// What is wrong with a version of the interface that is given for credentials of this kind: Cloud
/// has removed from version 2 what we need, and Data Center has no version 3.
pub(super) fn version_fault(auth_type: AuthType, given: &str) -> Option<&'static str> {
    match (auth_type, given) {
        (AuthType::ApiKey | AuthType::Oauth2, "2") => {
            Some("is of Data Center, and these are credentials of Cloud, which has 3: leave it out")
        }
        (AuthType::Bearer | AuthType::Basic, "3") => {
            Some("is of Cloud, and these are credentials of Data Center, which has 2: leave it out")
        }
        _ => None,
    }
}
