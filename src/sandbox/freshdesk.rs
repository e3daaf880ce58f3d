//! Freshdesk: tickets and conversations of the API, version 2. Written from the vendor's
//! documentation (developers.freshdesk.com/api).
//!
//! | | |
//! | --- | --- |
//! | credentials | Basic authentication whose user is the API key; the password may be anything |
//! | create, update | fields, choices, types, statuses, priorities, agents and groups that are not known are refused, and values of another type; a ticket needs a requester, a subject and a description |
//! | tags | a change sets all of them |
//! | conversation | replies (public) and notes (private unless they say otherwise); in JSON or, with files, in parts |
//! | lists | by change or creation, 100 a page, 300 pages, `Link`; a month of tickets unless `updated_since` says more; the trash by `filter=deleted`; what was made is seen at once |
//! | search | by tag or a custom text field, `search_lag_ms` late, 30 a page |
//! | people | `known+NAME@example.test` is an agent; the listed ones are, if they can be assigned |
//!
//! Not modelled: contacts and companies of their own, automations, mail, time entries, sub-limits
//! of the budget, `include` beyond the description, merges, archives.
//!
//! Limits: 50,000 tickets and 128 MiB a site.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::magic::{People, Person};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{indexed_until, moment, weigh_map};
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, Item, RateHeaders, Refusal, Route, Shelf,
    Tabled, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// The agent that every key belongs to.
const ME: u64 = 6_001_263_404;
/// Bytes of the files of a ticket or comment.
const FILES_MAX: usize = 20 << 20;
const SUBJECT_MAX: usize = 255;
const TAG_MAX: usize = 32;
/// Bytes of a text: more than this is no longer a text of a person.
const TEXT_MAX: usize = 65_535;
const QUERY_MAX: usize = 512;
const PAGES_MAX: usize = 300;
const PAGES: By = By::Number("page", "per_page");

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these API keys are accepted.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// Type and scope of the agent: 1 all tickets, 2 those of its groups, 3 its own.
    agent_type: String,
    ticket_scope: u64,
    group_ids: Vec<u64>,
    /// Agents besides those known by name.
    people: Vec<Person>,
    known_people: bool,
    /// As the API lists them.
    ticket_fields: Vec<Value>,
    /// Whether the agent may list them.
    shows_fields: bool,
    /// Whether conversations are listed with their text.
    shows_bodies: bool,
    /// The search shows a change only so long after it.
    search_lag_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            budget: None,
            agent_type: "support_agent".into(),
            ticket_scope: 1,
            group_ids: vec![156],
            people: Vec::new(),
            known_people: true,
            ticket_fields: default_fields(),
            shows_fields: true,
            shows_bodies: true,
            search_lag_ms: 0,
        }
    }
}

/// The fields of a new account, and some of its own.
fn default_fields() -> Vec<Value> {
    let own = |id: u64, name: &str, kind: &str, required: bool, choices: Value| {
        let mut field = json!({ "id": id, "name": name, "label": name, "type": kind,
            "default": kind.starts_with("default_"),
            "required_for_closure": false, "required_for_agents": required });
        if !choices.is_null() {
            field["choices"] = choices;
        }
        field
    };
    let statuses = json!({
        "2": ["Open", "Being Processed"], "3": ["Pending", "Awaiting your Reply"],
        "4": ["Resolved", "This ticket has been Resolved"], "5": ["Closed",
        "This ticket has been Closed"],
        "6": ["Waiting on Customer", "Awaiting your Reply"], "7": ["Waiting on Third Party",
            "Being Processed"],
    });
    let priorities = json!({ "Low": 1, "Medium": 2, "High": 3, "Urgent": 4 });
    let kinds = json!([
        "Question",
        "Incident",
        "Problem",
        "Feature Request",
        "Refund"
    ]);
    vec![
        own(1, "requester", "default_requester", true, Value::Null),
        own(2, "subject", "default_subject", true, Value::Null),
        own(3, "ticket_type", "default_ticket_type", false, kinds),
        own(4, "status", "default_status", true, statuses),
        own(5, "priority", "default_priority", true, priorities),
        own(
            6,
            "group",
            "default_group",
            false,
            json!({ "Support": 156 }),
        ),
        own(
            7,
            "agent",
            "default_agent",
            false,
            json!({ "Ticketwire": ME }),
        ),
        own(8, "description", "default_description", true, Value::Null),
        own(21, "cf_external_ref", "custom_text", false, Value::Null),
        own(
            22,
            "cf_plan",
            "custom_dropdown",
            false,
            json!(["Basic", "Gold"]),
        ),
        own(23, "cf_seats", "custom_number", false, Value::Null),
        own(24, "cf_vip", "custom_checkbox", false, Value::Null),
        own(25, "cf_due", "custom_date", false, Value::Null),
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

/// A reply or a note.
#[derive(Debug, Clone)]
struct Said {
    id: u64,
    html: String,
    private: bool,
    source: u64,
    files: Vec<LedgerFile>,
    at: DateTime<Utc>,
}

/// A ticket.
#[derive(Debug, Default)]
struct Ticket {
    /// As they were sent, but for tags and custom fields.
    members: Map<String, Value>,
    tags: Vec<String>,
    fields: Map<String, Value>,
    said: Vec<Said>,
    files: Vec<LedgerFile>,
    is_deleted: bool,
}

impl Ticket {
    fn text(&self, name: &str) -> &str {
        self.members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Item for Ticket {
    /// What the search and the ledger find it by.
    fn tags(&self) -> Vec<String> {
        let fields = self.fields.values().filter_map(Value::as_str);
        fields
            .map(str::to_owned)
            .chain(self.tags.iter().cloned())
            .collect()
    }

    fn weight(&self) -> usize {
        let said = self.said.iter().map(|said| said.html.len() + 200);
        weigh_map(&self.members) + weigh_map(&self.fields) + said.sum::<usize>()
    }
}

/// One account.
pub(super) struct Freshdesk {
    common: Common<Settings>,
    tickets: Shelf<Ticket>,
    /// Of conversations and files.
    next_id: u64,
}

impl Default for Freshdesk {
    fn default() -> Self {
        Self {
            common: Common::default(),
            tickets: Shelf::new(50_000, 128 << 20, 47),
            next_id: 5_000,
        }
    }
}

fn has_files(call: &Call) -> bool {
    call.parts.iter().any(|part| part.name == "attachments[]")
}

fn only_sets(call: &Call, names: &[&str]) -> bool {
    let members = call.json.as_ref().and_then(Value::as_object);
    members.is_some_and(|members| {
        members.contains_key(names[0]) && members.keys().all(|name| names.contains(&name.as_str()))
    })
}

fn sets_status(call: &Call) -> bool {
    only_sets(call, &["status", "tags"])
}

fn assigns(call: &Call) -> bool {
    only_sets(call, &["responder_id"])
}

impl Tabled for Freshdesk {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        view("GET", "/api/v2/agents/me", "agents_me", Self::myself),
        view("GET", "/api/v2/agents", "find_agent", Self::agents),
        view("GET", "/api/v2/ticket_fields", "list_fields", Self::list_fields),
        view("GET", "/api/v2/search/tickets", "search_tickets", Self::search),
        view("GET", "/api/v2/tickets", "list_tickets", Self::list),
        route("POST", "/api/v2/tickets", "create_ticket", Self::create),
        view("GET", "/api/v2/tickets/*", "get_ticket", Self::get),
        route("PUT", "/api/v2/tickets/*", "set_status", Self::update).when(sets_status),
        route("PUT", "/api/v2/tickets/*", "assign", Self::update).when(assigns),
        route("PUT", "/api/v2/tickets/*", "update_ticket", Self::update),
        route("DELETE", "/api/v2/tickets/*", "delete_ticket", Self::delete),
        view("GET", "/api/v2/tickets/*/conversations", "list_conversations", Self::conversations),
        route("POST", "/api/v2/tickets/*/reply", "reply", Self::reply),
        route("POST", "/api/v2/tickets/*/notes", "attach", Self::note).when(has_files),
        route("POST", "/api/v2/tickets/*/notes", "add_note", Self::note),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::BasicUser];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "X-RateLimit-Total",
        remaining: "X-RateLimit-Remaining",
        reset: "",
        reset_in: Reset::Seconds,
        retry_after: true,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let call = hit.call;
        let has_body = matches!(call.method.as_str(), "POST" | "PUT");
        if !has_body || !call.parts.is_empty() {
            return None;
        }
        if !call.declares_json() {
            return Some(said(
                415,
                "invalid_content_type",
                "Content-Type header is invalid",
            ));
        }
        let is_object = call.json.as_ref().is_some_and(Value::is_object);
        (!is_object).then(|| said(400, "invalid_json", "Request body has invalid json format"))
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Expired | Refusal::Status(401) => {
                let why = "You have to be logged in to perform this action.";
                said(401, "invalid_credentials", why)
            }
            Refusal::Forbidden | Refusal::Status(403) => {
                let why = "You are not authorized to perform this action.";
                said(403, "access_denied", why)
            }
            Refusal::NoPath | Refusal::Status(404) => gone(),
            Refusal::OtherMethods(methods) => {
                let methods = methods.join(", ");
                let why = format!(
                    "{} method is not allowed. It should be one of these method(s): {methods}",
                    call.method
                );
                Answer::json(405, json!({ "message": why })).header("Allow", &methods)
            }
            Refusal::Budget(_) | Refusal::Status(429) => Answer::json(
                429,
                json!({ "message": "You have exceeded the limit of requests per minute" }),
            ),
            Refusal::Status(status @ (400 | 409 | 422)) => refused(
                *status,
                &[fault("subject", "is refused on demand", "invalid_value")],
            ),
            Refusal::Status(status) => {
                Answer::json(*status, json!({ "message": "a fault on demand" }))
            }
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let there = |ticket: &&Entry<Ticket>| !ticket.is_deleted;
        let lines = match label {
            Some(label) => self.tickets.tagged(label).filter(there).map(line).collect(),
            None => self.tickets.all().filter(there).map(line).collect(),
        };
        (lines, self.tickets.ledger(Some(""), line).1)
    }
}

/// A ticket as the ledger has it. What it is found by is among its labels.
fn line(ticket: &Entry<Ticket>) -> LedgerIssue {
    let number = |name: &str| ticket.members.get(name).map(Value::to_string);
    let mut fields = ticket.fields.clone();
    fields.extend(ticket.members.clone());
    let said = ticket.said.iter();
    LedgerIssue {
        summary: ticket.text("subject").to_owned(),
        description: ticket.text("description").into(),
        issue_type: ticket.text("type").to_owned(),
        status: number("status").unwrap_or_default(),
        priority: number("priority"),
        assignee: ticket
            .members
            .get("responder_id")
            .and_then(Value::as_u64)
            .map(|id| id.to_string()),
        labels: ticket.item.tags(),
        fields,
        comments: said
            .clone()
            .map(|said| LedgerComment {
                id: said.id.to_string(),
                body: said.html.clone().into(),
                public: !said.private,
                created: moment(said.at),
                ..LedgerComment::default()
            })
            .collect(),
        attachments: ticket
            .files
            .iter()
            .chain(said.flat_map(|said| &said.files))
            .cloned()
            .collect(),
        ..ticket.line()
    }
}

// How it refuses.

fn said(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, json!({ "code": code, "message": message }))
}

/// What is not there is said without a word.
fn gone() -> Answer {
    Answer::empty(404)
}

/// A field, what is wrong with it, and by which code.
type Fault = (String, String, &'static str);

fn fault(field: &str, message: impl Into<String>, code: &'static str) -> Fault {
    (field.to_owned(), message.into(), code)
}

fn refused(status: u16, faults: &[Fault]) -> Answer {
    let errors = faults
        .iter()
        .map(|(field, message, code)| json!({ "field": field, "message": message, "code": code }));
    let errors: Vec<Value> = errors.collect();
    Answer::json(
        status,
        json!({ "description": "Validation failed", "errors": errors }),
    )
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// HTML without its tags.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for (index, part) in html.split('<').enumerate() {
        match part.split_once('>') {
            Some((tag, rest)) if index > 0 => {
                if tag == "/p" || tag.starts_with("br") {
                    text.push('\n');
                }
                text.push_str(rest);
            }
            _ => text.push_str(part),
        }
    }
    let codes = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    let text = codes
        .iter()
        .fold(text, |text, (code, sign)| text.replace(code, sign));
    text.trim().to_owned()
}

/// A ticket as the API shows it.
fn shown(ticket: &Entry<Ticket>, with_description: bool) -> Value {
    let member = |name: &str| ticket.members.get(name).cloned().unwrap_or_default();
    let mut shown = json!({
        "id": ticket.number, "subject": member("subject"), "status": member("status"),
        "priority": member("priority"),
        "type": member("type"), "source": 2, "spam": false, "responder_id": member("responder_id"),
        "group_id": member("group_id"), "requester_id": ME + 1, "tags": ticket.tags,
        "custom_fields": ticket.fields,
        "created_at": seconds(ticket.created), "updated_at": seconds(ticket.updated),
    });
    if ticket.is_deleted {
        shown["deleted"] = true.into();
    }
    if with_description {
        shown["description"] = member("description");
        shown["description_text"] = plain(ticket.text("description")).into();
    }
    shown
}

fn shown_file(file: &LedgerFile) -> Value {
    json!({ "id": file.id.parse::<u64>().unwrap_or_default(), "name": file.name,
        "content_type": file.media_type,
        "size": file.size, "attachment_url": "https://s3.example.test/file" })
}

fn shown_said(one: &Said, ticket: u64, with_text: bool) -> Value {
    let files: Vec<Value> = one.files.iter().map(shown_file).collect();
    let mut shown = json!({
        "id": one.id, "incoming": false, "private": one.private, "user_id": ME,
        "source": one.source,
        "ticket_id": ticket, "created_at": seconds(one.at), "updated_at": seconds(one.at),
        "attachments": files,
    });
    if with_text {
        shown["body"] = one.html.as_str().into();
        shown["body_text"] = plain(&one.html).into();
    }
    shown
}

// What it does.
impl Freshdesk {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn people(&self) -> People<'_> {
        People {
            listed: &self.common.settings.people,
            with_known: self.common.settings.known_people,
        }
    }

    fn myself(&self, _: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        let contact = json!({ "name": "Ticketwire", "email": "bot@example.test", "active": true });
        let agent = json!({ "id": ME, "type": settings.agent_type, "occasional": false,
            "contact": contact,
            "ticket_scope": settings.ticket_scope, "group_ids": settings.group_ids,
            "role_ids": [1] });
        Answer::json(200, agent)
    }

    fn agents(&self, hit: &Hit<'_>) -> Answer {
        let email = hit.call.param("email").unwrap_or_default();
        let found = self
            .people()
            .by_email(email)
            .filter(|person| person.assignable);
        let shown = |person: Person| {
            let contact =
                json!({ "name": person.display_name, "email": person.email, "active": true });
            json!({ "id": person.number(), "type": "support_agent", "available": true,
                "contact": contact })
        };
        Answer::json(200, found.into_iter().map(shown).collect())
    }

    fn list_fields(&self, hit: &Hit<'_>) -> Answer {
        if !self.common.settings.shows_fields {
            return self.refuse(&Refusal::Forbidden, hit.call, hit.now);
        }
        Answer::json(200, self.common.settings.ticket_fields.clone().into())
    }

    /// Whether the agent sees a ticket.
    fn sees(&self, ticket: &Ticket) -> bool {
        let settings = &self.common.settings;
        let number = |name: &str| ticket.members.get(name).and_then(Value::as_u64);
        match settings.ticket_scope {
            1 => true,
            2 => number("group_id").is_some_and(|group| settings.group_ids.contains(&group)),
            _ => number("responder_id") == Some(ME),
        }
    }

    fn ticket(&self, hit: &Hit<'_>) -> Option<&Entry<Ticket>> {
        self.tickets
            .find(hit.arg(0))
            .filter(|ticket| !ticket.is_deleted)
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        match self.tickets.find(hit.arg(0)) {
            Some(ticket) => Answer::json(200, shown(ticket, true)),
            None => gone(),
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let order = call.param("order_by").unwrap_or("created_at");
        let direction = call.param("order_type").unwrap_or("desc");
        let mut faults = Vec::new();
        let mut among = |field: &str, value: &str, all: &[&str]| {
            if !all.contains(&value) {
                let why = format!("It should be one of these values: '{}'", all.join(","));
                faults.push(fault(field, why, "invalid_value"));
            }
        };
        among(
            "order_by",
            order,
            &["created_at", "due_by", "updated_at", "status"],
        );
        among("order_type", direction, &["asc", "desc"]);
        let filter = call.param("filter").unwrap_or_default();
        among(
            "filter",
            filter,
            &["", "new_and_my_open", "watching", "spam", "deleted"],
        );
        let since = call
            .param("updated_since")
            .map(DateTime::parse_from_rfc3339);
        if let Some(Err(_)) = since {
            faults.push(fault(
                "updated_since",
                "It should be in the 'combined date and time ISO8601' format",
                "invalid_date",
            ));
        }
        let size = call.number("per_page", 30);
        if !(1..=100).contains(&size) {
            faults.push(fault(
                "per_page",
                "It should be a Positive Integer less than or equal to 100",
                "invalid_value",
            ));
        }
        if call.number("page", 1) > PAGES_MAX {
            faults.push(fault(
                "page",
                "You cannot list more than 300 pages",
                "invalid_value",
            ));
        }
        if !faults.is_empty() {
            return refused(400, &faults);
        }
        let since = since.and_then(Result::ok).map(|at| at.to_utc());
        let is_listed = |ticket: &&Entry<Ticket>| {
            let is_new = match since {
                Some(since) => ticket.updated >= since,
                None => ticket.created >= hit.now - TimeDelta::days(30),
            };
            is_new && ticket.is_deleted == (filter == "deleted") && self.sees(ticket)
        };
        let mut all: Vec<&Entry<Ticket>> = self.tickets.all().filter(is_listed).collect();
        match order {
            "updated_at" => all.sort_by_key(|ticket| (ticket.updated, ticket.number)),
            _ => all.sort_by_key(|ticket| ticket.number),
        }
        if direction == "desc" {
            all.reverse();
        }
        let with_description = call.lists("include", "description");
        let all = all
            .into_iter()
            .map(|ticket| shown(ticket, with_description));
        paged(call, all.collect())
    }

    fn search(&self, hit: &Hit<'_>) -> Answer {
        let query = hit.call.param("query").unwrap_or_default();
        let inner = query
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let pair = inner.and_then(|inner| inner.split_once(':'));
        let term = pair.and_then(|(name, value)| {
            let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name, value))
        });
        let Some((name, value)) = term.filter(|_| query.len() <= QUERY_MAX) else {
            let why = "Given query is invalid. A valid query must be in double quotes";
            return refused(400, &[fault("query", why, "invalid_value")]);
        };
        let is_field = self
            .field(name)
            .is_some_and(|field| field["type"] == "custom_text");
        if name != "tag" && !is_field {
            let why = "Unexpected/invalid field in request";
            return refused(400, &[fault(name, why, "invalid_field")]);
        }
        let seen = indexed_until(self.common.settings.search_lag_ms, hit.now);
        let is_it = |ticket: &&Entry<Ticket>| match name {
            "tag" => ticket.tags.iter().any(|tag| tag == value),
            _ => ticket.fields.get(name).and_then(Value::as_str) == Some(value),
        };
        let found = self.tickets.tagged(value).filter(is_it);
        let found = found
            .filter(|ticket| !ticket.is_deleted && ticket.updated <= seen && self.sees(ticket));
        let results: Vec<Value> = found.take(30).map(|ticket| shown(ticket, true)).collect();
        Answer::json(200, json!({ "total": results.len(), "results": results }))
    }

    /// A field of the account.
    fn field(&self, name: &str) -> Option<&Value> {
        let mut fields = self.common.settings.ticket_fields.iter();
        fields.find(|field| field["name"] == name)
    }

    /// What is wrong with the members of a ticket.
    fn faults(&self, wanted: &Map<String, Value>, is_new: bool) -> Vec<Fault> {
        const KNOWN: [&str; 13] = [
            "subject",
            "description",
            "email",
            "name",
            "requester_id",
            "status",
            "priority",
            "type",
            "tags",
            "group_id",
            "responder_id",
            "source",
            "custom_fields",
        ];
        let mut faults = Vec::new();
        for name in wanted.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            faults.push(fault(
                name,
                "Unexpected/invalid field in request",
                "invalid_field",
            ));
        }
        let text = |name: &str| wanted.get(name).and_then(Value::as_str);
        for name in ["subject", "description", "email", "name"] {
            if wanted.get(name).is_some_and(|value| !value.is_string()) {
                faults.push(fault(
                    name,
                    "Value set is of type Null. It should be a/an String",
                    "datatype_mismatch",
                ));
            }
        }
        for name in ["subject", "description"] {
            let is_blank = match wanted.get(name) {
                Some(value) => value.as_str().is_some_and(|text| text.trim().is_empty()),
                None => is_new,
            };
            if is_blank {
                faults.push(fault(
                    name,
                    "It should not be blank as this is a mandatory field",
                    "missing_field",
                ));
            }
        }
        if text("subject").is_some_and(|subject| subject.chars().count() > SUBJECT_MAX) {
            faults.push(fault(
                "subject",
                "Has more than 255 characters, it can have maximum of 255 characters",
                "invalid_value",
            ));
        }
        if text("description").is_some_and(|text| text.len() > TEXT_MAX) {
            faults.push(fault("description", "is too long", "invalid_value"));
        }
        match text("email") {
            Some(email) if !email.contains('@') || email.contains(char::is_whitespace) => {
                faults.push(fault(
                    "email",
                    "It should be a valid email address",
                    "invalid_value",
                ));
            }
            None if is_new && !wanted.contains_key("requester_id") => {
                let why = "One of the following fields is needed: requester_id, phone, email, \
                           twitter_id, facebook_id";
                faults.push(fault("requester_id", why, "missing_field"));
            }
            Some(_) | None => {}
        }
        self.choice_faults(wanted, &mut faults);
        let tags = wanted.get("tags").and_then(Value::as_array);
        let fits = |tag: &Value| {
            tag.as_str().is_some_and(|tag| {
                !tag.is_empty() && !tag.contains(',') && tag.chars().count() <= TAG_MAX
            })
        };
        if !tags.is_none_or(|tags| tags.iter().all(fits)) {
            faults.push(fault(
                "tags",
                "It should only contain elements that have maximum of 32 characters",
                "invalid_value",
            ));
        }
        let own = wanted.get("custom_fields").and_then(Value::as_object);
        for (name, value) in own.into_iter().flatten() {
            faults.extend(self.field_fault(name, value));
        }
        faults
    }

    /// Statuses, priorities, types, agents and groups that are not known.
    fn choice_faults(&self, wanted: &Map<String, Value>, faults: &mut Vec<Fault>) {
        let keys = |name: &str| -> Vec<String> {
            let choices = self.field(name).map(|field| &field["choices"]);
            let map = choices.and_then(Value::as_object).into_iter().flatten();
            map.map(|(key, _)| key.clone()).collect()
        };
        let mut number = |name: &str, is_known: bool, all: &str| {
            if let Some(value) = wanted.get(name) {
                if !value.is_u64() {
                    let why = format!("It should be one of these values: '{all}'");
                    faults.push(fault(name, why, "datatype_mismatch"));
                } else if !is_known {
                    let why = format!("It should be one of these values: '{all}'");
                    faults.push(fault(name, why, "invalid_value"));
                }
            }
        };
        let given = |name: &str| wanted.get(name).and_then(Value::as_u64);
        let statuses = keys("status");
        let status = given("status").map(|status| status.to_string());
        number(
            "status",
            status.is_none_or(|status| statuses.contains(&status)),
            &statuses.join(","),
        );
        number(
            "priority",
            given("priority").is_none_or(|own| (1..=4).contains(&own)),
            "1,2,3,4",
        );
        let kinds = self
            .field("ticket_type")
            .and_then(|field| field["choices"].as_array());
        if let Some(kind) = wanted.get("type").filter(|kind| !kind.is_null())
            && !kinds.is_some_and(|kinds| kinds.contains(kind))
        {
            let all: Vec<&str> = kinds
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let why = format!("It should be one of these values: '{}'", all.join(","));
            faults.push(fault("type", why, "invalid_value"));
        }
        if let Some(agent) = wanted.get("responder_id").filter(|agent| !agent.is_null()) {
            let known = agent.as_u64().filter(|id| *id != ME);
            let person = known.map(|id| self.people().by_number(id));
            let is_agent =
                person.is_none_or(|person| person.is_some_and(|person| person.assignable));
            if !is_agent || !agent.is_u64() {
                faults.push(fault(
                    "responder_id",
                    "There is no agent matching the given responder_id",
                    "invalid_value",
                ));
            }
        }
        if let Some(group) = wanted.get("group_id").filter(|group| !group.is_null()) {
            let groups = self
                .field("group")
                .and_then(|field| field["choices"].as_object());
            if !groups.is_some_and(|groups| groups.values().any(|id| id == group)) {
                faults.push(fault(
                    "group_id",
                    "There is no group matching the given group_id",
                    "invalid_value",
                ));
            }
        }
    }

    /// What is wrong with the value of a custom field: types are strict.
    fn field_fault(&self, name: &str, value: &Value) -> Option<Fault> {
        let Some(field) = self.field(name).filter(|field| field["default"] == false) else {
            let why = "Unexpected/invalid field in request";
            return Some(fault(
                &format!("custom_fields.{name}"),
                why,
                "invalid_field",
            ));
        };
        let kind = field["type"].as_str().unwrap_or_default();
        let is_date = || {
            value
                .as_str()
                .is_some_and(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok())
        };
        let choices = || {
            field["choices"]
                .as_array()
                .is_some_and(|all| all.contains(value))
        };
        let fits = value.is_null()
            || match kind {
                "custom_number" => value.is_i64() || value.is_u64(),
                "custom_decimal" => value.is_number(),
                "custom_checkbox" => value.is_boolean(),
                "custom_date" => is_date(),
                "custom_dropdown" => choices(),
                _ => value
                    .as_str()
                    .is_some_and(|text| kind != "custom_text" || text.len() <= 255),
            };
        let code = if value.is_string() {
            "invalid_value"
        } else {
            "datatype_mismatch"
        };
        (!fits).then(|| {
            fault(
                &format!("custom_fields.{name}"),
                format!("{value} is not valid"),
                code,
            )
        })
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(wanted) = hit.call.json.as_ref().and_then(Value::as_object) else {
            return said(
                415,
                "invalid_content_type",
                "the sandbox takes tickets in JSON",
            );
        };
        let faults = self.faults(wanted, true);
        if !faults.is_empty() {
            return refused(400, &faults);
        }
        let mut ticket = Ticket::default();
        ticket.members.insert("status".into(), 2.into());
        ticket.members.insert("priority".into(), 1.into());
        set(&mut ticket, wanted);
        let ticket = self.tickets.add(ticket, hit.now);
        let url = format!("{}/api/v2/tickets/{}", hit.call.base, ticket.id);
        let mut body = shown(ticket, true);
        body["attachments"] = json!([]);
        Answer::json(201, body).header("Location", &url).mutated()
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        if self.ticket(hit).is_none() {
            return gone();
        }
        let wanted = hit.call.json.as_ref().and_then(Value::as_object);
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return said(400, "missing_field", "The request body is empty");
        };
        let faults = self.faults(wanted, false);
        if !faults.is_empty() {
            return refused(400, &faults);
        }
        let changed = self.tickets.change(hit.arg(0), |ticket| {
            set(&mut ticket.item, wanted);
            ticket.note(hit.operation, hit.now);
            shown(ticket, true)
        });
        changed.map_or_else(gone, |ticket| Answer::json(200, ticket).mutated())
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

    fn conversations(&self, hit: &Hit<'_>) -> Answer {
        let Some(ticket) = self.ticket(hit) else {
            return gone();
        };
        let with_text = self.common.settings.shows_bodies;
        let said = ticket.said.iter();
        let all = said.map(|one| shown_said(one, ticket.number, with_text));
        paged(hit.call, all.collect())
    }

    fn reply(&mut self, hit: &Hit<'_>) -> Answer {
        self.say(hit, false, 0)
    }

    /// It is private unless it says otherwise.
    fn note(&mut self, hit: &Hit<'_>) -> Answer {
        let in_json = hit.call.at("/private").as_bool();
        let in_parts = hit.call.part("private").and_then(|part| part.text());
        let private = in_json.unwrap_or(in_parts != Some("false"));
        self.say(hit, private, 2)
    }

    fn say(&mut self, hit: &Hit<'_>, private: bool, source: u64) -> Answer {
        let Some(ticket) = self.ticket(hit) else {
            return gone();
        };
        let number = ticket.number;
        let html = hit.call.field("body").to_owned();
        if html.trim().is_empty() {
            let why = "It should not be blank as this is a mandatory field";
            return refused(400, &[fault("body", why, "missing_field")]);
        }
        if html.len() > TEXT_MAX {
            return refused(400, &[fault("body", "is too long", "invalid_value")]);
        }
        let parts = hit
            .call
            .parts
            .iter()
            .filter(|part| part.name == "attachments[]");
        let mut files = Vec::new();
        for part in parts {
            let Some(name) = part.file_name.as_deref() else {
                let why = "It should be a/an Array of valid files";
                return refused(400, &[fault("attachments", why, "datatype_mismatch")]);
            };
            let media_type = part.media_type.as_deref().unwrap_or_default();
            let mut file = LedgerFile::of(name, media_type, &part.bytes);
            file.id = self.id().to_string();
            file.created = moment(hit.now);
            files.push(file);
        }
        let size: u64 = files.iter().map(|file| file.size).sum();
        if usize::try_from(size).is_ok_and(|size| size > FILES_MAX) {
            let why = "The total size of attachments should be less than 20 MB";
            return refused(400, &[fault("attachments", why, "invalid_size")]);
        }
        let one = Said {
            id: self.id(),
            html,
            private,
            source,
            files,
            at: hit.now,
        };
        let shown = shown_said(&one, number, true);
        self.tickets
            .grow(hit.arg(0), one.html.len() + 200, |ticket| {
                ticket.said.push(one);
                ticket.note(hit.operation, hit.now);
            });
        Answer::json(201, shown).mutated()
    }
}

/// A page of a listing, with `Link` to the next.
fn paged(call: &Call, all: Vec<Value>) -> Answer {
    let Some(page) = PAGES.page(call, all, 30, 100) else {
        return gone();
    };
    let next = page.next_url(call, PAGES);
    let answer = Answer::json(200, page.items.into());
    match next {
        Some(next) => answer.header("link", &format!("<{next}>; rel=\"next\"")),
        None => answer,
    }
}

/// Sets the members of a ticket: all tags, and custom fields one by one.
fn set(ticket: &mut Ticket, wanted: &Map<String, Value>) {
    for (name, value) in wanted {
        match name.as_str() {
            "tags" => {
                let tags = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                ticket.tags = tags.map(str::to_owned).collect();
            }
            "custom_fields" => {
                let fields = value.as_object().into_iter().flatten();
                ticket
                    .fields
                    .extend(fields.map(|(name, value)| (name.clone(), value.clone())));
            }
            _ => drop(ticket.members.insert(name.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method};
    use bytes::Bytes;

    use super::super::answer::Body;
    use super::super::fake::Fake;
    use super::*;

    fn asked(site: &mut Freshdesk, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        // key:X
        headers.insert("authorization", HeaderValue::from_static("Basic a2V5Olg="));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let bytes = Bytes::from(body.to_string());
        let call = Call::new(method, path, query, headers, bytes, "http://h".to_owned());
        let answer = site.answer(&call, Utc::now());
        match answer.body {
            Body::Json(body) => (answer.status, body),
            _ => (answer.status, Value::Null),
        }
    }

    fn ticket(more: &Value) -> Value {
        let mut ticket = json!({ "subject": "a", "description": "<p>b</p>",
            "email": "ann@example.test", "status": 2, "priority": 1 });
        ticket
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ticket
    }

    #[test]
    fn what_is_not_known_or_of_another_type_is_refused_by_its_field() {
        let mut site = Freshdesk::default();
        for (more, field, code) in [
            (json!({ "status": 9 }), "status", "invalid_value"),
            (json!({ "status": "2" }), "status", "datatype_mismatch"),
            (json!({ "priority": 5 }), "priority", "invalid_value"),
            (json!({ "type": "Bug" }), "type", "invalid_value"),
            (json!({ "email": "ann" }), "email", "invalid_value"),
            (
                json!({ "responder_id": 37 }),
                "responder_id",
                "invalid_value",
            ),
            (json!({ "group_id": 1 }), "group_id", "invalid_value"),
            (json!({ "tags": ["a,b"] }), "tags", "invalid_value"),
            (json!({ "subject": "" }), "subject", "missing_field"),
            (
                json!({ "external_id": "x" }),
                "external_id",
                "invalid_field",
            ),
            (
                json!({ "custom_fields": { "cf_seats": "3" } }),
                "custom_fields.cf_seats",
                "invalid_value",
            ),
            (
                json!({ "custom_fields": { "cf_plan": "Iron" } }),
                "custom_fields.cf_plan",
                "invalid_value",
            ),
            (
                json!({ "custom_fields": { "cf_none": 1 } }),
                "custom_fields.cf_none",
                "invalid_field",
            ),
        ] {
            let (status, body) = asked(&mut site, "POST", "/api/v2/tickets", &ticket(&more));
            assert_eq!(
                (status, &body["errors"][0]["field"]),
                (400, &json!(field)),
                "{more}: {body}"
            );
            assert_eq!(body["errors"][0]["code"], code, "{more}");
        }
        let mut nobody = ticket(&json!({}));
        nobody.as_object_mut().unwrap().remove("email");
        let (_, body) = asked(&mut site, "POST", "/api/v2/tickets", &nobody);
        assert_eq!(body["errors"][0]["field"], "requester_id");
        assert!(site.ledger(None).0.is_empty());
    }

    #[test]
    fn a_change_sets_all_tags_and_a_list_shows_it_at_once() {
        let mut site = Freshdesk::default();
        asked(
            &mut site,
            "POST",
            "/api/v2/tickets",
            &ticket(&json!({ "tags": ["t-1", "vip"] })),
        );
        asked(
            &mut site,
            "PUT",
            "/api/v2/tickets/47",
            &json!({ "tags": ["x"] }),
        );

        let (_, page) = asked(
            &mut site,
            "GET",
            "/api/v2/tickets?updated_since=2020-01-01T00:00:00Z",
            &Value::Null,
        );
        assert_eq!(page[0]["tags"], json!(["x"]));
        assert!(
            page[0]["description"].is_null(),
            "a list shows none unless it is asked to"
        );
        let (_, found) = asked(
            &mut site,
            "GET",
            "/api/v2/search/tickets?query=%22tag:%27x%27%22",
            &Value::Null,
        );
        assert_eq!(found["results"][0]["id"], 47);
        let (status, _) = asked(
            &mut site,
            "GET",
            "/api/v2/search/tickets?query=tag:x",
            &Value::Null,
        );
        assert_eq!(status, 400);
    }

    #[test]
    fn a_note_is_private_unless_it_says_otherwise_and_the_trash_is_a_list_of_its_own() {
        let mut site = Freshdesk::default();
        asked(&mut site, "POST", "/api/v2/tickets", &ticket(&json!({})));
        for body in [
            json!({ "body": "a" }),
            json!({ "body": "b", "private": false }),
        ] {
            assert_eq!(
                asked(&mut site, "POST", "/api/v2/tickets/47/notes", &body).0,
                201
            );
        }
        let said: Vec<bool> = site.ledger(None).0[0]
            .comments
            .iter()
            .map(|said| said.public)
            .collect();
        assert_eq!(said, [false, true]);

        assert_eq!(
            asked(&mut site, "DELETE", "/api/v2/tickets/47", &Value::Null).0,
            204
        );
        let (_, page) = asked(
            &mut site,
            "GET",
            "/api/v2/tickets?filter=deleted",
            &Value::Null,
        );
        assert_eq!(page[0]["deleted"], true);
        let (_, page) = asked(&mut site, "GET", "/api/v2/tickets", &Value::Null);
        assert_eq!(page, json!([]));
        let (status, body) = asked(&mut site, "GET", "/api/v2/tickets/9", &Value::Null);
        assert_eq!((status, body), (404, Value::Null));
    }
}
