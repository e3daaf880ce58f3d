//! What Trello is asked, and how it refuses: parameters stand in the query or in a JSON body, and
//! most refusals are plain text.

use chrono::DateTime;
use serde_json::Value;

use crate::sandbox::answer::Answer;
use crate::sandbox::call::Call;

pub(super) const NOT_FOUND: &str = "The requested resource was not found.";

/// A value of `Authorization: OAuth a="1", b="2"`.
pub(super) fn signed(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = pairs
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(own, _)| *own == name)?;
    let coded = format!("v={}", value.trim_matches('"').replace('+', "%2B"));
    let mut decoded = url::form_urlencoded::parse(coded.as_bytes());
    decoded.next().map(|(_, value)| value.into_owned())
}

// How it refuses.

pub(super) fn error(status: u16, text: &str) -> Answer {
    Answer::plain(status, text)
}

pub(super) fn forbidden() -> Answer {
    error(401, "unauthorized card permission requested")
}

pub(super) fn invalid(name: &str) -> Answer {
    error(400, &format!("invalid value for {name}"))
}

fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What is said of a card, or whatever else has an id, that is not there.
pub(super) fn missing(id: &str) -> Answer {
    match is_id(id) || id.len() == 8 {
        true => error(404, NOT_FOUND),
        false => error(400, "invalid id"),
    }
}

// What it is asked.

/// A parameter: of the body, else of the query.
pub(super) fn given(call: &Call, name: &str) -> Option<Value> {
    let in_body = call.json.as_ref().and_then(|body| body.get(name)).cloned();
    in_body.or_else(|| call.param(name).map(Value::from))
}

/// A text of so many characters.
pub(super) fn text(call: &Call, name: &str, max: usize) -> Result<Option<String>, Answer> {
    match given(call, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.encode_utf16().count() <= max => Ok(Some(text)),
        Some(_) => Err(invalid(name)),
    }
}

pub(super) fn flag(call: &Call, name: &str) -> Result<Option<bool>, Answer> {
    match given(call, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
        Some(_) => Err(invalid(name)),
    }
}

/// Ids of a set: an array, or a text with commas.
pub(super) fn ids(call: &Call, name: &str, known: &[Value]) -> Result<Option<Vec<String>>, Answer> {
    let ids: Vec<String> = match given(call, name) {
        None => return Ok(None),
        Some(Value::Array(ids)) => {
            let texts = ids.iter().map(|id| id.as_str().unwrap_or_default());
            texts.map(str::to_owned).collect()
        }
        Some(Value::String(text)) => {
            let all = text.split(',').map(str::trim);
            all.filter(|id| !id.is_empty()).map(str::to_owned).collect()
        }
        Some(_) => return Err(invalid(name)),
    };
    let is_known = |id: &String| known.iter().any(|one| one["id"] == **id);
    if ids.iter().all(is_known) {
        Ok(Some(ids))
    } else {
        Err(invalid(name))
    }
}

/// What `fields` asks for of a thing; all of it without that.
pub(super) fn shown(call: &Call, mut whole: Value) -> Value {
    let wanted = call.param("fields").filter(|fields| *fields != "all");
    if let (Some(fields), Some(members)) = (wanted, whole.as_object_mut()) {
        let nested = ["customFieldItems", "attachments", "actions"];
        members.retain(|name, _| {
            name == "id"
                || nested.contains(&name.as_str())
                || fields.split(',').any(|own| own == name)
        });
    }
    whole
}

pub(super) fn listing(call: &Call, all: impl IntoIterator<Item = Value>) -> Answer {
    let all = all.into_iter().map(|one| shown(call, one));
    Answer::json(200, all.collect::<Vec<_>>().into())
}

/// When something was that is named by a date or an id.
pub(super) fn when(call: &Call, name: &str) -> Result<Option<String>, Answer> {
    let Some(text) = call.param(name) else {
        return Ok(None);
    };
    if is_id(text) {
        return Ok(Some(text.to_owned()));
    }
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| invalid(name))?;
    Ok(Some(format!("{:08x}{:016x}", at.timestamp(), 0)))
}
