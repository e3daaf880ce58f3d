use serde_json::json;

use super::*;
use crate::domain::{AuthType, Platform, TicketId};
use crate::platforms::Planned;
use crate::platforms::descriptor::blank;
use crate::secrets::Credentials;
use uuid::Uuid;

/// A connection with these settings and this `custom_fields_mapping`.
pub(super) fn connected(version: Version, settings: &Value, mapping: &Value) -> Jira {
    let object = |value: &Value| value.as_object().cloned().unwrap();
    let mut settings = object(settings);
    settings.insert("project_key".into(), "SUP".into());
    let (auth_type, credentials) = match version {
        Version::V3 => (
            AuthType::ApiKey,
            json!({ "email": "a@b.test", "api_token": "t" }),
        ),
        Version::V2 => (AuthType::Bearer, json!({ "token": "t" })),
    };
    let base = Some("https://jira.test");
    let mut integration = blank(Platform::Jira, auth_type, &settings, base);
    integration.custom_fields_mapping = object(mapping);
    Jira::connect(&integration, &Credentials::new(object(&credentials))).unwrap()
}

/// A ticket with nothing in it but a title.
pub(super) fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::from_u128(1)),
        title: "Printer".into(),
        description: String::new(),
        status: TicketStatus::New,
        priority: Priority::High,
        urgency: Priority::Medium,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: Map::new(),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
    }
}

/// An answer without headers.
pub(super) fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: reqwest::header::HeaderMap::new(),
        body: body.to_string().into(),
        truncated: false,
    }
}

/// What a plan sends.
pub(super) fn sent(plan: &Plan) -> Value {
    match &plan.request {
        Planned::Http(request) => request.masked()["body"].clone(),
        Planned::Mail(_) => panic!("Jira gets no mail"),
    }
}

#[test]
fn a_setting_that_is_no_mapping_is_refused_by_its_name() {
    for (name, value) in [
        ("status_transitions", json!({ "opened": "Start" })),
        ("status_map", json!({ "open": ["To Do"] })),
        ("priority_map", json!("High")),
        ("category_map", json!({ "bug": "" })),
        ("users", json!({ "ann": "5b10" })),
        ("transition_fields", json!(["resolution"])),
    ] {
        let settings = Map::from_iter([
            ("project_key".to_owned(), "SUP".into()),
            (name.to_owned(), value),
        ]);
        let base = Some("https://jira.test");
        let integration = blank(Platform::Jira, AuthType::Bearer, &settings, base);
        let token = Map::from_iter([("token".to_owned(), "t".into())]);

        let error = Jira::connect(&integration, &Credentials::new(token))
            .err()
            .unwrap();

        let expected = format!("settings.{name}");
        assert!(error.public.starts_with(&expected), "{name}: {error}");
    }
}
