//! What `ticket.ai_create` is given, and what comes of it. Data only: who analyses, and how, is the
//! analysers' business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Priority, TicketCategory, wire_enum};

/// Turns of a conversation at most.
pub const TURNS_MAX: usize = 1000;
/// Characters of a turn's role at most.
const ROLE_MAX: usize = 50;
/// Characters of a department, a column's width.
const DEPARTMENT_MAX: usize = 100;
/// Preferred tags at most, and characters of one.
const TAGS_MAX: (usize, usize) = (10, 50);

wire_enum! {
    /// Who made an analysis.
    AnalyserKind {
        Rules = "rules",
        Chat = "chat",
    }
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// `user`, `assistant`, `agent`, or whatever the producer calls them; default `user`.
    pub role: String,
    /// What they said.
    pub content: String,
}

impl Turn {
    /// Whether this is the person whose ticket it is. What a bot asked says nothing about the
    /// matter.
    #[must_use]
    pub fn is_users(&self) -> bool {
        let role = self.role.trim().to_lowercase();
        matches!(
            role.as_str(),
            "user" | "customer" | "client" | "requester" | "reporter" | "end_user" | "human"
        )
    }
}

/// What the producer would have where the text does not say. Members that are not named here are
/// ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// Where the text points to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<TicketCategory>,
    /// Where the text says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Where the text says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Priority>,
    /// Always: who deals with it is not for the text to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Added to those found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Members with a value that is none of theirs: they count for nothing, and the reasoning says
    /// so.
    #[serde(skip)]
    pub ignored: Vec<&'static str>,
}

impl Preferences {
    /// Reads the members it knows.
    #[must_use]
    pub fn read(map: &Map<String, Value>) -> Self {
        let mut ignored = Vec::new();
        let category = member(map, "category", &mut ignored, |value| {
            TicketCategory::parse(value.as_str()?)
        });
        let priority = member(map, "priority", &mut ignored, |value| {
            Priority::parse(value.as_str()?)
        });
        let urgency = member(map, "urgency", &mut ignored, |value| {
            Priority::parse(value.as_str()?)
        });
        let department = member(map, "department", &mut ignored, |value| {
            line(value, DEPARTMENT_MAX)
        });
        let tags = member(map, "tags", &mut ignored, |value| {
            let items = value.as_array().filter(|items| items.len() <= TAGS_MAX.0)?;
            items.iter().map(|item| line(item, TAGS_MAX.1)).collect()
        });
        Self {
            category,
            priority,
            urgency,
            department,
            tags: tags.unwrap_or_default(),
            ignored,
        }
    }
}

/// What an analyser is given. All of it is data: nothing in it names a tenant, an integration or an
/// id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnalysisInput {
    /// What the user wrote.
    pub user_input: String,
    /// What was said before, oldest first.
    pub conversation: Vec<Turn>,
    /// What the producer would have where the text does not say.
    pub preferences: Preferences,
}

impl AnalysisInput {
    /// Reads the command's fields. A conversation is a list of `{"role", "content"}` (`role` by
    /// default `user`, other members are ignored), a list of texts, a mixture of both, or one text;
    /// without content a turn is left out.
    ///
    /// # Errors
    /// What is wrong, by field: `conversation_context`, `conversation_context[3].content`.
    pub fn read(
        user_input: String,
        conversation_context: Option<&Value>,
        user_preferences: Option<&Map<String, Value>>,
    ) -> Result<Self, BTreeMap<String, String>> {
        let mut faults = BTreeMap::new();
        let conversation = match conversation_context {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) if items.len() > TURNS_MAX => {
                let fault = format!("must have at most {TURNS_MAX} turns, not {}", items.len());
                faults.insert("conversation_context".to_owned(), fault);
                Vec::new()
            }
            Some(Value::Array(items)) => {
                let turns = items.iter().enumerate();
                turns
                    .filter_map(|(index, item)| {
                        turn(item, &format!("conversation_context[{index}]"), &mut faults)
                    })
                    .collect()
            }
            Some(text @ Value::String(_)) => turn(text, "conversation_context", &mut faults)
                .into_iter()
                .collect(),
            Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                let fault =
                    r#"must be a list of {"role", "content"}, a list of texts, or one text"#;
                faults.insert("conversation_context".to_owned(), fault.into());
                Vec::new()
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            user_input,
            conversation,
            preferences: user_preferences.map(Preferences::read).unwrap_or_default(),
        })
    }
}

/// What came of it: a ticket's fields, and nothing that says whose ticket it is or where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// One line, 1–500 characters.
    pub title: String,
    /// Markdown; holds what the user wrote and what was said before.
    pub description: String,
    /// Category.
    pub category: TicketCategory,
    /// How much hangs on it.
    pub priority: Priority,
    /// How soon it is wanted.
    pub urgency: Priority,
    /// Who should deal with it, at most 100 characters.
    pub department: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// The words that matter.
    pub keywords: Vec<String>,
    /// 0 to 1.
    pub confidence_score: f64,
    /// Why, for a person.
    pub reasoning: String,
    /// Who made it.
    pub analyser: AnalyserKind,
    /// The configured model, where one made it.
    pub model: Option<String>,
    /// Why the first choice failed, where it did. Fit to publish: no secret, no host, nothing the
    /// endpoint said.
    pub fell_back: Option<String>,
}

impl Analysis {
    /// As `tickets.ai_confidence_score` holds it, a column of ten characters.
    #[must_use]
    pub fn confidence_text(&self) -> String {
        format!("{:.2}", self.confidence_score)
    }
}

/// A member that is there and not null; noted where its value is none of its own.
fn member<T>(
    map: &Map<String, Value>,
    name: &'static str,
    ignored: &mut Vec<&'static str>,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let value = map.get(name).filter(|value| !value.is_null())?;
    let read = read(value);
    if read.is_none() {
        ignored.push(name);
    }
    read
}

/// A short text without control characters.
fn line(value: &Value, characters_max: usize) -> Option<String> {
    let text = value.as_str()?.trim();
    let sound = !text.is_empty()
        && text.chars().count() <= characters_max
        && !text.chars().any(char::is_control);
    sound.then(|| text.to_owned())
}

fn turn(item: &Value, name: &str, faults: &mut BTreeMap<String, String>) -> Option<Turn> {
    let mut fault = |member: &str, fault: String| {
        faults.insert(format!("{name}{member}"), fault);
    };
    let (role, content, member) = match item {
        Value::String(text) => ("user", text.as_str(), ""),
        Value::Object(map) => {
            let role = match map.get("role") {
                None | Some(Value::Null) => "user",
                Some(Value::String(role)) => role.as_str(),
                Some(_) => {
                    fault(".role", "must be text".into());
                    return None;
                }
            };
            match map.get("content") {
                None | Some(Value::Null) => return None,
                Some(Value::String(content)) => (role, content.as_str(), ".content"),
                Some(_) => {
                    fault(".content", "must be text".into());
                    return None;
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            fault("", r#"must be {"role", "content"} or text"#.into());
            return None;
        }
    };
    if role.chars().count() > ROLE_MAX {
        fault(".role", format!("must have at most {ROLE_MAX} characters"));
        return None;
    }
    if content.contains('\0') || role.contains('\0') {
        fault(
            member,
            "contains a NUL character, which cannot be stored".into(),
        );
        return None;
    }
    (!content.trim().is_empty()).then(|| Turn {
        role: role.to_owned(),
        content: content.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversation(value: &Value) -> Result<Vec<(String, String)>, BTreeMap<String, String>> {
        let input = AnalysisInput::read("x".into(), Some(value), None)?;
        let pairs = input
            .conversation
            .into_iter()
            .map(|turn| (turn.role, turn.content));
        Ok(pairs.collect())
    }

    #[test]
    fn a_conversation_is_turns_texts_or_one_text() {
        let said = |role: &str, text: &str| (role.to_owned(), text.to_owned());

        let turns = json!([{"role": "agent", "content": "a", "at": 1}, {"content": "b"}, "c",
            {"role": "user"}, " "]);

        assert_eq!(
            conversation(&turns).unwrap(),
            [said("agent", "a"), said("user", "b"), said("user", "c")]
        );
        assert_eq!(conversation(&json!("d")).unwrap(), [said("user", "d")]);
        assert_eq!(conversation(&json!(null)).unwrap(), []);
    }

    #[test]
    fn what_is_wrong_with_a_conversation_is_told_by_field() {
        let faults = |value: &Value| {
            let faults = conversation(value).unwrap_err();
            faults.into_keys().collect::<Vec<_>>()
        };

        assert_eq!(faults(&json!({"role": "user"})), ["conversation_context"]);
        assert_eq!(
            faults(
                &json!([1, {"role": 2, "content": "a"}, {"content": ["a"]}, {"content": "a\u{0}"}])
            ),
            [
                "conversation_context[0]",
                "conversation_context[1].role",
                "conversation_context[2].content",
                "conversation_context[3].content"
            ]
        );
        assert_eq!(
            faults(&json!(vec!["a"; TURNS_MAX + 1])),
            ["conversation_context"]
        );
    }

    #[test]
    fn preferences_count_only_where_they_are_valid() {
        let map = json!({
            "category": "billing", "priority": "very high", "urgency": 3, "department": "Accounts",
            "tags": ["vip"],
            "organization_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        });

        let read = Preferences::read(map.as_object().unwrap());

        assert_eq!(read.category, Some(TicketCategory::Billing));
        assert_eq!(read.department.as_deref(), Some("Accounts"));
        assert_eq!(read.tags, ["vip"]);
        assert_eq!((read.priority, read.urgency), (None, None));
        assert_eq!(read.ignored, ["priority", "urgency"]);
    }
}
