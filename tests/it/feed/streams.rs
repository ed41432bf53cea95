//! `/v1/feed` and `/v1/feed/stream` of whole processes, which are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use waypost::domain::id::EventId;

use super::sse::Stream;
use crate::gateway::{Gateway, Poster};
use crate::redis_harness::Server;

const MAILS: u32 = 7;

/// A mail, and the place of an event among those of the mail, by the event's `created_at`.
fn told(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&event["data"]["id"]), text(&event["created_at"]))
}

/// Posts events of a few mails one after the other, until each is accepted, and tells their ids.
async fn post(port_of: String, from: u32, count: u32, accepted: Arc<Mutex<BTreeSet<String>>>) {
    let poster = Poster::new();
    for number in from..from + count {
        loop {
            let (id, signed) = poster.resend_event_of(number % MAILS, number, "email.delivered");
            if poster.post(&port_of, signed).await == Some(200) {
                accepted.lock().unwrap().insert(EventId::of("resend", &id).to_string());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Follows the stream until told to stop, connecting again where it broke off.
async fn follow(port: u16, is_over: Arc<AtomicBool>, all: Arc<Mutex<BTreeSet<String>>>) -> Vec<Value> {
    let (mut events, mut last_id) = (Vec::new(), None::<String>);
    loop {
        let Ok(mut stream) = Stream::open(port, "", last_id.as_deref()).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        loop {
            if is_over.load(Ordering::SeqCst) && ids(&events) == *all.lock().unwrap() {
                return events;
            }
            let Ok(message) = tokio::time::timeout(Duration::from_millis(100), stream.next()).await else { continue };
            let Some(message) = message else { break };
            assert_eq!(message.event, "email.delivered");
            events.push(message.data);
            last_id.clone_from(&stream.last_id);
        }
    }
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// The same by long polls.
async fn poll(gateway: &Gateway, is_over: &AtomicBool) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let was_over = is_over.load(Ordering::SeqCst);
        let wait = if was_over { 0 } else { 1 };
        let Some(reply) = gateway.get(&format!("/v1/feed?after={after}&limit=9&wait={wait}")).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if reply.status != 200 {
            assert_eq!(reply.status, 503, "{}", reply.body);
            continue;
        }
        let mut part: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(part["missed"], 0);
        events.append(part["data"].as_array_mut().unwrap());
        after = part["cursor"].as_str().unwrap().to_owned();
        if was_over && part["has_more"] == false {
            return events;
        }
    }
}

/// Each at least once, and those of a mail in the order they were posted in.
fn check(events: &[Value], accepted: &BTreeSet<String>) {
    let (mut seen, mut latest) = (BTreeSet::new(), BTreeMap::new());
    for event in events {
        let is_new = seen.insert(event["id"].as_str().unwrap().to_owned());
        let (mail, at) = told(event);
        let before: &mut String = latest.entry(mail).or_default();
        assert!(!is_new || *before < at, "{event} after {before}");
        *before = at.max(before.clone());
    }
    assert_eq!(&seen, accepted);
}

async fn every_reader_meets_every_event(store: &str, server: Option<&mut Server>) {
    let mut gateway = Gateway::serving(store, "");
    gateway.up(None);
    gateway.until_alive().await;
    let (accepted, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let streams: Vec<_> =
        (0..3).map(|_| tokio::spawn(follow(gateway.port(), Arc::clone(&is_over), Arc::clone(&accepted)))).collect();
    let writer = |from, count| tokio::spawn(post(gateway.url("resend"), from, count, Arc::clone(&accepted)));
    writer(0, 60).await.unwrap();
    let late = writer(60, 140);
    tokio::time::sleep(Duration::from_millis(150)).await;
    gateway.down();
    if let Some(server) = server {
        server.down();
        server.up().await;
    }
    gateway.up(None);
    let polling = async {
        late.await.unwrap();
        is_over.store(true, Ordering::SeqCst);
    };
    let (polled, ()) = tokio::join!(poll(&gateway, &is_over), polling);
    for stream in streams {
        check(&stream.await.unwrap(), &accepted.lock().unwrap());
    }
    let rest = poll(&gateway, &AtomicBool::new(true)).await;
    check(&rest, &accepted.lock().unwrap());
    assert!(polled.len() >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_meets_every_event_when_the_gateway_is_killed_embedded() {
    every_reader_meets_every_event("embedded", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_meets_every_event_when_gateway_and_redis_are_killed() {
    let mut server = Server::start().await;
    let url = server.url();
    every_reader_meets_every_event(&url, Some(&mut server)).await;
}

#[tokio::test]
async fn who_fell_behind_is_told_how_much_is_missing() {
    let server = Server::start().await;
    let mut gateway = Gateway::serving(&server.url(), "");
    gateway.up(None);
    gateway.until_alive().await;
    let accepted = Arc::default();
    post(gateway.url("resend"), 0, 10, Arc::clone(&accepted)).await;
    let part = gateway.read("/v1/feed?limit=4").await;
    assert_eq!((part["data"].as_array().unwrap().len(), &part["has_more"]), (4, &true.into()));
    let after = part["cursor"].as_str().unwrap();
    // As retention does: the entries of some partitions, the events of others.
    let mut left = 6;
    for partition in 0..4 {
        let (feed, pattern) = (format!("{{wp:{partition}}}:feed"), format!("{{wp:{partition}}}:e:*"));
        if partition < 2 {
            server.command(&["XTRIM", &feed, "MAXLEN", "0"]).await;
        }
        let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", &pattern]).await).unwrap();
        for key in keys {
            server.command(&["DEL", &key]).await;
        }
    }
    post(gateway.url("resend"), 10, 1, Arc::clone(&accepted)).await;
    let part = gateway.read(&format!("/v1/feed?after={after}&wait=5")).await;
    let seen = |part: &Value| part["data"].as_array().unwrap().len();
    assert_eq!((part["missed"].as_u64().unwrap(), seen(&part)), (left, 1), "{part}");
    let mut stream = Stream::open(gateway.port(), "", Some(after)).await.unwrap_or_else(|status| panic!("{status}"));
    while left > 0 {
        let message = stream.next().await.unwrap();
        assert_eq!(message.event, "missed");
        left -= message.data["missed"].as_u64().unwrap();
    }
    let message = stream.next().await.unwrap();
    assert_eq!((message.event.as_str(), &message.data["id"]), ("email.delivered", &part["data"][0]["id"]));
    let again = gateway.read(&format!("/v1/feed?after={}", message.id.unwrap())).await;
    assert_eq!((seen(&again), &again["missed"]), (0, &0.into()));
}

#[tokio::test]
async fn a_stream_is_of_what_it_asks_for_and_ends_with_the_gateway() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let query = "?types=email.bounced&sources=resend&after=end";
    let mut stream = Stream::open(gateway.port(), query, None).await.unwrap_or_else(|status| panic!("{status}"));
    for (number, kind) in (0..).zip(["email.delivered", "email.bounced", "email.opened"]) {
        let (_, signed) = poster.resend_event_of(1, number, kind);
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    }
    assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), 1).await.1, Some(200));
    let message = stream.next().await.unwrap();
    assert_eq!((message.event.as_str(), &message.data["source"]), ("email.bounced", &"resend".into()));
    let all = gateway.read("/v1/feed?types=email.bounced,delivered&sources=sendgrid,resend&limit=500").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 22);
    let mut fresh =
        Stream::open(gateway.port(), "?after=end", Some("")).await.unwrap_or_else(|status| panic!("{status}"));
    let (id, signed) = poster.resend_event_of(1, 3, "email.clicked");
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    assert_eq!(fresh.next().await.unwrap().data["id"], EventId::of("resend", &id).to_string(), "an empty id is none");
    for (query, wrong) in [("?after=x", 400), ("?wait=1", 400), ("?types=waypost.*", 400)] {
        assert_eq!(Stream::open(gateway.port(), query, None).await.err(), Some(wrong), "{query}");
    }
    assert_eq!(Stream::open(gateway.port(), "", Some("no id")).await.err(), Some(400));
    let port = gateway.port();
    let waiting = tokio::spawn(async move {
        let head = format!(
            "GET /v1/feed?after=end&wait=60 HTTP/1.1\r\nhost: w\r\nx-api-key: {}\r\n\r\n",
            crate::gateway::API_KEY
        );
        crate::wire::exchange(port, head.as_bytes()).await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(gateway.terminate(Duration::from_secs(5)).await, "nobody who waits holds it up");
    assert!(stream.next().await.is_none());
    let reply = waiting.await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&reply.body).unwrap()["data"], Value::Array(Vec::new()));
}
