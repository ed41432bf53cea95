//! Redis is gone for a while: providers are told to come again, at once, and nothing that was accepted is lost.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use waypost::clock::{Clock, SystemClock};

use crate::gateway::{Gateway, Poster, Seen, endpoint, gated_receiver, receiver, until};
use crate::gateways::{accepted, deliveries_of};
use crate::redis_harness::Server;
use crate::wire;

/// A second, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1_300);
/// More than an endpoint's attempts under way, so that some wait in the store.
const EVENTS: u32 = 50;

/// How a store can be gone.
#[derive(Clone, Copy)]
enum Outage {
    /// Nobody listens.
    Killed,
    /// Connections are taken, and nothing is answered.
    Stopped,
}

impl Outage {
    fn begin(self, server: &mut Server) {
        match self {
            Self::Killed => server.down(),
            Self::Stopped => server.signal("STOP"),
        }
    }

    async fn end(self, server: &mut Server) {
        match self {
            Self::Killed => server.up().await,
            Self::Stopped => server.signal("CONT"),
        }
    }
}

/// Posts for a while, more at a time than the store is asked for at once; each is answered 503 in time. The gateway
/// lives and is not ready.
async fn check_refusals(gateway: &Gateway, first: u32) {
    let (poster, port) = (Poster::new(), gateway.port());
    let posts = (first..first + 64).map(|number| {
        let request = wire::post("/in/resend", &poster.resend_event(number).1);
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            for _ in 0..3 {
                let (reply, took) = wire::timed(port, &request).await.unwrap();
                assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{}", reply.body);
                longest = longest.max(took);
            }
            longest
        })
    });
    let mut longest = Duration::ZERO;
    for post in posts.collect::<Vec<_>>() {
        longest = longest.max(post.await.unwrap());
        assert_eq!(gateway.get("/healthz").await.unwrap().status, 200);
    }
    let ready = gateway.get("/readyz").await.unwrap();
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("5")));
    println!("the longest of 192 answers took {longest:?}");
    assert!(longest < ANSWERED_WITHIN, "{longest:?}");
}

/// The same gateway takes work again, and all that was accepted comes.
async fn check_recovery(gateway: &Gateway, seen: &Seen, mut accepted: HashSet<String>) {
    let clock = SystemClock::new();
    accepted.insert(Poster::new().until_accepted(gateway, 1_000).await);
    println!("took work again after {:?}", clock.elapsed());
    until("it is ready", async || gateway.get("/readyz").await.unwrap().status == 200).await;
    let all_came = || accepted.iter().all(|id| seen.lock().unwrap().contains_key(id));
    until("all that was accepted came", async || all_came()).await;
    gateway.until_idle().await;
    println!("delivered {} after {:?}", accepted.len(), clock.elapsed());
    let failed = gateway.read("/v1/deliveries?status=failed").await;
    assert_eq!(failed["data"].as_array().unwrap().len(), 0, "{failed}");
}

async fn goes_and_comes_back(outage: Outage) {
    let mut server = Server::start().await;
    // What is not synced when the server is killed is another matter.
    let (gate, is_open) = watch::channel(false);
    let (target, seen) = gated_receiver(is_open);
    let mut gateway = Gateway::with(&server.url(), target, "", "timeout_s = 5");
    gateway.up(None);
    let poster = Poster::new();
    let mut accepted = HashSet::new();
    for number in 0..EVENTS {
        accepted.insert(poster.until_accepted(&gateway, number).await);
    }
    until("some are under way", async || seen.lock().unwrap().len() >= 8).await;
    outage.begin(&mut server);
    check_refusals(&gateway, 100).await;
    // What is under way is answered while it cannot be recorded.
    gate.send(true).unwrap();
    check_refusals(&gateway, 200).await;
    outage.end(&mut server).await;
    check_recovery(&gateway, &seen, accepted).await;
}

async fn is_away_at_start(outage: Outage, target: SocketAddr, seen: &Seen) {
    let mut server = Server::start().await;
    outage.begin(&mut server);
    let mut gateway = Gateway::new(&server.url(), target);
    gateway.up(None);
    gateway.until_alive().await;
    check_refusals(&gateway, 100).await;
    outage.end(&mut server).await;
    check_recovery(&gateway, seen, HashSet::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_costs_nothing_but_time() {
    goes_and_comes_back(Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_nothing_but_time() {
    goes_and_comes_back(Outage::Stopped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_redis_and_heals() {
    for outage in [Outage::Killed, Outage::Stopped] {
        let (target, seen) = receiver();
        is_away_at_start(outage, target, &seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_takes_nothing_in_for_a_redis_that_comes_up_and_would_lose_it() {
    let mut server = Server::stopped("allkeys-lru", "no");
    let (target, _) = receiver();
    let mut gateway = Gateway::new(&server.url(), target);
    gateway.up(None);
    gateway.until_alive().await;
    server.up().await;
    check_refusals(&gateway, 100).await;
}

/// What is under way cannot be recorded, nor the others told; the drain bounds that too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_stops_in_time_without_redis() {
    for outage in [Outage::Killed, Outage::Stopped] {
        let mut server = Server::start().await;
        let (gate, is_open) = watch::channel(false);
        let (target, seen) = gated_receiver(is_open);
        let mut gateway = Gateway::with(&server.url(), target, "drain_s = 2", "timeout_s = 5");
        gateway.up(None);
        let id = Poster::new().until_accepted(&gateway, 1).await;
        until("it is under way", async || seen.lock().unwrap().contains_key(&id)).await;
        outage.begin(&mut server);
        gate.send(true).unwrap();
        gateway.ask_to_stop();
        let (status, took) = gateway.ended(Duration::from_secs(10)).await.expect("it ends by itself");
        println!("ended after {took:?}");
        assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_was_read_during_an_outage_is_in_force_after_it() {
    let (server, poster, url) = (Server::start().await, Poster::new(), format!("http://{}/", receiver().0));
    let one = endpoint("wh_one", &url, "");
    let mut gateway = Gateway::serving(&server.url(), &one);
    gateway.up(None);
    poster.until_accepted(&gateway, 1).await;
    server.signal("STOP");
    gateway.configure(&(one + "\n" + &endpoint("wh_two", &url, "")));
    gateway.signal("HUP");
    let told = "config reloaded; its endpoints follow when the store is back";
    until("it tells what is missing", async || !gateway.logged(told).is_empty()).await;
    server.signal("CONT");
    poster.until_accepted(&gateway, 2).await;
    let clock = SystemClock::new();
    for number in 3.. {
        let event = accepted(&poster, &gateway, number).await;
        if deliveries_of(&gateway, &event).await.len() == 2 {
            break;
        }
        assert!(clock.elapsed() < Duration::from_secs(20), "the new endpoint is not told of anything");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("planned for both {:?} after the outage", clock.elapsed());
    assert!(gateway.logged("config not reloaded; the old one stays in force").is_empty());
}
