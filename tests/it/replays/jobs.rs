//! Bulk replays.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{MORE, SOON, replays, serving, settled};
use crate::client_of_api::call;
use crate::gateway::{self, Gateway, Poster};
use crate::gateways::{accepted, pair};
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;

/// A lease that a killed gateway leaves behind falls due again after 16 s.
const LATER: Duration = Duration::from_secs(60);

/// How many different events came by this replay.
fn events_of(hooks: &Hooks, replay: &str) -> HashMap<String, usize> {
    let mut events = HashMap::new();
    for arrival in replays(hooks).into_iter().filter(|arrival| arrival.replay.as_deref() == Some(replay)) {
        *events.entry(arrival.event).or_default() += 1;
    }
    events
}

/// Has so many events taken in. A machine that is busy may answer 503, after which a provider sends it again.
async fn take_in(gateway: &Gateway, count: u32) {
    let (poster, url) = (Poster::new(), gateway.url("sendgrid"));
    let (_, signed) = poster.sendgrid_batch(1, count);
    gateway::until("it is taken", async || poster.post(&url, signed.clone()).await == Some(200)).await;
}

/// Has so many events taken in and delivered.
async fn delivered(gateway: &Gateway, hooks: &Hooks, count: u32) {
    take_in(gateway, count).await;
    let count = usize::try_from(count).unwrap();
    until(LATER, "all are delivered", || hooks.arrivals().len() >= count).await;
    gateway.until_idle().await;
}

async fn job(gateway: &Gateway, id: &str) -> Value {
    gateway.read(&format!("/v1/replays/{id}")).await
}

/// The job when it is in this state.
async fn job_in(gateway: &Gateway, id: &str, state: &str) -> Value {
    for _ in 0..6_000 {
        // It may be down.
        if let Some(reply) = gateway.get(&format!("/v1/replays/{id}")).await {
            let job: Value = serde_json::from_str(&reply.body).unwrap();
            if job["state"] == state {
                return job;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the replay never came to be {state}: {}", job(gateway, id).await);
}

async fn begin(gateway: &Gateway, body: Value) -> Value {
    let (status, job) = call(gateway, "POST", "/v1/webhooks/wh_0/replay", &body.to_string()).await;
    assert_eq!(status, 202, "{job}");
    job
}

/// Only what was asked for is replayed, and counted first.
async fn a_span_is_replayed(store: &str) {
    let hooks = Hooks::start();
    let gateway = serving(store, &hooks, 1, MORE).await;
    delivered(&gateway, &hooks, 700).await;
    let events = hooks.arrivals().len();
    assert_eq!(events, 700);

    let counted = begin(&gateway, json!({"since": "2026-01-01T00:00:00Z", "dry_run": true})).await;
    let counted = job_in(&gateway, counted["id"].as_str().unwrap(), "done").await;
    assert_eq!((&counted["total"], &counted["made"]), (&json!(700), &json!(0)), "{counted}");
    for nothing in [
        json!({"since": "2026-01-01T00:00:00Z", "types": ["email.bounced"]}),
        json!({"since": "2026-01-01T00:00:00Z", "status": ["failed"]}),
        json!({"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}),
    ] {
        let job = begin(&gateway, nothing).await;
        let job = job_in(&gateway, job["id"].as_str().unwrap(), "done").await;
        assert_eq!((&job["total"], &job["made"]), (&json!(0), &json!(0)), "{job}");
    }
    let asked = json!({"since": "2026-01-01T00:00:00Z", "types": ["email.delivered"], "status": ["delivered"]});
    let job = begin(&gateway, asked).await;
    let id = job["id"].as_str().unwrap();
    let job = job_in(&gateway, id, "done").await;
    assert_eq!((&job["total"], &job["made"], &job["left_out"]), (&json!(700), &json!(700), &json!(0)), "{job}");
    until(LATER, "all come", || events_of(&hooks, id).len() == 700).await;
    gateway.until_idle().await;
    assert!(events_of(&hooks, id).values().all(|times| *times == 1));
    assert_eq!(replays(&hooks).len(), 700);
    let (status, answer) = call(&gateway, "DELETE", &format!("/v1/replays/{id}"), "").await;
    assert_eq!((status, &answer["type"]), (409, &json!("urn:waypost:problem:not_replayable")), "it has ended");
    let listed = gateway.read("/v1/replays?limit=2").await;
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&json!(id), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_then_replays_what_was_asked_for_embedded() {
    a_span_is_replayed("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_then_replays_what_was_asked_for_on_redis() {
    a_span_is_replayed(&Server::start().await.url()).await;
}

/// Dies at a point of a job, its Redis with it, and goes on where it was.
async fn survives(mut server: Option<Server>, point: &str) {
    const COUNT: usize = 1_200;
    let hooks = Hooks::start();
    let store = server.as_ref().map_or("embedded".into(), Server::url);
    let mut gateway = serving(&store, &hooks, 1, MORE).await;
    delivered(&gateway, &hooks, u32::try_from(COUNT).unwrap()).await;
    let mut before = hooks.arrivals().len();
    assert!(before >= COUNT);
    gateway.down();
    gateway.up(Some(point));
    gateway.until_alive().await;
    let job = begin(&gateway, json!({"since": "2026-01-01T00:00:00Z"})).await;
    let id = job["id"].as_str().unwrap();
    assert!(gateway.ended(LATER).await.is_some(), "it dies at {point}");
    if let Some(server) = &mut server {
        server.down();
        server.up().await;
    }
    gateway.up(None);
    let job = job_in(&gateway, id, "done").await;
    assert_eq!((&job["total"], &job["made"], &job["left_out"]), (&json!(COUNT), &json!(COUNT), &json!(0)), "{point}");
    until(LATER, "all come", || events_of(&hooks, id).len() == COUNT).await;
    gateway.until_idle().await;
    before = hooks.arrivals().len() - before;
    println!("{point}: {before} requests for {COUNT} replays");
    let mut cursor = String::new();
    let mut ended = 0;
    loop {
        let list = gateway.read(&format!("/v1/deliveries?status=delivered&limit=100&cursor={cursor}")).await;
        ended += list["data"].as_array().unwrap().len();
        match list["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(ended, 2 * COUNT, "{point}: each delivery has one replay");
}

/// Three steps count, and three make.
const POINTS: [&str; 3] = ["replay.made:2", "replay.made:5", "replay.kept:4"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_its_gateway_died_embedded() {
    join_all(POINTS.map(|point| survives(None, point))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_its_gateway_died_on_redis() {
    let run = async |point| survives(Some(Server::start().await), point).await;
    join_all(POINTS.map(run)).await;
}

/// A job is stopped while its endpoint does not answer.
async fn is_canceled(store: &str) {
    let hooks = Hooks::start();
    let gateway = serving(store, &hooks, 1, "timeout_s = 60\nmax_in_flight = 4\n").await;
    delivered(&gateway, &hooks, 700).await;
    hooks.hold();
    let job = begin(&gateway, json!({"since": "2026-01-01T00:00:00Z"})).await;
    let id = job["id"].as_str().unwrap();
    let job = job_in(&gateway, id, "done").await;
    assert_eq!((&job["made"], &job["pending"]), (&json!(700), &json!(700)), "{job}");
    until(SOON, "some are under way", || !replays(&hooks).is_empty()).await;
    let (status, job) = call(&gateway, "DELETE", &format!("/v1/replays/{id}"), "").await;
    assert_eq!((status, &job["state"]), (202, &json!("canceling")), "{job}");
    let job = job_in(&gateway, id, "canceled").await;
    assert_eq!(job["pending"], 0, "{job}");
    hooks.release();
    let canceled = gateway.read("/v1/deliveries?status=canceled&limit=100").await;
    assert_eq!((canceled["data"].as_array().unwrap().len(), &canceled["has_more"]), (100, &json!(true)));
    assert_eq!(canceled["data"][0]["reason"], "replay_canceled");
    let (status, _) =
        call(&gateway, "POST", &format!("/v1/deliveries/{}/retry", canceled["data"][0]["id"].as_str().unwrap()), "")
            .await;
    assert_eq!(status, 409, "what was canceled is not sent again");
    accepted(&Poster::new(), &gateway, 1).await;
    until(SOON, "what is live comes", || hooks.arrivals().last().is_some_and(|last| last.replay.is_none())).await;
    assert!(replays(&hooks).len() <= 4, "nothing of it is sent any more: {}", replays(&hooks).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_job_sends_nothing_more_embedded() {
    is_canceled("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_job_sends_nothing_more_on_redis() {
    is_canceled(&Server::start().await.url()).await;
}

/// While a job has hundreds of deliveries due and its endpoint is slow, what comes in goes before them: some places are
/// never a replay's.
async fn live_goes_first(store: &str) {
    let hooks = Hooks::start();
    let gateway = serving(store, &hooks, 1, "timeout_s = 60\nmax_in_flight = 8\n").await;
    delivered(&gateway, &hooks, 700).await;
    hooks.hold();
    let job = begin(&gateway, json!({"since": "2026-01-01T00:00:00Z"})).await;
    job_in(&gateway, job["id"].as_str().unwrap(), "done").await;
    until(SOON, "its places are taken", || replays(&hooks).len() == 6).await;
    let (poster, lives) = (Poster::new(), || hooks.arrivals().len() - 700 - replays(&hooks).len());
    for number in 0..7 {
        accepted(&poster, &gateway, number).await;
    }
    until(SOON, "the first live ones come while replays are not answered", || lives() == 2).await;
    assert_eq!(replays(&hooks).len(), 6);
    let before = hooks.arrivals().len();
    hooks.release();
    until(LATER, "all come", || hooks.arrivals().len() == 2 * 700 + 7).await;
    // What is under way together, or begins when something of that ends, may overtake each other on its way; in the
    // order they fell due, the live ones would come after all of the hundreds.
    let after = hooks.arrivals().split_off(before);
    let last = after.iter().rposition(|arrival| arrival.replay.is_none()).unwrap();
    assert!(last < 5 + 2 * 8, "live ones go first: {last} came before the last of five");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_does_not_delay_what_comes_in_embedded() {
    live_goes_first("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_does_not_delay_what_comes_in_on_redis() {
    live_goes_first(&Server::start().await.url()).await;
}

/// Whoever is asked, the owner of the lane makes it, and is woken at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_replay_once() {
    const ENDPOINTS: u32 = 8;
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let (one, other) = pair(&server, &hooks.endpoints(0..ENDPOINTS, MORE)).await;
    let event = accepted(&poster, &one, 1).await;
    settled(&one, &event).await;
    let mut slowest = Duration::ZERO;
    for number in 0..ENDPOINTS {
        let body = json!({"endpoint_id": format!("wh_{number}")}).to_string();
        let asked = hooks.now();
        let (status, made) = call(&one, "POST", &format!("/v1/events/{event}/replay"), &body).await;
        assert_eq!(status, 201, "{made}");
        let came = usize::try_from(number).unwrap() + 1;
        until(SOON, "it comes", || replays(&hooks).len() == came).await;
        slowest = slowest.max(hooks.now().saturating_sub(asked));
    }
    println!("asked of one and sent by either: at most {slowest:?} later");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}: the other was not woken");
    take_in(&one, 300).await;
    until(LATER, "all are delivered", || hooks.arrivals().len() >= 301 * 8 + 8).await;
    for number in 0..ENDPOINTS {
        let asked = json!({"since": "2026-01-01T00:00:00Z"}).to_string();
        let gateway = if number % 2 == 0 { &one } else { &other };
        let (status, job) = call(gateway, "POST", &format!("/v1/webhooks/wh_{number}/replay"), &asked).await;
        assert_eq!(status, 202, "{job}");
        let id = job["id"].as_str().unwrap();
        let job = job_in(&other, id, "done").await;
        assert_eq!((&job["total"], &job["made"]), (&json!(301), &json!(301)), "{job}");
        until(LATER, "all come", || events_of(&hooks, id).len() == 301).await;
        assert!(events_of(&hooks, id).values().all(|times| *times == 1), "none twice");
    }
}
