//! Our words and a platform's: settings such as `status_map`, the defaults behind them, and custom
//! fields by `custom_fields_mapping`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::members::Members;
use super::{AdapterError, ErrorClass};
use crate::domain::{Priority, TicketCategory, TicketStatus};

/// Longest word of a platform's that a setting may name.
const THEIRS_MAX: usize = 255;

/// A closed list of ours.
pub trait Word: Copy + PartialEq + 'static {
    /// What one of them is called.
    const WHAT: &'static str;
    /// Whether an item can do without: then null says that it is not sent.
    const OPTIONAL: bool;
    /// The word with this spelling.
    fn of(text: &str) -> Option<Self>;
    /// All of them, for messages.
    fn all() -> String;
}

macro_rules! word {
    ($type:ty, $what:literal, $optional:literal) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const OPTIONAL: bool = $optional;
            fn of(text: &str) -> Option<Self> {
                Self::parse(text)
            }
            fn all() -> String {
                Self::names()
            }
        }
    };
}

word!(TicketStatus, "status", false);
word!(Priority, "priority", true);
word!(TicketCategory, "category", true);

/// Words of ours and what they are there: a setting, and the defaults behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping<T: 'static> {
    /// Those of the setting come first.
    pairs: Vec<(T, String)>,
    back: &'static [(&'static str, T)],
}

impl<T: Word> Mapping<T> {
    /// The mapping of the setting `name` (an object: ours → theirs), with these behind it. Null in
    /// the place of theirs takes away what is behind: the word is not sent.
    ///
    /// # Errors
    /// Validation of `settings.<name>`: a word that is none of ours, a value that is no text.
    pub fn of(
        members: &Members<'_>,
        name: &str,
        defaults: &'static [(T, &'static str)],
    ) -> Result<Self, AdapterError> {
        let (mut pairs, mut silent) = (Vec::new(), Vec::new());
        let mut faults = BTreeMap::new();
        for (ours, theirs) in members.object(name)?.into_iter().flatten() {
            let word = T::of(ours);
            if let Some(word) = word.filter(|_| T::OPTIONAL && theirs.is_null()) {
                silent.push(word);
                continue;
            }
            let theirs = theirs_of(theirs);
            match (word, theirs) {
                (Some(word), Some(theirs)) => pairs.push((word, theirs)),
                (None, _) => {
                    let fault = format!("is no {}: name one of {}", T::WHAT, T::all());
                    faults.insert(
                        format!("settings.{name}.{}", crate::domain::shown(ours)),
                        fault,
                    );
                }
                (Some(_), None) => {
                    let fault = "must be a text or a number that the platform knows";
                    faults.insert(format!("settings.{name}.{ours}"), fault.to_owned());
                }
            }
        }
        refuse(faults)?;
        let has = |word: &T| silent.contains(word) || pairs.iter().any(|(known, _)| known == word);
        let behind: Vec<(T, String)> = defaults
            .iter()
            .filter(|(word, _)| !has(word))
            .map(|(word, theirs)| (*word, (*theirs).to_owned()))
            .collect();
        pairs.extend(behind);
        Ok(Self { pairs, back: &[] })
    }

    /// Words of the platform's that are ours where the setting does not say otherwise: for the way
    /// back, which is not always the way out reversed (`resolved` and `closed` are both `Closed`
    /// there).
    #[must_use]
    pub const fn with_back(mut self, back: &'static [(&'static str, T)]) -> Self {
        self.back = back;
        self
    }

    /// What ours is there.
    #[must_use]
    pub fn out(&self, ours: T) -> Option<&str> {
        let found = self.pairs.iter().find(|(word, _)| *word == ours);
        found.map(|(_, theirs)| theirs.as_str())
    }

    /// What theirs is here, in any case of its letters. Of several the first in the order of the
    /// setting's own words, then of those of [`Mapping::with_back`], then of the defaults.
    #[must_use]
    pub fn back(&self, theirs: &str) -> Option<T> {
        let is_it = |known: &str| {
            known.trim().eq_ignore_ascii_case(theirs.trim())
                || known.trim().to_lowercase() == theirs.trim().to_lowercase()
        };
        let fixed = self.back.iter().find(|(known, _)| is_it(known));
        let mapped = self.pairs.iter().filter(|(_, known)| is_it(known));
        let mapped: Vec<T> = mapped.map(|(word, _)| *word).collect();
        match (fixed, mapped.as_slice()) {
            // Said by the setting for exactly one word of ours: that one.
            (None, [first, ..]) | (Some(_), [first]) => Some(*first),
            (Some((_, word)), _) => Some(*word),
            (None, []) => None,
        }
    }
}

/// A value as a word of the platform's.
fn theirs_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let fits = !text.is_empty()
        && text.chars().count() <= THEIRS_MAX
        && !text.chars().any(char::is_control);
    fits.then_some(text)
}

/// Several faults of settings at once.
pub(super) fn refuse(faults: BTreeMap<String, String>) -> Result<(), AdapterError> {
    let Some((first, fault)) = faults.first_key_value() else {
        return Ok(());
    };
    let text = format!("{first} {fault}");
    Err(AdapterError::new(
        ErrorClass::Validation { fields: faults },
        text,
    ))
}

/// What a field of the platform's takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// What there is.
    Any,
    /// Text; a list becomes one, with commas.
    Text,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// Several values in one text, with this between them (`;` at Salesforce and HubSpot).
    Joined(&'static str),
}

/// Custom fields of a ticket as the platform takes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapped {
    /// By the platform's name.
    pub theirs: Map<String, Value>,
    /// Ours that have no counterpart there.
    pub unmapped: Vec<String>,
    /// Ours whose value does not fit its counterpart: what is wrong.
    pub unfit: BTreeMap<String, String>,
}

/// Names of custom fields: ours, and the platform's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldMap {
    pairs: Vec<(String, String)>,
}

impl FieldMap {
    /// The names of a `custom_fields_mapping`. What a row of an older application has in it that is
    /// no text is left out.
    #[must_use]
    pub fn of(mapping: &Map<String, Value>) -> Self {
        let pairs = mapping.iter().filter_map(|(ours, theirs)| {
            let theirs = theirs.as_str()?.trim();
            (!theirs.is_empty()).then(|| (ours.clone(), theirs.to_owned()))
        });
        Self {
            pairs: pairs.collect(),
        }
    }

    /// The platform's name of a field of ours.
    #[must_use]
    pub fn theirs(&self, ours: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(name, _)| name == ours);
        found.map(|(_, theirs)| theirs.as_str())
    }

    /// Our name of a field of the platform's.
    #[must_use]
    pub fn ours(&self, theirs: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(_, name)| name == theirs);
        found.map(|(ours, _)| ours.as_str())
    }

    /// The platform's names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(_, theirs)| theirs.as_str())
    }

    /// Custom fields as the platform takes them; `kind` says what a field of its takes.
    #[must_use]
    pub fn split(&self, custom: &Map<String, Value>, kind: impl Fn(&str) -> FieldKind) -> Mapped {
        let mut mapped = Mapped::default();
        for (ours, value) in custom {
            let Some(theirs) = self.theirs(ours) else {
                mapped.unmapped.push(ours.clone());
                continue;
            };
            match kind(theirs).take(value) {
                Ok(value) => drop(mapped.theirs.insert(theirs.to_owned(), value)),
                Err(fault) => drop(mapped.unfit.insert(ours.clone(), fault.to_owned())),
            }
        }
        mapped
    }

    /// Fields of the platform's by our names; those without one are left out.
    #[must_use]
    pub fn back(&self, theirs: &Map<String, Value>) -> Map<String, Value> {
        let found = self.pairs.iter().filter_map(|(ours, name)| {
            let value = theirs.get(name)?;
            Some((ours.clone(), value.clone()))
        });
        found.collect()
    }
}

impl FieldKind {
    /// A value as such a field takes it; null clears a field of any kind.
    fn take(self, value: &Value) -> Result<Value, &'static str> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        match self {
            Self::Any => Ok(value.clone()),
            Self::Text => joined(value, ", ").map(Value::from),
            Self::Joined(between) => joined(value, between).map(Value::from),
            Self::Number => {
                let text = value.as_str().map(str::trim);
                let read = text.and_then(|text| serde_json::from_str(text).ok());
                let number = if value.is_number() {
                    Some(value.clone())
                } else {
                    read.filter(Value::is_number)
                };
                number.ok_or("must be a number for this platform")
            }
            Self::Flag => match value {
                Value::Bool(_) => Ok(value.clone()),
                Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true.into()),
                Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false.into()),
                _ => Err("must be true or false for this platform"),
            },
        }
    }
}

/// A value, or several, as one text.
fn joined(value: &Value, between: &str) -> Result<String, &'static str> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => {
            Err("must be a text, or a list of texts, for this platform")
        }
    };
    match value {
        Value::Array(items) => {
            let items: Result<Vec<String>, _> = items.iter().map(one).collect();
            Ok(items?.join(between))
        }
        other => one(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::members::tests::with_members;
    use super::*;

    static DEFAULTS: [(TicketStatus, &str); 4] = [
        (TicketStatus::New, "New"),
        (TicketStatus::Open, "Working"),
        (TicketStatus::Resolved, "Closed"),
        (TicketStatus::Closed, "Closed"),
    ];

    fn status(settings: &Value) -> Result<Mapping<TicketStatus>, AdapterError> {
        with_members(settings, &json!({}), |members| {
            Mapping::of(members, "status_map", &DEFAULTS)
        })
    }

    #[test]
    fn a_setting_comes_before_the_defaults_both_ways() {
        let plain = status(&json!({})).unwrap();
        assert_eq!(plain.out(TicketStatus::Open), Some("Working"));
        assert_eq!(plain.out(TicketStatus::Pending), None);
        assert_eq!(plain.back(" closed "), Some(TicketStatus::Resolved));
        assert_eq!(plain.back("Strange"), None);
        let settled = plain.with_back(&[("Closed", TicketStatus::Closed)]);
        assert_eq!(settled.back("Closed"), Some(TicketStatus::Closed));

        let map =
            json!({ "status_map": { "open": "In Arbeit", "pending": 4, "cancelled": "CLOSED" } });
        let own = status(&map).unwrap();
        assert_eq!(own.out(TicketStatus::Open), Some("In Arbeit"));
        assert_eq!(own.out(TicketStatus::Pending), Some("4"));
        assert_eq!(own.out(TicketStatus::New), Some("New"));
        assert_eq!(own.back("in arbeit"), Some(TicketStatus::Open));
        assert_eq!(own.back("Working"), None);
        assert_eq!(own.back("4"), Some(TicketStatus::Pending));
        assert_eq!(own.back("Closed"), Some(TicketStatus::Cancelled));
    }

    #[test]
    fn null_keeps_a_word_to_ourselves_where_an_item_can_do_without() {
        static LEVELS: [(Priority, &str); 2] = [(Priority::Low, "Low"), (Priority::High, "High")];
        let settings = json!({ "priority_map": { "high": null }, "status_map": { "open": null } });

        let priorities = with_members(&settings, &json!({}), |members| {
            Mapping::of(members, "priority_map", &LEVELS)
        });

        let priorities: Mapping<Priority> = priorities.unwrap();
        assert_eq!(priorities.out(Priority::High), None);
        assert_eq!(priorities.back("High"), None);
        assert_eq!(priorities.out(Priority::Low), Some("Low"));
        let refused = status(&settings).unwrap_err();
        assert!(
            refused.public.starts_with("settings.status_map.open"),
            "{refused}"
        );
    }

    #[test]
    fn every_fault_of_a_mapping_is_named_at_once() {
        let map =
            json!({ "status_map": { "opened": "x", "open": " ", "new": ["x"], "closed": "ok" } });
        let error = status(&map).unwrap_err();

        let ErrorClass::Validation { fields } = &error.class else {
            panic!("{error}");
        };
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "settings.status_map.new",
                "settings.status_map.open",
                "settings.status_map.opened"
            ]
        );
        assert!(fields["settings.status_map.opened"].contains("new, open"));
        let error = status(&json!({ "status_map": "open" })).unwrap_err();
        assert_eq!(error.public, "settings.status_map must be an object");
    }

    #[test]
    fn custom_fields_go_under_their_names_and_come_back_under_ours() {
        let mapping = json!({
            "Floor": "cf_floor", "Rooms": "rooms__c", "VIP": "vip", "Old": 7, "Empty": " ",
            "Any": "any",
        });
        let map = FieldMap::of(mapping.as_object().unwrap());
        let custom = json!({
            "Floor": "3", "Rooms": ["a", 2, true], "VIP": "yes", "Old": 1, "Any": { "x": 1 },
            "New": 1,
        });
        let kind = |theirs: &str| match theirs {
            "cf_floor" => FieldKind::Number,
            "rooms__c" => FieldKind::Joined(";"),
            "vip" => FieldKind::Flag,
            _ => FieldKind::Any,
        };

        let mapped = map.split(custom.as_object().unwrap(), kind);

        let theirs = json!({ "any": { "x": 1 }, "cf_floor": 3, "rooms__c": "a;2;true" });
        assert_eq!(Value::from(mapped.theirs), theirs);
        let mut unmapped = mapped.unmapped;
        unmapped.sort();
        assert_eq!(unmapped, ["New", "Old"]);
        assert_eq!(
            mapped.unfit["VIP"],
            "must be true or false for this platform"
        );
        let back = map.back(json!({ "cf_floor": 4, "other": 1 }).as_object().unwrap());
        assert_eq!(Value::from(back), json!({ "Floor": 4 }));
        assert_eq!(map.ours("vip"), Some("VIP"));
    }

    #[test]
    fn a_value_is_taken_as_the_field_wants_it_or_said_to_be_unfit() {
        let take = |kind: FieldKind, value: Value| kind.take(&value);

        assert_eq!(take(FieldKind::Text, json!(["a", "b"])), Ok(json!("a, b")));
        assert_eq!(take(FieldKind::Text, json!(1.5)), Ok(json!("1.5")));
        assert_eq!(take(FieldKind::Number, json!(" 12 ")), Ok(json!(12)));
        assert_eq!(take(FieldKind::Flag, json!("TRUE")), Ok(json!(true)));
        for kind in [
            FieldKind::Any,
            FieldKind::Text,
            FieldKind::Number,
            FieldKind::Flag,
            FieldKind::Joined(";"),
        ] {
            assert_eq!(take(kind, Value::Null), Ok(Value::Null));
        }
        assert!(take(FieldKind::Text, json!({ "a": 1 })).is_err());
        assert!(take(FieldKind::Joined(";"), json!([[1]])).is_err());
        assert!(take(FieldKind::Number, json!("twelve")).is_err());
        assert!(take(FieldKind::Number, json!("\"12\"")).is_err());
    }
}
