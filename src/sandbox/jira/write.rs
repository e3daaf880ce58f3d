//! What changes an issue: create, edit, assign, transition, comment, property.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::super::kit::{Caller, Hit};
use super::super::ledger::LedgerFile;
use super::fields::{self, Changes, Errors};
use super::read;
use super::store::{COMMENTS_MAX, Comment, Issue, Status};
use super::transition::Transition;
use super::version::Version;
use super::{Jira, bad_json, error, no_issue};

/// Longest key and largest value of an entity property (sheet §8).
const PROPERTY_KEY_MAX: usize = 255;
const PROPERTY_BYTES_MAX: usize = 32_768;

impl Jira {
    pub(super) fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, version, now) = (hit.call, self.version(hit.call), hit.now);
        let Some(body) = call.json.as_ref().and_then(Value::as_object) else {
            return bad_json(call);
        };
        if body.contains_key("transition") {
            return error(400, "the sandbox does not model a transition at creation");
        }
        let mut errors = Errors::default();
        let empty = Map::new();
        let given = body
            .get("fields")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let changes = fields::check(&self.common.settings, version, given, true, &mut errors);
        let properties = properties(body.get("properties"), &mut errors);
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        let issue = Issue {
            key: String::new(),
            project: changes.project.unwrap_or_default(),
            issue_type: changes.issue_type.unwrap_or_default(),
            summary: changes.summary.unwrap_or_default(),
            description: changes.description.unwrap_or_default(),
            labels: changes.labels.unwrap_or_default(),
            priority: changes.priority.unwrap_or_else(|| self.default_priority()),
            assignee: changes.assignee.flatten(),
            reporter: hit.caller.name.clone(),
            status: Status::ToDo,
            resolution: None,
            custom: changes.custom,
            properties,
            comments: Vec::new(),
            attachments: Vec::new(),
        };
        let issue = self.store.add(issue, now);
        let link = read::issue_link(issue, version, &call.base);
        let made = json!({"id": issue.id, "key": issue.key, "self": link});
        Answer::json(201, made).mutated()
    }

    fn default_priority(&self) -> Option<String> {
        let names = &self.common.settings.priorities;
        let medium = names.iter().find(|name| *name == "Medium");
        medium.or_else(|| names.get(names.len() / 2)).cloned()
    }

    pub(super) fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, version, now) = (hit.call, self.version(hit.call), hit.now);
        let (caller, id_or_key) = (hit.caller, hit.arg(0));
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let Some(body) = call.json.as_ref().and_then(Value::as_object) else {
            return bad_json(call);
        };
        let empty = Map::new();
        let member = |name: &str| body.get(name).and_then(Value::as_object);
        let fields = member("fields").unwrap_or(&empty);
        let edits = member("update").unwrap_or(&empty);
        let mut errors = Errors::default();
        for name in edits.keys().filter(|name| fields.contains_key(*name)) {
            errors.field(
                name,
                format!("Field '{name}' cannot be in both fields and update."),
            );
        }
        let mut changes = fields::check(&self.common.settings, version, fields, false, &mut errors);
        let mut comments = Vec::new();
        let mut names: Vec<_> = fields.keys().cloned().collect();
        for (name, operations) in edits {
            let operations = operations.as_array().map_or(&[][..], Vec::as_slice);
            match name.as_str() {
                "labels" if !self.common.settings.fields_not_on_screen.contains(name) => {
                    changes.labels = edit_labels(&issue.labels, operations, &mut errors);
                    names.push(name.clone());
                }
                "comment" => {
                    for add in operations.iter().filter_map(|o| o.get("add")) {
                        comments.extend(comment(version, caller, add, now, &mut errors));
                    }
                }
                _ => errors.not_on_screen(name),
            }
        }
        let new_properties = properties(body.get("properties"), &mut errors);
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        self.store.change(id_or_key, |issue| {
            apply(&mut issue.item, changes);
            issue.properties.extend(new_properties);
            if !names.is_empty() {
                issue.note(format!("update {}", names.join(",")), now);
            }
        });
        for comment in comments {
            self.store.comment(id_or_key, comment);
        }
        if call.param("returnIssue") == Some("true") {
            return self.get(hit).mutated();
        }
        Answer::empty(204).mutated()
    }

    pub(super) fn assign(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, version, now) = (hit.call, self.version(hit.call), hit.now);
        let id_or_key = hit.arg(0);
        if self.store.find(id_or_key).is_none() {
            return no_issue();
        }
        let Some(body) = &call.json else {
            return bad_json(call);
        };
        let mut errors = Errors::default();
        let assignee = fields::assignee(&self.common.settings, version, body, &mut errors);
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        self.store.change(id_or_key, |issue| {
            issue.assignee = assignee.flatten();
            let who = issue.assignee.clone().unwrap_or_else(|| "nobody".into());
            issue.note(format!("assign {who}"), now);
        });
        Answer::empty(204).mutated()
    }

    pub(super) fn transition(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, version, now) = (hit.call, self.version(hit.call), hit.now);
        let (caller, id_or_key) = (hit.caller, hit.arg(0));
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let Some(body) = &call.json else {
            return bad_json(call);
        };
        let wanted = body.pointer("/transition/id").and_then(Value::as_str);
        let open = Transition::from(issue.status, self.common.settings.workflow);
        let Some(transition) = open.into_iter().find(|t| Some(t.id) == wanted) else {
            let id = wanted.unwrap_or("null");
            return error(
                400,
                &format!("Transition id '{id}' is not valid for this issue."),
            );
        };
        let mut errors = Errors::default();
        let empty = Map::new();
        let fields = body
            .get("fields")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let has_screen =
            self.common.settings.transition_screens && transition.resolutions().is_some();
        let resolution = if has_screen {
            resolution(transition, fields, &mut errors)
        } else {
            if fields.contains_key("resolution") {
                errors.not_on_screen("resolution");
            }
            (transition.to == Status::Done).then(|| "Done".to_owned())
        };
        let demanded = &self.common.settings.transition_required;
        let demanded: &[String] = if has_screen { demanded } else { &[] };
        for name in fields.keys().filter(|name| *name != "resolution") {
            if !demanded.contains(name) {
                errors.not_on_screen(name);
            }
        }
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        for name in demanded {
            if !fields.get(name).is_some_and(is_text) {
                errors.field(name, format!("{name} is required."));
            }
        }
        let mut comments = Vec::new();
        let adds = body.pointer("/update/comment").and_then(Value::as_array);
        for add in adds.into_iter().flatten().filter_map(|o| o.get("add")) {
            comments.extend(comment(version, caller, add, now, &mut errors));
        }
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        self.store.change(id_or_key, |issue| {
            issue.status = transition.to;
            issue.resolution = resolution;
            issue.note(format!("transition {}", transition.to.name()), now);
        });
        // Without a screen there is no field for them, and Jira says nothing.
        for comment in comments.into_iter().filter(|_| has_screen) {
            self.store.comment(id_or_key, comment);
        }
        Answer::empty(204).mutated()
    }

    /// `POST bulk/issues/move`, done at once:
    /// `{"targetToSourcesMapping": {"KEY,type": {"issueIdsOrKeys": [..]}}}`.
    pub(super) fn move_issues(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, now) = (hit.call, hit.now);
        let mapping = call
            .json
            .as_ref()
            .and_then(|body| body["targetToSourcesMapping"].as_object());
        let Some(mapping) = mapping else {
            return bad_json(call);
        };
        for (target, sources) in mapping {
            let project = target.split(',').next().unwrap_or_default();
            if !fields::project_exists(project) {
                return error(400, "The target project does not exist.");
            }
            let sources = sources["issueIdsOrKeys"].as_array();
            for source in sources.into_iter().flatten().filter_map(Value::as_str) {
                if !self.store.relocate(source, project, now) {
                    return no_issue();
                }
            }
        }
        Answer::json(201, json!({"taskId": "10641"})).mutated()
    }

    pub(super) fn add_comment(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, version, now) = (hit.call, self.version(hit.call), hit.now);
        let (caller, id_or_key) = (hit.caller, hit.arg(0));
        let Some(issue) = self.store.find(id_or_key) else {
            return no_issue();
        };
        let Some(body) = &call.json else {
            return bad_json(call);
        };
        if issue.comments.len() >= COMMENTS_MAX {
            return error(413, "The issue has reached its limit of comments.");
        }
        let issue_id = issue.id.clone();
        let mut errors = Errors::default();
        let new = comment(version, caller, body, now, &mut errors);
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        let Some(made) = new.and_then(|new| self.store.comment(id_or_key, new)) else {
            return no_issue();
        };
        let body = read::comment(made, &issue_id, version, &call.base, false);
        Answer::json(201, body).mutated()
    }

    /// One part named `file` of a multipart body, as this worker sends it.
    pub(super) fn attach(&mut self, hit: &Hit<'_>) -> Answer {
        let (call, id_or_key) = (hit.call, hit.arg(0));
        if self.store.find(id_or_key).is_none() {
            return no_issue();
        }
        if call.header("x-atlassian-token") != Some("no-check") {
            return error(403, "XSRF check failed");
        }
        let part = call.part("file");
        let named = part.and_then(|part| Some((part, part.file_name.as_ref()?)));
        let Some((part, name)) = named else {
            return error(400, "The request has no part named file.");
        };
        let media_type = part.media_type.as_deref().unwrap_or_default();
        let file = LedgerFile::of(name, media_type, &part.bytes);
        if file.size > read::UPLOAD_MAX {
            return error(413, "The file is larger than this site takes.");
        }
        let Some(made) = self.store.attach(id_or_key, file, hit.now) else {
            return no_issue();
        };
        Answer::json(200, json!([read::attachment(&made)])).mutated()
    }

    pub(super) fn set_property(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let (id_or_key, key) = (hit.arg(0), hit.arg(1));
        let Some(value) = &call.json else {
            return bad_json(call);
        };
        let mut errors = Errors::default();
        check_property(key, value, &mut errors);
        if let Some(refusal) = errors.refusal() {
            return refusal;
        }
        let replaced = self.store.change(id_or_key, |issue| {
            issue.note(format!("property {key}"), hit.now);
            issue.properties.insert(key.to_owned(), value.clone())
        });
        match replaced {
            None => no_issue(),
            Some(None) => Answer::empty(201).mutated(),
            Some(Some(_)) => Answer::empty(200).mutated(),
        }
    }
}

fn apply(issue: &mut Issue, changes: Changes) {
    if let Some(summary) = changes.summary {
        issue.summary = summary;
    }
    if let Some(description) = changes.description {
        issue.description = description;
    }
    if let Some(labels) = changes.labels {
        issue.labels = labels;
    }
    if let Some(priority) = changes.priority {
        issue.priority = priority;
    }
    if let Some(assignee) = changes.assignee {
        issue.assignee = assignee;
    }
    issue.custom.extend(changes.custom);
}

fn edit_labels(now: &[String], operations: &[Value], errors: &mut Errors) -> Option<Vec<String>> {
    let mut labels = now.to_vec();
    for operation in operations {
        if let Some(add) = operation.get("add") {
            let label = fields::label(add, errors)?;
            if !labels.contains(&label) {
                labels.push(label);
            }
        } else if let Some(remove) = operation.get("remove").and_then(Value::as_str) {
            labels.retain(|label| label != remove);
        } else if let Some(Value::Array(set)) = operation.get("set") {
            labels.clear();
            for item in set {
                labels.push(fields::label(item, errors)?);
            }
        } else {
            errors.field(
                "labels",
                "Unsupported operation. Supported operations are: add, set, remove",
            );
            return None;
        }
    }
    Some(labels)
}

/// The resolution that a transition sets; leaving `done` clears it.
fn resolution(
    transition: Transition,
    fields: &Map<String, Value>,
    errors: &mut Errors,
) -> Option<String> {
    let given = fields.get("resolution").filter(|value| !value.is_null());
    match (transition.resolutions(), given) {
        (None, None) | (Some((_, false)), None) => None,
        (None, Some(_)) => {
            errors.not_on_screen("resolution");
            None
        }
        (Some((_, true)), None) => {
            errors.field("resolution", "Resolution is required.");
            None
        }
        (Some((offered, _)), Some(given)) => {
            let name = given.get("name").and_then(Value::as_str);
            if name.is_none_or(|name| !offered.contains(&name)) {
                errors.field("resolution", "The resolution selected is invalid.");
                return None;
            }
            name.map(ToOwned::to_owned)
        }
    }
}

/// Reads and checks a comment.
fn comment(
    version: Version,
    caller: &Caller,
    given: &Value,
    now: DateTime<Utc>,
    errors: &mut Errors,
) -> Option<Comment> {
    let body = given.get("body").cloned().unwrap_or_default();
    let blank = match &body {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Object(document) => document.get("content") == Some(&json!([])),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    };
    if blank {
        errors.field("comment", "Comment body can not be empty!");
        return None;
    }
    let properties = properties(given.get("properties"), errors);
    if !fields::long_text(version, "comment", &body, errors) {
        return None;
    }
    let internal = properties
        .get("sd.public.comment")
        .and_then(|value| value.get("internal"))
        .is_some_and(|internal| internal == true || internal == "true");
    let visibility = given.get("visibility").filter(|v| !v.is_null()).cloned();
    Some(Comment {
        id: 0,
        body,
        author: caller.name.clone(),
        public: !internal && visibility.is_none(),
        visibility,
        properties,
        created: now,
    })
}

/// Reads `[{"key", "value"}]`.
fn properties(given: Option<&Value>, errors: &mut Errors) -> Map<String, Value> {
    let mut properties = Map::new();
    let list = match given {
        None | Some(Value::Null) => return properties,
        Some(Value::Array(list)) => list,
        Some(_) => {
            errors.message("properties must be an array");
            return properties;
        }
    };
    for item in list {
        match (item.get("key").and_then(Value::as_str), item.get("value")) {
            (Some(key), Some(value)) => {
                check_property(key, value, errors);
                properties.insert(key.to_owned(), value.clone());
            }
            _ => errors.message("a property needs a key and a value"),
        }
    }
    properties
}

fn check_property(key: &str, value: &Value, errors: &mut Errors) {
    if key.is_empty() || fields::utf16(key) > PROPERTY_KEY_MAX {
        errors.message("The property key must be 1 to 255 characters long.");
    }
    if value.to_string().len() > PROPERTY_BYTES_MAX {
        errors.message("The property value is too long: the limit is 32768 characters.");
    }
}
