//! Jira: Cloud REST v3, Data Center REST v2.
//!
//! Sources: Atlassian's OpenAPI document `swagger-v3.v3.json` and developer.atlassian.com/cloud/jira/platform
//! (rate-limiting, search-and-reconcile, oauth-2-3lo-apps).
//!
//! **Duplicates**: no idempotency key. The mark is a unique label, found by JQL, whose index lags by seconds to minutes
//! (search-and-reconcile; JRACLOUD-96208), so an empty search proves nothing for two minutes. Comments carry the mark as
//! a comment property and are listed by issue, strongly consistent. Field edits and transitions are idempotent.

mod request;
mod response;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::members::{Members, judged, url};
use super::path::below;
use super::rate::{Left, Quota, RateHeaders, ResetIn};
use super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::{
    Adapter, AdapterError, Auth, BaseUrl, CallContext, ChangePage, CheckReport, CustomFields,
    Deletes, Descriptor, Effect, ErrorClass, Exception, ExternalItem, Facts, ItemRef, Known,
    KnownItem, Member, Mode, Operation, OperationKind, Pages, PartlyDone, Plan, PlatformField,
    Prepared, Protection, Reader, Receipt, Response, Scope, Shape, Sign, Strangers, SyncFrom,
    TestKind, TicketFacts, TokenFlow,
};
use crate::domain::{
    AuthType, Integration, Platform, TicketCategory, TicketStatus, TicketView, UserRef, shown,
};
use crate::secrets::Credentials;
use response::{Comments, Refused};

/// API gateway for OAuth; the site's own host does not take these tokens.
const GATEWAY: &str = "https://api.atlassian.com/ex/jira";
/// Token endpoint of OAuth 2.0 (3LO).
const TOKEN_URL: &str = "https://auth.atlassian.com/oauth/token";
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

/// Jira answers 200 with an empty list, or 404, to whom it does not know, and only headers tell (sheet §4). Data Center
/// names the account of every answer. Without certainty is `OUT`: a session that ended before this one began.
static STRANGERS: Strangers = Strangers {
    signs: &[
        Sign {
            header: "x-authentication-denied-reason",
            values: &[],
            certain: true,
            advice: Some(
                "Jira has locked the account after failed log-ins: log in once in a browser and solve the CAPTCHA, renew \
                 the credential, then run integration.test",
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

/// Fields of the system that may be the counterpart of a custom field: the worker sets none of them, and none decides
/// where an issue is, who sees it or how it is found again.
const MAPPABLE_SYSTEM: [&str; 5] = [
    "environment",
    "duedate",
    "components",
    "versions",
    "fixVersions",
];
/// What [`is_mappable`] is, for people.
const MAPPABLE: &str = "a custom field by its id, e.g. customfield_10010 (integration.fields lists them), or one of \
     environment, duedate, components, versions and fixVersions";

/// Whether a field of Jira's may be the counterpart of a custom field.
fn is_mappable(theirs: &str) -> bool {
    let number = theirs.strip_prefix("customfield_");
    MAPPABLE_SYSTEM.contains(&theirs)
        || number.is_some_and(|number| {
            (1..=18).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        })
}

/// A key of a project: capitals, digits and `_` (Cloud takes 2 to 10, Data Center up to 255 of them).
fn project_key(given: &str) -> Result<String, AdapterError> {
    let key = given.trim();
    let fits = key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.len() <= 255
        && key
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        return Ok(key.to_owned());
    }
    Err(AdapterError::field(
        "settings.project_key",
        "is no key of a Jira project: a capital letter, then capital letters, digits and _, e.g. SUP; the key is what \
         stands before the number of its issues",
    ))
}

/// An id of a site at Atlassian's gateway.
fn cloud_id(given: &str) -> Result<String, AdapterError> {
    let id = given.trim();
    let fits = (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits {
        return Ok(id.to_owned());
    }
    Err(AdapterError::field(
        "credentials.cloud_id",
        "is no cloud id: letters, digits and hyphens, as \
         https://api.atlassian.com/oauth/token/accessible-resources gives it",
    ))
}

/// Whether `status_transitions` maps statuses of ours to names.
fn transitions_fault(value: &Value) -> Result<(), String> {
    let Value::Object(map) = value else {
        return Err("must be an object: status of ours → name of the transition".to_owned());
    };
    if let Some(name) = map.keys().find(|name| TicketStatus::parse(name).is_none()) {
        let (name, statuses) = (shown(name), TicketStatus::names());
        return Err(format!(
            "has {name:?}, which is no status of ours: {statuses}"
        ));
    }
    let is_name = |value: &Value| value.as_str().is_some_and(|name| !name.trim().is_empty());
    match map.iter().find(|(_, value)| !is_name(value)) {
        Some((status, _)) => Err(format!("must name a transition for {status}, as text")),
        None => Ok(()),
    }
}

/// Pages of comments that a look-up reads at most: as many comments as an issue takes.
const COMMENT_PAGES_MAX: usize = 50;

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
    "\"service_desk\" for service projects, or the role that may see them; other projects would show them to all",
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
            "issue type for categories without one of their own (default Task)",
        ),
        Member::optional(
            "status_transitions",
            "object: status of ours → name of the transition to take",
        )
        .shaped(Shape::Checked(transitions_fault)),
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
    rate: RateHeaders {
        quotas: &[Quota {
            left: Left::Unsaid,
            reset: Some(("x-ratelimit-reset", ResetIn::Iso)),
            scope: Scope::Integration,
        }],
        reasons: &[
            ("ratelimit-reason", "per-issue", Scope::Item),
            ("ratelimit-reason", "burst", Scope::Endpoint),
        ],
        ..RateHeaders::retry_after(Duration::from_secs(5), Scope::Integration)
    },
    custom_fields: CustomFields {
        allows: is_mappable,
        help: MAPPABLE,
        one_each: true,
    },
    text_max: Some(32_000),
    limits: &[
        "summary 255 characters; description and comment 32,767",
        "POST 100/s and PUT 50/s a tenant and endpoint; 20 writes in 2 s on one issue",
    ],
};

/// REST version: decides the shape of texts and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Data Center.
    V2,
    /// Cloud.
    V3,
}

/// One Jira integration.
pub struct Jira {
    version: Version,
    /// Up to and with `/rest/api/N`.
    api: Url,
    /// What people open.
    site: Url,
    auth: Auth,
    project_key: String,
    default_issue_type: Option<String>,
    status_transitions: Map<String, Value>,
    internal_comments: Option<String>,
    custom_fields: Map<String, Value>,
    flow: Option<OauthFlow>,
}

impl Jira {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Jira, integration, credentials);
        let (auth, cloud) = match integration.auth_type {
            AuthType::ApiKey => (
                Auth::Basic {
                    user: members.text("email")?,
                    secret: members.secret("api_token")?,
                },
                true,
            ),
            AuthType::Oauth2 => (Auth::OAuth, true),
            AuthType::Bearer => (Auth::Bearer(members.secret("token")?), false),
            AuthType::Basic => (
                Auth::Basic {
                    user: members.text("username")?,
                    secret: members.secret("password")?,
                },
                false,
            ),
            AuthType::Custom => {
                return Err(AdapterError::field(
                    "auth_type",
                    "custom is not taken by jira",
                ));
            }
        };
        let version = match integration.api_version.as_deref() {
            Some("2") => Version::V2,
            Some("3") => Version::V3,
            Some(_) => {
                return Err(AdapterError::field(
                    "api_version",
                    "must be 2 or 3 for jira",
                ));
            }
            None if cloud => Version::V3,
            None => Version::V2,
        };
        let parse = |name: &str, text: &str| url(name, text, "https://example.atlassian.net");
        let base = integration
            .base_url
            .clone()
            .or_else(|| credentials.text("url"));
        let site = base.map(|base| parse("base_url", &base)).transpose()?;
        let host = match integration.auth_type {
            AuthType::Oauth2 => match members.setting("api_url") {
                Some(url) => parse("settings.api_url", &url)?,
                None => {
                    let gateway = parse("settings.api_url", GATEWAY)?;
                    below(&gateway, &[&cloud_id(&members.text("cloud_id")?)?])?
                }
            },
            AuthType::ApiKey | AuthType::Basic | AuthType::Bearer | AuthType::Custom => site
                .clone()
                .ok_or_else(|| AdapterError::field("base_url", "is required for jira"))?,
        };
        let number = match version {
            Version::V2 => "2",
            Version::V3 => "3",
        };
        let flow = match integration.auth_type {
            AuthType::Oauth2 => {
                let token_url = members.setting("token_url");
                let token_url = token_url.as_deref().unwrap_or(TOKEN_URL);
                let token_url = parse("settings.token_url", token_url)?;
                let client = Client {
                    id: members.text("client_id")?,
                    secret: Some(members.secret("client_secret")?),
                    auth: ClientAuth::Json,
                };
                let grant = Grant::Refresh(members.secret("refresh_token")?);
                Some(OauthFlow::new("Atlassian", token_url, grant, client))
            }
            AuthType::ApiKey | AuthType::Basic | AuthType::Bearer | AuthType::Custom => None,
        };
        Ok(Self {
            version,
            api: below(&host, &["rest", "api", number])?,
            site: site.unwrap_or(host),
            auth,
            project_key: project_key(&members.required_setting("project_key")?)?,
            default_issue_type: members.setting("default_issue_type"),
            status_transitions: match integration.settings.get("status_transitions") {
                Some(Value::Object(map)) => map.clone(),
                Some(_) | None => Map::new(),
            },
            internal_comments: members.setting("internal_comments"),
            custom_fields: integration.custom_fields_mapping.clone(),
            flow,
        })
    }

    /// The platform account of a person of ours, found by e-mail address among those who may be assigned.
    async fn account_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
    ) -> Result<Option<Value>, AdapterError> {
        let Some(email) = person.email.as_deref().filter(|email| !email.is_empty()) else {
            return Ok(None);
        };
        let answer = context.send(self.assignable_request(email)?).await?;
        self.read_assignable(&answer, email)
    }

    async fn first_issue_type(&self, context: &CallContext<'_>) -> Result<String, AdapterError> {
        let answer = context.send(self.issue_types_request()?).await?;
        self.read_issue_type(&answer, "")
    }

    /// Which way leads to a status; `None` where the issue is there already.
    async fn way_to(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        status: TicketStatus,
    ) -> Result<Way, AdapterError> {
        let current = self.read_status(&context.send(self.status_request(issue)?).await?)?;
        let configured = self.transition_for(status);
        if configured.is_none() && response::is_there(&current, status) {
            return Ok(Way::Already(current.name));
        }
        let answer = context.send(self.transitions_request(issue)?).await?;
        let transitions = self.read_transitions(&answer)?;
        if let Some(chosen) = response::choose(&transitions, status, configured) {
            return Ok(Way::Transition {
                body: request::transition(chosen, status),
                name: chosen.name.clone(),
            });
        }
        if configured.is_some_and(|name| current.name.eq_ignore_ascii_case(name)) {
            return Ok(Way::Already(current.name));
        }
        let offered: Vec<&str> = transitions
            .iter()
            .map(|transition| transition.name.as_str())
            .collect();
        let text = format!(
            "has no transition from {:?} to {status}; Jira offers {}; settings.status_transitions can name one",
            current.name,
            if offered.is_empty() {
                "none".to_owned()
            } else {
                offered.join(", ")
            }
        );
        Err(AdapterError::field("status", text))
    }

    /// The name of the transition that the settings have for a status.
    fn transition_for(&self, status: TicketStatus) -> Option<&str> {
        let name = self.status_transitions.get(status.as_str());
        name.and_then(Value::as_str)
    }

    /// Finds the way to a status. A summary is said in a comment of its own, which is the planned request; then the issue is
    /// moved here: a comment that rides along with a transition is dropped without a word where the transition has no
    /// screen, which is the default.
    async fn prepare_status(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        status: TicketStatus,
        has_summary: bool,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        let way = self.way_to(context, issue, status).await?;
        let details = match &way {
            Way::Already(name) => Map::from_iter([("already".to_owned(), name.clone().into())]),
            Way::Transition { name, .. } => {
                Map::from_iter([("transition".to_owned(), name.clone().into())])
            }
        };
        let receipt = Receipt {
            details,
            ..Receipt::default()
        };
        match way {
            Way::Already(_) if !has_summary => return Ok(Prepared::Done(receipt)),
            Way::Already(_) => {}
            Way::Transition { body, .. } if !has_summary => {
                known.found.insert(TRANSITION.into(), body);
                known.details = receipt.details;
                return Ok(Prepared::Go(known));
            }
            Way::Transition { body, .. } => {
                let request = self.transition_request(issue, &body)?;
                let answer = context.send(request).await?;
                self.check(&answer, Effect::Idempotent, "changing the status")?;
            }
        }
        // The issue is where it should be, and stays there.
        known.done = Some(PartlyDone {
            receipt,
            missing: SUMMARY_COMMENT,
            remedy: "ticket.comment can still post it",
        });
        Ok(Prepared::Go(known))
    }

    /// The fields of a create, without those that the project's screen refused. The mark is never left out, as nothing
    /// could be found without it.
    fn planned_create(
        &self,
        ticket: &TicketView,
        mark: &str,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let account = known.found.get(ACCOUNT);
        let mut fields = self.create_fields(ticket, mark, account, &mut left_out);
        for name in known.without.keys() {
            fields.remove(name);
        }
        if let Some(kind) = known.found.get(ISSUE_TYPE) {
            fields.insert("issuetype".into(), json!({ "id": kind }));
        }
        Ok(Plan {
            request: self.create_request(ticket, fields)?.into(),
            left_out,
        })
    }

    /// A comment with this mark that was made since then.
    async fn find_comment(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        mark: &str,
        since: DateTime<Utc>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let mut start = 0;
        for _ in 0..COMMENT_PAGES_MAX {
            let request = self.comments_request(issue, start)?;
            let answer = context.send(request).await?;
            match self.read_comments(&answer, start, mark, since)? {
                Comments::Found(receipt) => return Ok(Some(*receipt)),
                Comments::Absent => return Ok(None),
                Comments::More(next) => start = next,
            }
        }
        Err(AdapterError::unsupported(
            "the issue has more comments than a look-up reads, so nothing is proved by them",
        ))
    }

    /// How an issue is addressed: by its number where it is known, which survives a move between projects.
    fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
        let number = ticket.external_ref.get("issue_id").and_then(Value::as_str);
        let address = number.or(ticket.external_id.as_deref()).ok_or_else(|| {
            AdapterError::new(ErrorClass::NotFound, "the ticket has no issue in Jira")
        })?;
        if is_address(address) {
            return Ok(address);
        }
        let text = "the ticket's external id is no number and no key of an issue, such as SUP-17";
        Err(AdapterError::new(ErrorClass::NotFound, text))
    }
}

/// What leads to a status.
enum Way {
    /// Nothing: the issue is there, under this name.
    Already(String),
    /// A transition.
    Transition {
        /// What is posted.
        body: Value,
        /// Its name.
        name: String,
    },
}

/// What [`Known`] calls the account of an assignee.
const ACCOUNT: &str = "account";
/// What [`Known`] calls the issue type that stands in for a refused one.
const ISSUE_TYPE: &str = "issue_type";
/// What [`Known`] calls the body of a transition.
const TRANSITION: &str = "transition";

/// Whether a create may do without a field.
fn is_droppable(name: &str) -> bool {
    matches!(name, "assignee" | "priority" | "issuetype") || name.starts_with("customfield_")
}

/// Where the receipt of a status tells of its summary.
const SUMMARY_COMMENT: &str = "resolution_comment";

/// A summary that says something.
fn said(summary: Option<&str>) -> Option<&str> {
    summary.filter(|text| !text.trim().is_empty())
}

/// What the receipt of a status tells of its summary.
fn shown_summary(comment: Receipt) -> Map<String, Value> {
    let id = comment.external_comment_id;
    Map::from_iter([(SUMMARY_COMMENT.to_owned(), json!(id))])
}

/// What an issue can be addressed by: its number, or its key.
fn is_address(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_:.".contains(&b);
    (1..=255).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
}

/// The number of an issue.
fn is_number(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[async_trait]
impl Adapter for Jira {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        match operation {
            Operation::Create { ticket, .. } => {
                if let Some(person) = &ticket.assigned_to {
                    match self.account_of(context, person).await? {
                        Some(account) => drop(known.found.insert(ACCOUNT.into(), account)),
                        None => {
                            let text = "left out: no assignable account with this person's address";
                            known.details.insert("assignee".into(), text.into());
                        }
                    }
                }
                if known.without.contains_key("issuetype") {
                    let fallback = self.first_issue_type(context).await?;
                    known.found.insert(ISSUE_TYPE.into(), fallback.into());
                }
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                let (issue, has_summary) =
                    (Self::address(ticket)?, said(*resolution_summary).is_some());
                return self
                    .prepare_status(context, issue, *status, has_summary, known)
                    .await;
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let account = self.account_of(context, person).await?.ok_or_else(|| {
                    let fault = "has no assignable account in Jira: `users` must know the person's e-mail address, \
                                 and Jira an account with it that may be assigned in the project";
                    AdapterError::field("assigned_to_id", fault)
                })?;
                known.found.insert(ACCOUNT.into(), account);
            }
            Operation::Update { .. }
            | Operation::Assign { assignee: None, .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        let request = match operation {
            Operation::Create { ticket, key } => {
                return self.planned_create(ticket, key.marker, known);
            }
            Operation::Update { ticket, patch, .. } => {
                self.update_request(Self::address(ticket)?, patch)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let issue = Self::address(ticket)?;
                match (known.found.get(TRANSITION), said(*resolution_summary)) {
                    (None, Some(summary)) => {
                        self.comment_request(issue, summary, true, key.marker)?
                    }
                    (Some(body), _) => self.transition_request(issue, body)?,
                    // Which transition leads there is looked up when it is done; here it stands for itself.
                    (None, None) => {
                        let body = json!({ "transition": { "lookup": status } });
                        self.transition_request(issue, &body)?
                    }
                }
            }
            Operation::Assign {
                ticket, assignee, ..
            } => {
                let looked_up = assignee.map(|person| json!({ "lookup": person.email }));
                let account = known.found.get(ACCOUNT).or(looked_up.as_ref());
                self.assign_request(Self::address(ticket)?, account)?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => self.comment_request(Self::address(ticket)?, body, *public, key.marker)?,
            Operation::Attach { ticket, file, .. } => {
                self.attach_request(Self::address(ticket)?, file)?
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(request.into())
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let set = |what| {
            self.check(answer, Effect::Idempotent, what)?;
            Ok(Receipt::default())
        };
        match operation {
            Operation::Create { .. } => {
                self.read_created(answer).map_err(|refused| match refused {
                    Refused::Other(error) => error,
                    // A 400 made nothing.
                    Refused::Fields(error, names) => {
                        let droppable =
                            !names.is_empty() && names.keys().all(|name| is_droppable(name));
                        if droppable && known.without.is_empty() {
                            error.worth_it_without(names)
                        } else {
                            *error
                        }
                    }
                })
            }
            Operation::Update { .. } => set("updating the issue"),
            Operation::Status { .. } if known.found.contains_key(TRANSITION) => {
                set("changing the status")
            }
            Operation::Status { .. } => {
                let details = shown_summary(self.read_comment(answer)?);
                Ok(Receipt {
                    details,
                    ..Receipt::default()
                })
            }
            Operation::Assign { .. } => set("assigning the issue"),
            Operation::Comment { .. } => self.read_comment(answer),
            Operation::Attach { .. } => self.read_attached(answer),
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => {
                let answer = context.send(self.search_request(key.marker)?).await?;
                self.read_found(&answer)
            }
            Operation::Comment { ticket, key, .. } => {
                let issue = Self::address(ticket)?;
                self.find_comment(context, issue, key.marker, key.received_at)
                    .await
            }
            // The summary is the last that a change of status does: where it is, all is done.
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let issue = Self::address(ticket)?;
                let found = self
                    .find_comment(context, issue, key.marker, key.received_at)
                    .await?;
                Ok(found.map(|comment| Receipt {
                    details: shown_summary(comment),
                    ..Receipt::default()
                }))
            }
            Operation::Attach { ticket, file, key } => {
                let answer = context
                    .send(self.attachments_request(Self::address(ticket)?)?)
                    .await?;
                self.read_found_attachment(&answer, file, key.received_at)
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => Ok(None),
        }
    }

    /// A change of status whose summary is not posted.
    async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let Operation::Status {
            ticket,
            status,
            resolution_summary: Some(_),
            ..
        } = operation
        else {
            return Ok(None);
        };
        let request = self.status_request(Self::address(ticket)?)?;
        let current = self.read_status(&context.send(request).await?)?;
        let configured = self.transition_for(*status);
        let is_there = response::is_there(&current, *status)
            || configured.is_some_and(|name| current.name.eq_ignore_ascii_case(name));
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        Ok(is_there.then(|| Receipt {
            details: Map::from_iter([(SUMMARY_COMMENT.to_owned(), Value::from(text))]),
            ..Receipt::default()
        }))
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Jira is reached at all; whom it lets in is another question.
            TestKind::Connection => match context.send(self.server_info_request()?).await {
                Ok(answer) => self.read_server_info(&answer),
                Err(error) if error.class == ErrorClass::Authentication => Ok(CheckReport {
                    message: "Jira answers, but does not take the credential".into(),
                    details: Map::new(),
                }),
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let answer = context.send(self.myself_request()?).await?;
                self.read_myself(&answer)
            }
            TestKind::Permissions => {
                let answer = context.send(self.permissions_request()?).await?;
                self.read_permissions(&answer)
            }
            TestKind::CreateTicket => {
                let (request, mark) = self.test_issue_request()?;
                let answer = context.send(request).await?;
                match self.read_created(&answer) {
                    Ok(receipt) => Ok(CheckReport {
                        message: format!(
                            "created the test issue {}",
                            receipt.external_id.unwrap_or_default()
                        ),
                        details: Map::from_iter([("label".to_owned(), Value::from(mark))]),
                    }),
                    Err(Refused::Fields(error, _)) => Err(*error),
                    Err(Refused::Other(error)) => Err(error),
                }
            }
        }
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        Self::ours(self, facts)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.flow.as_ref().map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            OperationKind::Create => Protection::Lookup {
                schedule: &CREATE_LOOK_UPS,
                upsert: false,
            },
            // With a summary, a change of status ends in a comment.
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
            } if said(*resolution_summary).is_none() => Protection::Native,
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

#[async_trait]
impl Reader for Jira {
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let answer = context.send(self.issue_types_request()?).await?;
        let kind = self.read_issue_type(&answer, self.issue_type(TicketCategory::General))?;
        let answer = context.send(self.fields_request(&kind)?).await?;
        self.read_fields(&answer, search)
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let request = self.changes_request(from.since, from.page, Utc::now())?;
        let answer = context.send(request).await?;
        self.read_changes(&answer, from.page)
    }

    async fn known(
        &self,
        context: &CallContext<'_>,
        items: &[KnownItem],
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        let items = items.iter().filter(|item| is_number(&item.id));
        let (ids, marks): (Vec<&str>, Vec<&str>) = items
            .map(|item| (item.id.as_str(), item.mark.as_str()))
            .unzip();
        let mut found = Vec::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let (mut cursor, mut by_mark) = (None, false);
        loop {
            let (now, at) = (Utc::now(), cursor.as_deref());
            let request = if by_mark {
                self.marked_request(&marks, since, at, now)?
            } else {
                self.known_request(&ids, since, at, now)?
            };
            let answer = context.send(request).await?;
            if answer.status == 400 && !by_mark {
                // One of the issues is gone, and the search does not say which.
                (cursor, by_mark) = (None, true);
                continue;
            }
            let page = self.read_issues(&answer, at)?;
            found.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = item.address();
        if !is_address(id) {
            return Ok(None);
        }
        self.read_item(&context.send(self.item_request(id)?).await?)
    }
}
