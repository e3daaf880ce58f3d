//! Trello's facts: what its refusals mean, and what an integration is made of.

use std::time::Duration;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Means, Rule, Shape, rule};
use crate::platforms::rate::{Left, Quota, RateHeaders, Scope};
use crate::platforms::{
    BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode, OperationKind, Pages,
    Shape as MemberShape, Strangers, any_version,
};

/// What the API is below, with its version.
pub(super) const SITE: &str = "https://api.trello.com/1";
pub(super) const VERSION: &str = "1";
/// The member of a ticket's `external_ref` that is the card's id.
pub(super) const CARD_ID: &str = "card_id";
/// Our name of who has a ticket.
pub(super) const ASSIGNEE: &str = "assigned_to_id";
/// Stands in `status_map` for what is no list: the archive.
pub(super) const ARCHIVED: &str = "archived";

const fn used_up(header: &'static str) -> Quota {
    Quota {
        left: Left::In(header),
        reset: None,
        scope: Scope::Integration,
    }
}

/// 100 requests a token and 300 a key in ten seconds ("Rate limits"). The guide names no header;
/// these are seen in answers. There is no `Retry-After`: the window is waited for.
const RATE: RateHeaders = RateHeaders {
    quotas: &[
        used_up("x-rate-limit-api-token-remaining"),
        used_up("x-rate-limit-api-key-remaining"),
    ],
    ..RateHeaders::retry_after(Duration::from_secs(10), Scope::Integration)
};
/// The window of `/members/…`, which has a budget of its own: 100 requests.
const MEMBERS: Duration = Duration::from_secs(900);

/// A refusal of a parameter: Trello names it in the text and nowhere else.
const fn refused(text: &'static [&'static str], field: &'static str, advice: &'static str) -> Rule {
    rule(400)
        .text(text)
        .means(Means::Validation)
        .field(field)
        .advice(advice)
}

/// What Trello's refusals mean. Most are plain text.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[
        Shape::Json {
            codes: &["/error", "/code"],
            texts: &["/message"],
            fields: &[],
        },
        Shape::Text,
    ],
    rules: &[
        // Any other 401 is about key and token.
        rule(401)
            .text(&["permission requested"])
            .means(Means::Permission)
            .advice(
                "the token must have the scope write, and its member must be an admin or a normal \
                    member of the board",
            ),
        refused(
            &["invalid value for idlist"],
            "settings.list_id",
            "or settings.status_map names no list of the board",
        ),
        refused(
            &["invalid value for idlabels"],
            "tags",
            "have a label that is none of the board",
        ),
        refused(
            &["invalid value for idmembers"],
            ASSIGNEE,
            "is no member of the board",
        ),
        refused(&["invalid value for name"], "title", "is not taken"),
        refused(&["invalid value for desc"], "description", "is not taken"),
        refused(&["invalid value for text"], "body", "is not taken"),
        refused(
            &["invalid value for file", "invalid value for url"],
            "attachments",
            "are not taken",
        ),
        refused(&["customfield"], "custom_fields", "are not taken"),
        // 10 MB of free workspaces, 250 MB of others (unconfirmed).
        rule(413)
            .means(Means::Validation)
            .field("attachments")
            .advice("or texts are larger than the board's workspace may have"),
        rule(429)
            .code(&["API_TOO_MANY_CARDS_REQUESTED"])
            .means(Means::Unsupported),
        rule(429)
            .text(&["/1/member"])
            .means(Means::RateLimited(Scope::Integration, MEMBERS)),
        // A part of it could not be processed.
        rule(449).means(Means::Transient),
    ],
    ok: None,
    fields: &[],
    rate: RATE,
};

/// Who reads comments.
pub(super) const NO_INTERNAL: &str = "everybody who sees the board would read it: where that is \
    right, settings.internal_comments can be set to true";

/// Whether this can be an id of Trello's: 24 hexadecimal characters, the first eight of which are
/// the second it was made in.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An id that a setting gives.
pub(super) fn id(given: &str) -> Result<String, &'static str> {
    let id = given.trim();
    if is_id(id) {
        return Ok(id.to_ascii_lowercase());
    }
    Err(
        "is no id of Trello: 24 characters, 0 to 9 and a to f; put .json behind the address of the \
            board, or of a card of the list, to see idBoard and idList",
    )
}

/// An id as a setting.
const ID: MemberShape = MemberShape::Checked(|value| match value.as_str() {
    Some(text) => id(text).map(drop).map_err(str::to_owned),
    None => Err("must be text: put it in quotes".to_owned()),
});

/// Trello's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Trello,
    modes: &[Mode {
        auth_type: AuthType::ApiKey,
        name: "key and token",
        except: &[Exception::part(
            OperationKind::Comment,
            "comments that are not public, without settings.internal_comments",
            NO_INTERNAL,
        )],
        cannot_read: None,
        protection: "lookup by the last line of the description, among the cards that the board's \
            actions name; comments by their last line, files by name and size; an empty look-up \
            counts as proof after 60 s",
        credentials: &[&[
            Member::required(
                "api_key",
                "key of the Power-Up (trello.com/power-ups/admin → API Key)",
            )
            .open(),
            Member::required(
                "api_token",
                "token of the member that cards are made by, with the scopes read and write",
            ),
        ]],
    }],
    settings: &[
        Member::required("board_id", "id of the board").shaped(ID),
        Member::required("list_id", "id of the list that cards are made in").shaped(ID),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, where everybody who sees the board \
                reads them",
        )
        .shaped(MemberShape::Switch),
        Member::optional(
            "status_map",
            "object: status of ours → list of the board, by name or id, or \"archived\"",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → label; without it \"Priority: High\" and the like",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → label; without it \"Category: Bug\" and the like",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → id or user name of the member",
        )
        .shaped(MemberShape::Object),
    ],
    base_url: BaseUrl::Default(SITE),
    // The API answers strangers with 401.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_id,
        help: "a custom field of the board by its id (integration.fields lists them)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: CARD_ID,
    text_max: Some(16_384),
    version_fault: any_version,
    limits: &[
        "100 requests in 10 s a token, 300 a key; members 100 in 15 minutes",
        "a name, a description, a comment 16,384 characters each",
        "files 10 MB in free workspaces, 250 MB in others; boards of 5,000 open cards",
    ],
};
