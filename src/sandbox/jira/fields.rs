//! What a create or an edit may set: Jira's validation, all faults of a stage at once.

use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::adf;
use super::settings::{CustomField, FieldKind, Settings};
use super::version::Version;
use crate::domain::has_ink;

/// Characters of text in a description, comment or multi-line field (sheet §8).
const TEXT_MAX: usize = 32_767;
const SUMMARY_MAX: usize = 255;
const LABEL_MAX: usize = 255;

/// Jira's error collection, and a note of ours on what exactly was wrong.
#[derive(Debug, Default)]
pub(super) struct Errors {
    messages: Vec<String>,
    fields: Map<String, Value>,
    note: Option<String>,
}

impl Errors {
    pub(super) fn field(&mut self, field: &str, why: impl Into<String>) {
        self.fields.insert(field.to_owned(), why.into().into());
    }

    pub(super) fn message(&mut self, why: impl Into<String>) {
        self.messages.push(why.into());
    }

    pub(super) fn not_on_screen(&mut self, field: &str) {
        self.field(
            field,
            format!(
                "Field '{field}' cannot be set. It is not on the appropriate screen, or unknown."
            ),
        );
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.fields.is_empty()
    }

    /// A refusal, if anything is wrong.
    pub(super) fn refusal(self) -> Option<Answer> {
        if self.is_empty() {
            return None;
        }
        let mut body = json!({"errorMessages": self.messages, "errors": self.fields});
        if let Some(note) = self.note {
            // Jira does not say this much; a person who debugs an adapter wants it.
            body["sandbox"] = note.into();
        }
        Some(Answer::json(400, body))
    }
}

/// The fields a request sets, checked. `None` leaves a field; an inner `None` empties it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) project: Option<String>,
    pub(super) issue_type: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) description: Option<Value>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) priority: Option<Option<String>>,
    pub(super) assignee: Option<Option<String>>,
    pub(super) custom: Map<String, Value>,
}

/// Whether a project key is one: any but `NOPE`.
pub(super) fn project_exists(key: &str) -> bool {
    let mut characters = key.chars();
    characters.next().is_some_and(|c| c.is_ascii_uppercase())
        && key.len() >= 2
        && key != "NOPE"
        && characters.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The id of a project: its key as a number, so that nothing need be kept of it.
pub(super) fn project_id(key: &str) -> u64 {
    let digit = |number: u64, letter: u8| {
        let digit = u64::from(letter.checked_sub(FIRST_LETTER)?);
        number.checked_mul(64)?.checked_add(digit)
    };
    key.bytes().try_fold(1, digit).unwrap_or(1)
}

/// What stands before every letter of a key.
const FIRST_LETTER: u8 = b'0' - 1;

/// The key of the project with this id.
pub(super) fn project_of(id: &str) -> Option<String> {
    let mut number: u64 = id.parse().ok()?;
    let mut key = Vec::new();
    while number > 1 {
        key.push(u8::try_from(number % 64).ok()? + FIRST_LETTER);
        number /= 64;
    }
    key.reverse();
    String::from_utf8(key).ok()
}

/// Checks the `fields` of a create or an edit. Jira refuses in turn: a project or an issue type
/// that is none, then what is on no screen, then what is missing or no value.
pub(super) fn check(
    settings: &Settings,
    version: Version,
    fields: &Map<String, Value>,
    creating: bool,
    errors: &mut Errors,
) -> Changes {
    let mut changes = Changes::default();
    if creating {
        changes.project = project(fields, errors);
        changes.issue_type = issue_type(settings, fields, errors);
    }
    if errors.is_empty() {
        on_screen(settings, fields, creating, errors);
    }
    if errors.is_empty() {
        values(settings, version, fields, &mut changes, errors);
        if creating {
            require(settings, fields, errors);
        }
    }
    changes
}

/// Fields of the system that a screen may have.
const SYSTEM: [&str; 5] = ["summary", "description", "labels", "priority", "assignee"];

fn on_screen(
    settings: &Settings,
    fields: &Map<String, Value>,
    creating: bool,
    errors: &mut Errors,
) {
    for name in fields.keys() {
        let is_known = SYSTEM.contains(&name.as_str())
            || (creating && matches!(name.as_str(), "project" | "issuetype" | "parent"))
            || settings.custom_fields.iter().any(|field| field.id == *name)
            // A required field need not be declared: it is then a text field.
            || settings.required_fields.contains(name);
        if !is_known || settings.fields_not_on_screen.contains(name) {
            errors.not_on_screen(name);
        }
    }
}

fn values(
    settings: &Settings,
    version: Version,
    fields: &Map<String, Value>,
    changes: &mut Changes,
    errors: &mut Errors,
) {
    for (name, value) in fields {
        match name.as_str() {
            "project" | "issuetype" | "parent" => {}
            "summary" => changes.summary = summary(value, errors),
            "description" => {
                if long_text(version, name, value, errors) {
                    changes.description = Some(value.clone());
                }
            }
            "labels" => changes.labels = labels(value, errors),
            "priority" => changes.priority = priority(settings, value, errors),
            "assignee" => changes.assignee = assignee(settings, version, value, errors),
            _ => {
                let declared = settings.custom_fields.iter().find(|f| f.id == *name);
                if declared.is_none_or(|field| custom(version, field, value, errors)) {
                    changes.custom.insert(name.clone(), value.clone());
                }
            }
        }
    }
}

fn require(settings: &Settings, fields: &Map<String, Value>, errors: &mut Errors) {
    let given = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    if !given("summary") {
        errors.field("summary", "You must specify a summary of the issue.");
    }
    let is_subtask = fields
        .get("issuetype")
        .and_then(|kind| kind.get("name"))
        .is_some_and(|name| name == "Sub-task");
    if is_subtask && !given("parent") {
        errors.field(
            "parent",
            "Issue type is a sub-task but parent issue key or id not specified.",
        );
    }
    for name in &settings.required_fields {
        if !given(name) && !settings.fields_not_on_screen.contains(name) {
            let declared = settings.custom_fields.iter().find(|f| f.id == *name);
            let label = declared.map_or(name, |field| &field.name);
            errors.field(name, format!("{label} is required."));
        }
    }
}

/// Ids are given by position, from 10001, as createmeta lists them.
pub(super) fn issue_type_id(index: usize) -> String {
    (10_001 + index).to_string()
}

/// Ids are given by position, from 1.
pub(super) fn priority_id(index: usize) -> String {
    (index + 1).to_string()
}

fn named_or_numbered(names: &[String], value: &Value, id: fn(usize) -> String) -> Option<String> {
    let text = |member: &str| value.get(member).and_then(Value::as_str);
    let (name, wanted) = (text("name"), text("id"));
    let mut numbered = names.iter().enumerate();
    numbered
        .find(|(index, own)| {
            name.is_some_and(|n| n == own.as_str())
                || (name.is_none() && wanted.is_some_and(|w| w == id(*index)))
        })
        .map(|(_, own)| own.clone())
}

/// How long a text is to Jira, which counts as Java does.
pub(super) fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

fn project(fields: &Map<String, Value>, errors: &mut Errors) -> Option<String> {
    let given = fields.get("project");
    let text = |name: &str| given.and_then(|project| project.get(name).and_then(Value::as_str));
    let key = text("key").map(str::to_owned);
    let key = key.or_else(|| project_of(text("id")?));
    let key = key.filter(|key| project_exists(key));
    if key.is_none() {
        errors.field("project", "valid project is required");
    }
    key
}

fn issue_type(
    settings: &Settings,
    fields: &Map<String, Value>,
    errors: &mut Errors,
) -> Option<String> {
    let given = fields.get("issuetype");
    let found =
        given.and_then(|kind| named_or_numbered(&settings.issue_types, kind, issue_type_id));
    if found.is_none() {
        errors.field("issuetype", "Specify a valid issue type");
    }
    found
}

fn summary(value: &Value, errors: &mut Errors) -> Option<String> {
    let why = match value.as_str() {
        None if value.is_null() => "You must specify a summary of the issue.",
        None => "Operation value must be a string",
        Some(text) if !has_ink(text) => "You must specify a summary of the issue.",
        Some(text) if text.contains(['\n', '\r']) => {
            "The summary is invalid because it contains newline characters."
        }
        Some(text) if utf16(text) > SUMMARY_MAX => "Summary can't exceed 255 characters.",
        Some(text) => return Some(text.to_owned()),
    };
    errors.field("summary", why);
    None
}

/// Checks a description, comment or multi-line field; null is an empty one.
pub(super) fn long_text(version: Version, name: &str, value: &Value, errors: &mut Errors) -> bool {
    if value.is_null() {
        return true;
    }
    let characters = match (version.has_documents, value) {
        (false, Value::String(text)) => utf16(text),
        (false, _) => {
            errors.field(name, "Operation value must be a string");
            return false;
        }
        (true, value) if !value.is_object() => {
            errors.field(
                name,
                "Operation value must be an Atlassian Document (see the Atlassian Document Format)",
            );
            return false;
        }
        (true, value) => match adf::check(value) {
            Ok(characters) => characters,
            Err(note) if name == "comment" => {
                errors.field(name, "Comment body is not valid!");
                errors.note = Some(note);
                return false;
            }
            Err(note) => {
                errors.message("INVALID_INPUT");
                errors.note = Some(format!("{name}: {note}"));
                return false;
            }
        },
    };
    if characters > TEXT_MAX {
        if version.is_cloud {
            errors.message("CONTENT_LIMIT_EXCEEDED");
        } else {
            let text =
                "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";
            errors.field(name, text);
        }
        return false;
    }
    true
}

fn labels(value: &Value, errors: &mut Errors) -> Option<Vec<String>> {
    if value.is_null() {
        return Some(Vec::new());
    }
    let Some(list) = value.as_array() else {
        errors.field("labels", "data was not an array");
        return None;
    };
    let mut labels: Vec<String> = Vec::new();
    for item in list {
        let label = label(item, errors)?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Some(labels)
}

/// Checks one label.
pub(super) fn label(value: &Value, errors: &mut Errors) -> Option<String> {
    let why = match value.as_str() {
        None => "string expected at index 0".to_owned(),
        Some("") => "The label must not be empty.".to_owned(),
        Some(text) if text.contains(char::is_whitespace) => {
            format!("The label '{text}' contains spaces which is invalid.")
        }
        Some(text) if utf16(text) > LABEL_MAX => {
            "The label is too long: the limit is 255 characters.".to_owned()
        }
        Some(text) => return Some(text.to_owned()),
    };
    errors.field("labels", why);
    None
}

fn priority(settings: &Settings, value: &Value, errors: &mut Errors) -> Option<Option<String>> {
    let found = named_or_numbered(&settings.priorities, value, priority_id);
    if found.is_none() {
        errors.field(
            "priority",
            "Specify the Priority (name) in the form of name or id; the \
                                  priority selected is invalid.",
        );
        return None;
    }
    Some(found)
}

/// Checks an assignee: `{"id"}` or `{"accountId"}` on Cloud, `{"name"}` on Data Center, null for
/// nobody.
pub(super) fn assignee(
    settings: &Settings,
    version: Version,
    value: &Value,
    errors: &mut Errors,
) -> Option<Option<String>> {
    if value.is_null() {
        return Some(None);
    }
    let member = |name: &str| value.get(name);
    let given = if version.is_cloud {
        member("accountId").or_else(|| member("id"))
    } else {
        member("name")
    };
    match given {
        Some(Value::Null) => return Some(None),
        Some(Value::String(account)) => match settings.people().by_id(account) {
            Some(user) if user.assignable => return Some(Some(user.account_id)),
            Some(user) => {
                let who = user.display_name;
                errors.field(
                    "assignee",
                    format!("User '{who}' cannot be assigned issues."),
                );
            }
            None => errors.field("assignee", "Specify a valid value for assignee"),
        },
        _ => errors.field("assignee", "expected Object containing an account"),
    }
    None
}

fn custom(version: Version, field: &CustomField, value: &Value, errors: &mut Errors) -> bool {
    if value.is_null() {
        return true;
    }
    let option = |value: &Value| {
        let named = value.get("value").and_then(Value::as_str);
        named.is_some_and(|name| field.options.iter().any(|own| own == name))
    };
    let why = match field.kind {
        FieldKind::Textarea => return long_text(version, &field.id, value, errors),
        FieldKind::Text => match value.as_str() {
            Some(text) if utf16(text) <= 255 => return true,
            Some(_) => {
                "The entered text is too long. It exceeds the allowed limit of 255 characters."
            }
            None => "Operation value must be a string",
        },
        FieldKind::Number if value.is_number() => return true,
        FieldKind::Number => "Operation value must be a number",
        FieldKind::Date => match value.as_str() {
            Some(text) if chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() => {
                return true;
            }
            _ => "Error parsing date string: it must be of the format \"yyyy-MM-dd\"",
        },
        FieldKind::Select if option(value) => return true,
        FieldKind::MultiSelect if value.as_array().is_some_and(|l| l.iter().all(option)) => {
            return true;
        }
        FieldKind::Select | FieldKind::MultiSelect => {
            "Specify a valid 'id' or 'name' for the option"
        }
    };
    errors.field(&field.id, why);
    false
}
