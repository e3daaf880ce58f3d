//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::Message;
use super::*;
use crate::domain::{Priority, TicketCategory, TicketId, TicketPatch, TicketStatus, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Handshake, Hit, Rejected, verify};
use crate::platforms::{Change, ChangeKind, DedupKey, ErrorClass, File, Needs};

const TICKET: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const MARKER: &str = "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const COMMAND: &str = "cmd-0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e";
const TEAM: &str = "00000000-0000-0000-0000-000000000001";
const CHANNEL: &str = "19:support@thread.tacv2";
const FLOW: &str = "https://prod-1.westeurope.logic.azure.com:443/workflows/ab12/triggers/manual/\
    paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3cr3t";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(
    auth_type: AuthType,
    credentials: &Value,
    settings: &Value,
    base_url: Option<&str>,
) -> Result<Teams, AdapterError> {
    let row = blank(Platform::Teams, auth_type, &object(settings), base_url);
    Teams::connect(&row, &Credentials::new(object(credentials)))
}

fn client() -> Value {
    json!({ "tenant_id": "contoso.example", "client_id": "c", "client_secret": "s",
        "refresh_token": "r" })
}

fn graph(more: &Value, base_url: Option<&str>) -> Teams {
    let mut settings = json!({ "team_id": TEAM, "channel_id": CHANNEL });
    settings.as_object_mut().unwrap().extend(object(more));
    connected(AuthType::Oauth2, &client(), &settings, base_url).unwrap()
}

fn by_flow(more: &Value) -> Teams {
    let credentials = json!({ "workflow_url": FLOW });
    connected(AuthType::Custom, &credentials, more, None).unwrap()
}

fn fault(auth_type: AuthType, credentials: &Value, settings: &Value) -> BTreeMap<String, String> {
    let connected = connected(auth_type, credentials, settings, None);
    match connected.map(drop).unwrap_err().class {
        ErrorClass::Validation { fields } => fields,
        other => panic!("{other:?}"),
    }
}

fn ticket(title: &str, description: &str) -> TicketView {
    TicketView {
        id: TicketId::new(TICKET.parse().unwrap()),
        title: title.into(),
        description: description.into(),
        status: TicketStatus::Open,
        priority: Priority::Critical,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: Some(ada()),
        created_by: None,
        tags: vec!["printer".into(), "3rd *floor*".into()],
        custom_fields: object(&json!({ "Floor": 3 })),
        external_id: Some(format!("{CHANNEL}/1616990032035")),
        external_url: None,
        external_ref: Map::new(),
    }
}

fn ada() -> UserRef {
    UserRef {
        id: Uuid::nil(),
        full_name: Some("Ada".into()),
        email: None,
    }
}

fn key(marker: &str) -> DedupKey<'_> {
    DedupKey {
        marker,
        received_at: Utc::now(),
    }
}

/// The request of an operation as a dry run shows it, and what is left out.
fn planned(teams: &Teams, operation: &Operation<'_>) -> (Value, Map<String, Value>) {
    let plan = teams.plan_of(operation, &Known::rehearsal()).unwrap();
    (plan.request.masked(), plan.left_out)
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
        truncated: false,
    }
}

#[test]
fn settings_and_credentials_are_read_and_faults_name_their_member() {
    let good = json!({ "team_id": TEAM, "channel_id": CHANNEL });
    let with = |name: &str, value: &str| {
        let mut settings = good.clone();
        settings[name] = value.into();
        settings
    };
    for (settings, field) in [
        (json!({ "channel_id": CHANNEL }), "settings.team_id"),
        (json!({ "team_id": TEAM }), "settings.channel_id"),
        (with("team_id", "Support"), "settings.team_id"),
        (with("channel_id", "General"), "settings.channel_id"),
        (
            with("channel_id", "19%3Asupport%40thread.tacv2"),
            "settings.channel_id",
        ),
        (
            with("ticket_url", "desk/{ticket_id}"),
            "settings.ticket_url",
        ),
    ] {
        let fields = fault(AuthType::Oauth2, &client(), &settings);
        assert!(fields.contains_key(field), "{settings}: {fields:?}");
    }
    for name in ["tenant_id", "client_id", "client_secret", "refresh_token"] {
        let mut credentials = client();
        credentials.as_object_mut().unwrap().remove(name);
        let fields = fault(AuthType::Oauth2, &credentials, &good);
        assert!(
            fields.contains_key(&format!("credentials.{name}")),
            "{fields:?}"
        );
    }
    let mut elsewhere = client();
    elsewhere["tenant_id"] = "common/../x".into();
    let fields = fault(AuthType::Oauth2, &elsewhere, &good);
    assert!(fields.contains_key("credentials.tenant_id"), "{fields:?}");
    let fields = fault(AuthType::Bearer, &json!({ "access_token": "t" }), &good);
    assert!(fields.contains_key("auth_type"), "{fields:?}");
}

#[test]
fn the_address_of_a_connector_is_refused_with_the_reason_and_a_flow_s_needs_its_signature() {
    let refused = |url: &str| {
        let credentials = json!({ "workflow_url": url });
        let fields = fault(AuthType::Custom, &credentials, &json!({}));
        fields["credentials.workflow_url"].clone()
    };
    for url in [
        "https://contoso.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4",
        "https://outlook.office.com/webhook/1@2/IncomingWebhook/3/4",
        "https://outlook.office365.com/webhook/1@2/IncomingWebhook/3/4?sig=x",
    ] {
        let said = refused(url);
        assert!(
            said.contains("connector, which Microsoft has retired"),
            "{said}"
        );
        assert!(said.contains("make a workflow"), "{said}");
    }
    let bare = refused("https://prod-1.westeurope.logic.azure.com/workflows/ab/triggers/x");
    assert!(bare.contains("has no sig="), "{bare}");
    assert!(refused("no url").contains("is not a URL"));
    let env = "https://e1.02.environment.api.powerplatform.com/powerautomate/automations/direct/\
        workflows/ab/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers&sv=1.0&sig=x";
    let credentials = json!({ "workflow_url": format!(" {env}\n") });
    let teams = connected(AuthType::Custom, &credentials, &json!({}), None).unwrap();
    let Way::Flow(url) = &teams.way else {
        panic!("it is a flow");
    };
    assert_eq!(url.as_str(), env, "it is kept as it was given");
}

#[test]
fn tokens_come_from_entra_or_from_where_the_interface_is() {
    let at = |base_url: Option<&str>| {
        let teams = graph(&json!({}), base_url);
        let request = teams.token_flow().unwrap().request(None).unwrap();
        let create = ticket("t", "d");
        let operation = Operation::Create {
            ticket: &create,
            key: key(MARKER),
        };
        let (shown, _) = planned(&teams, &operation);
        (
            request.url.to_string(),
            shown["url"].as_str().unwrap().to_owned(),
        )
    };
    let entra = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token";
    let posts =
        format!("https://graph.microsoft.com/v1.0/teams/{TEAM}/channels/{CHANNEL}/messages");
    for own in [
        None,
        Some("https://graph.microsoft.com/v1.0/"),
        Some("https://graph.microsoft.com"),
    ] {
        assert_eq!(at(own), (entra.to_owned(), posts.clone()), "{own:?}");
    }
    let (token, post) = at(Some("https://proxy.example/graph"));
    assert_eq!(
        token,
        "https://proxy.example/graph/contoso.example/oauth2/v2.0/token"
    );
    assert!(
        post.starts_with("https://proxy.example/graph/v1.0/teams/"),
        "{post}"
    );
}

#[test]
fn what_entra_refuses_says_what_to_do() {
    let teams = graph(&json!({}), None);
    let flow = teams.token_flow().unwrap();
    let refused = |status: u16, code: &str, text: &str| {
        let body = json!({ "error": code, "error_description": text, "error_codes": [1] });
        let error = flow.read(&answer(status, &body)).unwrap_err();
        (error.class, error.public)
    };
    let authentication = ErrorClass::Authentication;
    for (status, code, text, class, advice) in [
        (
            401,
            "invalid_client",
            "AADSTS7000215: Invalid",
            &authentication,
            "its value, not its id",
        ),
        (
            401,
            "invalid_client",
            "AADSTS7000222: Expired",
            &authentication,
            "has expired",
        ),
        (
            400,
            "unauthorized_client",
            "AADSTS700016: No app",
            &authentication,
            "no such app",
        ),
        (
            400,
            "invalid_grant",
            "AADSTS700082: Expired",
            &authentication,
            "anew",
        ),
        (
            400,
            "invalid_grant",
            "AADSTS65001: Consent",
            &ErrorClass::Permission,
            "consent is missing",
        ),
        (
            400,
            "invalid_request",
            "AADSTS90002: Tenant",
            &authentication,
            "anew",
        ),
    ] {
        let (was, said) = refused(status, code, text);
        assert_eq!(&was, class, "{text}");
        assert!(said.contains(advice), "{text}: {said}");
    }
    let busy = refused(503, "temporarily_unavailable", "Later").0;
    assert!(matches!(busy, ErrorClass::RateLimited { .. }), "{busy:?}");
    let body = json!({ "access_token": "a", "refresh_token": "n", "expires_in": 3599 });
    let granted = flow.read(&answer(200, &body)).unwrap();
    assert!(granted.refresh_token.is_some());
}

#[test]
fn a_card_shows_the_ticket_as_text_and_hides_its_marker() {
    let more = json!({ "ticket_url": "https://desk.example/t/{ticket_id}" });
    let teams = graph(&more, None);
    let ticket = ticket(
        "- Printer *on* fire\n[x](y)",
        "Smoke since **9:00** [ref:tkt-1]",
    );
    let operation = Operation::Create {
        ticket: &ticket,
        key: key(MARKER),
    };
    let (shown, left_out) = planned(&teams, &operation);

    assert!(left_out.is_empty(), "{left_out:?}");
    let body = &shown["body"];
    assert_eq!(body["subject"], "- Printer *on* fire [x](y)");
    let attachment = &body["attachments"][0];
    let id = attachment["id"].as_str().unwrap();
    let pointer = format!("<attachment id=\"{id}\"></attachment>");
    assert_eq!(
        body["body"],
        json!({ "contentType": "html", "content": pointer })
    );
    let card: Value = serde_json::from_str(attachment["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&card["type"], &card["version"]),
        (&json!("AdaptiveCard"), &json!("1.4"))
    );
    let elements = card["body"].as_array().unwrap();
    assert_eq!(elements[0]["text"], "\\- Printer \\*on\\* fire \\[x\\](y)");
    assert_eq!(elements[0]["color"], "Attention");
    let text = elements[1]["text"].as_str().unwrap();
    assert!(text.starts_with("Smoke since **9:00** "), "{text}");
    let facts = elements[2]["facts"].to_string();
    for fact in [
        "open",
        "critical",
        "bug",
        "Ada",
        "printer, 3rd \\\\*floor\\\\*",
        "\"Floor\",\"value\":\"3\"",
    ] {
        assert!(facts.contains(fact), "{fact} in {facts}");
    }
    let last = elements.last().unwrap();
    let hidden =
        json!({ "type": "TextBlock", "isVisible": false, "text": format!("[ref:{MARKER}]") });
    assert_eq!(last, &hidden);
    assert_eq!(
        card["actions"][0]["url"],
        format!("https://desk.example/t/{TICKET}")
    );

    // What comes back is found by that text and by nothing that a person wrote.
    let read = |card: &str| -> Option<String> {
        let attachment = json!({ "contentType": super::words::CARD, "content": card });
        let message = json!({ "id": "1", "attachments": [attachment] });
        serde_json::from_value::<Message>(message).unwrap().marker()
    };
    assert_eq!(read(&card.to_string()).as_deref(), Some(MARKER));
    let mut copied = card.clone();
    copied["body"].as_array_mut().unwrap().last_mut().unwrap()["isVisible"] = true.into();
    assert_eq!(read(&copied.to_string()), None);
}

#[test]
fn a_message_is_never_longer_than_teams_takes_and_says_what_was_cut() {
    let hostile = [
        "\\\"*_[]`#\n\n".repeat(2_000),
        "\u{1f600}\u{e4}".repeat(5_000),
        "{{DATE(x)}} | <b>&amp;</b>\n".repeat(1_000),
    ];
    for text in &hostile {
        let mut ticket = ticket(&"\\\"\u{1f600}".repeat(166), text);
        ticket.tags = vec!["\\\"".repeat(60); 20];
        let fields = (0..60).map(|n| (format!("f{n}"), Value::from("\\\"".repeat(200))));
        ticket.custom_fields = fields.collect();
        let create = Operation::Create {
            ticket: &ticket,
            key: key(MARKER),
        };
        for (teams, max) in [
            (graph(&json!({}), None), 24_000),
            (by_flow(&json!({})), 20_000),
        ] {
            let (shown, left_out) = planned(&teams, &create);
            let bytes = shown["body"].to_string().len();
            assert!(bytes <= max, "{bytes} of {max}");
            for field in ["description", "custom_fields"] {
                let said = left_out[field].as_str().unwrap();
                assert!(said.contains("cut"), "{said}");
            }
            assert!(shown["body"].to_string().contains(MARKER));
        }
        let comment = Operation::Comment {
            ticket: &ticket,
            body: text,
            public: true,
            key: key(COMMAND),
        };
        let (shown, _) = planned(&graph(&json!({}), None), &comment);
        let html = shown["body"]["body"]["content"].as_str().unwrap();
        assert!(html.ends_with(&format!("<p>[ref:{COMMAND}]</p>")), "{html}");
        assert!(shown["body"].to_string().len() <= 24_000);
    }
}

#[test]
fn by_graph_a_change_rewrites_the_message_and_what_is_said_is_a_reply() {
    let teams = graph(&json!({ "internal_comments": true }), None);
    let ticket = ticket("Printer", "Smoke");
    let path = format!(
        "https://graph.microsoft.com/v1.0/teams/{TEAM}/channels/{CHANNEL}/messages/1616990032035"
    );
    let (patch, file) = (
        TicketPatch::default(),
        File::of_bytes("<i>.txt", "text/plain", Bytes::from_static(b"hi")),
    );
    let (ticket, patch, file, key) = (&ticket, &patch, &file, key(COMMAND));
    let said = |operation: &Operation<'_>| {
        let (shown, _) = planned(&teams, operation);
        let html = shown["body"]["body"]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        (
            shown["method"].as_str().unwrap().to_owned(),
            shown["url"].as_str().unwrap().to_owned(),
            html,
        )
    };

    let (method, url, _) = said(&Operation::Update { ticket, patch, key });
    assert_eq!((method.as_str(), &url), ("PATCH", &path));
    let (shown, _) = planned(
        &teams,
        &Operation::Assign {
            ticket,
            assignee: None,
            key,
        },
    );
    assert!(
        shown["body"]
            .to_string()
            .contains(&format!("[ref:{MARKER}]")),
        "{shown}"
    );

    let replies = format!("{path}/replies");
    let status = Operation::Status {
        ticket,
        status: TicketStatus::Resolved,
        resolution_summary: Some("Put *out*"),
        key,
    };
    let (method, url, html) = said(&status);
    assert_eq!((method.as_str(), &url), ("POST", &replies));
    let expected = "<p>Status: <b>resolved</b></p>\n<p>Put <i>out</i></p>";
    assert_eq!(html, format!("{expected}<p>[ref:{COMMAND}]</p>"));
    let comment = |public, body| Operation::Comment {
        ticket,
        body,
        public,
        key,
    };
    let (_, _, html) = said(&comment(false, "Do not <at>tell</at>"));
    assert!(
        html.starts_with("<p>Internal comment:</p>\n<p>Do not &lt;at&gt;tell"),
        "{html}"
    );
    let (_, _, html) = said(&Operation::Attach { ticket, file, key });
    assert!(
        html.starts_with("<p>&lt;i&gt;.txt</p><attachment id="),
        "{html}"
    );
    assert!(
        html.contains(&format!("[ref:{}]", file.key(COMMAND))),
        "{html}"
    );
    let refused = graph(&json!({}), None).plan_of(&comment(false, "x"), &Known::default());
    assert_eq!(refused.unwrap_err().class, ErrorClass::Unsupported);
}

#[test]
fn a_flow_gets_a_card_for_whatever_happens_and_its_address_is_shown_to_nobody() {
    let teams = by_flow(&json!({}));
    let ticket = ticket("Printer", "Smoke");
    let patch = TicketPatch {
        title: Some("Printer".into()),
        priority: Some(Priority::Critical),
        ..TicketPatch::default()
    };
    let mut file = File::of_bytes("a.txt", "text/plain", Bytes::from_static(b"hi"));
    let bytes = file.clone();
    file.url = Some("https://files.example/a.txt".parse().unwrap());
    let (ticket, patch, file, key) = (&ticket, &patch, &file, key(COMMAND));
    let person = ada();
    for (operation, shows) in [
        (
            Operation::Update { ticket, patch, key },
            "Changed: title, priority",
        ),
        (
            Operation::Status {
                ticket,
                status: TicketStatus::Closed,
                resolution_summary: None,
                key,
            },
            "Status: closed",
        ),
        (
            Operation::Assign {
                ticket,
                assignee: Some(&person),
                key,
            },
            "Assigned to Ada",
        ),
        (
            Operation::Assign {
                ticket,
                assignee: None,
                key,
            },
            "Assigned to nobody",
        ),
        (
            Operation::Comment {
                ticket,
                body: "On *my* way",
                public: true,
                key,
            },
            "On _my_ way",
        ),
        (
            Operation::Attach { ticket, file, key },
            "https://files.example/a.txt",
        ),
    ] {
        let (shown, _) = planned(&teams, &operation);
        let card = shown["body"]["attachments"][0]["content"].to_string();
        assert!(card.contains(shows) && card.contains("Printer"), "{card}");
        assert!(card.contains(&format!("[ref:{COMMAND}]")), "{card}");
        assert!(!shown.to_string().contains("s3cr3t"), "{shown}");
        assert_eq!(
            shown["url"],
            "https://prod-1.westeurope.logic.azure.com/••••"
        );
    }
    let attach = Operation::Attach {
        ticket,
        file: &bytes,
        key,
    };
    let refused = teams.plan_of(&attach, &Known::default()).unwrap_err();
    assert_eq!(refused.class, ErrorClass::Unsupported);
    assert!(refused.public.contains("give the file a url"), "{refused}");

    // A flow says that it began, and no more.
    let create = Operation::Create { ticket, key };
    let empty = Response {
        body: Bytes::new(),
        ..answer(202, &json!({}))
    };
    let receipt = teams
        .receipt_of(&create, &Known::default(), &empty)
        .unwrap();
    assert_eq!(receipt.external_id.as_deref(), Some(COMMAND));
    assert!(
        receipt.details["posted"]
            .as_str()
            .unwrap()
            .contains("not told")
    );
    let off = json!({ "error": { "code": "WorkflowTriggerIsNotEnabled", "message": "x" } });
    let error = teams.receipt_of(&create, &Known::default(), &answer(400, &off));
    assert_eq!(error.unwrap_err().class, ErrorClass::Gone);
}

#[test]
fn what_graph_answers_is_a_receipt_or_no_answer() {
    let teams = graph(&json!({}), None);
    let ticket = ticket("t", "d");
    let (ticket, key, known) = (&ticket, key(MARKER), Known::default());
    let create = Operation::Create { ticket, key };
    let url = "https://teams.microsoft.com/l/message/x/1616990032035";
    let posted = json!({ "id": "1616990032035", "webUrl": url });

    let receipt = teams
        .receipt_of(&create, &known, &answer(201, &posted))
        .unwrap();
    assert_eq!(
        receipt.external_id,
        Some(format!("{CHANNEL}/1616990032035"))
    );
    assert_eq!(receipt.external_url.as_deref(), Some(url));
    assert_eq!(receipt.external_ref["message_id"], "1616990032035");
    let comment = Operation::Comment {
        ticket,
        body: "b",
        public: true,
        key,
    };
    let receipt = teams
        .receipt_of(&comment, &known, &answer(201, &posted))
        .unwrap();
    assert_eq!(
        receipt.external_comment_id.as_deref(),
        Some("1616990032035")
    );
    for strange in [json!({ "id": "../x" }), json!({ "id": "" }), json!({})] {
        let error = teams
            .receipt_of(&create, &known, &answer(201, &strange))
            .unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown, "{strange}");
    }
}

#[test]
fn a_file_is_known_by_the_guid_in_its_tag() {
    let item = |tag: &str| {
        let item = json!({ "id": "01ABC", "eTag": tag });
        serde_json::from_value::<super::words::DriveItem>(item)
            .unwrap()
            .guid()
    };
    let guid = "5fb5a1e3-9c1f-4f6d-8a3b-2f1f0c9d7e11";
    let tag = format!("\"{{{}}},3\"", guid.to_uppercase());
    assert_eq!(item(&tag).map(|id| id.to_string()).as_deref(), Some(guid));
    assert_eq!(item("\"aRD,1\""), None);
}

// What Teams tells by itself.

const TOKEN: &str = "vqF0En+Z0ucuRTM/01o2GuhMH3hKKk/N2bOmlM31zaA=";
const SAID: &str = r#"{"type":"message","id":"1485983408511","timestamp":"2026-02-01T21:10:07.437Z","from":{"id":"29:1XJ","name":"Jane Doe","aadObjectId":"7fae"},"conversation":{"id":"19:253b@thread.tacv2;messageid=1485983194839"},"text":"<at>Tickets</at> status 42\n"}"#;

fn hit<T>(url: &str, authorization: &str, body: &str, then: impl FnOnce(&Hit<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    if !authorization.is_empty() {
        let value = HeaderValue::from_str(authorization).unwrap();
        headers.insert(HeaderName::from_static("authorization"), value);
    }
    let at = moment("2026-02-01T21:11:00Z");
    then(&Hit::new(&Method::POST, url, &headers, body.as_bytes(), at))
}

fn moment(text: &str) -> DateTime<Utc> {
    super::words::moment(text).unwrap()
}

fn verified(secret: &str, authorization: &str, body: &str, now: &str) -> Result<(), Rejected> {
    let secrets = [SecretString::from(secret.to_owned())];
    let schemes = graph(&json!({}), None).hooks().schemes;
    hit("https://x.test/", authorization, body, |hit| {
        verify(schemes, hit, AuthType::Oauth2, &secrets, moment(now))
    })
}

fn told(body: &str) -> Vec<Change> {
    let teams = graph(&json!({}), None);
    hit("https://x.test/", "", body, |hit| teams.normalise(hit)).unwrap()
}

#[test]
fn an_outgoing_webhook_is_proved_by_its_signature_and_its_time() {
    let now = "2026-02-01T21:12:00Z";
    let proof = "HMAC OLPdT9pY2hJcUCF/Y4vYnzdRnAKGdho2EBe30cTwo7k=";
    assert_eq!(verified(TOKEN, proof, SAID, now), Ok(()));
    assert_eq!(
        verified(TOKEN, proof, SAID, "2026-02-01T21:16:00Z"),
        Err(Rejected::Stale)
    );
    let tampered = SAID.replace("42", "43");
    assert_eq!(
        verified(TOKEN, proof, &tampered, now),
        Err(Rejected::BadSignature)
    );
    let other = "dGVhbXMta2V5LTMyLWJ5dGVzLWxvbmctMDEyMzQ1Njc=";
    assert_eq!(
        verified(other, proof, SAID, now),
        Err(Rejected::BadSignature)
    );
    assert_eq!(verified(TOKEN, "", SAID, now), Err(Rejected::Unsigned));
    // Microsoft's form without a time is rightly signed, and of no time.
    let bare = r#"{"type":"message","id":"1485983408511","text":"<at>Tickets</at> status 42"}"#;
    let proof = "HMAC mgFJnZ2ovQjXkIbDD5MI24oRK3yXeeHNeGs1Ze21MV0=";
    assert_eq!(verified(TOKEN, proof, bare, now), Err(Rejected::Stale));
}

#[test]
fn each_notification_of_graph_needs_the_secret_state() {
    let now = "2026-02-01T21:12:00Z";
    let body = |states: &[Value]| {
        let value: Vec<Value> = states
            .iter()
            .map(|state| json!({ "clientState": state }))
            .collect();
        json!({ "value": value }).to_string()
    };
    let state = json!("graph-state");
    assert_eq!(
        verified(
            "graph-state",
            "",
            &body(&[state.clone(), state.clone()]),
            now
        ),
        Ok(())
    );
    for states in [
        vec![state.clone(), json!("other")],
        vec![json!("graph-state ")],
    ] {
        let verified = verified("graph-state", "", &body(&states), now);
        assert_eq!(verified, Err(Rejected::BadSignature), "{states:?}");
    }
    for states in [vec![state, Value::Null], vec![]] {
        let verified = verified("graph-state", "", &body(&states), now);
        assert_eq!(verified, Err(Rejected::Unsigned), "{states:?}");
    }
}

#[test]
fn a_handshake_gives_the_token_back_as_text() {
    let teams = graph(&json!({}), None);
    let url = "https://x.test/webhooks/1?validationToken=a%20b%3C";
    let Some(Handshake::Open(reply)) = hit(url, "", "", |hit| teams.shake(hit, &[])) else {
        panic!("it is a handshake");
    };
    assert_eq!((reply.status, &*reply.body), (200, "a b<"));
    assert!(reply.media_type.unwrap().starts_with("text/plain"));
    assert!(hit("https://x.test/", "", SAID, |hit| teams.shake(hit, &[])).is_none());
}

#[test]
fn a_mention_below_a_message_is_a_comment_on_it() {
    let mut changes = told(SAID);
    assert_eq!(changes.len(), 1);
    let change = changes.remove(0);
    assert_eq!(
        (&*change.id, &change.kind),
        ("1485983408511", &ChangeKind::Commented)
    );
    assert_eq!(
        change.item.external_id,
        "19:253b@thread.tacv2/1485983194839"
    );
    assert_eq!(change.item.address(), "1485983194839");
    let comment = change.comment.unwrap();
    assert_eq!(
        (&*comment.id, &*comment.body),
        ("1485983408511", "status 42")
    );
    assert_eq!(comment.author.unwrap().id.as_deref(), Some("7fae"));
    // A new message of the channel is below none.
    assert_eq!(told(&SAID.replace(";messageid=1485983194839", "")), []);
    assert_eq!(
        told(&SAID.replace("\"type\":\"message\"", "\"type\":\"typing\"")),
        []
    );
    let teams = graph(&json!({}), None);
    assert!(hit("https://x.test/", "", "[]", |hit| teams.normalise(hit)).is_err());
}

#[test]
fn a_notification_names_what_is_to_be_read() {
    let one = |kind: &str, below: &str| {
        let resource = format!("teams('t')/channels('{CHANNEL}')/messages('1616990032035'){below}");
        json!({ "id": "lsgT", "subscriptionId": "s1", "changeType": kind, "clientState": "x",
            "resource": resource, "resourceData": { "id": "1" } })
    };
    let reply = "/replies('1616990171266')";
    let comment = || Needs::Comment {
        id: "1616990171266".into(),
    };
    for (kind, below, expected, needs) in [
        ("created", reply, ChangeKind::Commented, comment()),
        ("updated", reply, ChangeKind::CommentChanged, comment()),
        ("deleted", reply, ChangeKind::CommentDeleted, Needs::Nothing),
        ("created", "", ChangeKind::Created, Needs::Item),
        ("updated", "", ChangeKind::Updated, Needs::Item),
        ("deleted", "", ChangeKind::Deleted, Needs::Nothing),
    ] {
        let body = json!({ "value": [one(kind, below)] }).to_string();
        let mut changes = told(&body);
        assert_eq!(changes.len(), 1, "{body}");
        let change = changes.remove(0);
        assert_eq!((&change.kind, &change.needs), (&expected, &needs), "{body}");
        assert_eq!(change.item.external_id, format!("{CHANNEL}/1616990032035"));
        // The same each time it is told.
        assert_eq!(told(&body)[0].id, change.id);
    }
    let lifecycle = json!({ "value": [{ "lifecycleEvent": "missed", "subscriptionId": "s1",
        "clientState": "x" }] });
    let elsewhere =
        json!({ "value": [{ "changeType": "created", "resource": "chats('1')/messages('2')" }] });
    for body in [lifecycle, elsewhere] {
        assert_eq!(told(&body.to_string()), [], "{body}");
    }
}
