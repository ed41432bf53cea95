//! Several gateways on one Redis: they share the work, take over from one that dies or stands still, and agree on
//! the endpoints.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use waypost::domain::delivery::{Delivery, Status};
use waypost::domain::id::EventId;

use crate::gateway::{Gateway, Poster, get};
use crate::hooks::{Arrival, Hooks, Pair, until};
use crate::ledger::Ledger;
use crate::metrics;
use crate::redis_harness::Server;

/// So many that chance does not give all of them to one gateway.
const ENDPOINTS: u32 = 16;
/// Leases are held for the deadline of `MORE` and 15 s; what comes by that and no retry comes this long after it was
/// sent, or later.
const HELD: Duration = Duration::from_secs(16);
/// A gateway that is gone is given up after 10 s, and its leases fall due again after their hold.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(15);
const MORE: &str = "timeout_s = 3\nretry = [1, 1, 1, 1, 1, 1, 1, 1]\n";

/// So many that have heard of each other.
pub(crate) async fn crowd(server: &Server, endpoints: &str, len: usize) -> Vec<Gateway> {
    let mut all: Vec<_> = (0..len).map(|_| Gateway::serving(&server.url(), endpoints)).collect();
    all.iter_mut().for_each(|gateway| gateway.up(None));
    until(SOON, "all know of all", || all.iter().all(|gateway| shares(gateway) == len as u64)).await;
    all
}

/// Two that have heard of each other.
pub(crate) async fn pair(server: &Server, endpoints: &str) -> (Gateway, Gateway) {
    let mut both = crowd(server, endpoints, 2).await;
    let other = both.remove(1);
    (both.remove(0), other)
}

/// Among how many gateways this one shares the lanes, as far as it knows.
pub(crate) fn shares(gateway: &Gateway) -> u64 {
    let told = gateway.logged("the lanes were shared out again");
    told.last().and_then(|line| line["gateways"].as_u64()).unwrap_or_default()
}

/// The endpoints that it made attempts at.
fn served(gateway: &Gateway) -> BTreeSet<String> {
    let attempts = gateway.logged("attempt ended");
    attempts.iter().map(|line| line["endpoint.id"].as_str().unwrap().to_owned()).collect()
}

/// One event, accepted; its id.
pub(crate) async fn accepted(poster: &Poster, gateway: &Gateway, number: u32) -> String {
    let (id, status) = poster.resend(&gateway.url("resend"), number).await;
    assert_eq!(status, Some(200));
    EventId::of("resend", &id).to_string()
}

pub(crate) async fn deliveries_of(gateway: &Gateway, event: &str) -> Vec<Delivery> {
    let mut list = get(gateway.address(), &format!("/v1/events/{event}/deliveries")).await;
    serde_json::from_value(list["data"].take()).unwrap()
}

/// All deliveries in one status.
async fn listed(gateway: &Gateway, status: Status) -> Vec<Delivery> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/deliveries?status={}&limit=100&cursor={cursor}", status.as_str());
        let mut list = get(gateway.address(), &path).await;
        found.extend(serde_json::from_value::<Vec<Delivery>>(list["data"].take()).unwrap());
        match list["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

fn pairs_of(events: &[String]) -> impl Iterator<Item = Pair> {
    events.iter().flat_map(|event| (0..ENDPOINTS).map(move |number| (event.clone(), format!("wh_{number}"))))
}

/// Waits until each of these events has come to every endpoint.
async fn until_arrived(hooks: &Hooks, events: &[String], within: Duration) {
    let is_in = || {
        let arrived = hooks.by_delivery();
        pairs_of(events).all(|pair| arrived.contains_key(&pair))
    };
    until(within, "what was accepted arrives", is_in).await;
}

/// Waits until nothing is pending; then each delivery must have ended once, and well.
async fn until_settled(gateway: &Gateway, events: &[String]) {
    for _ in 0..TAKEN_OVER_WITHIN.as_millis() / 200 {
        if listed(gateway, Status::Pending).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ended: Vec<Pair> = listed(gateway, Status::Delivered)
        .await
        .into_iter()
        .map(|delivery| (delivery.event_id.to_string(), delivery.endpoint_id.to_string()))
        .collect();
    let single: HashSet<&Pair> = ended.iter().collect();
    assert_eq!(single.len(), ended.len(), "a delivery is listed twice");
    assert_eq!(pairs_of(events).filter(|pair| !single.contains(pair)).count(), 0, "not delivered");
    for status in [Status::Pending, Status::Failed, Status::Skipped, Status::Canceled] {
        assert_eq!(listed(gateway, status).await, [], "{}", status.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_share_the_work_and_wake_each_other() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let (one, other) = pair(&server, &hooks.endpoints(0..ENDPOINTS, MORE)).await;
    let first = vec![accepted(&poster, &one, 0).await, accepted(&poster, &other, 1).await];
    until_arrived(&hooks, &first, SOON).await;
    let count = || one.logged("attempt ended").len() + other.logged("attempt ended").len();
    until(SOON, "all attempts are told", || count() == first.len() * 16).await;
    let (ones, others) = (served(&one), served(&other));
    println!("one serves {}, the other {}", ones.len(), others.len());
    assert!(!ones.is_empty() && !others.is_empty(), "one does all the work");
    assert!(ones.is_disjoint(&others), "a lane has two owners");
    // Without being woken a gateway looks every three seconds; ten times in a row it would not look this soon.
    let mut slowest = Duration::ZERO;
    for number in 2..12 {
        let event = [accepted(&poster, &one, number).await];
        let answered = hooks.now();
        until_arrived(&hooks, &event, SOON).await;
        let arrived = hooks.arrivals().into_iter().filter(|arrival| others.contains(&arrival.endpoint));
        slowest = slowest.max(arrived.map(|arrival| arrival.at).max().unwrap().saturating_sub(answered));
    }
    println!("taken in by one and sent by the other: at most {slowest:?} later");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

/// The deliveries that came while answers were held and that are on lanes of one gateway: it has their leases.
fn held(hooks: &Hooks, lanes: &BTreeSet<String>, since: Duration) -> Vec<Arrival> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.at >= since && lanes.contains(&arrival.endpoint)).collect()
}

/// Posts at speed to both, ends `one` in the middle of it while it has leases, and waits until everything accepted has
/// come and has ended. The ids of the accepted events.
async fn ended_at_work(one: &mut Gateway, other: &Gateway, hooks: &Hooks, end: fn(&mut Gateway)) -> Vec<String> {
    let (ledger, poster) = (Arc::new(Ledger::default()), Poster::new());
    let generators = [&*one, other].map(|gateway| {
        let (resend, sendgrid) = (gateway.url("resend"), gateway.url("sendgrid"));
        tokio::spawn(Arc::clone(&ledger).generate(poster.clone(), resend, sendgrid))
    });
    until(SOON, "both deliver", || !served(one).is_empty() && !served(other).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let lanes = served(one);
    hooks.hold();
    let since = hooks.now();
    until(SOON, "it has leases", || !held(hooks, &lanes, since).is_empty()).await;
    end(one);
    let held = held(hooks, &lanes, since);
    hooks.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    ledger.is_over.store(true, Ordering::SeqCst);
    for generator in generators {
        generator.await.unwrap();
    }
    let events = ledger.accepted_events();
    until_arrived(hooks, &events, TAKEN_OVER_WITHIN).await;
    until_settled(other, &events).await;
    let arrived = hooks.by_delivery();
    let again = |first: &Arrival| {
        let came = &arrived[&(first.event.clone(), first.endpoint.clone())];
        came.iter().find(|later| later.attempt > first.attempt).map(|later| later.at.saturating_sub(first.at))
    };
    let waits: Vec<Option<Duration>> = held.iter().map(again).collect();
    assert!(waits.iter().all(Option::is_some), "a lease did not come back: {waits:?}");
    assert!(waits.iter().any(|wait| *wait >= Some(HELD)), "none came back by its hold: {waits:?}");
    let repeated = arrived.values().filter(|came| came.len() > 1).count();
    let (least, most) = (waits.iter().flatten().min().unwrap(), waits.iter().flatten().max().unwrap());
    println!("{} events accepted, {} deliveries, {repeated} of them seen more than once", events.len(), arrived.len());
    println!("{} were held, and came back after {least:?} to {most:?}", held.len());
    assert!(events.len() > 50, "only {} were accepted", events.len());
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_at_work_loses_nothing() {
    let (server, hooks) = (Server::start().await, Hooks::start());
    let (mut one, other) = pair(&server, &hooks.endpoints(0..ENDPOINTS, MORE)).await;
    ended_at_work(&mut one, &other, &hooks, Gateway::down).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_at_work_loses_nothing_and_changes_nothing() {
    let (server, hooks) = (Server::start().await, Hooks::start());
    let (mut one, other) = pair(&server, &hooks.endpoints(0..ENDPOINTS, MORE)).await;
    let mut events = ended_at_work(&mut one, &other, &hooks, |one| one.signal("STOP")).await;
    let (before, came) = (rows(&other, &events).await, hooks.arrivals().len());
    one.signal("CONT");
    let lost = || one.logged("a lease was lost before its attempt was recorded").len();
    until(SOON, "what it held is lost", || lost() > 0).await;
    // What it had taken in from posters before it stood still it may commit now; that comes, and nothing else.
    events.push(accepted(&Poster::new(), &one, u32::MAX).await);
    until(SOON, "it shares the lanes again", || shares(&other) == 2).await;
    until_arrived(&hooks, &events, SOON).await;
    until_settled(&one, &events).await;
    let known: HashSet<Pair> = pairs_of(&events[..events.len() - 1]).collect();
    let arrivals = hooks.arrivals();
    let late = arrivals[came..].iter().filter(|late| known.contains(&(late.event.clone(), late.endpoint.clone())));
    println!("{} leases lost; {} requests came that were no longer its own", lost(), late.count());
    assert_eq!(rows(&other, &events[..events.len() - 1]).await, before, "it changed what had ended");
    assert_eq!(metrics::value(&one, "waypost_delivery_leases_lost_total").await, Some(lost() as f64));
}

/// What the API shows of these events.
async fn rows(gateway: &Gateway, events: &[String]) -> Vec<Vec<Delivery>> {
    let mut rows = Vec::new();
    for event in events {
        rows.push(deliveries_of(gateway, event).await);
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_while_it_waited_for_answers_changes_nothing() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let (one, other) = pair(&server, &hooks.endpoints(0..ENDPOINTS, MORE)).await;
    let mut events = vec![accepted(&poster, &other, 0).await];
    until_arrived(&hooks, &events, SOON).await;
    until(SOON, "all is told", || served(&one).len() + served(&other).len() == 16).await;
    let lanes = served(&one);

    hooks.hold();
    events.push(accepted(&poster, &other, 1).await);
    until_arrived(&hooks, &events, SOON).await;
    one.signal("STOP");
    let stopped = hooks.now();
    hooks.release();
    for number in 2..12 {
        events.push(accepted(&poster, &other, number).await);
    }
    until_arrived(&hooks, &events, TAKEN_OVER_WITHIN).await;
    let taken_over = hooks.now().saturating_sub(stopped);
    until_settled(&other, &events).await;
    let (before, came) = (rows(&other, &events).await, hooks.arrivals().len());
    let settled = hooks.now().saturating_sub(stopped);

    one.signal("CONT");
    let lost = || one.logged("a lease was lost before its attempt was recorded").len();
    until(SOON, "what it held is lost", || lost() >= lanes.len()).await;
    until(SOON, "it shares the lanes again", || shares(&other) == 2).await;
    assert_eq!(rows(&other, &events).await, before, "it changed what had ended");
    assert_eq!(hooks.arrivals().len(), came, "it sent what was no longer its own");
    events.push(accepted(&poster, &one, 12).await);
    until_arrived(&hooks, &events, SOON).await;
    until_settled(&one, &events).await;
    let repeated = hooks.by_delivery().values().filter(|came| came.len() > 1).count();
    println!(
        "its {} lanes were taken over within {taken_over:?}, its leases came back within {settled:?}; {} lost leases, \
         {repeated} deliveries seen twice",
        lanes.len(),
        lost()
    );
    assert_eq!(repeated, lanes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stood_still_before_it_sent_does_not_send() {
    let (server, hooks, poster) = (Server::start().await, Hooks::start(), Poster::new());
    let endpoints = hooks.endpoints(0..ENDPOINTS, MORE);
    let mut other = Gateway::serving(&server.url(), &endpoints);
    let mut one = Gateway::serving(&server.url(), &endpoints);
    other.up(None);
    until(SOON, "the other is up", || shares(&other) == 1).await;
    one.up_until("lease.committed");
    until(SOON, "both know of both", || shares(&one) == 2 && shares(&other) == 2).await;
    let mut events = Vec::new();
    for number in 0..5 {
        events.push(accepted(&poster, &other, number).await);
    }
    until_arrived(&hooks, &events, TAKEN_OVER_WITHIN).await;
    until_settled(&other, &events).await;
    let before = rows(&other, &events).await;
    let never_sent = before.iter().flatten().filter(|delivery| delivery.begun == 2).count();
    assert!(never_sent > 0, "it held nothing");
    one.signal("CONT");
    let given_up = || one.logged("too late to send; it is leased again").len();
    until(SOON, "it gives up what it held", || given_up() >= never_sent).await;
    until(SOON, "it shares the lanes again", || shares(&other) == 2).await;
    println!("{never_sent} leases were held too long, and given up");
    assert_eq!(given_up(), never_sent);
    assert_eq!(rows(&other, &events).await, before, "it changed what had ended");
    assert!(hooks.by_delivery().values().all(|came| came.len() == 1), "it sent what was no longer its own");
}
