//! What an answer means, whatever was asked.

use chrono::Utc;
use ticketwire::platforms::ErrorClass;
use ticketwire::sandbox::{Fault, FaultKind};

use super::bench::{Bench, class};
use super::row::{Act, Case, Row, Steps};
use super::{all_rows, faulty, for_each_act, for_each_row, for_each_silent_act, rows_over_http};

/// Rows whose cases share a sandbox.
const ROWS_AT_ONCE: usize = 4;

fn in_ninety_seconds() -> String {
    (Utc::now() + chrono::Duration::seconds(90))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

fn cases() -> Vec<Case> {
    let same = |name, fault, class| (name, fault, class, class);
    let lost = |name, kind, setting| (name, Fault::new(kind), "unknown", setting);
    vec![
        same("400", Fault::status(400), "validation"),
        same("401", Fault::status(401), "authentication"),
        same("403", Fault::status(403), "permission"),
        same("404", Fault::status(404), "not_found"),
        same("422", Fault::status(422), "validation"),
        same("429", Fault::rate_limited(5), "rate_limited"),
        same(
            "429 with a date",
            Fault::status(429).header("Retry-After", &in_ninety_seconds()),
            "rate_limited",
        ),
        ("500", Fault::status(500), "unknown", "transient"),
        ("502", Fault::status(502), "unknown", "transient"),
        ("503", Fault::status(503), "unknown", "transient"),
        ("504", Fault::status(504), "unknown", "transient"),
        lost(
            "a reset before it arrived",
            FaultKind::ResetBeforeStore,
            "transient",
        ),
        lost(
            "a reset after it arrived",
            FaultKind::ResetAfterStore,
            "transient",
        ),
    ]
}

/// The same, where each takes the client's whole time.
fn silent() -> Case {
    let hang = Fault::new(FaultKind::Hang);
    ("no answer in time", hang, "unknown", "timeout")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_every_operation_has_its_class() {
    let cases = cases();
    // A site for each case: all of them are more than one sandbox keeps.
    for rows in rows_over_http().chunks(ROWS_AT_ONCE) {
        let bench = Bench::new().await;
        for_each_act(&bench, rows, async |bench, row, steps| {
            for case in cases.iter().chain(&row.peculiar) {
                has_its_class(bench, row, steps, case).await;
            }
        })
        .await;
        for_each_silent_act(&bench, rows, async |bench, row, steps| {
            has_its_class(bench, row, steps, &silent()).await;
        })
        .await;
    }
}

async fn has_its_class(bench: &Bench, row: &Row, steps: &Steps, case: &Case) {
    let (name, fault, making, setting) = case;
    let fault = fault.clone().times(0);
    let site = faulty(bench, row, steps, steps.makes, fault).await;

    let result = site.perform(steps.act).await;

    let where_ = format!("{} {:?} {name}", row.name, steps.act);
    let error = result.expect_err(&where_);
    let expected = if steps.makes_something() {
        making
    } else {
        setting
    };
    assert_eq!(class(&error), *expected, "{where_}: {error:?}");
    assert!(
        !error.public.is_empty(),
        "{where_}: an error without a word"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_of_a_mail_server_has_its_class() {
    let bench = Bench::new().await;
    let says = |step, code, text: &str| (step, Fault::status(code).body(text.into()));
    let breaks = |step, kind| (step, Fault::new(kind));
    let cases = [
        (says("auth", 535, "5.7.8 not accepted"), "authentication"),
        (says("auth", 454, "4.7.0 later"), "transient"),
        (says("auth", 535, "5.7.30 Basic is off"), "authentication"),
        (says("mail", 553, "5.7.1 not owned by user"), "permission"),
        (says("mail", 501, "5.1.8 bad sender"), "validation"),
        (says("mail", 421, "4.3.2 shutting down"), "rate_limited"),
        (says("rcpt", 550, "5.1.1 user unknown"), "not_found"),
        (says("rcpt", 550, "5.7.1 relaying denied"), "permission"),
        (says("rcpt", 450, "4.7.1 greylisted"), "transient"),
        (says("rcpt", 452, "4.5.3 too many"), "rate_limited"),
        (says("data_start", 451, "4.3.0 local error"), "transient"),
        (says("data_start", 554, "5.5.1 no"), "validation"),
        (
            breaks("data_start", FaultKind::ResetBeforeStore),
            "transient",
        ),
        (breaks("data_start", FaultKind::Hang), "timeout"),
        // What follows the final dot: a code is an answer, and what is none may be anything.
        (says("data", 550, "5.7.26 DMARC"), "permission"),
        (says("data", 550, "5.4.5 daily limit"), "rate_limited"),
        (says("data", 552, "5.3.4 too big"), "validation"),
        (says("data", 451, "4.3.0 local error"), "transient"),
        (says("data", 554, "5.6.0 content refused"), "validation"),
        (breaks("data", FaultKind::ResetBeforeStore), "unknown"),
        (breaks("data", FaultKind::ResetAfterStore), "unknown"),
        (breaks("data", FaultKind::Hang), "unknown"),
    ];
    let mut rows = all_rows();
    rows.retain(super::Row::is_mail);
    assert_eq!(rows.len(), 3);
    // One after the other: until it is known whose a connection is, it meets the faults of all.
    for row in &rows {
        for ((step, fault), expected) in &cases {
            if !row.logs_in() && matches!(*step, "auth" | "mail") {
                continue;
            }
            for act in [Act::Create, Act::Update, Act::Attach] {
                if fault.kind == FaultKind::Hang && act != Act::Create {
                    continue;
                }
                let steps = row.steps(act).unwrap();
                let fault = fault.clone().times(0);
                let site = faulty(&bench, row, steps, step, fault).await;

                let result = site.perform(act).await;

                bench.sandbox.clear_faults(&site.site).unwrap();
                let where_ = format!("{} {act:?}, {step}: {result:?}", row.name);
                let error = result.expect_err(&where_);
                assert_eq!(&class(&error), expected, "{where_}");
                assert!(
                    !error.public.is_empty(),
                    "{where_}: an error without a word"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_cannot_be_read_is_of_unknown_outcome() {
    let mut bench = Bench::new().await;
    // Answers of 64 MiB take their time on a machine that does other things, too.
    bench.give_time();
    let cases = [
        ("garbage", Fault::new(FaultKind::Garbage)),
        ("an oversize body", Fault::new(FaultKind::Oversize)),
        ("a body cut off", Fault::new(FaultKind::CutBody)),
    ];
    let mut rows = all_rows();
    rows.retain(|row| row.reads_answers);
    for_each_act(&bench, &rows, async |bench, row, steps| {
        if !steps.makes_something() {
            return;
        }
        for (name, fault) in &cases {
            let fault = fault.clone().times(0);
            let site = faulty(bench, row, steps, steps.makes, fault).await;
            let error = site.perform(steps.act).await.expect_err(name);
            let where_ = format!("{} {:?} {name}", row.name, steps.act);
            assert_eq!(class(&error), "unknown", "{where_}: {error:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_the_place_of_an_answer_is_no_success() {
    let bench = Bench::new().await;
    let mut rows = all_rows();
    // A receiver of signed deliveries may answer with whatever it likes.
    rows.retain(|row| row.platform != ticketwire::domain::Platform::Webhook);
    for_each_act(&bench, &rows, async |bench, row, steps| {
        // The request takes effect; what comes back is a proxy's.
        let mut fault = Fault::new(FaultKind::Garbage).times(0);
        fault.status = Some(200);
        let site = faulty(bench, row, steps, steps.makes, fault).await;

        let error = site.perform(steps.act).await.expect_err(row.name);

        let expected = if steps.makes_something() {
            "unknown"
        } else {
            "transient"
        };
        let where_ = format!("{} {:?}", row.name, steps.act);
        assert_eq!(class(&error), expected, "{where_}: {error:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_retry_after_are_honoured_to_the_second() {
    let bench = Bench::new().await;
    for_each_row(&bench, &rows_over_http(), async |bench, row| {
        let steps = row.steps(Act::Create).unwrap();
        for (text, least, most) in [("75", 74, 75), (in_ninety_seconds().as_str(), 80, 90)] {
            let fault = Fault::status(429).header("Retry-After", text).times(0);
            let site = faulty(bench, row, steps, steps.makes, fault).await;
            let error = site.perform(Act::Create).await.unwrap_err();
            let ErrorClass::RateLimited { retry_after } = error.class else {
                panic!("{text}: {error:?}");
            };
            let seconds = retry_after.unwrap().as_secs();
            assert!((least..=most).contains(&seconds), "{text}: {seconds}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let bench = Bench::new().await;
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        let mut fault = Fault::new(FaultKind::Redirect).times(0);
        fault.location = Some("http://127.0.0.1:1/elsewhere".into());
        let site = faulty(bench, row, steps, steps.makes, fault).await;
        let error = site.perform(steps.act).await.unwrap_err();
        assert!(
            !["transient", "unknown", "timeout"].contains(&class(&error)),
            "{}: nothing was made, and trying again leads to the same: {error:?}",
            row.name
        );
    })
    .await;
}
