//! Which integration should handle a ticket: by its `default_priority`, lower is preferred,
//! adjusted by its `routing_rules`. Pure: what an integration cannot do is for the gates to say.
//!
//! Rules are written by tenants and asked about texts of tenants, so both are bounded: how many
//! rules may be stored ([`fault`]), how many are looked at of rows that hold more
//! ([`Rules::parse`]), and how much is compared for one ticket ([`Effort`]).

use serde_json::{Map, Value};

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

/// What may be stored of one integration's rules.
const RULES_MAX: usize = 200;
const CONDITIONS_MAX: usize = 20;
const VALUES_MAX: usize = 100;
const TEXT_MAX: usize = 500;
const BYTES_MAX: usize = 64 << 10;
/// What is looked at, of rows that an older application or version wrote without limits.
const READ_RULES_MAX: usize = 1_000;
const READ_CONDITIONS_MAX: usize = 5_000;
const READ_BYTES_MAX: usize = 256 << 10;
/// Characters of a description that rules look at.
const DESCRIPTION_MAX: usize = 20_000;
/// What may be compared for one ticket, over all integrations of its organization: about a tenth of
/// a second.
const EFFORT_MAX: usize = 100_000_000;
/// What a condition costs by itself.
const CONDITION_COST: usize = 16;
/// Adjustments that are explained for an integration, and characters of an explanation.
const SHOWN_MAX: usize = 20;
const BECAUSE_MAX: usize = 500;

/// A field of a ticket as rules name it.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Title,
    Description,
    Category,
    Priority,
    Urgency,
    Department,
    Tags,
    Custom(Box<str>),
}

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "title" => Self::Title,
            "description" => Self::Description,
            "category" => Self::Category,
            "priority" => Self::Priority,
            "urgency" => Self::Urgency,
            "department" => Self::Department,
            "tags" => Self::Tags,
            _ => Self::Custom(name.strip_prefix("custom_fields.")?.into()),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Title => "title".into(),
            Self::Description => "description".into(),
            Self::Category => "category".into(),
            Self::Priority => "priority".into(),
            Self::Urgency => "urgency".into(),
            Self::Department => "department".into(),
            Self::Tags => "tags".into(),
            Self::Custom(name) => format!("custom_fields.{name}"),
        }
    }
}

/// How a field is compared; values are folded.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equals(Value),
    Contains(Value),
    In(Vec<Value>),
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    field: Field,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    /// All of them must hold; `None` where one can never hold.
    conditions: Option<Box<[Condition]>>,
    adjustment: i64,
}

/// An integration's rules, parsed once for each of its versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    rules: Box<[Rule]>,
    /// Rules that the row holds beyond those.
    unread: usize,
    /// About the bytes that this takes.
    weight: usize,
}

impl Rules {
    /// The rules of either stored shape: a list, or an object with a list under `rules`, or one
    /// rule as an object. Of more than can be stored today, the first.
    #[must_use]
    pub fn parse(stored: Option<&Value>) -> Self {
        let all = list(stored);
        let (mut conditions, mut bytes) = (0, 0);
        let mut rules = Vec::new();
        for rule in all.iter().take(READ_RULES_MAX) {
            let items = rule
                .get("conditions")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            conditions += items.len();
            bytes += size(rule, READ_BYTES_MAX);
            if conditions > READ_CONDITIONS_MAX || bytes > READ_BYTES_MAX {
                break;
            }
            rules.push(Rule {
                // A rule without a condition would hold for everything: the legacy code's loop did
                // the same.
                conditions: items.iter().map(condition).collect(),
                adjustment: rule
                    .get("priority_adjustment")
                    .and_then(Value::as_i64)
                    .unwrap_or(0),
            });
        }
        Self {
            unread: all.len() - rules.len(),
            weight: 64 + 4 * bytes,
            rules: rules.into(),
        }
    }

    /// About the bytes that they take in memory.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }
}

/// A condition that can hold.
fn condition(stored: &Value) -> Option<Condition> {
    let text = |name: &str| stored.get(name).and_then(Value::as_str);
    let wanted = stored.get("value")?;
    let test = match text("operator") {
        Some("equals") | None => Test::Equals(fold(wanted)),
        Some("contains") => Test::Contains(fold(wanted)),
        Some("in") => Test::In(wanted.as_array()?.iter().map(fold).collect()),
        Some(_) => return None,
    };
    Some(Condition {
        field: Field::parse(text("field")?)?,
        test,
    })
}

/// A value whose texts are compared without regard to case.
fn fold(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.to_lowercase()),
        Value::Array(items) => items.iter().map(fold).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), fold(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A ticket as rules ask about it: folded once, whatever the number of rules.
#[derive(Debug, Clone)]
pub struct Subject {
    title: Value,
    description: Value,
    category: Value,
    priority: Value,
    urgency: Value,
    department: Option<Value>,
    tags: Value,
    custom_fields: Map<String, Value>,
}

impl Subject {
    /// Of a ticket's traits; of a long description, its beginning.
    #[must_use]
    pub fn of(traits: &Traits) -> Self {
        let text = |text: &str| Value::String(text.to_lowercase());
        let end = traits
            .description
            .char_indices()
            .nth(DESCRIPTION_MAX)
            .map_or(traits.description.len(), |(at, _)| at);
        Self {
            title: text(&traits.title),
            description: text(&traits.description[..end]),
            category: traits.category.as_str().into(),
            priority: traits.priority.as_str().into(),
            urgency: traits.urgency.as_str().into(),
            department: traits.department.as_deref().map(text),
            tags: traits.tags.iter().map(|tag| text(tag)).collect(),
            custom_fields: traits
                .custom_fields
                .iter()
                .map(|(name, value)| (name.clone(), fold(value)))
                .collect(),
        }
    }

    fn field(&self, field: &Field) -> Option<&Value> {
        Some(match field {
            Field::Title => &self.title,
            Field::Description => &self.description,
            Field::Category => &self.category,
            Field::Priority => &self.priority,
            Field::Urgency => &self.urgency,
            Field::Department => self.department.as_ref()?,
            Field::Tags => &self.tags,
            Field::Custom(name) => self.custom_fields.get(&**name)?,
        })
    }
}

/// What is left to be compared for one ticket.
#[derive(Debug)]
pub struct Effort(usize);

impl Default for Effort {
    fn default() -> Self {
        Self(EFFORT_MAX)
    }
}

impl Effort {
    /// Whether there is that much left.
    const fn spend(&mut self, cost: usize) -> bool {
        match self.0.checked_sub(cost) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}

/// How an integration ranks for a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Rank {
    /// `default_priority` with the adjustments; lower is preferred.
    pub priority: i64,
    /// Which rules hold, in their order: place and adjustment.
    held: Vec<(usize, i64)>,
    /// Rules that were not looked at.
    pub unread: usize,
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

/// Ranks an integration for a ticket. Takes what it compares from `effort`; rules that nothing is
/// left for do not count.
#[must_use]
pub fn rank(default_priority: i32, rules: &Rules, ticket: &Subject, effort: &mut Effort) -> Rank {
    let mut rank = Rank {
        priority: i64::from(default_priority),
        held: Vec::new(),
        unread: rules.unread,
    };
    for (index, rule) in rules.rules.iter().enumerate() {
        match rule.holds(ticket, effort) {
            Some(true) => {
                rank.priority = rank.priority.saturating_add(rule.adjustment);
                rank.held.push((index, rule.adjustment));
            }
            Some(false) => {}
            None => rank.unread += 1,
        }
    }
    rank
}

impl Rank {
    /// What the rules changed, for people, and how many more there are.
    #[must_use]
    pub fn adjustments(&self, rules: &Rules) -> (Vec<Adjustment>, usize) {
        let shown = self.held.iter().take(SHOWN_MAX);
        let shown: Vec<Adjustment> = shown
            .map(|(index, adjustment)| Adjustment {
                rule: *index,
                priority_adjustment: *adjustment,
                because: rules
                    .rules
                    .get(*index)
                    .map(Rule::because)
                    .unwrap_or_default(),
            })
            .collect();
        let more = self.held.len() - shown.len();
        (shown, more)
    }
}

impl Rule {
    /// Whether all conditions hold; nothing where that is not to be found out any more.
    fn holds(&self, ticket: &Subject, effort: &mut Effort) -> Option<bool> {
        let Some(conditions) = &self.conditions else {
            return Some(false);
        };
        for condition in conditions {
            if !condition.holds(ticket, effort)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn because(&self) -> String {
        let conditions = self.conditions.as_deref().unwrap_or_default();
        if conditions.is_empty() {
            return "it has no condition".into();
        }
        let mut because = String::new();
        for condition in conditions {
            if because.len() > BECAUSE_MAX {
                because.push_str(" and …");
                break;
            }
            let and = if because.is_empty() { "" } else { " and " };
            because.push_str(and);
            because.push_str(&condition.describe());
        }
        because
    }
}

impl Condition {
    fn holds(&self, ticket: &Subject, effort: &mut Effort) -> Option<bool> {
        let Some(actual) = ticket.field(&self.field) else {
            return effort.spend(CONDITION_COST).then_some(false);
        };
        let compared = match &self.test {
            Test::In(wanted) => wanted.len(),
            Test::Equals(_) | Test::Contains(_) => 1,
        };
        if !effort.spend(compared * (CONDITION_COST + size(actual, DESCRIPTION_MAX * 4))) {
            return None;
        }
        Some(match &self.test {
            Test::Equals(wanted) => actual == wanted,
            Test::Contains(wanted) => match actual {
                Value::Array(items) => items.contains(wanted),
                Value::String(actual) => wanted
                    .as_str()
                    .is_some_and(|wanted| actual.contains(wanted)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
            },
            Test::In(wanted) => wanted.contains(actual),
        })
    }

    fn describe(&self) -> String {
        let (operator, value) = match &self.test {
            Test::Equals(value) => ("equals", value.to_string()),
            Test::Contains(value) => ("contains", value.to_string()),
            Test::In(values) => ("in", Value::from(values.clone()).to_string()),
        };
        let value: String = value.chars().take(BECAUSE_MAX).collect();
        format!("{} {operator} {value}", self.field.name())
    }
}

/// The rules of any stored shape.
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

/// About the bytes of a value as JSON; no further than a little over `max`.
fn size(value: &Value, max: usize) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => {
            let mut sum = 2;
            for item in items {
                sum += size(item, max.saturating_sub(sum));
                if sum > max {
                    break;
                }
            }
            sum
        }
        Value::Object(map) => {
            let mut sum = 2;
            for (name, item) in map {
                sum += name.len() + 4 + size(item, max.saturating_sub(sum));
                if sum > max {
                    break;
                }
            }
            sum
        }
    }
}

/// What is wrong with rules that somebody wants to store. What the legacy application stored is
/// taken as it is.
#[must_use]
pub fn fault(rules: &Value) -> Option<String> {
    if !rules.is_object() && !rules.is_array() {
        return Some("must be an object or a list".into());
    }
    let all = rules;
    let rules = list(Some(all));
    if rules.len() > RULES_MAX {
        return Some(format!(
            "must have at most {RULES_MAX} rules, not {}; a condition with the operator in \
             takes the place of many",
            rules.len()
        ));
    }
    let bytes = size(all, 16 << 20);
    if bytes > BYTES_MAX {
        return Some(format!(
            "must have at most {BYTES_MAX} bytes as JSON, not {bytes}; a condition with the \
             operator in takes the place of many"
        ));
    }
    for (index, rule) in rules.iter().enumerate() {
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
        if conditions.len() > CONDITIONS_MAX {
            return Some(format!(
                "[{index}].conditions must have at most {CONDITIONS_MAX} entries, not {}",
                conditions.len()
            ));
        }
        for (number, condition) in conditions.iter().enumerate() {
            if let Some(fault) = condition_fault(condition) {
                return Some(format!("[{index}].conditions[{number}]{fault}"));
            }
        }
    }
    None
}

fn condition_fault(condition: &Value) -> Option<String> {
    let field = condition.get("field").and_then(Value::as_str);
    if !field.is_some_and(is_field) {
        return Some(
            ".field must be one of title, description, category, priority, urgency, department, \
             tags, custom_fields.<name>"
                .into(),
        );
    }
    let value = condition.get("value");
    match condition.get("operator").map(Value::as_str) {
        None | Some(Some("equals" | "contains")) => {}
        Some(Some("in")) => match value {
            Some(Value::Array(values)) if values.len() > VALUES_MAX => {
                return Some(format!(
                    ".value must have at most {VALUES_MAX} entries, not {}",
                    values.len()
                ));
            }
            Some(Value::Array(_)) => {}
            Some(_) | None => return Some(".value must be a list for the operator in".into()),
        },
        Some(_) => return Some(".operator must be one of equals, contains, in".into()),
    }
    let Some(value) = value else {
        return Some(".value is required".into());
    };
    if field.is_some_and(is_long) || has_long(value) {
        return Some(format!(
            ": its texts must have at most {TEXT_MAX} characters each"
        ));
    }
    None
}

fn is_long(text: &str) -> bool {
    text.len() > TEXT_MAX && text.chars().count() > TEXT_MAX
}

fn has_long(value: &Value) -> bool {
    match value {
        Value::String(text) => is_long(text),
        Value::Array(items) => items.iter().any(has_long),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| is_long(name) || has_long(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
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
    use serde_json::json;

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

    fn ranked(default_priority: i32, rules: Option<&Value>, ticket: &Traits) -> Rank {
        let (rules, ticket) = (Rules::parse(rules), Subject::of(ticket));
        rank(default_priority, &rules, &ticket, &mut Effort::default())
    }

    #[test]
    fn both_stored_shapes_adjust_the_default_priority() {
        let rule = json!({ "conditions": [{ "field": "category", "operator": "equals",
            "value": "Bug" }],
                           "priority_adjustment": -40 });

        for rules in [json!([rule]), json!({ "rules": [rule] }), rule.clone()] {
            assert_eq!(ranked(100, Some(&rules), &ticket()).priority, 60, "{rules}");
        }
        assert_eq!(
            ranked(100, Some(&json!({ "jira": 1 })), &ticket()).priority,
            100
        );
        assert_eq!(ranked(100, None, &ticket()).priority, 100);
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let holds = |conditions: Value| {
            let rules = json!([{ "conditions": conditions, "priority_adjustment": -1 }]);
            ranked(0, Some(&rules), &ticket()).priority == -1
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

    fn many(count: usize, condition: &Value) -> Value {
        let rule = json!({ "conditions": [condition], "priority_adjustment": -1 });
        json!(vec![rule; count])
    }

    #[test]
    fn more_than_may_be_stored_is_refused_with_the_number_and_the_remedy() {
        let condition = json!({ "field": "title", "value": "a" });
        assert_eq!(fault(&many(200, &condition)), None);
        let widest = json!({ "conditions": vec![condition.clone(); 20], "priority_adjustment": 1 });
        assert_eq!(fault(&json!([widest])), None);
        let values =
            |count: usize| json!({ "field": "title", "operator": "in", "value": vec!["a"; count] });
        assert_eq!(fault(&many(1, &values(100))), None);
        for (rules, parts) in [
            (
                many(201, &condition),
                ["at most 200 rules, not 201", "operator in"],
            ),
            (
                json!({ "rules": many(201, &condition) }),
                ["200 rules", "not 201"],
            ),
            (
                json!([{ "conditions": vec![condition.clone(); 21] }]),
                ["[0].conditions", "at most 20 entries, not 21"],
            ),
            (
                many(1, &values(101)),
                ["value must have at most 100 entries", "101"],
            ),
            (
                many(1, &json!({ "field": "title", "value": "ü".repeat(501) })),
                ["500 characters", "conditions[0]"],
            ),
            (
                many(
                    1,
                    &json!({ "field": "title", "value": { "a": ["x".repeat(501)] } }),
                ),
                ["500 characters", ""],
            ),
            (
                many(200, &json!({ "field": "title", "value": "x".repeat(400) })),
                ["65536 bytes", "operator in"],
            ),
        ] {
            let said = fault(&rules).unwrap();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn the_docs_say_the_limits() {
        // However its lines are laid out.
        let docs = include_str!("../../docs/limits.md").replace(',', "");
        let docs: Vec<&str> = docs.split_whitespace().collect();
        let docs = docs.join(" ");
        for said in [
            format!("{RULES_MAX} rules {CONDITIONS_MAX} conditions a rule {VALUES_MAX} values"),
            format!("{TEXT_MAX} characters a text {} kB", BYTES_MAX >> 10),
            format!(
                "first {READ_RULES_MAX} count ({READ_CONDITIONS_MAX} conditions {} kB)",
                READ_BYTES_MAX >> 10
            ),
            format!("first {DESCRIPTION_MAX} characters of a description"),
            format!("{} MB of text", EFFORT_MAX / 1_000_000),
        ] {
            assert!(docs.contains(&said), "{said}");
        }
    }

    #[test]
    fn of_a_row_with_more_the_first_rules_count_and_the_others_are_said() {
        let stored = many(9_000, &json!({ "field": "category", "value": "bug" }));
        let rules = Rules::parse(Some(&stored));
        let ranked = ranked(0, Some(&stored), &ticket());

        assert_eq!(ranked.priority, -1_000);
        assert_eq!(ranked.unread, 8_000);
        assert!(rules.weight() < 1 << 20, "{}", rules.weight());
        let (shown, more) = ranked.adjustments(&rules);
        assert_eq!((shown.len(), more), (20, 980));
        assert_eq!(shown[0].because, "category equals \"bug\"");

        let heavy = many(
            900,
            &json!({ "field": "title", "value": "x".repeat(2_000) }),
        );
        let rules = Rules::parse(Some(&heavy));
        assert!(rules.unread > 700 && rules.weight() < 2 << 20);
    }

    #[test]
    fn what_is_compared_for_one_ticket_has_an_end() {
        let long = Traits {
            description: "ab".repeat(500_000),
            ..ticket()
        };
        let subject = Subject::of(&long);
        let stored = many(
            200,
            &json!({ "field": "description", "operator": "contains", "value": "abc" }),
        );
        let rules = Rules::parse(Some(&stored));
        let mut effort = Effort::default();
        let began = std::time::Instant::now();

        let unread: usize = (0..1_000)
            .map(|_| rank(0, &rules, &subject, &mut effort).unread)
            .sum();

        assert!(unread > 100_000, "{unread}");
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        let near = many(
            1,
            &json!({ "field": "title", "value": "login page returns 500" }),
        );
        assert_eq!(ranked(5, Some(&near), &ticket()).priority, 4);
    }
}
