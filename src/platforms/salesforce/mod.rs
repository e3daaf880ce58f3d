//! Salesforce: cases, by the REST interface of sObjects.
//!
//! Sources: developer.salesforce.com, REST API Developer Guide ("Insert or Update (Upsert) a Record
//! Using an External ID", "Query", "QueryAll", "Insert or Update Blob Data", "Assignment Rule
//! Header", "Delete a Record"); Object Reference ("Case", "CaseComment"). What comes from general
//! knowledge alone is a constant whose comment says "(unconfirmed)".
//!
//! **Duplicates**: a custom field of the customer's (`settings.external_id_field`) makes a create
//! an upsert. It is looked up before each, the first too: an upsert of a case that is there would
//! overwrite what agents changed. Without that field the marker is the last line of the
//! description, which no query can filter by: cases of that time and subject are compared. A
//! comment has its marker as its last line; a file is known by its title and MD5. Everything else
//! sets something.
//!
//! **Owners**: Salesforce runs its assignment rules on each create and change unless a header says
//! otherwise, and would give away what an agent has. So only a create that names no owner lets them
//! run.

mod case;
mod facts;
mod inbound;
mod item;
mod reader;
mod soql;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use self::facts::{COMMON_HOSTS, ERRORS, LOOK_UPS, OLDEST_VERSION, VERSION};
use self::soql::Soql;
use self::words::{Describe, is_custom_field, is_record_type};
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::{Api, Page};
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, url};
use crate::platforms::path::below;
use crate::platforms::tokens::{ApiBase, Client, ClientAuth, Grant, OauthFlow, RsaKey};
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, CallContext, CheckReport, Effect, ErrorClass, Facts, Finishing, Inbound,
    Known, Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Request,
    Response, TestKind, TicketFacts, TokenFlow,
};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// Life of an access token, whose answer does not say it: the session's time-out, two hours of
/// inactivity where nobody changed it (unconfirmed). One that ended before is renewed when it is
/// refused.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// How long what was learned of an org is believed; what is refused is asked for again.
const HOUR: Duration = Duration::from_secs(3_600);
/// What the memory calls what Case is made of. It is large: hundreds of kB.
const DESCRIBE: &str = "salesforce describe";
/// Bytes of such an answer, and of a page of cases.
const PAGE_BYTES: usize = 16 << 20;
/// Why a case cannot be given to nobody.
const NO_NOBODY: &str = "a case always has an owner at Salesforce; assign it to somebody else, \
                         or to a queue that settings.users names";
/// Whether assignment rules are run ("Assignment Rule Header": by default they are, on changes
/// too).
const AUTO_ASSIGN: HeaderName = HeaderName::from_static("sforce-auto-assign");

/// One org's cases.
pub struct Salesforce {
    api: Api,
    version: String,
    external_id: Option<String>,
    record_type: Option<String>,
    tags: Option<String>,
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    kinds: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    flow: OauthFlow,
}

impl Salesforce {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        if integration.auth_type != AuthType::Oauth2 {
            let fault = format!(
                "{} is not taken by salesforce; it takes oauth2",
                integration.auth_type
            );
            return Err(AdapterError::field("auth_type", fault));
        }
        let members = Members::new(Platform::Salesforce, integration, credentials);
        let json = HeaderValue::from_static("application/json");
        Ok(Self {
            api: Api::granted(&ERRORS).header(ACCEPT, json),
            version: version_of(integration.api_version.as_deref())?,
            external_id: named(&members, "external_id_field", is_custom_field)?,
            record_type: named(&members, "record_type_id", is_record_type)?,
            tags: named(&members, "tags_field", is_custom_field)?,
            statuses: Mapping::of(&members, "status_map", &words::STATUSES)?
                .with_back(&words::STATUSES_BACK),
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?
                .with_back(&words::PRIORITIES_BACK),
            kinds: Mapping::of(&members, "category_map", &words::KINDS)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            flow: flow_of(&members, credentials)?,
        })
    }

    /// A path below the version.
    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let version = ["services", "data", self.version.as_str()];
        version.iter().chain(rest).copied().collect()
    }

    /// A request about an object.
    fn object(
        &self,
        method: Method,
        path: &[&str],
        effect: Effect,
    ) -> Result<Request, AdapterError> {
        let path = [&["sobjects"], path].concat();
        let request = self.api.request(method, &self.at(&path), effect)?;
        // Only a create without an owner lets rules choose one.
        Ok(match effect {
            Effect::Idempotent => request.header(AUTO_ASSIGN, HeaderValue::from_static("FALSE")),
            Effect::Read | Effect::Create => request,
        })
    }

    fn query(&self, query: &Soql) -> Result<Request, AdapterError> {
        let request = self.api.get(&self.at(&["query"]))?;
        Ok(request.query([("q", query.text())]))
    }

    /// A page of a query's records, and what asks for the next.
    async fn page<T: DeserializeOwned>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<Page<T>, AdapterError> {
        let found: Found<T> = self.api.ask(context, request.clone(), what).await?;
        let link = found.link(what)?;
        let next = link
            .map(|link| self.api.next_page(&request, &link))
            .transpose()?;
        Ok(Page {
            items: found.records,
            next,
        })
    }

    /// What Case is made of in this org, for this user; not older than an hour.
    async fn describe(&self, context: &CallContext<'_>) -> Result<Arc<Describe>, AdapterError> {
        let request = self.object(Method::GET, &["Case", "describe"], Effect::Read)?;
        let what = "reading what a case is made of";
        let load = self.api.ask(context, request.up_to(PAGE_BYTES), what);
        context.recall(DESCRIBE, HOUR, load).await
    }

    /// The page of a case.
    fn page_of(&self, instance: &str, id: &str) -> Option<String> {
        let page = below(
            &instance.parse().ok()?,
            &["lightning", "r", "Case", id, "view"],
        );
        page.ok().map(String::from)
    }
}

/// What a query finds.
#[derive(Debug, Deserialize)]
struct Found<T> {
    records: Vec<T>,
    done: bool,
    #[serde(rename = "nextRecordsUrl")]
    next: Option<String>,
}

impl<T> Found<T> {
    /// Where the rest is; `None` where there is none.
    fn link(&self, what: &str) -> Result<Option<String>, AdapterError> {
        match (self.done, &self.next) {
            (true, _) => Ok(None),
            (false, Some(link)) => Ok(Some(link.clone())),
            (false, None) => {
                let text =
                    format!("{what}: Salesforce shows a part and does not say where the rest is");
                Err(AdapterError::new(
                    ErrorClass::Transient { retry_after: None },
                    text,
                ))
            }
        }
    }
}

/// A setting that is a name or an id.
fn named(
    members: &Members<'_>,
    name: &str,
    is_one: fn(&str) -> bool,
) -> Result<Option<String>, AdapterError> {
    let Some(given) = members.setting(name) else {
        return Ok(None);
    };
    let given = given.trim().to_owned();
    if is_one(&given) {
        return Ok(Some(given));
    }
    let fault = match name {
        "record_type_id" => "is no id of a record type (012…)",
        _ => "is no custom field by its API name, e.g. External_Ticket_Id__c",
    };
    Err(AdapterError::field(&format!("settings.{name}"), fault))
}

/// The version, as the path has it.
fn version_of(given: Option<&str>) -> Result<String, AdapterError> {
    let given = given.map_or(VERSION, str::trim);
    let number = given.strip_prefix('v').unwrap_or(given);
    let major = number.strip_suffix(".0").unwrap_or(number).parse::<u32>();
    match major {
        Ok(major) if (OLDEST_VERSION..1_000).contains(&major) => Ok(format!("v{major}.0")),
        _ => {
            let fault = format!(
                "must be a version of the REST API from {OLDEST_VERSION}.0 on, e.g. {VERSION}"
            );
            Err(AdapterError::field("api_version", fault))
        }
    }
}

/// How an access token is got, and with it the address of the org.
fn flow_of(members: &Members<'_>, credentials: &Credentials) -> Result<OauthFlow, AdapterError> {
    let example = "https://acme.my.salesforce.com";
    let login = members.required_setting("login_url")?;
    let login: Url = url("settings.login_url", login.trim(), example)?;
    let host = login.host_str().unwrap_or_default().to_owned();
    let secret = |name| {
        let found = credentials.secret(name);
        found.filter(|secret| !secret.expose_secret().trim().is_empty())
    };
    let (grant, auth) = if let Some(pem) = secret("private_key_pem") {
        let is_sandbox = host.contains(".sandbox.") || host == COMMON_HOSTS[1];
        let common = COMMON_HOSTS[usize::from(is_sandbox)];
        let audience = members.setting("jwt_audience");
        let grant = Grant::JwtBearer {
            key: RsaKey::from_pem("private_key_pem", &pem)?,
            subject: members.text("username")?.trim().to_owned(),
            audience: audience.unwrap_or_else(|| format!("https://{common}")),
        };
        (grant, ClientAuth::None)
    } else if let Some(token) = secret("refresh_token") {
        (Grant::Refresh(token), ClientAuth::Form)
    } else {
        // It would be a client of every org.
        if COMMON_HOSTS.contains(&host.as_str()) {
            let fault =
                format!("must be the org's My Domain for client credentials, e.g. {example}");
            return Err(AdapterError::field("settings.login_url", fault));
        }
        members.secret("client_secret")?;
        (Grant::ClientCredentials, ClientAuth::Form)
    };
    let client = Client {
        id: members.text("client_id")?.trim().to_owned(),
        secret: secret("client_secret").filter(|_| auth == ClientAuth::Form),
        auth,
    };
    let token_url = below(&login, &["services", "oauth2", "token"])?;
    Ok(OauthFlow::new("Salesforce", token_url, grant, client)
        .life(TOKEN_LIFE)
        .api_base(ApiBase {
            at: &["/instance_url"],
            below: &[],
            hosts: &["salesforce.com"],
            or: None,
        }))
}

#[async_trait]
impl Adapter for Salesforce {
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
        let is_new = operation.kind() == OperationKind::Create;
        is_new.then(|| Box::pin(self.read_number(context, receipt)) as Finishing<'a>)
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.looked_up(context, operation).await
    }

    async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.partly_done(context, operation).await
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
        Some(self)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        self.in_our_words(facts)
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        self.in_their_words(ticket)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        Some(&self.flow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            OperationKind::Create => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: self.external_id.is_some(),
            },
            // With a summary, a change of status ends in a comment.
            OperationKind::Comment | OperationKind::Attach | OperationKind::Status => {
                Protection::Lookup {
                    schedule: &LOOK_UPS,
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
