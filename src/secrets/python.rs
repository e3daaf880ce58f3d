//! JSON as the legacy application writes it before sealing: `json.dumps(…, sort_keys=True)`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The same JSON with sorted keys, `", "` and `": "` between, and everything beyond ASCII escaped.
/// Numbers keep their text, so nothing is lost of them; of equal keys the last counts, as in
/// Python. `None` where it is no JSON.
#[must_use]
pub fn as_python_writes(json: &[u8]) -> Option<String> {
    let raw: &RawValue = serde_json::from_slice(json).ok()?;
    let mut text = String::with_capacity(json.len() + 16);
    write(raw.get(), &mut text)?;
    Some(text)
}

fn write(raw: &str, text: &mut String) -> Option<()> {
    match raw.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                quote(name, text);
                text.push_str(": ");
                write(value.get(), text)?;
            }
            text.push('}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(item.get(), text)?;
            }
            text.push(']');
        }
        b'"' => match serde_json::from_str::<String>(raw) {
            Ok(string) => quote(&string, text),
            // Half of a surrogate pair: Python writes it as an escape, which it is already.
            Err(_) => text.push_str(raw),
        },
        _ => text.push_str(raw),
    }
    Some(())
}

/// As `json.dumps` with its default of ASCII only.
fn quote(string: &str, text: &mut String) {
    text.push('"');
    for unit in string.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some('"') => text.push_str("\\\""),
            Some('\\') => text.push_str("\\\\"),
            Some('\n') => text.push_str("\\n"),
            Some('\r') => text.push_str("\\r"),
            Some('\t') => text.push_str("\\t"),
            Some('\u{8}') => text.push_str("\\b"),
            Some('\u{c}') => text.push_str("\\f"),
            Some(c @ ' '..='~') => text.push(c),
            Some(_) | None => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::as_python_writes;

    fn written(json: &str) -> String {
        as_python_writes(json.as_bytes()).unwrap()
    }

    #[test]
    fn what_the_legacy_application_wrote_is_written_the_same() {
        for text in [
            r#"{"api_token": "t0k", "email": "\u00e4@example.test", "port": 587}"#,
            r#""whsec_\u00e9""#,
            r#"{"a": [], "b": {}, "c": [1, -0.5, 1e+30, true, null, {"d": 1.0}], "z": ""}"#,
            r#"{"big": 123456789012345678901234567890, "float": 1.0}"#,
            r#"{"half": "\ud800 pair", "smile": "\ud83d\ude00"}"#,
            "{}",
        ] {
            assert_eq!(written(text), text);
        }
    }

    #[test]
    fn keys_are_sorted_and_everything_beyond_ascii_is_escaped() {
        let ours = "{\"z\":\"😀\\n\\u007f\",\"B\":1.50,\"a\":[\"ä\",2],\"a\":[\"é\",3]}";
        let theirs = r#"{"B": 1.50, "a": ["\u00e9", 3], "z": "\ud83d\ude00\n\u007f"}"#;

        assert_eq!(written(ours), theirs);
        assert_eq!(as_python_writes(b"no json"), None);
        assert_eq!(as_python_writes(b"{} x"), None);
    }
}
