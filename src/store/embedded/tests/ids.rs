//! What is known by its id: in memory only, while it is written, and once it has been.

use super::*;
use crate::store::embedded::bulk::WAITING_LEN_MAX;
use crate::store::embedded::core::IDS_WRITTEN;
use crate::store::embedded::ids::{Kind, Named};
use crate::store::embedded::rows::Place;
use crate::store::embedded::spaces::Spaces;

/// Enough to be written in one go.
const MANY: u32 = 40;

const NEW: Ingested = Ingested::Stored { new: MANY, repeated: 0 };
const REPEATED: Ingested = Ingested::Stored { new: 0, repeated: MANY };

/// Events whose ids nobody else has, with a delivery each.
fn named(name: &str, events: u32) -> Ingest {
    let mut ingest = many(events);
    ingest.raw.as_mut().unwrap().id = RequestId::of("resend", name.as_bytes());
    for (number, unit) in ingest.units.iter_mut().enumerate() {
        unit.id = EventId::of("resend", &format!("{name} {number}"));
        let bits = hash128(&[name.as_bytes(), &number.to_be_bytes()]);
        unit.fingerprint = Some(Fingerprint { bits, copies: Copies::Repeat });
        unit.deliveries = vec![PlannedDelivery { endpoint: name.into(), class: Class::Normal, skipped: false }];
    }
    ingest
}

/// The same request, as if it told of other ids of the provider's.
fn copies(name: &str, events: u32) -> Ingest {
    let units = named(name, events).units.into_iter().zip(named(&format!("{name} again"), events).units);
    let units = units.map(|(first, again)| Unit { fingerprint: first.fingerprint, ..again }).collect();
    Ingest { units, ..named(name, events) }
}

/// So many as are in memory only, so many as are being written, and so many as have been.
async fn until_counts(spaces: &Spaces, counts: [usize; 3]) {
    until(|| spaces.ids.counts() == counts).await;
}

/// Whether the first of these is found by its id; what it says cannot be read.
async fn is_found(store: &Embedded, name: &str) -> bool {
    !matches!(store.event(&named(name, 1).units[0].id).await, Ok(None))
}

async fn stored(store: &Embedded, ingest: Ingest) -> Ingested {
    store.ingest(ingest).await.unwrap()
}

#[tokio::test]
async fn an_id_is_known_in_memory_while_it_is_written_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    assert_eq!(stored(&store, named("a", MANY)).await, NEW);
    until_counts(&spaces, [0, 0, 81]).await;
    let held = Arc::clone(&spaces.ids.hold);
    let held = held.lock().await;
    assert_eq!(stored(&store, named("b", MANY)).await, NEW);
    until_counts(&spaces, [0, 81, 81]).await;
    // More than enough, but it waits for what is being written.
    assert_eq!(stored(&store, named("c", MANY)).await, NEW);
    assert_eq!(spaces.ids.counts(), [81, 81, 81]);
    for name in ["a", "b", "c"] {
        assert_eq!(stored(&store, named(name, MANY)).await, REPEATED, "{name}");
        assert_eq!(stored(&store, copies(name, MANY)).await, REPEATED, "{name}");
        assert!(is_found(&store, name).await, "{name}");
        assert!(store.request(&named(name, 0).raw.unwrap().id).await.unwrap().is_some(), "{name}");
    }
    assert_eq!(count(&spaces, Space::Requests), 3);
    drop(held);
    until_counts(&spaces, [0, 0, 243]).await;
    for name in ["a", "b", "c"] {
        assert_eq!(stored(&store, named(name, MANY)).await, REPEATED, "{name}");
    }
}

#[tokio::test]
async fn what_comes_in_faster_than_it_can_be_written_is_refused_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    let held = Arc::clone(&spaces.ids.hold);
    let held = held.lock().await;
    assert_eq!(stored(&store, named("a", MANY)).await, NEW);
    until_counts(&spaces, [0, 81, 0]).await;
    let others = 0..u128::try_from(WAITING_LEN_MAX).unwrap();
    let place = Place { seq: 1, expires: u64::MAX };
    let ids = others.map(|number| (Kind::Event, number.to_be_bytes(), place)).collect();
    spaces.ids.add(Named { ids, words: Vec::new() });
    let refused = store.ingest(named("b", MANY)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("faster")), "{refused:?}");
    // Nobody else waits for that.
    assert_eq!(take(&store, "a").await.len(), 10);
    drop(held);
    let taken = soon(async {
        loop {
            match store.ingest(named("b", MANY)).await {
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                taken => return taken,
            }
        }
    });
    assert_eq!(taken.await.unwrap(), NEW);
}

#[tokio::test]
async fn what_was_not_yet_written_is_known_again_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(stored(&store, named("a", MANY)).await, NEW);
    until_counts(&store.shared.spaces().unwrap(), [0, 0, 81]).await;
    // The places through which it was written are noted with the next commit.
    store.ready().await.unwrap();
    assert_eq!(stored(&store, named("b", 3)).await, Ingested::Stored { new: 3, repeated: 0 });
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.shared.spaces().unwrap().ids.counts(), [7, 0, 81]);
    for ingest in [named("b", 3), copies("b", 3)] {
        assert_eq!(stored(&store, ingest).await, Ingested::Stored { new: 0, repeated: 3 });
    }
    for ingest in [named("a", MANY), copies("a", MANY)] {
        assert_eq!(stored(&store, ingest).await, REPEATED);
    }
}

#[tokio::test]
async fn what_was_written_without_a_note_of_it_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    stored(&store, named("a", MANY)).await;
    let spaces = store.shared.spaces().unwrap();
    until_counts(&spaces, [0, 0, 81]).await;
    store.ready().await.unwrap();
    let note = Row { space: Space::Meta, key: IDS_WRITTEN.into(), value: None, is_new: false };
    spaces.commit(vec![note].into()).unwrap();
    drop((store, spaces));
    let store = open(dir.path()).unwrap();
    assert_eq!(store.shared.spaces().unwrap().ids.counts(), [81, 0, 81]);
    assert_eq!(stored(&store, named("a", MANY)).await, REPEATED);
    until_counts(&store.shared.spaces().unwrap(), [0, 0, 162]).await;
    assert_eq!(stored(&store, named("a", MANY)).await, REPEATED);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_id_behind_and_takes_none_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    stored(&store, named("written", MANY)).await;
    until_counts(&store.shared.spaces().unwrap(), [0, 0, 81]).await;
    stored(&store, named("in memory", 3)).await;
    store.shared.spaces().unwrap().fail_next.store(true, Ordering::SeqCst);
    assert!(store.ingest(named("failed", 3)).await.is_err());
    soon(async {
        while store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(!is_found(&store, "failed").await && is_found(&store, "in memory").await);
    assert_eq!(stored(&store, named("in memory", 3)).await, Ingested::Stored { new: 0, repeated: 3 });
    assert_eq!(stored(&store, named("written", MANY)).await, REPEATED);
    assert_eq!(stored(&store, named("failed", 3)).await, Ingested::Stored { new: 3, repeated: 0 });
}

/// Whether the events of the first day are new on the second, and the deliveries that were left of them have ended.
async fn is_new_again(store: &Embedded, name: &str) {
    let lease = take(store, name).await.remove(0);
    assert!(lease.event.is_none(), "it has expired");
    assert_eq!(stored(store, named(name, MANY)).await, NEW, "{name}");
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    let lost = store.finish(vec![Finished { lease, attempt: None, then, lane: None }]).await.unwrap();
    assert_eq!(lost.len(), 1, "{name}: the same delivery is to be made anew");
    assert_eq!(stored(store, named(name, MANY)).await, REPEATED, "{name}");
    let all = PageQuery { cursor: None, limit: 1_000 };
    let pending = store.deliveries(Status::Pending, &all).await.unwrap().items;
    assert_eq!(pending.iter().filter(|one| one.endpoint_id == name.into()).count(), 40, "{name}");
}

#[tokio::test]
async fn what_has_expired_is_new_again_wherever_its_id_is() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let spaces = store.shared.spaces().unwrap();
    let rows = || count(&spaces, Space::Events) + count(&spaces, Space::Requests);
    stored(&store, named("written", MANY)).await;
    until_counts(&spaces, [0, 0, 81]).await;
    let held = Arc::clone(&spaces.ids.hold);
    let held = held.lock().await;
    stored(&store, named("frozen", MANY)).await;
    stored(&store, named("in memory", MANY)).await;
    until_counts(&spaces, [81, 81, 81]).await;
    clock.advance(DAY);
    until(|| rows() == 0).await;
    assert!(!is_found(&store, "frozen").await);
    for name in ["written", "frozen", "in memory"] {
        is_new_again(&store, name).await;
    }
    drop(held);
    // The old ones are left out when all is written anew; the new ones, of the same ids, are not.
    until_counts(&spaces, [0, 0, 243]).await;
    for name in ["written", "frozen", "in memory"] {
        assert_eq!(stored(&store, named(name, MANY)).await, REPEATED, "{name}");
    }
}

#[tokio::test]
async fn what_is_left_of_an_expired_event_is_found_by_its_id_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let open = || Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let store = open();
    stored(&store, named("a", MANY)).await;
    let spaces = store.shared.spaces().unwrap();
    clock.advance(DAY);
    // Its id is nowhere any more.
    until_counts(&spaces, [0; 3]).await;
    drop((store, spaces));
    is_new_again(&open(), "a").await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_kills_nothing_that_came_after() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::new();
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    stored(&store, named("a", MANY)).await;
    clock.advance(DAY * 60);
    let spaces = store.shared.spaces().unwrap();
    until(|| count(&spaces, Space::Events) == 0).await;
    clock.0.fetch_sub(u64::try_from((DAY * 60).as_micros()).unwrap(), Ordering::SeqCst);
    // What was removed is new, though by this clock it has not expired.
    assert_eq!(stored(&store, named("a", MANY)).await, NEW);
    assert_eq!(stored(&store, named("b", MANY)).await, NEW);
    for name in ["a", "b"] {
        assert_eq!(stored(&store, named(name, MANY)).await, REPEATED, "{name}");
        assert!(is_found(&store, name).await, "{name}");
    }
}
