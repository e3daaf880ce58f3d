//! Reading answers: data in, data out.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{AdapterError, CheckReport, Effect, ErrorClass, Receipt, Response, TokenGrant};
use super::{Jira, Version};
use crate::domain::TicketStatus;

/// What a worker needs to be permitted.
pub(super) const PERMISSIONS: [&str; 5] = [
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "TRANSITION_ISSUES",
    "ADD_COMMENTS",
];
/// Longest text of Jira's that is published with a field.
const FAULT_MAX: usize = 200;

/// Why a create was refused.
pub(super) enum Refused {
    /// By field, in Jira's names with Jira's reasons.
    Fields(AdapterError, BTreeMap<String, String>),
    /// Otherwise.
    Other(AdapterError),
}

#[derive(Deserialize)]
struct Created {
    id: String,
    key: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorCollection {
    #[serde(rename = "errorMessages")]
    messages: Vec<String>,
    errors: BTreeMap<String, Value>,
}

/// A status as an issue has it.
#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) name: String,
    #[serde(rename = "statusCategory")]
    category: StatusCategory,
}

#[derive(Deserialize)]
struct StatusCategory {
    key: String,
}

/// A way from one status to another.
#[derive(Deserialize)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    to: Status,
    #[serde(rename = "isAvailable", default = "yes")]
    available: bool,
    #[serde(default)]
    fields: Map<String, Value>,
}

const fn yes() -> bool {
    true
}

impl Jira {
    /// The class of a refused request, with the fields in our names.
    pub(super) fn check(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Result<(), AdapterError> {
        let Err(mut error) = answer.check(effect, what) else {
            return Ok(());
        };
        if let ErrorClass::RateLimited { retry_after: None } = error.class {
            error.class = ErrorClass::RateLimited {
                retry_after: reset(answer),
            };
        }
        // A concurrent edit: what is idempotent is simply done again.
        if answer.status == 409 && effect != Effect::Create {
            error.class = ErrorClass::Transient { retry_after: None };
        }
        if let ErrorClass::Validation { fields } = &mut error.class
            && let Ok(collection) = serde_json::from_slice::<ErrorCollection>(&answer.body)
        {
            for (name, reason) in &collection.errors {
                fields.insert(self.our_name(name), shorten(reason));
            }
            if collection
                .messages
                .iter()
                .any(|message| message.contains("CONTENT_LIMIT_EXCEEDED"))
            {
                fields.insert("description".into(), "is longer than Jira takes".into());
            }
            if !fields.is_empty() {
                let listed: Vec<String> = fields
                    .iter()
                    .map(|(name, fault)| format!("{name}: {fault}"))
                    .collect();
                error.public = format!("{what}: Jira does not take {}", listed.join("; "));
            }
        }
        Err(error)
    }

    /// A field of Jira's by our name.
    fn our_name(&self, theirs: &str) -> String {
        match theirs {
            "summary" => "title".into(),
            "issuetype" => "category".into(),
            "assignee" => "assigned_to_id".into(),
            "labels" => "tags".into(),
            "project" => "settings.project_key".into(),
            "comment" | "body" => "body".into(),
            _ => {
                let mapped = self
                    .custom_fields
                    .iter()
                    .find(|(_, value)| value.as_str() == Some(theirs));
                mapped.map_or_else(
                    || theirs.to_owned(),
                    |(ours, _)| format!("custom_fields.{ours}"),
                )
            }
        }
    }

    pub(super) fn read_created(&self, answer: &Response) -> Result<Receipt, Refused> {
        if let Err(error) = self.check(answer, Effect::Create, "creating the issue") {
            if answer.status == 400
                && let Ok(collection) = serde_json::from_slice::<ErrorCollection>(&answer.body)
                && collection.messages.is_empty()
            {
                let names = collection
                    .errors
                    .iter()
                    .map(|(name, reason)| (name.clone(), shorten(reason)))
                    .collect();
                return Err(Refused::Fields(error, names));
            }
            return Err(Refused::Other(error));
        }
        let created: Created = answer.json(Effect::Create).map_err(Refused::Other)?;
        Ok(self.receipt(&created))
    }

    fn receipt(&self, created: &Created) -> Receipt {
        Receipt {
            external_url: Some(format!("{}/browse/{}", self.site, created.key)),
            external_id: Some(created.key.clone()),
            external_ref: Map::from_iter([(
                "issue_id".to_owned(),
                Value::from(created.id.clone()),
            )]),
            ..Receipt::default()
        }
    }

    /// What a search for a mark found. More than one is told: somebody has to merge them.
    pub(super) fn read_found(&self, answer: &Response) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Found {
            issues: Vec<Created>,
        }
        self.check(answer, Effect::Read, "searching for the issue")?;
        let found: Found = answer.json(Effect::Read)?;
        let Some(first) = found.issues.first() else {
            return Ok(None);
        };
        let mut receipt = self.receipt(first);
        if found.issues.len() > 1 {
            let others: Vec<&str> = found
                .issues
                .iter()
                .skip(1)
                .map(|issue| issue.key.as_str())
                .collect();
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    pub(super) fn read_comment(&self, answer: &Response) -> Result<Receipt, AdapterError> {
        #[derive(Deserialize)]
        struct Comment {
            id: String,
        }
        self.check(answer, Effect::Create, "commenting on the issue")?;
        let comment: Comment = answer.json(Effect::Create)?;
        Ok(Receipt {
            external_comment_id: Some(comment.id),
            ..Receipt::default()
        })
    }

    pub(super) fn read_found_comment(
        &self,
        answer: &Response,
        mark: &str,
    ) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Comments {
            comments: Vec<Comment>,
        }
        #[derive(Deserialize)]
        struct Comment {
            id: String,
            #[serde(default)]
            properties: Vec<Property>,
        }
        #[derive(Deserialize)]
        struct Property {
            value: Value,
        }
        self.check(answer, Effect::Read, "listing the comments")?;
        let list: Comments = answer.json(Effect::Read)?;
        let ours = |comment: &&Comment| {
            comment
                .properties
                .iter()
                .any(|property| property.value["mark"] == mark)
        };
        Ok(list.comments.iter().find(ours).map(|comment| Receipt {
            external_comment_id: Some(comment.id.clone()),
            ..Receipt::default()
        }))
    }

    pub(super) fn read_status(&self, answer: &Response) -> Result<Status, AdapterError> {
        #[derive(Deserialize)]
        struct Issue {
            fields: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            status: Status,
        }
        self.check(answer, Effect::Read, "reading the issue")?;
        Ok(answer.json::<Issue>(Effect::Read)?.fields.status)
    }

    pub(super) fn read_transitions(
        &self,
        answer: &Response,
    ) -> Result<Vec<Transition>, AdapterError> {
        #[derive(Deserialize)]
        struct Transitions {
            transitions: Vec<Transition>,
        }
        self.check(answer, Effect::Read, "reading the transitions")?;
        Ok(answer.json::<Transitions>(Effect::Read)?.transitions)
    }

    /// The account with this e-mail address. Jira may hide addresses; a single hit of the query is then taken.
    pub(super) fn read_assignable(
        &self,
        answer: &Response,
        email: &str,
    ) -> Result<Option<Value>, AdapterError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Account {
            account_id: Option<String>,
            name: Option<String>,
            email_address: Option<String>,
        }
        self.check(answer, Effect::Read, "looking for the assignee")?;
        let accounts: Vec<Account> = answer.json(Effect::Read)?;
        let exact = accounts.iter().find(|account| {
            account
                .email_address
                .as_deref()
                .is_some_and(|address| address.eq_ignore_ascii_case(email))
        });
        let hidden = accounts.iter().all(|account| {
            account
                .email_address
                .as_deref()
                .unwrap_or_default()
                .is_empty()
        });
        let account = exact.or_else(|| accounts.first().filter(|_| accounts.len() == 1 && hidden));
        Ok(account.and_then(|account| match self.version {
            Version::V3 => account.account_id.as_ref().map(|id| json!({ "id": id })),
            Version::V2 => account.name.as_ref().map(|name| json!({ "name": name })),
        }))
    }

    pub(super) fn read_first_issue_type(&self, answer: &Response) -> Result<String, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "issueTypes", alias = "values", default)]
            types: Vec<IssueType>,
        }
        #[derive(Deserialize)]
        struct IssueType {
            id: String,
            #[serde(default)]
            subtask: bool,
        }
        self.check(answer, Effect::Read, "reading the issue types")?;
        let page: Page = answer.json(Effect::Read)?;
        let first = page.types.into_iter().find(|kind| !kind.subtask);
        first.map(|kind| kind.id).ok_or_else(|| {
            AdapterError::field(
                "category",
                "has no issue type: the project offers none that may be created",
            )
        })
    }

    pub(super) fn read_server_info(&self, answer: &Response) -> Result<CheckReport, AdapterError> {
        // Reaching Jira at all is the question; who may see its version is another's.
        if matches!(answer.status, 401 | 403) {
            let message = format!("Jira answers ({})", answer.status);
            return Ok(CheckReport {
                message,
                details: Map::new(),
            });
        }
        self.check(answer, Effect::Read, "reaching Jira")?;
        let info: Map<String, Value> = answer.json(Effect::Read)?;
        let details = info
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "version" | "deploymentType" | "baseUrl"));
        Ok(CheckReport {
            message: "Jira answers".into(),
            details: details.collect(),
        })
    }

    pub(super) fn read_myself(&self, answer: &Response) -> Result<CheckReport, AdapterError> {
        self.check(answer, Effect::Read, "authenticating")?;
        let me: Map<String, Value> = answer.json(Effect::Read)?;
        let name = me
            .get("displayName")
            .and_then(Value::as_str)
            .unwrap_or("the account")
            .to_owned();
        let details = me.into_iter().filter(|(name, _)| {
            matches!(
                name.as_str(),
                "accountId" | "name" | "displayName" | "timeZone"
            )
        });
        Ok(CheckReport {
            message: format!("authenticated as {name}"),
            details: details.collect(),
        })
    }

    pub(super) fn read_permissions(&self, answer: &Response) -> Result<CheckReport, AdapterError> {
        self.check(answer, Effect::Read, "reading the permissions")?;
        let body: Value = answer.json(Effect::Read)?;
        let lacking: Vec<&str> = PERMISSIONS
            .iter()
            .copied()
            .filter(|name| body["permissions"][name]["havePermission"] != Value::Bool(true))
            .collect();
        if lacking.is_empty() {
            return Ok(CheckReport {
                message: "all permissions are there".into(),
                details: Map::new(),
            });
        }
        let text = format!(
            "the account lacks {} in project {}",
            lacking.join(", "),
            self.project_key
        );
        Err(AdapterError::new(ErrorClass::Permission, text))
    }
}

/// Whether an issue in this status is where a status of ours wants it.
pub(super) fn is_there(current: &Status, wanted: TicketStatus) -> bool {
    current.category.key == target(wanted)
        && (wanted != TicketStatus::Cancelled || is_cancelish(&current.name))
}

/// The transition to take: the configured one by name, else one to the right category.
pub(super) fn choose<'a>(
    transitions: &'a [Transition],
    wanted: TicketStatus,
    configured: Option<&str>,
) -> Option<&'a Transition> {
    let mut available = transitions.iter().filter(|transition| transition.available);
    if let Some(name) = configured {
        return available
            .find(|t| t.name.eq_ignore_ascii_case(name) || t.to.name.eq_ignore_ascii_case(name));
    }
    let fitting: Vec<&Transition> = available
        .filter(|t| t.to.category.key == target(wanted))
        .collect();
    let cancels = wanted == TicketStatus::Cancelled;
    let best = fitting
        .iter()
        .find(|t| (is_cancelish(&t.to.name) || is_cancelish(&t.name)) == cancels);
    best.or_else(|| fitting.first()).copied()
}

/// The resolution to send: only where the transition lists the field, and only a value it allows.
pub(super) fn resolution(transition: &Transition, wanted: TicketStatus) -> Option<String> {
    let field = transition.fields.get("resolution")?;
    let allowed: Vec<&str> = field["allowedValues"]
        .as_array()
        .map(|values| {
            values
                .iter()
                .filter_map(|value| value["name"].as_str())
                .collect()
        })
        .unwrap_or_default();
    let preferred: &[&str] = match wanted {
        TicketStatus::Cancelled => &["Won't Do", "Declined", "Cancelled", "Won't Fix"],
        TicketStatus::New
        | TicketStatus::Open
        | TicketStatus::InProgress
        | TicketStatus::Pending
        | TicketStatus::Resolved
        | TicketStatus::Closed => &["Done", "Fixed", "Resolved"],
    };
    let chosen = preferred
        .iter()
        .find(|name| allowed.contains(name))
        .copied()
        .or_else(|| allowed.first().copied());
    chosen.map(str::to_owned)
}

const fn target(status: TicketStatus) -> &'static str {
    match status {
        TicketStatus::New | TicketStatus::Open => "new",
        TicketStatus::InProgress | TicketStatus::Pending => "indeterminate",
        TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled => "done",
    }
}

fn is_cancelish(name: &str) -> bool {
    let name = name.to_lowercase();
    ["cancel", "reject", "declin", "won't"]
        .iter()
        .any(|part| name.contains(part))
}

pub(super) fn read_token(answer: &Response) -> Result<TokenGrant, AdapterError> {
    #[derive(Deserialize)]
    struct Grant {
        access_token: String,
        refresh_token: Option<String>,
        #[serde(default = "hour")]
        expires_in: u64,
    }
    const fn hour() -> u64 {
        3600
    }
    if matches!(answer.status, 400 | 401 | 403) {
        let text = "Atlassian does not take the refresh token; authorize the integration anew";
        // The body may echo what was sent, so nothing of it is kept.
        return Err(AdapterError::new(ErrorClass::Authentication, text).with_status(answer.status));
    }
    answer
        .check(Effect::Read, "getting an access token")
        .map_err(|error| AdapterError {
            internal: None,
            ..error
        })?;
    let grant: Grant = answer.json(Effect::Read)?;
    Ok(TokenGrant {
        access_token: SecretString::from(grant.access_token),
        refresh_token: grant.refresh_token.map(SecretString::from),
        expires_in: Duration::from_secs(grant.expires_in),
    })
}

/// `X-RateLimit-Reset` (ISO 8601, on a 429) as a wait.
fn reset(answer: &Response) -> Option<Duration> {
    let at = DateTime::parse_from_rfc3339(answer.header("x-ratelimit-reset")?).ok()?;
    (at.with_timezone(&Utc) - Utc::now()).to_std().ok()
}

fn shorten(reason: &Value) -> String {
    let text = reason
        .as_str()
        .map_or_else(|| reason.to_string(), str::to_owned);
    text.chars().take(FAULT_MAX).collect()
}
