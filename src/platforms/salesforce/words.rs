//! Our words and Salesforce's: ids, statuses, what an org's cases are made of, and what a case
//! says.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::{Priority, TicketCategory, TicketStatus};
use crate::platforms::mapping::FieldKind;
use crate::platforms::text::{Document, Marker, Max, title};
use crate::platforms::{Moment, PlatformField};

/// Characters of a title, of a description; bytes of a comment (Object Reference: Case, and
/// CaseComment).
pub(super) const SUBJECT_MAX: usize = 255;
pub(super) const DESCRIPTION_MAX: usize = 32_000;
const COMMENT_MAX: usize = 4_000;
/// The member of a ticket's `external_ref` that is the case's id.
pub(super) const CASE_ID: &str = "case_id";
/// The status of what waits, where the org has it, and what stands for it elsewhere.
pub(super) const ON_HOLD: &str = "On Hold";
pub(super) const WORKING: &str = "Working";
pub(super) const CLOSED: &str = "Closed";

/// Values of the default picklists (unconfirmed: every org has its own, which are looked up).
pub(super) static STATUSES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, "New"),
    (TicketStatus::Open, WORKING),
    (TicketStatus::InProgress, WORKING),
    (TicketStatus::Pending, ON_HOLD),
    (TicketStatus::Resolved, CLOSED),
    (TicketStatus::Closed, CLOSED),
    (TicketStatus::Cancelled, CLOSED),
];
pub(super) static STATUSES_BACK: [(&str, TicketStatus); 5] = [
    ("New", TicketStatus::New),
    (WORKING, TicketStatus::InProgress),
    ("Escalated", TicketStatus::InProgress),
    (ON_HOLD, TicketStatus::Pending),
    (CLOSED, TicketStatus::Closed),
];
pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "Low"),
    (Priority::Medium, "Medium"),
    (Priority::High, "High"),
    (Priority::Critical, "High"),
];
pub(super) static PRIORITIES_BACK: [(&str, Priority); 1] = [("High", Priority::High)];
pub(super) static KINDS: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "Problem"),
    (TicketCategory::Bug, "Problem"),
    (TicketCategory::Performance, "Problem"),
    (TicketCategory::Integration, "Problem"),
    (TicketCategory::Security, "Problem"),
    (TicketCategory::FeatureRequest, "Feature Request"),
    (TicketCategory::Billing, "Question"),
    (TicketCategory::UserAccess, "Question"),
    (TicketCategory::General, "Question"),
];

/// An id in its form of 18 characters, of either form: the last three say which of the first 15 are
/// capitals, so that they can be compared where case is lost. `None` where it is none.
pub(super) fn id_of(text: &str) -> Option<String> {
    let (case_sensitive, rest) = text.split_at_checked(15)?;
    let is_id = text.bytes().all(|b| b.is_ascii_alphanumeric()) && matches!(rest.len(), 0 | 3);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let suffix = case_sensitive.as_bytes().chunks(5).filter_map(|five| {
        let bits = five.iter().enumerate();
        let bits = bits.map(|(at, byte)| usize::from(byte.is_ascii_uppercase()) << at);
        letters.get(bits.sum::<usize>()).copied().map(char::from)
    });
    is_id.then(|| case_sensitive.chars().chain(suffix).collect())
}

/// An id of an object whose ids begin so.
fn id_with(prefix: &str, text: &str) -> Option<String> {
    id_of(text).filter(|id| id.starts_with(prefix))
}

pub(super) fn case_id(text: &str) -> Option<String> {
    id_with("500", text)
}

pub(super) fn is_record_type(text: &str) -> bool {
    id_with("012", text).is_some()
}

/// A user or a queue.
pub(super) fn owner_id(text: &str) -> Option<String> {
    id_with("005", text).or_else(|| id_with("00G", text))
}

/// Whether this can be a custom field's API name.
pub(super) fn is_custom_field(text: &str) -> bool {
    let name = text.strip_suffix("__c").unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 80
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A moment: `2026-01-02T03:04:05.000+0000`, which no RFC has, or as RFC 3339 has it.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text);
    let read = read.or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    Some(read.ok()?.to_utc())
}

/// What an object is made of ("sObject Describe"), as far as it is needed.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Describe {
    #[serde(default)]
    pub(super) createable: bool,
    #[serde(default)]
    pub(super) updateable: bool,
    pub(super) fields: Vec<Field>,
    #[serde(default, rename = "recordTypeInfos")]
    pub(super) record_types: Vec<RecordType>,
}

/// A field of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Field {
    pub(super) name: String,
    label: String,
    #[serde(rename = "type")]
    kind: String,
    length: usize,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    nillable: bool,
    defaulted_on_create: bool,
    custom: bool,
    pub(super) external_id: bool,
    pub(super) unique: bool,
    restricted_picklist: bool,
    picklist_values: Vec<Choice>,
}

#[derive(Debug, Clone, Deserialize)]
struct Choice {
    value: String,
    active: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordType {
    pub(super) record_type_id: String,
    #[serde(default)]
    pub(super) available: bool,
}

impl Describe {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

impl Field {
    /// What can be chosen.
    pub(super) fn choices(&self) -> impl Iterator<Item = &str> {
        let active = self.picklist_values.iter().filter(|choice| choice.active);
        active.map(|choice| choice.value.as_str())
    }

    /// A choice as the org spells it.
    pub(super) fn choice(&self, wanted: &str) -> Option<&str> {
        let mut choices = self.choices();
        choices.find(|value| value.to_lowercase() == wanted.trim().to_lowercase())
    }

    pub(super) fn takes(&self) -> FieldKind {
        match self.kind.as_str() {
            "double" | "currency" | "percent" | "int" | "long" => FieldKind::Number,
            "boolean" => FieldKind::Flag,
            "multipicklist" => FieldKind::Joined(";"),
            _ => FieldKind::Text,
        }
    }

    /// A value as the field takes it, or what is wrong with it. A picklist that is not restricted
    /// takes anything, and shows what it does not know as it is.
    pub(super) fn fit(&self, value: Value) -> Result<Value, String> {
        let Value::String(text) = &value else {
            return Ok(value);
        };
        let is_list = matches!(self.kind.as_str(), "picklist" | "multipicklist");
        if is_list && self.restricted_picklist {
            let known = |one: &str| self.choice(one).map(str::to_owned);
            let fitting: Option<Vec<String>> = match self.kind.as_str() {
                "multipicklist" => text.split(';').map(known).collect(),
                _ => known(text).map(|one| vec![one]),
            };
            let fault = || format!("is none of the values of {}", self.name);
            return fitting.map(|all| all.join(";").into()).ok_or_else(fault);
        }
        // Units of UTF-16 are never fewer than what it counts.
        if self.length > 0 && text.encode_utf16().count() > self.length {
            return Err(format!(
                "is longer than the {} characters of {}",
                self.length, self.name
            ));
        }
        Ok(value)
    }

    /// Tags that it takes, in one text; and those that it does not.
    pub(super) fn tags(&self, tags: &[String]) -> (String, Vec<String>) {
        let (mut kept, mut left) = (String::new(), Vec::new());
        for tag in tags {
            let tag = tag.replace(';', ",");
            let fitting = self.fit(Value::from(tag.trim())).ok();
            let tag_kept = fitting
                .as_ref()
                .and_then(Value::as_str)
                .filter(|one| !one.is_empty());
            let joined = tag_kept.map(|one| match kept.as_str() {
                "" => one.to_owned(),
                before => format!("{before};{one}"),
            });
            // A text has a length; a list of choices none.
            let fits =
                |all: &String| self.restricted_picklist || self.fit(all.clone().into()).is_ok();
            match joined.filter(fits) {
                Some(all) => kept = all,
                None => left.push(tag),
            }
        }
        (kept, left)
    }

    pub(super) fn shown(&self) -> PlatformField {
        PlatformField {
            id: self.name.clone(),
            name: self.label.clone(),
            kind: Some(self.kind.clone()),
            custom: self.custom,
            required: self.createable && !self.nillable && !self.defaulted_on_create,
            allowed_values: self.choices().map(str::to_owned).collect(),
        }
    }
}

/// What a create or a change sets, and what of the ticket is not in it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) members: Map<String, Value>,
    pub(super) left_out: Map<String, Value>,
}

/// What a draft may set: everything, where nothing was looked up (a dry run).
#[derive(Clone, Copy)]
pub(super) struct Allowed<'a> {
    pub(super) describe: Option<&'a Describe>,
    /// What the platform refused a moment ago.
    pub(super) without: &'a BTreeMap<String, String>,
    pub(super) creates: bool,
}

impl<'a> Allowed<'a> {
    pub(super) fn field(&self, name: &str) -> Option<&'a Field> {
        self.describe?.field(name)
    }

    /// Whether the user may set a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.describe.is_none()
            || self.field(name).is_some_and(|field| match self.creates {
                true => field.createable,
                false => field.updateable,
            })
    }
}

impl Draft {
    pub(super) fn leave(&mut self, ours: &str, why: &str) {
        self.left_out
            .insert(ours.to_owned(), format!("left out: {why}").into());
    }

    /// Sets a field, where the user may. `ours` is what it is called with us.
    pub(super) fn put(&mut self, allowed: Allowed<'_>, ours: &str, theirs: &str, value: Value) {
        if allowed.without.contains_key(theirs) {
            return;
        }
        if allowed.has(theirs) {
            self.members.insert(theirs.to_owned(), value);
        } else {
            self.leave(
                ours,
                &format!("the user may not set {theirs}, or Case does not have it"),
            );
        }
    }

    /// Sets a picklist to a value that it has.
    pub(super) fn pick(&mut self, allowed: Allowed<'_>, ours: &str, theirs: &str, wanted: &str) {
        match allowed.field(theirs) {
            Some(field) => match field.choice(wanted) {
                Some(value) => self.put(allowed, ours, theirs, value.into()),
                None => {
                    let why = format!(
                        "{theirs} has no value {wanted:?}; settings.{ours}_map can name another"
                    );
                    self.leave(ours, &why);
                }
            },
            None => self.put(allowed, ours, theirs, wanted.into()),
        }
    }
}

/// A title as a subject, and the whole of it where that was cut. It counts in characters; units of
/// UTF-16 are never fewer.
pub(super) fn subject(text: &str) -> (String, Option<String>) {
    title(text, Max::Utf16(SUBJECT_MAX))
}

/// A text as a description, with the marker as its last line where there is no better place.
pub(super) fn description(markdown: &str, marker: Option<&str>) -> (String, bool) {
    let document = Document::parse(markdown, DESCRIPTION_MAX);
    document.plain(Max::Utf16(DESCRIPTION_MAX), marker.map(Marker::Line))
}

/// A text as a comment with its marker. It counts bytes.
pub(super) fn comment(markdown: &str, marker: &str) -> (String, bool) {
    let document = Document::parse(markdown, DESCRIPTION_MAX);
    document.plain(Max::Bytes(COMMENT_MAX), Some(Marker::Line(marker)))
}

/// A record as it comes: members by their API names, those of a related one in an object of their
/// own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Record(pub(super) Map<String, Value>);

impl Record {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(super) fn id(&self, name: &str) -> Option<String> {
        id_of(self.text(name)?)
    }

    /// A moment, which is in whole seconds (unconfirmed: milliseconds are always zero).
    pub(super) fn at(&self, name: &str) -> Option<Moment> {
        moment(self.text(name)?).map(Moment::second)
    }

    /// A text of several lines, which end as the browser of whoever wrote it had it.
    pub(super) fn lines(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.replace("\r\n", "\n"))
    }

    /// A related record.
    pub(super) fn related(&self, name: &str) -> Option<Self> {
        self.0.get(name)?.as_object().cloned().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(value: &Value) -> Field {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn an_id_is_kept_in_its_long_form() {
        assert_eq!(
            id_of("500xx000001SvR2").as_deref(),
            Some("500xx000001SvR2AAK")
        );
        assert_eq!(
            id_of("500xx000001SvR2AAK").as_deref(),
            Some("500xx000001SvR2AAK")
        );
        // Somebody's spreadsheet wrote all of it in capitals but the id itself.
        assert_eq!(
            id_of("500xx000001SvR2aak").as_deref(),
            Some("500xx000001SvR2AAK")
        );
        assert_eq!(
            id_of("005xx000001SwiUAAS").as_deref(),
            Some("005xx000001SwiUAAS")
        );
        for none in [
            "",
            "500xx000001SvR",
            "500xx000001SvR2A",
            "500xx0000/1SvR2",
            "00001026",
        ] {
            assert_eq!(id_of(none), None, "{none}");
        }
        assert_eq!(case_id("005xx000001SwiUAAS"), None);
        assert!(owner_id("00Gxx0000000001").is_some() && owner_id("500xx000001SvR2").is_none());
    }

    #[test]
    fn a_moment_is_read_as_it_comes() {
        let at = "2026-01-02T03:04:05Z".parse::<DateTime<Utc>>().ok();
        assert_eq!(moment("2026-01-02T03:04:05.000+0000"), at);
        assert_eq!(moment("2026-01-02T03:04:05.000Z"), at);
        assert_eq!(moment("2026-01-02"), None);
    }

    #[test]
    fn a_restricted_picklist_takes_what_it_has_and_spells_it_so() {
        let values = json!([
            { "value": "Gold", "active": true }, { "value": "Old", "active": false },
            { "value": "Basic", "active": true },
        ]);
        let plan = field(&json!({
            "name": "Plan__c", "type": "multipicklist", "restrictedPicklist": true,
            "picklistValues": values,
        }));
        assert_eq!(plan.fit("gold;BASIC".into()), Ok("Gold;Basic".into()));
        assert!(plan.fit("Gold;Old".into()).is_err());
        let tags = ["gold".to_owned(), "a;b".to_owned(), "basic".to_owned()];
        let (kept, left) = plan.tags(&tags);
        assert_eq!(
            (kept.as_str(), left),
            ("Gold;Basic", vec!["a,b".to_owned()])
        );
        let free = field(&json!({ "name": "Tags__c", "type": "string", "length": 9 }));
        let (kept, left) = free.tags(&tags);
        assert_eq!(
            (kept.as_str(), left),
            ("gold;a,b", vec!["basic".to_owned()])
        );
        assert!(free.fit("0123456789".into()).is_err());
    }

    #[test]
    fn a_comment_is_cut_in_bytes_and_keeps_its_marker() {
        let (text, whole) = comment(&"\u{e4}\u{1f600} ".repeat(2_000), "cmd-1");
        assert!(!whole && text.len() <= COMMENT_MAX && text.len() > COMMENT_MAX - 20);
        assert!(
            text.contains('\u{2026}') && text.ends_with("\n[ref:cmd-1]"),
            "{text}"
        );
        assert_eq!(comment("**Hi**", "cmd-1"), ("Hi\n[ref:cmd-1]".into(), true));
    }

    #[test]
    fn custom_fields_are_named_as_the_api_has_them() {
        assert!(is_custom_field("Plan__c") && is_custom_field("acme__Plan__c"));
        for none in ["Plan", "__c", "1Plan__c", "Plan__c'", "Pl an__c", "Plan__r"] {
            assert!(!is_custom_field(none), "{none}");
        }
    }
}
