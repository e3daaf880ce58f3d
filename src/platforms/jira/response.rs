//! Reading answers: data in, data out.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::path::below;
use super::super::text::Marker;
use super::super::{
    AdapterError, ChangePage, CheckReport, Effect, ErrorClass, ExternalItem, Facts, File, ItemRef,
    Moment, PlatformField, Receipt, Response, TicketFacts, api,
};
use super::{Jira, Version};
use crate::domain::{Priority, TicketStatus};

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
    Fields(Box<AdapterError>, BTreeMap<String, String>),
    /// Otherwise.
    Other(AdapterError),
}

/// What a page of comments says of a mark.
pub(super) enum Comments {
    /// It is on the comment of this receipt.
    Found(Box<Receipt>),
    /// It is on none.
    Absent,
    /// Not on these; the next page begins here.
    More(usize),
}

/// An issue as searches and reads show it.
#[derive(Deserialize)]
struct Issue {
    id: String,
    key: String,
    #[serde(default)]
    fields: Value,
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
                // What it says of no field of its own stands beside the fields.
                if let Some(words) = answer.words().filter(|_| !collection.messages.is_empty()) {
                    error.public = format!("{}; it says: {words}", error.public);
                }
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
                return Err(Refused::Fields(Box::new(error), names));
            }
            return Err(Refused::Other(error));
        }
        let created: Created = answer.json(Effect::Create).map_err(Refused::Other)?;
        Ok(self.receipt(&created))
    }

    fn receipt(&self, created: &Created) -> Receipt {
        Receipt {
            external_url: self.page_of(&created.key),
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

    /// A page of an issue's comments, looked through for a mark. That a comment is not there is proved only by a listing
    /// that shows marks, to its end or back to before the command came; a minute for clocks that differ.
    pub(super) fn read_comments(
        &self,
        answer: &Response,
        start: usize,
        mark: &str,
        since: DateTime<Utc>,
    ) -> Result<Comments, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            comments: Vec<Comment>,
            #[serde(default, rename = "startAt")]
            start: usize,
            total: Option<usize>,
        }
        #[derive(Deserialize)]
        struct Comment {
            id: String,
            created: Option<String>,
            properties: Option<Vec<Property>>,
        }
        #[derive(Deserialize)]
        struct Property {
            value: Value,
        }
        self.check(answer, Effect::Read, "listing the comments")?;
        let page: Page = answer.json(Effect::Read)?;
        let ours = |comment: &&Comment| {
            let properties = comment.properties.iter().flatten();
            properties
                .into_iter()
                .any(|property| property.value["mark"] == mark)
        };
        if let Some(comment) = page.comments.iter().find(ours) {
            return Ok(Comments::Found(Box::new(Receipt {
                external_comment_id: Some(comment.id.clone()),
                ..Receipt::default()
            })));
        }
        let no_proof = |text: &str| Err(AdapterError::unsupported(text).with_status(answer.status));
        let count = page.comments.len();
        if count == 0 && start == 0 && page.total.unwrap_or(0) == 0 {
            return Ok(Comments::Absent);
        }
        if page.start != start {
            return no_proof(
                "Jira does not list the issue's comments page by page, so nothing is proved by them",
            );
        }
        if page
            .comments
            .iter()
            .all(|comment| comment.properties.is_none())
            && count > 0
        {
            let text = "Jira lists the issue's comments without their properties (expand=properties), in which the mark \
                        is, so nothing is proved by them";
            return no_proof(text);
        }
        let since = since - chrono::Duration::minutes(1);
        let created: Vec<Option<DateTime<Utc>>> = page
            .comments
            .iter()
            .map(|comment| comment.created.as_deref().and_then(moment))
            .collect();
        // Newest first, as asked: then older ones cannot be it.
        let sorted = created.windows(2).all(|pair| match pair {
            [Some(newer), Some(older)] => newer >= older,
            _ => false,
        });
        let reaches_back = created
            .last()
            .copied()
            .flatten()
            .is_some_and(|at| at < since);
        let next = start + count;
        if page.total.is_some_and(|total| next >= total) || (sorted && count > 1 && reaches_back) {
            return Ok(Comments::Absent);
        }
        if count == 0 {
            return no_proof(
                "Jira does not list all of the issue's comments, so nothing is proved by them",
            );
        }
        Ok(Comments::More(next))
    }

    pub(super) fn read_attached(&self, answer: &Response) -> Result<Receipt, AdapterError> {
        if answer.status == 413 {
            let text = "is more than Jira takes: the file, or the issue's files together";
            return Err(AdapterError::field("size", text)
                .with_status(413)
                .with_internal(answer.quote()));
        }
        self.check(answer, Effect::Create, "attaching the file")?;
        let attached: Vec<Attached> = answer.json(Effect::Create)?;
        Ok(Receipt {
            external_attachment_id: attached.into_iter().next().map(|file| file.id),
            ..Receipt::default()
        })
    }

    /// A file of this name and size that came to the issue since the command did. A minute for clocks that differ.
    pub(super) fn read_found_attachment(
        &self,
        answer: &Response,
        file: &File,
        since: DateTime<Utc>,
    ) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Issue {
            fields: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            attachment: Option<Vec<Attached>>,
        }
        self.check(answer, Effect::Read, "reading the issue's files")?;
        let issue: Issue = answer.json(Effect::Read)?;
        let Some(attachments) = issue.fields.attachment else {
            let text = "Jira shows the issue without its files, so nothing is proved by it; attachments may be switched \
                        off, or the field hidden";
            return Err(AdapterError::unsupported(text).with_status(answer.status));
        };
        let since = since - chrono::Duration::minutes(1);
        let could_be = |there: &&Attached| {
            there.size == file.size
                && there
                    .created
                    .as_deref()
                    .and_then(moment)
                    .is_none_or(|created| created >= since)
        };
        let candidates: Vec<&Attached> = attachments.iter().filter(could_be).collect();
        // The very name first: two files of a command may differ in what a server changes.
        let exact = candidates.iter().find(|there| there.filename == file.name);
        let found = exact.or_else(|| {
            candidates
                .iter()
                .find(|there| file.is_kept_as(&there.filename))
        });
        Ok(found.map(|there| Receipt {
            external_attachment_id: Some(there.id.clone()),
            ..Receipt::default()
        }))
    }

    pub(super) fn read_fields(
        &self,
        answer: &Response,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(alias = "values")]
            fields: Vec<Field>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Field {
            field_id: String,
            name: String,
            #[serde(default)]
            required: bool,
            #[serde(default)]
            allowed_values: Vec<Value>,
            #[serde(default)]
            schema: Value,
        }
        self.check(answer, Effect::Read, "reading the fields")?;
        let fields = answer.json::<Page>(Effect::Read)?.fields;
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &Field| {
            wanted.as_ref().is_none_or(|wanted| {
                field.field_id.to_lowercase().contains(wanted)
                    || field.name.to_lowercase().contains(wanted)
            })
        };
        Ok(fields
            .into_iter()
            .filter(fits)
            .map(|field| PlatformField {
                kind: field.schema["type"].as_str().map(str::to_owned),
                custom: field.field_id.starts_with("customfield_"),
                id: field.field_id,
                name: field.name,
                required: field.required,
                allowed_values: field
                    .allowed_values
                    .iter()
                    .filter_map(|value| value["name"].as_str().or_else(|| value["value"].as_str()))
                    .map(str::to_owned)
                    .collect(),
            })
            .collect())
    }

    /// A page of issues.
    pub(super) fn read_issues(
        &self,
        answer: &Response,
        cursor: Option<&str>,
    ) -> Result<api::Page<ExternalItem, String>, AdapterError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            issues: Vec<Issue>,
            next_page_token: Option<String>,
            is_last: Option<bool>,
            total: Option<usize>,
        }
        self.check(answer, Effect::Read, "reading what changed")?;
        let page: Page = answer.json(Effect::Read)?;
        let seen = cursor.and_then(|at| at.parse::<usize>().ok()).unwrap_or(0) + page.issues.len();
        let next = match (self.version, page.total) {
            (Version::V3, _) => page.next_page_token.filter(|_| page.is_last != Some(true)),
            (Version::V2, Some(total)) if seen < total && !page.issues.is_empty() => {
                Some(seen.to_string())
            }
            (Version::V2, _) => None,
        };
        let items = page.issues.into_iter().map(|issue| self.item_of(issue));
        Ok(api::Page {
            items: items.collect(),
            next,
        })
    }

    /// A page of changed issues, the oldest change first.
    pub(super) fn read_changes(
        &self,
        answer: &Response,
        cursor: Option<&str>,
    ) -> Result<ChangePage, AdapterError> {
        let page = self.read_issues(answer, cursor)?;
        Ok(ChangePage {
            next: page.next,
            ..ChangePage::of(page.items)
        })
    }

    /// One issue as it stands; `None` where it is not there.
    pub(super) fn read_item(
        &self,
        answer: &Response,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        if answer.status == 404 {
            return Ok(None);
        }
        self.check(answer, Effect::Read, "reading the issue")?;
        Ok(Some(self.item_of(answer.json(Effect::Read)?)))
    }

    fn item_of(&self, issue: Issue) -> ExternalItem {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let fields = &issue.fields;
        let labels = fields["labels"].as_array().map(|labels| {
            let labels = labels.iter().filter_map(Value::as_str);
            labels.map(str::to_owned).collect::<Vec<String>>()
        });
        let marker = Marker::among(labels.iter().flatten().map(String::as_str));
        ExternalItem {
            marker: marker.map(str::to_owned),
            at: fields["updated"]
                .as_str()
                .and_then(moment)
                .map(Moment::exact),
            facts: Facts {
                title: text(&fields["summary"]),
                status: text(&fields["status"]["name"]),
                status_class: text(&fields["status"]["statusCategory"]["key"]),
                priority: text(&fields["priority"]["name"]),
                url: self.page_of(&issue.key),
                tags: labels,
                ..Facts::default()
            },
            item: ItemRef {
                external_id: issue.key,
                stable_id: Some(issue.id),
            },
            ..ExternalItem::default()
        }
    }

    /// What Jira says of an issue, in our words.
    pub(super) fn ours(&self, facts: &Facts) -> TicketFacts {
        let class = facts.status_class.as_deref().unwrap_or_default();
        let status = facts.status.as_deref();
        TicketFacts {
            title: facts.title.clone(),
            status: status.map(|name| self.our_status(name, class)),
            priority: facts.priority.as_deref().and_then(our_priority),
            ..TicketFacts::default()
        }
    }

    /// The page of an issue that a person would open.
    fn page_of(&self, key: &str) -> Option<String> {
        below(&self.site, &["browse", key]).ok().map(String::from)
    }

    /// A status of Jira's in our words: a configured name first, else by its category.
    fn our_status(&self, theirs: &str, category: &str) -> TicketStatus {
        let configured = self.status_transitions.iter().find(|(_, name)| {
            name.as_str()
                .is_some_and(|name| name.eq_ignore_ascii_case(theirs))
        });
        if let Some(status) = configured.and_then(|(ours, _)| TicketStatus::parse(ours)) {
            return status;
        }
        match category {
            "done" if is_cancelish(theirs) => TicketStatus::Cancelled,
            "done" if theirs.eq_ignore_ascii_case("closed") => TicketStatus::Closed,
            "done" => TicketStatus::Resolved,
            "indeterminate" if theirs.to_lowercase().contains("waiting") => TicketStatus::Pending,
            "indeterminate" => TicketStatus::InProgress,
            _ => TicketStatus::Open,
        }
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

    /// The id of the issue type of this name, else of the first that is no subtask.
    pub(super) fn read_issue_type(
        &self,
        answer: &Response,
        name: &str,
    ) -> Result<String, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "issueTypes", alias = "values", default)]
            types: Vec<IssueType>,
        }
        #[derive(Deserialize)]
        struct IssueType {
            id: String,
            #[serde(default)]
            name: String,
            #[serde(default)]
            subtask: bool,
        }
        self.check(answer, Effect::Read, "reading the issue types")?;
        let page: Page = answer.json(Effect::Read)?;
        let named = page.types.iter().position(|kind| kind.name == name);
        let first = page.types.iter().position(|kind| !kind.subtask);
        let chosen = named.or(first);
        chosen
            .and_then(|index| page.types.into_iter().nth(index))
            .map(|kind| kind.id)
            .ok_or_else(|| {
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
        // Get my permissions (REST v3 and v2): 404 is a project that is absent, or not visible.
        if answer.status == 404 {
            let fault = format!(
                "names the project {}, which does not exist or which the account may not see: give the key of one that \
                 it may, or let it in",
                self.project_key
            );
            return Err(AdapterError::field("settings.project_key", fault).with_status(404));
        }
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

#[derive(Deserialize)]
struct Attached {
    id: String,
    filename: String,
    size: u64,
    created: Option<String>,
}

/// Jira writes `+0000`, not `Z` or `+00:00`.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.3f%z")
        .ok()
        .map(|moment| moment.with_timezone(&Utc))
}

/// A priority of the default scheme in our words.
fn our_priority(theirs: &str) -> Option<Priority> {
    Some(match theirs.to_lowercase().as_str() {
        "lowest" | "low" => Priority::Low,
        "medium" => Priority::Medium,
        "high" => Priority::High,
        "highest" => Priority::Critical,
        _ => return None,
    })
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
