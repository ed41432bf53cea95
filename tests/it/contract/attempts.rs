//! The logs of attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use waypost::domain::delivery::{Attempt, Class, Status};
use waypost::domain::id::EventId;
use waypost::domain::plan::Generation;
use waypost::domain::retention::Lifetimes;
use waypost::store::{Finished, LogPage, PageQuery, Store, StoreError, Then};

use super::{Harness, LONG, lease, lease_soon};
use crate::support::{DELIVERED, finished, ingest, unit};

async fn put(store: &dyn Store, identity: &str, endpoints: &[&str]) -> EventId {
    let unit = unit("resend", identity, identity, Class::Normal, endpoints);
    let id = unit.id.clone();
    store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
    id
}

/// Makes one attempt that is answered so.
async fn attempt(store: &dyn Store, endpoint: &str, answer: &str, then: Then) -> (EventId, Attempt) {
    let leases = lease_soon(store, endpoint, 1, LONG).await;
    let Finished { attempt, .. } = finished(&leases[0], then);
    let attempt = Attempt { answer: Some(answer.into()), ..attempt.unwrap() };
    let done = Finished { attempt: Some(attempt.clone()), ..finished(&leases[0], then) };
    assert_eq!(store.finish(vec![done]).await.unwrap(), []);
    // The next is not of the same moment.
    tokio::time::sleep(Duration::from_millis(2)).await;
    (leases[0].event_id.clone(), attempt)
}

async fn page(store: &dyn Store, endpoint: &str, cursor: Option<String>, limit: usize) -> LogPage {
    store.attempts(&endpoint.into(), &PageQuery { cursor, limit }).await.unwrap()
}

/// The log whole, and whether it was cut.
async fn log(store: &dyn Store, endpoint: &str) -> (Vec<(EventId, Attempt)>, bool) {
    let LogPage { page, is_cut } = page(store, endpoint, None, 1_000).await;
    assert_eq!(page.next, None);
    (page.items.into_iter().map(|logged| (logged.event_id, logged.attempt)).collect(), is_cut)
}

pub(crate) async fn attempts_to_an_endpoint_are_listed_latest_first(harness: &mut impl Harness) {
    let store = harness.store();
    for number in 0..8 {
        put(&*store, &format!("e{number}"), &["wh_a", "wh_b"]).await;
    }
    let mut expected = Vec::new();
    for number in 0..12 {
        // Some are tried twice.
        let then = if number % 3 == 0 { Then::Retry(Duration::ZERO) } else { DELIVERED };
        expected.push(attempt(&*store, "wh_a", &format!("\"{number}|\u{e9}\n"), then).await);
    }
    expected.reverse();
    assert_eq!(log(&*store, "wh_a").await, (expected.clone(), false));
    assert_eq!(log(&*store, "wh_b").await, (vec![], false));
    assert_eq!(log(&*store, "wh_").await, (vec![], false));
    attempt(&*store, "wh_b", "", DELIVERED).await;
    assert_eq!(log(&*store, "wh_b").await.0.len(), 1);
    // In parts, while others come.
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let part = page(&*store, "wh_a", cursor, 5).await.page;
        assert!(part.items.iter().all(|one| one.kind == Some(waypost_providers::Kind::Opened.into())));
        listed.extend(part.items.into_iter().map(|one| (one.event_id, one.attempt)));
        cursor = part.next;
        put(&*store, &format!("later{}", listed.len()), &["wh_a"]).await;
        attempt(&*store, "wh_a", "later", Then::Retry(LONG)).await;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
    // A delivery tells the same.
    let (event, _) = &expected[0];
    let delivery = store.deliveries_of(event).await.unwrap().remove(0);
    let of_it = expected.iter().rev().filter(|(other, _)| other == event);
    assert_eq!(delivery.attempts, of_it.map(|(_, attempt)| attempt.clone()).collect::<Vec<_>>());
    let before = log(&*store, "wh_a").await;
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(log(&*store, "wh_a").await, before);
    for wrong in ["what", "00", "1-1", "1-1-9"] {
        let asked = PageQuery { cursor: Some(wrong.into()), limit: 1 };
        let refused = store.attempts(&"wh_a".into(), &asked).await;
        assert!(matches!(refused, Err(StoreError::BadCursor)), "{wrong}: {refused:?}");
    }
}

const LOG_BYTES: usize = 64 * 1024;

pub(crate) async fn the_oldest_attempts_go_where_there_are_too_many_bytes(harness: &mut impl Harness) {
    harness.reopen_holding(LOG_BYTES as u64).await;
    let store = harness.store();
    let answer = "x".repeat(4_000);
    put(&*store, "small", &["wh_b"]).await;
    attempt(&*store, "wh_b", &answer, DELIVERED).await;
    let mut made = Vec::new();
    for number in 0..60 {
        put(&*store, &format!("e{number}"), &["wh_a"]).await;
        made.push(attempt(&*store, "wh_a", &answer, DELIVERED).await);
    }
    let bytes =
        |log: &[(EventId, Attempt)]| log.iter().map(|(_, one)| one.answer.as_ref().unwrap().len()).sum::<usize>();
    let mut left = log(&*store, "wh_a").await;
    for _ in 0..500 {
        if bytes(&left.0) <= LOG_BYTES {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = log(&*store, "wh_a").await;
    }
    let (left, is_cut) = left;
    assert!(is_cut && bytes(&left) <= LOG_BYTES, "{}", bytes(&left));
    assert!(left.len() >= 8 && left[0] == made[59], "no more is taken out than must be: {}", left.len());
    // What is listed is whole, and what is not is still told by its delivery, without its answer.
    let kept: BTreeSet<_> = left.into_iter().map(|(event, _)| event).collect();
    let all = PageQuery { cursor: None, limit: 100 };
    let deliveries = store.deliveries(Status::Delivered, &all).await.unwrap().items;
    let to_a: Vec<_> = deliveries.into_iter().filter(|one| one.endpoint_id == "wh_a".into()).collect();
    assert_eq!(to_a.len(), 60);
    for delivery in &to_a {
        let (is_kept, attempt) = (kept.contains(&delivery.event_id), &delivery.attempts[0]);
        assert_eq!((attempt.truncated, attempt.answer.is_some()), (!is_kept, is_kept));
        assert_eq!((attempt.status, attempt.sent.is_empty()), (Some(204), !is_kept));
    }
    let of_b = log(&*store, "wh_b").await;
    assert_eq!((of_b.0.len(), of_b.1), (1, false), "another has a limit of its own");
    drop(store);
    harness.reopen().await;
    let (again, is_cut) = log(&*harness.store(), "wh_a").await;
    assert_eq!((again.into_iter().map(|(event, _)| event).collect::<BTreeSet<_>>(), is_cut), (kept, true));
}

pub(crate) async fn attempts_go_with_their_deliveries(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    put(&*store, "a", &["wh_a"]).await;
    put(&*store, "b", &["wh_a"]).await;
    attempt(&*store, "wh_a", "no", DELIVERED).await;
    attempt(&*store, "wh_a", "no", Then::Retry(LONG)).await;
    assert_eq!(log(&*store, "wh_a").await.0.len(), 2);
    for _ in 0..500 {
        if log(&*store, "wh_a").await.0.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What is pending is told until it ends, whether the log still has it or not.
    let (left, is_cut) = log(&*store, "wh_a").await;
    assert!(left.len() <= 1 && !is_cut, "{left:?}");
    let pending = store.deliveries(Status::Pending, &PageQuery { cursor: None, limit: 9 }).await.unwrap().items;
    assert_eq!((pending.len(), pending[0].attempts.len()), (1, 1));
    assert!(lease(&*store, "wh_a", 1, LONG).await.is_empty());
}
