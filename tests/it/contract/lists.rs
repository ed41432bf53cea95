//! What is listed.

use std::time::Duration;

use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{DeliveryId, EndpointId};
use waypost::domain::plan::Generation;
use waypost::domain::retention::Lifetimes;
use waypost::store::{Finished, PageQuery, Store, StoreError, Then};

use super::{Harness, LONG, lease};
use crate::support::{DELIVERED, finished, ingest, unit};

fn all() -> PageQuery {
    PageQuery { cursor: None, limit: 100 }
}

async fn put(store: &dyn Store, identity: &str, endpoints: &[&str]) {
    let unit = unit("resend", identity, identity, Class::Normal, endpoints);
    store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
}

pub(crate) async fn an_end_is_listed_by_status(harness: &mut impl Harness) {
    let store = harness.store();
    let ends = [
        DELIVERED,
        Then::End(Status::Failed, Some(EndReason::Exhausted)),
        Then::End(Status::Skipped, Some(EndReason::Disabled)),
        Then::End(Status::Canceled, Some(EndReason::Deleted)),
    ];
    for (number, then) in ends.into_iter().enumerate() {
        put(&*store, &number.to_string(), &["wh_a"]).await;
        let leases = lease(&*store, "wh_a", 1, LONG).await;
        assert_eq!(store.finish(vec![finished(&leases[0], then)]).await.unwrap(), []);
    }
    put(&*store, "left", &["wh_a"]).await;
    for status in Status::ALL {
        let listed = store.deliveries(status, &all()).await.unwrap();
        assert!(matches!(&listed.items[..], [one] if one.status == status), "{listed:?}");
        assert_eq!(listed.next, None);
    }
    let failed = store.deliveries(Status::Failed, &all()).await.unwrap().items.remove(0);
    assert_eq!(failed.reason, Some(EndReason::Exhausted));
    assert_eq!((failed.begun, failed.attempts[0].status), (1, Some(500)));
    assert!(failed.ended_at.is_some() && failed.due_at.is_none());
    assert_eq!(store.deliveries_of(&failed.event_id).await.unwrap(), [failed]);
}

pub(crate) async fn a_disabled_endpoint_is_skipped_at_once(harness: &mut impl Harness) {
    let store = harness.store();
    let mut unit = unit("resend", "a", "a", Class::Normal, &["wh_a", "wh_b"]);
    unit.deliveries[0].skipped = true;
    store.ingest(ingest(Generation(0), vec![unit.clone()])).await.unwrap();
    assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 0);
    let skipped = store.deliveries(Status::Skipped, &all()).await.unwrap().items;
    assert!(matches!(&skipped[..], [one] if one.begun == 0 && one.endpoint_id == "wh_a".into()), "{skipped:?}");
    assert_eq!(skipped[0].reason, Some(EndReason::Disabled));
    let statuses: Vec<_> = store.deliveries_of(&unit.id).await.unwrap().iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Status::Skipped, Status::Pending]);
}

pub(crate) async fn pages_go_on_where_they_ended(harness: &mut impl Harness) {
    let store = harness.store();
    let count = 7;
    for number in 0..count {
        let mut unit = unit("resend", &number.to_string(), &number.to_string(), Class::Normal, &["wh_a"]);
        unit.deliveries[0].skipped = true;
        store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
    }
    let whole: Vec<_> = store.events(&all()).await.unwrap().items.into_iter().map(|event| event.id).collect();
    let latest_first: Vec<_> =
        (0..count).rev().map(|number: i32| waypost::domain::id::EventId::of("resend", &number.to_string())).collect();
    assert_eq!(whole, latest_first);
    let (mut events, mut skipped, mut cursors) = (Vec::new(), Vec::new(), (None, None));
    for page in 0.. {
        let query = |cursor: &Option<String>| PageQuery { cursor: cursor.clone(), limit: 3 };
        if page == 0 || cursors.0.is_some() {
            let part = store.events(&query(&cursors.0)).await.unwrap();
            assert!(part.items.len() <= 3);
            events.extend(part.items.into_iter().map(|event| event.id));
            cursors.0 = part.next;
        }
        if page == 0 || cursors.1.is_some() {
            let part = store.deliveries(Status::Skipped, &query(&cursors.1)).await.unwrap();
            assert!(part.items.len() <= 3);
            skipped.extend(part.items.into_iter().map(|delivery| delivery.event_id));
            cursors.1 = part.next;
        }
        if cursors == (None, None) {
            break;
        }
    }
    assert_eq!(events, latest_first);
    assert_eq!(skipped, latest_first);
}

pub(crate) async fn deliveries_of_an_event_keep_the_order_of_its_endpoints(harness: &mut impl Harness) {
    let store = harness.store();
    let endpoints = ["wh_c", "wh_a", "wh_b"];
    put(&*store, "a", &endpoints).await;
    let id = unit("resend", "a", "a", Class::Normal, &endpoints).id;
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap();
    let deliveries = store.deliveries_of(&id).await.unwrap();
    let expected: Vec<EndpointId> = endpoints.iter().map(|endpoint| EndpointId::from(*endpoint)).collect();
    let got: Vec<_> = deliveries.iter().map(|delivery| delivery.endpoint_id.clone()).collect();
    assert_eq!(got, expected);
    assert_eq!(deliveries[0].id, DeliveryId::of(&id, &expected[0], None));
    assert_eq!((deliveries[0].status, deliveries[0].begun), (Status::Pending, 0));
    assert_eq!(deliveries[1].status, Status::Delivered);
}

pub(crate) async fn the_latest_end_is_listed_first(harness: &mut impl Harness) {
    let store = harness.store();
    for identity in ["a", "b", "c"] {
        put(&*store, identity, &["wh_a"]).await;
    }
    let mut leases = lease(&*store, "wh_a", 3, LONG).await;
    leases.sort_by_key(|lease| lease.event_id != unit("resend", "b", "b", Class::Normal, &[]).id);
    let mut latest_first = Vec::new();
    for lease in &leases {
        store.finish(vec![finished(lease, DELIVERED)]).await.unwrap();
        latest_first.insert(0, lease.event_id.clone());
    }
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.deliveries(Status::Delivered, &PageQuery { cursor, limit: 1 }).await.unwrap();
        listed.extend(part.items.into_iter().map(|delivery| delivery.event_id));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, latest_first);
}

pub(crate) async fn an_expired_event_ends_what_is_pending_and_the_end_is_listed(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    put(&*store, "a", &["wh_a"]).await;
    let id = unit("resend", "a", "a", Class::Normal, &[]).id;
    while store.event(&id).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listed = async |store: &dyn Store, status| {
        let items = store.deliveries(status, &all()).await.unwrap().items.into_iter();
        items.map(|delivery| (delivery.event_id, delivery.reason)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&*store, Status::Pending).await, [(id.clone(), None)], "until somebody ends it");
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert!(matches!(&leases[..], [lease] if lease.event.is_none()), "{leases:?}");
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    let ended = Finished { attempt: None, ..finished(&leases[0], then) };
    assert_eq!(store.finish(vec![ended]).await.unwrap(), []);
    assert_eq!(listed(&*store, Status::Pending).await, []);
    assert_eq!(listed(&*store, Status::Failed).await, [(id, Some(EndReason::Expired))]);
}

pub(crate) async fn a_cursor_of_nobodys_is_refused(harness: &mut impl Harness) {
    let store = harness.store();
    for identity in ["a", "b"] {
        put(&*store, identity, &["wh_a"]).await;
    }
    let query = |cursor: &str| PageQuery { cursor: Some(cursor.into()), limit: 1 };
    let first = PageQuery { cursor: None, limit: 1 };
    let of_events = store.events(&first).await.unwrap().next.unwrap();
    let of_deliveries = store.deliveries(Status::Pending, &first).await.unwrap().next.unwrap();
    for cursor in ["", "what", "00", "1-2", "1-2-3-4", "MXxh", "\u{e9}", &of_deliveries] {
        let refused = store.events(&query(cursor)).await;
        assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}: {refused:?}");
    }
    for cursor in ["", "what", "00", "1-2", "1-2-3-4", "MXxh", "\u{e9}", &of_events] {
        for status in [Status::Pending, Status::Failed] {
            let refused = store.deliveries(status, &query(cursor)).await;
            assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}: {refused:?}");
        }
    }
}

/// All that one list shows, in pages of seven; after the first page something is done with its last item.
async fn paged(store: &dyn Store, status: Status, then: impl AsyncFn(&EndpointId)) -> Vec<EndpointId> {
    let mut listed: Vec<EndpointId> = Vec::new();
    let mut cursor = None;
    loop {
        let part = store.deliveries(status, &PageQuery { cursor, limit: 7 }).await.unwrap();
        let is_first = listed.is_empty();
        listed.extend(part.items.into_iter().map(|delivery| delivery.endpoint_id));
        if is_first {
            then(listed.last().unwrap()).await;
        }
        cursor = part.next;
        if cursor.is_none() {
            return listed;
        }
    }
}

/// Far more of one event than pages could step over, and the place where a page ended is no longer there.
pub(crate) async fn pages_go_on_within_what_is_of_one_moment(harness: &mut impl Harness) {
    let store = harness.store();
    let named: Vec<String> = (0..500).map(|number| format!("wh_{number:03}")).collect();
    let endpoints: Vec<&str> = named.iter().map(String::as_str).collect();
    let mut unit = unit("resend", "a", "a", Class::Normal, &endpoints);
    for planned in &mut unit.deliveries[250..] {
        planned.skipped = true;
    }
    store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
    put(&*store, "later", &["wh_000"]).await;
    let mut skipped = paged(&*store, Status::Skipped, async |_| {}).await;
    let mut pending = paged(&*store, Status::Pending, async |last: &EndpointId| {
        let leases = lease(&*store, last.as_str(), 1, LONG).await;
        assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    })
    .await;
    assert_eq!(pending.remove(0), "wh_000".into(), "the later one comes first");
    skipped.sort();
    pending.sort();
    assert!(skipped.iter().map(EndpointId::as_str).eq(endpoints[250..].iter().copied()), "{}", skipped.len());
    assert!(pending.iter().map(EndpointId::as_str).eq(endpoints[..250].iter().copied()), "{}", pending.len());
}

pub(crate) async fn what_was_tried_is_known_after_its_event_expired(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    put(&*store, "a", &["wh_a"]).await;
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], Then::Retry(Duration::ZERO))]).await.unwrap(), []);
    while store.event(&leases[0].event_id).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let pending = store.deliveries(Status::Pending, &all()).await.unwrap().items.remove(0);
    assert_eq!((pending.begun, pending.attempts.len()), (1, 1));
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!((leases[0].number, leases[0].event.is_some()), (2, false));
    let then = Then::End(Status::Failed, Some(EndReason::Expired));
    let ended = Finished { attempt: None, ..finished(&leases[0], then) };
    assert_eq!(store.finish(vec![ended]).await.unwrap(), []);
    let failed = store.deliveries(Status::Failed, &all()).await.unwrap().items.remove(0);
    assert_eq!((failed.begun, failed.attempts), (2, pending.attempts));
}
