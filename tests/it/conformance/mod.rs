//! The conformance suite: what every adapter answers to what a platform may do. A platform's rows
//! stand beside its own tests ([`crate::platforms::rows`]); the cases are the same for all.

mod bench;
mod by_hand;
mod faults;
mod random;
mod reading;
mod row;
mod steps;
mod strangers;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select, select_all};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use ticketwire::domain::{Platform, TicketPatch, TicketView};
use ticketwire::platforms::{
    self, DedupKey, ErrorClass, HttpClient, Operation, Protection, TestKind,
};
use ticketwire::sandbox::Fault;

use self::bench::{Bench, Connected, class, here, mail_client};
pub(crate) use self::row::{Act, Guard, Row, SECRET, Steps, log_ins, on};

/// Every row of every platform.
fn all_rows() -> Vec<Row> {
    let platforms = Platform::ALL.iter().copied();
    platforms.flat_map(crate::platforms::rows).collect()
}

/// Those that answer with a status of HTTP.
fn rows_over_http() -> Vec<Row> {
    let mut rows = all_rows();
    rows.retain(|row| !row.is_mail());
    rows
}

/// So many sites are used at once: requests have a time-out, and machines have few cores.
const AT_ONCE: usize = 8;

/// Does something for each row, several at once.
async fn for_each_row(bench: &Bench, rows: &[Row], then: impl AsyncFn(&Bench, &Row)) {
    let then = &then;
    let all = rows.iter().map(|row| async move { then(bench, row).await });
    stream::iter(all)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

/// Does something for each act that a row can do, several at once.
async fn for_each_act(bench: &Bench, rows: &[Row], then: impl AsyncFn(&Bench, &Row, &Steps)) {
    acts_at_once(AT_ONCE, bench, rows, then).await;
}

/// The same for what does little but wait for an answer that never comes.
async fn for_each_silent_act(
    bench: &Bench,
    rows: &[Row],
    then: impl AsyncFn(&Bench, &Row, &Steps),
) {
    acts_at_once(3 * AT_ONCE, bench, rows, then).await;
}

async fn acts_at_once(
    at_once: usize,
    bench: &Bench,
    rows: &[Row],
    then: impl AsyncFn(&Bench, &Row, &Steps),
) {
    let then = &then;
    let acts = rows
        .iter()
        .flat_map(|row| row.operations.iter().map(move |steps| (row, steps)));
    let all = acts.map(|(row, steps)| async move { then(bench, row, steps).await });
    stream::iter(all)
        .buffer_unordered(at_once)
        .collect::<()>()
        .await;
}

#[test]
fn every_mode_of_every_platform_has_a_row() {
    for platform in Platform::ALL {
        let rows = crate::platforms::rows(*platform);
        let modes = platforms::descriptor(*platform).modes;
        for mode in modes {
            let has = rows.iter().any(|row| row.auth_type == mode.auth_type);
            // The accounts of a Data Center are those of its tokens.
            let is_like_another = *platform == Platform::Jira && mode.auth_type.as_str() == "basic";
            assert!(has || is_like_another, "{platform}: {}", mode.name);
            for row in rows.iter().filter(|row| row.auth_type == mode.auth_type) {
                for act in Act::ALL {
                    let can = mode.cannot(act.kind()).is_none();
                    assert_eq!(row.steps(act).is_some(), can, "{}: {act:?}", row.name);
                }
                assert_eq!(row.reads, mode.cannot_read.is_none(), "{}", row.name);
            }
        }
        assert_eq!(rows.is_empty(), modes.is_empty(), "{platform}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_works_where_nothing_is_wrong() {
    let bench = Bench::new().await;
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        let site = bench.connect(row).ready_for(steps.act).await;
        let made = site.perform(steps.act).await;
        let mut receipt = made.unwrap_or_else(|e| panic!("{} {:?}: {e:?}", row.name, steps.act));
        let unfinished = site
            .with(steps.act, async |operation| {
                let context = site.context();
                site.driver
                    .complete(&context, operation, &mut receipt)
                    .await
            })
            .await;
        assert!(unfinished.is_none(), "{}: {unfinished:?}", row.name);
        assert_eq!(receipt.external_id.is_some(), steps.act == Act::Create);
        let is_comment = receipt.external_comment_id.is_some();
        assert!(!is_comment || steps.act == Act::Comment, "{}", row.name);
        // The steps are those that the row names, and the request that makes it was sent once.
        let ledger = bench.sandbox.ledger(&site.site);
        for step in steps.before.iter().chain(steps.after).chain([&steps.makes]) {
            let count = ledger.count(step).received;
            assert!(
                count >= 1,
                "{} {:?}: {step} was not sent",
                row.name,
                steps.act
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_shows_nothing_is_refused_and_a_title_that_does_is_none() {
    let bench = Bench::new().await;
    for_each_row(&bench, &all_rows(), async |bench, row| {
        let site = bench.connect(row);
        let mut ticket = site.ticket.clone();
        ticket.title = "\u{a0}\u{200b}".into();
        let key = DedupKey {
            marker: "tkt-untitled",
            received_at: chrono::Utc::now(),
        };
        let create = Operation::Create {
            ticket: &ticket,
            key,
        };
        let made = site.driver.perform(&site.context(), &create).await;
        assert!(made.is_ok(), "{}: {made:?}", row.name);
        if row.steps(Act::Comment).is_none() {
            return;
        }
        let before = bench.sandbox.ledger(&site.site).recent.len();
        for body in ["[]()", "&nbsp;", "\u{200b}"] {
            let comment = Operation::Comment {
                ticket: &ticket,
                body,
                public: true,
                key,
            };
            let refused = site.driver.perform(&site.context(), &comment).await;
            let fields = match refused.unwrap_err().class {
                ErrorClass::Validation { fields } => fields,
                class => panic!("{}: {class:?}", row.name),
            };
            assert!(fields.contains_key("body"), "{}: {fields:?}", row.name);
        }
        let after = bench.sandbox.ledger(&site.site).recent.len();
        assert_eq!(after, before, "{}: nothing is sent", row.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_that_is_cut_is_said_or_stands_whole_elsewhere() {
    let bench = Bench::new().await;
    let long = format!("{}end", "word ".repeat(99));
    for_each_row(&bench, &all_rows(), async |bench, row| {
        for act in [Act::Create, Act::Update] {
            if row.steps(act).is_none() {
                continue;
            }
            let site = bench.connect(row).ready_for(act).await;
            let ticket = TicketView {
                title: long.clone(),
                ..site.ticket.clone()
            };
            let patch = TicketPatch {
                title: Some(long.clone()),
                ..TicketPatch::default()
            };
            let (ticket, patch) = (&ticket, &patch);
            let key = DedupKey {
                marker: "tkt-long",
                received_at: chrono::Utc::now(),
            };
            let operation = match act {
                Act::Create => Operation::Create { ticket, key },
                _ => Operation::Update { ticket, patch, key },
            };
            let made = site.driver.perform(&site.context(), &operation).await;
            let made = made.unwrap_or_else(|error| panic!("{} {act:?}: {error:?}", row.name));
            let shown = serde_json::to_string(&bench.sandbox.ledger(&site.site).issues).unwrap();
            assert!(
                shown.contains(&long) || made.details.contains_key("title"),
                "{} {act:?}: {:?}",
                row.name,
                made.details
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_nobody_listens_at_is_transient_and_a_forbidden_address_blocked() {
    let bench = Bench::new().await;
    let mut strict = here();
    strict.allow.clear();
    let mail = mail_client(strict.clone());
    let client = HttpClient::new(strict, std::time::Duration::from_millis(800), 1).unwrap();
    for row in all_rows() {
        let gone = bench.connect_to(&row, "none", "http://127.0.0.1:1");
        let error = gone.perform(Act::Create).await.unwrap_err();
        assert_eq!(class(&error), "transient", "{error:?}");

        for address in [
            "http://169.254.169.254",
            "https://10.0.0.1",
            "http://[::1]:9",
            "http://localhost:9",
        ] {
            let site = bench.connect_to(&row, "none", address);
            let mut context = site.context().mailing(&mail);
            context.client = &client;
            let error = site
                .with(Act::Create, async |create| {
                    site.driver.perform(&context, create).await
                })
                .await
                .unwrap_err();
            assert_eq!(class(&error), "egress", "{address}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_never_answers_keeps_no_other_from_starting() {
    let mut bench = Bench::new().await;
    // The context's deadline, five seconds, is then what ends a request that nobody answers.
    bench.client = HttpClient::new(here(), std::time::Duration::from_secs(60), 4).unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let row = all_rows().remove(0);
    let sick = bench.connect_to(&row, "none", &url);
    // More than start at once.
    let mut waiting: Vec<_> = (0..200)
        .map(|_| Box::pin(sick.perform(Act::Create)))
        .collect();
    for request in &mut waiting {
        assert!(request.as_mut().now_or_never().is_none());
    }
    assert!(bench.client.waiting_to_start() > 100, "they queue");

    let well = bench.connect(&row);
    let answered = Box::pin(well.perform(Act::Create));
    match select(answered, select_all(waiting)).await {
        Either::Left((made, _)) => drop(made.unwrap()),
        Either::Right(((ended, _, _), _)) => panic!("it waited for the silent one: {ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_found_by_its_mark_and_nothing_else_is() {
    let bench = Bench::new().await;
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        if steps.guard != Guard::Lookup {
            return;
        }
        let (act, name) = (steps.act, row.name);
        let site = bench.connect(row).ready_for(act).await;
        let before = site.look_up(act).await.unwrap();
        assert_eq!(before, None, "{name} {act:?}: nothing was made yet");

        let made = site.perform(act).await.unwrap();

        let found = site.look_up(act).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{name} {act:?} is not found"));
        assert_eq!(found.external_id, made.external_id, "{name} {act:?}");
        // Some platforms name a comment only where it is read.
        if made.external_comment_id.is_some() {
            assert_eq!(
                found.external_comment_id, made.external_comment_id,
                "{name} {act:?}"
            );
        }
        // A file has no mark: it is known by its name and size.
        if !matches!(act, Act::Create | Act::Attach) {
            let other = site
                .with_marker(act, "cmd-another", async |operation| {
                    site.driver.look_up(&site.context(), operation).await
                })
                .await;
            assert_eq!(other.unwrap(), None, "{name} {act:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_protected_by_the_platform_has_one_effect_however_often_it_is_sent() {
    let bench = Bench::new().await;
    let native: Vec<Row> = all_rows()
        .into_iter()
        .filter(|row| row.guard() == Guard::Native)
        .collect();
    for row in &native {
        let site = bench.connect(row);
        for act in Act::ALL {
            let protection = site.driver.protection(act.kind());
            assert_eq!(protection, Protection::Native, "{}", row.name);
        }
        let first = site.perform(Act::Create).await.unwrap();
        let second = site.perform(Act::Create).await.unwrap();
        assert_eq!(first.external_id, second.external_id);
        let ledger = bench.sandbox.ledger(&site.site);
        assert_eq!(ledger.issues.len(), 1);
        let makes = row.steps(Act::Create).unwrap().makes;
        assert_eq!(ledger.count(makes).effective, 1);
    }
    assert!(!native.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_an_operation_is_what_its_adapter_says() {
    let bench = Bench::new().await;
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        let site = bench.connect(row).ready_for(steps.act).await;
        let protection = site
            .with(steps.act, async |operation| {
                let operation = site.driver.as_done(operation);
                site.driver.protection_of(&operation)
            })
            .await;
        let fits = match (&protection, steps.guard) {
            (Protection::Native, guard) => guard == Guard::Native,
            (Protection::Lookup { .. } | Protection::Key { .. }, guard) => guard == Guard::Lookup,
            (Protection::None, guard) => guard == Guard::Nothing,
        };
        assert!(fits, "{} {:?}: {protection:?}", row.name, steps.act);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_every_operation_shows_a_request_without_the_secret() {
    let bench = Bench::new().await;
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        let site = bench.connect(row).ready_for(steps.act).await;
        let sent = bench.sandbox.ledger(&site.site).recent.len();
        let shown = site
            .with(steps.act, async |operation| site.driver.rehearse(operation))
            .await
            .unwrap();
        let shown = shown.to_string();
        assert!(!shown.contains(SECRET), "{}: {shown}", row.name);
        assert!(shown.len() > 20, "{}: {shown}", row.name);
        let after = bench.sandbox.ledger(&site.site).recent.len();
        assert_eq!(after, sent, "{}: a dry run asked the platform", row.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_an_integration_can_pass_and_fail() {
    let bench = Bench::new().await;
    for_each_row(&bench, &all_rows(), async |bench, row| {
        let site = bench.connect(row);
        for check in TestKind::ALL {
            let report = site.driver.check(&site.context(), *check).await;
            let fine = match &report {
                Ok(_) => true,
                Err(error) => class(error) == "unsupported",
            };
            assert!(fine, "{} {check}: {report:?}", row.name);
        }
        if !row.logs_in() {
            return;
        }
        let refused = row.refusal().times(0);
        bench.sandbox.inject(&site.site, refused).unwrap();
        let error = site
            .driver
            .check(&site.context(), TestKind::Authentication)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "authentication", "{error:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mode_cannot_do_is_refused_with_the_reason_and_nothing_is_sent() {
    let bench = Bench::new().await;
    let mut refused = 0;
    for row in &all_rows() {
        let mode = platforms::descriptor(row.platform)
            .mode(row.auth_type)
            .unwrap();
        let mut site = bench.connect(row);
        site.ticket.external_id = Some("1".into());
        for act in Act::ALL.into_iter().filter(|act| row.steps(*act).is_none()) {
            let why = mode.cannot(act.kind()).unwrap();
            let error = site.perform(act).await.unwrap_err();
            assert_eq!((class(&error), error.public.as_str()), ("unsupported", why));
            let dry = site
                .with(act, async |operation| site.driver.rehearse(operation))
                .await;
            assert_eq!(class(&dry.unwrap_err()), "unsupported");
            refused += 1;
        }
        assert!(
            bench.sandbox.ledger(&site.site).recent.is_empty(),
            "{}",
            row.name
        );
    }
    assert!(refused >= 7, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let bench = Bench::new().await;
    let mut flows = 0;
    for row in &all_rows() {
        let site = bench.connect(row);
        if site.driver.token_flow().is_none() {
            continue;
        }
        flows += 1;
        let site = site.created().await;
        site.perform(Act::Comment).await.unwrap();
        assert_eq!(site.tokens.fetched(), 1, "{}", row.name);

        bench
            .sandbox
            .inject(&site.site, row.refusal().times(1))
            .unwrap();
        site.perform(Act::Comment).await.unwrap();

        assert_eq!(site.tokens.fetched(), 2, "{}: renewed once", row.name);
    }
    assert!(flows >= 2, "{flows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_beyond_every_limit_are_cut_and_said_and_hostile_ones_do_no_harm() {
    let bench = Bench::new().await;
    // One after the other: drawing such texts takes what a request's time-out has, where all do so
    // at once.
    for row in &all_rows() {
        let mut site = bench.connect(row);
        site.ticket.title = "T\u{e4}\u{1f600} <b>&amp;</b>\r\nX-Injected: yes ".repeat(20);
        site.ticket.description =
            "line *one* @here <script>x</script> | `y` \u{202e}\n".repeat(2_500);
        site.ticket.tags = (0..40)
            .map(|n| format!("tag {n} \"x\" \u{1f600}"))
            .collect();
        let made = site.perform(Act::Create).await;
        let made = made.unwrap_or_else(|error| panic!("{}: {error:?}", row.name));
        let mode = platforms::descriptor(row.platform);
        if mode.text_max.is_some() {
            let said = Value::from(made.details).to_string();
            assert!(said.contains("cut"), "{}: {said}", row.name);
        }
    }
}

/// A row at a site, with a fault in force.
async fn faulty<'b>(
    bench: &'b Bench,
    row: &'b Row,
    steps: &Steps,
    at: &'static str,
    fault: Fault,
) -> Connected<'b> {
    let site = bench.connect(row).ready_for(steps.act).await;
    bench.sandbox.inject(&site.site, fault.on(at)).unwrap();
    site
}
