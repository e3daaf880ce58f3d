//! Zendesk: the Support (Ticketing) API, version 2.
//!
//! Sources: Zendesk's OpenAPI document of Support 2.0.0; developer.zendesk.com
//! (`/api-reference/ticketing/introduction/` for idempotency,
//! `/api-reference/introduction/rate-limits/`, `/documentation/webhooks/verifying/`,
//! `/documentation/api-basics/authentication/oauth-migration/`); support.zendesk.com 10840968198042
//! (API tokens end on 30 April 2027). What comes from general knowledge alone is a constant whose
//! comment says "(unconfirmed)".
//!
//! **Duplicates**: a create has an idempotency key, which Zendesk keeps for two hours; later it is
//! found by its `external_id`, in a listing that does not lag. A comment and a file are changes of
//! the ticket (`PUT`) that no key protects: they carry the command's marker in the metadata of
//! their audit, where neither agents nor requesters see it. Everything else sets something.

mod hooks;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod words;

pub(super) use self::inbound::HOOKS;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use self::words::{KINDS, PRIORITIES};
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::Api;
use crate::platforms::classify::{ErrorTable, Fields, Means, Rule, Shape, rule};
use crate::platforms::inbound::Registrar;
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, judged, url};
use crate::platforms::path::below;
use crate::platforms::rate::{Left, Quota, RateHeaders, ResetIn};
use crate::platforms::tokens::{Client, ClientAuth, Grant, OauthFlow};
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, Auth, BaseUrl, CallContext, CheckReport, CustomFields, Deletes,
    Descriptor, ErrorClass, Exception, Facts, Finishing, Inbound, Known, Member, Mode, Operation,
    OperationKind, Pages, Plan, Prepared, Protection, Reader, Receipt, Response, Scope,
    Shape as MemberShape, Strangers, TestKind, TicketFacts, TokenFlow, any_version,
};
use crate::secrets::Credentials;

/// What a person's page of a ticket is below (unconfirmed, used everywhere).
const AGENT_PAGES: [&str; 2] = ["agent", "tickets"];
/// Life of an access token where the grant does not say (OAuth migration guide: 30 minutes is what
/// clients get that do not ask for more).
const TOKEN_LIFE: Duration = Duration::from_secs(1_800);
/// What client credentials ask for.
const SCOPE: &str = "read write";

/// How long Zendesk keeps an idempotency key.
const KEY_LIFE: Duration = Duration::from_secs(2 * 3_600);
/// When to look for a create whose key has ended: the listing is immediate, but a request may still
/// be under way.
static CREATE_LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];
static AFTER_THE_KEY: Protection = Protection::Lookup {
    schedule: &CREATE_LOOK_UPS,
    upsert: false,
};
/// The same of a comment or a file, in the ticket's audits.
static COMMENT_LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(40),
];

/// How a lost request is found again.
const PROTECTION: &str = "an idempotency key for 2 hours, then lookup by external_id; comments \
                          and files by their \
                          marker in the ticket's audits, where an empty search counts as proof \
                          after 40 s";
/// What nobody can change.
const DESCRIPTION: Exception = Exception::part(
    OperationKind::Update,
    "a new description",
    "Zendesk keeps a ticket's first comment as it was written; ticket.comment can add to it",
);

/// Zendesk's budgets: of the account (`ratelimit-*`, `x-rate-limit-*`), and of an endpoint
/// (`Zendesk-RateLimit-tickets-update` and its like). That of one ticket has no header.
const RATE: RateHeaders = RateHeaders {
    quotas: &[
        Quota {
            left: Left::In("ratelimit-remaining"),
            reset: Some(("ratelimit-reset", ResetIn::Seconds)),
            scope: Scope::Integration,
        },
        Quota {
            left: Left::In("x-rate-limit-remaining"),
            reset: Some(("ratelimit-reset", ResetIn::Seconds)),
            scope: Scope::Integration,
        },
        Quota {
            left: Left::PairsOf("zendesk-ratelimit-"),
            reset: None,
            scope: Scope::Endpoint,
        },
    ],
    // It says how long, always.
    ..RateHeaders::retry_after(Duration::from_secs(5), Scope::Integration)
};

/// What Zendesk's refusals mean (sheet of its four body shapes: API introduction).
static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/errors/0/code", "/error"],
        texts: &[
            "/description",
            "/error/title",
            "/error/message",
            "/errors/0/detail",
            "/details/status/0/description",
        ],
        fields: &[Fields::Map {
            at: "/details",
            text: "/0/description",
        }],
    }],
    rules: &[
        Rule::any()
            .code(&["IdempotentRequestError"])
            .means(Means::Exists),
        rule(404)
            .code(&["InvalidEndpoint"])
            .means(Means::Unsupported)
            .advice("the account's plan lacks this, or base_url leads elsewhere"),
        rule(422).text(&[CLOSED]).means(Means::Conflict).advice(
            "the ticket is closed at Zendesk, and stays so: only a new one can follow it up",
        ),
        // Somebody else writes to it now; nothing was done.
        rule(409).means(Means::Transient),
        rule(413)
            .means(Means::Validation)
            .advice("the file is larger than Zendesk takes"),
        rule(429)
            .code(&["TooManyJobs"])
            .means(Means::RateLimited(Scope::Endpoint, Duration::from_secs(60))),
    ],
    ok: None,
    fields: &[
        ("subject", "title"),
        ("base", "ticket"),
        ("comment", "body"),
        ("type", "category"),
        ("requester", "created_by_id"),
        ("requester_id", "created_by_id"),
        ("assignee", ASSIGNEE),
        ("assignee_id", ASSIGNEE),
        ("custom_status", "status"),
        ("custom_status_id", "status"),
        ("group", "settings.group_id"),
        ("group_id", "settings.group_id"),
        ("brand", "settings.brand_id"),
        ("brand_id", "settings.brand_id"),
    ],
    rate: RATE,
};
/// What a refusal says of a ticket that nobody can change any more.
const CLOSED: &str = "closed prevents";
/// Our name of who has a ticket.
const ASSIGNEE: &str = "assigned_to_id";

/// Whether this can be an id of Zendesk's.
fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Zendesk's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Zendesk,
    modes: &[
        Mode {
            auth_type: AuthType::Oauth2,
            name: "OAuth 2.0",
            except: &[DESCRIPTION],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[
                &[
                    Member::required("client_id", "identifier of a confidential OAuth client")
                        .open(),
                    Member::required("client_secret", "secret of that client"),
                ],
                &[
                    Member::required("client_id", "identifier of an OAuth client").open(),
                    Member::required("client_secret", "secret of that client"),
                    Member::required(
                        "refresh_token",
                        "refresh token of the authorization; it is renewed with every refresh",
                    ),
                ],
                &[Member::required(
                    "access_token",
                    "access token of a client made before 30 April 2026; it cannot be renewed",
                )],
            ],
        },
        Mode {
            auth_type: AuthType::ApiKey,
            name: "API token (ends on 30 April 2027)",
            except: &[DESCRIPTION],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[
                Member::required(
                    "email",
                    "e-mail address of the agent that the token acts as",
                )
                .open()
                .shaped(MemberShape::Email),
                Member::required("api_token", "API token of the account"),
            ]],
        },
    ],
    settings: &[
        Member::optional(
            "subdomain",
            "what stands before .zendesk.com, e.g. acme (or base_url)",
        )
        .destination()
        .shaped(MemberShape::Checked(|value| judged(value, subdomain))),
        Member::optional("brand_id", "id of the brand that tickets are made for")
            .shaped(MemberShape::Checked(id_fault)),
        Member::optional("group_id", "id of the group that tickets are given to")
            .shaped(MemberShape::Checked(id_fault)),
        Member::optional(
            "status_map",
            "object: status of ours → new, open, pending, hold, solved or closed, or a custom \
             status by its name or id",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "priority_map",
            "object: priority of ours → low, normal, high or urgent",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "category_map",
            "object: category of ours → problem, incident, question or task",
        )
        .shaped(MemberShape::Object),
        Member::optional(
            "users",
            "object: our id or e-mail address of a user → id of the agent",
        )
        .shaped(MemberShape::Object),
    ],
    base_url: BaseUrl::UnlessSetting("subdomain"),
    // The API answers strangers with 401, but for `users/me`, whose user has no id then.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_id,
        help: "a ticket field by its id, e.g. 360012345678 (integration.fields lists them)",
        one_each: true,
    },
    deletes: Deletes::Closes,
    stable_ref: item::TICKET_ID,
    text_max: Some(60_000),
    version_fault: any_version,
    limits: &[
        "comment 64 KB, 5,000 comments a ticket",
        "30 updates of a ticket in 10 minutes; 100 updates a minute an account",
        "requests a minute by plan: 200 Team, 400 Growth and Professional, 700 Enterprise",
        "a sync by an administrator misses nothing; one by another agent follows the search, \
         which lags by minutes",
    ],
};

/// One Zendesk integration.
pub struct Zendesk {
    api: Api,
    /// What people open.
    site: Url,
    brand: Option<u64>,
    group: Option<u64>,
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    kinds: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    flow: Option<OauthFlow>,
}

impl Zendesk {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Zendesk, integration, credentials);
        let site = site_of(&members, integration)?;
        let (auth, flow) = auth_of(&members, integration.auth_type, credentials, &site)?;
        let zendesk = Self {
            api: Api::new(below(&site, &["api", "v2"])?, auth, &ERRORS),
            brand: number(&members, integration, "brand_id")?,
            group: number(&members, integration, "group_id")?,
            statuses: Mapping::of(&members, "status_map", &words::STATUSES)?
                .with_back(&words::STATUSES_BACK),
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITY_WORDS)?,
            kinds: Mapping::of(&members, "category_map", &words::KIND_WORDS)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            site,
            flow,
        };
        zendesk.knows_its_words()?;
        Ok(zendesk)
    }

    /// Priorities and types are closed lists at Zendesk: a word that is none of them would be
    /// refused with every ticket.
    fn knows_its_words(&self) -> Result<(), AdapterError> {
        let refuse = |setting: String, theirs: &str, known: &[&str]| {
            let fault = format!("is {theirs:?}, and Zendesk knows {}", known.join(", "));
            Err(AdapterError::field(&setting, fault))
        };
        for priority in Priority::ALL {
            match self.priorities.out(*priority) {
                Some(theirs) if !PRIORITIES.contains(&theirs) => {
                    return refuse(
                        format!("settings.priority_map.{priority}"),
                        theirs,
                        &PRIORITIES,
                    );
                }
                Some(_) | None => {}
            }
        }
        for category in TicketCategory::ALL {
            match self.kinds.out(*category) {
                Some(theirs) if !KINDS.contains(&theirs) => {
                    return refuse(format!("settings.category_map.{category}"), theirs, &KINDS);
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The page of a ticket.
    fn page_of(&self, id: &str) -> Option<String> {
        let page = below(&self.site, &[AGENT_PAGES[0], AGENT_PAGES[1], id]);
        page.ok().map(String::from)
    }
}

/// Where the account is, without what its API is below.
fn site_of(members: &Members<'_>, integration: &Integration) -> Result<Url, AdapterError> {
    if let Some(given) = integration.base_url.as_deref() {
        let mut site = url("base_url", given.trim(), "https://acme.zendesk.com")?;
        site.set_query(None);
        site.set_fragment(None);
        let path = site.path().trim_end_matches('/').to_owned();
        site.set_path(path.strip_suffix("/api/v2").unwrap_or(&path));
        return Ok(site);
    }
    let given = members.setting("subdomain").ok_or_else(|| {
        AdapterError::field("base_url", "is required for zendesk, or settings.subdomain")
    })?;
    let address = format!("https://{}.zendesk.com", subdomain(&given)?);
    url("settings.subdomain", &address, "acme")
}

/// What stands before `.zendesk.com`.
fn subdomain(given: &str) -> Result<String, AdapterError> {
    let name = given.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(fits) {
        return Ok(name.to_owned());
    }
    Err(AdapterError::field(
        "settings.subdomain",
        "is no subdomain of Zendesk: letters, digits and hyphens, what stands before .zendesk.com",
    ))
}

/// What is wrong with an id that is not one.
const NO_ID: &str = "is no id of Zendesk: digits, with which its address in the admin center ends";

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

/// How requests prove who asks, and how an access token is got.
fn auth_of(
    members: &Members<'_>,
    auth_type: AuthType,
    credentials: &Credentials,
    site: &Url,
) -> Result<(Auth, Option<OauthFlow>), AdapterError> {
    match auth_type {
        AuthType::ApiKey => {
            let email = members.text("email")?;
            let email = email.trim();
            // Some people copy what curl shows.
            let email = email.strip_suffix("/token").unwrap_or(email);
            let auth = Auth::Basic {
                user: format!("{email}/token"),
                secret: members.secret("api_token")?,
            };
            Ok((auth, None))
        }
        AuthType::Oauth2 => {
            let secret = |name| {
                let found: Option<SecretString> = credentials.secret(name);
                found.filter(|secret| !secret.expose_secret().is_empty())
            };
            if secret("client_id").is_none()
                && let Some(token) = secret("access_token")
            {
                return Ok((Auth::Bearer(token), None));
            }
            let client = Client {
                id: members.text("client_id")?,
                secret: Some(members.secret("client_secret")?),
                auth: ClientAuth::Json,
            };
            let (grant, scope) = match secret("refresh_token") {
                Some(token) => (Grant::Refresh(token), None),
                None => (Grant::ClientCredentials, Some(SCOPE.to_owned())),
            };
            let token_url = below(site, &["oauth", "tokens"])?;
            let flow = OauthFlow::new("Zendesk", token_url, grant, client)
                .scope(scope)
                .life(TOKEN_LIFE)
                .refused_by(has_scope);
            Ok((Auth::OAuth, Some(flow)))
        }
        AuthType::Bearer | AuthType::Basic | AuthType::Custom => {
            let fault = format!("{auth_type} is not taken by zendesk; it takes oauth2 and api_key");
            Err(AdapterError::field("auth_type", fault))
        }
    }
}

/// Whether a grant is good for what we do. A scope that Zendesk does not know yields a token all
/// the same, which is then refused everywhere.
fn has_scope(answer: &Response) -> Result<(), AdapterError> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let granted = body.as_ref().and_then(|body| body["scope"].as_str());
    let Some(granted) = granted.filter(|scope| answer.is_success() && !scope.trim().is_empty())
    else {
        return Ok(());
    };
    let has = |broad: &str| {
        let narrow = format!("tickets:{broad}");
        let mut scopes = granted.split_whitespace();
        scopes.any(|scope| scope == broad || scope == narrow)
    };
    if has("read") && has("write") {
        return Ok(());
    }
    let text = "Zendesk grants an access token without the scopes read and write (or \
                tickets:read and tickets:write); give them to the OAuth client, or authorize it \
                anew";
    Err(AdapterError::new(ErrorClass::Permission, text).with_status(answer.status))
}

/// A setting that is an id.
fn number(
    members: &Members<'_>,
    integration: &Integration,
    name: &str,
) -> Result<Option<u64>, AdapterError> {
    let text = match integration.settings.get(name) {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) | None => members.setting(name),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let text = text.trim();
    let read = text.parse().ok().filter(|_| is_id(text));
    let fault = || AdapterError::field(&format!("settings.{name}"), NO_ID);
    read.map(Some).ok_or_else(fault)
}

#[async_trait]
impl Adapter for Zendesk {
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
        _: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        Some(Box::pin(self.set_tags(context, operation)))
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
        Some(&inbound::EVENTS)
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        Some(self)
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
            OperationKind::Create => Protection::Key {
                life: KEY_LIFE,
                after: &AFTER_THE_KEY,
            },
            // With a summary, a change of status has a comment in it.
            OperationKind::Comment | OperationKind::Attach | OperationKind::Status => {
                Protection::Lookup {
                    schedule: &COMMENT_LOOK_UPS,
                    upsert: false,
                }
            }
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                Protection::Native
            }
        }
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                resolution_summary, ..
            } if item::said(*resolution_summary).is_none() => Protection::Native,
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => self.protection(operation.kind()),
        }
    }
}
