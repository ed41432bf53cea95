//! Erasure: what was erased is given to nobody, and a copy of it is a repeat.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::delivery::{Attempt, Class, Delivery, EndReason, Status};
use waypost::domain::id::{ReplayId, RequestId};
use waypost::domain::ownership::Shards;
use waypost::domain::plan::{Generation, Ingest, StoredEvent, Unit};
use waypost::domain::replay::Replay;
use waypost::store::{Anew, First, Ingested, LeftBody, PageQuery, Replayed, ScanFrom, Store, Then};
use xxhash_rust::xxh3::xxh3_64;

use super::{Harness, LONG, lease, lease_soon};
use crate::support::{DELIVERED, endpoint, events, finished, ingest, request, unit};

fn event(identity: &str, mail: &str, endpoints: &[&str]) -> Unit {
    unit("resend", identity, mail, Class::Normal, endpoints)
}

async fn put(store: &dyn Store, units: &[Unit]) -> Ingested {
    store.ingest(ingest(Generation(0), units.to_vec())).await.unwrap()
}

async fn erase(store: &dyn Store, unit: &Unit) {
    // What is done twice changes nothing more.
    for _ in 0..2 {
        store.erase_event(&unit.event).await.unwrap();
    }
}

async fn listed(store: &dyn Store, status: Status) -> Vec<Delivery> {
    store.deliveries(status, &PageQuery { cursor: None, limit: 1_000 }).await.unwrap().items
}

/// All pages of a list.
macro_rules! all {
    ($store:expr, $list:ident, $limit:expr) => {{
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = $store.$list(cursor.as_deref(), $limit).await.unwrap();
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break all;
            }
        }
    }};
}

fn answered(attempt: Attempt) -> Attempt {
    Attempt { answer: Some("who is this".into()), ..attempt }
}

pub(crate) async fn an_erased_event_is_a_repeat_and_given_to_nobody(harness: &mut impl Harness) {
    let store = harness.store();
    let (gone, stays) = (event("gone", "a", &["wh_a", "wh_b"]), event("stays", "b", &["wh_a"]));
    assert_eq!(put(&*store, &[gone.clone(), stays.clone()]).await, Ingested::Stored { new: 2, repeated: 0 });
    erase(&*store, &gone).await;
    drop(store);
    for is_reopened in [false, true] {
        let store = harness.store();
        assert!(store.event(&gone.id).await.unwrap().is_none(), "{is_reopened}");
        assert_eq!(store.deliveries_of(&gone.id).await.unwrap(), []);
        assert_eq!(
            events(&*store).await.iter().map(|event| event.id.clone()).collect::<Vec<_>>(),
            std::slice::from_ref(&stays.id)
        );
        let scanned: Vec<StoredEvent> = all!(store, events_from, 1);
        assert_eq!(scanned.iter().map(|event| event.id.clone()).collect::<Vec<_>>(), std::slice::from_ref(&stays.id));
        let canceled = listed(&*store, Status::Canceled).await;
        assert!(canceled.iter().all(|one| one.event_id == gone.id && one.reason == Some(EndReason::Erased)));
        assert_eq!(canceled.len(), 2, "{is_reopened}");
        assert_eq!(listed(&*store, Status::Pending).await.len(), 1);
        assert_eq!(put(&*store, std::slice::from_ref(&gone)).await, Ingested::Stored { new: 0, repeated: 1 });
        let from = ScanFrom::Time(Timestamp::UNIX_EPOCH);
        assert_eq!(store.deliveries_to(&"wh_a".into(), &from, 10).await.unwrap().found.len(), 1);
        drop(store);
        harness.reopen().await;
    }
    let store = harness.store();
    let leases = lease(&*store, "wh_a", 10, LONG).await;
    assert_eq!(leases.iter().map(|lease| lease.event_id.clone()).collect::<Vec<_>>(), std::slice::from_ref(&stays.id));
    assert!(lease(&*store, "wh_b", 10, LONG).await.is_empty());
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    assert!(store.due(Shards::ALL).await.unwrap().lanes.is_empty());
}

pub(crate) async fn a_lease_of_what_is_erased_is_lost_and_answers_are_blanked(harness: &mut impl Harness) {
    let store = harness.store();
    let event = event("a", "a", &["wh_a", "wh_b", "wh_c"]);
    put(&*store, std::slice::from_ref(&event)).await;
    let mut done = finished(&lease(&*store, "wh_a", 1, LONG).await[0], DELIVERED);
    done.attempt = done.attempt.map(answered);
    let mut again = finished(&lease(&*store, "wh_b", 1, LONG).await[0], Then::Retry(LONG));
    again.attempt = again.attempt.map(answered);
    let held = lease(&*store, "wh_c", 1, LONG).await.remove(0);
    assert_eq!(store.finish(vec![done, again]).await.unwrap(), []);
    assert!(listed(&*store, Status::Delivered).await[0].attempts[0].answer.is_some());
    erase(&*store, &event).await;
    let lost = store.finish(vec![finished(&held, DELIVERED)]).await.unwrap();
    assert_eq!(lost.len(), 1);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let (delivered, mut canceled) = (listed(&*store, Status::Delivered).await, listed(&*store, Status::Canceled).await);
    canceled.sort_by_key(|one| one.endpoint_id.clone());
    let told: Vec<_> = delivered.iter().chain(&canceled).map(|one| (one.begun, one.attempts.len())).collect();
    assert_eq!(told, [(1, 1), (1, 1), (1, 0)]);
    for attempt in delivered.iter().chain(&canceled).flat_map(|one| &one.attempts) {
        assert_eq!((attempt.sent.as_str(), attempt.answer.as_deref(), attempt.truncated), ("", None, true));
        assert!(attempt.duration_ms == 7 && attempt.split.tls_ms == Some(2) && attempt.status.is_some());
    }
    assert!(listed(&*store, Status::Pending).await.is_empty());
}

pub(crate) async fn others_of_the_mail_go_on_when_one_is_erased(harness: &mut impl Harness) {
    let store = harness.store();
    // Each is the first, in the middle, and the last of those that wait for one another, never tried or under way.
    for (erased, is_begun) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let name = format!("{erased}-{is_begun}");
        let units: Vec<Unit> = (0..3).map(|number| event(&format!("{name}-{number}"), &name, &["wh_a"])).collect();
        put(&*store, &units).await;
        let mut begun = if is_begun { lease(&*store, "wh_a", 10, LONG).await } else { Vec::new() };
        assert_eq!(begun.len(), usize::from(is_begun));
        erase(&*store, &units[erased]).await;
        let mut order = Vec::new();
        while order.len() < 2 {
            let next =
                if begun.is_empty() || erased == 0 { lease_soon(&*store, "wh_a", 10, LONG).await } else { begun };
            begun = Vec::new();
            assert_eq!(next.len(), 1, "{name}: one at a time");
            order.push(next[0].event_id.clone());
            assert_eq!(store.finish(vec![finished(&next[0], DELIVERED)]).await.unwrap(), [], "{name}");
        }
        let expected: Vec<_> = units.iter().map(|unit| unit.id.clone()).filter(|id| *id != units[erased].id).collect();
        assert_eq!(order, expected, "{name}");
        assert!(lease(&*store, "wh_a", 10, LONG).await.is_empty(), "{name}");
        assert!(listed(&*store, Status::Pending).await.is_empty(), "{name}");
    }
}

pub(crate) async fn what_is_erased_amid_a_long_lane_is_passed_over(harness: &mut impl Harness) {
    let store = harness.store();
    let units: Vec<Unit> = (0..40).map(|number| event(&number.to_string(), &number.to_string(), &["wh_a"])).collect();
    put(&*store, &units).await;
    for unit in units.iter().step_by(3) {
        erase(&*store, unit).await;
    }
    let (mut order, mut rounds) = (Vec::new(), 0);
    while order.len() < 26 {
        for one in lease(&*store, "wh_a", 7, LONG).await {
            assert!(one.event.is_some());
            order.push(one.event_id);
        }
        rounds += 1;
        assert!(rounds < 20, "{order:?}");
    }
    let stays = |(place, unit): (usize, &Unit)| (place % 3 != 0).then(|| unit.id.clone());
    let mut expected: Vec<_> = units.iter().enumerate().filter_map(stays).collect();
    // Those of other mails may be in another partition.
    order.sort();
    expected.sort();
    assert_eq!(order, expected);
    assert!(lease(&*store, "wh_a", 7, LONG).await.is_empty());
}

pub(crate) async fn a_replay_of_what_is_erased_is_canceled_and_none_is_made(harness: &mut impl Harness) {
    let store = harness.store();
    let event = event("a", "a", &["wh_a"]);
    put(&*store, std::slice::from_ref(&event)).await;
    let done = lease(&*store, "wh_a", 1, LONG).await;
    store.finish(vec![finished(&done[0], DELIVERED)]).await.unwrap();
    let replay = |name: &str| Replay {
        replay: ReplayId::of(&[name.as_bytes()]),
        event_id: event.id.clone(),
        mail: event.mail,
        endpoint: "wh_a".into(),
    };
    assert_eq!(store.replay(vec![replay("one"), replay("two")]).await.unwrap(), [Replayed::Made; 2]);
    let held = lease(&*store, "wh_a", 1, LONG).await;
    erase(&*store, &event).await;
    assert_eq!(store.finish(vec![finished(&held[0], DELIVERED)]).await.unwrap().len(), 1);
    assert_eq!(store.replay(vec![replay("one"), replay("three")]).await.unwrap(), [Replayed::Gone; 2]);
    assert_eq!(listed(&*store, Status::Canceled).await.len(), 2);
    assert_eq!(store.pending_of(&replay("one").replay).await.unwrap(), 0);
    assert!(lease(&*store, "wh_a", 10, LONG).await.is_empty());
    assert!(listed(&*store, Status::Pending).await.is_empty());
}

/// Hardly shorter when it is compressed.
fn noise(len: u32) -> String {
    (0..len).map(|n| char::from(b'a' + (xxh3_64(&n.to_be_bytes()) % 26) as u8)).collect()
}

/// A request with so long a body, of which nothing was understood.
fn lacking(body: &str) -> Ingest {
    let mut raw = request("resend", body);
    (raw.unmapped, raw.request.received_at) = (1, SystemClock::new().now());
    Ingest { guards: Vec::new(), raw: Some(raw), generation: Generation(0), units: Vec::new(), states: Vec::new() }
}

pub(crate) async fn an_erased_request_is_blank_and_brings_nothing(harness: &mut impl Harness) {
    for len in [10, 5_000, 100_000, 700_000] {
        let store = harness.store();
        let body = noise(len);
        let (told, id) = (lacking(&body), RequestId::of("resend", body.as_bytes()));
        store.ingest(told.clone()).await.unwrap();
        assert_eq!(store.request_len(&id).await.unwrap(), Some(body.len()));
        assert!(!store.is_erased(&id).await.unwrap());
        for _ in 0..2 {
            store.erase_requests(std::slice::from_ref(&id)).await.unwrap();
        }
        // It comes again, and what it says is known by now.
        store.ingest(told.clone()).await.unwrap();
        let mut unit = event(&len.to_string(), "a", &["wh_a"]);
        Arc::make_mut(&mut unit.event).request_id = Some(id.clone());
        assert_eq!(store.reprocess(Ingest { units: vec![unit], ..told }).await.unwrap(), None, "{len}");
        drop(store);
        harness.reopen().await;
        let store = harness.store();
        assert!(store.is_erased(&id).await.unwrap(), "{len}");
        assert!(store.request(&id).await.unwrap().is_none(), "{len}");
        assert_eq!(store.request_len(&id).await.unwrap(), None, "{len}");
        assert!(all!(store, requests_from, 10).contains(&id), "it is found, to be cleared up");
        assert!(
            store.incomplete(&PageQuery { cursor: None, limit: 10 }, First::Latest).await.unwrap().items.is_empty()
        );
        assert!(events(&*store).await.is_empty());
    }
}

pub(crate) async fn what_is_erased_before_it_comes_is_never_kept(harness: &mut impl Harness) {
    let store = harness.store();
    for body in ["a".to_owned(), "a".repeat(700_000)] {
        let (mut told, id) = (lacking(&body), RequestId::of("resend", body.as_bytes()));
        assert!(!store.is_erased(&id).await.unwrap());
        store.erase_requests(std::slice::from_ref(&id)).await.unwrap();
        told.units = vec![event(&body.len().to_string(), "a", &[])];
        assert_eq!(store.ingest(told).await.unwrap(), Ingested::Stored { new: 1, repeated: 0 });
        assert!(store.is_erased(&id).await.unwrap());
        assert!(store.request(&id).await.unwrap().is_none());
    }
}

pub(crate) async fn what_is_barred_is_a_repeat_when_it_comes(harness: &mut impl Harness) {
    let store = harness.store();
    let (barred, other) = (event("barred", "a", &["wh_a"]), event("other", "a", &["wh_a"]));
    let known = event("known", "b", &["wh_a"]);
    put(&*store, std::slice::from_ref(&known)).await;
    for _ in 0..2 {
        store.bar_events(&[barred.clone(), known.clone()].map(|unit| (*unit.event).clone())).await.unwrap();
    }
    store.bar_events(&[]).await.unwrap();
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let all = [barred.clone(), known.clone(), other.clone()];
    assert_eq!(put(&*store, &all).await, Ingested::Stored { new: 1, repeated: 2 });
    assert!(store.event(&barred.id).await.unwrap().is_none());
    assert_eq!(store.deliveries_of(&barred.id).await.unwrap(), []);
    store.erase_event(&barred.event).await.unwrap();
    assert_eq!(events(&*store).await.len(), 2);
    assert_eq!(all!(store, events_from, 1).len(), 2);
    let mut leased: Vec<_> = lease(&*store, "wh_a", 10, LONG).await.into_iter().map(|lease| lease.event_id).collect();
    let mut expected = [known.id, other.id];
    leased.sort();
    expected.sort();
    assert_eq!(leased, expected);
}

pub(crate) async fn a_body_that_something_refers_to_is_no_leftover(harness: &mut impl Harness) {
    let store = harness.store();
    let bodies: Vec<String> = (0..5).map(|number| format!("{number}{}", noise(400_000))).collect();
    for body in &bodies {
        assert!(matches!(store.ingest(lacking(body)).await, Ok(Ingested::Stored { .. })));
        let left: Vec<LeftBody> = all!(store, left_from, 10);
        assert_eq!(left, []);
    }
    let mut cursor = None;
    loop {
        cursor = store.remove_left_parts(cursor.as_deref(), 10, Duration::ZERO).await.unwrap();
        if cursor.is_none() {
            break;
        }
    }
    for wrong in ["", "17", "17/../../secrets", "a/b"] {
        assert!(store.left_body(wrong).await.is_err());
    }
    for body in bodies {
        let stored = store.request(&RequestId::of("resend", body.as_bytes())).await.unwrap().unwrap();
        assert!(stored.request.body == body);
    }
}

pub(crate) async fn all_that_is_kept_is_found_in_parts(harness: &mut impl Harness) {
    let store = harness.store();
    let units: Vec<Unit> = (0..25).map(|number| event(&number.to_string(), &number.to_string(), &["wh_a"])).collect();
    for unit in &units {
        put(&*store, std::slice::from_ref(unit)).await;
    }
    let mut leases = lease(&*store, "wh_a", 20, LONG).await;
    let retried = leases.split_off(15);
    let done = leases.iter().map(|lease| finished(lease, DELIVERED));
    let again = retried.iter().map(|lease| finished(lease, Then::Retry(LONG)));
    store.finish(done.chain(again).collect()).await.unwrap();
    for limit in [3, 1_000] {
        let mut requests: Vec<RequestId> = all!(store, requests_from, limit);
        requests.sort();
        requests.dedup();
        assert_eq!(requests.len(), 25, "{limit}");
        let mut found: Vec<_> =
            all!(store, events_from, limit).into_iter().map(|event: StoredEvent| event.id).collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 25, "{limit}");
        assert_eq!(all!(store, answers_from, limit).len(), 20, "{limit}");
    }
    let kept = all!(store, answers_from, 7);
    assert!(kept.iter().all(|kept| kept.detail.sent == "webhook-id: evt_1\n"));
    for kept in &kept[..12] {
        for _ in 0..2 {
            store.forget_answer(&kept.place).await.unwrap();
        }
    }
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(all!(store, answers_from, 7).len(), 8);
    let all = [listed(&*store, Status::Pending).await, listed(&*store, Status::Delivered).await];
    assert_eq!(all.each_ref().map(Vec::len), [10, 15]);
    let attempts = all.iter().flatten().flat_map(|one| &one.attempts);
    assert_eq!(attempts.clone().filter(|attempt| attempt.truncated && attempt.sent.is_empty()).count(), 12);
    assert!(attempts.clone().count() == 20 && attempts.clone().all(|attempt| attempt.status.is_some()));
    let page = PageQuery { cursor: None, limit: 100 };
    assert_eq!(store.attempts(&"wh_a".into(), &page).await.unwrap().page.items.len(), 8);
}

pub(crate) async fn its_files_are_written_anew(harness: &mut impl Harness) {
    let store = harness.store();
    store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap();
    let mut begun = None;
    loop {
        match store.write_anew(begun.as_deref()).await.unwrap() {
            Anew::Written => break,
            Anew::Writing(next) => begun = next,
            Anew::Refused => panic!("it is refused"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Another is begun anew.
    assert!(matches!(store.write_anew(None).await.unwrap(), Anew::Writing(_)));
    assert_eq!(store.endpoints().await.unwrap().all.len(), 1);
}
