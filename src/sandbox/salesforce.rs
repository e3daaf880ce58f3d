//! Salesforce: cases by the REST interface of sObjects. Written from the sheet
//! `platforms/salesforce.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | bearer tokens; `/services/oauth2/token` gives them for client credentials, assertions (checked by `public_key`, where there is one) and refresh tokens that rotate. Its answer says where the org is, and no life |
//! | fields | those of `fields`, as `describe` shows them: others, longer texts and values that a restricted picklist lacks are refused |
//! | create | `POST Case`, or `PATCH Case/{field}/{value}` by a field that is an External ID: created, or set anew. Unique fields are unique |
//! | owners | `known+NAME@example.test` and `people` are users, `queues` queues; `assignment_rule` gives each case that is created or changed to its owner, unless `Sforce-Auto-Assign` is FALSE |
//! | queries | one object, conditions with AND, an order, a limit; the description cannot be filtered by; pages by locators, which work once |
//! | files | `POST ContentVersion` in two parts |
//! | limits | `api_usage` is what `Sforce-Limit-Info` says; a `budget` that is spent is 403 |
//!
//! Not modelled: triggers and flows, record types of users, sharing, contacts, other objects. Every
//! query is current.
//!
//! Limits: 20,000 cases and 128 MiB a site, 100 open queries.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Grant, Rules};
use super::kit::magic::{People, Person};
use super::kit::shelf::{moment, weigh_map};
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, Item, Refusal, Route, Shelf, Tabled, route,
    view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// The user that every credential belongs to.
const ME: &str = "005xx0000000000AAA";
const ORGANIZATION: &str = "00Dxx0000001gPLEAY";
/// Bytes of a comment.
const COMMENT_MAX: usize = 4_000;
/// Records of a page, and open queries.
const PAGE_MAX: usize = 2_000;
const QUERIES_MAX: usize = 100;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these bearer tokens are accepted besides those that the site gave.
    credentials: Vec<String>,
    budget: Option<Budget>,
    /// What `Sforce-Limit-Info` says.
    api_usage: String,
    access_token_seconds: i64,
    rotates: bool,
    /// Of assertions.
    public_key: Option<String>,
    audience: String,
    people: Vec<Person>,
    known_people: bool,
    queues: Vec<String>,
    /// The owner that the active assignment rule chooses.
    assignment_rule: Option<String>,
    /// As `describe` shows them.
    fields: Vec<Value>,
    /// Fields that a case is not made without.
    required: Vec<String>,
    /// Records of a page, where that is fewer than were asked for.
    page_size: Option<usize>,
    /// Whether cases can be deleted.
    deletes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            budget: None,
            api_usage: "api-usage=18/15000; per-app-api-usage=17/17(appName=sandbox)".into(),
            access_token_seconds: 7_200,
            rotates: true,
            public_key: None,
            audience: "https://login.salesforce.com".into(),
            people: Vec::new(),
            known_people: true,
            queues: vec!["Second Line".into()],
            assignment_rule: None,
            fields: default_fields(),
            required: Vec::new(),
            page_size: None,
            deletes: true,
        }
    }
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A field: name, type, length, whether it can be set.
fn field(name: &str, kind: &str, length: usize, settable: bool) -> Value {
    json!({ "name": name, "label": name.trim_end_matches("__c"), "type": kind, "length": length,
        "createable": settable,
        "updateable": settable, "nillable": true, "defaultedOnCreate": false,
        "custom": name.ends_with("__c"),
        "externalId": false, "unique": false, "restrictedPicklist": false, "picklistValues": [] })
}

/// The same with values.
fn picklist(name: &str, kind: &str, restricted: bool, values: &[&str]) -> Value {
    let mut made = field(name, kind, 255, true);
    let values = values.iter().map(
        |value| json!({ "value": value, "label": value, "active": true, "defaultValue": false }),
    );
    made["picklistValues"] = values.collect();
    made["restrictedPicklist"] = restricted.into();
    made
}

/// Those of a new org that are of use, and some of a customer's.
fn default_fields() -> Vec<Value> {
    let mut external = field("External_Ticket_Id__c", "string", 60, true);
    external["externalId"] = true.into();
    external["unique"] = true.into();
    let mut all = vec![
        field("Subject", "string", 255, true),
        field("Description", "textarea", 32_000, true),
        picklist(
            "Status",
            "picklist",
            false,
            &["New", "Working", "Escalated", "Closed"],
        ),
        picklist("Priority", "picklist", false, &["High", "Medium", "Low"]),
        picklist(
            "Type",
            "picklist",
            false,
            &["Question", "Problem", "Feature Request"],
        ),
        field("OwnerId", "reference", 18, true),
        field("SuppliedEmail", "email", 80, true),
        field("SuppliedName", "string", 80, true),
        field("RecordTypeId", "reference", 18, true),
        external,
        picklist("Tags__c", "multipicklist", true, &["smoke", "third floor"]),
        picklist("Plan__c", "picklist", true, &["Basic", "Gold"]),
        field("Seats__c", "double", 0, true),
    ];
    let fixed = [
        "Id",
        "CaseNumber",
        "IsClosed",
        "IsDeleted",
        "CreatedDate",
        "CreatedById",
        "LastModifiedById",
        "SystemModstamp",
    ];
    all.extend(fixed.map(|name| field(name, "string", 80, false)));
    all
}

/// A case.
#[derive(Debug, Default)]
struct Case {
    fields: Map<String, Value>,
    comments: Vec<Comment>,
    files: Vec<(LedgerFile, Value)>,
    is_deleted: bool,
}

#[derive(Debug)]
struct Comment {
    id: String,
    body: String,
    public: bool,
    at: DateTime<Utc>,
}

impl Case {
    fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Item for Case {
    fn tags(&self) -> Vec<String> {
        let external = self.text("External_Ticket_Id__c");
        let tags = self.text("Tags__c").split(';');
        std::iter::once(external)
            .chain(tags)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn weight(&self) -> usize {
        let comments = self.comments.iter().map(|comment| comment.body.len() + 200);
        weigh_map(&self.fields) + comments.sum::<usize>() + 400 * self.files.len()
    }
}

/// One org.
pub(super) struct Salesforce {
    common: Common<Settings>,
    cases: Shelf<Case>,
    queries: HashMap<String, Vec<Value>>,
    /// Of comments, files and queries.
    next_id: u64,
}

impl Default for Salesforce {
    fn default() -> Self {
        Self {
            common: Common::default(),
            cases: Shelf::new(20_000, 128 << 20, 1_026),
            queries: HashMap::new(),
            next_id: 1,
        }
    }
}

/// An id of an object whose ids begin so. Its last three letters say which of the others are
/// capitals.
fn id(prefix: &str, number: u64) -> String {
    let tail = if prefix == "00G" { "EAA" } else { "AAA" };
    format!("{prefix}xx{number:010}{tail}")
}

/// A moment as Salesforce writes it, in whole seconds.
fn seconds(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// A refusal: its code, its words, and the fields that it is about.
fn said(status: u16, code: &str, message: &str, fields: &[&str]) -> Answer {
    let mut one = json!({ "message": message, "errorCode": code });
    if !fields.is_empty() {
        one["fields"] = json!(fields);
    }
    Answer::json(status, json!([one]))
}

fn absent() -> Answer {
    said(
        404,
        "NOT_FOUND",
        "The requested resource does not exist",
        &[],
    )
}

fn asks_for(call: &Call, object: &str) -> bool {
    let query = call.param("q").unwrap_or_default();
    query
        .split_whitespace()
        .skip_while(|word| *word != "FROM")
        .nth(1)
        == Some(object)
}

fn sets_only(call: &Call, name: &str) -> bool {
    let members = call.json.as_ref().and_then(Value::as_object);
    members.is_some_and(|members| members.len() == 1 && members.contains_key(name))
}

impl Tabled for Salesforce {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth2/token", "token", Self::token).open(),
        view("GET", "/sobjects/Case/describe", "describe", Self::describe),
        route("GET", "/query|queryAll", "find_users", Self::query).when(|call| asks_for(call,
            "User")).reads(),
        route("GET", "/query|queryAll", "find_queues", Self::query).when(|call| asks_for(call,
            "Group")).reads(),
        route("GET", "/query|queryAll", "list_comments", Self::query).when(|call| asks_for(call,
            "CaseComment")).reads(),
        route("GET", "/query|queryAll", "list_files", Self::query).when(|call| asks_for(call,
            "ContentDocumentLink")).reads(),
        route("GET", "/query|queryAll", "list_cases", Self::query).reads(),
        route("GET", "/query/*", "list_more", Self::more).reads(),
        view("GET", "/sobjects/Case/*/*", "find_case", Self::find),
        route("PATCH", "/sobjects/Case/*/*", "upsert_case", Self::upsert),
        route("POST", "/sobjects/Case", "create_case", Self::create),
        view("GET", "/sobjects/Case/*", "get_case", Self::get),
        route("PATCH", "/sobjects/Case/*", "set_status", Self::update).when(|call| sets_only(call,
            "Status")),
        route("PATCH", "/sobjects/Case/*", "assign_case", Self::update).when(|call| sets_only(call,
            "OwnerId")),
        route("PATCH", "/sobjects/Case/*", "update_case", Self::update),
        route("DELETE", "/sobjects/Case/*", "delete_case", Self::delete),
        route("POST", "/sobjects/CaseComment", "add_comment", Self::comment),
        route("POST", "/sobjects/ContentVersion", "attach_file", Self::attach),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    /// Below `services`, and the version.
    fn below(call: &Call) -> &[String] {
        match call.segments.as_slice() {
            [services, data, _, rest @ ..] if services == "services" && data == "data" => rest,
            [services, rest @ ..] if services == "services" => rest,
            _ => &[],
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let version = hit
            .call
            .segments
            .get(2)
            .map(String::as_str)
            .unwrap_or_default();
        let major = version
            .strip_prefix('v')
            .and_then(|text| text.strip_suffix(".0"));
        match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(31..=68) => {}
            Some(21..=30) => {
                return Some(said(
                    410,
                    "UNSUPPORTED_API_VERSION",
                    "This version is retired",
                    &[],
                ));
            }
            _ => return Some(absent()),
        }
        let has_body = matches!(hit.call.method.as_str(), "POST" | "PATCH");
        let is_file = hit.operation == "attach_file";
        let is_object = hit.call.json.as_ref().is_some_and(Value::is_object);
        let fault = || {
            said(
                400,
                "JSON_PARSER_ERROR",
                "Unexpected character at [line:1, column:1]",
                &[],
            )
        };
        (has_body && !is_file && !is_object).then(fault)
    }

    fn finish(&self, _: &Hit<'_>, answer: Answer) -> Answer {
        answer.header("Sforce-Limit-Info", &self.common.settings.api_usage)
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        let is_token = call.path.ends_with("/oauth2/token");
        match refusal {
            Refusal::Status(401) if is_token => {
                let why = "expired access/refresh token";
                Answer::json(
                    400,
                    json!({ "error": "invalid_grant", "error_description": why }),
                )
            }
            Refusal::Missing | Refusal::Wrong | Refusal::Expired | Refusal::Status(401) => {
                said(401, "INVALID_SESSION_ID", "Session expired or invalid", &[])
            }
            Refusal::Forbidden | Refusal::Status(403) => said(
                403,
                "INSUFFICIENT_ACCESS",
                "insufficient access rights on object id",
                &[],
            ),
            Refusal::NoPath | Refusal::Status(404) => absent(),
            Refusal::OtherMethods(methods) => {
                let why = format!("HTTP Method '{}' not allowed", call.method);
                said(405, "METHOD_NOT_ALLOWED", &why, &[]).header("Allow", &methods.join(","))
            }
            Refusal::Budget(_) => said(
                403,
                "REQUEST_LIMIT_EXCEEDED",
                "TotalRequests Limit exceeded.",
                &[],
            ),
            Refusal::Status(429) => said(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "TotalRequests Limit exceeded.",
                &[],
            ),
            Refusal::Status(503) => said(
                503,
                "SERVER_UNAVAILABLE",
                "The server is down for maintenance",
                &[],
            ),
            Refusal::Status(status @ 500..) => said(
                *status,
                "UNKNOWN_EXCEPTION",
                "An unexpected error occurred. ErrorId: 1-2",
                &[],
            ),
            Refusal::Status(status) => said(
                *status,
                "FIELD_INTEGRITY_EXCEPTION",
                "a fault on demand",
                &[],
            ),
        }
    }

    fn stranger_answer(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        self.refuse(&Refusal::Status(401), call, now)
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let (mut lines, evicted) = self.cases.ledger(label, line);
        lines.retain(|line| line.status_category != "deleted");
        (lines, evicted)
    }
}

/// A case as the ledger has it.
fn line(case: &Entry<Case>) -> LedgerIssue {
    let text = |name: &str| case.text(name).to_owned();
    let some = |name: &str| {
        case.fields
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let comments = case.comments.iter().map(|comment| LedgerComment {
        id: comment.id.clone(),
        body: comment.body.clone().into(),
        public: comment.public,
        created: moment(comment.at),
        ..LedgerComment::default()
    });
    let closed = if case.text("Status") == "Closed" {
        "done"
    } else {
        "new"
    };
    LedgerIssue {
        key: format!("{:08}", case.number),
        summary: text("Subject"),
        description: text("Description").into(),
        issue_type: text("Type"),
        status: text("Status"),
        status_category: if case.is_deleted { "deleted" } else { closed }.to_owned(),
        priority: some("Priority"),
        assignee: some("OwnerId"),
        labels: case.tags(),
        fields: case.fields.clone(),
        comments: comments.collect(),
        attachments: case.files.iter().map(|(file, _)| file.clone()).collect(),
        ..case.line()
    }
}

/// A refusal of a write: of one field.
type Fault = (u16, &'static str, String, Vec<String>);

fn fault(code: &'static str, message: String, name: &str) -> Fault {
    (400, code, message, vec![name.to_owned()])
}

// What it shows.
impl Salesforce {
    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let Settings {
            access_token_seconds,
            rotates,
            public_key,
            audience,
            ..
        } = &self.common.settings;
        let rules = Rules {
            grants: &[Grant::Refresh, Grant::ClientCredentials, Grant::JwtBearer],
            rotates: *rotates,
            public_key: public_key.as_deref(),
            audience,
            assertion_seconds: 180,
            ..Rules::refreshing(*access_token_seconds)
        };
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = json!({
                    "access_token": granted.access, "instance_url": hit.call.base,
                    "token_type": "Bearer", "scope": "api",
                    "id": format!("https://login.salesforce.com/id/{ORGANIZATION}/{ME}"),
                    "issued_at": hit.now.timestamp_millis().to_string(),
                    "signature": "c2FuZGJveA==",
                });
                if let Some(refresh) = granted.refresh {
                    body["refresh_token"] = refresh.into();
                }
                Answer::json(200, body).mutated()
            }
            Err(denied) => {
                let code = match denied.code() {
                    "invalid_client" => "invalid_client_id",
                    code => code,
                };
                Answer::json(
                    400,
                    json!({ "error": code, "error_description": denied.why() }),
                )
            }
        }
    }

    fn people(&self) -> People<'_> {
        People {
            listed: &self.common.settings.people,
            with_known: self.common.settings.known_people,
        }
    }

    fn queue_id(&self, name: &str) -> Option<String> {
        let at = self
            .common
            .settings
            .queues
            .iter()
            .position(|own| own == name)?;
        Some(id("00G", u64::try_from(at).unwrap_or_default() + 1))
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.common
            .settings
            .fields
            .iter()
            .find(|field| field["name"] == name)
    }

    fn describe(&self, _: &Hit<'_>) -> Answer {
        let record_type =
            json!({ "recordTypeId": "012000000000000AAA", "name": "Master", "available": true });
        Answer::json(
            200,
            json!({ "name": "Case", "createable": true, "updateable": true, "deletable": true,
            "fields": self.common.settings.fields, "recordTypeInfos": [record_type] }),
        )
    }

    /// A case with all its fields.
    fn shown(&self, case: &Entry<Case>, version: &str) -> Value {
        let mut shown = Map::new();
        shown.insert(
            "attributes".into(),
            json!({ "type": "Case",
            "url": format!("/services/data/{version}/sobjects/Case/{}", case.id) }),
        );
        for field in &self.common.settings.fields {
            let name = field["name"].as_str().unwrap_or_default();
            shown.insert(
                name.to_owned(),
                case.fields.get(name).cloned().unwrap_or_default(),
            );
        }
        for (name, value) in [
            ("Id", json!(case.id)),
            ("CaseNumber", json!(format!("{:08}", case.number))),
            ("IsClosed", json!(case.text("Status") == "Closed")),
            ("IsDeleted", json!(case.is_deleted)),
            ("CreatedDate", json!(seconds(case.created))),
            ("CreatedById", json!(ME)),
            ("LastModifiedById", json!(ME)),
            ("SystemModstamp", json!(seconds(case.updated))),
        ] {
            shown.insert(name.into(), value);
        }
        shown.into()
    }

    /// What a request's `fields` names of a case.
    fn selected(&self, hit: &Hit<'_>, case: &Entry<Case>) -> Answer {
        let shown = self.shown(case, version(hit));
        let Some(names) = hit.call.param("fields") else {
            return Answer::json(200, shown);
        };
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        match project(&shown, "Case", &names) {
            Ok(shown) => Answer::json(200, shown),
            Err(answer) => answer,
        }
    }

    fn case(&self, id: &str) -> Result<&Entry<Case>, Answer> {
        let long = if id.len() == 15 {
            format!("{id}AAA")
        } else {
            id.to_owned()
        };
        match self.cases.find(&long) {
            Some(case) if case.is_deleted => {
                Err(said(404, "ENTITY_IS_DELETED", "entity is deleted", &[]))
            }
            Some(case) => Ok(case),
            None => Err(absent()),
        }
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        self.case(hit.arg(0))
            .map_or_else(|refused| refused, |case| self.selected(hit, case))
    }

    /// The cases with this value in a field that is an External ID.
    fn by_external(&self, name: &str, value: &str) -> Result<Vec<&Entry<Case>>, Answer> {
        if self
            .field(name)
            .is_none_or(|field| field["externalId"] != true)
        {
            let why =
                format!("Provided external ID field does not exist or is not accessible: {name}");
            return Err(said(404, "NOT_FOUND", &why, &[]));
        }
        let is_it =
            |case: &&Entry<Case>| !case.is_deleted && case.text(name).eq_ignore_ascii_case(value);
        Ok(self.cases.all().filter(is_it).collect())
    }

    fn several(hit: &Hit<'_>, found: &[&Entry<Case>]) -> Answer {
        let url = |case: &&Entry<Case>| {
            format!("/services/data/{}/sobjects/Case/{}", version(hit), case.id)
        };
        Answer::json(300, found.iter().map(url).collect())
    }

    fn find(&self, hit: &Hit<'_>) -> Answer {
        match self.by_external(hit.arg(0), hit.arg(1)).as_deref() {
            Err(refused) => refused.clone(),
            Ok([]) => absent(),
            Ok([one]) => self.selected(hit, one),
            Ok(several) => Self::several(hit, several),
        }
    }

    fn query(&mut self, hit: &Hit<'_>) -> Answer {
        let text = hit.call.param("q").unwrap_or_default();
        let Some(query) = Query::read(text) else {
            let why = format!("unexpected token: {text}");
            return said(400, "MALFORMED_QUERY", &why, &[]);
        };
        let all = hit
            .call
            .segments
            .last()
            .is_some_and(|last| last == "queryAll");
        let rows = self.rows(&query, version(hit), all);
        let Some(rows) = rows else {
            let why = format!("sObject type '{}' is not supported.", query.object);
            return said(400, "INVALID_TYPE", &why, &[]);
        };
        match query.run(rows) {
            Ok(rows) => self.paged(hit, rows, 0),
            Err(refused) => refused,
        }
    }

    /// All records of an object, with all that a query may name.
    fn rows(&self, query: &Query, version: &str, all: bool) -> Option<Vec<Value>> {
        let cases = || self.cases.all().filter(move |case| all || !case.is_deleted);
        // Those known by name are too many to be listed.
        let by_email = || self.people().by_email(query.value("Email")?);
        let user = |person: Person| {
            let id = person.number().map(|number| id("005", number));
            json!({ "Id": id, "Email": person.email, "IsActive": person.assignable,
                "UserType": "Standard" })
        };
        Some(match query.object.as_str() {
            "Case" => cases().map(|case| self.shown(case, version)).collect(),
            "CaseComment" => cases()
                .flat_map(|case| case.comments.iter().map(move |comment| (case, comment)))
                .map(|(case, comment)| {
                    json!({ "Id": comment.id, "ParentId": case.id, "CommentBody": comment.body,
                        "IsPublished": comment.public,
                        "CreatedById": ME, "CreatedDate": seconds(comment.at),
                        "SystemModstamp": seconds(comment.at),
                        "Parent": self.shown(case, version) })
                })
                .collect(),
            "ContentDocumentLink" => cases()
                .flat_map(|case| case.files.iter().map(|(_, link)| link.clone()))
                .collect(),
            "User" => by_email().map(user).into_iter().collect(),
            "Group" => {
                let queues = self.common.settings.queues.iter();
                queues
                    .map(|name| {
                        json!({ "Id": self.queue_id(name), "Type": "Queue",
                    "Name": name })
                    })
                    .collect()
            }
            _ => return None,
        })
    }

    /// A page of records, and where the next is.
    fn paged(&mut self, hit: &Hit<'_>, rows: Vec<Value>, start: usize) -> Answer {
        let options = hit.call.header("sforce-query-options").unwrap_or_default();
        let asked = options
            .strip_prefix("batchSize=")
            .and_then(|size| size.parse().ok());
        let asked = asked.map_or(PAGE_MAX, |size: usize| size.clamp(200, PAGE_MAX));
        let size = self
            .common
            .settings
            .page_size
            .unwrap_or(asked)
            .clamp(1, asked);
        let total = rows.len();
        let page: Vec<Value> = rows.iter().skip(start).take(size).cloned().collect();
        let end = start + page.len();
        let mut body = json!({ "totalSize": total, "done": end >= total, "records": page });
        if end < total {
            self.next_id += 1;
            let locator = id("01g", self.next_id);
            body["nextRecordsUrl"] =
                format!("/services/data/{}/query/{locator}-{end}", version(hit)).into();
            if self.queries.len() >= QUERIES_MAX {
                self.queries.clear();
            }
            self.queries.insert(locator, rows);
        }
        Answer::json(200, body)
    }

    fn more(&mut self, hit: &Hit<'_>) -> Answer {
        let found = hit.arg(0).rsplit_once('-').and_then(|(locator, start)| {
            let rows = self.queries.remove(locator)?;
            Some((rows, start.parse().ok()?))
        });
        match found {
            Some((rows, start)) => self.paged(hit, rows, start),
            None => said(400, "INVALID_QUERY_LOCATOR", "invalid query locator", &[]),
        }
    }
}

fn version<'a>(hit: &Hit<'a>) -> &'a str {
    hit.call.segments.get(2).map_or("v62.0", String::as_str)
}

/// These members of a record; a path leads into a related one.
fn project(record: &Value, object: &str, names: &[&str]) -> Result<Value, Answer> {
    let mut made = json!({ "attributes": record.get("attributes").cloned().unwrap_or_else(|| json!({
        "type": object })) });
    for name in names {
        let pointer = format!("/{}", name.replace('.', "/"));
        let Some(value) = record.pointer(&pointer) else {
            let why = format!(
                "No such column '{name}' on entity '{object}'. If you are attempting to use a \
                 custom field, be sure to append the '__c' after the custom field name."
            );
            return Err(said(400, "INVALID_FIELD", &why, &[]));
        };
        let mut at = &mut made;
        for part in name.split('.') {
            at = &mut at[part];
        }
        *at = value.clone();
    }
    Ok(made)
}

/// A query, as far as it is understood.
#[derive(Debug, Default)]
struct Query {
    fields: Vec<String>,
    object: String,
    /// Field, operator, value, whether that is in quotes.
    conditions: Vec<(String, String, String, bool)>,
    order: Vec<String>,
    limit: Option<usize>,
}

/// The words of a query; a literal in quotes is one, and begins with a quote.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | ',' => {}
            '\'' => {
                let mut word = "'".to_owned();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        '\\' => word.push(chars.next()?),
                        '\n' | '\r' => return None,
                        c => word.push(c),
                    }
                }
                words.push(word);
            }
            c => {
                let mut word = c.to_string();
                while let Some(more) = chars.next_if(|c| !" ,'".contains(*c)) {
                    word.push(more);
                }
                words.push(word);
            }
        }
    }
    Some(words)
}

impl Query {
    fn read(text: &str) -> Option<Self> {
        let words = words(text)?;
        let mut words = words.into_iter().peekable();
        let mut query = Self::default();
        (words.next()? == "SELECT").then_some(())?;
        query.fields = std::iter::from_fn(|| words.next_if(|word| word != "FROM")).collect();
        words.next()?;
        query.object = words.next()?;
        while let Some(word) = words.next() {
            match word.as_str() {
                "WHERE" | "AND" => {
                    let (field, operator, value) = (words.next()?, words.next()?, words.next()?);
                    let is_known = ["=", ">=", "<"].contains(&operator.as_str());
                    let bare = value.strip_prefix('\'').map(str::to_owned);
                    let condition = (
                        field,
                        operator,
                        bare.clone().unwrap_or(value),
                        bare.is_some(),
                    );
                    is_known.then(|| query.conditions.push(condition))?;
                }
                "ORDER" => {
                    (words.next()? == "BY").then_some(())?;
                    let order = std::iter::from_fn(|| words.next_if(|word| word != "LIMIT"));
                    query.order = order.filter(|word| word != "ASC").collect();
                }
                "LIMIT" => query.limit = Some(words.next()?.parse().ok()?),
                _ => return None,
            }
        }
        (!query.fields.is_empty()).then_some(query)
    }

    /// What a field has to be.
    fn value(&self, name: &str) -> Option<&str> {
        let found = self.conditions.iter().find(|(field, ..)| field == name);
        found.map(|(_, _, value, _)| value.as_str())
    }

    fn run(&self, mut rows: Vec<Value>) -> Result<Vec<Value>, Answer> {
        let at = |row: &Value, name: &str| {
            row.pointer(&format!("/{}", name.replace('.', "/")))
                .cloned()
        };
        for (name, operator, value, quoted) in &self.conditions {
            if matches!(name.as_str(), "Description" | "CommentBody") {
                let why = format!("field '{name}' can not be filtered in a query call");
                return Err(said(400, "INVALID_FIELD", &why, &[]));
            }
            let is_moment = matches!(name.as_str(), "CreatedDate" | "SystemModstamp");
            let wanted = DateTime::parse_from_rfc3339(value).ok();
            if is_moment && (*quoted || wanted.is_none()) {
                let why = format!(
                    "value of filter criterion for field '{name}' must be of type dateTime and \
                     should not be enclosed in quotes"
                );
                return Err(said(400, "INVALID_FIELD", &why, &[]));
            }
            if let Some(row) = rows.first()
                && at(row, name).is_none()
            {
                let why = format!("No such column '{name}' on entity '{}'", self.object);
                return Err(said(400, "INVALID_FIELD", &why, &[]));
            }
            rows.retain(|row| {
                let found = at(row, name).unwrap_or_default();
                if let (true, Some(wanted)) = (is_moment, wanted) {
                    let text = found.as_str().unwrap_or_default();
                    let found = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z");
                    return found.is_ok_and(|found| match operator.as_str() {
                        ">=" => found >= wanted,
                        "<" => found < wanted,
                        _ => found == wanted,
                    });
                }
                match found {
                    Value::String(text) => *quoted && text.eq_ignore_ascii_case(value),
                    Value::Bool(flag) => !quoted && flag.to_string() == *value,
                    _ => false,
                }
            });
        }
        rows.sort_by_cached_key(|row| {
            let keys = self
                .order
                .iter()
                .map(|name| at(row, name).unwrap_or_default().to_string());
            keys.collect::<Vec<_>>()
        });
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        let names: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        rows.iter()
            .map(|row| project(row, &self.object, &names))
            .collect()
    }
}

// What it changes.
impl Salesforce {
    fn next(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        id(prefix, self.next_id)
    }

    /// What is wrong with the members of a case; `own` is the id of the one that is changed.
    fn faults(&self, members: &Map<String, Value>, own: Option<&str>) -> Option<Fault> {
        members
            .iter()
            .find_map(|(name, value)| self.fault(name, value, own))
            .or_else(|| {
                let missing = self.common.settings.required.iter();
                let is_missing =
                    |name: &&String| own.is_none() && members.get(*name).is_none_or(Value::is_null);
                let name = missing.into_iter().find(is_missing)?;
                Some(fault(
                    "REQUIRED_FIELD_MISSING",
                    format!("Required fields are missing: [{name}]"),
                    name,
                ))
            })
    }

    fn fault(&self, name: &str, value: &Value, own: Option<&str>) -> Option<Fault> {
        let Some(field) = self.field(name) else {
            let why = format!("No such column '{name}' on sobject of type Case");
            return Some((400, "INVALID_FIELD", why, Vec::new()));
        };
        if field["createable"] != true {
            let why = format!(
                "Unable to create/update fields: {name}. Please check the security settings of \
                 this field."
            );
            return Some(fault("INVALID_FIELD_FOR_INSERT_UPDATE", why, name));
        }
        let text = match (field["type"].as_str(), value) {
            (_, Value::Null) => return None,
            (Some("double"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) => return None,
            (Some("double" | "boolean"), _)
            | (_, Value::Array(_) | Value::Object(_) | Value::Bool(_)) => {
                let why = format!(
                    "Cannot deserialize instance of {} from {value}",
                    field["type"]
                );
                return Some((400, "JSON_PARSER_ERROR", why, Vec::new()));
            }
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::String(text)) => text.clone(),
        };
        let length = field["length"].as_u64().unwrap_or_default();
        if text.chars().count() as u64 > length {
            let why = format!("{name}: data value too large: … (max length={length})");
            return Some(fault("STRING_TOO_LONG", why, name));
        }
        let values = field["picklistValues"].as_array().into_iter().flatten();
        let values: Vec<&Value> = values
            .filter(|value| value["active"] == true)
            .map(|value| &value["value"])
            .collect();
        let is_known = |one: &str| values.iter().any(|value| *value == one);
        if field["restrictedPicklist"] == true && !text.is_empty() && !text.split(';').all(is_known)
        {
            let why = format!("{name}: bad value for restricted picklist field: {text}");
            return Some(fault("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", why, name));
        }
        if field["type"] == "email" && !text.contains('@') {
            return Some(fault(
                "INVALID_EMAIL_ADDRESS",
                format!("{name}: invalid email address: {text}"),
                name,
            ));
        }
        let is_taken = |case: &&Entry<Case>| {
            !case.is_deleted
                && own != Some(case.id.as_str())
                && case.text(name).eq_ignore_ascii_case(&text)
        };
        if field["unique"] == true
            && let Some(other) = self.cases.all().find(is_taken)
        {
            let why = format!(
                "duplicate value found: {name} duplicates value on record with id: {}",
                other.id
            );
            return Some((400, "DUPLICATE_VALUE", why, Vec::new()));
        }
        (name == "OwnerId")
            .then(|| self.owner_fault(&text))
            .flatten()
    }

    fn owner_fault(&self, text: &str) -> Option<Fault> {
        let (Some(prefix), true) = (text.get(..3), matches!(text.len(), 15 | 18)) else {
            let why = format!("Owner ID: id value of incorrect type: {text}");
            return Some(fault("MALFORMED_ID", why, "OwnerId"));
        };
        let number = text.get(5..15).and_then(|number| number.parse().ok());
        let person = number
            .filter(|_| prefix == "005")
            .and_then(|number| self.people().by_number(number));
        let is_queue = self
            .common
            .settings
            .queues
            .iter()
            .any(|name| self.queue_id(name).as_deref() == Some(text));
        match person {
            Some(person) if !person.assignable => {
                let why =
                    format!("operation performed with inactive user [{text}] as owner of case");
                Some((400, "INACTIVE_OWNER_OR_USER", why, Vec::new()))
            }
            Some(_) => None,
            None if is_queue || text == ME => None,
            None => Some(fault(
                "INVALID_CROSS_REFERENCE_KEY",
                "Owner ID: owner cannot be blank".into(),
                "OwnerId",
            )),
        }
    }

    /// Makes a case of these members, or changes one.
    fn write(
        &mut self,
        hit: &Hit<'_>,
        own: Option<&str>,
        more: Option<(&str, &str)>,
    ) -> Result<String, Answer> {
        let mut members = hit
            .call
            .json
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        members.extend(more.map(|(name, value)| (name.to_owned(), Value::from(value))));
        if let Some((status, code, why, fields)) = self.faults(&members, own) {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            return Err(said(status, code, &why, &fields));
        }
        let runs_rules = !hit
            .call
            .header("sforce-auto-assign")
            .is_some_and(|said| said.eq_ignore_ascii_case("FALSE"));
        let rule = self
            .common
            .settings
            .assignment_rule
            .clone()
            .filter(|_| runs_rules);
        members.extend(rule.map(|owner| ("OwnerId".to_owned(), Value::from(owner))));
        let Some(own) = own else {
            let first = [("Status", "New"), ("OwnerId", ME)];
            let mut fields: Map<String, Value> = first
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect();
            fields.extend(members);
            let case = Case {
                fields,
                ..Case::default()
            };
            return Ok(self
                .cases
                .add_as(case, hit.now, |number| id("500", number))
                .id
                .clone());
        };
        let changed = self.cases.change(own, |case| {
            case.item.fields.extend(members);
            case.note(hit.operation, hit.now);
        });
        changed.map(|()| own.to_owned()).ok_or_else(absent)
    }

    fn made(id: &str) -> Value {
        json!({ "id": id, "success": true, "errors": [] })
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        match self.write(hit, None, None) {
            Ok(id) => Answer::json(201, Self::made(&id)).mutated(),
            Err(refused) => refused,
        }
    }

    fn upsert(&mut self, hit: &Hit<'_>) -> Answer {
        let (name, value) = (hit.arg(0), hit.arg(1));
        if !hit.call.at(&format!("/{name}")).is_null() || !hit.call.at("/Id").is_null() {
            let why = format!("The {name} field should not be specified in the sobject data.");
            return said(400, "INVALID_FIELD", &why, &[]);
        }
        let found = match self.by_external(name, value).as_deref() {
            Err(refused) => return refused.clone(),
            Ok([]) => None,
            Ok([one]) => Some(one.id.clone()),
            Ok(several) => return Self::several(hit, several),
        };
        let more = found.is_none().then_some((name, value));
        match self.write(hit, found.as_deref(), more) {
            Ok(id) => {
                let mut body = Self::made(&id);
                body["created"] = found.is_none().into();
                Answer::json(if found.is_none() { 201 } else { 200 }, body).mutated()
            }
            Err(refused) => refused,
        }
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let own = match self.case(hit.arg(0)) {
            Ok(case) => case.id.clone(),
            Err(refused) => return refused,
        };
        match self.write(hit, Some(&own), None) {
            Ok(_) => Answer::empty(204).mutated(),
            Err(refused) => refused,
        }
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        if !self.common.settings.deletes {
            let why = "insufficient access rights on object id";
            return said(400, "INSUFFICIENT_ACCESS_OR_READONLY", why, &[]);
        }
        let own = match self.case(hit.arg(0)) {
            Ok(case) => case.id.clone(),
            Err(refused) => return refused,
        };
        self.cases.change(&own, |case| {
            case.is_deleted = true;
            case.note("delete", hit.now);
        });
        Answer::empty(204).mutated()
    }

    fn comment(&mut self, hit: &Hit<'_>) -> Answer {
        let body = hit.call.field("CommentBody").to_owned();
        if body.trim().is_empty() {
            let why = "Required fields are missing: [CommentBody]";
            return said(400, "REQUIRED_FIELD_MISSING", why, &["CommentBody"]);
        }
        if body.len() > COMMENT_MAX {
            let why = format!("Body: data value too large: … (max length={COMMENT_MAX})");
            return said(400, "STRING_TOO_LONG", &why, &["CommentBody"]);
        }
        let Ok(own) = self
            .case(hit.call.field("ParentId"))
            .map(|case| case.id.clone())
        else {
            return said(
                400,
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
                &["ParentId"],
            );
        };
        let id = self.next("00a");
        let public = hit.call.at("/IsPublished") == true;
        let comment = Comment {
            id: id.clone(),
            body,
            public,
            at: hit.now,
        };
        self.cases.change(&own, |case| {
            case.item.comments.push(comment);
            // The case's own moment stays as it was.
            case.history.push("comment".into());
        });
        Answer::json(201, Self::made(&id)).mutated()
    }

    fn attach(&mut self, hit: &Hit<'_>) -> Answer {
        let [entity, data] = hit.call.parts.as_slice() else {
            return said(
                400,
                "INVALID_MULTIPART_REQUEST",
                "two parts are expected",
                &[],
            );
        };
        let members: Value = serde_json::from_slice(&entity.bytes).unwrap_or_default();
        let is_json = entity.media_type.as_deref() == Some("application/json");
        if entity.name != "entity_content"
            || !is_json
            || data.name != "VersionData"
            || data.file_name.is_none()
        {
            return said(
                400,
                "INVALID_MULTIPART_REQUEST",
                "entity_content comes first, then VersionData",
                &[],
            );
        }
        let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
        if text("PathOnClient").is_empty() {
            let why = "Required fields are missing: [PathOnClient]";
            return said(400, "REQUIRED_FIELD_MISSING", why, &["PathOnClient"]);
        }
        let Ok(own) = self
            .case(&text("FirstPublishLocationId"))
            .map(|case| case.id.clone())
        else {
            return said(
                400,
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
                &["FirstPublishLocationId"],
            );
        };
        let (id, document) = (self.next("068"), self.next("069"));
        let media_type = data.media_type.as_deref().unwrap_or_default();
        let mut file = LedgerFile::of(&text("PathOnClient"), media_type, &data.bytes);
        file.id.clone_from(&id);
        file.created = moment(hit.now);
        let link = json!({ "LinkedEntityId": own, "ContentDocumentId": document,
            "ContentDocument": {
            "Title": text("Title"), "CreatedDate": seconds(hit.now), "LatestPublishedVersionId": id,
            "LatestPublishedVersion": { "Checksum": md5_of(&data.bytes) },
        } });
        self.cases.change(&own, |case| {
            case.item.files.push((file, link));
            case.history.push("attach".into());
        });
        Answer::json(201, Self::made(&id)).mutated()
    }
}

fn md5_of(bytes: &[u8]) -> String {
    use md5::{Digest as _, Md5};
    hex::encode(Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
    use bytes::Bytes;

    use super::super::answer::Body;
    use super::super::fake::Fake;
    use super::*;

    fn asked(site: &mut Salesforce, method: &str, path: &str, body: &Value) -> (u16, Value) {
        with(site, method, path, &[], body)
    }

    fn with(
        site: &mut Salesforce,
        method: &str,
        path: &str,
        more: &[(&'static str, &'static str)],
        body: &Value,
    ) -> (u16, Value) {
        let fixed = [
            ("content-type", "application/json"),
            ("authorization", "Bearer t"),
        ];
        let headers = fixed.iter().chain(more);
        let headers: HeaderMap = headers
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("/services/data/v62.0/{path}");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let bytes = Bytes::from(body.to_string());
        let call = Call::new(method, &path, query, headers, bytes, "http://h".to_owned());
        let answer = site.answer(&call, Utc::now());
        match answer.body {
            Body::Json(body) => (answer.status, body),
            _ => (answer.status, Value::Null),
        }
    }

    fn code(answer: &(u16, Value)) -> (u16, &str) {
        (
            answer.0,
            answer.1[0]["errorCode"].as_str().unwrap_or_default(),
        )
    }

    fn found(site: &mut Salesforce, query: &str) -> (u16, Value) {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        asked(site, "GET", &format!("query?q={query}"), &Value::Null)
    }

    const UPSERT: &str = "sobjects/Case/External_Ticket_Id__c/tkt-1";

    #[test]
    fn an_upsert_creates_and_then_sets_and_a_unique_value_is_one() {
        let mut site = Salesforce::default();
        let none = asked(&mut site, "GET", UPSERT, &Value::Null);
        assert_eq!(code(&none), (404, "NOT_FOUND"));
        let (status, made) = asked(&mut site, "PATCH", UPSERT, &json!({ "Subject": "a" }));
        assert_eq!((status, made["created"].as_bool()), (201, Some(true)));
        let (status, again) = asked(&mut site, "PATCH", UPSERT, &json!({ "Subject": "b" }));
        assert_eq!((status, again["created"].as_bool()), (200, Some(false)));
        assert_eq!(made["id"], again["id"]);
        let other = json!({ "Subject": "c", "External_Ticket_Id__c": "TKT-1" });
        let twice = asked(&mut site, "POST", "sobjects/Case", &other);
        assert_eq!(code(&twice), (400, "DUPLICATE_VALUE"));
        let unknown = asked(&mut site, "PATCH", "sobjects/Case/Nope__c/1", &json!({}));
        assert_eq!(code(&unknown), (404, "NOT_FOUND"));
        assert_eq!(site.ledger(Some("tkt-1")).0[0].summary, "b");
    }

    #[test]
    fn what_a_case_does_not_take_is_refused_by_code() {
        let mut site = Salesforce::default();
        let long = "x".repeat(256);
        for (members, expected) in [
            (json!({ "Nope__c": 1 }), "INVALID_FIELD"),
            (
                json!({ "CaseNumber": "1" }),
                "INVALID_FIELD_FOR_INSERT_UPDATE",
            ),
            (json!({ "Subject": long }), "STRING_TOO_LONG"),
            (
                json!({ "Plan__c": "Lead" }),
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            ),
            (json!({ "Seats__c": "7" }), "JSON_PARSER_ERROR"),
            (json!({ "SuppliedEmail": "ann" }), "INVALID_EMAIL_ADDRESS"),
            (json!({ "OwnerId": "ann" }), "MALFORMED_ID"),
            (
                json!({ "OwnerId": "00Gxx0000000009EAA" }),
                "INVALID_CROSS_REFERENCE_KEY",
            ),
        ] {
            let refused = asked(&mut site, "POST", "sobjects/Case", &members);
            assert_eq!(code(&refused), (400, expected), "{members}");
        }
        assert!(site.ledger(None).0.is_empty());
    }

    #[test]
    fn a_rule_gives_a_changed_case_away_unless_it_is_told_not_to() {
        let mut site = Salesforce::default();
        let rule = json!({ "assignment_rule": "00Gxx0000000001EAA" });
        site.configure(rule.as_object().cloned().unwrap()).unwrap();
        let none = [("sforce-auto-assign", "FALSE")];
        let (_, made) = with(
            &mut site,
            "POST",
            "sobjects/Case",
            &none,
            &json!({ "Subject": "a" }),
        );
        let path = format!("sobjects/Case/{}", made["id"].as_str().unwrap());
        let owner = |site: &Salesforce| site.ledger(None).0[0].assignee.clone().unwrap();

        assert_eq!(owner(&site), ME);
        with(&mut site, "PATCH", &path, &none, &json!({ "Subject": "b" }));
        assert_eq!(owner(&site), ME);
        asked(&mut site, "PATCH", &path, &json!({ "Subject": "c" }));
        assert_eq!(owner(&site), "00Gxx0000000001EAA");
    }

    #[test]
    fn a_query_is_read_filtered_and_paged() {
        let mut site = Salesforce::default();
        site.configure(json!({ "page_size": 1 }).as_object().cloned().unwrap())
            .unwrap();
        for subject in ["O'Neil \\", "other", "o'neil \\"] {
            asked(
                &mut site,
                "POST",
                "sobjects/Case",
                &json!({ "Subject": subject }),
            );
        }
        let text =
            r" SELECT Id, Subject FROM Case WHERE Subject = 'O\'Neil \\' ORDER BY Id ASC LIMIT 9";
        let (_, first) = found(&mut site, text);
        assert_eq!(
            (&first["totalSize"], &first["done"]),
            (&json!(2), &json!(false))
        );
        let next = first["nextRecordsUrl"].as_str().unwrap();
        let next = next
            .strip_prefix("/services/data/v62.0/")
            .unwrap()
            .to_owned();
        let (_, second) = asked(&mut site, "GET", &next, &Value::Null);
        assert_eq!(
            (&second["done"], &second["records"][0]["Subject"]),
            (&json!(true), &json!("o'neil \\"))
        );
        let ended = asked(&mut site, "GET", &next, &Value::Null);
        assert_eq!(code(&ended), (400, "INVALID_QUERY_LOCATOR"));
        for (query, expected) in [
            (
                " SELECT Id FROM Case WHERE Description = 'x'",
                "INVALID_FIELD",
            ),
            (
                " SELECT Id FROM Case WHERE CreatedDate >= '2026-01-02T03:04:05Z'",
                "INVALID_FIELD",
            ),
            (" SELECT Nope FROM Case", "INVALID_FIELD"),
            (" SELECT Id FROM Case WHERE Subject = 'x", "MALFORMED_QUERY"),
            (" SELECT Id FROM Lead", "INVALID_TYPE"),
        ] {
            let refused = found(&mut site, query);
            assert_eq!(code(&refused), (400, expected), "{query}");
        }
    }
}
