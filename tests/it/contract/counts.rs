//! What became of deliveries, as numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use waypost::domain::delivery::{Class, Status};
use waypost::domain::delivery_counts::{Counted, DeliveryCounts, HOURS_MAX, Hour};
use waypost::domain::id::EndpointId;
use waypost::domain::plan::Generation;
use waypost::store::{Store, Then};

use super::{Harness, LONG, lease};
use crate::support::{DELIVERED, finished, ingest, unit};

fn counts(delivered: u64, at: i64) -> DeliveryCounts {
    let mut counts =
        DeliveryCounts::new([("failed|5xx".to_owned(), 2)].into(), [("last|failure".to_owned(), at)].into());
    for _ in 0..delivered {
        counts.ended(Status::Delivered);
    }
    counts
}

async fn sum(store: &dyn Store, endpoint: &str, hours: std::ops::RangeInclusive<Hour>) -> DeliveryCounts {
    store.delivery_counts(&endpoint.into(), hours).await.unwrap()
}

pub(crate) async fn what_was_counted_adds_up_by_the_hour_and_survives_a_reopen(harness: &mut impl Harness) {
    let store = harness.store();
    let now = Hour(1_000_000);
    assert_eq!(sum(&*store, "wh_a", now.last(24)).await, DeliveryCounts::default());
    let key = |endpoint: &str, hour| (EndpointId::from(endpoint), Hour(hour));
    let first: Counted = [
        (key("wh_a", 1_000_000), counts(1, 70)),
        (key("wh_a", 999_977), counts(2, 90)),
        (key("wh_a", 999_976), counts(4, 80)),
        (key("wh_b", 1_000_000), counts(8, 1)),
        (key("wh_a", 1_000_000 - HOURS_MAX), counts(16, 1)),
    ]
    .into();
    store.count_deliveries(&first).await.unwrap();
    store.count_deliveries(&BTreeMap::from([(key("wh_a", 1_000_000), counts(32, 60))])).await.unwrap();
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let told = async |endpoint: &str, hours| {
        let sum = sum(&*store, endpoint, now.last(hours)).await;
        let failed = sum.failed().map(|(_, count)| count).sum::<u64>();
        (sum.ended_as(Status::Delivered), failed, sum.last_failure().map(|at| at.as_microsecond()))
    };
    assert_eq!(told("wh_a", 1).await, (33, 4, Some(70)));
    assert_eq!(told("wh_a", 24).await, (35, 6, Some(90)));
    assert_eq!(told("wh_a", 25).await, (39, 8, Some(90)));
    assert_eq!(told("wh_a", HOURS_MAX).await, (39, 8, Some(90)), "so far back and no further");
    assert_eq!(told("wh_b", 24).await, (8, 2, Some(1)));
    assert_eq!(told("wh_", 24).await, (0, 0, None));
    let all = sum(&*store, "wh_a", Hour(0)..=now).await;
    assert_eq!(all.ended_as(Status::Delivered), 39, "no more hours than can be asked for");
}

pub(crate) async fn all_that_is_pending_to_an_endpoint_is_told(harness: &mut impl Harness) {
    let store = harness.store();
    let pending = async || store.pending_to(&"wh_a".into()).await.unwrap();
    assert_eq!(pending().await, 0);
    // One mail in one class waits for its first; others, of another class and of other mails, do not.
    for (number, mail, class) in [
        (1, "m", Class::Normal),
        (2, "m", Class::Normal),
        (3, "m", Class::Normal),
        (4, "m", Class::High),
        (5, "n", Class::Normal),
        (6, "o", Class::Normal),
    ] {
        let unit = unit("resend", &format!("e{number}"), mail, class, &["wh_a", "wh_b"]);
        store.ingest(ingest(Generation(0), vec![unit])).await.unwrap();
    }
    assert_eq!(pending().await, 6);
    let leases = lease(&*store, "wh_a", 9, LONG).await;
    assert_eq!((leases.len(), pending().await), (4, 6), "two wait for another of their mail");
    store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap();
    store.finish(vec![finished(&leases[1], Then::Retry(LONG))]).await.unwrap();
    assert_eq!(pending().await, 5);
    store.finish(vec![finished(&leases[2], DELIVERED), finished(&leases[3], DELIVERED)]).await.unwrap();
    let mut left = 3;
    while left > 1 {
        for lease in lease(&*store, "wh_a", 9, LONG).await {
            store.finish(vec![finished(&lease, DELIVERED)]).await.unwrap();
            left -= 1;
            assert_eq!(pending().await, left);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(store.pending_to(&"wh_b".into()).await.unwrap(), 6);
}
