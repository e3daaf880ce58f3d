//! ServiceNow: incidents by the Table API.
//!
//! Sources: repository `ServiceNow/ServiceNowDocs`: `c_TableAPI.md`, `c_AttachmentAPI.md`,
//! `r_RESTAPIHTTPResponseCodes.md`, `inbound-REST-API-rate-limiting.md`,
//! `client-credentials-grant-workflow.md`, `configure-api-key.md`,
//! `c_IncidentManagementStateModel.md`, `def-prio-lookup-rules.md`. What comes from general
//! knowledge alone is a constant whose comment says "(unconfirmed)".
//!
//! **Duplicates**: ServiceNow has no idempotency key. A create is found by `correlation_id`, which
//! is a query of the database and does not lag. A comment is a change of the incident that appends
//! a journal entry: its last line is the command's marker. A file is found by name and size.
//!
//! **Three silences** of the vendor shape this adapter. It ignores the parts of a query that it
//! does not understand, so every row is checked again. It answers 200 where an ACL or a business
//! rule dropped a field, so what was sent is compared with what comes back. It leaves out rows that
//! an ACL hides, so an empty list proves something only where nothing is hidden in it.

mod inbound;
mod item;
mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod words;

pub(super) use self::inbound::HOOKS;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use url::Url;

use self::words::is_sys_id;
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::Api;
use crate::platforms::classify::{ErrorTable, Means, Shape, rule};
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, judged, url};
use crate::platforms::path::below;
use crate::platforms::rate::{Left, Quota, RateHeaders, ResetIn};
use crate::platforms::tokens::{Client, ClientAuth, Grant, OauthFlow};
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, Auth, BaseUrl, CallContext, CheckReport, CustomFields, Deletes,
    Descriptor, ErrorClass, Facts, Finishing, Inbound, Known, Member, Mode, Operation,
    OperationKind, Pages, Plan, Prepared, Protection, Reader, Receipt, Response, Scope,
    Shape as MemberShape, Strangers, TestKind, TicketFacts, TokenFlow, any_version,
};
use crate::secrets::Credentials;

/// Life of an access token where the grant does not say (unconfirmed; the default of an OAuth
/// entity).
const TOKEN_LIFE: Duration = Duration::from_secs(1_800);
/// The header of an API key, unless the administrator gave it another name
/// (`configure-api-key.md`).
const KEY_HEADER: &str = "x-sn-apikey";
/// State of a cancelled incident.
const CANCELED: &str = "8";
/// `hold_reason` "Awaiting Caller" (label documented, number unconfirmed).
const AWAITING_CALLER: (&str, &str) = ("1", "awaiting caller");

/// When to look for what was lost: the database is asked, but a request may still run; 60 s is the
/// usual quota of a REST transaction (unconfirmed).
static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];
const LOOKED_UP: Protection = Protection::Lookup {
    schedule: &LOOK_UPS,
    upsert: false,
};
const PROTECTION: &str = "lookup by correlation_id; comments by their marker in the journal, \
                          files by name and size; an \
                          empty search counts as proof after 60 s";

/// Rules of an administrator, in requests an hour, say when they begin anew; no header says what is
/// left (`inbound-REST-API-rate-limiting.md`). A node that is busy says nothing.
const RATE: RateHeaders = RateHeaders {
    quotas: &[Quota {
        left: Left::Unsaid,
        reset: Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
        scope: Scope::Integration,
    }],
    ..RateHeaders::retry_after(Duration::from_secs(5), Scope::Integration)
};

/// What refusals mean. A data policy refuses with the status of an ACL, and names fields by their
/// labels in its text.
static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/error"],
        texts: &["/error/message", "/error/detail", "/error_description"],
        fields: &[],
    }],
    rules: &[
        rule(403)
            .text(&["mandatory", "data policy"])
            .means(Means::Validation),
        // A unique index, e.g. on correlation_id (unconfirmed).
        rule(409).means(Means::Exists),
    ],
    ok: None,
    fields: &[],
    rate: RATE,
};

/// ServiceNow's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Servicenow,
    modes: &[
        mode(
            AuthType::Basic,
            "user and password",
            &[&[
                Member::required(
                    "username",
                    "user of the integration, with web service access only",
                )
                .open()
                .shaped(MemberShape::User),
                Member::required("password", "password of that user").shaped(MemberShape::Password),
            ]],
        ),
        mode(
            AuthType::Oauth2,
            "OAuth 2.0, client credentials",
            &[&[
                Member::required("client_id", "id of the OAuth client").open(),
                Member::required("client_secret", "secret of that client"),
            ]],
        ),
        mode(
            AuthType::ApiKey,
            "API key",
            &[&[Member::required(
                "api_key",
                "REST API key of the integration's user",
            )]],
        ),
    ],
    settings: &[
        Member::optional(
            "assignment_group",
            "sys_id or name of the group that incidents are given to",
        ),
        Member::optional(
            "caller_id",
            "sys_id or e-mail address of the caller of every incident (else the ticket's \
             requester)",
        ),
        Member::optional(
            "close_code",
            "resolution code of resolved and closed incidents, where the instance has more than \
             one",
        ),
        Member::optional("cancelled_state", "state of cancelled incidents (8)")
            .shaped(MemberShape::Checked(|value| judged(value, state))),
        Member::optional(
            "hold_reason",
            "reason of incidents on hold (1, Awaiting Caller)",
        ),
        Member::optional("api_key_header", "header of the API key (x-sn-apikey)")
            .shaped(MemberShape::Checked(|value| judged(value, header))),
        Member::optional(
            "status_map",
            "object: status of ours → value of a state, e.g. 3",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → impact and urgency, e.g. \"1,2\"",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → category of the instance, by value or label",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → sys_id",
        )
        .shaped(MemberShape::Object),
    ],
    base_url: BaseUrl::Required,
    // Whom it does not know it answers with 401. An instance that hibernates shows a page.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: words::is_custom,
        help: "a column of incident whose name begins with u_ or x_, or subcategory",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: words::SYS_ID,
    text_max: Some(16_000),
    version_fault: any_version,
    limits: &[
        "title 160 characters, description and comment 4,000; tags go into a work note of the \
         create",
        "requests an hour by rules of the administrator; four at once is what a node takes well",
        "a sync needs a user in the time zone GMT to page well; it shows no deleted incidents",
    ],
};

const fn mode(
    auth_type: AuthType,
    name: &'static str,
    credentials: &'static [&'static [Member]],
) -> Mode {
    Mode {
        auth_type,
        name,
        credentials,
        except: &[],
        cannot_read: None,
        protection: PROTECTION,
    }
}

/// One ServiceNow integration.
pub struct ServiceNow {
    api: Api,
    site: Url,
    group: Option<String>,
    caller: Option<String>,
    close_code: Option<String>,
    hold_reason: String,
    cancelled: Option<String>,
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    categories: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    flow: Option<OauthFlow>,
}

impl ServiceNow {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Servicenow, integration, credentials);
        let site = site_of(integration)?;
        let (auth, flow) = auth_of(&members, integration.auth_type, &site)?;
        let setting = |name: &str| {
            let text = members.setting(name).map(|text| text.trim().to_owned());
            text.filter(|text| !text.is_empty())
        };
        let looked_for = |name: &'static str| match setting(name) {
            Some(text) if words::literal(&text).is_none() => {
                let fault = "cannot be looked for: name its sys_id";
                Err(AdapterError::field(&format!("settings.{name}"), fault))
            }
            given => Ok(given),
        };
        let cancelled = setting("cancelled_state");
        let cancelled = cancelled.map(|text| state(&text)).transpose()?;
        let api = Api::new(below(&site, &["api", "now"])?, auth, &ERRORS);
        let servicenow = Self {
            api: api.header(ACCEPT, HeaderValue::from_static("application/json")),
            group: looked_for("assignment_group")?,
            caller: looked_for("caller_id")?,
            close_code: setting("close_code"),
            hold_reason: setting("hold_reason").unwrap_or_else(|| AWAITING_CALLER.0.to_owned()),
            cancelled,
            statuses: Mapping::of(&members, "status_map", &words::STATUSES)?
                .with_back(&words::STATUSES_BACK),
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?
                .with_back(&words::PRIORITIES_BACK),
            categories: Mapping::of(&members, "category_map", &words::CATEGORIES)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            site,
            flow,
        };
        servicenow.knows_its_words()?;
        Ok(servicenow)
    }

    /// A state is a number, and a priority two: another word would be dropped in silence.
    fn knows_its_words(&self) -> Result<(), AdapterError> {
        for status in TicketStatus::ALL {
            let word = self.state_of(*status);
            if !words::is_state(word) {
                let field = format!("settings.status_map.{status}");
                let fault = format!("is {word:?}: name the value of a state, a number such as 3");
                return Err(AdapterError::field(&field, fault));
            }
        }
        for priority in Priority::ALL {
            let pair = self.priorities.out(*priority);
            if pair.and_then(words::pair).is_none() {
                let field = format!("settings.priority_map.{priority}");
                let fault = "must be impact and urgency, from 1 to 3 each, e.g. \"1,2\"";
                return Err(AdapterError::field(&field, fault));
            }
        }
        Ok(())
    }

    /// The state of a status.
    fn state_of(&self, status: TicketStatus) -> &str {
        let mapped = self.statuses.out(status).unwrap_or_default();
        match &self.cancelled {
            // What status_map says counts more.
            Some(own) if status == TicketStatus::Cancelled && mapped == CANCELED => own,
            Some(_) | None => mapped,
        }
    }

    /// Whether an incident on hold waits for its caller, to whom something must be said then.
    fn awaits_caller(&self) -> bool {
        let (value, label) = AWAITING_CALLER;
        self.hold_reason == value || self.hold_reason.to_lowercase() == label
    }

    /// The page of an incident.
    fn page_of(&self, sys_id: &str) -> Option<String> {
        let mut page = below(&self.site, &["incident.do"]).ok()?;
        page.query_pairs_mut().append_pair("sys_id", sys_id);
        Some(page.into())
    }
}

/// The value of a state.
fn state(given: &str) -> Result<String, AdapterError> {
    let text = given.trim();
    if words::is_state(text) {
        return Ok(text.to_owned());
    }
    let fault = "must be the value of a state, a number such as 8";
    Err(AdapterError::field("settings.cancelled_state", fault))
}

/// The name of a header.
fn header(given: &str) -> Result<HeaderName, AdapterError> {
    let name = given.trim().to_ascii_lowercase();
    let is_other = |name: &HeaderName| {
        !matches!(
            name.as_str(),
            "host" | "accept" | "content-type" | "content-length"
        )
    };
    let read = HeaderName::try_from(name).ok().filter(is_other);
    read.ok_or_else(|| {
        let fault = "must be the name of the header of the API key, e.g. x-sn-apikey";
        AdapterError::field("settings.api_key_header", fault)
    })
}

/// Where the instance is, without what its API is below.
fn site_of(integration: &Integration) -> Result<Url, AdapterError> {
    let example = "https://acme.service-now.com";
    let given = integration.base_url.as_deref().map(str::trim);
    let given = given.filter(|given| !given.is_empty()).ok_or_else(|| {
        let fault = format!("is required for servicenow, e.g. {example}");
        AdapterError::field("base_url", fault)
    })?;
    let mut site = url("base_url", given, example)?;
    site.set_query(None);
    site.set_fragment(None);
    let path = site.path().trim_end_matches('/').to_owned();
    site.set_path(path.strip_suffix("/api/now").unwrap_or(&path));
    Ok(site)
}

/// How requests prove who asks, and how an access token is got.
fn auth_of(
    members: &Members<'_>,
    auth_type: AuthType,
    site: &Url,
) -> Result<(Auth, Option<OauthFlow>), AdapterError> {
    match auth_type {
        AuthType::Basic => {
            let auth = Auth::Basic {
                user: members.text("username")?,
                secret: members.secret("password")?,
            };
            Ok((auth, None))
        }
        AuthType::ApiKey => {
            let name = members.setting("api_key_header");
            let name = header(name.as_deref().unwrap_or(KEY_HEADER))?;
            Ok((Auth::Header(name, members.secret("api_key")?), None))
        }
        AuthType::Oauth2 => {
            let client = Client {
                id: members.text("client_id")?,
                secret: Some(members.secret("client_secret")?),
                auth: ClientAuth::Form,
            };
            let token_url = below(site, &["oauth_token.do"])?;
            let flow = OauthFlow::new("ServiceNow", token_url, Grant::ClientCredentials, client)
                .life(TOKEN_LIFE)
                .refused_by(is_refused);
            Ok((Auth::OAuth, Some(flow)))
        }
        AuthType::Bearer | AuthType::Custom => {
            let fault =
                format!("{auth_type} is not taken by servicenow; it takes basic, oauth2, api_key");
            Err(AdapterError::field("auth_type", fault))
        }
    }
}

/// ServiceNow calls a client that it does not know `server_error` or `access_denied`, with the
/// status of a bad credential (`r_OAuthAPIRequestParameters.md`).
fn is_refused(answer: &Response) -> Result<(), AdapterError> {
    let said = ERRORS.said(answer);
    let codes = ["server_error", "access_denied", "invalid_grant"];
    let is_it = said.codes.iter().any(|code| codes.contains(&&**code));
    if !(is_it && matches!(answer.status, 400 | 401)) {
        return Ok(());
    }
    let text = "ServiceNow does not take the client: look at client_id and client_secret, at \
                the OAuth application's user, and on older releases at the property \
                glide.oauth.inbound.client.credential.grant_type.enabled";
    Err(AdapterError::new(ErrorClass::Authentication, text).with_status(answer.status))
}

#[async_trait]
impl Adapter for ServiceNow {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        self.prepared(context, operation, known).await
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        self.plan_of(operation, known)
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.receipt_of(operation, known, answer)
    }

    fn finish<'a>(
        &'a self,
        context: &'a CallContext<'_>,
        operation: &'a Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        let Operation::Comment { ticket, key, .. } = operation else {
            return None;
        };
        let is_named = receipt.external_comment_id.is_some();
        (!is_named).then(|| Box::pin(self.name_comment(context, ticket, key, receipt)) as _)
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.looked_up(context, operation).await
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        self.checked(context, test).await
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(&inbound::RULES)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        self.in_our_words(facts)
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        self.in_their_words(ticket)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.flow.as_ref().map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            // Something may be said with a change of status.
            OperationKind::Create
            | OperationKind::Comment
            | OperationKind::Attach
            | OperationKind::Status => LOOKED_UP,
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                Protection::Native
            }
        }
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                status,
                resolution_summary,
                ..
            } if self.remark(*status, *resolution_summary).is_none() => Protection::Native,
            _ => self.protection(operation.kind()),
        }
    }
}
