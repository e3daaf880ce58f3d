//! One request of an operation makes something. Whatever becomes of the steps before and after it,
//! there is one item at most, and its receipt is whole.

use ticketwire::sandbox::{Fault, FaultKind, Ledger};

use super::bench::{Bench, Connected, class};
use super::row::{Act, Row};
use super::{all_rows, faulty, for_each_act, for_each_silent_act};

/// What may go wrong with a step.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("503", Fault::status(503)),
        ("429", Fault::rate_limited(5)),
        ("403", Fault::status(403)),
        ("a reset", Fault::new(FaultKind::ResetAfterStore)),
        ("garbage", Fault::new(FaultKind::Garbage)),
    ]
}

/// What there is of what an act makes.
fn made(ledger: &Ledger, act: Act) -> usize {
    match act {
        Act::Create => ledger.issues.len(),
        Act::Attach => ledger
            .issues
            .iter()
            .map(|item| item.attachments.len())
            .sum(),
        // Where an update is said, not set, it is another message.
        _ => ledger.issues.iter().map(|item| item.comments.len()).sum(),
    }
}

/// The same operation until it is done, as the pipeline does it: looked up where the outcome is
/// unknown, sent where nothing is found.
async fn until_done(site: &Connected<'_>, act: Act) {
    for _ in 0..3 {
        if let Ok(Some(_)) = site.look_up(act).await {
            return;
        }
        if site.perform(act).await.is_ok() {
            return;
        }
    }
    panic!("{} {act:?} is never done", site.name());
}

fn count(bench: &Bench, site: &Connected<'_>, act: Act) -> usize {
    made(&bench.sandbox.ledger(&site.site), act)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_before_that_fails_leaves_no_doubt_and_nothing_twice() {
    let bench = Bench::new().await;
    let ran = std::sync::atomic::AtomicUsize::new(0);
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        for step in steps.before {
            for (name, fault) in faults() {
                let where_ = format!("{} {:?}: {step} fails with {name}", row.name, steps.act);
                let fault = fault.times(0);
                let site = faulty(bench, row, steps, step, fault).await;
                let before = count(bench, &site, steps.act);

                let result = site.perform(steps.act).await;

                let made = count(bench, &site, steps.act) - before;
                match result {
                    Ok(_) => {}
                    Err(error) => {
                        assert_ne!(class(&error), "unknown", "{where_}: {error:?}");
                        assert_eq!(made, 0, "{where_}: {error:?}");
                    }
                }
                bench.sandbox.clear_faults(&site.site).unwrap();
                until_done(&site, steps.act).await;
                let made = count(bench, &site, steps.act) - before;
                assert!(made <= 1, "{where_}: {made} of them");
                ran.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    assert!(ran.into_inner() >= 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_after_that_fails_undoes_nothing() {
    let bench = Bench::new().await;
    let ran = std::sync::atomic::AtomicUsize::new(0);
    for_each_act(&bench, &all_rows(), async |bench, row, steps| {
        for step in steps.after {
            for (name, fault) in faults() {
                let where_ = format!("{} {:?}: {step} fails with {name}", row.name, steps.act);
                let fault = fault.times(0);
                let site = faulty(bench, row, steps, step, fault).await;
                let made = site.perform(steps.act).await;
                let made = made.unwrap_or_else(|error| panic!("{where_}: {error:?}"));
                let mut receipt = made.clone();

                // A failure is told, or costs nothing that counts; it is never an error.
                let _told = finished(&site, steps.act, &mut receipt).await;

                assert_eq!(receipt.external_id, made.external_id, "{where_}");
                assert_eq!(receipt.external_ref, made.external_ref, "{where_}");
                assert_eq!(count(bench, &site, steps.act), 1, "{where_}");
                // Whoever adopts it later finishes it.
                bench.sandbox.clear_faults(&site.site).unwrap();
                let mut adopted = site.look_up(steps.act).await.unwrap().unwrap();
                let told = finished(&site, steps.act, &mut adopted).await;
                assert!(told.is_none(), "{where_}: {told:?}");
                assert_eq!(count(bench, &site, steps.act), 1, "{where_}");
                ran.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    assert!(ran.into_inner() >= 5);
}

async fn finished(
    site: &Connected<'_>,
    act: Act,
    receipt: &mut ticketwire::platforms::Receipt,
) -> Option<Box<ticketwire::platforms::Unfinished>> {
    site.with(act, async |operation| {
        let context = site.context();
        site.driver.complete(&context, operation, receipt).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_that_makes_it_is_sent_once_whatever_became_of_its_answer() {
    let bench = Bench::new().await;
    let lost = |row: &Row| -> Vec<(&'static str, Fault)> {
        let mut lost = vec![
            (
                "a reset after it arrived",
                Fault::new(FaultKind::ResetAfterStore),
            ),
            ("no answer", Fault::new(FaultKind::Hang)),
        ];
        if row.reads_answers {
            lost.push(("garbage", Fault::new(FaultKind::Garbage)));
        }
        lost
    };
    for_each_silent_act(&bench, &all_rows(), async |bench, row, steps| {
        if steps.guard != super::Guard::Lookup {
            return;
        }
        for (name, fault) in lost(row) {
            let where_ = format!("{} {:?}: {name}", row.name, steps.act);
            let site = bench.connect(row).ready_for(steps.act).await;
            let before = count(bench, &site, steps.act);
            let fault = fault.on(steps.makes).times(0);
            bench.sandbox.inject(&site.site, fault).unwrap();

            let error = site.perform(steps.act).await.expect_err(&where_);

            assert_eq!(class(&error), "unknown", "{where_}: {error:?}");
            bench.sandbox.clear_faults(&site.site).unwrap();
            until_done(&site, steps.act).await;
            assert_eq!(count(bench, &site, steps.act) - before, 1, "{where_}");
        }
    })
    .await;
}
