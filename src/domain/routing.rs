//! Which integration should handle a ticket: by its `default_priority`, lower is preferred, adjusted by its
//! `routing_rules`. Pure: what an integration cannot do is for the gates to say.

use serde_json::{Map, Value, json};

use super::{Priority, TicketCategory};

/// What rules may ask about a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Traits {
    /// One line.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Category.
    pub category: TicketCategory,
    /// Priority.
    pub priority: Priority,
    /// Urgency.
    pub urgency: Priority,
    /// Department of ours.
    pub department: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// By our names.
    pub custom_fields: Map<String, Value>,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            title: String::new(),
            description: String::new(),
            category: TicketCategory::General,
            priority: Priority::Medium,
            urgency: Priority::Medium,
            department: None,
            tags: Vec::new(),
            custom_fields: Map::new(),
        }
    }
}

impl Traits {
    /// A field by the name rules give it; custom fields by `custom_fields.<name>`.
    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "title" => self.title.as_str().into(),
            "description" => self.description.as_str().into(),
            "category" => self.category.as_str().into(),
            "priority" => self.priority.as_str().into(),
            "urgency" => self.urgency.as_str().into(),
            "department" => self.department.as_deref()?.into(),
            "tags" => json!(self.tags),
            _ => self
                .custom_fields
                .get(name.strip_prefix("custom_fields.")?)?
                .clone(),
        })
    }
}

/// How an integration ranks for a ticket.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Rank {
    /// `default_priority` with the adjustments; lower is preferred.
    pub priority: i64,
    /// What the rules changed, in their order.
    pub adjustments: Vec<Adjustment>,
}

/// A rule that holds for the ticket.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Adjustment {
    /// Its place among the rules, from 0.
    pub rule: usize,
    /// What it adds.
    pub priority_adjustment: i64,
    /// The conditions that hold, for people.
    pub because: String,
}

/// Ranks an integration for a ticket.
#[must_use]
pub fn rank(default_priority: i32, rules: Option<&Value>, ticket: &Traits) -> Rank {
    let mut rank = Rank {
        priority: i64::from(default_priority),
        adjustments: Vec::new(),
    };
    for (index, rule) in list(rules).iter().enumerate() {
        let conditions = rule
            .get("conditions")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        // A rule without a condition would hold for everything: the legacy code's loop did the same.
        if !conditions.iter().all(|condition| holds(condition, ticket)) {
            continue;
        }
        let adjustment = rule
            .get("priority_adjustment")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let because: Vec<String> = conditions.iter().map(describe).collect();
        rank.priority = rank.priority.saturating_add(adjustment);
        rank.adjustments.push(Adjustment {
            rule: index,
            priority_adjustment: adjustment,
            because: if because.is_empty() {
                "it has no condition".into()
            } else {
                because.join(" and ")
            },
        });
    }
    rank
}

/// The rules of either stored shape: a list, or an object with a list under `rules`, or one rule as an object.
fn list(rules: Option<&Value>) -> &[Value] {
    match rules {
        Some(Value::Array(items)) => items,
        Some(Value::Object(map)) => match map.get("rules") {
            Some(Value::Array(items)) => items,
            Some(_) | None if map.contains_key("conditions") => {
                rules.map(std::slice::from_ref).unwrap_or_default()
            }
            Some(_) | None => &[],
        },
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => &[],
    }
}

fn holds(condition: &Value, ticket: &Traits) -> bool {
    let text = |name: &str| condition.get(name).and_then(Value::as_str);
    let Some(actual) = text("field").and_then(|name| ticket.field(name)) else {
        return false;
    };
    let Some(wanted) = condition.get("value") else {
        return false;
    };
    match text("operator") {
        Some("equals") | None => same(&actual, wanted),
        Some("contains") => match &actual {
            Value::Array(items) => items.iter().any(|item| same(item, wanted)),
            Value::String(actual) => wanted
                .as_str()
                .is_some_and(|wanted| actual.to_lowercase().contains(&wanted.to_lowercase())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        },
        Some("in") => wanted
            .as_array()
            .is_some_and(|wanted| wanted.iter().any(|wanted| same(&actual, wanted))),
        Some(_) => false,
    }
}

/// Equal, texts without regard to case.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.to_lowercase() == b.to_lowercase(),
        (a, b) => a == b,
    }
}

fn describe(condition: &Value) -> String {
    let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or("?");
    let operator = condition
        .get("operator")
        .and_then(Value::as_str)
        .unwrap_or("equals");
    let value = condition.get("value").cloned().unwrap_or_default();
    format!("{} {operator} {value}", text("field"))
}

/// What is wrong with rules that somebody wants to store. What the legacy application stored is taken as it is.
#[must_use]
pub fn fault(rules: &Value) -> Option<String> {
    if !rules.is_object() && !rules.is_array() {
        return Some("must be an object or a list".into());
    }
    for (index, rule) in list(Some(rules)).iter().enumerate() {
        let Some(rule) = rule.as_object() else {
            return Some(format!(
                "[{index}] must be an object with conditions and priority_adjustment"
            ));
        };
        if rule
            .get("priority_adjustment")
            .is_some_and(|number| number.as_i64().is_none())
        {
            return Some(format!(
                "[{index}].priority_adjustment must be a whole number"
            ));
        }
        let conditions = match rule.get("conditions") {
            None => continue,
            Some(Value::Array(conditions)) => conditions,
            Some(_) => return Some(format!("[{index}].conditions must be a list")),
        };
        for (number, condition) in conditions.iter().enumerate() {
            let place = format!("[{index}].conditions[{number}]");
            let field = condition.get("field").and_then(Value::as_str);
            if !field.is_some_and(is_field) {
                return Some(format!(
                    "{place}.field must be one of title, description, category, priority, urgency, department, tags, \
                     custom_fields.<name>"
                ));
            }
            match condition.get("operator").map(Value::as_str) {
                None | Some(Some("equals" | "contains")) => {}
                Some(Some("in")) => {
                    if !condition.get("value").is_some_and(Value::is_array) {
                        return Some(format!("{place}.value must be a list for the operator in"));
                    }
                }
                Some(_) => {
                    return Some(format!(
                        "{place}.operator must be one of equals, contains, in"
                    ));
                }
            }
            if condition.get("value").is_none() {
                return Some(format!("{place}.value is required"));
            }
        }
    }
    None
}

fn is_field(name: &str) -> bool {
    matches!(
        name,
        "title" | "description" | "category" | "priority" | "urgency" | "department" | "tags"
    ) || name
        .strip_prefix("custom_fields.")
        .is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Traits {
        Traits {
            title: "Login page returns 500".into(),
            category: TicketCategory::Bug,
            priority: Priority::High,
            tags: vec!["vip".into()],
            custom_fields: Map::from_iter([("seats".to_owned(), 12.into())]),
            ..Traits::default()
        }
    }

    #[test]
    fn both_stored_shapes_adjust_the_default_priority() {
        let rule = json!({ "conditions": [{ "field": "category", "operator": "equals", "value": "Bug" }],
                           "priority_adjustment": -40 });

        for rules in [json!([rule]), json!({ "rules": [rule] }), rule.clone()] {
            assert_eq!(rank(100, Some(&rules), &ticket()).priority, 60, "{rules}");
        }
        assert_eq!(
            rank(100, Some(&json!({ "jira": 1 })), &ticket()).priority,
            100
        );
        assert_eq!(rank(100, None, &ticket()).priority, 100);
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let holds = |conditions: Value| {
            let rules = json!([{ "conditions": conditions, "priority_adjustment": -1 }]);
            rank(0, Some(&rules), &ticket()).priority == -1
        };

        assert!(holds(json!([
            { "field": "title", "operator": "contains", "value": "login" },
            { "field": "priority", "operator": "in", "value": ["high", "critical"] },
            { "field": "tags", "operator": "contains", "value": "VIP" },
            { "field": "custom_fields.seats", "operator": "equals", "value": 12 },
        ])));
        assert!(!holds(json!([
            { "field": "title", "operator": "contains", "value": "login" },
            { "field": "department", "operator": "equals", "value": "it" },
        ])));
        assert!(!holds(
            json!([{ "field": "organization_id", "operator": "equals", "value": "x" }])
        ));
        assert!(!holds(
            json!([{ "field": "title", "operator": "matches", "value": ".*" }])
        ));
    }

    #[test]
    fn rules_that_could_never_hold_are_not_stored() {
        assert_eq!(fault(&json!({})), None);
        assert_eq!(
            fault(&json!([{ "conditions": [], "priority_adjustment": 5 }])),
            None
        );
        for (rules, part) in [
            (json!("x"), "object or a list"),
            (json!([1]), "[0]"),
            (
                json!([{ "conditions": [{ "field": "titel", "value": 1 }] }]),
                "field must be one of",
            ),
            (
                json!([{ "conditions": [{ "field": "title", "operator": "like", "value": 1 }] }]),
                "operator",
            ),
            (
                json!([{ "conditions": [{ "field": "title", "operator": "in", "value": "a" }] }]),
                "list",
            ),
            (
                json!([{ "conditions": [{ "field": "title" }] }]),
                "value is required",
            ),
            (json!([{ "priority_adjustment": 0.5 }]), "whole number"),
        ] {
            assert!(fault(&rules).unwrap().contains(part), "{rules}");
        }
    }
}
