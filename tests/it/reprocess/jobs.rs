//! Reprocessing in bulk.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::*;
use crate::gateways::shares;

/// A lease that a killed gateway leaves behind falls due again after 16 s.
const LATER: Duration = Duration::from_secs(90);

/// So many requests of one event each that an older version could not read, a second apart.
async fn fill(store: &dyn Store, count: u32, first: Timestamp) {
    let (poster, older) = (Poster::new(), Older::blind("resend"));
    for number in 0..count {
        let received_at = first + Duration::from_secs(number.into());
        taken_by(store, &older, ("resend", received_at), &poster.resend_event(number).1).await;
    }
}

fn yesterday() -> Timestamp {
    SystemClock::new().now() - Duration::from_secs(24 * 3_600)
}

pub(super) async fn begin(gateway: &Gateway, body: Value) -> String {
    let (status, job) = call(gateway, "POST", "/v1/requests/reprocess", &body.to_string()).await;
    assert_eq!((status, &job["kind"]), (202, &json!("reprocess")), "{job}");
    job["id"].as_str().unwrap().to_owned()
}

/// The job when it is in this state.
pub(super) async fn job_in(gateway: &Gateway, id: &str, state: &str) -> Value {
    let mut job = Value::Null;
    crate::gateway::until(&format!("{id} is {state}"), async || {
        // It may be down.
        gateway
            .get(&format!("/v1/replays/{id}"))
            .await
            .is_some_and(|reply| serde_json::from_str::<Value>(&reply.body).is_ok_and(|job| job["state"] == state))
    })
    .await;
    job.clone_from(&gateway.read(&format!("/v1/replays/{id}")).await);
    job
}

fn events(hooks: &Hooks) -> HashSet<String> {
    hooks.arrivals().into_iter().map(|arrival| arrival.event).collect()
}

/// How many deliveries ended so.
async fn ended(gateway: &Gateway, status: &str) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let list = gateway.read(&format!("/v1/deliveries?status={status}&limit=100&cursor={cursor}")).await;
        count += list["data"].as_array().unwrap().len();
        match list["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return count,
        }
    }
}

/// Only what was asked for is read again, and counted first; what has no source is told.
async fn a_part_is_reprocessed(server: Option<Server>) {
    let hooks = Hooks::start();
    let mut gateway = served(&server.as_ref().map_or("embedded".into(), Server::url), &hooks).await;
    let (store, first) = (opened(&gateway, server.as_ref()).await, yesterday());
    fill(&*store, 120, first).await;
    let (poster, before) = (Poster::new(), first - Duration::from_secs(3_600));
    let (_, batch) = poster.sendgrid_batch(1, 3);
    taken_by(&*store, &Older::lacking("sendgrid", "delivered"), ("sendgrid", before), &batch).await;
    taken_by(&*store, &Older::blind("resend"), ("gone", before), &poster.resend_event(1_000).1).await;
    drop(store);
    gateway.up(None);
    gateway.until_alive().await;
    let span = json!({"since": first.to_string(), "until": (first + Duration::from_secs(70)).to_string()});
    for (mut asked, total, gone) in [
        (json!({}), 122, json!(["gone"])),
        (json!({"status": ["unmapped"]}), 1, Value::Null),
        (json!({"source": "resend"}), 120, Value::Null),
        (json!({"status": ["unmapped"], "source": "resend"}), 0, Value::Null),
        (span.clone(), 70, Value::Null),
    ] {
        asked["dry_run"] = json!(true);
        let job = job_in(&gateway, &begin(&gateway, asked).await, "done").await;
        assert_eq!((&job["total"], &job["made"], &job["sources_gone"]), (&json!(total), &json!(0), &gone), "{job}");
    }
    assert_eq!((listed(&gateway, "unmapped").await, hooks.arrivals().len()), (1, 0), "counting reads nothing");

    let job = job_in(&gateway, &begin(&gateway, span).await, "done").await;
    let counts = |job: &Value| ["total", "made", "left_out", "stored", "repeats"].map(|name| job[name].clone());
    assert_eq!(counts(&job), [70, 70, 0, 70, 0].map(Value::from), "{job}");
    until(LATER, "they come", || hooks.arrivals().len() >= 70).await;
    let job = job_in(&gateway, &begin(&gateway, json!({})).await, "done").await;
    assert_eq!(counts(&job), [52, 51, 1, 53, 0].map(Value::from), "{job}");
    assert_eq!(job["sources_gone"], json!(["gone"]), "{job}");
    until(LATER, "the rest comes", || events(&hooks).len() == 123).await;
    gateway.until_idle().await;
    assert_eq!((hooks.arrivals().len(), ended(&gateway, "delivered").await), (123, 123), "each once");
    assert_eq!((listed(&gateway, "unmapped").await, listed(&gateway, "unreadable").await), (0, 1));
    let (status, answer) = call(&gateway, "DELETE", &format!("/v1/replays/{}", job["id"].as_str().unwrap()), "").await;
    assert_eq!((status, &answer["type"]), (409, &json!("urn:waypost:problem:not_replayable")), "it has ended");
    // What went to the endpoint within the span of its receipt is found there, however late it was committed.
    let asked = json!({"since": before.to_string(), "until": first.to_string(), "dry_run": true}).to_string();
    let (_, replay) = call(&gateway, "POST", "/v1/webhooks/wh_0/replay", &asked).await;
    let replay = job_in(&gateway, replay["id"].as_str().unwrap(), "done").await;
    assert_eq!((&replay["kind"], &replay["total"]), (&json!("replay"), &json!(3)), "{replay}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_then_reads_what_was_asked_for_embedded() {
    a_part_is_reprocessed(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_then_reads_what_was_asked_for_on_redis() {
    a_part_is_reprocessed(Some(Server::start().await)).await;
}

/// Dies at a point of a job, its Redis with it, and goes on where it was.
async fn survives(mut server: Option<Server>, point: &str) {
    const COUNT: usize = 160;
    let hooks = Hooks::start();
    let mut gateway = served(&server.as_ref().map_or("embedded".into(), Server::url), &hooks).await;
    let store = opened(&gateway, server.as_ref()).await;
    fill(&*store, u32::try_from(COUNT).unwrap(), yesterday()).await;
    drop(store);
    gateway.up(Some(point));
    gateway.until_alive().await;
    let id = begin(&gateway, json!({})).await;
    assert!(gateway.ended(LATER).await.is_some(), "it dies at {point}");
    if let Some(server) = &mut server {
        server.down();
        server.up().await;
    }
    gateway.up(None);
    let job = job_in(&gateway, &id, "done").await;
    println!("{point}: {} of {} were counted as read", job["made"], job["total"]);
    // At most a step's worth was understood when it died.
    assert_eq!((&job["total"], &job["left_out"]), (&json!(COUNT), &json!(0)), "{job}");
    assert!((COUNT as u64 - 50..=COUNT as u64).contains(&job["made"].as_u64().unwrap()), "{job}");
    until(LATER, "all come", || events(&hooks).len() == COUNT).await;
    gateway.until_idle().await;
    assert_eq!(ended(&gateway, "delivered").await, COUNT, "{point}: each event has one delivery");
    assert_eq!(listed(&gateway, "unreadable").await, 0, "{point}");
}

/// One step counts, and four read.
const POINTS: [&str; 3] = ["replay.made:1", "replay.made:3", "replay.kept:3"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_its_gateway_died_embedded() {
    join_all(POINTS.map(|point| survives(None, point))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_its_gateway_died_on_redis() {
    let run = async |point| survives(Some(Server::start().await), point).await;
    join_all(POINTS.into_iter().chain(["reprocess.committed:75"]).map(run)).await;
}

/// What one request runs into is none of the others' business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_stored_is_left_out_and_told_on_redis() {
    let (hooks, poster, server) = (Hooks::start(), Poster::new(), Server::start().await);
    let mut gateway = served(&server.url(), &hooks).await;
    let (store, older, first) = (server.store().await, Older::blind("resend"), yesterday());
    let bodies =
        [poster.sign("resend", "odd", [1; 16]), poster.resend_event(1).1, poster.sign("resend", "odder", [2; 16])];
    let mut ids = Vec::new();
    for (number, signed) in (0..).zip(&bodies) {
        ids.push(taken_by(&store, &older, ("resend", first + Duration::from_secs(number)), signed).await);
    }
    // No event can be committed: something else is where a number should be.
    for partition in 0..4 {
        server.command(&["SET", &format!("{{wp:{partition}}}:stamp"), "what"]).await;
    }
    gateway.up(None);
    gateway.until_alive().await;
    let job = job_in(&gateway, &begin(&gateway, json!({})).await, "done").await;
    let counts = ["total", "made", "left_out", "failed", "unreadable"].map(|name| job[name].clone());
    assert_eq!(counts, [3, 2, 1, 1, 2].map(Value::from), "{job}");
    let tried: Vec<_> =
        gateway.logged("a request is tried again").iter().map(|line| line["failures"].clone()).collect();
    assert_eq!(tried, [1, 2, 3, 4].map(Value::from));
    let told = gateway.logged("a request is not read again");
    assert_eq!((told.len(), &told[0]["request.id"]), (1, &json!(ids[1].as_str())), "{told:?}");
    assert_eq!(listed(&gateway, "unreadable").await, 3, "another job may have better luck");
}

/// A job that is stopped leaves what it has not read to another.
async fn is_canceled(server: Option<Server>) {
    const COUNT: u32 = 600;
    let hooks = Hooks::start();
    let mut gateway = served(&server.as_ref().map_or("embedded".into(), Server::url), &hooks).await;
    let store = opened(&gateway, server.as_ref()).await;
    fill(&*store, COUNT, yesterday()).await;
    drop(store);
    gateway.up(None);
    gateway.until_alive().await;
    let id = begin(&gateway, json!({})).await;
    until(LATER, "it has begun", || !hooks.arrivals().is_empty()).await;
    let (status, job) = call(&gateway, "DELETE", &format!("/v1/replays/{id}"), "").await;
    assert_eq!(status, 202, "{job}");
    let job = job_in(&gateway, &id, "canceled").await;
    let made = job["made"].as_u64().unwrap();
    assert!(made < u64::from(COUNT), "{job}");
    let id = begin(&gateway, json!({})).await;
    let rest = job_in(&gateway, &id, "done").await;
    // A step that was under way did its work, and its count came too late.
    assert!(rest["stored"].as_u64().unwrap() <= u64::from(COUNT) - made, "{rest}");
    assert_eq!((&rest["repeats"], &rest["stored"]), (&json!(0), &rest["total"]), "{rest}");
    until(LATER, "all come", || events(&hooks).len() == 600).await;
    gateway.until_idle().await;
    assert_eq!(hooks.arrivals().len(), 600, "none twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_job_leaves_the_rest_embedded() {
    is_canceled(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_job_leaves_the_rest_on_redis() {
    is_canceled(Some(Server::start().await)).await;
}

/// Jobs fall to either, one at a time works at each, and what one leaves behind the other takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_that_is_killed_leaves_its_jobs_to_the_other() {
    // So many that chance does not give all of them to one.
    const JOBS: u32 = 12;
    const EACH: u32 = 30;
    let (server, hooks, first) = (Server::start().await, Hooks::start(), yesterday());
    let mut one = served(&server.url(), &hooks).await;
    fill(&server.store().await, JOBS * EACH, first).await;
    let mut other = Gateway::serving(&server.url(), &hooks.endpoints(0..1, MORE));
    // Each job counts in one step, and reads in eight.
    one.up(Some("replay.made:5"));
    other.up(None);
    until(LATER, "both know of both", || shares(&one) == 2 && shares(&other) == 2).await;
    let mut ids = Vec::new();
    for number in 0..JOBS {
        let since = first + Duration::from_secs((number * EACH).into());
        let until = since + Duration::from_secs(EACH.into());
        ids.push(begin(&other, json!({"since": since.to_string(), "until": until.to_string()})).await);
    }
    assert!(one.ended(LATER).await.is_some(), "it dies in the middle of one");
    let mut counted = 0;
    for id in &ids {
        let job = job_in(&other, id, "done").await;
        assert_eq!((&job["total"], &job["left_out"]), (&json!(EACH), &json!(0)), "{job}");
        counted += job["made"].as_u64().unwrap();
    }
    println!("{counted} of {} were counted as read", JOBS * EACH);
    until(LATER, "all come", || events(&hooks).len() == 360).await;
    other.until_idle().await;
    assert_eq!(ended(&other, "delivered").await, 360, "each event has one delivery");
    assert_eq!(listed(&other, "unreadable").await, 0);
}
