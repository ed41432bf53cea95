//! The gateway dies at each of its named points, is started again, and nothing is lost, doubled or let in.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use futures_util::future::join_all;
use waypost::store::Store;
use waypost_providers::Signed;

use crate::gateway::{Gateway, Poster, receiver, until};
use crate::redis_harness::Server;
use crate::support::events;
use crate::tidy::{files, hold};
use crate::wire;

/// What an event on its way passes.
const EMBEDDED: [&str; 11] = [
    "ingest.before_commit",
    "ingest.committed",
    "lease.committed",
    "leased",
    "posted",
    "finish.before_commit",
    "finish.committed",
    "finished",
    "log.turned",
    "log.files_written",
    "log.applied",
];
const REDIS: [&str; 7] =
    ["raw.stored", "units.committed", "lease.committed", "leased", "posted", "finish.committed", "finished"];
/// What has a test of its own.
const REDIS_ALONE: [&str; 18] = [
    "request.erased",
    "deliveries.erased",
    "chunks.written",
    "blobs.marked",
    "blob.written",
    "blob.named",
    "fetch.kept",
    "token.remembered",
    "states.told",
    "address_key.settled",
    "reprocess.committed",
    "replay.made",
    "replay.kept",
    "secrets.resealed",
    "announced",
    "endpoint.disabled",
    "endpoints.committed",
    "audit.noted",
];

/// What has a test of its own.
const EMBEDDED_ALONE: [&str; 19] = [
    "log.appended",
    "request.erased",
    "blobs.marked",
    "blob.written",
    "blob.named",
    "fetch.kept",
    "ids.written",
    "replay.made",
    "replay.kept",
    "master_key.written",
    "master_key.made",
    "address_key.written",
    "address_key.made",
    "secrets.resealed",
    "announced",
    "endpoint.disabled",
    "endpoints.before_commit",
    "endpoints.committed",
    "audit.noted",
];

pub(crate) const ABORTED: i32 = 6;

/// Posts once; then it dies, in the middle of that or of what follows.
async fn until_dead(gateway: &mut Gateway, request: &[u8]) {
    let answered = wire::exchange(gateway.port(), request).await.map(|reply| reply.status);
    let (status, _) = gateway.ended(Duration::from_secs(10)).await.expect("it dies at its point");
    assert_eq!(status.signal(), Some(ABORTED), "{status}, after it answered {answered:?}");
}

async fn dies_at(point: &str, store: &str) {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new(store, target);
    let (id, signed) = Poster::new().resend_event(1);
    let request = wire::post("/in/resend", &signed);
    gateway.up(Some(point));
    gateway.until_alive().await;
    until_dead(&mut gateway, &request).await;
    gateway.up(None);
    // The provider sends again, whether it was answered or not.
    Poster::new().until_accepted(&gateway, 1).await;
    until("it is delivered", async || seen.lock().unwrap().contains_key(&id)).await;
    gateway.until_idle().await;
    let times = seen.lock().unwrap()[&id];
    println!("{point}: delivered {times} times");
    assert!(times <= 2, "{point}: delivered {times} times");
    let delivered = gateway.read("/v1/deliveries?status=delivered").await;
    assert_eq!(delivered["data"].as_array().unwrap().len(), 1, "{point}: {delivered}");
}

async fn status(gateway: &Gateway, request: &[u8]) -> u16 {
    wire::exchange(gateway.port(), request).await.unwrap().status
}

/// Dies when so many of the calls that commit a batch are done, and the provider sends the batch again.
async fn dies_within_a_batch(calls: u32) {
    // More than one call takes.
    const LEN: u32 = 2_100;
    let (target, seen) = receiver();
    let server = Server::start().await;
    let mut gateway = Gateway::new(&server.url(), target);
    let (ids, signed) = Poster::new().sendgrid_batch(1, LEN);
    let request = wire::post("/in/sendgrid", &signed);
    gateway.up(Some(&format!("units.committed:{calls}")));
    gateway.until_alive().await;
    until_dead(&mut gateway, &request).await;
    let store = server.store().await;
    let before = events(&store).await.len();
    assert!(before > 0 && before < ids.len(), "{before} of {LEN} are in");

    gateway.up(None);
    gateway.until_alive().await;
    until("the batch is taken", async || status(&gateway, &request).await == 200).await;
    assert_eq!(status(&gateway, &request).await, 200);
    until("all are delivered", async || seen.lock().unwrap().len() == ids.len()).await;
    gateway.until_idle().await;
    let rows = events(&store).await;
    assert_eq!(rows.len(), ids.len());
    assert_eq!(rows.iter().map(|row| &row.id).collect::<BTreeSet<_>>().len(), ids.len());
    for row in &rows {
        assert_eq!(store.deliveries_of(&row.id).await.unwrap().len(), 1);
    }
    println!("units.committed:{calls}: {before} of {LEN} were in, all are");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_loses_nothing_embedded() {
    join_all(EMBEDDED.map(|point| dies_at(point, "embedded"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_loses_nothing_on_redis() {
    let run = async |point| dies_at(point, &Server::start().await.url()).await;
    join_all(REDIS.map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_in_by_half_is_completed_by_its_resend() {
    tokio::join!(dies_within_a_batch(1), dies_within_a_batch(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_its_event_lets_the_retry_in_and_nothing_else() {
    let (target, seen) = receiver();
    let server = Server::start().await;
    let mut gateway = Gateway::new(&server.url(), target);
    let (id, signed) = Poster::new().mailgun_event(1);
    let forged = String::from_utf8(signed.body.to_vec()).unwrap().replace(&id, "mg-2");
    let forged = wire::post("/in/mailgun", &Signed { headers: signed.headers.clone(), body: forged.into() });
    let request = wire::post("/in/mailgun", &signed);
    gateway.up(Some("token.remembered"));
    gateway.until_alive().await;
    until_dead(&mut gateway, &request).await;
    assert!(events(&server.store().await).await.is_empty());

    gateway.up(None);
    gateway.until_alive().await;
    assert_eq!(status(&gateway, &forged).await, 406);
    assert_eq!(status(&gateway, &request).await, 200);
    assert_eq!(status(&gateway, &forged).await, 406);
    assert_eq!(status(&gateway, &request).await, 200);
    until("it is delivered", async || seen.lock().unwrap().contains_key(&id)).await;
    gateway.until_idle().await;
    assert_eq!(events(&server.store().await).await.len(), 1);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_that_dies_between_log_and_engine_is_done_again() {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new("embedded", target);
    // It is delivered, and its rows are in the log alone.
    gateway.up(Some("finished"));
    gateway.until_alive().await;
    let (id, signed) = Poster::new().resend_event(1);
    until_dead(&mut gateway, &wire::post("/in/resend", &signed)).await;
    gateway.up(Some("log.applied"));
    let (status, _) = gateway.ended(Duration::from_secs(10)).await.expect("it dies as it opens the store");
    assert_eq!(status.signal(), Some(ABORTED));
    gateway.up(None);
    gateway.until_alive().await;
    gateway.until_idle().await;
    let delivered = gateway.read("/v1/deliveries?status=delivered").await;
    assert_eq!(delivered["data"].as_array().unwrap().len(), 1, "{delivered}");
    assert_eq!(seen.lock().unwrap()[&id], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_written_without_a_note_of_it_are_known() {
    // More than are written in one go.
    const LEN: u32 = 40;
    let (target, seen) = receiver();
    let mut gateway = Gateway::new("embedded", target);
    let (ids, signed) = Poster::new().sendgrid_batch(1, LEN);
    let request = wire::post("/in/sendgrid", &signed);
    gateway.up(Some("ids.written"));
    gateway.until_alive().await;
    until_dead(&mut gateway, &request).await;
    gateway.up(None);
    gateway.until_alive().await;
    assert_eq!(status(&gateway, &request).await, 200);
    until("all are delivered", async || seen.lock().unwrap().len() == ids.len()).await;
    gateway.until_idle().await;
    let listed = gateway.read("/v1/events?limit=100").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), ids.len(), "{listed}");
    // So is where words lead: to each once.
    for event in listed["data"].as_array().unwrap() {
        let found = gateway.read(&format!("/v1/events?recipient={}", event["data"]["to"].as_str().unwrap())).await;
        let found: Vec<_> = found["data"].as_array().unwrap().iter().map(|found| &found["id"]).collect();
        assert_eq!(found.iter().filter(|id| **id == &event["id"]).count(), 1, "{found:?}");
    }
}

/// The texts in double quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// The points that a file names: where it passes one, and in its `fn crash_points`.
fn points(text: &str) -> BTreeSet<String> {
    let passed = text.split("crash::point(").skip(1).filter_map(|rest| quoted(rest).next());
    let listed = text.split("fn crash_points").skip(1).flat_map(|rest| quoted(rest.split("\n    }\n").next().unwrap()));
    passed.chain(listed).map(str::to_owned).collect()
}

#[test]
fn every_point_has_a_test() {
    let tested = |points: &[&[&str]]| points.concat().into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let (embedded, redis) = (tested(&[&EMBEDDED, &EMBEDDED_ALONE]), tested(&[&REDIS, &REDIS_ALONE]));
    let (mut in_embedded, mut in_redis) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in files("src", &["rs"]) {
        let named = points(&text);
        let passes = text.contains("crash::point");
        assert_eq!(passes, !named.is_empty(), "{path}: a point without a name");
        if !path.starts_with("src/store/redis/") {
            in_embedded.extend(named.clone());
        }
        if !path.starts_with("src/store/embedded/") {
            in_redis.extend(named);
        }
    }
    let missing = |on: &str, one: &BTreeSet<String>, other: &BTreeSet<String>, what: &str| {
        one.difference(other).map(|point| format!("{on}: `{point}` {what}")).collect::<Vec<_>>()
    };
    let mut wrong = missing("embedded", &in_embedded, &embedded, "has no test");
    wrong.extend(missing("embedded", &embedded, &in_embedded, "is nowhere in src"));
    wrong.extend(missing("redis", &in_redis, &redis, "has no test"));
    wrong.extend(missing("redis", &redis, &in_redis, "is nowhere in src"));
    hold(&wrong);
}
