//! The feed, and its consumers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::consumer::Consumer;
use waypost::domain::delivery::Class;
use waypost::domain::feed::{Cursor, Place};
use waypost::domain::id::EventId;
use waypost::domain::plan::{Generation, Ingest, Unit};
use waypost::domain::retention::Lifetimes;
use waypost::domain::subscription::Subscription;
use waypost::store::{Store, StoreError};

use super::Harness;
use super::operational::operational;
use crate::support::{ingest, unit};

const SOON: Duration = Duration::from_secs(10);

fn event(identity: &str, mail: &str) -> Unit {
    unit("resend", identity, mail, Class::Normal, &["wh_a", "wh_b"])
}

fn id(identity: &str) -> EventId {
    EventId::of("resend", identity)
}

async fn put(store: &dyn Store, units: Vec<Unit>) {
    store.ingest(ingest(Generation(0), units)).await.unwrap();
}

/// What is read from a place on in parts of so many, how much was missed, and where it ends.
async fn read(store: &dyn Store, after: Option<&Cursor>, limit: usize) -> (Vec<EventId>, u64, Cursor) {
    let (mut all, mut missed, mut cursor) = (Vec::new(), 0, after.cloned());
    loop {
        let part = store.feed(cursor.as_ref(), limit).await.unwrap();
        assert!(part.entries.len() <= limit && !part.is_rewound);
        all.extend(part.entries.into_iter().map(|entry| entry.event.id));
        missed += part.missed;
        if !part.has_more {
            return (all, missed, part.cursor);
        }
        cursor = Some(part.cursor);
    }
}

pub(crate) async fn every_event_is_read_once_and_in_order(harness: &mut impl Harness) {
    let store = harness.store();
    let empty = read(&*store, None, 1).await;
    assert_eq!((empty.0.len(), empty.1), (0, 0));
    let all: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    for part in all.chunks(7) {
        put(&*store, part.iter().map(|identity| event(identity, &format!("m{}", identity.len()))).collect()).await;
        // What is a repeat is not there again.
        put(&*store, vec![event(&part[0], &format!("m{}", part[0].len()))]).await;
    }
    drop(store);
    for limit in [1, 3, 1_000] {
        harness.reopen().await;
        let store = harness.store();
        for from in [None, Some(&empty.2)] {
            let (found, missed, end) = read(&*store, from, limit).await;
            assert_eq!((found.len(), missed), (40, 0), "{limit}");
            for mail in [1, 2] {
                let of_mail = |identity: &&String| identity.len() == mail;
                let expected: Vec<_> = all.iter().filter(of_mail).map(|identity| id(identity)).collect();
                let of_mail: Vec<_> = found.iter().filter(|id| expected.contains(id)).cloned().collect();
                assert_eq!(of_mail, expected);
            }
            assert_eq!(end, store.feed_end().await.unwrap());
            assert_eq!(Cursor::default().until(&end), 0);
            assert!(read(&*store, Some(&end), limit).await.0.is_empty());
        }
    }
}

pub(crate) async fn from_the_end_only_what_comes_later_is_read(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, vec![event("a", "a"), event("b", "b")]).await;
    let end = store.feed_end().await.unwrap();
    put(&*store, vec![event("c", "a"), event("d", "d"), event("e", "e")]).await;
    let (found, missed, cursor) = read(&*store, Some(&end), 2).await;
    assert_eq!((found.len(), missed, end.until(&cursor)), (3, 0, 3));
    assert!(cursor.reaches(&end) && !end.reaches(&cursor));
}

pub(crate) async fn what_waypost_made_and_what_was_erased_is_passed_over(harness: &mut impl Harness) {
    let store = harness.store();
    let gone = event("gone", "gone");
    put(&*store, vec![event("a", "a"), gone.clone()]).await;
    store.ingest(Ingest { raw: None, ..ingest(Generation(0), vec![operational("o")]) }).await.unwrap();
    put(&*store, vec![event("b", "gone")]).await;
    store.erase_event(&gone.event).await.unwrap();
    let (mut found, missed, cursor) = read(&*store, None, 10).await;
    found.sort_unstable();
    let mut expected = [id("a"), id("b")];
    expected.sort_unstable();
    assert_eq!((&found[..], missed), (&expected[..], 0));
    assert_eq!(cursor.until(&store.feed_end().await.unwrap()), 0);
}

pub(crate) async fn what_is_no_longer_kept_is_counted(harness: &mut impl Harness) {
    let life = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: life, requests: life, tokens: life }).await;
    let store = harness.store();
    put(&*store, vec![event("a", "a")]).await;
    let (_, _, cursor) = read(&*store, None, 10).await;
    let start = store.feed_end().await.unwrap();
    put(&*store, (0..5).map(|number| event(&format!("b{number}"), &number.to_string())).collect()).await;
    // Until the store has removed them, too.
    for wait_ms in [1_100, 1_500] {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        put(&*store, vec![event(&format!("c{wait_ms}"), "c")]).await;
        let (found, missed, _) = read(&*store, Some(&cursor), 2).await;
        assert_eq!(found, [id(&format!("c{wait_ms}"))]);
        let expected = if wait_ms == 1_100 { 5 } else { 6 };
        assert_eq!(missed, expected);
        assert_eq!(read(&*store, Some(&start), 10).await.1, expected);
        assert_eq!(read(&*store, None, 10).await.0, found);
    }
}

pub(crate) async fn a_reader_whose_place_the_store_lost_begins_a_little_before(harness: &mut impl Harness) {
    let store = harness.store();
    put(&*store, vec![event("a", "a"), event("b", "b")]).await;
    let end = store.feed_end().await.unwrap();
    let beyond = |stamp: u64| Cursor::new(vec![Place { entries: 999, stamp }; end.places().len()]);
    let now = end.places().iter().map(|place| place.stamp).max().unwrap();
    let part = store.feed(Some(&beyond(now + 7)), 10).await.unwrap();
    assert!(part.is_rewound);
    assert_eq!(part.entries.len(), 2, "of the last minute");
    assert_eq!(part.cursor.until(&store.feed_end().await.unwrap()), 0);
    put(&*store, vec![event("c", "c")]).await;
    assert_eq!(read(&*store, Some(&part.cursor), 10).await.0, [id("c")]);
    let part = store.feed(Some(&beyond(now + 90 * 1_000_000)), 10).await.unwrap();
    assert!(part.is_rewound && part.entries.is_empty());
    let part = store.feed(Some(&part.cursor), 10).await.unwrap();
    assert!(!part.is_rewound && part.entries.is_empty(), "once, and not from the beginning");
    for wrong in [Cursor::default(), Cursor::new(vec![Place::default(); 9])] {
        assert!(matches!(store.feed(Some(&wrong), 10).await, Err(StoreError::BadCursor)));
    }
}

pub(crate) async fn whoever_waits_hears_of_more(harness: &mut impl Harness) {
    let store = harness.store();
    let mut grown = store.feed_grown();
    let mut cursor = store.feed_end().await.unwrap();
    for number in 0..3 {
        grown.borrow_and_update();
        let writer = Arc::clone(&store);
        tokio::spawn(async move { put(&*writer, vec![event(&number.to_string(), "m")]).await });
        let found = async {
            loop {
                let (found, _, end) = read(&*store, Some(&cursor), 10).await;
                if !found.is_empty() {
                    cursor = end;
                    break found;
                }
                grown.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(SOON, found).await.expect("it is told of");
        assert_eq!(found, [id(&number.to_string())]);
    }
}

fn consumer(name: &str, version: u64) -> Consumer {
    Consumer {
        version,
        types: Subscription::new(vec!["email.*".into()]).unwrap(),
        sources: vec!["resend".into()],
        cursor: (version > 1).then(|| Cursor::new(vec![Place { entries: version, stamp: 1 }])),
        ..Consumer::new(name, Timestamp::from_second(1_700_000_000).unwrap())
    }
}

pub(crate) async fn a_consumer_is_changed_by_who_knows_it(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(store.consumer("flags").await.unwrap().0, None);
    assert!(!store.put_consumer(&consumer("flags", 2)).await.unwrap());
    let mut all = BTreeMap::new();
    for name in ["flags", "crm", "a-1"] {
        assert!(store.put_consumer(&consumer(name, 1)).await.unwrap());
        all.insert(name, consumer(name, 1));
    }
    assert!(!store.put_consumer(&consumer("flags", 1)).await.unwrap());
    assert!(store.put_consumer(&consumer("flags", 2)).await.unwrap());
    assert!(!store.put_consumer(&consumer("flags", 2)).await.unwrap());
    all.insert("flags", consumer("flags", 2));
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let (known, now) = store.consumer("flags").await.unwrap();
    assert_eq!(known, Some(consumer("flags", 2)));
    assert!(SystemClock::new().now().duration_since(now).abs() < SignedDuration::from_secs(60), "{now}");
    assert_eq!(store.consumers().await.unwrap(), all.into_values().collect::<Vec<_>>());
    assert!(store.remove_consumer("flags").await.unwrap());
    assert!(!store.remove_consumer("flags").await.unwrap());
    assert!(store.put_consumer(&consumer("flags", 1)).await.unwrap(), "it begins anew");
}
