//! Gateways whose clocks are wrong: the store's clock counts, so nothing is early, late, lost or done twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::HttpResponse;
use actix_web::http::header::{HttpDate, RETRY_AFTER};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::time::timeout;
use waypost::app::App;
use waypost::clock::{Clock, SystemClock};
use waypost::config::Settings;
use waypost::domain::delivery::{Delivery, Status};
use waypost::domain::id::EventId;
use waypost::store::Store;

use crate::gateway::{Poster, config};
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;

const ENDPOINTS: u32 = 16;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// What the endpoints ask for with a date, which has whole seconds.
const ASKED: Duration = Duration::from_secs(4);
/// How much later than its time an attempt may be made on a busy machine; far less than the clocks are off.
const LATE_MAX: Duration = Duration::from_secs(4);
const OFF_S: i64 = 30;

/// The machine's clock, off by so much.
struct Off {
    clock: SystemClock,
    by_s: i64,
}

impl Clock for Off {
    fn now(&self) -> Timestamp {
        self.clock.now() + SignedDuration::from_secs(self.by_s)
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// A gateway in this process, with a clock that is off.
async fn gateway(server: &Server, endpoints: &str, by_s: i64) -> SocketAddr {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("waypost.toml");
    std::fs::write(&path, config("127.0.0.1:0", &server.url(), endpoints)).unwrap();
    let settings = Settings::load(Some(&path), std::iter::empty()).unwrap();
    let app = App::build(&settings, Arc::new(Off { clock: SystemClock::new(), by_s })).await.unwrap();
    let address = app.address();
    tokio::spawn(app.run(std::future::pending()));
    address
}

/// What came from Resend: first asks to wait until a time, then fails, then accepts. All of it would open breakers.
fn answer(arrival: &Arrival) -> HttpResponse {
    match arrival.attempt {
        1 if arrival.source == "resend" => {
            let until = HttpDate::from(SystemTime::from(SystemClock::new().now()) + ASKED);
            HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, until.to_string())).finish()
        }
        2 if arrival.source == "resend" => HttpResponse::InternalServerError().finish(),
        _ => HttpResponse::Ok().finish(),
    }
}

/// Posts at both gateways; the ids of the events that will be refused at first.
async fn post(poster: &Poster, gateways: &[SocketAddr], round: u32) -> Vec<EventId> {
    let mut events = Vec::new();
    for (number, gateway) in (round * 10..).zip(gateways) {
        let (id, status) = poster.resend(&format!("http://{gateway}/in/resend"), number).await;
        assert_eq!(status, Some(200), "resend's signature is fresh for five minutes");
        events.push(EventId::of("resend", &id));
        let (_, status) = poster.sendgrid(&format!("http://{gateway}/in/sendgrid"), number).await;
        assert_eq!(status, Some(200), "sendgrid's signature is fresh");
    }
    events
}

/// How far the clock of whoever made the last attempt is from the store's, in seconds.
fn off_s(delivery: &Delivery) -> i64 {
    let begun_at = delivery.begun_at.unwrap().as_second();
    delivery.attempts.last().unwrap().started_at.as_second() - begun_at
}

async fn all_agree(by_s: [i64; 2]) {
    let (server, hooks, poster) = (Server::start().await, Hooks::answering(answer), Poster::new());
    let endpoints = hooks.endpoints(0..ENDPOINTS, "timeout_s = 3\nretry = [1, 2]\n");
    let gateways = [gateway(&server, &endpoints, by_s[0]).await, gateway(&server, &endpoints, by_s[1]).await];
    let store = server.store().await;
    let mut shares = HashMap::new();
    // By the second round both have heard of each other.
    for round in 0..2 {
        let events = post(&poster, &gateways, round).await;
        let expected = (round + 1) * 2 * (3 + 20) * ENDPOINTS;
        let all = until(Duration::MAX, "all attempts", || hooks.arrivals().len() >= expected as usize);
        if timeout(SETTLED_WITHIN, all).await.is_err() {
            panic!("attempts are missing; of Resend's: {}", odd(&store, &events).await);
        }
        for event in events {
            for delivery in settled(&store, &event).await {
                assert!(is_as_answered(&delivery), "{delivery:?}");
                let whose = by_s.into_iter().find(|by_s| (off_s(&delivery) - by_s).abs() < 10);
                *shares.entry((round, whose)).or_insert(0) += 1;
            }
        }
    }
    println!("attempts by round and clock: {shares:?}");
    assert!(by_s.iter().all(|by_s| shares.contains_key(&(1, Some(*by_s)))), "one did all the work");
    assert!(shares.keys().all(|(_, whose)| whose.is_some()), "nobody has such a clock");
    in_time(&hooks);
}

/// Whether it was begun once for each of the three answers that an event of Resend's gets.
fn is_as_answered(delivery: &Delivery) -> bool {
    let ends = delivery.attempts.iter().map(|attempt| attempt.status);
    ends.eq([Some(503), Some(500), Some(200)]) && delivery.begun == 3
}

/// Those of these events' deliveries that are not so.
async fn odd(store: &dyn Store, events: &[EventId]) -> String {
    let mut odd = Vec::new();
    for event in events {
        let deliveries = store.deliveries_of(event).await.unwrap();
        odd.extend(deliveries.into_iter().filter(|delivery| !is_as_answered(delivery)));
    }
    format!("{odd:#?}")
}

/// The deliveries of an event, when all have ended.
async fn settled(store: &dyn Store, event: &EventId) -> Vec<Delivery> {
    for _ in 0..500 {
        let deliveries = store.deliveries_of(event).await.unwrap();
        if deliveries.iter().all(|delivery| delivery.status == Status::Delivered) {
            assert_eq!(deliveries.len(), ENDPOINTS as usize);
            return deliveries;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{event} was accepted by its endpoints and is not delivered");
}

/// Each attempt came once, and neither early nor late.
fn in_time(hooks: &Hooks) {
    let (mut asked, mut scheduled) = (Vec::new(), Vec::new());
    for ((event, endpoint), came) in hooks.by_delivery() {
        let numbers: Vec<_> = came.iter().map(|arrival| arrival.attempt).collect();
        if came[0].source == "sendgrid" {
            assert_eq!(numbers, [1], "{event} at {endpoint}");
            continue;
        }
        assert_eq!(numbers, [1, 2, 3], "{event} at {endpoint}");
        asked.push(came[1].at.saturating_sub(came[0].at));
        scheduled.push(came[2].at.saturating_sub(came[1].at));
    }
    let second = Duration::from_secs(1);
    for (what, waits, least, most) in
        [("asked for", asked, ASKED - second, ASKED), ("scheduled", scheduled, second * 2, second.mul_f64(2.2))]
    {
        let (shortest, longest) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        println!("{} waits that were {what}: {shortest:?} to {longest:?}", waits.len());
        assert!(shortest >= least, "early by {:?}", least.saturating_sub(shortest));
        assert!(longest <= most + LATE_MAX, "late by {:?}", longest.saturating_sub(most));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_ahead_is_neither_early_nor_late() {
    all_agree([0, OFF_S]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_behind_is_neither_early_nor_late() {
    all_agree([-OFF_S, 0]).await;
}
