//! Asana: tasks of one project, API 1.0. Written from Asana's OpenAPI file and guides.
//!
//! | | |
//! | --- | --- |
//! | credentials | any bearer token is a person's; `/-/oauth_token` refreshes, keeps the refresh token, and its access tokens end |
//! | bodies | `{"data": {…}}`; answers show what `opt_fields` names, always the gid |
//! | `external` | kept for apps (OAuth) alone; a name that another task has is refused |
//! | rich text | one `<body>` of well-formed XML with the tags that Asana knows; comments have fewer |
//! | listing | by one project, no order, `limit` 1 to 100, offsets that fit their query |
//! | moves | `addTask` of a section leaves `modified_at` as it was |
//! | custom fields | those of the setting; what is none of the project, no choice or of another kind is refused |
//! | tags | a name may be had twice; `tags` of a task are set by `addTag` and `removeTag` after it is made |
//! | webhooks | of the project; made only if the address gives back its secret; `webhooks` sets who may and how they fare |
//! | people | `known+NAME@example.test` is a user of the workspace; anybody else is refused as assignee |
//!
//! Not modelled: other projects, subtasks, search, batches, events, what webhooks deliver,
//! portfolios. 50,000 tasks and 128 MiB a site; 1,000 stories and files a task.

mod hooks;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::Rules;
use super::kit::magic::{People, Person};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{moment, weigh_map};
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, HookRules, Item, RateHeaders, Refusal,
    Route, Shelf, Tabled, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};
use super::outgoing::Question;

/// Who the token's owner is.
const ME: &str = "1100000000000099";
/// Characters of a name, and of notes and comments.
const NAME_MAX: usize = 1_000;
const TEXT_MAX: usize = 65_000;
/// Bytes of a file.
const FILE_MAX: usize = 100 << 20;
/// Stories and files that a task keeps.
const KEPT_MAX: usize = 1_000;
const PAGES: By = By::Cursor("offset", "limit");
/// Tags of rich text: of notes, and what of it comments have not.
const RICH: [&str; 13] = [
    "strong",
    "em",
    "u",
    "s",
    "code",
    "pre",
    "ol",
    "ul",
    "li",
    "a",
    "blockquote",
    "h1",
    "h2",
];
const NOTES_ONLY: [&str; 3] = ["h1", "h2", "hr"];

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these tokens are accepted.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// Life of an access token.
    access_token_seconds: i64,
    workspace: String,
    project: String,
    archived: bool,
    /// Whether the user may only comment: reads work, and tasks are refused.
    comment_only: bool,
    /// Whether sections may be listed, which granular scopes may not allow.
    lists_sections: bool,
    /// `gid`, `name` each.
    sections: Vec<Value>,
    /// As the API lists them.
    fields: Vec<Value>,
    /// Most tasks of a page.
    page: usize,
    /// Whether tasks and stories show their texts.
    texts: bool,
    /// A rule of the project takes `completed` back.
    reopens: bool,
    /// Users besides those known by name.
    people: Vec<Person>,
    known_people: bool,
    webhooks: HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        let section =
            |n: u32, name: &str| json!({ "gid": format!("130000000000000{n}"), "name": name });
        Self {
            credentials: Vec::new(),
            budget: None,
            access_token_seconds: 3_600,
            webhooks: HookRules::default(),
            workspace: "1100000000000001".into(),
            project: "1200000000000001".into(),
            archived: false,
            comment_only: false,
            lists_sections: true,
            sections: vec![
                section(1, "Untitled section"),
                section(2, "To do"),
                section(3, "Doing"),
                section(4, "Done"),
            ],
            fields: default_fields(),
            page: 100,
            texts: true,
            reopens: false,
            people: Vec::new(),
            known_people: true,
        }
    }
}

/// One of each kind.
fn default_fields() -> Vec<Value> {
    let field = |n: u32, name: &str, kind: &str, choices: &[&str]| {
        let gid = format!("140000000000000{n}");
        let options = choices.iter().enumerate().map(
            |(at, name)| json!({ "gid": format!("{gid}0{at}"), "name": name, "enabled": true }),
        );
        let options: Vec<Value> = options.collect();
        let mut field = json!({ "gid": gid, "name": name, "resource_subtype": kind });
        if !options.is_empty() {
            field["enum_options"] = options.into();
        }
        field
    };
    vec![
        field(1, "Priority", "enum", &["Low", "Medium", "High"]),
        field(2, "Category", "enum", &["Bug", "Billing", "General"]),
        field(3, "Customer", "text", &[]),
        field(4, "Seats", "number", &[]),
        field(5, "Topics", "multi_enum", &["Printer", "VIP"]),
        field(6, "Promised", "date", &[]),
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

#[derive(Debug)]
struct Story {
    gid: String,
    /// `comment_added`, or what Asana tells by itself.
    subtype: &'static str,
    /// As it was sent.
    sent: String,
    text: String,
    created: DateTime<Utc>,
}

/// A task.
#[derive(Debug, Default)]
struct Task {
    name: String,
    /// As they were sent, and as text.
    sent: String,
    notes: String,
    completed: bool,
    assignee: Option<String>,
    tags: Vec<String>,
    section: String,
    /// By gid, as they were sent.
    custom: Map<String, Value>,
    external: Option<String>,
    stories: Vec<Story>,
    files: Vec<LedgerFile>,
}

impl Item for Task {
    fn tags(&self) -> Vec<String> {
        let line = self
            .notes
            .trim_end()
            .rsplit('\n')
            .next()
            .unwrap_or_default();
        let marker = line
            .strip_prefix("[ref:")
            .and_then(|line| line.strip_suffix(']'));
        let external = self.external.as_deref();
        external
            .into_iter()
            .chain(marker)
            .map(str::to_owned)
            .collect()
    }

    fn weight(&self) -> usize {
        self.name.len() + self.sent.len() + self.notes.len() + weigh_map(&self.custom)
    }
}

/// One project.
pub(super) struct Asana {
    common: Common<Settings>,
    tasks: Shelf<Task>,
    /// Gid and name, in order of creation.
    tags: Vec<(String, String)>,
    next_gid: u64,
    /// Webhooks that were made.
    hooks_made: usize,
}

impl Default for Asana {
    fn default() -> Self {
        Self {
            common: Common::default(),
            tasks: Shelf::new(50_000, 128 << 20, 1_500_000_000_000_001),
            tags: vec![("1600000000000001".into(), "vip".into())],
            next_gid: 1_700_000_000_000_000,
            hooks_made: 0,
        }
    }
}

fn by_external(call: &Call) -> bool {
    call.segments
        .last()
        .is_some_and(|last| last.starts_with("external:"))
}

fn completes(call: &Call) -> bool {
    !call.at("/data/completed").is_null()
}

fn assigns(call: &Call) -> bool {
    call.at("/data").get("assignee").is_some()
}

impl Tabled for Asana {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/-/oauth_token", "token", Self::token).open(),
        view("GET", "/api/1.0/users/me", "me", Self::me),
        view("GET", "/api/1.0/users/*", "get_user", Self::user),
        view("GET", "/api/1.0/projects/*", "get_project", Self::get_project),
        view("GET", "/api/1.0/projects/*/sections", "list_sections", Self::list_sections),
        view("GET", "/api/1.0/projects/*/custom_field_settings", "list_fields", Self::list_fields),
        view("GET", "/api/1.0/workspaces/*/tags", "list_tags", Self::list_tags),
        route("POST", "/api/1.0/workspaces/*/tags", "create_tag", Self::create_tag),
        route("POST", "/api/1.0/tasks", "create_task", Self::create),
        view("GET", "/api/1.0/tasks", "list_tasks", Self::list),
        view("GET", "/api/1.0/tasks/*", "find_task", Self::get).when(by_external),
        view("GET", "/api/1.0/tasks/*", "get_task", Self::get),
        route("PUT", "/api/1.0/tasks/*", "set_completed", Self::update).when(completes),
        route("PUT", "/api/1.0/tasks/*", "assign", Self::update).when(assigns),
        route("PUT", "/api/1.0/tasks/*", "update_task", Self::update),
        route("DELETE", "/api/1.0/tasks/*", "delete_task", Self::delete),
        route("POST", "/api/1.0/sections/*/addTask", "move_task", Self::move_task),
        route("POST", "/api/1.0/tasks/*/addTag", "add_tag", Self::add_tag),
        route("POST", "/api/1.0/tasks/*/removeTag", "remove_tag", Self::remove_tag),
        view("GET", "/api/1.0/tasks/*/stories", "list_stories", Self::list_stories),
        route("POST", "/api/1.0/tasks/*/stories", "add_comment", Self::add_comment),
        view("GET", "/api/1.0/stories/*", "get_story", Self::get_story),
        view("GET", "/api/1.0/attachments", "list_files", Self::list_files),
        route("POST", "/api/1.0/attachments", "attach", Self::attach),
        route("POST", "/api/1.0/webhooks", "create_hook", Self::create_hook),
        view("GET", "/api/1.0/webhooks", "list_hooks", Self::list_hooks),
        view("GET", "/api/1.0/webhooks/*", "get_hook", Self::get_hook),
        route("DELETE", "/api/1.0/webhooks/*", "delete_hook", Self::delete_hook),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "",
        remaining: "",
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

    fn question(&self, call: &Call) -> Option<Question> {
        self.handshake(call)
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Status(401) => {
                error(401, "Not Authorized")
            }
            Refusal::Expired => error(
                401,
                "The bearer token has expired. If you have a refresh token, please use it to \
                    request a new bearer token, otherwise allow the user to re-authenticate.",
            ),
            Refusal::Forbidden | Refusal::Status(403) => forbidden(),
            Refusal::NoPath | Refusal::OtherMethods(_) => {
                error(404, "No matching route for request")
            }
            Refusal::Status(402) => error(402, "Payment Required"),
            Refusal::Status(404) => unknown("task", "0"),
            Refusal::Budget(_) | Refusal::Status(429) => error(
                429,
                "You've made too many requests and hit a rate limit. Please retry after the given \
                    amount of time.",
            ),
            Refusal::Status(status @ 400..=499) => error(*status, "a fault on demand"),
            Refusal::Status(status) => {
                let phrase = "6 sad squid snuggle softly";
                let one = json!({ "message": "Server Error", "phrase": phrase });
                Answer::json(*status, json!({ "errors": [one] }))
            }
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.tasks.ledger(label, |task| self.line(task))
    }
}

// How it refuses.

fn error(status: u16, message: &str) -> Answer {
    let help = "For more information on API status codes and how to handle them, read the docs on \
                errors: https://developers.asana.com/docs/errors";
    Answer::json(
        status,
        json!({ "errors": [{ "message": message, "help": help }] }),
    )
}

fn forbidden() -> Answer {
    error(403, "Forbidden: you do not have permission to do this")
}

fn unknown(what: &str, gid: &str) -> Answer {
    error(404, &format!("{what}: Unknown object: {gid}"))
}

// What it shows.

/// What was asked for of a thing: its gid, and the paths of `opt_fields`.
fn asked(call: &Call, whole: &Value) -> Value {
    let Some(fields) = call.param("opt_fields") else {
        return whole.clone();
    };
    let mut shown = Value::Null;
    for field in fields.split(',') {
        let path: Vec<&str> = field.trim().split('.').collect();
        project(whole, &path, &mut shown);
    }
    project(whole, &["gid"], &mut shown);
    shown
}

fn project(whole: &Value, path: &[&str], shown: &mut Value) {
    match whole {
        Value::Array(items) => {
            if !shown.is_array() {
                *shown = vec![Value::Null; items.len()].into();
            }
            for (at, item) in items.iter().enumerate() {
                project(item, path, &mut shown[at]);
            }
        }
        Value::Object(members) => {
            if !shown.is_object() {
                let gid = members
                    .get("gid")
                    .map(|gid| ("gid".to_owned(), gid.clone()));
                *shown = Value::Object(gid.into_iter().collect());
            }
            match path {
                [name, rest @ ..] => {
                    let Some(inner) = members.get(*name) else {
                        return;
                    };
                    if rest.is_empty() && !inner.is_object() && !inner.is_array() {
                        shown[*name] = inner.clone();
                    } else {
                        project(inner, rest, &mut shown[*name]);
                    }
                }
                // A thing without a path below it is its gid and name.
                [] => {
                    if let Some(name) = members.get("name") {
                        shown["name"] = name.clone();
                    }
                }
            }
        }
        other => *shown = other.clone(),
    }
}

fn shown(status: u16, call: &Call, whole: &Value) -> Answer {
    Answer::json(status, json!({ "data": asked(call, whole) }))
}

/// A page of a listing.
fn listing(call: &Call, all: Vec<Value>, most: usize) -> Answer {
    let limit = call.param("limit").map(str::parse::<usize>);
    if limit.is_some_and(|limit| !limit.is_ok_and(|limit| (1..=100).contains(&limit))) {
        return error(400, "limit: Value must be between 1 and 100");
    }
    let Some(page) = PAGES.page(call, all, most, most) else {
        return error(
            400,
            "offset: Your pagination token is invalid or has expired",
        );
    };
    let next = page.next_name(call, PAGES).map(
        |offset| json!({ "offset": offset, "path": call.path, "uri": page.next_url(call, PAGES) }),
    );
    let data: Vec<Value> = page.items.iter().map(|item| asked(call, item)).collect();
    Answer::json(200, json!({ "data": data, "next_page": next }))
}

/// The text of rich text, or what is wrong with it.
fn plain(html: &str, is_comment: bool) -> Result<String, String> {
    let inner = html.trim().strip_prefix("<body>");
    let inner = inner.and_then(|inner| inner.strip_suffix("</body>"));
    let inner = inner.ok_or("xml_parsing_error: the text must be in one <body>")?;
    let (mut text, mut open): (String, Vec<&str>) = (String::new(), Vec::new());
    let mut rest = inner;
    while let Some((before, behind)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, behind) = behind
            .split_once('>')
            .ok_or("xml_parsing_error: an open tag")?;
        rest = behind;
        let name = tag
            .trim_matches('/')
            .split_whitespace()
            .next()
            .unwrap_or_default();
        let is_known = RICH.contains(&name) || name == "hr";
        if !is_known || (is_comment && NOTES_ONLY.contains(&name)) {
            return Err(format!(
                "xml_parsing_error: the tag <{name}> is not allowed"
            ));
        }
        let breaks = !matches!(name, "strong" | "em" | "u" | "s" | "code" | "a");
        if breaks && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => {
                return Err(format!("xml_parsing_error: </{name}> closes nothing"));
            }
            (true, _) => {}
            (false, true) if name == "hr" => text.push_str("---\n"),
            (false, true) => return Err(format!("xml_parsing_error: <{name}/> is empty")),
            (false, false) if name == "hr" => return Err("xml_parsing_error: hr".into()),
            (false, false) => open.push(name),
        }
    }
    if !open.is_empty() {
        return Err("xml_parsing_error: a tag is not closed".into());
    }
    text.push_str(rest);
    let codes = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
    ];
    let mut parts = text.split('&').skip(1);
    let is_code = |part: &str| {
        ["lt;", "gt;", "quot;", "apos;", "amp;", "#"]
            .iter()
            .any(|code| part.starts_with(code))
    };
    if text.contains('>') || !parts.all(is_code) {
        return Err("xml_parsing_error: & and > must be escaped".into());
    }
    let text = codes
        .iter()
        .fold(text, |text, (code, c)| text.replace(code, c));
    Ok(text.replace("&amp;", "&"))
}

impl Asana {
    fn gid(&mut self) -> String {
        self.next_gid += 1;
        self.next_gid.to_string()
    }

    fn people(&self) -> People<'_> {
        People {
            listed: &self.common.settings.people,
            with_known: self.common.settings.known_people,
        }
    }

    /// Whether the token is an app's.
    fn is_app(&self, hit: &Hit<'_>) -> bool {
        let token = hit.call.authorization("bearer").unwrap_or_default();
        self.common.grants.is_alive(token, hit.now).is_some()
    }

    fn named<'a>(list: &'a [Value], gid: &str) -> Option<&'a Value> {
        list.iter().find(|one| one["gid"] == gid)
    }

    fn section_name(&self, gid: &str) -> String {
        let found = Self::named(&self.common.settings.sections, gid);
        found
            .and_then(|one| one["name"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// A custom field of a task, with its value as it is shown.
    fn field_value(field: &Value, value: Option<&Value>) -> Value {
        let mut shown = json!({ "gid": field["gid"], "name": field["name"],
            "resource_subtype": field["resource_subtype"], "display_value": null });
        let option = |gid: &Value| {
            let options = field["enum_options"].as_array().into_iter().flatten();
            options
                .into_iter()
                .find(|one| one["gid"] == *gid)
                .cloned()
                .unwrap_or_default()
        };
        let value = value.cloned().unwrap_or_default();
        let display = match field["resource_subtype"].as_str().unwrap_or_default() {
            "enum" => {
                let chosen = option(&value);
                shown["enum_value"] = chosen.clone();
                chosen["name"].clone()
            }
            "multi_enum" => {
                let chosen: Vec<Value> =
                    value.as_array().into_iter().flatten().map(option).collect();
                let names: Vec<&str> = chosen
                    .iter()
                    .filter_map(|one| one["name"].as_str())
                    .collect();
                let joined = names.join(", ");
                shown["multi_enum_values"] = chosen.clone().into();
                joined.into()
            }
            "number" => {
                shown["number_value"] = value.clone();
                if value.is_null() {
                    Value::Null
                } else {
                    value.to_string().into()
                }
            }
            "date" => value["date"].clone(),
            _ => {
                shown["text_value"] = value.clone();
                value
            }
        };
        shown["display_value"] = display;
        shown
    }

    fn task(&self, task: &Entry<Task>, is_app: bool) -> Value {
        let settings = &self.common.settings;
        let tags = task.tags.iter().map(|gid| {
            let name = self.tags.iter().find(|(own, _)| own == gid);
            json!({ "gid": gid, "resource_type": "tag", "name": name.map(|(_, name)| name) })
        });
        let fields = settings.fields.iter().map(|field| {
            let gid = field["gid"].as_str().unwrap_or_default();
            Self::field_value(field, task.custom.get(gid))
        });
        let member = json!({
            "project": { "gid": settings.project, "resource_type": "project" },
            "section": { "gid": task.section, "name": self.section_name(&task.section) },
        });
        let mut shown = json!({
            "gid": task.id, "resource_type": "task", "resource_subtype": "default_task",
            "name": task.name, "completed": task.completed, "created_at": moment(task.created),
            "modified_at": moment(task.updated),
            "assignee": task.assignee.as_ref().map(|gid| json!({ "gid": gid })),
            "permalink_url": format!("https://app.asana.com/1/{}/project/{}/task/{}",
                settings.workspace, settings.project, task.id),
            "tags": tags.collect::<Vec<_>>(), "memberships": [member],
            "custom_fields": fields.collect::<Vec<_>>(),
        });
        if settings.texts {
            shown["notes"] = task.notes.as_str().into();
            shown["html_notes"] = task.sent.as_str().into();
        }
        if is_app {
            shown["external"] = json!({ "gid": task.external });
        }
        shown
    }

    fn story(&self, story: &Story) -> Value {
        let text = self.common.settings.texts.then_some(story.text.as_str());
        json!({ "gid": story.gid, "resource_type": "story", "resource_subtype": story.subtype,
            "text": text, "created_at": moment(story.created), "created_by": { "gid": ME } })
    }

    /// A task as the ledger has it.
    fn line(&self, task: &Entry<Task>) -> LedgerIssue {
        let mut fields = Map::new();
        let mut priority = None;
        for field in &self.common.settings.fields {
            let gid = field["gid"].as_str().unwrap_or_default();
            let display = Self::field_value(field, task.custom.get(gid))["display_value"].take();
            if field["name"] == "Priority" {
                priority = display.as_str().map(str::to_owned);
            }
            let name = field["name"].as_str().unwrap_or_default();
            fields.insert(name.to_owned(), display);
        }
        let tags = task.tags.iter().filter_map(|gid| {
            let tag = self.tags.iter().find(|(own, _)| own == gid);
            tag.map(|(_, name)| name.clone())
        });
        let comments = task
            .stories
            .iter()
            .filter(|story| story.subtype == "comment_added");
        let comments = comments.map(|story| LedgerComment {
            id: story.gid.clone(),
            body: story.sent.clone().into(),
            public: true,
            created: moment(story.created),
            ..LedgerComment::default()
        });
        LedgerIssue {
            project: self.common.settings.project.clone(),
            summary: task.name.clone(),
            description: task.notes.clone().into(),
            status: self.section_name(&task.section),
            status_category: if task.completed { "done" } else { "new" }.into(),
            priority,
            assignee: task.assignee.clone(),
            labels: task.item.tags().into_iter().chain(tags).collect(),
            fields,
            comments: comments.collect(),
            attachments: task.files.clone(),
            ..task.line()
        }
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let common = &mut self.common;
        let rules = Rules {
            rotates: false,
            ..Rules::refreshing(common.settings.access_token_seconds)
        };
        match common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["token_type"] = "bearer".into();
                body["data"] =
                    json!({ "gid": ME, "name": "Ticketwire Sandbox", "email": "bot@example.test" });
                Answer::json(200, body).mutated()
            }
            Err(denied) => denied.answer(),
        }
    }

    fn me(&self, hit: &Hit<'_>) -> Answer {
        let workspace = json!({ "gid": self.common.settings.workspace, "name": "Sandbox" });
        let me = json!({ "gid": ME, "resource_type": "user", "name": "Ticketwire Sandbox",
            "email": "bot@example.test", "workspaces": [workspace] });
        shown(200, hit.call, &me)
    }

    /// The gid of somebody who is named by gid or e-mail address.
    fn user_gid(&self, word: &str) -> Option<String> {
        if word == "me" || word == ME {
            return Some(ME.to_owned());
        }
        let by_gid = || self.people().by_number(word.parse().ok()?);
        let found = self.people().by_email(word).or_else(by_gid)?;
        found
            .assignable
            .then(|| found.number())?
            .map(|number| number.to_string())
    }

    fn user(&self, hit: &Hit<'_>) -> Answer {
        match self.user_gid(hit.arg(0)) {
            Some(gid) => {
                let person = gid
                    .parse()
                    .ok()
                    .and_then(|gid| self.people().by_number(gid));
                let (name, email) = person
                    .map(|one| (one.display_name, one.email))
                    .unwrap_or_default();
                shown(
                    200,
                    hit.call,
                    &json!({ "gid": gid, "name": name, "email": email }),
                )
            }
            None => unknown("user", hit.arg(0)),
        }
    }

    fn is_ours(&self, gid: &str) -> bool {
        self.common.settings.project == gid
    }

    fn get_project(&self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        if !self.is_ours(hit.arg(0)) {
            return unknown("project", hit.arg(0));
        }
        let workspace = json!({ "gid": settings.workspace, "name": "Sandbox" });
        let project = json!({ "gid": settings.project, "resource_type": "project",
            "name": "Support",
            "archived": settings.archived, "workspace": workspace });
        shown(200, hit.call, &project)
    }

    fn list_sections(&self, hit: &Hit<'_>) -> Answer {
        match self.is_ours(hit.arg(0)) {
            true if !self.common.settings.lists_sections => forbidden(),
            true => listing(hit.call, self.common.settings.sections.clone(), 100),
            false => unknown("project", hit.arg(0)),
        }
    }

    fn list_fields(&self, hit: &Hit<'_>) -> Answer {
        if !self.is_ours(hit.arg(0)) {
            return unknown("project", hit.arg(0));
        }
        let fields = self.common.settings.fields.iter();
        let all = fields.map(|field| {
            json!({ "gid": format!("{}9", field["gid"].as_str().unwrap_or_default()),
                "custom_field": field })
        });
        listing(hit.call, all.collect(), 100)
    }

    fn list_tags(&self, hit: &Hit<'_>) -> Answer {
        if hit.arg(0) != self.common.settings.workspace {
            return unknown("workspace", hit.arg(0));
        }
        let tags = self
            .tags
            .iter()
            .map(|(gid, name)| json!({ "gid": gid, "name": name }));
        listing(hit.call, tags.collect(), 100)
    }

    fn create_tag(&mut self, hit: &Hit<'_>) -> Answer {
        if hit.arg(0) != self.common.settings.workspace {
            return unknown("workspace", hit.arg(0));
        }
        let Some(name) = hit
            .call
            .at("/data/name")
            .as_str()
            .filter(|name| !name.is_empty())
        else {
            return error(400, "name: Missing input");
        };
        let gid = self.gid();
        if self.tags.len() < KEPT_MAX {
            self.tags.push((gid.clone(), name.to_owned()));
        }
        shown(201, hit.call, &json!({ "gid": gid, "name": name })).mutated()
    }

    // Tasks.

    /// What is wrong with values of a task.
    fn fault(&self, data: &Map<String, Value>) -> Result<(), Answer> {
        let invalid = |text: &str| Err(error(400, text));
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        if data.contains_key("notes") && data.contains_key("html_notes") {
            return invalid("notes: You may only specify one of notes and html_notes");
        }
        for (name, max) in [
            ("name", NAME_MAX),
            ("notes", TEXT_MAX),
            ("html_notes", TEXT_MAX),
        ] {
            match data.get(name) {
                Some(Value::String(text)) if text.chars().count() > max => {
                    return invalid(&format!("{name}: The text is too long"));
                }
                Some(Value::String(_)) | None => {}
                Some(_) => return invalid(&format!("{name}: Not a String")),
            }
        }
        if let Some(Err(why)) = text("html_notes").map(|html| plain(html, false)) {
            return invalid(&format!("html_notes: {why}"));
        }
        if let Some(who) = data.get("assignee").filter(|who| !who.is_null()) {
            let known = who.as_str().and_then(|who| self.user_gid(who));
            if known.is_none() {
                let who = who.as_str().unwrap_or_default();
                return invalid(&format!("assignee: Not a user in Organization: {who}"));
            }
        }
        if data.get("completed").is_some_and(|done| !done.is_boolean()) {
            return invalid("completed: Not a Boolean");
        }
        let custom = data.get("custom_fields").and_then(Value::as_object);
        for (gid, value) in custom.into_iter().flatten() {
            let Some(field) = Self::named(&self.common.settings.fields, gid) else {
                return invalid(&format!(
                    "Custom field with ID {gid} is not on given object"
                ));
            };
            let options = field["enum_options"].as_array();
            let is_choice = |gid: &Value| {
                let mut all = options.into_iter().flatten();
                all.any(|one| one["gid"] == *gid && one["enabled"] == true)
            };
            let fits = match field["resource_subtype"].as_str().unwrap_or_default() {
                _ if value.is_null() => true,
                "enum" => is_choice(value),
                "multi_enum" => value
                    .as_array()
                    .is_some_and(|many| many.iter().all(is_choice)),
                "number" => value.is_number(),
                "date" => value["date"].is_string(),
                _ => value.is_string(),
            };
            if !fits {
                return invalid(&format!("custom_fields: Not a valid value for {gid}"));
            }
        }
        Ok(())
    }

    fn data(call: &Call) -> Result<&Map<String, Value>, Answer> {
        let data = call.at("/data").as_object();
        data.ok_or_else(|| error(400, "Could not parse request data: `data` is missing"))
    }

    /// Sets values that are no fault.
    fn put(&self, task: &mut Task, data: &Map<String, Value>) {
        let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = text("name") {
            task.name = name;
        }
        if let Some(notes) = text("notes") {
            task.sent.clone_from(&notes);
            task.notes = notes;
        }
        if let Some(html) = text("html_notes") {
            task.notes = plain(&html, false).unwrap_or_default();
            task.sent = html;
        }
        if let Some(done) = data.get("completed").and_then(Value::as_bool) {
            task.completed = done && !self.common.settings.reopens;
        }
        if let Some(who) = data.get("assignee") {
            task.assignee = who.as_str().and_then(|who| self.user_gid(who));
        }
        let custom = data.get("custom_fields").and_then(Value::as_object);
        task.custom.extend(custom.cloned().unwrap_or_default());
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let data = match Self::data(hit.call) {
            Ok(data) => data,
            Err(refused) => return refused,
        };
        if self.common.settings.comment_only {
            return forbidden();
        }
        let list = |name: &str| -> Vec<String> {
            let all = data
                .get(name)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let projects = list("projects");
        if projects.is_empty()
            && !["workspace", "parent"]
                .iter()
                .any(|one| data.contains_key(*one))
        {
            return error(400, "You should specify one of workspace, parent, projects");
        }
        if let Some(other) = projects.iter().find(|gid| !self.is_ours(gid)) {
            return unknown("project", other);
        }
        let tags = list("tags");
        if let Some(other) = tags
            .iter()
            .find(|gid| !self.tags.iter().any(|(own, _)| own == *gid))
        {
            return unknown("tags", other);
        }
        if let Err(refused) = self.fault(data) {
            return refused;
        }
        let is_app = self.is_app(hit);
        let external = hit
            .call
            .at("/data/external/gid")
            .as_str()
            .filter(|_| is_app);
        if let Some(name) = external
            && self.tasks.find(&format!("external:{name}")).is_some()
        {
            return error(400, "external: An object with this gid exists");
        }
        let first = self.common.settings.sections.first();
        let mut task = Task {
            tags,
            section: first
                .and_then(|one| one["gid"].as_str())
                .unwrap_or_default()
                .to_owned(),
            external: external.map(str::to_owned),
            ..Task::default()
        };
        self.put(&mut task, data);
        let gid = match external {
            Some(name) => self
                .tasks
                .add_named(task, hit.now, &format!("external:{name}"))
                .id
                .clone(),
            None => self.tasks.add(task, hit.now).id.clone(),
        };
        match self.tasks.find(&gid) {
            Some(made) => {
                let location = format!("/api/1.0/tasks/{gid}");
                let whole = self.task(made, is_app);
                shown(201, hit.call, &whole)
                    .header("Location", &location)
                    .mutated()
            }
            None => unknown("task", &gid),
        }
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        let is_app = self.is_app(hit);
        let found = self.tasks.find(hit.arg(0));
        match found.filter(|_| is_app || !by_external(hit.call)) {
            Some(task) => shown(200, hit.call, &self.task(task, is_app)),
            None => unknown("task", hit.arg(0)),
        }
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let data = match Self::data(hit.call) {
            Ok(data) => data,
            Err(refused) => return refused,
        };
        if self.tasks.find(hit.arg(0)).is_none() {
            return unknown("task", hit.arg(0));
        }
        let only_new = ["projects", "tags", "followers", "memberships"];
        if let Some(name) = only_new.iter().find(|name| data.contains_key(**name)) {
            return error(400, &format!("{name}: Cannot write this property"));
        }
        if let Err(refused) = self.fault(data) {
            return refused;
        }
        let mut after = Task::default();
        self.put(&mut after, data);
        let (story, done) = (self.gid(), after.completed);
        self.tasks.change(hit.arg(0), |task| {
            let set = |name: &str| data.contains_key(name);
            if set("name") {
                task.name = after.name;
            }
            if set("notes") || set("html_notes") {
                task.notes = after.notes;
                task.sent = after.sent;
            }
            if set("completed") {
                task.completed = done;
                let subtype = if done {
                    "marked_complete"
                } else {
                    "marked_incomplete"
                };
                task.stories.push(Story {
                    gid: story,
                    subtype,
                    sent: String::new(),
                    text: "Somebody changed this task".into(),
                    created: hit.now,
                });
            }
            if set("assignee") {
                task.assignee = after.assignee;
            }
            task.custom.extend(after.custom);
            task.note(hit.operation, hit.now);
        });
        let is_app = self.is_app(hit);
        match self.tasks.find(hit.arg(0)) {
            Some(task) => shown(200, hit.call, &self.task(task, is_app)).mutated(),
            None => unknown("task", hit.arg(0)),
        }
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        match self.tasks.remove(hit.arg(0)) {
            Some(_) => Answer::json(200, json!({ "data": {} })).mutated(),
            None => unknown("task", hit.arg(0)),
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let scopes = ["project", "section", "assignee", "workspace"];
        let given = scopes
            .iter()
            .filter(|name| call.param(name).is_some())
            .count();
        let Some(project) = call.param("project").filter(|_| given == 1) else {
            return error(
                400,
                "You should specify one of project, section, assignee and workspace",
            );
        };
        if !self.is_ours(project) {
            return unknown("project", project);
        }
        let since = match call.param("modified_since") {
            None => DateTime::<Utc>::UNIX_EPOCH,
            Some(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(at) => at.with_timezone(&Utc),
                Err(_) => return error(400, "modified_since: Not a valid datetime"),
            },
        };
        let is_app = self.is_app(hit);
        let mut found: Vec<_> = self.tasks.changed_since(since).collect();
        // No order that anybody could rely upon.
        found.sort_by_key(|task| (task.number % 3, task.number));
        let found = found.into_iter().map(|task| self.task(task, is_app));
        listing(call, found.collect(), self.common.settings.page)
    }

    /// A task that only moves keeps its time of change.
    fn move_task(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(section) = Self::named(&self.common.settings.sections, hit.arg(0)) else {
            return unknown("section", hit.arg(0));
        };
        let section = section["gid"].as_str().unwrap_or_default().to_owned();
        let gid = hit.call.at("/data/task").as_str().unwrap_or_default();
        let moved = self.tasks.change(gid, |task| {
            let updated = task.updated;
            task.note(hit.operation, hit.now);
            task.updated = updated;
            task.section = section;
        });
        match moved {
            Some(()) => Answer::json(200, json!({ "data": {} })).mutated(),
            None => unknown("task", gid),
        }
    }

    fn add_tag(&mut self, hit: &Hit<'_>) -> Answer {
        self.set_tag(hit, true)
    }

    fn remove_tag(&mut self, hit: &Hit<'_>) -> Answer {
        self.set_tag(hit, false)
    }

    fn set_tag(&mut self, hit: &Hit<'_>, adds: bool) -> Answer {
        let tag = hit
            .call
            .at("/data/tag")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !self.tags.iter().any(|(own, _)| *own == tag) {
            return unknown("tag", &tag);
        }
        let set = self.tasks.change(hit.arg(0), |task| {
            task.tags.retain(|own| *own != tag);
            if adds {
                task.tags.push(tag);
            }
            task.note(hit.operation, hit.now);
        });
        match set {
            Some(()) => Answer::json(200, json!({ "data": {} })).mutated(),
            None => unknown("task", hit.arg(0)),
        }
    }

    // Stories and files.

    fn add_comment(&mut self, hit: &Hit<'_>) -> Answer {
        let data = match Self::data(hit.call) {
            Ok(data) => data,
            Err(refused) => return refused,
        };
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let (sent, text) = match (text("text"), text("html_text")) {
            (Some(text), None) => (text.to_owned(), text.to_owned()),
            (None, Some(html)) => match plain(html, true) {
                Ok(text) => (html.to_owned(), text),
                Err(why) => return error(400, &format!("html_text: {why}")),
            },
            _ => return error(400, "text: You must specify one of text and html_text"),
        };
        if sent.chars().count() > TEXT_MAX {
            return error(400, "text: The text is too long");
        }
        let story = Story {
            gid: self.gid(),
            subtype: "comment_added",
            sent,
            text,
            created: hit.now,
        };
        let (answer, weight) = (self.story(&story), story.sent.len());
        let added = self.tasks.grow(hit.arg(0), weight, |task| {
            task.stories.truncate(KEPT_MAX);
            task.stories.push(story);
            task.note("comment", hit.now);
        });
        match added {
            Some(()) => shown(201, hit.call, &answer).mutated(),
            None => unknown("task", hit.arg(0)),
        }
    }

    fn list_stories(&self, hit: &Hit<'_>) -> Answer {
        match self.tasks.find(hit.arg(0)) {
            Some(task) => {
                let all = task.stories.iter().map(|story| self.story(story));
                listing(hit.call, all.collect(), 100)
            }
            None => unknown("task", hit.arg(0)),
        }
    }

    fn get_story(&self, hit: &Hit<'_>) -> Answer {
        let mut all = self.tasks.all().flat_map(|task| &task.stories);
        match all.find(|story| story.gid == hit.arg(0)) {
            Some(story) => shown(200, hit.call, &self.story(story)),
            None => unknown("story", hit.arg(0)),
        }
    }

    fn attach(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let parent = call.field("parent").to_owned();
        if self.tasks.find(&parent).is_none() {
            return unknown("parent", &parent);
        }
        let Some(part) = call.part("file") else {
            return error(400, "file: Missing input");
        };
        let Some(name) = part.file_name.as_deref().filter(|name| !name.is_empty()) else {
            return error(400, "file: A file name is missing");
        };
        if part.bytes.len() > FILE_MAX {
            return error(413, "file: The file is too large");
        }
        // Names in other letters come percent-encoded.
        let name = url::form_urlencoded::parse(
            format!("n={}", name.replace('+', "%2B").replace('&', "%26")).as_bytes(),
        )
        .next()
        .map_or_else(|| name.to_owned(), |(_, name)| name.into_owned());
        let media_type = part.media_type.as_deref().unwrap_or_default();
        let file = LedgerFile {
            id: self.gid(),
            created: moment(hit.now),
            ..LedgerFile::of(&name, media_type, &part.bytes)
        };
        let whole = Self::file(&file);
        self.tasks.change(&parent, |task| {
            task.files.truncate(KEPT_MAX);
            task.files.push(file);
            task.note("file", hit.now);
        });
        shown(200, call, &whole).mutated()
    }

    fn file(file: &LedgerFile) -> Value {
        json!({ "gid": file.id, "resource_type": "attachment", "resource_subtype": "asana",
            "name": file.name, "size": file.size, "created_at": file.created })
    }

    fn list_files(&self, hit: &Hit<'_>) -> Answer {
        let parent = hit.call.param("parent").unwrap_or_default();
        match self.tasks.find(parent) {
            Some(task) => listing(hit.call, task.files.iter().map(Self::file).collect(), 100),
            None => unknown("parent", parent),
        }
    }
}
