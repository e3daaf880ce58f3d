//! HubSpot's facts: where things are, what its refusals mean, what an integration is made of.

use std::time::Duration;

use serde_json::Value;

use super::words;
use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::{Left, Quota, RateHeaders, ResetIn, Scope};
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Shape as MemberShape, Strangers, any_version,
};

pub(super) const API: &str = "https://api.hubapi.com";
/// The date version that is used where `api_version` names none.
pub(super) const VERSION: &str = "2026-09";

/// A path; `{d}` stands for the date version.
pub(super) type Path = &'static [&'static str];

/// Every path that is used. None is numbered: v4 ends on 30 March 2027, v1 to v3 in September 2027
/// (changelog, "Legacy APIs and Apps: What's Going Unsupported and When").
pub(super) struct Paths {
    pub(super) tickets: Path,
    pub(super) upsert: Path,
    pub(super) search: Path,
    pub(super) notes: Path,
    pub(super) read_notes: Path,
    pub(super) notes_of_tickets: Path,
    pub(super) pipelines: Path,
    pub(super) properties: Path,
    pub(super) owners: Path,
    pub(super) contacts: Path,
    pub(super) files: Path,
    pub(super) account: Path,
    /// Not of the API's version (changelog, "v1 OAuth API Deprecation").
    pub(super) token: Path,
}

pub(super) static PATHS: Paths = Paths {
    tickets: &["crm", "objects", "{d}", "tickets"],
    upsert: &["crm", "objects", "{d}", "tickets", "batch", "upsert"],
    search: &["crm", "objects", "{d}", "tickets", "search"],
    notes: &["crm", "objects", "{d}", "notes"],
    read_notes: &["crm", "objects", "{d}", "notes", "batch", "read"],
    notes_of_tickets: &[
        "crm",
        "associations",
        "{d}",
        "tickets",
        "notes",
        "batch",
        "read",
    ],
    pipelines: &["crm", "pipelines", "{d}", "tickets"],
    properties: &["crm", "properties", "{d}", "tickets"],
    owners: &["crm", "owners", "{d}"],
    contacts: &["crm", "objects", "{d}", "contacts"],
    files: &["files", "{d}", "files"],
    account: &["account-info", "{d}", "details"],
    token: &["oauth", "2026-03", "token"],
};

/// HubSpot's budgets ("Usage guidelines"): of ten seconds, told with the window's length, and of a
/// day, whose end is not told. Answers of the search tell nothing.
const RATE: RateHeaders = RateHeaders {
    quotas: &[
        Quota {
            left: Left::In("x-hubspot-ratelimit-remaining"),
            reset: Some(("x-hubspot-ratelimit-interval-milliseconds", ResetIn::Millis)),
            scope: Scope::Integration,
        },
        Quota {
            left: Left::In("x-hubspot-ratelimit-daily-remaining"),
            reset: None,
            scope: Scope::Integration,
        },
    ],
    ..RateHeaders::retry_after(Duration::from_secs(10), Scope::Integration)
};

/// A budget of the integration that is used up.
const fn spent(seconds: u64) -> Means {
    Means::RateLimited(Scope::Integration, Duration::from_secs(seconds))
}

/// A unique value that another ticket has.
const TAKEN: &[&str] = &["conflicting_unique_value"];

/// What HubSpot's refusals mean ("Error handling"). Faults of fields are in `errors`, or as JSON
/// within `message`.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/policyName", "/category", "/errors/0/category", "/error"],
        texts: &["/message", "/errors/0/message"],
        fields: &[
            Fields::List {
                at: "/errors",
                name: "/context/propertyName",
                text: "/message",
            },
            Fields::Embedded {
                name: "/name",
                text: "/message",
                code: "/error",
            },
        ],
    }],
    rules: &[
        // A batch of one that was refused is a success with errors in it: 207 Multi-Status.
        rule(207).text(TAKEN).means(Means::Exists),
        rule(207)
            .code(&["MISSING_SCOPES"])
            .means(Means::Permission)
            .advice(SCOPES),
        rule(207).code(&["RATE_LIMITS"]).means(spent(10)),
        rule(207).code(&["*"]).means(Means::Validation),
        Rule::any().text(TAKEN).means(Means::Exists),
        rule(403)
            .code(&["MISSING_SCOPES"])
            .means(Means::Permission)
            .advice(SCOPES),
        // Another request has the record for two seconds: nothing was done.
        rule(423).means(Means::Later(Duration::from_secs(2))),
        // The account moves to another data center, for a day at most: nothing was done.
        rule(477).means(Means::Later(Duration::from_secs(600))),
        rule(429)
            .code(&["SECONDLY"])
            .means(Means::RateLimited(Scope::Endpoint, Duration::from_secs(1))),
        rule(429).code(&["TEN_SECONDLY_ROLLING"]).means(spent(10)),
        // It ends at midnight of the account's time zone, which is not told: asked four times an
        // hour.
        rule(429).code(&["DAILY"]).means(spent(900)),
    ],
    ok: None,
    fields: &[
        (words::SUBJECT, "title"),
        (words::CONTENT, "description"),
        (words::PIPELINE, "settings.pipeline"),
        (words::STAGE, "status"),
        (words::PRIORITY, "priority"),
        (words::CATEGORY, "category"),
        (words::OWNER, ASSIGNEE),
        (words::NOTE_BODY, "body"),
        (words::NOTE_FILES, "attachments"),
    ],
    rate: RATE,
};
const SCOPES: &str = "the service key or the app lacks a scope: it needs tickets, \
    crm.objects.contacts.read and .write, crm.objects.owners.read and files";
/// Our name of who has a ticket.
pub(super) const ASSIGNEE: &str = "assigned_to_id";

/// How a lost request is found again.
const PROTECTION: &str = "with settings.unique_property an upsert that is looked up first; \
    without it the last line of the ticket's text, found by a search that lags and counts as \
    proof after 180 s; notes by their last line, after 60 s";
/// What the customer never sees.
pub(super) const NO_PUBLIC: &str = "HubSpot's notes are internal, the customer reads none: \
    settings.public_comments = note posts the comment as a note that begins \"Public comment:\"";
const PUBLIC: Exception = Exception::part(
    OperationKind::Comment,
    "comments that the customer reads, with settings.public_comments = refuse",
    NO_PUBLIC,
);

/// A date version: `2026-09`, and what comes after it.
pub(super) fn version(given: &str) -> Result<String, AdapterError> {
    let given = given.trim();
    let is_date = given.len() == 7
        && given.char_indices().all(|(at, c)| match at {
            4 => c == '-',
            _ => c.is_ascii_digit(),
        });
    if is_date && given >= VERSION {
        return Ok(given.to_owned());
    }
    let fault =
        format!("must be a date version, {VERSION} or later; HubSpot's numbered ones end in 2027");
    Err(AdapterError::field("api_version", fault))
}

/// The internal name of a property.
fn is_property(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=100).contains(&name.len()) && name.bytes().all(fits)
}

pub(super) fn property_name(setting: &str, given: &str) -> Result<String, AdapterError> {
    let name = given.trim();
    if is_property(name) && !words::OWN.contains(&name) {
        return Ok(name.to_owned());
    }
    let fault = "must be the internal name of a property of tickets that the worker does not \
        itself set, e.g. external_ticket_id";
    Err(AdapterError::field(&format!("settings.{setting}"), fault))
}

const NO_PORTAL: &str = "is no number of an account: digits, as in app.hubspot.com/contacts/NUMBER";

/// The number of an account.
pub(super) fn portal(given: Option<&Value>) -> Result<Option<u64>, AdapterError> {
    let read = match given {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_u64(),
    };
    read.map(Some)
        .ok_or_else(|| AdapterError::field("settings.portal_id", NO_PORTAL))
}

/// What becomes of a public comment: `true` where it is a note.
pub(super) fn notes_public(given: &str) -> Result<bool, AdapterError> {
    match given.trim() {
        "note" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(AdapterError::field(
            "settings.public_comments",
            "must be note or refuse",
        )),
    }
}

/// HubSpot's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Hubspot,
    modes: &[
        Mode {
            auth_type: AuthType::Bearer,
            name: "service key, or token of a private app",
            except: &[PUBLIC],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[Member::required(
                "access_token",
                "service key (Settings → Integrations → Service Keys), or token of a private app: \
                    pat-na1-…",
            )]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "OAuth 2.0",
            except: &[PUBLIC],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required("client_id", "client id of the app").open(),
                Member::required(
                    "client_secret",
                    "client secret of the app, which signs its webhooks too",
                ),
                Member::required("refresh_token", "refresh token of the installation"),
            ]],
        },
    ],
    settings: &[
        Member::optional(
            "pipeline",
            "pipeline that tickets are made in, by label or id; needed where the account has \
                several and none is the default",
        ),
        Member::optional(
            "unique_property",
            "property of tickets with unique values, e.g. external_ticket_id: nothing is then \
                made twice",
        )
        .shaped(MemberShape::Checked(|value| {
            judged(value, |name| property_name("unique_property", name))
        })),
        Member::optional(
            "tags_property",
            "property of tickets that tags are put into: several checkboxes, or a line of text",
        )
        .shaped(MemberShape::Checked(|value| {
            judged(value, |name| property_name("tags_property", name))
        })),
        Member::optional(
            "public_comments",
            "note (default): a public comment becomes an internal note that says so; refuse",
        )
        .shaped(MemberShape::Checked(|value| judged(value, notes_public))),
        Member::optional(
            "portal_id",
            "number of the account: deliveries of other accounts that installed the same app are \
                left out",
        )
        .shaped(MemberShape::Checked(|value| {
            let read = portal(Some(value)).map(drop);
            read.map_err(|_| NO_PORTAL.to_owned())
        })),
        Member::optional(
            "status_map",
            "object: status of ours → stage of the pipeline, by label or id",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → option of hs_ticket_priority",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → option of hs_ticket_category",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → id of the owner",
        )
        .shaped(MemberShape::Object),
    ],
    base_url: BaseUrl::Default(API),
    // The API answers strangers with 401.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: |name| is_property(name) && !words::OWN.contains(&name),
        help: "a property of tickets by its internal name (integration.fields lists them)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: "ticket_id",
    text_max: Some(60_000),
    version_fault: any_version,
    limits: &[
        "100 requests in 10 s (190 from Professional on, 110 by OAuth); 250,000 a day (625,000 \
            Professional, 1,000,000 Enterprise)",
        "searches 5 a second an account; a sync follows the search, which lags by moments and \
            shows no deletions",
        "text and note 65,536 characters; files 20 MB in free accounts",
    ],
};
