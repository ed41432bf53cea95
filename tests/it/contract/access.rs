//! The audit log, requests that may be made again, and when API keys were used.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use waypost::domain::audit::{Action, Entry};
use waypost::domain::plan::Generation;
use waypost::store::access::{Bits, Claim};
use waypost::store::{PageQuery, Store, StoreError};

use super::Harness;
use crate::support::{at, endpoint};

fn entry(number: i64) -> Entry {
    let mut entry = Entry::new(at(number), "ops", Action::WebhookUpdated, Some(&format!("wh_{number}")));
    entry.changed = vec!["url".into()];
    entry
}

fn entries(numbers: std::ops::Range<i64>) -> Vec<Entry> {
    numbers.map(entry).collect()
}

/// All of the log in parts of so many, oldest first.
async fn audit(store: &dyn Store, limit: usize) -> Vec<Entry> {
    let (mut all, mut ids, mut cursor) = (Vec::new(), BTreeSet::new(), None);
    loop {
        let page = store.audit(&PageQuery { cursor, limit }).await.unwrap();
        assert!(page.items.len() <= limit);
        for kept in page.items {
            assert!(kept.id.starts_with("aud_") && ids.insert(kept.id.clone()), "{} is there twice", kept.id);
            all.insert(0, kept.entry);
        }
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

pub(crate) async fn what_was_told_is_listed_latest_first_and_survives_a_reopen(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(audit(&*store, 3).await, []);
    store.note(&[]).await.unwrap();
    store.note(&entries(0..3)).await.unwrap();
    for number in 3..7 {
        store.note(&entries(number..number + 1)).await.unwrap();
    }
    for limit in [1, 2, 7, 100] {
        assert_eq!(audit(&*store, limit).await, entries(0..7), "{limit}");
    }
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    store.note(&entries(7..8)).await.unwrap();
    assert_eq!(audit(&*store, 3).await, entries(0..8));
    for cursor in ["what", "1", "-", "1-", "aud_1-1"] {
        let page = PageQuery { cursor: Some(cursor.into()), limit: 3 };
        assert!(matches!(store.audit(&page).await, Err(StoreError::BadCursor)), "{cursor}");
    }
}

pub(crate) async fn a_change_of_endpoints_is_told_if_it_is_made(harness: &mut impl Harness) {
    let store = harness.store();
    let change = async |base, entries: &[Entry]| {
        store.replace_endpoints(base, &[endpoint("wh_a")], &["wh_gone".into()], entries).await.unwrap()
    };
    let first = change(Generation(0), &entries(0..2)).await.unwrap();
    assert_eq!(change(Generation(0), &entries(2..4)).await, None);
    assert_eq!(audit(&*store, 100).await, entries(0..2), "of what was not changed nothing is told");
    let set = store.endpoints().await.unwrap();
    assert_eq!((set.all.len(), set.generation), (1, first));
    // More than one commit may tell of.
    change(first, &entries(2..252)).await.unwrap();
    assert_eq!(audit(&*store, 100).await, entries(0..252));
}

fn asked(digest: u8, bits: u8) -> Claim {
    Claim { digest: [digest; 16], bits: [bits; 16], made: None }
}

pub(crate) async fn of_several_who_claim_one_is_first(harness: &mut impl Harness) {
    let store = harness.store();
    let (one, other): (Bits, Bits) = ([1; 16], [2; 16]);
    let claims: Vec<_> = (0..8).map(|number| asked(number, number)).collect();
    let answers = join_all(claims.iter().map(|claim| store.claim(one, claim))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let first = answers[0].clone();
    assert!(claims.contains(&first) && answers.iter().all(|answer| *answer == first), "{answers:?}");
    assert_eq!(store.claim(other, &asked(9, 9)).await.unwrap(), asked(9, 9));
    store.settle(one, "wh_a|b").await.unwrap();
    store.settle([3; 16], "nobody asked").await.unwrap();
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let settled = Claim { made: Some("wh_a|b".into()), ..first };
    assert_eq!(store.claim(one, &asked(7, 7)).await.unwrap(), settled);
    assert_eq!(store.claim(other, &asked(8, 8)).await.unwrap(), asked(9, 9));
    assert_eq!(store.claim([3; 16], &asked(8, 8)).await.unwrap(), asked(8, 8));
}

pub(crate) async fn the_latest_use_of_a_key_stays(harness: &mut impl Harness) {
    let store = harness.store();
    let names = || vec!["ops".to_owned(), "a key with | and \u{e9}".to_owned(), "never".to_owned()];
    assert_eq!(store.uses(names()).await.unwrap(), [None, None, None]);
    assert_eq!(store.uses(vec![]).await.unwrap(), []);
    for (ops, other) in [(10, 100), (30, 90), (20, 110)] {
        let uses = [("ops".to_owned(), at(ops)), (names().remove(1), at(other))].into();
        store.note_uses(&uses).await.unwrap();
    }
    drop(store);
    harness.reopen().await;
    assert_eq!(harness.store().uses(names()).await.unwrap(), [Some(at(30)), Some(at(110)), None]);
}
