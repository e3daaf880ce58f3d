//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, json};
use uuid::Uuid;

use super::*;
use crate::domain::{Priority, TicketCategory, TicketId, TicketPatch, TicketStatus, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Handshake, Hit, Rejected, verify};
use crate::platforms::text::segments;
use crate::platforms::{Change, ChangeKind, DedupKey, Effect, ErrorClass, File, ItemRef, Needs};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const SERVICE: &str = "MG00000000000000000000000000000001";
const FROM: &str = "+14155550100";
const TO: &str = "+14155550199";
const TICKET: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const COMMAND: &str = "cmd-0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(credentials: &Value, settings: &Value) -> Result<Sms, AdapterError> {
    let integration = blank(Platform::Sms, AuthType::Basic, &object(settings), None);
    Sms::connect(&integration, &Credentials::new(object(credentials)))
}

fn sms(more: &Value) -> Sms {
    let mut settings = json!({ "from_number": FROM, "to": TO });
    settings.as_object_mut().unwrap().extend(object(more));
    let credentials = json!({ "account_sid": ACCOUNT, "auth_token": "12345" });
    connected(&credentials, &settings).unwrap()
}

fn fault(credentials: &Value, settings: &Value) -> BTreeMap<String, String> {
    match connected(credentials, settings)
        .map(drop)
        .unwrap_err()
        .class
    {
        ErrorClass::Validation { fields } => fields,
        other => panic!("{other:?}"),
    }
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(TICKET.parse().unwrap()),
        title: "Printer on “fire”\u{202e}".into(),
        description: "Since *nine*".into(),
        status: TicketStatus::Open,
        priority: Priority::High,
        urgency: Priority::Low,
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

fn key(marker: &str) -> DedupKey<'_> {
    DedupKey {
        marker,
        received_at: Utc::now(),
    }
}

fn ada() -> UserRef {
    UserRef {
        id: Uuid::nil(),
        full_name: Some("Ada".into()),
        email: None,
    }
}

/// The form of an operation's request, and what is left out.
fn planned(sms: &Sms, operation: &Operation<'_>) -> (Value, Map<String, Value>) {
    let plan = sms.plan_of(operation).unwrap();
    (plan.request.masked()["body"].clone(), plan.left_out)
}

fn body(sms: &Sms, operation: &Operation<'_>) -> String {
    let (form, _) = planned(sms, operation);
    form["Body"].as_str().unwrap().to_owned()
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
    let good = json!({ "account_sid": ACCOUNT, "auth_token": "t" });
    let both = json!({ "from_number": FROM, "messaging_service_sid": SERVICE, "to": TO });
    for (credentials, settings, field) in [
        (&good, json!({ "to": TO }), "settings.from_number"),
        (&good, both, "settings.from_number"),
        (
            &good,
            json!({ "from_number": "0155", "to": TO }),
            "settings.from_number",
        ),
        (
            &good,
            json!({ "messaging_service_sid": "MG1", "to": TO }),
            "settings.messaging_service_sid",
        ),
        (&good, json!({ "from_number": FROM }), "settings.to"),
        (
            &good,
            json!({ "from_number": FROM, "to": "+0123456789" }),
            "settings.to",
        ),
        (
            &good,
            json!({ "from_number": FROM, "to": TO, "max_segments": 11 }),
            "settings.max_segments",
        ),
        (
            &json!({ "auth_token": "t" }),
            json!({ "from_number": FROM, "to": TO }),
            "credentials.account_sid",
        ),
        (
            &json!({ "account_sid": ACCOUNT }),
            json!({ "from_number": FROM, "to": TO }),
            "credentials.auth_token",
        ),
        (
            &json!({ "account_sid": ACCOUNT, "api_key_sid": "SK1", "api_key_secret": "s" }),
            json!({ "from_number": FROM, "to": TO }),
            "credentials.api_key_sid",
        ),
    ] {
        let faults = fault(credentials, &settings);
        assert!(faults.contains_key(field), "{settings}: {faults:?}");
    }
    let most = sms(&json!({ "max_segments": "10" }));
    assert_eq!(most.segments_max, 10);
}

#[test]
fn each_operation_is_a_line_with_its_reference_at_the_end() {
    let sms = sms(&json!({ "internal_comments": true }));
    let ticket = &ticket();
    let held = &TicketView {
        assigned_to: Some(ada()),
        ..ticket.clone()
    };
    let patch = &TicketPatch {
        tags: Some(vec!["a".into()]),
        title: Some("t".into()),
        ..TicketPatch::default()
    };
    let mark = format!("tkt-{TICKET}");
    let key = key(COMMAND);
    let comment = |body, public| Operation::Comment {
        ticket,
        body,
        public,
        key,
    };
    let status = |status, resolution_summary| Operation::Status {
        ticket,
        status,
        resolution_summary,
        key,
    };
    let create = DedupKey {
        marker: &mark,
        ..key
    };
    for (operation, expected) in [
        (
            Operation::Create {
                ticket: held,
                key: create,
            },
            "HIGH open: Printer on \"fire\"  - Ada #ab0ac58d",
        ),
        (
            Operation::Update { ticket, patch, key },
            "HIGH open: Printer on \"fire\"  (changed: tags) #ab0ac58d/46cb",
        ),
        (
            status(TicketStatus::InProgress, None),
            "open -> in progress: Printer on \"fire\" #ab0ac58d/46cb",
        ),
        (
            status(TicketStatus::Open, Some("It is **out**")),
            "-> open: Printer on \"fire\" - It is out #ab0ac58d/46cb",
        ),
        (
            Operation::Assign {
                ticket,
                assignee: Some(&ada()),
                key,
            },
            "Assigned to Ada: Printer on \"fire\" #ab0ac58d/46cb",
        ),
        (
            Operation::Assign {
                ticket,
                assignee: None,
                key,
            },
            "Unassigned: Printer on \"fire\" #ab0ac58d/46cb",
        ),
        (
            comment(
                "See [it](https://x.test)\n\n- a\n- b ![](https://y.test/i.png)",
                true,
            ),
            "Note: See it (https://x.test) - a - b https://y.test/i.png #ab0ac58d/46cb",
        ),
        (comment("hush", false), "Internal note: hush #ab0ac58d/46cb"),
    ] {
        let (form, _) = planned(&sms, &operation);
        assert_eq!(form["Body"], expected);
        assert_eq!((&form["To"], &form["From"]), (&json!(TO), &json!(FROM)));
        assert_eq!(segments(expected), 1);
    }
    let (_, left_out) = planned(
        &sms,
        &Operation::Create {
            ticket,
            key: create,
        },
    );
    assert!(
        left_out["description"]
            .as_str()
            .unwrap()
            .starts_with("not sent")
    );
    assert_eq!(left_out.len(), 1);
}

#[test]
fn a_message_stays_in_its_segments_and_keeps_its_reference() {
    let key = key(COMMAND);
    let long = &TicketView {
        title: "word ".repeat(100),
        assigned_to: Some(ada()),
        ..ticket()
    };
    let wide = &TicketView {
        title: "wörd — ж ".repeat(60),
        ..ticket()
    };
    // One character more than fits, and only the assignee's name makes it so.
    let brim = &TicketView {
        title: "b".repeat(160 - "HIGH open:  #00000000".len()),
        assigned_to: Some(ada()),
        ..ticket()
    };
    for (ticket, most, field) in [
        (long, 1, "title"),
        (long, 3, "title"),
        (wide, 2, "title"),
        (brim, 1, "assigned_to_id"),
    ] {
        let sms = sms(&json!({ "max_segments": most }));
        let operation = Operation::Create { ticket, key };
        let (form, left_out) = planned(&sms, &operation);
        let text = form["Body"].as_str().unwrap();
        assert_eq!(segments(text), most, "{text}");
        assert!(
            text.ends_with(&format!(" {}", words::tail(&operation))),
            "{text}"
        );
        assert!(left_out.contains_key(field), "{left_out:?}");
    }
    let operation = Operation::Create { ticket: brim, key };
    assert_eq!(
        body(&sms(&json!({ "max_segments": 1 })), &operation).len(),
        160
    );
}

#[test]
fn a_picture_is_sent_as_media_and_any_other_file_as_its_address() {
    let ticket = &ticket();
    let key = key(COMMAND);
    let file = |media_type: &str, url: Option<&str>| {
        let mut file = File::of_bytes("a.png", media_type, Bytes::from_static(b"x"));
        file.url = url.map(|url| url.parse().unwrap());
        file
    };
    let (picture, text) = ("https://f.test/a.png", "https://f.test/a.txt");
    let us = sms(&json!({}));
    let attach = |sms: &Sms, file: &File| {
        let plan = sms.plan_of(&Operation::Attach { ticket, file, key });
        plan.map(|plan| plan.request.masked()["body"].clone())
    };

    let media = attach(&us, &file("image/png", Some(picture))).unwrap();
    assert_eq!(media["MediaUrl"], picture);
    assert_eq!(media["Body"], "File a.png #ab0ac58d/46cb");
    let abroad = sms(&json!({ "to": "+4915112345678" }));
    for (sms, media_type, url) in [(&abroad, "image/png", picture), (&us, "text/plain", text)] {
        let link = attach(sms, &file(media_type, Some(url))).unwrap();
        assert_eq!(link["Body"], format!("File a.png: {url} #ab0ac58d/46cb"));
        assert!(link.get("MediaUrl").is_none());
    }
    let bytes = attach(&us, &file("image/png", None)).unwrap_err();
    assert_eq!(bytes.class, ErrorClass::Unsupported);
    let long = format!("https://f.test/{}", "a".repeat(400));
    let long = attach(&us, &file("text/plain", Some(&long))).unwrap_err();
    assert!(
        matches!(long.class, ErrorClass::Validation { .. }),
        "{long:?}"
    );
}

#[test]
fn references_and_titles_are_read_out_of_messages() {
    for (text, expected) in [
        ("a #ab0ac58d", Some(("ab0ac58d", true))),
        ("#ab0ac58d/46cb\n", Some(("ab0ac58d", false))),
        ("a #ab0ac58d/46", None),
        ("a #AB0AC58D", None),
        ("#ab0ac58d a", None),
        ("a", None),
    ] {
        assert_eq!(words::ending(text), expected, "{text}");
    }
    for (text, expected) in [
        ("see #AB0ac58d, please", Some("ab0ac58d")),
        ("#1 and #ab0ac58d/46cb", Some("ab0ac58d")),
        ("#ab0ac58d9", None),
        ("no", None),
    ] {
        assert_eq!(words::quoted(text).as_deref(), expected, "{text}");
    }
    for (text, expected) in [
        ("HIGH in progress: a: b  - Ada #ab0ac58d", Some("a: b")),
        ("Note: HIGH open: a #ab0ac58d/46cb", None),
        ("high open: a #ab0ac58d", None),
    ] {
        assert_eq!(words::title_of(text).as_deref(), expected, "{text}");
    }
    let theirs = sms(&json!({})).theirs(&ticket());
    assert_eq!(theirs.title.as_deref(), Some("Printer on \"fire\""));
}

#[test]
fn an_answer_gives_the_message_and_says_if_it_did_not_arrive() {
    let sms = sms(&json!({}));
    let ticket = &ticket();
    let mark = format!("tkt-{TICKET}");
    let key = key(&mark);
    let message = json!({ "sid": "SM1", "body": "x", "status": "failed", "error_code": 30005,
        "error_message": "Unknown destination handset", "num_media": "0" });

    let receipt = sms.receipt_of(&Operation::Create { ticket, key }, &answer(201, &message));

    let receipt = receipt.unwrap();
    assert_eq!(receipt.external_id.as_deref(), Some("SM1"));
    let expected = json!({ "sid": "SM1", "ref": "ab0ac58d" });
    assert_eq!(Value::from(receipt.external_ref), expected);
    assert_eq!(receipt.details["segments"], 1);
    let said = receipt.details["not_delivered"].as_str().unwrap();
    assert!(said.contains("30005"), "{said}");
}

#[test]
fn a_code_says_more_than_its_status() {
    for (status, code, class, says) in [
        (401, 20003, "Authentication", ""),
        (403, 20003, "Permission", ""),
        (400, 21408, "Permission", "not enabled"),
        (400, 21660, "Permission", "from_number"),
        (400, 21610, "Gone", "STOP"),
        (404, 20404, "NotFound", ""),
        (400, 21705, "NotFound", "messaging_service_sid"),
        (400, 21211, "Validation", "settings.to"),
        (400, 21617, "Validation", "settings.max_segments"),
        (400, 21620, "Validation", "attachments"),
        (429, 20429, "RateLimited", ""),
        (400, 21611, "RateLimited", "queue"),
        (500, 20500, "Unknown", ""),
    ] {
        let body = json!({ "code": code, "message": "m", "status": status });
        let refused = ERRORS.check(&answer(status, &body), Effect::Create, "sending");
        let error = refused.unwrap_err();
        assert!(
            format!("{:?}", error.class).starts_with(class),
            "{code}: {error:?}"
        );
        assert!(error.public.contains(says), "{code}: {error}");
    }
}

/// What Twilio sends to an address.
struct Sent {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: String,
}

const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

fn sent(url: &str, fields: &[(&str, &str)], headers: &[(&'static str, &str)]) -> Sent {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let mut all = HeaderMap::new();
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    for (name, value) in [("content-type", kind)].iter().chain(headers) {
        let value = HeaderValue::from_str(value).unwrap();
        all.insert(HeaderName::from_static(name), value);
    }
    Sent {
        method: Method::POST,
        url: url.to_owned(),
        headers: all,
        body: form.extend_pairs(fields).finish(),
    }
}

impl Sent {
    fn hit(&self) -> Hit<'_> {
        let (url, body) = (self.url.as_str(), self.body.as_bytes());
        Hit::new(&self.method, url, &self.headers, body, DateTime::UNIX_EPOCH)
    }

    fn verified(&self, secret: &str) -> Result<(), Rejected> {
        let secrets = [SecretString::from(secret)];
        let schemes = sms(&json!({})).hooks().schemes;
        verify(schemes, &self.hit(), AuthType::Basic, &secrets, Utc::now())
    }

    fn said(&self) -> Vec<Change> {
        sms(&json!({})).normalise(&self.hit()).unwrap()
    }
}

/// The helper library's own request, and its signatures (twilio-python, `test_request_validator`);
/// that by SHA-256 is computed over the same text.
#[test]
fn deliveries_are_verified_by_the_hash_that_they_name() {
    let call = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ];
    let (plain, ported) = (
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "kvajT1Ptam85bY51eRf/AJRuM3w=",
    );
    let by_rule = "E5VnwNBwyz0tCHTP5Dkbb6TefPRbPKoGqFaaypGFqwI=";
    let signature = |value| ("x-twilio-signature", value);
    let signed_by = |value| ("x-twilio-webhooks-signature-settings", value);
    let sha256 = signed_by("key=HK1,algorithm=HMAC_SHA256");
    for (secret, headers, expected) in [
        ("12345", vec![signature(plain)], Ok(())),
        ("12345", vec![signature(ported)], Ok(())),
        ("12346", vec![signature(plain)], Err(Rejected::BadSignature)),
        ("12345", vec![], Err(Rejected::Unsigned)),
        (
            "shared-key-secret",
            vec![signature(by_rule), sha256],
            Ok(()),
        ),
        // Neither hash in the place of the other.
        (
            "12345",
            vec![signature(plain), sha256],
            Err(Rejected::BadSignature),
        ),
        (
            "shared-key-secret",
            vec![signature(by_rule)],
            Err(Rejected::BadSignature),
        ),
        (
            "12345",
            vec![signature(plain), signed_by("key=HK1,algorithm=HMAC_MD5")],
            Err(Rejected::Unsigned),
        ),
    ] {
        assert_eq!(
            sent(URL, &call, &headers).verified(secret),
            expected,
            "{headers:?}"
        );
    }
    let twice = [
        ("Sid", "CA123"),
        ("SidAccount", "AC123"),
        ("Digits", "5678"),
        ("Digits", "1234"),
        ("Digits", "1234"),
    ];
    let twice = sent(URL, &twice, &[signature("IK+Dwps556ElfBT0I3Rgjkr1wJU=")]);
    assert_eq!(twice.verified("12345"), Ok(()));
    // By the package `twilio`: tests/foreign/sms_client.py.
    let fields = [
        ("MessageSid", "SM1"),
        ("From", TO),
        ("To", FROM),
        ("Body", "grüße ✓ #ab0ac58d"),
    ];
    let url = "https://hooks.example.com/webhooks/1?mark=tkt-1";
    let theirs = sent(url, &fields, &[signature("XIB3vcE7G6qgbabR2Fg0U3VzCok=")]);
    assert_eq!(theirs.verified("12345"), Ok(()));
    let digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let json = Sent {
        body: "{\"property\": \"value\", \"boolean\": true}".to_owned(),
        ..sent(
            &format!("{URL}&bodySHA256={digest}"),
            &[],
            &[
                signature("a9nBmqA0ju/hNViExpshrM61xv4="),
                ("content-type", "application/json"),
            ],
        )
    };
    assert_eq!(json.verified("12345"), Ok(()));
    let tampered = Sent {
        body: json.body.replace("true", "false"),
        ..json
    };
    assert_eq!(tampered.verified("12345"), Err(Rejected::BadSignature));
}

#[test]
fn an_answer_is_a_comment_of_the_ticket_that_it_quotes_or_of_the_last() {
    let answer = |text: &'static str| {
        sent(
            URL,
            &[
                ("MessageSid", "SM1"),
                ("AccountSid", ACCOUNT),
                ("From", TO),
                ("To", FROM),
                ("Body", text),
                ("SmsStatus", "received"),
                ("NumMedia", "1"),
                ("MediaUrl0", "https://api.twilio.com/2010-04-01/Media/ME1"),
                ("MediaContentType0", "image/png"),
            ],
            &[],
        )
    };
    let quoting = answer("On it #AB0AC58D").said();
    let open = answer("On it").said();

    assert_eq!(quoting[0].id, "c:SM1");
    assert_eq!(quoting[0].kind, ChangeKind::Commented);
    assert_eq!(quoting[0].item.stable_id.as_deref(), Some("ab0ac58d"));
    assert_eq!(quoting[0].needs, Needs::Nothing);
    let comment = quoting[0].comment.as_ref().unwrap();
    assert_eq!(
        (comment.id.as_str(), comment.body.as_str()),
        ("SM1", "On it #AB0AC58D")
    );
    assert_eq!(quoting[0].by.as_ref().unwrap().id.as_deref(), Some(TO));
    assert_eq!(quoting[0].files[0].id, "ME1");
    assert_eq!(
        (&open[0].item, &open[0].needs),
        (&ItemRef::named("SM1"), &Needs::Parent)
    );
    assert_eq!(open[0].id, quoting[0].id, "as a sync tells it, too");
}

#[test]
fn what_is_not_the_recipients_is_not_ours() {
    let fields = |from, to, account| {
        let fields = [
            ("MessageSid", "SM1"),
            ("AccountSid", account),
            ("From", from),
            ("To", to),
            ("Body", "x #ab0ac58d"),
            ("SmsStatus", "received"),
        ];
        sent(URL, &fields, &[])
    };
    assert!(fields("+14155550123", FROM, ACCOUNT).said().is_empty());
    assert!(fields(TO, "+14155550123", ACCOUNT).said().is_empty());
    let other = fields(TO, FROM, "AC00000000000000000000000000000002");
    assert!(sms(&json!({})).normalise(&other.hit()).is_err());
    assert!(
        sms(&json!({}))
            .normalise(&sent(URL, &[("a", "b")], &[]).hit())
            .is_err()
    );

    // The same by GET, of which the address alone is signed.
    let form = fields(TO, FROM, ACCOUNT);
    let by_get = Sent {
        method: Method::GET,
        url: format!("https://mycompany.com/hook?{}", form.body),
        headers: HeaderMap::new(),
        body: String::new(),
    };
    assert_eq!(by_get.said(), form.said());
}

#[test]
fn what_became_of_a_message_is_told_where_it_names_a_ticket() {
    let status = |url: &str| {
        let fields = [
            ("MessageSid", "SM1"),
            ("AccountSid", ACCOUNT),
            ("From", FROM),
            ("To", TO),
            ("MessageStatus", "sent"),
            ("SmsStatus", "sent"),
        ];
        sent(url, &fields, &[])
    };
    let shaken = |sent: &Sent| sms(&json!({})).shake(&sent.hit(), &[]);
    let unmarked = status("https://hooks.test/webhooks/1");
    assert!(matches!(shaken(&unmarked), Some(Handshake::Heartbeat)));
    assert!(unmarked.said().is_empty());
    let marked = status(&format!("https://hooks.test/webhooks/1?mark=tkt-{TICKET}"));

    assert!(shaken(&marked).is_none());
    let said = marked.said();
    assert_eq!(
        (said[0].id.as_str(), said[0].item.external_id.as_str()),
        ("SM1#sent", "SM1")
    );
    assert_eq!(said[0].marker.as_deref(), Some(&*format!("tkt-{TICKET}")));
    assert_eq!(said[0].item.stable_id.as_deref(), Some("ab0ac58d"));
    let taken = &sms(&json!({})).hooks().taken;
    assert!(taken.body.contains("<Response></Response>"));
}
