//! What Waypost tells of its own state reaches the endpoints that ask for it, by whole processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use waypost::domain::endpoint::Scheme;
use waypost::outbound::sign::{Secret, sign};
use waypost_providers::Signed;

use crate::gateway::{API_KEY, Gateway, Poster, SECRET};
use crate::gateways::{accepted, crowd};
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;

const SOON: Duration = Duration::from_secs(30);
/// An open breaker waits for 30 s before it probes.
const PROBED: Duration = Duration::from_secs(60);
/// A lease is held for 15 s longer than the deadline.
const LEASED_AGAIN: Duration = Duration::from_secs(90);
/// In a row, before a breaker opens.
const FAILURES: u32 = 10;
/// It is told of what becomes of the others.
const TOLD: &str = "wh_1";

/// `wh_0` answers with a status that can be changed, and is told of; `wh_3` fails to take what it is told.
fn hooks() -> (Hooks, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(500));
    let shared = Arc::clone(&status);
    let hooks = Hooks::answering(move |arrival| match arrival.endpoint.as_str() {
        "wh_0" => HttpResponse::build(StatusCode::from_u16(shared.load(Ordering::SeqCst)).unwrap()).finish(),
        "wh_3" => HttpResponse::InternalServerError().finish(),
        _ => HttpResponse::Ok().finish(),
    });
    (hooks, status)
}

/// Each delivery to `wh_0` has one attempt.
fn endpoints(hooks: &Hooks) -> String {
    let more = "timeout_s = 1\nretry = []\n";
    let asking = |number, word| hooks.endpoints(number..number + 1, &format!("{more}events = [\"{word}\"]\n"));
    let others = [asking(1, "waypost.*"), asking(2, "*"), asking(3, "waypost.endpoint.failing")];
    hooks.endpoints(0..1, more) + &others.concat()
}

fn came_to(hooks: &Hooks, endpoint: &str) -> Vec<Arrival> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.endpoint == endpoint).collect()
}

fn body(arrival: &Arrival) -> Value {
    serde_json::from_slice(&arrival.body).unwrap()
}

/// What was told of this endpoint, in order: each event's type, and its id.
fn told_of(hooks: &Hooks, endpoint: &str) -> Vec<(String, String)> {
    let bodies = came_to(hooks, TOLD).into_iter().map(|arrival| body(&arrival));
    let of_it = bodies.filter(|body| body["data"]["endpoint_id"] == endpoint);
    of_it.map(|body| (body["type"].as_str().unwrap().into(), body["id"].as_str().unwrap().into())).collect()
}

fn count(told: &[(String, String)], kind: &str) -> usize {
    told.iter().filter(|(of, _)| of == kind).count()
}

/// As it signs for every endpoint.
fn is_signed(arrival: &Arrival) -> bool {
    let signature = arrival.signature.as_deref().unwrap();
    let seconds = signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap();
    let at = Timestamp::from_second(seconds.parse().unwrap()).unwrap();
    let secrets = [Secret::parse(SECRET).unwrap()];
    sign(&[Scheme::Drin], &secrets, &arrival.event, at, &arrival.body).iter().any(|(_, value)| value == signature)
}

/// An endpoint fails, is disabled, and comes back.
async fn tells_of_an_endpoint(gateways: &[Gateway], hooks: &Hooks, status: &AtomicU16) {
    let (poster, gateway) = (Poster::new(), &gateways[0]);
    let mut events = BTreeSet::new();
    for number in 0..FAILURES {
        let from = &gateways[number as usize % gateways.len()];
        events.insert(accepted(&poster, from, number).await);
    }
    let is_failing = || {
        let told = told_of(hooks, "wh_0");
        count(&told, "waypost.delivery.exhausted") == events.len() && count(&told, "waypost.endpoint.failing") == 1
    };
    until(SOON, "its dead letters, and that it fails", is_failing).await;
    status.store(410, Ordering::SeqCst);
    accepted(&poster, gateway, 100).await;
    let told = |kind: &str| count(&told_of(hooks, "wh_0"), kind);
    until(PROBED, "that it is disabled", || told("waypost.endpoint.disabled") == 1).await;
    status.store(200, Ordering::SeqCst);
    assert_eq!(gateway.call(API_KEY, "POST /v1/webhooks/wh_0/enable", "").await.0, 200);
    accepted(&poster, gateway, 101).await;
    accepted(&poster, gateway, 102).await;
    until(SOON, "that it is well", || told("waypost.endpoint.recovered") == 1).await;
    gateway.until_idle().await;

    let told = told_of(hooks, "wh_0");
    let states: Vec<_> =
        told.iter().map(|(kind, _)| kind.as_str()).filter(|kind| !kind.contains("exhausted")).collect();
    assert_eq!(states, ["waypost.endpoint.failing", "waypost.endpoint.disabled", "waypost.endpoint.recovered"]);
    assert_eq!(count(&told, "waypost.delivery.exhausted"), events.len());
    assert_eq!(told.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), told.len(), "each under an id of its own");
    let letters = came_to(hooks, TOLD).into_iter().map(|arrival| body(&arrival)["data"].clone());
    let letters: BTreeSet<_> = letters.filter_map(|data| data["event_id"].as_str().map(str::to_owned)).collect();
    assert_eq!(letters, events);
    assert_eq!((came_to(hooks, "wh_3").len(), told_of(hooks, "wh_3").len()), (1, 0), "its delivery was operational");
    assert!(came_to(hooks, TOLD).iter().all(is_signed));
    for endpoint in ["wh_0", "wh_2"] {
        assert!(came_to(hooks, endpoint).iter().all(|arrival| !arrival.source.is_empty()), "{endpoint} got one");
    }
    is_kept_apart(gateway, &came_to(hooks, "wh_3")[0].event, events.len() + 3).await;
}

/// An operational event is found by its id and by its deliveries, and not listed with the others.
async fn is_kept_apart(gateway: &Gateway, id: &str, events: usize) {
    let listed = gateway.read("/v1/events?limit=100").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), events, "{listed}");
    let event = gateway.read(&format!("/v1/events/{id}")).await;
    assert!(event["type"].as_str().unwrap().starts_with("waypost."), "{event}");
    assert_eq!(event.get("request_id"), None);
    assert_eq!(gateway.get(&format!("/v1/events/{id}/raw")).await.unwrap().status, 404);
    assert_eq!(gateway.get("/v1/events?type=waypost.*").await.unwrap().status, 400);
    let deliveries = gateway.read(&format!("/v1/events/{id}/deliveries")).await;
    let deliveries = deliveries["data"].as_array().unwrap();
    let statuses: BTreeMap<_, _> =
        deliveries.iter().map(|one| (one["endpoint_id"].as_str().unwrap(), &one["status"])).collect();
    assert_eq!(statuses, [("wh_1", &json!("delivered")), ("wh_3", &json!("failed"))].into());
    let failed = gateway.read("/v1/deliveries?status=failed&limit=100").await;
    assert!(failed["data"].as_array().unwrap().iter().any(|one| one["event_id"] == id), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_is_disabled_and_recovers_is_told_of_embedded() {
    let (hooks, status) = hooks();
    let mut gateway = Gateway::serving("embedded", &endpoints(&hooks));
    gateway.up(None);
    gateway.until_alive().await;
    tells_of_an_endpoint(&[gateway], &hooks, &status).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_is_disabled_and_recovers_is_told_of_by_two_gateways_on_redis() {
    let ((hooks, status), server) = (hooks(), Server::start().await);
    let gateways = crowd(&server, &endpoints(&hooks), 2).await;
    tells_of_an_endpoint(&gateways, &hooks, &status).await;
}

/// It answers one event late and well, and another at once with `410`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_when_an_endpoint_was_disabled_is_no_recovery() {
    let is_late = |arrival: &Arrival| arrival.endpoint == "wh_0" && arrival.source == "resend";
    let answer = move |arrival: &Arrival| match arrival.endpoint.as_str() {
        "wh_0" if !is_late(arrival) => HttpResponse::Gone().finish(),
        _ => HttpResponse::Ok().finish(),
    };
    let hooks =
        Hooks::late(answer, move |arrival| if is_late(arrival) { Duration::from_secs(2) } else { Duration::ZERO });
    let more = "timeout_s = 10\n";
    let told = hooks.endpoints(1..2, &format!("{more}events = [\"waypost.*\"]\n"));
    let mut gateway = Gateway::serving("embedded", &(hooks.endpoints(0..1, more) + &told));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    accepted(&poster, &gateway, 0).await;
    until(SOON, "the first is under way", || came_to(&hooks, "wh_0").len() == 1).await;
    let (_, gone) = poster.mailgun_event(1);
    assert_eq!(poster.post(&gateway.url("mailgun"), gone).await, Some(200));
    gateway.until_idle().await;
    let kinds = || told_of(&hooks, "wh_0").into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds(), ["waypost.endpoint.disabled"]);
    assert_eq!(gateway.call(API_KEY, "POST /v1/webhooks/wh_0/enable", "").await.0, 200);
    accepted(&poster, &gateway, 1).await;
    until(SOON, "that it is well", || kinds() == ["waypost.endpoint.disabled", "waypost.endpoint.recovered"]).await;
}

/// A request that proves nothing, and what it is answered.
async fn refused(poster: &Poster, gateway: &Gateway, number: u32) {
    let (_, signed) = poster.resend_event(number);
    let body = [&signed.body[..], b" "].concat().into();
    assert_eq!(poster.post(&gateway.url("resend"), Signed { body, ..signed }).await, Some(401));
}

async fn tells_of_a_source(store: &str) {
    let (hooks, _) = hooks();
    let mut gateway = Gateway::serving(store, &endpoints(&hooks));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let told =
        || came_to(&hooks, TOLD).into_iter().filter(|arrival| body(arrival)["type"] == "waypost.source.rejecting");
    let refuse = async |times: u32| {
        for number in 0..times {
            refused(&poster, &gateway, number).await;
        }
    };
    refuse(19).await;
    accepted(&poster, &gateway, 0).await;
    refuse(19).await;
    gateway.until_idle().await;
    assert_eq!(told().count(), 0);
    refuse(1).await;
    until(SOON, "that the source refuses", || told().count() == 1).await;
    let expected = json!({"source": "resend", "reason": "no configured key made this signature"});
    assert_eq!(body(&told().next().unwrap())["data"], expected);
    refuse(45).await;
    accepted(&poster, &gateway, 1).await;
    refuse(20).await;
    gateway.until_idle().await;
    assert_eq!(told().count(), 1, "within the hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_refuses_again_and_again_is_told_of_once_embedded() {
    tells_of_a_source("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_refuses_again_and_again_is_told_of_once_on_redis() {
    let server = Server::start().await;
    tells_of_a_source(&server.url()).await;
}

/// The gateway dies when it has told, or is about to, and is started again: it is told once.
async fn is_told_once(point: &str, answer: u16, kind: &str, store: &str) {
    let (hooks, status) = hooks();
    status.store(answer, Ordering::SeqCst);
    let mut gateway = Gateway::serving(store, &endpoints(&hooks));
    gateway.up(Some(point));
    gateway.until_alive().await;
    // It may die before it has answered.
    Poster::new().resend(&gateway.url("resend"), 1).await;
    gateway.ended(SOON).await.expect("it dies at its point");
    gateway.up(None);
    gateway.until_alive().await;
    until(LEASED_AGAIN, "it is told", || count(&told_of(&hooks, "wh_0"), kind) > 0).await;
    gateway.until_idle().await;
    let ids: BTreeSet<_> = told_of(&hooks, "wh_0").into_iter().collect();
    assert_eq!(ids.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), [kind], "{point}");
}

/// The points, what the endpoint answers, and what is told.
const POINTS: [(&str, u16, &str); 3] = [
    ("announced", 500, "waypost.delivery.exhausted"),
    ("announced", 410, "waypost.endpoint.disabled"),
    ("endpoint.disabled", 410, "waypost.endpoint.disabled"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_survives_a_crash_embedded() {
    join_all(POINTS.map(|(point, answer, kind)| is_told_once(point, answer, kind, "embedded"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_survives_a_crash_on_redis() {
    let run = async |(point, answer, kind)| is_told_once(point, answer, kind, &Server::start().await.url()).await;
    join_all(POINTS.map(run)).await;
}
