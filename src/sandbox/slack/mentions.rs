//! Whom a message calls, as Slack finds them (docs.slack.dev, "Formatting message text" and the
//! reference of the text object): sequences in angle brackets call wherever marks are read. Names
//! without brackets (`@here`, `#general`) are looked for as well, in each text object that is not
//! `verbatim` and in a `text` that is not sent with `parse: none`.

use serde_json::Value;

/// What calls by its name alone.
const NAMES: [&str; 4] = ["here", "channel", "everyone", "group"];

/// Whom a message calls: of its text, its blocks and its attachments.
pub(super) fn of(message: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let parses = message["parse"] != "none" || message["link_names"] == true;
    if let Some(text) = message["text"].as_str() {
        look(text, parses, &mut found);
    }
    in_objects(&message["blocks"], &mut found);
    for attachment in message["attachments"].as_array().into_iter().flatten() {
        for name in ["text", "pretext", "fallback", "title"] {
            look(
                attachment[name].as_str().unwrap_or_default(),
                true,
                &mut found,
            );
        }
        for field in attachment["fields"].as_array().into_iter().flatten() {
            look(
                field["value"].as_str().unwrap_or_default(),
                true,
                &mut found,
            );
        }
        in_objects(&attachment["blocks"], &mut found);
    }
    found
}

/// The text objects of blocks, wherever they stand. Those of `plain_text` are shown as they are.
fn in_objects(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| in_objects(item, found)),
        Value::Object(members) => {
            let text = value["text"].as_str();
            match (value["type"].as_str(), text) {
                (Some("mrkdwn"), Some(text)) => look(text, value["verbatim"] != true, found),
                (Some("markdown"), Some(text)) => look(text, true, found),
                _ => members
                    .values()
                    .for_each(|member| in_objects(member, found)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn look(text: &str, names: bool, found: &mut Vec<String>) {
    for part in text.split('<').skip(1) {
        let inside = part.split('>').next().unwrap_or_default();
        if part.contains('>') && inside.starts_with(['!', '@', '#']) {
            found.push(format!("<{inside}>"));
        }
    }
    if !names {
        return;
    }
    let mut before = None;
    for (at, c) in text.char_indices() {
        let begins = before
            .is_none_or(|before: char| !before.is_alphanumeric() && before != '&' && before != '<');
        before = Some(c);
        let name: String = text[at + c.len_utf8()..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect();
        let calls = match c {
            '@' => NAMES.contains(&name.to_lowercase().as_str()),
            // A link to a channel; a number alone is none.
            '#' => name.chars().any(char::is_alphabetic),
            _ => false,
        };
        if begins && calls {
            found.push(format!("{c}{name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_call_unless_the_text_is_verbatim_and_brackets_always() {
        let block = |text: &str, verbatim: Option<bool>| {
            let mut object = json!({ "type": "mrkdwn", "text": text });
            if let Some(verbatim) = verbatim {
                object["verbatim"] = verbatim.into();
            }
            of(
                &json!({ "parse": "none", "text": "", "blocks": [{ "type": "section",
                "text": object }] }),
            )
            .len()
        };
        for text in ["hi @here", "@channel", "(@Everyone)", "see #general"] {
            assert_eq!(
                (
                    block(text, None),
                    block(text, Some(false)),
                    block(text, Some(true))
                ),
                (1, 1, 0),
                "{text}"
            );
        }
        for text in ["<!channel>", "<@U123>", "<!subteam^S1|x>", "<#C1>"] {
            assert_eq!(
                (block(text, None), block(text, Some(true))),
                (1, 1),
                "{text}"
            );
        }
        for text in [
            "&lt;!channel&gt;",
            "bob@here.test",
            "<https://x.test|x>",
            "#12",
            "a @ b",
            "&#64;",
        ] {
            assert_eq!(block(text, None), 0, "{text}");
        }
        assert_eq!(of(&json!({ "text": "@here" })), ["@here"]);
        assert!(of(&json!({ "text": "@here", "parse": "none" })).is_empty());
        assert_eq!(
            of(&json!({ "text": "@here", "parse": "none", "link_names": true })).len(),
            1
        );
        assert_eq!(
            of(&json!({ "attachments": [{ "text": "@here", "fields": [{ "value": "#x" }] }] }))
                .len(),
            2
        );
        let header = json!({ "type": "header", "text": { "type": "plain_text", "text": "@here" } });
        assert!(of(&json!({ "blocks": [header] })).is_empty());
    }
}
