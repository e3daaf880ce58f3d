//! Reading a JSON object field by field, so that every fault is found and named, not only the
//! first.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{WireEnum, has_ink, shown};

/// What is wrong, by field.
pub type Faults = BTreeMap<String, String>;

/// Names of the legacy application and what took their place (contract §4).
const LEGACY_NAMES: [(&str, &str); 3] = [
    (
        "integration_name",
        "is gone; name the integration by integration_id",
    ),
    (
        "integration_type",
        "is gone; use integration_category and platform_name",
    ),
    ("is_enabled", "is gone; use enabled"),
];

/// A JSON object being read: each getter takes its field out, [`Fields::finish`] names what nobody
/// asked for.
///
/// It can also describe itself: then nothing is read, and every getter notes the JSON Schema of
/// what it would take and whether it can do without. So the published schemas are what the parser
/// does, and cannot drift from it.
pub struct Fields<'a> {
    map: Map<String, Value>,
    faults: &'a mut Faults,
    shape: Option<&'a mut Shape>,
    /// What is said of a field that nobody asked for.
    not_a_field: Cow<'static, str>,
}

/// What an object's readers ask for.
#[derive(Default)]
struct Shape {
    /// JSON Schemas by field.
    properties: Map<String, Value>,
    /// The fields that they cannot do without.
    required: BTreeSet<String>,
}

/// The schema of an object that `read` reads: what it asks for, what it cannot do without, and
/// nothing else.
pub(super) fn schema_of<T>(read: impl Fn(&mut Fields<'_>) -> T) -> Value {
    let (mut faults, mut shape) = (Faults::new(), Shape::default());
    let mut fields = Fields::new(Map::new(), &mut faults);
    fields.shape = Some(&mut shape);
    read(&mut fields);
    json!({
        "type": "object", "required": shape.required, "properties": shape.properties,
        "additionalProperties": false,
    })
}

impl<'a> Fields<'a> {
    /// Reads `map`; faults are recorded by field name.
    pub const fn new(map: Map<String, Value>, faults: &'a mut Faults) -> Self {
        Self {
            map,
            faults,
            shape: None,
            not_a_field: Cow::Borrowed("is not a field of this command"),
        }
    }

    /// What is said of a field that nobody asks for, in place of the usual.
    pub(super) fn explain_unknown(&mut self, fault: String) {
        self.not_a_field = Cow::Owned(fault);
    }

    /// Notes what a field would have to be, where this describes itself.
    fn note(&mut self, name: &str, schema: impl FnOnce() -> Value) {
        if let Some(shape) = &mut self.shape
            && !shape.properties.contains_key(name)
        {
            shape.properties.insert(name.to_owned(), schema());
        }
    }

    /// Says that the field cannot be done without, and what it takes; where it is not there (which
    /// the caller finds out, as null may count), that is its fault. Returns whether it is.
    pub fn demand(&mut self, name: &str, is_there: bool, takes: &str) -> bool {
        if let Some(shape) = &mut self.shape {
            shape.required.insert(name.to_owned());
            return true;
        }
        if !is_there {
            let separator = if takes.is_empty() { "" } else { ": " };
            self.fault(name, format!("is required{separator}{takes}"));
        }
        is_there
    }

    /// The same of a field that cannot be null.
    pub fn require(&mut self, name: &str, takes: &str) -> bool {
        self.demand(name, self.has(name), takes)
    }

    /// Records a fault.
    pub fn fault(&mut self, name: &str, fault: impl Into<String>) {
        self.faults
            .entry(name.to_owned())
            .or_insert_with(|| fault.into());
    }

    /// Whether the field is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.shape.is_some() || self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there, null or not.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        self.shape.is_some() || self.map.contains_key(name)
    }

    /// Takes a field; null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A field of a shape of its own, for whoever reads it further.
    pub fn value(&mut self, name: &str, schema: impl FnOnce() -> Value) -> Option<Value> {
        self.note(name, schema);
        self.take(name)
    }

    /// An optional text of `min` to `max` characters.
    pub fn text(&mut self, name: &str, min: usize, max: usize) -> Option<String> {
        self.note(name, || match max {
            usize::MAX => json!({ "type": "string", "minLength": min }),
            _ => json!({ "type": "string", "minLength": min, "maxLength": max }),
        });
        match self.take(name)? {
            Value::String(text) => match text_fault(&text, min, max) {
                None => Some(text),
                Some(fault) => {
                    self.fault(name, fault);
                    None
                }
            },
            other => {
                self.fault(name, format!("must be text, not {}", kind(&other)));
                None
            }
        }
    }

    /// An optional text of at most `max` characters of which a person sees something: no platform
    /// takes another as a title.
    pub fn visible(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.text(name, 1, max)?;
        if has_ink(&text) {
            return Some(text);
        }
        self.fault(name, "must have a visible character");
        None
    }

    /// The same where it is required; empty after a fault.
    pub fn required_visible(&mut self, name: &str, max: usize) -> String {
        if !self.require(name, "") {
            self.map.remove(name);
            return String::new();
        }
        self.visible(name, max).unwrap_or_default()
    }

    /// A required text of `min` to `max` characters; empty after a fault.
    pub fn required_text(&mut self, name: &str, min: usize, max: usize) -> String {
        if !self.require(name, "") {
            self.map.remove(name);
            return String::new();
        }
        self.text(name, min, max).unwrap_or_default()
    }

    /// An optional text of a form of its own: `what` it must be, with an example, and how it is
    /// read.
    pub fn form<T>(
        &mut self,
        name: &str,
        (what, example): (&str, &str),
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match self.take(name)? {
            Value::String(text) => {
                let parsed = parse(&text);
                if parsed.is_none() {
                    let separator = if example.is_empty() { "" } else { ", e.g. " };
                    self.fault(name, format!("must be {what}{separator}{example}"));
                }
                parsed
            }
            other => {
                let fault = format!("must be {what} as text, not {}", kind(&other));
                self.fault(name, fault);
                None
            }
        }
    }

    /// An optional UUID.
    pub fn uuid(&mut self, name: &str) -> Option<Uuid> {
        self.note(name, || json!({ "type": "string", "format": "uuid" }));
        let what = ("a UUID", "6f9619ff-8b86-d011-b42d-00c04fc964ff");
        self.form(name, what, |text| Uuid::parse_str(text).ok())
    }

    /// A required UUID; nil after a fault.
    pub fn required_uuid(&mut self, name: &str) -> Uuid {
        if !self.require(name, "") {
            self.map.remove(name);
            return Uuid::nil();
        }
        self.uuid(name).unwrap_or_default()
    }

    /// An optional true or false.
    pub fn boolean(&mut self, name: &str, default: bool) -> bool {
        self.note(name, || json!({ "type": "boolean", "default": default }));
        match self.take(name) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.fault(name, format!("must be true or false, not {}", kind(&other)));
                default
            }
        }
    }

    /// An optional whole number within a range.
    pub fn integer(&mut self, name: &str, range: std::ops::RangeInclusive<i32>) -> Option<i32> {
        self.note(
            name,
            || json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
        );
        let value = self.take(name)?;
        let number = value
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .filter(|n| range.contains(n));
        if number.is_none() {
            self.fault(
                name,
                format!(
                    "must be a whole number from {} to {}",
                    range.start(),
                    range.end()
                ),
            );
        }
        number
    }

    /// An optional moment.
    pub fn moment(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.note(name, || json!({ "type": "string", "format": "date-time" }));
        let text = self.text(name, 1, 64)?;
        let parsed = time_of(&text);
        if parsed.is_none() {
            let (what, example) = TIME;
            self.fault(name, format!("must be {what}, e.g. {example}"));
        }
        parsed
    }

    /// A change of something that may be unset: not mentioned, it stays; null unsets it.
    pub fn change<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.shape.is_some() {
            read(self);
            let shape = self.shape.as_mut();
            if let Some(schema) = shape.and_then(|shape| shape.properties.get_mut(name)) {
                *schema = json!({ "anyOf": [schema.take(), { "type": "null" }] });
            }
            return None;
        }
        if !self.mentions(name) {
            return None;
        }
        if !self.has(name) {
            self.map.remove(name);
            return Some(None);
        }
        read(self).map(Some)
    }

    /// Reads an object within this one: its faults are named `name.field`.
    pub fn within<T>(
        &mut self,
        name: &str,
        map: Map<String, Value>,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        let mut faults = Faults::new();
        let mut inner = Fields::new(map, &mut faults);
        let value = read(&mut inner);
        inner.finish();
        for (field, fault) in faults {
            self.fault(&format!("{name}.{field}"), fault);
        }
        value
    }

    /// An optional object, read as by [`Fields::within`].
    pub fn nested<T>(&mut self, name: &str, read: impl Fn(&mut Fields<'_>) -> T) -> Option<T> {
        self.note(name, || schema_of(&read));
        let map = self.object_of(name, Extent::NESTED)?;
        Some(self.within(name, map, read))
    }

    /// An optional list of objects, each read as by [`Fields::within`].
    pub fn objects<T>(
        &mut self,
        name: &str,
        count_max: usize,
        read: impl Fn(&mut Fields<'_>) -> T,
    ) -> Vec<T> {
        self.note(
            name,
            || json!({ "type": "array", "maxItems": count_max, "items": schema_of(&read) }),
        );
        let items = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.fault(name, format!("must be a list, not {}", kind(&other)));
                return Vec::new();
            }
        };
        if items.len() > count_max {
            self.fault(
                name,
                format!("must have at most {count_max} entries, not {}", items.len()),
            );
            return Vec::new();
        }
        let mut read_items = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{name}[{index}]");
            match item {
                Value::Object(map) => read_items.push(self.within(&place, map, &read)),
                other => self.fault(&place, format!("must be an object, not {}", kind(&other))),
            }
        }
        read_items
    }

    /// An optional member of an enumeration.
    pub fn choice<T: WireEnum>(&mut self, name: &str) -> Option<T> {
        self.choice_because(name, "")
    }

    /// The same of an enumeration that is shorter than one might wish; `reason` says why.
    pub fn choice_because<T: WireEnum>(&mut self, name: &str, reason: &str) -> Option<T> {
        self.note(
            name,
            || json!({ "type": "string", "enum": T::all_spellings() }),
        );
        let parsed = match self.take(name)? {
            Value::String(text) => T::spelled(&text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        if parsed.is_none() {
            let all = T::all_spellings().join(", ");
            self.fault(name, format!("must be one of {all}{reason}"));
        }
        parsed
    }

    /// A required member of an enumeration.
    pub fn required_choice<T: WireEnum>(&mut self, name: &str) -> Option<T> {
        let all = T::all_spellings().join(", ");
        self.require(name, &format!("one of {all}"));
        self.choice(name)
    }

    /// An optional text that is one of a few words.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        self.note(name, || json!({ "type": "string", "enum": words }));
        let text = self.text(name, 1, 32)?;
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            self.fault(name, format!("must be {}", any_of(words)));
        }
        found
    }

    /// An optional object of at most [`Extent::USUAL`].
    pub fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.object_of(name, Extent::USUAL)
    }

    /// An optional object of at most this extent.
    pub fn object_of(&mut self, name: &str, most: Extent) -> Option<Map<String, Value>> {
        self.note(
            name,
            || json!({ "type": "object", "maxProperties": most.members }),
        );
        match self.take(name)? {
            Value::Object(map) => {
                if let Some(fault) = most.fault(&map) {
                    self.fault(name, fault);
                    return None;
                }
                Some(map)
            }
            other => {
                self.fault(name, format!("must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// An optional list of texts of at most `max` characters each.
    pub fn texts(&mut self, name: &str, count_max: usize, max: usize) -> Option<Vec<String>> {
        self.note(name, || {
            let item = json!({ "type": "string", "minLength": 1, "maxLength": max });
            json!({ "type": "array", "maxItems": count_max, "items": item })
        });
        let Value::Array(items) = self.take(name)? else {
            self.fault(name, "must be a list of texts");
            return None;
        };
        if items.len() > count_max {
            self.fault(
                name,
                format!("must have at most {count_max} entries, not {}", items.len()),
            );
            return None;
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => match text_fault(&text, 1, max) {
                    None => texts.push(text),
                    Some(fault) => self.fault(&format!("{name}[{index}]"), fault),
                },
                other => self.fault(
                    &format!("{name}[{index}]"),
                    format!("must be text, not {}", kind(&other)),
                ),
            }
        }
        Some(texts)
    }

    /// Names every field that nobody asked for, so that a typo never passes for an option.
    pub fn finish(mut self) {
        let unknown: Vec<String> = self.map.keys().take(20).cloned().collect();
        for name in unknown {
            let legacy = LEGACY_NAMES.iter().find(|(old, _)| *old == name);
            match legacy {
                Some((_, successor)) => self.fault(&name, *successor),
                None => {
                    let fault = self.not_a_field.clone();
                    self.fault(shown(&name), fault);
                }
            }
        }
    }
}

/// What a time must be, with an example.
pub(super) const TIME: (&str, &str) = ("an RFC 3339 time", "2026-01-31T12:00:00Z");

pub(super) fn time_of(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text).ok()?;
    Some(parsed.with_timezone(&Utc))
}

/// `a, b or c`
fn any_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some(_) | None => words.concat(),
    }
}

fn text_fault(text: &str, min: usize, max: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("contains a NUL character, which cannot be stored".into());
    }
    // Bytes bound characters from above, so the count is needed only near the limit.
    let length = if text.len() <= max && min <= 1 {
        usize::from(!text.is_empty())
    } else {
        text.chars().count()
    };
    if length < min {
        return Some(if min == 1 {
            "must not be empty".into()
        } else {
            format!("must have at least {min} characters")
        });
    }
    if text.len() > max && length > max {
        return Some(format!("must have at most {max} characters, not {length}"));
    }
    None
}

/// How much an object may hold. Whatever a tenant can store is read again and again, for others'
/// commands too.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Members of the object itself.
    pub members: usize,
    /// Bytes of all of it, as JSON.
    pub bytes: usize,
}

impl Extent {
    /// Custom fields, preferences, credentials, whatever has no extent of its own.
    pub const USUAL: Self = Self {
        members: 500,
        bytes: 256 << 10,
    };
    /// Of an integration: settings, mappings, channels.
    pub const INTEGRATION: Self = Self {
        members: 1_000,
        bytes: 64 << 10,
    };
    /// An object whose members have limits of their own, a text of a million characters among them.
    pub const NESTED: Self = Self {
        members: 100,
        bytes: 8 << 20,
    };

    fn fault(self, map: &Map<String, Value>) -> Option<String> {
        if map.len() > self.members {
            return Some(format!(
                "must have at most {} members, not {}; leave out what is not needed",
                self.members,
                map.len()
            ));
        }
        let mut left = self.bytes;
        let mut nul = false;
        let fits = map.iter().all(|(name, value)| {
            spend(&mut left, name, &mut nul) && measure(value, &mut left, &mut nul)
        });
        if nul {
            return Some("contains a NUL character, which cannot be stored".into());
        }
        (!fits).then(|| {
            format!(
                "must have at most {} kB as JSON; shorten or leave out what is not needed",
                self.bytes >> 10
            )
        })
    }
}

/// Takes a text from what is left; false where it is too long.
fn spend(left: &mut usize, text: &str, nul: &mut bool) -> bool {
    *nul |= text.contains('\0');
    match left.checked_sub(text.len() + 4) {
        Some(rest) => {
            *left = rest;
            !*nul
        }
        None => false,
    }
}

/// The same for a value.
fn measure(value: &Value, left: &mut usize, nul: &mut bool) -> bool {
    match value {
        Value::String(text) => spend(left, text, nul),
        Value::Array(items) => {
            spend(left, "", nul) && items.iter().all(|item| measure(item, left, nul))
        }
        Value::Object(map) => {
            spend(left, "", nul)
                && map
                    .iter()
                    .all(|(name, value)| spend(left, name, nul) && measure(value, left, nul))
        }
        Value::Number(number) => spend(left, &number.to_string(), nul),
        Value::Null | Value::Bool(_) => spend(left, "", nul),
    }
}

/// Whether there is NUL in a value, which PostgreSQL takes in no text.
pub(super) fn contains_nul(value: &Value) -> bool {
    let (mut left, mut nul) = (usize::MAX, false);
    measure(value, &mut left, &mut nul);
    nul
}

/// What a value is, for messages.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Priority;

    fn read(value: Value, most: Extent) -> Result<Map<String, Value>, String> {
        let mut faults = Faults::new();
        let map = Map::from_iter([("field".to_owned(), value)]);
        let read = Fields::new(map, &mut faults).object_of("field", most);
        read.ok_or_else(|| faults.remove("field").unwrap_or_default())
    }

    #[test]
    fn a_reader_says_what_it_cannot_do_without_and_what_it_takes() {
        fn read(f: &mut Fields<'_>) {
            f.required_text("title", 1, 9);
            f.required_choice::<Priority>("priority");
            f.choice::<Priority>("urgency");
            let is_there = f.mentions("assignee");
            f.demand("assignee", is_there, "a UUID, or null");
            f.change("assignee", |f| f.uuid("assignee"));
            f.word("order", &["up", "down", "none"]);
        }
        let schema = schema_of(read);
        assert_eq!(schema["required"], json!(["assignee", "priority", "title"]));
        let priorities = ["low", "medium", "high", "critical"];
        assert_eq!(schema["properties"]["priority"]["enum"], json!(priorities));
        assert_eq!(schema["properties"]["urgency"]["enum"], json!(priorities));

        let faults = |value: Value| {
            let Value::Object(map) = value else { panic!() };
            let mut faults = Faults::new();
            let mut fields = Fields::new(map, &mut faults);
            read(&mut fields);
            fields.finish();
            faults
        };
        let all = "one of low, medium, high, critical";
        let expected = [
            ("assignee", "is required: a UUID, or null".to_owned()),
            ("priority", format!("is required: {all}")),
            ("title", "is required".to_owned()),
        ];
        assert_eq!(
            faults(json!({ "title": null })),
            expected
                .map(|(name, fault)| (name.to_owned(), fault))
                .into()
        );
        let faults = faults(json!({
            "title": "T", "assignee": null, "priority": "urgent", "order": "sideways", "colour": 1,
        }));
        let expected = [
            ("colour", "is not a field of this command".to_owned()),
            ("order", "must be up, down or none".to_owned()),
            ("priority", format!("must be {all}")),
        ];
        assert_eq!(
            faults,
            expected
                .map(|(name, fault)| (name.to_owned(), fault))
                .into()
        );
    }

    #[test]
    fn an_object_has_an_extent_and_the_fault_says_which() {
        let members = |count: usize| -> Value {
            let all = (0..count).map(|number| (format!("m{number}"), Value::from(1)));
            Value::Object(all.collect())
        };
        let few = Extent {
            members: 3,
            bytes: 100,
        };

        assert!(read(members(3), few).is_ok());
        assert!(
            read(members(4), few)
                .unwrap_err()
                .contains("at most 3 members, not 4")
        );
        assert!(read(json!({ "a": "x".repeat(80) }), few).is_ok());
        assert!(
            read(
                json!({ "a": ["x".repeat(101)] }),
                Extent {
                    bytes: 64 << 10,
                    ..few
                }
            )
            .is_ok()
        );
        for value in [
            json!({ "a": "x".repeat(101) }),
            json!({ "a": { "x".repeat(101): 1 } }),
            json!({ "a": vec![0; 101] }),
            json!({ "x".repeat(101): null }),
        ] {
            assert!(read(value, few).unwrap_err().contains("kB as JSON"));
        }
        assert!(
            read(json!({ "a": ["b\0"] }), few)
                .unwrap_err()
                .contains("NUL")
        );
        assert!(read(json!({ "a\0": 1 }), few).unwrap_err().contains("NUL"));
        assert!(contains_nul(&json!([{ "a": "\0" }])) && !contains_nul(&json!([{ "a": 1 }])));
    }
}
