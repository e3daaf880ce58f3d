//! Custom fields: under Jira's names, in the shapes that Jira takes, and back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::mapping::{FieldKind, Mapped};
use super::super::{AdapterError, CallContext, ErrorClass, Known};
use super::facts::{MAPPABLE, is_mappable};
use super::{Jira, Version, words};
use crate::domain::TicketCategory;

/// What [`Known`] calls the schemas of the fields that are to be set.
const SCHEMAS: &str = "schemas";
/// The type of a custom field with several lines.
const TEXTAREA: &str = ":textarea";

/// The part of a `custom_fields_mapping` that can be used, and why the rest cannot. A row may be
/// older than the check of what is given.
pub(super) fn mappable(
    mapping: &Map<String, Value>,
) -> (Map<String, Value>, BTreeMap<String, String>) {
    let (mut usable, mut unusable) = (Map::new(), BTreeMap::new());
    for (ours, theirs) in mapping {
        let Some(name) = theirs.as_str() else {
            continue;
        };
        if is_mappable(name.trim()) {
            usable.insert(ours.clone(), theirs.clone());
        } else {
            let fault = format!(
                "is mapped to {name:?} in the integration's custom_fields_mapping: name {MAPPABLE}"
            );
            unusable.insert(ours.clone(), fault);
        }
    }
    (usable, unusable)
}

/// What a field takes, where that is not what we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    AsItIs,
    Number,
    /// Text of several lines: a document on Cloud.
    Document,
    /// One of a list.
    Option,
    /// Several of a list.
    Options,
}

impl Takes {
    fn of(schema: &Value) -> Self {
        let text = |name: &str| schema[name].as_str().unwrap_or_default();
        match (text("type"), text("items")) {
            ("number", _) => Self::Number,
            ("option", _) => Self::Option,
            ("array", "option") => Self::Options,
            ("string", _) if text("custom").ends_with(TEXTAREA) => Self::Document,
            _ => Self::AsItIs,
        }
    }
}

impl Jira {
    /// Learns what the fields take that custom fields of a ticket go to. Where Jira does not say,
    /// values go out as they are.
    pub(super) async fn learn_schemas(
        &self,
        context: &CallContext<'_>,
        category: TicketCategory,
        custom: &Map<String, Value>,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let set = custom.iter().filter(|(_, value)| !value.is_null());
        let set: Vec<&str> = set
            .filter_map(|(ours, _)| self.fields.theirs(ours))
            .collect();
        if set.is_empty() {
            return Ok(());
        }
        if known
            .without
            .keys()
            .any(|name| set.contains(&name.as_str()))
        {
            Self::forget_fields(context, category);
        }
        let fields = match self.fields_of(context, category).await {
            Ok(fields) => fields,
            // An older Data Center has no such page, or the account may not see it.
            Err(error)
                if matches!(
                    error.class,
                    ErrorClass::NotFound | ErrorClass::Permission | ErrorClass::Validation { .. }
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let schemas: Map<String, Value> = fields
            .iter()
            .filter(|field| set.contains(&field.id.as_str()))
            .map(|field| (field.id.clone(), field.schema.clone()))
            .collect();
        known.found.insert(SCHEMAS.into(), schemas.into());
        Ok(())
    }

    /// Custom fields as Jira takes them; `left_out` gets those that it does not, on a create as on
    /// an update.
    pub(super) fn custom(
        &self,
        custom: &Map<String, Value>,
        known: &Known,
        left_out: &mut Map<String, Value>,
    ) -> Map<String, Value> {
        let schemas = known.found.get(SCHEMAS);
        let takes = |theirs: &str| {
            let schema = schemas.and_then(|all| all.get(theirs));
            schema.map_or(Takes::AsItIs, Takes::of)
        };
        let Mapped {
            theirs,
            unmapped,
            unfit,
        } = self.fields.split(custom, |theirs| match takes(theirs) {
            Takes::Number => FieldKind::Number,
            Takes::AsItIs | Takes::Document | Takes::Option | Takes::Options => FieldKind::Any,
        });
        let (unusable, unmapped): (Vec<String>, Vec<String>) = unmapped
            .into_iter()
            .partition(|name| self.unmappable.contains_key(name));
        if !unmapped.is_empty() {
            left_out.insert("unmapped_custom_fields".into(), json!(unmapped));
        }
        let unusable = unusable
            .iter()
            .filter_map(|name| self.unmappable.get_key_value(name));
        let refused: BTreeMap<&String, &String> = unusable.chain(&unfit).collect();
        if !refused.is_empty() {
            left_out.insert("refused_custom_fields".into(), json!(refused));
        }
        let shaped = theirs.into_iter().map(|(theirs, value)| {
            let value = self.shaped(takes(&theirs), value);
            (theirs, value)
        });
        shaped.collect()
    }

    fn shaped(&self, takes: Takes, value: Value) -> Value {
        let option = |value: Value| match value {
            Value::String(_) => json!({ "value": value }),
            Value::Number(_) | Value::Bool(_) => json!({ "value": value.to_string() }),
            other => other,
        };
        match (takes, value) {
            (Takes::Document, Value::String(text)) if self.version == Version::V3 => {
                self.text(&text).0
            }
            (Takes::Option, value) => option(value),
            (Takes::Options, Value::Array(values)) => values.into_iter().map(option).collect(),
            (Takes::Options, Value::Null) => Value::Null,
            (Takes::Options, value) => json!([option(value)]),
            (_, value) => value,
        }
    }

    /// The mapped fields of an issue by Jira's names, as plain values.
    pub(super) fn custom_facts(&self, fields: &Value) -> BTreeMap<String, Value> {
        let all = fields.as_object().into_iter().flatten();
        let mapped = all.filter(|(name, _)| self.fields.ours(name).is_some());
        let plain = mapped.map(|(name, value)| (name.clone(), words::plain(value)));
        plain.collect()
    }
}
