//! Small events, and short ways to hand them to a store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use waypost::domain::delivery::{Attempt, Class, Split, Status};
use waypost::domain::event_type::Operational;
use waypost::domain::id::{EventId, MailKey, RequestId};
use waypost::domain::plan::{Generation, Ingest, PlannedDelivery, RawRequest, StoredEvent, Unit};
use waypost::store::redis::RedisStore;
use waypost::store::{Finished, Ingested, Lease, PageQuery, Store, Then, Want};
use waypost_providers::{Kind, Request};

pub(crate) use crate::support::{at, endpoint};

pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn unit_of(name: &str, mail: &str, to: &[(&str, Class, bool)]) -> Unit {
    let deliveries: Vec<_> = to
        .iter()
        .map(|(endpoint, class, skipped)| PlannedDelivery {
            endpoint: (*endpoint).into(),
            class: *class,
            skipped: *skipped,
        })
        .collect();
    let stored = StoredEvent {
        id: EventId::of("main", name),
        kind: Kind::Delivered.into(),
        created_at: "2026-01-01T00:00:00.000Z".into(),
        data: serde_json::value::to_raw_value(&serde_json::json!({ "name": name })).unwrap(),
        source: Some("main".into()),
        received_at: at(0),
        request_id: Some(RequestId::of("main", name.as_bytes())),
        mail: MailKey::of("mail", mail),
        possible_duplicate_of: None,
        endpoints: deliveries.iter().map(|delivery| delivery.endpoint.clone()).collect(),
    };
    Unit {
        id: stored.id.clone(),
        kind: stored.kind,
        mail: stored.mail,
        json: serde_json::to_vec(&stored).unwrap().into(),
        event: Arc::new(stored),
        deliveries,
        fingerprint: None,
        condition: None,
        suppresses: None,
    }
}

pub(crate) fn unit(name: &str, mail: &str, endpoint: &str) -> Unit {
    unit_of(name, mail, &[(endpoint, Class::Normal, false)])
}

/// One that is not in the feed.
pub(crate) fn operational(name: &str, endpoint: &str) -> Unit {
    let mail = MailKey::operational(name);
    Unit { kind: Operational::EndpointFailing.into(), mail, ..unit(name, name, endpoint) }
}

pub(crate) fn ingest_of(body: &[u8], units: Vec<Unit>) -> Ingest {
    let body = Bytes::copy_from_slice(body);
    let request = Request { source: "main".into(), received_at: at(0), headers: Default::default(), body };
    let id = RequestId::of("main", &request.body);
    let raw = RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 };
    Ingest { guards: Vec::new(), raw: Some(raw), generation: Generation(0), units, states: Vec::new() }
}

pub(crate) async fn put(store: &RedisStore, units: Vec<Unit>) -> Ingested {
    store.ingest(ingest_of(b"{}", units)).await.unwrap()
}

pub(crate) fn stored(new: u32, repeated: u32) -> Ingested {
    Ingested::Stored { new, repeated }
}

pub(crate) async fn take(store: &RedisStore, endpoint: &str, limit: usize, hold: Duration) -> Vec<Lease> {
    let want = Want { endpoint: endpoint.into(), limit, replays: limit, hold, rest: None };
    store.lease(&[want]).await.unwrap().leases
}

pub(crate) fn finished(lease: &Lease, attempted: bool, then: Then) -> Finished {
    let attempt = Attempt {
        number: lease.number,
        started_at: at(1),
        duration_ms: 7,
        split: Split { resolve_ms: Some(1), tls_ms: Some(2), first_byte_ms: Some(4), ..Split::default() },
        sent: "webhook-id: evt_1\n".into(),
        status: Some(500),
        error: None,
        answer: Some("\"no/\u{e9}\n".into()),
        truncated: false,
    };
    Finished { lease: lease.clone(), attempt: attempted.then_some(attempt), then, lane: None }
}

pub(crate) const LANDED: Then = Then::End(Status::Delivered, None);

pub(crate) async fn finish(store: &RedisStore, lease: &Lease, then: Then) -> usize {
    store.finish(vec![finished(lease, true, then)]).await.unwrap().len()
}

pub(crate) fn page(limit: usize, cursor: Option<String>) -> PageQuery {
    PageQuery { cursor, limit }
}
