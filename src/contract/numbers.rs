//! Numbers as JSON means them: by value, however they are written.

use serde_json::{Map, Value};

use crate::domain::shown;

/// From here on (2^53) not every whole number is a number of 64 bits with a point, so that one that
/// was read as such may not be the one that was sent.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// The fields whose number cannot be kept as it was sent: whole numbers that no integer of 64 bits
/// holds are read as rounded ones.
pub(super) fn inexact(data: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in data {
        look(shown(name), value, &mut found);
    }
    found
}

fn look(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Number(number) => {
            let is_inexact = |number: f64| number.abs() >= INEXACT;
            if number.is_f64() && number.as_f64().is_some_and(is_inexact) {
                found.push(path.to_owned());
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| may_hold(item)) {
                look(&format!("{path}[{index}]"), item, found);
            }
        }
        Value::Object(map) => {
            for (name, item) in map.iter().filter(|(_, item)| may_hold(item)) {
                look(&format!("{path}.{}", shown(name)), item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

const fn may_hold(value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::Array(_) | Value::Object(_))
}

/// The same with each number written in one way, where that changes any: `1.0` is `1`, `-0.0` is
/// `0`.
#[must_use]
pub fn canonical(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let given = number.as_f64()?;
            let is_whole = given.fract() == 0.0 && given.abs() < INEXACT;
            // Exact, as it is whole and small.
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            is_whole.then(|| Value::from(given as i64))
        }
        Value::Array(items) => {
            let made: Vec<Option<Value>> = items.iter().map(canonical).collect();
            made.iter().any(Option::is_some).then(|| {
                let pairs = made.into_iter().zip(items);
                pairs
                    .map(|(made, item)| made.unwrap_or_else(|| item.clone()))
                    .collect()
            })
        }
        Value::Object(map) => canonical_members(map).map(Value::Object),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// [`canonical`] of an object.
#[must_use]
pub fn canonical_members(map: &Map<String, Value>) -> Option<Map<String, Value>> {
    let changed: Vec<(&String, Value)> = map
        .iter()
        .filter_map(|(name, value)| Some((name, canonical(value)?)))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let mut made = map.clone();
    for (name, value) in changed {
        made.insert(name.clone(), value);
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = |text: &str| {
            let value = read(text);
            canonical(&value).unwrap_or(value)
        };

        for (text, same) in [
            ("1.0", "1"),
            ("-0.0", "0"),
            ("1e2", "100"),
            (
                r#"{"a":[1.0,{"b":2.0,"c":"1.0"}],"d":1.5}"#,
                r#"{"a":[1,{"b":2,"c":"1.0"}],"d":1.5}"#,
            ),
            ("0.10", "0.1"),
        ] {
            assert_eq!(one(text).to_string(), one(same).to_string(), "{text}");
        }
        assert_eq!(canonical(&json!({ "a": [1, "1.0", 0.5, null] })), None);
        assert_ne!(one("1.5"), one("1"));
    }

    #[test]
    fn a_number_that_was_rounded_is_named_and_one_that_was_not_is_taken() {
        let data = serde_json::from_str::<Value>(
            r#"{"custom_fields": {"big": 12345678901234567890123, "list": [1, {"n": -1e300}],
                "largest": 18446744073709551615, "least": -9223372036854775808, "exact": 1.5e3}}"#,
        );

        let found = inexact(data.unwrap().as_object().unwrap());

        assert_eq!(found, ["custom_fields.big", "custom_fields.list[1].n"]);
    }
}
