//! Whether a value is an Atlassian Document, by the rules that Jira refuses documents by.

use serde_json::{Map, Value};

/// Nesting allowed; Jira's own limit is not published.
const DEPTH_MAX: usize = 60;

/// Counts the characters of text in a well-formed document, as Java counts them.
///
/// # Errors
/// Where and why it is not well-formed.
pub(super) fn check(document: &Value) -> Result<usize, String> {
    let node = object(document, "document")?;
    if node.get("version") != Some(&Value::from(1)) {
        return Err("document: version must be 1".into());
    }
    if kind(node, "document")? != "doc" {
        return Err("document: type must be doc".into());
    }
    members(node, &["type", "version", "content"], "doc")?;
    children(node, "doc", TOP, 0)
}

const TOP: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "codeBlock",
    "blockquote",
    "rule",
    "panel",
    "expand",
    "table",
];
const INLINE: &[&str] = &["text", "hardBreak", "mention", "emoji", "inlineCard"];
const IN_LIST_ITEM: &[&str] = &["paragraph", "bulletList", "orderedList", "codeBlock"];
const IN_PANEL: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "codeBlock",
];
const IN_CELL: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "codeBlock",
    "blockquote",
    "rule",
    "panel",
];

/// Content rules of one node type: what it may hold, and whether it may be empty.
fn content_rule(kind: &str) -> Option<(&'static [&'static str], bool)> {
    Some(match kind {
        "paragraph" | "heading" => (INLINE, true),
        "bulletList" | "orderedList" => (&["listItem"], false),
        "listItem" | "blockquote" => (IN_LIST_ITEM, false),
        "codeBlock" => (&["text"], true),
        "panel" | "expand" => (IN_PANEL, false),
        "table" => (&["tableRow"], false),
        "tableRow" => (&["tableCell", "tableHeader"], false),
        "tableCell" | "tableHeader" => (IN_CELL, false),
        _ => return None,
    })
}

fn children(
    node: &Map<String, Value>,
    parent: &str,
    allowed: &[&str],
    depth: usize,
) -> Result<usize, String> {
    if depth > DEPTH_MAX {
        return Err(format!("{parent}: nested deeper than {DEPTH_MAX}"));
    }
    let list = match node.get("content") {
        None if parent == "doc" => return Err("doc: content is missing".into()),
        None => return Ok(0),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("{parent}: content must be an array")),
    };
    let mut characters = 0;
    for (index, child) in list.iter().enumerate() {
        let place = format!("{parent}[{index}]");
        let child = object(child, &place)?;
        let kind = kind(child, &place)?;
        if !allowed.contains(&kind) {
            return Err(format!("{place}: {kind} is not allowed in {parent}"));
        }
        if parent == "listItem" && index == 0 && kind != "paragraph" {
            return Err(format!("{place}: a listItem starts with a paragraph"));
        }
        characters += if kind == "text" {
            text(child, parent, &place)?
        } else {
            block(child, kind, &place, depth)?
        };
    }
    Ok(characters)
}

fn block(
    node: &Map<String, Value>,
    kind: &str,
    place: &str,
    depth: usize,
) -> Result<usize, String> {
    let attributes = match node.get("attrs") {
        None => None,
        Some(Value::Object(attributes)) => Some(attributes),
        Some(_) => return Err(format!("{place}: attrs must be an object")),
    };
    let attribute = |name: &str| attributes.and_then(|a| a.get(name));
    let needs_text = |name: &str| match attribute(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(()),
        _ => Err(format!("{place}: {kind} needs attrs.{name}")),
    };
    match kind {
        "heading" => match attribute("level").and_then(Value::as_u64) {
            Some(1..=6) => {}
            _ => return Err(format!("{place}: heading needs attrs.level 1 to 6")),
        },
        "orderedList" if attribute("order").is_some_and(|order| order.as_u64().is_none()) => {
            return Err(format!("{place}: attrs.order must be a number from 0"));
        }
        "codeBlock" if attribute("language").is_some_and(|language| !language.is_string()) => {
            return Err(format!("{place}: attrs.language must be a string"));
        }
        "panel" => match attribute("panelType").and_then(Value::as_str) {
            Some("info" | "note" | "warning" | "success" | "error") => {}
            _ => return Err(format!("{place}: panel needs attrs.panelType")),
        },
        "mention" => needs_text("id")?,
        "emoji" => needs_text("shortName")?,
        "inlineCard" => needs_text("url")?,
        _ => {}
    }
    let Some((allowed, may_be_empty)) = content_rule(kind) else {
        members(node, &["type", "attrs"], place)?;
        return Ok(0);
    };
    members(node, &["type", "attrs", "content"], place)?;
    let empty = node
        .get("content")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if empty && !may_be_empty {
        return Err(format!("{place}: {kind} must not be empty"));
    }
    children(node, kind, allowed, depth + 1)
}

fn text(node: &Map<String, Value>, parent: &str, place: &str) -> Result<usize, String> {
    members(node, &["type", "text", "marks"], place)?;
    let Some(Value::String(text)) = node.get("text") else {
        return Err(format!("{place}: text must be a string"));
    };
    if text.is_empty() {
        return Err(format!("{place}: text must not be empty"));
    }
    if parent != "codeBlock" && text.contains(['\n', '\r']) {
        return Err(format!("{place}: a newline in text; use hardBreak"));
    }
    match node.get("marks") {
        None => {}
        Some(Value::Array(marks)) if parent == "codeBlock" && !marks.is_empty() => {
            return Err(format!("{place}: text in a codeBlock takes no marks"));
        }
        Some(Value::Array(list)) => marks(list, place)?,
        Some(_) => return Err(format!("{place}: marks must be an array")),
    }
    Ok(text.encode_utf16().count())
}

fn marks(list: &[Value], place: &str) -> Result<(), String> {
    let mut seen = Vec::new();
    for mark in list {
        let mark = object(mark, place)?;
        members(mark, &["type", "attrs"], place)?;
        let kind = kind(mark, place)?;
        match kind {
            "strong" | "em" | "strike" | "underline" | "code" => {}
            "link" => {
                let href = mark
                    .get("attrs")
                    .and_then(|attributes| attributes.get("href"))
                    .and_then(Value::as_str);
                if href.is_none_or(str::is_empty) {
                    return Err(format!("{place}: a link mark needs attrs.href"));
                }
            }
            other => return Err(format!("{place}: unknown mark {other}")),
        }
        if seen.contains(&kind) {
            return Err(format!("{place}: mark {kind} twice"));
        }
        seen.push(kind);
    }
    if seen.contains(&"code") && seen.iter().any(|kind| !matches!(*kind, "code" | "link")) {
        return Err(format!("{place}: code combines only with link"));
    }
    Ok(())
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{place}: must be an object"))
}

fn kind<'a>(node: &'a Map<String, Value>, place: &str) -> Result<&'a str, String> {
    node.get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{place}: type must be a string"))
}

fn members(node: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), String> {
    match node.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{place}: {key} is not a member of this node")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better with a literal"
    )]
    fn doc(content: Value) -> Value {
        json!({"type": "doc", "version": 1, "content": content})
    }

    fn paragraph(text: &str) -> Value {
        json!({"type": "paragraph", "content": [{"type": "text", "text": text}]})
    }

    #[test]
    fn the_sheets_example_is_well_formed() {
        let example = doc(json!([
            {"type":"heading","attrs":{"level":3},"content":[{"type":"text","text":"Steps"}]},
            {"type":"paragraph","content":[{"type":"text","text":"Run "},
              {"type":"text","text":"make","marks":[{"type":"code"}]},{"type":"text","text":" then "},
              {"type":"text","text":"see docs","marks":[{"type":"link","attrs":{"href":"https://example.com"}},
                {"type":"strong"}]},{"type":"hardBreak"}]},
            {"type":"bulletList","content":[{"type":"listItem","content":[paragraph("one")]}]},
            {"type":"orderedList","attrs":{"order":1},"content":[{"type":"listItem","content":[paragraph("first")]}]},
            {"type":"codeBlock","attrs":{"language":"rust"},"content":[{"type":"text","text":"fn main() {\n}"}]},
            {"type":"blockquote","content":[paragraph("quoted")]}]));

        assert_eq!(check(&example), Ok(5 + 4 + 4 + 6 + 8 + 3 + 5 + 13 + 6));
        assert_eq!(check(&doc(json!([]))), Ok(0));
    }

    #[test]
    fn what_jira_refuses_is_refused() {
        let mut deep = paragraph("x");
        for _ in 0..100 {
            deep = json!({"type":"bulletList","content":[
                {"type":"listItem","content":[paragraph("x"), deep]}]});
        }
        let marked = |marks: Value| {
            doc(json!([{"type":"paragraph","content":[{"type":"text","text":"x","marks":marks}]}]))
        };
        for bad in [
            json!("text"),
            json!({"type": "doc", "content": []}),
            json!({"type": "doc", "version": 1}),
            doc(json!([{"type": "text", "text": "bare"}])),
            doc(json!([paragraph("")])),
            doc(json!([paragraph("two\nlines")])),
            doc(json!([{"type": "invented"}])),
            doc(json!([{"type": "heading", "content": []}])),
            doc(json!([{"type": "bulletList", "content": []}])),
            doc(json!([{"type": "bulletList", "content": [paragraph("x")]}])),
            doc(
                json!([{"type": "bulletList", "content": [{"type": "listItem", "content": [
                {"type": "codeBlock", "content": []}]}]}]),
            ),
            doc(json!([{"type": "codeBlock", "content": [
                {"type": "text", "text": "x", "marks": [{"type": "strong"}]}]}])),
            doc(json!([{"type": "blockquote", "content": [
                {"type": "blockquote", "content": [paragraph("x")]}]}])),
            doc(json!([{"type": "paragraph", "content": [], "style": "loud"}])),
            marked(json!([{"type": "code"}, {"type": "strong"}])),
            marked(json!([{"type": "link"}])),
            marked(json!([{"type": "em"}, {"type": "em"}])),
            marked(json!([{"type": "blink"}])),
            doc(json!([deep])),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
