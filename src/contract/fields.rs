//! Reading a JSON object field by field, so that every fault is found and named, not only the first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

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

/// A JSON object being read: each getter takes its field out, [`Fields::finish`] names what nobody asked for.
///
/// It can also describe itself: then nothing is read, and every getter notes the JSON Schema of what it would take. So the
/// published schemas are what the parser does, and cannot drift from it.
pub struct Fields<'a> {
    map: Map<String, Value>,
    faults: &'a mut Faults,
    shape: Option<&'a mut Properties>,
}

/// JSON Schemas by field.
pub(super) type Properties = Map<String, Value>;

/// The schema of an object that `read` reads: what it asks for, what it cannot do without, and nothing else.
pub(super) fn schema_of<T>(read: impl Fn(&mut Fields<'_>) -> T) -> Value {
    let (mut faults, mut properties) = (Faults::new(), Properties::new());
    read(&mut Fields {
        map: Map::new(),
        faults: &mut faults,
        shape: Some(&mut properties),
    });
    let mut missing = Faults::new();
    read(&mut Fields::new(Map::new(), &mut missing));
    let required: Vec<&String> = missing
        .iter()
        .filter(|(name, fault)| fault.starts_with(REQUIRED) && properties.contains_key(*name))
        .map(|(name, _)| name)
        .collect();
    json!({
        "type": "object", "required": required, "properties": properties, "additionalProperties": false,
    })
}

/// How the fault of a missing field begins.
const REQUIRED: &str = "is required";

impl<'a> Fields<'a> {
    /// Reads `map`; faults are recorded by field name.
    pub const fn new(map: Map<String, Value>, faults: &'a mut Faults) -> Self {
        Self {
            map,
            faults,
            shape: None,
        }
    }

    /// Notes what a field would have to be, where this describes itself.
    fn note(&mut self, name: &str, schema: impl FnOnce() -> Value) {
        if let Some(shape) = &mut self.shape
            && !shape.contains_key(name)
        {
            shape.insert(name.to_owned(), schema());
        }
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

    /// A required text of `min` to `max` characters; empty after a fault.
    pub fn required_text(&mut self, name: &str, min: usize, max: usize) -> String {
        if !self.has(name) {
            self.map.remove(name);
            self.fault(name, "is required");
            return String::new();
        }
        self.text(name, min, max).unwrap_or_default()
    }

    /// An optional UUID.
    pub fn uuid(&mut self, name: &str) -> Option<Uuid> {
        self.note(name, || json!({ "type": "string", "format": "uuid" }));
        match self.take(name)? {
            Value::String(text) => match Uuid::parse_str(&text) {
                Ok(id) => Some(id),
                Err(_) => {
                    self.fault(
                        name,
                        "must be a UUID, e.g. 6f9619ff-8b86-d011-b42d-00c04fc964ff",
                    );
                    None
                }
            },
            other => {
                self.fault(
                    name,
                    format!("must be a UUID as text, not {}", kind(&other)),
                );
                None
            }
        }
    }

    /// A required UUID; nil after a fault.
    pub fn required_uuid(&mut self, name: &str) -> Uuid {
        if !self.has(name) {
            self.map.remove(name);
            self.fault(name, "is required");
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
        match DateTime::parse_from_rfc3339(&text) {
            Ok(moment) => Some(moment.with_timezone(&Utc)),
            Err(_) => {
                self.fault(name, "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z");
                None
            }
        }
    }

    /// A change of something that may be unset: not mentioned, it stays; null unsets it.
    pub fn change<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.shape.is_some() {
            read(self);
            if let Some(schema) = self.shape.as_mut().and_then(|shape| shape.get_mut(name)) {
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
        let map = self.object(name)?;
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
    pub fn choice<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Option<T>,
        spellings: fn() -> String,
    ) -> Option<T> {
        self.note(name, || {
            let all = spellings();
            let members: Vec<&str> = all
                .split([',', ':', ' '])
                .filter(|word| parse(word).is_some())
                .collect();
            json!({ "type": "string", "enum": members })
        });
        let parsed = match self.take(name)? {
            Value::String(text) => parse(&text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        if parsed.is_none() {
            self.fault(name, format!("must be one of {}", spellings()));
        }
        parsed
    }

    /// An optional object.
    pub fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.note(name, || json!({ "type": "object" }));
        match self.take(name)? {
            Value::Object(map) => {
                if contains_nul(&Value::Object(map.clone())) {
                    self.fault(name, "contains a NUL character, which cannot be stored");
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
            let shown: String = name.chars().take(64).collect();
            match legacy {
                Some((_, successor)) => self.fault(&shown, *successor),
                None => self.fault(&shown, NOT_A_FIELD),
            }
        }
    }
}

/// What is said of a field that nobody asked for.
pub(super) const NOT_A_FIELD: &str = "is not a field of this command";

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

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || contains_nul(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
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
