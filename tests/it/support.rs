//! Values to test with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use waypost::clock::Clock;
use waypost::domain::delivery::{Attempt, Class, Split, Status};
use waypost::domain::endpoint::{Endpoint, EndpointSettings, Origin, Scheme};
use waypost::domain::fan_out;
use waypost::domain::format::Format;
use waypost::domain::id::{EndpointId, EventId, MailKey, RequestId};
use waypost::domain::plan::{Condition, Generation, Ingest, PlannedDelivery, RawRequest, StoredEvent, Unit};
use waypost::domain::subscription::Subscription;
use waypost::store::{Finished, Lease, PageQuery, Store, Then};
use waypost_providers::{Draft, Keys, Kind, Request, by_name};

use crate::tidy::root;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock {
    micros: AtomicI64,
    elapsed: AtomicI64,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(1_800_000_000_000_000), elapsed: AtomicI64::new(0) })
    }

    /// Moves the wall clock, backwards too.
    pub(crate) fn step(&self, micros: i64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
        self.elapsed.fetch_add(micros.abs(), Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.step(i64::try_from(by.as_micros()).unwrap());
    }

    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.micros.load(Ordering::SeqCst)).unwrap()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros.load(Ordering::SeqCst)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.elapsed.load(Ordering::SeqCst)).unwrap())
    }
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn request(source: &str, body: &str) -> RawRequest {
    let id = RequestId::of(source, body.as_bytes());
    let headers = [("content-type", "application/json")].into_iter().collect();
    let request = Request { source: source.into(), received_at: at(0), headers, body: body.to_owned().into() };
    RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 }
}

/// An event of a mail, with a delivery to each of these endpoints.
pub(crate) fn unit(source: &str, identity: &str, mail: &str, class: Class, endpoints: &[&str]) -> Unit {
    let id = EventId::of(source, identity);
    let kind = match class {
        Class::High => Kind::Bounced,
        Class::Normal | Class::Low => Kind::Opened,
    };
    let kind = kind.into();
    let mail = MailKey::of("mail", mail);
    let endpoints: Vec<EndpointId> = endpoints.iter().map(|endpoint| EndpointId::from(*endpoint)).collect();
    let stored = StoredEvent {
        id: id.clone(),
        kind,
        created_at: "2026-01-01T00:00:00.000Z".into(),
        data: serde_json::value::to_raw_value(&serde_json::json!({ "identity": identity })).unwrap(),
        source: Some(source.into()),
        received_at: at(0),
        request_id: Some(RequestId::of(source, identity.as_bytes())),
        mail,
        possible_duplicate_of: None,
        endpoints: endpoints.clone(),
    };
    let json = serde_json::to_vec(&stored).unwrap().into();
    let planned = |endpoint| PlannedDelivery { endpoint, class, skipped: false };
    let deliveries = endpoints.into_iter().map(planned).collect();
    let event = Arc::new(stored);
    Unit { id, kind, mail, fingerprint: None, event, json, deliveries, condition: None, suppresses: None }
}

/// The same, if what it tells is news.
pub(crate) fn telling(mut unit: Unit, condition: Condition) -> Unit {
    let event = Arc::make_mut(&mut unit.event);
    event.mail = condition.mail();
    Unit { mail: event.mail, json: serde_json::to_vec(event).unwrap().into(), condition: Some(condition), ..unit }
}

/// What a recorded request of Mailgun's becomes at these endpoints.
pub(crate) fn planned(case: &str, endpoints: &[Endpoint]) -> Ingest {
    let recorded = std::fs::read(root().join(format!("fixtures/mailgun/{case}.http"))).unwrap();
    let head_len = recorded.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let provider = by_name("mailgun").unwrap();
    let (secret, now) = ("any key", Timestamp::UNIX_EPOCH);
    let signed = provider.sign(Draft { body: &recorded[head_len..], secret, now, nonce: [0; 16] }).unwrap();
    let keys = BTreeMap::from([("signing_keys".to_owned(), vec![secret.to_owned()])]);
    let keys = Keys::read(provider, &keys).unwrap();
    let request = Request { source: "mailgun".into(), received_at: now, headers: signed.headers, body: signed.body };
    let verified = provider.verify(request, &keys, now).unwrap();
    fan_out::plan(provider, &verified, &provider.parse(&verified), Generation(0), endpoints, &[]).unwrap()
}

/// One request with these events.
pub(crate) fn ingest(generation: Generation, units: Vec<Unit>) -> Ingest {
    let ids: Vec<&str> = units.iter().map(|unit| unit.id.as_str()).collect();
    let raw = Some(request("resend", &ids.join(",")));
    Ingest { guards: Vec::new(), raw, generation, units, states: Vec::new() }
}

pub(crate) fn endpoint(id: &str) -> Endpoint {
    let settings = EndpointSettings {
        url: format!("https://{id}.example/hook"),
        format: Format::Drin,
        events: Subscription::new(vec![]).unwrap(),
        sources: vec![],
        tags: vec![],
        signatures: vec![Scheme::Drin],
        signature_header: None,
        headers: [].into(),
        retry: vec![5],
        timeout_s: 15,
        max_in_flight: 8,
        rate_limit: None,
        description: None,
        active: true,
        fetches: false,
    };
    Endpoint {
        id: id.into(),
        number: 1,
        settings,
        origin: Origin::File,
        disabled: None,
        enabled_at: None,
        created_at: at(0),
    }
}

/// An attempt under this lease, and what follows.
pub(crate) fn finished(lease: &Lease, then: Then) -> Finished {
    let attempt = Attempt {
        number: lease.number,
        started_at: at(1),
        duration_ms: 7,
        split: Split { resolve_ms: Some(1), tls_ms: Some(2), first_byte_ms: Some(4), ..Split::default() },
        sent: "webhook-id: evt_1\n".into(),
        status: Some(if then == DELIVERED { 204 } else { 500 }),
        error: None,
        answer: None,
        truncated: false,
    };
    Finished { lease: lease.clone(), attempt: Some(attempt), then, lane: None }
}

pub(crate) const DELIVERED: Then = Then::End(Status::Delivered, None);

/// All events, latest first.
pub(crate) async fn events(store: &dyn Store) -> Vec<StoredEvent> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.events(&PageQuery { cursor, limit: 500 }).await.unwrap();
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}
