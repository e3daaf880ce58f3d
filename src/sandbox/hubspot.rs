//! HubSpot: the CRM's tickets and notes, date versions. Written from HubSpot's OpenAPI files and
//! guides.
//!
//! | | |
//! | --- | --- |
//! | credentials | any bearer token; `/oauth/2026-03/token` refreshes, and its tokens end |
//! | versions | those of the setting `versions`; numbered paths are not there |
//! | properties | those of the setting; what is not one, no option, no number, no owner, no stage of its pipeline or read-only is refused, as JSON within `message`; all values are text |
//! | upsert | by a property with unique values; a refusal is a 400, or a 207 with `partial_failures` |
//! | search | `search_lag_ms` late; `search_cap` results of a query, 3,000 characters, `search_budget` |
//! | people | `known+NAME@example.test` is a user and a contact |
//! | notes | a file of a note counts as one of its ticket in the ledger; a note changes its ticket |
//!
//! Not modelled: companies, deals, conversations, webhooks, merging, the recycling bin. 50,000
//! tickets and 128 MiB a site; 100,000 notes and files.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::Rules;
use super::kit::magic::{People, Person};
use super::kit::rate::Reset;
use super::kit::shelf::{indexed_until, moment, weigh_map};
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, Item, Meter, RateHeaders, Refusal, Route,
    Shelf, Tabled, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// The account, and whom tokens belong to.
const PORTAL: u64 = 62_515;
/// Characters of a text and of a search's body.
const TEXT_MAX: usize = 65_536;
const QUERY_MAX: usize = 3_000;
/// Inputs of a batch, results of a page.
const BATCH_MAX: usize = 100;
const PAGE_MAX: usize = 200;
/// Notes and files that are kept.
const KEPT_MAX: usize = 100_000;
/// Associations of HubSpot's own.
const NOTE_TO_TICKET: u64 = 228;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these tokens are accepted.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// Searches that are taken.
    search_budget: Option<Budget>,
    /// Results of a query that the search shows, and how late it is.
    search_cap: usize,
    search_lag_ms: u64,
    /// Most results of a page of the search.
    search_page: usize,
    /// Life of an access token.
    access_token_seconds: i64,
    versions: Vec<String>,
    /// As the API lists them.
    pipelines: Vec<Value>,
    properties: Vec<Value>,
    /// Properties that a rule of the administrator's demands.
    required: Vec<String>,
    /// Whether a batch that is refused is a success with errors in it.
    partial_failures: bool,
    /// Whether notes show their text.
    note_bodies: bool,
    /// Users and contacts besides those known by name.
    people: Vec<Person>,
    known_people: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            budget: None,
            search_budget: Some(Budget {
                requests: 5,
                seconds: 1,
            }),
            search_cap: 10_000,
            search_lag_ms: 0,
            search_page: PAGE_MAX,
            access_token_seconds: 1_800,
            versions: vec!["2026-03".into(), "2026-09".into()],
            pipelines: vec![pipeline(
                "0",
                "Support Pipeline",
                &[
                    ("1", "New", "OPEN"),
                    ("2", "Waiting on contact", "OPEN"),
                    ("3", "Waiting on us", "OPEN"),
                    ("4", "Closed", "CLOSED"),
                ],
            )],
            properties: default_properties(),
            required: Vec::new(),
            partial_failures: false,
            note_bodies: true,
            people: Vec::new(),
            known_people: true,
        }
    }
}

fn pipeline(id: &str, label: &str, stages: &[(&str, &str, &str)]) -> Value {
    let stages = stages
        .iter()
        .enumerate()
        .map(|(order, (id, label, state))| {
            json!({ "id": id, "label": label, "displayOrder": order, "archived": false,
            "metadata": { "ticketState": state, "isClosed": (*state == "CLOSED").to_string() } })
        });
    let stages: Vec<Value> = stages.collect();
    json!({ "id": id, "label": label, "displayOrder": 0, "stages": stages, "archived": false })
}

/// HubSpot's own, a unique one, and one of each kind.
fn default_properties() -> Vec<Value> {
    let property = |name: &str, label: &str, kind: &str, field: &str, is_own: bool| {
        json!({ "name": name, "label": label, "type": kind, "fieldType": field,
            "groupName": "ticketinformation",
            "hubspotDefined": is_own, "hasUniqueValue": name == "external_ticket_id",
            "hidden": false, "options": [],
            "modificationMetadata": {
                "readOnlyValue": name == "createdate" || name == "hs_lastmodifieddate" } })
    };
    let with = |mut property: Value, options: &[(&str, &str)]| {
        let options = options.iter().enumerate().map(|(order, (label, value))| {
            json!({ "label": label, "value": value, "displayOrder": order, "hidden": false })
        });
        property["options"] = options.collect();
        property
    };
    let levels = [
        ("Low", "LOW"),
        ("Medium", "MEDIUM"),
        ("High", "HIGH"),
        ("Urgent", "URGENT"),
    ];
    let kinds = [
        ("Product issue", "PRODUCT_ISSUE"),
        ("Billing issue", "BILLING_ISSUE"),
        ("Feature request", "FEATURE_REQUEST"),
        ("General inquiry", "GENERAL_INQUIRY"),
    ];
    vec![
        property("subject", "Ticket name", "string", "text", true),
        property("content", "Ticket description", "string", "textarea", true),
        property("hs_pipeline", "Pipeline", "enumeration", "select", true),
        property(
            "hs_pipeline_stage",
            "Ticket status",
            "enumeration",
            "select",
            true,
        ),
        with(
            property(
                "hs_ticket_priority",
                "Priority",
                "enumeration",
                "select",
                true,
            ),
            &levels,
        ),
        with(
            property(
                "hs_ticket_category",
                "Category",
                "enumeration",
                "checkbox",
                true,
            ),
            &kinds,
        ),
        property(
            "hubspot_owner_id",
            "Ticket owner",
            "enumeration",
            "select",
            true,
        ),
        property("createdate", "Create date", "datetime", "date", true),
        property(
            "hs_lastmodifieddate",
            "Last modified date",
            "datetime",
            "date",
            true,
        ),
        property(
            "external_ticket_id",
            "External ticket id",
            "string",
            "text",
            false,
        ),
        with(
            property("product_plan", "Plan", "enumeration", "select", false),
            &[("Basic plan", "basic"), ("Gold plan", "gold")],
        ),
        property("seats", "Seats", "number", "number", false),
        with(
            property("topics", "Topics", "enumeration", "checkbox", false),
            &[
                ("Printer", "printer"),
                ("Third floor", "third_floor"),
                ("VIP", "vip"),
            ],
        ),
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

/// A ticket.
#[derive(Debug, Default)]
struct Ticket {
    properties: Map<String, Value>,
    /// Notes in order of creation.
    notes: Vec<u64>,
    contacts: Vec<String>,
}

impl Ticket {
    fn text(&self, name: &str) -> &str {
        self.properties
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Item for Ticket {
    fn tags(&self) -> Vec<String> {
        let line = self.text("content").rsplit('\n').next().unwrap_or_default();
        let marker = line
            .strip_prefix("[ref:")
            .and_then(|line| line.strip_suffix(']'));
        let unique = Some(self.text("external_ticket_id")).filter(|id| !id.is_empty());
        unique
            .into_iter()
            .chain(marker)
            .map(str::to_owned)
            .collect()
    }

    fn weight(&self) -> usize {
        weigh_map(&self.properties)
    }
}

#[derive(Debug)]
struct Note {
    body: String,
    files: String,
    timestamp: Value,
    created: DateTime<Utc>,
}

/// One account.
pub(super) struct HubSpot {
    common: Common<Settings>,
    tickets: Shelf<Ticket>,
    notes: BTreeMap<u64, Note>,
    /// By folder and name.
    files: BTreeMap<String, LedgerFile>,
    searches: Meter,
    next_id: u64,
}

impl Default for HubSpot {
    fn default() -> Self {
        Self {
            common: Common::default(),
            tickets: Shelf::new(50_000, 128 << 20, 1_145_814_001),
            notes: BTreeMap::new(),
            files: BTreeMap::new(),
            searches: Meter::default(),
            next_id: 7_890,
        }
    }
}

fn by_unique(call: &Call) -> bool {
    call.param("idProperty").is_some()
}

fn sets_stage(call: &Call) -> bool {
    !call.at("/properties/hs_pipeline_stage").is_null()
}

fn assigns(call: &Call) -> bool {
    !call.at("/properties/hubspot_owner_id").is_null()
}

fn of_email(call: &Call) -> bool {
    call.param("email").is_some()
}

impl Tabled for HubSpot {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth/2026-03/token", "token", Self::token).open(),
        view("GET", "/account-info/*/details", "account", Self::account),
        view("GET", "/crm/pipelines/*/tickets", "list_pipelines", Self::list_pipelines),
        view("GET", "/crm/properties/*/tickets", "list_properties", Self::list_properties),
        view("GET", "/crm/owners/*", "find_owner", Self::owners).when(of_email),
        view("GET", "/crm/owners/*", "list_owners", Self::owners),
        view("GET", "/crm/objects/*/contacts/*", "find_contact", Self::find_contact),
        route("POST", "/crm/objects/*/tickets/batch/upsert", "upsert_ticket", Self::upsert),
        route("POST", "/crm/objects/*/tickets/search", "search", Self::search).reads(),
        route("POST", "/crm/objects/*/tickets", "create_ticket", Self::create),
        view("GET", "/crm/objects/*/tickets/*", "find_ticket", Self::get).when(by_unique),
        view("GET", "/crm/objects/*/tickets/*", "get_ticket", Self::get),
        route("PATCH", "/crm/objects/*/tickets/*", "set_status", Self::update).when(sets_stage),
        route("PATCH", "/crm/objects/*/tickets/*", "assign", Self::update).when(assigns),
        route("PATCH", "/crm/objects/*/tickets/*", "update_ticket", Self::update),
        route("DELETE", "/crm/objects/*/tickets/*", "archive_ticket", Self::archive),
        route("PUT", "/crm/objects/*/tickets/*/associations/default/contacts/*", "associate",
            Self::associate),
        view("POST", "/crm/associations/*/tickets/notes/batch/read", "list_notes",
            Self::list_notes),
        view("POST", "/crm/objects/*/notes/batch/read", "read_notes", Self::read_notes),
        route("POST", "/crm/objects/*/notes", "add_note", Self::add_note),
        route("POST", "/files/*/files", "upload", Self::upload),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "X-HubSpot-RateLimit-Max",
        remaining: "X-HubSpot-RateLimit-Remaining",
        reset: "",
        reset_in: Reset::Seconds,
        retry_after: false,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Status(401) => {
                let text = "Authentication credentials not found. This API supports OAuth 2.0 \
                            authentication";
                error(401, "INVALID_AUTHENTICATION", text)
            }
            Refusal::Expired => {
                let text = "The OAuth token used to make this call expired 3 second(s) ago.";
                error(401, "EXPIRED_AUTHENTICATION", text)
            }
            Refusal::Forbidden | Refusal::Status(403) => {
                let text = "This app hasn't been granted all required scopes to make this call.";
                let mut body = refusal_body("MISSING_SCOPES", text);
                let scopes = json!({ "requiredGranularScopes": ["tickets"] });
                let text = "One or more of the following scopes are required.";
                body["errors"] = json!([{ "message": text, "context": scopes }]);
                Answer::json(403, body)
            }
            Refusal::NoPath => Answer::text(404, "text/html", "<html><body>404</body></html>"),
            Refusal::OtherMethods(methods) => {
                error(405, "METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed")
                    .header("Allow", &methods.join(", "))
            }
            Refusal::Status(404) => gone(),
            Refusal::Budget(_) | Refusal::Status(429) => limited("ten_secondly_rolling"),
            Refusal::Status(status @ 400..=499) => {
                error(*status, "VALIDATION_ERROR", "a fault on demand")
            }
            Refusal::Status(status) => error(*status, "INTERNAL_ERROR", "internal error"),
        }
    }

    /// Only date versions that there are.
    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let version = hit.arg(0);
        let is_there = self
            .common
            .settings
            .versions
            .iter()
            .any(|one| one == version);
        (!is_there).then(|| self.refuse(&Refusal::NoPath, hit.call, hit.now))
    }

    fn finish(&self, hit: &Hit<'_>, answer: Answer) -> Answer {
        if self.common.settings.budget.is_none() || hit.operation == "search" {
            return answer;
        }
        answer.header("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.tickets.ledger(label, |ticket| self.line(ticket))
    }
}

// How it refuses.

fn refusal_body(category: &str, message: &str) -> Value {
    json!({ "status": "error", "message": message,
        "correlationId": "a43683b0-5717-4ceb-80b4-104d02915d8c",
        "category": category })
}

fn error(status: u16, category: &str, message: &str) -> Answer {
    Answer::json(status, refusal_body(category, message))
}

fn gone() -> Answer {
    error(404, "OBJECT_NOT_FOUND", "resource not found")
}

fn limited(policy: &str) -> Answer {
    let message = format!("You have reached your {policy} limit.");
    let mut body = refusal_body("RATE_LIMITS", &message);
    body["errorType"] = "RATE_LIMIT".into();
    body["policyName"] = policy.to_uppercase().into();
    Answer::json(429, body)
}

/// What is wrong with a property.
fn fault(name: &str, code: &str, message: &str) -> Value {
    json!({ "isValid": false, "message": message, "error": code, "name": name,
        "localizedErrorMessage": message })
}

fn faults_text(faults: &[Value]) -> String {
    format!("Property values were not valid: {}", json!(faults))
}

fn invalid(faults: &[Value]) -> Answer {
    error(400, "VALIDATION_ERROR", &faults_text(faults))
}

// What it shows.

/// The properties that were asked for, or some.
fn asked(call: &Call) -> Vec<String> {
    let listed = call.param("properties").map(|names| {
        let names = names.split(',').map(str::trim);
        names.map(str::to_owned).collect()
    });
    let usual = [
        "subject",
        "content",
        "hs_pipeline",
        "hs_pipeline_stage",
        "hs_lastmodifieddate",
    ];
    listed.unwrap_or_else(|| usual.map(str::to_owned).to_vec())
}

fn shown(ticket: &Entry<Ticket>, names: &[String]) -> Value {
    let mut properties = Map::new();
    for name in names {
        let value = match name.as_str() {
            "createdate" => moment(ticket.created).into(),
            "hs_lastmodifieddate" => moment(ticket.updated).into(),
            name => ticket.properties.get(name).cloned().unwrap_or_default(),
        };
        properties.insert(name.clone(), value);
    }
    json!({ "id": ticket.id, "properties": properties, "createdAt": moment(ticket.created),
        "updatedAt": moment(ticket.updated), "archived": false })
}

impl HubSpot {
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

    /// A ticket as the ledger has it.
    fn line(&self, ticket: &Entry<Ticket>) -> LedgerIssue {
        let text = |name: &str| Some(ticket.text(name).to_owned()).filter(|text| !text.is_empty());
        let notes = ticket
            .notes
            .iter()
            .filter_map(|id| Some((id, self.notes.get(id)?)));
        let (files, comments): (Vec<_>, Vec<_>) =
            notes.partition(|(_, note)| !note.files.is_empty());
        let files = files
            .into_iter()
            .flat_map(|(_, note)| note.files.split(';'));
        let files = files.filter_map(|id| self.files.values().find(|file| file.id == id));
        let comments = comments.into_iter().map(|(id, note)| LedgerComment {
            id: id.to_string(),
            body: note.body.clone().into(),
            created: moment(note.created),
            ..LedgerComment::default()
        });
        let mut fields = ticket.properties.clone();
        fields.insert("contacts".into(), json!(ticket.contacts));
        LedgerIssue {
            project: ticket.text("hs_pipeline").to_owned(),
            summary: ticket.text("subject").to_owned(),
            description: ticket.text("content").into(),
            issue_type: ticket.text("hs_ticket_category").to_owned(),
            status: ticket.text("hs_pipeline_stage").to_owned(),
            priority: text("hs_ticket_priority"),
            assignee: text("hubspot_owner_id"),
            labels: ticket.item.tags(),
            fields,
            comments: comments.collect(),
            attachments: files.cloned().collect(),
            ..ticket.line()
        }
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let common = &mut self.common;
        let rules = Rules::refreshing(common.settings.access_token_seconds);
        if hit.call.form.is_empty() {
            return error(415, "VALIDATION_ERROR", "HTTP 415 Unsupported Media Type");
        }
        match common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["token_type"] = "bearer".into();
                body["hub_id"] = PORTAL.into();
                body["token_use"] = "access_token".into();
                body["scopes"] = json!(["oauth", "tickets"]);
                Answer::json(200, body).mutated()
            }
            Err(denied) => {
                let status = match denied.code() {
                    "invalid_grant" => "BAD_REFRESH_TOKEN",
                    _ => "BAD_CLIENT_ID",
                };
                let why = denied.why();
                let body = json!({ "error": denied.code(), "error_description": why,
                    "status": status, "message": why });
                Answer::json(400, body)
            }
        }
    }

    fn account(&self, _: &Hit<'_>) -> Answer {
        let body = json!({ "portalId": PORTAL, "accountType": "STANDARD",
            "uiDomain": "app-eu1.hubspot.com",
            "timeZone": "Europe/Dublin", "companyCurrency": "EUR", "utcOffset": "+00:00" });
        Answer::json(200, body)
    }

    fn list_pipelines(&self, _: &Hit<'_>) -> Answer {
        Answer::json(200, json!({ "results": self.common.settings.pipelines }))
    }

    fn list_properties(&self, _: &Hit<'_>) -> Answer {
        Answer::json(200, json!({ "results": self.common.settings.properties }))
    }

    fn owners(&self, hit: &Hit<'_>) -> Answer {
        let found: Vec<Person> = match hit.call.param("email") {
            Some(email) => self.people().by_email(email).into_iter().collect(),
            None => self.common.settings.people.clone(),
        };
        let found = found
            .iter()
            .filter(|person| person.assignable)
            .map(|person| {
                let id = person.number().unwrap_or_default().to_string();
                json!({ "id": id, "email": person.email, "type": "PERSON", "userId": 1,
                "archived": false })
            });
        Answer::json(200, json!({ "results": found.collect::<Vec<_>>() }))
    }

    fn find_contact(&self, hit: &Hit<'_>) -> Answer {
        let found = self.people().by_email(hit.arg(1));
        match found.filter(|_| hit.call.param("idProperty") == Some("email")) {
            Some(person) => {
                let id = person.number().unwrap_or_default().to_string();
                let properties = json!({ "email": person.email });
                Answer::json(
                    200,
                    json!({ "id": id, "properties": properties, "archived": false }),
                )
            }
            None => gone(),
        }
    }

    // Tickets.

    /// The one that a path names, by its id or a unique property.
    fn named(&self, hit: &Hit<'_>) -> Result<&Entry<Ticket>, Answer> {
        match hit.call.param("idProperty") {
            None => self.tickets.find(hit.arg(1)).ok_or_else(gone),
            Some(unique) if !self.is_unique(unique) => Err(error(
                400,
                "VALIDATION_ERROR",
                &format!("{unique} is not a unique property"),
            )),
            Some(unique) => self.with_unique(unique, hit.arg(1)).ok_or_else(gone),
        }
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.common
            .settings
            .properties
            .iter()
            .find(|one| one["name"] == name)
    }

    fn is_unique(&self, name: &str) -> bool {
        self.property(name)
            .is_some_and(|one| one["hasUniqueValue"] == true)
    }

    fn with_unique(&self, name: &str, value: &str) -> Option<&Entry<Ticket>> {
        let mut all = self.tickets.tagged(value);
        all.find(|ticket| ticket.text(name) == value)
    }

    /// What is wrong with values of a ticket; `own` is the one that is changed.
    fn faults(&self, values: &Map<String, Value>, own: Option<&Entry<Ticket>>) -> Vec<Value> {
        let mut faults = Vec::new();
        let after = |name: &str| {
            let value = values.get(name).and_then(Value::as_str);
            value.or_else(|| Some(own?.text(name))).unwrap_or_default()
        };
        for (name, value) in values {
            let Some(property) = self.property(name) else {
                let text = format!("Property \"{name}\" does not exist");
                faults.push(fault(name, "PROPERTY_DOESNT_EXIST", &text));
                continue;
            };
            let Some(text) = value.as_str() else {
                faults.push(fault(name, "INVALID_STRING", "the value is not a text"));
                continue;
            };
            if let Some((code, why)) = self.value_fault(property, text, after("hs_pipeline")) {
                faults.push(fault(name, code, &format!("{text} {why}")));
            }
            let other = self
                .is_unique(name)
                .then(|| self.with_unique(name, text))
                .flatten();
            if other.is_some_and(|other| own.is_none_or(|own| own.id != other.id)) {
                faults.push(fault(
                    name,
                    "CONFLICTING_UNIQUE_VALUE",
                    "is used by another ticket",
                ));
            }
        }
        let usual = ["subject", "hs_pipeline_stage"].map(str::to_owned);
        for name in usual.iter().chain(&self.common.settings.required) {
            if after(name).is_empty() {
                faults.push(fault(
                    name,
                    "REQUIRED_FIELD",
                    &format!("{name} is required"),
                ));
            }
        }
        faults
    }

    /// What is wrong with a value, and by which code.
    fn value_fault(
        &self,
        property: &Value,
        text: &str,
        pipeline: &str,
    ) -> Option<(&'static str, &'static str)> {
        let options = property["options"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let has = |word: &str| options.iter().any(|option| option["value"] == word);
        let pipelines = &self.common.settings.pipelines;
        let pipeline = if pipeline.is_empty() { "0" } else { pipeline };
        let fits = match (property["name"].as_str().unwrap_or_default(), text) {
            _ if property["modificationMetadata"]["readOnlyValue"] == true => {
                return Some(("READ_ONLY_VALUE", "is a read only property"));
            }
            _ if text.chars().count() > TEXT_MAX => {
                return Some(("PROPERTY_TOO_LONG", "is longer than 65536 characters"));
            }
            (_, "") => true,
            ("hs_pipeline", id) => pipelines.iter().any(|one| one["id"] == id),
            ("hs_pipeline_stage", id) => {
                let own = pipelines.iter().find(|one| one["id"] == pipeline);
                let stages = own.and_then(|one| one["stages"].as_array());
                stages.into_iter().flatten().any(|stage| stage["id"] == id)
            }
            ("hubspot_owner_id", id) => {
                let person = id.parse().ok().and_then(|id| self.people().by_number(id));
                person.is_some_and(|person| person.assignable)
            }
            _ if property["type"] == "number" => {
                let is_number = text.parse::<f64>().is_ok();
                return (!is_number).then_some(("INVALID_INTEGER", "was not a valid number"));
            }
            _ if property["fieldType"] == "checkbox" => text.split(';').all(has),
            _ if property["type"] == "enumeration" => has(text),
            _ => true,
        };
        (!fits).then_some(("INVALID_OPTION", "was not one of the allowed options"))
    }

    fn make(&mut self, values: &Map<String, Value>, now: DateTime<Utc>) -> &Entry<Ticket> {
        let mut properties = values.clone();
        properties
            .entry("hs_pipeline")
            .or_insert_with(|| "0".into());
        let ticket = Ticket {
            properties,
            ..Ticket::default()
        };
        self.tickets.add(ticket, now)
    }

    fn set(&mut self, id: &str, values: &Map<String, Value>, what: &str, now: DateTime<Utc>) {
        self.tickets.change(id, |ticket| {
            let pairs = values.clone();
            ticket.properties.extend(pairs);
            ticket.note(what, now);
        });
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(values) = hit.call.at("/properties").as_object() else {
            return error(
                400,
                "VALIDATION_ERROR",
                "Invalid input JSON: properties are missing",
            );
        };
        let faults = self.faults(values, None);
        if !faults.is_empty() {
            return invalid(&faults);
        }
        let names: Vec<String> = values.keys().cloned().collect();
        Answer::json(201, shown(self.make(values, hit.now), &names)).mutated()
    }

    fn upsert(&mut self, hit: &Hit<'_>) -> Answer {
        let inputs = hit
            .call
            .at("/inputs")
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if inputs.is_empty() || inputs.len() > BATCH_MAX {
            return error(400, "VALIDATION_ERROR", "a batch has 1 to 100 inputs");
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs {
            let text = |name: &str| input[name].as_str().unwrap_or_default();
            let (unique, id) = (text("idProperty"), text("id"));
            let Some(values) = input["properties"]
                .as_object()
                .filter(|_| self.is_unique(unique))
            else {
                let message = format!("idProperty {unique:?} is not a unique property");
                return error(400, "VALIDATION_ERROR", &message);
            };
            let mut values = values.clone();
            values.insert(unique.to_owned(), id.into());
            let names: Vec<String> = values.keys().cloned().collect();
            let own = self.with_unique(unique, id);
            let faults = self.faults(&values, own);
            if !faults.is_empty() {
                if !self.common.settings.partial_failures {
                    return invalid(&faults);
                }
                let mut one = refusal_body("VALIDATION_ERROR", &faults_text(&faults));
                one["context"] = json!({ "objectWriteTraceId": [input["objectWriteTraceId"]] });
                errors.push(one);
                continue;
            }
            let own = own.map(|own| own.id.clone());
            let is_new = own.is_none();
            let id = match own {
                Some(id) => {
                    self.set(&id, &values, "upsert", hit.now);
                    id
                }
                None => self.make(&values, hit.now).id.clone(),
            };
            if let Some(ticket) = self.tickets.find(&id) {
                let mut result = shown(ticket, &names);
                result["new"] = is_new.into();
                results.push(result);
            }
        }
        let is_effective = !results.is_empty();
        let mut body = json!({ "status": "COMPLETE", "results": results });
        let mut status = 200;
        if !errors.is_empty() {
            status = 207;
            body["numErrors"] = errors.len().into();
            body["errors"] = errors.into();
        }
        let answer = Answer::json(status, body);
        if is_effective {
            answer.mutated()
        } else {
            answer
        }
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(values) = hit.call.at("/properties").as_object() else {
            return error(
                400,
                "VALIDATION_ERROR",
                "Invalid input JSON: properties are missing",
            );
        };
        let (id, faults) = match self.named(hit) {
            Ok(own) => (own.id.clone(), self.faults(values, Some(own))),
            Err(refused) => return refused,
        };
        if !faults.is_empty() {
            return invalid(&faults);
        }
        self.set(&id, values, hit.operation, hit.now);
        let names: Vec<String> = values.keys().cloned().collect();
        match self.tickets.find(&id) {
            Some(ticket) => Answer::json(200, shown(ticket, &names)).mutated(),
            None => gone(),
        }
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        let ticket = match self.named(hit) {
            Ok(ticket) => ticket,
            Err(refused) => return refused,
        };
        let mut body = shown(ticket, &asked(hit.call));
        if hit.call.lists("associations", "notes") && !ticket.notes.is_empty() {
            let notes = ticket.notes.iter();
            let notes: Vec<Value> = notes
                .map(|id| json!({ "id": id.to_string(), "type": "ticket_to_note" }))
                .collect();
            body["associations"] = json!({ "notes": { "results": notes } });
        }
        Answer::json(200, body)
    }

    fn archive(&mut self, hit: &Hit<'_>) -> Answer {
        match self.tickets.remove(hit.arg(1)) {
            Some(_) => Answer::empty(204).mutated(),
            None => gone(),
        }
    }

    fn associate(&mut self, hit: &Hit<'_>) -> Answer {
        let contact = hit.arg(2).to_owned();
        let person = contact
            .parse()
            .ok()
            .and_then(|id| self.people().by_number(id));
        let changed = person.and_then(|_| {
            self.tickets.change(hit.arg(1), |ticket| {
                if !ticket.contacts.contains(&contact) {
                    ticket.contacts.push(contact);
                    ticket.note(hit.operation, hit.now);
                }
            })
        });
        match changed {
            Some(()) => Answer::json(200, json!({ "status": "COMPLETE" })).mutated(),
            None => gone(),
        }
    }

    fn search(&mut self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        let standing = settings
            .search_budget
            .map(|budget| self.searches.spend(budget, hit.now));
        if standing.is_some_and(|standing| standing.is_over) {
            return limited("secondly");
        }
        let invalid = |message: &str| error(400, "VALIDATION_ERROR", message);
        if hit.call.body.len() > QUERY_MAX {
            return invalid("the request body is longer than 3000 characters");
        }
        let limit = hit.call.at("/limit").as_u64().unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 || limit > PAGE_MAX {
            return invalid("limit is 1 to 200");
        }
        let limit = limit.min(settings.search_page);
        let after = hit.call.at("/after").as_str().unwrap_or("0");
        let Some(after) = after.parse::<usize>().ok() else {
            return invalid("after is not a number");
        };
        if after + limit > settings.search_cap {
            return invalid("the total number of results is limited to 10000 for any query");
        }
        let mut since = DateTime::<Utc>::UNIX_EPOCH;
        let mut token = None;
        let filters = hit.call.at("/filterGroups/0/filters").as_array();
        for filter in filters.into_iter().flatten() {
            let text = |name: &str| filter[name].as_str();
            match (text("propertyName"), text("operator"), text("value")) {
                (Some("hs_lastmodifieddate"), Some("GTE"), Some(value)) => {
                    let at = value.parse().ok().and_then(DateTime::from_timestamp_millis);
                    let Some(at) = at else {
                        return invalid("a date is milliseconds since 1970");
                    };
                    since = at;
                }
                (Some("content"), Some("CONTAINS_TOKEN"), Some(value)) => token = Some(value),
                _ => return invalid("the sandbox does not know this filter"),
            }
        }
        let seen = indexed_until(settings.search_lag_ms, hit.now);
        let found = self
            .tickets
            .changed_since(since)
            .filter(|ticket| ticket.updated <= seen);
        let found =
            found.filter(|ticket| token.is_none_or(|token| ticket.text("content").contains(token)));
        let found: Vec<&Entry<Ticket>> = found.collect();
        let names = hit.call.at("/properties").as_array().into_iter().flatten();
        let names: Vec<String> = names.filter_map(Value::as_str).map(str::to_owned).collect();
        let page = found.iter().skip(after).take(limit);
        let results: Vec<Value> = page.map(|ticket| shown(ticket, &names)).collect();
        let mut body = json!({ "total": found.len(), "results": results });
        if found.len() > after + limit {
            body["paging"] = json!({ "next": { "after": (after + limit).to_string() } });
        }
        Answer::json(200, body)
    }

    // Notes and files.

    fn add_note(&mut self, hit: &Hit<'_>) -> Answer {
        let at = |name: &str| hit.call.at(&format!("/properties/{name}"));
        if at("hs_timestamp").is_null() {
            return invalid(&[fault(
                "hs_timestamp",
                "REQUIRED_FIELD",
                "hs_timestamp is required",
            )]);
        }
        let body = at("hs_note_body").as_str().unwrap_or_default().to_owned();
        if body.chars().count() > TEXT_MAX {
            let why = "is longer than 65536 characters";
            return invalid(&[fault("hs_note_body", "PROPERTY_TOO_LONG", why)]);
        }
        let files = at("hs_attachment_ids")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut ids = files.split(';').filter(|id| !id.is_empty());
        if !ids.all(|id| self.files.values().any(|file| file.id == id)) {
            let why = "names a file that is not there";
            return invalid(&[fault("hs_attachment_ids", "INVALID_FILE", why)]);
        }
        let associations = hit.call.at("/associations").as_array();
        let mut tickets = Vec::new();
        for association in associations.into_iter().flatten() {
            let id = association["to"]["id"].as_str().unwrap_or_default();
            let is_ours = association["types"][0]["associationTypeId"] == NOTE_TO_TICKET;
            if !is_ours || self.tickets.find(id).is_none() {
                return gone();
            }
            tickets.push(id.to_owned());
        }
        while self.notes.len() >= KEPT_MAX {
            self.notes.pop_first();
        }
        let (id, weight) = (self.id(), body.len());
        let what = if files.is_empty() { "note" } else { "file" };
        for ticket in tickets {
            self.tickets.grow(&ticket, weight, |ticket| {
                ticket.notes.push(id);
                ticket.note(what, hit.now);
            });
        }
        let note = Note {
            body,
            files,
            timestamp: at("hs_timestamp").clone(),
            created: hit.now,
        };
        let shown = self.shown_note(id, &note);
        self.notes.insert(id, note);
        Answer::json(201, shown).mutated()
    }

    fn shown_note(&self, id: u64, note: &Note) -> Value {
        let body = self
            .common
            .settings
            .note_bodies
            .then_some(note.body.as_str());
        let properties = json!({ "hs_note_body": body, "hs_attachment_ids": note.files,
            "hs_timestamp": note.timestamp });
        json!({ "id": id.to_string(), "properties": properties, "createdAt": moment(note.created),
            "updatedAt": moment(note.created), "archived": false })
    }

    fn list_notes(&self, hit: &Hit<'_>) -> Answer {
        let inputs = hit.call.at("/inputs").as_array().into_iter().flatten();
        let results = inputs.filter_map(|input| {
            let ticket = self.tickets.find(input["id"].as_str()?)?;
            let to = ticket
                .notes
                .iter()
                .map(|id| json!({ "toObjectId": id, "associationTypes": [] }));
            let to: Vec<Value> = to.collect();
            (!to.is_empty()).then(|| json!({ "from": { "id": ticket.id }, "to": to }))
        });
        let results: Vec<Value> = results.collect();
        Answer::json(200, json!({ "status": "COMPLETE", "results": results }))
    }

    fn read_notes(&self, hit: &Hit<'_>) -> Answer {
        let inputs = hit
            .call
            .at("/inputs")
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if inputs.is_empty() || inputs.len() > BATCH_MAX {
            return error(400, "VALIDATION_ERROR", "a batch has 1 to 100 inputs");
        }
        let ids = inputs
            .iter()
            .filter_map(|input| input["id"].as_str()?.parse().ok());
        let found = ids.filter_map(|id| Some(self.shown_note(id, self.notes.get(&id)?)));
        let results: Vec<Value> = found.collect();
        let (missing, mut body) = (
            inputs.len() - results.len(),
            json!({ "status": "COMPLETE", "results": results }),
        );
        if missing == 0 {
            return Answer::json(200, body);
        }
        body["numErrors"] = missing.into();
        body["errors"] = json!([refusal_body(
            "OBJECT_NOT_FOUND",
            "Could not get some NOTE objects"
        )]);
        Answer::json(207, body)
    }

    fn upload(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let Some(part) = call.part("file") else {
            return error(400, "VALIDATION_ERROR", "file is required");
        };
        let options: Value = serde_json::from_str(call.field("options")).unwrap_or_default();
        let access = options["access"].as_str().unwrap_or_default();
        if !matches!(
            access,
            "PRIVATE" | "PUBLIC_INDEXABLE" | "PUBLIC_NOT_INDEXABLE"
        ) {
            return error(400, "VALIDATION_ERROR", "options.access is required");
        }
        let folder = call.field("folderPath");
        if folder.is_empty() {
            return error(
                400,
                "VALIDATION_ERROR",
                "folderPath or folderId is required",
            );
        }
        let given = part.file_name.as_deref().unwrap_or("file");
        let name = Some(call.field("fileName"))
            .filter(|name| !name.is_empty())
            .unwrap_or(given);
        let media_type = part.media_type.as_deref().unwrap_or_default();
        let mut key = format!("{folder}/{name}");
        let known = self.files.get(&key).map(|file| file.id.clone());
        let id = match known {
            Some(id) if options["overwrite"] == true => id,
            Some(_) => {
                let id = self.id().to_string();
                key = format!("{key}-{id}");
                id
            }
            None => self.id().to_string(),
        };
        while self.files.len() >= KEPT_MAX {
            self.files.pop_first();
        }
        let file = LedgerFile {
            id,
            created: moment(hit.now),
            ..LedgerFile::of(name, media_type, &part.bytes)
        };
        let shown = json!({ "id": file.id, "name": file.name, "size": file.size, "access": access,
            "url": format!("{}/files/{}", call.base, file.id) });
        self.files.insert(key, file);
        Answer::json(201, shown).mutated()
    }
}
