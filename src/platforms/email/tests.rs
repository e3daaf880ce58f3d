//! What mails of tickets look like, and which settings are sound.

use chrono::TimeZone as _;
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::*;
use crate::domain::{TicketCategory, TicketId, TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::{Body, DedupKey, Given, blank, faults};

const ID: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const COMMAND: &str = "cmd-0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e";

fn settings() -> Value {
    json!({
        "smtp_host": "smtp.example.com", "from_address": "support@example.com",
        "from_name": "Support",
        "to": ["ops@example.net", "boss@example.net"], "message_id_domain": "mail.example.com",
    })
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(
    auth_type: AuthType,
    more: &Value,
    credentials: &Value,
) -> Result<Email, AdapterError> {
    let mut all = object(&settings());
    all.extend(object(more));
    let mut integration = blank(Platform::Email, auth_type, &all, None);
    let labels = json!({ "cost_centre": "Cost centre" });
    integration.custom_fields_mapping = object(&labels);
    Email::connect(&integration, &Credentials::new(object(credentials)))
}

fn email(more: &Value) -> Email {
    let credentials = json!({ "username": "bot", "password": "pass-w0rd" });
    connected(AuthType::Basic, more, &credentials).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::parse_str(ID).unwrap()),
        title: "Printer on fire".into(),
        description: "It **burns** & smokes.\n\n- floor 3".into(),
        status: TicketStatus::InProgress,
        priority: Priority::High,
        urgency: Priority::Medium,
        category: TicketCategory::Technical,
        department: Some("Facilities <b>".into()),
        assigned_to: Some(UserRef {
            id: Uuid::nil(),
            email: Some("jane@example.net".into()),
            full_name: Some("Jane".into()),
        }),
        created_by: None,
        tags: vec!["printer".into(), "3rd-floor".into()],
        custom_fields: object(&json!({ "cost_centre": 4711, "other": "x\r\ny" })),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
    }
}

fn key(marker: &str) -> DedupKey<'_> {
    DedupKey {
        marker,
        received_at: Utc.with_ymd_and_hms(2026, 1, 31, 12, 0, 0).unwrap(),
    }
}

fn create(ticket: &TicketView) -> Operation<'_> {
    Operation::Create {
        ticket,
        key: key("tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10"),
    }
}

fn comment<'a>(ticket: &'a TicketView, body: &'a str, public: bool) -> Operation<'a> {
    Operation::Comment {
        ticket,
        body,
        public,
        key: key(COMMAND),
    }
}

fn attached<'a>(ticket: &'a TicketView, file: &'a File) -> Operation<'a> {
    Operation::Attach {
        ticket,
        file,
        key: key(COMMAND),
    }
}

fn bytes(email: &Email, operation: &Operation<'_>) -> String {
    let mail = email.made(operation).unwrap().mail;
    String::from_utf8(mail.message.bytes().to_vec()).unwrap()
}

/// The headers of the message itself, each in one line.
fn headers(message: &str) -> Vec<(String, String)> {
    let (head, _) = message.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let lines = unfolded.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    });
    lines.collect()
}

fn header(message: &str, name: &str) -> Option<String> {
    let found = headers(message).into_iter().find(|(own, _)| own == name);
    found.map(|(_, value)| value)
}

#[test]
fn the_first_mail_of_a_ticket_has_the_headers_of_one() {
    let message = bytes(&email(&json!({})), &create(&ticket()));

    for (name, value) in [
        ("From", "Support <support@example.com>"),
        ("To", "ops@example.net, boss@example.net"),
        ("Subject", "Printer on fire [#ab0ac58d]"),
        ("Date", "Sat, 31 Jan 2026 12:00:00 +0000"),
        (
            "Message-ID",
            "<tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10@mail.example.com>",
        ),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        (
            "X-Ticketwire-Mark",
            "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10",
        ),
        ("X-Priority", "1 (Highest)"),
        ("Importance", "high"),
    ] {
        assert_eq!(header(&message, name).as_deref(), Some(value), "{name}");
    }
    for name in ["In-Reply-To", "References", "Reply-To", "Bcc"] {
        assert_eq!(header(&message, name), None);
    }
}

#[test]
fn a_ticket_says_the_same_in_text_and_in_html() {
    let ticket = ticket();
    let words = email(&json!({ "priority_map": { "high": "P1" } }))
        .settings
        .words;
    let says = contents(&words, &create(&ticket));

    assert_eq!(
        says.text,
        "Status: in progress\nPriority: P1\nUrgency: medium\nCategory: technical\n\
         Department: Facilities <b>\nAssignee: Jane\nTags: printer, 3rd-floor\nCost centre: 4711\n\
         other: x y\n\nIt burns & smokes.\n\n- floor 3\n"
    );
    for piece in [
        "<tr><td><strong>Department</strong></td><td>Facilities &lt;b&gt;</td></tr>",
        "<tr><td><strong>Cost centre</strong></td><td>4711</td></tr>",
        "<strong>burns</strong> &amp; smokes.",
        "<li>floor 3</li>",
    ] {
        assert!(says.html.contains(piece), "{}", says.html);
    }
    assert!(says.left_out.is_empty());
}

#[test]
fn what_follows_is_in_the_thread_under_the_first_subject() {
    let email = email(&json!({ "message_id_domain": "new.example.com" }));
    let mut ticket = ticket();
    ticket.title = "Fire is out".into();
    ticket.priority = Priority::Low;
    let root = "<tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10@old.example.com>";
    ticket.external_id = Some(root.into());
    ticket.external_ref = object(&json!({
        "message_id": root, "subject": "Printer on fire [#ab0ac58d]",
    }));
    let patch = TicketPatch {
        title: Some("Fire is out".into()),
        ..TicketPatch::default()
    };
    let update = Operation::Update {
        ticket: &ticket,
        patch: &patch,
        key: key(COMMAND),
    };

    let message = bytes(&email, &update);

    assert_eq!(
        header(&message, "Subject").unwrap(),
        "Re: Printer on fire [#ab0ac58d]"
    );
    let id = format!("<{COMMAND}@new.example.com>");
    assert_eq!(header(&message, "Message-ID").unwrap(), id);
    assert_eq!(header(&message, "In-Reply-To").unwrap(), root);
    assert_eq!(header(&message, "References").unwrap(), root);
    assert_eq!(header(&message, "X-Priority"), None);
    let says = contents(&email.settings.words, &update);
    assert_eq!(says.text, "The ticket was changed:\n\nTitle: Fire is out\n");

    // A ticket that was bound by hand has a thread, too.
    ticket.external_ref = Map::new();
    ticket.external_id = Some("SUP-1".into());
    let message = bytes(&email, &comment(&ticket, "Hello", true));
    assert_eq!(
        header(&message, "In-Reply-To").unwrap(),
        "<tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10@new.example.com>"
    );
}

#[test]
fn each_change_is_told_in_words() {
    let email = email(&json!({ "status_map": { "resolved": "Done" }, "internal_comments": true }));
    let ticket = ticket();
    let patch = TicketPatch {
        description: Some("New".into()),
        tags: Some(Vec::new()),
        custom_fields: Some(object(&json!({ "cost_centre": null }))),
        ..TicketPatch::default()
    };
    let file = File::of_bytes("a\r\nb.txt", "text/plain", "abc".into());
    let cases = [
        (
            Operation::Update {
                ticket: &ticket,
                patch: &patch,
                key: key(COMMAND),
            },
            "The ticket was changed:\n\nTags: none\nCost centre: none\n\nIt burns & \
             smokes.\n\n- floor 3\n",
        ),
        (
            Operation::Status {
                ticket: &ticket,
                status: TicketStatus::Resolved,
                resolution_summary: Some("*Water*"),
                key: key(COMMAND),
            },
            "The ticket is now: Done\n\nWater\n",
        ),
        (
            Operation::Assign {
                ticket: &ticket,
                assignee: ticket.assigned_to.as_ref(),
                key: key(COMMAND),
            },
            "The ticket is assigned to Jane.\n",
        ),
        (
            Operation::Assign {
                ticket: &ticket,
                assignee: None,
                key: key(COMMAND),
            },
            "The ticket is assigned to nobody.\n",
        ),
        (comment(&ticket, "Smoke!", true), "Comment:\n\nSmoke!\n"),
        (
            comment(&ticket, "Smoke!", false),
            "Internal comment:\n\nSmoke!\n",
        ),
        (
            Operation::Attach {
                ticket: &ticket,
                file: &file,
                key: key(COMMAND),
            },
            "A file was attached to the ticket:\n\nFile: a b.txt\nSize: 3 bytes\n",
        ),
    ];

    for (operation, text) in cases {
        let says = contents(&email.settings.words, &operation);
        assert_eq!(says.text, text);
    }
}

#[test]
fn a_comment_that_is_not_public_is_sent_only_where_the_settings_want_it() {
    let ticket = ticket();
    let operation = comment(&ticket, "Secret", false);

    let error = email(&json!({})).made(&operation).err().unwrap();
    assert_eq!(error.class, ErrorClass::Unsupported);
    assert!(error.public.contains("settings.internal_comments"));
    assert!(
        email(&json!({ "internal_comments": true }))
            .made(&operation)
            .is_ok()
    );
}

#[test]
fn a_repeat_is_the_same_to_the_byte_and_each_file_has_an_id_of_its_own() {
    let email = email(&json!({ "reply_domain": "in.example.com" }));
    let ticket = ticket();
    let file = |name: &str, bytes: &'static str| File::of_bytes(name, "text/plain", bytes.into());
    let files = [file("a.txt", "a"), file("b.txt", "a"), file("a.txt", "b")];
    let attach = |file| Operation::Attach {
        ticket: &ticket,
        file,
        key: key(COMMAND),
    };
    let mut ids = std::collections::BTreeSet::new();
    for operation in files
        .iter()
        .map(attach)
        .chain([create(&ticket), comment(&ticket, "Hello", true)])
    {
        let message = bytes(&email, &operation);
        assert_eq!(message, bytes(&email, &operation));
        let id = header(&message, "Message-ID").unwrap();
        assert!(ids.insert(id.clone()), "{id} is there twice");
    }
}

#[test]
fn answers_go_to_an_address_that_nobody_can_guess() {
    let with = |password: &str, more: &Value| {
        let credentials = json!({ "username": "bot", "password": password });
        connected(AuthType::Basic, more, &credentials).unwrap()
    };
    let domain = json!({ "reply_domain": "in.example.com" });
    let of = |email: &Email, ticket: &TicketView| {
        header(&bytes(email, &create(ticket)), "Reply-To").unwrap()
    };
    let first = of(&with("one", &domain), &ticket());
    assert!(
        first.starts_with("Support <ticket+ab0ac58d.") && first.ends_with("@in.example.com>"),
        "{first}"
    );
    assert_ne!(first, of(&with("two", &domain), &ticket()));

    // A ticket keeps its address when the password is changed.
    let mut known = ticket();
    let kept = "ticket+ab0ac58d.0011223344556677@in.example.com";
    known.external_ref = object(&json!({ "reply_to": kept }));
    assert_eq!(
        of(&with("two", &domain), &known),
        format!("Support <{kept}>")
    );
    let moved = json!({ "reply_domain": "other.example.com" });
    assert!(of(&with("two", &moved), &known).ends_with("@other.example.com>"));

    let relay = connected(AuthType::Custom, &domain, &json!({})).unwrap();
    let error = relay.made(&create(&ticket())).err().unwrap();
    assert!(error.public.contains("webhook_secret"), "{error}");
}

#[test]
fn a_receipt_remembers_what_the_thread_needs_and_tells_who_was_refused() {
    let email = email(&json!({ "reply_domain": "in.example.com" }));
    let answer = |refused: Value| Response {
        status: 250,
        headers: reqwest::header::HeaderMap::new(),
        body: json!({ "text": "2.0.0 Ok: queued as 4Yk1", "refused": refused })
            .to_string()
            .into(),
        truncated: false,
    };
    let ticket = ticket();
    let refused = json!([{ "address": "boss@example.net", "code": 550, "enhanced": "5.1.1" }]);
    let made = email
        .read(
            &create(&ticket),
            &Known::default(),
            &answer(refused.clone()),
        )
        .unwrap();

    let id = "<tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10@mail.example.com>";
    assert_eq!(made.external_id.as_deref(), Some(id));
    assert_eq!(made.external_ref["message_id"], id);
    assert_eq!(made.external_ref["subject"], "Printer on fire [#ab0ac58d]");
    let reply_to = made.external_ref["reply_to"].as_str().unwrap();
    assert!(reply_to.starts_with("ticket+ab0ac58d."));
    assert_eq!(made.details["accepted"], "2.0.0 Ok: queued as 4Yk1");
    assert_eq!(made.details["refused"], refused);

    let said = email
        .read(
            &comment(&ticket, "Hello", true),
            &Known::default(),
            &answer(json!([])),
        )
        .unwrap();
    let id = format!("<{COMMAND}@mail.example.com>");
    assert_eq!(said.external_comment_id, Some(id));
    assert!(said.external_id.is_none() && said.external_ref.is_empty());
    assert!(!said.details.contains_key("refused"));
}

#[test]
fn a_big_file_is_linked_to_where_it_can_be_had_elsewhere() {
    let email = email(&json!({}));
    let ticket = ticket();
    let mut big = File::of_bytes("big.bin", "application/zip", vec![0; 7_000_001].into());

    let whole = email.made(&attached(&ticket, &big)).unwrap();
    assert!(whole.left_out.is_empty());
    assert!(whole.mail.message.bytes().len() > 7_000_001);

    big.url = Some("https://files.example.com/big.bin?a=1&b=2".parse().unwrap());
    let linked = email.made(&attached(&ticket, &big)).unwrap();
    assert!(linked.left_out["file"].as_str().unwrap().contains("linked"));
    assert!(linked.mail.message.bytes().len() < 10_000);
    let says = contents(&email.settings.words, &attached(&ticket, &big));
    assert!(
        says.text
            .contains("\nhttps://files.example.com/big.bin?a=1&b=2\n")
    );
    assert!(
        says.html
            .contains("href=\"https://files.example.com/big.bin?a=1&amp;b=2\"")
    );

    let huge = File::of_bytes("huge.bin", "application/zip", vec![0; 12 << 20].into());
    let error = email.made(&attached(&ticket, &huge)).err().unwrap();
    assert!(error.public.starts_with("attachments "), "{error}");
}

#[test]
fn a_long_title_is_cut_in_the_subject_and_whole_in_the_mail() {
    let mut ticket = ticket();
    ticket.title = "word ".repeat(90);
    let message = bytes(&email(&json!({})), &create(&ticket));
    let subject = header(&message, "Subject").unwrap();

    assert!(
        subject.len() < 1_000 && subject.contains("ab0ac58d"),
        "{subject}"
    );
    let says = contents(&email(&json!({})).settings.words, &create(&ticket));
    assert!(
        says.text
            .starts_with(&format!("Title: {}\n", ticket.title.trim()))
    );
}

#[test]
fn every_fault_of_the_settings_is_told_with_its_field_at_once() {
    let judged = |auth_type, credentials: &Value, settings: &Value, base_url: Option<&str>| {
        let (credentials, settings) = (object(credentials), object(settings));
        let row = blank(Platform::Email, auth_type, &settings, base_url);
        let given = Given {
            credentials: true,
            settings: &settings,
            base_url: true,
            webhook_secret: true,
            egress: None,
        };
        faults(&DESCRIPTOR, &row, &credentials, &given)
    };
    let told = |auth_type, credentials: Value, settings: Value| -> Vec<String> {
        let found = judged(auth_type, &credentials, &settings, None);
        found.into_keys().collect()
    };
    let login = json!({ "username": "bot", "password": "x" });
    let with = |more: Value| {
        let mut all = object(&settings());
        all.extend(object(&more));
        Value::Object(all)
    };
    assert!(told(AuthType::Basic, login.clone(), settings()).is_empty());
    assert!(told(AuthType::Custom, json!({}), settings()).is_empty());
    assert_eq!(
        told(AuthType::Basic, login.clone(), json!({})),
        ["settings.from_address", "settings.smtp_host", "settings.to"]
    );
    assert_eq!(
        told(
            AuthType::Basic,
            login.clone(),
            json!({
                "smtp_host": "smtp.example.com:465", "smtp_port": 70_000, "security": "ssl",
                "from_address": "Support",
                "from_name": "a\r\nBcc: eve@example.net", "to": ["ops@example.net", "ops", 7],
                "message_id_domain": "a b", "reply_domain": "x\r\ny", "inbound_provider": "gmail",
                "internal_comments": "yes", "status_map": { "opened": "x" },
            })
        ),
        [
            "settings.from_address",
            "settings.from_name",
            "settings.inbound_provider",
            "settings.internal_comments",
            "settings.message_id_domain",
            "settings.reply_domain",
            "settings.security",
            "settings.smtp_host",
            "settings.smtp_port",
            "settings.status_map.opened",
            "settings.to[1]",
            "settings.to[2]",
        ]
    );
    let many: Vec<String> = (0..101).map(|n| format!("a{n}@example.net")).collect();
    for (field, value) in [
        ("to", json!([])),
        ("to", json!(many)),
        ("smtp_port", json!(0)),
        ("smtp_port", json!("smtps")),
        ("smtp_port", json!(1.5)),
        ("smtp_host", json!("https://smtp.example.com")),
        ("smtp_host", json!("a@b")),
        ("security", json!(1)),
    ] {
        let found = told(
            AuthType::Basic,
            login.clone(),
            with(json!({ (field): value })),
        );
        assert_eq!(found, [format!("settings.{field}")], "{value}");
    }
    // What is the same person twice gets one mail; one address needs no list.
    let twice = json!({ "to": ["ops@example.net", "ops@example.net"] });
    assert_eq!(email(&twice).settings.to.len(), 1);
    assert_eq!(
        email(&json!({ "to": "ops@example.net" })).settings.to.len(),
        1
    );
    let url = judged(
        AuthType::Basic,
        &login,
        &settings(),
        Some("https://smtp.example.com"),
    );
    assert!(url["base_url"].contains("settings.smtp_host"), "{url:?}");
}

#[test]
fn ports_follow_the_encryption() {
    for (security, port) in [("tls", 465), ("starttls", 587), ("none", 25)] {
        let server = email(&json!({ "security": security })).settings.server;
        assert_eq!((server.security.as_str(), server.port), (security, port));
    }
    let other = email(&json!({ "smtp_port": "2525" })).settings.server;
    assert_eq!((other.security.as_str(), other.port), ("tls", 2525));
}

#[test]
fn tokens_are_asked_for_as_each_provider_wants_it() {
    let client = json!({ "client_id": "client", "client_secret": "s3cret" });
    let ask = |provider: &str, more: Value| {
        let mut credentials = object(&client);
        credentials.extend(object(&more));
        let settings = json!({ "oauth_provider": provider });
        connected(AuthType::Oauth2, &settings, &Value::Object(credentials))
    };
    let sent = |email: &Email| {
        let flow = email.token_flow().unwrap();
        let later = SecretString::from("later");
        let request = flow.request(Some(&later)).unwrap();
        let Body::Form(fields) = &request.body else {
            panic!("{request:?}");
        };
        let fields: Map<String, Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.expose_secret().into()))
            .collect();
        Value::Object(fields)
    };

    let google = ask("google", json!({ "refresh_token": "r" })).unwrap();
    assert_eq!(
        sent(&google),
        json!({ "grant_type": "refresh_token", "refresh_token": "later", "client_id": "client",
                "client_secret": "s3cret" })
    );
    let user = |email: &Email| match &email.settings.server.auth {
        MailAuth::XOAuth2 { user } => user.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(user(&google), "support@example.com");
    let microsoft = ask(
        "microsoft",
        json!({ "refresh_token": "r", "tenant_id": "t-1", "username": "box@example.com" }),
    );
    let microsoft = microsoft.unwrap();
    assert_eq!(user(&microsoft), "box@example.com");
    assert_eq!(
        sent(&microsoft)["scope"],
        "https://outlook.office.com/SMTP.Send offline_access"
    );
    let app = ask("microsoft", json!({ "tenant_id": "t-1" })).unwrap();
    assert_eq!(
        sent(&app),
        json!({ "grant_type": "client_credentials", "client_id": "client",
            "client_secret": "s3cret",
                "scope": "https://outlook.office365.com/.default" })
    );
    for (provider, more, field) in [
        ("google", json!({}), "credentials.refresh_token"),
        (
            "microsoft",
            json!({ "refresh_token": "r" }),
            "credentials.tenant_id",
        ),
        (
            "microsoft",
            json!({ "tenant_id": "a/../b" }),
            "credentials.tenant_id",
        ),
        ("yahoo", json!({}), "settings.oauth_provider"),
    ] {
        let error = ask(provider, more).err().unwrap();
        assert!(error.public.starts_with(field), "{error}");
    }
}

/// What a mail may have as headers.
const HEADERS: [&str; 15] = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Ticketwire-Mark",
    "X-Priority",
    "Importance",
    "MIME-Version",
    "Content-Type",
];

/// Texts as people write them who want to write a header, and others.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("\r\n.\r\n".to_owned()),
        Just("\r\nBcc: eve@example.net".to_owned()),
        Just("\u{85}\u{2028}Bcc: eve@example.net".to_owned()),
        Just("=?utf-8?q?=0D=0ABcc:_eve?=".to_owned()),
        Just("--ticketwire-".to_owned()),
        Just("x".repeat(1_100)),
        "\\PC{0,12}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_that_people_write_becomes_a_header(
        title in text(), body in text(), fact in text(), name in text(), remembered in text(),
    ) {
        let email = email(&json!({ "reply_domain": "in.example.com", "internal_comments": true }));
        let mut ticket = ticket();
        ticket.title.clone_from(&title);
        ticket.description.clone_from(&body);
        ticket.department = Some(fact.clone());
        ticket.tags = vec![fact.clone()];
        ticket.custom_fields = Map::from_iter([(fact.clone(), body.clone().into())]);
        ticket.assigned_to = Some(UserRef { id: Uuid::nil(), email: None, full_name: Some(fact) });
        // Whatever the database says that the first mail was.
        ticket.external_ref = object(&json!({
            "subject": &remembered, "message_id": &remembered, "reply_to": &remembered,
        }));
        ticket.external_id = Some(remembered);
        let patch = TicketPatch {
            title: Some(title),
            description: Some(body.clone()),
            tags: Some(ticket.tags.clone()),
            ..TicketPatch::default()
        };
        let file = File::of_bytes(&name, &name, body.clone().into());
        let key = key(COMMAND);
        let ticket = &ticket;
        let operations = [
            Operation::Create { ticket, key },
            Operation::Update { ticket, patch: &patch, key },
            Operation::Assign { ticket, assignee: ticket.assigned_to.as_ref(), key },
            Operation::Comment { ticket, body: &body, public: false, key },
            Operation::Attach { ticket, file: &file, key },
        ];
        for operation in operations {
            // A title may be too long for a header, and is then refused by name.
            let made = match email.made(&operation) {
                Ok(made) => made,
                Err(error) => {
                    prop_assert!(matches!(error.class, ErrorClass::Validation { .. }), "{}", error);
                    continue;
                }
            };
            let bytes = made.mail.message.bytes();
            prop_assert!(bytes.is_ascii());
            let message = std::str::from_utf8(bytes).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for (header, value) in headers(message) {
                prop_assert!(HEADERS.contains(&header.as_str()), "{}: {}", header, value);
                prop_assert!(seen.insert(header.clone()), "{} is there twice", header);
            }
            prop_assert_eq!(header(message, "To").unwrap(), "ops@example.net, boss@example.net");
            prop_assert_eq!(header(message, "From").unwrap(), "Support <support@example.com>");
        }
    }
}
