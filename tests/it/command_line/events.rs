//! Events and deliveries, looked at and sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use waypost::domain::id::EventId;

use super::{command, waypost};
use crate::gateway::{Gateway, Poster};
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;

const SOON: Duration = Duration::from_secs(20);

fn ids(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

async fn are_looked_at_and_sent_again(store: &str) {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving(store, &hooks.endpoints(0..2, ""));
    gateway.up(None);
    gateway.until_alive().await;
    let (id, signed) = poster.resend_event(1);
    let (event, body) = (EventId::of("resend", &id).to_string(), String::from_utf8(signed.body.to_vec()).unwrap());
    assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    for number in 0..6 {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    until(SOON, "all arrive", || hooks.arrivals().len() == 2 * 121).await;
    gateway.until_idle().await;
    let run = |arguments: &[&str]| waypost(&gateway, arguments);

    // More than the API answers at once.
    for (more, count) in [(&["--all"][..], 121), (&["--limit", "110"], 110), (&["--limit", "7"], 7), (&[], 20)] {
        let lines = run(&[&["events", "list"], more].concat()).lines();
        assert_eq!((lines.len(), ids(&lines).len()), (count, count), "{more:?}");
    }
    let of_resend = run(&["events", "list", "--source", "resend", "--type", "email.delivered", "--all"]);
    assert_eq!(ids(&of_resend.lines()), [event.clone()].into());
    for found in [
        &["events", "list", "--recipient", "N1@customer.example"][..],
        &["events", "list", "--message-id", "mail-1", "--since", "1h"],
        &["events", "mail", "mail-1"],
    ] {
        assert_eq!(ids(&run(found).lines()), [event.clone()].into(), "{found:?}");
    }
    assert!(run(&["events", "list", "--until", "1h"]).lines().is_empty());
    assert!(run(&["events", "list", "--tag", "nobodys"]).lines().is_empty());
    let shown = run(&["events", "show", &event]).one();
    assert_eq!((&shown["id"], &shown["data"]["to"]), (&event.as_str().into(), &"n1@customer.example".into()));
    assert_eq!(run(&["events", "raw", &event, "--body"]).out, body);
    let raw = run(&["events", "raw", &event]).one();
    assert_eq!((&raw["source"], &raw["id"]), (&"resend".into(), &shown["request_id"]));

    let deliveries = run(&["events", "deliveries", &event]).lines();
    assert_eq!(deliveries.len(), 2);
    let one = deliveries[0]["id"].as_str().unwrap();
    assert_eq!(run(&["deliveries", "show", one]).one(), deliveries[0]);
    let delivered = run(&["deliveries", "list", "--status", "delivered", "--all"]).lines();
    assert!(delivered.len() == 242 && ids(&delivered).is_superset(&ids(&deliveries)), "{}", delivered.len());
    assert!(run(&["deliveries", "list", "--status", "failed"]).lines().is_empty());

    let again = |replay: &Value| {
        let is_it = |arrival: &&crate::hooks::Arrival| arrival.replay.as_deref() == replay.as_str();
        hooks.arrivals().iter().filter(is_it).map(|arrival| arrival.endpoint.clone()).collect::<Vec<_>>()
    };
    let retried = run(&["deliveries", "retry", one]).one();
    until(SOON, "it is retried", || again(&retried["replay_id"]) == [deliveries[0]["endpoint_id"].as_str().unwrap()])
        .await;
    for (command, count) in [("events replay", 2), ("replay event", 2)] {
        let words: Vec<_> = command.split(' ').chain([event.as_str()]).collect();
        let made = run(&words).one();
        until(SOON, command, || again(&made["replay_id"]).len() == count).await;
        let made = run(&[words.as_slice(), &["--endpoint", "wh_1"]].concat()).one();
        until(SOON, command, || again(&made["replay_id"]) == ["wh_1"]).await;
    }
    let logged = run(&["endpoints", "logs", "wh_1", "--status", "2xx", "--all"]).lines();
    assert!(logged.len() >= 121 && logged.iter().any(|one| one["event_id"] == event), "{}", logged.len());
    assert!(run(&["endpoints", "logs", "wh_1", "--status", "5xx"]).lines().is_empty());
    // Counts are added to the store every second.
    let ended = |numbers: Value| numbers["ended"]["delivered"].as_u64().unwrap();
    until(SOON, "it is counted", || ended(run(&["endpoints", "stats", "wh_1", "--hours", "2"]).one()) >= 121).await;
    let succeeded = |stats: Value| stats["deliveries"]["attempts"]["succeeded"].as_u64().unwrap();
    until(SOON, "all are counted", || succeeded(run(&["stats"]).one()) >= 242).await;
    let made = run(&["replay", "delivery", one]).one();
    until(SOON, "it is sent again", || !again(&made["replay_id"]).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_deliveries_are_looked_at_and_sent_again_embedded() {
    are_looked_at_and_sent_again("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_deliveries_are_looked_at_and_sent_again_on_redis() {
    let server = Server::start().await;
    are_looked_at_and_sent_again(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for number in 0..10 {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    let mut process = command(&gateway, &["events", "list", "--all"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let listed = waypost(&gateway, &["sources"]).lines();
    let name = |source: &Value| source["name"].as_str().unwrap().to_owned();
    assert_eq!(listed.iter().map(name).collect::<Vec<_>>(), ["mailgun", "resend", "sendgrid"]);
}
