//! Events that no request brought, and that are in neither the feed nor a search.

use std::sync::Arc;

use waypost::domain::delivery::{Class, Status};
use waypost::domain::event_type::Operational;
use waypost::domain::id::MailKey;
use waypost::domain::plan::{Generation, Ingest, StoredEvent, Unit};
use waypost::store::{Committed, Fate, Ingested, PageQuery, ScanFrom};

use super::{Harness, LONG, lease};
use crate::support::{DELIVERED, at, finished, ingest, unit};

const NEW: Ingested = Ingested::Stored { new: 1, repeated: 0 };
const REPEATED: Ingested = Ingested::Stored { new: 0, repeated: 1 };

fn page() -> PageQuery {
    PageQuery { cursor: None, limit: 100 }
}

/// One about this, in the partition that [`after`] is in too.
pub(crate) fn operational(about: &str) -> Unit {
    let unit = unit("waypost", about, about, Class::Normal, &["wh_a"]);
    let (kind, mail) = (Operational::EndpointFailing.into(), MailKey(4));
    let stored = StoredEvent { kind, mail, source: None, request_id: None, ..(*unit.event).clone() };
    Unit { kind, mail, json: serde_json::to_vec(&stored).unwrap().into(), event: Arc::new(stored), ..unit }
}

fn after(identity: &str) -> Unit {
    Unit { mail: MailKey(1 << 40), ..unit("resend", identity, identity, Class::Normal, &["wh_a"]) }
}

fn alone(units: Vec<Unit>) -> Ingest {
    Ingest { raw: None, ..ingest(Generation(0), units) }
}

pub(crate) async fn it_is_committed_without_a_request(harness: &mut impl Harness) {
    let store = harness.store();
    let plan = || alone(vec![operational("a")]);
    assert_eq!(store.ingest(plan()).await.unwrap(), NEW);
    assert_eq!(store.ingest(plan()).await.unwrap(), REPEATED);
    // Beside one that has a request.
    let both = store.ingest_all(vec![alone(vec![operational("b")]), ingest(Generation(0), vec![after("c")])]).await;
    assert!(
        both.iter().all(|answer| matches!(answer, Ok(Committed::Stored(fates)) if *fates == [Fate::New])),
        "{both:?}"
    );
    let stored = ingest(Generation(0), vec![after("c")]).raw.unwrap();
    assert!(store.request(&stored.id).await.unwrap().is_some());
    let stale = Ingest { generation: Generation(9), ..alone(vec![operational("d")]) };
    assert_eq!(store.ingest(stale).await.unwrap(), Ingested::Stale);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(store.ingest(plan()).await.unwrap(), REPEATED);
    let event = store.event(&operational("a").id).await.unwrap().unwrap();
    assert_eq!((event.kind, event.source, event.request_id), (Operational::EndpointFailing.into(), None, None));
}

pub(crate) async fn it_is_delivered_and_in_no_list_of_events(harness: &mut impl Harness) {
    let store = harness.store();
    store.ingest(alone(vec![operational("a")])).await.unwrap();
    store.ingest(ingest(Generation(0), vec![after("b")])).await.unwrap();
    let listed = store.events(&page()).await.unwrap().items;
    assert_eq!(listed.iter().map(|event| &event.id).collect::<Vec<_>>(), [&after("b").id]);
    let scanned = store.deliveries_to(&"wh_a".into(), &ScanFrom::Time(at(-10)), 100).await.unwrap();
    assert_eq!(scanned.found.iter().map(|found| &found.event_id).collect::<Vec<_>>(), [&after("b").id]);
    assert_eq!(store.deliveries(Status::Pending, &page()).await.unwrap().items.len(), 2);
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(leases[0].event_id, operational("a").id);
    assert!(leases[0].mail.is_operational() && leases[0].event.is_some());
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    let of_it = store.deliveries_of(&operational("a").id).await.unwrap();
    assert_eq!((of_it.len(), of_it[0].status), (1, Status::Delivered));
    assert_eq!(store.deliveries(Status::Delivered, &page()).await.unwrap().items, of_it);
}

/// However many of both come at the same time.
pub(crate) async fn what_is_committed_after_it_comes_after_it(harness: &mut impl Harness) {
    let store = harness.store();
    let mut expected = Vec::new();
    for number in 0..40 {
        let (one, other) = (operational(&format!("o{number}")), after(&format!("a{number}")));
        expected.extend([one.id.clone(), other.id.clone()]);
        assert_eq!(store.ingest(alone(vec![one])).await.unwrap(), NEW);
        assert_eq!(store.ingest(ingest(Generation(0), vec![other])).await.unwrap(), NEW);
    }
    // Each of the two mails has one that may go.
    let mut came = Vec::new();
    loop {
        let leases = lease(&*store, "wh_a", 2, LONG).await;
        if leases.is_empty() {
            break;
        }
        came.extend(leases.iter().map(|lease| lease.event_id.clone()));
        let ends = leases.iter().map(|lease| finished(lease, DELIVERED)).collect();
        assert_eq!(store.finish(ends).await.unwrap(), []);
    }
    assert_eq!(came, expected);
    assert_eq!(store.deliveries(Status::Pending, &page()).await.unwrap().items, []);
}
