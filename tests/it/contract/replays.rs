//! Replays: what was delivered once is delivered again, beside live traffic, and canceled where it is no longer wanted.

use std::collections::BTreeSet;
use std::time::Duration;

use waypost::clock::{Clock, SystemClock};
use waypost::domain::delivery::{Class, EndReason, Owed, Status};
use waypost::domain::id::{DeliveryId, EventId, ReplayId};
use waypost::domain::job::{Job, JobState, Task};
use waypost::domain::plan::{Generation, Unit};
use waypost::domain::replay::{Filter, Found, REPLAYS_OF_EVENT_MAX, Replay};
use waypost::domain::retention::Lifetimes;
use waypost::domain::subscription::Subscription;
use waypost::store::{Lease, PageQuery, Replayed, ScanFrom, Store, StoreError, Then, Want};

use super::{Harness, LONG, lease, lease_soon};
use crate::support::{DELIVERED, at, finished, ingest, unit};

fn replay_id(name: &str) -> ReplayId {
    ReplayId::of(&[name.as_bytes()])
}

async fn put(store: &dyn Store, identity: &str, mail: &str, endpoints: &[&str]) -> Unit {
    let unit = unit("resend", identity, mail, Class::Normal, endpoints);
    store.ingest(ingest(Generation(0), vec![unit.clone()])).await.unwrap();
    unit
}

/// The same, delivered to its one endpoint.
async fn put_delivered(store: &dyn Store, identity: &str) -> Unit {
    let unit = put(store, identity, identity, &["wh_a"]).await;
    let leases = lease_soon(store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    unit
}

fn again(replay: &str, unit: &Unit, endpoint: &str) -> Replay {
    Replay { replay: replay_id(replay), event_id: unit.id.clone(), mail: unit.mail, endpoint: endpoint.into() }
}

async fn replay(store: &dyn Store, name: &str, unit: &Unit) -> Replayed {
    store.replay(vec![again(name, unit, "wh_a")]).await.unwrap()[0]
}

/// What is in this status, in the order of its ids.
async fn listed(store: &dyn Store, status: Status) -> Vec<(EventId, Option<ReplayId>)> {
    let page = PageQuery { cursor: None, limit: 100 };
    let items = store.deliveries(status, &page).await.unwrap().items.into_iter();
    let mut listed: Vec<_> = items.map(|one| (one.event_id, one.replay_id)).collect();
    listed.sort();
    listed
}

pub(crate) async fn a_replay_is_a_delivery_of_its_own(harness: &mut impl Harness) {
    let store = harness.store();
    let event = put_delivered(&*store, "a").await;
    assert_eq!(replay(&*store, "one", &event).await, Replayed::Made);
    assert_eq!(replay(&*store, "one", &event).await, Replayed::Known);
    assert_eq!(replay(&*store, "two", &event).await, Replayed::Made);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(replay(&*store, "two", &event).await, Replayed::Known);
    let deliveries = store.deliveries_of(&event.id).await.unwrap();
    let found: Vec<_> = deliveries.iter().map(|one| (one.replay_id.clone(), one.status)).collect();
    let (one, two) = (Some(replay_id("one")), Some(replay_id("two")));
    assert_eq!(found, [(None, Status::Delivered), (one.clone(), Status::Pending), (two.clone(), Status::Pending)]);
    assert!(deliveries.iter().all(|delivery| {
        delivery.id == DeliveryId::of(&event.id, &"wh_a".into(), delivery.replay_id.as_ref())
            && (delivery.status == Status::Delivered || delivery.due_at.is_some())
    }));
    assert_eq!(store.pending_of(&replay_id("one")).await.unwrap(), 1);
    assert_eq!(store.events(&PageQuery { cursor: None, limit: 10 }).await.unwrap().items.len(), 1, "no event is new");

    let leases = lease(&*store, "wh_a", 10, LONG).await;
    assert_eq!(leases[0].event.as_ref().unwrap().id, event.id);
    assert_eq!((leases[0].class, leases[0].number, leases[0].replay.clone()), (Class::Low, 1, one.clone()));
    assert_eq!(store.finish(vec![finished(&leases[0], Then::Retry(Duration::ZERO))]).await.unwrap(), []);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let mut leases = lease_soon(&*store, "wh_a", 10, LONG).await;
    leases.extend(lease(&*store, "wh_a", 10, LONG).await);
    leases.sort_by_key(|lease| lease.number);
    let numbers: Vec<_> = leases.iter().map(|lease| (lease.replay.clone(), lease.number)).collect();
    assert_eq!(numbers, [(two.clone(), 1), (one.clone(), 2)]);
    let failed = Then::End(Status::Failed, Some(EndReason::Exhausted));
    let ends = vec![finished(&leases[0], failed), finished(&leases[1], DELIVERED)];
    assert_eq!(store.finish(ends.clone()).await.unwrap(), []);
    assert_eq!(store.finish(ends).await.unwrap().len(), 2, "each finishes once");
    assert_eq!(listed(&*store, Status::Failed).await, [(event.id.clone(), two)]);
    assert_eq!(listed(&*store, Status::Delivered).await, [(event.id.clone(), None), (event.id.clone(), one.clone())]);
    let deliveries = store.deliveries_of(&event.id).await.unwrap();
    let of_one = deliveries.iter().find(|delivery| delivery.replay_id == one).unwrap();
    assert_eq!((of_one.begun, of_one.attempts.len(), of_one.status), (2, 2, Status::Delivered));
    assert_eq!(store.pending_of(&replay_id("one")).await.unwrap(), 0);
    assert_eq!(replay(&*store, "one", &event).await, Replayed::Known, "also when it has ended");
}

pub(crate) async fn a_delivery_and_its_replay_may_be_under_way_together(harness: &mut impl Harness) {
    let store = harness.store();
    let event = put(&*store, "a", "a", &["wh_b", "wh_a"]).await;
    assert_eq!(replay(&*store, "one", &event).await, Replayed::Made);
    let leases = lease(&*store, "wh_a", 10, LONG).await;
    assert_eq!(leases.iter().map(|lease| lease.class).collect::<Vec<_>>(), [Class::Normal, Class::Low]);
    let mixed = Lease { token: leases[1].token + 1, ..leases[0].clone() };
    assert_eq!(store.finish(vec![finished(&mixed, DELIVERED)]).await.unwrap().len(), 1);
    assert_eq!(store.finish(vec![finished(&leases[1], DELIVERED)]).await.unwrap(), []);
    assert_eq!(listed(&*store, Status::Pending).await, [(event.id.clone(), None), (event.id.clone(), None)]);
    assert_eq!(store.finish(vec![finished(&leases[0], Then::Retry(LONG))]).await.unwrap(), []);
    let found = store.deliveries_of(&event.id).await.unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.endpoint_id.as_str(), one.status, one.attempts.len())).collect();
    let pending = |endpoint, attempts| (endpoint, Status::Pending, attempts);
    assert_eq!(found, [pending("wh_b", 0), pending("wh_a", 1), ("wh_a", Status::Delivered, 1)]);
}

pub(crate) async fn a_replay_holds_back_no_live_delivery_of_its_mail(harness: &mut impl Harness) {
    let store = harness.store();
    let first = put(&*store, "a", "mail", &["wh_a"]).await;
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    for name in ["one", "two"] {
        assert_eq!(replay(&*store, name, &first).await, Replayed::Made);
    }
    let replays = lease(&*store, "wh_a", 10, LONG).await;
    let names = |leases: &[Lease]| leases.iter().map(|lease| lease.replay.clone()).collect::<Vec<_>>();
    assert_eq!(names(&replays), [Some(replay_id("one"))], "those of one mail keep their order");
    let second = put(&*store, "b", "mail", &["wh_a"]).await;
    let live = lease(&*store, "wh_a", 10, LONG).await;
    assert_eq!((live.len(), &live[0].event_id, live[0].class), (1, &second.id, Class::Normal));
    assert_eq!(store.finish(vec![finished(&replays[0], Then::Retry(LONG))]).await.unwrap(), []);
    assert_eq!(names(&lease_soon(&*store, "wh_a", 10, LONG).await), [Some(replay_id("two"))]);
}

/// Live deliveries go first, but one place in so many is a replay's.
pub(crate) async fn live_deliveries_go_first_and_replays_never_starve(harness: &mut impl Harness) {
    let store = harness.store();
    let mut old = Vec::new();
    for number in 0..30 {
        old.push(put_delivered(&*store, &format!("old{number}")).await);
    }
    let all = old.iter().map(|event| again("bulk", event, "wh_a")).collect();
    assert!(store.replay(all).await.unwrap().iter().all(|one| *one == Replayed::Made));
    let mut live = Vec::new();
    for number in 0..200 {
        let class = if number % 2 == 0 { Class::High } else { Class::Normal };
        live.push(unit("resend", &format!("live{number}"), &format!("live{number}"), class, &["wh_a"]));
    }
    store.ingest(ingest(Generation(0), live)).await.unwrap();
    let mut classes = Vec::new();
    while !classes.ends_with(&[Class::Low; 8]) {
        classes.extend(lease(&*store, "wh_a", 8, LONG).await.iter().map(|lease| lease.class));
    }
    let lives = classes.iter().filter(|class| **class != Class::Low).count();
    let before = classes.iter().rposition(|class| *class != Class::Low).unwrap();
    let among = before + 1 - lives;
    let want = Want { endpoint: "wh_a".into(), limit: 8, replays: 0, hold: LONG, rest: None };
    assert_eq!(store.lease(&[want]).await.unwrap().leases.len(), 0, "none were asked for");
    assert_eq!(lease(&*store, "wh_a", 1, LONG).await.len(), 1);
    println!("{among} replays went while live deliveries were due");
    assert_eq!(lives, 200);
    assert!(classes[..16].iter().all(|class| *class != Class::Low), "live ones go first: {classes:?}");
    assert!((200 / Owed::PART..=200 / Owed::PART + 8).contains(&among), "{among}");
}

pub(crate) async fn what_is_gone_or_was_replayed_too_often_is_not_replayed(harness: &mut impl Harness) {
    let store = harness.store();
    let event = put_delivered(&*store, "a").await;
    let nobodys = unit("resend", "nobodys", "a", Class::Normal, &["wh_a"]);
    let more = (0..REPLAYS_OF_EVENT_MAX).map(|number| again(&number.to_string(), &event, "wh_a"));
    let mut asked = vec![again("x", &nobodys, "wh_a")];
    asked.extend(more);
    let answers = store.replay(asked).await.unwrap();
    assert_eq!(answers[0], Replayed::Gone);
    assert!(answers[1..].iter().all(|answer| *answer == Replayed::Made));
    assert_eq!(replay(&*store, "one more", &event).await, Replayed::Full);
    assert_eq!(replay(&*store, "0", &event).await, Replayed::Known);
    assert_eq!(store.deliveries_of(&event.id).await.unwrap().len(), 1 + REPLAYS_OF_EVENT_MAX);
}

pub(crate) async fn a_canceled_replay_ends_whatever_became_of_it(harness: &mut impl Harness) {
    let store = harness.store();
    let mut events = Vec::new();
    for (identity, mail) in [("a", "m"), ("b", "m"), ("c", "n"), ("d", "o"), ("e", "n"), ("f", "p")] {
        events.push(put(&*store, identity, mail, &["wh_a"]).await);
        let leases = lease_soon(&*store, "wh_a", 1, LONG).await;
        assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    }
    for event in &events[..5] {
        assert_eq!(replay(&*store, "bulk", event).await, Replayed::Made);
    }
    assert_eq!(replay(&*store, "other", &events[4]).await, Replayed::Made);
    // One is under way, one waits for its retry, some wait for those of their mail, some were never tried.
    let leases = lease(&*store, "wh_a", 2, LONG).await;
    assert_eq!(leases.iter().map(|lease| &lease.event_id).collect::<Vec<_>>(), [&events[0].id, &events[2].id]);
    assert_eq!(store.finish(vec![finished(&leases[1], Then::Retry(LONG))]).await.unwrap(), []);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let mut ended = 0;
    for _ in 0..10 {
        ended += store.cancel(&replay_id("bulk"), 1).await.unwrap();
    }
    assert_eq!((ended, store.pending_of(&replay_id("bulk")).await.unwrap()), (5, 0));
    assert_eq!(store.cancel(&replay_id("bulk"), 10).await.unwrap(), 0);
    assert_eq!(replay(&*store, "bulk", &events[5]).await, Replayed::Canceled, "it makes nothing any more");
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap().len(), 1, "its lease is lost");
    let canceled = store.deliveries(Status::Canceled, &PageQuery { cursor: None, limit: 10 }).await.unwrap().items;
    let of: BTreeSet<_> = canceled.iter().map(|one| one.event_id.clone()).collect();
    assert_eq!(of, events[..5].iter().map(|event| event.id.clone()).collect());
    assert!(canceled.iter().all(|one| one.reason == Some(EndReason::ReplayCanceled)), "{canceled:?}");
    let attempts: usize = canceled.iter().map(|one| one.attempts.len()).sum();
    assert_eq!(attempts, 1, "what was tried is known");
    let left = lease_soon(&*store, "wh_a", 10, LONG).await;
    assert_eq!(left.iter().map(|lease| lease.replay.clone()).collect::<Vec<_>>(), [Some(replay_id("other"))]);
    drop(store);
    harness.reopen().await;
    assert_eq!(replay(&*harness.store(), "bulk", &events[5]).await, Replayed::Canceled);
}

pub(crate) async fn a_replay_ends_with_its_event(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    let event = put(&*store, "a", "a", &["wh_a"]).await;
    for name in ["one", "two"] {
        assert_eq!(replay(&*store, name, &event).await, Replayed::Made);
    }
    let one = lease(&*store, "wh_a", 2, LONG).await.remove(1);
    assert_eq!(store.finish(vec![finished(&one, DELIVERED)]).await.unwrap(), []);
    while store.event(&event.id).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(replay(&*store, "three", &event).await, Replayed::Gone);
    assert_eq!(store.deliveries_of(&event.id).await.unwrap(), []);
    while !listed(&*store, Status::Delivered).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let two = lease_soon(&*store, "wh_a", 10, LONG).await;
    assert!(matches!(&two[..], [lease] if lease.event.is_none() && lease.replay == Some(replay_id("two"))), "{two:?}");
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    assert_eq!(store.finish(vec![finished(&two[0], then)]).await.unwrap(), []);
    assert_eq!(listed(&*store, Status::Failed).await, [(event.id, Some(replay_id("two")))]);
}

/// All that a scan finds, in steps of `limit`.
async fn scanned(store: &dyn Store, from: ScanFrom, limit: usize) -> Vec<Found> {
    let (mut found, mut from) = (Vec::new(), Some(from));
    while let Some(at) = from {
        let step = store.deliveries_to(&"wh_a".into(), &at, limit).await.unwrap();
        assert!(step.found.len() <= limit);
        found.extend(step.found);
        from = step.next.map(ScanFrom::Cursor);
    }
    found
}

pub(crate) async fn an_endpoints_deliveries_are_found_in_bounded_steps(harness: &mut impl Harness) {
    let store = harness.store();
    let mut expected = Vec::new();
    for number in 0..20 {
        let endpoints: &[&str] = if number % 3 == 0 { &["wh_b"] } else { &["wh_b", "wh_a"] };
        let mut unit = unit("resend", &number.to_string(), &number.to_string(), Class::Normal, endpoints);
        if number == 4 {
            unit.deliveries[1].skipped = true;
        }
        store.ingest(ingest(Generation(0), vec![unit.clone()])).await.unwrap();
        if number % 3 != 0 {
            expected.push((unit.id, if number == 4 { Status::Skipped } else { Status::Pending }));
        }
    }
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    assert_eq!(leases[0].event_id, expected[0].0);
    expected[0].1 = Status::Delivered;
    for limit in [1, 7, 100] {
        let found = scanned(&*store, ScanFrom::Time(at(-10)), limit).await;
        assert!(found.iter().all(|one| one.received_at == at(0)));
        let found: Vec<_> = found.into_iter().map(|one| (one.event_id, one.status)).collect();
        assert_eq!(found, expected, "in steps of {limit}");
    }
    let late = "2200-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(scanned(&*store, ScanFrom::Time(late), 100).await, [], "it begins where it is told to");
    let wrong = store.deliveries_to(&"wh_a".into(), &ScanFrom::Cursor("what".into()), 1).await;
    assert!(matches!(wrong, Err(StoreError::BadCursor)));
}

pub(crate) fn job(name: &str, second: i64) -> Job {
    let types = Subscription::new(vec![]).unwrap();
    let filter = Filter { since: at(0), until: at(10), types, status: Filter::STATUS_DEFAULT.to_vec() };
    Job::new(replay_id(name), Task::Replay { endpoint_id: "wh_a".into(), filter }, false, at(second))
}

pub(crate) async fn a_job_is_changed_by_who_knows_it(harness: &mut impl Harness) {
    let store = harness.store();
    let first = job("one", 1);
    assert!(store.keep_job(&first).await.unwrap());
    assert!(!store.keep_job(&first).await.unwrap(), "it is there");
    let canceling = first.to(JobState::Canceling, at(2));
    assert!(store.keep_job(&canceling).await.unwrap());
    assert!(!store.keep_job(&first.to(JobState::Running, at(2))).await.unwrap(), "somebody else was first");
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(store.job(&first.id).await.unwrap(), Some(canceling.clone()));
    assert_eq!(store.job(&replay_id("nobody's")).await.unwrap(), None);
    assert_eq!(store.active_jobs().await.unwrap(), std::slice::from_ref(&canceling));
    assert!(store.keep_job(&canceling.to(JobState::Canceled, at(3))).await.unwrap());
    assert_eq!(store.active_jobs().await.unwrap(), []);
}

pub(crate) async fn jobs_are_listed_latest_first(harness: &mut impl Harness) {
    let store = harness.store();
    // Those that were made a lifetime ago are no longer listed.
    let now = SystemClock::new().now();
    let made = |number: i64| now + Duration::from_secs(u64::try_from(number / 2).unwrap());
    for number in 0..5 {
        let job = Job { created_at: made(number), ..job(&number.to_string(), 0) };
        assert!(store.keep_job(&job).await.unwrap());
    }
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.jobs(&PageQuery { cursor, limit: 2 }).await.unwrap();
        assert!(part.items.len() <= 2);
        listed.extend(part.items.into_iter().map(|job| (job.created_at, job.id)));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    let times: Vec<_> = listed.iter().map(|(made, _)| *made).collect();
    assert_eq!(times, [4, 3, 2, 1, 0].map(made));
    assert_eq!(listed.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 5);
    let wrong = store.jobs(&PageQuery { cursor: Some("what".into()), limit: 2 }).await;
    assert!(matches!(wrong, Err(StoreError::BadCursor)));
}
