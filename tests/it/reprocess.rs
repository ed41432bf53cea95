//! Requests that an older version did not understand, read again by a real gateway: one, and many by a job.
//!
//! The older version is the provider with a row less in its table: what it read is brought to the store as the gateway
//! would have, and the gateway that is started then has the row.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::fan_out;
use waypost::domain::id::RequestId;
use waypost::store::embedded::Embedded;
use waypost::store::{Ingested, Store};
use waypost_providers::{
    Draft, Found, Key, KeyError, KeyField, Keys, Parsed, Provider, Request, Samples, Signed, Verified, VerifyError,
    by_name,
};

use crate::client_of_api::{Api, call};
use crate::embedded::LIFETIMES;
use crate::gateway::{Gateway, Poster, SECRET};
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;
use crate::wire;

mod jobs;
mod readers;

const SOON: Duration = Duration::from_secs(20);
const MORE: &str = "timeout_s = 1\nretry = [1, 1, 1, 1, 1, 1]\n";
const READER: &str = "reader-0123456789abcdef0123456789abcdef";

/// A provider before it knew one of its own words, or how to read any.
struct Older {
    name: &'static str,
    now: &'static dyn Provider,
    /// The word; all of them if none.
    lacks: Option<&'static str>,
}

impl Older {
    fn lacking(provider: &str, word: &'static str) -> Self {
        Self { lacks: Some(word), ..Self::blind(provider) }
    }

    fn blind(provider: &str) -> Self {
        let now = by_name(provider).unwrap();
        Self { name: now.name(), now, lacks: None }
    }
}

impl Provider for Older {
    fn name(&self) -> &'static str {
        self.name
    }
    fn key_fields(&self) -> &'static [KeyField] {
        self.now.key_fields()
    }
    fn key(&self, field: &str, text: &str) -> Result<Key, KeyError> {
        self.now.key(field, text)
    }
    fn verify(&self, request: Request, keys: &Keys, now: Timestamp) -> Result<Verified, VerifyError> {
        self.now.verify(request, keys, now)
    }
    fn sign(&self, draft: Draft<'_>) -> Result<Signed, KeyError> {
        self.now.sign(draft)
    }
    fn samples(&self) -> Samples {
        self.now.samples()
    }
    fn parse(&self, verified: &Verified) -> Vec<Parsed> {
        let Some(word) = self.lacks else { return vec![Parsed::Unreadable { reason: "no such version".into() }] };
        let read = |part| match part {
            Parsed::Event(found) if word_of(&found) == word => Parsed::Unmapped { kind: word.into() },
            known => known,
        };
        self.now.parse(verified).into_iter().map(read).collect()
    }
}

fn word_of(found: &Found) -> &str {
    &found.event.data.provider.kind
}

/// The store of a gateway that is down.
async fn opened(gateway: &Gateway, server: Option<&Server>) -> Arc<dyn Store> {
    match server {
        Some(server) => Arc::new(server.store().await),
        None => Arc::new(Embedded::open(&gateway.data(), Arc::new(SystemClock::new()), LIFETIMES).unwrap()),
    }
}

/// What the older version makes of a request that came in by this source then; it was proven.
async fn taken_by(
    store: &dyn Store,
    older: &Older,
    (source, received_at): (&str, Timestamp),
    signed: &Signed,
) -> RequestId {
    let Signed { headers, body } = signed.clone();
    let request = Request { source: source.into(), received_at, headers, body };
    let keys = match older.now.name() {
        "resend" => ("signing_secrets", SECRET.to_owned()),
        _ => ("public_keys", sendgrid_key()),
    };
    let keys = Keys::read(older.now, &[(keys.0.to_owned(), vec![keys.1])].into()).unwrap();
    let verified = older.verify(request, &keys, SystemClock::new().now()).unwrap();
    let endpoints = store.endpoints().await.unwrap();
    let parsed = older.parse(&verified);
    let plan = fan_out::plan(older, &verified, &parsed, endpoints.generation, &endpoints.all, &[]).unwrap();
    let id = plan.raw.as_ref().unwrap().id.clone();
    assert!(matches!(store.ingest(plan).await.unwrap(), Ingested::Stored { .. }));
    id
}

fn sendgrid_key() -> String {
    let source = crate::tidy::root().join("fixtures/sendgrid/source.toml");
    let source: toml::Table = toml::from_str(&std::fs::read_to_string(source).unwrap()).unwrap();
    source["public_keys"][0].as_str().unwrap().to_owned()
}

/// A gateway that has served these hooks, and is down: the store knows the endpoint.
async fn served(store: &str, hooks: &Hooks) -> Gateway {
    let key = format!("[[api.keys]]\nname = \"reader\"\nkey = \"{READER}\"\nscopes = [\"read\"]\n");
    let mut gateway = Gateway::serving(store, &(hooks.endpoints(0..1, MORE) + &key));
    gateway.up(None);
    gateway.until_alive().await;
    assert!(gateway.terminate(SOON).await);
    gateway
}

async fn reprocessed(gateway: &Gateway, id: &RequestId) -> Value {
    let (status, mut answer) = call(gateway, "POST", &format!("/v1/requests/{id}/reprocess"), "").await;
    assert_eq!((status, answer["request_id"].take()), (200, json!(id.as_str())), "{answer}");
    answer.as_object_mut().unwrap().remove("request_id");
    answer
}

fn outcome(stored: u32, repeats: u32, unmapped: u32, unreadable: u32) -> Value {
    json!({"stored": stored, "repeats": repeats, "unmapped": unmapped, "unreadable": unreadable})
}

/// How many requests are listed in this status.
async fn listed(gateway: &Gateway, status: &str) -> usize {
    gateway.read(&format!("/v1/requests?status={status}&limit=100")).await["data"].as_array().unwrap().len()
}

/// What came to the endpoint, by type.
fn came(hooks: &Hooks) -> Vec<String> {
    let kind = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["type"].as_str().unwrap().to_owned();
    let mut came: Vec<_> = hooks.arrivals().iter().map(|arrival| kind(&arrival.body)).collect();
    came.sort();
    came
}

/// A row of a table is not there, events come in, the row is back, and what was missed is delivered once.
async fn a_row_comes_back(server: Option<Server>) {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = served(&server.as_ref().map_or("embedded".into(), Server::url), &hooks).await;
    let one = |id: &str, word: &str| {
        format!(
            r#"{{"email":"{id}@customer.example","timestamp":1773480415,"event":"{word}","sg_event_id":"{id}","sg_message_id":"{id}.recvd-1"}}"#
        )
    };
    let batch = [one("a", "delivered"), one("b", "bounce"), one("c", "delivered"), one("d", "of tomorrow")].join(",");
    let batch = poster.sign("sendgrid", &format!("[{batch}]"), [0; 16]);
    let (_, mail) = poster.resend_event(7);
    let received_at = SystemClock::new().now() - Duration::from_secs(3_600);
    let store = opened(&gateway, server.as_ref()).await;
    let unmapped = taken_by(&*store, &Older::lacking("sendgrid", "bounce"), ("sendgrid", received_at), &batch).await;
    let unreadable = taken_by(&*store, &Older::blind("resend"), ("resend", received_at), &mail).await;
    drop(store);

    gateway.up(None);
    gateway.until_alive().await;
    until(SOON, "what was understood comes", || hooks.arrivals().len() == 2).await;
    let found = gateway.read("/v1/requests?status=unmapped&source=sendgrid").await;
    let shown = json!({"id": unmapped.as_str(), "source": "sendgrid", "provider": "sendgrid",
        "received_at": received_at.to_string(), "unmapped": 2, "unreadable": 0});
    assert_eq!(found["data"], json!([shown]));
    assert_eq!((listed(&gateway, "unmapped").await, listed(&gateway, "unreadable").await), (1, 1));
    let kept = gateway.read(&format!("/v1/requests/{unreadable}")).await;
    assert_eq!((&kept["unreadable"], &kept["source"]), (&json!(1), &json!("resend")));

    assert_eq!(reprocessed(&gateway, &unmapped).await, outcome(1, 2, 1, 0));
    assert_eq!(reprocessed(&gateway, &unmapped).await, outcome(0, 3, 1, 0));
    assert_eq!(reprocessed(&gateway, &unreadable).await, outcome(1, 0, 0, 0));
    until(SOON, "the rest comes", || hooks.arrivals().len() >= 4).await;
    let kept = gateway.read(&format!("/v1/requests/{unmapped}")).await;
    assert_eq!((&kept["unmapped"], &kept["unreadable"]), (&json!(1), &json!(0)), "what is left of it");
    assert_eq!((listed(&gateway, "unmapped").await, listed(&gateway, "unreadable").await), (1, 0));
    // The providers send again what they had answered.
    for (source, signed) in [("sendgrid", &batch), ("resend", &mail)] {
        let reply = wire::exchange(gateway.port(), &wire::post(&format!("/in/{source}"), signed)).await.unwrap();
        assert_eq!(reply.status, 200);
    }
    gateway.until_idle().await;
    assert_eq!(came(&hooks), ["email.bounced", "email.delivered", "email.delivered", "email.delivered"]);
    let bounced = gateway.read("/v1/events?type=email.bounced").await;
    let bounced = &bounced["data"][0];
    assert_eq!(bounced["received_at"], json!(received_at.to_string()), "received when its request was");
    assert_eq!(bounced["created_at"], "2026-03-14T09:26:55.000Z");
    assert_eq!(bounced["request_id"], json!(unmapped.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_back_delivers_what_was_missed_once_embedded() {
    a_row_comes_back(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_back_delivers_what_was_missed_once_on_redis() {
    a_row_comes_back(Some(Server::start().await)).await;
}

/// The events are in, and the request is listed as if they were not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_a_request_is_known_to_be_understood_leaves_it_to_be_read_again() {
    let (hooks, server) = (Hooks::start(), Server::start().await);
    let mut gateway = served(&server.url(), &hooks).await;
    let (_, mail) = Poster::new().resend_event(1);
    let store = opened(&gateway, Some(&server)).await;
    let id = taken_by(&*store, &Older::blind("resend"), ("resend", SystemClock::new().now()), &mail).await;
    gateway.up(Some("reprocess.committed"));
    gateway.until_alive().await;
    let path = format!("/v1/requests/{id}/reprocess");
    assert!(Api::new("POST", &path).try_call(gateway.port()).await.is_err(), "nobody is answered");
    assert!(gateway.ended(SOON).await.is_some(), "it dies there");
    gateway.up(None);
    gateway.until_alive().await;
    until(SOON, "it comes", || !hooks.arrivals().is_empty()).await;
    assert_eq!(listed(&gateway, "unreadable").await, 1);
    assert_eq!(reprocessed(&gateway, &id).await, outcome(0, 1, 0, 0));
    assert_eq!(listed(&gateway, "unreadable").await, 0);
    gateway.until_idle().await;
    let delivered = gateway.read("/v1/deliveries?status=delivered").await;
    assert_eq!(delivered["data"].as_array().unwrap().len(), 1);
}

/// The provider sends it again to a version that understands it, which dies when the event is in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_a_resend_is_known_to_be_understood_is_mended_by_the_next() {
    let (hooks, server) = (Hooks::start(), Server::start().await);
    let mut gateway = served(&server.url(), &hooks).await;
    let (_, mail) = Poster::new().resend_event(1);
    let store = opened(&gateway, Some(&server)).await;
    taken_by(&*store, &Older::blind("resend"), ("resend", SystemClock::new().now()), &mail).await;
    let resend = wire::post("/in/resend", &mail);
    gateway.up(Some("units.committed"));
    gateway.until_alive().await;
    assert!(wire::exchange(gateway.port(), &resend).await.is_err(), "nobody is answered");
    assert!(gateway.ended(SOON).await.is_some(), "it dies there");
    gateway.up(None);
    gateway.until_alive().await;
    assert_eq!(listed(&gateway, "unreadable").await, 1);
    assert_eq!(wire::exchange(gateway.port(), &resend).await.unwrap().status, 200);
    assert_eq!(listed(&gateway, "unreadable").await, 0);
    until(SOON, "it comes", || !hooks.arrivals().is_empty()).await;
    gateway.until_idle().await;
    let delivered = gateway.read("/v1/deliveries?status=delivered").await;
    assert_eq!(delivered["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_again_says_why() {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = served("embedded", &hooks).await;
    let store = opened(&gateway, None).await;
    let (_, mail) = poster.resend_event(1);
    let old = taken_by(&*store, &Older::blind("resend"), ("gone", SystemClock::new().now()), &mail).await;
    drop(store);
    gateway.up(None);
    gateway.until_alive().await;
    let one = format!("/v1/requests/{old}/reprocess");
    let nobodys = format!("/v1/requests/{}/reprocess", RequestId::of("resend", b"nobody's"));
    let all = "/v1/requests/reprocess";
    let problem = |name: &str| json!(format!("urn:waypost:problem:{name}"));
    for (method, path, body, status, name) in [
        ("POST", one.as_str(), "", 409, "source_gone"),
        ("POST", &nobodys, "", 404, "not_found"),
        ("POST", "/v1/requests/what/reprocess", "", 404, "not_found"),
        ("POST", &one, r#"{"a":1}"#, 422, "bad_body"),
        ("GET", &one, "", 405, "method_not_allowed"),
        ("GET", all, "", 405, "method_not_allowed"),
        ("GET", "/v1/requests/what", "", 404, "not_found"),
        ("GET", "/v1/requests", "", 400, "bad_query"),
        ("GET", "/v1/requests?status=stored", "", 400, "bad_query"),
        ("GET", "/v1/requests?status=unmapped&cursor=what", "", 400, "bad_query"),
        ("POST", all, r#"{"source":"gone"}"#, 409, "source_gone"),
        ("POST", all, r#"{"status":["stored"]}"#, 422, "bad_body"),
        ("POST", all, r#"{"since":"2026-02-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}"#, 422, "bad_body"),
    ] {
        let (answered, answer) = call(&gateway, method, path, body).await;
        assert_eq!((answered, &answer["type"]), (status, &problem(name)), "{method} {path} {body}: {answer}");
        if name == "source_gone" {
            assert!(answer["detail"].as_str().unwrap().contains("[sources.gone]"), "{answer}");
        }
    }
    for (key, status) in [(READER, 403), ("no", 401)] {
        for path in [one.as_str(), all] {
            assert_eq!(Api::new("POST", path).with("x-api-key", key).call(&gateway).await.0, status, "{path}");
        }
    }
    let get = Api::new("GET", "/v1/requests?status=unreadable").with("x-api-key", READER).call(&gateway).await;
    assert_eq!((get.0, get.1["data"].as_array().unwrap().len()), (200, 1));
    // One that nobody understands stays as it is.
    let odd = poster.sign("resend", "not JSON", [9; 16]);
    assert_eq!(poster.post(&gateway.url("resend"), odd).await, Some(200));
    let odd = RequestId::of("resend", b"not JSON");
    assert_eq!(reprocessed(&gateway, &odd).await, outcome(0, 0, 0, 1));
    assert_eq!(listed(&gateway, "unreadable").await, 2);

    // The source is put back.
    let source = format!("[sources.gone]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\n");
    gateway.configure(&(hooks.endpoints(0..1, MORE) + &source));
    gateway.signal("HUP");
    let (gateway, one) = (&gateway, one.as_str());
    crate::gateway::until("it is read again", async || call(gateway, "POST", one, "").await.0 == 200).await;
    until(SOON, "it comes", || hooks.arrivals().len() == 1).await;
    assert_eq!(hooks.arrivals()[0].source, "gone");
}
