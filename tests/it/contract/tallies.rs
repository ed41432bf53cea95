//! What is counted at each source.

use std::collections::BTreeMap;

use waypost::domain::tally::{FIELDS_MAX, Outcome, Tallies, Tally};
use waypost::store::Store;
use waypost_providers::Kind;

use super::Harness;
use crate::support::at;

async fn tally(store: &dyn Store, source: &str) -> Tally {
    let mut found = store.tallies(vec!["other".into(), source.into()]).await.unwrap();
    assert_eq!(found.len(), 2);
    found.remove(1)
}

fn counted(second: i64) -> Tally {
    let mut tally = Tally::default();
    tally.taken(at(second + 7), Some(at(second)));
    tally.read(Outcome::Stored, Some(Kind::Bounced), "bounce");
    tally.read(Outcome::Unmapped, None, "a|b\u{e9}");
    tally.refused(Outcome::Unverified);
    tally
}

pub(crate) async fn what_was_counted_adds_up_and_survives_a_reopen(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(tally(&*store, "resend").await, Tally::default());
    assert!(store.tallies(vec![]).await.unwrap().is_empty());
    let mut sum = Tally::default();
    for second in [10, 30, 20] {
        let other: Tallies = [("resend", counted(second)), ("mailgun", counted(0))].map(|(n, t)| (n.into(), t)).into();
        store.count(&other).await.unwrap();
        sum.merge(counted(second));
        assert_eq!(tally(&*store, "resend").await, sum);
    }
    assert_eq!(sum.last_success(), Some(at(37)));
    drop(store);
    harness.reopen().await;
    assert_eq!(tally(&*harness.store(), "resend").await, sum);
}

pub(crate) async fn types_that_a_sender_makes_up_take_bounded_room(harness: &mut impl Harness) {
    let store = harness.store();
    for gateway in 0..4 {
        let mut tally = Tally::default();
        for number in 0..FIELDS_MAX / 2 {
            tally.read(Outcome::Unmapped, None, &format!("{gateway} {number}"));
        }
        store.count(&[("resend".to_owned(), tally)].into()).await.unwrap();
    }
    store.count(&[("resend".to_owned(), counted(0))].into()).await.unwrap();
    let counts = tally(&*store, "resend").await.counts();
    assert!(counts.len() <= FIELDS_MAX + 3, "{}", counts.len());
    assert_eq!(counts.iter().map(|one| one.count).sum::<u64>(), 2 * FIELDS_MAX as u64 + 3);
    let by_type = |outcome| counts.iter().filter(move |one| one.outcome == outcome);
    let stored: BTreeMap<_, _> = by_type(Outcome::Stored).map(|one| (one.provider_type.clone(), one.count)).collect();
    assert_eq!(stored, [(Some("other".into()), 1)].into());
    assert_eq!(by_type(Outcome::Unverified).count(), 1);
}
