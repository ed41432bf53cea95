//! A Redis that loses its data: what it had accepted is its operator's loss, and what comes next is not.

use std::fs;

use serde_json::json;

use super::{SOME, Scene, next_comes};
use crate::client_of_api::call;
use crate::gateway::{Gateway, Poster, receiver, until};
use crate::redis_harness::Server;
use crate::webhooks::NEW_KEY;

/// Where a server keeps what it is to have after a restart.
const DATA: &str = "appendonlydir";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_flushed_takes_what_comes_next() {
    let mut scene = Scene::on(Server::start().await).await;
    scene.server.command(&["FLUSHALL"]).await;
    let flushed = scene.load.now();
    scene.load.until_more(SOME).await;
    scene.heals(|times| times.posted > flushed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_takes_what_comes_next() {
    let mut scene = Scene::on(Server::start().await).await;
    scene.server.down();
    fs::remove_dir_all(scene.server.dir().join(DATA)).unwrap();
    let emptied = scene.load.now();
    scene.until_refused(5).await;
    scene.server.up().await;
    scene.heals(|times| times.posted > emptied).await;
}

/// Posts so many, which are all refused.
async fn refuses(gateway: &Gateway, first: u32) {
    for number in first..first + 10 {
        let (_, status) = Poster::new().resend(&gateway.url("resend"), number).await;
        assert_eq!(status, Some(503), "it would be lost for the endpoints that are gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_were_lost_and_restored_get_all_without_a_word() {
    let (mut server, (target, seen)) = (Server::start().await, receiver());
    let mut gateway = Gateway::serving(&server.url(), NEW_KEY);
    gateway.up(None);
    gateway.until_alive().await;
    let made = json!({"url": format!("http://{target}/"), "retry": [1, 1, 1, 1]}).to_string();
    let (status, answer) = call(&gateway, "POST", "/v1/webhooks", &made).await;
    assert_eq!(status, 201, "{answer}");
    let poster = Poster::new();
    let mut accepted = Vec::new();
    for number in 0..20 {
        accepted.push(poster.until_accepted(&gateway, number).await);
    }
    let (data, aside) = (server.dir().join(DATA), server.dir().join("aside"));
    server.down();
    fs::rename(&data, &aside).unwrap();
    server.up().await;
    refuses(&gateway, 100).await;
    server.down();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&aside, &data).unwrap();
    server.up().await;
    next_comes(&gateway, &seen).await;
    until("what was accepted comes", async || accepted.iter().all(|id| seen.lock().unwrap().contains_key(id))).await;
    let (status, told) = call(&gateway, "POST", "/v1/store/confirm", "").await;
    assert_eq!((status, told), (200, json!({"lost": false})));
}
