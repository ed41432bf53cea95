//! Bulk replays are begun, watched, left and canceled by commands.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use super::{command, waypost};
use crate::gateway::{Gateway, Poster};
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;
use crate::signal::signal;

const SOON: Duration = Duration::from_secs(60);
/// More than may be pending of one job at once.
const BATCHES: u32 = 52;
const EVENTS: usize = 52 * 20;

/// Sends events, and waits until they have arrived.
async fn posted(store: &str, hooks: &Hooks) -> Gateway {
    let (mut gateway, poster) = (Gateway::serving(store, &hooks.endpoints(0..1, "")), Poster::new());
    gateway.up(None);
    gateway.until_alive().await;
    for number in 0..BATCHES {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    until(SOON, "all arrive", || hooks.arrivals().len() == EVENTS).await;
    gateway.until_idle().await;
    gateway
}

async fn is_watched_left_and_canceled(store: &str) {
    let hooks = Hooks::start();
    let gateway = posted(store, &hooks).await;
    let counted = waypost(&gateway, &["replay", "endpoint", "wh_0", "--since", "1h", "--dry-run"]);
    assert!(counted.is_done, "{counted:?}");
    let counted: serde_json::Value = serde_json::from_str(&counted.out).unwrap();
    assert_eq!((&counted["state"], &counted["total"], &counted["made"]), (&"done".into(), &EVENTS.into(), &0.into()));

    // Nothing is answered: as many as may be are pending, and the rest waits.
    hooks.hold();
    let mut process = command(&gateway, &["replay", "endpoint", "wh_0", "--since", "24h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines();
    let is_running = |line: &String| line.contains(" running: ");
    let line = told.by_ref().map(Result::unwrap).find(is_running).unwrap();
    let id = line.split(' ').next().unwrap().to_owned();
    signal(&process, "INT");
    let left = told.map(Result::unwrap).last().unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    for expected in
        [format!("{id} goes on"), format!("waypost replay watch {id}"), format!("waypost replay cancel {id}")]
    {
        assert!(left.contains(&expected), "{left}");
    }
    let listed = waypost(&gateway, &["replay", "list"]).lines();
    assert_eq!((listed.len(), &listed[0]["id"], &listed[0]["state"]), (2, &id.as_str().into(), &"running".into()));

    let canceled = waypost(&gateway, &["replay", "cancel", &id]).one();
    assert_eq!(canceled["id"], id.as_str());
    hooks.release();
    let watched = waypost(&gateway, &["replay", "watch", &id]);
    assert!(watched.is_done, "{watched:?}");
    let ended: serde_json::Value = serde_json::from_str(&watched.out).unwrap();
    assert_eq!((&ended["state"], &ended["pending"]), (&"canceled".into(), &0.into()));

    let all = waypost(&gateway, &["replay", "endpoint", "wh_0", "--since", "24h", "--until", "0s"]);
    let done: serde_json::Value = serde_json::from_str(&all.out).unwrap();
    assert_eq!((all.is_done, &done["state"], &done["made"]), (true, &"done".into(), &EVENTS.into()), "{all:?}");
    assert!(all.err.lines().any(|line| line.contains("done")), "{all:?}");
    let detached = waypost(&gateway, &["replay", "endpoint", "wh_0", "--since", "24h", "--detach"]).one();
    assert_eq!(detached["kind"], "replay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_replay_is_watched_left_and_canceled_embedded() {
    is_watched_left_and_canceled("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_replay_is_watched_left_and_canceled_on_redis() {
    let server = Server::start().await;
    is_watched_left_and_canceled(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_waits_for_a_gateway_that_is_started_again() {
    let hooks = Hooks::start();
    let mut gateway = posted("embedded", &hooks).await;
    hooks.hold();
    let mut process = command(&gateway, &["replay", "endpoint", "wh_0", "--since", "24h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains(" running: ")));
    gateway.down();
    assert!(told.any(|line| line.contains("trying again")));
    hooks.release();
    gateway.up(None);
    let rest: Vec<_> = told.collect();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{rest:?}");
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["state"], &done["made"]), (&"done".into(), &EVENTS.into()));
}
