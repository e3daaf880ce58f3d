//! What is read back: items, changes, choices.

use ticketwire::platforms::{ItemRef, SyncFrom};

use super::bench::{Bench, Connected, class};
use super::row::Act;
use super::{all_rows, for_each_row};

impl Connected<'_> {
    fn item(&self) -> ItemRef {
        let stable = self.ticket.external_ref.get(self.driver.stable_ref());
        ItemRef {
            external_id: self.ticket.external_id.clone().unwrap(),
            stable_id: stable.and_then(|id| id.as_str()).map(str::to_owned),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_read_back_as_it_was_made() {
    let bench = Bench::new().await;
    let mut rows = all_rows();
    rows.retain(|row| row.reads);
    assert!(!rows.is_empty());
    for_each_row(&bench, &rows, async |bench, row| {
        let site = bench.connect(row).created().await;

        let found = site.driver.get(&site.context(), &site.item()).await;

        let found = found.unwrap().expect("it was made");
        assert_eq!(found.item, site.item(), "{}", row.name);
        let ours = site.driver.ours(&found.facts);
        assert_eq!(
            ours.title.as_deref(),
            Some(&*site.ticket.title),
            "{}",
            row.name
        );
        let theirs = site.driver.theirs(&site.ticket);
        if theirs.title.is_some() {
            assert_eq!(theirs.title, found.facts.title, "{}", row.name);
        }
        // What is not there is none, and no error.
        let gone = ItemRef {
            external_id: "NONE-1".into(),
            stable_id: Some("999999999".into()),
        };
        let gone = site.driver.get(&site.context(), &gone).await.unwrap();
        assert_eq!(gone, None, "{}", row.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_listed_over_pages_each_item_with_its_mark() {
    let bench = Bench::new().await;
    let mut rows = all_rows();
    rows.retain(|row| row.reads);
    for_each_row(&bench, &rows, async |bench, row| {
        let site = bench.connect(row).created().await;
        site.perform(Act::Update).await.unwrap();
        let mut seen = Vec::new();
        let (mut page, mut pages) = (None, 0);
        loop {
            let from = SyncFrom {
                page: page.as_deref(),
                ..SyncFrom::default()
            };
            let listed = site.driver.changes(&site.context(), &from).await.unwrap();
            assert_eq!(listed.unreadable, 0, "{}", row.name);
            seen.extend(listed.changes);
            pages += 1;
            assert!(pages < 50, "{}: pages without an end", row.name);
            match listed.next {
                Some(next) => page = Some(next),
                None => break,
            }
        }
        let item = site.item();
        let mut ours = seen
            .iter()
            .filter(|change| change.item.address() == item.address());
        let last = ours
            .next_back()
            .unwrap_or_else(|| panic!("{}: {seen:?}", row.name));
        if last.whole {
            assert_eq!(last.facts.title.as_deref(), Some("Changed"), "{}", row.name);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_why() {
    let bench = Bench::new().await;
    let mut rows = all_rows();
    rows.retain(|row| !row.reads);
    for_each_row(&bench, &rows, async |bench, row| {
        let site = bench.connect(row);
        let facts = ticketwire::platforms::descriptor(row.platform);
        let why = facts.mode(row.auth_type).unwrap().cannot_read.unwrap();
        let context = site.context();

        let page = site.driver.changes(&context, &SyncFrom::default()).await;
        let fields = site.driver.fields(&context, None).await;

        for error in [page.unwrap_err(), fields.unwrap_err()] {
            assert_eq!((class(&error), error.public.as_str()), ("unsupported", why));
        }
        assert!(bench.sandbox.ledger(&site.site).recent.is_empty());
    })
    .await;
}
