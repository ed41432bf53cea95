//! Consumers: places that the gateway keeps, and workers that take turns.

use std::time::Duration;

use serde_json::{Value, json};
use waypost::domain::feed::{Cursor, Place};

use crate::client_of_api::call;
use crate::gateway::{Gateway, Poster};
use crate::redis_harness::Server;

const READ_KEY: &str = "bi-0123456789abcdef0123456789abcdefg";
const FLAGS: &str = "/v1/feed/consumers/flags";

async fn receive(gateway: &Gateway, worker: &str, more: &str) -> Value {
    let body = format!(r#"{{"worker":"{worker}"{more}}}"#);
    let (status, answer) = call(gateway, "POST", &format!("{FLAGS}/receive"), &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn ack(gateway: &Gateway, got: &Value, lease_s: u64) -> u16 {
    let body = json!({ "token": got["token"], "cursor": got["cursor"], "lease_s": lease_s });
    call(gateway, "POST", &format!("{FLAGS}/ack"), &body.to_string()).await.0
}

fn ids(got: &Value) -> Vec<String> {
    got["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

async fn workers_take_turns(store: &str) {
    let mut gateway = Gateway::serving(store, "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for number in 0..6 {
        let kind = if number == 2 { "email.opened" } else { "email.bounced" };
        let (_, signed) = poster.resend_event_of(1, number, kind);
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    }
    assert_eq!(call(&gateway, "POST", &format!("{FLAGS}/receive"), r#"{"worker":"a"}"#).await.0, 404);
    let (status, made) = call(&gateway, "PUT", FLAGS, r#"{"types":["email.bounced"]}"#).await;
    assert_eq!((status, &made["lag"], &made["types"][0]), (201, &6.into(), &"email.bounced".into()), "{made}");

    let first = receive(&gateway, "a", r#","limit":2,"lease_s":1"#).await;
    assert_eq!((ids(&first).len(), &first["has_more"], &first["worker"]), (2, &true.into(), &"a".into()));
    assert_eq!(
        ids(&receive(&gateway, "a", r#","limit":2,"lease_s":1"#).await),
        ids(&first),
        "until it is acknowledged"
    );
    let held = receive(&gateway, "b", "").await;
    assert_eq!((ids(&held).len(), &held["worker"], held.get("token")), (0, &"a".into(), None));
    // It waits until the first has not been heard of for a second, and takes over.
    let taken = receive(&gateway, "b", r#","limit":2,"wait_s":10"#).await;
    assert_eq!((&taken["worker"], ids(&taken)), (&"b".into(), ids(&first)));
    assert_eq!(ack(&gateway, &first, 60).await, 409);
    let elsewhere = Cursor::new(vec![Place::default(); 9]).text();
    assert_eq!(ack(&gateway, &json!({ "token": taken["token"], "cursor": elsewhere }), 60).await, 422);
    assert_eq!(ack(&gateway, &taken, 60).await, 204);

    gateway.down();
    gateway.up(None);
    gateway.until_alive().await;
    let shown = gateway.read(FLAGS).await;
    assert_eq!((&shown["cursor"], &shown["lease"]["worker"]), (&taken["cursor"], &"b".into()));
    assert!(shown["lag"].as_u64().unwrap() <= 4 && shown["acked_at"].is_string(), "{shown}");
    let rest = receive(&gateway, "b", "").await;
    assert_eq!(ids(&rest).len(), 3);
    assert!(ids(&rest).iter().all(|id| !ids(&first).contains(id)));
    assert_eq!(ack(&gateway, &rest, 0).await, 204);
    assert_eq!(ack(&gateway, &rest, 60).await, 409, "it was given back");
    let (shown, none) = (gateway.read(FLAGS).await, receive(&gateway, "a", "").await);
    assert_eq!((&shown["lag"], shown.get("lease"), ids(&none).len()), (&0.into(), None, 0));

    let (status, moved) = call(&gateway, "PUT", FLAGS, r#"{"after":"beginning"}"#).await;
    assert_eq!((status, &moved["lag"], moved["types"].as_array().unwrap().len()), (200, &6.into(), 0));
    assert_eq!(ack(&gateway, &none, 60).await, 409, "it was moved");
    assert_eq!(ids(&receive(&gateway, "a", "").await).len(), 6);
    let listed = gateway.read("/v1/feed/consumers").await;
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["name"]), (1, &"flags".into()));
    assert_eq!(call(&gateway, "DELETE", FLAGS, "").await.0, 204);
    assert_eq!(call(&gateway, "DELETE", FLAGS, "").await.0, 404);
    let told = gateway.read("/v1/audit").await;
    let actions: Vec<_> = told["data"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["consumer.deleted", "consumer.updated", "consumer.created"]);
}

#[tokio::test]
async fn workers_take_turns_embedded() {
    workers_take_turns("embedded").await;
}

#[tokio::test]
async fn workers_take_turns_on_redis() {
    let server = Server::start().await;
    workers_take_turns(&server.url()).await;
}

#[tokio::test]
async fn what_is_wrong_is_named_and_a_reader_changes_nothing() {
    let keys = format!("[[api.keys]]\nname = \"bi\"\nkey = \"{READ_KEY}\"\nscopes = [\"read\"]\n");
    let mut gateway = Gateway::serving("embedded", &keys);
    gateway.up(None);
    gateway.until_alive().await;
    for (path, body, part) in [
        ("PUT /v1/feed/consumers/a%20b", "", "a consumer's name is 1 to 64"),
        ("PUT /v1/feed/consumers/flags", r#"{"types":["bouncy"]}"#, "unknown event `bouncy`"),
        ("PUT /v1/feed/consumers/flags", r#"{"types":["waypost.*"]}"#, "not in the feed"),
        ("PUT /v1/feed/consumers/flags", r#"{"after":"now"}"#, "`beginning`, or `end`"),
        ("POST /v1/feed/consumers/flags/receive", "", "`worker` is"),
        ("POST /v1/feed/consumers/flags/receive", r#"{"worker":"a","limit":0}"#, "`limit` is 0"),
        (
            "POST /v1/feed/consumers/flags/receive",
            r#"{"worker":"a","lease_s":0}"#,
            "`lease_s` is 0, and is to be from 1 to 3600",
        ),
        ("POST /v1/feed/consumers/flags/ack", r#"{"cursor":"x"}"#, "`token` is missing"),
        ("POST /v1/feed/consumers/flags/ack", r#"{"token":"x","cursor":"x"}"#, "`cursor` is missing"),
    ] {
        let (method, path) = path.split_once(' ').unwrap();
        let (status, problem) = call(&gateway, method, path, body).await;
        assert!(
            status == 422 && problem["detail"].as_str().unwrap().contains(part),
            "{path} {body}: {status} {problem}"
        );
    }
    for route in ["PUT /v1/feed/consumers/flags", "POST /v1/feed/consumers/flags/receive"] {
        assert_eq!(gateway.call(READ_KEY, route, r#"{"worker":"a"}"#).await.0, 403, "{route}");
    }
    let waited = tokio::time::timeout(Duration::from_secs(5), gateway.read("/v1/feed?wait=1")).await.unwrap();
    assert_eq!((&waited["data"], &waited["has_more"]), (&json!([]), &false.into()));
}
