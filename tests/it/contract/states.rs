//! States that providers tell as snapshots: an event exists only if its state came to hold.

use std::time::Duration;

use futures_util::future::join_all;
use waypost::domain::delivery::Class;
use waypost::domain::id::EventId;
use waypost::domain::plan::{Condition, Generation, Ingest};
use waypost::domain::retention::Lifetimes;
use waypost::domain::state::State;
use waypost::store::{Ingested, PageQuery, Store};

use super::Harness;
use crate::support::{ingest, telling, unit};

const NEW: Ingested = Ingested::Stored { new: 1, repeated: 0 };
const REPEATED: Ingested = Ingested::Stored { new: 0, repeated: 1 };
const NOTHING: Ingested = Ingested::Stored { new: 0, repeated: 0 };

fn told(entity: u8, at_ms: i64, holds: bool) -> Condition {
    Condition { entity: [entity; 16], state: State { at_ms, holds } }
}

fn event(identity: &str, condition: Condition) -> Ingest {
    ingest(Generation(0), vec![telling(unit("resend", identity, "", Class::Normal, &["wh_a"]), condition)])
}

/// A state that holds is an event, with an identity of its own; one that does not is only told.
fn snapshot(identity: &str, condition: Condition) -> Ingest {
    if condition.state.holds { event(identity, condition) } else { silent(condition) }
}

fn silent(condition: Condition) -> Ingest {
    Ingest { states: vec![condition], ..ingest(Generation(0), vec![]) }
}

async fn put(store: &dyn Store, ingest: Ingest) -> Ingested {
    store.ingest(ingest).await.unwrap()
}

async fn count(store: &dyn Store) -> usize {
    store.events(&PageQuery { cursor: None, limit: 100 }).await.unwrap().items.len()
}

pub(crate) async fn a_state_is_reported_when_it_comes_to_hold(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, event("a", told(1, 10, true))).await, NEW, "at first sight");
    assert_eq!(put(&*store, event("b", told(1, 20, true))).await, NOTHING, "it did already");
    assert!(store.event(&EventId::of("resend", "b")).await.unwrap().is_none());
    assert_eq!(put(&*store, silent(told(1, 30, false))).await, NOTHING);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(put(&*store, event("c", told(1, 40, true))).await, NEW);
    assert_eq!(put(&*store, event("d", told(1, 50, true))).await, NOTHING);
    assert_eq!(store.deliveries_of(&EventId::of("resend", "c")).await.unwrap().len(), 1);
    assert_eq!(count(&*store).await, 2);
}

pub(crate) async fn what_is_only_told_is_remembered(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, silent(told(1, 10, true))).await, NOTHING);
    assert_eq!(put(&*store, event("a", told(1, 20, true))).await, NOTHING, "it was made so");
    assert_eq!(put(&*store, silent(told(2, 10, false))).await, NOTHING);
    assert_eq!(put(&*store, event("b", told(2, 20, true))).await, NEW);
}

pub(crate) async fn an_older_snapshot_changes_nothing(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, silent(told(1, 20, false))).await, NOTHING);
    assert_eq!(put(&*store, event("a", told(1, 10, true))).await, NOTHING);
    assert_eq!(put(&*store, event("b", told(1, 30, true))).await, NEW, "the older one was not remembered");
    assert_eq!(put(&*store, silent(told(1, 25, false))).await, NOTHING);
    assert_eq!(put(&*store, event("c", told(1, 40, true))).await, NOTHING, "nor was that one");
}

pub(crate) async fn of_one_moment_the_one_that_holds_stays(harness: &mut impl Harness) {
    let store = harness.store();
    for (entity, order) in [(1, [true, false]), (2, [false, true])] {
        let mut reported = 0;
        for (place, holds) in order.into_iter().chain(order).enumerate() {
            let answer = put(&*store, snapshot(&format!("{entity} {place}"), told(entity, 10, holds))).await;
            reported += u32::from(answer == NEW);
        }
        assert_eq!(reported, 1, "{order:?}");
        let later = event(&format!("{entity} later"), told(entity, 11, true));
        assert_eq!(put(&*store, later).await, NOTHING, "{order:?}");
    }
}

/// Every order of these.
fn orders(of: &[(i64, bool)]) -> Vec<Vec<(i64, bool)>> {
    if of.is_empty() {
        return vec![vec![]];
    }
    let lead = |place: usize| {
        let mut rest = of.to_vec();
        let first = rest.remove(place);
        orders(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..of.len()).flat_map(lead).collect()
}

pub(crate) async fn snapshots_end_the_same_in_any_order(harness: &mut impl Harness) {
    let store = harness.store();
    let mut entity = 0;
    for (last, expected) in [((30, false), NEW), ((30, true), NOTHING)] {
        for order in orders(&[(10, true), (20, false), (20, true), last]) {
            entity += 1;
            // Each comes twice, at once and at the end.
            for (place, (at_ms, holds)) in order.iter().flat_map(|one| [one, one]).chain(&order).enumerate() {
                let identity = format!("{entity} {place}");
                put(&*store, snapshot(&identity, told(entity, *at_ms, *holds))).await;
            }
            let probe = event(&format!("{entity} probe"), told(entity, 40, true));
            assert_eq!(put(&*store, probe).await, expected, "{order:?}");
        }
    }
}

pub(crate) async fn a_stored_identity_is_a_repeat_whatever_its_state(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, event("a", told(1, 10, true))).await, NEW);
    for at_ms in [10, 5, 20] {
        assert_eq!(put(&*store, event("a", told(1, at_ms, true))).await, REPEATED);
    }
    assert_eq!(put(&*store, silent(told(1, 15, false))).await, NOTHING);
    assert_eq!(put(&*store, event("b", told(1, 16, true))).await, NEW, "a repeat left nothing behind");
}

pub(crate) async fn of_snapshots_that_come_together_one_is_reported(harness: &mut impl Harness) {
    let store = harness.store();
    let puts = (0..30_i64).map(|number| {
        let (store, one) = (&store, told(1, number % 10, number % 10 > 4));
        async move { put(&**store, snapshot(&number.to_string(), one)).await }
    });
    let answers = join_all(puts).await;
    assert_eq!(answers.iter().filter(|answer| **answer == NEW).count(), 1, "{answers:?}");
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn a_state_outlives_its_event(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    assert_eq!(put(&*store, event("a", told(1, 10, true))).await, NEW);
    while store.event(&EventId::of("resend", "a")).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(put(&*store, event("a", told(1, 10, true))).await, NOTHING);
    assert_eq!(put(&*store, event("b", told(1, 20, true))).await, NOTHING);
}

pub(crate) async fn each_entity_has_a_state_of_its_own(harness: &mut impl Harness) {
    let store = harness.store();
    for entity in 1..20 {
        assert_eq!(put(&*store, event(&entity.to_string(), told(entity, 10, true))).await, NEW);
    }
    assert_eq!(put(&*store, event("again", told(7, 11, true))).await, NOTHING);
}
