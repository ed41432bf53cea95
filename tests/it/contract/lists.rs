//! What is listed.

use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{DeliveryId, EndpointId};
use waypost::domain::plan::Generation;
use waypost::store::{PageQuery, Store, Then};

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
    assert_eq!(deliveries[0].id, DeliveryId::of(&id, &expected[0]));
    assert_eq!((deliveries[0].status, deliveries[0].begun), (Status::Pending, 0));
    assert_eq!(deliveries[1].status, Status::Delivered);
}
