//! What one gateway is told of the endpoints holds for all of them at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::delivery::{Delivery, EndReason, Status};
use waypost::domain::id::RequestId;
use waypost::domain::plan::{Generation, Ingest, RawRequest};
use waypost::domain::reprocess::Outcome;
use waypost::domain::source::Source;
use waypost::endpoints::EndpointCache;
use waypost::reprocess;
use waypost::store::Store;
use waypost::store::redis::RedisStore;
use waypost_providers::{Proof, Request, Signed, by_name};

use crate::gateway::{Gateway, Poster};
use crate::gateways::{accepted, deliveries_of, pair};
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;
use crate::sources::until_counted;
use crate::support::{endpoint, ingest};
use crate::wire::{self, Wire};

const SOON: Duration = Duration::from_secs(15);
const MORE: &str = "timeout_s = 3\n";
const UNSIGNED: &str = "this gateway has no secret that signs for the endpoint, so its deliveries wait; give this \
                        gateway the same config file and secrets as the others, or disable the endpoint";

/// Has it read these endpoints.
pub(crate) async fn reload(gateway: &Gateway, endpoints: &str) {
    let before = gateway.logged("config reloaded").len();
    gateway.configure(endpoints);
    gateway.signal("HUP");
    until(SOON, "the config is reloaded", || gateway.logged("config reloaded").len() > before).await;
}

fn names(deliveries: &[Delivery], status: Status) -> BTreeSet<String> {
    let those = deliveries.iter().filter(|delivery| delivery.status == status);
    those.map(|delivery| delivery.endpoint_id.to_string()).collect()
}

fn wh(numbers: std::ops::Range<u32>) -> BTreeSet<String> {
    numbers.map(|number| format!("wh_{number}")).collect()
}

fn reached(hooks: &Hooks, event: &str) -> BTreeSet<String> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.event == event).map(|arrival| arrival.endpoint).collect()
}

/// The deliveries of an event, when none is pending any more.
async fn ended(gateway: &Gateway, event: &str) -> Vec<Delivery> {
    for _ in 0..500 {
        let deliveries = deliveries_of(gateway, event).await;
        if names(&deliveries, Status::Pending).is_empty() {
            return deliveries;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{event} does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_one_gateway_was_given_gets_the_next_event_of_the_other() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let (one, other) = pair(&server, &hooks.endpoints(0..4, MORE)).await;
    let first = accepted(&poster, &one, 0).await;
    until(SOON, "the first event arrives", || reached(&hooks, &first) == wh(0..4)).await;

    let more = hooks.endpoints(0..20, MORE);
    reload(&other, &more).await;
    let second = accepted(&poster, &one, 1).await;
    let planned: BTreeSet<_> =
        deliveries_of(&one, &second).await.iter().map(|delivery| delivery.endpoint_id.to_string()).collect();
    assert_eq!(planned, wh(0..20), "planned with the endpoints of before");
    // The lanes of the one that lacks the secrets wait until it has them, and then not for long.
    let warned = || {
        let warnings = one.logged(UNSIGNED);
        warnings.iter().map(|line| line["endpoint.id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    until(SOON, "one tells what it cannot sign", || &warned() | &reached(&hooks, &second) == wh(0..20)).await;
    println!("{} of 16 new lanes wait for their secrets", warned().len());
    assert!(reached(&hooks, &second).is_disjoint(&warned()), "signed without a secret");
    assert!(!warned().is_empty(), "one owns none of the new lanes");
    reload(&one, &more).await;
    let reloaded = hooks.now();
    until(SOON, "the second event arrives everywhere", || reached(&hooks, &second) == wh(0..20)).await;
    println!("and went {:?} after they had come", hooks.now().saturating_sub(reloaded));
    assert_eq!(names(&ended(&one, &second).await, Status::Delivered), wh(0..20));
    assert_eq!(names(&deliveries_of(&one, &first).await, Status::Delivered), wh(0..4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_one_gateway_was_told_to_disable_is_not_called_by_the_other() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let (one, other) = pair(&server, &hooks.endpoints(0..16, MORE)).await;
    let first = accepted(&poster, &one, 0).await;
    until(SOON, "the first event arrives", || reached(&hooks, &first) == wh(0..16)).await;

    let half = hooks.endpoints(0..8, MORE) + &hooks.endpoints(8..16, "timeout_s = 3\nactive = false\n");
    reload(&other, &half).await;
    let second = accepted(&poster, &one, 1).await;
    let ends = ended(&one, &second).await;
    assert_eq!(names(&ends, Status::Delivered), wh(0..8));
    assert_eq!(names(&ends, Status::Skipped), wh(8..16));
    let skipped = ends.iter().filter(|delivery| delivery.status == Status::Skipped);
    assert!(skipped.clone().all(|delivery| delivery.reason == Some(EndReason::Disabled) && delivery.begun == 0));
    assert_eq!(reached(&hooks, &second), wh(0..8));
    // And back.
    reload(&other, &hooks.endpoints(0..16, MORE)).await;
    let third = accepted(&poster, &one, 2).await;
    until(SOON, "the third event arrives", || reached(&hooks, &third) == wh(0..16)).await;
}

/// How often the whole endpoint set was read from this server.
async fn reads(server: &Server) -> u32 {
    let redis::Value::BulkString(told) = server.command(&["INFO", "commandstats"]).await else { panic!("no text") };
    let told = String::from_utf8(told).unwrap();
    let calls = told.lines().find_map(|line| line.strip_prefix("cmdstat_hgetall:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_that_find_the_endpoints_changed_read_them_once() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving(&server.url(), &hooks.endpoints(0..1, MORE));
    gateway.up(None);
    poster.until_accepted(&gateway, 0).await;
    gateway.until_idle().await;
    let mut asked = Vec::new();
    for number in 1..=200 {
        let mut request = wire::post("/in/resend", &poster.resend_event(number).1);
        let last = request.split_off(request.len() - 1);
        let mut wire = Wire::connect(gateway.port()).await.unwrap();
        wire.say(&request).await.unwrap();
        asked.push((wire, last));
    }
    let store = server.store().await;
    let base = store.endpoints().await.unwrap().generation;
    store.change_endpoints(base, &[endpoint("wh_new")]).await.unwrap().unwrap();
    let before = reads(&server).await;
    for (wire, last) in &mut asked {
        wire.say(last).await.unwrap();
    }
    for (wire, _) in &mut asked {
        assert_eq!(wire.reply().await.unwrap().status, 200);
    }
    let read = reads(&server).await - before;
    println!("200 requests, {read} reads");
    // The dispatcher reads it too when it finds out first.
    assert!((1..=3).contains(&read), "{read} reads");
}

/// As somebody leaves it who changes the endpoints and has told two of four partitions so far.
async fn change_by_half(server: &Server, store: &RedisStore) {
    let next = (store.endpoints().await.unwrap().generation.0 + 1).to_string();
    for key in ["{wp:0}:generation", "{wp:0}:gen", "{wp:3}:gen"] {
        server.command(&["SET", key, &next]).await;
    }
}

#[tokio::test]
async fn what_half_a_change_let_in_is_told_as_new() {
    let (server, poster) = (Server::start().await, Poster::new());
    let store = server.store().await;
    store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap().unwrap();
    let (_, Signed { headers, body }) = poster.sendgrid_batch(1, 40);
    let request = Request { source: "sendgrid".into(), received_at: SystemClock::new().now(), headers, body };
    let id = RequestId::of("sendgrid", &request.body);
    let raw = RawRequest { id: id.clone(), provider: "sendgrid", request, unmapped: 40, unreadable: 0 };
    let generation = store.endpoints().await.unwrap().generation;
    store.ingest(Ingest { raw: Some(raw), ..ingest(generation, Vec::new()) }).await.unwrap();

    let endpoints = EndpointCache::default();
    endpoints.refresh_from(Generation::default(), &store).await.unwrap();
    let proof = Arc::new(Proof::Basic(Vec::new()));
    let sources =
        [("sendgrid".to_owned(), Source { provider: by_name("sendgrid").unwrap(), proof, fetching: None })].into();
    let again = async || {
        let stored = store.request(&id).await.unwrap().unwrap();
        reprocess::request(&store, &endpoints, &sources, &[], stored).await.unwrap().unwrap()
    };
    change_by_half(&server, &store).await;
    assert_eq!(again().await, Outcome { stored: 40, ..Outcome::default() });
    assert_eq!(again().await, Outcome { repeats: 40, ..Outcome::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_half_a_change_let_in_is_counted_as_new() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving(&server.url(), &hooks.endpoints(0..1, MORE));
    gateway.up(None);
    poster.until_accepted(&gateway, 0).await;
    gateway.until_idle().await;
    let store = server.store().await;
    let (_, batch) = poster.sendgrid_batch(1, 40);
    change_by_half(&server, &store).await;
    assert_eq!(poster.post(&gateway.url("sendgrid"), batch).await, Some(200));
    until_counted(&gateway, "sendgrid", &json!({"stored email.delivered delivered": 40})).await;
}
