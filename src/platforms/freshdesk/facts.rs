//! Freshdesk's facts: modes, settings, errors, budgets, limits.
//!
//! Sources: developers.freshdesk.com/api (`#authentication`, `#ratelimit`, `#errors`, `#tickets`,
//! `#conversations`, `#agents`); support.freshdesk.com 132589 (webhooks of automations).

use std::time::Duration;

use serde_json::Value;

use super::words::is_custom_field;
use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::{Left, Quota, RateHeaders};
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Member, Mode, Pages, Protection,
    Scope, Shape as MemberShape, Strangers, any_version,
};

/// The member of a ticket's `external_ref` that is its id at Freshdesk.
pub(super) const TICKET_ID: &str = "ticket_id";
/// Our name of who has a ticket, and of who asked for it.
pub(super) const ASSIGNEE: &str = "assigned_to_id";
pub(super) const CREATOR: &str = "created_by_id";
/// The setting of who asks for a ticket whose creator has no address.
pub(super) const REQUESTER: &str = "settings.requester_email";
/// The setting of the field that holds our marker.
pub(super) const REFERENCE: &str = "settings.reference_field";

/// When to look for what a lost answer may have made. Lists lag behind nothing, but a request may
/// still be under way.
static LOOK_UPS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
pub(super) static BY_LOOK_UP: Protection = Protection::Lookup {
    schedule: &LOOK_UPS,
    upsert: false,
};

/// The budget is the account's: of all users, applications and keys together; refused requests
/// count, too. No header says when it begins anew: it is a minute's.
const RATE: RateHeaders = RateHeaders {
    quotas: &[Quota {
        left: Left::In("x-ratelimit-remaining"),
        reset: None,
        scope: Scope::Integration,
    }],
    ..RateHeaders::retry_after(Duration::from_secs(60), Scope::Integration)
};

/// What refusals mean. What no rule names has the meaning of its status.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/code", "/errors/0/code"],
        texts: &["/description", "/message"],
        fields: &[Fields::List {
            at: "/errors",
            name: "/field",
            text: "/message",
        }],
    }],
    rules: &[
        Rule::any()
            .code(&["invalid_credentials"])
            .means(Means::Authentication),
        rule(403)
            .code(&["require_feature"])
            .means(Means::Permission)
            .advice("the account's plan lacks this"),
        // A bug of ours, or an address that is none of Freshdesk's.
        Rule::any().statuses(405, 406).means(Means::Unsupported),
        rule(415).means(Means::Unsupported),
        rule(413)
            .means(Means::Validation)
            .advice("the files are larger than Freshdesk takes"),
    ],
    ok: None,
    fields: &[
        ("subject", "title"),
        ("body", "body"),
        ("type", "category"),
        ("ticket_type", "category"),
        ("email", CREATOR),
        ("requester_id", CREATOR),
        ("responder_id", ASSIGNEE),
        ("group_id", "settings.group_id"),
        ("attachments", "attachments"),
    ],
    rate: RATE,
};

/// What stands before `.freshdesk.com`. An address of the account is cut to that.
pub(super) fn domain(given: &str) -> Result<String, AdapterError> {
    let name = given.trim();
    let name = name.strip_suffix(".freshdesk.com").unwrap_or(name);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(fits) {
        return Ok(name.to_owned());
    }
    Err(AdapterError::field(
        "settings.domain",
        "is no domain of Freshdesk: letters, digits and hyphens, what stands before .freshdesk.com",
    ))
}

/// The name of a custom field.
pub(super) fn reference(given: &str) -> Result<String, AdapterError> {
    let name = given.trim();
    if is_custom_field(name) {
        return Ok(name.to_owned());
    }
    Err(AdapterError::field(
        REFERENCE,
        "is no custom field of Freshdesk: its API name begins with cf_, e.g. cf_external_ref",
    ))
}

/// Whether public comments are sent as notes: what the setting says.
pub(super) fn as_notes(given: &str) -> Result<bool, AdapterError> {
    match given.trim() {
        "reply" => Ok(false),
        "note" => Ok(true),
        _ => Err(AdapterError::field(
            "settings.public_comments",
            "must be reply (it is mailed to the requester) or note",
        )),
    }
}

/// Whether this can be an id of Freshdesk's.
pub(super) fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// What is wrong with a group that is none.
pub(super) const NO_ID: &str = "is no id of Freshdesk: digits, with which the group's address ends";

fn id_fault(value: &Value) -> Result<(), String> {
    let is_one = match value {
        Value::String(text) => is_id(text.trim()),
        Value::Number(number) => number.is_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    if is_one {
        Ok(())
    } else {
        Err(NO_ID.to_owned())
    }
}

/// Freshdesk's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Freshdesk,
    modes: &[Mode {
        auth_type: AuthType::ApiKey,
        name: "API key of an agent",
        except: &[],
        cannot_read: None,
        protection: "lookup by settings.reference_field, else by a tag; comments and files by \
                     their last line",
        credentials: &[&[Member::required(
            "api_key",
            "API key of the agent that the worker acts as; it is on the agent's profile page",
        )]],
    }],
    settings: &[
        Member::optional(
            "domain",
            "what stands before .freshdesk.com, e.g. acme (or base_url)",
        )
        .destination()
        .shaped(MemberShape::Checked(|value| judged(value, domain))),
        Member::optional(
            "requester_email",
            "who asks for a ticket whose creator has no e-mail address; Freshdesk takes none \
             without a requester",
        )
        .shaped(MemberShape::Email),
        Member::optional("group_id", "id of the group that tickets are given to")
            .shaped(MemberShape::Checked(id_fault)),
        Member::optional(
            "reference_field",
            "API name of a single-line text field for our marker, e.g. cf_external_ref; without \
             it a tag is used",
        )
        .shaped(MemberShape::Checked(|value| judged(value, reference))),
        Member::optional(
            "public_comments",
            "what a public comment becomes: reply (the default; it is mailed to the requester) \
             or note",
        )
        .shaped(MemberShape::Checked(|value| judged(value, as_notes))),
        Member::optional(
            "status_map",
            "object: status of ours → a status of Freshdesk by its number or its name, e.g. 6 \
             or Waiting on Customer",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → 1 (low) to 4 (urgent)",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → a type of ticket, e.g. Incident",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → id of the agent",
        )
        .shaped(MemberShape::Object),
    ],
    base_url: BaseUrl::UnlessSetting("domain"),
    // Strangers get 401.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_custom_field,
        help: "a custom ticket field by its API name, e.g. cf_floor (integration.fields lists \
               them)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: TICKET_ID,
    text_max: Some(60_000),
    version_fault: any_version,
    limits: &[
        "subject 255 characters, tag 32 characters, files 20 MB a ticket or comment",
        "requests a minute of the whole account by plan: 50 trial, 200 Growth, 400 Pro, \
         700 Enterprise, with lower limits for creating, updating and listing",
        "a public comment is mailed to the requester; its last line is [ref:cmd-…]",
        "tags are set as a whole: a tag that an agent adds within the same second as an update \
         of tags may be lost",
    ],
};
