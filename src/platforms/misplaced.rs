//! Secrets in places that are not encrypted: among the settings, or in an address. They are told by
//! the name they stand under, as a value by itself tells nothing.

use serde_json::{Map, Value};
use url::Url;

use super::descriptor;
use crate::domain::{MASK, Platform, looks_secret, squeezed};

/// What the name of a secret has in it, in lower case and without separators.
const SECRET_WORDS: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "bearer",
];

/// Further names of secrets in the query of an address: `sig` of shared access signatures and Logic
/// Apps, `code` of Azure Functions, `hapikey` and `key` of older APIs.
const SECRET_PARAMETERS: [&str; 9] = [
    "key",
    "hapikey",
    "sig",
    "signature",
    "code",
    "auth",
    "pass",
    "pwd",
    "jwt",
];

/// Whether a member of this name holds a secret, by its name.
pub(super) fn is_secret_name(name: &str) -> bool {
    let squeezed = squeezed(name);
    SECRET_WORDS.iter().any(|word| squeezed.contains(word)) || squeezed == "pwd"
}

fn is_secret_parameter(name: &str) -> bool {
    is_secret_name(name) || SECRET_PARAMETERS.contains(&squeezed(name).as_str())
}

/// A text that is an address, as far as it can carry a secret.
fn address(text: &str) -> Option<Url> {
    Url::parse(text.trim()).ok().filter(Url::has_host)
}

/// What is wrong with an address that is not encrypted and carries a secret; without the secret.
pub(super) fn address_fault(text: &str) -> Option<String> {
    let url = address(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        let fault =
            "must not carry a user or password: they belong in credentials, which are encrypted";
        return Some(fault.to_owned());
    }
    let mut names = url.query_pairs().map(|(name, _)| name);
    let name = names.find(|name| is_secret_parameter(name))?;
    Some(format!(
        "must not carry a secret in its query ({}=…): it belongs in credentials, which are \
         encrypted",
        crate::domain::shown(&name)
    ))
}

/// An address without the secrets it carries; `None` where it carries none. What stands for them
/// leaves the fault that [`address_fault`] finds.
fn hidden(text: &str) -> Option<String> {
    address_fault(text)?;
    let mut url = address(text)?;
    let mask = |part: &str| if part.is_empty() { "" } else { MASK };
    // An address with a host takes both.
    let user = mask(url.username());
    let _taken = url.set_username(user);
    if url.password().is_some() {
        let _taken = url.set_password(Some(MASK));
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if !pairs.is_empty() {
        let kept = pairs.iter().map(|(name, value)| {
            let is_secret = is_secret_parameter(name);
            (name, if is_secret { MASK } else { value.as_str() })
        });
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    Some(url.to_string())
}

/// Hides what is secret and stands where the data of `integration.create` or `integration.update`
/// is not encrypted, so that it is not kept: the command is refused for it all the same, as that
/// goes by names. What no platform knows as a setting is hidden if its name is a secret's, or its
/// value looks like one. Says whether there was anything to hide.
pub fn hide_misplaced(data: &mut Map<String, Value>) -> bool {
    let mut found = false;
    if let Some(Value::Object(settings)) = data.get_mut("settings") {
        for (name, value) in settings.iter_mut().filter(|(_, value)| !value.is_null()) {
            let is_secret = is_secret_name(name)
                || is_credential(name)
                || value.as_str().is_some_and(looks_secret);
            if is_secret && !is_setting(name) {
                *value = MASK.into();
                found = true;
            } else {
                found |= hide(value);
            }
        }
    }
    if let Some(base_url) = data.get_mut("base_url") {
        found |= hide(base_url);
    }
    found
}

fn hide(value: &mut Value) -> bool {
    let Some(text) = value.as_str().and_then(hidden) else {
        return false;
    };
    *value = text.into();
    true
}

/// Whether any platform has a secret of this name.
fn is_credential(name: &str) -> bool {
    let mut all = Platform::ALL.iter().map(|p| descriptor(*p));
    all.any(|facts| {
        facts
            .any_credential(name)
            .is_some_and(|member| !member.open)
    })
}

/// Whether any platform has a setting of this name.
#[must_use]
pub fn is_setting(name: &str) -> bool {
    let mut all = Platform::ALL.iter().map(|p| descriptor(*p));
    all.any(|facts| facts.takes_setting(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_that_carries_a_secret_is_told_by_where_it_stands() {
        for (text, part) in [
            ("https://bot:hunter22@x.example/hook", "user or password"),
            ("https://bot@x.example", "user or password"),
            ("https://x.example/?a=1&token=hunter22", "token=…"),
            ("https://x.example/?access_token=hunter22", "access_token=…"),
            ("https://x.example/?api-key=hunter22", "api-key=…"),
            ("https://x.example/?Sig=hunter22", "Sig=…"),
            ("https://x.example/?code=hunter22", "code=…"),
            ("https://x.example/?key=hunter22", "key=…"),
        ] {
            let fault = address_fault(text).unwrap();

            assert!(fault.contains(part), "{text}: {fault}");
            assert!(fault.contains("belong"), "{text}: {fault}");
            assert!(!fault.contains("hunter22"), "{text}: {fault}");
            let hidden = hidden(text).unwrap();
            assert!(!hidden.contains("hunter22"), "{hidden}");
            assert_eq!(address_fault(&hidden), Some(fault), "{hidden}");
        }
        for text in [
            "https://x.example/hook?version=2",
            "https://x.example/token",
            "key=value",
            "SUP",
            "",
        ] {
            assert_eq!(address_fault(text), None, "{text}");
            assert_eq!(hidden(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_encrypted_is_hidden_and_the_rest_stays() {
        let mut data = Map::from_iter([
            ("name".to_owned(), json!("N")),
            (
                "settings".to_owned(),
                json!({ "project_key": "SUP", "api_token": "hunter22", "pass_word": ["hunter22"],
                    "old": null,
                        "webhook_url": "hunter22", "colour": "red", "pasword": "hunter22-1a2b3c4d",
                        "token_url": "https://x.example/?token=hunter22",
                        "api_url": "https://x.example" }),
            ),
            ("base_url".to_owned(), json!("https://a:hunter22@x.example")),
        ]);

        assert!(hide_misplaced(&mut data));

        let text = Value::Object(data.clone()).to_string();
        assert!(!text.contains("hunter22"), "{text}");
        assert_eq!(data["settings"]["project_key"], "SUP");
        assert_eq!(data["settings"]["api_url"], "https://x.example");
        assert_eq!(data["settings"]["api_token"], MASK);
        assert_eq!(data["settings"]["colour"], "red");
        assert_eq!(data["settings"]["old"], Value::Null);
        let mut clean = Map::from_iter([("settings".to_owned(), json!({ "project_key": "SUP" }))]);
        assert!(!hide_misplaced(&mut clean));
    }

    #[test]
    fn names_of_secrets_are_known_however_they_are_written() {
        for name in [
            "api_token",
            "apiToken",
            "API-KEY",
            "client_secret",
            "Password",
            "pwd",
            "privateKey",
            "x-authorization",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "project_key",
            "channel",
            "url",
            "default_issue_type",
            "pwdless",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
