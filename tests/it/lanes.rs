//! The bounds of an endpoint's lane hold on the embedded store, and in sum over four gateways on one Redis while it does
//! not change hands.

use std::time::Duration;

use actix_web::HttpResponse;

use crate::gateway::{Gateway, Poster};
use crate::gateways::{accepted, crowd};
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;

const EVENTS: u32 = 120;
const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
/// Of `wh_0`, a second.
const RATE: usize = 40;
/// Of `wh_1`, at once.
const AT_ONCE: usize = 3;
/// In a row, before a breaker opens.
const FAILURES: usize = 10;

fn came_to(hooks: &Hooks, endpoint: &str) -> Vec<Arrival> {
    hooks.arrivals().into_iter().filter(|arrival| arrival.endpoint == endpoint).collect()
}

/// The most that came in any second.
fn densest(arrivals: &[Arrival]) -> usize {
    let within = |from: &Arrival| arrivals.iter().filter(|one| one.at >= from.at && one.at < from.at + SECOND).count();
    arrivals.iter().map(within).max().unwrap_or_default()
}

fn hooks() -> Hooks {
    Hooks::answering(|arrival| match arrival.endpoint.as_str() {
        "wh_2" => HttpResponse::InternalServerError().finish(),
        _ => HttpResponse::Ok().finish(),
    })
}

fn endpoints(hooks: &Hooks) -> String {
    [
        hooks.endpoints(0..1, &format!("rate_limit = {RATE}\n")),
        hooks.endpoints(1..2, &format!("max_in_flight = {AT_ONCE}\ntimeout_s = 30\n")),
        hooks.endpoints(2..3, "max_in_flight = 1\nretry = [1, 1, 1]\ntimeout_s = 30\n"),
    ]
    .concat()
}

async fn hold(gateways: &[Gateway], hooks: &Hooks) {
    let poster = Poster::new();
    hooks.hold();
    for number in 0..EVENTS {
        accepted(&poster, &gateways[number as usize % gateways.len()], number).await;
    }
    until(SOON, "the cap is used", || came_to(hooks, "wh_1").len() == AT_ONCE).await;
    // Long enough for any gateway that thinks it may send more.
    tokio::time::sleep(SECOND).await;
    assert_eq!(came_to(hooks, "wh_1").len(), AT_ONCE);
    let held = came_to(hooks, "wh_0");
    hooks.release();
    until(SOON, "the rest comes", || {
        came_to(hooks, "wh_0").len() == EVENTS as usize && came_to(hooks, "wh_1").len() == EVENTS as usize
    })
    .await;
    let arrivals = came_to(hooks, "wh_0");
    // A bucket holds a tenth more; and what was sent a moment apart may come at the same time.
    assert!(densest(&arrivals) <= RATE + RATE / 10 + 4, "{} in a second", densest(&arrivals));
    let (rest, last) = (&arrivals[held.len()..], &arrivals[arrivals.len() - 1]);
    let needed = SECOND * u32::try_from(rest.len() - RATE / 10).unwrap() / u32::try_from(RATE).unwrap();
    assert!(
        last.at - rest[0].at >= needed.saturating_sub(SECOND / 10),
        "{:?} for {}",
        last.at - rest[0].at,
        rest.len()
    );
    until(SOON, "the breaker opens", || came_to(hooks, "wh_2").len() >= FAILURES).await;
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(came_to(hooks, "wh_2").len(), FAILURES, "an open breaker lets nothing through for 30 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_a_cap_and_a_breaker_hold_in_sum_over_four_gateways() {
    let (server, hooks) = (Server::start().await, hooks());
    let gateways = crowd(&server, &endpoints(&hooks), 4).await;
    hold(&gateways, &hooks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_a_cap_and_a_breaker_hold_on_the_embedded_store() {
    let hooks = hooks();
    let mut gateway = Gateway::serving("embedded", &endpoints(&hooks));
    gateway.up(None);
    gateway.until_alive().await;
    hold(&[gateway], &hooks).await;
}
