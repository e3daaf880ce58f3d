//! Readers of fields that several commands have.

use serde_json::{Value, json};

use super::Fields;
use super::fields::contains_nul;
use crate::domain::{IntegrationId, Priority, TicketCategory, TicketId, WireEnum, shown};

/// Longest free text; the message limit is the tighter bound in practice.
pub(super) const TEXT_MAX: usize = 1_000_000;
/// Longest description of an integration, which is read with it.
pub(super) const NOTE_MAX: usize = 10_000;

pub(super) fn ticket_id(f: &mut Fields<'_>) -> TicketId {
    TicketId::new(f.required_uuid("ticket_id"))
}

pub(super) fn integration_id(f: &mut Fields<'_>) -> IntegrationId {
    IntegrationId::new(f.required_uuid("integration_id"))
}

pub(super) fn category(f: &mut Fields<'_>) -> Option<TicketCategory> {
    f.choice("category")
}

pub(super) fn priority(f: &mut Fields<'_>, name: &str) -> Option<Priority> {
    f.choice(name)
}

/// The API's base: `https://`, without credentials, without a slash at its end.
pub(super) fn base_url(f: &mut Fields<'_>) -> Option<String> {
    let text = f.text("base_url", 1, 500)?;
    let text = text.trim();
    match url::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "https" | "http") => {
            f.fault("base_url", "must begin with https://");
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            f.fault(
                "base_url",
                "must not carry a user or password; put them into credentials",
            );
        }
        Ok(_) => {}
        Err(_) => f.fault(
            "base_url",
            "must be a URL, e.g. https://example.atlassian.net",
        ),
    }
    Some(text.trim_end_matches('/').to_owned())
}

pub(super) fn routing_rules(f: &mut Fields<'_>) -> Option<Value> {
    let rules = f.value("routing_rules", || {
        json!({ "type": ["array", "object"],
            "description": "a list of rules, or an object with a list under rules" })
    })?;
    if let Some(fault) = crate::domain::routing::fault(&rules) {
        f.fault("routing_rules", fault);
    }
    if contains_nul(&rules) {
        f.fault(
            "routing_rules",
            "contains a NUL character, which cannot be stored",
        );
    }
    Some(rules)
}

pub(super) fn clock(f: &mut Fields<'_>, name: &str) -> Option<String> {
    let text = f.text(name, 5, 5)?;
    let valid = chrono::NaiveTime::parse_from_str(&text, "%H:%M").is_ok();
    if !valid {
        f.fault(name, "must be a time of day as HH:MM (UTC)");
    }
    valid.then_some(text)
}

/// A list of members of an enumeration.
pub(super) fn labels<T: WireEnum>(f: &mut Fields<'_>, name: &str) -> Option<Vec<String>> {
    let texts = f.texts(name, 100, 100)?;
    if let Some(unknown) = texts.iter().find(|text| T::spelled(text).is_none()) {
        let all = T::all_spellings().join(", ");
        let fault = format!("has {:?}, which is none of {all}", shown(unknown));
        f.fault(name, fault);
    }
    Some(texts)
}
