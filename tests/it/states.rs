//! Snapshots of Resend's domains and contacts, through real gateways: only their changes are reported.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Poster, endpoint, receiver, until};
use crate::gateways::pair;
use crate::redis_harness::Server;
use crate::wire;

const CONTACT: &str = "contact.unsubscribed";
const DOMAIN: &str = "domain.verified";

/// What Resend posts: its word, of which contact or domain, in which second, and what else there is to say.
fn told(word: &str, entity: u32, second: u32, more: &Value) -> Vec<u8> {
    let mut data = json!({ "id": format!("id-{entity}"), "name": "send.lanyard.example", "email": format!("n{entity}@customer.example") });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body =
        json!({ "type": word, "created_at": format!("2026-03-14T13:00:{second:02}.250Z"), "data": data }).to_string();
    // The same snapshot has the same id.
    let digest = waypost::domain::id::hash128(&[body.as_bytes()]);
    wire::post("/in/resend", &Poster::new().sign("resend", &body, digest))
}

fn contact(entity: u32, second: u32, unsubscribed: bool) -> Vec<u8> {
    told("contact.updated", entity, second, &json!({ "unsubscribed": unsubscribed }))
}

async fn accepted(gateway: &Gateway, request: &[u8]) {
    assert_eq!(wire::exchange(gateway.port(), request).await.unwrap().status, 200);
}

/// How many events there are of a type.
async fn count(gateway: &Gateway, kind: &str) -> usize {
    let listed = gateway.read(&format!("/v1/events?type={kind}&limit=100")).await;
    listed["data"].as_array().unwrap().len()
}

/// How many of what came in are counted as none of the types.
async fn unmapped(gateway: &Gateway) -> u64 {
    let sources = gateway.read("/v1/sources").await;
    let resend = sources["data"].as_array().unwrap().iter().find(|source| source["name"] == "resend").unwrap();
    let counts = resend["counts"].as_array().unwrap().iter().filter(|count| count["outcome"] == "unmapped");
    counts.map(|count| count["count"].as_u64().unwrap()).sum()
}

async fn only_changes_are_reported(store: &str) {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new(store, target);
    gateway.up(None);
    gateway.until_alive().await;
    let made = |entity, unsubscribed| told("contact.created", entity, 1, &json!({ "unsubscribed": unsubscribed }));
    let topics = |second| {
        let topics = json!({ "topics": [{ "id": "t", "subscription": "opt_out" }] });
        told("contact.topics.updated", 1, second, &topics)
    };
    let domain = |second, status| told("domain.updated", 1, second, &json!({ "status": status }));
    for (request, kind, expected, what) in [
        (made(1, false), CONTACT, 0, "it is made"),
        (contact(1, 3, true), CONTACT, 1, "it opts out"),
        (contact(1, 4, true), CONTACT, 1, "its name changes"),
        (contact(1, 3, true), CONTACT, 1, "a resend"),
        (contact(1, 2, false), CONTACT, 1, "late"),
        (contact(1, 5, false), CONTACT, 1, "it opts in"),
        (contact(1, 6, true), CONTACT, 2, "and out again"),
        (made(2, true), CONTACT, 2, "it is made opted out"),
        (contact(2, 3, true), CONTACT, 2, "and stays so"),
        (contact(3, 3, true), CONTACT, 3, "first sight"),
        (topics(7), CONTACT, 4, "a topic is left"),
        (topics(8), CONTACT, 5, "and left again: that is no snapshot"),
        (domain(1, "pending"), DOMAIN, 0, "not yet"),
        (domain(3, "verified"), DOMAIN, 1, "verified"),
        (domain(4, "verified"), DOMAIN, 1, "its records change"),
        (domain(2, "not_started"), DOMAIN, 1, "late"),
        (domain(5, "partially_verified"), DOMAIN, 1, "no longer"),
        (domain(6, "verified"), DOMAIN, 2, "verified again"),
        (told("domain.deleted", 1, 7, &json!({ "status": "failed" })), DOMAIN, 2, "gone"),
    ] {
        accepted(&gateway, &request).await;
        assert_eq!(count(&gateway, kind).await, expected, "{what}");
    }
    until("all are delivered", async || seen.lock().unwrap().len() == 7).await;
    gateway.until_idle().await;
    assert!(seen.lock().unwrap().values().all(|times| *times == 1));
    // What only tells a state was understood: nothing is to be found in it later.
    let listed = gateway.read("/v1/requests?status=unmapped&limit=100").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "what is gone: {listed}");
    until("all are counted", async || unmapped(&gateway).await == 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_changes_of_a_state_are_reported_embedded() {
    only_changes_are_reported("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_changes_of_a_state_are_reported_on_redis() {
    only_changes_are_reported(&Server::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_at_two_gateways_are_reported_once_a_change() {
    const CONTACTS: u32 = 12;
    let (target, seen) = receiver();
    let server = Server::start().await;
    let hook = endpoint("wh_states", &format!("http://{target}/"), "");
    let (one, other) = pair(&server, &hook).await;
    // All of a row come at once, to both: in any order, and each twice.
    let rows: [&[(u32, bool)]; 4] = [
        &[(5, false), (10, true), (11, true), (12, true)],
        &[(14, true), (15, true), (20, false), (21, false)],
        &[(19, true), (25, false), (30, true), (31, true)],
        &[(29, false), (40, true), (5, false)],
    ];
    for (row, expected) in rows.into_iter().zip([1, 1, 2, 2]) {
        let posts = (1..=CONTACTS).flat_map(|entity| row.iter().map(move |one| (entity, one)));
        let posts = posts.map(|(entity, (second, unsubscribed))| {
            let request = contact(entity, *second, *unsubscribed);
            let (one, other) = (&one, &other);
            async move { tokio::join!(accepted(one, &request), accepted(other, &request)) }
        });
        join_all(posts).await;
        assert_eq!(count(&one, CONTACT).await, CONTACTS as usize * expected, "{row:?}");
    }
    until("all are delivered", async || seen.lock().unwrap().len() == CONTACTS as usize * 2).await;
    one.until_idle().await;
    assert!(seen.lock().unwrap().values().all(|times| *times == 1));
}

/// It dies at this point with the second of three snapshots, and gets that again: the changes are reported once each.
async fn dies_with_a_snapshot(store: &str, point: &str, first: bool) {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new(store, target);
    gateway.up(None);
    gateway.until_alive().await;
    accepted(&gateway, &contact(1, 10, first)).await;
    gateway.until_idle().await;
    gateway.down();
    gateway.up(Some(point));
    gateway.until_alive().await;
    let second = contact(1, 20, !first);
    let _ = wire::exchange(gateway.port(), &second).await;
    gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    gateway.up(None);
    gateway.until_alive().await;
    for request in [second, contact(1, 30, true), contact(1, 15, true)] {
        accepted(&gateway, &request).await;
    }
    // Out, in, out; or in, out, and still out.
    let expected = if first { 2 } else { 1 };
    assert_eq!(count(&gateway, CONTACT).await, expected, "{point}, {first}");
    until("all are delivered", async || seen.lock().unwrap().len() == expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_with_a_snapshot_leaves_its_state_told_once_embedded() {
    let run = |(point, first)| dies_with_a_snapshot("embedded", point, first);
    let points = ["ingest.before_commit", "ingest.committed"];
    join_all(points.into_iter().flat_map(|point| [(point, true), (point, false)]).map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_with_a_snapshot_leaves_its_state_told_once_on_redis() {
    let run = async |(point, first)| dies_with_a_snapshot(&Server::start().await.url(), point, first).await;
    let cases = [("raw.stored", true), ("states.told", true), ("raw.stored", false), ("units.committed", false)];
    join_all(cases.map(run)).await;
}
