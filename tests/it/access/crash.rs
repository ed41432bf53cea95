//! A gateway that dies between what is told and what is done: nothing is done that is not told, and who asks again has it
//! done once.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::{Value, json};

use super::audit::audit;
use crate::client_of_api::Api;
use crate::crash_points::ABORTED;
use crate::gateway::{API_KEY, Gateway};
use crate::redis_harness::Server;
use crate::webhooks::{OLD_KEY, text};

/// One that is to die here, with a master key.
async fn about_to_die(store: &str, point: &str) -> Gateway {
    let mut gateway = Gateway::serving(store, OLD_KEY);
    gateway.up(Some(point));
    gateway.until_alive().await;
    gateway
}

fn keyed(route: &str, body: &Value) -> Api {
    let (method, path) = route.split_once(' ').unwrap();
    Api::new(method, path).with("idempotency-key", "one").saying(&body.to_string())
}

/// Asks, whereupon it dies; and starts it again.
async fn dies(gateway: &mut Gateway, asked: Api) {
    let answer = asked.try_call(gateway.port()).await;
    assert!(answer.is_err(), "{answer:?}");
    let (status, _) = gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(ABORTED), "{status}");
    gateway.up(None);
    gateway.until_alive().await;
}

async fn told(gateway: &Gateway) -> Vec<String> {
    audit(gateway).await.into_iter().map(|(_, action, ..)| action).collect()
}

/// The endpoints that there are.
async fn endpoints(gateway: &Gateway) -> Vec<Value> {
    gateway.read("/v1/webhooks").await["data"].as_array().unwrap().clone()
}

/// Dies while it makes an endpoint, which is there and told of, or neither.
async fn a_change_and_its_entry_are_one(store: &str, point: &str, is_made: bool) {
    // The first commit brings the config file.
    let mut gateway = about_to_die(store, &format!("{point}:2")).await;
    let create = || keyed("POST /v1/webhooks", &json!({"url": "https://a.example/"}));
    dies(&mut gateway, create()).await;
    let count = usize::from(is_made);
    assert_eq!((endpoints(&gateway).await.len(), told(&gateway).await.len()), (count, count), "{point}");
    let (status, made) = create().call(&gateway).await;
    assert_eq!(status, 201, "{made}");
    assert!(text(&made["secret"]).starts_with("whsec_"), "{made}");
    assert_eq!(create().call(&gateway).await, (status, made.clone()));
    assert_eq!(endpoints(&gateway).await.len(), 1);
    let log = told(&gateway).await;
    assert_eq!(log.iter().filter(|action| *action == "webhook.created").count(), 1, "{log:?}");

    // The same of a rotation: the third commit, since it was started anew.
    gateway.down();
    gateway.up(Some(&format!("{point}:1")));
    gateway.until_alive().await;
    let rotate =
        || keyed(&format!("POST /v1/webhooks/{}/rotate", text(&made["id"])), &json!({})).with("idempotency-key", "two");
    dies(&mut gateway, rotate()).await;
    let (status, rotated) = rotate().call(&gateway).await;
    assert_eq!(status, 200, "{rotated}");
    let secrets = gateway.read(&format!("/v1/webhooks/{}/secret", text(&made["id"]))).await;
    assert_eq!((&secrets["secret"], &secrets["old"]["secret"]), (&rotated["secret"], &made["secret"]), "{point}");
    let log = told(&gateway).await;
    assert_eq!(log.iter().filter(|action| *action == "webhook.secret_rotated").count(), 1, "{log:?}");
}

/// Dies when it has told of what it is about to do.
async fn what_is_done_was_told(store: &str) {
    let mut gateway = about_to_die(store, "audit.noted").await;
    let suppress = || keyed("POST /v1/suppressions", &json!({"address": "nora@customer.example"}));
    let is_on_it = async |gateway: &Gateway| {
        gateway.call(API_KEY, "GET /v1/suppressions/nora%40customer.example", "").await.0 == 200
    };
    dies(&mut gateway, suppress()).await;
    assert_eq!((is_on_it(&gateway).await, told(&gateway).await.len()), (false, 1));
    assert_eq!(suppress().call(&gateway).await.0, 201);
    assert_eq!((is_on_it(&gateway).await, told(&gateway).await.len()), (true, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_no_change_of_an_endpoint_untold() {
    let server = Server::start().await;
    let url = server.url();
    tokio::join!(
        a_change_and_its_entry_are_one("embedded", "endpoints.before_commit", false),
        a_change_and_its_entry_are_one("embedded", "endpoints.committed", true),
        a_change_and_its_entry_are_one(&url, "endpoints.committed", true),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_nothing_else_done_untold() {
    let server = Server::start().await;
    let url = server.url();
    tokio::join!(what_is_done_was_told("embedded"), what_is_done_was_told(&url));
}
