//! What changes nothing: issues, comments, transitions, metadata, people.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::kit::Hit;
use super::super::kit::magic::Person;
use super::super::kit::paging;
use super::super::ledger::LedgerFile;
use super::fields::{self, issue_type_id, priority_id};
use super::settings::{FieldKind, Settings};
use super::store::{Comment, Filed, Status, date};
use super::transition::Transition;
use super::version::Version;
use super::{Jira, error, no_issue};

/// What `mypermissions` knows.
const PERMISSIONS: &[&str] = &[
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "TRANSITION_ISSUES",
    "ADD_COMMENTS",
    "CREATE_ATTACHMENTS",
    "ASSIGN_ISSUES",
    "ASSIGNABLE_USER",
    "RESOLVE_ISSUES",
    "DELETE_ISSUES",
    "ADMINISTER_PROJECTS",
    "ADMINISTER",
];
/// Of these, the ones a look-only account has.
const READ_PERMISSIONS: &[&str] = &["BROWSE_PROJECTS", "ASSIGNABLE_USER"];
/// Ones that an ordinary account lacks.
const ADMIN_PERMISSIONS: &[&str] = &["ADMINISTER", "ADMINISTER_PROJECTS", "DELETE_ISSUES"];
/// What the types of Jira's own custom fields begin with.
const OWN_FIELDS: &str = "com.atlassian.jira.plugin.system.customfieldtypes:";
/// Pages are no longer than this, whatever is asked.
const PAGE_MAX: usize = 200;
/// Largest attachment, in bytes.
pub(super) const UPLOAD_MAX: u64 = 10 * 1024 * 1024;

impl Jira {
    pub(super) fn myself(&self, hit: &Hit<'_>) -> Answer {
        let (version, caller) = (self.version(hit.call), hit.caller);
        let zone = &self.common.settings.time_zone;
        let name = &caller.name;
        Answer::json(
            200,
            if version.is_cloud {
                json!({
                    "accountId": self.account_id(), "accountType": "atlassian",
                    "emailAddress": name,
                    "displayName": "Ticketwire Sandbox", "active": true, "timeZone": zone,
                })
            } else {
                json!({
                    "name": name, "key": name, "emailAddress": name,
                    "displayName": "Ticketwire Sandbox", "active": true, "timeZone": zone,
                })
            },
        )
    }

    pub(super) fn my_permissions(&self, hit: &Hit<'_>) -> Answer {
        let (call, caller) = (hit.call, hit.caller);
        let Some(asked) = call.param("permissions").filter(|list| !list.is_empty()) else {
            return error(400, "The 'permissions' query parameter is required.");
        };
        if let Some(project) = call.param("projectKey")
            && !fields::project_exists(project)
        {
            return error(
                404,
                &format!("No project could be found with key '{project}'."),
            );
        }
        let mut permissions = Map::new();
        for (index, key) in asked.split(',').map(str::trim).enumerate() {
            if !PERMISSIONS.contains(&key) {
                return error(400, &format!("Unrecognized permission: '{key}'."));
            }
            let lacking = &self.common.settings.lacks_permissions;
            let has = !ADMIN_PERMISSIONS.contains(&key)
                && !lacking.iter().any(|own| own == key)
                && (caller.may_write || READ_PERMISSIONS.contains(&key));
            permissions.insert(
                key.to_owned(),
                json!({"id": index.to_string(), "key": key, "name": key, "type": "PROJECT",
                    "havePermission": has}),
            );
        }
        Answer::json(200, json!({"permissions": permissions}))
    }

    pub(super) fn project(&self, hit: &Hit<'_>) -> Answer {
        let (id_or_key, base) = (hit.arg(0), &hit.call.base);
        let known = fields::project_of(id_or_key).unwrap_or_else(|| id_or_key.to_owned());
        let key = known.as_str();
        if !fields::project_exists(key) {
            return error(404, &format!("No project could be found with key '{key}'."));
        }
        let mut shown = project(key, base);
        shown["issueTypes"] = self.issue_type_list(base).into();
        Answer::json(200, shown)
    }

    /// Those that have issues.
    pub(super) fn projects(&self, hit: &Hit<'_>) -> Answer {
        Answer::json(200, self.project_list(&hit.call.base).into())
    }

    fn project_list(&self, base: &str) -> Vec<Value> {
        let keys: BTreeSet<&str> = self.store.shelf.all().map(|i| i.project.as_str()).collect();
        keys.iter().map(|key| project(key, base)).collect()
    }

    /// The same, in pages.
    pub(super) fn search_projects(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let part = paging::page(
            self.project_list(&call.base),
            call.number("startAt", 0),
            call.number("maxResults", 50).min(PAGE_MAX),
        );
        let last = part.start + part.items.len() >= part.total;
        let (start, size, total) = (part.start, part.size, part.total);
        let shown = json!({"startAt": start, "maxResults": size, "total": total, "isLast": last,
            "values": part.items});
        Answer::json(200, shown)
    }

    fn issue_type_list(&self, base: &str) -> Vec<Value> {
        let names = self.common.settings.issue_types.iter().enumerate();
        let shown = names.map(|(index, name)| {
            let id = issue_type_id(index);
            let link = format!("{base}/rest/api/2/issuetype/{id}");
            json!({"self": link, "id": id, "name": name, "subtask": name == "Sub-task",
                "description": ""})
        });
        shown.collect()
    }

    pub(super) fn all_issue_types(&self, hit: &Hit<'_>) -> Answer {
        Answer::json(200, self.issue_type_list(&hit.call.base).into())
    }

    pub(super) fn statuses(&self, _: &Hit<'_>) -> Answer {
        let shown = Status::ALL.into_iter().map(status);
        Answer::json(200, shown.collect::<Vec<_>>().into())
    }

    pub(super) fn all_priorities(&self, hit: &Hit<'_>) -> Answer {
        let mut shown = named(&self.common.settings.priorities, priority_id);
        for priority in &mut shown {
            let id = priority["id"].as_str().unwrap_or_default();
            priority["self"] = format!("{}/rest/api/2/priority/{id}", hit.call.base).into();
        }
        Answer::json(200, shown.into())
    }

    /// Every field of the site, as queries and clients name it.
    pub(super) fn fields(&self, hit: &Hit<'_>) -> Answer {
        let shown = screen(&self.common.settings, self.version(hit.call)).into_iter();
        let shown = shown.map(|field| {
            let (id, name) = (field["fieldId"].clone(), field["name"].clone());
            let custom = id.as_str().is_some_and(|id| id.starts_with("customfield_"));
            json!({
                "id": id, "key": id, "name": name, "custom": custom, "orderable": true,
                "navigable": true,
                "searchable": true, "clauseNames": [name], "schema": field["schema"],
            })
        });
        Answer::json(200, shown.collect::<Vec<_>>().into())
    }

    pub(super) fn issue_types(&self, hit: &Hit<'_>) -> Answer {
        let (call, project) = (hit.call, hit.arg(0));
        if !fields::project_exists(project) {
            return error(
                404,
                &format!("No project could be found with key '{project}'."),
            );
        }
        let all = self
            .common
            .settings
            .issue_types
            .iter()
            .enumerate()
            .map(|(index, name)| {
                json!({"id": issue_type_id(index), "name": name, "subtask": name == "Sub-task",
                "description": ""})
            });
        Answer::json(
            200,
            page(call, self.version(call), "issueTypes", all.collect()),
        )
    }

    pub(super) fn create_fields(&self, hit: &Hit<'_>) -> Answer {
        let (project, issue_type) = (hit.arg(0), hit.arg(1));
        let (call, version) = (hit.call, self.version(hit.call));
        if !fields::project_exists(project) {
            return error(
                404,
                &format!("No project could be found with key '{project}'."),
            );
        }
        let types = self.common.settings.issue_types.len();
        if !(0..types).any(|index| issue_type_id(index) == issue_type) {
            return error(404, "The issue type is not available in this project.");
        }
        Answer::json(
            200,
            page(
                call,
                version,
                "fields",
                screen(&self.common.settings, version),
            ),
        )
    }

    pub(super) fn priorities(&self, _: &Hit<'_>) -> Answer {
        let values = named(&self.common.settings.priorities, priority_id);
        let total = values.len();
        Answer::json(
            200,
            json!({"startAt": 0, "maxResults": 50, "total": total, "isLast": true,
                "values": values}),
        )
    }

    pub(super) fn attachment_meta(&self, _: &Hit<'_>) -> Answer {
        Answer::json(200, json!({"enabled": true, "uploadLimit": UPLOAD_MAX}))
    }

    pub(super) fn assignable_users(&self, hit: &Hit<'_>) -> Answer {
        let (call, version) = (hit.call, self.version(hit.call));
        let project = call.param("project");
        let issue = call.param("issueKey").or_else(|| call.param("issueId"));
        match (project, issue) {
            (Some(key), _) if !fields::project_exists(key) => {
                return error(404, &format!("No project could be found with key '{key}'."));
            }
            (None, Some(issue)) if self.store.find(issue).is_none() => return no_issue(),
            (None, None) => {
                return error(
                    400,
                    "Either the 'project' or the 'issueKey' parameter must be given.",
                );
            }
            _ => {}
        }
        self.people_like(call, version, |user| user.assignable)
    }

    /// Everybody with this in the name or the address.
    pub(super) fn users(&self, hit: &Hit<'_>) -> Answer {
        self.people_like(hit.call, self.version(hit.call), |_| true)
    }

    fn people_like(&self, call: &Call, version: Version, wanted: fn(&Person) -> bool) -> Answer {
        let query = if version.is_cloud {
            call.param("query")
        } else {
            call.param("username").or_else(|| call.param("query"))
        };
        let users = self
            .common
            .settings
            .people()
            .like(query.unwrap_or_default());
        let found: Vec<_> = users
            .iter()
            .filter(|user| wanted(user))
            .take(call.number("maxResults", 50).min(PAGE_MAX))
            .map(|user| person(user, version, &call.base, &self.common.settings))
            .collect();
        Answer::json(200, found.into())
    }

    pub(super) fn get(&self, hit: &Hit<'_>) -> Answer {
        let (call, version) = (hit.call, self.version(hit.call));
        let id_or_key = hit.arg(0);
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let selection = Selection::of_list(call.param("fields").unwrap_or("*all"));
        let mut body = render(
            issue,
            version,
            &call.base,
            &self.common.settings,
            &selection,
        );
        if let Some(keys) = call.param("properties") {
            let all = keys == "*all";
            let wanted = issue
                .properties
                .iter()
                .filter(|(key, _)| all || call.lists("properties", key));
            let properties: Map<_, _> = wanted.map(|(k, v)| (k.clone(), v.clone())).collect();
            body["properties"] = properties.into();
        }
        Answer::json(200, body)
    }

    pub(super) fn transitions(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let id_or_key = hit.arg(0);
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let with_fields = call.lists("expand", "transitions.fields");
        let screens = self.common.settings.transition_screens;
        let open = Transition::from(issue.status, self.common.settings.workflow);
        let list: Vec<_> = open
            .into_iter()
            .map(|transition| {
                let mut shown = json!({
                    "id": transition.id, "name": transition.name, "to": status(transition.to),
                    "hasScreen": screens && transition.resolutions().is_some(), "isAvailable": true,
                });
                if with_fields && screens {
                    let demanded = &self.common.settings.transition_required;
                    shown["fields"] = transition_fields(transition, demanded);
                } else if with_fields {
                    shown["fields"] = json!({});
                }
                shown
            })
            .collect();
        Answer::json(200, json!({"expand": "transitions", "transitions": list}))
    }

    pub(super) fn comments(&self, hit: &Hit<'_>) -> Answer {
        let (call, version) = (hit.call, self.version(hit.call));
        let id_or_key = hit.arg(0);
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let mut comments: Vec<_> = issue.comments.iter().collect();
        match call.param("orderBy") {
            None | Some("created" | "+created" | " created") => {}
            Some("-created") => comments.reverse(),
            Some(other) => return error(400, &format!("Invalid order by: {other}")),
        }
        let with_properties =
            self.common.settings.comment_properties && call.lists("expand", "properties");
        let (start, limit) = (call.number("startAt", 0), call.number("maxResults", 100));
        let shown: Vec<_> = comments
            .iter()
            .skip(start)
            .take(limit.min(5_000))
            .map(|c| comment(c, &issue.id, version, &call.base, with_properties))
            .collect();
        let total = issue.comments.len();
        Answer::json(
            200,
            json!({"startAt": start, "maxResults": limit, "total": total, "comments": shown}),
        )
    }

    pub(super) fn one_comment(&self, hit: &Hit<'_>) -> Answer {
        let Some(issue) = self.store.find(hit.arg(0)) else {
            return no_issue();
        };
        let found = issue
            .comments
            .iter()
            .find(|own| own.id.to_string() == hit.arg(1));
        let version = self.version(hit.call);
        found.map_or_else(
            || error(404, "Can not find a comment for the id."),
            |found| {
                let shown = comment(found, &issue.id, version, &hit.call.base, false);
                Answer::json(200, shown)
            },
        )
    }

    pub(super) fn property(&self, hit: &Hit<'_>) -> Answer {
        let (id_or_key, key) = (hit.arg(0), hit.arg(1));
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        match issue.properties.get(key) {
            Some(value) => Answer::json(200, json!({"key": key, "value": value})),
            None => error(404, "The property with the given key does not exist."),
        }
    }
}

/// Which fields an answer shows.
pub(super) struct Selection {
    all: bool,
    named: Vec<String>,
    without: Vec<String>,
}

impl Selection {
    /// From `summary,status`, `*all`, `*all,-comment`.
    pub(super) fn of_list(list: &str) -> Self {
        Self::of(list.split(',').map(str::trim))
    }

    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut selection = Self {
            all: false,
            named: Vec::new(),
            without: Vec::new(),
        };
        for name in names.filter(|name| !name.is_empty()) {
            match name.strip_prefix('-') {
                Some(name) => selection.without.push(name.to_owned()),
                None if name == "*all" || name == "*navigable" => selection.all = true,
                None => selection.named.push(name.to_owned()),
            }
        }
        // Only exclusions: everything but these.
        selection.all |= selection.named.is_empty() && !selection.without.is_empty();
        selection
    }

    /// Whether only the id was asked for.
    pub(super) fn is_id_only(&self) -> bool {
        !self.all && self.named.iter().all(|name| name == "id")
    }

    fn has(&self, name: &str) -> bool {
        (self.all || self.named.iter().any(|n| n == name))
            && !self.without.iter().any(|n| n == name)
    }
}

/// An issue as `GET issue` and the searches show it.
pub(super) fn render(
    issue: &Filed,
    version: Version,
    base: &str,
    settings: &Settings,
    selection: &Selection,
) -> Value {
    let mut fields = Map::new();
    let mut show = |name: &str, value: &dyn Fn() -> Value| {
        if selection.has(name) {
            fields.insert(name.to_owned(), value());
        }
    };
    show("summary", &|| issue.summary.clone().into());
    show("description", &|| issue.description.clone());
    show("labels", &|| issue.labels.clone().into());
    show("status", &|| status(issue.status));
    show(
        "issuetype",
        &|| json!({"name": issue.issue_type, "subtask": issue.issue_type == "Sub-task"}),
    );
    show("project", &|| project(&issue.project, base));
    show("priority", &|| {
        issue
            .priority
            .as_ref()
            .map_or(Value::Null, |name| json!({"name": name}))
    });
    show("resolution", &|| {
        issue
            .resolution
            .as_ref()
            .map_or(Value::Null, |name| json!({"name": name}))
    });
    show("assignee", &|| {
        let user = issue
            .assignee
            .as_ref()
            .and_then(|id| settings.people().by_id(id));
        user.map_or(Value::Null, |user| person(&user, version, base, settings))
    });
    show("reporter", &|| json!({"displayName": issue.reporter}));
    show("created", &|| date(issue.created).into());
    show("updated", &|| date(issue.updated).into());
    show("attachment", &|| {
        issue.attachments.iter().map(attachment).collect()
    });
    show("comment", &|| {
        let comments = issue.comments.iter();
        let shown: Vec<_> = comments
            .map(|c| comment(c, &issue.id, version, base, false))
            .collect();
        json!({"comments": shown, "total": issue.comments.len(), "startAt": 0})
    });
    for (name, value) in &issue.custom {
        show(name, &|| value.clone());
    }
    json!({
        "id": issue.id, "key": issue.key, "self": issue_link(issue, version, base),
        "fields": fields,
    })
}

/// The API's address of an issue.
pub(super) fn issue_link(issue: &Filed, version: Version, base: &str) -> String {
    format!("{base}/rest/api/{}/issue/{}", version.digit(), issue.id)
}

/// A comment as the API shows it.
pub(super) fn comment(
    comment: &Comment,
    issue: &str,
    version: Version,
    base: &str,
    with_properties: bool,
) -> Value {
    let (id, version) = (comment.id, version.digit());
    let mut shown = json!({
        "id": id.to_string(),
        "self": format!("{base}/rest/api/{version}/issue/{issue}/comment/{id}"),
        "body": comment.body, "author": {"displayName": comment.author},
        "created": date(comment.created),
        "updated": date(comment.created), "jsdPublic": comment.public,
    });
    if let Some(visibility) = &comment.visibility {
        shown["visibility"] = visibility.clone();
    }
    if with_properties {
        let properties = comment.properties.iter();
        let list: Vec<_> = properties
            .map(|(k, v)| json!({"key": k, "value": v}))
            .collect();
        shown["properties"] = list.into();
    }
    shown
}

fn status(status: Status) -> Value {
    json!({"id": status.id(), "name": status.name(), "statusCategory": {"key": status.category()}})
}

fn transition_fields(transition: Transition, demanded: &[String]) -> Value {
    let Some((offered, required)) = transition.resolutions() else {
        return json!({});
    };
    let allowed: Vec<_> = offered.iter().map(|name| json!({"name": name})).collect();
    let mut fields = json!({"resolution": {
        "required": required, "name": "Resolution", "key": "resolution", "operations": ["set"],
        "schema": {"type": "resolution", "system": "resolution"}, "allowedValues": allowed,
    }});
    for name in demanded {
        fields[name] = json!({
            "required": true, "hasDefaultValue": false, "name": name, "key": name,
            "operations": ["set"], "schema": {"type": "string"},
        });
    }
    fields
}

fn person(user: &Person, version: Version, base: &str, settings: &Settings) -> Value {
    let id = &user.account_id;
    let mut shown = if version.is_cloud {
        let link = format!("{base}/rest/api/3/user?accountId={id}");
        json!({"self": link, "accountId": id, "accountType": "atlassian"})
    } else {
        json!({"self": format!("{base}/rest/api/2/user?username={id}"), "name": id, "key": id})
    };
    shown["displayName"] = user.display_name.clone().into();
    shown["active"] = true.into();
    if !settings.hide_emails {
        shown["emailAddress"] = user.email.clone().into();
    }
    shown
}

fn named(names: &[String], id: fn(usize) -> String) -> Vec<Value> {
    let numbered = names.iter().enumerate();
    numbered
        .map(|(index, name)| json!({"id": id(index), "name": name}))
        .collect()
}

/// A project; every one has an id of its own.
fn project(key: &str, base: &str) -> Value {
    let id = fields::project_id(key).to_string();
    json!({"id": id, "key": key, "name": key, "self": format!("{base}/rest/api/3/project/{key}")})
}

/// The fields of the create screen.
fn screen(settings: &Settings, version: Version) -> Vec<Value> {
    let text = |system: &str| json!({"type": "string", "system": system});
    let mut fields = vec![
        json!({"fieldId": "project", "name": "Project", "required": true,
            "schema": {"type": "project"}}),
        json!({"fieldId": "issuetype", "name": "Issue Type", "required": true,
            "schema": {"type": "issuetype"},
            "allowedValues": named(&settings.issue_types, issue_type_id)}),
        json!({"fieldId": "summary", "name": "Summary", "required": true,
            "schema": text("summary")}),
        json!({"fieldId": "description", "name": "Description", "schema": text("description")}),
        json!({"fieldId": "labels", "name": "Labels", "schema": {"type": "array",
            "items": "string"}}),
        json!({"fieldId": "priority", "name": "Priority", "schema": {"type": "priority"},
            "hasDefaultValue": true,
            "allowedValues": named(&settings.priorities, priority_id)}),
        json!({"fieldId": "assignee", "name": "Assignee", "schema": {"type": "user"}}),
    ];
    for field in &settings.custom_fields {
        let schema = match field.kind {
            FieldKind::Text => {
                json!({"type": "string", "custom": format!("{OWN_FIELDS}textfield")})
            }
            FieldKind::Textarea => {
                json!({"type": "string", "custom": format!("{OWN_FIELDS}textarea")})
            }
            FieldKind::Select => json!({"type": "option"}),
            FieldKind::MultiSelect => json!({"type": "array", "items": "option"}),
            FieldKind::Number => json!({"type": "number"}),
            FieldKind::Date => json!({"type": "date"}),
        };
        let mut shown = json!({"fieldId": field.id, "name": field.name, "schema": schema});
        if !field.options.is_empty() {
            let options: Vec<_> = field.options.iter().map(|o| json!({"value": o})).collect();
            shown["allowedValues"] = options.into();
        }
        fields.push(shown);
    }
    for name in &settings.required_fields {
        if !fields.iter().any(|field| field["fieldId"] == name.as_str()) {
            fields.push(json!({"fieldId": name, "name": name, "schema": {"type": "string"}}));
        }
    }
    fields.retain(|field| {
        let id = field["fieldId"].as_str().unwrap_or_default();
        !settings.fields_not_on_screen.iter().any(|name| name == id)
    });
    for field in &mut fields {
        let id = field["fieldId"].as_str().unwrap_or_default().to_owned();
        let required = field["required"] == true || settings.required_fields.contains(&id);
        field["required"] = required.into();
        field["operations"] = json!(["set"]);
        if version.is_cloud {
            field["key"] = id.into();
        }
    }
    fields
}

/// A page of createmeta: Data Center calls the array `values`.
fn page(call: &Call, version: Version, name: &str, all: Vec<Value>) -> Value {
    let part = paging::page(
        all,
        call.number("startAt", 0),
        call.number("maxResults", 50).min(PAGE_MAX),
    );
    let last = part.start + part.items.len() >= part.total;
    let mut page = json!({"startAt": part.start, "maxResults": part.size, "total": part.total});
    let shown = part.items;
    if version.is_cloud {
        page[name] = shown.into();
    } else {
        page["values"] = shown.into();
        page["isLast"] = last.into();
    }
    page
}

/// A file as Jira shows it.
pub(super) fn attachment(file: &LedgerFile) -> Value {
    json!({
        "id": file.id, "filename": file.name, "size": file.size, "mimeType": file.media_type,
        "created": file.created,
    })
}
