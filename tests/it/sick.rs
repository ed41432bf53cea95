//! What one endpoint does costs no other, and what is done about it reaches what waits.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use actix_web::HttpResponse;

use crate::gateway::{Gateway, Poster};
use crate::gateways::accepted;
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;
use crate::stale_endpoints::reload;

const SOON: Duration = Duration::from_secs(20);
/// More than the places of one lane, and for all sick lanes together more than there are in all.
const EVENTS: u32 = 60;
const SICK: u32 = 12;
/// What answers, beside the sick.
const HEALTHY: &str = "wh_12";

async fn started(store: &str, endpoints: &str) -> Gateway {
    let mut gateway = Gateway::serving(store, endpoints);
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

fn came_to(hooks: &Hooks, endpoint: &str) -> Vec<Arrival> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.endpoint == endpoint).collect()
}

/// Twelve endpoints that never answer and one that does: it gets every event, once, at once.
async fn costs_only_itself(store: &str) {
    let is_sick = |arrival: &Arrival| arrival.endpoint != HEALTHY;
    let hooks = Hooks::late(
        |_| HttpResponse::Ok().finish(),
        move |arrival| if is_sick(arrival) { Duration::from_secs(120) } else { Duration::ZERO },
    );
    let gateway = started(store, &hooks.endpoints(0..SICK + 1, "timeout_s = 30\n")).await;
    let poster = Poster::new();
    let mut sent = HashMap::new();
    for number in 0..EVENTS {
        sent.insert(accepted(&poster, &gateway, number).await, hooks.now());
    }
    until(SOON, "the healthy endpoint gets everything", || came_to(&hooks, HEALTHY).len() >= EVENTS as usize).await;
    let arrivals = came_to(&hooks, HEALTHY);
    assert_eq!(arrivals.iter().map(|one| &one.event).collect::<HashSet<_>>().len(), arrivals.len(), "none twice");
    let latest = arrivals.iter().map(|one| one.at.saturating_sub(sent[&one.event])).max().unwrap();
    println!("the slowest came {latest:?} after it was accepted");
    // A sick one is given up on after 30 s: nobody waited for that.
    assert!(latest < Duration::from_secs(5), "{latest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_hang_cost_only_themselves_embedded() {
    costs_only_itself("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_hang_cost_only_themselves_on_redis() {
    let server = Server::start().await;
    costs_only_itself(&server.url()).await;
}

/// One endpoint that has more due than it gets places for, however fast it answers, and one that has little.
async fn has_always_more(store: &str) {
    const BATCHES: u32 = 8;
    const BATCH: u32 = 1_000;
    let hooks = Hooks::start();
    let of = |number, kind: &str| {
        hooks.endpoints(number..number + 1, &format!("events = [\"{kind}\"]\nmax_in_flight = 200\n"))
    };
    let endpoints = of(0, "email.delivered") + &of(1, "email.opened");
    let gateway = started(store, &endpoints).await;
    let poster = Poster::new();
    for number in 0..BATCHES {
        let (_, signed) = poster.sendgrid_batch(number, BATCH);
        assert_eq!(poster.post(&gateway.url("sendgrid"), signed).await, Some(200));
    }
    until(SOON, "the busy one gets some", || !came_to(&hooks, "wh_0").is_empty()).await;
    let (_, signed) = poster.resend_event_of(1, 1, "email.opened");
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    until(SOON, "the other gets its own", || !came_to(&hooks, "wh_1").is_empty()).await;
    let before = came_to(&hooks, "wh_0").len();
    println!("{before} went before it");
    assert!(before < (BATCHES * BATCH / 4 * 3) as usize, "{before}");
    until(SOON, "the busy one gets all", || came_to(&hooks, "wh_0").len() >= (BATCHES * BATCH) as usize).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_always_has_more_lets_others_be_served_embedded() {
    has_always_more("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_always_has_more_lets_others_be_served_on_redis() {
    let server = Server::start().await;
    has_always_more(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_is_called_again_alone_and_always_under_the_same_id() {
    let hooks = Hooks::answering(|arrival| match (arrival.endpoint.as_str(), arrival.attempt) {
        ("wh_0", 1..=2) => HttpResponse::InternalServerError().finish(),
        _ => HttpResponse::Ok().finish(),
    });
    let gateway = started("embedded", &hooks.endpoints(0..3, "retry = [1, 1]\n")).await;
    let event = accepted(&Poster::new(), &gateway, 1).await;
    until(SOON, "it lands", || came_to(&hooks, "wh_0").len() == 3).await;
    gateway.until_idle().await;
    let attempts: Vec<_> = came_to(&hooks, "wh_0").into_iter().map(|one| (one.event, one.attempt)).collect();
    assert_eq!(attempts, [1, 2, 3].map(|attempt| (event.clone(), attempt)));
    for healthy in ["wh_1", "wh_2"] {
        assert_eq!(came_to(&hooks, healthy).len(), 1, "{healthy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_corrected_reaches_what_waits() {
    let (wrong, right) = (Hooks::answering(|_| HttpResponse::NotFound().finish()), Hooks::start());
    let more = "retry = [1, 1, 1, 1, 1, 1]\n";
    let gateway = started("embedded", &wrong.endpoints(0..1, more)).await;
    let event = accepted(&Poster::new(), &gateway, 1).await;
    until(SOON, "it fails", || !wrong.arrivals().is_empty()).await;
    reload(&gateway, &right.endpoints(0..1, more)).await;
    until(SOON, "it lands", || right.arrivals().iter().any(|arrival| arrival.event == event)).await;
    assert!(right.arrivals()[0].attempt > 1, "the same delivery");
}

/// Bytes of Redis.
async fn memory(server: &Server) -> u64 {
    let told = server.command(&["INFO", "memory"]).await;
    let text: String = redis::from_redis_value(told).unwrap();
    text.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_is_stored_once_however_many_wait_for_it() {
    const ENDPOINTS: u32 = 100;
    const LEN: usize = 200_000;
    let (server, hooks) = (Server::start().await, Hooks::start());
    hooks.hold();
    let gateway = started(&server.url(), &hooks.endpoints(0..ENDPOINTS, "timeout_s = 30\n")).await;
    let poster = Poster::new();
    // Random letters: nothing that could be compressed to nothing.
    let subject: String = (0..LEN as u64).map(|place| char::from(b'a' + (hash(place) % 26) as u8)).collect();
    let body = format!(
        r#"{{"type":"email.delivered","created_at":"2026-03-14T09:26:55.731Z","data":{{"email_id":"mail-1","to":["a@customer.example"],"subject":"{subject}"}}}}"#
    );
    let before = memory(&server).await;
    let signed = poster.sign("resend", &body, [1; 16]);
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    until(SOON, "all wait for it", || hooks.arrivals().len() >= 32).await;
    let grown = memory(&server).await - before;
    println!("{grown} bytes of Redis for a body of {} and {ENDPOINTS} deliveries", body.len());
    // The request as it was received, the event, and what Redis itself needs for both while they come in.
    assert!(grown < 6 * LEN as u64, "{grown}");
    hooks.release();
    gateway.until_idle().await;
}

/// A number that looks like none in particular (the finalizer of `SplitMix64`).
fn hash(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
