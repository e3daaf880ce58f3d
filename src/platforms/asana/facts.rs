//! Asana's facts: what its refusals mean, and what an integration is made of.

use std::time::Duration;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape, rule};
use crate::platforms::rate::{RateHeaders, Scope};
use crate::platforms::{
    BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode, OperationKind, Pages,
    Shape as MemberShape, Strangers, any_version,
};

/// What the API is below, and the token endpoint.
pub(super) const SITE: &str = "https://app.asana.com";
/// The member of a ticket's `external_ref` that is its id at Asana.
pub(super) const TASK_GID: &str = "task_gid";
/// Our name of who has a ticket.
pub(super) const ASSIGNEE: &str = "assigned_to_id";
/// What is wrong with a section that was chosen by a setting.
pub(super) const SECTION: &str = "settings.status_map";

/// Asana tells no budget before it is used up ("Rate limits"). A minute is its window; what is
/// refused counts as well, so its `Retry-After` is waited out.
const RATE: RateHeaders = RateHeaders::retry_after(Duration::from_secs(60), Scope::Integration);

/// What Asana's refusals mean ("Errors"). There is no code, and a field is named before a colon.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/error"],
        texts: &[
            "/errors/0/message",
            "/errors/1/message",
            "/error_description",
        ],
        fields: &[Fields::BeforeColon],
    }],
    rules: &[
        Rule::any()
            .code(&["invalid_grant"])
            .means(Means::Authentication),
        rule(402)
            .means(Means::Permission)
            .advice("the workspace's plan lacks this"),
        rule(403).means(Means::Permission).advice(
            "the token's user must be able to edit the project (one who may only comment \
             cannot), and an app with granular scopes needs those of tasks, stories, \
             attachments and tags",
        ),
        // Too large a file (unconfirmed).
        rule(413)
            .means(Means::Validation)
            .field("attachments")
            .advice("is larger than Asana takes: 100 MB"),
        // For legal reasons, for good.
        rule(451).means(Means::Gone),
    ],
    ok: None,
    fields: &[
        ("name", "title"),
        ("notes", "description"),
        ("html_notes", "description"),
        ("text", "body"),
        ("html_text", "body"),
        ("assignee", ASSIGNEE),
        ("completed", "status"),
        ("section", SECTION),
        ("tag", "tags"),
        ("custom_fields", "custom_fields"),
        ("project", "settings.project_gid"),
        ("projects", "settings.project_gid"),
        ("workspace", "settings.workspace_gid"),
        ("file", "attachments"),
        ("parent", "ticket"),
        ("task", "ticket"),
        ("external", "ticket"),
    ],
    rate: RATE,
};

/// How a lost request is found again.
const BY_EXTERNAL: &str = "external.gid of the task, read by name; comments by their last line, \
                           files by name and size; an empty look-up counts as proof after 60 s";
const BY_NOTES: &str = "the last line of the task's notes, found in the project's listing; \
                        comments by their last line, files by name and size; an empty look-up \
                        counts as proof after \
                        60 s";

/// Who reads comments.
pub(super) const NO_INTERNAL: &str = "everybody who sees the task would read it: where that is \
                                      right, settings.internal_comments can be set to true";
const INTERNAL: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    NO_INTERNAL,
);

/// Whether this can be an id of Asana's. Ids are texts of digits.
pub(super) fn is_gid(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

const NO_GID: &str = "is no gid of Asana: digits, as in the address of its page \
                      (https://app.asana.com/1/WORKSPACE/project/PROJECT)";

/// An id.
pub(super) fn gid(given: &str) -> Result<String, &'static str> {
    let gid = given.trim();
    if is_gid(gid) {
        return Ok(gid.to_owned());
    }
    Err(NO_GID)
}

/// An id as a setting.
const GID: MemberShape = MemberShape::Checked(|value| match value.as_str() {
    Some(text) => gid(text).map(drop).map_err(str::to_owned),
    None => Err("must be text: put it in quotes".to_owned()),
});

/// Asana's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Asana,
    modes: &[
        Mode {
            auth_type: AuthType::Bearer,
            name: "personal or service account token",
            except: &[INTERNAL],
            cannot_read: None,
            protection: BY_NOTES,
            credentials: &[&[Member::required(
                "access_token",
                "token of the user that tasks are made by (My Settings → Apps → Developer apps), \
                    or of a service account",
            )]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "OAuth 2.0",
            except: &[INTERNAL],
            cannot_read: None,
            protection: BY_EXTERNAL,
            credentials: &[&[
                Member::required("client_id", "client id of the app").open(),
                Member::required("client_secret", "client secret of the app"),
                Member::required("refresh_token", "refresh token of the authorization"),
            ]],
        },
    ],
    settings: &[
        Member::required("workspace_gid", "gid of the workspace").shaped(GID),
        Member::required("project_gid", "gid of the project that tasks are made in").shaped(GID),
        Member::optional(
            "priority_field",
            "custom field of the project for the priority, by name or gid: a single choice",
        ),
        Member::optional(
            "category_field",
            "custom field of the project for the category, by name or gid: a single choice",
        ),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, where everybody who sees the task \
                reads them",
        )
        .shaped(MemberShape::Switch),
        Member::optional(
            "status_map",
            "object: status of ours → section of the project, by name or gid",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → choice of priority_field",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → choice of category_field",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → gid of the user",
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
        allows: is_gid,
        help: "a custom field of the project by its gid (integration.fields lists them)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: TASK_GID,
    text_max: Some(60_000),
    version_fault: any_version,
    limits: &[
        "150 requests a minute a token in free workspaces, 1,500 in paid ones; what is refused \
            counts too",
        "notes and comments 65,000 characters; files 100 MB; a choice field 500 choices",
        "a task that only moves to another section keeps its time of change: a sync does not see \
            it until something else changes",
    ],
};
