//! What providers send again, under the same ids and under others, by whichever way it comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use waypost::clock::Clock;
use waypost::domain::fan_out;
use waypost::domain::id::{EventId, RequestId};
use waypost::domain::plan::{Generation, StoredEvent};
use waypost::domain::retention::Lifetimes;
use waypost::store::embedded::Embedded;
use waypost::store::{Ingested, Store};
use waypost_providers::{Draft, Keys, Provider, Request, Signed, by_name};

use crate::client_of_api::call;
use crate::embedded::{DAY, LIFETIMES};
use crate::gateway::{Gateway, Poster, SECRET, endpoint, receiver, until};
use crate::gateways::pair;
use crate::redis_harness::Server;
use crate::support::{TestClock, events};
use crate::tidy::root;
use crate::wire;

const HOUR: u64 = 3600;
/// A batch comes so often, for a month.
const BATCH_EVERY: u64 = 6 * HOUR;
const BATCHES: u64 = 30 * 24 * HOUR / BATCH_EVERY;
/// How long after its batch SendGrid sends it again (sendgrid/docs#2933 tells of 29 hours).
const AGAIN_AFTER: [u64; 4] = [BATCH_EVERY, 2 * BATCH_EVERY, 4 * BATCH_EVERY, 5 * BATCH_EVERY];
const FACTS: u64 = 7;
const OPENINGS: u64 = 2;

/// What SendGrid says of a mail of this batch, the so many-th time. Ids are those of the first time, or random.
fn batch(number: u64, time: usize) -> Value {
    let at = 1_800_000_000 + number * BATCH_EVERY;
    let one = |name: &str, more: Value| {
        let mut event = json!({
            "email": format!("n{number}@customer.example"), "timestamp": at, "event": name,
            "sg_message_id": format!("m{number}.recvd-1"),
            "sg_event_id": if time.is_multiple_of(2) { format!("{name}-{number}") } else { format!("{name}-{number}-{time}") },
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    // An asynchronous bounce names no mail.
    let mut bounce = one("bounce", json!({ "type": "bounce", "reason": "550" }));
    bounce.as_object_mut().unwrap().remove("sg_message_id");
    json!([
        one("processed", json!({})),
        one("deferred", json!({ "attempt": "1" })),
        one("delivered", json!({})),
        one("open", json!({})),
        one("click", json!({ "url": "https://lanyard.example/" })),
        bounce,
        one("spamreport", json!({})),
        one("unsubscribe", json!({})),
        one("group_unsubscribe", json!({ "asm_group_id": 7 })),
    ])
}

/// A source whose requests go straight to a store, on a clock that is set.
struct Source {
    provider: &'static dyn Provider,
    secret: String,
    keys: Keys,
    clock: Arc<TestClock>,
    store: Arc<dyn Store>,
}

/// What they say is remembered for two months.
const REMEMBERED: Lifetimes = Lifetimes { events: DAY.saturating_mul(60), ..LIFETIMES };

impl Source {
    fn open(name: &str, dir: &TempDir) -> Self {
        let clock = TestClock::new();
        let store = Arc::new(Embedded::open(dir.path(), clock.clone(), REMEMBERED).unwrap());
        Self::at(name, clock, store)
    }

    fn at(name: &str, clock: Arc<TestClock>, store: Arc<dyn Store>) -> Self {
        let text = std::fs::read_to_string(root().join(format!("fixtures/{name}/source.toml"))).unwrap();
        let source: toml::Table = toml::from_str(&text).unwrap();
        let provider = by_name(name).unwrap();
        let keys = provider.key_fields().iter().filter_map(|field| {
            let keys = source.get(field.name)?.as_array()?.iter().map(|key| key.as_str().unwrap().to_owned());
            Some((field.name.to_owned(), keys.collect()))
        });
        let keys = Keys::read(provider, &keys.collect::<BTreeMap<String, Vec<String>>>()).unwrap();
        let secret = source["secret"].as_str().unwrap().to_owned();
        Self { provider, secret, keys, clock, store }
    }

    /// Signed anew, as each attempt is; `nonce` is in the token or id that the signature has.
    async fn receive(&self, body: &Value, nonce: u8) -> Ingested {
        let now: Timestamp = self.clock.now();
        let body = body.to_string();
        let draft = Draft { body: body.as_bytes(), secret: &self.secret, now, nonce: [nonce; 16] };
        let signed = self.provider.sign(draft).unwrap();
        let source = self.provider.name().into();
        let request = Request { source, received_at: now, headers: signed.headers, body: signed.body };
        let verified = self.provider.verify(request, &self.keys, now).unwrap();
        let parsed = self.provider.parse(&verified);
        let plan = fan_out::plan(self.provider, &verified, &parsed, Generation(0), &[], &[]).unwrap();
        self.store.ingest(plan).await.unwrap()
    }
}

async fn a_month_of_resends(source: Source) {
    for number in 0..BATCHES {
        let whole = u32::try_from(FACTS + OPENINGS).unwrap();
        assert_eq!(source.receive(&batch(number, 0), 0).await, Ingested::Stored { new: whole, repeated: 0 });
        for (time, after) in (1_usize..).zip(AGAIN_AFTER) {
            let Some(earlier) = number.checked_sub(after / BATCH_EVERY) else { continue };
            let new = if time.is_multiple_of(2) { 0 } else { u32::try_from(OPENINGS).unwrap() };
            let answer = source.receive(&batch(earlier, time), 0).await;
            assert_eq!(answer, Ingested::Stored { new, repeated: whole - new }, "batch {earlier}, time {time}");
        }
        source.clock.advance(Duration::from_secs(BATCH_EVERY));
    }
    let all = events(&*source.store).await;
    let (marked, first): (Vec<_>, Vec<_>) = all.iter().partition(|event| event.possible_duplicate_of.is_some());
    assert_eq!(first.len() as u64, BATCHES * (FACTS + OPENINGS));
    let by_id: BTreeMap<&EventId, &StoredEvent> = first.iter().map(|event| (&event.id, *event)).collect();
    for event in &marked {
        let first = by_id[event.possible_duplicate_of.as_ref().unwrap()];
        assert_eq!((first.kind, first.mail, &first.created_at), (event.kind, event.mail, &event.created_at));
    }
    let ends = BATCHES * 2 - (AGAIN_AFTER[0] + AGAIN_AFTER[2]) / BATCH_EVERY;
    assert_eq!(marked.len() as u64, ends * OPENINGS);
}

#[tokio::test]
async fn a_month_of_resends_tells_each_fact_once_and_marks_each_further_opening_embedded() {
    let dir = tempfile::tempdir().unwrap();
    a_month_of_resends(Source::open("sendgrid", &dir)).await;
}

/// The server's own clock tells of a moment; what is remembered by it for a month is.
#[tokio::test]
async fn a_month_of_resends_tells_each_fact_once_and_marks_each_further_opening_on_redis() {
    let server = Server::start().await;
    let store = Arc::new(server.connect_for(REMEMBERED, &[]).await.unwrap());
    a_month_of_resends(Source::at("sendgrid", TestClock::new(), store)).await;
}

#[tokio::test]
async fn a_mailgun_event_told_for_its_domain_and_for_the_account_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::open("mailgun", &dir);
    let told = |id: &str, event: &str, account: bool| {
        let mut data = json!({
            "event": event, "id": id, "timestamp": 1_799_999_990.25, "recipient": "n@customer.example",
            "message": { "headers": { "message-id": "m@mg.lanyard.example" } },
        });
        if account {
            data["account"] = json!({ "id": "5f00aa11bb22cc33dd44ee55" });
            data["domain"] = json!({ "name": "mg.lanyard.example" });
        }
        json!({ "event-data": data })
    };
    let stored = |new, repeated| Ingested::Stored { new, repeated };
    assert_eq!(source.receive(&told("a", "delivered", false), 1).await, stored(1, 0));
    assert_eq!(source.receive(&told("a", "delivered", true), 2).await, stored(0, 1), "the same id");
    assert_eq!(source.receive(&told("b", "delivered", true), 3).await, stored(0, 1), "an id of its own");
    assert_eq!(source.receive(&told("c", "opened", false), 4).await, stored(1, 0));
    assert_eq!(source.receive(&told("c", "opened", true), 5).await, stored(0, 1), "the same id");
    assert_eq!(source.receive(&told("d", "opened", true), 6).await, stored(1, 0), "kept, and marked");
    assert_eq!(events(&*source.store).await[0].possible_duplicate_of, Some(events(&*source.store).await[1].id.clone()));
}

#[tokio::test]
async fn opt_outs_and_bounces_of_one_second_stay_apart_and_meet_their_copies() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::open("sendgrid", &dir);
    // Old opt-outs have no id of their own (sendgrid/docs#2862); an asynchronous bounce names no mail.
    let told = |id: Option<&str>| {
        let one = |number: usize, (name, group, to): (&str, Option<u8>, &str)| {
            let mut event = json!({ "email": to, "timestamp": 1_800_000_000, "event": name });
            if let Some(group) = group {
                event["asm_group_id"] = json!(group);
            }
            if let Some(id) = id {
                event["sg_event_id"] = json!(format!("{id}-{number}"));
            }
            event
        };
        let all = [
            ("unsubscribe", None, "a@customer.example"),
            ("group_unsubscribe", Some(7), "a@customer.example"),
            ("group_unsubscribe", Some(8), "a@customer.example"),
            ("bounce", None, "a@customer.example"),
            ("bounce", None, "b@customer.example"),
        ];
        Value::from_iter(all.into_iter().enumerate().map(|(number, one_of)| one(number, one_of)))
    };
    let (new, repeated) = (Ingested::Stored { new: 5, repeated: 0 }, Ingested::Stored { new: 0, repeated: 5 });
    assert_eq!(source.receive(&told(None), 1).await, new);
    for id in [Some("x"), Some("y"), None] {
        assert_eq!(source.receive(&told(id), 2).await, repeated, "{id:?}");
    }
    assert_eq!(events(&*source.store).await.len(), 5);
}

/// The same event of a mail under its so many-th id.
fn resent(poster: &Poster, kind: &str, mail: u32, time: u8) -> Vec<u8> {
    let body = json!({ "type": kind, "created_at": "2026-03-14T09:26:55.731Z",
        "data": { "email_id": format!("mail-{mail}"), "to": [format!("n{mail}@customer.example")] } });
    let mut nonce = [time; 16];
    nonce[..4].copy_from_slice(&mail.to_be_bytes());
    nonce[4] = kind.len().try_into().unwrap();
    wire::post("/in/resend", &poster.sign("resend", &body.to_string(), nonce))
}

async fn accepted(gateway: &Gateway, request: &[u8]) {
    assert_eq!(wire::exchange(gateway.port(), request).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_at_two_gateways_are_delivered_once_or_marked() {
    const MAILS: u32 = 20;
    let (target, seen) = receiver();
    let server = Server::start().await;
    let hook = endpoint("wh_resends", &format!("http://{target}/"), "");
    let (one, other) = pair(&server, &hook).await;
    let poster = Poster::new();
    let posts = (0..MAILS * 2).map(|number| {
        let (mail, kind) = (number / 2, if number.is_multiple_of(2) { "email.delivered" } else { "email.opened" });
        let [a, b] = [1, 2].map(|time| resent(&poster, kind, mail, time));
        let (one, other) = (&one, &other);
        async move { tokio::join!(accepted(one, &a), accepted(other, &b)) }
    });
    join_all(posts).await;
    // One for each fact, two for each opening.
    until("all are delivered", async || seen.lock().unwrap().len() == MAILS as usize * 3).await;
    one.until_idle().await;
    assert!(seen.lock().unwrap().values().all(|times| *times == 1));
    for kind in ["email.delivered", "email.opened"] {
        let listed = one.read(&format!("/v1/events?type={kind}&limit=100")).await;
        let listed = listed["data"].as_array().unwrap();
        let is_marked = |event: &&Value| !event["possible_duplicate_of"].is_null();
        let expected = if kind == "email.opened" { (40, 20) } else { (20, 0) };
        assert_eq!((listed.len(), listed.iter().filter(is_marked).count()), expected, "{kind}");
        for event in listed.iter().filter(is_marked) {
            let first = event["possible_duplicate_of"].as_str().unwrap();
            let first = other.read(&format!("/v1/events/{first}")).await;
            assert_eq!(first["data"]["id"], event["data"]["id"]);
            assert!(first["possible_duplicate_of"].is_null(), "{first}");
        }
    }
}

/// A form with this boundary, as Mailgun composes it anew for each attempt, and signs it anew for each route.
fn composed(poster: &Poster, fields: &[(&str, &str)], boundary: &str, token: u8) -> Signed {
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = fields.iter().map(part).collect::<String>() + &format!("--{boundary}--\r\n");
    poster.sign("mailgun-inbound", &body, [token; 16])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_mailgun_composes_anew_is_kept_once_and_read_again() {
    let source = format!("[sources.routed]\nprovider = \"mailgun-inbound\"\nsigning_keys = [\"{SECRET}\"]\n");
    let (mut gateway, poster) = (Gateway::serving("embedded", &source), Poster::new());
    gateway.up(None);
    gateway.until_alive().await;
    let mail = [("recipient", "in@lanyard.example"), ("sender", "n@customer.example"), ("body-plain", "Hello")];
    for (what, fields) in [("a mail", &mail[..]), ("no mail", &[("event", "opened")])] {
        let token = u8::try_from(what.len()).unwrap();
        let posts = [("first", token), ("second", token), ("third", token + 100)];
        let posts = posts.map(|(boundary, token)| composed(&poster, fields, boundary, token));
        for post in &posts {
            assert_eq!(poster.post(&gateway.url("routed"), post.clone()).await, Some(200), "{what}");
            let of_bytes = RequestId::of("routed", &post.body);
            assert_eq!(gateway.get(&format!("/v1/requests/{of_bytes}")).await.unwrap().status, 404, "{what}");
        }
        let listed = match what {
            "a mail" => gateway.read("/v1/events").await["data"][0]["request_id"].clone(),
            _ => gateway.read("/v1/requests?status=unmapped").await["data"][0]["id"].clone(),
        };
        let kept = format!("/v1/requests/{}", listed.as_str().unwrap());
        assert_eq!(gateway.read(&kept).await["body_base64"], STANDARD.encode(&posts[0].body), "{what}");
        let (status, outcome) = call(&gateway, "POST", &format!("{kept}/reprocess"), "").await;
        assert_eq!((status, &outcome["stored"]), (200, &json!(0)), "{what}: {outcome}");
    }
    for path in ["/v1/events", "/v1/requests?status=unmapped"] {
        assert_eq!(gateway.read(path).await["data"].as_array().unwrap().len(), 1, "{path}");
    }
}

/// Gateway one dies at this point with the first copy; the other one gets the second.
async fn dies_between_copies(point: &str) {
    let (target, seen) = receiver();
    let server = Server::start().await;
    let mut gateways = [Gateway::new(&server.url(), target), Gateway::new(&server.url(), target)];
    let poster = Poster::new();
    let [first, second] = [1, 2].map(|time| resent(&poster, "email.bounced", 1, time));
    gateways[0].up(Some(point));
    gateways[0].until_alive().await;
    let _ = wire::exchange(gateways[0].port(), &first).await;
    gateways[0].ended(Duration::from_secs(10)).await.expect("it dies at its point");
    gateways[1].up(None);
    gateways[1].until_alive().await;
    accepted(&gateways[1], &second).await;
    gateways[0].up(None);
    gateways[0].until_alive().await;
    accepted(&gateways[0], &first).await;
    until("it is delivered", async || !seen.lock().unwrap().is_empty()).await;
    gateways[1].until_idle().await;
    assert_eq!(events(&server.store().await).await.len(), 1, "{point}");
    assert_eq!(seen.lock().unwrap().len(), 1, "{point}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_two_copies_leaves_one() {
    tokio::join!(dies_between_copies("raw.stored"), dies_between_copies("units.committed"));
}
