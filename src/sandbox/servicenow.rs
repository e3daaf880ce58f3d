//! ServiceNow: the Table API of incidents, and the Attachment API. Written from the sheet
//! `platforms/servicenow.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | Basic, any bearer token, or the header `api_key_header` |
//! | token endpoint | `/oauth_token.do`: client credentials |
//! | queries | `=`, `!=`, `>=`, `IN`, `STARTSWITH`, `^OR`, orders; what is not understood is ignored, or finds nothing where `invalid_query_returns_no_rows` says so; moments are read in the user's time zone |
//! | pages | the limit counts before hidden rows are left out; `X-Total-Count`, `Link` |
//! | silences | columns that are unknown or in `unwritable` are not set, `unreadable` ones not shown, rows with a value of `hidden_values` left out, long texts cut |
//! | policies | what is resolved, closed or on hold needs its fields; `mandatory` columns of a create |
//! | people | `known+NAME@example.test` is an active user; listed ones are, if they can be assigned |
//!
//! Not modelled: other tables, display values, business rules, the state model's order, references
//! to rows that are not there (they are kept as they come).
//!
//! Limits: 50,000 incidents and 128 MiB a site.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Grant, Rules};
use super::kit::magic::{People, Person};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{moment, weigh_map};
use super::kit::{
    self, Budget, Common, Credential, CredentialSource, Entry, Hit, Item, RateHeaders, Refusal,
    Route, Shelf, Tabled, checks, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Columns of an incident that can be set, and how long they are.
const COLUMNS: [(&str, usize); 17] = [
    ("short_description", 160),
    ("description", 4_000),
    ("state", 10),
    ("impact", 10),
    ("urgency", 10),
    ("category", 40),
    ("subcategory", 40),
    ("caller_id", 32),
    ("assignment_group", 32),
    ("assigned_to", 32),
    ("correlation_id", 100),
    ("correlation_display", 100),
    ("close_code", 40),
    ("close_notes", 4_000),
    ("hold_reason", 10),
    ("comments", 4_000),
    ("work_notes", 4_000),
];
/// Columns of those that append to the journal.
const JOURNALS: [&str; 2] = ["comments", "work_notes"];
/// Labels of columns that a policy may demand.
const LABELS: [(&str, &str); 6] = [
    ("close_code", "Resolution code"),
    ("close_notes", "Resolution notes"),
    ("hold_reason", "On hold reason"),
    ("comments", "Additional comments"),
    ("caller_id", "Caller"),
    ("short_description", "Short description"),
];
/// Rows of a page, unless it says; and at most.
const PAGE: usize = 10_000;
const PAGES: By = By::Offset("sysparm_offset", "sysparm_limit");

/// A row as the API shows it: every value is text.
type Row = Map<String, Value>;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these are accepted: `user:secret`, or the secret alone.
    credentials: Vec<String>,
    budget: Option<Budget>,
    api_key_header: String,
    access_token_seconds: i64,
    people: Vec<Person>,
    known_people: bool,
    groups: Vec<String>,
    /// Roles of the account; `null`: it may not read them.
    roles: Option<Vec<String>>,
    /// Time zone of the account, and its hours before UTC.
    time_zone: String,
    zone_hours: i64,
    /// By element, values and labels; `state` is defined for all tasks.
    choices: BTreeMap<String, Vec<(String, String)>>,
    custom_columns: Vec<String>,
    /// Tables that the account may not read.
    forbidden_tables: Vec<String>,
    unwritable: Vec<String>,
    unreadable: Vec<String>,
    hidden_values: Vec<String>,
    /// Columns that a query does not understand.
    unqueryable: Vec<String>,
    invalid_query_returns_no_rows: bool,
    /// Columns that a new incident must have.
    mandatory: Vec<String>,
    /// Whether the correlation id has a unique index.
    unique_correlation: bool,
    may_delete: bool,
    /// Endings of names of files that are refused.
    refused_extensions: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let of = |element: &str, choices: &[(&str, &str)]| {
            let owned = |(value, label): &(&str, &str)| ((*value).to_owned(), (*label).to_owned());
            (element.to_owned(), choices.iter().map(owned).collect())
        };
        let states = [
            ("1", "New"),
            ("2", "In Progress"),
            ("3", "On Hold"),
            ("6", "Resolved"),
            ("7", "Closed"),
            ("8", "Canceled"),
        ];
        let reasons = [
            ("1", "Awaiting Caller"),
            ("3", "Awaiting Problem"),
            ("4", "Awaiting Vendor"),
            ("5", "Awaiting Change"),
        ];
        let codes = ["Solution provided", "Workaround provided", "Duplicate"];
        let codes: Vec<_> = codes.iter().map(|code| (*code, *code)).collect();
        let categories = [
            ("inquiry", "Inquiry / Help"),
            ("software", "Software"),
            ("hardware", "Hardware"),
        ];
        Self {
            credentials: Vec::new(),
            budget: None,
            api_key_header: "x-sn-apikey".into(),
            access_token_seconds: 1_800,
            people: Vec::new(),
            known_people: true,
            groups: vec!["Service Desk".into()],
            roles: Some(vec!["itil".into()]),
            time_zone: "GMT".into(),
            zone_hours: 0,
            choices: BTreeMap::from([
                of("state", &states),
                of("hold_reason", &reasons),
                of("close_code", &codes),
                of("category", &categories),
            ]),
            custom_columns: vec!["u_plan".into(), "u_room".into()],
            forbidden_tables: Vec::new(),
            unwritable: Vec::new(),
            unreadable: Vec::new(),
            hidden_values: Vec::new(),
            unqueryable: Vec::new(),
            invalid_query_returns_no_rows: false,
            mandatory: vec!["short_description".into()],
            unique_correlation: false,
            may_delete: true,
            refused_extensions: vec![".exe".into()],
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

/// An entry of the journal.
#[derive(Debug, Clone)]
struct Journal {
    sys_id: String,
    element: &'static str,
    value: String,
    by: String,
    created: DateTime<Utc>,
}

/// An incident.
#[derive(Debug, Default)]
struct Incident {
    key: String,
    columns: Row,
    journal: Vec<Journal>,
    files: Vec<LedgerFile>,
    changes: u64,
    by: String,
}

impl Incident {
    fn text(&self, column: &str) -> &str {
        let value = self.columns.get(column).and_then(Value::as_str);
        value.unwrap_or_default()
    }
}

impl Item for Incident {
    fn tags(&self) -> Vec<String> {
        let id = self.text("correlation_id");
        let id = (!id.is_empty()).then(|| id.to_owned());
        id.into_iter().collect()
    }

    fn weight(&self) -> usize {
        let journal = self.journal.iter().map(|entry| entry.value.len() + 200);
        weigh_map(&self.columns) + journal.sum::<usize>()
    }
}

/// One instance.
pub(super) struct ServiceNow {
    common: Common<Settings>,
    incidents: Shelf<Incident>,
    /// Of entries and files.
    next_id: u64,
}

impl Default for ServiceNow {
    fn default() -> Self {
        Self {
            common: Common::default(),
            incidents: Shelf::new(50_000, 128 << 20, 10_001),
            next_id: 1,
        }
    }
}

/// The id of a row: of the same thing always the same.
fn sys_id(kind: &str, name: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("{kind}/{name}")));
    digest.get(..32).unwrap_or_default().to_owned()
}

fn seconds(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn row(columns: &[(&str, &str)]) -> Row {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
    columns.iter().map(own).collect()
}

fn query(call: &Call) -> &str {
    call.param("sysparm_query").unwrap_or_default()
}

fn by_mark(call: &Call) -> bool {
    query(call).starts_with("correlation_id=")
}

fn by_email(call: &Call) -> bool {
    query(call).starts_with("email=")
}

fn sets(call: &Call, column: &str) -> bool {
    call.json
        .as_ref()
        .is_some_and(|json| json.get(column).is_some())
}

fn says(call: &Call) -> bool {
    JOURNALS.iter().any(|column| sets(call, column))
}

fn holds(call: &Call) -> bool {
    sets(call, "state") && says(call)
}

fn closes(call: &Call) -> bool {
    sets(call, "state") && matches!(call.field("state"), "6" | "7")
}

fn sets_state(call: &Call) -> bool {
    sets(call, "state")
}

fn assigns(call: &Call) -> bool {
    sets(call, "assigned_to")
}

impl Tabled for ServiceNow {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth_token.do", "token", Self::token).open(),
        view("GET", "/api/now/table/sys_user", "search_users", Self::users).when(by_email),
        view("GET", "/api/now/table/sys_user", "myself", Self::users),
        view("GET", "/api/now/table/sys_user_group", "list_groups", Self::groups),
        view("GET", "/api/now/table/sys_user_has_role", "list_roles", Self::roles),
        view("GET", "/api/now/table/sys_choice", "list_choices", Self::choices),
        view("GET", "/api/now/table/sys_dictionary", "list_columns", Self::dictionary),
        view("GET", "/api/now/table/sys_journal_field", "list_journal", Self::journal),
        view("GET", "/api/now/table/incident", "find_incident", Self::list).when(by_mark),
        view("GET", "/api/now/table/incident", "list_incidents", Self::list),
        route("POST", "/api/now/table/incident", "create_incident", Self::create),
        view("GET", "/api/now/table/incident/*", "get_incident", Self::get),
        route("PATCH", "/api/now/table/incident/*", "hold", Self::update).when(holds),
        route("PATCH", "/api/now/table/incident/*", "comment", Self::update).when(says),
        route("PATCH", "/api/now/table/incident/*", "close_incident", Self::update).when(closes),
        route("PATCH", "/api/now/table/incident/*", "set_state", Self::update).when(sets_state),
        route("PATCH", "/api/now/table/incident/*", "assign", Self::update).when(assigns),
        route("PATCH", "/api/now/table/incident/*", "update_incident", Self::update),
        route("DELETE", "/api/now/table/incident/*", "delete_incident", Self::delete),
        route("POST", "/api/now/attachment/file", "attach", Self::attach),
        view("GET", "/api/now/attachment", "list_files", Self::files),
        view("GET", "/api/now/table/*", "unknown_table", Self::no_table),
    ];
    const CREDENTIALS: &'static [CredentialSource] =
        &[CredentialSource::Basic, CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "X-RateLimit-Limit",
        remaining: "",
        reset: "X-RateLimit-Reset",
        reset_in: Reset::EpochSeconds,
        retry_after: true,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn credential(&self, call: &Call) -> Result<Credential, Refusal> {
        match call.header(&self.common.settings.api_key_header) {
            Some(key) => Ok(Credential {
                user: None,
                secret: key.to_owned(),
            }),
            None => checks::credential(call, Self::CREDENTIALS),
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let call = hit.call;
        let accepts = call.header("accept").unwrap_or("*/*");
        if !["application/json", "*/*"].contains(&accepts) {
            let detail = "Accept header must be application/json";
            return Some(failure(
                406,
                "Requested representation not acceptable",
                detail,
            ));
        }
        let is_file = hit.operation == "attach";
        let writes = matches!(call.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE");
        if writes && !is_file && !call.declares_json() {
            return Some(failure(415, "Unsupported media type", "Content-Type"));
        }
        let has_body = writes && !is_file && call.method.as_str() != "DELETE";
        if has_body && !call.json.as_ref().is_some_and(Value::is_object) {
            let detail = "Error while parsing the body";
            return Some(failure(400, "Exception while reading request", detail));
        }
        let table = call.segments.get(3).map(String::as_str);
        let mut forbidden = self.common.settings.forbidden_tables.iter();
        forbidden.any(|own| Some(own.as_str()) == table).then(|| {
            let detail = "Failed API level ACL Validation";
            failure(403, "User Not Authorized", detail)
        })
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Expired | Refusal::Status(401) => {
                if call.path == "/oauth_token.do" {
                    let body =
                        json!({ "error": "server_error", "error_description": "access_denied" });
                    return Answer::json(401, body);
                }
                let detail = "Required to provide Auth information";
                failure(401, "User Not Authenticated", detail)
                    .header("WWW-Authenticate", "BASIC realm=\"Service-now\"")
            }
            Refusal::Forbidden | Refusal::Status(403) => {
                let detail = "ACL Exception Insert Failed due to security constraints";
                failure(403, "Operation Failed", detail)
            }
            Refusal::NoPath => failure(400, "Requested URI does not represent any resource", ""),
            Refusal::OtherMethods(methods) => {
                failure(405, "Method not supported", "").header("Allow", &methods.join(", "))
            }
            Refusal::Status(404) => gone(),
            Refusal::Status(409) => conflict(),
            Refusal::Budget(_) | Refusal::Status(429) => {
                let detail = "Rate limit of 100 requests per hour for Table API exceeded";
                failure(429, "Rate limit exceeded", detail)
            }
            Refusal::Status(status) => failure(*status, "a fault on demand", ""),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.incidents.ledger(label, line)
    }
}

/// An incident as the ledger has it. The correlation id is its label.
fn line(incident: &Entry<Incident>) -> LedgerIssue {
    let some = |column: &str| {
        let text = incident.text(column);
        (!text.is_empty()).then(|| text.to_owned())
    };
    LedgerIssue {
        key: incident.key.clone(),
        summary: incident.text("short_description").to_owned(),
        description: incident.text("description").into(),
        issue_type: incident.text("category").to_owned(),
        status: incident.text("state").to_owned(),
        resolution: some("close_code"),
        priority: some("priority"),
        assignee: some("assigned_to"),
        labels: incident.item.tags(),
        fields: incident.columns.clone(),
        comments: incident
            .journal
            .iter()
            .map(|entry| LedgerComment {
                id: entry.sys_id.clone(),
                body: entry.value.clone().into(),
                public: entry.element == "comments",
                properties: Map::new(),
                created: moment(entry.created),
            })
            .collect(),
        attachments: incident.files.clone(),
        ..incident.line()
    }
}

// How it refuses.

fn failure(status: u16, message: &str, detail: &str) -> Answer {
    let detail = if detail.is_empty() {
        Value::Null
    } else {
        detail.into()
    };
    let error = json!({ "message": message, "detail": detail });
    Answer::json(status, json!({ "error": error, "status": "failure" }))
}

fn gone() -> Answer {
    let detail = "Record doesn't exist or ACL restricts the record retrieval";
    failure(404, "No Record found", detail)
}

fn conflict() -> Answer {
    let detail = "Unique Key violation detected by database";
    failure(409, "Operation Failed", detail)
}

/// A refusal by policy: the labels of what is missing.
fn missing(columns: &[&str]) -> Answer {
    let label = |column: &&str| {
        let known = LABELS.iter().find(|(name, _)| name == column);
        known.map_or(*column, |(_, label)| *label).to_owned()
    };
    let labels: Vec<String> = columns.iter().map(label).collect();
    let detail = format!(
        "Data Policy Exception: The following fields are mandatory: {}",
        labels.join(", ")
    );
    failure(403, "Operation Failed", &detail)
}

// What a query finds.

/// A condition of a query, as far as it is understood.
enum Part<'q> {
    Condition(&'q str, &'static str, String),
    Order(&'q str, bool),
    Ignored,
}

impl<'q> Part<'q> {
    fn read(text: &'q str, columns: &[&str], zone: TimeDelta, me: &str) -> Self {
        for (word, ascending) in [("ORDERBYDESC", false), ("ORDERBY", true)] {
            if let Some(column) = text.strip_prefix(word) {
                return if columns.contains(&column) {
                    Self::Order(column, ascending)
                } else {
                    Self::Ignored
                };
            }
        }
        // The longest name, as one may begin another.
        let column = columns.iter().filter(|column| text.starts_with(**column));
        let Some(column) = column.max_by_key(|column| column.len()) else {
            return Self::Ignored;
        };
        let (column, rest) = text.split_at(column.len());
        let operators = ["STARTSWITH", ">=", "!=", "IN", "="];
        let Some(operator) = operators.iter().find(|own| rest.starts_with(**own)) else {
            return Self::Ignored;
        };
        let value = &rest[operator.len()..];
        let value = match NaiveDateTime::parse_from_str(value, "%Y-%m-%d %H:%M:%S") {
            // In the zone of who asks.
            Ok(at) => seconds(at.and_utc() - zone),
            Err(_) if value == "javascript:gs.getUserID()" => me.to_owned(),
            Err(_) => value.to_owned(),
        };
        Self::Condition(column, operator, value)
    }
}

fn text_of<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn fits(row: &Row, (column, operator, value): &(&str, &str, String)) -> bool {
    let own = text_of(row, column);
    match *operator {
        "=" => own.eq_ignore_ascii_case(value),
        "!=" => !own.eq_ignore_ascii_case(value),
        ">=" => own >= value.as_str(),
        "IN" => value.split(',').any(|one| one == own),
        _ => own.starts_with(value.as_str()),
    }
}

// What it does.
impl ServiceNow {
    fn id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        sys_id(kind, &self.next_id.to_string())
    }

    fn people(&self) -> People<'_> {
        People {
            listed: &self.common.settings.people,
            with_known: self.common.settings.known_people,
        }
    }

    /// The rows of a table that a request's query finds; `columns` are those that the table has.
    fn found(&self, hit: &Hit<'_>, rows: Vec<Row>, columns: &[&str]) -> Answer {
        let settings = &self.common.settings;
        let zone = TimeDelta::hours(settings.zone_hours);
        let me = sys_id("user", &hit.caller.name);
        let known = columns.iter().copied();
        let known = known.filter(|name| !settings.unqueryable.iter().any(|own| own == name));
        let columns: Vec<&str> = known.collect();
        let mut rows = rows;
        let mut orders = Vec::new();
        let mut conditions: Vec<Vec<(&str, &str, String)>> = Vec::new();
        let text = query(hit.call).replace("^OR", "^\u{1}");
        // An order begins with the same letters as an alternative.
        let text = text.replace("^\u{1}DERBY", "^ORDERBY");
        for part in text.split('^').filter(|part| !part.is_empty()) {
            let (part, is_alternative) = match part.strip_prefix('\u{1}') {
                Some(part) => (part, true),
                None => (part, false),
            };
            match (Part::read(part, &columns, zone, &me), conditions.last_mut()) {
                (Part::Order(column, ascending), _) => orders.push((column, ascending)),
                (Part::Condition(a, b, c), Some(last)) if is_alternative => last.push((a, b, c)),
                (Part::Condition(a, b, c), _) => conditions.push(vec![(a, b, c)]),
                (Part::Ignored, _) if settings.invalid_query_returns_no_rows => rows.clear(),
                (Part::Ignored, _) => {}
            }
        }
        rows.retain(|row| {
            conditions
                .iter()
                .all(|any| any.iter().any(|one| fits(row, one)))
        });
        for (column, ascending) in orders.into_iter().rev() {
            rows.sort_by(|a, b| {
                let order = text_of(a, column).cmp(text_of(b, column));
                if ascending { order } else { order.reverse() }
            });
        }
        let Some(page) = PAGES.page(hit.call, rows, PAGE, PAGE) else {
            return failure(400, "Invalid offset", "");
        };
        let is_hidden = |row: &&Row| {
            let mut values = row.values().filter_map(Value::as_str);
            values.any(|value| settings.hidden_values.iter().any(|hidden| hidden == value))
        };
        let shown = page.items.iter().filter(|row| !is_hidden(row));
        let shown: Vec<Value> = shown.map(|row| self.shown(hit.call, row)).collect();
        let answer = Answer::json(200, json!({ "result": shown }));
        if hit.call.param("sysparm_no_count") == Some("true") {
            return answer;
        }
        let total = page.total.to_string();
        page.link(hit.call, PAGES, answer)
            .header("X-Total-Count", &total)
    }

    /// A row as a request wants it, without what an ACL hides.
    fn shown(&self, call: &Call, row: &Row) -> Value {
        // None named is all of them, as the package `pysnow` asks.
        let wanted = call
            .param("sysparm_fields")
            .filter(|wanted| !wanted.is_empty());
        let is_wanted = |name: &String| {
            wanted.is_none_or(|wanted| wanted.split(',').any(|one| one.trim() == name))
                && !self.common.settings.unreadable.contains(name)
        };
        let shown = row.iter().filter(|(name, _)| is_wanted(name));
        let with_links = call.param("sysparm_exclude_reference_link") != Some("true");
        let shown = shown.map(|(name, value)| {
            let is_reference = matches!(
                name.as_str(),
                "caller_id" | "assigned_to" | "assignment_group"
            );
            let value = if is_reference && with_links && value != "" {
                json!({ "link": format!("{}/api/now/table/x", call.base), "value": value })
            } else {
                value.clone()
            };
            (name.clone(), value)
        });
        shown.collect::<Map<_, _>>().into()
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let common = &mut self.common;
        let rules = Rules {
            grants: &[Grant::ClientCredentials],
            ..Rules::refreshing(common.settings.access_token_seconds)
        };
        match common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["scope"] = "useraccount".into();
                Answer::json(200, body).mutated()
            }
            Err(_) => self.refuse(&Refusal::Wrong, hit.call, hit.now),
        }
    }

    fn users(&self, hit: &Hit<'_>) -> Answer {
        let me = &hit.caller.name;
        let zone = &self.common.settings.time_zone;
        let own = sys_id("user", me);
        let own = row(&[
            ("sys_id", &own),
            ("user_name", me),
            ("name", "Ticketwire"),
            ("email", "ticketwire@example.test"),
            ("active", "true"),
            ("time_zone", zone),
        ]);
        let asked = query(hit.call).strip_prefix("email=").unwrap_or_default();
        let asked = asked.split('^').next().unwrap_or_default();
        let mut people = self.common.settings.people.clone();
        if !people.iter().any(|person| person.email == asked) {
            people.extend(self.people().by_email(asked));
        }
        let others = people.iter().map(|person| {
            row(&[
                ("sys_id", &sys_id("user", &person.account_id)),
                ("user_name", &person.display_name),
                ("name", &person.display_name),
                ("email", &person.email),
                ("active", &person.assignable.to_string()),
                ("time_zone", ""),
            ])
        });
        let rows = std::iter::once(own).chain(others).collect();
        let columns = ["sys_id", "user_name", "name", "email", "active"];
        self.found(hit, rows, &columns)
    }

    fn groups(&self, hit: &Hit<'_>) -> Answer {
        let groups = self.common.settings.groups.iter();
        let group = |name: &String| {
            let id = sys_id("group", name);
            row(&[("sys_id", &id), ("name", name), ("active", "true")])
        };
        let rows = groups.map(group).collect();
        self.found(hit, rows, &["sys_id", "name", "active"])
    }

    fn roles(&self, hit: &Hit<'_>) -> Answer {
        let Some(roles) = &self.common.settings.roles else {
            return self.refuse(&Refusal::Forbidden, hit.call, hit.now);
        };
        let me = sys_id("user", &hit.caller.name);
        let role = |name: &String| row(&[("user", &me), ("role.name", name)]);
        let rows = roles.iter().map(role).collect();
        self.found(hit, rows, &["user", "role.name"])
    }

    fn choices(&self, hit: &Hit<'_>) -> Answer {
        let all = self.common.settings.choices.iter();
        let choices = all.flat_map(|(element, choices)| {
            let table = if element == "state" {
                "task"
            } else {
                "incident"
            };
            choices.iter().flat_map(move |(value, label)| {
                // Another language has other labels.
                [("en", label.as_str()), ("de", "Auf Deutsch")].map(|(language, label)| {
                    row(&[
                        ("name", table),
                        ("element", element),
                        ("value", value),
                        ("label", label),
                        ("language", language),
                        ("inactive", "false"),
                    ])
                })
            })
        });
        let columns = ["name", "element", "value", "label", "language", "inactive"];
        self.found(hit, choices.collect(), &columns)
    }

    fn dictionary(&self, hit: &Hit<'_>) -> Answer {
        let columns = self.common.settings.custom_columns.iter();
        let column = |name: &String| {
            row(&[
                ("name", "incident"),
                ("element", name),
                ("column_label", name),
                ("internal_type", "string"),
                ("mandatory", "false"),
                ("active", "true"),
            ])
        };
        let rows = columns.map(column).collect();
        self.found(hit, rows, &["name", "element", "active"])
    }

    fn journal(&self, hit: &Hit<'_>) -> Answer {
        // The journal of one incident is all that is asked for here.
        let id = query(hit.call).strip_prefix("element_id=");
        let id = id.and_then(|rest| rest.split('^').next());
        let incidents: Vec<&Entry<Incident>> = match id.map(|id| self.incidents.find(id)) {
            Some(found) => found.into_iter().collect(),
            None => self.incidents.all().collect(),
        };
        let entries = incidents.iter().flat_map(|incident| {
            incident.journal.iter().map(|entry| {
                row(&[
                    ("sys_id", &entry.sys_id),
                    ("name", "incident"),
                    ("element_id", &incident.id),
                    ("element", entry.element),
                    ("value", &entry.value),
                    ("sys_created_by", &entry.by),
                    ("sys_created_on", &seconds(entry.created)),
                ])
            })
        });
        let columns = ["sys_id", "name", "element_id", "element", "sys_created_on"];
        self.found(hit, entries.collect(), &columns)
    }

    /// An incident's row.
    fn row(incident: &Entry<Incident>) -> Row {
        let mut row = incident.columns.clone();
        let changes = incident.changes.to_string();
        for (name, value) in [
            ("sys_id", incident.id.as_str()),
            ("number", &incident.key),
            ("sys_created_on", &seconds(incident.created)),
            ("sys_updated_on", &seconds(incident.updated)),
            ("sys_updated_by", &incident.by),
            ("sys_mod_count", &changes),
        ] {
            row.insert(name.to_owned(), value.into());
        }
        row
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let rows = self.incidents.all().map(Self::row).collect();
        let custom = self.common.settings.custom_columns.iter();
        let own = ["sys_id", "number", "sys_created_on", "sys_updated_on"];
        let known = COLUMNS.iter().map(|(name, _)| *name);
        let known = known.chain(custom.map(String::as_str)).chain(own);
        self.found(hit, rows, &known.collect::<Vec<_>>())
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        match self.incidents.find(hit.arg(0)) {
            Some(incident) => {
                let shown = self.shown(hit.call, &Self::row(incident));
                Answer::json(200, json!({ "result": shown }))
            }
            None => gone(),
        }
    }

    fn no_table(&self, hit: &Hit<'_>) -> Answer {
        let table = hit.arg(0);
        failure(400, &format!("Invalid table {table}"), "")
    }

    /// What a body sets: columns that are there and may be written, as long as they can be.
    fn accepted(&self, body: &Row) -> Row {
        let settings = &self.common.settings;
        let accepted = body.iter().filter_map(|(name, value)| {
            let stock = COLUMNS.iter().find(|(own, _)| own == name);
            let is_custom = settings.custom_columns.contains(name);
            let max = stock.map(|(_, max)| *max).or(is_custom.then_some(255))?;
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let text: String = text.chars().take(max).collect();
            let may = !settings.unwritable.contains(name);
            may.then(|| (name.clone(), text.into()))
        });
        accepted.collect()
    }

    /// Columns that a policy demands and that neither the row nor the body has.
    fn lacking(before: Option<&Incident>, body: &Row) -> Vec<&'static str> {
        let after = |column: &str| match (body.get(column), before) {
            (Some(value), _) => value.as_str().unwrap_or_default().to_owned(),
            (None, Some(before)) => before.text(column).to_owned(),
            (None, None) => String::new(),
        };
        let mut needed: Vec<&'static str> = match after("state").as_str() {
            "6" | "7" => vec!["close_code", "close_notes"],
            "3" => vec!["hold_reason"],
            _ => Vec::new(),
        };
        needed.retain(|column| after(column).is_empty());
        let is_held = body.contains_key("state") && after("state") == "3";
        if is_held && after("hold_reason") == "1" && !body.contains_key("comments") {
            needed.push("comments");
        }
        needed
    }

    /// Sets what a body says.
    fn set(&mut self, incident: &mut Incident, accepted: Row, hit: &Hit<'_>) {
        for (name, value) in accepted {
            let Some(element) = JOURNALS.iter().find(|own| **own == name) else {
                incident.columns.insert(name, value);
                continue;
            };
            let value = value.as_str().unwrap_or_default().to_owned();
            if !value.is_empty() {
                incident.journal.push(Journal {
                    sys_id: self.id("journal"),
                    element,
                    value,
                    by: hit.caller.name.clone(),
                    created: hit.now,
                });
            }
        }
        let priority = match (incident.text("impact"), incident.text("urgency")) {
            ("1", "1") => "1",
            ("1", "2") | ("2", "1") => "2",
            ("1", "3") | ("2", "2") | ("3", "1") => "3",
            ("2", "3") | ("3", "2") => "4",
            _ => "5",
        };
        incident.columns.insert("priority".into(), priority.into());
        incident.by.clone_from(&hit.caller.name);
        incident.changes += 1;
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let body = hit.call.json.as_ref().and_then(Value::as_object);
        let accepted = self.accepted(&body.cloned().unwrap_or_default());
        let mut lacking = Self::lacking(None, &accepted);
        let mandatory = self.common.settings.mandatory.clone();
        let empty = mandatory
            .iter()
            .filter(|name| text_of(&accepted, name).is_empty());
        lacking.extend(empty.filter_map(|name| {
            let known = COLUMNS.iter().find(|(own, _)| own == name);
            known.map(|(own, _)| *own)
        }));
        if !lacking.is_empty() {
            return missing(&lacking);
        }
        let mark = text_of(&accepted, "correlation_id");
        let is_there = !mark.is_empty() && self.incidents.tagged(mark).next().is_some();
        if is_there && self.common.settings.unique_correlation {
            return conflict();
        }
        let known = COLUMNS.iter().map(|(name, _)| *name);
        let custom = self.common.settings.custom_columns.iter();
        let all = known.chain(custom.map(String::as_str));
        let all = all.filter(|name| !JOURNALS.contains(name));
        let mut incident = Incident {
            columns: all.map(|name| (name.to_owned(), "".into())).collect(),
            ..Incident::default()
        };
        for (name, value) in [("state", "1"), ("impact", "3"), ("urgency", "3")] {
            incident.columns.insert(name.into(), value.into());
        }
        self.set(&mut incident, accepted, hit);
        incident.changes = 0;
        incident.key = format!("INC{:07}", self.next_id + 10_000);
        let seed = self.id("incident");
        let id = self
            .incidents
            .add_as(incident, hit.now, |_| seed)
            .id
            .clone();
        let location = format!("{}/api/now/table/incident/{id}", hit.call.base);
        let row = self.incidents.find(&id).map(Self::row).unwrap_or_default();
        let shown = self.shown(hit.call, &row);
        Answer::json(201, json!({ "result": shown }))
            .header("Location", &location)
            .mutated()
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let body = hit.call.json.as_ref().and_then(Value::as_object);
        let accepted = self.accepted(&body.cloned().unwrap_or_default());
        let Some(before) = self.incidents.find(hit.arg(0)) else {
            return gone();
        };
        let lacking = Self::lacking(Some(&before.item), &accepted);
        if !lacking.is_empty() {
            return missing(&lacking);
        }
        let Some(mut changed) = self.incidents.change(hit.arg(0), |incident| {
            incident.note(hit.operation, hit.now);
            std::mem::take(&mut incident.item)
        }) else {
            return gone();
        };
        self.set(&mut changed, accepted, hit);
        let row = self.incidents.change(hit.arg(0), |incident| {
            incident.item = changed;
            Self::row(incident)
        });
        let shown = self.shown(hit.call, &row.unwrap_or_default());
        Answer::json(200, json!({ "result": shown })).mutated()
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        if !self.common.settings.may_delete {
            let detail = "ACL Exception Delete Failed due to security constraints";
            return failure(403, "Operation Failed", detail);
        }
        match self.incidents.remove(hit.arg(0)) {
            Some(_) => Answer::empty(204).mutated(),
            None => gone(),
        }
    }

    fn attach(&mut self, hit: &Hit<'_>) -> Answer {
        let param = |name: &str| hit.call.param(name).unwrap_or_default();
        let (table, id, name) = (
            param("table_name"),
            param("table_sys_id"),
            param("file_name"),
        );
        let media_type = hit.call.header("content-type").unwrap_or_default();
        if table.is_empty() || id.is_empty() || name.is_empty() || media_type.is_empty() {
            return failure(
                400,
                "Missing parameter",
                "table_name, table_sys_id, file_name",
            );
        }
        if table != "incident" || self.incidents.find(id).is_none() {
            return gone();
        }
        let mut refused = self.common.settings.refused_extensions.iter();
        if refused.any(|ending| name.ends_with(ending.as_str())) {
            let detail = "Attachments of this extension are not allowed";
            return failure(403, "Operation Failed", detail);
        }
        let mut file = LedgerFile::of(name, media_type, &hit.call.body);
        file.id = self.id("file");
        file.created = moment(hit.now);
        let shown = Self::shown_file(&file, id, hit.now);
        self.incidents.change(id, |incident| {
            incident.files.push(file);
            incident.note("attach", hit.now);
        });
        Answer::json(201, json!({ "result": shown })).mutated()
    }

    fn shown_file(file: &LedgerFile, incident: &str, at: DateTime<Utc>) -> Row {
        row(&[
            ("sys_id", &file.id),
            ("table_name", "incident"),
            ("table_sys_id", incident),
            ("file_name", &file.name),
            ("content_type", &file.media_type),
            ("size_bytes", &file.size.to_string()),
            ("sys_created_on", &seconds(at)),
        ])
    }

    fn files(&self, hit: &Hit<'_>) -> Answer {
        let rows = self.incidents.all().flat_map(|incident| {
            incident.files.iter().map(|file| {
                let at = file.created.parse().unwrap_or(incident.updated);
                Self::shown_file(file, &incident.id, at)
            })
        });
        let columns = ["table_name", "table_sys_id", "file_name", "sys_created_on"];
        self.found(hit, rows.collect(), &columns)
    }
}
