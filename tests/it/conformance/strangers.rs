//! No answer counts as success or as proof unless it was given to us.

use ticketwire::platforms::{AdapterError, ItemRef, KnownItem, SyncFrom, TestKind};

use super::bench::{Bench, Connected, MARKER, class};
use super::row::{Act, Guard, SECRET};
use super::{all_rows, for_each_row};

/// What is asked of an adapter besides operations.
async fn questions(site: &Connected<'_>) -> Vec<(String, Result<String, AdapterError>)> {
    let mut answers = Vec::new();
    for steps in &site.row.operations {
        if steps.guard == Guard::Lookup {
            let found = site.look_up(steps.act).await;
            answers.push((
                format!("{:?}", steps.act),
                found.map(|found| format!("{found:?}")),
            ));
        }
    }
    let context = site.context();
    for check in [
        TestKind::Authentication,
        TestKind::Permissions,
        TestKind::CreateTicket,
    ] {
        let report = site.driver.check(&context, check).await;
        answers.push((
            check.to_string(),
            report.map(|report| format!("{report:?}")),
        ));
    }
    let fields = site.driver.fields(&context, None).await;
    answers.push(("fields".into(), fields.map(|fields| format!("{fields:?}"))));
    let page = site.driver.changes(&context, &SyncFrom::default()).await;
    answers.push(("changes".into(), page.map(|page| format!("{page:?}"))));
    let stable = site.ticket.external_ref.get(site.driver.stable_ref());
    if let Some(id) = stable.and_then(|id| id.as_str()) {
        let known = KnownItem {
            id: id.into(),
            marker: MARKER.into(),
        };
        let found = site.driver.known(&context, &[known], None).await;
        // A platform that cannot follow its items asks for none of them.
        if !matches!(&found, Ok(found) if found.is_empty()) {
            answers.push(("known".into(), found.map(|found| format!("{found:?}"))));
        }
        let item = ItemRef {
            external_id: site.ticket.external_id.clone().unwrap(),
            stable_id: Some(id.into()),
        };
        let item = site.driver.get(&context, &item).await;
        answers.push(("item".into(), item.map(|item| format!("{item:?}"))));
    }
    if site.driver.token_flow().is_some() {
        let renewed = site.tokens.renewed(&context).await;
        answers.push(("token".into(), renewed.map(|token| format!("{token:?}"))));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_stranger_is_no_success_and_proves_nothing() {
    let bench = Bench::new().await;
    for_each_row(&bench, &all_rows(), async |bench, row| {
        for (way, fault) in &row.strange {
            let mut site = bench.connect(row);
            if row.guard() != Guard::Nothing {
                site = site.created().await;
            }
            // All of it works as long as we are known: then only the credential can be why it does
            // not.
            let known = questions(&site).await;
            for (question, answer) in &known {
                let refused = answer.as_ref().err();
                let sound = refused.is_none_or(|error| class(error) == "unsupported");
                assert!(sound, "{} {question}: {answer:?}", row.name);
            }
            let made = bench.sandbox.ledger(&site.site).issues.len();
            let fault = fault.clone().times(0);
            bench.sandbox.inject(&site.site, fault).unwrap();

            let mut answers = questions(&site).await;
            for steps in &row.operations {
                let done = site.perform(steps.act).await;
                let name = format!("performing {:?}", steps.act);
                answers.push((name, done.map(|receipt| format!("{receipt:?}"))));
            }
            assert!(answers.len() > 3);
            for (question, answer) in answers {
                let where_ = format!("{} {way}, {question}: {answer:?}", row.name);
                let error = answer.expect_err(&where_);
                let is_refusal = ["authentication", "unsupported"].contains(&class(&error));
                assert!(is_refusal, "{where_}");
                let could = known.iter().any(|(name, a)| *name == question && a.is_ok());
                assert!(!could || class(&error) == "authentication", "{where_}");
                assert!(!format!("{error:?}").contains(SECRET), "{where_}");
            }
            assert_eq!(bench.sandbox.ledger(&site.site).issues.len(), made);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_shows_no_marks_proves_nothing() {
    let bench = Bench::new().await;
    let mut rows = all_rows();
    rows.retain(|row| row.blind.is_some());
    assert!(rows.len() >= 4);
    for_each_row(&bench, &rows, async |bench, row| {
        let site = bench.connect(row).created().await;
        let none = site.look_up(Act::Comment).await.unwrap();
        assert_eq!(none, None, "{}: nothing was said yet", row.name);
        site.perform(Act::Comment).await.unwrap();
        let settings = row.blind.clone().unwrap();
        bench.sandbox.configure(&site.site, settings).unwrap();

        let error = site.look_up(Act::Comment).await.expect_err(row.name);

        assert!(error.public.contains("nothing is proved"), "{error:?}");
    })
    .await;
}
