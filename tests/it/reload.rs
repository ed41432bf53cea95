//! A config that is read again comes into force whole: no event is planned against half of it, whatever comes in
//! meanwhile, and gateways that read it one after the other agree in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use waypost::domain::delivery::{Delivery, Status};
use waypost::domain::id::EventId;
use waypost::store::Store;
use waypost_providers::Signed;

use crate::gateway::{Gateway, Poster, SECRET, endpoint, until};
use crate::gateways::{accepted, deliveries_of, pair};
use crate::hooks::Hooks;
use crate::redis_harness::Server;
use crate::stale_endpoints::reload;
use crate::webhooks::{Inbox, NEW_KEY, call, text};
use crate::wire::{self, Wire};

const RELOADS: u32 = 24;
const POSTERS: u32 = 3;
/// Of each three events one comes in by a source of both configs, and one by that of each.
const SOURCES: [&str; 3] = ["resend", "alpha", "beta"];

/// One of two configs that have little in common: `wh_0` is in both, `wh_1` and `wh_2` take turns at what they ask for,
/// `wh_3` comes and goes, and so do the sources `alpha` and `beta`.
fn config(hooks: &Hooks, is_alpha: bool) -> String {
    let (name, wanted, other) =
        if is_alpha { ("alpha", "delivered", "opened") } else { ("beta", "opened", "delivered") };
    let one = |number: u32, kind| hooks.endpoints(number..number + 1, &format!("events = [\"email.{kind}\"]\n"));
    let source = format!("[sources.{name}]\nprovider = \"resend\"\nsigning_secrets = [\"{SECRET}\"]\n");
    let more = if is_alpha { hooks.endpoints(3..4, "") } else { String::new() };
    source + &hooks.endpoints(0..1, "") + &one(1, wanted) + &one(2, other) + &more
}

/// What was posted to each source: the event and the answer.
type Log = Mutex<Vec<(&'static str, String, Option<u16>)>>;

async fn post(poster: Poster, urls: BTreeMap<&'static str, String>, shared: Arc<(Log, AtomicU32, AtomicBool)>) {
    let (log, number, is_over) = &*shared;
    while !is_over.load(Ordering::SeqCst) {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let source = SOURCES[number as usize % SOURCES.len()];
        let (id, signed) = poster.resend_event(number);
        let status = answered(&poster, &urls[source], signed).await;
        log.lock().unwrap().push((source, EventId::of(source, &id).to_string(), status));
    }
}

/// What a provider is told in the end: on a busy machine the store may be too slow for the first time. Then it stays a
/// 503 where the source has gone since, for it may have been stored all the same.
async fn answered(poster: &Poster, url: &str, signed: Signed) -> Option<u16> {
    let mut status = poster.post(url, signed.clone()).await;
    let was_slow = status == Some(503);
    while status == Some(503) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        status = poster.post(url, signed.clone()).await;
    }
    if was_slow && status == Some(404) { Some(503) } else { status }
}

/// Whether an event was planned by the config of `alpha`, or that of `beta`; nothing if by neither. `wh_3` is in one alone,
/// and has a delivery by the other too, which is skipped.
fn planned_by_alpha(deliveries: &[Delivery]) -> Option<bool> {
    let names: BTreeSet<_> = deliveries.iter().map(|one| one.endpoint_id.as_str()).filter(|id| *id != "wh_3").collect();
    if names == ["wh_0", "wh_1"].into() {
        Some(true)
    } else if names == ["wh_0", "wh_2"].into() {
        Some(false)
    } else {
        None
    }
}

async fn stays_whole_under_load(store: &str) {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving(store, &config(&hooks, true));
    gateway.up(None);
    gateway.until_alive().await;
    let urls: BTreeMap<_, _> = SOURCES.iter().map(|source| (*source, gateway.url(source))).collect();
    let shared = Arc::new((Log::default(), AtomicU32::new(0), AtomicBool::new(false)));
    let posters: Vec<_> =
        (0..POSTERS).map(|_| tokio::spawn(post(poster.clone(), urls.clone(), Arc::clone(&shared)))).collect();
    let mut steady = 1_000_000;
    for round in 1..=RELOADS {
        let is_alpha = round % 2 == 0;
        reload(&gateway, &config(&hooks, is_alpha)).await;
        // What is in force is told apart from what is not, at once.
        for (source, is_there) in [("resend", true), ("alpha", is_alpha), ("beta", !is_alpha)] {
            steady += 1;
            let (id, signed) = poster.resend_event(steady);
            let status = answered(&poster, &urls[source], signed).await;
            assert_eq!(status, Some(if is_there { 200 } else { 404 }), "{source} in round {round}");
            if is_there {
                let event = EventId::of(source, &id).to_string();
                assert_eq!(planned_by_alpha(&deliveries_of(&gateway, &event).await), Some(is_alpha), "round {round}");
                shared.0.lock().unwrap().push((source, event, status));
            }
        }
    }
    shared.2.store(true, Ordering::SeqCst);
    for posting in posters {
        posting.await.unwrap();
    }
    gateway.until_idle().await;
    assert!(!gateway.log().contains("the endpoint set changed again and again"), "given up for the reloads' sake");
    let log = shared.0.lock().unwrap().clone();
    check(&gateway, &hooks, &log).await;
}

/// Every answer was right, and every accepted event went to the endpoints of one config that has its source.
async fn check(gateway: &Gateway, hooks: &Hooks, log: &[(&'static str, String, Option<u16>)]) {
    let arrived = hooks.by_delivery();
    let (mut accepted, mut by_alpha) = (0, 0);
    for (source, event, status) in log {
        let is_always_there = *source == "resend";
        let is_right = *status == Some(200) || !is_always_there && matches!(status, Some(404 | 503));
        assert!(is_right, "{source} answered {status:?}");
        if *status == Some(503) {
            continue;
        }
        if *status == Some(404) {
            let known = gateway.get(&format!("/v1/events/{event}")).await.unwrap().status;
            assert_eq!(known, 404, "{event} was refused, and is there");
            continue;
        }
        let deliveries = deliveries_of(gateway, event).await;
        let is_alpha = planned_by_alpha(&deliveries);
        let expected = match *source {
            "alpha" => Some(true),
            "beta" => Some(false),
            _ => is_alpha,
        };
        assert!(is_alpha.is_some() && is_alpha == expected, "{source}: {deliveries:?}");
        for one in &deliveries {
            let comes = arrived.contains_key(&(event.clone(), one.endpoint_id.to_string()));
            // It may have gone from the config before it was sent.
            let may_be_skipped = one.endpoint_id.as_str() == "wh_3" && one.status == Status::Skipped;
            assert!(may_be_skipped || one.status == Status::Delivered && comes, "{one:?}");
            assert!(one.endpoint_id.as_str() != "wh_3" || is_alpha == Some(true) || !comes, "{one:?}");
        }
        accepted += 1;
        by_alpha += usize::from(is_alpha == Some(true));
    }
    println!("{} posted, {accepted} accepted, {by_alpha} of them by the first config", log.len());
    assert!(by_alpha > RELOADS as usize && accepted - by_alpha > RELOADS as usize, "{by_alpha} of {accepted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_is_whole_embedded() {
    stays_whole_under_load("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_is_whole_on_redis() {
    let server = Server::start().await;
    stays_whole_under_load(&server.url()).await;
}

/// The config is read while the store stands still: its sources are in force, and its endpoints cannot be yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_source_is_never_planned_for_the_endpoints_of_before() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving(&server.url(), &config(&hooks, true));
    gateway.up(None);
    gateway.until_alive().await;
    accepted(&poster, &gateway, 1).await;
    server.signal("STOP");
    gateway.configure(&config(&hooks, false));
    gateway.signal("HUP");
    let beta = gateway.url("beta");
    // Who proves nothing is told of apart from who is unknown, and the store is not asked.
    let unproven = "POST /in/beta HTTP/1.1\r\nhost: waypost\r\ncontent-length: 0\r\n\r\n";
    until("the source is there", async || {
        wire::exchange(gateway.port(), unproven.as_bytes()).await.unwrap().status == 401
    })
    .await;
    let (id, signed) = poster.resend_event(2);
    let (status, ()) = tokio::join!(answered(&poster, &beta, signed), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.signal("CONT");
    });
    assert_eq!(status, Some(200));
    let event = EventId::of("beta", &id).to_string();
    assert_eq!(planned_by_alpha(&deliveries_of(&gateway, &event).await), Some(false));
}

/// The config that has its source goes while a request is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_has_gone_is_not_planned_for_the_endpoints_that_came() {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = Gateway::serving("embedded", &config(&hooks, true));
    gateway.up(None);
    gateway.until_alive().await;
    let slow = async |source: &str, number| {
        let (id, signed): (String, Signed) = poster.resend_event(number);
        let mut request = wire::post(&format!("/in/{source}"), &signed);
        let last = request.split_off(request.len() - 1);
        let mut wire = Wire::connect(gateway.port()).await.unwrap();
        wire.say(&request).await.unwrap();
        (wire, last, EventId::of(source, &id).to_string())
    };
    let (mut gone, last, event) = slow("alpha", 1).await;
    let (mut kept, other, stays) = slow("resend", 2).await;
    // Both heads are read.
    tokio::time::sleep(Duration::from_millis(500)).await;
    reload(&gateway, &config(&hooks, false)).await;
    gone.say(&last).await.unwrap();
    kept.say(&other).await.unwrap();
    assert_eq!((gone.reply().await.unwrap().status, kept.reply().await.unwrap().status), (404, 200));
    assert_eq!(gateway.get(&format!("/v1/events/{event}")).await.unwrap().status, 404);
    assert_eq!(planned_by_alpha(&deliveries_of(&gateway, &stays).await), Some(false));
}

/// The endpoints as a gateway lists them, and whom it plans for.
async fn seen(gateway: &Gateway, number: u32) -> (BTreeMap<String, Value>, BTreeSet<String>) {
    let (status, list) = call(gateway, "GET /v1/webhooks?limit=100", Value::Null).await;
    assert_eq!(status, 200, "{list}");
    let listed = list["data"].as_array().unwrap().iter().map(|one| (text(&one["id"]), one.clone())).collect();
    let event = accepted(&Poster::new(), gateway, number).await;
    let planned = deliveries_of(gateway, &event).await.into_iter().map(|one| one.endpoint_id.to_string()).collect();
    (listed, planned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_that_read_one_file_one_after_the_other_agree_whatever_the_api_does() {
    let (server, inbox) = (Server::start().await, Inbox::start());
    let file = |numbers: std::ops::Range<u32>, more: &str| {
        let one = |number| endpoint(&format!("wh_{number}"), &inbox.url(&format!("/{number}")), more);
        NEW_KEY.to_owned() + &numbers.map(one).collect::<String>()
    };
    let (one, other) = pair(&server, &file(0..4, "")).await;
    let mut numbers = 1..;
    for round in 0..4 {
        let next = if round % 2 == 0 { file(2..6, "rate_limit = 50\n") } else { file(0..4, "") };
        let change = async |number: usize| {
            let gateway = if number.is_multiple_of(2) { &one } else { &other };
            let (status, made) = call(gateway, "POST /v1/webhooks", json!({"url": inbox.url("/api")})).await;
            assert_eq!(status, 201, "{made}");
            let route = format!("POST /v1/webhooks/{}/disable", text(&made["id"]));
            assert_eq!(call(gateway, &route, Value::Null).await.0, 200);
            text(&made["id"])
        };
        let reloads = async {
            reload(&one, &next).await;
            reload(&other, &next).await;
        };
        let (made, ()) = tokio::join!(join_all((0..6).map(change)), reloads);
        let store = server.store().await;
        let before = store.endpoints().await.unwrap();
        let (ones, others) = (seen(&one, numbers.next().unwrap()).await, seen(&other, numbers.next().unwrap()).await);
        assert_eq!(ones, others, "round {round}");
        // It is settled: neither has anything to say against the other.
        let after = store.endpoints().await.unwrap();
        assert_eq!((before.generation, before.all.len()), (after.generation, after.all.len()));
        assert_eq!(after.all.len(), ones.0.len());
        assert_eq!(ones.0.keys().cloned().collect::<BTreeSet<_>>(), ones.1, "planned for other than listed");
        let active = |id: &str| ones.0[id]["active"].as_bool().unwrap();
        let expected = if round % 2 == 0 { 2..6 } else { 0..4 };
        for number in 0..6 {
            assert_eq!(active(&format!("wh_{number}")), expected.contains(&number), "wh_{number} in round {round}");
        }
        assert!(made.iter().all(|id| !active(id) && ones.0[id]["managed_by"] == "api"));
    }
}
