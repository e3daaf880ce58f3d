//! Salesforce's facts: members, limits, budgets, and what its refusals mean.
//!
//! Sources: developer.salesforce.com, REST API Developer Guide ("Status Codes and Error Responses",
//! "Limits"); API Request Limits and Allocations; help.salesforce.com, "OAuth 2.0 JWT Bearer Flow"
//! and "OAuth 2.0 Refresh Token Flow".

use std::time::Duration;

use secrecy::SecretString;

use super::words::{CASE_ID, DESCRIPTION_MAX, is_custom_field, is_record_type};
use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape as Body, rule};
use crate::platforms::members::{judged, url};
use crate::platforms::rate::{Left, Quota, RateHeaders};
use crate::platforms::tokens::RsaKey;
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Scope, Shape, Strangers, any_version,
};

/// The version of the interface where the integration names none, and the oldest: an upsert says
/// since then whether it created ("Insert or Update (Upsert) a Record Using an External ID").
pub(super) const VERSION: &str = "62.0";
pub(super) const OLDEST_VERSION: u32 = 46;
/// The usual audience of an assertion.
const LOGIN: &str = "https://login.salesforce.com";
/// Hosts that log everybody in, and so no client by itself ("OAuth 2.0 Client Credentials Flow": My
/// Domain).
pub(super) const COMMON_HOSTS: [&str; 2] = ["login.salesforce.com", "test.salesforce.com"];
/// When to look for what a lost request made: queries are current, but it may still be under way.
pub(super) static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// The pause where the daily allocation is used up: it comes back within a rolling day, bit by bit.
const DAILY: Duration = Duration::from_secs(15 * 60);
/// The same where too many long requests run at once.
const CONCURRENT: Duration = Duration::from_secs(30);
const RATE: RateHeaders = RateHeaders {
    quotas: &[Quota {
        left: Left::UsedOf("sforce-limit-info", "api-usage"),
        reset: None,
        scope: Scope::Integration,
    }],
    ..RateHeaders::retry_after(DAILY, Scope::Integration)
};

const fn code(codes: &'static [&'static str], means: Means) -> Rule {
    Rule::any().code(codes).means(means)
}

/// The code outranks the status: whether a permission is refused with 400 or 403 varies by
/// resource.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Body::Json {
        codes: &["/0/errorCode"],
        texts: &["/0/message"],
        fields: &[Fields::List {
            at: "",
            name: "/fields",
            text: "/message",
        }],
    }],
    rules: &[
        code(
            &["REQUEST_LIMIT_EXCEEDED"],
            Means::RateLimited(Scope::Integration, CONCURRENT),
        )
        .text(&["concurrent"]),
        code(
            &["REQUEST_LIMIT_EXCEEDED"],
            Means::RateLimited(Scope::Integration, DAILY),
        ),
        code(
            &["INVALID_SESSION_ID", "INVALID_AUTH_HEADER"],
            Means::Authentication,
        ),
        code(
            &[
                "INSUFFICIENT_ACCESS*",
                "API_DISABLED_FOR_ORG",
                "API_CURRENTLY_DISABLED",
                "FUNCTIONALITY_NOT_ENABLED",
                // An administrator's policy (unconfirmed list).
                "TXN_SECURITY_*",
            ],
            Means::Permission,
        ),
        // What a trigger or a flow of the org met; its own code is in the text.
        code(&["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"], Means::Transient)
            .text(&["unable_to_lock_row"]),
        code(&["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"], Means::Permission)
            .advice("a trigger or a flow of the org refuses it"),
        // It says "not found" of the field, too (unconfirmed wording).
        code(&["NOT_FOUND"], Means::Validation)
            .text(&["external id field"])
            .field("settings.external_id_field")
            .advice("Case has no such external id that the user may see"),
        code(
            &[
                "NOT_FOUND",
                "ENTITY_IS_DELETED",
                "MALFORMED_ID",
                "INVALID_CROSS_REFERENCE_KEY",
            ],
            Means::NotFound,
        ),
        code(&["DUPLICATE_VALUE"], Means::Exists),
        code(&["DUPLICATES_DETECTED"], Means::Conflict),
        code(&["UNABLE_TO_LOCK_ROW"], Means::Transient),
        code(
            &[
                "UNKNOWN_EXCEPTION",
                "SERVER_UNAVAILABLE",
                "QUERY_TIMEOUT",
                "APEX_ERROR",
            ],
            Means::Doubtful,
        ),
        code(&["INACTIVE_OWNER_OR_USER"], Means::Validation)
            .field("assigned_to_id")
            .advice("the user is not active there"),
        code(&["STORAGE_LIMIT_EXCEEDED"], Means::Validation)
            .advice("the org's storage is full: an administrator has to make room"),
        code(&["UNSUPPORTED_API_VERSION"], Means::Validation)
            .field("api_version")
            .advice("is not served by this org"),
        rule(410).field("api_version").advice("is retired"),
        rule(300).means(Means::Conflict).advice(
            "several cases have the ticket's id: the field of \
                     settings.external_id_field must be unique",
        ),
        rule(405).means(Means::Unsupported),
        rule(412).means(Means::Conflict),
    ],
    ok: None,
    fields: &[
        ("Subject", "title"),
        ("Description", "description"),
        ("Status", "status"),
        ("Priority", "priority"),
        ("Type", "category"),
        ("OwnerId", "assigned_to_id"),
        ("SuppliedEmail", "created_by_id"),
        ("SuppliedName", "created_by_id"),
        ("RecordTypeId", "settings.record_type_id"),
        ("CommentBody", "body"),
        ("Title", "attachments"),
        ("PathOnClient", "attachments"),
    ],
    rate: RATE,
};

const NOBODY: Exception = Exception::part(OperationKind::Assign, "to nobody", super::NO_NOBODY);

static CLIENT_ID: Member = Member::required(
    "client_id",
    "consumer key of the connected or external client app",
)
.open();

fn private_key(pem: &str) -> Result<RsaKey, AdapterError> {
    RsaKey::from_pem("private_key_pem", &SecretString::from(pem))
}

fn field_name(given: &str) -> Result<(), AdapterError> {
    let fault = || {
        AdapterError::field(
            "settings",
            "is no custom field by its API name, e.g. External_Ticket_Id__c",
        )
    };
    is_custom_field(given.trim())
        .then_some(())
        .ok_or_else(fault)
}

fn record_type(given: &str) -> Result<(), AdapterError> {
    let fault = || {
        AdapterError::field(
            "settings.record_type_id",
            "is no id of a record type (012…)",
        )
    };
    is_record_type(given.trim()).then_some(()).ok_or_else(fault)
}

/// Salesforce's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Salesforce,
    modes: &[Mode {
        auth_type: AuthType::Oauth2,
        name: "OAuth 2.0: client credentials, JWT bearer or refresh token",
        except: &[NOBODY],
        cannot_read: None,
        protection: "with settings.external_id_field an upsert, looked up first; without it \
                     lookup by \
                     the last line of the description; comments by their last line, files by title \
                     and MD5; an empty lookup counts as proof after 60 s",
        credentials: &[
            &[
                CLIENT_ID,
                Member::required(
                    "client_secret",
                    "consumer secret of that app; it needs a user to run as",
                ),
            ],
            &[
                CLIENT_ID,
                Member::required("username", "user that the app acts as, pre-authorised").open(),
                Member::required(
                    "private_key_pem",
                    "private RSA key of the app's certificate, PEM (PKCS#1 or PKCS#8)",
                )
                .shaped(Shape::Checked(|value| judged(value, private_key))),
            ],
            &[
                CLIENT_ID,
                Member::optional(
                    "client_secret",
                    "consumer secret, where the app requires it",
                ),
                Member::required("refresh_token", "refresh token of a web-server flow"),
            ],
        ],
    }],
    settings: &[
        Member::required(
            "login_url",
            "My Domain of the org, e.g. https://acme.my.salesforce.com (with JWT and refresh token \
             also https://login.salesforce.com or https://test.salesforce.com)",
        )
        .destination()
        .shaped(Shape::Base),
        Member::optional(
            "jwt_audience",
            "whom the assertion is for, if neither common host",
        )
        .shaped(Shape::Checked(|value| {
            judged(value, |text| url("settings.jwt_audience", text, LOGIN))
        })),
        Member::optional(
            "external_id_field",
            "custom field of Case, Text with External ID and Unique, e.g. External_Ticket_Id__c: \
             creates are upserts by it",
        )
        .shaped(Shape::Checked(|value| judged(value, field_name))),
        Member::optional(
            "record_type_id",
            "record type of the cases, by its id (012…)",
        )
        .shaped(Shape::Checked(|value| judged(value, record_type))),
        Member::optional(
            "tags_field",
            "field for tags: a multi-select picklist or a text, e.g. Tags__c",
        )
        .shaped(Shape::Checked(|value| judged(value, field_name))),
        Member::optional("status_map", "object: status of ours → value of Status")
            .shaped(Shape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → value of Priority",
        )
        .shaped(Shape::Object),
        Member::optional("category_map", "object: category of ours → value of Type")
            .shaped(Shape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → id of the user (005…) or queue (00G…), \
             or the queue's name",
        )
        .shaped(Shape::Object),
    ],
    base_url: BaseUrl::Never("login_url"),
    // It refuses strangers with 401, and never answers with a web page.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_custom_field,
        help: "a custom field of Case by its API name, e.g. Plan__c (see integration.fields)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: CASE_ID,
    text_max: Some(DESCRIPTION_MAX),
    version_fault: any_version,
    limits: &[
        "title 255 characters, description 32,000 characters, comment 4,000 bytes, file 2 GB",
        "requests a day by edition: Developer 15,000, Enterprise 100,000 and 1,000 a licence",
        "5 (Developer) or 25 requests at a time that run 20 s and longer",
    ],
};
