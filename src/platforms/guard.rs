//! Which secrets an integration has, and how they are taken out of what its adapter returns: in
//! whatever form the platform said them back. An adapter needs no line for it.

use std::any::Any;
use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::http::redact::{Redaction, secret_parts};
use super::inbound::{HookHealth, Redelivered, Registered};
use super::{
    Actor, AdapterError, Change, ChangeKind, ChangePage, CheckReport, ErrorClass, ExternalComment,
    ExternalFile, ExternalItem, Facts, Holder, ItemRef, Needs, PlatformField, Receipt, Unfinished,
    descriptor,
};
use crate::domain::Integration;
use crate::secrets::{Credentials, Redactor};

/// Headers of a webhook that say nothing secret, though they are among its credentials.
const OPEN_HEADERS: [&str; 7] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-language",
    "prefer",
];

/// A panic whose text holds no secret.
pub(super) fn without(redaction: &Redaction, panic: Box<dyn Any + Send>) -> Box<dyn Any + Send> {
    let text = panic.downcast_ref::<String>().cloned();
    match text {
        None => panic,
        Some(mut text) => {
            redaction.clean(&mut text);
            Box::new(text)
        }
    }
}

/// Looks for these.
pub(super) fn redactor(secrets: &[SecretString]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| secret.expose_secret()))
}

/// Everything in the credentials that its platform does not declare to be open, nor the
/// integration's own settings show.
pub(super) fn secrets(integration: &Integration, credentials: &Credentials) -> Vec<SecretString> {
    let facts = integration.platform.map(descriptor);
    let is_open = |name: &str| {
        facts.is_some_and(|facts| {
            let members = facts.modes.iter().flat_map(|mode| mode.credentials);
            let mut members = members.flat_map(|set| set.iter());
            let settings = &facts.settings;
            members.any(|member| member.name == name && member.open)
                || settings.iter().any(|member| member.name == name)
        })
    };
    let mut open: Vec<String> = integration.base_url.iter().cloned().collect();
    let settings = &integration.settings;
    settings.values().for_each(|value| leaves(value, &mut open));
    let mut found = Vec::new();
    for (name, value) in credentials.members() {
        match value {
            Value::Object(map) if name == "headers" => {
                let secret =
                    |name: &str| !OPEN_HEADERS.contains(&name.to_ascii_lowercase().as_str());
                let values = map.iter().filter(|(name, _)| secret(name));
                values.for_each(|(_, value)| leaves(value, &mut found));
            }
            _ if is_open(name) => leaves(value, &mut open),
            _ => leaves(value, &mut found),
        }
    }
    // A legacy row has more among its credentials than secrets: a host name that the base URL has
    // too is none.
    found.retain(|secret| !open.iter().any(|open| open.contains(secret.as_str())));
    let besides = credentials.webhook_secret();
    found.extend(besides.map(|secret| secret.expose_secret().to_owned()));
    found
        .iter()
        .flat_map(|secret| secret_parts(secret))
        .map(SecretString::from)
        .collect()
}

/// Every text and number of a value.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => found.push(number.to_string()),
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(map) => map.values().for_each(|value| leaves(value, found)),
    }
}

/// What an adapter returns.
pub(super) trait Redact: Send {
    /// Takes the secrets out.
    fn redact(&mut self, redaction: &Redaction);
}

impl<T: Redact> Redact for Option<T> {
    fn redact(&mut self, redaction: &Redaction) {
        if let Some(inner) = self {
            inner.redact(redaction);
        }
    }
}

impl<T: Redact> Redact for Vec<T> {
    fn redact(&mut self, redaction: &Redaction) {
        for item in self {
            item.redact(redaction);
        }
    }
}

impl Redact for String {
    fn redact(&mut self, redaction: &Redaction) {
        redaction.clean(self);
    }
}

impl Redact for AdapterError {
    fn redact(&mut self, redaction: &Redaction) {
        self.public.redact(redaction);
        self.internal.redact(redaction);
        if let Some(done) = &mut self.done {
            done.redact(redaction);
        }
        if let ErrorClass::Validation { fields } = &mut self.class {
            let cleaned = |mut text: String| {
                text.redact(redaction);
                text
            };
            let made: BTreeMap<String, String> = std::mem::take(fields)
                .into_iter()
                .map(|(name, fault)| (cleaned(name), cleaned(fault)))
                .collect();
            *fields = made;
        }
    }
}

impl Redact for Receipt {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            external_id,
            external_url,
            external_ref,
            external_comment_id,
            external_attachment_id,
            details,
            wrote,
            written: _,
        } = self;
        external_id.redact(redaction);
        external_url.redact(redaction);
        redaction.clean_map(external_ref);
        external_comment_id.redact(redaction);
        external_attachment_id.redact(redaction);
        redaction.clean_map(details);
        wrote.redact(redaction);
    }
}

impl Redact for Box<Unfinished> {
    fn redact(&mut self, redaction: &Redaction) {
        self.error.redact(redaction);
    }
}

impl Redact for CheckReport {
    fn redact(&mut self, redaction: &Redaction) {
        let Self { message, details } = self;
        message.redact(redaction);
        redaction.clean_map(details);
    }
}

impl Redact for PlatformField {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            id,
            name,
            kind,
            custom: _,
            required: _,
            allowed_values,
        } = self;
        id.redact(redaction);
        name.redact(redaction);
        kind.redact(redaction);
        allowed_values.redact(redaction);
    }
}

impl Redact for Actor {
    fn redact(&mut self, redaction: &Redaction) {
        let Self { id, name } = self;
        id.redact(redaction);
        name.redact(redaction);
    }
}

impl Redact for ItemRef {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            external_id,
            stable_id,
        } = self;
        external_id.redact(redaction);
        stable_id.redact(redaction);
    }
}

impl Redact for Facts {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            title,
            description,
            status,
            status_class,
            priority,
            assignee,
            tags,
            custom,
            url,
        } = self;
        for text in [title, description, status, status_class, priority, url] {
            text.redact(redaction);
        }
        if let Some(Holder::Account(account)) = assignee {
            account.redact(redaction);
        }
        tags.redact(redaction);
        let cleaned = std::mem::take(custom).into_iter().map(|(mut name, value)| {
            let mut value = value;
            name.redact(redaction);
            redaction.clean_value(&mut value);
            (name, value)
        });
        *custom = cleaned.collect();
    }
}

impl Redact for ExternalComment {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            id,
            body,
            before,
            public: _,
            author,
            created_at: _,
            marker,
        } = self;
        id.redact(redaction);
        body.redact(redaction);
        before.redact(redaction);
        author.redact(redaction);
        marker.redact(redaction);
    }
}

impl Redact for ExternalFile {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            id,
            name,
            content_type,
            size: _,
            url,
        } = self;
        id.redact(redaction);
        name.redact(redaction);
        content_type.redact(redaction);
        url.redact(redaction);
    }
}

impl Redact for Registered {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            external_id,
            resource,
            // It is what the caller keeps, and cannot be printed.
            secret: _,
            expires_at: _,
        } = self;
        external_id.redact(redaction);
        resource.redact(redaction);
    }
}

impl Redact for HookHealth {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            state: _,
            problem,
            url,
            expires_at: _,
        } = self;
        problem.redact(redaction);
        url.redact(redaction);
    }
}

/// Two numbers, a moment, nothing: there is no text in them.
impl Redact for Redelivered {
    fn redact(&mut self, _: &Redaction) {}
}

impl Redact for chrono::DateTime<chrono::Utc> {
    fn redact(&mut self, _: &Redaction) {}
}

impl Redact for () {
    fn redact(&mut self, _: &Redaction) {}
}

impl Redact for ExternalItem {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            item,
            at: _,
            facts,
            marker,
            comments,
            files,
        } = self;
        item.redact(redaction);
        facts.redact(redaction);
        marker.redact(redaction);
        comments.redact(redaction);
        files.redact(redaction);
    }
}

impl Redact for Change {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            id,
            kind,
            item,
            at: _,
            by,
            facts,
            before,
            whole: _,
            comment,
            files,
            marker,
            needs,
        } = self;
        id.redact(redaction);
        match kind {
            ChangeKind::Moved { to: other } | ChangeKind::Merged { into: other } => {
                other.redact(redaction);
            }
            ChangeKind::Created
            | ChangeKind::Updated
            | ChangeKind::Commented
            | ChangeKind::CommentChanged
            | ChangeKind::CommentDeleted
            | ChangeKind::Attached
            | ChangeKind::Deleted
            | ChangeKind::Restored => {}
        }
        item.redact(redaction);
        by.redact(redaction);
        facts.redact(redaction);
        before.redact(redaction);
        comment.redact(redaction);
        files.redact(redaction);
        marker.redact(redaction);
        if let Needs::Comment { id } = needs {
            id.redact(redaction);
        }
    }
}

impl Redact for ChangePage {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            changes,
            next,
            mark,
            order: _,
            unreadable: _,
        } = self;
        changes.redact(redaction);
        next.redact(redaction);
        mark.redact(redaction);
    }
}
