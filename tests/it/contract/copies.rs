//! What a provider sends again under another id of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use waypost::domain::delivery::Class;
use waypost::domain::id::EventId;
use waypost::domain::plan::{Copies, Fingerprint, Generation, Unit};
use waypost::domain::retention::Lifetimes;
use waypost::store::{Ingested, PageQuery, Store};

use super::{Harness, LONG, lease};
use crate::support::{ingest, unit};

fn stored(new: u32, repeated: u32) -> Ingested {
    Ingested::Stored { new, repeated }
}

/// All are of one mail.
fn copy(identity: &str, fingerprint: u8, copies: Copies) -> Unit {
    let fingerprint = Some(Fingerprint { bits: [fingerprint; 16], copies });
    Unit { fingerprint, ..unit("sendgrid", identity, "mail", Class::Normal, &["wh_a"]) }
}

fn fact(identity: &str, fingerprint: u8) -> Unit {
    copy(identity, fingerprint, Copies::Repeat)
}

fn opening(identity: &str, fingerprint: u8) -> Unit {
    copy(identity, fingerprint, Copies::Kept)
}

async fn put(store: &dyn Store, units: Vec<Unit>) -> Ingested {
    store.ingest(ingest(Generation(0), units)).await.unwrap()
}

fn id(identity: &str) -> EventId {
    EventId::of("sendgrid", identity)
}

/// Of which event it may be a copy, by its own row and as it is listed.
async fn first_of(store: &dyn Store, identity: &str) -> Option<EventId> {
    let event = store.event(&id(identity)).await.unwrap().expect("it is stored");
    let page = store.events(&PageQuery { cursor: None, limit: 100 }).await.unwrap();
    let listed = page.items.into_iter().find(|listed| listed.id == event.id).expect("it is listed");
    assert_eq!(listed.possible_duplicate_of, event.possible_duplicate_of);
    assert_eq!(event.data.get(), format!(r#"{{"identity":"{identity}"}}"#));
    event.possible_duplicate_of
}

pub(crate) async fn a_fact_under_another_id_is_a_repeat(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, vec![fact("a", 1)]).await, stored(1, 0));
    assert_eq!(put(&*store, vec![fact("b", 1)]).await, stored(0, 1));
    assert_eq!(put(&*store, vec![fact("c", 2)]).await, stored(1, 0));
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    for identity in ["a", "b", "d"] {
        assert_eq!(put(&*store, vec![fact(identity, 1)]).await, stored(0, 1), "{identity}");
    }
    assert!(store.event(&id("b")).await.unwrap().is_none());
    assert_eq!(first_of(&*store, "a").await, None);
    let leased = lease(&*store, "wh_a", 10, Duration::ZERO).await;
    assert_eq!(leased.iter().map(|lease| &lease.event_id).collect::<Vec<_>>(), [&id("a")], "`c` waits for it");
}

pub(crate) async fn an_opening_under_another_id_is_kept_and_marked(harness: &mut impl Harness) {
    let store = harness.store();
    for (identity, first) in [("a", None), ("b", Some(id("a"))), ("c", Some(id("a")))] {
        assert_eq!(put(&*store, vec![opening(identity, 1)]).await, stored(1, 0), "{identity}");
        assert_eq!(first_of(&*store, identity).await, first, "{identity}");
    }
    assert_eq!(put(&*store, vec![opening("other", 2)]).await, stored(1, 0));
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let again = ["a", "b", "c"].map(|identity| opening(identity, 1)).to_vec();
    assert_eq!(put(&*store, again).await, stored(0, 3));
    assert_eq!(put(&*store, vec![opening("d", 1)]).await, stored(1, 0));
    for (identity, first) in [("a", None), ("b", Some(id("a"))), ("d", Some(id("a"))), ("other", None)] {
        assert_eq!(first_of(&*store, identity).await, first, "{identity}");
    }
    for identity in ["a", "b", "c", "other", "d"] {
        assert_eq!(store.deliveries_of(&id(identity)).await.unwrap().len(), 1, "{identity}");
    }
}

pub(crate) async fn copies_of_one_call_meet(harness: &mut impl Harness) {
    let store = harness.store();
    let call = vec![fact("a", 1), opening("o", 2), fact("b", 1), opening("p", 2), fact("a", 1), opening("p", 2)];
    assert_eq!(put(&*store, call).await, stored(3, 3));
    assert_eq!(first_of(&*store, "p").await, Some(id("o")));
    assert!(store.event(&id("b")).await.unwrap().is_none());
}

pub(crate) async fn an_identity_comes_first(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, vec![fact("a", 1), opening("o", 2)]).await, stored(2, 0));
    // What it says is another thing now; its id is the same.
    assert_eq!(put(&*store, vec![fact("a", 3), opening("o", 4)]).await, stored(0, 2));
    assert_eq!(first_of(&*store, "o").await, None);
    assert_eq!(put(&*store, vec![fact("b", 3), opening("p", 4)]).await, stored(2, 0), "a repeat leaves nothing behind");
    assert_eq!(first_of(&*store, "p").await, None);
    let plain = |identity| unit("sendgrid", identity, "mail", Class::Normal, &["wh_a"]);
    assert_eq!(put(&*store, vec![plain("x"), plain("y")]).await, stored(2, 0), "nothing tells them to be copies");
}

pub(crate) async fn of_copies_that_come_together_one_is_first(harness: &mut impl Harness) {
    let store = harness.store();
    let puts = (0..20).map(|number| {
        let store = &store;
        async move { put(&**store, vec![fact(&format!("f{number}"), 1), opening(&format!("o{number}"), 2)]).await }
    });
    let answers = join_all(puts).await;
    assert_eq!(answers.iter().filter(|answer| **answer == stored(2, 0)).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == stored(1, 1)).count(), 19, "{answers:?}");
    let page = store.events(&PageQuery { cursor: None, limit: 100 }).await.unwrap();
    assert_eq!(page.items.len(), 21);
    let marks: BTreeSet<_> = page.items.iter().filter_map(|event| event.possible_duplicate_of.clone()).collect();
    let first = store.event(marks.first().unwrap()).await.unwrap().unwrap();
    assert_eq!((marks.len(), first.possible_duplicate_of), (1, None));
    assert_eq!(page.items.iter().filter(|event| event.possible_duplicate_of.is_some()).count(), 19);
    assert_eq!(lease(&*store, "wh_a", 30, LONG).await.len(), 1, "one at a time of one mail");
}

pub(crate) async fn what_expired_is_no_longer_the_first(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    assert_eq!(put(&*store, vec![fact("a", 1), opening("o", 2)]).await, stored(2, 0));
    while store.event(&id("o")).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(put(&*store, vec![fact("b", 1), opening("p", 2)]).await, stored(2, 0));
    assert_eq!(first_of(&*store, "p").await, None);
}
