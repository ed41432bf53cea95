//! A gateway that is asked to stop: what is under way gets its time, what is not done by then is done by the next.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::gateway::{Gateway, Poster, Seen, gated_receiver, until};
use crate::redis_harness::Server;
use crate::wire::{self, Wire};

const DRAIN: Duration = Duration::from_secs(2);

/// A gateway with one attempt under way at a receiver that answers when the gate is opened.
struct Stage {
    gateway: Gateway,
    gate: watch::Sender<bool>,
    seen: Seen,
    /// The event under way, by the provider's id.
    id: String,
    _server: Option<Server>,
}

impl Stage {
    async fn new(on: &str, settings: &str) -> Self {
        let (gate, is_open) = watch::channel(false);
        let (target, seen) = gated_receiver(is_open);
        let server = if on == "redis" { Some(Server::start().await) } else { None };
        let store = server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
        let mut gateway = Gateway::with(&store, target, settings, "timeout_s = 5");
        gateway.up(None);
        let id = Poster::new().until_accepted(&gateway, 1).await;
        until("the attempt is under way", async || seen.lock().unwrap().contains_key(&id)).await;
        Self { gateway, gate, seen, id, _server: server }
    }

    /// The one delivery of the one event.
    async fn delivery(&self) -> Value {
        let events = self.gateway.read("/v1/events").await;
        let [event] = &events["data"].as_array().unwrap()[..] else { panic!("{events}") };
        let path = format!("/v1/events/{}/deliveries", event["id"].as_str().unwrap());
        let deliveries = self.gateway.read(&path).await;
        let [delivery] = &deliveries["data"].as_array().unwrap()[..] else { panic!("{deliveries}") };
        delivery.clone()
    }

    fn times_seen(&self) -> u32 {
        self.seen.lock().unwrap()[&self.id]
    }

    /// Waits until the stopping has begun: nobody is served any more.
    async fn until_refused(&self) {
        let alive = async || self.gateway.get("/readyz").await.is_some_and(|reply| reply.status == 200);
        until("it takes no more requests", async || !alive().await).await;
    }
}

fn standing(delivery: &Value) -> (&str, u64, usize) {
    let attempts = delivery["attempts"].as_array().unwrap().len();
    (delivery["status"].as_str().unwrap(), delivery["begun"].as_u64().unwrap(), attempts)
}

async fn an_attempt_without_an_answer_is_made_again(on: &str) {
    let settings = format!("drain_s = {}", DRAIN.as_secs());
    let mut stage = Stage::new(on, &settings).await;
    let request = wire::post("/in/resend", &Poster::new().resend_event(2).1);
    let port = stage.gateway.port();
    stage.gateway.ask_to_stop();
    stage.until_refused().await;
    // Until it ends, new requests are turned away: by 503 or at the door.
    let turning_away = tokio::spawn(async move {
        loop {
            if let Ok(reply) = wire::exchange(port, &request).await {
                assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (status, took) = stage.gateway.ended(DRAIN * 3).await.expect("it ends by itself");
    assert!(!turning_away.is_finished(), "{:?}", turning_away.await);
    turning_away.abort();
    println!("{on}: ended after {took:?}");
    assert!(status.success(), "{status}");
    assert!(took > DRAIN / 2 && took < DRAIN + Duration::from_millis(1_500), "{took:?}");

    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let delivery = stage.delivery().await;
    assert_eq!(standing(&delivery), ("pending", 1, 0), "begun and never finished: {delivery}");
    assert!(delivery["begun_at"].is_string() && delivery["due_at"].is_string(), "{delivery}");
    stage.gate.send(true).unwrap();
    stage.gateway.until_idle().await;
    let delivery = stage.delivery().await;
    assert_eq!(standing(&delivery), ("delivered", 2, 1), "{delivery}");
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["number"], 2, "{delivery}");
    let sent = attempt["sent"].as_str().unwrap();
    assert!(sent.contains("waypost-attempt: 2\n") && sent.contains("drin-signature: t="), "{sent}");
    assert!(attempt["split"]["connect_ms"].is_u64() && attempt["split"]["first_byte_ms"].is_u64(), "{delivery}");
    assert_eq!(stage.times_seen(), 2);
}

async fn an_attempt_that_is_answered_is_recorded(on: &str) {
    let mut stage = Stage::new(on, "").await;
    stage.gateway.ask_to_stop();
    stage.until_refused().await;
    stage.gate.send(true).unwrap();
    let (status, took) = stage.gateway.ended(Duration::from_secs(5)).await.expect("it ends when all is done");
    println!("{on}: ended {took:?} after the answer");
    assert!(status.success(), "{status}");
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    let delivery = stage.delivery().await;
    assert_eq!(standing(&delivery), ("delivered", 1, 1), "{delivery}");
    assert_eq!(stage.times_seen(), 1);
}

/// Half of a request is in when the stopping begins.
async fn a_request_under_way_is_taken(on: &str) {
    let mut stage = Stage::new(on, "").await;
    stage.gate.send(true).unwrap();
    let (id, signed) = Poster::new().resend_event(2);
    let request = wire::post("/in/resend", &signed);
    let (first, rest) = request.split_at(request.len() - 10);
    let mut wire = Wire::connect(stage.gateway.port()).await.unwrap();
    wire.say(first).await.unwrap();
    // What was sent before this answer has been read by then.
    stage.gateway.until_alive().await;
    stage.gateway.ask_to_stop();
    stage.until_refused().await;
    wire.say(rest).await.unwrap();
    let reply = wire.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"received":true}"#));
    let (status, took) = stage.gateway.ended(Duration::from_secs(5)).await.expect("it ends when all is done");
    println!("{on}: ended {took:?} after the rest of the request");
    assert!(status.success(), "{status}");
    stage.gateway.up(None);
    until("it is delivered", async || stage.seen.lock().unwrap().contains_key(&id)).await;
}

/// Neither an idle connection nor a request that never ends keeps the process.
async fn connections_do_not_hold_it_up(on: &str) {
    let mut stage = Stage::new(on, &format!("drain_s = {}", DRAIN.as_secs())).await;
    stage.gate.send(true).unwrap();
    let mut idle = Wire::connect(stage.gateway.port()).await.unwrap();
    idle.say(b"GET /healthz HTTP/1.1\r\nhost: waypost\r\n\r\n").await.unwrap();
    assert_eq!(idle.reply().await.unwrap().status, 200);
    let mut silent = Wire::connect(stage.gateway.port()).await.unwrap();
    let signed = Poster::new().resend_event(2).1;
    silent.say(&wire::head("/in/resend", &signed, signed.body.len())).await.unwrap();
    stage.gateway.until_idle().await;
    stage.gateway.ask_to_stop();
    let (status, took) = stage.gateway.ended(DRAIN * 3).await.expect("it ends by itself");
    println!("{on}: ended after {took:?} with an idle and a silent connection");
    assert!(status.success() && took < DRAIN + Duration::from_millis(1_500), "{status} {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_without_an_answer_is_cut_at_the_drain_and_made_again() {
    tokio::join!(
        an_attempt_without_an_answer_is_made_again("embedded"),
        an_attempt_without_an_answer_is_made_again("redis")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_answered_within_the_drain_is_recorded() {
    tokio::join!(an_attempt_that_is_answered_is_recorded("embedded"), an_attempt_that_is_answered_is_recorded("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_at_the_stop_is_taken() {
    tokio::join!(a_request_under_way_is_taken("embedded"), a_request_under_way_is_taken("redis"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_keeps_a_gateway_longer_than_its_drain() {
    connections_do_not_hold_it_up("embedded").await;
}
