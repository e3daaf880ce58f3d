//! Reads the endpoint's answer, field by field. An answer with one bad field is no answer: what
//! else it got wrong nobody knows. Members that were not asked for are dropped here, so a model
//! cannot say more than the schema has.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::request;
use crate::analysis::{AnalysisError, rules, text};
use crate::domain::{AnalyserKind, Analysis, AnalysisInput, Priority, TicketCategory, has_ink};

/// Characters at most; the prompt asks for less.
const TITLE_MAX: usize = 500;
const DESCRIPTION_MAX: usize = 20_000;
const REASONING_MAX: usize = 4000;
const LABEL_MAX: usize = 50;
/// Entries of a list at most.
const LABELS_MAX: usize = 20;

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<String>,
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

/// The analysis in a completion.
pub(super) fn read(
    body: &[u8],
    model: &str,
    input: &AnalysisInput,
) -> Result<Analysis, AnalysisError> {
    // serde's own text quotes the body.
    let completion: Completion = serde_json::from_slice(body)
        .map_err(|_| AnalysisError::new("the chat endpoint's answer is no chat completion"))?;
    let choice = completion
        .choices
        .into_iter()
        .next()
        .ok_or_else(|| AnalysisError::new("the chat endpoint's answer has no choices"))?;
    if choice
        .message
        .refusal
        .is_some_and(|refusal| !refusal.is_empty())
    {
        return Err(AnalysisError::new("the model refused to analyse the text"));
    }
    match choice.finish_reason.as_deref() {
        Some("length") => return Err(AnalysisError::new("the model's answer was cut off")),
        Some("content_filter") => {
            return Err(AnalysisError::new(
                "the chat endpoint's content filter stopped the answer",
            ));
        }
        Some(_) | None => {}
    }
    let content = choice
        .message
        .content
        .filter(|content| !content.trim().is_empty())
        .ok_or_else(|| AnalysisError::new("the model's answer is empty"))?;
    let fields: Map<String, Value> = serde_json::from_str(without_fence(&content))
        .map_err(|_| AnalysisError::new("the model's answer is no JSON object"))?;
    analysis(&fields, model, input).map_err(|fault| {
        AnalysisError::new(format!(
            "the model's answer does not fit the schema: {fault}"
        ))
    })
}

/// Some models wrap JSON in a Markdown fence, whatever they are told.
fn without_fence(content: &str) -> &str {
    let content = content.trim();
    let inner = content
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .and_then(|rest| rest.split_once('\n'));
    inner.map_or(content, |(_language, inner)| inner)
}

/// Field by field; the fault names the field and the rule, never the value.
fn analysis(
    fields: &Map<String, Value>,
    model: &str,
    input: &AnalysisInput,
) -> Result<Analysis, String> {
    let summary = text::block(text(fields, "description", DESCRIPTION_MAX)?);
    let original = rules::description(input);
    Ok(Analysis {
        title: Some(text::one_line(text(fields, "title", TITLE_MAX)?))
            .filter(|title| has_ink(title))
            .ok_or("title must not be empty")?,
        description: match (summary.is_empty(), original.is_empty()) {
            (true, _) => original,
            (false, true) => summary,
            (false, false) => format!("{summary}\n\n---\n\n**As reported**\n\n{original}"),
        },
        category: choice(fields, "category", TicketCategory::parse)?,
        priority: choice(fields, "priority", Priority::parse)?,
        urgency: choice(fields, "urgency", Priority::parse)?,
        department: department(fields, input)?,
        tags: rules::merged_tags(&input.preferences.tags, labels(fields, "tags")?.into_iter()),
        keywords: labels(fields, "keywords")?,
        confidence_score: fields
            .get("confidence_score")
            .and_then(Value::as_f64)
            .filter(|score| (0.0..=1.0).contains(score))
            .ok_or("confidence_score must be a number from 0 to 1")?,
        reasoning: text::block(text(fields, "reasoning", REASONING_MAX)?),
        analyser: AnalyserKind::Chat,
        model: Some(model.to_owned()),
        fell_back: None,
    })
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    characters_max: usize,
) -> Result<&'a str, String> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| text.chars().count() <= characters_max)
        .ok_or_else(|| format!("{name} must be text of at most {characters_max} characters"))
}

fn choice<T>(
    fields: &Map<String, Value>,
    name: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, String> {
    let value = fields.get(name).and_then(Value::as_str);
    value
        .and_then(parse)
        .ok_or_else(|| format!("{name} must be one of its values"))
}

/// A preference goes before what the model says; that must be one of those it was offered.
fn department(
    fields: &Map<String, Value>,
    input: &AnalysisInput,
) -> Result<Option<String>, String> {
    let said = match fields.get("department") {
        Some(Value::Null) => None,
        Some(Value::String(name)) if request::departments(input).contains(&name.as_str()) => {
            Some(name.clone())
        }
        _ => return Err("department must be one of its values, or null".into()),
    };
    Ok(input.preferences.department.clone().or(said))
}

fn labels(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let fault = || {
        format!(
            "{name} must be a list of at most {LABELS_MAX} texts of at most {LABEL_MAX} characters"
        )
    };
    let items = fields
        .get(name)
        .and_then(Value::as_array)
        .filter(|items| items.len() <= LABELS_MAX)
        .ok_or_else(fault)?;
    let mut labels: Vec<String> = Vec::new();
    for item in items {
        let label = text::one_line(item.as_str().ok_or_else(fault)?);
        if label.chars().count() > LABEL_MAX {
            return Err(fault());
        }
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}
