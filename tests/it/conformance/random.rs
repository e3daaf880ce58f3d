//! Tickets as nobody would write them, through every mode of every platform: as a dry run, and made
//! at the fake, which refuses what its vendor refuses.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use ticketwire::domain::{Platform, Priority, TicketCategory, TicketView, UserRef};
use ticketwire::platforms::{AdapterError, ErrorClass};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::bench::{Bench, ticket};
use super::{Act, Row, SECRET, all_rows};

/// What is more than text somewhere: markup, mentions, placeholders, headers, markers of others.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!channel> <!here> <@U0123ABCD> <#C0123ABCD>",
    "@everyone @channel @octocat",
    "[~accountid:5b10a2844c20165700ede21g] [~admin]",
    "{{ticket.requester.email}} {{7*7}} ${7*7} <%= 7 %>",
    "\\{\\{ticket.id}} {\\{ticket.id}} &#123;{ticket.id}} &lcub;&#x7b;ticket.id}}",
    "https://app.asana.com/0/profile/1100000000000099",
    "{code}h1. {html}x{html} !http://x.example/a.png!",
    "[ref:tkt-00000000-0000-4000-8000-000000000001]",
    "tkt-00000000-0000-4000-8000-000000000001",
    "\r\nX-Injected: yes\r\n\r\n",
    "\r\n.\r\nQUIT\r\n",
    "=cmd|' /C calc'!A0",
    "^ORactive=true^NQ",
    "' OR 1=1; --",
    "fixes #1, closes owner/repo#2",
    "[text](javascript:alert(1)) ![x](http://x.example/x.png)",
    "|| a | b ||\n| --- |\n> > > > quote",
    "```\nunclosed",
    "\u{202e}desrever \u{2066}x\u{2069}",
    "\u{0}\u{1}\u{7f}\u{85}\u{2028}",
    "\u{feff}\u{200b}\u{200d}",
    "👩\u{200d}👩\u{200d}👧\u{200d}👦 e\u{301}\u{301}\u{301} ß ﷽",
    "%00 %0d%0a %s %n",
    "\\\" \\u0000 \\",
];

/// A piece of a text.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,40}",
        3 => select(HOSTILE).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => ("[a-zäé\u{1f600} \n*_`#>|-]{1,30}", 1_usize..600)
            .prop_map(|(part, count)| part.repeat(count)),
    ]
}

fn text(pieces: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..pieces).prop_map(|pieces| pieces.join(" "))
}

/// A title as the contract takes it: 1 to 500 characters, of which one shows.
fn title() -> impl Strategy<Value = String> {
    text(4).prop_map(|text| format!("T{text}").chars().take(500).collect())
}

fn person() -> impl Strategy<Value = Option<UserRef>> {
    let mail = prop_oneof![
        Just(Some("known+ada@example.test".to_owned())),
        Just(Some("nobody@example.test".to_owned())),
        Just(Some("\"a b\"@x.example, <b@x.example>".to_owned())),
        Just(None),
    ];
    prop::option::of((text(2), mail).prop_map(|(name, email)| UserRef {
        id: Uuid::from_u128(7),
        full_name: Some(name),
        email,
    }))
}

fn custom_fields() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(2).prop_map(Value::from),
        prop::collection::vec(piece().prop_map(Value::from), 0..4).prop_map(Value::from),
        Just(json!({ "a": { "b": [1, null] } })),
    ];
    let name = prop_oneof!["[a-z_]{1,12}", piece()];
    prop::collection::btree_map(name, value, 0..4).prop_map(|fields| fields.into_iter().collect())
}

fn tickets() -> impl Strategy<Value = TicketView> {
    let words = (title(), text(6), prop::collection::vec(piece(), 0..8));
    let choices = (
        select(Priority::ALL),
        select(Priority::ALL),
        select(TicketCategory::ALL),
        prop::option::of(text(2)),
    );
    (words, choices, person(), person(), custom_fields()).prop_map(
        |(words, choices, assigned_to, created_by, custom_fields)| {
            let (title, description, tags) = words;
            let (priority, urgency, category, department) = choices;
            TicketView {
                title,
                description,
                tags,
                priority,
                urgency,
                category,
                department,
                assigned_to,
                created_by,
                custom_fields,
                ..ticket()
            }
        },
    )
}

/// What must not stand in a request to a platform, as it would do something there.
fn live(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Slack => &["<!channel>", "<!here>", "<@U0123ABCD>"],
        Platform::Zendesk | Platform::Freshdesk => &["{{", "{%"],
        Platform::Asana => &["https://app.asana.com/0/profile", "<script"],
        _ => &[],
    }
}

/// Every text of a request, with the name of its member.
fn texts(name: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((name.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(name, item, found)),
        // Titles and labels are plain text everywhere, and no templates.
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "tags" | "subject" | "name"))
            .for_each(|(name, member)| texts(name, member, found)),
        _ => {}
    }
}

/// A ticket may be refused for what it is; never for anything else.
fn is_fair(error: &AdapterError) -> bool {
    matches!(
        error.class,
        ErrorClass::Validation { .. } | ErrorClass::Unsupported
    )
}

fn check(row: &Row, act: Act, shown: &Result<Value, AdapterError>) -> Result<(), String> {
    let name = format!("{} {} {act:?}", row.platform, row.name);
    let holds = |is_so: bool, text: &str| is_so.then_some(()).ok_or(format!("{name}: {text}"));
    match shown {
        Ok(shown) => {
            let mut all = Vec::new();
            texts("", shown, &mut all);
            for (member, text) in &all {
                holds(!text.contains(SECRET), text)?;
                for live in live(row.platform) {
                    holds(!text.contains(live), &format!("{member}: {text}"))?;
                }
            }
        }
        Err(error) => holds(is_fair(error), &format!("{error:?}"))?,
    }
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// Runs a property; the failure is told after the runtime is free again.
fn holds<S: Strategy>(cases: u32, all: &S, property: impl Fn(S::Value) -> Result<(), String>) {
    let run = || runner(cases * 4).run(all, |value| property(value).map_err(TestCaseError::fail));
    if let Err(error) = tokio::task::block_in_place(run) {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ticket_breaks_a_dry_run_or_stands_live_in_one() {
    let bench = Bench::new().await;
    let rows = all_rows();
    let mut items = Vec::new();
    for row in &rows {
        items.push((row, bench.connect(row).created().await.ticket));
    }
    holds(32, &(tickets(), text(3)), |(ticket, said)| {
        for (row, item) in &items {
            let mut site = bench.connect(row);
            site.ticket = TicketView {
                external_id: item.external_id.clone(),
                external_ref: item.external_ref.clone(),
                ..ticket.clone()
            };
            site.said.clone_from(&said);
            for act in Act::ALL {
                if row.steps(act).is_none() {
                    continue;
                }
                let shown = Handle::current()
                    .block_on(site.with(act, async |operation| site.driver.rehearse(operation)));
                check(row, act, &shown)?;
            }
        }
        Ok(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ticket_is_taken_by_every_platform_within_its_limits() {
    let bench = Bench::new().await;
    let rows = all_rows();
    holds(8, &tickets(), |ticket| {
        for row in &rows {
            let mut site = bench.connect(row);
            site.ticket = ticket.clone();
            if let Err(error) = Handle::current().block_on(site.perform(Act::Create)) {
                // What the vendor refused was sent: the adapter did not keep a limit.
                let recent = bench.sandbox.ledger(&site.site).recent;
                let was_refused = recent.iter().any(|call| call.status == Some(400));
                if was_refused || !is_fair(&error) {
                    return Err(format!("{} {}: {error:?}", row.platform, row.name));
                }
            }
        }
        Ok(())
    });
}
