//! Leases: who may attempt what, when, and in which order.

use std::time::Duration;

use waypost::domain::breaker::Breaker;
use waypost::domain::delivery::Class;
use waypost::domain::ownership::Shards;
use waypost::domain::plan::{Generation, Unit};
use waypost::store::{Due, Finished, LaneState, Lease, Store, Then, Want};

use super::{Harness, LONG, lease, lease_soon};
use crate::support::{DELIVERED, at, finished, ingest, unit};

const ZERO: Duration = Duration::ZERO;

async fn put(store: &dyn Store, identity: &str, mail: &str, class: Class) -> Unit {
    let unit = unit("resend", identity, mail, class, &["wh_a"]);
    store.ingest(ingest(Generation(0), vec![unit.clone()])).await.unwrap();
    unit
}

async fn finish(store: &dyn Store, lease: &Lease, then: Then) -> bool {
    store.finish(vec![finished(lease, then)]).await.unwrap().is_empty()
}

async fn due(store: &dyn Store) -> Due {
    store.due(Shards::ALL).await.unwrap()
}

fn ids(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.event_id.as_str()).collect()
}

pub(crate) async fn a_lost_lease_cannot_finish(harness: &mut impl Harness) {
    let store = harness.store();
    let event = put(&*store, "a", "a", Class::Normal).await;
    let first = lease(&*store, "wh_a", 1, ZERO).await;
    let second = lease_soon(&*store, "wh_a", 1, LONG).await;
    assert!(second[0].token > first[0].token);
    let lost = store.finish(vec![finished(&first[0], DELIVERED)]).await.unwrap();
    assert!(matches!(&lost[..], [lost] if lost.event_id == event.id && lost.endpoint == "wh_a".into()), "{lost:?}");
    let deliveries = store.deliveries_of(&event.id).await.unwrap();
    assert_eq!((deliveries[0].begun, deliveries[0].attempts.len()), (2, 0));
    assert!(finish(&*store, &second[0], DELIVERED).await);
}

pub(crate) async fn a_lease_that_lapses_comes_again(harness: &mut impl Harness) {
    let store = harness.store();
    let event = put(&*store, "a", "a", Class::Normal).await;
    let first = lease(&*store, "wh_a", 1, ZERO).await;
    assert_eq!((first[0].number, first[0].event.as_ref().unwrap().id.clone()), (1, event.id.clone()));
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let second = lease_soon(&*store, "wh_a", 1, LONG).await;
    assert_eq!(second[0].number, 2);
    let deliveries = store.deliveries_of(&event.id).await.unwrap();
    assert_eq!((deliveries[0].begun, deliveries[0].attempts.len()), (2, 0));
    assert!(deliveries[0].begun_at.is_some());
    assert_eq!(lease(&*store, "wh_a", 1, LONG).await.len(), 0);
}

pub(crate) async fn a_lease_finishes_once(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "a", Class::Normal).await;
    let first = lease(&*store, "wh_a", 1, LONG).await;
    assert!(finish(&*store, &first[0], Then::Retry(ZERO)).await);
    assert!(!finish(&*store, &first[0], Then::Retry(ZERO)).await);
    let second = lease_soon(&*store, "wh_a", 1, LONG).await;
    assert_eq!(second[0].number, 2);
    assert!(finish(&*store, &second[0], DELIVERED).await);
    assert!(!finish(&*store, &second[0], DELIVERED).await);
}

pub(crate) async fn one_mail_keeps_its_order_within_a_class(harness: &mut impl Harness) {
    let store = harness.store();
    let mut events = Vec::new();
    for identity in ["a", "b", "c"] {
        events.push(put(&*store, identity, "mail", Class::Normal).await.id);
    }
    for event in events {
        let leases = lease_soon(&*store, "wh_a", 10, LONG).await;
        assert_eq!(ids(&leases), [event.as_str()]);
        assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 0, "the next waits for the first");
        assert!(finish(&*store, &leases[0], DELIVERED).await);
    }
}

pub(crate) async fn a_retry_lets_the_next_of_its_mail_go(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "mail", Class::Normal).await;
    let second = put(&*store, "b", "mail", Class::Normal).await;
    let leases = lease(&*store, "wh_a", 10, LONG).await;
    assert!(finish(&*store, &leases[0], Then::Retry(LONG)).await);
    assert_eq!(ids(&lease_soon(&*store, "wh_a", 10, LONG).await), [second.id.as_str()]);
}

pub(crate) async fn classes_are_independent(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "mail", Class::Normal).await;
    let urgent = put(&*store, "b", "mail", Class::High).await;
    let leases = lease(&*store, "wh_a", 10, LONG).await;
    assert_eq!(leases.len(), 2);
    assert_eq!(leases[0].event_id, urgent.id, "the urgent one goes first");
}

pub(crate) async fn neither_class_starves(harness: &mut impl Harness) {
    let store = harness.store();
    for number in 0..8 {
        put(&*store, &format!("h{number}"), &format!("h{number}"), Class::High).await;
        put(&*store, &format!("n{number}"), &format!("n{number}"), Class::Normal).await;
    }
    let highs = |leases: &[Lease]| leases.iter().filter(|lease| lease.class == Class::High).count();
    let first = lease(&*store, "wh_a", 4, LONG).await;
    assert_eq!((first.len(), highs(&first)), (4, 3));
    let second = lease(&*store, "wh_a", 8, LONG).await;
    assert_eq!((second.len(), highs(&second)), (8, 5), "two are kept, and the one that is left over goes there too");
}

pub(crate) async fn nothing_due_costs_nothing_and_tells_when(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(due(&*store).await, Due::default());
    put(&*store, "a", "a", Class::Normal).await;
    assert_eq!(due(&*store).await.lanes, ["wh_a".into()]);
    assert_eq!(store.due(Shards::default()).await.unwrap().lanes, []);
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    let held = due(&*store).await;
    assert_eq!(held.lanes, []);
    assert!(held.next.is_some_and(|next| next > LONG / 2 && next <= LONG), "{held:?}");
    assert!(finish(&*store, &leases[0], DELIVERED).await);
    assert_eq!(due(&*store).await, Due::default());
}

pub(crate) async fn a_lane_rests(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "a", Class::Normal).await;
    let want = |limit| Want { endpoint: "wh_a".into(), limit, replays: limit, hold: LONG, rest: Some(LONG) };
    let generation = store.change_endpoints(Generation(0), &[]).await.unwrap().unwrap();
    let rested = store.lease(&[want(0)]).await.unwrap();
    assert_eq!((rested.leases.len(), rested.generation), (0, generation));
    let resting = due(&*store).await;
    assert_eq!(resting.lanes, []);
    assert!(resting.next.is_some_and(|next| next > LONG / 2), "{resting:?}");
    assert_eq!(store.lease(&[want(1)]).await.unwrap().leases.len(), 1, "who asks for it gets it");
}

/// A lane that was busy when its turn came rests; the next lease that finds a permit is to be followed by others.
pub(crate) async fn a_lease_without_a_rest_ends_it(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "a", Class::Normal).await;
    put(&*store, "b", "b", Class::Normal).await;
    let rest = Want { endpoint: "wh_a".into(), limit: 0, replays: 0, hold: LONG, rest: Some(LONG) };
    store.lease(&[rest]).await.unwrap();
    assert_eq!(lease(&*store, "wh_a", 1, LONG).await.len(), 1);
    assert_eq!(due(&*store).await.lanes, ["wh_a".into()]);
}

pub(crate) async fn a_lane_state_comes_back(harness: &mut impl Harness) {
    let store = harness.store();
    let lanes = ["wh_a".into(), "wh_b".into()];
    assert_eq!(store.lane_states(&lanes).await.unwrap(), []);
    let state = |failures, second| LaneState {
        breaker: Breaker { failures, since: Some(at(second)), sick_since: None },
        at: at(second),
    };
    for (number, (failures, second, kept)) in [(3, 10, 3), (2, 5, 3), (4, 20, 4)].into_iter().enumerate() {
        put(&*store, &number.to_string(), &number.to_string(), Class::Normal).await;
        let leases = lease(&*store, "wh_a", 1, LONG).await;
        let lane = Some(state(failures, second));
        let lost = store.finish(vec![Finished { lane, ..finished(&leases[0], Then::Retry(LONG)) }]).await.unwrap();
        assert_eq!(lost, []);
        let states = store.lane_states(&lanes).await.unwrap();
        assert!(matches!(&states[..], [(_, state)] if state.breaker.failures == kept), "{states:?}");
    }
}

pub(crate) async fn an_endpoint_that_was_removed_leaves_no_lane_state(harness: &mut impl Harness) {
    let store = harness.store();
    let lanes = ["wh_a".into(), "wh_b".into()];
    for (number, endpoint) in ["wh_a", "wh_a", "wh_a", "wh_b"].into_iter().enumerate() {
        // Each of another mail, so that they are in several parts of the store.
        let unit = unit("resend", &number.to_string(), &number.to_string(), Class::Normal, &[endpoint]);
        store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
        let leases = lease(&*store, endpoint, 1, LONG).await;
        let breaker = Breaker { failures: 10, since: Some(at(0)), sick_since: None };
        let lane = Some(LaneState { breaker, at: at(i64::try_from(number).unwrap()) });
        store.finish(vec![Finished { lane, ..finished(&leases[0], Then::Retry(LONG)) }]).await.unwrap();
    }
    assert_eq!(store.lane_states(&lanes).await.unwrap().len(), 2);
    store.replace_endpoints(Generation(0), &[], &lanes[..1], &[]).await.unwrap().unwrap();
    let states = store.lane_states(&lanes).await.unwrap();
    assert!(matches!(&states[..], [(endpoint, _)] if *endpoint == lanes[1]), "{states:?}");
}

pub(crate) async fn a_gateway_lives_until_it_leaves(harness: &mut impl Harness) {
    let store = harness.store();
    let (one, two) = ("gw_1".into(), "gw_2".into());
    assert_eq!(store.heartbeat(&one, LONG).await.unwrap(), ["gw_1".into()]);
    let mut both = store.heartbeat(&two, LONG).await.unwrap();
    both.sort();
    assert_eq!(both, [one.clone(), two.clone()]);
    store.leave(&one).await.unwrap();
    assert_eq!(store.heartbeat(&two, LONG).await.unwrap(), [two]);
}

pub(crate) async fn work_wakes_who_waits(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, "a", "a", Class::Normal).await;
    tokio::time::timeout(Duration::from_secs(10), store.work()).await.unwrap();
}
