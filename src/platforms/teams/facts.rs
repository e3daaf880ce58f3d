//! Teams' facts: its modes, settings and limits, and what its refusals mean.

use std::time::Duration;

use url::Url;
use uuid::Uuid;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::{RateHeaders, Scope};
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Shape as Looks, Strangers, any_version,
};

/// Microsoft Graph; a version follows.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";
pub(super) const VERSION: &str = "v1.0";
/// Where its tokens come from (Entra ID). Elsewhere they come from where the interface is.
pub(super) const LOGIN: &str = "https://login.microsoftonline.com";
/// What each integration needs. A token carries all that was consented for Graph, so that files
/// need no mention here (unconfirmed).
pub(super) const SCOPE: &str = "https://graph.microsoft.com/ChannelMessage.Send \
    https://graph.microsoft.com/ChannelMessage.ReadWrite \
    https://graph.microsoft.com/ChannelMessage.Read.All \
    https://graph.microsoft.com/Channel.ReadBasic.All https://graph.microsoft.com/User.Read \
    offline_access";
/// Life of an access token where the grant does not say: 60 to 90 minutes are usual.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// When to look for a lost message: listed at once, but a request may still be under way.
pub(super) static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(40),
];
/// Characters of a description that a card shows, and of a comment.
pub(super) const DESCRIPTION_MAX: usize = 5_000;
pub(super) const TEXT_MAX: usize = 10_000;
/// Bytes of a whole message. Teams takes about 28 kB; of a flow, failures are seen from 21 kB on
/// (connectors/teams, "28 KB").
pub(super) const FLOW_BYTES: usize = 20_000;
pub(super) const GRAPH_BYTES: usize = 24_000;
/// Bytes of a file that one request may hold (unconfirmed).
pub(super) const FILE_MAX: u64 = 250_000_000;
/// Longest label of a custom field.
const LABEL_MAX: usize = 100;
/// Longest address of a ticket's page.
const PAGE_MAX: usize = 1_000;
/// The member of a ticket's `external_ref` that is its message's id.
pub(super) const MESSAGE_ID: &str = "message_id";

/// Why a comment that is not public is refused.
pub(super) const READ_BY_ALL: &str = "everybody in the channel would read a comment that is not \
    public; where that is right, settings.internal_comments can be set to true";
/// Why nothing of a flow can be read back.
const FLOW: &str = "a flow takes cards and tells nothing of what it posted; sign in by oauth2 to \
    read back";
/// Why a file without an address is refused.
pub(super) const NO_BYTES: &str = "a flow cannot take the bytes of a file; give the file a url, \
    which is posted, or sign in by oauth2";
/// How a lost message is found again.
const BY_LOOK_UP: &str = "lookup: the marker in the card, or in the reply's last line; an empty \
    look-up counts as proof after 40 s";
/// What a channel shows to everybody.
const INTERNAL: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    READ_BY_ALL,
);

/// Neither Graph nor a flow says what is left of its budget. A flow may post 60 times in 30
/// seconds.
const RATE: RateHeaders = RateHeaders::retry_after(Duration::from_secs(30), Scope::Integration);

/// What refusals mean: of Graph and of flows, which have one shape, and of Entra's token endpoint,
/// whose text begins with a number. Codes of flows are unconfirmed.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/error/code", "/error"],
        texts: &["/error/message", "/error_description"],
        fields: &[],
    }],
    rules: &[
        Rule::any()
            .text(&["aadsts65001"])
            .means(Means::Permission)
            .advice(
                "consent is missing: authorize the integration anew, where need be as an \
                    administrator",
            ),
        Rule::any()
            .text(&["aadsts7000222"])
            .means(Means::Authentication)
            .advice("the client secret has expired: make a new one"),
        Rule::any()
            .text(&["aadsts7000215"])
            .means(Means::Authentication)
            .advice("the client secret is wrong: give its value, not its id"),
        Rule::any()
            .text(&["aadsts700016"])
            .means(Means::Authentication)
            .advice("there is no such app in the tenant: compare client_id and tenant_id"),
        Rule::any()
            .code(&["invalid_client", "unauthorized_client"])
            .means(Means::Authentication),
        Rule::any()
            .code(&["invalid_grant", "interaction_required"])
            .means(Means::Authentication)
            .advice("the refresh token has ended or was revoked: authorize the integration anew"),
        rule(401)
            .code(&["DirectApiAuthorizationRequired"])
            .means(Means::Authentication)
            .advice(
                "the flow must be one that Anyone can trigger, and its URL be given whole, with \
                    what follows sig=",
            ),
        rule(403)
            .code(&[
                "Forbidden",
                "Authorization_RequestDenied",
                "InsufficientPrivileges",
            ])
            .means(Means::Permission)
            .advice(
                "the user must be a member of the team, and the app have the scope for this \
                    (Files.ReadWrite.All of files)",
            ),
        Rule::any()
            .statuses(400, 404)
            .code(&["WorkflowTriggerIsNotEnabled"])
            .means(Means::Gone)
            .advice("the flow is turned off"),
        rule(410).means(Means::Gone),
        // The message changed at this moment.
        rule(412).means(Means::Transient),
        rule(413)
            .means(Means::Validation)
            .field("description")
            .advice("makes a message that is longer than Teams takes: about 28 kB"),
    ],
    ok: None,
    fields: &[],
    rate: RATE,
};

/// A setting's text, with what is wrong with another.
fn matching(field: &str, text: &str, fits: bool, fault: &str) -> Result<String, AdapterError> {
    if fits {
        return Ok(text.to_owned());
    }
    Err(AdapterError::field(field, fault))
}

/// The id of a team.
pub(super) fn team(given: &str) -> Result<String, AdapterError> {
    let id = given.trim();
    let fault = "is no id of a team: what follows groupId= in the team's link (Get link to team)";
    let fits = Uuid::parse_str(id).is_ok();
    matching("settings.team_id", id, fits, fault)
}

/// The id of a channel.
pub(super) fn channel(given: &str) -> Result<String, AdapterError> {
    let id = given.trim();
    let fault = "is no id of a channel, e.g. 19:…@thread.tacv2: what follows /channel/ in its \
        link (Get link to channel), where %3A is : and %40 is @";
    matching("settings.channel_id", id, is_channel(id), fault)
}

/// Whether this can be the id of a channel.
pub(super) fn is_channel(id: &str) -> bool {
    let rest = id.strip_prefix("19:");
    let named = rest.and_then(|rest| rest.split_once("@thread."));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    named.is_some_and(|(name, kind)| {
        let parts = [name, kind];
        parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(fits))
    })
}

/// The directory of an organization.
pub(super) fn tenant(given: &str) -> Result<String, AdapterError> {
    let id = given.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let fits = id.bytes().all(fits) && id.bytes().any(|b| b.is_ascii_alphanumeric());
    let fault = "is neither the id nor the domain of a directory";
    matching("credentials.tenant_id", id, fits, fault)
}

/// The page of a ticket.
pub(super) fn page(given: &str) -> Result<String, AdapterError> {
    let fault = "must begin with https:// and have at most 1,000 characters";
    let is_page = given.starts_with("https://") || given.starts_with("http://");
    let fits = is_page && given.chars().count() <= PAGE_MAX;
    matching("settings.ticket_url", given, fits, fault)
}

/// What is wrong with the address of a flow, if anything is. Those of connectors
/// (`*.webhook.office.com`, `outlook.office.com/webhook`) were reported retired in spring 2026
/// (Microsoft's last word on it is unconfirmed).
pub(super) fn flow_fault(url: &Url) -> Option<&'static str> {
    let host = url.host_str().unwrap_or_default();
    let is_office = host == "webhook.office.com"
        || host.ends_with(".webhook.office.com")
        || (["outlook.office.com", "outlook.office365.com"].contains(&host)
            && url.path().starts_with("/webhook"));
    if is_office {
        return Some(
            "is the address of an Office 365 connector, which Microsoft has retired: in Teams, \
             make a workflow that posts to a channel when a webhook request is received, and give \
             its URL",
        );
    }
    let has_proof = url
        .query_pairs()
        .any(|(name, value)| name == "sig" && !value.is_empty());
    (!has_proof).then_some(
        "has no sig= in its query: give the whole URL of a flow that Anyone can trigger (one for \
         people of the tenant wants a token that is not sent)",
    )
}

/// Teams' facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Teams,
    modes: &[
        Mode {
            auth_type: AuthType::Custom,
            name: "workflow",
            except: &[
                INTERNAL,
                Exception::part(OperationKind::Attach, "files without a url", NO_BYTES),
            ],
            cannot_read: Some(FLOW),
            protection: "none: nothing can be looked up; settings.on_unknown decides",
            credentials: &[&[Member::required(
                "workflow_url",
                "whole URL of a flow that posts to a channel when a webhook request is received \
                 and that Anyone can trigger",
            )
            .shaped(Looks::Url)]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "Microsoft Graph, as a user",
            except: &[INTERNAL],
            cannot_read: None,
            protection: BY_LOOK_UP,
            credentials: &[&[
                Member::required("tenant_id", "id or domain of the directory")
                    .open()
                    .shaped(Looks::Checked(|value| judged(value, tenant))),
                Member::required("client_id", "application (client) id of the app").open(),
                Member::required("client_secret", "value of a client secret of the app"),
                Member::required(
                    "refresh_token",
                    "of the user that posts; it is renewed with every refresh",
                ),
            ]],
        },
    ],
    settings: &[
        Member::optional(
            "team_id",
            "id of the team (required, except with workflow_url)",
        )
        .shaped(Looks::Checked(|value| judged(value, team))),
        Member::optional(
            "channel_id",
            "id of the channel, e.g. 19:…@thread.tacv2 (required, except with workflow_url)",
        )
        .shaped(Looks::Checked(|value| judged(value, channel))),
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
    ],
    base_url: BaseUrl::Default(GRAPH),
    // Both answer in JSON, or with nothing.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    // A label, shown before the value.
    custom_fields: CustomFields {
        allows: |label| !label.trim().is_empty() && label.chars().count() <= LABEL_MAX,
        help: "a label of 1 to 100 characters",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: MESSAGE_ID,
    text_max: Some(TEXT_MAX),
    version_fault: any_version,
    limits: &[
        "4 requests a second and channel; by Graph 2 new messages a second and 3,000 a day; by a \
         flow 60 in 30 seconds, 100 an hour, and what its owner's plan allows a day",
        "description 5,000 characters, comment 10,000, a message 24 kB (by a flow 20 kB)",
        "a flow answers before anything is posted; whether it was is not told",
        "files by oauth2 alone, 250 MB",
    ],
};
