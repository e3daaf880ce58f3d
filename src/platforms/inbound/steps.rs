//! What a person does to have a platform send its deliveries, where no interface does it, or where
//! it is not to be used.

use serde_json::Value;

use crate::domain::{AuthType, Integration, Platform};

/// What is said where both sides are given a secret of ours, and where it is stored.
const MAKE: &str = include_str!("steps/make.txt");
const STORE: &str = include_str!("steps/store.txt");

/// Where the secret of deliveries is among the credentials.
const KNOWN: &str = "It is among the credentials already.";

/// The text of a platform in a mode.
const fn text(platform: Platform, auth_type: AuthType) -> &'static str {
    match (platform, auth_type) {
        (Platform::Asana, _) => include_str!("steps/asana.txt"),
        (Platform::Email, _) => include_str!("steps/email.txt"),
        (Platform::Freshdesk, _) => include_str!("steps/freshdesk.txt"),
        (Platform::Github, _) => include_str!("steps/github.txt"),
        (Platform::Hubspot, _) => include_str!("steps/hubspot.txt"),
        (Platform::Jira, AuthType::Oauth2) => include_str!("steps/jira_oauth2.txt"),
        (Platform::Jira, _) => include_str!("steps/jira.txt"),
        (Platform::Salesforce, _) => include_str!("steps/salesforce.txt"),
        (Platform::Servicenow, _) => include_str!("steps/servicenow.txt"),
        (Platform::Slack, AuthType::Custom) => include_str!("steps/slack_custom.txt"),
        (Platform::Slack, _) => include_str!("steps/slack.txt"),
        (Platform::Sms, _) => include_str!("steps/sms.txt"),
        (Platform::Teams, AuthType::Oauth2) => include_str!("steps/teams_oauth2.txt"),
        (Platform::Teams, _) => include_str!("steps/teams.txt"),
        (Platform::Trello, _) => include_str!("steps/trello.txt"),
        (Platform::Webhook, _) => include_str!("steps/webhook.txt"),
        (Platform::Zendesk, _) => include_str!("steps/zendesk.txt"),
        (Platform::Zoom, _) => include_str!("steps/zoom.txt"),
    }
}

/// The steps by which an integration's platform is set up by hand, with the address `url` that its
/// deliveries are to go to. It needs no credentials, and asks nobody.
#[must_use]
pub fn steps(integration: &Integration, url: &str) -> String {
    let Some(platform) = integration.platform else {
        return "It is of no platform that this version knows: nothing can be registered.".into();
    };
    let auth_type = integration.auth_type;
    let id = integration.id.to_string();
    let setting = |name: &str| {
        let value = integration.settings.get(name).and_then(Value::as_str);
        value.unwrap_or("…").to_owned()
    };
    let store = indented(STORE);
    let of_credentials = |has_it: bool| if has_it { KNOWN } else { store.as_str() };
    // What an integration says of itself goes in last: nothing in it is a place to be filled.
    text(platform, auth_type)
        .trim_end()
        .replace("{make}", &indented(MAKE))
        .replace(
            "{hubspot_secret}",
            of_credentials(auth_type == AuthType::Oauth2),
        )
        .replace("{sms_secret}", &of_sms(&store))
        .replace("{store}", &store)
        .replace("{id}", &id)
        .replace("{url}", url)
        .replace("{project_key}", &setting("project_key"))
}

fn of_sms(store: &str) -> String {
    format!(
        "With auth_token among the credentials it is there already.\n   With an API key: {store}"
    )
}

/// A text within a numbered step.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n   ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platforms::{blank, descriptor};

    const URL: &str = "https://hooks.example.com/webhooks/1";

    #[test]
    fn every_platform_says_in_each_mode_what_is_to_be_done_and_where() {
        for platform in Platform::ALL {
            for mode in descriptor(*platform).modes {
                let settings = json!({ "project_key": "SUP" });
                let settings = settings.as_object().cloned().unwrap();
                let row = blank(*platform, mode.auth_type, &settings, None);
                let said = steps(&row, URL);
                let named = format!("{platform} {}: {said}", mode.name);
                let (one_way, mail) = (
                    *platform == Platform::Slack && mode.auth_type == AuthType::Custom,
                    *platform == Platform::Email,
                );
                assert_eq!(said.contains(URL), !one_way && !mail, "{named}");
                assert_eq!(said.contains("not taken by this version"), mail, "{named}");
                for left in ["{make}", "{store}", "{id}", "{url}", "_secret}", "_key}"] {
                    assert!(!said.contains(left), "{named}");
                }
                for line in said.lines() {
                    // An address of one's own may be long.
                    let is_whole = line.contains(URL) || line.contains("ticketwire ");
                    assert!(line.chars().count() <= 100 || is_whole, "{named}: {line}");
                }
            }
        }
    }

    #[test]
    fn the_secret_is_stored_where_the_integration_lacks_it() {
        let said = |platform, auth_type| {
            let row = blank(platform, auth_type, &serde_json::Map::new(), None);
            steps(&row, URL)
        };
        for (platform, auth_type, stores) in [
            (Platform::Hubspot, AuthType::Oauth2, false),
            (Platform::Hubspot, AuthType::Bearer, true),
            (Platform::Jira, AuthType::Oauth2, false),
            (Platform::Jira, AuthType::ApiKey, true),
            (Platform::Slack, AuthType::Bearer, true),
            (Platform::Asana, AuthType::Bearer, false),
            (Platform::Webhook, AuthType::Custom, false),
        ] {
            let text = said(platform, auth_type);
            assert_eq!(text.contains("--data -"), stores, "{platform}: {text}");
        }
    }
}
