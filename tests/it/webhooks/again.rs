//! Requests that are made again, or on what is no longer there; and samples.

use std::collections::HashSet;

use serde_json::{Value, json};
use waypost::domain::event_type::Operational;
use waypost_providers::Kind;

use super::{Inbox, OLD_KEY, Stage, text, verifies};
use crate::gateway::{API_KEY, endpoint};
use crate::wire::{self, Reply};

/// A request with this further header.
async fn with(stage: &Stage, route: &str, header: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let len = body.len();
    let head =
        format!("{route} HTTP/1.1\r\nhost: a\r\nx-api-key: {API_KEY}\r\n{header}\r\ncontent-length: {len}\r\n\r\n");
    wire::exchange(stage.gateway.port(), format!("{head}{body}").as_bytes()).await.unwrap()
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

async fn nothing_is_made_twice(on: &str) {
    let stage = Stage::new(on, OLD_KEY).await;
    let body = json!({"url": "https://a.example/"});
    let create = async |key: &str, body: &Value| {
        let reply = with(&stage, "POST /v1/webhooks", &format!("Idempotency-Key: {key}"), body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        json_of(&reply)
    };
    // At the same time, too.
    let all = futures_util::future::join_all((0..5).map(|_| create("one", &body))).await;
    assert!(all.iter().all(|made| *made == all[0]), "the secret, which is shown once, is in each: {all:?}");
    assert!(text(&all[0]["secret"]).starts_with("whsec_"));
    let own = json!({"url": "https://a.example/", "secret": "a text of more than 16"});
    let others = [create("two", &body).await, create("three", &own).await, create("three", &own).await];
    assert_eq!(others[1], others[2]);
    assert_eq!(others[1].get("secret"), None, "who gave it knows it");
    let list = stage.done("GET /v1/webhooks", Value::Null).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 3, "{list}");
    // One that has taken its place is not shown to who made it.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    stage.done(&format!("POST /v1/webhooks/{}/rotate", text(&all[0]["id"])), json!({})).await;
    assert_eq!(create("one", &body).await.get("secret"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_asked_for_again_is_made_once_on_the_embedded_store() {
    nothing_is_made_twice("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_asked_for_again_is_made_once_on_redis() {
    nothing_is_made_twice("redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_what_has_changed_is_refused_to_who_asks_for_that() {
    let stage = Stage::new("embedded", OLD_KEY).await;
    let made = with(&stage, "POST /v1/webhooks", "a: b", &json!({"url": "https://a.example/"})).await;
    let (id, first) = (text(&json_of(&made)["id"]), made.header("etag").unwrap().to_owned());
    let one = format!("/v1/webhooks/{id}");
    assert_eq!(with(&stage, &format!("GET {one}"), "a: b", &Value::Null).await.header("etag"), Some(first.as_str()));
    let seen = |etag: &str| format!("If-Match: {etag}");
    let changed = with(&stage, &format!("PATCH {one}"), &seen(&first), &json!({"timeout_s": 3})).await;
    let second = changed.header("etag").unwrap().to_owned();
    assert!(changed.status == 200 && second != first);
    let changes = [
        ("PATCH", "", json!({"timeout_s": 4})),
        ("PUT", "", json!({"timeout_s": 4})),
        ("POST", "/disable", Value::Null),
        ("POST", "/rotate", json!({})),
        ("DELETE", "", Value::Null),
    ];
    for (method, path, body) in &changes {
        let refused = with(&stage, &format!("{method} {one}{path}"), &seen(&first), body).await;
        assert_eq!((refused.status, &json_of(&refused)["type"]), (412, &json!("urn:waypost:problem:has_changed")));
        let unclear = with(&stage, &format!("{method} {one}{path}"), "If-Match: mine", body).await;
        assert_eq!(unclear.status, 412, "{}", unclear.body);
    }
    assert_eq!(stage.done(&format!("GET {one}"), Value::Null).await["timeout_s"], 3);
    let listed = format!("{}, {second}", first);
    assert_eq!(with(&stage, &format!("PATCH {one}"), &seen(&listed), &json!({"timeout_s": 5})).await.status, 200);
    assert_eq!(with(&stage, &format!("DELETE {one}"), &seen("*"), &Value::Null).await.status, 204);
}

async fn samples_are_delivered(on: &str) {
    let inbox = Inbox::start();
    let file = endpoint("wh_file", &inbox.url("/file"), "events = [\"email.bounced\"]\n");
    let stage = Stage::new(on, &format!("{OLD_KEY}{file}")).await;
    let (id, secret) = stage.create(&inbox.url("/api")).await;
    let mut events = HashSet::new();
    for kind in Kind::ALL.map(Kind::as_str).into_iter().chain(Operational::ALL.map(Operational::as_str)) {
        let made = stage.done(&format!("POST /v1/webhooks/{id}/test"), json!({ "type": kind })).await;
        let came = inbox.wait("/api", &text(&made["event_id"])).await;
        let body: Value = serde_json::from_str(&came.body).unwrap();
        assert_eq!((&body["type"], &made["type"]), (&json!(kind), &json!(kind)));
        assert!(verifies(&came, &secret), "{kind} is signed as any other");
        events.insert(came.event().to_owned());
        stage.gateway.until_idle().await;
        let delivery = stage.done(&format!("GET /v1/deliveries/{}", text(&made["delivery_id"])), Value::Null).await;
        assert_eq!(delivery["status"], "delivered", "{delivery}");
    }
    assert_eq!(events.len(), 16);
    // One of the config file, which gets what it asks for.
    let made = stage.done("POST /v1/webhooks/wh_file/test", Value::Null).await;
    assert_eq!(made["type"], "email.bounced");
    inbox.wait("/file", &text(&made["event_id"])).await;
    // Nobody else is told, and nothing is there to be found.
    assert_eq!((inbox.came("/api").len(), inbox.came("/file").len()), (16, 1));
    assert_eq!(stage.done("GET /v1/events", Value::Null).await["data"], json!([]));
    assert_eq!(stage.call("GET /v1/suppressions/nora%40customer.example", Value::Null).await.0, 404);
    // The same asked again.
    let again = async || {
        let route = format!("POST /v1/webhooks/{id}/test");
        json_of(&with(&stage, &route, "Idempotency-Key: x", &json!({"type": "open"})).await)
    };
    let first = again().await;
    assert_eq!((&first["type"], again().await), (&json!("email.opened"), first.clone()));
    inbox.wait("/api", &text(&first["event_id"])).await;
    stage.gateway.until_idle().await;
    assert_eq!(inbox.came("/api").len(), 17);

    let (status, problem) = stage.call(&format!("POST /v1/webhooks/{id}/test"), json!({"type": "email.bouncy"})).await;
    assert_eq!((status, &problem["field"]), (422, &json!("type")), "{problem}");
    stage.done(&format!("POST /v1/webhooks/{id}/disable"), Value::Null).await;
    assert_eq!(stage.call(&format!("POST /v1/webhooks/{id}/test"), Value::Null).await.0, 409);
    assert_eq!(stage.call("POST /v1/webhooks/wh_none/test", Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_each_type_is_delivered_to_one_alone_from_the_embedded_store() {
    samples_are_delivered("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_each_type_is_delivered_to_one_alone_from_redis() {
    samples_are_delivered("redis").await;
}
