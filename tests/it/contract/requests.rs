//! Requests that were not understood: which there are, and what becomes of them when they are read again.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::address::Address;
use waypost::domain::delivery::{Class, Status};
use waypost::domain::id::RequestId;
use waypost::domain::plan::{Condition, Generation, Ingest, RawRequest, Unit};
use waypost::domain::reprocess::IncompleteRequest;
use waypost::domain::retention::Lifetimes;
use waypost::domain::state::State;
use waypost::domain::suppression::{Reason, ToSuppress};
use waypost::store::{First, Ingested, PageQuery, ScanFrom, Store, StoreError, Then};
use waypost_providers::Kind;

use super::{Harness, LONG, lease};
use crate::embedded::LIFETIMES;
use crate::support::{DELIVERED, at, endpoint, finished, request, telling, unit};

fn now() -> Timestamp {
    SystemClock::new().now()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// What a request of one event is, received then.
fn read_as(body: &str, received_at: Timestamp, lacks: (u32, u32), units: Vec<Unit>) -> Ingest {
    let mut raw: RawRequest = request("resend", body);
    raw.request.received_at = received_at;
    (raw.unmapped, raw.unreadable) = lacks;
    Ingest { guards: Vec::new(), raw: Some(raw), generation: Generation(0), units, states: Vec::new() }
}

fn event(body: &str) -> Unit {
    unit("resend", body, body, Class::Normal, &["wh_a"])
}

fn id(body: &str) -> RequestId {
    RequestId::of("resend", body.as_bytes())
}

/// A request that says nothing yet.
async fn keep(store: &dyn Store, body: &str, received_at: Timestamp) {
    let kept = store.ingest(read_as(body, received_at, (1, 0), vec![])).await.unwrap();
    assert_eq!(kept, Ingested::Stored { new: 0, repeated: 0 });
}

/// It says an event now.
async fn understand(store: &dyn Store, body: &str, received_at: Timestamp) -> Option<Ingested> {
    reprocess(store, read_as(body, received_at, (0, 0), vec![event(body)])).await
}

async fn reprocess(store: &dyn Store, again: Ingest) -> Option<Ingested> {
    store.reprocess(again).await.unwrap().map(Ingested::from)
}

/// All that are incomplete, in parts of this length.
async fn listed(store: &dyn Store, first: First, limit: usize) -> Vec<IncompleteRequest> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.incomplete(&PageQuery { cursor, limit }, first).await.unwrap();
        assert!(part.items.len() <= limit);
        all.extend(part.items);
        cursor = part.next;
        if cursor.is_none() {
            return all;
        }
    }
}

fn ids(found: Vec<IncompleteRequest>) -> Vec<RequestId> {
    found.into_iter().map(|request| request.id).collect()
}

pub(crate) async fn what_was_not_understood_is_listed_until_it_is(harness: &mut impl Harness) {
    let (store, received_at) = (harness.store(), now());
    for body in ["a", "b", "c", "d", "e"] {
        keep(&*store, body, received_at).await;
        keep(&*store, body, received_at).await;
        let understood = format!("{body} understood");
        store.ingest(read_as(&understood, received_at, (0, 0), vec![event(&understood)])).await.unwrap();
    }
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    for limit in [1, 2, 5, 10] {
        assert_eq!(ids(listed(&*store, First::Oldest, limit).await), ["a", "b", "c", "d", "e"].map(id), "{limit}");
        assert_eq!(ids(listed(&*store, First::Latest, limit).await), ["e", "d", "c", "b", "a"].map(id), "{limit}");
    }
    for first in [First::Oldest, First::Latest] {
        let all = listed(&*store, first, 10).await;
        for (place, one) in all.iter().enumerate() {
            let rest = PageQuery { cursor: Some(one.cursor.clone()), limit: 10 };
            assert_eq!(store.incomplete(&rest, first).await.unwrap().items, all[place + 1..], "{place}");
        }
    }
    let wrong = PageQuery { cursor: Some("what".into()), limit: 2 };
    assert!(matches!(store.incomplete(&wrong, First::Latest).await, Err(StoreError::BadCursor)));

    assert_eq!(understand(&*store, "c", received_at).await, Some(Ingested::Stored { new: 1, repeated: 0 }));
    assert_eq!(understand(&*store, "c", received_at).await, Some(Ingested::Stored { new: 0, repeated: 1 }));
    let less = read_as("d", received_at, (0, 1), vec![event("d")]);
    assert_eq!(reprocess(&*store, less).await, Some(Ingested::Stored { new: 1, repeated: 0 }));
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let found = listed(&*store, First::Oldest, 10).await;
    let lacks: Vec<_> = found.iter().map(|one| (one.id.clone(), one.unmapped, one.unreadable)).collect();
    assert_eq!(lacks, [(id("a"), 1, 0), (id("b"), 1, 0), (id("d"), 0, 1), (id("e"), 1, 0)]);
    assert_eq!((&*found[0].source, found[0].received_at), ("resend", received_at));
    for (body, lacks) in [("a", (1, 0)), ("c", (0, 0)), ("d", (0, 1))] {
        let stored = store.request(&id(body)).await.unwrap().unwrap();
        assert_eq!((stored.unmapped, stored.unreadable), lacks, "{body}");
        assert_eq!(stored.request.body, body.as_bytes());
    }
    // A version that understands less reads it again.
    reprocess(&*store, read_as("c", received_at, (1, 0), vec![])).await;
    keep(&*store, "c", received_at).await;
    assert_eq!(ids(listed(&*store, First::Oldest, 10).await), ["a", "b", "d", "e"].map(id));
}

pub(crate) async fn what_comes_again_and_is_understood_now_is_no_longer_listed(harness: &mut impl Harness) {
    harness.reopen_for(Lifetimes { requests: Duration::from_secs(1), ..LIFETIMES }).await;
    let (store, received_at) = (harness.store(), now());
    let large = "x".repeat(100_000);
    for body in ["new", "known", &large] {
        keep(&*store, body, received_at).await;
    }
    store.ingest(read_as("less", received_at, (2, 1), vec![])).await.unwrap();
    // By another request, before this one is understood.
    store.ingest(read_as("other", received_at, (0, 0), vec![event("known")])).await.unwrap();
    let later = received_at + SignedDuration::from_secs(60);
    for (body, stored) in [("new", (1, 0)), ("known", (0, 1)), (&large, (1, 0))] {
        let answer = store.ingest(read_as(body, later, (0, 0), vec![event(body)])).await.unwrap();
        assert_eq!(answer, Ingested::Stored { new: stored.0, repeated: stored.1 });
    }
    // What is understood in part is listed as it was, until it is read again.
    store.ingest(read_as("less", later, (0, 1), vec![event("less")])).await.unwrap();
    let found = listed(&*store, First::Oldest, 10).await;
    let [less] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&less.id, less.unmapped, less.unreadable, less.received_at), (&id("less"), 2, 1, received_at));
    // What was never listed lives less long.
    while store.request(&id("other")).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (body, lacks) in [("new", (0, 0)), ("known", (0, 0)), (&large, (0, 0)), ("less", (2, 1))] {
        let stored = store.request(&id(body)).await.unwrap().expect("it lives as long as it was to");
        assert_eq!((stored.unmapped, stored.unreadable), lacks);
        assert_eq!((stored.request.received_at, &stored.request.body[..]), (received_at, body.as_bytes()));
    }
    // A version that understands less gets it.
    keep(&*store, "new", received_at).await;
    assert_eq!(ids(listed(&*store, First::Oldest, 10).await), [id("less")]);
}

pub(crate) async fn what_it_says_is_delivered_once(harness: &mut impl Harness) {
    let (store, received_at) = (harness.store(), now());
    keep(&*store, "a", received_at).await;
    understand(&*store, "a", received_at).await;
    assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 1);
    understand(&*store, "a", received_at).await;
    let again = store.ingest(read_as("a", received_at, (0, 0), vec![event("a")])).await.unwrap();
    assert_eq!(again, Ingested::Stored { new: 0, repeated: 1 }, "the provider sends it again");
    assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 0);
    assert_eq!(store.events(&PageQuery { cursor: None, limit: 10 }).await.unwrap().items.len(), 1);
    assert_eq!(understand(&*store, "nobody's", received_at).await, None, "nothing comes in this way");
    assert!(store.event(&event("nobody's").id).await.unwrap().is_none());
}

pub(crate) async fn a_large_one_is_read_again_whole(harness: &mut impl Harness) {
    let (store, received_at) = (harness.store(), now());
    // Too large to be kept in one piece, however it is compressed.
    let body: String = (0..100_000_u64).map(|number| (number * 2_654_435_761 % 97_003).to_string()).collect();
    keep(&*store, &body, received_at).await;
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(ids(listed(&*store, First::Oldest, 10).await), [id(&body)]);
    let stored = store.request(&id(&body)).await.unwrap().unwrap();
    assert_eq!((stored.unmapped, stored.request.body.len()), (1, body.len()));
    assert_eq!(understand(&*store, &body, received_at).await, Some(Ingested::Stored { new: 1, repeated: 0 }));
    let stored = store.request(&id(&body)).await.unwrap().unwrap();
    assert_eq!((stored.unmapped, stored.request.body), (0, body.into()));
}

pub(crate) async fn a_stale_plan_reprocesses_nothing(harness: &mut impl Harness) {
    let (store, received_at) = (harness.store(), now());
    keep(&*store, "a", received_at).await;
    store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap();
    assert_eq!(understand(&*store, "a", received_at).await, Some(Ingested::Stale));
    assert!(store.event(&event("a").id).await.unwrap().is_none());
    assert_eq!(ids(listed(&*store, First::Oldest, 10).await), [id("a")]);
}

pub(crate) async fn what_brought_a_mail_lives_as_long_as_its_event(harness: &mut impl Harness) {
    harness.reopen_for(Lifetimes { requests: Duration::from_secs(1), ..LIFETIMES }).await;
    let store = harness.store();
    let mail = Unit { kind: Kind::Received.into(), ..event("mail") };
    let large = "x".repeat(300_000);
    let large_mail = Unit { kind: Kind::Received.into(), ..event("large") };
    // One batch, and whatever it lacks.
    let plans = vec![
        read_as("event", now(), (0, 0), vec![event("event")]),
        read_as("mail", now(), (0, 0), vec![mail]),
        read_as(&large, now(), (0, 0), vec![large_mail]),
        read_as("lacks", now(), (0, 1), vec![event("lacks")]),
    ];
    assert!(store.ingest_all(plans).await.iter().all(Result::is_ok));
    while store.request(&id("event")).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What has expired is removed a moment later.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    for body in ["mail", &large, "lacks"] {
        assert_eq!(store.request(&id(body)).await.unwrap().unwrap().request.body, body.as_bytes());
    }
    assert!(store.request(&id("event")).await.unwrap().is_none());
    assert!(store.event(&event("event").id).await.unwrap().is_some());
    assert_eq!(ids(listed(&*store, First::Oldest, 10).await), [id("lacks")]);
}

pub(crate) async fn a_reprocessed_event_lives_from_its_receipt_on(harness: &mut impl Harness) {
    let (store, now) = (harness.store(), now());
    let life = SignedDuration::try_from(LIFETIMES.events).unwrap();
    // The last event but one of its lane is delivered, the last is never.
    let old = now - life + SignedDuration::from_secs(3);
    for body in ["a", "b"] {
        keep(&*store, body, old).await;
        assert_eq!(understand(&*store, body, old).await, Some(Ingested::Stored { new: 1, repeated: 0 }));
    }
    keep(&*store, "c", now).await;
    understand(&*store, "c", now).await;
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    let delivered = async || {
        let page = PageQuery { cursor: None, limit: 10 };
        store.deliveries(Status::Delivered, &page).await.unwrap().items.len()
    };
    assert_eq!(delivered().await, 1);
    while store.event(&event("a").id).await.unwrap().is_some() || delivered().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = lease(&*store, "wh_a", 10, LONG).await;
    let left: Vec<_> = left.iter().map(|lease| (lease.event_id.clone(), lease.event.is_some())).collect();
    assert_eq!(left, [(event("b").id, false), (event("c").id, true)]);
    keep(&*store, "d", now - life).await;
    assert_eq!(understand(&*store, "d", now - life).await, None, "it would have expired");
    assert!(store.event(&event("d").id).await.unwrap().is_none());
}

pub(crate) async fn what_expired_before_it_was_delivered_is_delivered_once_when_it_comes_again(
    harness: &mut impl Harness,
) {
    let (store, now) = (harness.store(), now());
    let old = now - SignedDuration::try_from(LIFETIMES.events).unwrap() + SignedDuration::from_secs(3);
    let bodies = ["delivered", "tried", "never tried"];
    for (body, then) in bodies.into_iter().zip([Some(DELIVERED), Some(Then::Retry(Duration::ZERO)), None]) {
        keep(&*store, body, old).await;
        assert_eq!(understand(&*store, body, old).await, Some(Ingested::Stored { new: 1, repeated: 0 }));
        let Some(then) = then else { continue };
        let leases = lease(&*store, "wh_a", 1, LONG).await;
        assert_eq!(store.finish(vec![finished(&leases[0], then)]).await.unwrap(), []);
    }
    for body in bodies {
        while store.event(&event(body).id).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let again = read_as(&format!("{body} again"), now, (0, 0), vec![event(body)]);
        assert_eq!(store.ingest(again).await.unwrap(), Ingested::Stored { new: 1, repeated: 0 });
    }
    let all = PageQuery { cursor: None, limit: 10 };
    assert_eq!(store.deliveries(Status::Pending, &all).await.unwrap().items.len(), 3);
    let leases = lease(&*store, "wh_a", 10, LONG).await;
    let leased: BTreeSet<_> = leases.iter().map(|lease| (lease.event_id.clone(), lease.number)).collect();
    assert_eq!((leases.len(), leased), (3, bodies.map(|body| (event(body).id, 1)).into()));
    assert!(leases.iter().all(|lease| lease.event.is_some()));
}

pub(crate) async fn what_is_reprocessed_late_is_found_by_its_receipt(harness: &mut impl Harness) {
    let (store, now) = (harness.store(), now());
    for body in ["a", "b", "c", "late", "d", "e", "f"] {
        if body == "late" {
            keep(&*store, body, now - days(2)).await;
            understand(&*store, body, now - days(2)).await;
        } else {
            let mut plan = read_as(body, now, (0, 0), vec![event(body)]);
            set_received(&mut plan.units[0], now);
            store.ingest(plan).await.unwrap();
        }
    }
    for since in [days(3), days(1), SignedDuration::from_secs(600)] {
        let (mut found, mut lasts, mut from) = (Vec::new(), Vec::new(), Some(ScanFrom::Time(now - since)));
        while let Some(at) = from {
            let step = store.deliveries_to(&"wh_a".into(), &at, 1).await.unwrap();
            found.extend(step.found.into_iter().map(|one| one.event_id));
            lasts.push(step.last);
            from = step.next.map(ScanFrom::Cursor);
        }
        assert_eq!(found, ["a", "b", "c", "late", "d", "e", "f"].map(|body| event(body).id), "{since}");
        assert_eq!(lasts[..3], [None; 3], "what comes later may have been received before");
        assert_eq!(lasts[4..], [Some(now); 3]);
    }
}

fn set_received(unit: &mut Unit, received_at: Timestamp) {
    let mut stored = (*unit.event).clone();
    stored.received_at = received_at;
    unit.json = serde_json::to_vec(&stored).unwrap().into();
    unit.event = stored.into();
}

pub(crate) async fn what_it_says_now_suppresses_and_tells_a_state(harness: &mut impl Harness) {
    let (store, received_at) = (harness.store(), now());
    keep(&*store, "a", received_at).await;
    keep(&*store, "b", received_at).await;
    let nora = Address::parse("nora@a.example").unwrap();
    let told = |at_ms, holds| Condition { entity: [3; 16], state: State { at_ms, holds } };
    let suppresses = ToSuppress { reason: Reason::Unsubscribe, at: at(5), addresses: vec![nora.clone()] };
    let out = Unit { suppresses: Some(suppresses), ..telling(event("b"), told(5_000, true)) };
    let later = Ingest { states: vec![told(6_000, false)], ..read_as("a", received_at, (1, 0), vec![]) };
    let states = reprocess(&*store, later).await;
    assert_eq!(states, Some(Ingested::Stored { new: 0, repeated: 0 }));
    // It did not hold any more: that was told by the other request.
    let older = reprocess(&*store, read_as("b", received_at, (0, 0), vec![out.clone()])).await;
    assert_eq!(older, Some(Ingested::Stored { new: 0, repeated: 0 }));
    assert_eq!(store.suppressions(&nora).await.unwrap(), []);
    let news = Unit { condition: Some(told(7_000, true)), ..out };
    let news = reprocess(&*store, read_as("b", received_at, (0, 0), vec![news])).await;
    assert_eq!(news, Some(Ingested::Stored { new: 1, repeated: 0 }));
    assert_eq!(store.suppressions(&nora).await.unwrap().len(), 1);
}
