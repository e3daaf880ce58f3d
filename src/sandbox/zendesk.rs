//! Zendesk: the Support API's tickets. Written from the sheet `platforms/zendesk.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | `{email}/token` and any API token (a password alone is not taken), or any bearer token; `users/me` answers 200 with a user without an id to who has no good Basic credentials |
//! | token endpoint | `/oauth/tokens`: client credentials and refresh tokens that rotate; the scope is `scope` |
//! | create | an `Idempotency-Key` is kept two hours: the same body gets the same answer, another one is refused; refusals are kept where `keeps_refusals` says so |
//! | update | statuses, priorities, types, assignees and choices that are not known are refused; what is closed stays so; 30 updates of a ticket in 10 minutes |
//! | lists | by external id (at once), audits, the incremental export (administrators only, deleted tickets too), the search (1,000 results of a query, `search_lag_ms` late) |
//! | people | `known+NAME@example.test` is an agent; the listed ones are, if they can be assigned |
//!
//! Not modelled: views, macros, triggers, users and organizations of their own, side conversations,
//! follow-up tickets, jobs, mail. A custom field that is not known is taken and forgotten.
//!
//! Limits: 50,000 tickets and 128 MiB a site, 1,000 files that wait for a comment.

mod hooks;

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Grant, Rules};
use super::kit::magic::{People, Person};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{indexed_until, moment};
use super::kit::{
    self, Budget, Common, Credential, CredentialSource, Entry, Hit, HookRules, Item, Meter,
    RateHeaders, Refusal, Route, Shelf, Tabled, checks, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// The user that every credential belongs to.
const ME: u64 = 84_473;
/// What a ticket can be.
const STATUSES: [&str; 6] = ["new", "open", "pending", "hold", "solved", "closed"];
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
const TYPES: [&str; 4] = ["problem", "incident", "question", "task"];
/// Bytes of a comment, comments of a ticket, and characters of an external id or a key.
const COMMENT_MAX: usize = 65_535;
const COMMENTS_MAX: usize = 5_000;
const EXTERNAL_ID_MAX: usize = 255;
/// How long an idempotency key is kept.
const KEY_HOURS: i64 = 2;
/// Keys and files that are kept at most.
const KEYS_MAX: usize = 100_000;
const UPLOADS_MAX: usize = 1_000;
/// Results of a query that the search shows.
const SEARCHED_MAX: usize = 1_000;

/// A status that somebody of the account made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    id: u64,
    agent_label: String,
    status_category: String,
}

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these are accepted: `{email}/token:secret`, or a bearer token.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// Updates of one ticket that are taken.
    ticket_updates: Option<Budget>,
    /// Role of the user: `agent`, `admin` or `end-user`.
    role: String,
    /// Scope of a token, and its life.
    scope: String,
    access_token_seconds: i64,
    /// Agents besides those known by name.
    people: Vec<Person>,
    known_people: bool,
    custom_statuses: Vec<Status>,
    /// As the API lists them.
    ticket_fields: Vec<Value>,
    /// Whether the status `hold` is switched on.
    hold: bool,
    /// Whether audits show their metadata.
    audit_metadata: bool,
    /// Whether an idempotency key keeps refusals, too.
    keeps_refusals: bool,
    /// The search and the export show a change only so long after it.
    search_lag_ms: u64,
    export_lag_ms: u64,
    webhooks: HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            budget: None,
            ticket_updates: Some(Budget {
                requests: 30,
                seconds: 600,
            }),
            webhooks: HookRules::default(),
            role: "admin".into(),
            scope: "read write".into(),
            access_token_seconds: 1_800,
            people: Vec::new(),
            known_people: true,
            custom_statuses: vec![Status {
                id: 9_001,
                agent_label: "Working on it".into(),
                status_category: "open".into(),
            }],
            ticket_fields: default_fields(),
            hold: false,
            audit_metadata: true,
            keeps_refusals: false,
            search_lag_ms: 0,
            export_lag_ms: 0,
        }
    }
}

/// A field of the system, a text and a list of choices.
fn default_fields() -> Vec<Value> {
    vec![
        json!({ "id": 101, "type": "subject", "title": "Subject", "active": true, "required": false,
            "removable": false }),
        json!({ "id": 27_642, "type": "text", "title": "Room", "active": true, "required": false,
            "removable": true }),
        json!({ "id": 27_643, "type": "tagger", "title": "Plan", "active": true, "required": false,
            "removable": true,
            "custom_field_options": [{ "name": "Basic plan", "value": "plan_basic" },
                { "name": "Gold plan", "value": "plan_gold" }] }),
        json!({ "id": 27_644, "type": "integer", "title": "Seats", "active": true,
            "required": false, "removable": true }),
    ]
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A comment, be it the first.
#[derive(Debug, Clone)]
struct Comment {
    id: u64,
    html: String,
    public: bool,
    files: Vec<LedgerFile>,
}

/// What happened to a ticket at once.
#[derive(Debug, Clone)]
struct Audit {
    id: u64,
    created: DateTime<Utc>,
    custom: Value,
    comment: Option<Comment>,
    /// Fields that were set.
    changed: Vec<(String, Value)>,
}

/// A ticket.
#[derive(Debug, Default)]
struct Ticket {
    subject: String,
    status: String,
    custom_status_id: Option<u64>,
    /// `priority`, `type`, `requester`, ids: as they were sent.
    members: Map<String, Value>,
    tags: Vec<String>,
    external_id: Option<String>,
    assignee: Option<u64>,
    fields: Map<String, Value>,
    audits: Vec<Audit>,
    updates: Meter,
    is_deleted: bool,
}

impl Ticket {
    fn comments(&self) -> impl Iterator<Item = (&Audit, &Comment)> {
        let audits = self.audits.iter();
        audits.filter_map(|audit| Some((audit, audit.comment.as_ref()?)))
    }

    fn first_comment(&self) -> &str {
        let first = self.comments().next();
        first.map_or("", |(_, comment)| comment.html.as_str())
    }
}

impl Item for Ticket {
    fn tags(&self) -> Vec<String> {
        self.external_id.iter().chain(&self.tags).cloned().collect()
    }

    fn weight(&self) -> usize {
        let comments = self.comments().map(|(_, comment)| comment.html.len() + 200);
        self.subject.len() + comments.sum::<usize>()
    }
}

/// An answer that is given again to who asks with its key.
#[derive(Debug)]
struct Kept {
    body: Bytes,
    answer: Answer,
    at: DateTime<Utc>,
}

/// One account.
pub(super) struct Zendesk {
    common: Common<Settings>,
    tickets: Shelf<Ticket>,
    keys: HashMap<String, Kept>,
    uploads: HashMap<String, LedgerFile>,
    /// Of comments, audits and files.
    next_id: u64,
}

impl Default for Zendesk {
    fn default() -> Self {
        Self {
            common: Common::default(),
            tickets: Shelf::new(50_000, 128 << 20, 35_001),
            keys: HashMap::new(),
            uploads: HashMap::new(),
            next_id: 2_127_301,
        }
    }
}

const PAGES: By = By::Cursor("page[after]", "page[size]");

fn has_comment(call: &Call) -> bool {
    !call.at("/ticket/comment").is_null()
}

fn has_files(call: &Call) -> bool {
    !call.at("/ticket/comment/uploads").is_null()
}

fn sets_status(call: &Call) -> bool {
    !call.at("/ticket/status").is_null() || !call.at("/ticket/custom_status_id").is_null()
}

fn resolves(call: &Call) -> bool {
    has_comment(call) && sets_status(call)
}

fn assigns(call: &Call) -> bool {
    let members = call.at("/ticket").as_object();
    members.is_some_and(|members| members.len() == 1 && members.contains_key("assignee_id"))
}

impl Tabled for Zendesk {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth/tokens", "token", Self::token).open(),
        view("GET", "/api/v2/users/me", "users_me", Self::myself),
        view("GET", "/api/v2/users/search", "search_users", Self::search_users),
        view("GET", "/api/v2/ticket_fields", "list_fields", Self::list_fields),
        view("GET", "/api/v2/custom_statuses", "list_statuses", Self::list_statuses),
        view("GET", "/api/v2/search", "search", Self::search),
        view("GET", "/api/v2/incremental/tickets/cursor", "export", Self::export),
        route("POST", "/api/v2/uploads", "upload", Self::upload),
        view("GET", "/api/v2/tickets/count", "count_tickets", Self::count),
        view("GET", "/api/v2/tickets", "find_tickets", Self::list),
        route("POST", "/api/v2/tickets", "create_ticket", Self::create),
        view("GET", "/api/v2/tickets/*", "get_ticket", Self::get),
        view("GET", "/api/v2/tickets/*/audits", "list_audits", Self::list_audits),
        view("GET", "/api/v2/tickets/*/comments", "list_comments", Self::list_comments),
        route("PUT", "/api/v2/tickets/*", "attach", Self::update).when(has_files),
        route("PUT", "/api/v2/tickets/*", "resolve", Self::update).when(resolves),
        route("PUT", "/api/v2/tickets/*", "comment", Self::update).when(has_comment),
        route("PUT", "/api/v2/tickets/*", "set_status", Self::update).when(sets_status),
        route("PUT", "/api/v2/tickets/*", "assign", Self::update).when(assigns),
        route("PUT", "/api/v2/tickets/*", "update_ticket", Self::update),
        route("DELETE", "/api/v2/tickets/*", "delete_ticket", Self::delete),
        route("PUT", "/api/v2/tickets/*/tags", "add_tags", Self::add_tags),
        route("DELETE", "/api/v2/tickets/*/tags", "remove_tags", Self::remove_tags),
        route("POST", "/api/v2/webhooks", "create_hook", Self::create_hook),
        view("GET", "/api/v2/webhooks", "list_hooks", Self::list_hooks),
        view("GET", "/api/v2/webhooks/*", "get_hook", Self::get_hook),
        view("GET", "/api/v2/webhooks/*/signing_secret", "hook_secret", Self::hook_secret),
        view("GET", "/api/v2/webhooks/*/invocations", "invocations", Self::invocations),
        route("DELETE", "/api/v2/webhooks/*", "delete_hook", Self::delete_hook),
    ];
    const CREDENTIALS: &'static [CredentialSource] =
        &[CredentialSource::Basic, CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "X-Rate-Limit",
        remaining: "X-Rate-Limit-Remaining",
        reset: "ratelimit-reset",
        reset_in: Reset::Seconds,
        retry_after: true,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn credential(&self, call: &Call) -> Result<Credential, Refusal> {
        let credential = checks::credential(call, Self::CREDENTIALS)?;
        match &credential.user {
            Some(user) if !user.ends_with("/token") => Err(Refusal::Wrong),
            Some(_) | None => Ok(credential),
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let has_body = matches!(hit.call.method.as_str(), "POST" | "PUT");
        let is_file = hit.operation == "upload";
        (has_body && !is_file && hit.call.json.is_none()).then(|| {
            let message = "Server could not parse JSON";
            Answer::json(
                400,
                json!({ "error": "Unprocessable Entity", "message": message }),
            )
        })
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        let is_myself = call.path == "/api/v2/users/me";
        match refusal {
            Refusal::Missing | Refusal::Wrong
                if is_myself && call.authorization("bearer").is_none() =>
            {
                let nobody = json!({ "id": null, "name": "Anonymous user",
                    "email": "invalid@example.com",
                    "role": "end-user", "active": false, "suspended": false });
                Answer::json(200, json!({ "user": nobody }))
            }
            Refusal::Expired => {
                let why = "The access token provided is expired, revoked, malformed or invalid \
                           for other reasons.";
                said(401, "invalid_token", why)
            }
            Refusal::Missing | Refusal::Wrong | Refusal::Status(401) => {
                Answer::json(401, json!({ "error": "Couldn't authenticate you" }))
            }
            Refusal::Forbidden | Refusal::Status(403) => {
                let message = "You do not have access to this page. Please contact the account \
                               owner of this help desk for \
                               further help.";
                Answer::json(
                    403,
                    json!({ "error": { "title": "Forbidden", "message": message } }),
                )
            }
            Refusal::NoPath => said(404, "InvalidEndpoint", "Not found"),
            Refusal::OtherMethods(methods) => said(405, "MethodNotAllowed", "Method not allowed")
                .header("Allow", &methods.join(", ")),
            Refusal::Status(404) => gone(),
            Refusal::Status(409) => said(
                409,
                "UpdateConflict",
                "Safe Update prevented the update due to outdated ticket data",
            ),
            Refusal::Status(422) => invalid(&[fault("base", "is invalid", "InvalidValue")]),
            Refusal::Budget(_) | Refusal::Status(429) => said(
                429,
                "APIRateLimitExceeded",
                "Number of allowed API requests per minute exceeded",
            ),
            Refusal::Status(status) => said(*status, "InternalError", "a fault on demand"),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let (mut lines, evicted) = self.tickets.ledger(label, line);
        lines.retain(|line| line.status != "deleted");
        (lines, evicted)
    }
}

/// A ticket as the ledger has it. The external id is the first of its labels.
fn line(ticket: &Entry<Ticket>) -> LedgerIssue {
    let text = |name: &str| ticket.members.get(name).and_then(Value::as_str);
    let comments = ticket.comments().skip(1);
    let mut fields = ticket.fields.clone();
    for (name, value) in &ticket.members {
        fields.insert(name.clone(), value.clone());
    }
    LedgerIssue {
        summary: ticket.subject.clone(),
        description: ticket.first_comment().into(),
        issue_type: text("type").unwrap_or_default().to_owned(),
        status: if ticket.is_deleted {
            "deleted".to_owned()
        } else {
            ticket.status.clone()
        },
        priority: text("priority").map(str::to_owned),
        assignee: ticket.assignee.map(|id| id.to_string()),
        labels: ticket.item.tags(),
        fields,
        comments: comments
            .map(|(audit, comment)| LedgerComment {
                id: comment.id.to_string(),
                body: comment.html.clone().into(),
                public: comment.public,
                properties: audit.custom.as_object().cloned().unwrap_or_default(),
                created: moment(audit.created),
            })
            .collect(),
        attachments: ticket
            .comments()
            .flat_map(|(_, comment)| comment.files.iter().cloned())
            .collect(),
        ..ticket.line()
    }
}

// How it refuses.

fn said(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        json!({ "error": error, "description": description }),
    )
}

fn gone() -> Answer {
    said(404, "RecordNotFound", "Not found")
}

/// A field, what is wrong with it, and by which code.
type Fault = (&'static str, String, &'static str);

fn fault(field: &'static str, what: &str, code: &'static str) -> Fault {
    (field, what.to_owned(), code)
}

fn invalid(faults: &[Fault]) -> Answer {
    let mut details = Map::new();
    for (field, what, code) in faults {
        let description = match *field {
            "base" => what.clone(),
            field => format!("{}: {what}", field.replace('_', " ")),
        };
        let one = json!({ "description": description, "error": code });
        match details.get_mut(*field).and_then(Value::as_array_mut) {
            Some(several) => several.push(one),
            None => drop(details.insert((*field).to_owned(), json!([one]))),
        }
    }
    let description = "Record validation errors";
    let body = json!({ "error": "RecordInvalid", "description": description, "details": details });
    Answer::json(422, body)
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A ticket as the API shows it.
fn shown(ticket: &Entry<Ticket>, base: &str) -> Value {
    let fields = ticket.fields.iter();
    let fields: Vec<Value> = fields
        .map(|(id, value)| json!({ "id": id.parse::<u64>().unwrap_or_default(), "value": value }))
        .collect();
    let id: u64 = ticket.number;
    json!({
        "id": id, "url": format!("{base}/api/v2/tickets/{id}.json"),
        "external_id": ticket.external_id,
        "subject": ticket.subject, "raw_subject": ticket.subject,
        "description": ticket.first_comment(),
        "status": if ticket.is_deleted { "deleted" } else { ticket.status.as_str() },
        "custom_status_id": ticket.custom_status_id,
        "priority": ticket.members.get("priority"), "type": ticket.members.get("type"),
        "group_id": ticket.members.get("group_id"), "brand_id": ticket.members.get("brand_id"),
        "assignee_id": ticket.assignee, "requester_id": ME, "submitter_id": ME, "tags": ticket.tags,
        "custom_fields": fields, "is_public": true, "via": { "channel": "api" },
        "created_at": seconds(ticket.created), "updated_at": seconds(ticket.updated),
        "generated_timestamp": ticket.updated.timestamp(),
    })
}

fn shown_file(file: &LedgerFile) -> Value {
    json!({ "id": file.id.parse::<u64>().unwrap_or_default(), "file_name": file.name,
        "content_type": file.media_type, "size": file.size })
}

fn shown_comment(comment: &Comment, audit: &Audit) -> Value {
    let files: Vec<Value> = comment.files.iter().map(shown_file).collect();
    json!({ "id": comment.id, "type": "Comment", "author_id": ME, "body": comment.html,
        "html_body": comment.html,
        "plain_body": comment.html, "public": comment.public, "attachments": files,
        "audit_id": audit.id,
        "created_at": seconds(audit.created) })
}

fn shown_audit(audit: &Audit, ticket: u64, with_metadata: bool) -> Value {
    let changes = audit.changed.iter().map(|(field, value)| {
        json!({ "id": audit.id + 1, "type": "Change", "field_name": field,
            "value": value })
    });
    let comment = audit.comment.iter();
    let comment = comment.map(|comment| shown_comment(comment, audit));
    let mut shown = json!({
        "id": audit.id, "ticket_id": ticket, "author_id": ME, "created_at": seconds(audit.created),
        "events": comment.chain(changes).collect::<Vec<_>>(), "via": { "channel": "api" },
    });
    if with_metadata {
        shown["metadata"] = json!({ "system": { "client": "sandbox" }, "custom": audit.custom });
    }
    shown
}

/// Tags of a body, as they are kept: in small letters, and parted where there is a blank.
fn tags_of(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    let words = list
        .iter()
        .filter_map(Value::as_str)
        .flat_map(str::split_whitespace);
    let mut tags: Vec<String> = Vec::new();
    for word in words.map(str::to_lowercase) {
        if !tags.contains(&word) {
            tags.push(word);
        }
    }
    tags
}

// What it does.
impl Zendesk {
    fn id(&mut self) -> u64 {
        self.next_id += 10;
        self.next_id
    }

    fn people(&self) -> People<'_> {
        People {
            listed: &self.common.settings.people,
            with_known: self.common.settings.known_people,
        }
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let common = &mut self.common;
        let rules = Rules {
            grants: &[Grant::Refresh, Grant::ClientCredentials],
            ..Rules::refreshing(common.settings.access_token_seconds)
        };
        match common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["token_type"] = "bearer".into();
                body["scope"] = common.settings.scope.as_str().into();
                Answer::json(200, body).mutated()
            }
            Err(denied) => denied.answer(),
        }
    }

    fn myself(&self, hit: &Hit<'_>) -> Answer {
        let email = hit.caller.name.trim_end_matches("/token");
        let user = json!({ "id": ME, "name": "Ticketwire", "email": email,
            "role": self.common.settings.role,
            "role_type": null, "active": true, "suspended": false });
        Answer::json(200, json!({ "user": user }))
    }

    fn search_users(&self, hit: &Hit<'_>) -> Answer {
        let query = hit.call.param("query").unwrap_or_default();
        let email = query.strip_prefix("email:").unwrap_or(query);
        let found = self.people().by_email(email.trim_matches('"'));
        let shown = |person: Person| {
            let role = if person.assignable {
                "agent"
            } else {
                "end-user"
            };
            json!({ "id": person.number(), "name": person.display_name, "email": person.email,
                "role": role,
                "active": true, "suspended": false })
        };
        let users: Vec<Value> = found.into_iter().map(shown).collect();
        Answer::json(
            200,
            json!({ "count": users.len(), "users": users, "next_page": null }),
        )
    }

    /// Such a listing, a page of it by cursor.
    fn paged(hit: &Hit<'_>, name: &str, all: Vec<Value>) -> Answer {
        let Some(page) = PAGES.page(hit.call, all, 100, 100) else {
            let detail = "page[after] is not valid";
            let error = json!({ "code": "InvalidPaginationParameter", "title": "Invalid cursor",
                "detail": detail });
            return Answer::json(400, json!({ "errors": [error] }));
        };
        let next = page.next_url(hit.call, PAGES);
        let after = page.next_name(hit.call, PAGES);
        let mut body = json!({
            "meta": { "has_more": next.is_some(), "after_cursor": after },
            "links": { "next": next },
        });
        body[name] = page.items.into();
        Answer::json(200, body)
    }

    fn list_fields(&self, hit: &Hit<'_>) -> Answer {
        Self::paged(
            hit,
            "ticket_fields",
            self.common.settings.ticket_fields.clone(),
        )
    }

    fn list_statuses(&self, _: &Hit<'_>) -> Answer {
        let shown = |status: &Status| {
            json!({ "id": status.id, "agent_label": status.agent_label,
                "end_user_label": status.agent_label,
                "status_category": status.status_category, "active": true, "default": false })
        };
        let all = self.common.settings.custom_statuses.iter();
        let all: Vec<Value> = all.map(shown).collect();
        Answer::json(200, json!({ "custom_statuses": all }))
    }

    /// The ticket, if it is there.
    fn ticket(&self, hit: &Hit<'_>) -> Option<&Entry<Ticket>> {
        let ticket = self.tickets.find(hit.arg(0));
        ticket.filter(|ticket| !ticket.is_deleted)
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        match self.ticket(hit) {
            Some(ticket) => Answer::json(200, json!({ "ticket": shown(ticket, &hit.call.base) })),
            None => gone(),
        }
    }

    fn count(&self, hit: &Hit<'_>) -> Answer {
        let count = json!({ "value": self.tickets.len(), "refreshed_at": seconds(hit.now) });
        Answer::json(200, json!({ "count": count }))
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let base = &hit.call.base;
        let there = |ticket: &&Entry<Ticket>| !ticket.is_deleted;
        let all: Vec<Value> = match hit.call.param("external_id") {
            Some(wanted) => {
                let is_it = |ticket: &&Entry<Ticket>| ticket.external_id.as_deref() == Some(wanted);
                let found = self.tickets.tagged(wanted).filter(there).filter(is_it);
                found.map(|ticket| shown(ticket, base)).collect()
            }
            None => {
                let all = self.tickets.all().filter(there).take(1_000);
                all.map(|ticket| shown(ticket, base)).collect()
            }
        };
        Self::paged(hit, "tickets", all)
    }

    fn list_audits(&self, hit: &Hit<'_>) -> Answer {
        let Some(ticket) = self.ticket(hit) else {
            return gone();
        };
        let with_metadata = self.common.settings.audit_metadata;
        let audits = ticket.audits.iter();
        let mut all: Vec<Value> = audits
            .map(|audit| shown_audit(audit, ticket.number, with_metadata))
            .collect();
        if hit.call.param("sort") == Some("-created_at") {
            all.reverse();
        }
        Self::paged(hit, "audits", all)
    }

    fn list_comments(&self, hit: &Hit<'_>) -> Answer {
        let Some(ticket) = self.ticket(hit) else {
            return gone();
        };
        let comments = ticket.comments();
        let mut all: Vec<Value> = comments
            .map(|(audit, comment)| shown_comment(comment, audit))
            .collect();
        if hit.call.param("sort") == Some("-created_at") {
            all.reverse();
        }
        Self::paged(hit, "comments", all)
    }

    /// The export begins at a moment or behind the last change that a cursor names.
    fn export(&self, hit: &Hit<'_>) -> Answer {
        if self.common.settings.role != "admin" {
            return self.refuse(&Refusal::Forbidden, hit.call, hit.now);
        }
        let (since, behind) = match (hit.call.param("cursor"), hit.call.param("start_time")) {
            (Some(cursor), _) => {
                let read = || {
                    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
                    let (nanos, number) = text.split_once(':')?;
                    let at = DateTime::from_timestamp_nanos(nanos.parse().ok()?);
                    Some((at, number.parse::<u64>().ok()?))
                };
                match read() {
                    Some((at, number)) => (at, Some((at, number))),
                    None => return said(400, "InvalidValue", "Cursor is not valid"),
                }
            }
            (None, Some(start)) => {
                let start = start
                    .parse()
                    .ok()
                    .and_then(|start| DateTime::from_timestamp(start, 0));
                match start {
                    Some(start) if start > hit.now - TimeDelta::seconds(60) => {
                        let why = "Too recent start_time. Use a start_time older than 1 minute";
                        return said(422, "StartTimeTooRecent", why);
                    }
                    Some(start) => (start, None),
                    None => return said(400, "InvalidValue", "start_time is not valid"),
                }
            }
            (None, None) => return said(400, "MissingParameter", "start_time is missing"),
        };
        let size = hit.call.number("per_page", 1_000).clamp(1, 1_000);
        let seen = indexed_until(self.common.settings.export_lag_ms, hit.now);
        let mut all = self.tickets.changed_since(since).filter(|ticket| {
            let is_new = behind.is_none_or(|behind| (ticket.updated, ticket.number) > behind);
            is_new && ticket.updated <= seen
        });
        let page: Vec<&Entry<Ticket>> = all.by_ref().take(size).collect();
        let is_last = all.next().is_none();
        let last = page.last().map(|ticket| (ticket.updated, ticket.number));
        let (at, number) = last.or(behind).unwrap_or((since, 0));
        let nanos = at.timestamp_nanos_opt().unwrap_or_default();
        let cursor = hex::encode(format!("{nanos}:{number}"));
        let base = &hit.call.base;
        let tickets: Vec<Value> = page.iter().map(|ticket| shown(ticket, base)).collect();
        let url = format!("{base}/api/v2/incremental/tickets/cursor.json?cursor={cursor}");
        let body = json!({ "tickets": tickets, "after_cursor": cursor, "after_url": url,
            "end_of_stream": is_last });
        Answer::json(200, body)
    }

    fn search(&self, hit: &Hit<'_>) -> Answer {
        let query = hit.call.param("query").unwrap_or_default();
        let mut since = DateTime::<Utc>::UNIX_EPOCH;
        let mut is_of_tickets = false;
        for word in query.split_whitespace() {
            match (word.strip_prefix("updated>="), word) {
                (Some(text), _) => match DateTime::parse_from_rfc3339(text) {
                    Ok(at) => since = at.to_utc(),
                    Err(_) => return said(422, "InvalidQuery", "Invalid search: not a date"),
                },
                (None, "type:ticket") => is_of_tickets = true,
                (None, _) => {}
            }
        }
        let size = hit.call.number("per_page", 100).clamp(1, 100);
        let number = hit.call.number("page", 1).max(1);
        if number * size > SEARCHED_MAX {
            let why = "Requested response size was greater than Search Response Limits";
            return said(422, "RequestedResponseSizeExceeded", why);
        }
        let seen = indexed_until(self.common.settings.search_lag_ms, hit.now);
        let found = self.tickets.changed_since(since);
        let found = found.filter(|ticket| !ticket.is_deleted && ticket.updated <= seen);
        let mut found: Vec<&Entry<Ticket>> = found.filter(|_| is_of_tickets).collect();
        if hit.call.param("sort_order") != Some("asc") {
            found.reverse();
        }
        let base = &hit.call.base;
        let results = found.iter().skip((number - 1) * size).take(size);
        let results: Vec<Value> = results.map(|ticket| shown(ticket, base)).collect();
        let more = found.len() > number * size;
        let next = more.then(|| format!("{base}/api/v2/search.json?page={}", number + 1));
        Answer::json(
            200,
            json!({ "results": results, "count": found.len(), "next_page": next }),
        )
    }

    fn upload(&mut self, hit: &Hit<'_>) -> Answer {
        let media_type = hit.call.header("content-type").unwrap_or_default();
        let Some(name) = hit.call.param("filename").filter(|name| !name.is_empty()) else {
            return said(400, "MissingParameter", "filename is missing");
        };
        if media_type.is_empty() || media_type.starts_with("multipart/") {
            return said(422, "InvalidValue", "the body is a file of a media type");
        }
        if self.uploads.len() >= UPLOADS_MAX {
            self.uploads.clear();
        }
        let id = self.id();
        let mut file = LedgerFile::of(name, media_type, &hit.call.body);
        file.id = id.to_string();
        file.created = moment(hit.now);
        let shown = shown_file(&file);
        let token = format!("upload{id}");
        self.uploads.insert(token.clone(), file);
        let upload = json!({ "token": token, "expires_at": seconds(hit.now), "attachment": shown,
            "attachments": [shown] });
        Answer::json(201, json!({ "upload": upload })).mutated()
    }

    /// What is wrong with the members of a ticket.
    fn faults(&self, wanted: &Map<String, Value>, current: Option<&Ticket>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let text = |name: &str| wanted.get(name).and_then(Value::as_str);
        let closed = lists_closed(current);
        if closed {
            return vec![fault(
                "status",
                "closed prevents ticket update",
                "TicketClosed",
            )];
        }
        let mut known = |name: &'static str, all: &[&str]| {
            let is_known = text(name).is_none_or(|word| all.contains(&word));
            let is_text = wanted
                .get(name)
                .is_none_or(|value| value.is_string() || value.is_null());
            if !is_known || !is_text {
                faults.push(fault(name, "is not properly formatted", "InvalidValue"));
            }
        };
        known("status", &STATUSES);
        known("priority", &PRIORITIES);
        known("type", &TYPES);
        if text("status") == Some("hold") && !self.common.settings.hold {
            faults.push(fault("status", "hold is not enabled", "InvalidValue"));
        }
        if text("status") == Some("new") && current.is_some_and(|own| own.status != "new") {
            faults.push(fault("status", "cannot return to new", "InvalidValue"));
        }
        if let Some(id) = wanted.get("custom_status_id") {
            let mut all = self.common.settings.custom_statuses.iter();
            if !all.any(|status| id.as_u64() == Some(status.id)) {
                faults.push(fault("custom_status_id", "is not valid", "InvalidValue"));
            }
        }
        if let Some(id) = wanted.get("assignee_id").filter(|id| !id.is_null()) {
            let person = id.as_u64().and_then(|id| self.people().by_number(id));
            if !person.is_some_and(|person| person.assignable) && id.as_u64() != Some(ME) {
                faults.push(fault(
                    "assignee",
                    "is not an agent of this account",
                    "InvalidValue",
                ));
            }
        }
        if wanted
            .get("subject")
            .is_some_and(|subject| !subject.is_string())
        {
            faults.push(fault("subject", "is not a text", "InvalidValue"));
        }
        if text("external_id").is_some_and(|id| id.chars().count() > EXTERNAL_ID_MAX) {
            faults.push(fault(
                "external_id",
                "is too long (maximum is 255 characters)",
                "ValueTooLong",
            ));
        }
        let email = wanted
            .get("requester")
            .and_then(|requester| requester["email"].as_str());
        if email.is_some_and(|email| !email.contains('@')) {
            faults.push(fault(
                "requester",
                "Email is not properly formatted",
                "InvalidValue",
            ));
        }
        faults.extend(self.comment_faults(wanted.get("comment"), current));
        faults.extend(self.field_faults(wanted.get("custom_fields")));
        faults
    }

    fn comment_faults(&self, comment: Option<&Value>, current: Option<&Ticket>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let Some(comment) = comment else {
            if current.is_none() {
                faults.push(fault("base", "Description: cannot be blank", "BlankValue"));
            }
            return faults;
        };
        let text = |name: &str| comment[name].as_str().unwrap_or_default();
        let (body, html) = (text("body"), text("html_body"));
        if body.trim().is_empty() && html.trim().is_empty() {
            faults.push(fault("base", "Comment: cannot be blank", "BlankValue"));
        }
        if !body.is_empty() && !html.is_empty() {
            faults.push(fault(
                "comment",
                "has a body and an html_body",
                "InvalidValue",
            ));
        }
        if body.len().max(html.len()) > COMMENT_MAX {
            faults.push(fault(
                "comment",
                "is too long (maximum is 65535 bytes)",
                "ValueTooLong",
            ));
        }
        if current.is_some_and(|own| own.comments().count() >= COMMENTS_MAX) {
            faults.push(fault(
                "base",
                "A ticket cannot have more than 5000 comments",
                "TooManyComments",
            ));
        }
        let tokens = comment["uploads"].as_array().into_iter().flatten();
        let known = |token: &Value| {
            token
                .as_str()
                .is_some_and(|token| self.uploads.contains_key(token))
        };
        if !tokens.into_iter().all(known) {
            faults.push(fault(
                "base",
                "Uploads: a token is not known or was used",
                "InvalidValue",
            ));
        }
        faults
    }

    /// A choice that is none is refused; a field that is not known is not even looked at.
    fn field_faults(&self, fields: Option<&Value>) -> Vec<Fault> {
        let sent = fields.and_then(Value::as_array).into_iter().flatten();
        let mut faults = Vec::new();
        for field in sent {
            let own = self.common.settings.ticket_fields.iter();
            let Some(own) = own.into_iter().find(|own| own["id"] == field["id"]) else {
                continue;
            };
            let value = &field["value"];
            let options = own["custom_field_options"].as_array();
            let fits = match options {
                _ if value.is_null() => true,
                Some(options) => options.iter().any(|option| option["value"] == *value),
                None if own["type"] == "integer" => value.is_i64() || value.is_u64(),
                None => true,
            };
            if !fits {
                let what = format!(
                    "{}: {value} is not a valid value",
                    own["title"].as_str().unwrap_or_default()
                );
                faults.push(("base", what, "InvalidValue"));
            }
        }
        faults
    }

    /// What a body does to a ticket, and the audit of it.
    fn audit(&mut self, wanted: &Map<String, Value>, now: DateTime<Utc>) -> Audit {
        let comment = wanted.get("comment").map(|comment| {
            let tokens = comment["uploads"].as_array().into_iter().flatten();
            let tokens: Vec<&str> = tokens.filter_map(Value::as_str).collect();
            let files = tokens
                .iter()
                .filter_map(|token| self.uploads.remove(*token))
                .collect();
            let text = comment["html_body"].as_str().or(comment["body"].as_str());
            Comment {
                id: self.id(),
                html: text.unwrap_or_default().to_owned(),
                public: comment["public"].as_bool().unwrap_or(true),
                files,
            }
        });
        let changed = wanted
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "comment" | "metadata"));
        let metadata = wanted.get("metadata").cloned();
        Audit {
            id: self.id(),
            created: now,
            custom: metadata.unwrap_or_else(|| json!({})),
            comment,
            changed: changed
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(key) = hit.call.header("idempotency-key").map(str::to_owned) else {
            return self.make(hit);
        };
        if key.is_empty() || key.len() > EXTERNAL_ID_MAX {
            let why = "Idempotency-Key must have 1 to 255 characters";
            return said(400, "IdempotentRequestError", why);
        }
        let oldest = hit.now - TimeDelta::hours(KEY_HOURS);
        match self.keys.get(&key) {
            Some(kept) if kept.at > oldest && kept.body != hit.call.body => {
                let why = "Request parameters don't match the given idempotency key";
                return said(400, "IdempotentRequestError", why);
            }
            Some(kept) if kept.at > oldest => {
                let answer = kept.answer.clone();
                return answer.header("x-idempotency-lookup", "hit");
            }
            Some(_) | None => {}
        }
        let answer = self.make(hit);
        if answer.effective || self.common.settings.keeps_refusals {
            if self.keys.len() >= KEYS_MAX {
                self.keys.retain(|_, kept| kept.at > oldest);
            }
            let mut kept = answer.clone();
            kept.effective = false;
            let kept = Kept {
                body: hit.call.body.clone(),
                answer: kept,
                at: hit.now,
            };
            self.keys.insert(key, kept);
        }
        answer.header("x-idempotency-lookup", "miss")
    }

    fn make(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(wanted) = hit.call.at("/ticket").as_object() else {
            return said(400, "MissingParameter", "ticket is missing");
        };
        let faults = self.faults(wanted, None);
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let audit = self.audit(wanted, hit.now);
        let mut ticket = Ticket {
            status: "new".into(),
            ..Ticket::default()
        };
        set(&mut ticket, wanted, &self.common.settings.custom_statuses);
        let shown_audit = shown_audit(&audit, 0, true);
        ticket.audits.push(audit);
        let ticket = self.tickets.add(ticket, hit.now);
        let base = &hit.call.base;
        let url = format!("{base}/api/v2/tickets/{}.json", ticket.id);
        let body = json!({ "ticket": shown(ticket, base), "audit": shown_audit });
        Answer::json(201, body).header("Location", &url).mutated()
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(answer) = self.too_often(hit) {
            return answer;
        }
        let Some(wanted) = hit.call.at("/ticket").as_object() else {
            return said(400, "MissingParameter", "ticket is missing");
        };
        let Some(ticket) = self.ticket(hit) else {
            return gone();
        };
        let faults = self.faults(wanted, Some(ticket));
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let is_safe = wanted.get("safe_update") == Some(&true.into());
        let stamp = wanted.get("updated_stamp").and_then(Value::as_str);
        if is_safe && stamp != Some(seconds(ticket.updated).as_str()) {
            return self.refuse(&Refusal::Status(409), hit.call, hit.now);
        }
        let audit = self.audit(wanted, hit.now);
        let shown_audit = shown_audit(&audit, ticket_number(hit), true);
        let statuses = self.common.settings.custom_statuses.clone();
        let base = &hit.call.base;
        let changed = self.tickets.change(hit.arg(0), |ticket| {
            set(&mut ticket.item, wanted, &statuses);
            ticket.audits.push(audit);
            ticket.note(hit.operation, hit.now);
            shown(ticket, base)
        });
        match changed {
            Some(ticket) => {
                Answer::json(200, json!({ "ticket": ticket, "audit": shown_audit })).mutated()
            }
            None => gone(),
        }
    }

    /// The refusal of a ticket that was updated too often.
    fn too_often(&mut self, hit: &Hit<'_>) -> Option<Answer> {
        let budget = self.common.settings.ticket_updates?;
        let id = hit.arg(0);
        let standing = self
            .tickets
            .change(id, |ticket| ticket.updates.spend(budget, hit.now))?;
        standing.is_over.then(|| {
            let why = "This ticket was updated too often, please wait before updating it again";
            said(429, "TooManyUpdates", why)
                .header("Retry-After", &standing.seconds.to_string())
                .header("X-Rate-Limit-Remaining", "699")
                .header(
                    "Zendesk-RateLimit-tickets-update",
                    "total=100; remaining=70; resets=41",
                )
        })
    }

    fn add_tags(&mut self, hit: &Hit<'_>) -> Answer {
        let more = tags_of(hit.call.at("/tags"));
        self.change_tags(hit, |tags| {
            for tag in more {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        })
        .map_or_else(
            |refused| refused,
            |tags| Answer::json(200, json!({ "tags": tags })).mutated(),
        )
    }

    fn remove_tags(&mut self, hit: &Hit<'_>) -> Answer {
        let fewer = tags_of(hit.call.at("/tags"));
        self.change_tags(hit, |tags| tags.retain(|tag| !fewer.contains(tag)))
            .map_or_else(|refused| refused, |_| Answer::empty(204).mutated())
    }

    fn change_tags(
        &mut self,
        hit: &Hit<'_>,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<Vec<String>, Answer> {
        if let Some(answer) = self.too_often(hit) {
            return Err(answer);
        }
        let ticket = self.ticket(hit).ok_or_else(gone)?;
        if lists_closed(Some(&ticket.item)) {
            return Err(invalid(&self.faults(&Map::new(), Some(&ticket.item))));
        }
        let changed = self.tickets.change(hit.arg(0), |ticket| {
            change(&mut ticket.item.tags);
            ticket.note(hit.operation, hit.now);
            ticket.item.tags.clone()
        });
        changed.ok_or_else(gone)
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        if self.ticket(hit).is_none() {
            return gone();
        }
        self.tickets.change(hit.arg(0), |ticket| {
            ticket.is_deleted = true;
            ticket.note(hit.operation, hit.now);
        });
        Answer::empty(204).mutated()
    }
}

/// The number of a request's ticket.
fn ticket_number(hit: &Hit<'_>) -> u64 {
    hit.arg(0).parse().unwrap_or_default()
}

/// Whether nobody can change a ticket any more.
fn lists_closed(ticket: Option<&Ticket>) -> bool {
    ticket.is_some_and(|ticket| ticket.status == "closed")
}

/// Sets the members of a ticket.
fn set(ticket: &mut Ticket, wanted: &Map<String, Value>, statuses: &[Status]) {
    for (name, value) in wanted {
        let text = value.as_str().map(str::to_owned);
        match name.as_str() {
            "subject" => ticket.subject = text.unwrap_or_default(),
            "external_id" => ticket.external_id = text,
            "tags" => ticket.tags = tags_of(value),
            "assignee_id" => {
                ticket.assignee = value.as_u64();
                if ticket.status == "new" && ticket.assignee.is_some() {
                    ticket.status = "open".into();
                }
            }
            "custom_fields" => {
                for field in value.as_array().into_iter().flatten() {
                    ticket
                        .fields
                        .insert(field["id"].to_string(), field["value"].clone());
                }
            }
            "priority" | "type" | "requester" | "group_id" | "brand_id" => {
                ticket.members.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    // Last: whoever is assigned, the status is what was said.
    if let Some(status) = wanted.get("status").and_then(Value::as_str) {
        let stays_new = status == "new" && ticket.assignee.is_some();
        ticket.status = if stays_new { "open" } else { status }.to_owned();
        ticket.custom_status_id = None;
    }
    let custom = wanted.get("custom_status_id").and_then(Value::as_u64);
    if let Some(status) = statuses.iter().find(|status| Some(status.id) == custom) {
        ticket.status.clone_from(&status.status_category);
        ticket.custom_status_id = custom;
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::super::answer::Body;
    use super::super::fake::Fake;
    use super::*;

    fn call(method: &str, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Call {
        let mut all = HeaderMap::new();
        all.insert("content-type", HeaderValue::from_static("application/json"));
        all.insert("authorization", HeaderValue::from_static("Bearer t"));
        for (name, value) in headers {
            all.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let bytes = Bytes::from(body.to_string());
        Call::new(method, path, query, all, bytes, "http://h".to_owned())
    }

    fn asked(site: &mut Zendesk, method: &str, path: &str, body: &Value) -> (u16, Value) {
        answered(site, &call(method, path, &[], body), Utc::now())
    }

    fn answered(site: &mut Zendesk, call: &Call, now: DateTime<Utc>) -> (u16, Value) {
        let answer = site.answer(call, now);
        let body = match answer.body {
            Body::Json(body) => body,
            _ => Value::Null,
        };
        (answer.status, body)
    }

    fn ticket(subject: &str) -> Value {
        json!({ "ticket": { "subject": subject, "comment": { "body": "b" },
            "external_id": "tkt-1" } })
    }

    #[test]
    fn a_key_gives_the_same_answer_for_two_hours_and_refuses_another_body() {
        let mut site = Zendesk::default();
        let now = Utc::now();
        let mut make = |body: &Value, now| {
            let call = call("POST", "/api/v2/tickets", &[("idempotency-key", "k")], body);
            let (status, body) = answered(&mut site, &call, now);
            (
                status,
                body["ticket"]["id"].as_u64(),
                body["error"].as_str().map(str::to_owned),
            )
        };

        let first = make(&ticket("a"), now);
        assert_eq!(first, (201, Some(35_001), None));
        assert_eq!(make(&ticket("a"), now), first);
        let refused = make(&ticket("b"), now);
        assert_eq!(refused.2.as_deref(), Some("IdempotentRequestError"));
        assert_eq!(
            make(&ticket("b"), now + TimeDelta::hours(2)).1,
            Some(35_002)
        );
    }

    #[test]
    fn what_is_closed_stays_so_and_what_is_not_known_is_refused() {
        let mut site = Zendesk::default();
        asked(&mut site, "POST", "/api/v2/tickets", &ticket("a"));
        let mut put = |members: Value| {
            let body = json!({ "ticket": members });
            let (status, body) = asked(&mut site, "PUT", "/api/v2/tickets/35001", &body);
            let fields = body["details"].as_object().cloned().unwrap_or_default();
            (status, fields.keys().cloned().collect::<Vec<_>>().join(" "))
        };

        for (members, field) in [
            (json!({ "status": "in progress" }), "status"),
            (json!({ "status": "hold" }), "status"),
            (json!({ "priority": "critical" }), "priority"),
            (json!({ "assignee_id": 37 }), "assignee"),
            (json!({ "custom_status_id": 1 }), "custom_status_id"),
            (json!({ "comment": { "body": "" } }), "base"),
            (
                json!({ "comment": { "body": "a", "uploads": ["none"] } }),
                "base",
            ),
            (
                json!({ "custom_fields": [{ "id": 27_643, "value": "x" }] }),
                "base",
            ),
        ] {
            assert_eq!(put(members.clone()), (422, field.to_owned()), "{members}");
        }
        assert_eq!(put(json!({ "status": "closed" })).0, 200);
        assert_eq!(put(json!({ "subject": "b" })), (422, "status".to_owned()));
    }

    #[test]
    fn a_comment_is_found_by_the_metadata_of_its_audit() {
        let mut site = Zendesk::default();
        asked(&mut site, "POST", "/api/v2/tickets", &ticket("a"));
        let comment = json!({ "ticket": { "comment": { "body": "hm", "public": false },
            "metadata": { "m": "cmd-1" } } });
        let (_, made) = asked(&mut site, "PUT", "/api/v2/tickets/35001", &comment);

        let path = "/api/v2/tickets/35001/audits?sort=-created_at&page[size]=1";
        let (_, page) = asked(&mut site, "GET", path, &Value::Null);

        assert_eq!(page["audits"][0]["metadata"]["custom"]["m"], "cmd-1");
        assert_eq!(
            page["audits"][0]["events"][0]["id"],
            made["audit"]["events"][0]["id"]
        );
        assert_eq!(page["meta"]["has_more"], true);
        let line = site.ledger(Some("tkt-1")).0.remove(0);
        assert_eq!((line.comments.len(), line.comments[0].public), (1, false));
        assert_eq!(line.history, ["create", "comment"]);
    }

    #[test]
    fn a_stranger_is_nobody_and_a_password_is_no_token() {
        let mut site = Zendesk::default();
        let with = |path: &str, authorization: &str| {
            let mut call = call(
                "GET",
                path,
                &[("authorization", authorization)],
                &Value::Null,
            );
            if authorization.is_empty() {
                call.headers.remove("authorization");
            }
            call
        };
        // YUBiOnM= is a@b:s, YUBiL3Rva2VuOnM= is a@b/token:s.
        for (path, authorization, status, id) in [
            ("/api/v2/users/me", "", 200, None),
            ("/api/v2/users/me", "Basic YUBiOnM=", 200, None),
            ("/api/v2/users/me", "Basic YUBiL3Rva2VuOnM=", 200, Some(ME)),
            ("/api/v2/users/me", "Bearer wrong", 401, None),
            ("/api/v2/tickets", "", 401, None),
        ] {
            let call = with(path, authorization);
            let (found, body) = answered(&mut site, &call, Utc::now());
            assert_eq!(
                (found, body["user"]["id"].as_u64()),
                (status, id),
                "{authorization}"
            );
        }
    }

    #[test]
    fn a_ticket_takes_thirty_updates_in_ten_minutes() {
        let mut site = Zendesk::default();
        asked(&mut site, "POST", "/api/v2/tickets", &ticket("a"));
        let body = json!({ "ticket": { "subject": "b" } });
        let now = Utc::now();
        let mut put = |now| {
            let call = call("PUT", "/api/v2/tickets/35001", &[], &body);
            answered(&mut site, &call, now).0
        };

        assert!((0..30).all(|_| put(now) == 200));
        assert_eq!(put(now), 429);
        assert_eq!(put(now + TimeDelta::minutes(10)), 200);
    }

    #[test]
    fn the_export_goes_on_behind_its_cursor_and_shows_what_was_deleted() {
        let mut site = Zendesk::default();
        for subject in ["a", "b"] {
            asked(&mut site, "POST", "/api/v2/tickets", &ticket(subject));
        }
        let path = "/api/v2/incremental/tickets/cursor?per_page=1&";
        let list = |site: &mut Zendesk, query: &str| {
            let (_, page) = asked(site, "GET", &format!("{path}{query}"), &Value::Null);
            let cursor = page["after_cursor"].as_str().unwrap_or_default().to_owned();
            let first = page["tickets"][0].clone();
            (first, cursor, page["end_of_stream"].clone())
        };

        let (first, cursor, _) = list(&mut site, "start_time=1");
        assert_eq!(first["subject"], "a");
        let (second, cursor, is_last) = list(&mut site, &format!("cursor={cursor}"));
        assert_eq!(
            (second["subject"].as_str(), is_last),
            (Some("b"), json!(true))
        );
        asked(&mut site, "DELETE", "/api/v2/tickets/35001", &Value::Null);
        let (deleted, ..) = list(&mut site, &format!("cursor={cursor}"));
        assert_eq!(deleted["status"], "deleted");
        let (status, _) = asked(&mut site, "GET", "/api/v2/tickets/35001", &Value::Null);
        assert_eq!(status, 404);
        assert_eq!(site.ledger(None).0.len(), 1);
    }
}
