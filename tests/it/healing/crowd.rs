//! Gateways that come, die and stand still under load: nothing is lost, and what comes twice is what they had under way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use actix_web::HttpResponse;
use waypost::domain::delivery::Status;
use waypost::domain::id::EventId;

use super::{PAUSE, SOME};
use crate::gateway::Gateway;
use crate::gateways::{crowd, deliveries_of, shares};
use crate::hooks::{Arrival, Hooks, Pair, until};
use crate::redis_harness::Server;
use crate::redis_load::Load;

const ENDPOINTS: u32 = 8;
const MORE: &str = "timeout_s = 1\nretry = [1, 1, 1, 1, 1, 1]\n";
/// One that is gone is given up after 10 s, and what it had leased is due again 16 s after it was.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

async fn until_shares(gateway: &Gateway, count: u64) {
    until(TAKEN_OVER_WITHIN, "it knows of the others", || shares(gateway) == count).await;
}

/// Waits until they have something under way, ends or stops two of them, and answers what was.
async fn strike(gateways: &mut [Gateway], hooks: &Hooks) -> HashSet<Pair> {
    hooks.hold();
    let since = hooks.now();
    let held = || hooks.arrivals().into_iter().filter(move |arrival| arrival.at >= since);
    until(TAKEN_OVER_WITHIN, "all lanes have something under way", || {
        held().map(|arrival| arrival.endpoint).collect::<HashSet<_>>().len() == ENDPOINTS as usize
    })
    .await;
    // What was answered a moment before is recorded a moment later; until then that is under way too.
    tokio::time::sleep(PAUSE * 20).await;
    gateways[0].down();
    gateways[1].signal("STOP");
    // What was sent a moment before may come a moment later.
    tokio::time::sleep(PAUSE * 30).await;
    let held = held().map(|arrival| (arrival.event, arrival.endpoint)).collect();
    hooks.release();
    held
}

/// Each time that one came again was another attempt, begun since those before had not been recorded as done: a gateway
/// that died records nothing, and one that stood still finds that the endpoint's time was up.
async fn explain(gateway: &Gateway, pair: &Pair, came: &[Arrival]) {
    let deliveries = deliveries_of(gateway, &pair.0).await;
    let delivery = deliveries.iter().find(|one| one.endpoint_id.as_str() == pair.1).unwrap();
    let attempts: HashSet<u32> = came.iter().map(|arrival| arrival.attempt).collect();
    assert_eq!(attempts.len(), came.len(), "one attempt was made twice: {came:?}");
    assert!(came.len() <= delivery.begun as usize, "{delivery:?} came {} times", came.len());
    let done = delivery.attempts.iter().filter(|attempt| attempt.status == Some(200)).count();
    assert_eq!((done, delivery.status), (1, Status::Delivered), "{delivery:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_come_die_and_stand_still_under_load_lose_nothing() {
    let server = Server::start().await;
    let hooks = Hooks::late(|_| HttpResponse::Ok().finish(), |_| PAUSE);
    let endpoints = hooks.endpoints(0..ENDPOINTS, MORE);
    let mut gateways = crowd(&server, &endpoints, 3).await;
    let mut load = Load::start_at(&gateways.iter().collect::<Vec<_>>(), PAUSE * 2);
    load.until_more(SOME).await;
    gateways.push(Gateway::serving(&server.url(), &endpoints));
    gateways[3].up(None);
    until_shares(&gateways[3], 4).await;
    load.until_more(SOME).await;
    let held = strike(&mut gateways, &hooks).await;
    let struck = load.now();
    until_shares(&gateways[3], 2).await;
    gateways[1].signal("CONT");
    until_shares(&gateways[3], 3).await;
    load.until_more(SOME).await;
    let told = load.told().await;
    let events: Vec<_> = told.accepted.keys().map(|id| EventId::of("resend", id).to_string()).collect();
    let pairs: Vec<Pair> = (0..ENDPOINTS)
        .flat_map(|number| events.iter().map(move |event| (event.clone(), format!("wh_{number}"))))
        .collect();
    let mut arrived: HashMap<Pair, Vec<Arrival>> = HashMap::new();
    until(TAKEN_OVER_WITHIN, "what was accepted comes", || {
        arrived = hooks.by_delivery();
        pairs.iter().all(|pair| arrived.contains_key(pair))
    })
    .await;
    gateways[3].until_idle().await;
    let arrived = hooks.by_delivery();
    let repeated: Vec<_> = arrived.iter().filter(|(_, came)| came.len() > 1).collect();
    for (pair, came) in &repeated {
        assert!(held.contains(*pair), "{pair:?} came {} times, and was not under way", came.len());
        explain(&gateways[3], pair, came).await;
    }
    let later = told.accepted.values().filter(|times| times.posted > struck).count();
    println!(
        "{} accepted, {later} of them by those that were left; {} refused, {} not answered; {} were under way, of which {} \
         came again",
        events.len(),
        told.refused,
        told.odd.len(),
        held.len(),
        repeated.len()
    );
    assert!(!repeated.is_empty() && later > SOME, "it was no strike");
    assert!(told.odd.iter().all(Option::is_none), "neither 200 nor 503: {:?}", told.odd);
}
