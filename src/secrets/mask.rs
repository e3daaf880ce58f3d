//! Masking: the last four characters of long values, nothing of short ones, whatever the shape.

use serde_json::{Map, Value};

use crate::domain::MASK;

/// From this many characters on a value shows its last four.
const LONG: usize = 12;

/// The same shape with every value masked; names stay.
#[must_use]
pub fn mask(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) => Value::String(MASK.into()),
        Value::String(text) => Value::String(mask_text(text)),
        Value::Array(items) => Value::Array(items.iter().map(mask).collect()),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, value)| (name.clone(), mask(value)))
                .collect(),
        ),
    }
}

/// The members of a command's data that hold secrets (contract §4).
const SECRET_MEMBERS: [&str; 2] = ["credentials", "webhook_secret"];

/// Whether a member of a command's data holds secrets.
#[must_use]
pub fn is_secret_member(name: &str) -> bool {
    SECRET_MEMBERS.contains(&name)
}

/// Masks the members of a command's data that hold secrets.
pub fn mask_members(data: &mut Map<String, Value>) {
    for field in SECRET_MEMBERS {
        if let Some(secret) = data.get_mut(field) {
            *secret = mask(secret);
        }
    }
}

/// One value masked.
#[must_use]
pub fn mask_text(text: &str) -> String {
    let count = text.chars().count();
    if count < LONG {
        return MASK.into();
    }
    let tail: String = text.chars().skip(count - 4).collect();
    format!("{MASK}{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn any_shape_is_masked() {
        let masked = mask(
            &json!({"token": "abcdefghijklmnop", "pin": "1234", "n": {"port": 587,
                "list": ["longer than twelve", null]}}),
        );

        assert_eq!(
            masked,
            json!({"token": "••••mnop", "pin": "••••", "n": {"port": "••••", "list": ["••••elve",
                null]}})
        );
    }

    proptest! {
        #[test]
        fn at_most_four_characters_of_a_secret_show(secret in "\\PC{0,64}") {
            let masked = mask_text(&secret);

            let shown = masked.strip_prefix("••••").unwrap();
            prop_assert!(shown.chars().count() <= 4);
            prop_assert!(secret.chars().count() >= LONG || shown.is_empty());
        }
    }
}
