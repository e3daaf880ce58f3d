//! What is peculiar to Microsoft Teams, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, oauth, plain_canary};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_as, wait_for};

const TEAM: &str = "00000000-0000-0000-0000-000000000001";
const CHANNEL: &str = "19:support@thread.tacv2";
/// What each operation sends by Graph.
const BY_GRAPH: [Steps; 8] = [
    on(Act::Create, "post_message", Guard::Lookup),
    on(Act::Update, "patch_message", Guard::Native),
    on(Act::Status, "post_reply", Guard::Lookup).before(&["patch_message"]),
    on(Act::Resolve, "post_reply", Guard::Lookup).before(&["patch_message"]),
    on(Act::Assign, "patch_message", Guard::Native),
    on(Act::Comment, "post_reply", Guard::Lookup),
    on(Act::Attach, "post_reply", Guard::Lookup).before(&["files_folder", "upload"]),
    on(Act::Delete, "post_reply", Guard::Lookup).before(&["patch_message"]),
];

/// Where a flow is, below a site.
fn invoke(base: &str, sig: &str) -> String {
    let path = "powerautomate/automations/direct/workflows/ab12cd/triggers/manual/paths/invoke";
    format!("{base}/{path}?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={sig}")
}

/// Its rows of the conformance suite: by Graph, and by a flow.
pub(super) fn rows() -> Vec<Row> {
    let says = |status: u16, code: &str| {
        let error = json!({ "code": code, "message": "no" });
        Fault::status(status).body(json!({ "error": error }))
    };
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    let shared = vec![
        same("410", Fault::status(410), "gone"),
        same(
            "too large",
            says(413, "RequestEntityTooLarge"),
            "validation",
        ),
        same("415", Fault::status(415), "validation"),
        ("408", Fault::status(408), "unknown", "transient"),
    ];
    let graph = [
        same("no such item", says(404, "itemNotFound"), "not_found"),
        same(
            "no privilege",
            says(403, "InsufficientPrivileges"),
            "permission",
        ),
        same("another etag", says(412, "PreconditionFailed"), "transient"),
    ];
    let flow = [
        same(
            "a flow that is off",
            says(400, "WorkflowTriggerIsNotEnabled"),
            "gone",
        ),
        same(
            "no signature",
            says(401, "DirectApiAuthorizationRequired"),
            "authentication",
        ),
    ];
    vec![
        Row {
            name: "teams-graph",
            platform: Platform::Teams,
            auth_type: AuthType::Oauth2,
            credentials: json!({ "tenant_id": "contoso.example", "client_id": "c",
                "client_secret": SECRET, "refresh_token": SECRET }),
            settings: json!({ "team_id": TEAM, "channel_id": CHANNEL }),
            operations: BY_GRAPH.to_vec(),
            reads_answers: true,
            blind: Some(json!({ "shows_contents": false })),
            reads: true,
            peculiar: shared.iter().cloned().chain(graph).collect(),
            strange: strange.clone(),
        },
        Row {
            name: "teams-flow",
            platform: Platform::Teams,
            auth_type: AuthType::Custom,
            credentials: json!({ "workflow_url": invoke("{base}", SECRET) }),
            settings: json!({}),
            operations: Act::ALL
                .iter()
                .map(|act| on(*act, "flow", Guard::Nothing))
                .collect(),
            reads_answers: false,
            blind: None,
            reads: false,
            peculiar: shared.into_iter().chain(flow).collect(),
            strange,
        },
    ]
}

/// Teams towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let path = thing.split('?').next().unwrap_or_default();
        let lists = ["/messages", "/replies", "/delta", "/channels"];
        if method == "GET" && lists.iter().any(|end| path.ends_with(end)) {
            return json!({ "value": [] }).to_string();
        }
        json!({
            "id": "5", "displayName": "x", "webUrl": "https://x.example/5", "name": "a.txt",
            "eTag": "\"{5FB5A1E3-9C1F-4F6D-8A3B-2F1F0C9D7E11},1\"",
            "parentReference": { "driveId": "d" }, "body": { "content": "<p>x</p>" },
        })
        .to_string()
    },
    success: |say| {
        let mut message = || {
            json!({ "id": say(), "subject": say(), "webUrl": format!("https://x.example/{}", say()),
                "from": { "user": { "id": say(), "displayName": say() } },
                "body": { "content": say() }, "createdDateTime": say(),
                "attachments": [{ "id": say(), "contentType": "reference", "name": say() }] })
        };
        let mut all = message();
        all["value"] = vec![message()].into();
        all["displayName"] = say().into();
        all["userPrincipalName"] = say().into();
        all["name"] = say().into();
        all["eTag"] = say().into();
        all["parentReference"] = json!({ "driveId": say() });
        all
    },
    token_path: "token",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value| {
        json!({ "platform_name": "teams", "auth_type": auth_type, "base_url": "{at}",
                "credentials": credentials,
                "settings": { "team_id": TEAM, "channel_id": CHANNEL } })
    };
    let (sig, secrets) = (plain_canary("Sig"), oauth("teams"));
    let by_client = json!({ "tenant_id": "contoso.example", "client_id": "client",
        "client_secret": secrets[0], "refresh_token": secrets[1] });
    let by_address = json!({ "workflow_url": invoke("{at}", &sig) });
    vec![
        Mode::oauth(
            BEHAVIOUR,
            "teams-oauth2",
            data("oauth2", by_client),
            &secrets,
        ),
        Mode::new(
            Behaviour {
                token_path: "",
                syncs: false,
                ..BEHAVIOUR
            },
            "teams-flow",
            data("custom", by_address),
            &[&sig],
            &[],
        )
        .signed(),
    ]
}

/// What makes an integration by Graph.
fn by_graph(world: &World, site: &str, more: &Value) -> Value {
    let mut settings = json!({ "team_id": TEAM, "channel_id": CHANNEL });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    json!({
        "name": "Support channel", "platform_name": "teams", "auth_type": "oauth2",
        "base_url": world.sandbox.url(site), "settings": settings,
        "credentials": { "tenant_id": "contoso.example", "client_id": "c",
            "client_secret": "s3cr3t", "refresh_token": "r3fr3sh" },
    })
}

async fn channel(world: &World, site: &str, more: Value) -> Uuid {
    world.integration_of(by_graph(world, site, &more)).await
}

/// An integration by a flow.
async fn flow(world: &World, site: &str, settings: Value) -> Uuid {
    let url = invoke(&world.sandbox.url(site), "s3cr3tsig");
    let data = json!({ "name": "Flow", "platform_name": "teams", "auth_type": "custom",
        "settings": settings, "credentials": { "workflow_url": url } });
    world.integration_of(data).await
}

/// The one message of a ticket.
fn message(world: &World, site: &str, ticket: Uuid) -> LedgerIssue {
    let label = format!("tkt-{ticket}");
    let mut found = world.sandbox.ledger_of_label(site, &label).issues;
    assert_eq!(found.len(), 1, "one message a ticket: {found:?}");
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_is_a_message_with_a_card_and_its_replies() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "teams/life";
    let more =
        json!({ "ticket_url": "https://desk.test/t/{ticket_id}", "internal_comments": true });
    let id = channel(&world, site, more).await;
    let ticket = Uuid::new_v4();
    let data = json!({ "ticket_id": ticket, "integration_id": id,
        "title": "Printer <at>all</at> on fire", "priority": "high",
        "description": "Smoke **since** [9:00](https://desk.test/a)",
        "tags": ["printer", "3rd floor"], "custom_fields": { "Floor": 3 } });

    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "On my *way* <at id=\"0\">x</at>" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Psst", "public": false }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" },
                { "name": "b.txt", "content_base64": "aGVsbG8=" },
            ] }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Put out" }),
        ),
    ] {
        let command = world.publish(command_type, data).await;
        world.succeeds(command).await;
    }

    let item = message(&world, site, ticket);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(
        external["external_ticket_id"],
        format!("{CHANNEL}/{}", item.id)
    );
    let page = external["external_ticket_url"].as_str().unwrap();
    assert!(
        page.starts_with("https://teams.microsoft.com/l/message/19%3Asupport%40"),
        "{page}"
    );
    assert_eq!(item.summary, "Printer <at>all</at> on fire");
    let card = item.fields["cards"][0].to_string();
    for shown in [
        "Smoke **since** [9:00](https://desk.test/a)",
        r#""title":"Priority","value":"critical""#,
        r#""title":"Status","value":"resolved""#,
        r#""title":"Floor","value":"3""#,
        "printer, 3rd floor",
        &format!("https://desk.test/t/{ticket}"),
    ] {
        assert!(card.contains(shown), "{shown} in {card}");
    }
    let said: Vec<&str> = item
        .comments
        .iter()
        .map(|one| one.body.as_str().unwrap())
        .collect();
    let begins = [
        "<p>On my <i>way</i> &lt;at id=&quot;0&quot;&gt;x",
        "<p>Internal comment:</p>\n<p>Psst</p><p>[ref:cmd-",
        "<p>Status: <b>resolved</b></p>\n<p>Put out</p><p>[ref:cmd-",
    ];
    assert_eq!(said.len(), begins.len(), "{said:?}");
    for (said, begin) in said.iter().zip(begins) {
        assert!(said.starts_with(begin), "{said}");
    }
    // No file of the channel's folder is replaced.
    let kept: Vec<&str> = item
        .attachments
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (kept, name) in kept.iter().zip(["-a.txt", "-b.txt"]) {
        assert!(kept.starts_with("cmd-") && kept.ends_with(name), "{kept}");
    }
    world.quiet().await;
    let log = worker.log();
    assert!(!log.contains("s3cr3t") && !log.contains("sandbox-access-"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_posted_without_an_answer_is_found_by_its_marker_and_a_copy_is_not_ours() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "teams/lossy";
    let id = channel(&world, site, json!({})).await;
    // Listings lag behind, and begin with the oldest.
    let slow = json!({ "list_lag_ms": 600, "newest_first": false, "page": 2 });
    world.sandbox.configure(site, slow).unwrap();
    for number in 0..3 {
        let (before, _) = world.create_at(id, &format!("Before {number}")).await;
        world.succeeds(before).await;
    }
    let lose = |operation: &str| {
        let lost = Fault::new(FaultKind::ResetAfterStore).on(operation);
        world.sandbox.inject(site, lost).unwrap();
    };

    lose("post_message");
    let (create, ticket) = world.create_at(id, "Lost").await;
    let made = world.succeeds(create).await;
    let details = &made["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["adopted"], true, "{made:#}");
    lose("post_reply");
    let data = json!({ "ticket_id": ticket, "body": "Lost too" });
    let comment = world.publish("ticket.comment", data).await;
    world.succeeds(comment).await;
    lose("post_reply");
    let file = json!({ "name": "a.txt", "content_base64": "aGVsbG8=" });
    let data = json!({ "ticket_id": ticket, "attachments": [file] });
    let attach = world.publish("ticket.attach", data).await;
    let event = world.succeeds(attach).await;
    assert_eq!(
        event["data"]["result"]["attachments"][0]["adopted"], true,
        "{event:#}"
    );
    let item = message(&world, site, ticket);
    assert_eq!(
        (item.comments.len(), item.attachments.len()),
        (1, 1),
        "{item:?}"
    );

    // Stored under somebody else's name it is, to who looks later, a copy.
    let acting_as = |user: &str| {
        let settings = json!({ "user_id": user });
        world.sandbox.configure(site, settings).unwrap();
    };
    acting_as("somebody-else");
    lose("post_reply");
    let data = json!({ "ticket_id": ticket, "body": "Ours" });
    let copied = world.publish("ticket.comment", data).await;
    world.event(copied, "deferred").await;
    acting_as("00000000-0000-0000-0000-00000000000a");
    world.succeeds(copied).await;
    assert_eq!(
        message(&world, site, ticket).comments.len(),
        3,
        "the copy was taken for ours"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_gets_a_card_for_each_change_and_a_lost_answer_is_nobody_s_to_find() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "teams/flow";
    let id = flow(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Printer on fire").await;
    let made = world.succeeds(create).await;
    let result = &made["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], format!("tkt-{ticket}"));
    let told = result["details"]["posted"].as_str().unwrap();
    assert!(told.contains("not told"), "{told}");
    let file = json!({ "name": "log.txt", "content_base64": "aGVsbG8=" });
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "Printer burns" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "On my way" }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Out" }),
        ),
        ("ticket.delete", json!({ "ticket_id": ticket })),
    ] {
        let command = world.publish(command_type, data).await;
        world.succeeds(command).await;
    }
    let cards: Vec<String> = world
        .sandbox
        .ledger(site)
        .issues
        .iter()
        .map(|issue| issue.fields["cards"][0]["body"].to_string())
        .collect();
    // The first is what the integration's test posted: one for all of its checks.
    let shown = [
        "A test message",
        "Printer on fire",
        "Changed: title",
        "On my way",
        "Status: resolved",
        "Status: closed",
    ];
    assert_eq!(cards.len(), shown.len(), "{cards:#?}");
    for (card, shown) in cards.iter().zip(shown) {
        assert!(card.contains(shown), "{shown} in {card}");
    }

    let (other, ticket) = world.create_at(id, "With a file").await;
    world.succeeds(other).await;
    let data = json!({ "ticket_id": ticket, "attachments": [file] });
    let attach = world.publish("ticket.attach", data).await;
    let refused = world.fails(attach, "unsupported_operation").await;
    let said = refused["data"]["error"]["message"].as_str().unwrap();
    assert!(said.contains("give the file a url"), "{said}");

    let lose = Fault::new(FaultKind::ResetAfterStore);
    world.sandbox.inject(site, lose.clone().times(1)).unwrap();
    let (lost, _) = world.create_at(id, "Lost").await;
    world.fails(lost, "outcome_unknown").await;
    assert_eq!(
        world.sandbox.ledger(site).issues.len(),
        8,
        "it was not sent again"
    );
    let again = flow(&world, "teams/again", json!({ "on_unknown": "retry" })).await;
    world.sandbox.inject("teams/again", lose).unwrap();
    let (lost, _) = world.create_at(again, "Lost").await;
    let event = world.succeeds(lost).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["sent_twice_perhaps"], true, "{event:#}");
    assert!(!worker.log().contains("s3cr3tsig"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_refused_when_it_is_given_and_a_flow_that_is_off_disables_its_integration() {
    let world = World::new().await;
    let worker = world.worker().await;
    let url = "https://contoso.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4";
    let data = json!({ "name": "Old", "platform_name": "teams", "auth_type": "custom",
        "credentials": { "workflow_url": url } });
    let create = world.publish("integration.create", data).await;
    let event = world.fails(create, "validation_failed").await;
    let fault = event["data"]["error"]["fields"]["credentials.workflow_url"].as_str();
    assert!(fault.unwrap().contains("Office 365 connector"), "{event:#}");
    let mut bare = by_graph(&world, "teams/bare", &json!({}));
    bare["settings"] = json!({ "team_id": "Support" });
    let create = world.publish("integration.create", bare).await;
    let event = world.fails(create, "validation_failed").await;
    let fields = event["data"]["error"]["fields"].as_object().unwrap();
    let named: Vec<&String> = fields.keys().collect();
    assert_eq!(
        named,
        ["settings.channel_id", "settings.team_id"],
        "{event:#}"
    );

    let site = "teams/off";
    let id = flow(&world, site, json!({})).await;
    let closed = json!({ "flow_for_anyone": false });
    world.sandbox.configure(site, closed).unwrap();
    let (first, _) = world.create_at(id, "First").await;
    let event = world.fails(first, "authentication_failed").await;
    let said = event["data"]["error"]["message"].as_str().unwrap();
    assert!(said.contains("one that Anyone can trigger"), "{said}");
    let off = json!({ "flow_for_anyone": true, "flow_enabled": false });
    world.sandbox.configure(site, off).unwrap();
    let (second, _) = world.create_at(id, "Second").await;
    world.fails(second, "external_not_found").await;
    let (third, _) = world.create_at(id, "Third").await;
    world.fails(third, "integration_disabled").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_posts_one_card_by_a_flow_and_by_graph_a_message_that_it_takes_away() {
    let world = World::new().await;
    let worker = world.worker().await;
    let test = async |integration: Uuid| {
        let all = [
            "connection",
            "authentication",
            "permissions",
            "create_ticket",
        ];
        let data = json!({ "integration_id": integration, "test_types": all });
        let command = world.publish("integration.test", data).await;
        world.succeeds(command).await["data"]["result"].clone()
    };
    let graph = channel(&world, "teams/tests", json!({})).await;
    let good = test(graph).await;
    assert_eq!(good["success"], true, "{good:#}");
    assert!(good.to_string().contains("removed it again"), "{good:#}");
    let ledger = world.sandbox.ledger("teams/tests");
    assert_eq!(
        (ledger.issues.len(), ledger.count("post_message").received),
        (0, 1)
    );

    // A scope is taken away, and the token it was for is no longer good.
    let scopes = json!({ "consented": ["User.Read", "offline_access"], "access_token_seconds": 0 });
    world.sandbox.configure("teams/tests", scopes).unwrap();
    let stale = Fault::status(401).on("get_channel");
    world.sandbox.inject("teams/tests", stale).unwrap();
    let bad = test(graph).await;
    assert_eq!(bad["success"], false, "{bad:#}");
    assert!(bad.to_string().contains("consent is missing"), "{bad:#}");

    // To become active, the integration was tested: by one card, whatever was asked.
    let _by_flow = flow(&world, "teams/flowtest", json!({})).await;
    assert_eq!(world.sandbox.ledger("teams/flowtest").issues.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_not_asked_on_the_schedule_as_it_would_post() {
    let world = World::new().await;
    world.set("TICKETWIRE__HEALTH__INTERVAL", "1s");
    let worker = world.worker().await;
    // To become active it was tested, by one card.
    let _by_flow = flow(&world, "teams/quiet", json!({})).await;
    let cards = || world.sandbox.ledger("teams/quiet").count("flow").received;
    assert_eq!(cards(), 1);

    // Another integration is checked a few times: so would this one have been.
    let before = world.jira().count("myself").received;
    wait_for("a few health checks", async || {
        (world.jira().count("myself").received >= before + 3).then_some(())
    })
    .await;

    assert_eq!(cards(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_where_the_last_one_ended_and_begins_anew_where_graph_has_forgotten() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "teams/sync";
    let id = channel(&world, site, json!({})).await;
    world.sandbox.configure(site, json!({ "page": 2 })).unwrap();
    let mut last = Uuid::nil();
    for number in 0..5 {
        let (create, ticket) = world.create_at(id, &format!("Ticket {number}")).await;
        world.succeeds(create).await;
        last = ticket;
    }
    let base = format!(
        "{}/v1.0/teams/{TEAM}/channels/{CHANNEL}/messages",
        world.sandbox.url(site)
    );
    let colleague = async |url: &str| {
        let body =
            json!({ "body": { "contentType": "html", "content": "<p>Any <b>news</b>?</p>" } });
        let body = body.to_string();
        let (status, _) = http_as("Bearer colleague", "POST", url, "application/json", &body).await;
        assert_eq!(status, 201);
    };
    // A colleague's message is no ticket.
    colleague(&base).await;
    let sync = async |kind: &str| {
        let data = json!({ "integration_id": id, "sync_type": kind });
        let command = world.publish("integration.sync", data).await;
        world.succeeds(command).await["data"]["result"].clone()
    };

    let full = sync("full").await;
    assert_eq!(
        (&full["complete"], &full["counts"]["seen"]),
        (&json!(true), &json!(5)),
        "{full:#}"
    );
    assert_eq!(sync("incremental").await["counts"]["seen"], 0);
    let root = message(&world, site, last).id;
    colleague(&format!("{base}/{root}/replies")).await;
    assert_eq!(sync("incremental").await["counts"]["seen"], 1);
    let forgets = json!({ "forgets_deltas": true });
    world.sandbox.configure(site, forgets).unwrap();
    let anew = sync("incremental").await;
    assert_eq!(anew["complete"], true, "{anew:#}");
    let answer = world
        .ask(
            "integration.fields",
            json!({ "integration_id": id, "search": "GENER" }),
        )
        .await;
    let fields = answer["data"]["result"]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 1, "{answer:#}");
    assert_eq!(fields[0]["id"], "19:general@thread.tacv2");
    assert_eq!(fields[0]["type"], "standard channel");
    drop(worker);
}
